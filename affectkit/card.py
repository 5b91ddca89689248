"""The card of an exported model: recipe, data, figures, licences, limits. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectkit.files import read_json, write_text_atomic
from affectkit.summary import summary_rows

if TYPE_CHECKING:
    from affectkit.loading import Loaded

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
    about = read_json(run.about) if run.about.exists() else {}
    yield f"\n# {plan.name}\n"
    yield f"{plan.recipe.get('about') or 'A run of affectkit.'}\n"
    yield f"## Loading it\n\n```python\n{card.usage.strip()}\n```\n"
    yield "| file | holds |\n|---|---|"
    yield from (f"| `{name}` | {what} |" for name, what in card.files.items())
    yield "\n## Recipe\n\n| part | what |\n|---|---|"
    yield from (f"| {_cell(name)} | {_cell(what)} |" for name, what in summary_rows(plan))
    yield "\n## Data\n"
    yield from _data(card, about)
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


def _data(card: Card, about: Mapping[str, Any]) -> Iterator[str]:
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
    for split, figures in read_json(path).items():
        yield f"Split `{split}`, protocol `{figures.get('protocol', '?')}`:\n"
        yield "| figure | value | 95 % interval | chance |\n|---|---|---|---|"
        chance = figures.get("chance") or {}
        for name, figure in figures.items():
            if isinstance(figure, Mapping) and {"value", "low", "high"} <= set(figure):
                known = [figure["value"], figure["low"], figure["high"], chance.get(name)]
                value, low, high, random = (f"{n:.4f}" if isinstance(n, (int, float)) else "-" for n in known)
                yield f"| {name} | {value} | {low} to {high} | {random} |"
        ledger = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in figures.get("ledger", {}).items() if n)
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
