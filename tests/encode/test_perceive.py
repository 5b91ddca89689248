"""Heads and the cache: a second pass decodes nothing, broken entries are remade, cached equals uncached."""

from dataclasses import replace

import pytest
import safetensors
import tiny_run
import torch

from affectkit.blocks import TokenBlock
from affectkit.data.splits import open_splits
from affectkit.encode.cache import Cache, CacheEntry, Note
from affectkit.encode.perceive import Perceiver, estimate
from affectkit.errors import InputError
from affectkit.evaluation.predict import AnswerOptions, predict
from affectkit.model.batch import Key, Prompter, Rows, stack
from affectkit.model.model import build
from affectkit.plan.check import check
from affectkit.sample import Fact


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    plan = check(tiny_run.write_recipe(tmp_path_factory.mktemp("recipe")))
    model, plan = build(plan)
    return plan, model, open_splits(plan, plan.stages["instruct"])


def perceiver(plan, model, folder, stage="instruct"):
    return Perceiver.of(model, plan.stages[stage], Cache(folder))


def test_a_second_pass_decodes_nothing(made, tmp_path):
    plan, model, splits = made
    first = perceiver(plan, model, tmp_path)
    first.fill(splits.train)
    assert first.decoded == len(splits.train)
    second = perceiver(plan, model, tmp_path)
    second.fill(splits.train)
    assert second.decoded == 0
    one, two = first.item(splits.train[5])[0], second.item(splits.train[5])[0]
    assert torch.equal(one["audio.encoder"].tensors["frames/tokens"], two["audio.encoder"].tensors["frames/tokens"])


def test_a_warm_start_opens_no_tensor(made, tmp_path, monkeypatch):
    """Once quadratic: all names of a step were copied for each sample, and all tensors were mapped for their notes."""
    plan, model, splits = made
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film")
    samples = [*(splits.train[i] for i in range(20)), replace(splits.train[20], id="broken", video=broken)]
    perceiver(plan, model, tmp_path).fill(samples)
    opened = []

    class Counting:
        def __init__(self, *args, **kwargs):
            self.shard = safetensors.safe_open(*args, **kwargs)

        def __enter__(self):
            return self

        def __exit__(self, *args):
            return self.shard.__exit__(*args)

        def metadata(self):
            return self.shard.metadata()

        def get_tensor(self, name):
            opened.append(name)
            return self.shard.get_tensor(name)

    monkeypatch.setattr("affectkit.encode.cache.safe_open", Counting)
    warm = perceiver(plan, model, tmp_path)
    warm.fill(samples)
    assert warm.decoded == 0
    assert "broken.mp4" in warm.broken["broken"]
    assert opened == []
    assert warm.item(samples[3])[0]["audio.encoder"].tensors
    assert opened, "the count does not count"


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_broken_shards_are_found_and_remade(made, tmp_path, damage):
    plan, model, splits = made
    few = [splits.train[i] for i in range(20)]
    before = perceiver(plan, model, tmp_path)
    before.fill(few)
    wanted = before.item(few[3])[0]["audio.encoder"].tensors["frames/tokens"].clone()
    shard = sorted((tmp_path / "features").rglob("*.safetensors"))[0]
    data = bytearray(shard.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    else:
        data[-1000] ^= 0xFF
    del before
    shard.write_bytes(bytes(data))
    after = perceiver(plan, model, tmp_path)
    after.fill(few)
    assert after.cache.remade == [shard]
    assert 0 < after.decoded <= 16
    assert torch.equal(after.item(few[3])[0]["audio.encoder"].tensors["frames/tokens"], wanted)


def test_half_written_files_are_no_entries(tmp_path):
    cache = Cache(tmp_path)
    cache.put("step", {"a": CacheEntry({"x/tokens": torch.ones(1, 1, 2)})}, "disk")
    (tmp_path / "features" / "step" / ".b.safetensors.1.tmp").write_bytes(b"half")
    assert Cache(tmp_path).note("step", "a") == Note()


def test_changed_weights_are_another_head(made, tmp_path):
    plan, model, _ = made
    looking = perceiver(plan, model, tmp_path, "lora")
    assert looking.cache_plan.heads[-1] == "audio.projector"
    key = looking.keys["audio.projector"]
    with torch.no_grad():
        parameter = next(model.steps.module("audio.projector").parameters())
        parameter += 1
        other = perceiver(plan, model, tmp_path, "lora").keys["audio.projector"]
        parameter -= 1
    assert key != other


def rows_of(plan, model, splits, looking, stage):
    prompter = Prompter(model.prompt, splits.labels, 0, "train", reads=plan.reads)
    rows = Rows(plan, splits.train, looking, prompter, model.llm)
    running = [a for a in plan.needed(plan.stages[stage]) if a not in looking.cache_plan.heads]
    return rows, running


def test_a_row_holds_what_is_wanted_and_asks_for_each_text_once(made, tmp_path, monkeypatch):
    plan, model, splits = made
    looking = perceiver(plan, model, tmp_path)
    looking.fill([splits.train[i] for i in range(4)])
    said, real = [], model.llm.tokenise
    monkeypatch.setattr(model.backbone, "tokenise", lambda text: said.append(text) or real(text))
    for scored in (True, False):
        said.clear()
        prompter = Prompter(model.prompt, splits.labels, 0, "infer", reads=plan.reads, scored=scored)
        rows = Rows(plan, splits.train, looking, prompter, model.llm)
        found = [rows[Key(i, "label")] for i in range(4)]
        assert len(said) == len(set(said)), "a text was tokenised twice"
        assert set(splits.labels) & set(said) == (set(splits.labels) if scored else set())
        for row in found:
            texts = ["".join(model.llm.untokenise(c.ids) for c in answer) for answer in row.candidates]
            assert texts == (list(splits.labels) if scored else [])
            assert all(c.trained for answer in row.candidates for c in answer)


def test_a_cached_run_equals_an_uncached_one(made, tmp_path):
    plan, model, splits = made
    model.eval()
    looking = perceiver(plan, model, tmp_path, "lora")
    looking.fill(splits.train)
    rows, running = rows_of(plan, model, splits, looking, "lora")
    cached, count = model.loss(stack([rows[Key(i, "label")] for i in range(5)]), running)
    assert running == []
    steps = {a: replace(s, cache="none") for a, s in plan.graph.steps.items()}
    whole_graph = replace(plan, graph=replace(plan.graph, steps=steps))
    wanted = whole_graph.demand(plan.stages["lora"])
    bare = Perceiver(whole_graph, model.steps, Cache(tmp_path / "none"), torch.device("cpu"), wanted)
    assert wanted.heads == []
    rows, _ = rows_of(whole_graph, model, splits, bare, "lora")
    again, number = model.loss(stack([rows[Key(i, "label")] for i in range(5)]), plan.needed())
    assert count == number
    assert cached.item() == pytest.approx(again.item(), abs=1e-4)


def test_packed_loss_and_gradients_equal_one_by_one(made, tmp_path):
    plan, model, splits = made
    model.freeze(plan.stages["instruct"].trains)
    model.eval()
    looking = perceiver(plan, model, tmp_path)
    looking.fill(splits.train)
    rows, running = rows_of(plan, model, splits, looking, "instruct")
    keys = [Key(i, task) for i in range(4) for task in ("label", "reason")]

    def gradients(batches):
        model.zero_grad()
        sums = [model.loss(stack([rows[k] for k in batch]), running) for batch in batches]
        total = sum(s for s, _ in sums) / sum(n for _, n in sums)
        total.backward()
        return total.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    packed, one = gradients([keys]), gradients([[k] for k in keys])
    assert packed[0] == pytest.approx(one[0], abs=1e-5)
    assert packed[1].keys() == one[1].keys()
    assert len(packed[1]) > 10
    for name, gradient in packed[1].items():
        assert torch.allclose(gradient, one[1][name], atol=1e-5), name


def test_frozen_parts_stay_in_eval_mode(made):
    plan, model, _ = made
    model.freeze(plan.stages["align"].trains)
    model.train()
    assert model.steps.module("audio.projector").training
    assert not model.steps.module("audio.adapter").training
    assert not model.backbone.training
    assert {model.address(n) for n, p in model.named_parameters() if p.requires_grad} == {"audio.projector"}


@pytest.mark.parametrize("method", ["candidates", "generate"])
def test_answers_do_not_depend_on_batch_size(made, tmp_path, method):
    _, model, splits = made
    few = [splits.train[i] for i in range(9)]

    def ask(batch, strict=False):
        return predict(model, few, splits.labels, Cache(tmp_path), AnswerOptions("label", method, batch, strict, 6))

    alone = ask(1)
    assert [p.text for p in ask(4)] == [p.text for p in alone] == [p.text for p in ask(9)]
    assert ask(9, strict=True) == alone


def test_a_broken_clip_costs_that_clip(made, tmp_path):
    _, model, splits = made
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film")
    samples = [
        splits.train[0],
        replace(splits.train[1], id="broken", video=broken),
        replace(splits.train[2], id="gone", video=tmp_path / "gone.mp4"),
    ]
    found = predict(model, samples, splits.labels, Cache(tmp_path / "cache"), AnswerOptions())
    assert [p.state for p in found] == ["scored", "undecodable", "undecodable"]
    assert "broken.mp4" in found[1].error
    assert "gone.mp4" in found[2].error


TOLD = [
    ([{"age": Fact("20-29", "estimate", 0.8)}, {}], ""),
    ([{"age": "20-29"}, {}], "gave '20-29' for 'age', not a Fact"),
    (["20-29", "30-39"], "gave ['20-29', '30-39'], not a list of dicts"),
    (None, "gave None, not a list of dicts"),
    ([{}], "gave 1 dicts for 2 rows"),
    ([{"age": Fact(torch.tensor(3), "estimate")}, {}], "only words, numbers and lists of them can be kept"),
]


@pytest.mark.parametrize(("given", "what"), TOLD)
def test_facts_that_are_none_name_the_step_that_gave_them(made, monkeypatch, given, what):
    plan, model, _ = made
    module = model.steps.module("audio.encoder")
    monkeypatch.setattr(module, "facts", lambda blocks: given, raising=False)
    block = TokenBlock("frames", torch.zeros(2, 1, 1, 4), torch.ones(2, 1, 1, dtype=torch.bool))
    if not what:
        assert estimate(model.steps, "audio.encoder", {"audio.encoder.frames": block}) == given
        return
    with pytest.raises(InputError) as raised:
        estimate(model.steps, "audio.encoder", {"audio.encoder.frames": block})
    (problem,) = raised.value.problems
    assert problem.place == "streams.audio.steps.encoder"
    assert what in problem.what
    assert repr(plan.graph.steps["audio.encoder"].piece.name) in problem.what
