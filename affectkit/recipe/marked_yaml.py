"""YAML with a mark (file, line, column) on every key and value; runs nothing, builds plain values only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from affectkit.errors import InputError, Problem

Path_ = tuple[str | int, ...]
_PREFIX = "tag:yaml.org,2002:"
MOST_TEXT = 100_000
"""Characters; a recipe has some thousands, and PyYAML reads some hundred thousand a second."""
MOST_NODES = 20_000
"""A recipe has hundreds; more is an alias bomb."""
MOST_DEPTH = 40
"""Levels of mappings and lists in each other."""
MOST_BRACKETS = 200
"""The same before YAML is read, those in texts and comments included."""


@dataclass(frozen=True)
class Mark:
    """Where something was written."""

    file: str
    line: int = 0
    column: int = 0
    chain: tuple[str, ...] = ()
    """Files that lead here by `extends`, the nearest last."""

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{at} (extended by {' <- '.join(reversed(self.chain))})" if self.chain else at


class _WrongValue:
    """The class of `WRONG`."""

    def __repr__(self) -> str:
        return "WRONG"


WRONG = _WrongValue()
"""Stands in place of a value that was already reported as wrong, so that its readers report nothing more about it."""


class _Int(int):
    """A whole number that was not written as Python would write it (`007`)."""

    written = ""


class _Float(float):
    """A number that was not written as Python would write it (`1e-3`, `1.10`)."""

    written = ""


def as_written(value: float) -> str:
    """The characters of a number: `01` stays `01` where text is wanted (a label, a code)."""
    return getattr(value, "written", "") or str(value)


def items(value: object) -> list[tuple[str | int, Any]]:
    """Keys (or places) and values of a mapping or a list; nothing for all else."""
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def walk(value: object, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """A value and all that is inside it, each with its path."""
    yield path, value
    for key, child in items(value):
        yield from walk(child, (*path, key))


def value_at(value: object, path: Path_) -> Any:
    """What a value has at a path; None where nothing is, `WRONG` below what was reported."""
    for key in path:
        if value is WRONG:
            break
        value = dict(items(value)).get(key)
    return value


def copied(value: Any, change: Callable[[Any], Any] | None = None) -> Any:
    """Mappings and lists anew; all else as it is, or as `change` makes it."""
    if isinstance(value, Mapping):
        return {key: copied(child, change) for key, child in value.items()}
    if isinstance(value, list):
        return [copied(child, change) for child in value]
    return change(value) if change else value


def holds_wrong(value: object) -> bool:
    """Whether a value is, or has somewhere inside it, one that was already reported."""
    return any(inner is WRONG for _, inner in walk(value))


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core scalars: `1e-5` is a number, `yes` and `on` are words."""


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or 1.2 would take for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        """A text; its line ends other than \\n are written as escapes, which PyYAML itself forgets."""
        style = '"' if set(data) & set("\r\x85\u2028\u2029") else None
        return self.represent_scalar(_PREFIX + "str", data, style)

    def number(self, data: _Int | _Float) -> yaml.ScalarNode:
        """A number as it was written."""
        return self.represent_scalar(f"{_PREFIX}{'int' if isinstance(data, int) else 'float'}", data.written)


_Dumper.add_representer(str, _Dumper.text)
_Dumper.add_representer(_Int, _Dumper.number)
_Dumper.add_representer(_Float, _Dumper.number)

_SCALARS = {
    "bool": (re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    "null": (re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    "int": (re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), "-+0123456789"),
    "float": (
        re.compile(r"^(?:[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
        "-+.0123456789",
    ),
}
_Loader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(_PREFIX + _tag, _pattern, list(_first))
    _Dumper.add_implicit_resolver(_PREFIX + _tag, _pattern, list(_first))


def dump(value: Any) -> str:
    """Plain values as YAML that `parse` reads back as the same values."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text


MarkedRead = tuple[Any, dict[Path_, Mark], list[Problem]]
"""What was read: the value, where each part of it was written, what was wrong."""


def read(path: Path, name: str, chain: tuple[str, ...] = ()) -> MarkedRead:
    """(value, marks by path, problems) of a YAML file; `name` is how messages call it."""
    at = str(Mark(name, chain=chain))
    try:
        with path.open("rb") as file:
            text = file.read(4 * MOST_TEXT + 1).decode("utf-8-sig")
    except OSError as error:
        return _unread(Problem(at, f"cannot be read: {error.strerror or error}"))
    except UnicodeDecodeError:
        return _unread(Problem(at, "is not UTF-8 text", "give a recipe: a YAML file"))
    return parse(text, name, chain)


def _unread(problem: Problem) -> MarkedRead:
    return WRONG, {}, [problem]


def parse(text: str, name: str, chain: tuple[str, ...] = ()) -> MarkedRead:
    """As `read`, from text. The value is `WRONG` where nothing could be made of the text as a whole."""
    whole = str(Mark(name, chain=chain))
    nested = Problem(whole, "is nested too deeply, which no recipe is")
    if len(text) > MOST_TEXT:
        return _unread(Problem(whole, f"is longer than {MOST_TEXT:,} characters, which no recipe is"))
    if _brackets(text) > MOST_BRACKETS:
        return _unread(nested)
    builder = _Builder(name, chain)
    try:
        node = yaml.compose(text, Loader=_Loader)
        value = builder.build(node, ()) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Mark(name, mark.line + 1, mark.column + 1, chain) if mark else whole
        return _unread(_not_yaml(str(at), error))
    except yaml.reader.ReaderError as error:
        lines = text[: error.position].split("\n")
        at = Mark(name, len(lines), len(lines[-1]) + 1, chain)
        what = f"is not YAML: the character U+{ord(text[error.position]):04X} may not stand in it"
        return _unread(Problem(str(at), what))
    except RecursionError:
        return _unread(nested)
    except InputError as error:
        return WRONG, {}, list(error.problems)
    return value, builder.marks, builder.problems


def _brackets(text: str) -> int:
    """How deep brackets stand in each other, at most; PyYAML's time grows with the square of that."""
    depth = deepest = 0
    for sign in re.findall(r"[\[\]{}]", text):
        depth = depth + 1 if sign in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


_PLAIN_WORDS = (
    ("found character '\\t'", "a tab stands where only spaces may", "indent with spaces"),
    ("mapping values are not allowed", "a colon stands where none may", "mend the indentation, or quote a text that holds `: `"),
    ("could not find expected ':'", "a line is no `key: value`", "add the colon with a space behind it, or mend the indentation"),
    ("expected <block end>", "the indentation does not fit the lines above", "line up the keys of one mapping"),
    ("expected ',' or", "a bracket is not closed, or a comma is missing", "close it"),
    ("found undefined alias", "an alias names no anchor", "write `&name` at what it stands for"),
    ("found unexpected end of stream", "a quote is not closed", "close it"),
    ("found another document", "there is a second document behind `---`", "one recipe a file"),
    ("expected '<document start>'", "something stands behind the end of the first value", "write lines of `key: value`"),
    ("expected the node content", "a value is missing", "write it, or null"),
    ("that cannot start any token", "a text begins with a character that YAML keeps for itself", "quote the text"),
)  # fmt: skip


def _not_yaml(place: str, error: yaml.MarkedYAMLError) -> Problem:
    told = error.problem or error.context or "it cannot be read"
    began = f" (it begins at line {error.context_mark.line + 1})" if error.context_mark else ""
    for words, what, fix in _PLAIN_WORDS:
        if words in told:
            what += began if fix == "close it" else ""
            return Problem(place, f"is not YAML: {what}", fix)
    return Problem(place, f"is not YAML: {told}")


class _Builder:
    """Walks the nodes once."""

    def __init__(self, name: str, chain: tuple[str, ...]) -> None:
        self.name, self.chain = name, chain
        self.marks: dict[Path_, Mark] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()
        self._count = 0

    def mark(self, node: yaml.Node) -> Mark:
        return Mark(self.name, node.start_mark.line + 1, node.start_mark.column + 1, self.chain)

    def wrong(self, node: yaml.Node, what: str, fix: str = "") -> Any:
        self.problems.append(Problem(str(self.mark(node)), what, fix))
        return WRONG

    def build(self, node: yaml.Node, path: Path_) -> Any:
        self.marks.setdefault(path, self.mark(node))
        self._count += 1
        what = "is nested too deeply, which no recipe is" if len(path) > MOST_DEPTH else ""
        if self._count > MOST_NODES:
            what = f"aliases and lists make more than {MOST_NODES:,} values, which no recipe has"
        if id(node) in self._open:
            raise InputError(Problem(str(self.mark(node)), "an alias leads back to itself", "write the value out"))
        if what:
            raise InputError(Problem(str(self.mark(node)), what))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                made: Any = self._mapping(node, path)
                return made if node.tag == _PREFIX + "map" else self._tagged(node)
            assert isinstance(node, yaml.SequenceNode)
            made = [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
            return made if node.tag == _PREFIX + "seq" else self._tagged(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, object]:
        made: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.wrong(key_node, "a key must be a word", "quote a text that begins with a bracket or a brace")
                continue
            key = str(key_node.value)
            if key == "<<" and not key_node.style:
                self.wrong(key_node, "merge keys (`<<`) are not read", "use `extends`, or write the keys out")
                continue
            if key in made:
                first = self.marks[(*path, key)]
                what = f"duplicate key {key!r} (first at line {first.line})"
                self.wrong(key_node, what, "keep one of the two")
                continue
            self.marks[(*path, key)] = self.mark(key_node)
            made[key] = self.build(value_node, (*path, key))
        return made

    def _tagged(self, node: yaml.Node) -> Any:
        tag = node.tag.replace(_PREFIX, "!!")
        return self.wrong(node, f"the tag {tag!r} is not allowed: a recipe holds plain values only", "leave it out")

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        kind = node.tag.removeprefix(_PREFIX)
        text = str(node.value)
        if kind == "str":
            return text
        if kind not in _SCALARS or not _SCALARS[kind][0].match(text):
            return self._tagged(node)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        return self._number(node, kind, text)

    def _number(self, node: yaml.ScalarNode, kind: str, text: str) -> Any:
        if kind == "float":
            value: float = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            return _keep(_Float(value), text) if str(value) != text else value
        whole = int(text, 0) if text.startswith(("0x", "0o")) else int(text) if len(text) < 25 else 2**63
        if abs(whole) >= 2**63:
            return self.wrong(node, "the number is too large", "quote it where text is meant")
        return _keep(_Int(whole), text) if str(whole) != text else whole


def _keep(number: Any, text: str) -> Any:
    number.written = text
    return number
