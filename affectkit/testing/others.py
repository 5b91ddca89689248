"""The promises of clients and converters. No request is sent: a test has no server."""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affectkit import weights
from affectkit.annotators import WritesRecords
from affectkit.errors import InputError
from affectkit.evaluation import clients
from affectkit.evaluation.clients import ANYWHERE, allowing
from affectkit.interop.contract import Exporter, FileFormat, Imported, Importer, Layout, Network
from affectkit.testing.record import Built

SECRET = "a key that must not be written anywhere"


class BuiltClient(Built):
    """A client, built with every server allowed."""

    def anew(self) -> Any:
        """Built once more."""
        with allowing(ANYWHERE, key=SECRET):
            return super().anew()


def asks(built: BuiltClient) -> Iterator[str]:
    """It can be asked with a list of messages: by the method `ask`."""
    ask = getattr(built.made, "ask", None)
    if not callable(ask):
        yield f"{type(built.made).__name__} has no method `ask`"
        return
    try:
        inspect.signature(ask).bind([clients.Message("Who are you?")])
    except TypeError as error:
        yield f"`ask` does not take the list of messages alone: {error}"


def identity(built: BuiltClient) -> Iterator[str]:
    """Replies are kept by all that they depend on, and by no secret: by `identity`, which JSON can hold."""
    one, two = (getattr(c, "identity", None) for c in (built.made, built.anew()))
    try:
        text = json.dumps(dict(one))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        yield f"`identity` is {one!r}: {error}"
        return
    if one != two:
        yield f"two of the same settings are told apart: {one}, {two}"
    if SECRET in text or SECRET in repr(built.made):
        yield "the key stands in it: keep it out of `identity` and `repr`"


def numbers(built: BuiltClient) -> Iterator[str]:
    """Tries, wait and parallel are numbers: where it has them."""
    for name, least in (("tries", 1), ("parallel", 1), ("wait", 0)):
        value = getattr(built.made, name, least)
        if not isinstance(value, int | float) or value < least:
            yield f"`{name}` is {value!r}; it must be at least {least}"


def _read(built: Built) -> tuple[Mapping[str, torch.Tensor], Imported] | None:
    """A converter's example and what it makes of it; None where it imports nothing."""
    if not isinstance(built.made, (Importer, Network)):
        return None
    torch.manual_seed(0)
    example = built.made.example()
    return example, built.made.read(example)


def able(built: Built) -> Iterator[str]:
    """It reads checkpoints, writes feature folders or instruction data, or exports runs."""
    if not isinstance(built.made, (Importer, Network, FileFormat, Layout, Exporter, WritesRecords)):
        yield f"{type(built.made).__name__} has neither read and example, nor open and save, nor wants and save, nor write"


def writes_records(built: Built) -> Iterator[str]:
    """Instruction data go into the folder that it is given, the same each time, in files that it tells."""
    if not (isinstance(built.made, WritesRecords) and built.piece.ports):
        return
    seen = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as name:
            told = list(built.made.write(built.made.example(), Path(name)))
            there = {path.relative_to(name): path.read_bytes() for path in Path(name).rglob("*") if path.is_file()}
            if {Path(name) / path for path in there} != set(map(Path, told)):
                yield f"it tells of {sorted(map(str, told))} and writes {sorted(map(str, there))}"
            seen.append(there)
    if not seen[0] or not all(seen[0].values()):
        yield "nothing is written of its example"
    if seen[0] != seen[1]:
        yield "the same clips give other bytes the second time"


def accounts(built: Built) -> Iterator[str]:
    """Every key of a checkpoint is accounted for: taken, or unused with a reason."""
    if isinstance(built.made, FileFormat):
        with tempfile.TemporaryDirectory() as name:
            yield from _accounted(*built.made.open(built.made.example(Path(name))))
    if (told := _read(built)) is not None:
        yield from _accounted(*told)


def _accounted(example: Mapping[str, object], found: Imported) -> Iterator[str]:
    said = [*found.taken, *found.unused]
    yield from (f"{key} is in neither taken nor unused" for key in sorted(example.keys() - set(said)))
    yield from (f"{key} is no key of the checkpoint" for key in sorted(set(said) - example.keys()))
    yield from (f"{key} is both taken and unused" for key in sorted(found.taken.keys() & found.unused.keys()))
    yield from (f"{key} is unused without a reason" for key, why in found.unused.items() if not why.strip())
    goals = {ours for text in found.taken.values() for ours in text.split(", ")} | found.assumed.keys()
    yield from (f"{ours} has a value and nothing says from where" for ours in sorted(found.weights.keys() - goals))
    yield from (f"{ours} is said to have a value and has none" for ours in sorted(goals - found.weights.keys()))


def names_addresses(built: Built) -> Iterator[str]:
    """Parameters are named by address: `stream.step.parameter` or `backbone.parameter`; a network's as it names them."""
    told = None if isinstance(built.made, Network) else _read(built)
    for ours in told[1].weights if told else ():
        if ours.count(".") < (1 if ours.startswith("backbone.") else 2):
            yield f"{ours!r} is neither stream.step.parameter nor backbone.parameter"


def tells_strangers(built: Built) -> Iterator[str]:
    """What it does not know is told, what is no such file refused: with an InputError."""
    told = _read(built)
    if told is None:
        return
    if isinstance(built.made, Network) and "use" not in built.made.block(told[1]):
        yield "the step that takes its weights (`block`) names no piece to use"
    key = "no_such_part.weight"
    if key not in built.made.read({**told[0], key: torch.ones(1)}).unused:
        yield f"a key that it cannot know ({key}) is not in unused"
    try:
        built.made.read({})
    except InputError:
        return
    yield "an empty file is read without InputError"


def refuses_cut(built: Built) -> Iterator[str]:
    """A file that is cut anywhere is refused: with an InputError that names it."""
    if not isinstance(built.made, FileFormat):
        return
    with tempfile.TemporaryDirectory() as name:
        path = built.made.example(Path(name))
        file = path if path.is_file() else max(path.iterdir(), key=lambda p: p.stat().st_size)
        whole = file.read_bytes()
        for share in (0.0, 0.1, 0.5, 0.9, 0.999):
            file.write_bytes(whole[: int(share * len(whole))])
            try:
                built.made.open(path)
            except InputError as error:
                if str(path) not in str(error):
                    yield f"what it says of a cut file does not name it: {error}"
            else:
                yield f"the first {share:.1%} of a file are read without InputError"


def writes_folder(built: Built) -> Iterator[str]:
    """What it writes are the weights that it read: safetensors with a configuration beside them."""
    if not isinstance(built.made, FileFormat):
        return
    with tempfile.TemporaryDirectory() as name:
        path, folder = built.made.example(Path(name)), Path(name) / "out"
        folder.mkdir()
        _, found = built.made.open(path)
        built.made.save(path, found, folder)
        if not (folder / "config.json").is_file():
            yield "it writes no config.json"
        written = weights.load_state(folder)
        yield from (f"{n} is not written as it was read" for n, v in found.weights.items() if not _same(written, n, v))
        if "use" not in built.made.block(found):
            yield "what takes its weights (`block`) names no piece to use"


def _same(written: Mapping[str, torch.Tensor], name: str, value: torch.Tensor) -> bool:
    return name in written and torch.equal(written[name].to(value.dtype), value)


def writes_features(built: Built) -> Iterator[str]:
    """Features are files that depend on what is real alone: each in the folder, the same at each writing."""
    if not isinstance(built.made, Layout):
        return
    tokens = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
    mask = np.array([[True, True], [True, False], [False, False]])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for feature in built.made.wants():
            path = built.made.save(folder, feature, "clip", tokens, mask)
            if not path.is_file() or folder not in path.parents:
                yield f"{feature}: {path} is no file in the folder"
                continue
            once = path.read_bytes()
            tokens[2] = np.nan  # what is not real must not be looked at
            if built.made.save(folder, feature, "clip", tokens, mask).read_bytes() != once:
                yield f"{feature}: tokens that are masked out change what is written"


KITS = {
    "client": (
        BuiltClient,
        (asks, identity, numbers),
    ),
    "converter": (
        Built,
        (able, accounts, names_addresses, tells_strangers, refuses_cut, writes_folder, writes_features, writes_records),
    ),
}
