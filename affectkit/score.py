"""Predictions to numbers with intervals, and the ledger. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

State = Literal["scored", "undecodable", "unparsed", "out_of_vocabulary", "skipped"]


@dataclass(frozen=True)
class Prediction:
    """What became of one sample of an evaluation. Every sample ends as exactly one state."""

    id: str
    task: str
    state: State
    truth: str | None = None
    label: str | None = None
    """What the system answered, as a label; None unless scored or out of vocabulary."""
    text: str = ""
    """The raw answer, where there is one."""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    """Why it was not scored."""
    media: str = ""
    """The file to look at."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Words about the sample (age, gender, evidence …) that a report may group by."""
