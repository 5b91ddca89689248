"""The checkpoints of a run: the weights that its stages handed on, and those kept of single epochs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from affectkit.api import LoadedRun
from affectkit.encode.cache import Keys, Memo
from affectkit.errors import InputError, Problem, unknown
from affectkit.model.model import build
from affectkit.plan.plan import Plan
from affectkit.train.checkpoint import load_weights, read_weights
from affectkit.train.run_folder import Run, evaluated_run, saved_tokenizer
from affectkit.weight_files import header

ALL = "all"
_EPOCH = re.compile(r"epoch-(\d+)\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a run at one moment."""

    name: str
    """`instruct` for what a stage handed on, `instruct/epoch-3` for an epoch of it."""
    files: tuple[Path, ...]
    """Weights to load, in this order."""


UNTRAINED = Checkpoint("as it starts", ())


def checkpoints_of(run: Run, plan: Plan) -> list[Checkpoint]:
    """All that a run kept of the stages that train what answers (the LLM's loss, or that of a head that answers), in the order
    of training; the last one is the run's own.

    Other stages that train a step's own objective come before there is anything to ask; an epoch that is the stage's end is left
    out where the stage handed on its last weights.
    """
    found: list[Checkpoint] = []
    before: tuple[Path, ...] = ()
    heads = {plan.method(task) for task in plan.answered}
    for stage in plan.stages.values():
        answering = stage.llm or any(heads & {*loss.heads} for loss in stage.losses)
        if answering:
            for number, file in _epochs(run.stage(stage.name)):
                end = number == stage.settings.epochs and stage.settings.keep == "last"
                found += [] if end else [Checkpoint(f"{stage.name}/epoch-{number}", (*before, file))]
        before = (*before, run.weights(stage.name))
        if answering:
            found.append(Checkpoint(stage.name, before))
    return found


def _epochs(folder: Path) -> list[tuple[int, Path]]:
    """Kept epochs of a stage, in order."""
    named = ((_EPOCH.fullmatch(path.name), path) for path in folder.glob("epoch-*.safetensors"))
    return sorted((int(match[1]), path) for match, path in named if match)


def points_of(path: str | Path, run: Run, plan: Plan, wanted: str) -> tuple[list[Checkpoint], list[Checkpoint]]:
    """The checkpoints of a run that `wanted` names (`all`, or names with commas), in the order of training, where it is empty
    the run's own; and all that it has.

    Raises InputError for a name that the run does not have, and where a file of the checkpoints is gone.
    """
    trained = any(run.weights(stage).exists() for stage in plan.stages)
    there = checkpoints_of(run, plan) if trained else []
    if not there:  # a recipe as it starts
        return [UNTRAINED], []
    known = [c.name for c in there]
    named = [name.strip() for name in wanted.split(",") if name.strip()]
    names = known if wanted == ALL else named if wanted else known[-1:]
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        also = "stages keep epochs where they say keep_every: N"
        raise InputError(unknown(f"--checkpoints of {run.folder}", "checkpoint", (wrong or [wanted])[0], known, also))
    points = [c for c in there if c.name in names]
    gone = [file for point in points for file in point.files if not file.exists()]
    if gone:
        raise InputError(Problem(str(path), f"the run holds no {gone[0]}", f"affectkit fit --resume {path}"))
    return points, there


class CheckpointedRun:
    """A loaded run whose model can be set to any of some of its checkpoints."""

    def __init__(self, loaded: LoadedRun, points: Sequence[Checkpoint], there: Sequence[Checkpoint]) -> None:
        """`there` are all that the run has; the loaded model stands at the last of them."""
        self.loaded, self.points = loaded, list(points)
        self._now = there[-1] if there else None
        self._names = {file: _names(file) for point in (*points, *there[-1:]) for file in point.files}
        self._start = self._starting()

    def _starting(self) -> dict[str, Tensor]:
        """Starting values of what the run trained and some of these checkpoints do not hold yet."""
        every = set().union(*self._names.values()) if self._names else set()
        held = [set().union(*(self._names[f] for f in p.files)) for p in self.points]
        late = {name for one in held for name in every - one}
        if not late:
            return {}
        fresh, _ = build(self.loaded.plan, lambda: (), saved_tokenizer(evaluated_run(self.loaded.run)))
        return {name: tensor.clone() for name, tensor in fresh.state_dict().items() if name in late}

    def put(self, point: Checkpoint) -> None:
        """Set the model to a checkpoint."""
        if point == self._now or not point.files:
            return
        load_weights(self.loaded.model, self._start)
        for file in point.files:
            load_weights(self.loaded.model, read_weights(file), str(file))
        self._now = point

    def keys(self, point: Checkpoint, memo: Memo) -> dict[str, str]:
        """What each step of the prompt's streams is known by in the cache, with the weights of a checkpoint."""
        self.put(point)
        names = Keys(self.loaded.plan, self.loaded.model.steps, memo)
        with torch.no_grad():
            return {address: names.step(address) for address in self.loaded.plan.needed()}


def _names(file: Path) -> set[str]:
    return set(header(file))


def changing(plan: Plan, own: dict[str, str], others: Sequence[dict[str, str]]) -> list[str]:
    """Steps behind a step that another checkpoint has just so, where one of those that have it goes on otherwise.

    What the shared steps give is worth keeping then: the clip is decoded and encoded once for all of these checkpoints, also
    for two of them that go on alike. A step that nobody shares, right behind the views, is kept as a whole for its own
    checkpoint.
    """
    found: list[str] = []
    for address in plan.needed():
        before = {ref.step for ref in plan.graph.steps[address].inputs.values() if ref.step}
        kin = [other for other in others if any(b in own and other.get(b) == own[b] for b in before)]
        if before & set(found) or any(other.get(address) != own.get(address) for other in kin):
            found.append(address)
    return found
