"""What an answer was made from: notes on broken files and on samples of which nothing was seen, wherever they show."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny_run
from affectkit_plugins.metrics import recall
from media_files import picture, shades, write_clip
from PIL import Image

from affectkit.commands.predict import print_answers
from affectkit.data.splits import open_splits
from affectkit.encode.cache import Cache
from affectkit.encode.perceive import Perceiver
from affectkit.evaluation.predict import AnswerOptions, predict
from affectkit.evaluation.prediction import Prediction, read_predictions, write_predictions
from affectkit.evaluation.score import note_counts, score, write_metrics
from affectkit.model.model import build
from affectkit.plan.check import check
from affectkit.report.run import print_outcome, write_report
from affectkit.sample import Sample
from affectkit.train.run_folder import made_by


def made_with(folder, *overrides):
    plan = check(tiny_run.write_recipe(folder), ["data.count=14", *overrides])
    splits = open_splits(plan, plan.stages["instruct"])
    return build(plan)[0], splits


@pytest.fixture(scope="module", params=["disk", "none"])
def made(request, tmp_path_factory):
    return made_with(tmp_path_factory.mktemp("recipe"), f"streams.audio.cache={request.param}")


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A clip cut in half, a clip without sound, a still, no clip at all."""
    folder = tmp_path_factory.mktemp("media")
    whole = write_clip(folder / "whole.mkv", [picture((64, 96), c) for c in shades(50)], tone=(440, 2.0))
    (folder / "half.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    write_clip(folder / "silent.mp4", [picture((64, 96), c) for c in shades(4)])
    Image.new("RGB", (64, 64)).save(folder / "still.png")
    (folder / "text.mp4").write_text("no clip")
    return folder


def samples(media):
    named = {n: Sample(n, video=media / n) for n in ("whole.mkv", "half.mkv", "silent.mp4", "text.mp4")}
    return [*named.values(), Sample("still.png", image=media / "still.png")]


def test_each_answer_says_what_it_was_made_from(made, media, tmp_path, monkeypatch):
    model, splits = made

    def ask():
        found = predict(model, samples(media), splits.labels, Cache(tmp_path), AnswerOptions())
        assert [p.state for p in found] == ["scored", "scored", "scored", "undecodable", "scored"]
        return [dict(p.notes) for p in found]

    first = ask()
    assert [list(notes) for notes in first] == [[], ["partial"], ["unseen"], [], ["unseen"]]
    assert first[1]["partial"].startswith("sound: ")
    assert "of 2.0 s could be decoded (it breaks off)" in first[1]["partial"]
    assert first[2]["unseen"] == "the recipe looks at wave, where this sample shows nothing"
    if model.plan.graph.steps["audio.encoder"].cache == "disk":  # the notes are kept with the features
        monkeypatch.setattr(Perceiver, "load_views", lambda *_: pytest.fail("a second run decoded"))
    assert ask() == first


def test_words_of_the_prompt_are_something_seen(media, tmp_path):
    model, splits = made_with(tmp_path, "prompt.parts.words={use: subtitle}")
    silent = Sample("a", video=media / "silent.mp4")
    both = [silent, replace(silent, id="b", subtitle="Leave me alone.")]
    found = predict(model, both, splits.labels, Cache(tmp_path / "cache"), AnswerOptions())
    assert [list(p.notes) for p in found] == [["unseen"], ["soundless"]]


NONE = dict.fromkeys(
    ("faceless", "people", "soundless", "mended", "wordless", "tie", "outside", "off_scale", "unread"), 0
)
NOTED = [
    Prediction("a", "label", "scored", "x", "x", probabilities={"x": 0.9, "y": 0.1}),
    Prediction("b", "label", "scored", "y", "x", "x", {"x": 0.8, "y": 0.2}, notes={"partial": "1 of 2 s"}),
    Prediction("c", "label", "unparsed", "y", text="?", notes={"unseen": "nothing | there", "partial": "half"}),
    Prediction("d", "label", "undecodable", "y", error="broken"),
]


def test_predict_says_it_beside_the_answer(capsys):
    print_answers(NOTED, [], [], as_json=False)
    said = capsys.readouterr().out
    assert "b: scored, but from a broken file (1 of 2 s)" in said
    assert "c: scored, but nothing of it was seen (nothing | there)" in said
    print_answers(NOTED, [], [], as_json=True)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[1]["notes"] == {"partial": "1 of 2 s"}
    assert "notes" not in rows[0]


def test_reports_count_and_list_them(tmp_path, capsys):
    metrics = {p.name: p.build(p.settings()) for p in recall.affectkit_pieces()}
    assert note_counts(NOTED) == {"partial": 2, "unseen": 1, **NONE}
    write_predictions(tmp_path / "predictions.jsonl", NOTED)
    assert read_predictions(tmp_path / "predictions.jsonl") == NOTED
    figures = score(NOTED, metrics, ("x", "y"), resamples=10)
    bare = score([replace(p, notes={}) for p in NOTED], metrics, ("x", "y"), resamples=10)
    assert figures == replace(bare, notes={"partial": 2, "unseen": 1, **NONE})
    write_metrics(tmp_path, {"test": figures})
    (tmp_path / "run.json").write_text("{}")
    for text in (write_report(tmp_path).read_text(), (tmp_path / "report.md").read_text()):
        assert "3 answers with a note" in text
    assert "| scored, but from a broken file | 2 |" in text
    assert "| scored, but nothing of it was seen | 1 |" in text
    assert "| test | c | scored, but nothing of it was seen | nothing \\| there |" in text
    said = []
    print_outcome(SimpleNamespace(folder=tmp_path, about=tmp_path / "run.json"), said.append)
    assert "test: 2 scored, but from a broken file" in said
    assert "always y" in capsys.readouterr().out
    write_metrics(tmp_path, {"test": score([], metrics, ("x", "y"), resamples=10)})
    print_outcome(SimpleNamespace(folder=tmp_path, about=tmp_path / "run.json"), said.append)
    table = capsys.readouterr().out
    assert "95 % interval" in table
    assert "always" not in table


def test_a_run_outside_a_checkout_says_why_it_has_no_commit(tmp_path, monkeypatch):
    plan = check("voice")
    monkeypatch.chdir(tmp_path)
    about = made_by(plan)
    assert about["commit"] is None
    assert about["commit_note"] == "the working folder is in no git checkout"
    monkeypatch.setenv("PATH", "")
    assert made_by(plan)["commit_note"] == "git is not installed"
