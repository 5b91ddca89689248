"""Decoding: exact colours, sizes, indices and times; broken files cost themselves only."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import picture, rotate, shades, sine, turn, write_clip, write_sound
from PIL import Image

from affectkit.data import image as stills
from affectkit.data import video as media
from affectkit.errors import MediaError

TOLERANCE = 3
"""8-bit YCbCr and back: each of the three is rounded once, the blue factor is 1.77 (2.02 in limited range)."""


def every(total):
    return range(total)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """30 frames of 64 x 96 with B-frames and sound, so that decoding order is not display order."""
    path = tmp_path_factory.mktemp("media") / "plain.mp4"
    return write_clip(path, [picture((64, 96), c) for c in shades(30)], tone=(440, 1.2))


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((64, 96), {}),
        ((64, 96), {"space": 1}),
        ((64, 96), {"space": 1, "full": True}),
        ((64, 96), {"space": 5, "full": True}),
        ((61, 97), {"pix": "yuv444p"}),
        ((33, 35), {"codec": "mpeg4", "options": {"qmin": "1", "qmax": "1"}}),
        ((48, 48), {"codec": "libx264rgb", "pix": "rgb24", "options": {"crf": "0"}}),
    ],
    ids=["bt601", "bt709", "bt709-full", "bt601-full", "odd-444", "odd-420", "rgb"],
)
def test_colours_sizes_and_indices_are_exact(tmp_path, size, settings):
    colours = shades(12)
    path = write_clip(tmp_path / "clip.mp4", [picture(size, c) for c in colours], **settings)
    found = media.read(path, every)
    assert found.total == 12
    assert found.partial == ""
    for i, colour in enumerate(colours):
        assert found.frames[i].shape == (*size, 3)
        assert found.frames[i].dtype == np.uint8
        off = np.abs(found.frames[i].astype(int) - colour).max()
        assert off <= (4 if settings.get("codec") == "mpeg4" else TOLERANCE), (i, off)


def test_only_wanted_frames_are_kept_and_index_is_display_order(plain):
    found = media.read(plain, lambda n: [0, 7, n - 1])
    assert sorted(found.frames) == [0, 7, 29]
    assert found.total == 30
    for i in (0, 7, 29):
        assert np.abs(found.frames[i].astype(int) - shades(30)[i]).max() <= TOLERANCE
    assert found.times[7] == pytest.approx(7 / 25, abs=1e-3)


def test_left_and_right_top_and_bottom_stay(tmp_path):
    image = picture((64, 96), (0, 0, 0))
    image[:32, :32] = (200, 40, 40)
    found = media.read(write_clip(tmp_path / "a.mp4", [image]), every).frames[0]
    assert np.abs(found[8:24, 8:24].astype(int) - (200, 40, 40)).max() <= TOLERANCE
    assert found[40:].max() <= TOLERANCE
    assert found[:, 40:].max() <= TOLERANCE


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_rotation_flag_is_honoured(tmp_path, quarter):
    image = picture((64, 96), (0, 0, 0))
    image[:32, :32] = (200, 40, 40)
    found = media.read(rotate(write_clip(tmp_path / "a.mp4", [image] * 3), quarter), every).frames[2]
    upright = np.rot90(image, -quarter)  # the matrix turns clockwise
    assert found.shape == upright.shape
    inner = np.abs(found.astype(int) - upright)
    assert np.median(inner) <= TOLERANCE
    assert (inner.max(axis=2) > 12).mean() < 0.05  # chroma bleeds at the edge of the patch


def test_variable_frame_rate_counts_frames_and_tells_times(tmp_path):
    steps = [0, 40, 400, 420, 1000, 3000]
    path = write_clip(tmp_path / "vfr.mkv", [picture((64, 64), c) for c in shades(6)], steps=steps)
    found = media.read(path, every)
    assert found.total == 6
    assert [round(found.times[i] * 1000) for i in range(6)] == steps
    assert np.abs(found.frames[3].astype(int) - shades(6)[3]).max() <= TOLERANCE


def test_header_that_lies_about_the_number_of_frames(plain, monkeypatch):
    for guess in (10, 100):
        monkeypatch.setattr(media._Pass, "_guess", lambda *about, guess=guess: guess)
        found = media.read(plain, lambda n: [n // 2, n - 1])
        assert found.total == 30
        assert sorted(found.frames) == [15, 29]
        assert np.abs(found.frames[29].astype(int) - shades(30)[29]).max() <= TOLERANCE


def test_one_frame_clip(tmp_path):
    found = media.read(write_clip(tmp_path / "one.mp4", [picture((64, 64), (9, 99, 199))]), every)
    assert (found.total, list(found.frames), found.sound) == (1, [0], None)


def test_first_only_stops_there(plain):
    found = media.read(plain, lambda n: [0], first_only=True)
    assert (found.total, list(found.frames)) == (1, [0])


def test_one_open_gives_frames_and_sound(plain, monkeypatch):
    opened = []
    real = media._open
    monkeypatch.setattr(media, "_open", lambda path: opened.append(path) or real(path))
    found = media.read(plain, lambda n: range(0, n, 5), 16000)
    assert len(opened) == 1
    assert found.sound.shape[0] == pytest.approx(1.2 * 16000, abs=1200)  # AAC works in blocks of 1,024
    assert len(found.frames) == 6


def test_truncated_file_gives_what_is_there_and_says_so(plain, tmp_path, caplog):
    path = tmp_path / "cut.mp4"
    path.write_bytes(plain.read_bytes()[: int(plain.stat().st_size * 0.6)])
    with caplog.at_level(logging.WARNING):
        found = media.read(path, lambda n: [0, n - 1])
    assert 1 <= found.total < 30
    assert sorted(found.frames) == [0, found.total - 1]
    assert np.abs(found.frames[0].astype(int) - shades(30)[0]).max() <= TOLERANCE
    assert f"{found.total} of 30 frames" in found.partial
    assert found.partial in caplog.text


@pytest.mark.parametrize(
    ("name", "codec", "said"),
    [
        ("a.mp4", "libx264", "of 50 frames"),
        ("a.mkv", "libx264", r"picture: \d+ frames, \d\.\d of 2\.0 s"),
        ("a.avi", "mpeg4", r"file: \d+ of \d+ bytes are there"),
    ],
)
def test_half_a_file_says_so_and_a_whole_one_does_not(tmp_path, name, codec, said):
    images = [np.random.default_rng(i).integers(0, 255, (64, 96, 3)).astype(np.uint8) for i in range(50)]
    whole, half = tmp_path / name, tmp_path / f"half_{name}"
    data = write_clip(whole, images, codec=codec, tone=(440, 2.0)).read_bytes()
    half.write_bytes(data[: len(data) // 2])
    assert media.read(whole, every, 16000).partial == ""
    assert re.search(said, media.read(half, every, 16000).partial)
    assert "sound: " in media.read(half, rate=16000).partial
    # nothing behind the first frame was asked for, so nothing of it is missing
    assert media.read(half, lambda n: [0], first_only=True).partial == ""
    assert media.read(half, lambda n: [0], 16000, first_only=True).partial


@pytest.mark.parametrize(
    ("name", "codec", "form", "said"),
    [
        ("a.wav", "pcm_s16le", "s16", "bytes are there"),
        ("a.flac", "flac", "s16", r"of 3\.0 s could be decoded"),
        ("a.mp3", "libmp3lame", "fltp", r"sound: 1\.\d of 3\.0 s"),
    ],
)
def test_half_a_sound_says_so(tmp_path, name, codec, form, said):
    tone = sine(16000, 300, 3)[None]
    whole, half = tmp_path / name, tmp_path / f"half_{name}"
    write_sound(whole, (tone * 32767).astype(np.int16) if form == "s16" else tone, 16000, codec, form)
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert media.read(whole, rate=16000).partial == ""
    assert re.search(said, media.read(half, rate=16000).partial)


def test_a_picture_that_is_shorter_than_its_sound_is_whole(tmp_path):
    for name in ("a.mp4", "a.mkv"):
        path = write_clip(tmp_path / name, [picture((64, 96), c) for c in shades(10)], tone=(440, 2.0))
        assert media.read(path, every, 16000).partial == ""


def test_sound_that_no_decoder_knows(tmp_path):
    path = write_sound(
        tmp_path / "a.wav", (sine(8000, 300, 1)[None] * 32767).astype(np.int16), 8000, "pcm_s16le", "s16"
    )
    data = bytearray(path.read_bytes())
    at = data.index(b"fmt ") + 8
    data[at : at + 2] = (0x7FFF).to_bytes(2, "little")
    path.write_bytes(bytes(data))
    with pytest.raises(MediaError, match="in a format that is known"):
        media.read(path, rate=16000)
    with pytest.raises(MediaError, match="in a format that is known"):
        media.probe(path)


@pytest.mark.parametrize("content", [b"", b"not a clip at all" * 50])
def test_broken_files_raise_with_place_and_cause(tmp_path, content):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    for call in (lambda: media.read(path, every), lambda: media.probe(path), lambda: stills.read_still(path)):
        with pytest.raises(MediaError) as caught:
            call()
        assert caught.value.problems[0].place == str(path)


def test_missing_file(tmp_path):
    with pytest.raises(MediaError, match="there is no such file"):
        media.read(tmp_path / "none.mp4", every)


def test_header_without_frames_raises(plain, tmp_path):
    data = plain.read_bytes()
    path = tmp_path / "head.mp4"
    path.write_bytes(data[: data.index(b"mdat") + 4] + bytes(64))
    with pytest.raises(MediaError, match="no picture could be decoded"):
        media.read(path, every, 16000)


def test_garbage_in_the_middle_costs_frames_only(plain, tmp_path):
    data = bytearray(plain.read_bytes())
    start = data.index(b"mdat") + 4
    middle = (start + len(data)) // 2
    data[middle : middle + 600] = np.random.default_rng(0).bytes(600)
    path = tmp_path / "hole.mp4"
    path.write_bytes(bytes(data))
    found = media.read(path, lambda n: range(n))
    assert 1 <= found.total <= 30
    assert len(found.frames) == found.total


def test_sound_is_the_mean_of_the_channels_at_the_rate_asked_for(tmp_path):
    left, right = sine(48000, 440, 1.0, 0.6), sine(48000, 440, 1.0, 0.2)
    path = write_sound(tmp_path / "a.wav", np.stack([left, right]), 48000)
    found = media.read(path, rate=16000).sound
    assert found.dtype == np.float32
    assert found.shape == pytest.approx((16000,), abs=2)
    want = sine(16000, 440, 1.0, 0.4)[: len(found)]
    assert np.abs(found[200:-200] - want[200 : len(found) - 200]).max() < 5e-3


def test_sound_at_its_own_rate_is_bit_exact(tmp_path):
    data = np.round(np.random.default_rng(0).uniform(-0.9, 0.9, (1, 5000)) * 32767).astype(np.int16)
    path = write_sound(tmp_path / "a.wav", data, 16000, "pcm_s16le", "s16")
    np.testing.assert_array_equal(media.read(path, rate=16000).sound, (data[0] / 32768).astype(np.float32))


def test_clip_without_sound_and_sound_without_picture(tmp_path):
    silent = write_clip(tmp_path / "a.mp4", [picture((64, 64), (9, 9, 9))])
    assert media.read(silent, every, 16000).sound is None
    assert media.read(silent, rate=16000).sound is None
    heard = write_sound(tmp_path / "a.wav", sine(16000, 200, 0.2)[None], 16000)
    found = media.read(heard, every, 16000)
    assert (found.total, found.frames) == (0, {})
    assert found.sound.shape == (3200,)


def test_cover_of_a_music_file_is_no_video(tmp_path):
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as out:
        sound = out.add_stream("mp3", rate=44100, layout="mono")
        cover = out.add_stream("png", rate=1)
        cover.width = cover.height = 32
        cover.pix_fmt = "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic.value  # av 17.0 takes no flag
        image = av.VideoFrame.from_ndarray(picture((32, 32), (1, 2, 3)), format="rgb24")
        image.pts = 0
        out.mux(cover.encode(image))
        for at in range(10):
            frame = av.AudioFrame.from_ndarray(sine(44100, 300, 1)[None, at * 1152 : (at + 1) * 1152], "fltp", "mono")
            frame.sample_rate = 44100
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    assert media.probe(path).size is None
    found = media.read(path, every, 16000)
    assert found.total == 0
    assert found.sound.size > 2000


def test_probe_reads_headers(plain):
    info = media.probe(plain)
    assert (info.size, info.sound) == ((64, 96), True)
    assert info.seconds == pytest.approx(1.2, abs=0.1)


def test_stills_upright_and_rgb(tmp_path):
    image = picture((20, 30), (10, 20, 30))
    image[:5, :5] = (200, 100, 50)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(stills.read_still(tmp_path / "a.png"), np.rot90(image, -1))
    Image.fromarray(image[..., 0]).save(tmp_path / "grey.jpg", quality=95)
    grey = stills.read_still(tmp_path / "grey.jpg")
    assert grey.shape == (20, 30, 3)
    assert (grey[..., 0] == grey[..., 2]).all()
    Image.fromarray(np.full((4, 4), 257 * 77, np.uint16)).save(tmp_path / "deep.png")
    assert (stills.read_still(tmp_path / "deep.png") == 77).all()


def test_truncated_still(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match="cannot be decoded"):
        stills.read_still(tmp_path / "a.jpg")


CORNERS = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "W": (255, 255, 255)}


@pytest.mark.parametrize(
    ("what", "matrix", "want"),
    [
        ("as it is", (1, 0, 0, 1), "RGBW"),
        ("mirrored left and right", (-1, 0, 0, 1), "GRWB"),
        ("flipped", (1, 0, 0, -1), "BWRG"),
        ("half a turn", (-1, 0, 0, -1), "WBGR"),
        ("a quarter turn", (0, 1, -1, 0), "BRWG"),
        ("three quarters", (0, -1, 1, 0), "GWRB"),
        ("transposed", (0, 1, 1, 0), "RBGW"),
        ("transposed the other way", (0, -1, -1, 0), "WGBR"),
    ],
)
def test_the_display_matrix_is_applied_mirrors_included(tmp_path, what, matrix, want):
    quarters = np.zeros((64, 96, 3), np.uint8)
    for letter, (y, x) in zip("RGBW", [(0, 0), (0, 48), (32, 0), (32, 48)], strict=True):
        quarters[y : y + 32, x : x + 48] = CORNERS[letter]
    frame = media.read(turn(write_clip(tmp_path / "m.mp4", [quarters] * 3), matrix), every).frames[0]
    high, wide = frame.shape[:2]
    found = [frame[y, x].astype(int) for y in (high // 4, 3 * high // 4) for x in (wide // 4, 3 * wide // 4)]
    near = ["".join(min(CORNERS, key=lambda n: np.abs(np.array(CORNERS[n]) - c).sum()) for c in found)]
    assert near == [want], what


@pytest.mark.parametrize(
    "name",
    ["10:32 call.mp4", "file:other.mp4", "cache:other.mp4", "concat:other.mp4|other.mp4", "pipe:0.mp4", "-i.mp4", "a%d.mp4",
     "http:x.mp4", "a\nb.mp4", "é🙂.mp4", b"bad\xff.mp4", "a?b#c.mp4", "[1-2].mp4", "'q\".mp4"],
)  # fmt: skip
def test_a_name_is_a_name_whatever_is_in_it(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    light = write_clip(tmp_path / "light.mp4", [picture((64, 64), (200, 200, 200))] * 3)
    write_clip(tmp_path / "other.mp4", [picture((64, 64), (20, 20, 20))] * 3)
    path = Path(os.fsdecode(name))
    light.rename(path)
    assert media.read(path, every).frames[0].mean() > 150
    assert media.probe(path).size == (64, 64)


def test_any_error_of_a_decoder_is_the_file_s(plain, monkeypatch):
    for error in (RuntimeError("odd"), MemoryError(), KeyError("x"), IndexError()):

        def fail(*about, error=error):
            raise error

        monkeypatch.setattr(media._Pass, "run", fail)
        with pytest.raises(MediaError, match=r"plain\.mp4"):
            media.read(plain, every)
