"""The page on annotation: its recipe is right, its piece keeps its promises and runs; the shipped recipe runs on puppets."""

import json
import re
from pathlib import Path

import pytest

from affectkit.annotate.plan import check_annotation
from affectkit.annotate.run import annotate
from affectkit.registry import Registry
from affectkit.testing import keeps_its_promises

PAGE = (Path(__file__).parents[2] / "docs" / "annotation.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records():
    return [json.loads(line) for line in Path("runs/last/records.jsonl").open(encoding="utf-8")]


def test_the_pages_recipe_is_right(folder):
    (folder / "a.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    plan = check_annotation("a.yaml")
    assert list(plan.annotators) == ["said", "voice", "heard", "merged", "size", "again"]


def test_the_pages_piece_keeps_its_promises_and_runs(folder):
    (folder / "statements.py").write_text(blocks("python")[0], encoding="utf-8")
    piece = Registry.load(["statements.py"]).piece("annotator", "statements")
    assert len(keeps_its_promises(piece, light=False)) >= 8
    recipe = (
        "data: {use: puppets}\nviews: {words: {use: subtitle}}\n"
        "annotators: {said: {use: spoken_words}, no: {use: statements, text: said}}\n"
    )
    (folder / "a.yaml").write_text(recipe, encoding="utf-8")
    annotate(check_annotation("a.yaml", ["run.most=6", "run.cache=cache"], ["statements.py"], data=True))
    asked = {row["id"]: "?" in row["subtitle"] for row in records()}
    assert {row["id"]: "rejected" in row for row in records()} == asked


def test_the_shipped_recipe_tells_loud_voices_from_quiet_ones():
    annotate(check_annotation("annotate/voices", ["run.most=40"], data=True))
    rows = records()
    assert len(rows) == 40
    assert {item["task"] for row in rows for item in row["items"]} == {"reason"}
    away = [row["findings"]["heard"]["away"]["value"] for row in rows if "heard" in row["findings"]]
    assert len(away) >= 30
    assert all(abs(sum(one["energy"] for one in away)) < len(away) for _ in away)
