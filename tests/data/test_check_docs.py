"""docs/data.md: its lines of recipes read the trees that it shows, its commands run."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from dataset_trees import BARE, TREES, WITHOUT_LABELS, raf_db, text
from faults import BASE

from affectkit.__main__ import cli
from affectkit.data.check import check_data
from affectkit.plan.check import check

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text()
LINES = re.findall(r"`data: (\{.*\})` \|$", PAGE, re.M)


def test_there_are_lines():
    assert {yaml.safe_load(line)["use"] for line in LINES} == set(TREES)


def planted(line, tmp_path, monkeypatch):
    """The data block of a line, with the tree that it reads in the working folder."""
    monkeypatch.chdir(tmp_path)
    data = yaml.safe_load(line)
    root = tmp_path / data["root"]
    TREES[data["use"]](root)
    if data.get("part") == "compound":
        raf_db(root, "compound")
    if "noise_labels" in data:
        text(root / "noise.csv", "name,discrete", "samplenew_00000007,sad")
    if data.get("index"):
        shutil.copy(root / "MERR_fine_grained.txt", root / data["index"])
    return data


@pytest.mark.parametrize("line", LINES)
def test_a_line_reads_its_tree(line, tmp_path, monkeypatch):
    data = planted(line, tmp_path, monkeypatch)
    (tmp_path / "a.yaml").write_text(BASE.replace("{use: puppets}", line))
    untested = data["use"] in ("merr", "mer_caption", "ferid") or data.get("track") == 3
    asked = ["score.splits=[val]"] if untested else []
    # EMER is there to be tested on, other sets have words or descriptions in the place of labels
    if data["use"] in ("emer", *BARE) or (data["use"] == "mer2025" and data.get("track", 1) > 1):
        asked += WITHOUT_LABELS
    if data["use"] == "mer2026" and data.get("track") == 2:
        asked += WITHOUT_LABELS
    report = check_data(check("a.yaml", asked, data=True), quick=True)
    assert report.ok, report.findings
    assert report.splits


@pytest.mark.parametrize("line", LINES)
def test_a_set_is_checked_without_a_recipe(line, tmp_path, monkeypatch):
    data = planted(line, tmp_path, monkeypatch)
    settings = [f"{key}={json.dumps(value)}" for key, value in data.items() if key != "use"]
    ran = CliRunner().invoke(cli, ["data", "check", data["use"], *settings, "--quick", "--json"])
    assert ran.exit_code in (0, 1), ran.output
    told = json.loads(ran.output)
    assert sum(s["samples"] for s in told["splits"]), "nothing was looked at"
    assert {f["kind"] for f in told["findings"]} <= {"missing features", "missing media"}, "trees have few files"


COMMANDS = [c for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.M | re.S) for c in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_runs(line, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = shlex.split(line.partition(" >")[0])[1:]
    few = ["data.count=14", "data.size=64", "data.seconds=1.0", "data.workers=1"]
    ran = CliRunner().invoke(cli, [*words, *few])
    assert ran.exit_code == 0, ran.output
