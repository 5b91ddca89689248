"""Projectors: promises, equality with transformers' Q-Formers, parity with published code, text ids."""

from __future__ import annotations

import numpy as np
import parity_context
import pytest
import torch
from affectkit_plugins.projectors import context_content, linear, mlp, qformer, weighted_sum
from affectkit_plugins.projectors._qformer import text_ids
from step_checks import (
    CHECKS,
    LLM,
    SHAPES,
    blocks_for,
    close,
    emptied,
    filler,
    made,
    real,
    reference,
)

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.errors import InputError
from affectkit.pieces import Shape

TEXT = {
    "queries": 3,
    "hidden": 16,
    "layers": 3,
    "heads": 2,
    "vocab": 64,
    "most_text": 16,
    "text_positions": 16,
}
CASES = {
    "linear": (linear, linear.Settings(), ()),
    "linear normed": (linear, linear.Settings(bias=False, norm="layer"), ()),
    "mlp": (mlp, mlp.Settings(), ()),
    "mlp deep": (mlp, mlp.Settings(depth=3, hidden=5, norm="layer"), ()),
    "mlp copies": (mlp, mlp.Settings(copies=3), ()),
    "weighted_sum": (weighted_sum, weighted_sum.Settings(), ()),
    "weighted_sum twice": (weighted_sum, weighted_sum.Settings(count=2), ()),
    "qformer": (qformer, qformer.Settings(**TEXT), ("question",)),
    "qformer clip": (qformer, qformer.Settings(**TEXT, per="clip", positions=5, norm="layer"), ("question",)),
    "qformer question": (qformer, qformer.Settings(**TEXT), ()),
    "qformer question clip": (qformer, qformer.Settings(**TEXT, per="clip", cross_every=1), ()),
    "context mean": (context_content, context_content.Settings(**TEXT), ()),
    "context blind": (context_content, context_content.Settings(**TEXT), ("question",)),
    "context grid": (context_content, context_content.Settings(**TEXT, compress="grid:2"), ()),
    "context none": (
        context_content,
        context_content.Settings(**TEXT, compress="none", class_token="none"),
        (),
    ),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES)
def test_promises(case, check):
    module, settings, without = CASES[case]
    check(module.affectkit_pieces()[0], settings, without)


def test_linear_is_a_linear_layer():
    module, given = made(linear.affectkit_pieces()[0])
    block = filler(given["tokens"])
    assert set(module.state_dict()) == {"layers.0.weight", "layers.0.bias"}
    torch.testing.assert_close(module(block)["tokens"].tokens, module.layers[0](block.tokens))


def test_mlp_has_the_published_layout():
    module, _ = made(mlp.affectkit_pieces()[0])
    keys = {f"layers.{i}.{p}" for i in (0, 2) for p in ("weight", "bias")}
    assert set(module.state_dict()) == keys
    assert isinstance(module.layers[1], torch.nn.GELU)
    assert module.layers[0].weight.shape == (LLM, 8)


def test_copies_stand_side_by_side_and_are_parts_of_the_last_layer():
    module, given = made(mlp.affectkit_pieces()[0], mlp.Settings(copies=3))
    block = filler(given["tokens"])
    out = module(block)["tokens"]
    b, t, n = block.mask.shape
    assert out.tokens.shape == (b, t, 3 * n, LLM)
    assert mlp.shapes(mlp.Settings(copies=3), given, LLM)["tokens"].tokens == 3 * given["tokens"].tokens
    whole = module.layers(block.tokens)
    row, time = block.mask[:, :, 1].nonzero()[0].tolist()
    torch.testing.assert_close(out.tokens[row, time, 3:6].flatten(), whole[row, time, 1])
    assert torch.equal(out.mask.view(b, t, n, 3), block.mask[..., None].expand(-1, -1, -1, 3))


def transformers_twin(module: torch.nn.Module, kind: type) -> torch.nn.Module:
    twin = kind(module.qformer.model.config).eval()
    twin.load_state_dict(module.qformer.model.state_dict())
    return twin


def test_qformer_equals_blip2():
    from transformers import Blip2QFormerModel

    module, given = made(qformer.affectkit_pieces()[0], qformer.Settings(**TEXT), ("question",))
    block = filler(given["tokens"])
    twin = transformers_twin(module, Blip2QFormerModel)
    with torch.no_grad():
        seen = twin(module.qformer.queries.expand(9, -1, -1), encoder_hidden_states=block.tokens.flatten(0, 1))
        want = module.projector(seen.last_hidden_state).view(3, 3, 3, LLM)
        torch.testing.assert_close(module(block)["tokens"].tokens, want, atol=1e-5, rtol=1e-5)


def test_qformer_equals_instructblip():
    from transformers import InstructBlipQFormerModel

    module, given = made(qformer.affectkit_pieces()[0], qformer.Settings(**TEXT, per="clip"))
    blocks = blocks_for(given)
    ids = blocks["question"].values
    twin = transformers_twin(module, InstructBlipQFormerModel)
    with torch.no_grad():
        out = twin(
            input_ids=ids,
            attention_mask=torch.ones(3, 3 + ids.shape[1], dtype=torch.long),
            query_embeds=module.qformer.queries.expand(3, -1, -1),
            encoder_hidden_states=blocks["tokens"].tokens.flatten(1, 2),
        )
        want = module.projector(out.last_hidden_state[:, :3]).unsqueeze(1)
        torch.testing.assert_close(module(**blocks)["tokens"].tokens, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", ["qformer question", "context mean"])
def test_the_question_changes_what_is_seen_and_an_empty_one_is_as_none(case):
    piece, settings = CASES[case][0].affectkit_pieces()[0], CASES[case][1]
    module, given = made(piece, settings)
    blocks = blocks_for(given)
    other = ViewBlock("question", blocks["question"].values.flip(1), blocks["question"].mask)
    nothing = ViewBlock("question", torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.bool))
    with torch.no_grad():
        asked = module(**blocks)["tokens"].tokens
        turned = module(blocks["tokens"], other)["tokens"].tokens
        silent = module(blocks["tokens"], nothing)["tokens"].tokens
        absent = module(blocks["tokens"], None)["tokens"].tokens
        one = module(blocks["tokens"], emptied(blocks["question"], 1))["tokens"].tokens
    assert (asked - turned).abs().max() > 1e-4
    torch.testing.assert_close(silent, absent)
    torch.testing.assert_close(one[1], absent[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one[0], asked[0], atol=1e-5, rtol=1e-5)


def test_time_positions_tell_frames_apart():
    settings = qformer.Settings(**TEXT, per="clip", positions=4)
    piece = qformer.affectkit_pieces()[0]
    module, given = made(piece, settings, ("question",))
    block = filler(given["tokens"])
    turned = TokenBlock("x", block.tokens.flip(1), block.mask)
    with torch.no_grad():
        assert (module(block)["tokens"].tokens - module(turned)["tokens"].tokens).abs().max() > 1e-3
        module.positions.weight.zero_()
        torch.testing.assert_close(
            module(block)["tokens"].tokens, module(turned)["tokens"].tokens, atol=1e-5, rtol=1e-5
        )
    with pytest.raises(InputError, match="positions=4"):
        piece.shapes(settings, {"tokens": Shape("tokens", 5, 5, 8)}, LLM)
    with pytest.raises(ValueError, match="4 positions"):
        module(filler(Shape("tokens", 5, 5, 8)))


def test_a_context_token_is_what_patches_say_whatever_the_class_token():
    settings = context_content.Settings(**TEXT, compress="none")
    module, given = made(context_content.affectkit_pieces()[0], settings, ("question",))
    block = filler(given["tokens"])
    even = TokenBlock("x", block.tokens[:, :, 1:], block.mask[:, :, 1:])
    content = module(block)["tokens"].tokens[:, :, 1:]
    torch.testing.assert_close(content, module.content(even.tokens))
    context = module.attend(torch.zeros(9, 2, 8), even.tokens.flatten(0, 1), even.mask.flatten(0, 1))
    torch.testing.assert_close(context, even.tokens.flatten(0, 1).mean(1, keepdim=True), atol=1e-5, rtol=1e-5)


def test_grid_cells_are_means_of_squares():
    shape = Shape("tokens", 1, 16, 8)
    settings = context_content.Settings(**TEXT, compress="grid:2")
    module, _ = made(context_content.affectkit_pieces()[0], settings, ("question",), tokens=shape)
    block = filler(shape, rows=1)
    cells, mask = module.pooling(block.tokens[0], block.mask[0])
    square = block.tokens[0, 0].view(4, 4, 8)
    want = torch.stack([square[i : i + 2, j : j + 2].mean((0, 1)) for i in (0, 2) for j in (0, 2)])
    torch.testing.assert_close(cells[0], want)
    assert mask.all()


@pytest.mark.parametrize(
    ("settings", "tokens", "count"),
    [
        ({"compress": "mean"}, 257, 2),
        ({"compress": "none"}, 257, 257),
        ({"compress": "none"}, 256, 257),
        ({"compress": "grid:4"}, 257, 17),
        ({"compress": "mean"}, None, 2),
        ({"compress": "none"}, None, None),
    ],
)
def test_context_content_counts(settings, tokens, count):
    told = context_content.shapes(
        context_content.Settings(**settings), {"tokens": Shape("tokens", 4, tokens, 1408)}, 4096
    )
    assert told["tokens"] == Shape("tokens", 4, count, 4096)


def test_context_content_refuses_what_does_not_fit():
    assert context_content.Settings(compress="grid:x").problems()
    assert context_content.Settings(compress="grid:0").problems()
    with pytest.raises(InputError, match="3 x 3"):
        context_content.shapes(context_content.Settings(compress="grid:3"), {"tokens": Shape("tokens", 4, 257, 8)}, 16)
    with pytest.raises(InputError, match="not known"):
        context_content.build(context_content.Settings(**TEXT), {"tokens": Shape("tokens", 4, None, 8)}, 16)


def test_weights_of_a_sum_are_raw():
    module, given = made(weighted_sum.affectkit_pieces()[0])
    block = filler(given["tokens"])
    twice = TokenBlock("x", torch.cat((block.tokens, block.tokens), 1), torch.cat((block.mask, block.mask), 1))
    with torch.no_grad():
        module.projector.bias.zero_()
        torch.testing.assert_close(module(twice)["tokens"].tokens, 2 * module(block)["tokens"].tokens)


def test_settings_that_cannot_be():
    bad = qformer.Settings(queries=0, hidden=30, heads=4, most_text=600, positions=-1)
    assert {name for name, _ in bad.problems()} == {"queries", "heads", "most_text", "positions"}
    assert mlp.Settings(depth=0).problems()
    assert not qformer.Settings().problems()
    assert not context_content.Settings(compress="grid:16").problems()


def test_stand_in_ids():
    first, again = (text_ids("Who is angry, and who is not?", "", 1000, 16) for _ in range(2))
    assert first.dtype == np.int64
    assert (first == again).all()
    assert first[0] == 1
    assert first[-1] == 2
    assert first[1] == first[6], "a word has the same id wherever it stands, in any case"
    assert len(text_ids("", "", 1000, 16)) == 0
    cut = text_ids("a b c d e f g", "", 1000, 5)
    assert list(cut[1:-1]) == list(text_ids("e f g", "", 1000, 5)[1:-1])


def test_bert_ids(tmp_path):
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "sad", "hap", "##py", "?"])
    )
    assert text_ids("Happy sad?", str(tmp_path), 64, 16).tolist() == [2, 6, 7, 5, 8, 3]
    assert text_ids("Happy sad?", str(tmp_path), 64, 4).tolist() == [2, 5, 8, 3]
    with pytest.raises(InputError, match="9 ids"):
        qformer.build(
            qformer.Settings(**{**TEXT, "vocab": 8}, tokenizer=str(tmp_path)),
            {"tokens": SHAPES["tokens"]},
            LLM,
        )
    with pytest.raises(InputError, match="neither"):
        text_ids("x", str(tmp_path / "no"), 64, 16)


@pytest.mark.parametrize("compress", ["mean", "grid:2", "none"])
def test_context_content_equals_llama_vid(compress):
    meta, weights, inputs, outputs = reference("llamavid_context")
    sizes = meta["config"]
    settings = context_content.Settings(**parity_context.sizes_of(meta, weights), compress=compress)
    shapes = {"tokens": Shape("tokens", None, 1 + sizes["n"], sizes["c_vis"]), "question": SHAPES["question"]}
    module = context_content.build(settings, shapes, sizes["d_llm"]).eval()
    module.load_state_dict(parity_context.from_llama_vid(weights))
    for case, block, question in parity_context.cases(meta, inputs):
        with torch.no_grad():
            got = module(block, question)["tokens"].tokens.flatten(1, 2)
        close(got, outputs[f"{compress.replace(':', '')}.{case}.tokens"], meta["tolerance"]["strict"])
    for index, prompts in enumerate(meta["prompts"]["still"]):
        ids = context_content.prepare(settings, "question", prompts[0])
        assert ids.tolist() == inputs[f"still{index}.text_ids"][0].tolist()


def test_weighted_sum_equals_affectgpt():
    meta, weights, inputs, outputs = reference("affectgpt_attention")
    names = {
        "face": ("video_attention_mlp", "affectgpt_proj"),
        "audio": ("audio_attention_mlp", "audio_llama_proj"),
    }
    for part, (score, projector) in names.items():
        features = inputs[f"{part}_features"].unsqueeze(2)
        shape = Shape("tokens", features.shape[1], 1, features.shape[3])
        module = weighted_sum.build(weighted_sum.Settings(), {"tokens": shape}, meta["config"]["d_llm"])
        kept = {"score": score, "projector": projector}
        module.load_state_dict({f"{k}.{p}": weights[f"{v}.{p}"] for k, v in kept.items() for p in ("weight", "bias")})
        block = TokenBlock("x", features, torch.ones(features.shape[:3], dtype=torch.bool))
        with torch.no_grad():
            close(module(block)["tokens"].tokens[:, 0], outputs[f"{part}_tokens"], meta["tolerance"]["strict"])


def test_qformer_equals_affectgpt():
    meta, weights, inputs, outputs = reference("affectgpt_qformer")
    bert, tables = meta["config"]["bert"], meta["position_tables"]
    names = {
        "face": ("video_query_tokens", "video_Qformer", "video_frame_position_embedding", "affectgpt_proj"),
        "audio": ("audio_query_tokens", "audio_Qformer", "audio_position_embedding", "audio_llama_proj"),
    }
    for part, (queries, body, table, projector) in names.items():
        features = inputs[f"{part}_features"].unsqueeze(2)
        settings = qformer.Settings(
            queries=weights[queries].shape[1],
            hidden=bert["hidden_size"],
            layers=meta["bert_layers_used"],
            heads=bert["num_attention_heads"],
            intermediate=bert["intermediate_size"],
            cross_every=1,
            per="clip",
            positions=tables[table],
        )
        shape = Shape("tokens", features.shape[1], 1, features.shape[3])
        module = qformer.build(settings, {"tokens": shape}, meta["config"]["d_llm"]).eval()
        module.load_state_dict(from_affectgpt(weights, queries, body, table, projector))
        block = TokenBlock("x", features, torch.ones(features.shape[:3], dtype=torch.bool))
        with torch.no_grad():
            out = module(block)["tokens"]
        close(out.tokens[:, 0], outputs[f"{part}_tokens"], meta["tolerance"]["strict"])
        assert real(out, 0).shape[0] == settings.queries


def from_affectgpt(weights, queries, body, table, projector):
    renamed = {"qformer.queries": weights[queries], "positions.weight": weights[f"{table}.weight"]}
    for part in ("weight", "bias"):
        renamed[f"projector.{part}"] = weights[f"{projector}.{part}"]
        renamed[f"qformer.model.layernorm.{part}"] = weights[f"{body}.bert.embeddings.LayerNorm.{part}"]
    for key, value in weights.items():
        if key.startswith(f"{body}.bert.encoder."):
            tail = key.removeprefix(f"{body}.bert.").replace("attention.self.", "attention.attention.")
            renamed[f"qformer.model.{tail}"] = value
    return renamed


@pytest.mark.parametrize("piece", [linear, mlp])
def test_dropout_of_a_projector_is_felt_in_training_only(piece):
    torch.manual_seed(0)
    shapes = {"tokens": Shape("tokens", 1, 2, 64)}
    plain, dropped = (piece.build(piece.Settings(dropout=share), shapes, 8) for share in (0.0, 0.5))
    assert plain.state_dict().keys() == dropped.state_dict().keys()
    dropped.load_state_dict(plain.state_dict())
    block = TokenBlock("tokens", torch.randn(3, 1, 2, 64), torch.ones(3, 1, 2, dtype=torch.bool))
    expected = plain.train()(block)["tokens"].tokens
    assert torch.equal(dropped.eval()(block)["tokens"].tokens, expected)
    assert not torch.allclose(dropped.train()(block)["tokens"].tokens, expected, atol=0.01)
    assert piece.Settings(dropout=1.0).problems() == [("dropout", "must be at least 0 and below 1, got 1.0")]
