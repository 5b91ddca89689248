"""The sentence on age, gender and race: a recipe's own wording, thresholds, sources and dropping by field."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from affectkit_plugins.prompts import age_gender_race
from affectkit_plugins.prompts.age_gender_race import Settings

from affectkit.prompt import Ask, draw_for
from affectkit.recipe.settings import describe, read
from affectkit.sample import Fact, Sample

ALL = {"age": Fact("20-29"), "gender": Fact("female"), "race": Fact("Asian")}
ASK = Ask("label", "infer", draw=draw_for(0, 0, "a"))
WHOLE = "The person is {age} years old, {gender}, {race}."
PARTS = "[emotion] A person[ of {race} origin][, {age} years old][, {gender}]."


def words(settings, ask=ASK, **facts):
    return "".join(s.text for s in age_gender_race.build(settings)(Sample("a", facts=facts), ask))


def without(*names):
    return {n: f for n, f in ALL.items() if n not in names}


@pytest.mark.parametrize(
    ("settings", "missing", "sentence"),
    [
        (Settings(sentence=WHOLE), (), "The person is 20-29 years old, female, Asian."),
        (Settings(sentence=WHOLE), ("race",), ""),
        (Settings(sentence=WHOLE, unknown={"race": "of unknown origin"}), ("race",),
         "The person is 20-29 years old, female, of unknown origin."),
        (Settings(sentence=WHOLE, unknown={"age": "?", "gender": "?", "race": "?"}), ("age", "gender", "race"), ""),
        (Settings(sentence=PARTS), (), "[emotion] A person of Asian origin, 20-29 years old, female."),
        (Settings(sentence=PARTS), ("age", "race"), "[emotion] A person, female."),
        (Settings(sentence=PARTS, fields=("age",)), (), "[emotion] A person, 20-29 years old."),
        (Settings(sentence=PARTS), ("age", "gender", "race"), ""),
        (Settings(sentence="A {gender}[, {age}, {race}].", words={"female": "woman"}), ("race",), "A woman."),
        (Settings(words={"female": "a woman", "20-29": "in the twenties"}), (), "Subject: in the twenties, a woman, Asian."),
        (Settings(unknown={"gender": "of unknown gender"}), ("gender",),
         "Subject: 20-29 years old, of unknown gender, Asian."),
    ],
)  # fmt: skip
def test_a_recipes_own_wording(settings, missing, sentence):
    assert words(settings, **without(*missing)) == sentence


def test_words_of_the_data_are_text_and_nothing_else():
    facts = {"age": Fact("{race}[x]"), "race": Fact("{age}")}
    assert words(Settings(sentence="{age} and[ {race}]"), **facts) == "{race}[x] and {age}"


def test_thresholds_and_sources_by_field():
    told = {"age": Fact("30-39", "estimate", 0.6), "race": Fact("White", "estimate", 0.6)}
    other = {"gender": Fact("male", "estimate", 0.9), "race": Fact("Black", "estimate", 0.9)}
    ask = replace(ASK, estimates={"priors.net": told, "other.net": other})
    settings = Settings("priors.net", thresholds={"race": 0.8})
    assert words(settings, ask, **ALL) == "Subject: 30-39 years old."
    mixed = replace(settings, sources={"gender": "labels", "race": "other.net"})
    assert words(mixed, ask, **ALL) == "Subject: 30-39 years old, female, Black."
    assert mixed.reads() == {"priors.net": ("age",), "other.net": ("race",)}
    assert replace(mixed, fields=("gender",)).reads() == {}


def test_a_field_is_dropped_by_itself_in_training():
    settings = Settings(drop=0.0, drops={"race": 0.5})
    told = [words(settings, replace(ASK, phase="train", draw=draw_for(0, 0, str(i))), **ALL) for i in range(200)]
    assert set(told) == {"Subject: 20-29 years old, female.", "Subject: 20-29 years old, female, Asian."}
    assert 60 < sum("Asian" in t for t in told) < 140
    asked = {words(settings, replace(ASK, draw=draw_for(0, 0, str(i))), **ALL) for i in range(50)}
    assert asked == {"Subject: 20-29 years old, female, Asian."}


def test_what_is_stated_goes_before_what_is_known():
    ask = replace(ASK, stated={"gender": "male"})
    assert words(Settings(), ask, **ALL) == "Subject: male."
    assert words(Settings("priors.net"), ask, **ALL) == "Subject: male."
    assert words(Settings(fields=("age",)), ask, **ALL) == ""
    assert words(Settings(), replace(ASK, stated={}), **ALL) == ""
    assert words(Settings(), replace(ask, demographics=False), **ALL) == ""


@pytest.mark.parametrize(
    ("settings", "field", "what"),
    [
        (Settings(sentence="A person."), "sentence", "has none of the gaps {age}, {gender}, {race}"),
        (Settings(sentence="A {sex}."), "sentence", "knows no gap {sex}"),
        (Settings(sentence="A[ {gender}."), "sentence", "a bracket without its other half"),
        (Settings(sentence="A {race}[, {age}].", fields=("age",)), "sentence", "which `fields` leaves out"),
        (Settings(thresholds={"skin": 0.5}), "thresholds", "'skin' is none of age, gender, race"),
        (Settings(drops={"race": 2.0}), "drops", "between 0 and 1"),
    ],
)
def test_mistakes_are_told(settings, field, what):
    assert any(name == field and what in told for name, told in settings.problems())


def test_an_unused_field_may_stand_in_brackets():
    assert Settings(sentence="A person[, {race}][, {age}].", fields=("age",)).problems() == []
    assert Settings(sentence="A {race}, {age}.", fields=("age",), unknown={"race": "x"}).problems() == []


def test_probabilities_are_averaged_over_frames_before_the_likeliest_word_is_taken():
    """Most frames say male, the mean says female; a frame without a face says nothing."""
    import torch
    from affectkit_plugins.encoders.face_analysis_facts_net import estimates

    from affectkit.blocks import TokenBlock

    chances = torch.tensor([[0.55, 0.45], [0.55, 0.45], [0.05, 0.95], [1.0, 0.0]])[None, :, None]
    mask = torch.tensor([True, True, True, False])[None, :, None]
    (row,) = estimates({"gender": (TokenBlock("gender", chances, mask), ("male", "female"))})
    assert (row["gender"].value, row["gender"].origin) == ("female", "estimate")
    assert row["gender"].probability == pytest.approx((0.45 + 0.45 + 0.95) / 3)


def test_the_page_shows_settings_that_are_right():
    page = (Path(__file__).parents[3] / "docs" / "bias.md").read_text()
    blocks = [yaml.safe_load(b) for b in re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S)]
    said = []
    for block in blocks:
        use = {k: v for k, v in block["prompt"]["parts"]["who"].items() if k != "use"}
        settings, problems = read(Settings, use, str)
        assert problems == []
        told = {n: Fact(f.value, "estimate", 0.9) for n, f in ALL.items()}
        said.append(words(settings, replace(ASK, estimates={"priors.net": told})))
        left = {n: f for n, f in told.items() if n == "age"}
        said.append(words(settings, replace(ASK, estimates={"priors.net": left})))
    assert said == [
        "Subject: 20-29 years old, female, Asian.",
        "Subject: 20-29 years old.",
        "The person is a woman of Asian origin, 20-29 years old.",
        "The person is a person, 20-29 years old.",
    ]
    for field in describe(Settings):
        if field.name not in ("turns", "task"):
            assert f"`{field.name}`" in page, field.name
