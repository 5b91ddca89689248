"""Nothing heavy before it is needed: a piece's module, its `shapes`, its prompts and readers import no torch.

Looked at in a process of its own, `python -m affectkit.testing.light`, because here torch is long there.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from affectkit.errors import HEAVY, InputError
from affectkit.pieces import STEP_KINDS, Piece, Shape
from affectkit.recipe import settings as reading

LLM = 32
"""Width of the LLM that steps are tried with."""
USUAL = {
    "tokens": Shape("tokens", 4, 4, 8),
    "pixels": Shape("pixels", 4),
    "wave": Shape("wave", 1, 8000, 16000),
    "text": Shape("text", 1),
}
"""What fills a port where the test does not say."""


def port_shapes(piece: Piece, settings: Any, given: Mapping[str, Shape]) -> dict[str, Shape]:
    """A shape for each port: tokens of different widths where the piece takes them, else of one width."""
    for step in (4, 0):
        found, more = {}, 0
        for port in piece.ports:
            usual = USUAL[port.eats]
            if port.eats == "tokens":
                usual = Shape("tokens", usual.time, usual.tokens, (usual.width or 0) + more)
                more += step
            found[port.name] = given.get(port.name, usual)
        try:
            assert piece.shapes is not None
            piece.shapes(settings, found, LLM)
        except InputError:
            continue
        return found
    return found


def heavy() -> list[str]:
    """The heavy packages that this process has imported."""
    return [name for name in HEAVY if name in sys.modules]


def promise(subject: tuple[Piece, Mapping[str, object], Mapping[str, Shape]]) -> Iterator[str]:
    """Nothing heavy is imported before the piece is built: looked at in a fresh process."""
    piece, values, inputs = subject
    code = sys.modules[getattr(piece.build, "__module__", "") or piece.settings.__module__]
    told = {
        "module": code.__name__,
        "file": getattr(code, "__file__", None),
        "kind": piece.kind,
        "name": piece.name,
        "values": reading.plain(values),
        "inputs": {port: asdict(shape) for port, shape in inputs.items()},
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ran = subprocess.run(
        [sys.executable, "-m", "affectkit.testing.light", json.dumps(told)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if ran.returncode:
        last = "\n   ".join(ran.stderr.strip().splitlines()[-4:])
        yield f"its module {told['module']} could not be looked at in a process of its own:\n   {last}"
        return
    for what, found in json.loads(ran.stdout.strip().splitlines()[-1]).items():
        if found:
            yield f"{what} imported {', '.join(found)}; import it inside `build`"


PROMISES = (promise,)


def _module(name: str, file: str | None) -> ModuleType:
    """The module by its name, or a loose file."""
    try:
        return importlib.import_module(name)
    except ImportError:
        spec = importlib.util.spec_from_file_location(name, file) if file and Path(file).is_file() else None
        if spec is None or spec.loader is None:
            raise
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module


def look(
    module: str,
    file: str | None,
    kind: str,
    name: str,
    values: Mapping[str, object],
    inputs: Mapping[str, Mapping[str, Any]],
) -> dict[str, list[str]]:
    """The heavy packages imported by the module, by `shapes` and by calling a prompt or a reader."""
    before = heavy()
    loaded = _module(module, file)
    found = {"its module": [h for h in heavy() if h not in before]}
    for piece in getattr(loaded, "affectkit_pieces", list)():
        if (piece.kind, piece.name) == (kind, name):
            settings, _ = reading.read(piece.settings, values, str)
            found.update(uses(piece, settings, {port: Shape(**shape) for port, shape in inputs.items()}))
    return found


def uses(piece: Piece, settings: Any, given: Mapping[str, Shape]) -> dict[str, list[str]]:
    """The heavy packages imported by what the frame does with a piece before it builds it."""
    before = heavy()
    if piece.kind in (*STEP_KINDS, "objective"):
        what = "`shapes`"
        port_shapes(piece, settings, given)
    elif piece.kind == "backbone" and piece.shapes:
        what = "`shapes`"
        piece.shapes(settings, {}, None)
    elif piece.kind == "prompt":
        from affectkit.testing.text import asks

        what, built = "the prompt", piece.build(settings)
        for sample, ask in asks():
            built(sample, ask)
    elif piece.kind == "reader":
        from affectkit.sample import Targets

        what = "the reader"
        piece.build(settings)("sad", Targets(("sad", "happy"), {"valence": (-1.0, 1.0)}))
    else:
        return {}
    return {what: [h for h in heavy() if h not in before]}


if __name__ == "__main__":
    print(json.dumps(look(**json.loads(sys.argv[1]))))
