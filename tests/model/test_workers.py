"""Loader processes: started once a stage, and what they load is the same as without them; pinned memory for a GPU."""

from dataclasses import replace

import pytest
import tiny_run
import torch
from torch.utils.data import dataloader

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.data.splits import open_splits
from affectkit.encode.cache import Cache
from affectkit.model.batch import Batch, Batches, loader
from affectkit.model.model import build, corpus
from affectkit.plan.check import check
from affectkit.train.loop import train_stage
from affectkit.train.run_folder import Run

OVERRIDES = ["stages.align=null", "stages.lora=null", "stages.instruct.epochs=3", "stages.instruct.batch=16"]


@pytest.fixture
def started(monkeypatch):
    """How many worker processes each loader started."""
    found, real = [], dataloader._MultiProcessingDataLoaderIter.__init__

    def counting(self, of):
        real(self, of)
        found.append(len(self._workers))

    monkeypatch.setattr(dataloader._MultiProcessingDataLoaderIter, "__init__", counting)
    return found


def test_workers_last_as_long_as_a_stage_and_change_nothing(started, tmp_path):
    plan = check(tiny_run.write_recipe(tmp_path), OVERRIDES)
    splits = open_splits(plan, plan.stages["instruct"])

    def trained(workers):
        own = replace(plan, run=replace(plan.run, workers=workers))
        model, own = build(own, lambda: corpus(own, {"instruct": splits}))
        run = Run(tmp_path / str(workers))
        (stage,) = own.stages.values()
        train_stage(model, stage, splits, Cache(tmp_path / "cache"), run, set(), lambda stage: [])
        return model.state_dict(), run.curves.read_text()

    alone, curve = trained(0)
    assert started == []
    beside, again = trained(1)
    assert started == [1, 1], "one loader of the training split and one of the validation split, for all three epochs"
    assert again == curve
    assert alone.keys() == beside.keys()
    assert all(torch.equal(tensor, beside[name]) for name, tensor in alone.items())


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_batches_for_a_gpu_come_in_pinned_memory(device):
    assert loader(None, Batches(), 0, torch.device(device)).pin_memory is (device == "cuda")


def test_every_tensor_of_a_batch_is_pinned(monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self.clone())
    ones = torch.ones(2, 3, dtype=torch.bool)
    faces = ViewBlock("faces", torch.zeros(2, 3, 1, 4, 4), ones, torch.zeros(2, 3, 4))
    known = {
        "audio.encoder": TokenBlock("tokens", torch.zeros(2, 3, 1, 4), ones[..., None]),
        "face.encoder:faces": faces,
        "audio.encoder:wave": ViewBlock("wave", torch.zeros(2, 3), ones),
    }
    found = Batch([], [], [], [], known, []).pin_memory()
    tensors = [t for b in known.values() for t in vars(b).values() if isinstance(t, torch.Tensor)]
    assert sorted(map(id, pinned)) == sorted(map(id, tensors))
    assert found.known.keys() == known.keys()
    assert torch.equal(found.known["face.encoder:faces"].boxes, faces.boxes)
    assert not {id(t) for b in found.known.values() for t in vars(b).values()} & set(map(id, tensors))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_pinned_batches_reach_the_gpu():
    known = {"audio.encoder": TokenBlock("tokens", torch.randn(2, 3, 1, 4), torch.ones(2, 3, 1, dtype=torch.bool))}
    batch = Batch([], [], [], [], known, []).pin_memory()
    assert batch.known["audio.encoder"].tokens.is_pinned()
    there = batch.to(torch.device("cuda")).known["audio.encoder"].tokens
    assert torch.equal(there.cpu(), known["audio.encoder"].tokens)
