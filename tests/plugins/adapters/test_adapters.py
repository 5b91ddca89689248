"""Adapters: promises, values against hand-written ones, and that the sequence encoder learns a contour."""

from __future__ import annotations

import pytest
import torch
from affectkit_plugins.adapters import attention, concat_tokens, conv_transformer, mean, strided
from step_checks import CHECKS, announced_equals_built, emptied, filler, made, padding_never_leaks, real

from affectkit.blocks import TokenBlock
from affectkit.errors import InputError
from affectkit.pieces import Shape

SMALL = {"channels": 8, "width": 8, "layers": 1, "heads": 2}
CASES = {
    "mean tokens": (mean, mean.Settings(over="tokens")),
    "mean time": (mean, mean.Settings(over="time")),
    "mean both": (mean, mean.Settings()),
    "concat": (concat_tokens, concat_tokens.Settings(group=2)),
    "strided mean": (strided, strided.Settings(stride=2)),
    "strided overlapping": (strided, strided.Settings(stride=2, kernel=3)),
    "strided max": (strided, strided.Settings(how="max", stride=2, kernel=4)),
    "strided conv": (strided, strided.Settings(how="conv", stride=2)),
    "strided conv time": (strided, strided.Settings(how="conv", stride=2, kernel=3, axis="time")),
    "attention": (attention, attention.Settings(queries=2, heads=2)),
    "attention frame": (attention, attention.Settings(heads=4, per="frame")),
    "conv_transformer": (conv_transformer, conv_transformer.Settings(**SMALL)),
    "conv_transformer out": (conv_transformer, conv_transformer.Settings(**SMALL, out=3)),
    "conv_transformer odd": (conv_transformer, conv_transformer.Settings(**SMALL, stride=3, kernel=3)),
    "conv_transformer plain": (
        conv_transformer,
        conv_transformer.Settings(**{**SMALL, "layers": 0}, stride=1),
    ),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES)
def test_promises(case, check):
    module, settings = CASES[case]
    sequence = {"tokens": Shape("tokens", 1, 13, 8)} if module is conv_transformer else {}
    check(module.affectkit_pieces()[0], settings, **sequence)


@pytest.mark.parametrize("over", ["tokens", "time", "both"])
def test_means_are_of_what_is_real(over):
    module, given = made(mean.affectkit_pieces()[0], mean.Settings(over=over))
    block = emptied(filler(given["tokens"]), 1, 2)
    out = module(block)["tokens"]
    axes = {"tokens": (1,), "time": (0,), "both": (0, 1)}[over]
    torch.testing.assert_close(real(out, 0), block.tokens[0].mean(axes).reshape(-1, 8))
    torch.testing.assert_close(real(out, 1), block.tokens[1, :2].mean(axes).reshape(-1, 8))


def test_a_mean_counts_tokens_not_frames():
    tokens = torch.tensor([[[[1.0], [3.0]], [[8.0], [0.0]]]])
    mask = torch.tensor([[[True, True], [True, False]]])
    module = mean.build(mean.Settings(), {"tokens": Shape("tokens", 2, 2, 1)}, None)
    assert module(TokenBlock("x", tokens, mask))["tokens"].tokens.item() == 4.0


def test_strips_are_four_tokens_of_one_row():
    patches = torch.arange(16.0).view(1, 1, 16, 1)
    module = concat_tokens.build(concat_tokens.Settings(), {"tokens": Shape("tokens", 1, 16, 1)}, None)
    out = module(TokenBlock("x", patches, torch.ones(1, 1, 16, dtype=torch.bool)))["tokens"].tokens
    assert out[0, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    told = concat_tokens.shapes(concat_tokens.Settings(), {"tokens": Shape("tokens", 1, 1024, 1408)}, None)
    assert told["tokens"] == Shape("tokens", 1, 256, 5632)


def test_windows_begin_every_stride():
    def run(settings: strided.Settings) -> list[float]:
        row = torch.arange(1.0, 6.0).view(1, 1, 5, 1)
        module = strided.build(settings, {"tokens": Shape("tokens", 1, 5, 1)}, None)
        return module(TokenBlock("x", row, torch.ones(1, 1, 5, dtype=torch.bool)))["tokens"].tokens.flatten().tolist()

    assert run(strided.Settings(stride=2)) == [1.5, 3.5, 5.0]
    assert run(strided.Settings(stride=2, kernel=3)) == [2.0, 4.0, 5.0]
    assert run(strided.Settings(stride=2, how="max")) == [2.0, 4.0, 5.0]


def test_strided_convolution_equals_torch():
    module, given = made(
        strided.affectkit_pieces()[0], strided.Settings(how="conv", stride=2), tokens=Shape("tokens", 3, 6, 8)
    )
    block = filler(given["tokens"])
    want = torch.nn.functional.conv1d(
        block.tokens.flatten(0, 1).transpose(1, 2), module.conv.weight, module.conv.bias, stride=2
    )
    torch.testing.assert_close(module(block)["tokens"].tokens.flatten(0, 1), want.transpose(1, 2), atol=1e-5, rtol=1e-5)


def test_attentive_pooling_equals_torch():
    module, given = made(attention.affectkit_pieces()[0], attention.Settings(queries=2, heads=2))
    twin = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
    own = module.attention
    with torch.no_grad():
        twin.in_proj_weight.copy_(torch.cat([own.query.weight, own.key.weight, own.value.weight]))
        twin.in_proj_bias.copy_(torch.cat([own.query.bias, own.key.bias, own.value.bias]))
        twin.out_proj.load_state_dict(own.out.state_dict())
        block = filler(given["tokens"])
        mask = block.mask.clone()
        mask[0, 1:, 2:] = False
        seen = module.norm(block.tokens.flatten(1, 2))
        want, _ = twin(module.queries.expand(3, -1, -1), seen, seen, key_padding_mask=~mask.flatten(1))
        got = module(TokenBlock("x", block.tokens, mask))["tokens"].tokens[:, 0]
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 200])
def test_a_sequence_of_any_length_gives_what_was_announced(length):
    piece = conv_transformer.affectkit_pieces()[0]
    sequence = Shape("tokens", 1, length, 8)
    announced_equals_built(piece, conv_transformer.Settings(**SMALL), tokens=sequence)
    padding_never_leaks(piece, conv_transformer.Settings(**SMALL), tokens=Shape("tokens", 1, length + 1, 8))


def test_settings_that_cannot_be():
    assert {n for n, _ in conv_transformer.Settings(kernel=4, heads=3).problems()} == {"kernel", "heads"}
    assert [n for n, _ in strided.Settings(stride=4, kernel=2).problems()] == ["kernel"]
    assert concat_tokens.Settings(group=0).problems()
    with pytest.raises(InputError, match=r"heads must divide the width of the tokens \(8\), got 3"):
        attention.shapes(attention.Settings(heads=3), {"tokens": Shape("tokens", 1, 4, 8)}, None)
    with pytest.raises(InputError, match="nothing fills the port 'tokens'"):
        mean.shapes(mean.Settings(), {}, None)


def contours(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy log-mel-like frames [count 1 100 20] whose ridge rises, falls, stays or trembles; and which."""
    g = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 4, (count,), generator=g)
    time = torch.linspace(-0.5, 0.5, 100)
    slope = torch.tensor([6.0, -6.0, 0.0, 0.0])[kind, None] * time
    tremor = torch.where(kind == 3, 2.0, 0.0)[:, None] * torch.sin(60 * time)
    ridge = 10 + torch.randn(count, 1, generator=g) * 2 + slope + tremor
    frames = torch.exp(-((torch.arange(20.0) - ridge[..., None]) ** 2) / 2)
    return (frames + 0.3 * torch.randn(frames.shape, generator=g))[:, None], kind


@pytest.mark.usefixtures("one_thread")
def test_the_sequence_encoder_learns_a_contour():
    torch.manual_seed(0)
    settings = conv_transformer.Settings(channels=16, width=32, layers=1, heads=2, out=1)
    encoder = conv_transformer.build(settings, {"tokens": Shape("tokens", 1, 100, 20)}, None)
    model = torch.nn.ModuleList([encoder, torch.nn.Linear(32, 4)])
    frames, kind = contours(256, 0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def logits(x: torch.Tensor) -> torch.Tensor:
        block = TokenBlock("x", x, torch.ones(x.shape[:3], dtype=torch.bool))
        return model[1](encoder(block)["tokens"].tokens[:, 0, 0])

    for step in range(60):
        rows = torch.arange(step * 32, step * 32 + 32) % 256
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits(frames[rows]), kind[rows]).backward()
        optimiser.step()
    unseen, truth = contours(256, 1)
    with torch.no_grad():
        assert (logits(unseen).argmax(1) == truth).float().mean() > 0.8
