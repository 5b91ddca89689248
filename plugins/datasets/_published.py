"""What the readers of published data sets share: settings, samples by name, splits, and what is wrong with a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

from affectkit_plugins._values import at_least, once, shares
from affectkit_plugins.datasets._annotations import segments, table, words
from affectkit_plugins.datasets._folders import ARRAY, SOUND, VIDEO, Folder, draw

from affectkit.errors import InputError, Problem, unknown
from affectkit.interop.feature_files import unseen
from affectkit.pieces import Piece, Survey
from affectkit.sample import Fact, Sample
from affectkit.tables import TableRow, fail

Scales = Mapping[str, tuple[float, float]]
"""Ratings by name, each with the ends of its scale, which are infinite where it has none."""
MER6 = ("neutral", "angry", "happy", "sad", "worried", "surprise")
"""The six classes of the MER challenges, in the order of their baselines."""
SAID = {"english": ("sentence", "sentence_en", "english", "chinese"), "chinese": ("chinese",)}
"""Columns of published transcripts by the language that is wanted, the one read first in front."""
TRANSCRIPTS = ("transcription-engchi-polish.csv", "transcription_merge.csv", "subtitle_chieng.csv", "subtitle_eng.csv")
"""Names that published transcripts have: MERBench, MER-UniBench's MER2024, MER2025 and MER2026, OV-MERD+."""


@dataclass(frozen=True)
class PublishedSettings:
    """Settings that the readers of published data sets share."""

    root: str
    """The folder of the data set; all paths below start from it."""
    features: dict[str, str] = field(default_factory=dict)
    """Name of a precomputed feature to its folder of `<clip>.npy` files (`{face: mae_340_UTT}`)."""
    transcripts: str | None = None
    """A csv of what is said, a row a clip; null looks for the name that the published one has."""
    language: Literal["english", "chinese"] = "english"
    """The language of what is said, where the transcripts hold both."""
    column: str | None = None
    """The transcripts' column to read; null goes by the language (`sentence`, `sentence_en`, `english`; `chinese`)."""
    audio: str | None = None
    """A folder of sound files by clip; null takes the sound of the clips."""
    labels: tuple[str, ...] = ()
    """The label set, where it is wider than the data's own or in another order; empty is the data's own."""
    val: float = 0.1
    """Share of the training clips kept for validation where none are published, so that nothing is chosen on test data."""
    seed: int = 0
    """Which training clips are for validation: the same seed gives the same clips, each label in proportion."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return shares(self, "val") + at_least(self, 0, "seed") + once(self, "label", "labels")


class Clips(Sequence[Sample]):
    """Samples of one split."""

    def __init__(
        self,
        samples: list[Sample],
        labels: tuple[str, ...],
        notes: tuple[str, ...] = (),
        numbers: Scales | None = None,
    ) -> None:
        self._samples = samples
        self.labels = labels
        """The label set, the same in every split."""
        self.numbers = dict(numbers or {})
        """What `Scales` says."""
        self.notes = notes
        """What a user should know of this copy of the data, such as how many clips have no transcript."""

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        return self._samples[index]

    def __len__(self) -> int:
        return len(self._samples)


@dataclass(frozen=True)
class PublishedSamples:
    """A data set as it was found: samples by split, the label set, notes."""

    splits: Mapping[str, list[Sample]]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()
    numbers: Scales = field(default_factory=dict)
    """Ratings by name, each with the ends of its scale."""


Labels = tuple[str, ...]


def published(
    name: str,
    settings: type[PublishedSettings],
    read: Callable[[Any], PublishedSamples],
    own: Labels | Callable[[Any], Labels],
    obtain: str,
) -> Piece:
    """The piece of a published data set.

    `read` makes all of it of the settings and raises InputError with everything that is wrong with this copy; `own` is
    its label set, or a function of the settings that gives it; `obtain` says whom to ask for the data.
    """

    def build(given: PublishedSettings, split: str) -> Clips:
        """One split. Raises InputError if there is none of that name, or nothing in it."""
        opened = read(given)
        if split not in opened.splits:
            raise InputError(unknown(given.root, "split", split, opened.splits))
        if not opened.splits[split]:
            have = tuple(f"{name} ({len(samples)})" for name, samples in opened.splits.items() if samples)
            raise InputError(Problem(given.root, f"the split {split!r} is empty", "see the shares in `data`", have))
        return Clips(opened.splits[split], opened.labels, opened.notes, opened.numbers)

    def survey(given: PublishedSettings) -> Survey:
        """Labels and sizes of the splits; data that is not there yet is a note, since nobody may pass it on."""
        root = Path(given.root).expanduser()
        if not root.exists():
            labels = own(given) if callable(own) else own
            return Survey(given.labels or labels, note=f"{root} is not there yet: {obtain}")
        opened = read(given)
        sizes = {split: len(samples) for split, samples in opened.splits.items()}
        return Survey(opened.labels, sizes, "; ".join(opened.notes), opened.numbers)

    # what is checked of a piece is checked of the module that offers it
    build.__module__ = survey.__module__ = settings.__module__
    return Piece("dataset", name, settings, build, survey=survey)


class SampleReader:
    """Makes the samples of one data set; collects what is wrong, and what is only worth a note."""

    def __init__(
        self, settings: PublishedSettings, codes: Mapping[str, str], own: tuple[str, ...], obtain: str
    ) -> None:
        """`codes` maps published labels, in lower case, to ours; `own` is the label set; `obtain` says whom to ask."""
        self.settings, self.codes = settings, codes
        self.root = Path(settings.root).expanduser()
        if not self.root.is_dir():
            raise InputError(Problem(str(self.root), "there is no such folder", obtain))
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.labels = settings.labels or own
        self.numbers: Scales = {}
        """Ratings that there may be: a reader says them before it makes samples, and facts of these names become numbers."""
        self.features = {n: self.folder(f"data.features.{n}", f, ARRAY) for n, f in settings.features.items()}
        self.unseen = {n: unseen(f.path) for n, f in self.features.items()}
        self.without = dict.fromkeys(self.features, 0)
        self.audio = self.folder("data.audio", settings.audio, SOUND)
        usual = next((n for n in TRANSCRIPTS if (self.root / n).is_file()), None)
        self.transcripts = settings.transcripts or usual
        self.said, self.unsaid = self._transcripts(), 0
        self._first: dict[str, str] = {}

    def folder(self, place: str, name: str | None, endings: tuple[str, ...] = VIDEO, frames: bool = False) -> Any:
        """A folder below the root, or None where none is named; one that is not there is a problem."""
        if name is None:
            return None
        path = self.root / name
        if not path.is_dir():
            near = tuple(sorted(p.name for p in self.root.iterdir() if p.is_dir())[:30])
            self.problems.append(Problem(place, f"there is no folder {path}", known=near))
        return Folder(path, endings, frames)

    def clips(self, name: str | None, place: str = "data.video") -> Folder | None:
        """The folder of clips. One that is not there is a problem only where no features stand in for it."""
        if name is not None and self.features and not (self.root / name).is_dir():
            self.notes.append(f"there is no folder {self.root / name}: features only")
            return None
        found: Folder | None = self.folder(place, name)
        return found

    def _transcripts(self) -> dict[str, str] | None:
        settings = self.settings
        if self.transcripts is None:
            return None
        path = self.root / self.transcripts
        try:
            if path.is_dir():
                return segments(path)
            columns, key, rows = table(path)
        except InputError as error:
            self.problems += error.problems
            return None
        wanted = SAID[settings.language]
        column = settings.column or next((c for c in wanted if c in columns), "")
        if column not in columns:
            place = "data.column" if settings.column else str(path)
            self.problems.append(unknown(place, "column of the transcripts:", column or wanted[0], columns))
            return None
        return {row.cells[key]: words(row.cells[column]) for row in rows}

    def once(self, name: str, place: str) -> bool:
        """Whether this clip comes for the first time in its split; the second time is a problem."""
        if name in self._first:
            self.problems.append(Problem(place, f"the clip {name!r} is there already, at {self._first[name]}"))
            return False
        self._first[name] = place
        return True

    def another(self) -> None:
        """The next list of clips begins: names may come again."""
        self._first = {}

    def rows(
        self, path: Path, needs: Sequence[str] = (), keys: Sequence[str] = ("name", "names")
    ) -> Iterator[tuple[str, TableRow]]:
        """The next list of clips: (name, row) of a csv, each clip once; a second row of one is a problem.

        Raises InputError where the csv has not the columns `needs`, or none of `keys`, which hold the clip's name.
        """
        _, key, rows = table(path, keys, needs)
        self.another()
        return ((row.cells[key], row) for row in rows if self.once(row.cells[key], row.place))

    def label(self, code: str, place: str) -> str | None:
        """The name that the data set's table gives to a published code; None for an empty one, and for one unknown."""
        if not code:
            return None
        name = self.codes.get(code.lower())
        if name is None:
            self.problems.append(unknown(place, "published label", code, self.codes))
        elif name not in self.labels:
            what = f"the label {name!r} is not in `data.labels`"
            self.problems.append(Problem(place, what, known=self.labels))
        return name

    def sample(
        self,
        names: Sequence[str],
        video: Folder | None,
        subtitle: str = "",
        code: str = "",
        place: str | None = None,
        reason: str = "",
        **given: Any,
    ) -> Sample:
        """The sample of the first of these names; its files may go by any of them.

        The fact `published_label` keeps the published `code`; with the `place` where it stands the label is what the data
        set's table makes of it. The `reason`, where there is one, is the answer of the task of that name. `given` are more
        fields of the sample.
        """
        if place is not None:
            given["label"] = self.label(code, place)
        if reason:
            given["answers"] = {**given.get("answers", {}), "reason": reason}
        facts = given["facts"] = {**published_label(code), **given.get("facts", {})}
        rated = {n: float(facts[n].value) for n in self.numbers if n in facts and facts[n].value is not None}
        given["numbers"] = {**rated, **given.get("numbers", {})}
        if self.said is not None:
            subtitle = next((self.said[n] for n in names if n in self.said), "")
            self.unsaid += not any(n in self.said for n in names)
        return Sample(
            names[0],
            video=video.find(*names) if video else None,
            audio=self.audio.find(*names) if self.audio else None,
            subtitle=subtitle,
            features=self._features(names),
            **given,
        )

    def _features(self, names: Sequence[str]) -> dict[str, Path]:
        """The feature files of a clip, less those that an export of ours had nothing to make of."""
        found = {name: folder.find(*names) for name, folder in self.features.items()}
        bare = [n for n, path in found.items() if self.unseen[n].intersection(names) and not path.is_file()]
        for name in bare:
            self.without[name] += 1
        return {n: path for n, path in found.items() if n not in bare}

    def end(self, splits: dict[str, list[Sample]]) -> PublishedSamples:
        """All of it; raises what is wrong. Where there is no validation split, one is drawn from the training clips."""
        fail(self.problems)
        if self.unsaid:
            self.notes.append(f"{self.unsaid} clips have no row in {self.transcripts}")
        for name, count in self.without.items():
            if count:
                self.notes.append(
                    f"{count} clips go without the feature {name!r}: nothing was to be seen or heard for it"
                )
        if "val" not in splits:
            splits = with_val(splits, self.settings.val, self.settings.seed)
        rated = {n for samples in splits.values() for s in samples for n in s.numbers}
        numbers = {name: ends for name, ends in self.numbers.items() if name in rated}
        return PublishedSamples(splits, self.labels, tuple(self.notes), numbers)


def with_val(splits: dict[str, list[Sample]], share: float, seed: int) -> dict[str, list[Sample]]:
    """The splits with `val`, drawn from `train`."""
    train = splits.get("train", [])
    drawn = draw(((s.id, s.label) for s in train), share, seed)
    parts = {"train": [s for s in train if s.id not in drawn], "val": [s for s in train if s.id in drawn]}
    return {**parts, **{name: samples for name, samples in splits.items() if name != "train"}}


def published_label(code: str, origin: str = "label") -> dict[str, Fact]:
    """The fact that keeps the data set's own code."""
    return {"published_label": Fact(code, origin)} if code else {}  # type: ignore[arg-type]


def valence(text: str | float | None) -> dict[str, Fact]:
    """The fact `valence`; -10, NaN and nothing mean that there is none."""
    try:
        number = float(words(text)) if words(text) else None
    except ValueError:
        number = None
    known = number is not None and number != -10
    return {"valence": Fact(number) if known else Fact(None, "missing")}


def labelled(
    reader: SampleReader, rows: Sequence[tuple[str, str, str, str | float | None]], video: Folder | None
) -> list[Sample]:
    """Samples of one label file, from its rows: name, place, published label, valence."""
    reader.another()
    found = []
    for name, place, code, value in rows:
        if reader.once(name, place):
            found.append(reader.sample((name,), video, code=code, place=place, facts=valence(value)))
    return found


def discrete(reader: SampleReader, path: Path, video: Folder | None) -> list[Sample]:
    """Samples of one csv of the MER challenges: `name, discrete[, valence]`. Raises InputError."""
    _, key, rows = table(path, needs=("discrete",))
    cells = [(r.cells[key], r.place, r.cells["discrete"], r.cells.get("valence")) for r in rows]
    return labelled(reader, cells, video)
