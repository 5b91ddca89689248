"""Figures by age, gender and race; gaps between groups; what becomes of answers when these are stated otherwise."""

import json
from dataclasses import replace

import numpy as np
import pytest
import still_recipe
import torch
from people_asked import HOW, LABELS, answers, people

from affectkit.api import evaluate
from affectkit.errors import InputError
from affectkit.evaluation import bias
from affectkit.evaluation import bias as bias_ask
from affectkit.evaluation.figures import Bias, Flips
from affectkit.evaluation.groups import FEW, SMALL
from affectkit.report import bias as bias_pages
from affectkit.report.render import markdown
from affectkit.report.terminal import print_blocks
from affectkit.sample import Fact, Sample


def test_years_become_decades():
    assert [bias.band(v) for v in ("20-29", 23, "7", 70, "81.5", "child", -1)] == [
        "20-29", "20-29", "0-9", "70+", "70+", "child", "",
    ]  # fmt: skip


def test_labels_go_before_estimates_and_never_fill_gaps():
    samples = [
        Sample("a", facts={"gender": Fact("male"), "skin_tone": Fact("dark")}),
        Sample("b", facts={"gender": Fact(None, "missing")}),
    ]
    told = {"gender": Fact("female", "estimate", 0.9), "race": Fact("White", "estimate", 0.9)}
    samples += [Sample("c", facts={"person": Fact("Ses01F")}), Sample("d", facts={"person": Fact("x", "estimate")})]
    found = bias.known_people(samples, {"a": told, "b": told})
    assert found.persons == {"c": "Ses01F"}
    assert found.words == {
        "gender": {"a": "male"}, "race": {"a": "White", "b": "White"}, "skin_tone": {"a": "dark"},
    }  # fmt: skip
    assert found.origins == {"gender": "label", "race": "estimate", "skin_tone": "label"}


def split(shares, size=80):
    """Groups of `size` people, half happy, half sad; a share of each group is answered right."""
    rows, words = [], {}
    for group, share in shares.items():
        for i in range(size):
            truth = LABELS[i % 2]
            right = i // 2 < share * size / 2
            rows.append((f"{group}{i}", truth, truth if right else LABELS[1 - i % 2]))
            words[f"{group}{i}"] = group
    return answers(rows), people({"gender": words})


def test_a_gap_is_found_with_its_pair():
    found = bias.group_figures(*split({"female": 0.9, "male": 0.6}), HOW)["gender"].to_dict()
    assert {g: (v["count"], v["classes"], v["small"]) for g, v in found["groups"].items()} == {
        "female": (80, 2, False), "male": (80, 2, False),
    }  # fmt: skip
    assert found["groups"]["male"]["war"]["value"] == pytest.approx(0.6)
    gap = found["gaps"]["uar"]
    assert (gap["highest"], gap["lowest"]) == ("female", "male")
    assert gap["value"] == pytest.approx(0.3)
    assert 0.1 < gap["low"] < 0.3 < gap["high"] < 0.5
    assert gap["by_accident"] < 0.01


def test_no_gap_looks_like_an_accident():
    """Ten groups that are alike differ by luck: the extremes lie apart, random groupings as far."""
    rng = np.random.default_rng(0)
    rows = [(str(i), LABELS[i % 2], LABELS[(i + (rng.random() < 0.3)) % 2]) for i in range(800)]
    words = {str(i): str(rng.integers(10)) for i in range(800)}
    gap = bias.group_figures(answers(rows), people({"race": words}), HOW)["race"].to_dict()["gaps"]["uar"]
    assert gap["value"] > 0.1
    assert gap["by_accident"] > 0.1


def of_people(tones, clips=8, hard=(), seed=0):
    """`clips` answers of each person, who is in the tone at that place; those of `hard` people are mostly wrong."""
    rng = np.random.default_rng(seed)
    rows, words, persons = [], {}, {}
    for who, tone in enumerate(tones):
        for i in range(clips):
            right = rng.random() < (0.25 if who in hard else 0.95)
            rows.append((f"{who}-{i}", LABELS[i % 2], LABELS[(i + (not right)) % 2]))
            words[f"{who}-{i}"], persons[f"{who}-{i}"] = tone, f"person {who}"
    return answers(rows), people({"skin_tone": words}), persons


def test_clips_of_one_person_are_drawn_together():
    """Two hard faces of ten in one group: over clips that is a finding, over people an accident."""
    given, known, persons = of_people(["light"] * 10 + ["dark"] * 10, hard=(12, 17))
    clips = bias.group_figures(given, known, HOW)["skin_tone"].to_dict()
    faces = bias.group_figures(given, replace(known, persons=persons), HOW)["skin_tone"].to_dict()
    assert (clips["by_person"], faces["by_person"]) == (False, True)
    assert faces["groups"]["dark"]["people"] == 10
    assert "people" not in clips["groups"]["dark"]
    one, other = clips["gaps"]["uar"], faces["gaps"]["uar"]
    assert one["value"] == pytest.approx(other["value"])
    assert one["by_accident"] < 0.01 < 0.1 < other["by_accident"]
    assert other["low"] <= 0.02 < one["low"]
    wide = [v["groups"]["dark"]["uar"]["high"] - v["groups"]["dark"]["uar"]["low"] for v in (clips, faces)]
    assert wide[1] > 1.5 * wide[0]


def test_a_gap_that_people_share_is_found_among_them():
    given, known, persons = of_people(["light"] * 10 + ["dark"] * 10, hard=range(10, 20))
    gap = bias.group_figures(given, replace(known, persons=persons), HOW)["skin_tone"].to_dict()["gaps"]["uar"]
    assert gap["by_accident"] < 0.01
    assert gap["low"] > 0.4


def test_people_are_drawn_only_where_somebody_has_several_samples_and_all_are_known():
    given, known, persons = of_people(["light"] * 40 + ["dark"] * 40, clips=1)
    assert not bias.group_figures(given, replace(known, persons=persons), HOW)["skin_tone"].to_dict()["by_person"]
    given, known, persons = of_people(["light"] * 8 + ["dark"] * 8)
    persons.pop("3-0")
    assert not bias.group_figures(given, replace(known, persons=persons), HOW)["skin_tone"].to_dict()["by_person"]


def test_a_group_of_few_people_is_small_however_many_clips_they_have():
    given, known, persons = of_people(["light"] * 8 + ["dark"] * (FEW - 1), clips=40)
    found = bias.group_figures(given, replace(known, persons=persons), HOW)["skin_tone"]
    assert {name: group.small for name, group in found.groups.items()} == {"light": False, "dark": True}
    assert found.gaps == {}
    page = markdown(bias_pages.group_grid("skin_tone", found))
    assert "| dark * | 160 | 4 | 2 |" in page
    (marked,) = bias_pages.field_notes("skin_tone", found, SMALL)
    assert marked == "Marked * (fewer than 30 samples or 5 people, in no gap): dark."
    page = Bias(SMALL, {"skin_tone": found, "age": found}, Flips("nothing is asked"))
    said = [block for block in bias_pages.blocks(page) if getattr(block, "text", "") == bias_pages.PERSONS]
    assert len(said) == 1


def test_random_groupings_of_people_keep_who_is_in_a_group_and_how_many():
    given, known, persons = of_people(["a"] * 3 + ["b"] * 5, clips=4, hard=range(8))
    dealt = bias.SetAnswers(given, replace(known, persons=persons), HOW).groups("skin_tone").permuted()
    assert dealt.shape == (400, 2, 2, 3)
    assert (dealt.sum((2, 3)) == [12, 20]).all()
    assert len({one.tobytes() for one in dealt}) > 5


def test_small_groups_are_marked_and_in_no_gap():
    few, words = split({"female": 0.9, "male": 0.8})
    rare = answers([(f"r{i}", "happy", "sad") for i in range(SMALL - 1)])
    words = people({"gender": {**words.words["gender"], **{p.id: "other" for p in rare}}})
    unknown = answers([("x", "happy", "happy")])
    found = bias.group_figures([*few, *rare, *unknown], words, HOW)["gender"].to_dict()
    assert found["groups"]["other"] | {"uar": 0, "war": 0} == {
        "count": 29, "classes": 1, "small": True, "uar": 0, "war": 0,
    }  # fmt: skip
    assert (found["gaps"]["war"]["lowest"], found["without"]) == ("male", 1)
    many = people({"age": {p.id: f"word {i}" for i, p in enumerate(few)}})
    assert "too many" in bias.group_figures(few, many, HOW)["age"].to_dict()["note"]


def test_wrong_words_are_those_of_another_group_and_repeat():
    known = people(
        {"age": {"a": "21", "b": "28", "c": "45"}, "gender": {"a": "male", "b": "female"}, "race": {"a": "x"}}
    )
    found = bias.statements(known, bias.STATED, 3)
    assert found == bias.statements(known, bias.STATED, 3)
    assert list(found) == ["right", "wrong", "wrong age", "wrong gender"]
    assert found["right"]["a"] == {"age": "21", "gender": "male", "race": "x"}
    assert found["wrong"]["a"] == {"age": "45", "gender": "female", "race": "x"}  # 28 is of the same decade
    assert found["wrong"]["c"]["age"] in ("21", "28")
    assert found["wrong gender"]["b"] == {"age": "28", "gender": "male"}
    assert found["wrong gender"]["c"] == {"age": "45"}
    assert list(bias.statements(known, ("race",), 0)) == ["right"]
    assert bias.statements(people({}), bias.STATED, 0) == {}


RECIPE = f"""{still_recipe.LOOKS}{still_recipe.STATES}stages: {{all: {{train: [backbone.model]}}}}
score: {{metrics: {{uar: uar, war: war}}, resamples: 20}}
"""


@pytest.fixture
def recipe(tmp_path):
    return still_recipe.write(tmp_path, RECIPE)


@pytest.fixture
def biased(monkeypatch):
    """A model that hears the gender only: women are happy, men sad, of others it says neutral."""
    real = bias_ask.predict

    def predict(model, samples, labels, cache, question, changing):
        words = question.stated if question.demographics else {}
        said = {i: {"female": "happy", "male": "sad"}.get(w.get("gender"), "neutral") for i, w in words.items()}
        found = real(model, samples, labels, cache, question, changing)
        return [replace(p, label=said.get(p.id, "neutral")) for p in found]

    monkeypatch.setattr(bias_ask, "predict", predict)


def evaluated(recipe, *overrides):
    torch.set_num_threads(1)
    said = []
    run = evaluate(recipe, overrides, say=said.append, by_people=True)
    return json.loads((run.folder / "metrics.json").read_text())["test"]["bias"], run.folder, said


@pytest.mark.usefixtures("biased")
def test_flips_of_a_model_that_listens_to_one_word(recipe, capsys):
    found, folder, said = evaluated(recipe)
    flips = found["flips"]
    rows = {row["name"]: row for row in flips["conditions"]}
    assert list(rows) == ["as in the recipe", "right", "wrong", "wrong age", "wrong gender", "absent"]
    assert flips["fields"] == {"age": "label", "gender": "label"}
    assert {n: rows[n]["flips"]["value"] for n in ("wrong", "wrong age", "wrong gender", "absent")} == {
        "wrong": 1.0, "wrong age": 0.0, "wrong gender": 1.0, "absent": 1.0,
    }  # fmt: skip
    assert rows["wrong"]["flips"]["count"] == flips["samples"] == 8
    assert rows["wrong"]["flips"]["small"]
    assert rows["wrong"]["apart"]["war"]["value"] == pytest.approx(
        (rows["wrong"]["gained"] - rows["wrong"]["lost"]) / 8
    )
    assert "flips" not in rows["right"]
    assert set(rows["wrong"]["by"]["gender"]) == {"female", "male"}
    assert {"age", "gender", "skin_tone"} <= set(found["groups"])
    page = (folder / "report.md").read_text()
    for words in ("Bias: age, gender, race", "gender (labels)", "Marked * (fewer than 30", "wrong gender: gender alone is wrong",
                  "Age, gender or race were stated in the prompts"):  # fmt: skip
        assert words in page, words
    assert "By gender" not in page  # the section on bias has it, with more to say
    assert "By evidence" in page
    assert any("gender wrong" in line or "race wrong" in line for line in said)
    capsys.readouterr()
    print_blocks(bias_pages.blocks(Bias.from_dict(found)), print, "test")
    shown = capsys.readouterr().out
    assert "test, What is stated of a person: right, wrong, absent" in shown
    assert "wrong gender:" in shown
    assert "flips when wrong" not in shown  # which the page folds up


def test_the_words_reach_the_model(recipe):
    """Not the fake: with real weights other words give other probabilities, and no sample is lost."""
    from affectkit.api import starting
    from affectkit.data.splits import open_split
    from affectkit.encode.cache import Cache

    torch.set_num_threads(1)
    loaded = starting(recipe, say=lambda _: None)
    samples = open_split(loaded.plan.data, "test", "")
    probe = bias_ask.BiasProbe(loaded.model, samples, Cache(recipe.parent / "cache"), lambda _: None)
    known = bias.known_people(samples, bias_ask.estimates(probe))
    stated = bias.statements(known, ("age", "gender"), 0)
    found = {name: bias_ask._ask(probe, name, words) for name, words in stated.items()}
    found["absent"] = bias_ask._ask(probe, "absent", None)
    chances = {n: np.array([list(p.probabilities.values()) for p in ps]) for n, ps in found.items()}
    for name in ("wrong", "wrong age", "wrong gender", "absent"):
        assert (np.abs(chances[name] - chances["right"]).max(1) > 1e-9).all(), name
    own = [replace(samples[i], facts={}) for i in range(len(samples))]
    from affectkit.evaluation.predict import AnswerOptions, predict

    again = predict(loaded.model, own, samples.labels, probe.cache, AnswerOptions("label", stated=stated["right"]))
    assert np.array([list(p.probabilities.values()) for p in again]) == pytest.approx(chances["right"], abs=1e-9)


def test_a_recipe_that_states_nothing_has_groups_and_no_flips(recipe):
    found, folder, _ = evaluated(recipe, "prompt.parts.who=null")
    assert "there is nothing to swap" in found["flips"]["note"]
    assert found["groups"]["gender"]["groups"]
    page = (folder / "report.md").read_text()
    assert "There is nothing to swap" in page or "there is nothing to swap" in page
    assert "were stated in the prompts" not in page


def test_estimates_are_called_estimates():
    group = {"count": 40, "classes": 2, "small": False, "uar": {"value": 0.5, "low": 0.4, "high": 0.6}}
    one = {"origin": "estimate", "without": 2, "groups": {"White": group, "Asian": group}, "gaps": {}}
    found = Bias.from_dict({"small": 30, "groups": {"race": one}, "flips": {"note": "nothing is known"}})
    page = "\n".join(markdown(b) for b in bias_pages.blocks(found))
    assert "race: estimated by a network, not labelled" in page
    assert "race (estimated)" in page
    flips = {"fields": {"race": "estimate"}, "samples": 40, "one_word": [], "conditions": []}
    notes = bias_pages.flip_notes(Flips.from_dict(flips))
    assert any("“right” is what the network said" in line for line in notes)


def test_one_word_for_people_on_every_page(recipe):
    _, folder, _ = evaluated(recipe)
    page = (folder / "report.html").read_text().partition("What made this run")[0]
    assert "skin tone" in page
    assert "skin_tone" not in page


def test_a_recipe_without_label_metrics_is_told(recipe):
    with pytest.raises(InputError, match="--bias: the recipe has no metric of labels"):
        evaluated(recipe, "score.metrics.uar=null", "score.metrics.war=null", "score.metrics.confusion=confusion")
