"""The recipe of an annotation, checked: its annotators in running order, what each reads, the items that are made of it. It is
YAML as training recipes are, with sections of its own. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from affectkit.cluster import missing_ray
from affectkit.errors import InputError, Problem, unknown
from affectkit.pieces import Port, Survey
from affectkit.plan.check import MOST_PROBLEMS
from affectkit.plan.graph import View, read_views
from affectkit.plan.references import running_order
from affectkit.plan.summary import shape_text
from affectkit.plan.use import Checker, Use
from affectkit.recipe import marked_yaml
from affectkit.recipe.load import ANNOTATIONS, find_in, read_file, shipped_in
from affectkit.recipe.marked_yaml import WRONG, Path_, items
from affectkit.recipe.recipe import Form, Recipe
from affectkit.recipe.sections import at_least
from affectkit.registry import Registry

MAPPINGS = ("data", "views", "annotators", "items", "exports", "run")
FORM = Form("annotation recipe", ("name", "about", "extends", *MAPPINGS), MAPPINGS)
GIVEN = "label"
"""What of a data set's answers a recipe may hand to annotators, by `run.given`: FERID's writers were told the label."""
PERSON = "person"
"""A fact that annotators may know, whoever said it: who it is, so that a voice is compared with what it usually sounds like."""
ESTIMATES = ("action_units", "action_unit_names")
"""Facts that annotators may know where a network estimated them. What somebody annotated is a label, and stays hidden."""
OWN = ("missing",)
"""Keys of an annotator's block that are no settings of its piece."""


@dataclass(frozen=True)
class AnnotatorSettings:
    """What an annotator's block says beside its piece's settings and ports."""

    missing: Literal["reject", "skip"] = "reject"
    """What becomes of a clip that has nothing for one of its ports: it is rejected, or goes on without these findings."""


@dataclass(frozen=True)
class ItemSettings:
    """One item of instruction data, made of findings."""

    task: str
    """What is asked: `label`, `reason`, or a name of one's own."""
    answer: str = ""
    """The finding that is the answer (`vote`, `merge.text`)."""
    turns: str = ""
    """The finding that is a conversation: a list of [question, answer]. An item has an answer or turns."""
    question: str = ""
    """The question, where training recipes are not to ask it in their own words."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return [] if bool(self.answer) != bool(self.turns) else [("answer", "an item has either `answer` or `turns`")]


@dataclass(frozen=True)
class AnnotateRun:
    """Where an annotation runs, and what is kept."""

    splits: tuple[str, ...] = ("train",)
    """Splits of the data that are annotated."""
    folder: str = "runs"
    """Where run folders go."""
    cache: str = ""
    """Folder in which answers are kept; empty = the user cache folder."""
    most: int | None = None
    """Only so many samples of each split, the first; null takes all."""
    given: tuple[Literal["label"], ...] = ()
    """What the data set says that annotators may read, where a port names it (`label`). Empty where labels are to be found."""
    engine: Literal["local", "ray"] = "local"
    """Where annotators work: in this process, or in the workers of a Ray cluster."""
    workers: int = 0
    """Workers of a Ray cluster; 0 takes one a CPU, or as many as its GPUs suffice for."""
    gpus: float = 0.0
    """GPUs that each of these workers gets."""
    address: str = ""
    """A running Ray cluster (`auto`, or `HOST:PORT`); empty starts one on this machine."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = [*at_least(self, 1, "most"), *at_least(self, 0, "workers", "gpus")]
        return found + ([] if self.splits else [("splits", "names no split to annotate")])


@dataclass(frozen=True)
class Input:
    """What fills a port of an annotator: a view, a finding of another annotator, the clip itself, or what is said of it."""

    view: str = ""
    annotator: str = ""
    finding: str = ""
    clip: bool = False
    fact: str = ""
    """The person, or what the data set says and the recipe gives."""

    def __str__(self) -> str:
        return self.view or (
            f"{self.annotator}.{self.finding}" if self.annotator else "clip" if self.clip else self.fact
        )


@dataclass(frozen=True)
class Annotation:
    """One annotator of a recipe."""

    name: str
    use: Use
    inputs: Mapping[str, Input]
    """Port to what fills it; optional ports that nothing fills are left out."""
    missing: str
    source: str
    """The distribution (with its version) or file that the piece comes from."""

    @property
    def finds(self) -> tuple[str, ...]:
        """The names of its findings, the main one first."""
        return finds_of(self.use)

    @property
    def views(self) -> tuple[str, ...]:
        """The views that it looks at."""
        return tuple(dict.fromkeys(one.view for one in self.inputs.values() if one.view))

    @property
    def whole(self) -> bool:
        """Whether it wants all rows at once."""
        said = self.use.piece.per_batch
        return bool(said(self.use.settings) if callable(said) else said)


@dataclass(frozen=True)
class Export:
    """Instruction data in a published form."""

    name: str
    use: Use
    inputs: Mapping[str, Input]


@dataclass(frozen=True)
class AnnotationPlan:
    """A recipe, checked."""

    recipe: Recipe
    registry: Registry
    data: Use
    views: Mapping[str, View]
    annotators: Mapping[str, Annotation]
    """By name, in running order."""
    items: Mapping[str, ItemSettings]
    exports: Mapping[str, Export]
    run: AnnotateRun
    survey: Survey = field(default_factory=Survey)

    @property
    def name(self) -> str:
        """The recipe's name, or its file's."""
        return str(self.recipe.get("name") or Path(self.recipe.source).stem)


def finds_of(use: Use) -> tuple[str, ...]:
    """The names of an annotator's findings."""
    names = use.piece.tells
    return tuple(names(use.settings) if callable(names) else names)


def is_annotation(source: object) -> bool:
    """Whether a file has the section that only recipes of annotations have."""
    path = find_in(ANNOTATIONS, source) if isinstance(source, str | Path) else None
    value = marked_yaml.read(path, str(source))[0] if path else None
    return isinstance(value, Mapping) and "annotators" in value


def check_annotation(
    source: str | Path, overrides: Sequence[str] = (), plugins: Sequence[str | Path] = (), data: bool = False
) -> AnnotationPlan:
    """Read and check the recipe of an annotation without torch; with `data` its data set is surveyed too. Raises InputError with
    every problem, in order."""
    path = find_in(ANNOTATIONS, source)
    if path is None:
        also = "give the path of a YAML file, or the name of a shipped recipe"
        raise InputError(unknown("", "recipe", str(source), shipped_in(ANNOTATIONS), also))
    recipe = read_file(path, str(source), overrides, FORM)
    registry = Registry.load(plugins)
    checker = Checker(recipe, registry, list(recipe.problems))
    made = None if recipe.broken else _AnnotationReader(checker).plan()
    if made is not None and data and made.data.piece.survey:
        try:
            made = replace(made, survey=made.data.piece.survey(made.data.settings))
        except InputError as error:
            checker.problems += [replace(p, place=f"{recipe.place(('data',))} ({p.place})") for p in error.problems]
        checker.problems += _splits(made)
    problems = recipe.in_order(checker.problems)
    if len(problems) > MOST_PROBLEMS:
        problems[MOST_PROBLEMS:] = [Problem("", f"and {len(problems) - MOST_PROBLEMS} more problems")]
    if problems or made is None:
        raise InputError(problems)
    return made


def _splits(plan: AnnotationPlan) -> Iterator[Problem]:
    """Splits to annotate that the data has not, or that are empty."""
    sizes = plan.survey.splits
    for i, split in enumerate(plan.run.splits if sizes else ()):
        if not sizes.get(split):
            known = [name for name, count in sizes.items() if count]
            yield unknown(plan.recipe.place(("run", "splits", i)), "split of the data", split, known)


class _AnnotationReader:
    """Reads the blocks of a recipe, then what the ports of each annotator name, then their order."""

    def __init__(self, checker: Checker) -> None:
        self.checker, self.recipe = checker, checker.recipe
        self.views = read_views(checker)
        named = self.recipe.get("annotators")
        self.written = [str(name) for name, block in items(named) if block is not None]
        self.uses: dict[str, Use] = {}

    def plan(self) -> AnnotationPlan | None:
        """The plan, or None where a section that it needs is wrong."""
        run = self._section("run", AnnotateRun)
        if run is not None and run.engine == "ray" and (wrong := missing_ray(self.recipe.place(("run", "engine")))):
            self.checker.problems.append(wrong)
        data = self._data()
        if not self.written and self.recipe.get("annotators") is not WRONG:
            self.checker.problem(
                ("annotators",), "an annotation has `annotators`, at least one", "add `annotators: {NAME: {use: …}}`"
            )
        for name in self.written:
            self._use(name)
        made = {name: one for name in self.uses if (one := self._annotation(name)) is not None}
        needs = {n: [i.annotator for i in one.inputs.values() if i.annotator] for n, one in made.items()}
        order, circles = running_order(needs)
        for circle in circles:
            what = f"the annotators form a circle, each reading the next: {' -> '.join(circle)}"
            self.checker.problem(("annotators", circle[0]), what, "let one of them read something else")
        found, exports = self._items(made), self._exports()
        if data is None or run is None:
            return None
        ordered = {name: made[name] for name in order if name in made}
        return AnnotationPlan(self.recipe, self.checker.registry, data, self.views, ordered, found, exports, run)

    def _section(self, name: str, cls: type[Any]) -> Any:
        values = {str(k): v for k, v in items(self.recipe.get(name))}
        return self.checker.settings(cls, values, (name,))

    def _data(self) -> Use | None:
        if self.recipe.get("data") is None:
            self.checker.problem(("data",), "an annotation has `data`: the clips to look at", "add `data: {use: …}`",
                                 self.checker.registry.names("dataset"))  # fmt: skip
            return None
        return self.checker.block(("data",), "dataset")

    def _use(self, name: str) -> None:
        path: Path_ = ("annotators", name)
        if not self.checker.is_name(path, "annotator"):
            return
        if name in self.views or name == PERSON:
            self.checker.problem(path, f"a view and an annotator are both called {name!r}", "rename one of them")
            return
        use = self.checker.block(path, "annotator", leave=OWN)
        if use is None:
            return
        if any(f.name == "client" for f in fields(use.settings)):
            if use.settings.client is None:
                known = tuple(self.checker.registry.names("client"))
                what = f"the annotator {use.piece.name!r} asks a model, and no client is named"
                self.checker.problem(path, what, "add `client: {use: …}` to it", known)
                return
            use = replace(use, client=self.checker.block((*path, "client"), "client"))
        self.uses[name] = use

    def _annotation(self, name: str) -> Annotation | None:
        use, path = self.uses[name], ("annotators", name)
        block = {str(k): v for k, v in items(self.recipe.get(*path))}
        own = self.checker.settings(AnnotatorSettings, {k: block[k] for k in OWN if k in block}, path)
        inputs = self._inputs(path, use, block)
        source = self.checker.registry.source_of(use.piece)
        return Annotation(name, use, inputs, own.missing, source) if inputs is not None and own else None

    def _exports(self) -> dict[str, Export]:
        """What is written in published forms, where a block is right."""
        found: dict[str, Export] = {}
        for name, block in items(self.recipe.get("exports")):
            path: Path_ = ("exports", str(name))
            if block is None or block is WRONG or not self.checker.is_name(path, "export"):
                continue
            use = self.checker.block(path, "converter")
            if use is None:
                continue
            if not use.piece.ports:
                fit = [piece.name for piece in self.checker.registry.pieces("converter") if piece.ports]
                self.checker.problem(
                    (*path, "use"), f"the converter {use.piece.name!r} writes no instruction data", "", fit
                )
                continue
            inputs = self._inputs(path, use, {str(k): v for k, v in items(block)})
            found |= {str(name): Export(str(name), use, inputs)} if inputs is not None else {}
        return found

    def _inputs(self, path: Path_, use: Use, block: Mapping[str, Any]) -> dict[str, Input] | None:
        """What fills the ports of a piece; None where one that may not be empty is."""
        inputs: dict[str, Input] = {}
        whole = True
        for port in use.piece.ports:
            found = self._input(path, port, block)
            whole &= found is not None or port.optional
            inputs |= {port.name: found} if found else {}
        return inputs if whole else None

    def _input(self, block_path: Path_, port: Port, block: Mapping[str, Any]) -> Input | None:
        """What fills a port: what the block names, else, where it may not be empty, a view or an annotator of its name."""
        path, name = (*block_path, port.name), str(block_path[1]) if block_path[0] == "annotators" else ""
        given = block.get(port.name)
        if port.eats == "clip":
            if port.name in block:
                self.checker.problem(
                    path, "the clip is handed over as it is: nothing can be named here", "leave it out"
                )
            return Input(clip=True)
        if given is None and port.eats == "fact" and port.name not in block:
            return self._fact(block_path, port)
        if given is None and port.optional:  # by its name alone it would take in whatever is called so
            return None
        text = port.name if given is None else given
        there = isinstance(text, str) and (text in self.views or text.split(".")[0] in (*self.written, PERSON))
        if given is None and not there:
            known = (*self.views, *(n for n in self.written if n != name))
            what = f"nothing fills the port {port.name!r} ({port.about or port.eats})"
            self.checker.problem(block_path, what, f"add `{port.name}: …`", known)
            return None
        return self._named(str(text), path, port, name)

    def _fact(self, path: Path_, port: Port) -> Input | None:
        """The fact that a port is called like, if annotators may know it."""
        known = (PERSON, *ESTIMATES)
        if port.name in known:
            return Input(fact=port.name)
        self.checker.unknown(path, "fact that annotators may know", port.name, known)
        return None

    def _named(self, text: str, path: Path_, port: Port, reader: str) -> Input | None:
        if text in self.views:
            kind = self.views[text].shape.kind
            if port.eats == kind:
                return Input(view=text)
            fit = [n for n, v in self.views.items() if v.shape.kind == port.eats]
            self.checker.problem(path, f"{text!r} is a view of {kind}, and the port wants {port.eats}", "", fit)
            return None
        if text == GIVEN and port.eats == "finding" and self._gives(path):
            return Input(fact=GIVEN)
        name, _, finding = text.partition(".")
        known = (*self.views, *(n for n in self.written if n != reader))
        if name not in self.written or name == reader:
            self.checker.unknown(path, "view or annotator", text, known)
            return None
        if name not in self.uses:  # wrong, which was reported
            return None
        finds = finds_of(self.uses[name])
        if port.eats != "finding":
            fit = [n for n, v in self.views.items() if v.shape.kind == port.eats]
            self.checker.problem(path, f"{text!r} is a finding, and the port wants a view of {port.eats}", "", fit)
            return None
        if finding and finding not in finds:
            self.checker.unknown(path, f"finding of {name}", finding, finds)
            return None
        return Input(annotator=name, finding=finding or finds[0])

    def _gives(self, path: Path_) -> bool:
        """Whether the label of the data may be read, with a problem where a block asks for it and the recipe does not say so."""
        if GIVEN in self.written:
            return False
        given = self.recipe.get("run", "given")
        if not isinstance(given, list) or GIVEN not in given:
            what = "is the data's own label, which no annotator sees unless the recipe says so"
            self.checker.problem(path, f"{GIVEN!r} {what}", f"add `run.given: [{GIVEN}]`, if the label is to be told")
        return True

    def _items(self, made: Mapping[str, Annotation]) -> dict[str, ItemSettings]:
        """The items that are right; what they name is a finding."""
        found: dict[str, ItemSettings] = {}
        for name, block in items(self.recipe.get("items")):
            path: Path_ = ("items", name)
            if block is None or block is WRONG or not self.checker.is_name(path, "item"):
                continue
            values = {str(k): v for k, v in items(block)}
            one = self.checker.settings(ItemSettings, values, path)
            if one is None:
                continue
            key = "answer" if one.answer else "turns"
            annotator, _, finding = str(getattr(one, key)).partition(".")
            if annotator not in self.written:
                self.checker.unknown((*path, key), "annotator", annotator, self.written)
            elif annotator in made and finding and finding not in made[annotator].finds:
                self.checker.unknown((*path, key), f"finding of {annotator}", finding, made[annotator].finds)
            else:
                found[str(name)] = one
        return found


def main_finding(plan: AnnotationPlan, address: str) -> tuple[str, str]:
    """The annotator and the finding that `annotator` (its main finding) or `annotator.finding` stands for."""
    name, _, finding = address.partition(".")
    return name, finding or plan.annotators[name].finds[0]


def annotation_rows(plan: AnnotationPlan) -> list[list[str]]:
    """What a recipe composes, a row each."""
    rows = [["data", plan.data.piece.name]]
    rows += [[f"view {n}", f"{v.use}: {shape_text(v.shape)}"] for n, v in plan.views.items()]
    for name, one in plan.annotators.items():
        reads = ", ".join(str(ref) for ref in one.inputs.values())
        asks = f", asks {one.use.client.piece.name}" if one.use.client else ""
        rows.append([f"annotator {name}", f"{one.use.piece.name}({reads}) -> {', '.join(one.finds)}{asks}"])
    rows += [[f"item {n}", f"{i.task}: {i.answer or i.turns}"] for n, i in plan.items.items()]
    rows += [
        [f"export {n}", f"{e.use.piece.name}({', '.join(map(str, e.inputs.values()))})"]
        for n, e in plan.exports.items()
    ]
    sizes = ", ".join(f"{s} {plan.survey.splits[s]:,}" for s in plan.run.splits if s in plan.survey.splits)
    return [*rows, ["samples", sizes or ", ".join(plan.run.splits)]]
