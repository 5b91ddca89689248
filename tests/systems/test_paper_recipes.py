"""The three systems at published size, without weights: their counts, and two training steps of shrunken copies."""

import json
from dataclasses import replace

import numpy as np
import pytest
from affectkit_plugins.datasets._puppets import store
from click.testing import CliRunner
from safetensors.torch import load_file

from affectkit.api import fit
from affectkit.commands.show import command as show
from affectkit.model.model import make_prompt
from affectkit.model.sizes import build_on_meta, sizes
from affectkit.plan.check import check
from affectkit.plan.summary import slot_tokens
from affectkit.prompt import Ask
from affectkit.sample import Fact, Sample

NAMES = ("emo_llama", "emotion_llama", "affectgpt", "affectgpt_qformer", "affectgpt_v1")
LORA = NAMES[:-1]
"""Those whose LLM has adapters."""
LLAMA_7B = 6_738_415_616
BERT_768, BERT_1024 = (2 * (one - 2 * 768) + 2 * 768 for one in (9_453_312, 9_846_528))
"""A Q-Former of two layers that reads tokens so wide; in brackets the published one-layer list's with its norm."""

COUNTS = {
    "emo_llama": {
        # its checkpoint counts 92,043,823 with the integer tables of its attention windows, which are no parameters
        "priors.net": 92_043_823 - 24 * 2401 - 2 * 128,
        "scene.encoder": 985_949_440,  # BLIP-2's vision model (985,952,256) less its final norm
        "face.projector": 1408 * 4096 + 4096 + 4096 * 4096 + 4096,
        "backbone.model": LLAMA_7B,
        "backbone.lora": 319_815_680,  # rank 128 on the seven linear layers of each of 32 blocks
    },
    "emotion_llama": {
        # at 448 pixels the position embedding has 1,025 places for 257
        "patches.encoder": 985_952_256 + (1025 - 257) * 1408,
        "patches.projector": 23_072_768,
        "face.projector": 12_595_200 // 3,
        "motion.projector": 12_595_200 // 3,
        "audio.projector": 12_595_200 // 3,
        "cls.projector": 5_771_264,
        "backbone.model": LLAMA_7B,
        "backbone.lora": 33_554_432,
    },
    "affectgpt": {
        "face.projector": 768 + 1 + 768 * 3584 + 3584,
        "audio.projector": 1024 + 1 + 1024 * 3584 + 3584,
        "backbone.model": 7_615_616_512,
        "backbone.lora": 40_370_176,
    },
    "affectgpt_qformer": {
        # published: one query, its table of positions, and the part of BERT that a Q-Former of two layers keeps
        "face.projector": 768 + 24_576 + BERT_768 + 2_756_096,
        "audio.projector": 768 + 8_192 + BERT_1024 + 2_756_096,
        "multi.fusion": 768 + 787_456 + 1_049_600 + 270_336 + BERT_1024 + 2_756_096,
    },
    "affectgpt_v1": {
        "video.encoder": 985_952_256,
        "video.image": 32 * 768 + 105_137_664,  # BLIP-2's queries, and its Q-Former without what reads text
        "video.qformer": 32 * 768 + 32 * 768 + BERT_768 + 768 * 4096 + 4096,
        "audio.qformer": 8 * 768 + 8 * 1024 + BERT_1024 + 768 * 4096 + 4096,
        "backbone.model": LLAMA_7B,
    },
}
TRAINABLE = {
    "emotion_llama": 74_993_664,
    # the published other trainable parts hold an image projection that nothing uses
    "affectgpt": 40_370_176 + 16_798_468 - 2_756_096,
}
SLOTS = {
    "emo_llama": {"scene": 32, "face": 32},
    "emotion_llama": {"patches": 256, "face": 1, "motion": 1, "audio": 1, "cls": 1},
    "affectgpt": {"multi": 1, "audio": 1, "face": 1},
    "affectgpt_qformer": {"multi": 1, "audio": 1, "face": 1},
    "affectgpt_v1": {"audio": 8, "video": 32},
}


@pytest.fixture(scope="module")
def built():
    """Each recipe on the meta device, at full size."""
    plans = {name: check(f"paper/{name}", ["run.weights=random"]) for name in NAMES}
    models = {name: build_on_meta(plan)[0] for name, plan in plans.items()}
    return {name: (plans[name], models[name], sizes(models[name])) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_full_size_has_the_published_parameters(built, name):
    _, model, found = built[name]
    # transformers makes one vector of its speech models on the CPU, whatever it is told
    assert sum(p.numel() for p in model.parameters() if not p.is_meta) < 2000
    assert {a: found.parameters[a] for a in COUNTS[name]} == COUNTS[name]


@pytest.mark.parametrize("name", TRAINABLE)
def test_as_many_parameters_train_as_published(built, name):
    _, _, found = built[name]
    for stage, counts in found.trainable.items():
        assert sum(counts.values()) == TRAINABLE[name], stage


def test_emo_llama_trains_what_it_says_and_no_prior(built):
    _, _, found = built["emo_llama"]
    assert set(found.trainable["joint"]) == {"scene.miner", "scene.tokens", "face.projector", "backbone.lora"}


@pytest.mark.parametrize("name", NAMES)
def test_prompts_hold_the_published_number_of_tokens(name):
    plan = check(f"paper/{name}")
    assert {slot: slot_tokens(plan, slot) for slot in plan.slots} == SLOTS[name]
    assert tuple(plan.slots) == tuple(SLOTS[name])


def test_blocks_have_the_published_sizes():
    def shape(name, address, block):
        found = check(f"paper/{name}").graph.steps[address].shapes[block]
        return found.time, found.tokens, found.width

    assert shape("emo_llama", "scene.encoder", "tokens") == (16, 257, 1408)
    assert shape("emo_llama", "priors.net", "global") == (16, 49, 256)
    assert shape("emo_llama", "priors.net", "local") == (16, 10, 256)
    assert shape("emotion_llama", "patches.encoder", "patches") == (1, 1024, 1408)
    assert shape("emotion_llama", "patches.groups", "tokens") == (1, 256, 5632)
    assert shape("affectgpt", "face.encoder", "pooled") == (8, 1, 768)
    assert shape("affectgpt", "audio.encoder", "pooled") == (8, 1, 1024)
    assert shape("affectgpt_v1", "video.encoder", "tokens") == (8, 257, 1408)
    assert shape("affectgpt_v1", "video.image", "tokens") == (8, 32, 768)


def prompt_of(name, sample, task="label", phase="train", **more):
    """The segments of a prompt as one text, slots in angle brackets."""
    ask = Ask(task, phase, labels=("happy", "sad"), **more)
    segments = make_prompt(check(f"paper/{name}")).segments(sample, ask)
    return "".join(f"<{s.slot}>" if s.slot else f"<{s.special}>" if s.special else s.text for s in segments)


ANSWERS = {"reason": "The brows: drawn UP. Slow voice!", "open_labels": "[sad, hurt]"}
CLIP = Sample("a", subtitle="It is over", label="sad", answers=ANSWERS)


def test_emotion_llama_lays_its_prompt_out_as_in_training():
    text = prompt_of("emotion_llama", CLIP)
    begin = "<start>[INST] <video><patches></video> <feature><face><motion><audio><cls></feature> "
    assert text.startswith(begin)
    assert ": It is over.  [emotion] " in text
    assert "show: happy, sad, neutral, angry, worried, surprise, fear, contempt, doubt?  [/INST]sad<end>" in text
    reason = prompt_of("emotion_llama", CLIP, "reason")
    assert ": It is over.  [reason] " in reason
    assert "[emotion]" not in reason
    assert reason.endswith("  [/INST]the brows drawn up slow voice<end>")


def test_emo_llama_says_what_the_face_network_estimates():
    estimates = {
        "priors.net": {
            "age": Fact("20-29", "estimate", 0.9),
            "gender": Fact("female", "estimate", 0.8),
            "race": Fact("Asian", "estimate", 0.3),
        }
    }
    text = prompt_of("emo_llama", CLIP, phase="infer", estimates=estimates)
    assert "USER: <scene><face>\nSubject: 20-29 years old, female." in text
    assert "Asian" not in text
    assert "{happy, sad}" in text
    assert text.endswith(" ASSISTANT:")
    assert "Subject" not in prompt_of("emo_llama", CLIP, phase="infer", estimates=estimates, demographics=False)


def test_affectgpt_names_its_three_tokens_in_tags_and_asks_for_open_labels():
    text = prompt_of("affectgpt", CLIP, "open_labels")
    places = [
        text.index(f"<{tag}><{slot}></{tag}>")
        for tag, slot in (("Multi", "multi"), ("Audio", "audio"), ("Video", "face"))
    ]
    assert places == sorted(places)
    assert "<Subtitle>It is over</Subtitle>" in text
    assert text.startswith("<start>###Human: ")
    assert text.endswith("###Assistant: This person feels sad, hurt.###")
    assert prompt_of("affectgpt", CLIP).endswith("does the person show?###Assistant: This person feels sad.###")
    assert prompt_of("affectgpt", CLIP, phase="infer").startswith("<start>###Human: ")


def test_affectgpt_v1_asks_for_clues_after_sound_and_frames():
    text = prompt_of("affectgpt_v1", CLIP, "reason")
    assert text.index("<Audio><audio></Audio>") < text.index("<Video><video></Video>") < text.index("<Subtitle>")
    assert text.endswith("###Assistant: The brows: drawn UP. Slow voice!###")


@pytest.mark.parametrize("name", NAMES)
def test_show_draws_it_without_weights(name):
    out = CliRunner().invoke(show, [f"paper/{name}", "run.weights=random"])
    assert out.exit_code == 0, out.output
    assert f"at most {sum(SLOTS[name].values())} from streams" in out.output
    assert "6.74 B" in out.output or "7.62 B" in out.output


# -- shrunken copies ------------------------------------------------------------------------------------------------

LLM = "layers=2 width=64 heads=4 mlp=96 vocabulary=600 context=1024 dtype=float32 lora.rank=4"
VIT = "size=32 patch=16 width=32 layers=2 heads=2 hidden=48"
SPEECH = "width=32 layers=4 heads=2 hidden=48 channels=8"
QFORMER = "hidden=32 layers=2 heads=2"
FACES = "size=32 grid=2 channels=32 depths=[1,1,1,1] window=2 width=16 heads=2 hidden=16"
SHRUNK = {
    "emo_llama": {
        "views.frames": "count=3",
        "streams.priors.steps.net": FACES,
        "streams.scene.steps.encoder": "size=28 trained_size=28 patch=14 width=32 layers=2 heads=2 hidden=48",
        "streams.scene.steps.miner": "heads=4",
        "streams.scene.steps.tokens": "queries=4 hidden=32 layers=2 heads=2 vocab=200",
        "stages.joint": "batch=4 accumulate=1 max_steps=2 data=null",
    },
    "emotion_llama": {
        "views.frames": "max=3",
        "views.frames16": "count=4",
        "streams.patches.steps.encoder": "size=56 trained_size=28 patch=14 width=32 layers=2 heads=2 hidden=48",
        "streams.face.steps.encoder": VIT,
        "streams.motion.steps.encoder": f"{VIT} frames=4",
        "streams.audio.steps.encoder": SPEECH,
        "stages.coarse": "max_steps=2 batch=4 accumulate=1 data=null",
        "stages.fine": "max_steps=2 batch=4 accumulate=1 data=null",
        "prompt.parts.ask": "labels=[]",
        "score.metrics": "published=null",  # of MER2023's labels
        "score": "max_new_tokens=4",
    },
    "affectgpt": {
        "views.frames": "count=3",
        "streams.face.steps.encoder": f"{VIT} embed=24",
        "streams.audio.steps.encoder": SPEECH,
        "streams.multi.steps.fusion": "common=16",
        "stages.tune": "max_steps=2 data=null",
        "score": "max_new_tokens=4",
    },
    "affectgpt_qformer": {
        "views.frames": "count=3",
        "streams.face.steps.encoder": f"{VIT} embed=24",
        "streams.face.steps.projector": QFORMER,
        "streams.audio.steps.encoder": SPEECH,
        "streams.audio.steps.projector": QFORMER,
        "streams.multi.steps.fusion": QFORMER,
        "stages.tune": "max_steps=2 data=null",
        "score": "max_new_tokens=4",
    },
    "affectgpt_v1": {
        "views.frames": "count=3",
        "streams.video.steps.encoder": "size=28 trained_size=28 patch=14 width=32 layers=2 heads=2 hidden=48",
        "streams.video.steps.image": QFORMER,
        "streams.video.steps.qformer": QFORMER,
        "streams.audio.steps.qformer": QFORMER,
        "stages.branches": "max_steps=2",
        "score.metrics": "clues=null labels=null wheels.use=ov_wheels wheels.task=reason",
        "score": "max_new_tokens=4",
    },
}


def shrunk(name):
    """Overrides that make a copy of the recipe small enough for two cores, on puppets."""
    blocks = {**SHRUNK[name], "backbone": LLM, "data": "use=puppets count=16"}
    overrides = [f"{block}.{setting}" for block, text in blocks.items() for setting in text.split()]
    if name not in LORA:
        overrides.remove("backbone.lora.rank=4")
    return [*overrides, "score.resamples=20", "score.reasons=1", "run.weights=random", "run.accelerator=cpu"]


@pytest.fixture
def heard(monkeypatch, tmp_path):
    """Puppets with the sound features that the first AffectGPT reads."""
    made = store.sample_of

    def with_features(name, folder):
        path = tmp_path / f"{name}.npy"
        if not path.exists():
            np.save(path, np.random.default_rng(len(name)).normal(size=(8, 1024)).astype(np.float32))
        return replace(made(name, folder), features={"imagebind": path})

    monkeypatch.setattr(store, "sample_of", with_features)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("heard", "one_thread")
def test_a_shrunken_copy_takes_two_training_steps_and_is_scored(name, tmp_path):
    run = fit(f"paper/{name}", [*shrunk(name), f"run.folder={tmp_path / 'runs'}"], say=lambda _: None)
    steps = [json.loads(line) for line in (run.folder / "curves.jsonl").read_text().splitlines()]
    for stage in check(f"paper/{name}", shrunk(name)).stages:
        assert [s["step"] for s in steps if s["stage"] == stage and s["kind"] == "train"] == [0, 1]
        weights = load_file(run.weights(stage))
        assert weights
        assert all(tensor.isfinite().all() for tensor in weights.values())
        # peft begins with B = 0, so adapters that are not zero have learnt from the loss
        grown = [t for n, t in weights.items() if "lora_B" in n or name not in LORA]
        assert grown
        assert any(t.abs().sum() > 0 for t in grown)
    figures = json.loads((run.folder / "metrics.json").read_text())["test"]
    if name.startswith("affectgpt"):  # its answers are words, of no set
        assert figures["asked"][0]["ledger"]["total"] == 3
        return
    assert 0 <= figures["uar"]["value"] <= 1
    assert figures["ledger"]["total"] == 3
