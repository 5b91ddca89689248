"""Plain values to frozen settings dataclasses, every problem at once; and their fields described. Imports no torch."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import textwrap
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from affectkit.errors import Problem, nearest

Place = Callable[[tuple[str | int, ...]], str]
"""From a path below the block to the words that say where that is."""


@dataclasses.dataclass(frozen=True)
class Field:
    """One setting, as help, docs and errors show it."""

    name: str
    type: str
    default: str
    """As YAML would write it; empty if the setting must be given."""
    about: str
    required: bool


class _Wrong(Exception):
    """Why one value does not fit; `path` leads to it from the setting."""

    def __init__(self, what: str, path: tuple[str | int, ...] = (), fix: str = "") -> None:
        super().__init__(what)
        self.what, self.path, self.fix = what, path, fix


def read(cls: type, values: Mapping[str, Any], place: Place) -> tuple[Any, list[Problem]]:
    """`values` as an instance of the frozen dataclass `cls`, or None and everything that is wrong with them."""
    problems: list[Problem] = []
    hints = type_hints(cls)
    given: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            close = nearest(str(key), hints)
            fix = f"did you mean {close!r}?" if close else ""
            problems.append(Problem(place((key,)), f"unknown key {key!r}", fix, tuple(hints)))
            continue
        try:
            given[key] = convert(hints[key], value)
        except _Wrong as wrong:
            problems.append(Problem(place((key, *wrong.path)), f"{key}: {wrong.what}", wrong.fix))
    for field in dataclasses.fields(cls):
        if is_required(field) and field.name not in values:
            problems.append(Problem(place(()), f"missing key {field.name!r} ({type_text(hints[field.name])})",
                                    f"add `{field.name}: …`: {sentences(cls).get(field.name, '')}"))  # fmt: skip
    if problems:
        return None, problems
    made = cls(**given)
    check = getattr(made, "problems", None)
    for name, what in check() if check else ():
        problems.append(Problem(place((name,) if name in values else ()), f"{name}: {what}"))
    return (None if problems else made), problems


def convert(kind: Any, value: Any) -> Any:
    """`value` (from YAML) as the type `kind`; raises `_Wrong` with what was wanted."""
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(args, value)
    if origin is Literal:
        if value in args and not isinstance(value, bool) | (value is None):
            return value
        if any(value is a for a in args):
            return value
        close = nearest(str(value), [str(a) for a in args])
        known = ", ".join(str(a) for a in args)
        raise _Wrong(f"{value!r} is none of {known}", fix=f"did you mean {close!r}?" if close else "")
    if origin is tuple:
        return _convert_sequence(args, value)
    if origin in (dict, Mapping) or kind is dict:
        if not isinstance(value, Mapping):
            raise _Wrong(f"wants a mapping, got {show(value)}")
        inner = args[1] if args else Any
        return {str(k): _inside(inner, v, str(k)) for k, v in value.items()}
    if dataclasses.is_dataclass(kind):
        return _convert_block(kind, value)
    return _convert_plain(kind, value)


def _convert_union(args: tuple[Any, ...], value: Any) -> Any:
    if value is None and type(None) in args:
        return None
    tries = [a for a in args if a is not type(None)]
    for kind in tries[:-1]:
        try:
            return convert(kind, value)
        except _Wrong:
            continue
    return convert(tries[-1], value)


def _convert_sequence(args: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _Wrong(
            f"wants a list, got {show(value)}",
            fix=f"write [{value}]" if isinstance(value, (str, int)) else "",
        )
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_inside(args[0], v, i) for i, v in enumerate(value))
    if len(args) != len(value):
        raise _Wrong(f"wants {len(args)} values, got {len(value)}")
    return tuple(_inside(a, v, i) for i, (a, v) in enumerate(zip(args, value, strict=True)))


def _convert_block(kind: type, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise _Wrong(f"wants a mapping of settings, got {show(value)}")
    made, problems = read(kind, value, lambda path: ".".join(map(str, path)))
    if problems:
        first = problems[0]
        raise _Wrong(first.what, (first.place,) if first.place else (), first.fix)
    return made


def _convert_plain(kind: type, value: Any) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise _Wrong(f"wants true or false, got {show(value)}")
    if isinstance(value, bool):
        raise _Wrong(f"wants {type_text(kind)}, got {show(value)}")
    if kind is int and isinstance(value, int):
        return value
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is float and isinstance(value, (int, float)):
        return float(value)
    if kind is str and isinstance(value, (str, int, float)):
        return str(value)
    raise _Wrong(f"wants {type_text(kind)}, got {show(value)}")


def _inside(kind: Any, value: Any, key: str | int) -> Any:
    try:
        return convert(kind, value)
    except _Wrong as wrong:
        raise _Wrong(wrong.what, (key, *wrong.path), wrong.fix) from None


def show(value: Any) -> str:
    """A value as an error names it: what it is and what it says, cut short."""
    name = {
        dict: "a mapping",
        list: "a list",
        tuple: "a list",
        str: "text",
        type(None): "nothing (null)",
    }.get(type(value), "")
    text = repr(value)
    text = text if len(text) <= 40 else text[:37] + "…"
    return f"{name} {text}".strip() if value is not None else name


def is_required(field: dataclasses.Field[Any]) -> bool:
    """Whether a setting has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


@functools.cache
def type_hints(cls: type) -> dict[str, Any]:
    """Field name to type, in the order of the fields."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


@functools.cache
def sentences(cls: type) -> dict[str, str]:
    """Field name to the sentence under it, base classes included."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError):
            continue
        body = tree.body[0].body  # type: ignore[attr-defined]
        for line, after in zip(body, body[1:], strict=False):
            if (
                isinstance(line, ast.AnnAssign)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[line.target.id] = " ".join(str(after.value.value).split())  # type: ignore[union-attr]
    return found


def describe(cls: type) -> list[Field]:
    """The settings of a dataclass, for help and docs."""
    about = sentences(cls)
    return [
        Field(f.name, type_text(type_hints(cls)[f.name]), default_text(f), about.get(f.name, ""), is_required(f))
        for f in dataclasses.fields(cls)
    ]


def default_text(field: dataclasses.Field[Any]) -> str:
    """A default as YAML would write it."""
    if is_required(field):
        return ""
    value = field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[misc]
    return yaml_text(plain(value))


def plain(value: Any) -> Any:
    """Settings back to mappings, lists and scalars, as a recipe would hold them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def yaml_text(value: Any) -> str:
    """A value in YAML's one-line notation."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(yaml_text(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {yaml_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str):
        return value if value and value.isidentifier() else f'"{value}"'
    return str(value)


def type_text(kind: Any) -> str:
    """A type in words that a recipe's author reads: `whole number`, `one of uniform | first`, `list of text`."""
    origin, args = get_origin(kind), get_args(kind)
    words = {
        int: "whole number",
        float: "number",
        str: "text",
        bool: "true or false",
        Any: "anything",
        type(None): "null",
    }
    if kind in words:
        return words[kind]
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(a) for a in args)
    if origin is Literal:
        return "one of " + " | ".join(str(a) for a in args)
    if origin is tuple:
        return f"list of {type_text(args[0])}" if args and args[-1] is Ellipsis else f"{len(args)} values"
    if origin in (dict, Mapping):
        return f"mapping to {type_text(args[1])}"
    return "settings" if dataclasses.is_dataclass(kind) else getattr(kind, "__name__", str(kind))
