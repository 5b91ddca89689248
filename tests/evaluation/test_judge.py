"""Answers to several labels and to ratings, as predictions: every one ends in one state, with what is wrong."""

from types import SimpleNamespace

import pytest

from affectkit.errors import InputError
from affectkit.evaluation.predict import AnswerModule, AnswerOptions, judge
from affectkit.evaluation.prediction import NOTES
from affectkit.heads import Answer
from affectkit.plan.check import check
from affectkit.reading import Reading
from affectkit.registry import Registry
from affectkit.sample import Sample

LABELS = ("joy", "fear", "anger")
SCALES = {"valence": (1.0, 5.0), "arousal": (1.0, 5.0)}
SAMPLE = Sample("a", label="joy", labels={"joy": 1.0, "anger": 1.0}, numbers={"valence": 3.0, "arousal": 2.0})


def reader(name):
    piece = Registry.load().piece("reader", name)
    return piece.build(piece.settings())


def judged(task, text, read="plain"):
    options = AnswerOptions(task, "generate", reader=reader(read) if isinstance(read, str) else read, numbers=SCALES)
    return judge(SAMPLE, LABELS, text, options)


@pytest.mark.parametrize(
    ("text", "state", "labels", "told"),
    [
        ("Anger, joy", "scored", ("anger", "joy"), ""),
        ("fear", "scored", ("fear",), ""),
        ("joy, awe", "scored", ("joy", "awe"), "'awe' is no label of the set"),
        ("bliss; awe", "out_of_vocabulary", ("bliss", "awe"), "'bliss' and 'awe' are no labels of the set"),
        (
            "She smiles at him, so this must be some kind of joy",
            "unparsed",
            (),
            "no labels can be read from the answer",
        ),
        ("  …", "unparsed", (), "the answer is empty"),
        ("I'm sorry, I can't tell.", "refused", (), "the model says that it will not or cannot answer"),
    ],
)
def test_several_labels(text, state, labels, told):
    made = judged("labels", text)
    assert (made.state, made.labels, made.text) == (state, labels, text)
    assert (made.error or made.notes.get("outside", "")) == told
    assert made.true_labels == SAMPLE.labels
    assert made.label is None


@pytest.mark.parametrize(
    ("text", "state", "numbers", "told"),
    [
        ("valence 3.5, arousal 1", "scored", {"valence": 3.5, "arousal": 1.0}, ""),
        ("5 / 1", "scored", {"valence": 5.0, "arousal": 1.0}, ""),
        ("valence 7, arousal 1", "scored", {"valence": 7.0, "arousal": 1.0},
         "valence 7 is outside its scale, 1 to 5"),
        ("valence 3.5", "scored", {"valence": 3.5}, "no arousal can be read from the answer"),
        ("rather high", "unparsed", {}, "no valence and no arousal can be read from the answer"),
        ("I cannot judge that.", "refused", {}, "the model says that it will not or cannot answer"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("read", ["plain", "numbers"])
def test_ratings(text, state, numbers, told, read):
    made = judged("numbers", text, read)
    assert (made.state, made.numbers) == (state, numbers)
    assert (made.error or "".join(made.notes.values())) == told
    assert made.notes.keys() <= NOTES.keys()
    assert made.true_numbers == SAMPLE.numbers


def test_numbers_of_a_reader_that_are_not_finite_are_none():
    made = judged("numbers", "x", lambda text, t: Reading(numbers={"valence": float("nan"), "arousal": 2.0}))
    assert (made.state, made.numbers) == ("scored", {"arousal": 2.0})
    assert made.notes == {"unread": "no valence can be read from the answer"}
    made = judged("numbers", "x", lambda text, t: Reading(numbers={"valence": float("inf")}))
    assert (made.state, made.numbers) == ("unparsed", {})


@pytest.mark.parametrize(
    ("text", "state", "label", "error"),
    [
        ("<think>joy?</think><answer>Anger</answer>", "scored", "anger", ""),
        ("<answer>awe</answer>", "out_of_vocabulary", "awe", "'awe' is no label of the set"),
        ("anger", "unparsed", None, "there is no <answer> in the answer"),
        ("<answer></answer>", "unparsed", None, "the answer is empty"),
    ],
)
def test_one_label_in_tags(text, state, label, error):
    made = judged("label", text, "tagged")
    assert (made.state, made.label, made.error, made.text) == (state, label, error, text)


def test_a_label_of_a_reader_that_the_set_has_not_is_told():
    made = judged("label", "x", lambda text, t: Reading("awe"))
    assert (made.state, made.label, made.error) == ("out_of_vocabulary", "awe", "'awe' is no label of the set")


def test_texts_of_other_tasks_are_left_alone():
    assert judged("reason", "<answer>", "tagged").state == "scored"


def plan(*overrides):
    return check("recipes/voice.yaml", overrides)


def test_a_recipe_names_its_reader():
    assert (plan().reader.piece.name, plan().score.reader) == ("plain", {"use": "plain"})
    told = plan("score.reader=tagged", "score.reader.answer=final")
    assert told.score.reader == {"use": "tagged", "answer": "final", "thought": "think"}


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("score.reader=tagd", "did you mean 'tagged'?"),
        ("score.reader={use: tagged, anser: x}", "did you mean 'answer'?"),
        ("score.reader={use: tagged, answer: think}", "is the tag of the answer, too"),
        ("score.reader={use: uar}", "unknown reader 'uar'"),
        ("score.reader=3", "score.reader"),
    ],
)
def test_a_wrong_reader_is_told_with_its_place(override, what):
    with pytest.raises(InputError) as caught:
        plan(override)
    (problem,) = caught.value.problems
    assert what in str(problem)
    assert override in problem.place


def test_a_model_s_answers_are_read_by_its_recipe_s_reader():
    model = SimpleNamespace(plan=plan("score.reader=tagged"))
    options = AnswerModule(model, [], AnswerOptions("label", "generate"), LABELS).options
    assert judge(SAMPLE, LABELS, "<answer>joy</answer>", options).label == "joy"
    own = AnswerOptions("label", "generate", reader=reader("plain"))
    assert judge(SAMPLE, LABELS, "joy", AnswerModule(model, [], own, LABELS).options).label == "joy"


def test_a_model_is_asked_for_the_ratings_of_its_question():
    part = "prompt.parts.rate={use: numbers_question, numbers: {valence: [1, 5], arousal: []}}"
    model = SimpleNamespace(plan=plan(part))
    options = AnswerModule(model, [], AnswerOptions("numbers", "generate"), LABELS).options
    assert judge(SAMPLE, LABELS, "3 / -20", options).numbers == {"valence": 3.0, "arousal": -20.0}
    assert judge(SAMPLE, LABELS, "7 / -20", options).notes == {"outside": "valence 7 is outside its scale, 1 to 5"}


def test_a_head_answers_from_the_labels_that_are_offered():
    said = Answer(scores={"joy": 0.1, "anger": 3.0, "fear": 0.2})
    made = judge(Sample("a", label="joy"), ("joy", "fear", "new"), said, AnswerOptions("label", "head"))
    assert (made.state, made.label, set(made.probabilities)) == ("scored", "fear", {"joy", "fear"})
    assert sum(made.probabilities.values()) == pytest.approx(1)
    assert judge(Sample("a"), (), said, AnswerOptions("label", "head")).label == "anger"
    made = judge(Sample("a"), ("new", "other"), said, AnswerOptions("label", "head"))
    assert (made.state, made.error) == ("unparsed", "the head knows none of these labels, only joy, anger, fear")
    several = Answer(scores={"joy": 0.7, "anger": 0.9}, labels=("joy", "anger"))
    made = judge(Sample("a"), ("joy", "new"), several, AnswerOptions("labels", "head"))
    assert (made.labels, made.probabilities, made.text) == (("joy",), {"joy": 0.7}, "joy")


def test_numbers_outside_their_scale_are_noted_of_a_heads_answers_and_of_truths():
    options = AnswerOptions("numbers", "head", numbers={"mood": (-1, 1), "other": (0, 1)})
    made = judge(Sample("a", numbers={"mood": 3.0}), (), Answer(numbers={"mood": -1.5}), options)
    assert made.notes == {
        "off_scale": "mood 3 is outside its scale, -1 to 1",
        "outside": "mood -1.5 is outside its scale, -1 to 1",
    }
    assert (made.state, made.numbers, made.true_numbers) == ("scored", {"mood": -1.5}, {"mood": 3.0})
    assert judge(Sample("b", numbers={"mood": 0.5}), (), Answer(numbers={"mood": 1.0}), options).notes == {}
