"""A trained run out: what an exporter piece writes, the streams' weights and the recipe beside it, and a card."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open
from torch import Tensor

from affectkit.api import Loaded
from affectkit.errors import InputError, Problem
from affectkit.evaluation.figures import digits
from affectkit.evaluation.score import read_metrics
from affectkit.files import read_json, write_json_atomic, write_text_atomic
from affectkit.interop.contract import Exporter
from affectkit.plan.plan import MODEL
from affectkit.plan.summary import summary_rows
from affectkit.plan.use import Use
from affectkit.train.run_folder import Run, evaluated
from affectkit.weights import RANDOM, write_state

if TYPE_CHECKING:
    from affectkit.api import Loaded

BESIDE = "affectkit"
"""The folder with all that is not the language model's."""


def export(loaded: Loaded, exporter: Exporter, folder: str | Path) -> dict[str, str]:
    """Write a run into an empty folder; returns each file and folder with what it holds.

    Raises InputError where the folder has something in it.
    """
    out = Path(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(Problem(str(out), "is there already", "name a new folder with --out"))
    out.mkdir(parents=True, exist_ok=True)
    written = dict(exporter.write(loaded, out))
    written.update(_beside(loaded, out / BESIDE))
    weights = {source for o in loaded.model.origins() for source in o["origin"].split(", ")}
    sources = sorted(weights | {u.piece.name for u in _data(loaded)})
    card = Card(loaded, written, dict(exporter.terms(sources)), exporter.usage())
    write_card(card, out / "README.md")
    return {**written, "README.md": "model card"}


def _data(loaded: Loaded) -> list[Use]:
    stages = [s.data for s in loaded.plan.stages.values()]
    return [u for u in (loaded.plan.data, *stages) if u is not None]


def _beside(loaded: Loaded, folder: Path) -> dict[str, str]:
    """Streams' weights, recipe, what made the run, figures."""
    folder.mkdir()
    run = evaluated(loaded.run)
    tensors = stream_weights(loaded, run)
    write_state(folder / "streams.safetensors", tensors)
    shutil.copyfile(run.recipe, folder / "recipe.yaml")
    count = f"{sum(t.numel() for t in tensors.values()):,}"
    found = {
        f"{BESIDE}/streams.safetensors": f"encoders, adapters and projectors that trained, {count} numbers",
        f"{BESIDE}/recipe.yaml": "the recipe with every default",
    }
    if run.about.exists():
        about = {k: v for k, v in read_json(run.about).items() if k not in PRIVATE}
        write_json_atomic(folder / "run.json", about)
        found[f"{BESIDE}/run.json"] = "versions, seed, stages, origin of each part's weights"
    if (loaded.run.folder / "metrics.json").exists():
        shutil.copyfile(loaded.run.folder / "metrics.json", folder / "metrics.json")
        found[f"{BESIDE}/metrics.json"] = "every figure, with intervals"
    return found


PRIVATE = ("command", "machine")
"""Entries of run.json that tell of the machine rather than of the model; paths of data lie in the recipe."""


def stream_weights(loaded: Loaded, run: Run) -> dict[str, Tensor]:
    """The parameters and buffers of steps that the run holds: what trained, or began as random numbers."""
    names: dict[str, None] = {}
    for stage in loaded.plan.stages:
        if run.weights(stage).exists():
            with safe_open(run.weights(stage), framework="pt") as file:
                names.update(dict.fromkeys(n for n in file.keys() if not n.startswith("backbone.")))  # noqa: SIM118
    state = loaded.model.state_dict()
    return {n: state[n] for n in names if n in state}


def trains_whole(loaded: Loaded) -> bool:
    """Whether the language model itself is the run's own: trained, or begun from random numbers."""
    trained = {a for stage in loaded.plan.stages.values() for a in stage.trains}
    origin = {o["address"]: o["origin"] for o in loaded.model.origins()}.get("backbone")
    return MODEL in trained or origin == RANDOM


HEAD = """---
library_name: transformers
tags: [affectkit, emotion, multimodal]
license: other
---
"""

LIMITS = (
    "It names the emotion that is shown; what a person feels it cannot know. Expressions differ among cultures and "
    "persons, acted ones differ from others, and labels are agreements among annotators.",
    "It is no basis for decisions about persons (hiring, schooling, policing, insurance, health). In the European Union, "
    "the AI Act forbids inferring emotions at work and in education, with few exceptions.",
    "The language model alone knows nothing of pictures and sound: it wants the streams' tokens at their places in the "
    "prompt, as the recipe lays it out.",
)


@dataclass(frozen=True)
class Card:
    """What a card is made from."""

    loaded: Loaded
    files: Mapping[str, str]
    terms: Mapping[str, str]
    """Published part to what is known of its licence."""
    usage: str
    """How another library loads it, as Python."""


def write_card(card: Card, path: Path) -> None:
    """Write the card as Markdown with the head that model hubs read."""
    write_text_atomic(path, HEAD + "\n".join(_lines(card)) + "\n")


def _lines(card: Card) -> Iterator[str]:
    plan, run = card.loaded.plan, card.loaded.run
    about = run.notes()
    yield f"\n# {plan.name}\n"
    yield f"{plan.recipe.get('about') or 'A run of affectkit.'}\n"
    yield f"## Loading it\n\n```python\n{card.usage.strip()}\n```\n"
    yield "| file | holds |\n|---|---|"
    yield from (f"| `{name}` | {what} |" for name, what in card.files.items())
    yield "\n## Recipe\n\n| part | what |\n|---|---|"
    yield from (f"| {_cell(name)} | {_cell(what)} |" for name, what in summary_rows(plan))
    yield "\n## Data\n"
    yield from _data_lines(card, about)
    yield "\n## Figures\n"
    yield from _figures(run.folder / "metrics.json")
    yield "\n## Weights and licences\n"
    yield from _weights(card, about)
    yield "\n## Limits\n"
    yield from (f"- {limit}" for limit in LIMITS)
    if about.get("demographics"):
        yield "- Age, gender or race were stated in prompts; a wrong estimate of them can sway the answer."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _data_lines(card: Card, about: Mapping[str, Any]) -> Iterator[str]:
    plan = card.loaded.plan
    if plan.data is not None:
        yield f"- evaluated on `{plan.data.piece.name}`: {plan.data.piece.about}"
    stages = about.get("stages") or {}
    for name, stage in plan.stages.items():
        if "imported" in about:
            break
        counts = stages.get(name) or {}
        size = f", {counts['train']} samples ({counts.get('val', 0)} more for validation)" if "train" in counts else ""
        tasks = stage.objective or ", ".join(stage.settings.tasks)
        yield f"- stage `{name}` on `{stage.data.piece.name}`{size}: {tasks}"
    if "imported" in about:
        source = about["imported"]
        yield f"- weights imported from `{Path(source['file']).name}` (sha256 `{source['sha256']}`), not trained here"
    if card.loaded.labels:
        yield f"- labels: {', '.join(card.loaded.labels)}"


def _figures(path: Path) -> Iterator[str]:
    if not path.exists():
        yield "Not evaluated."
        return
    for split, figures in read_metrics(path.parent).items():
        yield f"Split `{split}`, protocol `{figures.protocol or '?'}`:\n"
        yield "| figure | value | 95 % interval | chance |\n|---|---|---|---|"
        for name, figure in figures.metrics.items():
            value, ends = figure.digits(4, "-")
            yield f"| {name} | {value} | {ends} | {digits(figures.guesses(name)[0], 4, '-')} |"
        states = figures.ledger.to_dict() if figures.ledger else {}
        ledger = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in states.items() if n)
        yield f"\nLedger: {ledger}.\n"


def _weights(card: Card, about: Mapping[str, Any]) -> Iterator[str]:
    yield "| part | started from |\n|---|---|"
    for origin in card.loaded.model.origins():
        sources, stand_in = origin["origin"].split(", "), origin.get("stand_in", "")
        name = ", ".join(Path(source).name if Path(source).is_absolute() else source for source in sources)
        yield f"| `{origin['address']}` | {_cell(f'{name}; {stand_in}' if stand_in else name)} |"
    yield ""
    if card.terms:
        yield "What is known of the terms of published parts (check them before you hand anything on):\n"
        yield from (f"- {name}: {terms}" for name, terms in card.terms.items())
    else:
        yield "No published part with known terms is in it; the data's own terms hold for what was trained on it."
