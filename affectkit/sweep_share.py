"""Stages that several runs of a sweep have in common: trained in one of them, taken over by the others. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from affectkit.files import read_json, read_jsonl, write_bytes_atomic, write_jsonl_atomic
from affectkit.plan import Plan
from affectkit.runs import Run

KEYS = "stage_keys"
"""Under this name run.json holds what each stage hangs on (`affectkit.stage_keys`)."""


def keys_of(run: Run) -> dict[str, str]:
    """Stage to key, as a run noted them; none where the folder is no run of a sweep."""
    return dict(read_json(run.about).get(KEYS) or {}) if run.about.is_file() else {}


def runs_below(folders: Iterable[Path]) -> list[Run]:
    """The run folders in some folders, in order of their names."""
    found = [p for folder in folders if folder.is_dir() for p in sorted(folder.iterdir())]
    return [Run(p) for p in found if (p / "run.json").is_file() and not p.is_symlink()]


def take_over(run: Run, plan: Plan, keys: Mapping[str, str], givers: Sequence[Run]) -> dict[str, str]:
    """Put stages that another run has finished into a run that has not; returns the stages and who trained them."""
    taken: dict[str, str] = {}
    for stage, key in keys.items():
        if run.weights(stage).exists():
            continue
        for giver in givers:
            if giver.folder != run.folder and keys_of(giver).get(stage) == key and giver.weights(stage).exists():
                taken[stage] = _hand_over(giver, run, stage, plan.stages[stage].trains)
                break
    return taken


def _hand_over(giver: Run, run: Run, stage: str, addresses: Sequence[str]) -> str:
    """Curves and notes first, weights last: the stage counts as done once they are there. Returns who trained it."""
    rows = [row for _, row in read_jsonl(run.curves)] if run.curves.is_file() else []
    given = [row for _, row in read_jsonl(giver.curves)] if giver.curves.is_file() else []
    kept = [row for row in rows if row.get("stage") != stage]
    write_jsonl_atomic(run.curves, [*kept, *(row for row in given if row.get("stage") == stage)])
    known: dict[str, Any] = read_json(run.about)
    about = (read_json(giver.about).get("stages") or {}).get(stage) or {}
    source = about.get("taken_from") or giver.folder.name
    run.note({"stages": {**(known.get("stages") or {}), stage: {**about, "taken_from": source}}})
    run.stage(stage).mkdir(parents=True, exist_ok=True)
    pick_tensors(giver.weights(stage), run.weights(stage), lambda name: _address(name) in addresses)
    for leftover in ("state.pt", "best.safetensors"):  # of an attempt of its own that was cut off
        (run.stage(stage) / leftover).unlink(missing_ok=True)
    return str(source)


def _address(tensor: str) -> str:
    """`stream.step` of a step's parameter; other parameters belong to no step."""
    steps, built, rest = (*tensor.split(".", 2), "", "")[:3]
    return rest.split(".")[0].replace("__", ".") if (steps, built) == ("steps", "built") else ""


def pick_tensors(source: Path, target: Path, wanted: Callable[[str], bool]) -> None:
    """Copy some tensors of a safetensors file into another, byte for byte, in the order of their bytes."""
    with source.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        start = 8 + size
        names = [n for n in header if n != "__metadata__" and wanted(n)]
        new: dict[str, Any] = {}
        parts, end = [], 0
        for name in sorted(names, key=lambda n: header[n]["data_offsets"]):
            first, last = header[name]["data_offsets"]
            file.seek(start + first)
            parts.append(file.read(last - first))
            new[name] = {**header[name], "data_offsets": [end, end + last - first]}
            end += last - first
    text = json.dumps(new).encode()
    text += b" " * (-len(text) % 8)
    write_bytes_atomic(target, b"".join([len(text).to_bytes(8, "little"), text, *parts]))
