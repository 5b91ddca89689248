"""A suite: several data sets that a model answers with one command, and what scores each. Imports no torch.

A suite is a YAML file, read as recipes are: with a place for every problem, `extends`, overrides and interpolation. It says
of each data set which samples are asked which task and which metrics score the answers; and which published rows belong
beside the table. The frame knows no data set: all of it stands in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from affectkit.errors import InputError, Problem, unknown
from affectkit.labels.submission import Submission
from affectkit.plan.metrics import no_client, query_of, wants_client
from affectkit.plan.plan import CANDIDATES, Plan
from affectkit.plan.use import Checker, Use
from affectkit.recipe import settings as reading
from affectkit.recipe.load import SUITES, find_in, read_file, shipped_in
from affectkit.recipe.marked_yaml import WRONG, Path_, items
from affectkit.recipe.recipe import Form, Recipe
from affectkit.registry import Registry
from affectkit.sample import LABEL, LABELS, NUMBERS, Sample
from affectkit.studies.matrix import MatrixColumn, open_columns

SECTIONS = ("name", "about", "extends", "data", "defaults", "sets", "show", "published")
FORM = Form("suite", SECTIONS, ("data", "defaults", "sets", "show", "published"))
OWN = ("data", "defaults", "sets", "show", "published")
"""Overrides of these sections are the suite's; all others are the recipe's."""
BLOCKS = ("data", "metrics", "question")


@dataclass(frozen=True)
class SetSettings:
    """One data set of a suite, beside its blocks `data`, `metrics` and `question`."""

    split: str = "test"
    """The split that is evaluated."""
    task: str = LABEL
    """The task that is asked of each sample; a part of the recipe's prompt asks it, or the block `question`."""
    method: Literal["recipe", "candidates", "generate"] = "recipe"
    """How a label is found: as the recipe's `score.method` says, or in this way. Other tasks are generated."""
    choices: dict[str, str] = field(default_factory=dict)
    """Label to the sample's answer (`{a1: first, a2: second}`): which of these texts is the likeliest answer to the task."""
    likelihood: Literal["token", "text"] = "token"
    """How texts of `choices` are compared: by log-probability a token, or of the whole text, which favours short ones."""
    primary: str = ""
    """The metric that stands in the table; empty = the first."""
    column: str = ""
    """The column's title in the published table; empty = the name of the set."""
    also: dict[str, str] = field(default_factory=dict)
    """Title to the name of a further figure that the primary metric gives (`{ACC: accuracy}`)."""
    max_new_tokens: int | None = field(default=None, metadata={"formerly": "most_tokens"})
    """Longest generated answer, in tokens; null = the recipe's `score.max_new_tokens`."""
    submission: Submission | None = None
    """The form of a file to hand in, for `--submission`."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = []
        if len(self.choices) == 1:
            found.append(("choices", "one text is no choice"))
        if self.task != LABEL and not self.choices and self.method == "candidates":
            found.append(("method", f"the task {self.task!r} has no candidates: give `choices`, or generate it"))
        return found


@dataclass(frozen=True)
class ShowSettings:
    """The table of a suite."""

    overall: Literal["average", "none"] = "average"
    """How the overall figure is made: the plain mean of the sets' primary figures, or not at all."""
    column: str = "Mean"
    """Its title."""
    percent: bool = True
    """Whether figures of the table, and published ones, are in percent."""


@dataclass(frozen=True)
class PublishedFigures:
    """A row of published figures."""

    values: dict[str, float | None]
    """Set to figure, in the unit of the table."""
    name: str = ""
    """The system; empty = the row's key."""
    source: str = ""
    """Where it was published."""
    overall: float | None = None
    """The overall figure as published."""


@dataclass(frozen=True)
class SuiteSet:
    """A data set of a suite, read."""

    name: str
    settings: SetSettings
    data: Use
    metrics: Mapping[str, Use]
    clients: Mapping[str, Use]
    """The client of each metric that asks one."""
    question: Mapping[str, object] | None = None
    """The block of a prompt piece that asks the task, in place of the recipe's own parts."""

    @property
    def primary(self) -> str:
        """The metric that stands in the table."""
        return self.settings.primary or next(iter(self.metrics))

    @property
    def column(self) -> str:
        """The title of its column."""
        return self.settings.column or self.name

    def method(self, plan: Plan) -> str:
        """How its answers are found by a run of that plan; `choices` are weighed by the LLM."""
        if self.settings.choices:
            return CANDIDATES
        usual = plan.method(self.settings.task)
        return usual if self.settings.method == "recipe" or plan.alone else self.settings.method


@dataclass(frozen=True)
class Suite:
    """A suite, read and checked against the pieces."""

    name: str
    about: str
    recipe: Recipe
    """The file as read: `place` says where things stand in it."""
    sets: Mapping[str, SuiteSet]
    show: ShowSettings
    published: Mapping[str, PublishedFigures]


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides of a suite, and those of the recipe that is evaluated with it."""
    own = [o for o in overrides if o.partition("=")[0].split(".")[0] in OWN]
    return own, [o for o in overrides if o not in own]


def load_suite(source: str | Path, overrides: Sequence[str], registry: Registry) -> Suite:
    """Read a suite: a shipped one by name, or a file. Raises InputError with every problem, each with its place."""
    path = find_in(SUITES, source)
    if path is None:
        also = "give the path of a YAML file, or the name of a shipped suite"
        raise InputError(unknown("--suite", "suite", str(source), shipped_in(SUITES), also))
    declared = dict(items(read_file(path, str(source), (), FORM).get("data")))
    recipe = read_file(path, str(source), overrides, FORM)
    problems = list(recipe.problems)
    if not recipe.broken:
        problems += _folders(recipe, declared)
        _lay_defaults(recipe)
    show = _settings(ShowSettings, recipe, ("show",), problems) or ShowSettings()
    sets = {}
    for name, _ in items(recipe.get("sets")):
        entry = _entry(recipe, str(name), registry, problems)
        if entry is not None:
            sets[str(name)] = entry
    if not items(recipe.get("sets")) and not recipe.broken:
        what = "a suite has `sets`, a mapping of at least one data set"
        problems.append(Problem(recipe.place(("sets",)), what, "add `sets: {NAME: {data: …, metrics: …}}`"))
    published = _published(recipe, problems)
    if problems:
        raise InputError(recipe.in_order(problems))
    name = str(recipe.get("name") or Path(path).stem)
    return Suite(name, " ".join(str(recipe.get("about") or "").split()), recipe, sets, show, published)


def _folders(recipe: Recipe, declared: Mapping[str | int, object]) -> Iterator[Problem]:
    """What is wrong with `data`: a name that the suite does not have; a folder that it leaves open and that nobody gave, or
    that is not there. Folders of single sets may be missing: then the set is."""
    for key, value in items(recipe.get("data")):
        place = recipe.place(("data", key))
        if key not in declared:
            yield unknown(place, "folder of the suite", str(key), map(str, declared))
        elif value is None:
            yield Problem(place, "the folder of the data sets is not given", f"add data.{key}=FOLDER")
        elif not isinstance(value, str):
            if value is not WRONG:
                yield Problem(place, f"wants the path of a folder, got {reading.show(value)}")
        elif declared[key] is None and not Path(value).expanduser().is_dir():
            yield Problem(place, f"there is no folder {value!r}", "give the folder that holds the data sets")


def _lay_defaults(recipe: Recipe) -> None:
    """Put what `defaults` says into every set that does not say it itself, with the marks of where it was written."""
    for key, value in items(recipe.get("defaults")):
        for name, block in items(recipe.get("sets")):
            if isinstance(block, dict) and key not in block:
                block[key] = value
                for path in [p for p in recipe.marks if p[:2] == ("defaults", key)]:
                    recipe.marks["sets", name, *path[1:]] = recipe.marks[path]


def _settings(cls: type, recipe: Recipe, path: Path_, problems: list[Problem], leave: Sequence[str] = ()) -> Any:
    """A section as an instance of a dataclass, None where it is wrong or not there; keys in `leave` are no settings."""
    value = recipe.get(*map(str, path))
    if value is None or value is WRONG:
        return None
    if isinstance(value, Mapping):
        value = {k: v for k, v in value.items() if k not in leave}
    made, found = reading.read(cls, value, lambda below: recipe.place((*path, *below)), leave)
    problems += found
    return made


def _entry(recipe: Recipe, name: str, registry: Registry, problems: list[Problem]) -> SuiteSet | None:
    """One set; None where something is wrong with it, or where it was taken out (null)."""
    path: Path_ = ("sets", name)
    block = recipe.get(*map(str, path))
    if block is None:
        return None
    settings = _settings(SetSettings, recipe, path, problems, BLOCKS)
    if not isinstance(block, Mapping):
        return None
    data = Checker(recipe, registry, problems).block((*path, "data"), "dataset")
    metrics, clients = _metrics(recipe, (*path, "metrics"), registry, problems)
    question = None
    if block.get("question") is not None:
        question = Checker(recipe, registry, problems).block((*path, "question"), "prompt")
    if settings is None or data is None or not metrics:
        return None
    if settings.primary and settings.primary not in metrics:
        problems.append(unknown(recipe.place((*path, "primary")), "metric of the set", settings.primary, metrics))
        return None
    for metric, use in metrics.items():
        scored = query_of(use.settings)[0]
        if scored != settings.task and {scored, settings.task} & {LABELS, NUMBERS}:
            what = f"the metric {use.piece.name!r} scores {scored}, and the set is asked the task {settings.task!r}"
            problems.append(Problem(recipe.place((*path, "metrics", metric)), what, f"add task: {scored} to the set"))
    return SuiteSet(name, settings, data, metrics, clients, question.block() if question else None)


def _metrics(
    recipe: Recipe, path: Path_, registry: Registry, problems: list[Problem]
) -> tuple[dict[str, Use], dict[str, Use]]:
    """The metrics of a set, and the client of each that asks one."""
    metrics: dict[str, Use] = {}
    clients: dict[str, Use] = {}
    blocks = items(recipe.get(*map(str, path)))
    if not blocks:
        problems.append(Problem(recipe.place(path), "a set has `metrics`, at least one", "add `metrics: {NAME: …}`"))
    for name, block in blocks:
        use = Checker(recipe, registry, problems).block((*path, name), "metric") if block is not None else None
        if use is None:
            continue
        metrics[str(name)] = use
        if wants_client(use) and not use.settings.client:
            problems.append(no_client(recipe.place((*path, name)), use, registry.names("client")))
        elif wants_client(use):
            client = Checker(recipe, registry, problems).block((*path, name, "client"), "client")
            clients |= {str(name): client} if client else {}
    return metrics, clients


def _published(recipe: Recipe, problems: list[Problem]) -> dict[str, PublishedFigures]:
    """The published rows; each names sets of the suite."""
    rows: dict[str, PublishedFigures] = {}
    sets = [str(n) for n, _ in items(recipe.get("sets"))]
    for key, value in items(recipe.get("published")):
        row = _settings(PublishedFigures, recipe, ("published", str(key)), problems) if value is not None else None
        if row is None:
            continue
        rows[str(key)] = row
        for name in row.values:
            if name not in sets:
                place = recipe.place(("published", key, "values", name))
                problems.append(unknown(place, "set of the suite", name, sets))
    return rows


def open_sets(
    suite: Suite, split: Mapping[str, str] | None = None
) -> tuple[dict[str, Sequence[Sample]], dict[str, str]]:
    """The samples of every set that is there, and of every other why it is not (see `open_columns`).

    `split` names other splits than the suite's, by set.
    """
    return open_columns(MatrixColumn(n, e.data, (split or {}).get(n, e.settings.split)) for n, e in suite.sets.items())
