"""LLaMA-VID's published layout, made small: shards with their index, and a FaceXFormer beside them."""

import json
from pathlib import Path

import torch
from published_affectgpt import linears, qformer

WIDTH, VISION, HIDDEN, ROWS = 32, 24, 16, 200
"""Of the tiny language model (that of published_files.llama), the vision tower, the Q-Former and its word table."""


def bert(folder):
    """A folder with the words of a tiny BERT."""
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "which", "face"]))


def language():
    """The keys of a Llama of two layers, with the table of older transformers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 400, "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2}
    torch.manual_seed(8)
    state = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4)).state_dict()
    state |= {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(4) for i in range(2)}
    return {key: value.clone() for key, value in state.items()}


def aggregator():
    """The keys of the Q-Former with words, context attention and content projector."""
    body = "vlm_att_encoder"
    state = qformer(body, VISION, HIDDEN, inner=4 * HIDDEN)
    # cross-attention in every second layer alone, as published
    state = {key: value for key, value in state.items() if "layer.1.crossattention" not in key}
    at = f"{body}.bert"
    state |= {f"{at}.embeddings.word_embeddings.weight": torch.randn(ROWS, HIDDEN)}
    state |= {f"{at}.embeddings.position_embeddings.weight": torch.randn(512, HIDDEN)}
    for layer in range(2):
        words = f"{at}.encoder.layer.{layer}"
        state |= linears(
            {f"{words}.intermediate.dense": (4 * HIDDEN, HIDDEN), f"{words}.output.dense": (HIDDEN, 4 * HIDDEN)}
        )
        state |= {f"{words}.output.LayerNorm.{kind}": torch.rand(HIDDEN) for kind in ("weight", "bias")}
    shapes = {
        "vlm_att_projector": (VISION, HIDDEN),
        "vlm_att_key_projector": (VISION, VISION),
        "vlm_att_val_projector": (WIDTH, VISION),
        "mm_projector.0": (WIDTH, VISION),
        "mm_projector.2": (WIDTH, WIDTH),
    }
    state |= linears(shapes) | {"vlm_att_query": torch.randn(1, 4, HIDDEN)}
    state |= {f"vlm_att_ln.{kind}": torch.rand(VISION) for kind in ("weight", "bias")}
    return {f"model.{key}": value for key, value in state.items()}


def checkpoint():
    """All keys of a published model, the tower apart."""
    torch.manual_seed(9)
    return language() | aggregator()


def shards(folder, state, count=2):
    """A folder of shards with their index, as `from_pretrained` finds them."""
    folder.mkdir()
    names, keys = {}, sorted(state)
    for number in range(count):
        name = f"pytorch_model-0000{number + 1}-of-0000{count}.bin"
        part = keys[number::count]
        torch.save({key: state[key] for key in part}, folder / name)
        names |= dict.fromkeys(part, name)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    (folder / "config.json").write_text(json.dumps({"model_type": "llava", "compress_type": "mean"}))
    return folder


SMALL = {
    "data": "use=puppets count=12",
    "views.frames": "count=3",
    "streams.priors.steps.net": "size=32 grid=2 channels=32 depths=[1,1,1,1] window=2 width=16 heads=2 hidden=16 source=",
    "streams.scene.steps.encoder": f"size=28 trained_size=28 patch=14 width={VISION} layers=2 heads=2 hidden=40 source=",
    "streams.scene.steps.miner": "heads=4",
    "streams.scene.steps.tokens": f"queries=4 hidden={HIDDEN} layers=2 heads=2 vocab={ROWS}",
    "backbone": "layers=null width=null heads=null mlp=null vocabulary=null context=null dtype=float32 lora.rank=4",
    "score": "resamples=10 reasons=0 max_new_tokens=4",
    "run": "accelerator=cpu",
}
BASE = (
    "streams.scene.steps.miner=null",
    "streams.priors=null",
    "streams.face=null",
    "prompt.parts.face=null",
    "prompt.parts.who=null",
    "backbone.lora=null",
    "stages.joint.train=[scene.tokens, backbone.model]",
)
"""What makes the paper's recipe LLaMA-VID itself."""


def overrides(source, base=False):
    """What makes the paper recipe one of these small files, with the language model in `source` and `bert` beside it."""
    gone = {"streams.priors.steps.net", "streams.scene.steps.miner"} if base else set()
    made = [f"{block}.{setting}" for block, text in SMALL.items() if block not in gone for setting in text.split()]
    made = [o for o in made if not (base and "lora" in o)]
    made += [f"backbone.source={source}", f"streams.scene.steps.tokens.tokenizer={Path(source).parent / 'bert'}"]
    return [*made, *(BASE if base else ())]
