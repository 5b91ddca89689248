"""Plain values to frozen settings dataclasses, every problem at once; and their fields described."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import json
import logging
import re
import textwrap
import types
from collections import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from affectkit.errors import Problem, nearest
from affectkit.recipe.marked_yaml import WRONG, Path_, as_written, holds_wrong

log = logging.getLogger(__name__)

S = TypeVar("S")
MOST = 2**31 - 1
"""No number of a setting is larger than this, or smaller than its negative: more is a slip, and overflows where it is used."""
Place = Callable[[Path_], str]
"""From a path below the block to the words that say where that is."""


@dataclasses.dataclass(frozen=True)
class Field:
    """One setting, as help, docs and errors show it."""

    name: str
    type: str
    default: str
    """As YAML would write it; empty if the setting must be given."""
    about: str


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is wrong with one value, before it is known where the block stands."""

    path: Path_
    """Keys from the block to the value."""
    what: str
    fix: str = ""
    known: tuple[str, ...] = ()
    final: bool = False
    """Whether no other type of a union may take the value: it is of this one, and wrong."""


def read(
    cls: type[S], values: Mapping[str, object], place: Place, also: Sequence[str] = ()
) -> tuple[S | None, list[Problem]]:
    """`values` as an instance of the frozen dataclass `cls`, or None and everything that is wrong with them.

    `also` are keys that may stand beside the settings (ports), for the near miss. Values that were reported before
    (`WRONG`) give None without a problem. Keys may have a former name, see `renamed`.
    """
    names, problems = other_names(cls, values, place)
    if names:
        values = {names.get(key, key): value for key, value in values.items() if names.get(key) not in values}
    written = {name: key for key, name in names.items()}
    faults: list[Fault] = []
    made = _read(cls, values, (), faults, tuple(also))
    for fault in faults:
        path = (written.get(str(key), key) if i == 0 else key for i, key in enumerate(fault.path))
        problems.append(Problem(place(tuple(path)), fault.what, fault.fix, fault.known))
    return (None if problems or made is WRONG else made), problems


@functools.cache
def renamed(cls: type) -> dict[str, str]:
    """Other names of settings to the names that they have today, as the metadata of their fields say.

    `field(metadata={"formerly": "most_steps"})` is a name (or several) that keeps working for one version and says so;
    `also` is one that stays, such as `learning_rate` beside `lr`. What is `meant` by another word is suggested only.
    """
    return {name: f.name for f in dataclasses.fields(cls) for kind in ("formerly", "also") for name in _names(f, kind)}


def _names(field: dataclasses.Field[Any], kind: str) -> tuple[str, ...]:
    names = field.metadata.get(kind, ())
    return (names,) if isinstance(names, str) else tuple(names)


_SAID: set[tuple[str, str]] = set()
"""Former names that were remarked on, each with the file that has it, or the word for overrides."""


def other_names(cls: type, values: Any, place: Place) -> tuple[dict[str, str], list[Problem]]:
    """Keys of `values` that have another name today, each with that name; and a problem for each that is given twice.

    A former name is remarked on once for each file, and once for all overrides.
    """
    found: dict[str, str] = {}
    problems = []
    for key in values if isinstance(values, Mapping) else ():
        name = renamed(cls).get(key)
        if name is None:
            continue
        twin = name if name in values else next((k for k, n in found.items() if n == name), "")
        at = place((key,))
        if twin:
            what = f"says the same as {twin!r}, which is given too: {place((twin,))}"
            problems.append(Problem(at, what, f"keep {name} alone"))
        elif key in _names(cls.__dataclass_fields__[name], "formerly"):  # type: ignore[attr-defined]
            source = at.partition(":")[0].partition(" '")[0]  # of `a.yaml:4:5: …`, of `override 'KEY=VALUE': …`
            if (key, source) not in _SAID:
                _SAID.add((key, source))
                log.warning("%s: is called %s now; the former name goes with the next version", at, name)
        found[key] = name
    return found, problems


def _read(cls: type, values: object, path: Path_, faults: list[Fault], also: tuple[str, ...] = ()) -> Any:
    """`values` as an instance of `cls`; `WRONG` where they are not, with each reason in `faults`."""
    if not isinstance(values, Mapping):
        return _wants(path, faults, _type_words(cls), values)
    hints, before = type_hints(cls), len(faults)
    given: dict[str, object] = {}
    bad: set[str] = set()
    """Settings that could not be read, that are missing, or that an unknown key is near."""
    for key, value in values.items():
        if key not in hints:
            meant = (f.name for f in dataclasses.fields(cls) if key in _names(f, "meant"))
            close = next(meant, "") or nearest(str(key), (*also, *hints))
            fix = f"did you mean {close!r}?" if close else ""
            faults.append(Fault((*path, key), f"unknown key {str(key)!r}", fix, (*also, *hints)))
            bad |= {nearest(str(key), hints)} - {""}
            continue
        made = convert(hints[key], value, (*path, key), faults)
        if made is WRONG:
            bad.add(key)
        else:
            given[key] = made
    for field in dataclasses.fields(cls):
        if is_required(field) and field.name not in values and field.name not in bad:
            fix = f"add `{field.name}: …`: {sentences(cls).get(field.name, '')}"
            faults.append(Fault(path, f"missing key {field.name!r} ({type_text(hints[field.name])})", fix))
            bad.add(field.name)
    unsure = bad | (values.keys() - given.keys()) if bad else set()
    try:
        made = cls(**given)
        for name, what in made.problems() if hasattr(made, "problems") else ():
            # What is said of, or names, a setting that has its default instead of its own value may be due to that.
            if not bad or (name in given and not unsure & set(re.findall(r"\w+", what))):
                faults.append(Fault((*path, name) if name else path, what))
    except Exception as error:  # a stranger's settings: the mistake must name them, and cost one message
        if not bad:
            faults.append(Fault(path, f"{cls.__module__}.{cls.__name__} failed: {type(error).__name__}: {error}"))
        return WRONG
    return WRONG if bad or len(faults) > before else made


def convert(kind: object, value: Any, path: Path_, faults: list[Fault]) -> Any:
    """`value` (from YAML) as the type `kind`; `WRONG` where it does not fit, with each reason in `faults`, or none where it
    was reported before."""
    origin, args = get_origin(kind), get_args(kind)
    if value is WRONG or (kind is Any and holds_wrong(value)):
        return WRONG
    if kind is Any:
        return plain(value)
    if origin in (Union, types.UnionType):
        return _convert_union(kind, value, path, faults)
    if origin is Literal:
        return _convert_choice(args, value, path, faults)
    if origin is tuple:
        return _convert_sequence(args, value, path, faults)
    if origin in (dict, Mapping, abc.Mapping) or kind is dict:
        return _convert_mapping(args[1] if args else Any, value, path, faults)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _read(kind, value, path, faults)
    return _convert_plain(kind, value, path, faults)


def _convert_union(kind: object, value: object, path: Path_, faults: list[Fault]) -> Any:
    args = get_args(kind)
    if value is None and type(None) in args:
        return None
    kinds = [a for a in args if a is not type(None)]
    kinds.sort(key=lambda k: not (isinstance(k, type) and isinstance(value, k)))  # 1.5 is no text where both may be
    tried: list[Fault] = []
    for one in kinds:
        own: list[Fault] = []
        made = convert(one, value, path, own)
        if made is not WRONG:
            return made
        meant = isinstance(value, Mapping) and dataclasses.is_dataclass(one)
        meant |= isinstance(value, list) and get_origin(one) is tuple
        meant |= any(f.final for f in own)
        if meant or not own or any(f.path != path for f in own):
            faults += own
            return WRONG
        tried += own
    return _wants(path, faults, _type_words(kind), value, tried[0].fix)


def _convert_choice(args: tuple[object, ...], value: object, path: Path_, faults: list[Fault]) -> Any:
    for choice in args:
        if isinstance(choice, bool) or isinstance(value, bool) or choice is None:
            if value is choice:
                return choice
        elif choice == (as_written(value) if isinstance(choice, str) and isinstance(value, (int, float)) else value):
            return choice
    close = nearest(str(value), [str(a) for a in args])
    what = f"{show(value)} is none of {', '.join(str(a) for a in args)}"
    faults.append(Fault(path, what, f"did you mean {close!r}?" if close else ""))
    return WRONG


def _convert_sequence(args: tuple[Any, ...], value: object, path: Path_, faults: list[Fault]) -> Any:
    if not isinstance(value, (list, tuple)):
        fix = f"write [{yaml_text(value)}]" if isinstance(value, (str, int, float)) else ""
        return _wants(path, faults, "a list", value, fix)
    if len(args) == 2 and args[1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(args) != len(value):
        faults.append(Fault(path, f"wants {len(args)} values, got {len(value)}"))
        return WRONG
    made = tuple(convert(a, v, (*path, i), faults) for i, (a, v) in enumerate(zip(args, value, strict=True)))
    return WRONG if any(m is WRONG for m in made) else made


def _convert_mapping(kind: Any, value: object, path: Path_, faults: list[Fault]) -> Any:
    if not isinstance(value, Mapping):
        first = value[0] if isinstance(value, list) and value and isinstance(value[0], str) else "key"
        return _wants(path, faults, "a mapping", value, f"write {{{first}: …}}")
    # null takes an entry out again, as it does a step or a part; where null is a value of its own it stays
    kept = {str(k): v for k, v in value.items() if v is not None or kind is Any or type(None) in get_args(kind)}
    made = {k: convert(kind, v, (*path, k), faults) for k, v in kept.items()}
    return WRONG if any(m is WRONG for m in made.values()) else made


def _convert_plain(kind: Any, value: object, path: Path_, faults: list[Fault]) -> Any:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    number = kind is float and isinstance(value, (int, float))
    if (number or (kind is int and whole)) and not abs(value) <= _most(path):  # type: ignore[arg-type]  # nor is NaN
        what = f"wants a {type_text(kind)} from -{_most(path)} to {_most(path)}, got {show(value)}"
        faults.append(Fault(path, what, final=True))
        return WRONG
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return kind(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind in (float, str) and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if kind is float else as_written(value)
    fix = f'write "{yaml_text(value)}" in quotes' if kind is str and isinstance(value, bool) else ""
    return _wants(path, faults, _type_words(kind), value, fix)


def _most(path: Path_) -> int:
    """The largest number at a path: seeds may use all that they are hashed from."""
    names = [key for key in path if isinstance(key, str)]
    return 2**64 - 1 if names and "seed" in names[-1] else MOST


def _wants(path: Path_, faults: list[Fault], what: str, value: object, fix: str = "") -> Any:
    """`WRONG`, with the fault of a value that is something else."""
    faults.append(Fault(path, f"wants {what}, got {show(value)}", fix))
    return WRONG


def _type_words(kind: Any) -> str:
    """A type as the error text "wants …" goes on."""
    if dataclasses.is_dataclass(kind):
        return f"a mapping of settings ({', '.join(f.name for f in dataclasses.fields(kind))})"
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_type_words(a) for a in get_args(kind))
    words = type_text(kind)
    return f"a {words}" if words.startswith(("whole", "number", "mapping", "list")) else words


def is_required(field: dataclasses.Field[Any]) -> bool:
    """Whether a setting has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


@functools.cache
def type_hints(cls: type) -> dict[str, object]:
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
        for line, after in itertools.pairwise(body):
            match line, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=sentence)):
                    found[name] = " ".join(str(sentence).split())
    return found


def describe(cls: type) -> list[Field]:
    """The settings of a dataclass, for help and docs."""
    about = sentences(cls)
    hints = type_hints(cls)
    return [Field(n, type_text(kind), default_text(cls, n), about.get(n, "")) for n, kind in hints.items()]


def default_text(cls: type, name: str) -> str:
    """A setting's default as YAML would write it; empty where it has none."""
    field: dataclasses.Field[Any] = cls.__dataclass_fields__[name]  # type: ignore[attr-defined]
    if is_required(field):
        return ""
    value = field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[operator]
    return yaml_text(plain(value))


def show(value: Any) -> str:
    """A value as an error names it: what it is and what it says, cut short."""
    names = {dict: "a mapping", list: "a list", tuple: "a list", str: "text", type(None): "nothing (null)"}
    name = names.get(type(value), "")
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
