"""AffectGPT's published layout, made small: a Qwen2 with its tokenizer, and checkpoints of both variants."""

import torch

WIDTH, VISION, VOICE, COMMON, RANK = 32, 24, 16, 12, 4
"""Of the tiny language model, the image embedding, the speech model, and the projections of both."""
LAYERS = "llama_model.base_model.model.model.layers"
LINEARS = {
    "self_attn.q_proj": (WIDTH, WIDTH),
    "self_attn.k_proj": (WIDTH // 2, WIDTH),
    "self_attn.v_proj": (WIDTH // 2, WIDTH),
    "self_attn.o_proj": (WIDTH, WIDTH),
    "mlp.gate_proj": (48, WIDTH),
    "mlp.up_proj": (48, WIDTH),
    "mlp.down_proj": (WIDTH, 48),
}
ATTENTION = {
    "video_attention_mlp": (1, VISION),
    "affectgpt_proj": (WIDTH, VISION),
    "audio_attention_mlp": (1, VOICE),
    "audio_llama_proj": (WIDTH, VOICE),
    "multi_video_embs": (COMMON, VISION),
    "multi_audio_embs": (COMMON, VOICE),
    "attention_mlp": (COMMON, 2 * COMMON),
    "fc_att": (2, COMMON),
    "multi_llama_proj": (WIDTH, COMMON),
    "image_llama_proj": (WIDTH, VISION),
}
HIDDEN = 16
"""Of the Q-Formers."""
QFORMER = {
    "affectgpt_proj": (WIDTH, HIDDEN),
    "audio_llama_proj": (WIDTH, HIDDEN),
    "multi_video_embs": (VISION, VISION),
    "multi_audio_embs": (VISION, VOICE),
    "multi_llama_proj": (WIDTH, HIDDEN),
    "image_llama_proj": (WIDTH, VISION),
}
PARTS = {
    "video": ("video_frame_position_embedding", 32, VISION),
    "audio": ("audio_position_embedding", 8, VOICE),
    "multi": ("multi_position_embedding", 40, VISION),
}


def qwen(folder):
    """A Qwen2 of two layers as save_pretrained writes it, with a tokenizer that knows the marks of a turn."""
    from affectkit_plugins.backbones.tokenizers_net import train
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=400,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
    )
    torch.manual_seed(3)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokens = train(["who is happy sad angry worried neutral surprise fear", "the person says"], 390)
    tokens.inner.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokens.inner.save_pretrained(folder)
    return folder


def linears(shapes):
    """Weight and bias of each."""
    state = {f"{name}.weight": torch.randn(*shape) * 0.2 for name, shape in shapes.items()}
    return state | {f"{name}.bias": torch.randn(shape[0]) * 0.1 for name, shape in shapes.items()}


def adapters():
    """LoRA on the seven linear layers of each block, adapter's name in the key."""
    state = {}
    for layer in range(2):
        for name, (out, into) in LINEARS.items():
            state[f"{LAYERS}.{layer}.{name}.lora_A.default.weight"] = torch.randn(RANK, into) * 0.2
            state[f"{LAYERS}.{layer}.{name}.lora_B.default.weight"] = torch.randn(out, RANK) * 0.2
    return state


def qformer(body, width, hidden=HIDDEN, inner=40):
    """The published keys of a Q-Former of two layers that reads tokens of that width, and no words."""
    shapes = {}
    for layer in range(2):
        at = f"{body}.bert.encoder.layer.{layer}"
        for kind, into in (("attention", hidden), ("crossattention", width)):
            shapes |= {f"{at}.{kind}.self.query": (hidden, hidden), f"{at}.{kind}.output.dense": (hidden, hidden)}
            shapes |= {f"{at}.{kind}.self.{name}": (hidden, into) for name in ("key", "value")}
        shapes |= {f"{at}.intermediate_query.dense": (inner, hidden), f"{at}.output_query.dense": (hidden, inner)}
    state = linears(shapes)
    norms = [f"{body}.bert.embeddings.LayerNorm"]
    for layer in range(2):
        at = f"{body}.bert.encoder.layer.{layer}"
        norms += [f"{at}.{kind}.LayerNorm" for kind in ("attention.output", "crossattention.output", "output_query")]
    state |= {f"{norm}.{kind}": torch.rand(hidden) for norm in norms for kind in ("weight", "bias")}
    return state | {f"{body}.bert.embeddings.position_ids": torch.arange(512)[None]}


def checkpoint(kind):
    """The dictionary `model` of a checkpoint of either variant."""
    torch.manual_seed(6)
    if kind == "attention":
        return adapters() | linears(ATTENTION)
    state = adapters() | linears(QFORMER)
    for number, (part, (table, rows, width)) in enumerate(PARTS.items(), 2):
        state |= qformer(f"{part}_Qformer", width)
        state[f"{part}_query_tokens"] = torch.randn(1, number, HIDDEN) * 0.2
        state[f"{table}.weight"] = torch.randn(rows, width) * 0.2
    return state


SMALL = {
    "data": "use=puppets count=12",
    "views.frames": "count=3",
    "streams.face.steps.encoder": f"size=32 patch=16 width=32 layers=2 heads=2 hidden=48 embed={VISION} source=",
    "streams.audio.steps.encoder": f"width={VOICE} layers=4 heads=2 hidden=24 channels=8 source=",
    "backbone": "layers=null width=null heads=null kv_heads=null mlp=null vocabulary=null context=null dtype=float32"
    f" lora.rank={RANK} lora.alpha=8",
    "score": "resamples=10 reasons=0 max_new_tokens=4",
    "run": "accelerator=cpu",
}


def overrides(source, kind="attention"):
    """What makes the paper recipe one of these small files, with the language model in `source`."""
    made = [f"{block}.{setting}" for block, text in SMALL.items() for setting in text.split()]
    common = [f"streams.multi.steps.fusion.common={COMMON}"] if kind == "attention" else []
    return [*made, *common, f"backbone.source={source}"]
