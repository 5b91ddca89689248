"""What a step has only a stand-in for, hashed words for a tokenizer, is said: in the log, in run.json, in the report."""

import json

import pytest
import tiny_run
from affectkit_plugins.projectors import context_content, qformer

from affectkit.api import evaluate
from affectkit.commands.predict import print_answers
from affectkit.pieces import Shape
from affectkit.report.results import flat

TEXT = {"queries": 2, "hidden": 16, "layers": 1, "heads": 2, "vocab": 64, "most_text": 16, "text_positions": 16}
INPUTS = {"tokens": Shape("tokens", 2, 4, 8), "question": Shape("text")}
ASKED = "{use: qformer, queries: 2, hidden: 16, layers: 1, heads: 2, vocab: 64, most_text: 16, text_positions: 16}"


@pytest.mark.parametrize("module", [context_content, qformer])
def test_hashed_words_are_told_of_where_a_question_is_read(module, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    known = module.Settings(**TEXT, tokenizer=str(tmp_path))
    alone = {"tokens": INPUTS["tokens"]}
    assert "numbered by their hash" in module.build(module.Settings(**TEXT), INPUTS, 8).stand_in
    assert module.build(known, INPUTS, 8).stand_in == ""
    assert module.build(module.Settings(**TEXT), alone, 8).stand_in == ""


def test_a_run_says_once_that_words_are_hashed(tmp_path, capsys):
    said = []
    own = ["data.count=14", "views.question={use: question}", f"streams.audio.steps.projector={ASKED}"]
    own += [f"run.folder={tmp_path}/runs", f"run.cache={tmp_path}/cache", "score.reasons=0"]
    run = evaluate(tiny_run.write_recipe(tmp_path), own, say=said.append)
    parts = json.loads(run.about.read_text())["weights"]
    (told,) = [part for part in parts if "stand_in" in part]
    assert told["address"] == "audio.projector"
    assert [line for line in said if "numbered by their hash" in line] == [f"audio.projector: {told['stand_in']}"]
    for page in ("report.html", "report.md"):
        assert "numbered by their hash" in (run.folder / page).read_text()
    print_answers([], [], parts, as_json=False)
    assert f"audio.projector: {told['stand_in']}" in capsys.readouterr().err


def test_what_made_a_run_names_both():
    parts = [{"address": "a.b", "origin": "random", "stand_in": "words are hashed"}, {"address": "c", "origin": "x"}]
    assert dict(flat({"weights": parts})) == {"weights.a.b": "random; words are hashed", "weights.c": "x"}
