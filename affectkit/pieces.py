"""What a piece is, the kinds there are, and the one hook through which pieces come.

A plugin is a module with one function:

    @affectkit.hookimpl
    def affectkit_pieces():
        return [affectkit.Piece("projector", "linear", Settings, build, shapes=shapes, ports=(...))]
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, Protocol, SupportsIndex, runtime_checkable

import pluggy

from affectkit.reading import Reading
from affectkit.sample import Sample, Targets

PROJECT = "affectkit"
API = 1
"""Version of the hook and of `Piece`. A piece says which one it was written for."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Kind = Literal[
    "dataset", "encoder", "miner", "adapter", "fusion", "projector", "head", "objective", "prompt",
    "backbone", "reader", "metric", "detector", "converter", "client", "annotator",
]  # fmt: skip
KINDS: dict[str, str] = {
    "dataset": "samples of one split, by index",
    "encoder": "views to tokens: vision towers, speech models, face-analysis networks",
    "miner": "facial priors into a scene: global and local face information",
    "adapter": "tokens to fewer or other tokens of one modality: pooling, striding, grouping",
    "fusion": "several streams to one",
    "projector": "tokens to the width of the LLM",
    "head": "tokens to an answer without words: class probabilities, several labels, numbers",
    "objective": "a loss beside the LLM's, or in its place: of blocks, of heads, of label words",
    "prompt": "a sample and a task to segments of text and slots",
    "backbone": "the LLM: embed, loss, generate, score",
    "reader": "answers in words to labels and numbers",
    "metric": "predictions to numbers",
    "detector": "frames to face boxes and landmarks",
    "converter": "published checkpoints and feature layouts in, or ours out",
    "client": "text, images, sound to text: a judge, an extractor, an annotator",
    "annotator": "a clip and what others found in it to findings: words, action units, descriptions, or why it is not used",
}
STEP_KINDS = ("encoder", "miner", "adapter", "fusion", "projector")
"""The kinds that can be a step of a stream."""


@dataclass(frozen=True)
class Shape:
    """What is known of a block or view before anything is built; None is "known when built" (or not bounded)."""

    kind: Literal["tokens", "pixels", "wave", "text"] = "tokens"
    time: int | None = 1
    """t: most time steps (1 for a still, and for sound and text as a whole)."""
    tokens: int | None = None
    """n: most tokens a time step; for a wave the most samples, for text the most ids."""
    width: int | None = None
    """d; for a wave the samples a second."""


Eats = Literal["tokens", "pixels", "wave", "text", "finding", "fact", "clip"]
"""What fills a port: blocks or views by their kind; of annotators also findings, facts, and the clip itself: a `Sample` of media
and words alone, whose id and files are called by their content."""


@dataclass(frozen=True)
class Port:
    """One input of a step. It is filled by a setting of the same name in the recipe, or by the port's own name."""

    name: str
    eats: Eats = "tokens"
    about: str = ""
    optional: bool = False
    """True: the step works without it (its forward gets None), and copes with rows and frames that are empty in it.
    False: the frame drops rows that are empty in it and puts empty ones back into the step's output."""
    many: bool = False
    """Whether a recipe may name a list here: forward then gets a tuple of blocks, and a row needs something in one of them."""


def port_of(key: str) -> str:
    """The port of an input: the first input of a port with `many` bears its name, the others `name#1`, `name#2` …"""
    return key.partition("#")[0]


Shapes = Callable[[Any, Mapping[str, Shape], int | None], Mapping[str, Shape]]


@dataclass(frozen=True)
class Survey:
    """What is known of a data set before anything of it is made or decoded."""

    labels: tuple[str, ...] = ()
    """The label set; empty where it is not known yet."""
    splits: Mapping[str, int] = field(default_factory=dict)
    """Samples in each split, 0 for one that is empty; nothing where that is not known yet."""
    note: str = ""
    """What a user should know, such as that the data has still to be fetched."""
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The ratings that the samples have, by name, each with the ends of its scale; nothing where that is not known yet."""


@dataclass(frozen=True)
class Piece:
    """Anything that a recipe can name.

    What `build` takes and returns depends on the kind:

    - dataset: `build(settings, split)` -> sequence of `Sample`
    - encoder, miner, adapter, fusion, projector: `build(settings, inputs, width)` -> `nn.Module`; `inputs` maps port to
      `Shape`, `width` is the LLM's. Its forward takes one argument a port, each a `TokenBlock` or `ViewBlock`, and
      returns a dict of block name to `TokenBlock`. It may have `facts(blocks) -> list[dict[str, Fact]]` (one dict a
      row) and `loss(blocks, facts) -> Tensor` (to be a stage's objective).
    - head: `build(settings, inputs, targets)` -> `nn.Module`, see `affectkit.heads.Head`; `inputs` maps port to a `Shape`, or to
      a tuple of them where the port takes `many`, `targets` says the labels and numbers to answer
    - objective: `build(settings, inputs, targets)` -> `nn.Module`, see `affectkit.objectives.Objective`; `inputs` as for a head,
      `targets` says the labels and numbers of the stage's data. `shapes`, where there is one, is asked for its InputErrors
      alone. Its settings may be `NamesHeads`, `ReadsWords`
    - prompt: `build(settings)` -> `(Sample, Ask) -> tuple[Segment, ...]`. Its settings may be `NamesStreams`, `ReadsFacts`,
      `Converses`; those of a template `EndsAnswers`
    - backbone: `build(settings, texts, saved)` -> see `affectkit.model.packing.Backbone`
    - reader: `build(settings)` -> `(text, Targets) -> Reading`; see `affectkit.reading.Reader`. Its settings are
      `ShowsExamples`
    - metric: `build(settings)` -> `(Sequence[Prediction], labels) -> dict`; see `affectkit.evaluation.prediction.Metric`. Its
      settings may be `AsksTask`, `ComparesTasks`, `ReadsColumns`, and have a field `client`: a block of that kind, and
      `build(settings, client)` gets an `affectkit.evaluation.clients.CachedClient` or None (see `MayAskClient`)
    - detector: `build(settings)` -> `(list of uint8 [h, w, 3] RGB frames) -> list of lists of Face`
    - client: `build(settings)` -> `ask(messages) -> str` and `identity`; see `affectkit.evaluation.clients.Client`
    - annotator: `build(settings)`, or `build(settings, client)` where its settings have a field `client`, ->
      `affectkit.annotators.Annotator`; `tells` names its findings, the main one first
    - converter: `build(settings)` -> one or more of the abilities of `affectkit.interop.contract`: `Importer`, `Network`,
      `FileFormat`, `Layout`, `Exporter`
    """

    kind: Kind
    name: str
    settings: type
    """A frozen dataclass; the sentence under each field is its help."""
    build: Callable[..., Any]
    shapes: Shapes | None = None
    """`shapes(settings, inputs, width)` -> block name to `Shape`, without torch. First block = the main one. Left out, a
    step that eats tokens puts out one block, called and shaped like its first port (a projector: as wide as the LLM)."""
    ports: tuple[Port, ...] = ()
    """What a step eats; the first is filled by the step before it. Left out, a step eats `tokens`."""
    needs: tuple[str, ...] = ()
    """Importable packages that `build` needs, checked before anything heavy is loaded."""
    extra: str = ""
    """The extra of the distribution that the piece comes in which installs them (or one of affectkit's)."""
    tiny: Mapping[str, object] = field(default_factory=dict)
    """Settings for the contract tests: small enough to build and run in a second."""
    prepare: Callable[[Any, str, Any], Any] | None = None
    """Encoders: `prepare(settings, port, raw)` -> numpy array [t ...]; runs in loader workers. `raw` is a `RawPixels`,
    `RawWave` or string. Pixels stay uint8 [t c h x] (the module normalises); a wave is float32 [a]; text int64 [n]."""
    pads: Callable[[Any], bool] | bool = True
    """Whether a row gives the same padded among longer ones and alone. Where not, the frame batches equal lengths."""
    per_batch: Callable[[Any], bool] | bool = False
    """Whether a row's value depends on the other rows of its batch: then the step is never cached, and reports say so. Of an
    objective: whether its loss is over the pairs within a batch."""
    tells: Callable[[Any], Sequence[str]] | Sequence[str] = ()
    """Steps: names of the facts that the module's `facts` estimates, or a function of the settings that gives them."""
    objective: bool = False
    """Steps: whether the module has `loss`, so that a stage may name it as its objective."""
    fits: bool = False
    """Steps: whether the module is `affectkit.heads.FitsFeatures`: it learns from features of the training samples, without
    gradients, before the first stage that uses it trains. It and what stands behind it are never cached."""
    answers: Callable[[Any], str] | str = ""
    """Heads: the task that it answers (`label`, `labels` or `numbers`), or a function of the settings that gives it."""
    write: Callable[[Any, Any, int], Any] | None = None
    """Datasets that make their own clips: `write(settings, folder, count)` puts some there for people to look at."""
    survey: Callable[[Any], Survey] | None = None
    """Datasets: `survey(settings)` -> `Survey`, for `check`: no torch, nothing is made or decoded. Raises InputError with
    all that is wrong with the data; places are `data.SETTING`, or lines of a file that a setting names."""
    api: int = API
    origin: Callable[[str, str], Piece] | None = field(default=None, compare=False, repr=False)
    """`origin(kind, name)` finds the piece in another process; set where it was loaded."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """A piece travels to another process by name, for its functions may be ones that only its plugin can make."""
        return super().__reduce_ex__(protocol) if self.origin is None else (self.origin, (self.kind, self.name))

    def __post_init__(self) -> None:
        if self.kind == "head":
            object.__setattr__(self, "ports", self.ports or (Port("tokens", many=True),))
            object.__setattr__(self, "shapes", self.shapes or _scores)
        if self.kind == "objective":
            object.__setattr__(self, "shapes", self.shapes or _no_blocks)
        if self.kind not in STEP_KINDS or self.kind == "encoder":
            return
        if not self.ports:
            object.__setattr__(self, "ports", (Port("tokens"),))
        if self.shapes is None and self.ports[0].eats == "tokens":
            object.__setattr__(self, "shapes", partial(_like_the_port, self.ports[0].name, self.kind == "projector"))

    @property
    def about(self) -> str:
        """The first paragraph of the settings' docstring."""
        return " ".join((self.settings.__doc__ or "").split("\n\n")[0].split())


def _like_the_port(
    port: str, projects: bool, settings: Any, inputs: Mapping[str, Shape], width: int | None
) -> dict[str, Shape]:
    """The `shapes` of a step that gives none: the port's tokens, which a projector brings to the LLM's width."""
    shape = inputs.get(port, Shape())
    return {port: replace(shape, width=width) if projects else shape}


def _scores(settings: Any, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """The `shapes` of a head: a row of scores, as many as there are labels or numbers."""
    return {"scores": Shape(tokens=1)}


def _no_blocks(settings: Any, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """The `shapes` of an objective that takes blocks of every width."""
    return {}


@runtime_checkable
class NamesStreams(Protocol):
    """Settings of a prompt piece with slots for streams."""

    def slots(self) -> Sequence[str]:
        """The streams whose tokens it takes in."""


@runtime_checkable
class ReadsFacts(Protocol):
    """Settings of a prompt piece that speaks of facts which steps estimated."""

    def reads(self) -> Mapping[str, Sequence[str]]:
        """Addresses of the steps, each with the names of the facts."""


@runtime_checkable
class Converses(Protocol):
    """Settings of a prompt piece whose task is a conversation: it is asked for each turn (`Ask.turn`)."""

    def count_turns(self, sample: Sample, task: str) -> int | None:
        """The turns that it has for a sample, 0 if there is nothing to ask; None for a task that is not its own."""


@runtime_checkable
class EndsAnswers(Protocol):
    """Settings of a template that ends an answer with words, not with the tokenizer's end."""

    def stops(self) -> Sequence[str]:
        """The texts at which generation stops."""


@runtime_checkable
class AsksNumbers(Protocol):
    """Settings of a prompt piece that asks for ratings."""

    def scales(self) -> Mapping[str, tuple[float, float]]:
        """The ratings in the order in which they are asked, each with the ends of its scale (infinite where it has none)."""


@runtime_checkable
class NamesRatings(Protocol):
    """Settings of a head that may answer some of the data's ratings alone."""

    numbers: Sequence[str]
    """Their names; empty for all."""


@runtime_checkable
class NamesHeads(Protocol):
    """Settings of an objective that looks at what heads of the recipe give."""

    def heads(self) -> Sequence[str]:
        """The names of the heads."""


@runtime_checkable
class ReadsWords(Protocol):
    """Settings of an objective that may want the LLM's word embeddings."""

    def reads_words(self) -> bool:
        """Whether it wants them as it is set."""


@runtime_checkable
class ShowsExamples(Protocol):
    """Settings of a reader."""

    def examples(self, targets: Targets) -> Iterable[tuple[str, Reading]]:
        """Answers in the form that it reads, and what they say, where these targets were asked for."""


@runtime_checkable
class ShowsRows(Protocol):
    """Settings of an annotator."""

    def examples(self) -> Iterable[tuple[Mapping[str, Any], str]]:
        """Rows (port to what fills it), each with what a model would reply where one is asked; the promises are tried on them."""


@runtime_checkable
class AsksTask(Protocol):
    """Settings of a metric that scores other answers than labels found by the recipe's method."""

    def asks(self) -> tuple[str, str]:
        """(task, method) of these answers; an empty method leaves that to the recipe."""


@runtime_checkable
class ComparesTasks(Protocol):
    """Settings of a metric that compares answers with the true text of another task than the one that is asked."""

    def compares(self) -> Sequence[str]:
        """The tasks; the first counts that a sample has a text of."""


@runtime_checkable
class ReadsColumns(Protocol):
    """Settings of a metric that scores files in which its texts stand under names of their own."""

    def columns(self) -> Sequence[str]:
        """The columns, the likeliest first."""


@runtime_checkable
class MayAskClient(Protocol):
    """Settings of a metric with a field `client` that it asks by some of its settings only."""

    def wants_client(self) -> bool:
        """Whether it asks as it is set."""


PROTOCOLS: Mapping[str, tuple[type, ...]] = {
    "prompt": (NamesStreams, ReadsFacts, Converses, EndsAnswers, AsksNumbers),
    "objective": (NamesHeads, ReadsWords),
    "reader": (ShowsExamples,),
    "annotator": (ShowsRows,),
    "metric": (AsksTask, ComparesTasks, ReadsColumns, MayAskClient),
}
"""What settings of a kind may have beside their fields."""


def misshapen(piece: Piece) -> str:
    """What is wrong with a method by which the frame would ask a piece's settings; empty where nothing is."""
    for protocol in PROTOCOLS.get(piece.kind, ()):
        for name, wanted in vars(protocol).items():
            if name.startswith("_") or not inspect.isfunction(wanted):
                continue
            said = f"the settings of the {piece.kind} {piece.name!r} have `{name}`, which the frame calls as `{name}"
            arguments = tuple(inspect.signature(wanted).parameters)[1:]
            said += f"({', '.join(arguments)})`"
            member = inspect.getattr_static(piece.settings, name, None)
            if name in getattr(piece.settings, "__dataclass_fields__", {}) or isinstance(member, property):
                return f"{said}, and it is no method"
            if member is None:
                continue
            if not callable(getattr(piece.settings, name)):
                return f"{said}, and it is no method"
            bound = isinstance(member, staticmethod | classmethod)
            try:
                inspect.signature(getattr(piece.settings, name)).bind(*(arguments if bound else ("self", *arguments)))
            except TypeError as error:
                return f"{said}: {error}"
    return ""


class Hooks:
    """The one hook."""

    @hookspec
    def affectkit_pieces(self) -> list[Piece]:  # type: ignore[empty-body]
        """Return the pieces that this plugin offers."""
