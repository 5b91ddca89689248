"""Fusions: promises, missing modalities, parity with published code."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from affectkit_plugins.fusions import attention_fusion, cross_attention, interleave, qformer_fusion
from step_checks import (
    CHECKS,
    LLM,
    SHAPES,
    blocks_for,
    close,
    emptied,
    filler,
    inputs_of,
    made,
    real,
    reference,
)

from affectkit.blocks import TokenBlock
from affectkit.errors import InputError
from affectkit.pieces import Shape

QFORMER = {"queries": 2, "hidden": 16, "layers": 2, "heads": 2}
CASES = {
    "attention_fusion": (attention_fusion, attention_fusion.Settings(common=8)),
    "qformer_fusion": (qformer_fusion, qformer_fusion.Settings(**QFORMER, positions=11)),
    "cross_attention": (cross_attention, cross_attention.Settings(heads=2)),
    "cross_attention frame": (
        cross_attention,
        cross_attention.Settings(heads=2, layers=2, per="frame", gate="tanh"),
    ),
}
JOINED = {
    "tokens": Shape("tokens", 3, 2, 8),
    "second": Shape("tokens", 3, 4, 8),
    "third": Shape("tokens", 3, 1, 8),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES)
def test_promises(case, check):
    module, settings = CASES[case]
    check(module.affectkit_pieces()[0], settings)


@pytest.mark.parametrize("check", CHECKS)
def test_interleaving_keeps_its_promises(check):
    check(interleave.affectkit_pieces()[0], interleave.Settings(), **JOINED)


def test_blocks_are_interleaved_frame_by_frame():
    module, given = made(interleave.affectkit_pieces()[0], **JOINED)
    blocks = blocks_for(given)
    out = module(**blocks)["tokens"]
    parts = [blocks[p].tokens for p in ("tokens", "second", "third")]
    for time in range(3):
        torch.testing.assert_close(out.tokens[:, time], torch.cat([p[:, time] for p in parts], 1))


def test_blocks_of_different_length():
    piece = interleave.affectkit_pieces()[0]
    shapes = {"tokens": SHAPES["tokens"], "second": SHAPES["second"], "third": SHAPES["third"]}
    assert piece.shapes(interleave.Settings(), shapes, None)["tokens"] == Shape("tokens", 3, 11, 8)
    blocks = blocks_for(shapes)
    for spread, frames in ((False, [11, 9, 5]), (True, [11, 11, 7])):
        out = piece.build(interleave.Settings(spread), shapes, None)(**blocks)["tokens"]
        assert out.mask.sum(2)[0].tolist() == frames
        assert (out.tokens[~out.mask] == 0).all()
    out = piece.build(interleave.Settings(), shapes, None)(**{**blocks, "tokens": emptied(blocks["tokens"], 1)})[
        "tokens"
    ]
    torch.testing.assert_close(real(out, 1)[:4], blocks["second"].tokens[1, 0])


def test_interleaving_wants_one_width_and_two_blocks():
    with pytest.raises(InputError, match="tokens 8, second 6"):
        interleave.shapes(interleave.Settings(), {"tokens": SHAPES["tokens"], "second": SHAPES["context"]}, None)
    with pytest.raises(InputError, match="nothing fills the port 'second'"):
        interleave.shapes(interleave.Settings(), {"tokens": SHAPES["tokens"]}, None)


@pytest.mark.parametrize("case", ["attention_fusion", "qformer_fusion"])
@pytest.mark.parametrize("lacking", ["video", "audio"])
def test_a_clip_without_one_modality_is_fused_from_the_other(case, lacking):
    piece, settings = CASES[case][0].affectkit_pieces()[0], CASES[case][1]
    module, given = made(piece, settings)
    blocks = blocks_for(given)
    without = {**blocks, lacking: emptied(blocks[lacking], 1)}
    changed = {**without, lacking: filler(given[lacking], seed=9)}
    changed[lacking] = emptied(changed[lacking], 1)
    with torch.no_grad():
        whole, part, other = (module(**b)["tokens"] for b in (blocks, without, changed))
    assert part.mask.all()
    assert part.tokens.isfinite().all()
    assert (part.tokens[1] - whole.tokens[1]).abs().max() > 1e-3
    torch.testing.assert_close(part.tokens[1], other.tokens[1])
    torch.testing.assert_close(part.tokens[0], whole.tokens[0], atol=1e-5, rtol=1e-5)


def test_a_closed_gate_changes_nothing():
    settings = cross_attention.Settings(heads=2, gate="tanh")
    shapes = inputs_of(cross_attention.affectkit_pieces()[0])
    module = cross_attention.build(settings, shapes, LLM)
    blocks = blocks_for(shapes)
    torch.testing.assert_close(module(**blocks)["tokens"].tokens, blocks["tokens"].tokens)


def test_tokens_stay_as_they_are_where_there_is_nothing_to_read():
    module, given = made(cross_attention.affectkit_pieces()[0], cross_attention.Settings(heads=2))
    blocks = blocks_for(given)
    with torch.no_grad():
        out = module(blocks["tokens"], emptied(blocks["context"], 1))["tokens"].tokens
        torch.testing.assert_close(out[1], blocks["tokens"].tokens[1])
        assert (out[0] - blocks["tokens"].tokens[0]).abs().max() > 1e-3
        torch.testing.assert_close(module(blocks["tokens"], None)["tokens"].tokens, blocks["tokens"].tokens)


def test_a_frame_reads_its_own_context():
    settings = cross_attention.Settings(heads=2, per="frame")
    shapes = {"tokens": SHAPES["tokens"], "context": Shape("tokens", 3, 4, 6)}
    module, _ = made(cross_attention.affectkit_pieces()[0], settings, **shapes)
    blocks = blocks_for(shapes)
    other = blocks["context"].tokens.clone()
    other[:, 2] += 1.5 * torch.randn(other[:, 2].shape)
    with torch.no_grad():
        before = module(**blocks)["tokens"].tokens
        after = module(blocks["tokens"], TokenBlock("x", other, blocks["context"].mask))["tokens"].tokens
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert (before[:, 2] - after[:, 2]).abs().max() > 1e-3


def test_more_steps_than_positions():
    settings = qformer_fusion.Settings(**QFORMER, positions=10)
    shapes = {"video": SHAPES["video"], "audio": SHAPES["audio"]}
    with pytest.raises(InputError, match="11 steps of video and audio are more than positions=10"):
        qformer_fusion.shapes(settings, shapes, LLM)
    with pytest.raises(ValueError, match="10 positions"):
        qformer_fusion.build(settings, shapes, LLM)(**blocks_for(shapes))


def features(inputs, part):
    tokens = inputs[f"{part}_features"].unsqueeze(2)
    shape = Shape("tokens", tokens.shape[1], 1, tokens.shape[3])
    return shape, TokenBlock(part, tokens, torch.ones(tokens.shape[:3], dtype=torch.bool))


def test_attention_fusion_equals_affectgpt():
    meta, weights, inputs, outputs = reference("affectgpt_attention")
    (video, seen), (audio, heard) = features(inputs, "face"), features(inputs, "audio")
    settings = attention_fusion.Settings(common=len(weights["attention_mlp.bias"]))
    module = attention_fusion.build(settings, {"video": video, "audio": audio}, meta["config"]["d_llm"])
    names = {
        "video_width": "multi_video_embs",
        "audio_width": "multi_audio_embs",
        "mix": "attention_mlp",
        "weigh": "fc_att",
        "projector": "multi_llama_proj",
    }
    module.load_state_dict({f"{k}.{p}": weights[f"{v}.{p}"] for k, v in names.items() for p in ("weight", "bias")})
    with torch.no_grad():
        close(module(seen, heard)["tokens"].tokens[:, 0], outputs["multi_tokens"], meta["tolerance"]["strict"])


def test_qformer_fusion_equals_affectgpt():
    meta, weights, inputs, outputs = reference("affectgpt_qformer")
    (video, seen), (audio, heard) = features(inputs, "face"), features(inputs, "audio")
    bert = meta["config"]["bert"]
    settings = qformer_fusion.Settings(
        queries=weights["multi_query_tokens"].shape[1],
        hidden=bert["hidden_size"],
        layers=meta["bert_layers_used"],
        heads=bert["num_attention_heads"],
        intermediate=bert["intermediate_size"],
        positions=meta["position_tables"]["multi_position_embedding"],
    )
    module = qformer_fusion.build(settings, {"video": video, "audio": audio}, meta["config"]["d_llm"]).eval()
    renamed = {
        "qformer.queries": weights["multi_query_tokens"],
        "positions.weight": weights["multi_position_embedding.weight"],
    }
    for part in ("weight", "bias"):
        renamed[f"qformer.model.layernorm.{part}"] = weights[f"multi_Qformer.bert.embeddings.LayerNorm.{part}"]
        for ours, theirs in (
            ("video_width", "video_embs"),
            ("audio_width", "audio_embs"),
            ("projector", "llama_proj"),
        ):
            renamed[f"{ours}.{part}"] = weights[f"multi_{theirs}.{part}"]
    for key, value in weights.items():
        if key.startswith("multi_Qformer.bert.encoder."):
            tail = key.removeprefix("multi_Qformer.bert.").replace("attention.self.", "attention.attention.")
            renamed[f"qformer.model.{tail}"] = value
    module.load_state_dict(renamed)
    with torch.no_grad():
        close(module(seen, heard)["tokens"].tokens[:, 0], outputs["multi_tokens"], meta["tolerance"]["strict"])


def test_steps_announce_their_shapes_without_torch():
    code = """
import sys, pkgutil, importlib
import affectkit_plugins.adapters as a, affectkit_plugins.fusions as f, affectkit_plugins.projectors as p
for package in (a, f, p):
    for info in pkgutil.iter_modules(package.__path__):
        if not info.name.startswith("_") and not info.name.endswith("_net"):
            importlib.import_module(f"{package.__name__}.{info.name}").affectkit_pieces()
from affectkit.pieces import Shape
Settings = p.qformer.Settings
assert p.qformer.shapes(Settings(), {"tokens": Shape("tokens", 8, 257, 1408)}, 64)["tokens"].tokens == 32
print([m for m in ("torch", "numpy", "transformers") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
