"""Small media files with known content, written with PyAV, for the tests of media and views."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition


def shades(count):
    """One colour a frame, all different, far apart from frame to frame."""
    return np.random.default_rng(count).permutation(np.linspace(20, 235, 3 * count)).reshape(count, 3).astype(int)


def picture(size, colour):
    image = np.zeros((*size, 3), np.uint8)
    image[:] = colour
    return image


def write_clip(path: Path, images, *, pix="yuv420p", codec="libx264", rate=25, steps=None, tone=None, **more):
    """A clip of those images.

    `steps` are presentation times in milliseconds (variable frame rate), `tone` is (Hz, seconds); more: `space` (the
    colour matrix's number), `full` (range), `options` of the encoder.
    """
    space, full, options = more.get("space"), more.get("full", False), more.get("options")
    with av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".mp4" else {}) as out:
        video = out.add_stream(codec, rate=rate, options=options or ({"crf": "0"} if codec == "libx264" else {}))
        video.height, video.width = images[0].shape[:2]
        video.pix_fmt = pix
        if space:
            video.codec_context.colorspace = space
        if full:
            video.codec_context.color_range = 2
        if steps:
            video.codec_context.time_base = Fraction(1, 1000)
        sound = out.add_stream("aac", rate=48000, layout="stereo") if tone else None
        for i, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if space or full:
                frame = frame.reformat(format=pix, dst_colorspace=space or 5, dst_color_range=2 if full else 1)
            frame.pts = steps[i] if steps else i
            frame.time_base = Fraction(1, 1000) if steps else Fraction(1, rate)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if sound:
            _write_sound(out, sound, np.repeat(sine(48000, *tone)[None], 2, axis=0), "fltp", "stereo")
    return path


def sine(rate, hertz, seconds, loud=0.5):
    return (loud * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def write_sound(path: Path, channels, rate, codec="pcm_f32le", form="flt"):
    """A sound file of [channels, samples]."""
    layout = {1: "mono", 2: "stereo"}[len(channels)]
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        data = channels.T.reshape(1, -1) if form in ("flt", "s16") else channels
        _write_sound(out, stream, data, form, layout)
    return path


def _write_sound(out, stream, data, form, layout):
    width = 2 if layout == "stereo" and form in ("flt", "s16") else 1
    for at in range(0, data.shape[1], 1024 * width):
        part = np.ascontiguousarray(data[:, at : at + 1024 * width])
        frame = av.AudioFrame.from_ndarray(part, format=form, layout=layout)
        frame.sample_rate = stream.rate
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def rotate(path: Path, quarter: int) -> Path:
    """Set the display matrix of an mp4's picture, in the file's bytes: `quarter` turns clockwise."""
    return turn(path, [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)][quarter % 4])


def write_wav(path: Path, channels, rate, mask=None):
    """A float32 wav of [channels, samples], of any number of channels; `mask` says where they belong (None: nothing said)."""
    count = len(channels)
    raw = np.ascontiguousarray(channels.T, "<f4").tobytes()
    tag = 3 if mask is None else 0xFFFE
    form = struct.pack("<HHIIHH", tag, count, rate, rate * count * 4, count * 4, 32)
    if mask is not None:
        form += struct.pack("<HHI", 22, 32, mask) + bytes.fromhex("0300000000001000800000aa00389b71")
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(raw)) + raw
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def write_tracks(path: Path, images, sounds, *, default=0, rate=25):
    """A clip with several sounds at 48 kHz, each (samples, seconds at which it starts); `default` is the one to play."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=rate, options={"crf": "0"})
        video.height, video.width = images[0].shape[:2]
        video.pix_fmt = "yuv420p"
        tracks = [out.add_stream("aac", rate=48000, layout="mono") for _ in sounds]
        for i, track in enumerate(tracks if default else ()):  # PyAV 17 cannot set it
            track.disposition = Disposition.default if i == default else Disposition(0)
        packets = []
        for i, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, rate)
            packets += video.encode(frame)
        packets += video.encode(None)
        for track, (sound, begin) in zip(tracks, sounds, strict=True):
            for at in range(0, len(sound), 1024):
                part = np.ascontiguousarray(sound[None, at : at + 1024])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 48000, round(begin * 48000) + at, Fraction(1, 48000)
                packets += track.encode(frame)
            packets += track.encode(None)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            out.mux(packet)
    return path


def turn(path: Path, matrix) -> Path:
    """Set the display matrix (a, b, c, d) of an mp4's picture, in the file's bytes."""
    a, b, c, d = matrix
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    whole = [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]
    data[at : at + 36] = b"".join(int(v).to_bytes(4, "big", signed=True) for v in whole)
    path.write_bytes(bytes(data))
    return path
