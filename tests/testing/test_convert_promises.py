"""What converters promise, and that a broken promise is told."""

from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import save_file

from affectkit.errors import InputError, Problem
from affectkit.interop.contract import Imported
from affectkit.pieces import Piece
from affectkit.testing.promises import BrokenPromise, keeps_its_promises


@dataclass(frozen=True)
class Settings:
    """A converter for this test.

    Source: none.
    """

    fault: str = ""
    """What it does wrong."""


class Reader:
    recipe, overrides, entry = "voice", (), ""

    def __init__(self, settings):
        self.fault = settings.fault

    def read(self, tensors):
        if not tensors and self.fault != "takes anything":
            raise InputError(Problem("the checkpoint", "is empty"))
        found = Imported()
        for key, value in tensors.items():
            if key == "a":
                found.take(key, "a" if self.fault == "no address" else "audio.projector.layers.0.weight", value)
            elif self.fault != "forgets":
                found.unused[key] = "" if self.fault == "no reason" else "not known"
        if self.fault == "invents":
            found.weights["audio.projector.layers.0.bias"] = torch.zeros(1)
        return found

    def example(self):
        return {"a": torch.ones(2, 2), "b": torch.ones(1)}


class Single:
    """Of one network, whose parameters have no address."""

    entry = ""

    def __init__(self, settings):
        self.reader, self.fault = Reader(settings), settings.fault

    def read(self, tensors):
        found = self.reader.read(tensors)
        weights = dict(zip(["weight"], found.weights.values(), strict=False))
        return Imported(weights, dict.fromkeys(found.taken, "weight"), found.unused)

    def block(self, found):
        return {} if self.fault == "no step" else {"use": "linear"}

    def example(self):
        return self.reader.example()


class Folders:
    def __init__(self, settings):
        self.fault = settings.fault

    def wants(self):
        return {"F": "audio"}

    def save(self, folder, name, sample, tokens, mask):
        path = folder / f"{sample}.txt"
        real = tokens if self.fault == "looks at padding" else tokens[mask]
        path.write_text(f"{real.sum():.3f}")
        return path


class Doubles:
    """Another library's format: numbers of eight bytes, one after another."""

    def __init__(self, settings):
        self.fault = settings.fault

    def open(self, path):
        data = path.read_bytes()
        if len(data) < 32 and self.fault != "takes a cut one":
            raise InputError(Problem("a file" if self.fault == "names none" else str(path), "is cut"))
        found = Imported()
        found.take("a", "a.weight", torch.tensor(list(data[:32]), dtype=torch.float64))
        return {"a": (32,), **({"b": ()} if self.fault == "forgets" else {})}, found

    def save(self, path, found, folder):
        scale = 2 if self.fault == "writes others" else 1
        save_file({name: value * scale for name, value in found.weights.items()}, folder / "model.safetensors")
        if self.fault != "no sizes":
            (folder / "config.json").write_text("{}")

    def block(self, found):
        return {} if self.fault == "no step" else {"use": "linear"}

    def example(self, folder):
        (folder / "doubles.bin").write_bytes(bytes(range(1, 33)))
        return folder / "doubles.bin"


def piece(made, **tiny):
    return Piece("converter", "mine", Settings, made, tiny=tiny)


@pytest.mark.parametrize("made", [Reader, Single, Folders, Doubles])
def test_a_converter_that_keeps_them(made):
    assert len(keeps_its_promises(piece(made), light=False)) >= 5


@pytest.mark.parametrize(
    ("made", "fault", "told"),
    [
        (Reader, "forgets", "b is in neither taken nor unused"),
        (Reader, "no reason", "b is unused without a reason"),
        (Reader, "no address", "neither stream.step.parameter"),
        (Reader, "invents", "nothing says from where"),
        (Reader, "takes anything", "without InputError"),
        (Single, "forgets", "b is in neither taken nor unused"),
        (Single, "no step", "names no piece to use"),
        (Single, "takes anything", "without InputError"),
        (Doubles, "forgets", "b is in neither taken nor unused"),
        (Doubles, "takes a cut one", "the first 50.0% of a file are read without InputError"),
        (Doubles, "names none", "does not name it"),
        (Doubles, "writes others", "a.weight is not written as it was read"),
        (Doubles, "no sizes", "it writes no config.json"),
        (Doubles, "no step", "names no piece to use"),
        (Folders, "looks at padding", "masked out change"),
        (lambda settings: object(), "", "neither read and example"),
    ],
)
def test_each_broken_promise_is_told(made, fault, told):
    with pytest.raises(BrokenPromise, match=told):
        keeps_its_promises(piece(made, fault=fault), light=False)
