"""The label that trained classifiers vote for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from affectkit_plugins._values import once
from affectkit_plugins.annotators._runs import missing, run_print

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.errors import InputError, Problem, unknown
from affectkit.files import Json
from affectkit.pieces import Piece, Port, hookimpl
from affectkit.sample import LABEL, Sample

if TYPE_CHECKING:
    from affectkit.api import LoadedRun
    from affectkit.evaluation.prediction import Prediction


@dataclass(frozen=True)
class Settings:
    """Trained runs vote on the emotion of a clip: their heads, and their LLM (`candidates`), as MERBench's classifiers do over
    kept features (Lian et al. 2024; the high-level filter of MER-Caption). The label with most votes wins, of equal ones the
    one that the voters find likelier together. Clips in which fewer than `least` of the voters agree are rejected; a clip of
    which a voter can see nothing is judged by the others.
    """

    runs: tuple[str, ...]
    """Run folders."""
    voters: tuple[str, ...] = ()
    """Which answers of each run vote: heads by name, `candidates` for the LLM. Empty takes all heads that answer labels, and the
    LLM of a run without any."""
    least: float = 0.0
    """Least share of the voters that the winner needs."""
    sentiment: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Sentiments with the labels of each (`{positive: [happy], negative: [sad, angry]}`): voted on by the same voters."""
    batch: int = 64
    """Clips that are looked at together."""
    made_by: str = ""
    """The command that makes the runs, told where they are not there yet."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = once(self, "run", "runs") + [p for run in self.runs for p in missing("runs", run, self.made_by)]
        found += [] if self.runs else [("runs", "names no run")]
        return found + ([] if 0 <= self.least <= 1 else [("least", f"must be from 0 to 1, got {self.least}")])

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """None: there is no run to ask."""
        yield from ()


class Vote:
    """See `Settings`."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.batch = settings, settings.batch
        self._voters: dict[str, LoadedRun] | None = None

    @property
    def model(self) -> str:
        """The runs by content."""
        return " ".join(run_print(run, self.settings.made_by) for run in self.settings.runs)

    @property
    def voters(self) -> dict[str, LoadedRun]:
        """Each voter by name, as a run that answers by it. Raises InputError for one that there is not."""
        if self._voters is None:
            self._voters = {}
            for run in self.settings.runs:
                self._voters |= _voters(run, self.settings.voters, len(self.settings.runs) > 1)
        return self._voters

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`label` of each row, the `share` of voters behind it, `votes` by voter, mean `probabilities`, and `sentiment` where the
        settings name some."""
        clips: list[Sample] = [row["clip"] for row in rows]
        said = {name: run.predict(clips) for name, run in self.voters.items()}
        return [self._count({name: column[i] for name, column in said.items()}) for i in range(len(rows))]

    def _count(self, said: Mapping[str, Prediction]) -> Findings | Reject:
        votes = {name: one.label for name, one in said.items() if one.label is not None}
        if not votes:
            return Reject("no voter can tell")
        sure: dict[str, float] = {}
        for name in votes:
            for label, probability in said[name].probabilities.items():
                sure[label] = sure.get(label, 0.0) + probability / len(votes)
        label, share = _winner(list(votes.values()), sure)
        if share < self.settings.least:
            return Reject("the voters disagree", ", ".join(f"{n} {v}" for n, v in votes.items()))
        found: dict[str, Json] = {"label": label, "share": round(share, 4), "votes": dict(votes),
                 "probabilities": {k: round(v, 4) for k, v in sorted(sure.items())}}  # fmt: skip
        groups = {word: name for name, words in self.settings.sentiment.items() for word in words}
        feels = [groups[vote] for vote in votes.values() if vote in groups]
        if feels:
            found["sentiment"] = _winner(feels, sure)[0]
        return found


def _winner(votes: Sequence[str], sure: Mapping[str, float]) -> tuple[str, float]:
    """The word with most votes, and its share of them."""
    counts = Counter(votes)
    best = max(counts, key=lambda word: (counts[word], sure.get(word, 0.0), word))
    return best, counts[best] / len(votes)


def _voters(folder: str, names: Sequence[str], several: bool) -> dict[str, LoadedRun]:
    from affectkit.api import load

    run = load(folder)
    heads = [name for name, task in run.plan.heads.items() if task == LABEL]
    known = [*heads, *([] if run.plan.alone else ["candidates"])]
    for name in names:
        if name not in known:
            raise InputError(unknown("vote.voters", f"voter of {folder}", name, known))
    chosen = names or heads or known
    if not chosen:
        raise InputError(Problem(folder, "nothing of this run answers with a label"))
    return {f"{folder}:{n}" if several else n: load(folder, [f"score.method={n}"]) for n in chosen}


def build(settings: Settings) -> Vote:
    """The annotator; runs are loaded when they are first asked."""
    return Vote(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny: dict[str, Any] = {"runs": ["runs/teachers/last"], "made_by": "affectkit fit recipes/teachers.yaml"}
    tells = ("label", "share", "votes", "probabilities", "sentiment")
    ports = (Port("clip", "clip", "the clip"),)
    return [Piece("annotator", "vote", Settings, build, ports=ports, tells=tells, needs=("torch",), tiny=tiny)]
