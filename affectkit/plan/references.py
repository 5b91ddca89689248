"""What ports name: views, and blocks of steps; and the order in which steps can run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affectkit.errors import nearest
from affectkit.heads import HEADS
from affectkit.objectives import OBJECTIVES
from affectkit.pieces import Piece, Port
from affectkit.plan.use import Checker
from affectkit.recipe.marked_yaml import WRONG, Path_, items, walk
from affectkit.recipe.settings import show


def path_of(address: str) -> Path_:
    """The path of a step's block in a recipe."""
    stream, step, *loss = address.split(".")
    if loss:
        return ("stages", step, "objective", *loss)
    return (HEADS, step) if stream == HEADS else ("streams", stream, "steps", step)


@dataclass(frozen=True)
class Ref:
    """What fills a port: a view, or a block of a step."""

    view: str = ""
    step: str = ""
    block: str = ""
    """Empty while it is not known which block is the step's main one."""

    def __str__(self) -> str:
        return self.view or f"{self.step}.{self.block}"


HIDDEN = Ref(step="llm", block="hidden")
"""What heads and objectives may read beside blocks of steps: the LLM's state at the last token of a sample's prompt, behind the
final norm, from which it predicts the first token of the answer."""


class Addresses:
    """All names that a reference may hold, those included whose block is wrong."""

    def __init__(self, checker: Checker, kinds: Mapping[str, str]) -> None:
        """`kinds` says what each view shows (pixels, wave, …), as far as that is known."""
        self.checker, self.kinds = checker, kinds
        views, streams = checker.recipe.get("views"), checker.recipe.get("streams")
        self.partial = views is WRONG or streams is WRONG
        """Whether a whole section could not be read: then an unknown name is no news."""
        self.views = [str(name) for name, value in items(views) if value is not None]
        self.steps = {str(name): self._steps(str(name), v) for name, v in items(streams) if v is not None}
        """Stream to its steps, in order; an empty list where they could not be read."""
        written = [str(name) for name, block in items(checker.recipe.get(HEADS)) if block is not None]
        self.heads = [name for name in written if checker.is_name((HEADS, name), "head")]

    def _steps(self, stream: str, value: Any) -> list[str]:
        path: Path_ = ("streams", stream)
        if not self.checker.is_name(path, "stream"):
            return []
        if stream in self.views:
            self.checker.problem(path, f"a view and a stream are both called {stream!r}", "rename one of them")
        steps = value.get("steps") if isinstance(value, Mapping) else value
        if steps is WRONG:
            return []
        if not isinstance(value, Mapping):
            self.checker.problem(path, f"wants a mapping with `steps`, got {show(value)}")
        elif "steps" not in value and nearest("steps", value):
            return []  # the misspelt key is reported where the stream's other settings are read
        elif not isinstance(steps, Mapping) or all(block is None for block in steps.values()):
            self.checker.problem(path, "a stream has `steps`, a mapping of at least one step")
        else:
            names = [str(name) for name, block in steps.items() if block is not None]
            good = [self.checker.is_name((*path, "steps", n), "step") for n in names]
            return names if all(good) else []
        return []

    def addresses(self) -> list[str]:
        """Every step as written."""
        steps = [f"{stream}.{step}" for stream, steps in self.steps.items() for step in steps]
        return steps + [f"{HEADS}.{name}" for name in self.heads]

    def lookup(self, name: str) -> Ref | None:
        """What `view`, `stream` (its last step), `stream.step` or `stream.step.block` stands for; None where nothing is."""
        if name in self.views:
            return Ref(view=name)
        if name == str(HIDDEN):
            return HIDDEN
        stream, *below = name.split(".")
        steps = self.steps.get(stream, [])
        if not steps or len(below) > 2 or (below and below[0] not in steps):
            return None
        return Ref(step=f"{stream}.{below[0] if below else steps[-1]}", block="".join(below[1:]))

    def before(self, address: str) -> Ref | None:
        """The main block of the step before a step in its stream."""
        if address.startswith((f"{HEADS}.", f"{OBJECTIVES}.")):
            return None
        stream, name = address.split(".")
        place = self.steps[stream].index(name)
        return Ref(step=f"{stream}.{self.steps[stream][place - 1]}") if place else None

    def inputs(self, address: str, piece: Piece, block: Mapping[str, object]) -> dict[str, Ref] | None:
        """Port to what fills it; None where a port's name leads nowhere or a required one stays empty."""
        stream, path = address.split(".")[0], path_of(address)
        inputs: dict[str, Ref] = {}
        complete = True
        for index, port in enumerate(piece.ports):
            given = block.get(port.name)
            if port.many and isinstance(given, list | tuple) and given:
                refs = [self._named(one, (*path, port.name, i), port.name) for i, one in enumerate(given)]
                complete &= None not in refs
                inputs |= {f"{port.name}#{i}" if i else port.name: ref for i, ref in enumerate(refs) if ref}
                continue
            if given is not None:
                ref = self._named(given, (*path, port.name), port.name)
            elif port.name in block and port.optional:
                continue
            elif index == 0 and self.before(address):
                ref = self.before(address)
            elif port.name in self.views or (port.name in self.steps and port.name != stream):
                ref = self.lookup(port.name)
            else:
                complete &= port.optional or self._empty(path, piece, port)
                continue
            complete &= ref is not None
            inputs |= {port.name: ref} if ref else {}
        if complete and piece.ports and not inputs:  # ports that may stay empty, but not all of them
            complete = self._empty(path, piece, piece.ports[0])
        return inputs if complete else None

    def _empty(self, path: Path_, piece: Piece, port: Port) -> bool:
        """Report that nothing fills a port; returns False."""
        if self.partial:
            return False
        if port.eats == "tokens":
            known = self.sources(".".join(str(key) for key in path if key not in ("streams", "steps")))
            fix = f"add `{port.name}: …`, the name of a step or of one of its blocks"
        else:
            known = [n for n in self.views if self.kinds.get(n, port.eats) == port.eats]
            fix = f"add `{port.name}: {known[0] if known else '…'}`, the name of a view of {port.eats}"
        self.checker.problem(path, f"nothing fills the port {port.name!r} of {piece.name!r}", fix, known)
        return False

    def sources(self, address: str) -> list[str]:
        """Steps that a step can read without a circle: those that do not depend on it, as far as the recipe names its inputs."""
        leans = {address}
        before = -1
        while len(leans) > before:
            before = len(leans)
            leans.update(a for a in self.addresses() if self._written(a) & leans)
        return [a for a in self.addresses() if a not in leans]

    def _written(self, address: str) -> set[str]:
        """Steps that a step's block names, and the one before it, from which its first port may come."""
        block = self.checker.recipe.get(*path_of(address))
        named = [self.lookup(text) for _, text in items(block) if isinstance(text, str)]
        return {ref.step for ref in (*named, self.before(address)) if ref and ref.step}

    def _named(self, given: object, path: Path_, port: str) -> Ref | None:
        """What the recipe names for a port; None, and a problem, where that is unknown."""
        if given is WRONG:
            return None
        if not isinstance(given, str):
            self.checker.problem(path, f"the port {port!r} names a view or a block, got {show(given)}")
            return None
        ref, stream = self.lookup(given), given.split(".")[0]
        if stream == HIDDEN.step:
            return self._of_llm(ref, given, path)
        if ref is None and stream not in self.steps and not self.partial:
            self._unknown(path, stream)
        elif ref is None and self.steps.get(stream):
            self._unknown_step(path, given)
        return ref

    def _of_llm(self, ref: Ref | None, given: str, path: Path_) -> Ref | None:
        """The LLM's state, where it can be read."""
        recipe, before = self.checker.recipe, len(self.checker.problems)
        if ref is None:
            self.checker.unknown(path, "block of the LLM", given, [str(HIDDEN)])
        elif path[0] == "streams":
            what = f"{given} is what the LLM makes of all streams: only heads and objectives can read it"
            self.checker.problem(path, what, "name a block of a step")
        elif "backbone" in recipe.values and recipe.get("backbone") is None:
            self.checker.problem(path, f"there is no LLM that {given} could be of", "name a block of a step, or an LLM")
        return ref if len(self.checker.problems) == before else None

    def _unknown(self, path: Path_, name: str) -> None:
        """Report an unknown view or stream; one that `null` removed is named as such."""
        recipe = self.checker.recipe
        gone = next((s for s in ("views", "streams") if name in dict(items(recipe.get(s)))), "")
        also = f"{gone}.{name} is null ({recipe.place((gone, name))}): remove what names it too" if gone else ""
        self.checker.unknown(path, "view or stream", name, [*self.views, *self.steps], also)

    def _unknown_step(self, path: Path_, given: str) -> None:
        """Report a known stream without that step; perhaps a block was named without its step."""
        stream, _, rest = given.partition(".")
        known = [f"{stream}.{step}" for step in self.steps[stream]]
        also = "" if nearest(given, known) else f"a block is named with its step, such as {known[-1]}.{rest}"
        self.checker.unknown(path, "step", given, known, also)


def running_order(needs: Mapping[str, Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Steps in an order in which each comes behind what it needs, otherwise as written; and circles among them."""
    order: dict[str, None] = {}
    circles: list[list[str]] = []
    for start in needs:
        trail = [start]
        todo = {start: list(reversed(needs[start]))}
        while trail:
            step = trail[-1]
            if step in order or not todo[step]:
                order[step] = None
                trail.pop()
                continue
            after = todo[step].pop()
            if after in trail:
                circles.append([*trail[trail.index(after) :], after])
            elif after in needs and after not in order:
                trail.append(after)
                todo[after] = list(reversed(needs[after]))
    return list(order), circles


def words_in(value: object) -> set[str]:
    """First words of all texts and keys in a block: the streams that a block which is wrong may mean."""
    inside = list(walk(value))
    return {str(key) for path, _ in inside for key in path[-1:]} | {
        v.split(".")[0] for _, v in inside if isinstance(v, str)
    }
