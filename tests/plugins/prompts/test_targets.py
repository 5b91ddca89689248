"""Questions for several labels and for ratings: what they say, what is trained, what they refuse."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from affectkit_plugins.prompts import labels_question, numbers_question

from affectkit.errors import InputError
from affectkit.prompt import Ask, draw_for
from affectkit.sample import Sample

SAMPLE = Sample("one", labels={"angry": 1.0, "happy": 1.0}, numbers={"arousal": -0.004, "valence": 3.456})
LABELS = ("happy", "sad", "angry")
SET = Ask("labels", labels=LABELS)
SCALES = {"valence": (1.0, 5.0), "arousal": ()}
RATE = Ask("numbers")


def words(piece, ask, sample=SAMPLE, **settings):
    """What a piece says on one line, with what is trained in {braces}."""
    given = {"numbers": SCALES} if piece is numbers_question else {}
    found = piece.build(piece.Settings(**{**given, **settings}))(sample, ask)
    return "".join(f"{{{s.text}}}" if s.trained else s.text for s in found)


def test_the_answer_lists_labels_in_the_set_s_order():
    asked = words(labels_question, SET)
    assert asked == (
        "Which emotions does this person show? Answer with all that fit of: happy, sad, angry.{happy, angry}"
    )
    assert words(labels_question, SET, labels=("angry", "happy"), wording="{options}?", separator="|") == (
        "angry|happy?{angry|happy}"
    )
    assert words(labels_question, replace(SET, task="label")) == ""


def test_one_label_is_a_set_of_one_and_none_is_no_answer():
    assert words(labels_question, SET, Sample("a", label="sad"), wording="?") == "?{sad}"
    assert words(labels_question, SET, Sample("a"), wording="?") == "?"
    assert words(labels_question, SET, Sample("a", labels={"sad": 0.0}), wording="?") == "?"


@pytest.mark.parametrize(("least", "answer"), [(0, "happy, sad, angry"), (0.3, "happy, angry"), (0.9, "angry")])
def test_labels_of_little_weight_are_left_out_and_the_heaviest_never(least, answer):
    votes = replace(SAMPLE, labels={"angry": 0.5, "happy": 0.3, "sad": 0.2})
    assert words(labels_question, SET, votes, least=least, wording="?") == f"?{{{answer}}}"


def test_options_in_an_order_of_chance_leave_the_answer_in_its_own():
    asks = [replace(SET, draw=draw_for(0, epoch, "one")) for epoch in range(20)]
    said = [words(labels_question, ask, wording="{options}", order="shuffled") for ask in asks]
    assert len({s.partition("{")[0] for s in said}) > 3
    assert {s.partition("{")[2] for s in said} == {"happy, angry}"}


def test_without_labels_there_is_nothing_to_offer():
    with pytest.raises(InputError, match="no labels to offer in the labels question"):
        words(labels_question, Ask("labels"))


def test_names_scales_and_decimals_of_ratings():
    assert words(numbers_question, RATE) == (
        "Rate what this person feels: valence from 1 to 5, arousal. Answer with the name and the number of each."
        "{valence 3.46, arousal 0.00}"
    )
    own = {
        "numbers": {"arousal": (-1.0, 1.0)},
        "wording": "{names}? {scales}",
        "answer": "{name}={value}",
        "decimals": 3,
    }
    assert words(numbers_question, RATE, **own) == "arousal? arousal from -1 to 1{arousal=-0.004}"
    assert words(numbers_question, replace(RATE, task="label")) == ""


def test_a_sample_that_lacks_a_rating_has_no_answer():
    assert "{" not in words(numbers_question, RATE, Sample("a", numbers={"valence": 2.0}))


def test_a_rating_outside_the_scale_is_not_trained():
    wrong = replace(SAMPLE, numbers={"valence": 7.0, "arousal": 0.0})
    with pytest.raises(InputError, match=r"sample one: its valence 7 is outside the scale that is asked, 1 to 5"):
        words(numbers_question, RATE, wrong)
    assert "7.00" in words(numbers_question, replace(RATE, phase="infer"), wrong)  # the model is asked all the same


@pytest.mark.parametrize(
    ("piece", "settings"),
    [
        (labels_question, {"answer": "x"}),
        (labels_question, {"least": -0.1}),
        (labels_question, {"least": math.nan}),
        (numbers_question, {"answer": "{name}"}),
        (numbers_question, {"decimals": -1}),
        (numbers_question, {"decimals": 7}),
        (numbers_question, {"numbers": {"valence": (5, 1)}}),
        (numbers_question, {"numbers": {"valence": (5,)}}),
        (numbers_question, {"numbers": {}}),
    ],
)
def test_settings_that_mean_nothing(piece, settings):
    given = {"numbers": SCALES} if piece is numbers_question else {}
    assert len(piece.Settings(**{**given, **settings}).problems()) == 1
