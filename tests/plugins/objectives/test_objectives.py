"""Values of the objectives that ship, against what they stand for."""

import math

import pytest
import torch
from affectkit_plugins.objectives import contrastive, label_words
from affectkit_plugins.objectives._similarity_net import Similarity
from torch.nn import functional as F

from affectkit import InputError, Sample, Shape, Targets, TokenBlock
from affectkit.objectives import ModelOutputs

WIDTH, LABELS = 6, ("happy", "sad", "angry")


def block(name, rows, seed, empty=()):
    drawn = torch.randn(rows, 2, 3, WIDTH, generator=torch.Generator().manual_seed(seed))
    mask = torch.ones(rows, 2, 3, dtype=torch.bool)
    mask[0, 1] = False
    mask[list(empty)] = False
    return TokenBlock(name, drawn, mask)


def words(texts):
    return torch.stack([torch.full((WIDTH,), float(len(text))) + torch.arange(WIDTH) * len(text) % 5 for text in texts])


def built(piece, inputs, **settings):
    return piece.build(piece.Settings(**settings), inputs, Targets(LABELS))


def pair(**settings):
    return built(contrastive, {n: Shape(time=2, tokens=3, width=WIDTH) for n in "ab"}, **settings)


def loss(module, blocks, labels):
    samples = [Sample(str(i), label=label) for i, label in enumerate(labels)]
    return module(blocks, samples, ModelOutputs(words))


def test_contrastive_is_clips_loss_where_no_label_is_shared():
    a, b = block("a", 5, 0), block("b", 5, 1, empty=[2])
    found = loss(pair(temperature=0.5), {"a": a, "b": b}, [None] * 5)
    rows = [0, 1, 3, 4]
    logits = F.normalize(a.mean()[rows], dim=1) @ F.normalize(b.mean()[rows], dim=1).T / 0.5
    truth = torch.arange(4)
    wanted = (F.cross_entropy(logits, truth, reduction="sum") + F.cross_entropy(logits.T, truth, reduction="sum")) / 2
    torch.testing.assert_close(found, wanted)
    assert pair().count([], {"a": [True, True, False], "b": [True, False, False]}) == 1


def test_samples_of_one_label_are_masked_or_positive():
    blocks = {"a": block("a", 4, 0), "b": block("b", 4, 1)}
    labels = ["happy", "happy", "sad", None]
    found = {same: loss(pair(same_label=same), blocks, labels) for same in ("masked", "positive", "negative")}
    logs = (F.normalize(blocks["a"].mean(), dim=1) @ F.normalize(blocks["b"].mean(), dim=1).T / 0.07).detach()
    other = logs.clone()
    other[0, 1] = other[1, 0] = -math.inf
    masked = sum(F.cross_entropy(x, torch.arange(4), reduction="sum") for x in (other, other.T)) / 2
    torch.testing.assert_close(found["masked"], masked)
    assert found["masked"] < found["negative"]
    both = [[0, 1], [0, 1], [2], [3]]
    ways = [-sum(x.log_softmax(1)[i, p].mean() for i, p in enumerate(both)) for x in (logs, logs.T)]
    torch.testing.assert_close(found["positive"], sum(ways) / 2)
    for each in found.values():
        each.backward()
    assert all(torch.isfinite(each) for each in found.values())


def test_a_temperature_that_has_come_too_low_learns_to_rise():
    found = Similarity(0.0101, True)
    with torch.no_grad():
        found.log_scale.fill_(9.0)
    found(torch.eye(3), torch.eye(3).flip(0)).diagonal().sum().backward()
    assert float(found.log_scale.detach().exp()) == pytest.approx(100)
    assert float(found.log_scale.grad) > 0
    for module in (contrastive, label_words):
        assert module.Settings(temperature=0.005).problems()[0][0] == "temperature"


def test_a_temperature_is_learned_or_fixed_and_projections_meet():
    assert [n for n, _ in pair().named_parameters()] == ["similarity.log_scale"]
    assert not list(pair(learned=False).parameters())
    assert pair(width=4).a.weight.shape == (4, WIDTH)
    with pytest.raises(InputError, match="are 6 and 8 wide"):
        built(contrastive, {"a": Shape(width=6), "b": Shape(width=8)})


def test_label_words_choose_among_the_words_of_the_set():
    module = built(label_words, {"tokens": Shape(width=WIDTH)}, temperature=0.5, text="feels {label}")
    tokens = block("tokens", 4, 3, empty=[3])
    samples = [
        Sample("0", label="sad"),
        Sample("1", labels={"happy": 1.0, "angry": 3.0}),
        Sample("2"),
        Sample("3", label="sad"),
    ]
    found = module({"tokens": tokens}, samples, ModelOutputs(words))
    vectors = words([f"feels {label}" for label in LABELS])
    logits = F.normalize(tokens.mean()[:2], dim=1) @ F.normalize(vectors, dim=1).T / 0.5
    wanted = F.cross_entropy(logits, torch.tensor([[0, 1, 0], [0.25, 0, 0.75]]), reduction="sum")
    torch.testing.assert_close(found, wanted)
    assert module.count(samples, {"tokens": [True, True, True, False]}) == 2
    with pytest.raises(InputError, match="wants a label set of at least two"):
        label_words.build(label_words.Settings(), {}, Targets(("happy",)))
