"""The built-in annotators: what they find in sounds and texts whose truth is known."""

import numpy as np
import pytest
from affectkit_plugins.annotators import duplicate_filter, length_filter, voice
from affectkit_plugins.annotators._voice_signal import measure

from affectkit.annotators import Reject

RATE = 16000


def sound(pitch, seconds=2.0, loud=0.1, syllables=4.0):
    time = np.arange(int(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 8))
    return loud * wave * (1 + 0.95 * np.sin(2 * np.pi * syllables * time)) / 2


@pytest.mark.parametrize("pitch", [90.0, 130.0, 220.0, 350.0])
def test_the_pitch_of_a_sound_is_found(pitch):
    assert measure(sound(pitch), RATE)["pitch"] == pytest.approx(pitch, rel=0.02)


def test_loudness_syllables_and_pauses_are_measured():
    soft, loud = measure(sound(150, loud=0.05), RATE), measure(sound(150, loud=0.2), RATE)
    assert loud["energy"] - soft["energy"] == pytest.approx(12.04, abs=0.1)
    for rate in (3.0, 5.0):
        assert measure(sound(150, 3.0, syllables=rate), RATE)["rate"] == pytest.approx(rate, rel=0.2)
    gap = np.concatenate([sound(150, 1.0), np.zeros(RATE // 2), sound(150, 1.0)])
    assert measure(gap, RATE)["pauses"] == pytest.approx(0.2, abs=0.05)
    assert measure(sound(150), RATE)["pauses"] < 0.02
    rising = np.concatenate([sound(pitch, 0.3) for pitch in (120, 150, 190, 240)])
    assert measure(rising, RATE)["pitch_spread"] > 5 > 0.5 > measure(sound(150), RATE)["pitch_spread"]


def test_what_is_no_voice_is_rejected():
    assert measure(np.zeros(RATE), RATE) is None
    assert measure(np.zeros(10), RATE) is None
    assert measure(0.1 * np.random.default_rng(0).normal(size=RATE), RATE) is None


def row(person, pitch, energy=-20.0):
    return {"pitch": pitch, "pitch_spread": 2.0, "energy": energy, "rate": 4.0, "pauses": 0.1, "person": person}


def test_a_voice_is_told_against_the_same_speaker():
    told = voice.build_describe(voice.Describe())(
        [row("a", 100), row("a", 110), row("a", 180), row("b", 200), row("b", 205), row("b", 290)]
    )
    assert told[2]["text"] == "The voice is high."
    assert told[3]["text"] == "The voice is low.", "200 Hz is low for b, and would be high for a"
    alone = voice.build_describe(voice.Describe())([row(None, 100, -30), row(None, 100, -10)])
    assert [one["text"] for one in alone] == ["The voice is quiet.", "The voice is loud."]
    same = voice.build_describe(voice.Describe())([row("a", 100)] * 3)
    assert same[0]["text"] == "The voice is as usual."


def test_tails_and_duplicates_are_rejected():
    texts = [{"text": " ".join(["w"] * n)} for n in (1, 5, 5, 6, 6, 6, 7, 7, 8, 40)]
    found = length_filter.build(length_filter.Settings(0.1, 0.1))(texts)
    assert [i for i, one in enumerate(found) if isinstance(one, Reject)] == [0, 9]
    assert found[9] == Reject("among the longest texts", "40 words")
    found = duplicate_filter.build(duplicate_filter.Settings(least=2))(
        [{"text": t} for t in ("Oh no!", "oh, NO", "yes", "Yes.")]
    )
    assert [isinstance(one, Reject) for one in found] == [False, True, False, False]
