"""What the engine does for annotators: clips under blank names, labels that are given, faults of one clip, published forms."""

import json
import wave
from pathlib import Path

import pytest

from affectkit.annotate.plan import check_annotation
from affectkit.annotate.report import write_annotation_report
from affectkit.annotate.run import annotate
from affectkit.errors import InputError, RunError, WriteError

PLUGIN = '''
"""Annotators that look at whole clips."""
from dataclasses import dataclass
from pathlib import Path

from affectkit import Piece, Port, hookimpl


@dataclass(frozen=True)
class Settings:
    """Tells what it is shown of a clip."""

    fails: tuple[str, ...] = ()
    """Words at which it breaks."""

    def examples(self):
        yield from ()


def build(settings):
    def look(rows):
        out = []
        for row in rows:
            clip = row["clip"]
            if any(word in clip.subtitle for word in settings.fails):
                raise ValueError(f"cannot take {clip.subtitle!r}")
            out.append({"seen": repr(clip), "bytes": len(Path(clip.audio).read_bytes())})
        return out

    look.batch = 2
    return look


@hookimpl
def affectkit_pieces():
    ports = (Port("clip", "clip", "the clip"),)
    return [Piece("annotator", "shown", Settings, build, ports=ports, tells=("seen", "bytes"))]
'''
RECIPE = """\
name: looked
data: {use: table, path: t.csv, val: 0.0, columns: {path: audio}}
annotators:
  looked: {use: shown}
run: {folder: runs, cache: cache}
"""
WORDS = ("calm words", "loud words", "broken words", "last words")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plug.py").write_text(PLUGIN)
    made = ["audio,subtitle,label,split,id"]
    for i, words in enumerate(WORDS):
        name = f"secretname{i}.wav"
        with wave.open(name, "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes([i, 0]) * 400)
        made.append(f"{name},{words},secretlabel{i % 2},train,secretid{i}")
    Path("t.csv").write_text("\n".join(made) + "\n")
    return tmp_path


def run(recipe, *overrides):
    Path("a.yaml").write_text(recipe)
    out = annotate(check_annotation("a.yaml", overrides, ["plug.py"], data=True))
    return [json.loads(line) for line in (out / "records.jsonl").open()], out


def test_a_whole_clip_bears_names_that_tell_nothing(folder):
    records, _ = run(RECIPE)
    seen = [record["findings"]["looked"]["seen"]["value"] for record in records]
    assert not any("secret" in one for one in seen)
    assert all("words" in one for one in seen)  # what is said is known
    assert all(record["findings"]["looked"]["bytes"]["value"] > 800 for record in records)
    assert not list(Path("/tmp").glob("affectkit-*/*secret*"))


def test_a_clip_that_an_annotator_cannot_take_costs_that_clip_this_time(folder):
    records, out = run(RECIPE, "annotators.looked.fails=[broken]")
    assert [("failed" in r, "looked" in r["findings"]) for r in records] == [(i == 2, i != 2) for i in range(4)]
    assert records[2]["failed"] == {"by": "looked", "error": "ValueError: cannot take 'broken words'"}
    assert json.loads((out / "summary.json").read_text())["failed"] == 1
    page = (out / "report.html").read_text()
    assert "1 clip failed" in page


def test_an_annotator_that_takes_no_clip_ends_the_run_with_its_place(folder):
    with pytest.raises(
        RunError, match=r"a\.yaml:4.*'shown' from .*plug\.py fails on clip after clip; on secretid2: .*broken words"
    ):
        run(RECIPE, "annotators.looked.fails=[words]")


def test_labels_are_told_only_where_the_recipe_gives_them(folder):
    asks = RECIPE.replace("looked: {use: shown}", "asked: {use: ask_category, label: label, labels: [secretlabel0]}")
    Path("a.yaml").write_text(asks)
    with pytest.raises(InputError, match=r"run\.given: \[label\]"):
        check_annotation("a.yaml")
    records, out = run(asks.replace("run: {", "run: {given: [label], "))
    assert [r.get("rejected", {}).get("reason") for r in records] == [None, "a label outside the set"] * 2
    assert "told what the data set says: label" in (out / "report.html").read_text()
    assert json.loads((out / "summary.json").read_text())["audit"]["truths"] == 0


FORMS = """\
name: formed
data: {use: table, path: t.csv, val: 0.0, columns: {path: audio}}
views: {words: {use: subtitle}}
annotators:
  said: {use: spoken_words}
  caption: {use: caption_template, words: said}
  named: {use: name_label, text: caption, labels: [secretlabel0, secretlabel1], client: {use: by_rule, words: {secretlabel0: [calm, broken]}, otherwise: secretlabel1}}
  size: {use: length_filter, text: caption, low: 0, high: 0}
  size2: {use: same_emotion, first: named, second: named, groups: {a: [secretlabel0]}}
items:
  emotion: {task: label, answer: named}
exports:
  merr: {use: merr_files, label: named, caption: caption, words: said}
run: {folder: runs, cache: cache}
"""  # noqa: E501


def test_what_was_found_is_written_in_published_forms_and_told_on_a_page(folder):
    records, out = run(FORMS, "annotators.size2={use: duplicate_filter, text: named, least: 1}")
    told = json.loads((out / "summary.json").read_text())
    assert told["used"] == 2
    files = sorted(p.name for p in (out / "exports/merr").iterdir())
    assert files == ["MERR_coarse_grained.json", "MERR_coarse_grained.txt"]
    entries = json.loads((out / "exports/merr/MERR_coarse_grained.json").read_text())
    assert list(entries) == [r["id"] for r in records if r["items"]] == ["secretid0", "secretid1"]
    assert entries["secretid0"]["caption"] == "Saying: calm words"
    passed = told["audit"]["passed"]
    assert [(one["after"], one["clips"], one["precision"]["value"]) for one in passed] == [
        ("named", 4, 1.0),
        ("size2", 2, 1.0),
    ]
    assert passed[1]["right_kept"] == 0.5
    page = write_annotation_report(out).read_text()
    for words in ("Label shift", "Against the labels of the data", "says the same as an earlier clip", "secretid0"):
        assert words in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_exports_are_checked_as_the_rest_is(folder):
    for was, now, told in (
        ("use: merr_files", "use: merr_file", "did you mean 'merr_files'"),
        (
            "merr: {use: merr_files, label: named, caption: caption, words: said}",
            "merr: {use: hf}",
            "no instruction data",
        ),
        ("caption: caption,", "caption: captain,", "did you mean 'caption'"),
        ("label: named, caption", "caption", "nothing fills the port 'label'"),
    ):
        Path("a.yaml").write_text(FORMS.replace(was, now))
        with pytest.raises(InputError, match=told):
            check_annotation("a.yaml")


def test_a_full_disk_is_told_and_what_is_stored_stays(folder, monkeypatch):
    run(RECIPE, "run.most=2")
    from affectkit.annotate import store

    class Full:
        """A connection to a disk without room."""

        def __init__(self, real):
            self.real = real

        def __getattr__(self, name):
            return getattr(self.real, name)

        def __enter__(self):
            return self.real.__enter__()

        def __exit__(self, *about):
            return self.real.__exit__(*about)

        def executemany(self, *_):
            raise store.sqlite3.OperationalError("database or disk is full")

    connect = store.Store._connect
    monkeypatch.setattr(store.Store, "_connect", lambda self: Full(connect(self)))
    with pytest.raises(WriteError, match="full"):
        run(RECIPE)
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    _, out = run(RECIPE)
    assert json.loads((out / "summary.json").read_text())["kept"] == {"looked": 2}
