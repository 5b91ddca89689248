"""Emotion-LLaMA against its own code: the published names through the converter, the recipe's route to every number.

`AFFECTKIT_REFERENCE` names the folder; sizes, texts and the tolerance come from its meta.json.
"""

import json
import math
import shutil
from functools import cache

import numpy as np
import published_files as published
import pytest
import torch
from affectkit_plugins.backbones.packed_attention_net import Packed
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from affectkit.encode.cache import Cache
from affectkit.encode.perceive import Perceiver
from affectkit.interop.checkpoint import lay_out
from affectkit.interop.contract import Importer, find_converter
from affectkit.model.batch import Key, Prompter, Rows, stack
from affectkit.model.model import build, make_prompt
from affectkit.plan.check import check
from affectkit.registry import Registry
from affectkit.sample import Sample
from affectkit.train.checkpoint import load_weights

FOLDER = published.REFERENCE / "parity" / "emotion_llama_tokens"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="AFFECTKIT_REFERENCE is not there")
STREAMS = ("face", "motion", "audio")
TASKS = {"emotion": "label", "reason": "reason", "reason_v2": "reason_v2"}
PATCH = 14


@cache
def meta():
    return json.loads((FOLDER / "meta.json").read_text())


@cache
def tensors(name):
    return load_file(FOLDER / f"{name}.safetensors")


def close(ours, name, select=None):
    """The largest difference as the fixture counts it, over real places; it must be within the strict tolerance."""
    theirs = tensors("outputs")[name]
    theirs = theirs if select is None else theirs[select.bool()]
    assert ours.shape == theirs.shape, name
    difference = float((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max())
    print(f"{name}: {difference:.2e}")
    assert difference <= meta()["tolerance"]["strict"], name


class Given(nn.Module):
    """In place of the vision tower: the fixture's features, image by image."""

    def __init__(self, features):
        super().__init__()
        self.features, self.taken = features, 0

    def forward(self, images):
        start, self.taken = self.taken, self.taken + len(images)
        return self.features[start : self.taken]


class Through(nn.Module):
    """In place of its blocks: nothing."""

    def forward(self, tokens):
        return type("Out", (), {"last_hidden_state": tokens})


def llama(folder):
    """A Llama of the fixture's sizes with its tokenizer; its weights come through the converter."""
    from transformers import LlamaConfig, LlamaForCausalLM

    known = meta()["llama"]
    sizes = {
        "hidden_size": known["hidden"],
        "intermediate_size": known["ffn"],
        "num_hidden_layers": known["layers"],
        "num_attention_heads": known["heads"],
        "vocab_size": known["vocab"],
        "rms_norm_eps": known["rms_norm_eps"],
        "rope_theta": known["rope_theta"],
    }
    LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(folder)
    shutil.copy(FOLDER / "tokenizer.model", folder / "tokenizer.model")
    return folder


def overrides(folder):
    """What makes the paper's recipe a model of the fixture's sizes, fed behind its encoders."""
    config, llm = meta()["config"], meta()["llama"]
    size = PATCH * math.ceil(math.sqrt(config["n"]))
    tower = f"size={size} trained_size={size} width={config['c_vit']} layers=1 heads=1 hidden=8 source="
    backbone = f"source={folder} layers=null width=null heads=null mlp=null vocabulary=null context=null dtype=float32"
    backbone += f" special_texts=[{meta()['tokenizer']['pad_token']}]"
    backbone += f" lora.rank={config['lora_r']} lora.alpha={config['lora_alpha']}"
    made = [f"streams.patches.steps.encoder.{s}" for s in tower.split()] + [f"backbone.{s}" for s in backbone.split()]
    for stream in STREAMS:
        made.append(f"views.{stream}_features.width={config['feat']}")
        made.append(f"streams.{stream}.steps.encoder={{use: mean, tokens: {stream}_features}}")
    assert config["lora_alpha"] / config["lora_r"] == meta()["lora"]["scale"]
    assert llm["hidden"] == config["d_llm"]
    return [*made, "run.accelerator=cpu", "prompt.layouts.infer=upstream_infer"]


def wording(number):
    """Overrides that give the prompt the words of one example, as a user would who wants the published ones."""
    example, whole = meta()["examples"][number], meta()["instruction_strings"][number]
    says = whole.partition("</feature> ")[2].partition(f"[{example['task']}]")[0]
    begin, colon, rest = says.partition(": ")
    says = begin + colon + "{subtitle}" + rest.removeprefix(example["sentence"])  # which may be empty
    words = {"says.wording": says, "ask.wording": example["question"]}
    words |= {f"{part}.wordings": [example["question"]] for part in ("why", "why_v2")}
    return [f"prompt.parts.{key}={json.dumps(value)}" for key, value in words.items()]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(model, plan, batches by phase): everything by the recipe, weights by the converter."""
    folder = tmp_path_factory.mktemp("parity")
    own = overrides(llama(folder / "llama"))
    importer = find_converter(Registry.load(), "emotion-llama", Importer)[1]
    plan, found, missing = lay_out(importer, tensors("weights"), own)
    assert not found.unused
    assert not missing
    model, plan = build(plan, lambda: ())
    assert found.weights.keys() <= model.state_dict().keys()
    load_weights(model, found.weights)
    model.eval()
    tower = model.steps.module("patches.encoder").net.model
    tower.embeddings, tower.encoder = Given(tensors("inputs")["vit_features"]), Through()
    samples = [clip(folder, i) for i in range(meta()["config"]["b"])]
    with torch.no_grad():
        return model, plan, batches(model, plan, samples, Cache(folder / "cache"), own), samples


def clip(folder, number):
    """One example as a sample with a still and three feature files."""
    example = meta()["examples"][number]
    features = {}
    for stream, values in zip(STREAMS, tensors("inputs")["emotion_features"][number], strict=True):
        features[stream] = folder / f"{stream}{number}.npy"
        np.save(features[stream], values.numpy())
    Image.new("RGB", (8, 8), (number * 10, 0, 0)).save(folder / f"{number}.png")
    answer = (
        {"label": example["answer"]} if example["task"] == "emotion" else {"answers": {"reason": example["answer"]}}
    )
    still = {"image": folder / f"{number}.png", "features": features}
    return Sample(f"clip{number}", subtitle=example["sentence"], **still, **answer)


def batches(model, plan, samples, cache_, own):
    """A batch for each phase, each sample asked with the words of its example."""
    perceiver = Perceiver.of(model, None, cache_)
    perceiver.fill(samples)
    assert not perceiver.broken
    made = {}
    for phase in ("train", "infer"):
        rows = []
        for i in range(len(samples)):
            prompt = make_prompt(check(plan.recipe.source, [*own, *wording(i)]))
            prompter = Prompter(prompt, ("happy",), 0, phase)
            task = TASKS[meta()["examples"][i]["task"]]
            rows.append(Rows(plan, samples, perceiver, prompter, model.llm)[Key(i, task)])
        made[phase] = stack(rows), perceiver.cache_plan.rest
    return made


@pytest.fixture(scope="module")
def packed(built):
    """The packed row of each phase."""
    model, _, ready, _ = built
    with torch.no_grad():
        return {phase: model.row(*batch) for phase, batch in ready.items()}


def logits(model, row):
    """Of every place of a packed row."""
    more = {"position_ids": row.position_ids[None], "layout": Packed(row.lengths)}
    with torch.no_grad():
        return model.llm.logits(row.embeds[None], torch.arange(len(row.embeds)), more)


def test_tokens_of_every_view(built):
    model, plan, ready, _ = built
    with torch.no_grad():
        slots = model.slots(*ready["train"])
    order = ("patches", *STREAMS, "cls")
    assert tuple(plan.slots) == order
    close(torch.cat([slots[s].tokens.flatten(1, 2) for s in order], dim=1), "tokens")


def test_the_norm_behind_the_tower(built):
    model, _, _, _ = built
    net = model.steps.module("patches.encoder").net
    net.model.embeddings.taken = 0
    with torch.no_grad():
        out = net(torch.zeros(meta()["config"]["b"], 3, PATCH, PATCH))
    close(torch.cat([out["cls"], out["patches"]], dim=1), "vit_after_ln")


def test_training_reads_the_same_and_learns_from_the_same(built, packed):
    model, row = built[0], packed["train"]
    real = tensors("outputs")["train.attention_mask"]
    assert list(row.lengths) == real.sum(1).tolist()
    close(row.embeds, "train.inputs_embeds", real)
    assert torch.equal(row.labels, tensors("outputs")["train.labels"][real.bool()])
    close(logits(model, row), "train.logits", real)
    with torch.no_grad():
        total, number = model.llm.loss(row)
    close((total / number).reshape(1), "train.loss")


def test_inference_as_published_reads_the_same(built, packed):
    model, row = built[0], packed["infer"]
    real = tensors("outputs")["infer.attention_mask"]
    assert list(row.lengths) == real.sum(1).tolist()
    close(row.embeds, "infer.inputs_embeds", real)
    last = torch.tensor(row.lengths).cumsum(0) - 1
    close(logits(model, row)[last], "infer.logits_first_step")


def test_answers_are_the_same_ids(built, packed):
    model, row = built[0], packed["infer"]
    most = meta()["generation_kwargs"]["max_new_tokens"]
    end = meta()["tokenizer"]["eos"]
    theirs = [ids[1:] for ids in tensors("outputs")["infer.generated_ids"].tolist()]  # they begin with a bos id
    theirs = [ids[: ids.index(end)] if end in ids else ids for ids in theirs]
    assert model.llm.generate(row, most, []) == theirs


@pytest.mark.parametrize("phase", ["train", "infer"])
def test_ids_are_those_of_the_published_layout(built, phase):
    """Segment by segment, slots left out."""
    chunks = built[2][phase][0].chunks
    for number, layout in enumerate(meta()[f"layout_{phase}"]):
        theirs = [i for part in layout for i in ([part["bos"]] if "bos" in part else part.get("ids", []))]
        pad = meta()["tokenizer"]["pad"]
        if phase == "train":
            while theirs[-1] == pad:
                theirs.pop()
        assert [i for chunk in chunks[number] for i in chunk.ids] == theirs
