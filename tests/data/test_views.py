"""Views: which frames, whose face, how much sound; each file read once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from media_files import picture, shades, sine, write_clip, write_sound
from PIL import Image

from affectkit.data import video as media
from affectkit.data import views
from affectkit.data.faces import Face, crop_box, cut, link, overlap
from affectkit.data.views import look, pick, spread
from affectkit.errors import InputError, MediaError
from affectkit.recipe.views import VIEWS, Faces, Features, Frames, Question, Subtitle, Wave
from affectkit.sample import Fact, Sample

SIZE = (64, 96)
COUNT = 20


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """20 frames, each of its own colour but for a white 16 x 16 patch that moves 2 pixels a frame; a tone."""
    images = [picture(SIZE, c // 2) for c in shades(COUNT)]
    for i, image in enumerate(images):
        image[24:40, 2 * i + 8 : 2 * i + 24] = 255
    return write_clip(tmp_path_factory.mktemp("views") / "clip.mp4", images, tone=(440, 0.8))


@pytest.fixture
def boxes():
    return np.array([[2 * i + 8, 24, 2 * i + 24, 40] for i in range(COUNT)], np.float32)


def sample_of(clip, **facts):
    return Sample("a", video=clip, facts={name: Fact(v, per_frame=True) for name, v in facts.items()})


def test_every_view_has_a_shape():
    made = {name: cls(**({"name": "x"} if name == "features" else {})).shape() for name, cls in VIEWS.items()}
    assert {n: s.kind for n, s in made.items()} == {
        "frames": "pixels", "faces": "pixels", "wave": "wave", "subtitle": "text", "question": "text",
        "features": "tokens",
    }  # fmt: skip
    assert Frames(count=5).shape().time == 5
    assert Frames("all").shape().time is None
    assert Frames("peak").shape().time == 1
    wave = Wave(seconds=2, clips=8).shape()
    assert (wave.time, wave.tokens, wave.width) == (8, 32000, 16000)


@pytest.mark.parametrize(
    ("view", "total", "want"),
    [
        (Frames(count=4), 20, [2, 7, 12, 17]),
        (Frames(count=8), 3, [0, 1, 2]),
        (Frames(count=4, repeat=True), 2, [0, 0, 1, 1]),
        (Frames("first"), 9, [0]),
        (Frames("middle"), 9, [4]),
        (Frames("middle"), 10, [5]),
        (Frames("all"), 3, [0, 1, 2]),
        (Frames("all", max=2), 8, [2, 6]),
        (Frames("peak"), 10, [5]),
        (Frames(), 1, [0]),
        (Frames(), 0, []),
    ],
)
def test_picks(view, total, want):
    assert pick(view, total) == want


def test_uniform_is_the_centre_of_equal_segments():
    for total in range(1, 60):
        for count in range(1, total + 1):
            want = [int(np.floor((i + 0.5) * total / count)) for i in range(count)]
            assert spread(total, count) == want
            assert len(set(want)) == count


def test_peak_is_where_the_units_sum_highest(clip):
    units = np.zeros((COUNT, 3))
    units[4, 0], units[11] = 0.9, (0.4, np.nan, 0.6)
    assert pick(Frames("peak"), COUNT, sample_of(clip, action_units=units)) == [11]
    assert pick(Frames("peak"), 8, sample_of(clip, action_units=units)) == [4]  # rows beyond the clip do not count


def test_faces_are_cut_from_the_same_frames(clip, boxes):
    asked = {"frames": Frames(count=4), "faces": Faces(margin=0.0)}
    found = look(sample_of(clip, face_box=boxes), asked)
    assert found["frames"].indices.tolist() == found["faces"].indices.tolist() == [2, 7, 12, 17]
    assert found["frames"].boxes is None
    assert found["frames"].frame_size == found["faces"].frame_size == SIZE
    np.testing.assert_array_equal(found["faces"].boxes, boxes[[2, 7, 12, 17]])
    for crop in found["faces"].frames:
        assert crop.shape == (16, 16, 3)
        assert crop[2:-2, 2:-2].min() > 235


def test_margin_square_and_border():
    assert crop_box((10, 10, 30, 50), (100, 100), 0.25, square=True) == (-10, 0, 50, 60)
    assert crop_box((10, 10, 30, 50), (100, 100), 0.25, square=False) == (5, 0, 35, 60)
    assert crop_box((200, 10, 230, 50), (100, 100), 0.25, square=True) is None
    assert crop_box((float("nan"),) * 4, (100, 100), 0.25, square=True) is None
    frame = np.full((20, 20, 3), 9, np.uint8)
    out = cut(frame, (-5, 10, 15, 30))
    assert out.shape == (20, 20, 3)
    assert (out[:10, 5:] == 9).all()
    assert out[:, :5].max() == out[10:].max() == 0


def test_a_frame_without_a_face_keeps_its_place(clip, boxes):
    boxes[7] = np.nan
    found = look(sample_of(clip, face_box=boxes), {"frames": Frames(count=4), "faces": Faces()})["faces"]
    assert found.valid.tolist() == [True, False, True, True]
    assert found.frames[1].max() == 0
    assert found.boxes[1].tolist() == [0, 0, 0, 0]
    short = look(sample_of(clip, face_box=boxes[:10]), {"frames": Frames(count=4), "faces": Faces()})["faces"]
    assert short.valid.tolist() == [True, False, False, False]


def test_grey_flip_and_hide(clip, boxes):
    asked = {
        "frames": Frames(count=2),
        "grey": Frames(count=2, grey=True),
        "mirrored": Frames(count=2, flip="always"),
        "luck": Frames(count=2, flip="random"),
        "hidden": Frames(count=2, hide="faces"),
        "faces": Faces(flip="random", margin=0.0),
    }
    found = look(sample_of(clip, face_box=boxes), asked, flips={"luck": True, "faces": True, "frames": True})
    plain = found["frames"].frames[0]
    grey = found["grey"].frames[0]
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 0] == grey[..., 2]).all()
    np.testing.assert_allclose(grey[..., 0], plain @ np.array([0.299, 0.587, 0.114]), atol=0.51)
    np.testing.assert_array_equal(found["mirrored"].frames[0], plain[:, ::-1])
    np.testing.assert_array_equal(found["luck"].frames[0], plain[:, ::-1])
    x0, y0, x1, y1 = boxes[found["frames"].indices[0]].astype(int)
    hidden = found["hidden"].frames[0]
    assert (hidden[y0:y1, x0:x1] == 128).all()
    np.testing.assert_array_equal(hidden[:, x1 + 3 :], plain[:, x1 + 3 :])
    assert plain[y0 + 2, x0 + 2].min() > 235  # what is shared stays as it was
    faces = found["faces"]
    assert faces.boxes[0].tolist() == [96 - x1, y0, 96 - x0, y1]
    x0, y0, x1, y1 = faces.boxes[0].astype(int)
    np.testing.assert_array_equal(faces.frames[0], found["luck"].frames[0][y0:y1, x0:x1])


def test_random_flip_without_a_draw_is_none(clip):
    found = look(sample_of(clip), {"a": Frames(count=2), "b": Frames(count=2, flip="random")})
    np.testing.assert_array_equal(found["a"].frames[0], found["b"].frames[0])


def two_people(frames):
    """A large face that stays on the right and moves, a small one on the left; found in changing order."""
    found = []
    for i, _ in enumerate(frames):
        large = Face((50 + 2 * i, 10, 80 + 2 * i, 40), landmarks=((55, 20),))
        small = Face((5, 30, 20, 45))
        found.append([large, small] if i % 2 else [small, large])
    found[1] = [found[1][1]]  # the large one turns away once
    return found


def test_the_largest_person_is_followed(clip):
    asked = {
        "frames": Frames(count=4),
        "faces": Faces(margin=0.0, detector={"use": "two"}),
        "other": Faces(margin=0.0, detector={"use": "two"}, person=1),
        "nobody": Faces(detector={"use": "two"}, person=2),
    }
    named = []
    found = look(sample_of(clip), asked, detector_for=lambda name: named.append(name) or two_people)
    assert named == ["faces", "other", "nobody"]
    assert found["faces"].valid.tolist() == [True, False, True, True]
    assert found["faces"].boxes[:, 0].tolist() == [50, 0, 54, 56]
    assert found["other"].valid.all()
    assert (found["other"].boxes == (5, 30, 20, 45)).all()
    assert not found["nobody"].valid.any()


def test_linking_keeps_people_who_cross_apart():
    frames = [[Face((i * 10, 0, i * 10 + 30, 30)), Face((100 - i * 10, 40, 128 - i * 10, 68))] for i in range(8)]
    first, second = link(frames)
    assert [f.box[1] for f in first] == [0] * 8
    assert [f.box[1] for f in second] == [40] * 8
    assert link([[], [], []]) == []
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)


def test_clip_without_any_source_of_boxes_is_an_input_error(clip):
    with pytest.raises(InputError, match=r"views\.faces.*no fact `face_box`"):
        look(sample_of(clip), {"frames": Frames(), "faces": Faces()})
    found = look(sample_of(clip), {"frames": Frames(count=2), "faces": Faces(whole="always")})["faces"]
    assert found.valid.all()
    assert found.boxes[0].tolist() == [0, 0, 96, 64]
    assert found.frames[0].shape == (64, 96, 3)


@pytest.fixture
def still(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (40, 30, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize("pick", ["uniform", "first", "middle", "peak", "all"])
def test_a_still_is_one_frame_and_its_own_face(still, pick):
    found = look(Sample("a", image=still), {"frames": Frames(pick), "faces": Faces(), "wave": Wave()})
    np.testing.assert_array_equal(found["frames"].frames[0], np.asarray(Image.open(still)))
    assert found["frames"].indices.tolist() == [0]
    assert found["faces"].valid.tolist() == [True]
    assert found["faces"].boxes.tolist() == [[0, 0, 30, 40]]
    assert found["wave"] is None


def test_a_still_with_a_box_or_a_detector(still):
    boxed = Sample("a", image=still, facts={"face_box": Fact((5, 6, 15, 16))})
    asked = {"frames": Frames(), "faces": Faces(margin=0.0, detector={"use": "x"}), "never": Faces(whole="never")}
    assert look(boxed, asked)["faces"].boxes.tolist() == [[5, 6, 15, 16]]
    seen = look(Sample("a", image=still), asked | {"never": Faces(whole="always")},
                detector_for=lambda name: lambda frames: [[Face((1, 2, 11, 12))]])  # fmt: skip
    assert seen["faces"].boxes.tolist() == [[1, 2, 11, 12]]
    none = look(Sample("a", image=still), {"frames": Frames(), "never": Faces(whole="never")})
    assert none["never"].valid.tolist() == [False]


def test_each_file_is_read_once(clip, boxes, monkeypatch):
    calls = []
    real = media.read
    monkeypatch.setattr(media, "read", lambda path, *a, **k: calls.append(path) or real(path, *a, **k))
    asked = {
        "first": Frames("first"), "eight": Frames(count=8), "all": Frames("all"), "faces": Faces("eight"),
        "sound": Wave(), "short": Wave(seconds=0.1), "words": Subtitle(),
    }  # fmt: skip
    found = look(sample_of(clip, face_box=boxes), asked)
    assert calls == [clip]
    assert len(found["all"].frames) == COUNT
    assert found["sound"].samples.shape[0] > 12000
    assert found["short"].samples.shape == (1600,)
    assert found["words"] is None


def test_sound_of_a_file_of_its_own(clip, tmp_path):
    tone = write_sound(tmp_path / "a.wav", sine(16000, 100, 0.5)[None], 16000)
    found = look(Sample("a", video=clip, audio=tone), {"frames": Frames(count=2), "wave": Wave()})
    np.testing.assert_array_equal(found["wave"].samples, sine(16000, 100, 0.5))
    alone = look(Sample("a", audio=tone), {"frames": Frames(), "faces": Faces(), "wave": Wave()})
    assert alone["frames"] is alone["faces"] is None
    assert alone["wave"].rate == 16000


def test_cutting_sound():
    sound = np.arange(100, dtype=np.float32)
    rate = 10
    assert views.cut_wave(sound, Wave(rate)) is sound
    assert views.cut_wave(sound, Wave(rate, seconds=4)).tolist() == list(range(30, 70))
    assert views.cut_wave(sound, Wave(rate, seconds=4, cut="start")).tolist() == list(range(40))
    assert len(views.cut_wave(sound, Wave(rate, seconds=99))) == 100
    clips = views.cut_wave(sound, Wave(rate, seconds=2, clips=3))
    assert clips[:, 0].tolist() == [0, 40, 80]
    assert clips.shape == (3, 20)
    short = views.cut_wave(sound[:5], Wave(rate, seconds=2, clips=2))
    assert short[:, :5].tolist() == [[0, 1, 2, 3, 4]] * 2
    assert short[:, 5:].max() == 0


def test_text_and_features(tmp_path):
    np.save(tmp_path / "f.npy", np.ones((7, 4), np.float64))
    np.save(tmp_path / "pickle.npy", np.array([{}], object), allow_pickle=True)
    sample = Sample("a", subtitle="Hi", features={"f": tmp_path / "f.npy", "p": tmp_path / "pickle.npy"})
    asked = {"words": Subtitle(), "asked": Question(), "f": Features("f", time=None), "none": Features("g")}
    found = look(sample, asked)
    assert found["words"] == "Hi"
    assert "asked" not in found
    assert found["f"].shape == (7, 1, 4)
    assert found["f"].dtype == np.float32
    assert found["none"] is None
    for view in (Features("p"), Features("f"), Features("f", time=None, width=5)):
        with pytest.raises(MediaError):
            look(sample, {"x": view})


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda file: np.save(file, np.array([[1.0, np.nan, np.inf]])), "has 2 numbers that are not finite"),
        (lambda file: np.save(file, np.full((2, 3), 1e300)), "has 6 numbers that are not finite"),
        (lambda file: np.savez(file, a=np.ones(3), b=np.ones(3)), "holds several arrays"),
        (lambda file: torch.save(torch.ones(3), file), "holds several arrays, or a checkpoint"),
    ],
)
def test_features_that_are_no_numbers_cost_their_sample(tmp_path, write, said):
    with (tmp_path / "f.npy").open("wb") as file:
        write(file)
    with pytest.raises(MediaError, match=rf"f\.npy: {said}"):
        look(Sample("a", features={"f": tmp_path / "f.npy"}), {"f": Features("f", time=None)})


def test_broken_clip_is_a_media_error(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with pytest.raises(MediaError, match=r"a\.mp4"):
        look(Sample("a", video=tmp_path / "a.mp4"), {"frames": Frames()})
    with pytest.raises(MediaError, match="no such file"):
        look(Sample("a", image=tmp_path / "b.png"), {"frames": Frames()})


def test_a_view_of_faces_needs_its_frames(clip):
    with pytest.raises(InputError, match="nothing_such"):
        look(sample_of(clip), {"faces": Faces("nothing_such")})


@pytest.mark.parametrize("box", [(500, 500, 600, 600), (0.25, 0.4, 0.375, 0.6), (40, 40, 40, 60), (0, 0, 99999, 99999)])
def test_a_box_of_a_still_that_shows_no_part_of_it_is_no_face(still, box):
    seen = views.look_at(
        Sample("a", image=still, facts={"face_box": Fact(box)}), {"f": Frames(count=1), "c": Faces(of="f", margin=0.0)}
    )
    assert not seen.views["c"].valid.any()
    assert "its face box" in seen.notices["c"]["faceless"]
    alone = views.look_at(Sample("a", image=still), {"f": Frames(count=1), "c": Faces(of="f")})
    assert alone.views["c"].valid.all()  # nobody says where the face is: then the whole picture is one


def test_a_segment_of_a_clip_shows_its_own_frames_and_sound(clip):
    wanted = {"f": Frames(pick="all"), "w": Wave(rate=16000)}
    whole = look(Sample("a", video=clip), wanted)
    part = look(Sample("a", video=clip, start=0.2, end=0.6), wanted)
    np.testing.assert_array_equal(np.stack(part["f"].frames), np.stack(whole["f"].frames[5:15]))
    assert len(part["w"].samples) == 6400


def test_what_was_mended_in_a_sound_is_said(tmp_path):
    tone = sine(16000, 440, 0.5)
    path = write_sound(tmp_path / "a.wav", np.stack([tone, -tone]), 16000)
    seen = views.look_at(Sample("a", audio=path), {"w": Wave(rate=16000)})
    assert "cancel each other" in seen.notices["w"]["mended"]
