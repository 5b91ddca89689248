"""Packed rows: samples laid end to end cost, teach and see exactly what they do one by one."""

import logging

import pytest
import torch
from affectkit_plugins.backbones import packed_attention_net as packed
from affectkit_plugins.backbones.causal_lm import Lora, Settings
from affectkit_plugins.backbones.causal_lm_net import alone
from packed_rows import backbone, row

from affectkit.model.packing import LMInput

PACKING = ["llama", "qwen2", "qwen3", "mistral", "gemma3_text", "phi3", "gpt2", "opt"]
LEAKING = ["bloom", "falcon", "gemma2", "mamba"]


def gradients(lm, rows):
    lm.zero_grad()
    total, count = 0.0, 0
    for r in rows:
        r.embeds.grad = None
        loss, n = lm.loss(r)
        loss.backward()
        total, count = total + loss.item(), count + n
    return total, count, {n: p.grad.clone() for n, p in lm.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", PACKING)
def test_packed_loss_and_gradients_equal_one_by_one(family):
    lm = backbone(family)
    assert lm.packs
    together = row(lm)
    one_by_one = [
        LMInput(p.embeds.detach().requires_grad_(), p.position_ids, p.lengths, p.labels) for p in alone(together)
    ]
    loss, count, grads = gradients(lm, [together])
    loss_alone, count_alone, grads_alone = gradients(lm, one_by_one)
    assert count == count_alone > 10
    assert loss / count == pytest.approx(loss_alone / count, abs=1e-5)
    assert grads.keys() == grads_alone.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(
            grad / count, grads_alone[name] / count, atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )
    slots = torch.cat([r.embeds.grad for r in one_by_one])
    torch.testing.assert_close(together.embeds.grad, slots, atol=1e-5, rtol=1e-5)
    assert slots.abs().sum() > 0


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gpt2"])
def test_the_loss_is_the_models_own(family):
    lm = backbone(family)
    together = row(lm)
    lm.core.set_attn_implementation("eager")
    want = torch.zeros(())
    for part in alone(together):
        logits = lm.core(inputs_embeds=part.embeds[None], use_cache=False).logits[0, :-1]
        if len(logits):
            want = want + torch.nn.functional.cross_entropy(logits, part.labels[1:], reduction="sum")
    lm.core.set_attn_implementation(packed.NAME)
    loss, count = lm.loss(together)
    assert loss.item() / count == pytest.approx(want.item() / count, abs=1e-5)


@pytest.mark.parametrize("family", LEAKING)
def test_a_family_that_leaks_runs_one_sample_a_row_and_says_so(family, caplog):
    more = {"vocabulary": 300}
    with caplog.at_level(logging.WARNING, logger="affectkit_plugins"):
        lm = backbone(family, **more)
    assert not lm.packs
    assert "one sample a row" in caplog.text
    assert family in caplog.text
    together = row(lm)
    loss, count = lm.loss(together)
    parts = [lm.loss(p) for p in alone(together)]
    assert count == sum(n for _, n in parts)
    assert loss.item() == pytest.approx(sum(v.item() for v, _ in parts), rel=1e-5)
    moved = LMInput(together.embeds.detach().clone(), together.position_ids, together.lengths, together.labels)
    moved.embeds[:7] = 0  # the first sample; the others must not notice
    rest = LMInput(together.embeds[7:], together.position_ids[7:], together.lengths[1:], together.labels[7:])
    first = LMInput(moved.embeds[:7], moved.position_ids[:7], (7,), moved.labels[:7])
    assert lm.loss(moved)[0].item() == pytest.approx(lm.loss(first)[0].item() + lm.loss(rest)[0].item(), rel=1e-5)


@pytest.mark.parametrize("family", ["mistral", "qwen2", "phi3"])
def test_the_window_holds_in_packed_rows(family):
    lm = backbone(family, window=4, layers=1)
    assert lm.packs
    together = row(lm, (12, 12))
    embeds = together.embeds.detach().clone()
    embeds[12] = 0  # out of sight of place 17 and later ones, in sight of place 15
    more = {"position_ids": together.position_ids[None], "layout": packed.Packed((12, 12))}
    before = lm.logits(together.embeds[None], torch.arange(24), more)
    after = lm.logits(embeds[None], torch.arange(24), more)
    torch.testing.assert_close(before[16:], after[16:])
    torch.testing.assert_close(before[:12], after[:12])
    assert (before[15] - after[15]).abs().max() > 1e-4


def test_the_check_sees_a_leak(monkeypatch):
    from affectkit_plugins.backbones import language_models_net as models

    config = models.stand_in_config(Settings(), 64)
    assert models.packs(config)

    with monkeypatch.context() as patch:
        honest = packed.Packed.attend
        patch.setattr(packed.Packed, "attend", lambda s, q, k, v, t: honest(packed.Packed((q.shape[2],)), q, k, v, t))
        assert not models.packs(config)
    windowed = models.stand_in_config(Settings(family="mistral", window=4), 64)
    with monkeypatch.context() as patch:
        patch.setattr(
            packed,
            "_causal",
            lambda q, k, v, t: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        )
        assert not models.packs(windowed)


def test_a_check_that_breaks_says_why(monkeypatch, caplog):
    from affectkit_plugins.backbones import language_models_net as models

    def breaks(*_):
        raise RuntimeError("no such layer")

    monkeypatch.setattr(models, "_keeps_apart", breaks)
    assert not models.packs(models.stand_in_config(Settings(), 64))
    assert "llama cannot keep packed samples apart (RuntimeError('no such layer'))" in caplog.text


def test_the_check_leaves_the_random_numbers_alone():
    from affectkit_plugins.backbones import language_models_net as models

    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    models.packs(models.stand_in_config(Settings(), 64))
    assert torch.equal(torch.rand(3), want)


def test_first_places_are_not_predicted_from_a_neighbour():
    lm = backbone()
    together = row(lm)
    labels = together.labels.clone()
    labels[[0, 7, 8]] = 5
    firsts = LMInput(together.embeds, together.position_ids, together.lengths, labels)
    without = labels.clone()
    without[[0, 7, 8]] = -100
    assert lm.loss(firsts)[1] == lm.loss(LMInput(together.embeds, together.position_ids, together.lengths, without))[1]


def test_a_row_without_labels_costs_nothing_and_has_gradients():
    lm = backbone()
    together = row(lm)
    bare = LMInput(together.embeds, together.position_ids, together.lengths, torch.full_like(together.labels, -100))
    loss, count = lm.loss(bare)
    loss.backward()
    assert (loss.item(), count) == (0.0, 0)
    assert all(p.grad is not None and not p.grad.any() for p in lm.parameters())


def test_only_supervised_places_reach_the_head():
    lm = backbone()
    together = row(lm)
    seen = []
    lm.core.lm_head.register_forward_hook(lambda m, i, o: seen.append(o.shape))
    count = lm.loss(together)[1]
    assert seen == [(1, count, lm.core.lm_head.out_features)]


def test_gradient_checkpointing_changes_nothing():
    plain, saving = backbone(), backbone(gradient_checkpointing=True)
    plain.train(), saving.train()
    a = gradients(plain, [row(plain)])
    b = gradients(saving, [row(saving)])
    assert a[0] == b[0]
    for name, grad in a[2].items():
        torch.testing.assert_close(grad, b[2][name])


def test_autocast_stays_near_float32():
    lm = backbone()
    together = row(lm)
    want, count = lm.loss(together)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = lm.loss(together)
    assert loss.dtype == torch.float32
    assert loss.item() / count == pytest.approx(want.item() / count, rel=0.05)


def test_lora_rows_pack_too():
    lm = backbone(lora=Lora(rank=2))
    for name, parameter in lm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    together = row(lm)
    loss, _ = lm.loss(together)
    assert loss.item() == pytest.approx(sum(lm.loss(p)[0].item() for p in alone(together)), rel=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_the_gpu_kernel_agrees_with_the_loop(family):
    more = {"window": 4} if family == "mistral" else {}
    lm = backbone(family, width=256, heads=4, **more).cuda()
    together = row(lm)
    want, count = lm.loss(together)
    with torch.autocast("cuda", torch.bfloat16):
        assert packed._low_precision(together.embeds[None]) == torch.bfloat16
        loss, _ = lm.loss(together)
        loss.backward()
    assert loss.item() / count == pytest.approx(want.item() / count, rel=0.05)
    assert together.embeds.grad.isfinite().all()
