"""Networks of transformers with their published weights: every parameter from the source, or an error that names it."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from affectkit import weight_files, weights
from affectkit.errors import InputError, Problem

BROKEN = (OSError, ValueError, RuntimeError, KeyError, TypeError, EOFError, SafetensorError, pickle.UnpicklingError)
"""What libraries raise for files that are no weights, or others."""
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
WHOLE = "give a checkpoint of this network, whole and under its names; nothing of it may stay random"


def published(model: Any, source: str | Path, place: str, options: Mapping[str, Any], fix: str) -> Any:
    """A network by `from_pretrained` of the class `model`, with its weights.

    Raises InputError where the source cannot be read (with `fix`), lacks weights, has some of other shapes or kinds, or has
    numbers that are not finite.
    """
    refuse_broken(source)
    try:
        with without_report():
            net, told = model.from_pretrained(
                source,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are named below
                trust_remote_code=False,
                **options,
            )
    except BROKEN as cause:
        what = f"cannot read weights from {str(source)!r}: {first_line(cause)}"
        raise InputError(Problem(place, what, fix)) from cause
    refuse_gaps(source, place, told, net.state_dict())
    refuse_numbers(net, source, place)
    return net


@contextmanager
def without_report() -> Iterator[None]:
    """Without the library's table of weights that are missing or left over (what matters of it is told as an error), and without
    its word on layers that are not sharded, which it gives of networks on one device, too."""
    logs = [logging.getLogger(f"transformers.{part}") for part in ("modeling_utils", "distributed.tensor_parallel")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def refuse_broken(source: str | Path) -> None:
    """Raises InputError for files on disk that are cut, pointers, pages or of number formats that nothing here computes in,
    as far as their headers tell."""
    if broken := weight_files.inspect_local(str(source)):
        raise InputError(broken)


def refuse_gaps(source: str | Path, place: str, told: Mapping[str, Any], own: Iterable[str]) -> None:
    """Raises InputError where weights of the model (`own`: all their names) are not in the source, and would be random under its
    name; and where the source has more layers of the same kind, of which the model would leave some out."""
    kinds = {_NUMBER.sub("*", name) for name in own}
    deeper = [
        name for name in sorted(told["unexpected_keys"]) if _NUMBER.search(name) and _NUMBER.sub("*", name) in kinds
    ]
    if deeper:
        what = f"{str(source)!r} has more layers than its config.json says: nothing would take {deeper[0]} ({len(deeper)} such)"
        raise InputError(Problem(place, what, "give a config.json and weights of one network"))
    missing = sorted(told["missing_keys"])
    other = [f"{name} {list(there)} there, {list(here)} here" for name, there, here in sorted(told["mismatched_keys"])]
    if not missing and not other:
        return
    parts = [f"lacks {len(missing)} weights of this network ({', '.join(missing[:3])} …)"] if missing else []
    parts += [f"has {len(other)} of another shape ({'; '.join(other[:3])})"] if other else []
    spare = sorted(told["unexpected_keys"])
    also = f"; it has {len(spare)} that no part of the network takes, such as {spare[0]}" if spare else ""
    raise InputError(Problem(place, f"{str(source)!r} {' and '.join(parts)}{also}", WHOLE))


def refuse_numbers(net: nn.Module, source: str | Path, place: str) -> None:
    """Raises InputError for parameters that are not finite, and for those that a file on disk keeps as anything but
    fractions."""
    own = net.state_dict(keep_vars=True)
    bad = [(name, why) for name, value in own.items() if (why := weights.unfit(value, value))]
    path = weights.on_disk(str(source))
    for name, (code, _) in weight_files.contents(path).items() if path is not None else ():
        mine = own.get(_own_name(name, own))
        # not one that is float8 itself
        fraction = mine is not None and mine.is_floating_point() and mine.element_size() > 1
        if fraction and code not in weight_files.FRACTIONS:
            bad.append((name, f"is {code} there, no format of fractions that is computed in"))
    if bad:
        more = [Problem(place, f"and {len(bad) - 5} more like these")] if len(bad) > 5 else []
        raise InputError([*(Problem(place, f"{str(source)!r}: {n} {why}", WHOLE) for n, why in bad[:5]), *more])


def _own_name(name: str, own: Collection[str]) -> str:
    """The name that a network has for what a file names, which may put prefixes before it; empty where it has none."""
    parts = name.split(".")
    return next((tail for i in range(len(parts)) if (tail := ".".join(parts[i:])) in own), "")


def first_line(error: BaseException) -> str:
    """What an error says first, with what a colon at its end announces; what it is where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"{lines[0]} {lines[1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
