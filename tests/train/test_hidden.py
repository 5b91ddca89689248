"""Heads on the LLM's hidden state: beside the LLM in one forward, alone on a frozen one, as a probe; and what cannot be."""

import json

import pytest
import torch
import wav_table
from affectkit_plugins.backbones.causal_lm_net import CausalLM

from affectkit import api
from affectkit.encode.perceive import Perceiver
from affectkit.errors import InputError
from affectkit.evaluation.predict import AnswerOptions, predict
from affectkit.model.batch import Key, Prompter, Rows, stack
from affectkit.model.packing import last_prompt_places
from affectkit.plan.check import check

BESIDE = {
    "one": {"objective": {"llm": 1.0, "feel": {"use": "head_loss", "head": "feel"}}, "train": ["*", "backbone.model"]},
    "probe": {"objective": "heads.probe", "train": ["heads.probe"], "epochs": 1},
    "alone": {"objective": "heads.alone", "train": ["heads.alone"], "epochs": 1},
}


@pytest.fixture
def recipe(tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFFECTKIT_CACHE", str(tmp_path / "cache"))
    wav_table.write(tmp_path)
    recipe = api.load_recipe("r.yaml")
    recipe["heads"] = {
        "feel": {"use": "classifier", "tokens": ["llm.hidden", "audio.encoder"], "dropout": 0.0},
        "probe": {"use": "linear_probe", "tokens": "llm.hidden", "folds": 2},
        "alone": {"use": "classifier", "tokens": "llm.hidden"},
    }
    recipe["stages"] = BESIDE
    recipe["stages.one.train"] = ["audio.projector", "backbone.model", "heads.feel"]
    return recipe


def built(recipe, *overrides):
    plan = check(recipe, overrides)
    return api.build_for(plan, api.start(plan))


def test_features_of_a_head_on_the_hidden_state_are_refused(recipe):
    model, _ = built(recipe)
    with pytest.raises(InputError, match=r"heads\.feel reads the LLM's hidden state"):
        model.features(api.LoadedRun(check(recipe), model, api.start(check(recipe))).samples("test"), "heads.feel")


def test_one_forward_serves_the_llm_and_its_heads(recipe, monkeypatch):
    reads = []
    real = CausalLM.logits
    monkeypatch.setattr(CausalLM, "logits", lambda self, *given: reads.append(1) or real(self, *given))
    run = api.start(check(recipe))
    api.train(check(recipe), run, lambda _: None)
    train = [row for row in map(json.loads, run.curves.read_text().splitlines()) if row["kind"] == "train"]
    assert set(train[0]["losses"]) == {"llm", "feel"}
    # two epochs of five batches and two of validation; all samples of the probe at once; two batches and one of validation
    assert len(reads) == 2 * (5 + 2) + 1 + (2 + 1)
    found = api.load(run.folder)
    samples = found.samples("test")[:3]
    for name in ("feel", "probe", "alone"):
        options = AnswerOptions("label", name)
        together = predict(found.model, samples, found.labels, found.cache, options)
        for sample, one in zip(samples, together, strict=True):
            (lone,) = predict(found.model, [sample], found.labels, found.cache, options)
            assert one.probabilities == pytest.approx(lone.probabilities, abs=3e-6)


def test_the_state_is_that_of_the_last_prompt_token_behind_the_final_norm(recipe):
    model, plan = built(recipe)
    model.eval()
    samples = plan.data.piece.build(plan.data.settings, "train")[:3]
    perceiver = Perceiver.of(model)
    perceiver.fill(samples)
    found = {}
    for phase in ("train", "infer"):
        prompter = Prompter(model.prompt, ("happy", "sad", "angry"), 0, phase, scored=False)
        rows = Rows(plan, samples, perceiver, prompter, model.llm)
        batch = stack([rows[Key(i, "label")] for i in range(3)])
        with torch.no_grad():
            blocks, _ = model.with_llm(batch, perceiver.cache_plan.rest, hidden=True)
            row = model.row(batch, perceiver.cache_plan.rest)
        found[phase] = blocks["llm.hidden"].tokens[:, 0, 0]
        starts = torch.tensor([0, *row.lengths[:-1]]).cumsum(0)
        places = last_prompt_places(row) - starts
        if phase == "infer":
            assert places.tolist() == [n - 1 for n in row.lengths]
        for i, (start, length) in enumerate(zip(starts.tolist(), row.lengths, strict=True)):
            with torch.no_grad():
                core = model.llm.core(inputs_embeds=row.embeds[None, start : start + length], output_hidden_states=True)
            torch.testing.assert_close(core.hidden_states[-1][0, places[i]], found[phase][i], rtol=0, atol=3e-6)
    torch.testing.assert_close(found["train"], found["infer"], rtol=0, atol=3e-6)  # the answer is not seen


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("heads.feel.tokens=[llm.hiden]", "heads.feel.tokens.0: unknown block of the LLM 'llm.hiden'"),
        ("streams.audio.steps.projector.tokens=llm.hidden", "only heads and objectives can read it"),
        ("stages.other={train: [audio.encoder], objective: heads.feel}", "nothing that trains here has parameters"),
    ],
)
def test_a_mistake_is_told_with_its_place(recipe, override, told):
    with pytest.raises(InputError) as caught:
        built(recipe, override)
    assert told in str(caught.value)


def test_without_an_llm_there_is_no_state_of_it(recipe):
    with pytest.raises(InputError, match=r"there is no LLM that llm\.hidden could be of"):
        check(recipe, ["backbone=null", "prompt=null"])


def test_a_backbone_that_gives_no_state_is_named(recipe, monkeypatch):
    monkeypatch.setattr(CausalLM, "forward", torch.nn.Module.forward)
    with pytest.raises(InputError, match=r"heads\.feel.* has no `forward\(row, hidden_at\)` that gives it"):
        built(recipe)
