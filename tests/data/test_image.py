"""Stills: the right brightness, upright, or refused by name; whatever a reader of pictures raises costs that file only."""

import contextlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from affectkit.data.image import read_still, verify_still
from affectkit.errors import MediaError

RAMP = np.linspace(0, 1, 4096).reshape(64, 64)


def saved(path, array):
    Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled(tmp_path, ending):
    found = read_still(saved(tmp_path / f"a.{ending}", (RAMP * 65535).astype(np.uint16)))
    assert found.shape == (64, 64, 3)
    np.testing.assert_allclose(found[..., 0], RAMP * 255, atol=1)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (RAMP.astype(np.float32), "float numbers"),
        ((RAMP * 255).astype(np.float32), "float numbers"),
        ((RAMP * 255).astype(np.int32), "32-bit numbers"),
        ((RAMP * (2**31 - 1)).astype(np.int32), "32-bit numbers"),
        ((RAMP * 4095).astype(np.uint16), "nothing above 4095: 12-bit"),
        ((RAMP * 255).astype(np.uint16), "nothing above 255"),
    ],
)
def test_numbers_without_a_scale_are_refused_by_name(tmp_path, array, said):
    with pytest.raises(MediaError, match=said):
        read_still(saved(tmp_path / "a.tif", array))


def test_a_black_16_bit_picture_is_black(tmp_path):
    assert not read_still(saved(tmp_path / "a.png", np.zeros((8, 8), np.uint16))).any()


@pytest.mark.parametrize("kind", [2, 4, 6], ids=["RGB", "LA", "RGBA"])
def test_16_bit_colours_are_scaled_or_refused_by_name(tmp_path, kind):
    channels = {2: 3, 4: 2, 6: 4}[kind]
    for most in (65535, 4095):
        numbers = np.full((8, 8, channels), most, ">u2")

        def chunk(name, data):
            return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

        head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, kind, 0, 0, 0))
        rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in numbers))
        path = tmp_path / f"{most}.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    assert (read_still(tmp_path / "65535.png") == 255).all()
    with pytest.raises(MediaError, match="nothing above 4095: 12-bit"):
        read_still(tmp_path / "4095.png")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "LA", "YCbCr"])
def test_other_kinds_become_rgb(tmp_path, mode):
    image = Image.new("RGB", (8, 6), (200, 200, 200)).convert(mode)
    image.save(tmp_path / ("a.png" if mode not in ("CMYK", "YCbCr") else "a.jpg"))
    found = read_still(next(tmp_path.glob("a.*")))
    assert found.shape == (6, 8, 3)
    assert found.mean() > 190 if mode != "1" else found.any()


def test_any_error_of_a_reader_is_the_file_s(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    for error in (RuntimeError("odd"), KeyError("exif"), MemoryError(), RecursionError(), ZeroDivisionError("dpi")):

        def fail(*about, error=error, **more):
            raise error

        monkeypatch.setattr(Image.Image, "convert", fail)
        with pytest.raises(MediaError, match=r"a\.png"):
            read_still(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow says of some what it misses
def test_cut_files_and_headers_that_lie(tmp_path):
    rng = np.random.default_rng(0)
    for ending in ("png", "jpg", "gif", "bmp", "webp", "tif"):
        whole = saved(tmp_path / f"a.{ending}", rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).read_bytes()
        for at in rng.integers(0, len(whole), 20):
            path = tmp_path / f"b.{ending}"
            path.write_bytes(whole[:at] + bytes(rng.integers(0, 255, 4, dtype=np.uint8)) + whole[at + 4 :])
            with contextlib.suppress(MediaError):
                assert read_still(path).dtype == np.uint8
                verify_still(path)
            path.write_bytes(whole[:at])
            with contextlib.suppress(MediaError):
                read_still(path)
