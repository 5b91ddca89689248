"""Feature folders out: blocks of a recipe's frozen steps, one file a sample, as another system's code reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from affectkit.errors import InputError, Problem, unknown
from affectkit.files import read_object, write_json_atomic
from affectkit.interop.contract import Layout
from affectkit.plan.plan import Plan
from affectkit.plan.references import Ref
from affectkit.sample import Sample
from affectkit.weights import origin_of

if TYPE_CHECKING:
    from affectkit.encode.perceive import Perceiver
    from affectkit.encode.steps import Steps

MANIFEST = "features.json"
UNSEEN = "nothing was seen or heard for it"
"""Why a whole clip has no file: no face in it, say, or no sound."""


@dataclass
class FeatureExport:
    """The result of an export: files written and samples left out."""

    blocks: dict[str, str]
    """Feature to the block that it was made of."""
    counts: dict[str, int] = field(default_factory=dict)
    """Feature to the number of files."""
    left_out: dict[str, str] = field(default_factory=dict)
    """`feature/sample` (or `sample`) to why there is no file: broken media, or nothing seen."""
    partial: dict[str, str] = field(default_factory=dict)
    """Sample to what of its media could not be decoded, where its files hold the rest."""


def blocks_of(plan: Plan, layout: Layout) -> dict[str, Ref]:
    """The block behind each feature. Raises InputError for names that lead nowhere."""
    found: dict[str, Ref] = {}
    problems = []
    for name, text in layout.wants().items():
        ref = _block(plan, text)
        if ref is None:
            known = [*plan.graph.ends, *(f"{a}.{b}" for a, s in plan.graph.steps.items() for b in s.shapes)]
            problems.append(unknown(f"feature {name}", "stream, step or block", text, known))
        else:
            found[name] = ref
    if problems:
        raise InputError(problems)
    return found


def _block(plan: Plan, text: str) -> Ref | None:
    graph = plan.graph
    stream, _, rest = text.partition(".")
    step, _, block = rest.partition(".")
    if not rest:
        end = graph.ends.get(stream)
        if end is None:
            return None
        last = graph.steps[end.step]
        eaten = last.inputs.get(last.piece.ports[0].name)
        return eaten if eaten is not None and eaten.step else None
    made = graph.steps.get(f"{stream}.{step}")
    if made is None or (block and block not in made.shapes):
        return None
    return Ref(step=made.address, block=block or made.main)


def export_features(
    plan: Plan, layout: Layout, folder: str | Path, splits: Sequence[str] = (), steps: Steps | None = None
) -> FeatureExport:
    """Run the frozen steps behind a layout's features on every sample and write the files.

    `steps` are those of a trained run; without them the steps are built from the recipe. The LLM is not built. Results
    come from the feature cache where they are there. Without `splits` those that the recipe evaluates are taken, and
    train, val and test. Raises InputError where nothing is found to export.
    """
    import torch

    from affectkit.encode.cache import Cache
    from affectkit.encode.perceive import Perceiver
    from affectkit.model.model import build_steps
    from affectkit.plan.graph import CachePlan

    refs = blocks_of(plan, layout)
    running = plan.graph.upstream([ref.step for ref in refs.values()])
    _without_question(plan, running)
    samples = _samples(plan, splits)
    device = torch.device("cuda" if torch.cuda.is_available() and plan.run.accelerator != "cpu" else "cpu")
    built = steps or build_steps(plan, running, plan.width or 0)[0]
    kept: dict[str, tuple[str, ...]] = {}
    for ref in refs.values():
        kept[ref.step] = tuple(sorted({*kept.get(ref.step, ()), ref.block}))
    perceiver = Perceiver(plan, built.to(device), Cache(plan.cache_folder), device, CachePlan(running, kept))
    perceiver.fill(samples, what="for the features")
    written = FeatureExport({name: f"{ref.step}.{ref.block}" for name, ref in refs.items()}, dict.fromkeys(refs, 0))
    for sample in samples:
        _write(layout, Path(folder), sample, perceiver, refs, written)
    written.partial.update(perceiver.partial)
    about: dict[str, object] = {"recipe": plan.name, "overrides": list(plan.recipe.overrides), **vars(written)}
    with_weights = [a for a in running if any(True for _ in built.module(a).parameters())]
    sources = {a: origin_of(built.module(a)) for a in with_weights}
    write_json_atomic(Path(folder) / MANIFEST, {**about, "weights": sources})
    return written


def unseen(folder: Path) -> frozenset[str]:
    """The clips that have no file in a feature folder because nothing was to be seen, by the manifest beside it."""
    manifest = folder.parent / MANIFEST
    if not manifest.is_file():
        return frozenset()
    told = read_object(manifest)
    left_out = told.get("left_out") if isinstance(told, Mapping) else None
    if not isinstance(left_out, Mapping):  # somebody else's file of that name
        return frozenset()
    start = f"{folder.name}/"
    return frozenset(n.removeprefix(start) for n, why in left_out.items() if n.startswith(start) and why == UNSEEN)


def _without_question(plan: Plan, running: Sequence[str]) -> None:
    """Features are of a clip; a step that reads the question gives others for every question."""
    asking = {n for n, v in plan.graph.views.items() if v.use == "question"}
    for address in running:
        if any(ref.view in asking for ref in plan.graph.steps[address].inputs.values()):
            raise InputError(Problem(address, "reads the question, so it has no feature of a clip alone"))


def _samples(plan: Plan, splits: Sequence[str]) -> list[Sample]:
    """Every sample of the splits, each id once."""
    # Here, for it brings NumPy, and whoever only names a data set need not wait for that.
    from affectkit.data.check import USUAL

    assert plan.data is not None
    found: dict[str, Sample] = {}
    for split in splits or dict.fromkeys((*USUAL, *plan.score.splits)):
        try:
            part = plan.data.piece.build(plan.data.settings, split)
        except InputError:
            if splits:
                raise
            continue
        found.update({part[i].id: part[i] for i in range(len(part))})
    if not found:
        raise InputError(Problem(plan.recipe.place(("data",)), "has no samples to export", "name a split with --split"))
    return list(found.values())


def _write(
    layout: Layout, folder: Path, sample: Sample, perceiver: Perceiver, refs: Mapping[str, Ref], written: FeatureExport
) -> None:
    import numpy as np

    if sample.id in perceiver.broken:
        written.left_out[sample.id] = perceiver.broken[sample.id]
        return
    if PurePath(sample.id).is_absolute() or ".." in PurePath(sample.id).parts:
        written.left_out[sample.id] = "its id is no name of a file"
        return
    entries, _ = perceiver.item(sample)
    for name, ref in refs.items():
        tensors = entries[ref.step].tensors
        tokens = tensors[f"{ref.block}/tokens"].float().cpu().numpy()
        mask = tensors[f"{ref.block}/mask"].cpu().numpy().astype(np.bool_)
        if not mask.any():
            written.left_out[f"{name}/{sample.id}"] = UNSEEN
            continue
        layout.save(folder, name, sample.id, tokens, mask)
        written.counts[name] += 1
