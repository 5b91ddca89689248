"""What answers in words say: labels, lists of labels, ratings, answers in tags; and what is none of these."""

from __future__ import annotations

import math

import pytest
from affectkit_plugins.readers import numbers, plain, tagged

from affectkit.reading import Reading, read_plain
from affectkit.sample import Targets

LABELS = ("joy", "fear, anxiety", "anger", "平和")
SET = Targets(LABELS)
RATED = Targets(numbers={"valence": (1.0, 5.0), "arousal": (1.0, 5.0)})


@pytest.mark.parametrize("text", ["joy", "**Joy**.", "not joy", "I feel joy", "sorry, I cannot tell", "", "1.0"])
def test_one_label_is_read_as_ever(text):
    found, before = plain.read(text, SET), read_plain(text, LABELS)
    assert (found.label, found.refused) == (before.label, before.refused)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("Joy", ("joy",)),
        ("joy, anger", ("joy", "anger")),
        ("Anger and joy.", ("anger", "joy")),
        ("joy, anger, and fear, anxiety", ("joy", "anger", "fear, anxiety")),
        ("fear, anxiety & joy", ("fear, anxiety", "joy")),
        ("1. joy\n2. **anger**\n", ("joy", "anger")),
        ("- joy\n- anger", ("joy", "anger")),
        ("['joy', 'anger']", ("joy", "anger")),
        ('```json\n{"labels": ["anger", "joy"]}\n```', ("anger", "joy")),
        ('{"joy": 1, "anger": 0, "fear, anxiety": true}', ("joy", "fear, anxiety")),
        ("joy、平和", ("joy", "平和")),
        ("joy/anger|joy", ("joy", "anger")),
        ("joy, awe", ("joy", "awe")),
        ("This is joy, since she smiles at him all the time", ()),
        ("joy, and I say so because of the smile that one can see", ()),
        ("[]", ()),
        ("joy," * 300, ()),
    ],
)
def test_lists_of_labels(text, labels):
    assert plain.read(text, SET).labels == labels


def test_a_refusal_is_no_list():
    assert plain.read("I'm sorry, I can't tell.", SET) == Reading(refused=True)


GOOD = {"valence": 3.2, "arousal": 2.9}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("valence 3.2, arousal: 2.9", GOOD),
        ("Arousal = 2,9; VALENCE = 3,2", GOOD),
        ("**Valence:** 3.2\n**Arousal:** 2.9", GOOD),
        ("1. valence: 3\n2. arousal: 2", {"valence": 3.0, "arousal": 2.0}),
        ("3.2 valence and 2.9 arousal", GOOD),
        ("valence,3.2,arousal,2.9", GOOD),
        ("Valence is 3.2 (1 to 5), arousal 2.9 out of 5.", GOOD),
        ("on a scale of 1 to 5 the valence is 3.2, the arousal 2.9", GOOD),
        ('{"valence": 3.2, "Arousal": "2,9"}', GOOD),
        ("{'valence': 3.2, 'arousal': 2.9}", GOOD),
        ("[3.2, 2.9]", GOOD),
        ("3.2 / 2.9", GOOD),
        ("3,2 2,9", GOOD),
        ("3.2,2.9", GOOD),
        ("3,2 points and 2,9 points", GOOD),
        ("3/5, 2/5", {"valence": 3.0, "arousal": 2.0}),
        ("３.２、２.９", GOOD),
        ("\N{MINUS SIGN}3.2 / -2.9", {"valence": -3.2, "arousal": -2.9}),
        ("valence 7, arousal 2", {"valence": 7.0, "arousal": 2.0}),
        ("valence three, arousal 2", {"arousal": 2.0}),
        ("valence: 3-4, arousal: 2", {"arousal": 2.0}),
        ("valence 3, valence 4, arousal 2", {"arousal": 2.0}),
        ("valence is not 3, arousal 2", {"arousal": 2.0}),
        ("valence 1e999, arousal 2", {"arousal": 2.0}),
        ('{"valence": true, "arousal": 2}', {"arousal": 2.0}),
        ('{"valence": 1' + "0" * 400 + ', "arousal": 2}', {"arousal": 2.0}),
        ("On a scale of 0 to 10: valence 3.2, arousal 2.9", {}),
        ("3.2 valence, 2.9 arousal, and 0.9 sure", {}),
        ("3.2", {}),
        ("1, 2, 3", {}),
        ("In 2019 she was 3", {}),
        ("60 %, 20 %", {}),
        ("1.2.3 4", {}),
        ("3-4 5", {}),
        ("high and low", {}),
        ("", {}),
    ],
)
@pytest.mark.parametrize("reader", [plain.read, numbers.build(numbers.Settings())], ids=["plain", "numbers"])
def test_ratings(reader, text, read):
    found = reader(text, RATED)
    assert found.numbers == pytest.approx(read)
    assert all(math.isfinite(v) for v in found.numbers.values())
    missing = [name for name in RATED.numbers if name not in read]
    assert bool(found.error) == bool(missing)
    assert all(name in found.error for name in missing)


def test_one_rating_and_numbers_without_a_name():
    one = Targets(numbers={"sentiment": (-3.0, 3.0)})
    assert plain.read("-1,5", one).numbers == {"sentiment": -1.5}
    assert plain.read("-1.5 (-3 to 3)", one).numbers == {"sentiment": -1.5}
    assert plain.read("2/3", one).numbers == {"sentiment": 2.0}
    strict = numbers.build(numbers.Settings(unnamed=False))
    assert strict("-1.5", one).numbers == {}
    assert strict("sentiment -1.5", one).numbers == {"sentiment": -1.5}


def test_short_names_are_not_found_in_words():
    asked = Targets(numbers={"V": (1.0, 5.0), "A": (1.0, 5.0)})
    assert plain.read("V 3, a lot of A 2", asked).numbers == {"V": 3.0, "A": 2.0}


def test_the_reader_of_numbers_reads_no_label_and_knows_refusals():
    read = numbers.build(numbers.Settings())
    assert read("joy", Targets(LABELS, RATED.numbers)).label is None
    assert read("I cannot judge that.", RATED).refused


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<think>A smile.</think><answer>Joy</answer>", Reading("joy", ("joy",), thought="A smile.", answer="Joy")),
        ("<ANSWER>\njoy, anger\n</ANSWER> Done.", Reading(labels=("joy", "anger"), answer="joy, anger")),
        ("<answer>joy</answer> <answer>joy</answer>", Reading("joy", ("joy",), answer="joy")),
        ("<answer>I cannot tell</answer>", Reading(refused=True, answer="I cannot tell")),
        ("joy", Reading(answer="", error="there is no <answer> in the answer")),
        ("<answer>joy", Reading(answer="", error="<answer> is not closed")),
        ("<answer>joy</answer><answer>anger</answer>", Reading(answer="", error="<answer> holds several answers")),
        (
            "<think>Is it <answer>joy</answer>? No.",
            Reading(thought="Is it <answer>joy</answer>? No.", answer="", error="there is no <answer> in the answer"),
        ),
        ("<think>One.</think><think>Two.</think>", Reading(
            thought="One.\nTwo.", answer="", error="there is no <answer> in the answer")),
    ],
)  # fmt: skip
def test_answers_in_tags(text, found):
    assert tagged.build(tagged.Settings())(text, SET) == found


def test_tags_of_one_s_own():
    read = tagged.build(tagged.Settings(answer="final", thought="why"))
    assert read("<why>low</why><final>valence 2, arousal 1</final>", RATED).numbers == {"valence": 2.0, "arousal": 1.0}
    assert tagged.Settings(answer="a b").problems()
    assert tagged.Settings(answer="think").problems()
    assert not tagged.Settings().problems()
