"""How far people agree on nominal judgements, beyond what chance would give: Cohen's and Fleiss' kappa, Krippendorff's alpha.
Imports no torch.

A figure is None where it is undefined: nothing was judged twice, or everybody always said the same one thing, so that chance
alone would give full agreement, too.

Sources: J. Cohen (1960), A coefficient of agreement for nominal scales, Educational and Psychological Measurement 20(1), 37-46;
J. L. Fleiss (1971), Measuring nominal scale agreement among many raters, Psychological Bulletin 76(5), 378-382;
K. Krippendorff (2011), Computing Krippendorff's alpha-reliability, University of Pennsylvania.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from affectkit.files import Json

Units = Sequence[Mapping[str, str]]
"""By record, what each person who judged it said."""
_TINY = 1e-12
"""Below this, what is left of 1 after chance agreement is rounding."""


def cohen_kappa(pairs: Iterable[tuple[str, str]]) -> float | None:
    """Cohen's kappa of two people who judged the same records: what each said of one, a pair a record."""
    counts = Counter(pairs)
    total = sum(counts.values())
    if not total:
        return None
    first: Counter[str] = Counter()
    second: Counter[str] = Counter()
    for (a, b), n in counts.items():
        first[a] += n
        second[b] += n
    observed = sum(n for (a, b), n in counts.items() if a == b) / total
    chance = sum(n * second[value] for value, n in first.items()) / total**2
    return _beyond(observed, chance)


def fleiss_kappa(units: Sequence[Mapping[str, int]]) -> float | None:
    """Fleiss' kappa: by record, how many people chose each category; as many people judged each record.

    Raises ValueError where they were not as many.
    """
    sizes = {sum(unit.values()) for unit in units}
    if len(sizes) > 1:
        raise ValueError(f"records were judged by different numbers of people: {sorted(sizes)}")
    raters = next(iter(sizes), 0)
    if raters < 2:
        return None
    alike = [sum(n * (n - 1) for n in unit.values()) / (raters * (raters - 1)) for unit in units]
    totals: Counter[str] = Counter()
    for unit in units:
        totals.update(unit)
    chance = sum((n / (raters * len(units))) ** 2 for n in totals.values())
    return _beyond(sum(alike) / len(units), chance)


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float | None:
    """Krippendorff's alpha for nominal values: by record, what those who judged it said, however many these were. Records that
    fewer than two people judged cannot be compared and do not count."""
    paired = [Counter(unit) for unit in units if len(unit) > 1]
    totals: Counter[str] = Counter()
    for unit in paired:
        totals.update(unit)
    n = sum(totals.values())
    if not n:
        return None
    # disagreement seen: of all pairs within a record the unlike ones, each record weighing as its values are many
    seen = sum((sum(u.values()) ** 2 - sum(c * c for c in u.values())) / (sum(u.values()) - 1) for u in paired) / n
    chance = (n * n - sum(c * c for c in totals.values())) / (n * (n - 1))
    return None if chance < _TINY else 1 - seen / chance


def _beyond(observed: float, chance: float) -> float | None:
    """Agreement beyond chance, as a part of what was to be had."""
    return None if 1 - chance < _TINY else (observed - chance) / (1 - chance)


@dataclass(frozen=True)
class AgreementFigures:
    """How far people agree on one thing: the verdict, or the label of an item."""

    about: str
    """What was judged: `verdict`, or the item's name."""
    records: int
    """Records that at least two people judged."""
    same: int
    """Of these, how many all of them judged alike."""
    cohen: Mapping[tuple[str, str], tuple[float | None, int]] = field(default_factory=dict)
    """By pair of people: Cohen's kappa, and over how many records."""
    fleiss: float | None = None
    fleiss_people: int = 0
    """Over the records that this number of people judged, the number that most records have."""
    fleiss_records: int = 0
    alpha: float | None = None
    """Krippendorff's, over all records that at least two people judged."""

    @property
    def cohen_mean(self) -> float | None:
        """The mean over the pairs that have a kappa."""
        known = [kappa for kappa, _ in self.cohen.values() if kappa is not None]
        return sum(known) / len(known) if known else None

    def to_dict(self) -> dict[str, Json]:
        """As JSON holds it."""
        pairs: list[Json] = [
            {"people": list(who), "kappa": kappa, "records": n} for who, (kappa, n) in self.cohen.items()
        ]
        return {
            "about": self.about,
            "records": self.records,
            "same": self.same,
            "cohen_kappa": {"value": self.cohen_mean, "pairs": pairs},
            "fleiss_kappa": {"value": self.fleiss, "people": self.fleiss_people, "records": self.fleiss_records},
            "krippendorff_alpha": self.alpha,
        }


def agreement_on(about: str, units: Units) -> AgreementFigures:
    """All figures for one thing that people judged."""
    shared = [unit for unit in units if len(unit) > 1]
    pairs: dict[tuple[str, str], tuple[float | None, int]] = {}
    for a, b in combinations(sorted({name for unit in shared for name in unit}), 2):
        both = [(unit[a], unit[b]) for unit in shared if a in unit and b in unit]
        if both:
            pairs[a, b] = cohen_kappa(both), len(both)
    sizes = Counter(len(unit) for unit in shared)
    people = max(sizes, key=lambda size: (sizes[size], size), default=0)
    even = [Counter(unit.values()) for unit in shared if len(unit) == people]
    return AgreementFigures(
        about,
        len(shared),
        sum(len(set(unit.values())) == 1 for unit in shared),
        pairs,
        fleiss_kappa(even),
        people,
        len(even),
        krippendorff_alpha([list(unit.values()) for unit in shared]),
    )
