"""What an annotation would ask, and what that may cost, before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean

from affectkit.annotate.budget import Budget, NotAsked, SilentClient
from affectkit.annotate.clips import Clip
from affectkit.annotate.engine import Engine, Job
from affectkit.annotate.plan import Annotation, AnnotationPlan
from affectkit.annotate.store import Store
from affectkit.messages import Message, words_of
from affectkit.pieces import ShowsRows
from affectkit.report.terminal import table

LOOKED_AT = 32
"""Questions of each annotator whose length is measured; the others are taken to be as long."""
LETTERS = 4.0
"""Letters of a token, as English has it in the tokenizers of large models."""
PICTURE, SOUND = 800, 200
"""Tokens that a picture and a short sound are taken for: models differ."""


@dataclass(frozen=True)
class Forecast:
    """What one annotator would do."""

    name: str
    kept: int
    """Answers that are there."""
    certain: int
    """Answers to make, about clips of which all that it reads is known."""
    possible: int
    """Answers to make, unless an earlier annotator rejects the clip."""
    calls: int = 0
    """Questions to a model, at most, where none is asked again."""
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0


def rehearse(plan: AnnotationPlan, store: Store) -> list[Forecast]:
    """A forecast of each annotator. Decodes the media of some clips where pictures or sound are sent; asks nobody."""
    engine = Engine(plan, store, Budget())
    clips = engine.clips()
    unknown: dict[str, set[int]] = {}
    return [_forecast(engine, one, clips, unknown) for one in plan.annotators.values()]


def _forecast(engine: Engine, annotation: Annotation, clips: Sequence[Clip], unknown: dict[str, set[int]]) -> Forecast:
    """One annotator; in `unknown` it notes the clips whose findings are still to be made, by their place."""
    name = annotation.name
    reads = {ref.annotator for ref in annotation.inputs.values() if ref.annotator}
    waiting = {i for read in reads for i in unknown[read] if clips[i].live}
    if waiting and annotation.whole:  # it looks at all of them together
        waiting |= {i for i, clip in enumerate(clips) if clip.live}
    places = [i for i, clip in enumerate(clips) if clip.live and i not in waiting]
    use = annotation.use
    silent = SilentClient(use.client.piece.build(use.client.settings)) if use.client else None
    job = Job(engine, annotation, [clips[i] for i in places], silent)
    todo = job.take_kept()
    place_of = {id(clips[i]): i for i in places}
    unknown[name] = waiting | {place_of[id(job.clips[i])] for i in todo}
    made = Forecast(name, engine.kept[name], len(todo), len(waiting))
    if silent is None or not (todo or waiting):
        return made
    share, there, back = _measured(job, silent, todo)
    calls = round(share * len(todo)) + len(waiting)
    price = getattr(silent, "price", lambda *_: 0.0)
    tokens = round(calls * there), round(calls * back)
    return Forecast(name, made.kept, made.certain, made.possible, calls, *tokens, price(*tokens))


def _measured(job: Job, silent: SilentClient, todo: Sequence[int]) -> tuple[float, float, float]:
    """Questions an answer, tokens that go there and tokens that come back a question: by some of the clips, or by what the
    annotator's settings show where none is known yet."""
    settings = job.annotation.use.settings
    shown = list(settings.examples()) if isinstance(settings, ShowsRows) else []
    looked = todo[:: max(1, len(todo) // LOOKED_AT)][:LOOKED_AT]
    for i in looked:
        with suppress(NotAsked):
            job.worker.cells([job.tasks[i]])
    share = len(silent.questions) / len(looked) if looked else 1.0
    if not silent.questions:
        ports = [port.name for port in job.annotation.use.piece.ports]
        for row, _ in shown:
            with suppress(NotAsked):
                job.worker.built([{port: row.get(port) for port in ports}])
    there = fmean(map(_tokens, silent.questions)) if silent.questions else 0.0
    job.worker.close()
    return share, there, fmean(len(reply) / LETTERS for _, reply in shown) if shown else 0.0


def _tokens(messages: Sequence[Message]) -> float:
    files = sum(PICTURE * len(m.images) + SOUND * len(m.audio) for m in messages)
    return len(words_of(messages)) / LETTERS + files


def print_forecast(plan: AnnotationPlan, found: Sequence[Forecast]) -> None:
    """A table of what would be done, and in a line what it comes to."""
    rows = [
        [one.name, *(f"{n:,}" for n in (one.kept, one.certain, one.possible, one.calls, one.tokens_in, one.tokens_out)),
         f"{one.cost:.4g}"] for one in found
    ]  # fmt: skip
    head = ["annotator", "kept", "to make", "perhaps", "calls, at most", "tokens there", "back", "cost"]
    table(f"{plan.name}: nothing is asked yet", head, rows)
    calls, cost = sum(one.calls for one in found), sum(one.cost for one in found)
    print(f"at most {calls:,} calls and about {cost:.4g} of cost; replies that have to be asked for again come on top")
    free = unpriced(plan)
    if free and calls:
        print(
            f"no price is known of {', '.join(free)}: set price_in and price_out of their clients, per million tokens"
        )


def unpriced(plan: AnnotationPlan) -> list[str]:
    """The annotators whose client could have a price and has none."""
    asked = {name: one.use.client.settings for name, one in plan.annotators.items() if one.use.client}
    return [name for name, s in asked.items() if hasattr(s, "price_in") and not (s.price_in or s.price_out)]
