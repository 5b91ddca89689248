"""Files in published layouts, made small: a Llama with its SentencePiece tokenizer, an EVA tower, a checkpoint."""

import os
import re
from pathlib import Path

import pytest
import torch

REFERENCE = Path(os.environ.get("AFFECTKIT_REFERENCE") or Path(__file__).parents[2] / "../shared/reference").resolve()
WIDTH, VISION, FEATURES = 32, 24, 16
"""Of the tiny language model, vision tower and features."""
LLM = "llama_model.base_model.model.model.layers"


def llama(folder, words="who is happy sad angry worried neutral surprise fear [INST] the person says", layers=2):
    """A Llama as save_pretrained writes it, with a tokenizer.model that has the piece $$."""
    import sentencepiece
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir()
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
    )
    torch.manual_seed(3)
    LlamaForCausalLM(config).save_pretrained(folder)
    text = folder / "text.txt"
    text.write_text("\n".join(f"{words} {i % 7} {words[i % 9 :]}" for i in range(200)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        hard_vocab_limit=False,
        user_defined_symbols=["$$"],
        minloglevel=2,
    )
    return folder


def eva(path, width=VISION, layers=2, hidden=40, patch=14, grid=2):
    """`eva_vit_g.pth` at a small size: a flat dictionary, with a block and a norm that nothing uses."""
    torch.manual_seed(4)

    def drawn(*shape):
        return torch.randn(*shape) * 0.1

    state = {"cls_token": drawn(1, 1, width), "pos_embed": drawn(1, grid * grid + 1, width)}
    state |= {"patch_embed.proj.weight": drawn(width, 3, patch, patch), "patch_embed.proj.bias": drawn(width)}
    for i in range(layers + 1):
        at = f"blocks.{i}"
        state |= {f"{at}.norm{j}.{k}": drawn(width) for j in (1, 2) for k in ("weight", "bias")}
        state |= {f"{at}.attn.{p}_bias": drawn(width) for p in "qv"}
        state |= {f"{at}.attn.qkv.weight": drawn(3 * width, width)}
        state |= {f"{at}.attn.proj.weight": drawn(width, width), f"{at}.attn.proj.bias": drawn(width)}
        state |= {f"{at}.mlp.fc1.weight": drawn(hidden, width), f"{at}.mlp.fc1.bias": drawn(hidden)}
        state |= {f"{at}.mlp.fc2.weight": drawn(width, hidden), f"{at}.mlp.fc2.bias": drawn(width)}
    torch.save(state, path)
    return path


def emotion_llama(table=True, dead=True, projections=5, rank=4):
    """The dictionary `model` of an Emotion-LLaMA checkpoint; with `projections=1` that of MiniGPT-v2."""
    torch.manual_seed(5)
    state = {}
    for i in range(2):
        at = f"{LLM}.{i}.self_attn"
        for p in "qv":
            state[f"{at}.{p}_proj.lora_A.weight"] = torch.randn(rank, WIDTH) * 0.2
            state[f"{at}.{p}_proj.lora_B.weight"] = torch.randn(WIDTH, rank) * 0.2
        if table:
            state[f"{at}.rotary_emb.inv_freq"] = torch.ones(4)
    widths = {
        "llama_proj": 4 * VISION,
        **{f"feats_llama_proj{i}": FEATURES for i in (1, 2, 3)},
        "cls_tk_llama_proj": VISION,
    }
    for name, width in list(widths.items())[:projections]:
        state |= {f"{name}.weight": torch.randn(WIDTH, width) * 0.2, f"{name}.bias": torch.randn(WIDTH) * 0.2}
    if dead:
        state |= {"attention.fc_att.weight": torch.randn(7, 128), "attention.fc_out.bias": torch.randn(6)}
    return state


def container(path, state):
    """The file that the published runner writes: weights beside an optimiser that has tensors of its own."""
    moments = {0: {"step": torch.tensor(7.0), "exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}}
    optimizer = {"state": moments, "param_groups": [{"lr": 1e-5, "params": [0]}]}
    config = {"run": {"init_lr": 1e-5, "amp": True}, "model": {"arch": "minigpt_v2", "lora_r": 64}}
    scaler = {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 3}
    torch.save({"model": state, "optimizer": optimizer, "config": config, "scaler": scaler, "epoch": 29}, path)
    return path


needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="AFFECTKIT_REFERENCE is not there")
KNOWN = {
    "keys_emotion_llama_saved": "an Emotion-LLaMA or MiniGPT-v2 checkpoint",
    "keys_affectgpt_attention_saved": "an AffectGPT checkpoint",
    "keys_affectgpt_qformer_saved": "an AffectGPT checkpoint",
    "keys_llamavid_7b": "LLaMA-VID",
    "keys_facexformer": "FaceXFormer",
    "keys_eva_vit_g_one_block": "EVA's vision transformer",
}
"""Lists of keys in the reference folder, and how messages call such a file."""


def files_but(own):
    """`keys` and `kind` of every known file that is not an importer's own."""
    return pytest.mark.parametrize(("keys", "kind"), [item for item in KNOWN.items() if own not in item[0]])


def lists_strangers(importer, state, strange):
    """Keys that nobody knows are named as such, and no key of the file is lost."""
    whole = state | {key: torch.ones(1) for key in strange}
    found = importer.read(whole)
    assert {key for key, why in found.unused.items() if why == "NOT KNOWN to this layout"} == set(strange)
    assert found.taken.keys() | found.unused.keys() == whole.keys()


def listed(name):
    """Every key of a list of the reference folder, as tensors without memory."""
    found = {}
    for line in (REFERENCE / "checkpoint_keys" / f"{name}.tsv").read_text().splitlines():
        if line.startswith("TOTAL"):
            continue
        pattern, shape, kind, _ = line.split("\t")
        sizes = [int(n) for n in re.findall(r"\d+", shape)]
        for key in spread(pattern):
            found[key] = torch.empty(sizes, dtype=getattr(torch, kind.strip().removeprefix("torch.")), device="meta")
    return found


def commands(*headings, without=()):
    """The command lines of the page on checkpoints, of some sections or of all but some."""
    page = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text()
    sections = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    assert {*headings, *without} <= sections.keys()
    texts = [text for name, text in sections.items() if name not in without and (not headings or name in headings)]
    return [
        line
        for text in texts
        for block in re.findall(r"```console\n(.*?)```", text, re.S)
        for line in block.splitlines()
    ]


def spread(pattern):
    """`layers.[0-2].x` and `layers.[0,1,2].x` as its three names."""
    run = re.search(r"\[(\d+)-(\d+)\]|\[(\d+(?:,\d+)+)\]", pattern)
    if run is None:
        return [pattern]
    numbers = run[3].split(",") if run[3] else range(int(run[1]), int(run[2]) + 1)
    return [name for n in numbers for name in spread(f"{pattern[: run.start()]}{n}{pattern[run.end() :]}")]


SMALL_VIT = f"size=16 patch=8 width={FEATURES} layers=1 heads=2 hidden=24 source="
SMALL = {
    "data": "use=puppets count=12",
    "views.frames": "max=3",
    "prompt.parts.ask": "labels=[]",
    "views.frames16": "count=4",
    "streams.patches.steps.encoder": (f"size=56 trained_size=28 patch=14 width={VISION} layers=2 heads=2 hidden=40"),
    "streams.face.steps.encoder": SMALL_VIT,
    "streams.motion.steps.encoder": f"{SMALL_VIT} frames=4",
    "streams.audio.steps.encoder": f"width={FEATURES} layers=1 heads=2 hidden=24 channels=8 source=",
    "backbone": "layers=null width=null heads=null mlp=null vocabulary=null context=null dtype=float32 lora.rank=4 lora.alpha=2",
    "score": "resamples=10 reasons=0 max_new_tokens=4",
    "run": "accelerator=cpu",
}


def overrides(folder):
    """What makes the paper recipe one of these small files, which lie in `folder`."""
    made = [f"{block}.{setting}" for block, text in SMALL.items() for setting in text.split()]
    source, tower = folder / "llama", folder / "eva_vit_g.pth"
    return [*made, f"backbone.source={source}", f"streams.patches.steps.encoder.source={tower}"]
