"""The promises of every piece, whatever its kind: a record that recipes, help and docs can use. Imports no torch."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from affectkit.pieces import API, KINDS, STEP_KINDS, Piece
from affectkit.recipe import settings as reading

Subject = tuple[Piece, Mapping[str, object]]


class Built:
    """A piece with its settings, and what it builds of them: of a data set the split `train`."""

    def __init__(self, piece: Piece, settings: Any, *_: object) -> None:
        self.piece, self.settings = piece, settings
        self.made = self.anew()

    def anew(self) -> Any:
        """Built once more."""
        return self.piece.build(self.settings, *(("train",) if self.piece.kind == "dataset" else ()))


def record(subject: Subject) -> Iterator[str]:
    """The record is whole: its kind, name, API and ports."""
    piece, _ = subject
    if piece.kind not in KINDS:
        yield f"unknown kind {piece.kind!r}; known: {', '.join(KINDS)}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", piece.name):
        yield f"name {piece.name!r} is not lower case letters, digits and underscores"
    if piece.api != API:
        yield f"written for hook API {piece.api}; this affectkit speaks {API}"
    ports = [p.name for p in piece.ports]
    fields = {f.name for f in dataclasses.fields(piece.settings)} if dataclasses.is_dataclass(piece.settings) else set()
    for name in ports:
        if not name.isidentifier() or name == "use" or ports.count(name) > 1:
            yield f"port {name!r} is no name of its own"
        if name in fields:
            yield f"{name!r} is both a port and a setting: a recipe could not tell them apart"
    if piece.kind in STEP_KINDS and (piece.shapes is None or not ports):
        yield "a step has `shapes` and at least one port"
    views = [p.name for p in piece.ports if p.eats != "tokens"]
    if views and piece.prepare is None and piece.kind in STEP_KINDS:
        yield f"port {views[0]!r} eats a view, so the piece needs `prepare`"


def settings(subject: Subject) -> Iterator[str]:
    """Settings are a frozen dataclass, each field with a type that YAML can give and a sentence."""
    cls = subject[0].settings
    if not dataclasses.is_dataclass(cls):
        yield f"{cls!r} is no dataclass"
        return
    if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        yield f"{cls.__name__} is not frozen; write @dataclass(frozen=True)"
    if not (cls.__doc__ or "").strip() or (cls.__doc__ or "").startswith(f"{cls.__name__}("):
        yield f"{cls.__name__} has no docstring that says what the piece is"
    yield from _fields(cls, "")


def _fields(cls: type, above: str) -> Iterator[str]:
    told = reading.sentences(cls)
    hints = reading.type_hints(cls)
    for field in dataclasses.fields(cls):
        name = f"{above}{field.name}"
        if not told.get(field.name, "").strip():
            yield f"field {name!r} has no sentence under it"
        wrong = list(_strange(hints[field.name]))
        if wrong:
            yield f"field {name!r} has the type {wrong[0]}, which no recipe can give"
            continue
        for inner in _blocks(hints[field.name]):
            yield from _fields(inner, f"{name}.")
        if not reading.is_required(field):
            yield from _default(field, hints[field.name], name)


def _default(field: dataclasses.Field[Any], hint: Any, name: str) -> Iterator[str]:
    made = field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[operator]
    faults: list[reading.Fault] = []
    again = reading.convert(hint, reading.plain(made), (), faults)
    if faults:
        told = "; ".join(fault.what for fault in faults)
        yield f"field {name!r} has the default {made!r}, which its own type refuses: {told}"
    elif again != made:
        yield f"field {name!r} has the default {made!r}, which a recipe would read as {again!r}"


def _parts(kind: Any) -> tuple[Any, ...]:
    """The types inside a union, tuple or dict."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType) or origin is tuple:
        return tuple(a for a in args if a is not Ellipsis)
    return args[1:] if origin in (dict, Mapping) and args and args[0] is str else ()


def _strange(kind: Any) -> Iterator[str]:
    plain = kind in (int, float, str, bool, Any, type(None), dict) or get_origin(kind) is Literal
    parts = _parts(kind)
    if not (plain or parts or dataclasses.is_dataclass(kind)):
        yield getattr(kind, "__name__", str(kind))
    for part in parts:
        yield from _strange(part)


def _blocks(kind: Any) -> Iterator[type]:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        yield kind
    for part in _parts(kind):
        yield from _blocks(part)


def tiny(subject: Subject) -> Iterator[str]:
    """The tiny settings can be read: as a recipe's would be."""
    piece, values = subject
    _, problems = reading.read(piece.settings, values, lambda path: ".".join(map(str, path)))
    yield from (f"tiny: {p}" for p in problems)


def arguments(subject: Subject) -> Iterator[str]:
    """Build takes what its kind says: what the frame gives it, by position."""
    piece, _ = subject
    wanted = {"dataset": 2, "backbone": 3, "head": 3, "objective": 3}.get(
        piece.kind, 3 if piece.kind in STEP_KINDS else 1
    )
    wanted += piece.kind == "annotator" and any(f.name == "client" for f in dataclasses.fields(piece.settings))
    try:
        inspect.signature(piece.build).bind(*range(wanted))
    except TypeError as error:
        yield f"the frame calls it with {wanted} arguments: {error}"


PROMISES = (record, settings, tiny, arguments)
