"""Media of every make, named anyhow: what is seen and heard is what is in them, or the file is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from media_files import picture, shades, sine, turn, write_clip, write_wav
from PIL import Image

from affectkit.data.image import read_still
from affectkit.data.video import read
from affectkit.errors import MediaError

NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20)


@given(
    NAME | st.sampled_from(["file:b", "concat:a|b", "pipe:0", "10:32", "http:x", "-i", "%d", "cache:b", "a?b#c"]),
    st.integers(1, 4),
)
def test_a_file_of_any_name_is_that_file(folder, monkeypatch, name, level):
    monkeypatch.chdir(folder)
    path = type(folder)(f"{name}.wav")
    assume(name.strip(".") and len(path.name.encode()) < 250)
    tone = sine(8000, 300, 0.1, 0.2 * level)
    write_wav(path, tone[None], 8000)
    try:
        np.testing.assert_allclose(read(path, None, 8000).sound, tone, atol=1e-6)
    finally:
        path.unlink()


@given(st.integers(1, 16), st.integers(0, 15), st.floats(0.05, 0.9), st.sampled_from([8000, 16000]), st.booleans())
def test_a_voice_in_any_channel_of_any_number_is_heard(folder, count, which, loud, rate, everywhere):
    channels = np.zeros((count, 1600), np.float32)
    channels[slice(None) if everywhere else which % count] = sine(16000, 400, 0.1, loud)
    sound = read(write_wav(folder / "many.wav", channels, 16000), None, rate).sound
    least = loud / 2 if count == 2 and not everywhere else loud
    assert np.abs(sound).max() == pytest.approx(least, rel=0.1)
    assert abs(len(sound) - rate / 10) <= 1


@given(st.lists(st.tuples(st.integers(0, 799), st.sampled_from([np.inf, -np.inf, np.nan, 1e30])), max_size=5))
def test_numbers_that_are_none_stay_out(folder, odd):
    tone = sine(8000, 300, 0.1)
    for at, value in odd:
        tone[at] = value
    found = read(write_wav(folder / "odd.wav", tone[None], 8000), None, 8000)
    assert np.isfinite(found.sound).all()
    assert np.abs(found.sound).max() <= 1
    assert bool(found.heard) == bool(odd)


@given(st.floats(0, 0.9), st.floats(0.05, 1))
def test_any_part_of_a_sound_is_that_part(folder, start, length):
    ramp = np.linspace(-0.9, 0.9, 8000, dtype=np.float32)
    path = write_wav(folder / "ramp.wav", ramp[None], 8000)
    sound = read(path, None, 8000, span=(start, start + length)).sound
    begin, end = round(start * 8000), round((start + length) * 8000)
    np.testing.assert_allclose(sound, ramp[begin : begin + len(sound)], atol=3e-4)
    assert abs(len(sound) - (min(end, 8000) - begin)) <= 2


KINDS = {"uint8": 255, "uint16": 65535, "int32": None, "float32": None, "12 bits": None}


@given(st.sampled_from(sorted(KINDS)), st.sampled_from(["tif", "png"]), st.integers(1, 1000))
def test_grey_is_as_bright_as_it_was_or_refused(folder, kind, ending, seed):
    grey = np.random.default_rng(seed).uniform(0, 1, (16, 16))
    most = {"int32": 2**31 - 1, "float32": 1.0, "12 bits": 4095}.get(kind, KINDS[kind])
    array = (grey * most).astype("uint16" if kind == "12 bits" else kind)
    path = folder / f"grey.{ending}"
    try:
        Image.fromarray(array).save(path)
    except OSError:
        return  # a format that has no such pictures
    if kind == "int32" and ending == "png":
        return  # Pillow cuts such numbers to 16 bits when it writes them
    try:
        found = read_still(path)
    except MediaError as error:
        assert "grey" in str(error)
        assert KINDS[kind] is None
        return
    np.testing.assert_allclose(found[..., 0] / 255, grey, atol=0.01)


@pytest.fixture(scope="module")
def quarters(tmp_path_factory):
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16, :24], image[:16, 24:], image[16:, :24], image[16:, 24:] = 40, 100, 160, 220
    return image, write_clip(tmp_path_factory.mktemp("turned") / "a.mp4", [image] * 2).read_bytes()


@given(
    st.sampled_from([(a, 0, 0, d) for a in (1, -1) for d in (1, -1)] + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)])
)
def test_a_picture_stands_as_its_matrix_shows_it(folder, quarters, matrix):
    image, data = quarters
    path = folder / "turned.mp4"
    path.write_bytes(data)
    a, b, c, d = matrix
    wanted = image if a else image.swapaxes(0, 1)  # by what the matrix does to the axes
    wanted = wanted[:: -1 if (d or b) < 0 else 1, :: -1 if (a or c) < 0 else 1]
    frame = read(turn(path, matrix), lambda total: [0]).frames[0]
    assert np.abs(frame.astype(int) - wanted).mean() < 6


@given(st.integers(1, 30), st.data())
def test_any_frames_of_a_clip_are_those(folder, count, data):
    path = folder / "clip.mkv"
    colours = shades(count)
    write_clip(path, [picture((32, 32), c) for c in colours])
    wanted = data.draw(st.sets(st.integers(0, count - 1), max_size=4))
    found = read(path, lambda total: wanted)
    assert set(found.frames) == wanted
    for i, frame in found.frames.items():
        assert np.abs(frame.astype(int) - colours[i]).max() <= 4
