"""Sound in one array: any number of channels, in time with the picture, finite, and never too faint to hear."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from media_files import picture, shades, sine, write_clip, write_tracks, write_wav

from affectkit.data.faces import sound_notices
from affectkit.data.sound import mix
from affectkit.data.video import probe, read
from affectkit.errors import MediaError

SURROUND = {6: 0x3F, 8: 0x63F}
"""Masks of 5.1 and 7.1: front left and right, centre, low effects, back, side."""


def heard(path, rate=16000, **more):
    return read(path, None, rate, **more).sound


def begin(sound, rate=16000, level=0.05):
    """Seconds to the first sample that is heard."""
    return np.flatnonzero(np.abs(sound) > level)[0] / rate


@pytest.mark.parametrize("count", range(1, 17))
def test_channels_that_all_say_the_same_keep_their_level(tmp_path, count):
    path = write_wav(tmp_path / "a.wav", np.repeat(sine(16000, 440, 0.3)[None], count, 0), 16000)
    sound = heard(path)
    assert sound.shape == (4800,)
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("count", "which"), [(n, i) for n in (3, 6, 8, 12) for i in (0, n // 2, n - 1)])
@pytest.mark.parametrize("named", [False, True])
def test_a_voice_in_one_of_many_channels_is_heard(tmp_path, count, which, named):
    channels = np.zeros((count, 4800), np.float32)
    channels[which] = sine(16000, 440, 0.3)
    path = write_wav(tmp_path / "a.wav", channels, 16000, SURROUND.get(count) if named else None)
    assert np.abs(heard(path)).max() > 0.25


def test_speech_in_the_centre_stands_above_what_is_around_it():
    rng = np.random.default_rng(0)
    channels = np.stack([0.1 * rng.standard_normal(16000) for _ in range(6)], 1)
    channels[:, 2] = sine(16000, 440, 1)
    mixed, _ = mix(channels, ("FL", "FR", "FC", "LFE", "BL", "BR"))
    even, _ = mix(channels, ("",) * 6)
    voice = sine(16000, 440, 1) / 0.5
    assert mixed @ voice / 8000 > 1.2 * (even @ voice / 8000)
    assert np.abs(mixed).max() <= np.abs(channels).max() + 1e-6


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_two_channels_are_their_mean(tmp_path, rate):
    left, right = sine(16000, 300, 0.5), sine(16000, 500, 0.5)
    path = write_wav(tmp_path / "a.wav", np.stack([left, right]), 16000)
    alone = heard(write_wav(tmp_path / "b.wav", ((left + right) / 2)[None], 16000), rate)
    np.testing.assert_allclose(heard(path, rate), alone, atol=1e-6)


def test_channels_of_opposite_phase_are_heard_and_told(tmp_path):
    tone = sine(16000, 440, 0.5)
    found = read(write_wav(tmp_path / "a.wav", np.stack([tone, -tone]), 16000), None, 16000)
    np.testing.assert_allclose(found.sound, tone, atol=1e-6)
    assert "cancel each other: channel 1 is heard alone" in found.heard[0]
    assert sound_notices(found.sound, found.heard) == {"mended": found.heard[0]}


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_numbers_that_are_not_finite_become_nothing_and_are_told(tmp_path, odd, rate):
    tone = sine(16000, 440, 0.5)
    tone[[100, 200]] = odd
    found = read(write_wav(tmp_path / "a.wav", tone[None], 16000), None, rate)
    assert np.isfinite(found.sound).all()
    assert 0.4 < np.abs(found.sound).max() <= 0.52
    assert "infinite or NaN and became 0" in found.heard[0]


def test_a_level_far_beyond_full_scale_is_scaled_and_told(tmp_path):
    found = read(write_wav(tmp_path / "a.wav", sine(16000, 440, 0.5)[None] * 32768, 16000), None, 16000)
    assert np.abs(found.sound).max() == pytest.approx(1, abs=1e-3)
    assert "times full scale" in found.heard[0]
    loud = read(write_wav(tmp_path / "b.wav", sine(16000, 440, 0.5)[None] * 3, 16000), None, 16000)
    assert np.abs(loud.sound).max() == pytest.approx(1.5, abs=1e-3)  # clipped by nobody
    assert loud.heard == ()


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_sound_that_starts_later_than_the_picture_stays_there(tmp_path, ending):
    clip = [picture((64, 64), c) for c in shades(75)]
    path = write_tracks(tmp_path / f"late.{ending}", clip, [(sine(48000, 440, 1), 1.0)])
    sound = heard(path)
    assert begin(sound) == pytest.approx(1.0, abs=0.03)
    assert len(sound) / 16000 == pytest.approx(2.0, abs=0.06)


def test_a_gap_in_the_sound_is_silence_of_its_length(tmp_path):
    clip = [picture((64, 64), c) for c in shades(75)]
    tone = sine(48000, 440, 0.512)
    path = write_tracks(tmp_path / "gap.mkv", clip, [(np.concatenate([tone, tone]), 0)])
    whole = heard(path)

    with av.open(str(path)) as given, av.open(str(tmp_path / "cut.mkv"), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in given.streams}
        for packet in given.demux():
            late = packet.stream.type == "audio" and packet.dts is not None
            if packet.dts is None or (late and 0.3 < packet.dts * packet.time_base < 0.7):
                continue
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
    cut = heard(tmp_path / "cut.mkv")
    assert abs(len(cut) - len(whole)) < 0.06 * 16000
    quiet = cut[int(0.4 * 16000) : int(0.6 * 16000)]
    assert np.abs(quiet).max() < 0.01
    assert np.abs(cut[int(0.8 * 16000) : int(0.95 * 16000)]).max() > 0.3


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_the_default_track_is_read(tmp_path, ending):
    clip = [picture((64, 64), c) for c in shades(20)]
    tone = sine(48000, 1000, 0.8)
    path = write_tracks(tmp_path / f"two.{ending}", clip, [(0 * tone, 0), (tone, 0)], default=1)
    assert np.abs(heard(path)).max() > 0.3


@pytest.mark.parametrize("ending", ["mkv", "webm", "mp4"])
def test_a_file_whose_times_begin_late_is_whole(tmp_path, ending):
    tone = sine(48000, 440, 1)
    with av.open(str(tmp_path / f"late.{ending}"), "w") as out:
        track = out.add_stream("libopus", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 5 * 48000, Fraction(1, 48000)
        out.mux(track.encode(frame))
        out.mux(track.encode(None))
    found = read(tmp_path / f"late.{ending}", None, 16000)
    assert found.partial == ""
    assert len(found.sound) / 16000 == pytest.approx(1.0, abs=0.03)


def test_a_header_that_lies_of_its_rate_fills_no_memory(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.ones((1, 4000), np.float32), 1)
    for look in (heard, probe):
        with pytest.raises(MediaError, match=r"a\.wav: its header says 1 samples a second"):
            look(path)


def test_many_channels_end_no_process(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros((16, 4800), np.float32), 16000)
    code = f"from pathlib import Path; from affectkit.data.video import read; read(Path({str(path)!r}), None, 8000)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Four seconds: a colour a frame, and each second a tone of its own."""
    path = tmp_path_factory.mktemp("talk") / "talk.mp4"
    clip = [picture((64, 64), c) for c in shades(100)]
    tones = np.concatenate([sine(48000, hertz, 1) for hertz in (200, 400, 800, 1600)])
    return write_tracks(path, clip, [(tones, 0)])


class TestSegments:
    """Parts of longer files, by seconds."""

    @pytest.mark.parametrize("span", [(1.0, 2.0), (2.0, 3.5), (None, 1.0), (3.0, None), (0.48, 0.52)])
    def test_frames_and_sound_are_those_of_the_whole_file_there(self, talk, span):
        whole, part = read(talk, range, 16000), read(talk, range, 16000, span=span)
        first = round((span[0] or 0) * 25)
        count = (round(span[1] * 25) if span[1] else 100) - first
        assert part.total == count
        for i in range(count):
            np.testing.assert_array_equal(part.frames[i], whole.frames[first + i])
            assert part.times[i] == pytest.approx(i / 25, abs=0.002)
        at = round((span[0] or 0) * 16000)
        end = round(span[1] * 16000) if span[1] else len(whole.sound)
        assert abs(len(part.sound) - (end - at)) <= 16
        # resampled from another sample on, so a part of a sample apart
        length = min(len(part.sound), end - at)
        one, other = part.sound[64 : length - 64], whole.sound[at + 64 : at + length - 64]
        assert one.size == 0 or np.corrcoef(one, other)[0, 1] > 0.9

    def test_a_sound_file_is_cut_at_its_samples(self, tmp_path):
        ramp = np.linspace(0, 0.9, 32000, dtype=np.float32)
        path = write_wav(tmp_path / "ramp.wav", ramp[None], 16000)
        np.testing.assert_allclose(heard(path, span=(0.3, 1.1)), ramp[4800:17600], atol=1e-6)
        np.testing.assert_allclose(heard(path, span=(1.503, None)), ramp[24048:], atol=1e-6)

    def test_a_segment_behind_the_end_is_told(self, talk, tmp_path):
        with pytest.raises(MediaError, match=r"starts at 9 s, and the file ends at 4\.\d s"):
            read(talk, range, 16000, span=(9.0, 10.0))
        assert "breaks off" in read(talk, range, None, span=(3.0, 9.0)).partial
        wav = write_wav(tmp_path / "a.wav", sine(16000, 440, 1)[None], 16000)
        with pytest.raises(MediaError, match="starts at 2 s"):
            read(wav, None, 16000, span=(2.0, 3.0))

    def test_a_folder_of_frames(self, tmp_path):
        from PIL import Image

        for i in range(50):
            Image.fromarray(picture((8, 8), (i, i, i))).save(tmp_path / f"{i}.png")
        found = read(tmp_path, range, span=(1.0, 1.2))
        assert [int(found.frames[i][0, 0, 0]) for i in range(found.total)] == [25, 26, 27, 28, 29]
        with pytest.raises(MediaError, match="no frame lies in the segment"):
            read(tmp_path, range, span=(3.0, 4.0))

    def test_a_clip_without_sound_and_one_without_a_picture(self, tmp_path):
        silent = write_clip(tmp_path / "silent.mp4", [picture((64, 64), c) for c in shades(50)])
        assert read(silent, range, 16000, span=(1.0, 2.0)).sound is None
