"""What a generated answer counts as: a label of the set, one outside it, or nothing that could be read as one."""

import json
import math

import pytest

from affectkit.evaluation.predict import AnswerOptions, judge
from affectkit.evaluation.prediction import ANSWERED, NOTES, STATES, read_predictions, write_predictions
from affectkit.evaluation.score import count, ledger
from affectkit.sample import Sample

SET = ("happy", "sad", "neutral")
COMPOUND = ("Happily Surprised", "Sadly Angry", "unsure about what is felt here", "喜")
READ = [
    ("happy", SET, "scored", "happy"),
    (" Happy.\n", SET, "scored", "happy"),
    ("happily surprised", COMPOUND, "scored", "Happily Surprised"),
    ("bored", SET, "out_of_vocabulary", "bored"),
    ("very happy", SET, "out_of_vocabulary", "very happy"),
    ("Self-conscious!", SET, "out_of_vocabulary", "Self-conscious!"),
    ("not sure", SET, "out_of_vocabulary", "not sure"),  # a word or two: nobody looks up what they mean
    ("unhappy", SET, "out_of_vocabulary", "unhappy"),
    ("not happy", SET, "out_of_vocabulary", "not happy"),
    ("**Happy**", SET, "scored", "happy"),
    ("“ＨＡＰＰＹ”。", SET, "scored", "happy"),
    ("（喜）", COMPOUND, "scored", "喜"),
    ("ha\u200bppy", SET, "scored", "happy"),
    ("cannot tell", SET, "refused", None),
    ("I'm sorry, I can't judge emotions.", SET, "refused", None),
    ("As an AI language model I do not see people", SET, "refused", None),
    ("我无法判断。", COMPOUND, "refused", None),
    ("惊讶。", SET, "out_of_vocabulary", "惊讶。"),
    ("quite sure that it is joy", COMPOUND, "out_of_vocabulary", "quite sure that it is joy"),
    ("", SET, "unparsed", None),
    (" ... ", SET, "unparsed", None),
    ("I cannot tell.", SET, "refused", None),
    ("The person in the video feels happy", SET, "unparsed", None),
    ("happy, sad", SET, "unparsed", None),
    ("happy\nsad", SET, "unparsed", None),
    ("看不清，不知道", SET, "refused", None),
    ("看不清，不", SET, "unparsed", None),
    ("3", SET, "out_of_vocabulary", "3"),
    ("a" * 31, SET, "unparsed", None),
]


@pytest.mark.parametrize(("text", "labels", "state", "label"), READ)
def test_states_are_what_the_ledger_says_they_are(text, labels, state, label):
    options = AnswerOptions(method="generate")
    made = judge(Sample("a", label=labels[0]), labels, text, options)
    assert (made.state, made.label, made.text) == (state, label, text)
    assert bool(made.error) is (state != "scored")


def test_what_could_not_be_read_counts_as_wrong_like_a_label_outside_the_set():
    options = AnswerOptions(method="generate")
    texts = ["happy", "bored", "I cannot tell", ""]
    made = [judge(Sample(t, label="happy"), SET, t, options) for t in texts]
    assert count(made, SET).tolist() == [[1, 0, 0, 3], [0, 0, 0, 0], [0, 0, 0, 0]]
    found = ledger(made)
    assert (found.scored, found.out_of_vocabulary, found.refused, found.unparsed) == (1, 1, 1, 1)


def test_a_task_in_words_is_read_by_its_metric():
    made = judge(Sample("a"), SET, "She smiles, so she is happy.", AnswerOptions("reason", "generate"))
    assert (made.state, made.error) == ("scored", "")


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_answer_in_words_is_none(text):
    made = judge(Sample("a", answers={"reason": "She smiles."}), SET, text, AnswerOptions("reason", "generate"))
    assert (made.state, made.error) == ("unparsed", "the answer is empty")


ODD = [(math.nan,) * 3, (math.nan, -1.0, -2.0), (-1.0, math.inf, -2.0), (-1.0, -2.0, -math.inf), None]


@pytest.mark.parametrize("scores", ODD)
def test_scores_that_are_not_finite_are_no_label(scores, tmp_path):
    made = judge(Sample("a", label="happy"), SET, scores, AnswerOptions())
    assert (made.state, made.label, made.text, made.probabilities) == ("invalid", None, "", {})
    assert "not finite" in made.error
    assert count([made], SET).tolist()[0] == [0, 0, 0, 1]  # wrong, not left out
    assert (ledger([made]).invalid, ledger([made]).total) == (1, 1)
    write_predictions(tmp_path / "p.jsonl", [made])
    assert read_predictions(tmp_path / "p.jsonl") == [made]
    json.loads((tmp_path / "p.jsonl").read_text(), parse_constant=pytest.fail)


def test_a_text_whose_logits_were_not_finite_is_no_answer_to_any_task():
    for task in ("label", "reason"):
        assert judge(Sample("a", label="happy"), SET, None, AnswerOptions(task, "generate")).state == "invalid"


def test_files_of_answers_that_were_scored_with_nothing_finite_are_read_as_what_they_are(tmp_path):
    row = {
        "id": "a",
        "task": "label",
        "state": "scored",
        "truth": "sad",
        "label": "happy",
        "probabilities": {"happy": None},
    }
    (tmp_path / "p.jsonl").write_text(json.dumps(row) + "\n")
    (found,) = read_predictions(tmp_path / "p.jsonl")
    assert (found.state, found.label, found.probabilities) == ("invalid", None, {})


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ((-1.0, -1.0, -2.0), "happy and sad"),
        ((-3.0, -1.0, -1.0), "sad and neutral"),
        ((-7.0,) * 3, "happy and sad and neutral"),
    ],
)
def test_a_tie_is_told(scores, told):
    made = judge(Sample("a", label="happy"), SET, scores, AnswerOptions())
    assert (made.state, made.label) == ("scored", told.split()[0])
    assert made.notes["tie"].startswith(told)
    assert "tie" in NOTES
    assert "tie" not in judge(Sample("a"), SET, (-1.0, -1.1, -2.0), AnswerOptions()).notes


def test_every_state_has_a_column_in_the_ledger():
    assert set(ledger([]).to_dict()) == {*STATES, "total"}
    assert set(ANSWERED) == set(STATES) - {"undecodable", "skipped"}
