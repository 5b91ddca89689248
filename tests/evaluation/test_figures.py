"""Figures as records are the JSON objects of run folders, there and back."""

import json

import pytest
from affectkit_plugins.metrics import confusion, recall

from affectkit.errors import InputError
from affectkit.evaluation.figures import (
    Bias,
    Condition,
    FieldFigures,
    Figure,
    Flips,
    Gap,
    GroupFigures,
    Ledger,
    MetricFigure,
    OtherAnswers,
    Pair,
    Share,
    SplitFigures,
    VariantFigures,
    Variation,
)
from affectkit.evaluation.prediction import Prediction
from affectkit.evaluation.score import ledgers, read_metrics, score, write_metrics
from affectkit.report.page import bar

FIGURE = Figure(0.5, 0.25, 0.75)
PAIR = Pair(0.1, -0.1, 0.3, 0.9, 0.4, 0.5)
SHARE = Share(0.2, 0.1, 0.3, 40, False)
WORDS = Condition("wrong", "other words", {"uar": FIGURE}, SHARE, 1, 2, {"age": {"20-29": SHARE}}, {"uar": PAIR})


def whole():
    """A split with all that there may be."""
    people = GroupFigures(40, 8, 2, False, {"uar": FIGURE})
    gap = Gap(0.1, 0.0, 0.2, "a", "b", 0.04)
    fields = {
        "age": FieldFigures("label", 1, {"a": people, "b": people}, {"uar": gap}, True),
        "race": FieldFigures("estimate", 0, {}, {}, note="99 values are too many for groups"),
    }
    flips = Flips(None, {"age": "label"}, 40, (), (Condition("right", "as it is", {"uar": FIGURE}), WORDS))
    ways = (
        VariantFigures("as in the recipe", None, {"uar": FIGURE}),
        VariantFigures("a", {"uar": PAIR}, {"uar": FIGURE}),
    )
    metrics = {name: piece.build(piece.settings()) for module in (recall, confusion) for name, piece in named(module)}
    rows = [
        Prediction(str(i), "label", "scored", "xy"[i % 2], "xy"[i % 3 % 2], facts={"evidence": "ab"[i % 2]})
        for i in range(40)
    ]
    judged = MetricFigure(
        7.5, 7.0, 8.0, {"scale": [1, 10], "protocol": "as a judge says", "parts": {"p": {"value": 1.0}}}
    )
    made = score(rows, metrics, ("x", "y"), resamples=20)
    return SplitFigures(
        **{
            **vars(made),
            "protocol": "honest",
            "by_metric": {**made.by_metric, "clues": judged},
            "asked": (OtherAnswers("reason", "generate", Ledger(scored=40, total=40)),),
            "sensitivity": {"labels": Variation("the order", ways, {"uar": 0.1})},
            "bias": Bias(30, fields, flips),
        }
    )


def named(module):
    return [(piece.name, piece) for piece in module.affectkit_pieces()]


def test_figures_come_back_as_they_were_written(tmp_path):
    made = {"test": whole(), "bare": SplitFigures(labels=("x",))}
    write_metrics(tmp_path, made)
    read = read_metrics(tmp_path)
    assert {split: one.to_dict() for split, one in read.items()} == json.loads((tmp_path / "metrics.json").read_text())
    for split, one in made.items():
        for name, value in vars(one).items():
            if name != "by_metric":  # whose tables are plain JSON
                assert getattr(read[split], name) == value, name
    found = read["test"]
    assert list(found.metrics) == ["uar", "clues"]
    assert found.metrics["clues"] == whole().metrics["clues"]
    assert found.matrix == whole().matrix
    assert found.matrix.columns == ("x", "y", "(invalid)")
    assert list(ledgers(read)) == ["test", "test: reason, generate"]
    assert found.guesses("uar") == (0.5, 0.5)
    assert found.guesses("clues") == (None, None)


def test_a_key_that_is_not_known_is_no_fault_and_one_that_is_missing_is_named():
    assert Figure.from_dict({"value": 1.0, "low": 0.5, "high": 1.0, "new": 3}) == Figure(1.0, 0.5, 1.0)
    assert Figure.from_dict({"value": 1.0}) == Figure(1.0, None, None)
    assert SplitFigures.from_dict({"later": [1], "uar": {"value": None}}).to_dict() == {
        "labels": [], "later": [1], "uar": {"value": None, "low": None, "high": None},
    }  # fmt: skip
    with pytest.raises(InputError, match="figures: Gap lacks highest, lowest"):
        Gap.from_dict({"value": 1.0, "by_accident": 0.5})


def test_a_figure_in_words():
    assert Figure(0.12345, None, 1).digits() == ("0.123", "– to 1.000")
    assert Figure(None, None, None).digits(4, "-") == ("-", "- to -")
    assert str(FIGURE) == str(bar(FIGURE)) == "0.500 [0.250, 0.750]"
    assert str(PAIR) == str(bar(PAIR, (-0.5, 0.5))) == "+0.100 [-0.100, +0.300]"
    assert PAIR.marks == bar(PAIR, marks=(("chance", 0.2),)).marks == (("none", 0.0),)
    assert bar(FIGURE, marks=(("chance", 0.2),)).marks == (("chance", 0.2),)
    assert str(bar(None)) == "–"
