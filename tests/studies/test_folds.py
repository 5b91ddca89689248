"""Five folds as one table."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from fold_files import METRICS, fold

from affectkit.commands.report import command
from affectkit.errors import InputError
from affectkit.studies.folds import fold_report


@pytest.fixture
def runs(tmp_path):
    return [fold(tmp_path, i, (30 + i, 20, 5), first=1000 * i) for i in range(1, 6)]


def test_the_mean_of_folds_with_its_interval(runs, tmp_path):
    page, figures = fold_report(runs, tmp_path / "folds.html")
    found = figures.to_dict()
    read = [json.loads((run / "metrics.json").read_text())["test"] for run in runs]
    for name in METRICS:
        values = [one[name]["value"] for one in read]
        assert [one[name]["value"] for one in found["folds"]] == pytest.approx(values, abs=1e-15)
        assert found["average"][name]["value"] == pytest.approx(np.mean(values), abs=1e-15)
        assert found["average"][name]["deviation"] == pytest.approx(np.std(values, ddof=1), abs=1e-15)
        width = found["average"][name]["high"] - found["average"][name]["low"]
        assert 0 < width < min(one[name]["high"] - one[name]["low"] for one in found["folds"])
    assert found["count"] == sum(one["count"] for one in read) == 290
    right = sum(one["war"]["value"] * one["count"] for one in read)
    assert found["pooled"]["war"]["value"] == pytest.approx(right / 290, abs=1e-12)
    assert json.loads(page.with_suffix(".json").read_text()) == found
    text = page.with_suffix(".md").read_text()
    assert "mean of folds" in text
    assert f"{found['average']['uar']['value']:.3f}" in text
    assert page.read_text().count("<table") == 2


def test_the_command_prints_the_table(runs, tmp_path):
    done = CliRunner().invoke(command, ["--folds", *map(str, runs), "--out", str(tmp_path / "five.html")])
    assert done.exit_code == 0, done.output
    assert "mean of folds" in done.output
    assert (tmp_path / "five.html").is_file()


def test_folds_without_any_figure(tmp_path, capsys):
    runs = [fold(tmp_path, i, (0, 0, 0), first=10 * i) for i in (1, 2)]  # none of their clips could be decoded
    page, figures = fold_report(runs, tmp_path / "folds.html")
    found = figures.to_dict()
    assert found["average"]["uar"]["value"] is found["pooled"]["uar"]["value"] is None
    assert CliRunner().invoke(command, ["--folds", *map(str, runs), "--out", str(tmp_path / "two.html")]).exit_code == 0
    for path in (page, page.with_suffix(".md"), page.with_suffix(".json")):
        assert "nan" not in path.read_text().lower()


def test_what_is_no_set_of_folds(runs, tmp_path):
    with pytest.raises(InputError, match="needs two runs"):
        fold_report(runs[:1], tmp_path / "folds.html")
    with pytest.raises(InputError, match="tested in fold1 and in fold6: these are no folds"):
        fold_report([runs[0], fold(tmp_path, 6, (3, 3, 3), first=1000)], tmp_path / "folds.html")
    other = fold(tmp_path, 7, (3, 3), ("happy", "sad"), first=9000)
    with pytest.raises(InputError, match="fold7 has other labels than fold1"):
        fold_report([runs[0], other], tmp_path / "folds.html")
