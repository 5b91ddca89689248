"""The interfaces of converter pieces: published checkpoints in, feature folders and checkpoints of other layouts out.

What a converter's `build(settings)` returns has one or more of the abilities `Importer`, `Network`, `FileFormat`, `Layout`
and `Exporter`; the frame asks which (`isinstance`), so one piece may read a system's checkpoints and write its feature
folders.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from affectkit.errors import InputError, Problem, unknown
from affectkit.recipe import settings as reading
from affectkit.recipe.overrides import parse_values
from affectkit.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from affectkit.api import LoadedRun


CHECKPOINT = "the checkpoint"
"""The place of the problems of a converter, which does not know the file: the frame puts the file's path there."""


@dataclass
class Imported:
    """The weights converted from a checkpoint. Every key of the file is in `taken` or in `unused`, none in both."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    """`stream.step.parameter` or `backbone.parameter` to its value; of a `Network`, as the network names it."""
    taken: dict[str, str] = field(default_factory=dict)
    """A key of the file to the parameter (or parameters) that it went into."""
    unused: dict[str, str] = field(default_factory=dict)
    """A key of the file to the reason why nothing takes it."""
    assumed: dict[str, str] = field(default_factory=dict)
    """A parameter that the file has not got to what it is set to instead, and why."""
    overrides: tuple[str, ...] = ()
    """What makes the recipe one of the file's variant and sizes, told from its keys; behind those of the importer."""
    notes: list[str] = field(default_factory=list)
    """What the user should know of the file beside its keys."""
    parts_of: tuple[str, ...] = ()
    """Addresses of which such files hold a part, and the step's own source the rest. Of all others that a file has
    something of it must have everything."""
    base: bool = False
    """Whether more is trained beside such a file: addresses that it has nothing of are then no fault."""

    def take(self, theirs: str, ours: str, value: Tensor) -> None:
        """Put the value of one key into one parameter; a key may be taken several times, in parts."""
        self.weights[ours] = value
        self.taken[theirs] = f"{self.taken[theirs]}, {ours}" if theirs in self.taken else ours

    def assume(self, ours: str, value: Tensor, why: str) -> None:
        """Give a parameter a value that the file does not have."""
        self.weights[ours] = value
        self.assumed[ours] = why


@runtime_checkable
class Importer(Protocol):
    """A converter that reads a published checkpoint."""

    recipe: str
    """The recipe that the weights belong to."""
    overrides: tuple[str, ...]
    """What the result runs with beside it; the user's overrides come behind these."""
    entry: str
    """The dictionary of the file that holds the weights, where there are several; empty for a flat file."""

    def read(self, tensors: Mapping[str, Tensor]) -> Imported:
        """Account for every key. Raises InputError where this is another kind of file, saying what it looks like."""
        ...

    def example(self) -> Mapping[str, Tensor]:
        """A small made-up checkpoint in the published layout, for the contract test."""
        ...


@runtime_checkable
class Network(Protocol):
    """A converter that reads the published file of one network, which a step then takes as its `source`."""

    entry: str
    """As of an importer."""

    def read(self, tensors: Mapping[str, Tensor]) -> Imported:
        """Account for every key. Raises InputError where this is another kind of file, or one that lacks weights."""
        ...

    def block(self, found: Imported) -> Mapping[str, object]:
        """The step as a recipe names it: `use`, and the sizes that are not its defaults; the frame adds `source`."""
        ...

    def example(self) -> Mapping[str, Tensor]:
        """As of an importer."""
        ...


@runtime_checkable
class FileFormat(Protocol):
    """A converter that reads another library's format, in which weights, sizes and often the tokenizer lie together, and
    writes them as transformers lays them out: a folder that a recipe names as a `source`."""

    def open(self, path: Path) -> tuple[Mapping[str, tuple[int, ...]], Imported]:
        """The shape of each tensor by its name there, and the weights as transformers names them; every tensor is accounted
        for. Raises InputError for a file of another format or version, a cut one, and one of numbers that it cannot read."""
        ...

    def save(self, path: Path, found: Imported, folder: Path) -> None:
        """Write weights, configuration and what else the file has, into an empty folder."""
        ...

    def block(self, found: Imported) -> Mapping[str, object]:
        """As of a network, or the backbone as a recipe names it."""
        ...

    def example(self, folder: Path) -> Path:
        """Write the smallest file of the format into a folder, for the contract test."""
        ...


@runtime_checkable
class Layout(Protocol):
    """A converter that writes feature folders as another system reads them."""

    def wants(self) -> Mapping[str, str]:
        """Name of a feature to the block that it is made of: `stream.step`, `stream.step.block`, or a `stream`, which
        stands for what its last step eats."""
        ...

    def save(self, folder: Path, name: str, sample: str, tokens: np.ndarray, mask: np.ndarray) -> Path:
        """Write one sample's feature, from tokens float32 [t n d] of which mask [t n] says what is real (never none)."""
        ...


@runtime_checkable
class Exporter(Protocol):
    """A converter that writes a trained run as another library reads it."""

    def write(self, loaded: LoadedRun, folder: Path) -> Mapping[str, str]:
        """Write into an empty folder; returns each file with what it holds. The frame adds streams, recipe and card."""
        ...

    def usage(self) -> str:
        """Python that loads what `write` wrote, for the card; the folder is called `folder`."""
        ...

    def terms(self, sources: Sequence[str]) -> Mapping[str, str]:
        """The known licence terms of published weights and data sets, by name; unknown ones are left out."""
        ...


def find_converter(
    registry: Registry, name: str, ability: type | tuple[type, ...], chosen: Sequence[str] = ()
) -> tuple[str, Any, Mapping[str, object]]:
    """The built converter of that name (dashes count as underscores), with settings `key=value` from the command line.

    It must have the ability, or one of several.

    Returns its name, what it builds and its settings. Raises InputError where there is none, or none with that ability.
    """
    name = name.replace("-", "_")
    if registry.find("converter", name) is None:
        raise InputError(unknown("", "converter", name, _able(registry, ability), registry.not_loaded()))
    piece = registry.piece("converter", name, "")
    values, problems = parse_values(chosen, "key=value", before="--set ")
    made, found = reading.read(piece.settings, values, lambda path: f"--set {'.'.join(map(str, path))}")
    if problems or made is None:
        raise InputError([*problems, *found])
    built = piece.build(made)
    if not isinstance(built, ability):
        first = ability[0] if isinstance(ability, tuple) else ability
        what = f"the converter {name!r} is no {first.__name__.lower()}"
        raise InputError(Problem("", what, "", _able(registry, ability)))
    return name, built, reading.plain(made)


def _able(registry: Registry, ability: type | tuple[type, ...]) -> tuple[str, ...]:
    """The converters that have an ability; one whose packages are not installed has none."""
    found = []
    for piece in registry.pieces("converter"):
        made, _ = reading.read(piece.settings, piece.tiny, str)
        usable = made is not None and registry.problem("converter", piece.name) is None
        if usable and isinstance(piece.build(made), ability):
            found.append(piece.name)
    return tuple(found)
