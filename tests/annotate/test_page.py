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


class Fex:
    """What Py-Feat returns, as far as the page's plugin reads it: a row a face."""

    au_columns = ("AU01", "AU12")

    def __init__(self, rows):
        self.rows = rows

    def iterrows(self):
        return enumerate(self.rows)


class Detector:
    """Finds AU12 where a frame is light, and no face in black ones."""

    def detect(self, frames, data_type, progress_bar):
        assert (data_type, str(frames.dtype), tuple(frames.shape[1:])) == ("tensor", "torch.uint8", (3, 224, 224))
        rows = []
        for i, frame in enumerate(frames):
            light = float(frame.float().mean()) / 255
            none = float("nan")
            rows.append({"frame": i, "AU01": 0.1 if light else none, "AU12": light if light else none})
            rows.append({"frame": i, "AU01": 0.9, "AU12": 0.9} if light else rows[-1])  # another face behind
        return Fex(rows)


def test_the_pages_action_units_come_from_another_library(folder, monkeypatch):
    import sys
    import types

    import numpy as np

    from affectkit import RawPixels, Reject

    monkeypatch.setitem(sys.modules, "feat", types.SimpleNamespace(Detector=Detector, __version__="9", __spec__=True))
    (folder / "py_feat.py").write_text(blocks("python")[1], encoding="utf-8")
    piece = Registry.load(["py_feat.py"]).piece("annotator", "py_feat")
    made = piece.build(piece.settings())
    frames = tuple(np.full((8, 8, 3), shade, np.uint8) for shade in (51, 0, 204))
    seen = RawPixels(frames, np.array([3, 8, 13]), np.zeros(3), np.ones(3, bool))
    assert made.model == "py-feat 9"
    assert made([{"pixels": seen}]) == [{"units": {"AU01": [0.5, 0.5], "AU12": [1.0, 4.0]}, "frames": [3, 13]}]
    black = RawPixels((frames[1],), np.array([0]), np.zeros(1), np.ones(1, bool))
    assert made([{"pixels": black}]) == [Reject("no face")]
    assert len(keeps_its_promises(piece, light=False)) >= 8
    recipe = (
        "data: {use: puppets}\nviews: {frames: {use: frames, count: 4}}\nannotators:\n"
        "  seen: {use: py_feat, pixels: frames}\n  peak: {use: peak_frame, units: seen, frames: seen.frames}\n"
    )
    (folder / "a.yaml").write_text(recipe, encoding="utf-8")
    annotate(check_annotation("a.yaml", ["run.most=2", "run.cache=cache"], ["py_feat.py"], data=True))
    assert all("AU12" in row["findings"]["peak"]["units"]["value"] for row in records())
