"""Who speaks: a mouth that moves with the sound, with another's, not at all."""

import numpy as np
import pytest
from affectkit_plugins.annotators import speaks
from affectkit_plugins.datasets import puppets

from affectkit.annotators import Reject
from affectkit.data.views import look_at
from affectkit.raw import RawPixels, RawWave
from affectkit.recipe.views import Faces, Frames, Wave

ANY = {"least": -1.0}


def example(which=0):
    return list(speaks.Settings().examples())[which][0]


def score(row, **settings):
    (one,) = speaks.build(speaks.Settings(**{**ANY, **settings}))([row])
    return one


def without(row, valid):
    seen = row["faces"]
    return {**row, "faces": RawPixels(seen.frames, seen.indices, seen.times, np.array(valid))}


def test_a_mouth_that_moves_with_the_sound_scores_high():
    assert score(example(0))["score"] > 0.8
    assert score(example(1))["score"] < 0.38
    assert score(example(1), least=0.38).reason == "the voice is not the visible person's"


def test_a_mouth_or_a_sound_that_does_not_move_scores_nothing():
    row = example()
    still = RawPixels((row["faces"].frames[0],) * 24, row["faces"].indices, row["faces"].times, row["faces"].valid)
    assert score({**row, "faces": still})["score"] == 0
    assert score({**row, "wave": RawWave(np.zeros(32000, np.float32), 16000)})["score"] == 0
    assert abs(score({**row, "wave": RawWave(np.zeros(0, np.float32), 16000)})["score"]) == 0


def test_loudness_of_the_whole_and_light_do_not_matter():
    row = example()
    loud = {**row, "wave": RawWave(row["wave"].samples * 0.1, 16000)}
    assert score(loud)["score"] == pytest.approx(score(row)["score"], abs=1e-3)
    darker = tuple((frame * 0.5).astype(np.uint8) for frame in row["faces"].frames)
    dark = RawPixels(darker, row["faces"].indices, row["faces"].times, row["faces"].valid)
    assert score({**row, "faces": dark})["score"] == pytest.approx(score(row)["score"], abs=0.05)


def test_an_expression_that_comes_and_stays_is_no_speech():
    row = example()
    frames = [row["faces"].frames[0].copy() for _ in range(24)]
    for frame in frames[12:]:
        frame[44:58:2, 24:40] = 40
    slow = np.r_[np.zeros(16000), np.ones(16000)] * np.sin(np.arange(32000) * 0.1)
    smile = RawPixels(tuple(frames), row["faces"].indices, row["faces"].times, row["faces"].valid)
    jump = score({"faces": smile, "wave": RawWave(slow.astype(np.float32), 16000)})["score"]
    assert jump > 0.8, "one jump in both is all that there is to see"
    assert score({"faces": smile, "wave": row["wave"]})["score"] < 0.38


def test_too_few_frames_tell_nothing():
    row = example()
    reason = "too few frames to tell who speaks"
    assert score(without(row, [True] * 11 + [False] * 13)) == Reject(reason, "11 frames")
    assert score(without(row, [i % 3 == 0 for i in range(24)]), fewest=4).reason == reason, "four a second are too few"
    assert "score" in score(without(row, [i % 5 > 0 for i in range(24)]))
    assert {n for n, _ in speaks.Settings(least=2, fewest=1).problems()} == {"least", "fewest"}


@pytest.mark.slow
def test_puppets_speak_with_their_own_voice():
    """The area under the curve of 30 against each other; benchmarks/hearing.json has that of 100."""
    clips = puppets.build(puppets.Settings(count=200, test=0.15), "test")
    views = {"frames": Frames(pick="all"), "faces": Faces(margin=0.1), "wave": Wave()}
    seen = [look_at(clip, views).views for clip in clips]
    made = speaks.build(speaks.Settings(**ANY))
    own = [one["score"] for one in made(seen)]
    other = [one["score"] for k in (1, 2, 3)
             for one in made([{**v, "wave": seen[(i + k) % len(seen)]["wave"]} for i, v in enumerate(seen)])]  # fmt: skip
    assert np.mean([[a > b for b in other] for a in own]) > 0.82
