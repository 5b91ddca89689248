"""A trained run out: what an exporter piece writes, the streams' weights and the recipe beside it, and a card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from affectkit.api import LoadedRun
from affectkit.evaluation.figures import digits
from affectkit.evaluation.score import read_metrics
from affectkit.files import read_object, write_json_atomic, write_text_atomic
from affectkit.interop.checkpoint import new_folder
from affectkit.interop.contract import Exporter
from affectkit.plan.plan import MODEL
from affectkit.plan.summary import summary_rows
from affectkit.plan.use import Use
from affectkit.templates import environment
from affectkit.train.run_folder import Run, evaluated_run
from affectkit.weight_files import header
from affectkit.weights import RANDOM, write_state

BESIDE = "affectkit"
"""The folder with all that is not the language model's."""


def export(loaded: LoadedRun, exporter: Exporter, folder: str | Path) -> dict[str, str]:
    """Write a run into an empty folder; returns each file and folder with what it holds.

    Raises InputError where the folder has something in it, and where the exporter cannot write such a run.
    """
    with new_folder(folder) as out:
        written = dict(exporter.write(loaded, out))
        written.update(_beside(loaded, out / BESIDE))
        weights = {source for o in loaded.model.origins() for source in o["origin"].split(", ")}
        sources = sorted(weights | {u.piece.name for u in _data(loaded)})
        card = Card(loaded, written, dict(exporter.terms(sources)), exporter.usage())
        write_card(card, out / "README.md")
    return {**written, "README.md": "model card"}


def _data(loaded: LoadedRun) -> list[Use]:
    stages = [s.data for s in loaded.plan.stages.values()]
    return [u for u in (loaded.plan.data, *stages) if u is not None]


def _beside(loaded: LoadedRun, folder: Path) -> dict[str, str]:
    """Streams' weights, recipe, what made the run, figures."""
    folder.mkdir()
    run = evaluated_run(loaded.run)
    tensors = stream_weights(loaded, run)
    write_state(folder / "streams.safetensors", tensors)
    shutil.copyfile(run.recipe, folder / "recipe.yaml")
    count = f"{sum(t.numel() for t in tensors.values()):,}"
    found = {
        f"{BESIDE}/streams.safetensors": f"encoders, adapters, projectors and heads that trained, {count} numbers",
        f"{BESIDE}/recipe.yaml": "the recipe with every default",
    }
    if run.about.exists():
        about = {k: v for k, v in read_object(run.about).items() if k not in PRIVATE}
        write_json_atomic(folder / "run.json", about)
        found[f"{BESIDE}/run.json"] = "versions, seed, stages, origin of each part's weights"
    if (loaded.run.folder / "metrics.json").exists():
        shutil.copyfile(loaded.run.folder / "metrics.json", folder / "metrics.json")
        found[f"{BESIDE}/metrics.json"] = "every figure, with intervals"
    return found


PRIVATE = ("command", "machine")
"""Entries of run.json that tell of the machine rather than of the model; paths of data lie in the recipe."""


def stream_weights(loaded: LoadedRun, run: Run) -> dict[str, Tensor]:
    """The parameters and buffers of steps that the run holds: what trained, or began as random numbers."""
    names: dict[str, None] = {}
    for stage in loaded.plan.stages:
        if run.weights(stage).exists():
            names.update(dict.fromkeys(n for n in header(run.weights(stage)) if not n.startswith("backbone.")))
    state = loaded.model.state_dict()
    return {n: state[n] for n in names if n in state}


def trains_whole(loaded: LoadedRun) -> bool:
    """Whether the language model itself is the run's own: trained, or begun from random numbers."""
    trained = {a for stage in loaded.plan.stages.values() for a in stage.trains}
    origin = {o["address"]: o["origin"] for o in loaded.model.origins()}.get("backbone")
    return MODEL in trained or origin == RANDOM


@dataclass(frozen=True)
class Card:
    """The content of a model card."""

    loaded: LoadedRun
    files: Mapping[str, str]
    terms: Mapping[str, str]
    """Published part to what is known of its licence."""
    usage: str
    """How another library loads it, as Python."""


def write_card(card: Card, path: Path) -> None:
    """Write the card as Markdown with the head that model hubs read."""
    plan, run = card.loaded.plan, card.loaded.run
    about = run.notes()
    templates = environment(Path(__file__).parent / "templates")
    templates.filters["digits"] = digits
    text = templates.get_template("card.md").render(
        card=card,
        plan=plan,
        about=about,
        rows=summary_rows(plan),
        imported=Path(about["imported"]["file"]).name if "imported" in about else "",
        metrics=read_metrics(run.folder) if (run.folder / "metrics.json").exists() else None,
        origins=[(o["address"], _origin(o)) for o in card.loaded.model.origins()],
    )
    write_text_atomic(path, text)


def _origin(origin: Mapping[str, str]) -> str:
    """Where weights are from; of files on this machine only their names."""
    sources = [Path(s).name if Path(s).is_absolute() else s for s in origin["origin"].split(", ")]
    stand_in = origin.get("stand_in", "")
    return ", ".join(sources) + (f"; {stand_in}" if stand_in else "")
