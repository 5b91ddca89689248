"""Standardised features: the scale is that of the real tokens, to the last digits, wherever they lie."""

import pytest
import torch
from affectkit_plugins.adapters.standardise_net import Standardise

from affectkit.blocks import TokenBlock
from affectkit.errors import RunError
from affectkit.sample import Sample


def batches(tokens, mask, size=3):
    parts = [(tokens[i : i + size], mask[i : i + size]) for i in range(0, len(tokens), size)]
    samples = [Sample(f"s{i}") for i in range(size)]
    return lambda: [({"tokens": TokenBlock("tokens", x, m)}, samples[: len(x)]) for x, m in parts]


def far_features():
    """Eight rows near 420, two channels a thousand times as large, one that never changes; junk under the mask."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randn(8, 2, 5, 6, generator=generator) + 420
    tokens[..., :2] *= 1000
    tokens[..., 5] = 420.123
    mask = torch.rand(8, 2, 5, generator=generator) > 0.3
    mask[0] = False
    return tokens.masked_fill(~mask[..., None], float("nan")), mask


def test_mean_and_spread_are_those_of_the_real_tokens_in_float64():
    tokens, mask = far_features()
    module = Standardise(6)
    assert not module.fitted
    module.fit(batches(tokens, mask))
    real = tokens[mask].double()
    assert module.fitted
    assert torch.equal(module.mean, real.mean(0).float())
    assert torch.allclose(module.spread[:5].double(), real.std(0, correction=0)[:5], rtol=1e-6, atol=0)
    assert module.spread[5] == 1
    out = module(TokenBlock("tokens", tokens, mask))["tokens"]
    assert torch.equal(out.mask, mask)
    assert bool((out.tokens[~mask] == 0).all())
    assert out.tokens[mask][:, :5].mean(0).abs().max() < 1e-3
    assert (out.tokens[mask][:, :5].std(0, correction=0) - 1).abs().max() < 1e-3
    assert out.tokens[mask][:, 5].abs().max() < 1e-3


def test_batches_change_nothing():
    tokens, mask = far_features()
    one, many = Standardise(6), Standardise(6)
    one.fit(batches(tokens, mask, 8))
    many.fit(batches(tokens, mask, 1))
    assert torch.allclose(one.spread, many.spread, rtol=1e-6)
    assert torch.allclose(one.mean, many.mean, rtol=1e-7)


def test_without_any_token_it_is_not_fitted():
    tokens, mask = far_features()
    module = Standardise(6)
    module.fit(batches(tokens, torch.zeros_like(mask)))
    assert not module.fitted


def test_a_feature_that_is_not_finite_is_told_with_its_sample():
    tokens, mask = far_features()
    tokens[4][mask[4]] = float("inf")
    with pytest.raises(RunError, match=r"features of s1 \(1 in its batch\) are not finite"):
        Standardise(6).fit(batches(tokens, mask))


def test_in_half_precision_the_scale_keeps_its_digits():
    tokens, mask = far_features()
    module = Standardise(6)
    module.fit(batches(tokens, mask))
    mean = module.mean.clone()
    module.to(torch.bfloat16)
    assert torch.equal(module.mean, mean)
    half = module(TokenBlock("tokens", tokens.bfloat16(), mask))["tokens"]
    assert half.tokens.dtype == torch.bfloat16
