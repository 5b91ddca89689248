"""What a build would fail at, as far as a recipe and the headers of files tell: number formats that cannot be trained in on
the machine that it is for, and sources of weights that are not whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from affectkit import weight_files
from affectkit.errors import Problem, nearest
from affectkit.plan.plan import Plan
from affectkit.plan.references import path_of
from affectkit.plan.use import Use
from affectkit.recipe.marked_yaml import Path_

MOST_LAYERS = 10_000


def number_problems(plan: Plan, on_cpu: bool) -> list[Problem]:
    """float16 on a CPU, where sums overflow; and weights in float16 that train, whose small changes vanish."""
    found = []
    if on_cpu and plan.run.precision == "16-mixed":
        what = "float16 (16-mixed) needs a GPU, and this run has none"
        found.append(Problem(plan.recipe.place(("run", "precision")), what, "say 32-true or bf16-mixed"))
    if plan.backbone is None or getattr(plan.backbone.settings, "dtype", "") != "float16":
        return found
    place = plan.recipe.place(("backbone", "dtype"))
    if on_cpu:
        what = "float16 weights need a GPU: on a CPU sums overflow, and losses are no numbers"
        found.append(Problem(place, what, "say float32 or bfloat16"))
        return found
    for name, stage in plan.stages.items():
        if "backbone.model" in stage.trains:
            what = f"stage {name} trains weights in float16, in which small changes vanish"
            found.append(Problem(place, what, "say float32 or bfloat16, or train backbone.lora"))
    return found


def source_problems(plan: Plan) -> list[Problem]:
    """What is wrong with every `source` or `*_source` of a step, backbone or detector, and with the folder of a client's model:
    files that are cut, empty, pointers, pages or hold code, shards that an index names and that are not there, and sizes that
    a config.json beside them does not have."""
    if plan.run.weights != "given":
        return []
    found = []
    for path, source in _sources(plan):
        place = plan.recipe.place(path)
        if source.startswith(("/", "./", "../", "~")) and not Path(source).expanduser().exists():
            found.append(_nowhere(place, source))
            continue
        found += [
            Problem(place, f"{problem.place} {problem.what}", problem.fix, problem.known)
            for problem in weight_files.inspect_local(source) or weight_files.contradictions(source)
        ]
    return found


def _nowhere(place: str, source: str) -> Problem:
    """The problem of a path at which there is nothing, and which can be no hub id; with the nearest one that there is."""
    path = Path(source).expanduser()
    there = next(parent for parent in path.parents if parent.exists())
    missing = path.relative_to(there).parts[0]
    known = sorted(p.name for p in there.iterdir()) if there.is_dir() else []
    close = nearest(missing, known)
    fix = f"did you mean {str(there / close)!r}?" if close else "give a file or folder that is there, or a hub id"
    return Problem(place, f"there is no {str(there / missing)!r}", fix)


def size_problems(plan: Plan) -> list[Problem]:
    """More layers or ranks than anybody builds: each takes its time, so that a build would not end, and its memory."""
    found = []
    for path, settings in _blocks(plan):
        lora = getattr(settings, "lora", None)
        for at, holder in ((path, settings), ((*path, "lora"), lora)):
            for name in ("layers", "depth", "rank"):
                value = getattr(holder, name, None)
                if isinstance(value, int) and value > MOST_LAYERS:
                    what = (
                        f"{value:,} {name if name != 'rank' else 'as a rank'} cannot be built: at most {MOST_LAYERS:,}"
                    )
                    found.append(Problem(plan.recipe.place((*at, name)), what))
    return found


def _blocks(plan: Plan) -> list[tuple[Path_, object]]:
    """The settings of everything that is built, with where the recipe says them."""
    uses: list[tuple[Path_, object]] = [(path_of(address), step.settings) for address, step in plan.graph.steps.items()]
    uses += [(("backbone",), plan.backbone.settings)] if plan.backbone else []
    uses += [(("views", v.name, "detector"), v.detector.settings) for v in plan.graph.views.values() if v.detector]
    return uses


def _sources(plan: Plan) -> Iterator[tuple[Path_, str]]:
    """What is named as a source of weights, with where the recipe says it."""
    for path, settings in _blocks(plan):
        for name, source in _texts(settings):
            if name == "source" or name.endswith("_source"):
                yield (*path, name), source
    for metric, use in plan.metrics.items():
        if isinstance(use.client, Use):
            at = ("score", "metrics", metric, "client")
            yield from (((*at, name), source) for name, source in _texts(use.client.settings) if name == "folder")


def _texts(settings: object) -> Iterator[tuple[str, str]]:
    """The settings that are texts."""
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if isinstance(value, str) and value:
            yield field.name, value
