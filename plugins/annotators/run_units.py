"""Action units by a network of a trained run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affectkit_plugins._values import at_least
from affectkit_plugins.annotators._runs import missing, run_print

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Port, hookimpl

if TYPE_CHECKING:
    from affectkit.api import LoadedRun
    from affectkit.raw import RawPixels


@dataclass(frozen=True)
class Settings:
    """How strong each action unit is in each frame, by a step of a trained run that puts out one number a unit, such as
    `face_analysis` trained on faces with known units. Published pipelines take OpenFace for it.
    """

    run: str
    """Run folder."""
    block: str
    """The block of units (`face.net.units`)."""
    names: tuple[str, ...] = ()
    """The units in the block's order, as FACS numbers (`AU1`); empty takes the setting `units` of the step."""
    most: float = 5.0
    """What 1 of the block stands for: OpenFace's intensities run from 0 to 5, and rules are written for these."""
    batch: int = 64
    """Clips that are looked at together."""
    made_by: str = ""
    """The command that makes the run, told where it is not there yet."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = missing("run", self.run, self.made_by) + at_least(self, 1, "batch")
        return found + ([] if self.most > 0 else [("most", f"must be above 0, got {self.most}")])

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """None: there is no run to ask."""
        yield from ()


class RunUnits:
    """See `Settings`."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.batch = settings, settings.batch
        self._run: LoadedRun | None = None

    @property
    def model(self) -> str:
        """The run by content."""
        return run_print(self.settings.run, self.settings.made_by)

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`units` of each row: unit to its intensity in each frame that was looked at; `frames` says which frames of the clip
        these are, where the view is there that the run looks at. Raises InputError where it is another one."""
        from affectkit.api import load

        if self._run is None:
            self._run = load(self.settings.run)
        found = self._run.features([row["clip"] for row in rows], self.settings.block)
        names = self.settings.names or self._names(self._run)
        if found.tokens.shape[-1] != len(names):
            what = f"{self.settings.block} puts out {found.tokens.shape[-1]} numbers, and {len(names)} units are named"
            raise InputError(Problem("names", what, "name the units in the block's order"))
        out: list[Findings | Reject] = []
        for row, tokens, mask in zip(rows, found.tokens[:, :, 0].float(), found.mask[:, :, 0], strict=True):
            seen = (tokens[mask] * self.settings.most).T.tolist()
            units = {n: [round(value, 3) for value in one] for n, one in zip(names, seen, strict=True)}
            out.append({"units": units, **_frames(row["frames"], int(mask.sum()))} if mask.any() else Reject("no face"))
        return out

    def _names(self, run: LoadedRun) -> tuple[str, ...]:
        step = run.plan.graph.steps[".".join(self.settings.block.split(".")[:2])]
        return tuple(getattr(step.settings, "units", ()))


def _frames(seen: RawPixels | None, count: int) -> dict[str, list[int]]:
    if seen is None:
        return {}
    there = seen.indices[seen.valid].tolist()
    if len(there) != count:
        what = f"the view shows {len(there)} frames, and the run looks at {count}"
        raise InputError(Problem("frames", what, "name a view with the run's settings"))
    return {"frames": there}


def build(settings: Settings) -> RunUnits:
    """The annotator; the run is loaded when it is first asked."""
    return RunUnits(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    made_by = "affectkit fit recipes/teachers.yaml"
    tiny: dict[str, Any] = {"run": "runs/teachers/last", "block": "face.net.units", "made_by": made_by}
    ports = (
        Port("clip", "clip", "the clip"),
        Port("frames", "pixels", "the view that the run looks at, to tell which frames those are", optional=True),
    )
    tells = ("units", "frames")
    return [Piece("annotator", "run_units", Settings, build, ports=ports, tells=tells, needs=("torch",), tiny=tiny)]
