"""Media and weights with bytes flipped, cut and added: what is read is finite and of its shape, or the file is named."""

from __future__ import annotations

import io
import warnings
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from media_files import picture, shades, sine, write_clip, write_wav
from PIL import Image
from safetensors.torch import save

from affectkit.data.image import read_still, verify_still
from affectkit.data.video import probe, read
from affectkit.errors import InputError, MediaError
from affectkit.labels.npz import read_rows
from affectkit.weight_files import contents, header
from affectkit.weights import load_state


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """The bytes with some flipped, most of these near the front; cut; or with others in between."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 8))):
        front = draw(st.booleans())
        at = draw(st.integers(0, min(len(data) - 1, 200 if front else len(data) - 1)))
        data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, data[at] ^ (1 << draw(st.integers(0, 7)))]))
    how = draw(st.sampled_from(["flip", "flip", "cut", "insert", "drop"]))
    at = draw(st.integers(0, len(data)))
    if how == "cut":
        return bytes(data[:at])
    if how == "insert":
        return bytes(data[:at] + draw(st.binary(max_size=16)) + data[at:])
    return bytes(data[:at] + data[at + draw(st.integers(0, 16)) :]) if how == "drop" else bytes(data)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """By ending, the bytes of a small whole file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    images = [picture((32, 48), c) for c in shades(6)]
    for ending in ("mp4", "mkv", "avi"):
        write_clip(folder / f"a.{ending}", images, tone=(440, 0.24))
    write_wav(folder / "a.wav", np.stack([sine(8000, 440, 0.2), sine(8000, 300, 0.2)]), 8000)
    write_wav(folder / "b.wav", np.stack([sine(8000, 440, 0.2)] * 6), 8000, 0x3F)
    for ending in ("png", "jpg", "bmp", "gif", "webp", "tif"):
        Image.fromarray(images[0]).save(folder / f"a.{ending}")
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(images[0]).save(folder / "turned.jpg", exif=exif)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.wav", "b.wav"])
def test_damaged_clips_and_sounds(folder, media, name):
    @given(damaged(media[name]))
    def cases(data):
        path = folder / name
        path.write_bytes(data)
        try:
            probe(path)
            found = read(path, lambda total: range(min(total, 8)), 8000)
        except MediaError as error:
            assert name in str(error)
            return
        for frame in found.frames.values():
            assert frame.dtype == np.uint8
            assert frame.ndim == 3
        assert all(t >= 0 and np.isfinite(t) for t in found.times.values())
        if found.sound is not None:
            assert found.sound.dtype == np.float32
            assert found.sound.ndim == 1
            assert np.isfinite(found.sound).all()
            assert found.sound.size == 0 or np.abs(found.sound).max() <= 12  # ten times full scale is another unit
            assert len(found.sound) < 8000 * 3600

    cases()


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.gif", "a.webp", "a.tif", "turned.jpg"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_stills(folder, media, name):
    @given(damaged(media[name]))
    def cases(data):
        path = folder / name
        path.write_bytes(data)
        try:
            verify_still(path)
            found = read_still(path)
        except MediaError as error:
            assert name in str(error)
            return
        assert found.dtype == np.uint8
        assert found.shape[2] == 3

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        cases()


STATE = {"a.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4), "b": torch.ones(5)}


def as_torch(value, legacy=False):
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def as_npz():
    file = io.BytesIO()
    np.savez(file, label_corpus=np.array({"a": {"emo": 1}}, dtype=object), allow_pickle=True)
    return file.getvalue()


CONTAINERS = {
    "a.safetensors": save(STATE),
    "a.pt": as_torch(STATE),
    "old.pt": as_torch(STATE, legacy=True),
    "a.bin": as_torch({"model": STATE, "epoch": 3}),
}


@pytest.mark.parametrize("name", sorted(CONTAINERS))
def test_damaged_weights(folder, name):
    @given(damaged(CONTAINERS[name]))
    def cases(data):
        path = folder / name
        path.write_bytes(data)
        try:
            found = load_state(path)
        except InputError as error:
            assert name in str(error)
            found = None
        assert found is None or all(isinstance(tensor, torch.Tensor) for tensor in found.values())
        try:
            told = contents(path)
        except InputError as error:
            assert name in str(error)
            return
        assert (
            found is None
            or {n: tuple(t.shape) for n, t in found.items()}.items() <= {n: s for n, (_, s) in told.items()}.items()
        )

    cases()


@given(damaged(CONTAINERS["a.safetensors"]))
def test_a_header_that_is_taken_is_one_that_can_be_read(folder, data):
    path = folder / "head.safetensors"
    path.write_bytes(data)
    try:
        shapes = header(path)
    except InputError as error:
        assert "head.safetensors" in str(error)
        return
    try:
        found = load_state(path)
    except InputError:
        return
    assert {name: tuple(t.shape) for name, t in found.items()} == {name: shape for name, (_, shape) in shapes.items()}


@given(damaged(as_npz()))
def test_damaged_arrays_of_labels(folder, data):
    path = folder / "labels.npz"
    path.write_bytes(data)
    try:
        read_rows(path, None, None)
    except InputError as error:
        assert "labels.npz" in str(error)
    else:
        assert zipfile.is_zipfile(path)
