"""Template files: what is filled in is escaped in HTML, a forgotten name is an error, and wheels carry them."""

import tomllib
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from affectkit.templates import environment

ROOT = Path(__file__).parents[2]
FRAME = ROOT / "affectkit"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "line.txt").write_text("{% if name %}\nIt is {{ name }}.\n{% endif %}\n")
    return tmp_path


@pytest.mark.parametrize(("html", "written"), [(True, "It is &lt;b&gt;.\n"), (False, "It is <b>.\n")])
def test_html_is_escaped_and_nothing_else_is(folder, html, written):
    assert environment(folder, html).get_template("line.txt").render(name="<b>") == written


def test_a_name_that_is_not_given(folder):
    with pytest.raises(UndefinedError, match="'name' is undefined"):
        environment(folder).get_template("line.txt").render()


def test_wheels_carry_all_templates():
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packed = {
        path for pattern in about["tool"]["setuptools"]["package-data"]["affectkit"] for path in FRAME.glob(pattern)
    }
    there = {
        path for folder in FRAME.rglob("templates") if folder.is_dir() for path in folder.rglob("*") if path.is_file()
    }
    assert len(there) > 20
    assert there <= packed
