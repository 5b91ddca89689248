"""A published checkpoint in: a file of weights becomes a run folder, evaluated and asked like a trained one.

Imports no torch by itself.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from affectkit import weights
from affectkit.errors import InputError, Problem, nearest
from affectkit.files import write_json_atomic, write_text_atomic
from affectkit.interop.contract import CHECKPOINT, FileFormat, Imported, Importer, Network
from affectkit.plan import check as planning
from affectkit.plan.plan import Plan
from affectkit.plan.summary import escape_references, full_values
from affectkit.recipe.load import load_recipe
from affectkit.recipe.marked_yaml import dump, items
from affectkit.train.run_folder import Run, made_by

if TYPE_CHECKING:
    from torch import Tensor

    from affectkit.model.model import Model

STAGE = "published"
"""The one stage of an imported run; its weights are those of the file."""


@dataclass(frozen=True)
class Missing:
    """A parameter that a recipe trains, or a file has others of, and neither file nor converter gave a value."""

    address: str
    partly: bool
    """Whether the file has other parameters of the address."""


@dataclass
class Account:
    """Where each key of a published checkpoint went, and which parameters of the recipe it does not fill."""

    converter: str
    checkpoint: Path
    digest: str
    """SHA-256 of the file, or of the index of a folder of shards."""
    found: Imported
    shapes: dict[str, tuple[int, ...]]
    """Key of the file to its shape."""
    missing: dict[str, Missing]
    """By name of the parameter."""

    def values(self) -> dict[str, object]:
        """The content of `conversion.json`."""
        size = sum(p.stat().st_size for p in _files(self.checkpoint))
        source = {"file": self.checkpoint.name, "sha256": self.digest, "bytes": size, "keys": len(self.shapes)}
        about = {"converter": self.converter, "checkpoint": source}
        parts: dict[str, object] = {
            "taken": self.found.taken,
            "unused": self.found.unused,
            "assumed": self.found.assumed,
        }
        parts |= {"notes": self.found.notes} if self.found.notes else {}
        return {**about, **parts, "missing": {name: gap.address for name, gap in self.missing.items()}}

    def rows(self) -> list[list[str]]:
        """For the terminal: keys that differ only in numbers share a row."""
        groups: Counter[tuple[str, str, str]] = Counter()
        for key, shape in self.shapes.items():
            taken = self.found.taken.get(key)
            fate = f"-> {_short(taken)}" if taken else f"not used: {self.found.unused[key]}"
            groups[numbers_out(key), " x ".join(map(str, shape)) or "one number", fate] += 1
        lost = dict.fromkeys(self.missing, "keeps the value that it starts with")
        rows = [[key, str(count), size, fate] for (key, size, fate), count in groups.items()]
        return rows + _grouped_rows("not in the file: ", self.found.assumed) + _grouped_rows("MISSING: ", lost)


def _short(ours: str) -> str:
    """`stream.step` of a parameter, or `backbone`."""
    return "backbone" if ours.startswith("backbone.") else ".".join(ours.split(".")[:2])


def _grouped_rows(what: str, parameters: Mapping[str, str]) -> list[list[str]]:
    groups = Counter((numbers_out(shown_name(name)), why) for name, why in parameters.items())
    return [[name, str(count), "", f"{what}{why}"] for (name, why), count in groups.items()]


def numbers_out(name: str) -> str:
    """A dotted name with `*` for the numbers of layers.

    >>> numbers_out("model.layers.12.self_attn.q_proj.weight")
    'model.layers.*.self_attn.q_proj.weight'
    """
    return re.sub(r"(?<=layers\.)\d+|(?<=layer[._])\d+|(?<=blocks\.)\d+|(?<=blk\.)\d+", "*", name)


def account(
    importer: Importer, name: str, checkpoint: str | Path, overrides: Sequence[str] = (), plugins: Sequence[str] = ()
) -> tuple[Plan, Account]:
    """Read a checkpoint and lay it beside the recipe's model, which has sizes and no memory.

    Raises InputError for a wrong file, and for values that do not fit the recipe's sizes.
    """
    path = existing(checkpoint)
    tensors = weights.load_state(path, importer.entry)
    plan, found, missing = lay_out(importer, tensors, overrides, plugins, str(path))
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    return plan, Account(name, path, sha256(path), found, shapes, missing)


def existing(checkpoint: str | Path) -> Path:
    """The path of a file or folder to convert. Raises InputError where nothing is there."""
    path = Path(checkpoint).expanduser()
    if path.exists():
        return path
    folder = path.parent
    if not folder.is_dir():
        raise InputError(Problem(str(path), f"is not there: there is no folder {folder}", "look at the path"))
    close = nearest(path.name, (p.name for p in folder.iterdir()))
    raise InputError(Problem(str(path), "is not there", f"did you mean {close!r}?" if close else "look at the path"))


def lay_out(
    importer: Importer,
    tensors: Mapping[str, Tensor],
    overrides: Sequence[str] = (),
    plugins: Sequence[str] = (),
    place: str = CHECKPOINT,
) -> tuple[Plan, Imported, dict[str, Missing]]:
    """The plan that the weights belong to, the converted weights, and the parameters that the file should have and lacks.

    Tensors may lie on the meta device.
    """
    from affectkit.model.sizes import build_on_meta

    stages = [name for name, _ in items(load_recipe(importer.recipe).get("stages"))]
    # the recipe's stages train nothing here, and their data may speak of data that an override replaces
    found = read(importer, tensors, place)
    free = (f"stages.{name}.data=null" for name in stages)
    wanted = [*importer.overrides, *found.overrides, *free, *overrides]
    plan = planning.check(importer.recipe, wanted, plugins)
    bare = planning.check(importer.recipe, [*wanted, "run.weights=random"], plugins)
    model, _ = build_on_meta(bare)
    found.weights = {state_name(ours): value for ours, value in found.weights.items()}
    return plan, found, _fit(bare, model, found, place)


def read(converter: Importer | Network, tensors: Mapping[str, Tensor], place: str) -> Imported:
    """The converted weights of a file. Raises InputError for a file of another kind, and for a key not accounted for."""
    try:
        found = converter.read(tensors)
    except InputError as error:
        named = [replace(p, place=place) if p.place == CHECKPOINT else p for p in error.problems]
        raise InputError(named) from error
    refuse_lost(tensors, found, place)
    return found


def refuse_lost(keys: Collection[str], found: Imported, place: str) -> None:
    """Raises InputError for keys of a file that a converter says nothing of."""
    lost = sorted(set(keys) - found.taken.keys() - found.unused.keys())
    if lost:
        what = f"the converter does not account for {len(lost)} keys: {', '.join(lost[:5])}"
        raise InputError(Problem(place, what, "tell its author"))


def state_name(ours: str) -> str:
    """`stream.step.parameter` or `backbone.parameter` as the state of a model has it."""
    stream, _, rest = ours.partition(".")
    return ours if stream == "backbone" else f"steps.built.{stream}__{rest}"


def shown_name(name: str) -> str:
    """The name that `state_name` was made of, as a user writes it.

    >>> shown_name("steps.built.face__projector.layers.0.weight")
    'face.projector.layers.0.weight'
    """
    return name.removeprefix("steps.built.").replace("__", ".", 1)


def _fit(plan: Plan, model: Model, found: Imported, path: str) -> dict[str, Missing]:
    """The parameters without a value. Raises InputError where names, shapes or kinds of numbers do not match, and for numbers
    that are not finite."""
    own = model.state_dict(keep_vars=True)
    keys = {state_name(ours): theirs for theirs, text in found.taken.items() for ours in text.split(", ")}
    problems = []
    for name, value in found.weights.items():
        if name not in own:
            what = f"the recipe's model has no {shown_name(name)}"
            problems.append(Problem(path, what, "let the overrides make the model that the file is of"))
        elif own[name].shape != value.shape:
            sizes = [" x ".join(map(str, t.shape)) for t in (value, own[name])]
            what = f"{shown_name(name)} is {sizes[0]} there, {sizes[1]} by the recipe's sizes"
            problems.append(Problem(path, what, "give the file's sizes as overrides"))
        elif why := weights.unfit(own[name], value):
            problems.append(
                Problem(path, f"{keys.get(name, shown_name(name))} {why}", "give a file of trained weights")
            )
    if problems:
        more = [Problem(path, f"and {len(problems) - 8} more like these")] if len(problems) > 8 else []
        raise InputError([*problems[:8], *more])
    given = {model.address(name) for name in found.weights}
    due = {address for stage in plan.stages.values() for address in stage.trains} | given.difference(found.parts_of)
    parameters = {n: model.address(n) for n, _ in model.named_parameters() if n not in found.weights}
    return {n: Missing(address, address in given) for n, address in parameters.items() if address in due}


def refuse_missing(made: Account, allowed: Sequence[str] = ()) -> None:
    """Raises InputError for parameters without a value that no glob over addresses (`allowed`) lets stay as they start, by
    address; where more is trained beside such files, only for those of which the file has others."""
    gaps: dict[str, list[str]] = {}
    for name, gap in made.missing.items():
        fault = gap.partly or not made.found.base
        if fault and not any(fnmatchcase(gap.address, glob) for glob in allowed):
            gaps.setdefault(gap.address, []).append(shown_name(name))
    problems = []
    for address, names in gaps.items():
        others = ", of which it has others" if made.missing[state_name(names[0])].partly else ""
        what = f"lacks {len(names)} parameters of {address}{others}: {', '.join(names[:3])}"
        fix = f"give the whole checkpoint; --allow-missing {address} leaves them untrained, and every report says so"
        problems.append(Problem(str(made.checkpoint), what, fix))
    if problems:
        raise InputError(problems)


def convert(
    plan: Plan, made: Account, folder: str | Path, settings: Mapping[str, object], allowed: Sequence[str] = ()
) -> Run:
    """Write the run folder of an imported checkpoint. Raises InputError where the folder has something in it, and as
    `refuse_missing` does."""
    refuse_missing(made, allowed)
    with new_folder(folder) as out:
        run = Run(out.resolve())
        weights.write_state(run.weights(STAGE), made.found.weights)
        write_json_atomic(out / "conversion.json", {**made.values(), "settings": dict(settings)})
        source = {"file": str(made.checkpoint.resolve()), "sha256": made.digest, "converter": made.converter}
        note = {"imported": {**source, "missing": sorted(made.missing)}, "labels": list(labels_of(plan))}
        run.note({**made_by(plan), **note})
        write_text_atomic(run.recipe, dump(escape_references(_values(plan, made))))
        planning.check(run.recipe)
        return run


def refuse_used(folder: str | Path) -> Path:
    """The path of a folder to make. Raises InputError where it has something in it, or is a file."""
    out = Path(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(Problem(str(out), "is there already", "name a new folder with --out"))
    return out


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """The folder, made, for as long as it is filled: where that fails nothing of it stays. Raises InputError where it has
    something in it."""
    out = refuse_used(folder)
    made = [p for p in (out, *out.parents) if not p.exists()]
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield out
    except BaseException:  # an interruption, too
        for inside in out.iterdir():
            shutil.rmtree(inside, ignore_errors=True) if inside.is_dir() else inside.unlink(missing_ok=True)
        with suppress(OSError):
            for parent in made:
                parent.rmdir()
        raise


def _values(plan: Plan, made: Account) -> dict[str, object]:
    """The full recipe with one stage: what the file gave values, of what the recipe trains."""
    trained = sorted({address for stage in plan.stages.values() for address in stage.trains})
    steps = [a for a in trained if any(name.startswith(state_name(f"{a}.")) for name in made.found.weights)]
    whole = any(name.startswith("backbone.") for name in made.found.weights)
    llm = [a for a in trained if whole and a.startswith("backbone.")]
    return {**full_values(plan), "stages": {STAGE: {"train": [*steps, *llm] or trained}}}


def labels_of(plan: Plan) -> tuple[str, ...]:
    """The label set of the data, where it tells of it; else that of its settings; else what the prompt offers."""
    if plan.data is not None:
        try:
            told = plan.data.piece.survey(plan.data.settings).labels if plan.data.piece.survey else ()
        except InputError:  # the data is not there, and need not be
            told = ()
        named = told or tuple(getattr(plan.data.settings, "labels", None) or ())
        if named:
            return named
    offers = (getattr(use.settings, "labels", ()) for use in plan.parts.values())
    return next((tuple(labels) for labels in offers if labels), ())


def _files(path: Path) -> list[Path]:
    return [p for p in sorted(path.iterdir()) if p.is_file()] if path.is_dir() else [path]


def sha256(path: Path) -> str:
    """Of a file; of a folder's index, which names its shards, or of its one file of weights."""
    one = weights.only_file(path) if path.is_dir() else path
    with one.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


WEIGHTS = "model.safetensors"
"""The one file of weights in such a folder."""


def account_of_network(network: Network | FileFormat, name: str, checkpoint: str | Path) -> Account:
    """Read the file of one network and say where each key goes. Raises InputError for a wrong file."""
    path = existing(checkpoint)
    if isinstance(network, FileFormat):
        shapes, found = network.open(path)
    else:
        tensors = weights.load_state(path, network.entry)
        shapes, found = {key: tuple(value.shape) for key, value in tensors.items()}, read(network, tensors, str(path))
    refuse_lost(shapes, found, str(path))
    keys = {ours: theirs for theirs, text in found.taken.items() for ours in text.split(", ")}
    if wrong := [(name, why) for name, value in found.weights.items() if (why := weights.not_finite(value))]:
        raise InputError(
            [Problem(str(path), f"{keys.get(n, n)} {why}", "fetch the file again") for n, why in wrong[:8]]
        )
    return Account(name, path, sha256(path), found, dict(shapes), {})


def convert_network(
    network: Network | FileFormat, made: Account, folder: str | Path, settings: Mapping[str, object]
) -> dict[str, object]:
    """Write weights and account into a new folder; returns the step that takes them, as a recipe names it.

    Raises InputError where the folder has something in it.
    """
    with new_folder(folder) as out:
        if isinstance(network, FileFormat):
            network.save(made.checkpoint, made.found, out)
        else:
            weights.write_state(out / WEIGHTS, made.found.weights)
        block = {**network.block(made.found), "source": str(folder)}
        write_json_atomic(out / "conversion.json", {**made.values(), "settings": dict(settings), "block": block})
        return block
