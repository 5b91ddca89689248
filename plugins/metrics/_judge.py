"""What metrics with an LLM as judge share: settings, the strict reading of scores, the mean. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins._values import at_least
from affectkit_plugins.metrics._judge_words import VERSION, WORDS, JudgePrompts

from affectkit.errors import InputError, Problem
from affectkit.evaluation.clients import CachedClient, Unreadable, strict_json
from affectkit.evaluation.prediction import Prediction
from affectkit.messages import Message

if TYPE_CHECKING:
    import numpy as np

HIGHEST = 10
MOST_LABELS = 100
"""A longer list of emotions is no answer."""


@dataclass(frozen=True)
class JudgeSettings:
    """Settings of a metric that asks a judge."""

    client: dict[str, Any] | None = None
    """The model that judges (`{use: openai_compatible, model: …}`); `affectkit pieces client` lists what there is."""
    language: Literal["english", "chinese"] = "english"
    """Language of the questions to the judge; the published ones are Chinese."""
    scale: Literal["1-10", "0-10"] = "1-10"
    """The scale that the judge is told: the published prompt says 1 to 10, the paper's text 0 to 10."""
    tries: int = 3
    """How often a reply that cannot be read is asked for, all in all; then the sample counts as unusable."""
    task: str = "reason"
    """The task whose answers are judged."""

    def asks(self) -> tuple[str, str]:
        """Text, generated."""
        return self.task, "generate"

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return at_least(self, 1, "tries")


@dataclass(frozen=True)
class JudgeContext:
    """The context of one judgement: the client, the wording of the questions and the scale."""

    client: CachedClient
    words: JudgePrompts
    lowest: int
    tries: int

    def read(self, question: str, material: Any, reader: Callable[[str], Any]) -> Any:
        """The judge's reply as `reader` parses it; None where no reply could be parsed."""
        body = json.dumps(material, ensure_ascii=False)
        text = question.format(lowest=self.lowest, highest=HIGHEST, material=body)
        again = lambda why: self.words.again.format(why=why)  # noqa: E731
        return self.client.read([Message(text)], reader, self.tries, again)

    def score(self, text: str) -> int:
        """The score in a reply. Raises Unreadable for anything but a whole number on the scale."""
        found = strict_json(text)
        strange = set(found) - {"score", "reason"}
        value = found.get("score")
        if strange or not isinstance(value, int) or isinstance(value, bool):
            raise Unreadable('it must be {"score": <whole number>, "reason": "…"}')
        if not self.lowest <= value <= HIGHEST:
            raise Unreadable(f"{value} is not on the scale from {self.lowest} to {HIGHEST}")
        return value


def emotions(text: str) -> tuple[str, ...]:
    """The list of emotions in a reply, each once. Raises Unreadable."""
    found = strict_json(text)
    names = found.get("emotions")
    whole = isinstance(names, list) and all(isinstance(n, str) and n.strip() for n in names)
    if set(found) != {"emotions"} or not whole or len(names or ()) > MOST_LABELS:
        raise Unreadable('it must be {"emotions": ["<emotion>", …]}')
    return tuple(dict.fromkeys(n.strip().lower() for n in names or ()))


Verdict = Callable[[JudgeContext, str, str], "int | None"]
"""From the bench, the reference and the answer to a score; None where no reply could be used."""


class JudgeMetric:
    """The mean score of answers; see `affectkit.evaluation.prediction.Metric`. Every pair of texts is judged once."""

    def __init__(self, settings: JudgeSettings, client: CachedClient | None, verdict: Verdict, what: str) -> None:
        self.settings, self.asker, self.verdict, self.what = settings, client, verdict, what
        self.lowest = int(settings.scale.split("-")[0])
        self._known: dict[tuple[str, str], int | None] = {}

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value` is the mean over usable samples; `unusable` and `empty` count, `each` holds every score by id.

        Predictions carry the answer as `text` and the reference as `truth`. Raises InputError without a client,
        ClientError where the judge does not reply.
        """
        told = [p for p in predictions if p.truth]
        scores = self.scores(told)
        usable = [s for s in scores if s is not None]
        unusable = len(scores) - len(usable)
        empty = sum(not p.text.strip() for p in told)
        client = self.asker
        return {
            "value": sum(usable) / len(usable) if usable else None,
            "scale": [self.lowest, HIGHEST],
            "judged": len(usable),
            "unusable": unusable,
            "empty": empty,
            "judge": {**client.client.identity, "asked": asdict(client.tally), "words": VERSION} if client else {},
            "protocol": f"{self.what}, mean of {len(usable)} samples on a scale from {self.lowest} to {HIGHEST}, as judged "
            f"by {self._name()} with our {self.settings.language.title()} questions (version {VERSION}); {unusable} samples left "
            f"out for want of a usable verdict, {empty} empty answers count {self.lowest}",
            "each": {p.id: s for p, s in zip(told, scores, strict=True)},
        }

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, 1], NaN without a usable verdict."""
        import numpy as np

        told = [p for p in predictions if p.truth]
        return np.array([[np.nan if s is None else s] for s in self.scores(told)], float).reshape(-1, 1)

    def scores(self, told: Sequence[Prediction]) -> list[int | None]:
        """The score of each answer; the lowest for an empty one, None where no verdict could be used."""
        pairs = [(p.truth or "", p.text) for p in told]
        fresh = [pair for pair in dict.fromkeys(pairs) if pair not in self._known]
        self._known.update({pair: self.lowest for pair in fresh if not pair[1].strip()})
        fresh = [pair for pair in fresh if pair[1].strip()]
        if fresh:
            bench = self._bench()
            jobs = [lambda pair=pair: self.verdict(bench, *pair) for pair in fresh]
            self._known.update(zip(fresh, bench.client.read_all(jobs, f"judging {self.what}"), strict=True))
        return [self._known[pair] for pair in pairs]

    def _bench(self) -> JudgeContext:
        if self.asker is None:
            fix = "give it a client: client.use=openai_compatible client.model=NAME client.url=URL"
            raise InputError(Problem(f"metric {self.what}", "has no judge to ask", fix))
        return JudgeContext(self.asker, WORDS[self.settings.language], self.lowest, self.settings.tries)

    def _name(self) -> str:
        return (
            str(self.asker.client.identity.get("model", type(self.asker.client).__name__)) if self.asker else "nobody"
        )
