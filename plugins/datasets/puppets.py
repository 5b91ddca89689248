"""Puppet clips: an emotion data set made by code, as real video files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from affectkit.errors import InputError, unknown
from affectkit.pieces import Piece, Survey, hookimpl
from affectkit.sample import Sample

if TYPE_CHECKING:
    from ._puppets.clip import ClipFormat


@dataclass(frozen=True)
class Settings:
    """Clips of drawn faces and synthetic voices with subtitles, made on first use: seven emotions, every fact known.

    About 30 % of an emotion's clips show it by the face alone, 30 % by the voice alone, 20 % by the words alone
    and 20 % by all three; a modality that carries nothing is neutral (a neutral clip is neutral in all, and its
    evidence says which its reason sentence speaks of). Identities and carrier sentences are not shared between
    splits. In the split `conflict`, for testing only, one further modality shows another emotion, and the fact
    `misleads` names it. Answers: `reason` names the clues, `open_labels` the feeling in one to three words that
    follow from what the clip shows (the emotion, how strong it is, what is said). Numbers: `intensity` (0 to 1), how strong
    the emotion is in what carries it, in words 0.5; `valence` and `arousal` (-1 to 1), the emotion's own times that.
    A conversation of two turns asks for the label, then for the reason.
    Source: our own; action units after FACS, landmarks in the order of iBUG 300-W.
    """

    count: int = 1000
    """Clips in train, val and test together."""
    seed: int = 0
    """Which clips: the same seed gives the same clips."""
    val: float = 0.1
    """Share of the clips that is for validation."""
    test: float = 0.2
    """Share of the clips that is for testing."""
    conflict: float = 0.1
    """Clips of the conflict split, as a share of `count`; they come on top."""
    size: int = 96
    """Width and height of the picture in pixels, an even number."""
    fps: int = 12
    """Frames a second."""
    seconds: float = 2.0
    """Length of a clip."""
    folder: str | None = None
    """Where to keep the clips, instead of the user cache."""
    workers: int = 0
    """Processes that make clips; 0 is one for each CPU."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that types cannot rule out: (field, what is wrong)."""
        found = []
        for name, low, high in (
            ("count", 3, 1_000_000),
            ("seed", 0, 2**32),
            ("fps", 4, 60),
            ("workers", 0, 256),
        ):
            if not low <= getattr(self, name) <= high:
                found.append((name, f"must be between {low} and {high}, not {getattr(self, name)}"))
        if not 48 <= self.size <= 1024 or self.size % 2:
            found.append(("size", f"must be an even number between 48 and 1024, not {self.size}"))
        if not 1.0 <= self.seconds <= 30.0:
            found.append(("seconds", f"must be between 1 and 30, not {self.seconds}"))
        for name in ("val", "test", "conflict"):
            if not 0.0 < getattr(self, name) < 1.0:
                found.append((name, f"must be between 0 and 1, not {getattr(self, name)}"))
        if self.val + self.test >= 1.0:
            found.append(("test", f"val and test must leave some clips for training, not {self.val} + {self.test}"))
        return found


def sizes(settings: Settings) -> dict[str, int]:
    """Clips in each split, at least one."""
    val, test = (max(1, round(settings.count * share)) for share in (settings.val, settings.test))
    conflict = max(1, round(settings.count * settings.conflict))
    return {"train": settings.count - val - test, "val": val, "test": test, "conflict": conflict}


def build(settings: Settings, split: str) -> Sequence[Sample]:
    """The samples of a split, with the seven emotions as its `labels`; clips that are missing are made first.

    Raises InputError for an unknown split, RunError if a clip cannot be made.
    """
    from ._puppets.cast import plan_of
    from ._puppets.store import Puppets, cache_folder, fill

    counts = sizes(settings)
    if split not in counts:
        raise InputError(unknown("data.split", "split of puppets", split, counts))
    look = _look(settings)
    folder = cache_folder(settings.folder, look, settings.seed)
    plans = [plan_of(settings.seed, split, number) for number in range(counts[split])]
    fill(plans, look, folder, settings.workers)
    return Puppets(plans, folder)


def survey(settings: Settings) -> Survey:
    """The seven emotions and the clips in each split; none is made."""
    from ._puppets import EMOTIONS, SCALES

    return Survey(EMOTIONS, sizes(settings), numbers=SCALES)


def write(settings: Settings, folder: str | Path, count: int) -> None:
    """Put `count` clips of mixed emotions and evidence into `folder`, with their sidecars and `contact-sheet.png`."""
    from ._puppets.sheet import write_some

    write_some(settings.seed, _look(settings), Path(folder), count)


def _look(settings: Settings) -> ClipFormat:
    from ._puppets.clip import ClipFormat

    return ClipFormat(settings.size, settings.fps, settings.seconds)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """The puppets."""
    tiny = {"count": 14, "size": 64, "fps": 8, "seconds": 1.0}
    return [
        Piece(
            "dataset",
            "puppets",
            Settings,
            build,
            needs=("av", "numpy", "PIL", "rich"),
            tiny=tiny,
            write=write,
            survey=survey,
        )
    ]
