"""One recipe laid over another: mappings merge, all else replaces, a changed `use` drops the old piece's settings; and
where in its row a stage, a step or a part of the prompt goes that says `insert: before NAME`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from affectkit.errors import Problem, unknown
from affectkit.recipe.marked_yaml import WRONG, Mark, Path_, copied, walk
from affectkit.recipe.sections import SETTINGS
from affectkit.recipe.settings import other_names, renamed

_BLOCKS: tuple[tuple[str, ...], ...] = (
    ("data",), ("backbone",), ("prompt",), ("heads", "*"), ("views", "*"), ("views", "*", "detector"),
    ("streams", "*", "steps", "*"), ("prompt", "parts", "*"), ("score", "metrics", "*"), ("stages", "*", "data"),
    ("stages", "*", "objective", "*"), ("annotators", "*"), ("annotators", "*", "client"),
    ("score", "metrics", "*", "client"), ("score", "yardstick"), ("score", "reader"),
    ("sets", "*", "data"), ("sets", "*", "question"), ("sets", "*", "metrics", "*"),
    ("sets", "*", "metrics", "*", "client"), ("defaults", "question"), ("defaults", "metrics", "*"),
)  # fmt: skip
_NAMED: tuple[tuple[str, ...], ...] = (
    ("views", "*"), ("streams", "*"), ("streams", "*", "steps", "*"), ("prompt", "parts", "*"), ("stages", "*"),
    ("heads", "*"), ("stages", "*", "objective", "*"),
    ("score", "metrics", "*"), ("annotators", "*"), ("items", "*"), ("sets", "*"), ("sets", "*", "metrics", "*"),
)  # fmt: skip
_ROWS: tuple[tuple[str, ...], ...] = (("streams", "*", "steps"), ("prompt", "parts"), ("stages",))
"""Mappings whose order counts."""
INSERT = "insert"
"""The key that gives the position of a stage, step or part of the prompt among its neighbours."""


@dataclass
class MarkedValues:
    """Plain values, and where each was written."""

    values: dict[str, object] = field(default_factory=dict)
    marks: dict[Path_, Mark] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path_, value: object, mark: Mark, marks: dict[Path_, Mark]) -> MarkedValues:
        """`value` at a path and nothing else. `marks` are those of the value and what is in it, by their whole paths; `mark`
        is that of the keys that lead there."""
        for key in reversed(path):
            value = {key: value}
        assert isinstance(value, dict)
        return cls(value, {**{path[:end]: mark for end in range(len(path) + 1)}, **marks})

    def mark(self, path: Path_) -> Mark:
        """Where the value at a path was written, or else the file."""
        return self.marks.get(path) or self.marks[()]


def is_block(path: Path_) -> bool:
    """Whether a recipe or a suite has a block there: `use` with settings, or in short the name of the piece alone."""
    return _among(path, _BLOCKS)


def is_named(path: Path_) -> bool:
    """Whether a recipe or a suite names something of its own there, such as a stream or a part of the prompt."""
    return _among(path, _NAMED)


def _among(path: Path_, shapes: Sequence[Sequence[str]]) -> bool:
    return any(len(path) == len(s) and all(b in ("*", key) for b, key in zip(s, path, strict=True)) for s in shapes)


def lay(under: MarkedValues, over: MarkedValues) -> list[Problem]:
    """Lay `over` over `under`, which changes. `null` stands for "not there" wherever a block or section may be.

    Settings of `over` under a former name get today's first, so that each replaces the same setting under either name;
    returns a problem for each that is given under two.
    """
    problems = _rename(over)
    _lay(under, over, under.values, over.values, ())
    return problems


def _rename(over: MarkedValues) -> list[Problem]:
    problems: list[Problem] = []
    for shape, cls in SETTINGS.items():
        for path, row in _mappings_at(over.values, shape, ()):

            def place(below: Path_, path: Path_ = path) -> str:
                whole = (*path, *below)
                return f"{over.mark(whole)}: {'.'.join(map(str, whole))}"

            names, wrong = other_names(cls, row, place)
            problems += wrong
            values = {names.get(key, key): value for key, value in row.items() if names.get(key) not in row}
            row.clear()
            row.update(values)
            for old in [p for p in over.marks if any(p[: len(path) + 1] == (*path, key) for key in names)]:
                mark = over.marks.pop(old)
                over.marks.setdefault((*path, names[str(old[len(path)])], *old[len(path) + 1 :]), mark)
    return problems


def current(path: tuple[str, ...]) -> tuple[str, ...]:
    """The path of a recipe's setting, under the name that it has today."""
    for shape, cls in SETTINGS.items():
        end = len(shape)
        if len(path) > end and _among(path[:end], (shape,)):
            return (*path[:end], renamed(cls).get(path[end], path[end]), *path[end + 1 :])
    return path


def _lay(under: MarkedValues, over: MarkedValues, into: dict[str, object], new: dict[str, object], path: Path_) -> None:
    """`new`, which `over` has at a path, over `into`, which `under` has there."""
    for key in new:
        here = (*path, key)
        if is_block(here):
            if isinstance(new[key], Mapping):
                _spell_out(into, under, here)
            elif isinstance(into.get(key), Mapping):
                _spell_out(new, over, here)
        old, value = into.get(key), new[key]
        if not (isinstance(value, dict) and isinstance(old, dict)):
            _forget(under, here, old)
            under.marks.update({p: over.marks[p] for p, _ in walk(value, here) if p in over.marks})
            under.marks[here] = over.mark(here)
            into[key] = copied(value)
            continue
        if is_block(here) and "use" in value and value["use"] != old.get("use", key if path == ("views",) else None):
            for setting in [k for k in old if not (here == ("prompt",) and k == "parts")]:  # parts are no settings
                _forget(under, (*here, setting), old.pop(setting))
            under.marks[here] = over.mark(here)
        under.marks.setdefault(here, over.mark(here))
        _lay(under, over, old, value, here)


def _spell_out(row: dict[str, object], whole: MarkedValues, path: Path_) -> None:
    """`encoder: linear` as `encoder: {use: linear}`."""
    key = str(path[-1])
    if isinstance(row.get(key), str):
        row[key] = {"use": row[key]}
        whole.marks[(*path, "use")] = whole.mark(path)


def _forget(whole: MarkedValues, path: Path_, value: object) -> None:
    """Take out the marks of a value."""
    for below, _ in walk(value, path):
        whole.marks.pop(below, None)


def put_in_order(values: dict[str, object], place: Callable[[Path_], str]) -> list[Problem]:
    """Move each stage, step and part of the prompt with `insert: before NAME` (or `after NAME`) there, and take that key
    out; returns what is wrong with these keys. Several behind one name stand in the order in which they are written."""
    return [
        problem
        for shape in _ROWS
        for path, row in _mappings_at(values, shape, ())
        for problem in _order(row, path, place)
    ]


def _mappings_at(value: object, shape: Sequence[str], path: Path_) -> Iterator[tuple[Path_, dict[str, object]]]:
    """The mappings at the paths of a shape."""
    if not isinstance(value, dict):
        return
    if not shape:
        yield path, value
    for key in [*value] if shape and shape[0] == "*" else [k for k in shape[:1] if k in value]:
        yield from _mappings_at(value[key], shape[1:], (*path, key))


def _order(row: dict[str, object], path: Path_, place: Callable[[Path_], str]) -> Iterator[Problem]:
    """The same for one mapping."""
    said = {name: block.pop(INSERT) for name, block in row.items() if isinstance(block, dict) and INSERT in block}
    moves: dict[str, tuple[str, str]] = {}
    for name, text in said.items():
        words = text.split() if isinstance(text, str) else []
        if text is WRONG or text is None:
            continue
        if len(words) != 2 or words[0] not in ("before", "after"):
            what = f"`{INSERT}` wants `before NAME` or `after NAME`, got {text!r}"
            yield Problem(place((*path, name, INSERT)), what, "", tuple(map(str, row)))
        elif words[1] not in row:
            known = (str(other) for other in row if other != name)
            yield unknown(place((*path, name, INSERT)), f"name in {'.'.join(map(str, path))}", words[1], known)
        else:
            moves[name] = (words[0], words[1])
    placed = [name for name in row if name not in moves]
    behind: dict[str, int] = {}
    while ready := [name for name, (_, other) in moves.items() if other in placed]:
        for name in ready:
            where, other = moves.pop(name)
            if where == "after":
                behind[other] = behind.get(other, 0) + 1
            placed.insert(placed.index(other) + (behind[other] if where == "after" else 0), name)
    if moves:
        first = next(iter(moves))
        what = f"`{INSERT}` runs in a circle: {', '.join(map(repr, moves))}"
        yield Problem(place((*path, first, INSERT)), what, "name something else")
    ordered = {name: row[name] for name in (*placed, *moves)}
    row.clear()
    row.update(ordered)
