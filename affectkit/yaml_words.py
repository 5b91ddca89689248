"""Values and types in the words of a recipe's author: as YAML writes them, as errors name them. Imports no torch."""

from __future__ import annotations

import dataclasses
import json
import types
from collections import abc
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin


def show(value: Any) -> str:
    """A value as an error names it: what it is and what it says, cut short."""
    name = {
        dict: "a mapping",
        list: "a list",
        tuple: "a list",
        str: "text",
        type(None): "nothing (null)",
    }.get(type(value), "")
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    text = text if len(text) <= 40 else text[:37] + "…"
    return f"{name} {text}".strip() if value is not None else name


def plain(value: Any) -> Any:
    """Settings back to mappings, lists and scalars, as a recipe would hold them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if isinstance(value, int) else float(value)
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
        return "{" + ", ".join(f"{yaml_text(k)}: {yaml_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str):
        word = value.isidentifier() and value.lower() not in ("null", "true", "false")
        return value if word else json.dumps(value, ensure_ascii=False)
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
    if origin in (dict, Mapping, abc.Mapping):
        return f"mapping to {type_text(args[1])}" if args and args[1] is not Any else "mapping"
    return "settings" if dataclasses.is_dataclass(kind) else getattr(kind, "__name__", str(kind))
