"""Detectors: one contract, and what they find on real photographs where those and the packages are there."""

from __future__ import annotations

import importlib.util
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from affectkit_plugins.detectors import haar, mediapipe
from PIL import Image

PHOTOS = Path(os.environ.get("AFFECTKIT_REFERENCE", "../shared/reference")) / "real" / "photos"
FOUND = {haar: 0.8, mediapipe: 0.95}
"""Least share of the photographs in which a face is found (0.90 and 0.995 of all 600)."""


@pytest.fixture(params=[haar, mediapipe], ids=["haar", "mediapipe"])
def piece(request):
    (piece,) = request.param.affectkit_pieces()
    for package in piece.needs:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (extra {piece.extra})")
    return piece


@pytest.fixture
def photos():
    files = sorted(PHOTOS.glob("*.jpg"))[::15]
    if not files:
        pytest.skip(f"no photographs in {PHOTOS}")
    return [np.array(Image.open(f).convert("RGB")) for f in files]


@pytest.mark.parametrize("module", [haar, mediapipe])
def test_pieces_name_what_they_need(module):
    (piece,) = module.affectkit_pieces()
    assert piece.kind == "detector"
    assert piece.needs
    assert piece.extra in ("face", "face-light")
    assert piece.build(piece.settings()) is not None  # heavy packages load on the first call only


def test_nothing_in_an_empty_picture(piece):
    detect = piece.build(piece.settings())
    assert detect([np.zeros((80, 60, 3), np.uint8), np.full((33, 47, 3), 128, np.uint8)]) == [[], []]
    assert detect([]) == []


def test_faces_in_photographs(piece, photos):
    found = piece.build(piece.settings())(photos)
    assert len(found) == len(photos)
    module = haar if piece.name == "haar" else mediapipe
    assert np.mean([bool(faces) for faces in found]) >= FOUND[module]
    for faces, photo in zip(found, photos, strict=True):
        for face in faces:
            x0, y0, x1, y1 = face.box
            assert x0 < x1
            assert y0 < y1
            assert 0 <= (x0 + x1) / 2 < photo.shape[1]
            assert 0 <= face.score <= 1


def test_boxes_are_pixels_of_the_frame(piece, photos):
    photo = photos[0]
    detect = piece.build(piece.settings())
    ((face, *_),) = detect([photo])
    height, width = photo.shape[:2]
    scene = np.zeros((2 * height, 3 * width, 3), np.uint8)
    scene[height:, width : 2 * width] = photo
    ((moved, *_),) = detect([scene])
    shift = np.array(moved.box) - np.array(face.box) - (width, height, width, height)
    assert np.abs(shift).max() < 0.15 * width


def test_same_frames_same_faces_in_a_copy(piece, photos):
    detect = piece.build(piece.settings())
    first = detect(photos[:4])
    assert pickle.loads(pickle.dumps(detect))(photos[:4]) == first == detect(photos[:4])
