"""Loader processes: started once a stage, and what they load is the same as without them; pinned memory for a GPU."""

import multiprocessing
import pickle
from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny_run
import torch
from torch.utils.data import dataloader

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.data.splits import open_splits
from affectkit.encode.cache import Cache
from affectkit.encode.perceive import Perceiver
from affectkit.errors import InputError
from affectkit.model.batch import Batch, Batches, Key, Prompter, Rows, loader
from affectkit.model.model import build, corpus
from affectkit.plan.check import check
from affectkit.registry import Registry
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


PLUGIN = """
from dataclasses import dataclass
import affectkit

@dataclass(frozen=True)
class Words:
    words: str = "What is shown?"

@dataclass(frozen=True)
class Clips:
    count: int = 42

def build(settings):
    return lambda sample, ask: (affectkit.Segment(settings.words),)

class Few(list):
    labels = ()

def few(settings, split):
    from affectkit_plugins.datasets import puppets
    found = Few(puppets.build(puppets.Settings(count=settings.count), split))
    found.labels = puppets.build(puppets.Settings(count=settings.count), split).labels
    return found

@affectkit.hookimpl
def affectkit_pieces():
    return [affectkit.Piece("prompt", "own_words", Words, build),
            affectkit.Piece("dataset", "own_clips", Clips, lambda settings, split: few(settings, split))]
"""


@pytest.fixture
def method(request):
    """How processes are started."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.parametrize(
    ("method", "workers"),
    [("forkserver", 1), pytest.param("spawn", 2, marks=pytest.mark.slow)],
    indirect=["method"],
)
def test_rows_are_the_same_from_processes_that_are_not_forked(method, workers, tmp_path):
    plugin = tmp_path / "own.py"
    plugin.write_text(PLUGIN)
    recipe = tiny_run.write_recipe(tmp_path)
    overrides = [*OVERRIDES, "prompt.parts.own.use=own_words", "data={use: own_clips}"]
    plan = check(recipe, overrides, [plugin])
    splits = open_splits(plan, plan.stages["instruct"])
    model, plan = build(plan, lambda: corpus(plan, {"instruct": splits}))
    perceiver = Perceiver.of(model, None, Cache(tmp_path / "cache"))
    perceiver.fill(splits.val)
    rows = Rows(plan, splits.val, perceiver, Prompter(model.prompt, splits.labels, 0, "infer"), model.llm)
    keys = [[Key(0, "label"), Key(1, "label")], [Key(2, "label"), Key(3, "reason")], [Key(1, "reason")]]
    alone = list(loader(rows, Batches(keys), 0, torch.device("cpu")))
    beside = list(loader(rows, Batches(keys), workers, torch.device("cpu")))
    for one, other in zip(alone, beside, strict=True):
        assert [s.id for s in one.samples] == [s.id for s in other.samples]
        assert (one.tasks, one.chunks, one.candidates) == (other.tasks, other.chunks, other.candidates)
        assert one.known.keys() == other.known.keys()
        assert all(torch.equal(b.mask, other.known[n].mask) for n, b in one.known.items())
    travelling = pickle.dumps(rows)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    assert weights > 20_000
    assert next(model.llm.parameters()).detach().numpy().tobytes() not in travelling


class Closed(torch.nn.Module):
    """A backbone that cannot travel."""

    def __init__(self):
        super().__init__()
        self.tokenise = lambda text: [1]


def test_a_backbone_that_cannot_travel_is_named():
    with pytest.raises(InputError, match=r"run\.workers: .*cannot be sent to loader processes.*\n.*run\.workers=0"):
        pickle.dumps(Rows(SimpleNamespace(slots=()), (), None, None, Closed()))


def test_pieces_and_registries_travel_by_their_names(tmp_path):
    plugin = tmp_path / "own.py"
    plugin.write_text(PLUGIN)
    registry = Registry.load([plugin])
    copy, pieces = pickle.loads(pickle.dumps((registry, registry.pieces())))
    assert copy is registry
    assert all(one is other for one, other in zip(pieces, registry.pieces(), strict=True))


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
