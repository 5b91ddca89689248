"""Every built-in piece keeps the promises of its kind."""

import json
import warnings

import pytest
import torch
from dataset_trees import MORE, TREES
from safetensors.torch import save_file
from tiny_face_api import tiny_face_api
from tiny_whisper import tiny_whisper

from affectkit.pieces import KINDS
from affectkit.registry import Registry
from affectkit.testing.promises import keeps_its_promises, missing

REGISTRY = Registry.load()
PIECES = REGISTRY.pieces()


def settings_for(piece, folder):
    """What `tiny` cannot hold: files."""
    if piece.name in TREES:
        return {**TREES[piece.name](folder), **MORE.get(piece.name, {})}
    if piece.name == "transcript":
        return {"source": str(tiny_whisper(folder))}
    if piece.name == "expression":
        return {"source": str(tiny_face_api(folder))}
    if piece.name == "local_hf":
        (folder / "config.json").write_text("{}")
        save_file({"a": torch.ones(1)}, folder / "model.safetensors")  # not read before it is asked
        return {"folder": str(folder)}
    if piece.name == "annotated":
        (folder / "1.png").write_bytes(b"not looked at")
        item = {"name": "emotion", "task": "label", "from": "vote.label"}
        rows = [{"id": str(i), "media": {"image": str(folder / "1.png")}, "findings": {}, "subtitle": "", "person": str(i),
                 "items": [{**item, "answer": ("sad", "happy")[i % 2]}]} for i in range(20)]  # fmt: skip
        (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {"path": str(folder / "records.jsonl")}
    if piece.name != "table":
        return {}
    rows = ["path,label,split"]
    for i in range(6):
        (folder / f"{i}.png").write_bytes(b"not looked at")
        rows.append(f"{i}.png,{('sad', 'happy')[i % 2]},{('train', 'test')[i // 4]}")
    (folder / "mine.csv").write_text("\n".join(rows))
    return {"path": str(folder / "mine.csv")}


def test_there_are_pieces_of_every_kind():
    assert len(PIECES) > 40
    assert set(KINDS) == {p.kind for p in PIECES}
    assert not REGISTRY.clashes
    assert [p.broken for p in REGISTRY.plugins if p.name == "affectkit"] == [[]]


@pytest.mark.parametrize("piece", PIECES, ids=lambda p: f"{p.kind}-{p.name}")
def test_keeps_its_promises(piece, tmp_path):
    absent = missing(piece)
    if absent:
        pytest.skip(f"{piece.kind} {piece.name} needs {', '.join(absent)} (pip install 'affectkit[{piece.extra}]')")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"affectkit.*")
        # that nothing heavy is imported is looked at for all pieces in one process, in test_import.py
        kept = keeps_its_promises(piece, settings=settings_for(piece, tmp_path), light=False)
    assert len(kept) >= 5
