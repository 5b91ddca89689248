"""YAML with a mark (file, line, column) on every key and value; runs nothing, builds plain values only. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from affectkit.errors import Problem

Path_ = tuple[str | int, ...]
MOST_NODES = 100_000
"""A recipe has hundreds; more is an alias bomb."""


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


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core scalars: `1e-5` is a number, `yes` and `on` are words."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(f"^(?:{_pattern})$"),
        list(_first) if _tag != "null" else [*"~nN", ""],
    )


def read(path: Path, name: str, chain: tuple[str, ...] = ()) -> tuple[Any, dict[Path_, Mark], list[Problem]]:
    """(value, marks by path, problems) of a YAML file; `name` is how messages call it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return None, {}, [Problem(name, f"cannot be read: {error}")]
    return parse(text, name, chain)


def parse(text: str, name: str, chain: tuple[str, ...] = ()) -> tuple[Any, dict[Path_, Mark], list[Problem]]:
    """As `read`, from text."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Mark(name, mark.line + 1, mark.column + 1, chain) if mark else Mark(name)
        return None, {}, [Problem(str(at), f"is not YAML: {error.problem or error.context}")]
    except yaml.YAMLError as error:
        return None, {}, [Problem(name, f"is not YAML: {error}")]
    builder = _Builder(name, chain)
    value = builder.build(node, ()) if node is not None else None
    return value, builder.marks, builder.problems


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

    def build(self, node: yaml.Node, path: Path_) -> Any:
        self.marks.setdefault(path, self.mark(node))
        self._count += 1
        if self._count > MOST_NODES or id(node) in self._open:
            if self._count <= MOST_NODES + 1:
                self.problems.append(Problem(str(self.mark(node)), "an alias leads to itself or to too much"))
            self._count = max(self._count, MOST_NODES + 1) if self._count > MOST_NODES else self._count
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
            return self._scalar(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(str(self.mark(key_node)), "a key must be a word"))
                continue
            key = str(key_node.value)
            if key in made:
                first = self.marks[(*path, key)]
                self.problems.append(
                    Problem(
                        str(self.mark(key_node)),
                        f"duplicate key {key!r} (first at line {first.line})",
                        "keep one of the two",
                    )
                )
                continue
            self.marks[(*path, key)] = self.mark(key_node)
            made[key] = self.build(value_node, (*path, key))
        return made

    def _scalar(self, node: yaml.Node) -> Any:
        short = node.tag.removeprefix("tag:yaml.org,2002:")
        text = str(node.value)
        if short == "str":
            return text
        if short == "null":
            return None
        if short == "bool":
            return text.lower() == "true"
        if short == "int":
            return int(text, 0) if text.lower().lstrip("+-").startswith(("0x", "0o")) else int(text)
        if short == "float":
            return float(
                text.replace(".inf", "inf")
                .replace(".Inf", "inf")
                .replace(".INF", "inf")
                .replace(".nan", "nan")
                .replace(".NaN", "nan")
                .replace(".NAN", "nan")
            )
        self.problems.append(
            Problem(str(self.mark(node)), f"the tag {node.tag!r} is not allowed: a recipe holds plain values only")
        )
        return None
