"""What is said of a clip that was answered all the same: no face, several people, no sound, no words."""

import numpy as np
import pytest
import tiny_run
from media_files import picture, shades, write_clip

from affectkit.data import faces as noticed
from affectkit.data.faces import Face
from affectkit.data.splits import open_splits
from affectkit.data.views import look_at
from affectkit.encode.cache import Cache
from affectkit.evaluation.predict import AnswerOptions, predict
from affectkit.model.model import build
from affectkit.plan.check import check
from affectkit.recipe.views import Faces, Frames, Wave
from affectkit.sample import Fact, Sample

NEAR, FAR = Face((0, 0, 30, 30)), Face((60, 0, 80, 20))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A clip with a tone, one whose sound is silence, one without sound."""
    folder = tmp_path_factory.mktemp("clips")
    frames = [picture((64, 96), c) for c in shades(12)]
    write_clip(folder / "tone.mkv", frames, tone=(440, 0.5))
    write_clip(folder / "hush.mkv", frames, tone=(0, 0.5))
    write_clip(folder / "mute.mkv", frames)
    return folder


def seen(clip, found, person=0):
    """What is noticed of a clip in whose frames a detector finds `found`."""
    views = {"frames": Frames(count=4), "faces": Faces(detector={"use": "any"}, person=person), "wave": Wave()}
    sample = Sample("a", video=clip)
    looked = look_at(sample, views, detector_for=lambda _: lambda frames: [found(i) for i in range(len(frames))])
    return noticed.merge_notices(looked.notices)


@pytest.mark.parametrize(
    ("found", "person", "wanted"),
    [
        (lambda i: [NEAR], 0, {}),
        (lambda i: [NEAR] if i == 2 else [], 0, {}),
        (lambda i: [NEAR, FAR] if i == 2 else [NEAR], 0, {}),
        (
            lambda i: [NEAR, FAR],
            0,
            {"people": "2 people were found; number 0 by size of face, counted from 0, was followed"},
        ),
        (
            lambda i: [NEAR, FAR],
            1,
            {"people": "2 people were found; number 1 by size of face, counted from 0, was followed"},
        ),
        (lambda i: [], 0, {"faceless": "none was found in 4 frames"}),
        (lambda i: [NEAR], 3, {"faceless": "number 3 was asked for, counted from 0; people found: 1"}),
    ],
    ids=["one", "in one frame", "a second in one frame", "two", "the second of two", "none", "no fourth"],
)
def test_faces(clips, found, person, wanted):
    assert seen(clips / "tone.mkv", found, person) == wanted


def test_sound(clips):
    assert seen(clips / "mute.mkv", lambda i: [NEAR]) == {"soundless": "there is no sound"}
    assert seen(clips / "hush.mkv", lambda i: [NEAR]) == {"soundless": "its sound is silence"}
    assert noticed.sound_notices(np.zeros(0, np.float32)) == {"soundless": "there is no sound"}


def test_a_sound_file_has_no_picture_to_find_a_face_in():
    assert noticed.face_notices(None) == {"faceless": "there is no picture"}


def test_words_that_the_prompt_would_hold_are_missed(clips, tmp_path):
    plan = check(tiny_run.write_recipe(tmp_path), ["data.count=14", "prompt.parts.words={use: subtitle}"])
    splits = open_splits(plan, plan.stages["instruct"])
    model, _ = build(plan)
    asked = [Sample("a", video=clips / "tone.mkv"), Sample("b", video=clips / "tone.mkv", subtitle="Leave me alone.")]
    cache = Cache(tmp_path / "cache")
    for _ in range(2):  # made, and read from the cache
        found = predict(model, asked, splits.labels, cache, AnswerOptions())
        assert [dict(p.notes) for p in found] == [{"wordless": "no subtitle is given"}, {}]
    mute = [Sample("c", video=clips / "mute.mkv", subtitle="Leave me alone.")]
    for _ in range(2):
        assert [dict(p.notes) for p in predict(model, mute, splits.labels, cache, AnswerOptions())] == [
            {"soundless": "there is no sound"}
        ]


EYES = """views.frames={use: frames, pick: uniform, count: 2}
views.faces={use: faces, of: frames}
streams.scene={steps: {encoder: {use: image_patches, pixels: frames, size: 32}, mean: {use: mean}, projector: {use: linear}}}
streams.face={steps: {encoder: {use: image_patches, pixels: faces, size: 32}, mean: {use: mean}, projector: {use: linear}}}
prompt.parts.scene={use: slot, stream: scene}
prompt.parts.face={use: slot, stream: face}
data.count=14""".splitlines()


def test_what_is_kept_of_one_view_tells_nothing_of_another(clips, tmp_path):
    """The scene is known from a time when no face was looked for rightly; that is not said of the next time."""
    cache = Cache(tmp_path / "cache")
    clip = Sample("a", video=clips / "tone.mkv", subtitle="oh", facts={"face_box": Fact((float("nan"),) * 4)})

    def notes(*overrides):
        plan = check(tiny_run.write_recipe(tmp_path), [*EYES, *overrides])
        splits = open_splits(plan, plan.stages["instruct"])
        model, _ = build(plan)
        return [dict(p.notes) for p in predict(model, [clip], splits.labels, cache, AnswerOptions())]

    assert notes() == [{"faceless": "none was found in 2 frames"}]
    assert notes("views.faces.whole=always") == [{}]
    assert notes() == [{"faceless": "none was found in 2 frames"}]
