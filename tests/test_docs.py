"""The documents tell the truth: code blocks run, commands work, every piece and field is described."""

import ast
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

from affectkit.commands._piece_pages import markdown_pages, record_tables
from affectkit.recipe.settings import describe
from affectkit.registry import Registry

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(path, language):
    """Fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.M | re.S)


def test_one_sample_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    code = blocks(ROOT / "docs" / "one-sample.md", "python")
    assert len(code) >= 8
    names = {}
    for number, block in enumerate(code):
        exec(compile(block, f"docs/one-sample.md, block {number}", "exec"), names)


def names_in(tree):
    """What a module defines: functions, classes with their methods, and values."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef))
        if isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def test_the_places_to_look_at_are_there_and_few():
    page = (ROOT / "docs" / "one-sample.md").read_text().partition("## Where to look")[2]
    rows = [row.split(" | ")[-1] for row in re.findall(r"^\| (.+) \|$", page, re.M)[2:]]
    assert len(rows) == 7
    for row in rows:
        places = re.findall(r"`([\w/]+\.py)`: ((?:`[\w.]+`(?:, )?)+)", row)
        assert 1 <= len(places) <= 2, row
        for file, names in places:
            known = set(names_in(ast.parse((ROOT / file).read_text())))
            assert set(re.findall(r"`([\w.]+)`", names)) <= known, file


def test_the_python_page_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code = blocks(ROOT / "docs" / "python.md", "python")
    assert len(code) >= 9
    assert any("training_batch" in block and block.count("\n") < 15 for block in code)
    names = {}
    for number, block in enumerate(code):
        exec(compile(block, f"docs/python.md, block {number}", "exec"), names)


def test_pieces_page_is_what_is_made():
    own = Registry([p for p in Registry.load().plugins if p.source == "affectkit"])
    assert (ROOT / "docs" / "pieces.md").read_text() == markdown_pages(own), (
        "run: affectkit pieces --markdown > docs/pieces.md"
    )


def test_every_setting_has_a_sentence():
    bare = [
        f"{p.kind} {p.name}.{f.name}"
        for p in Registry.load().pieces()
        for f in describe(p.settings)
        if not f.about.endswith(".")
    ]
    assert not bare


def test_lowest_versions_are_those_that_the_project_admits():
    bounds = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    page = (ROOT / "docs" / "versions.md").read_text()
    told = re.findall(r"^\| ([\w-]+) \| ([\d.]+) \| [\d.]+ \|$", page, re.M)
    assert [f"{name}>={lowest}" for name, lowest in told] == bounds


def named():
    """`affectkit.module.name` in the documents, the templates and our own docstrings, with the files that name it."""
    found = {}
    for page in [*PAGES, *(ROOT / "affectkit").rglob("*.*"), *(ROOT / "plugins").rglob("*.py")]:
        if page.suffix in (".md", ".py", ".txt"):
            for name in re.findall(r"`(affectkit(?:\.\w+)+)", page.read_text()):
                found.setdefault(name, set()).add(page.name)
    return found


def test_names_in_the_documents_are_there():
    found, gone = named(), {}
    for name, pages in found.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", DeprecationWarning)  # an old name of a module
                pkgutil.resolve_name(name)
        except (ImportError, AttributeError, DeprecationWarning):
            gone[name] = pages
    assert len(found) >= 20
    assert not gone


def commands():
    """Every `affectkit …` line of the documents' console blocks."""
    found = []
    for page in PAGES:
        for block in blocks(page, "console"):
            found += [(page.name, line.strip()) for line in block.splitlines() if line.strip().startswith("affectkit ")]
    return list(dict.fromkeys(found))


def test_there_are_commands():
    assert len(commands()) >= 10


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda v: str(v)[:60])
def test_commands_are_understood(page, line, tmp_path):
    """Each command is one that affectkit has, with arguments that it takes; what takes minutes is tried elsewhere."""
    words = shlex.split(line.split(" #")[0])[1:]
    for verb in (words[:2], words[:1]):
        out = subprocess.run(
            [sys.executable, "-m", "affectkit", *verb, "--help"], capture_output=True, text=True, cwd=ROOT, check=False
        )
        if out.returncode == 0:
            break
    assert out.returncode == 0, f"{page}: {line}\n{out.stderr}"
    known = set(re.findall(r"--[a-z-]+", out.stdout))
    assert {w.split("=")[0] for w in words if w.startswith("--")} <= known, f"{page}: {line}"
    recipes = [w for w in words if w.endswith(".yaml") and w.startswith("recipes/")]
    assert all((ROOT / r).exists() for r in recipes), f"{page}: {line}"


def test_the_fields_of_records_are_those_of_the_code():
    page = (ROOT / "docs" / "add-a-piece.md").read_text().partition("\n## Fields\n")[2].partition("\n## ")[0]
    assert page[page.index("### ") :].strip() == record_tables().strip(), (
        "put what `affectkit pieces --records` prints under Fields in docs/add-a-piece.md"
    )
    rows = [row for row in page.splitlines() if row.startswith("| `")]
    assert len(rows) > 45
    assert [row for row in rows if row.endswith("|  |")] == [], "a field without a sentence"
