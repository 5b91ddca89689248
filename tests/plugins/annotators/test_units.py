"""Action units: what the data brings, the peak by two rules, words, and whether they agree with a label."""

import numpy as np
import pytest
from affectkit_plugins.annotators import action_units, unit_phrases, units_agree
from affectkit_plugins.annotators._units import FACS, at_once, name_of
from scipy.signal import find_peaks

from affectkit.annotators import Reject
from affectkit.errors import InputError


def measured(values, names, **settings):
    made = action_units.build_measured(action_units.Measured(**settings))
    return made([{"action_units": values, "action_unit_names": names}])[0]


def peak(units, **settings):
    return action_units.build_peak(action_units.Peak(**settings))([{"units": units}])[0]


def phrases(units, **settings):
    return unit_phrases.build(unit_phrases.Settings(**settings))([{"units": units}])[0]


def agree(label, units, **settings):
    return units_agree.build(units_agree.Settings(**settings))([{"label": label, "units": units}])[0]


@pytest.mark.parametrize(
    ("text", "name"), [("AU05", "AU05"), ("AU5", "AU05"), (" au12_r", "AU12"), (4, "AU04"), ("AU45_c", "AU45")]
)
def test_a_unit_is_known_however_it_is_written(text, name):
    assert name_of(text) == name


@pytest.mark.parametrize("text", ["", "AU", "smile", "AU123", "AU05_x", None])
def test_what_is_no_unit_is_named(text):
    with pytest.raises(InputError, match="is no action unit"):
        name_of(text)


def test_what_the_data_brings_is_scaled_and_named():
    one = measured([[0.1, 0.5], [None, None], [0.2, 1.0]], ["AU6_r", "AU12"])
    assert one == {"units": {"AU06": [0.5, None, 1.0], "AU12": [2.5, None, 5.0]}, "names": ["AU06", "AU12"]}
    assert measured([[0.1]], ["AU6"], scale=1.0)["units"] == {"AU06": [0.1]}
    assert measured([[None]], ["AU6"]) == Reject("no face is measured")
    with pytest.raises(InputError, match="a frame has 1 action units, and 2 are named"):
        measured([[0.1]], ["AU6", "AU12"])
    assert action_units.Measured(scale=0).problems()


def test_the_peak_is_the_largest_sum():
    units = {"AU06": [0.1, 2.0, None, 1.0], "AU12": [0.5, 0.5, None, 3.0], "AU45": [5.0, 0.0, None, 0.0]}
    one = peak(units)
    assert (one["frame"], one["units"], one["intensity"]) == (0, {"AU45": 5.0}, 5.6)
    one = peak(units, leave_out=("AU45",))
    assert (one["frame"], one["units"], one["intensity"]) == (3, {"AU06": 1.0, "AU12": 3.0}, 4.0)
    assert peak(units, leave_out=("AU45",), least=2.0)["units"] == {"AU12": 3.0}
    assert peak({"AU06": [0.1, 0.2]}).reason == "the face does not move"
    assert peak({"AU06": [0.1, 0.2]}, least=0.0) == {
        "frame": 1,
        "units": {"AU06": 0.2},
        "intensity": 0.2,
        "frames": [1],
    }
    assert peak({"AU06": [None]}) == Reject("no face is measured")
    with pytest.raises(InputError, match="one a frame is wanted"):
        peak({"AU06": 1.0})


def test_the_units_met_most_often_count_alone():
    units = {"AU06": [1.0, 1.0, 1.2, 0.0], "AU12": [0.0, 0.0, 0.0, 5.0]}
    assert peak(units)["frame"] == 3
    assert peak(units, most=1)["frame"] == 2
    assert peak(units, most=1)["units"] == {"AU06": 1.2}


def test_peaks_of_the_other_rule_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = np.cumsum(rng.normal(size=120)) * 0.4
        values = np.round(values, 1 if rng.random() < 0.5 else 6)  # rounded ones have plateaus
        distance = int(rng.integers(1, 30))
        ours, theirs = action_units.peaks(values, 0.8, distance), find_peaks(values, height=0.8, distance=distance)[0]
        if len(np.unique(values)) == len(values) or distance == 1:
            assert ours == theirs.tolist()
        else:  # of equal peaks either may stay
            assert sorted(values[ours])[-1:] == sorted(values[theirs])[-1:]


def test_the_other_rule_takes_the_highest_peak_or_else_the_largest_sum():
    course = [0.0] * 60
    course[10], course[20], course[50], course[59] = 1.0, 2.0, 1.5, 3.0
    one = peak({"AU12": course}, rule="mer_factory")
    assert (one["frame"], one["frames"]) == (20, [20, 50]), "the end is no peak, and 10 is too near to 20"
    assert peak({"AU12": course}, rule="mer_factory", distance=5)["frames"] == [10, 20, 50]
    assert peak({"AU12": course}, rule="mer_factory", height=2.5)["frame"] == 59
    assert peak({"AU12": course})["frame"] == 59
    wrong = action_units.Peak(most=0, distance=0, height=-1, least=-1).problems()
    assert {name for name, _ in wrong} == {"most", "distance", "height", "least"}


def test_every_unit_has_three_to_seven_short_phrases_of_its_own():
    assert set(unit_phrases.PHRASES) == set(FACS)
    every = [phrase for own in unit_phrases.PHRASES.values() for phrase in own]
    assert len(every) == len(set(every))
    for unit, own in unit_phrases.PHRASES.items():
        assert 3 <= len(own) <= 7, unit
        assert all(2 <= len(phrase.split()) <= 9 for phrase in own), unit


def test_phrases_are_drawn_by_seed_and_content():
    units = {"AU12": 2.5, "AU06": 1.0}
    one = phrases(units)
    assert one == phrases(units)
    assert one["units"] == ["AU12", "AU06"]
    for unit, phrase in zip(one["units"], one["phrases"], strict=True):
        assert phrase in unit_phrases.PHRASES[unit]
    assert one["text"].lower() == ", ".join(one["phrases"]) + "."
    drawn = {phrases({"AU12": strength / 10})["phrases"][0] for strength in range(9, 50)}
    assert drawn == set(unit_phrases.PHRASES["AU12"]), "each is drawn sometimes"
    assert len({tuple(phrases(units, seed=seed)["phrases"]) for seed in range(20)}) > 4


def test_phrases_of_ones_own_and_only_the_strongest():
    units = {"AU06": 1.0, "AU12": 2.5, "AU25": 2.0}
    assert phrases(units, strongest=2)["units"] == ["AU12", "AU25"]
    assert phrases({"AU12": 1.0}, words={"AU12": ("beaming",)})["text"] == "Beaming."
    assert phrases({"AU12": 1.0}, words={"12": ()}) == Reject("no action unit to tell")
    assert phrases([]) == Reject("no action unit to tell")
    assert phrases(["AU99"]) == Reject("no action unit to tell")
    assert unit_phrases.Settings(words={"smile": ("x",)}, strongest=0).problems()[0][0] == "words"


@pytest.mark.parametrize(
    ("label", "units", "merr", "factory"),
    [
        ("happy", {"AU12": 2.0, "AU25": 3.0}, {"AU12": 2.0}, None),
        ("Happiness", {"AU06": 1.0, "AU12": 2.0}, {"AU06": 1.0, "AU12": 2.0}, {"AU06": 1.0, "AU12": 2.0}),
        ("angry", {"AU12": 2.0}, None, None),
        ("worried", {"AU28": 0.8}, {"AU28": 0.8}, {"AU28": 0.8}),
        ("worried", {"AU28": 0.79}, None, None),
        ("contempt", {"AU14": 2.0, "AU12": 1.0}, {"AU12": 1.0}, {"AU12": 1.0, "AU14": 2.0}),
        ("contempt", {"AU15": 2.0, "AU12": 1.0}, {"AU12": 1.0, "AU15": 2.0}, None),
        ("disgust", {"AU09": 1.0}, {"AU09": 1.0}, {"AU09": 1.0}),
        ("fear", {"AU01": 1.0, "AU02": 1.0, "AU04": 1.0}, {"AU01": 1.0, "AU02": 1.0, "AU04": 1.0}, None),
        ("neutral", {"AU12": 5.0}, {}, {}),
        ("calm", {}, {}, {}),
    ],
)  # fmt: skip
def test_units_agree_by_either_rule(label, units, merr, factory):
    for rule, expected in (("merr", merr), ("mer_factory", factory)):
        one = agree(label, units, rule=rule)
        if expected is None:
            assert one.reason == "the action units speak against the label"
            assert one.about.startswith(label)
        else:
            assert one["units"] == expected
            assert one["score"] == pytest.approx(np.mean(list(expected.values())) if expected else 0.0)


def test_rules_of_ones_own():
    assert agree("pain", {"AU04": 1.0}).reason == "no action units are known of the label"
    assert agree("pain", {"AU04": 1.0}, rules={"pain": ("AU4", "AU6")})["units"] == {"AU04": 1.0}
    assert isinstance(agree("pain", {"AU04": 1.0}, rules={"pain": ("AU4", "AU6")}, fewest=2), Reject)
    assert agree("doubt", {"AU25": 1.0}, fewest=5)["units"] == {"AU25": 1.0}, "all that it has are enough"
    assert units_agree.Settings(rules={"pain": ("frown",)}, fewest=0, least=-1).problems()


def test_units_over_time_count_by_their_largest():
    assert at_once({"AU12": [0.1, None, 2.0], "6": 1}) == {"AU12": 2.0, "AU06": 1.0}
    assert at_once({"AU12": [None]}) == {"AU12": 0.0}
    assert agree("happy", {"AU12": [0.1, 2.0]})["units"] == {"AU12": 2.0}
