"""Answers: scores of given continuations, greedy writing, and that neither depends on its neighbours."""

import functools
import logging
import warnings

import pytest
import torch
from packed_rows import backbone

from affectkit.errors import InputError
from affectkit.model.packing import LMInput

FAMILIES = ["llama", "qwen3", "gemma3_text", "phi3", "gpt2", "opt", "bloom", "gemma2", "mamba"]
LENGTHS = (9, 1, 30, 4, 17, 2)
OPTIONS = [
    [[5], [9, 8], [4, 4, 4, 7]],
    [[6]],
    [[30, 31, 32], [5, 5]],
    [[5, 6], [5, 7]],
    [[8], [9], [10]],
    [[11, 12, 13, 14, 15]],
]


def prompts(lm, lengths=LENGTHS, seed=3):
    ids = torch.randint(3, 250, (sum(lengths),), generator=torch.Generator().manual_seed(seed))
    return ids, LMInput(
        lm.embed(ids).detach(),
        torch.cat([torch.arange(n) for n in lengths]),
        tuple(lengths),
        torch.full((sum(lengths),), -100),
    )


def plain_logits(lm, ids):
    """The family's own attention on one whole sequence, without cache or layout."""
    was = lm.core.config._attn_implementation
    if lm.packs:
        lm.core.set_attn_implementation("eager")
    with torch.no_grad():
        logits = lm.core(input_ids=ids[None], use_cache=False).logits[0].float()
    if lm.packs:
        lm.core.set_attn_implementation(was)
    return logits


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_equal_the_model_on_each_whole_sequence(family):
    lm = backbone(family)
    ids, row = prompts(lm)
    got = lm.score(row, OPTIONS)
    lm.eval()
    for prompt, options, found in zip(ids.split(LENGTHS), OPTIONS, got, strict=True):
        for candidate, value in zip(options, found, strict=True):
            answer = torch.tensor(candidate)
            logs = plain_logits(lm, torch.cat([prompt, answer])).log_softmax(-1)[len(prompt) - 1 : -1]
            assert value == pytest.approx(logs.gather(1, answer[:, None]).sum().item(), abs=2e-5, rel=1e-5)


def test_scores_hold_the_window():
    lm = backbone("mistral", window=4)
    ids, row = prompts(lm)
    for prompt, options, found in zip(ids.split(LENGTHS), OPTIONS, lm.score(row, OPTIONS), strict=True):
        for candidate, value in zip(options, found, strict=True):
            answer = torch.tensor(candidate)
            logs = plain_logits(lm, torch.cat([prompt, answer])).log_softmax(-1)[len(prompt) - 1 : -1]
            assert value == pytest.approx(logs.gather(1, answer[:, None]).sum().item(), abs=2e-5, rel=1e-5)


def test_the_prompt_is_read_once():
    lm = backbone()
    _, row = prompts(lm)
    seen = []
    lm.core.model.register_forward_hook(lambda m, a, k, o: seen.append(k["inputs_embeds"].shape[1]), with_kwargs=True)
    lm.score(row, OPTIONS)
    assert seen == [sum(LENGTHS) + sum(len(c) - 1 for o in OPTIONS for c in o)]


def test_scores_leave_no_gradients_and_the_mode_as_it_was():
    lm = backbone(dropout=0.5).train()
    lm.core.lm_head.eval()
    _, row = prompts(lm)
    assert lm.score(row, OPTIONS) == lm.score(row, OPTIONS)
    assert lm.training
    assert not lm.core.lm_head.training
    assert all(p.grad is None for p in lm.parameters())


@pytest.mark.parametrize(("options", "words"), [([[[1], []]], "empty candidate"), ([], "candidates for 0")])
def test_what_cannot_be_scored_is_said(options, words):
    lm = backbone()
    _, row = prompts(lm, (4,))
    with pytest.raises(InputError, match=words):
        lm.score(row, options)


def naive(lm, prompt, most, ends):
    """Greedy writing the slow way: the whole sequence again for every token."""
    ids, written = prompt, []
    for _ in range(most):
        written.append(plain_logits(lm, ids)[-1].argmax().item())
        ids = torch.cat([ids, torch.tensor(written[-1:])])
        for end in ends:
            if written[-len(end) :] == list(end):
                return written[: -len(end)]
    return written


@pytest.mark.parametrize("family", FAMILIES)
def test_written_answers_equal_the_slow_way(family):
    lm = backbone(family).eval()
    ids, row = prompts(lm)
    free = [naive(lm, p, 10, []) for p in ids.split(LENGTHS)]
    stops = [free[2][3:5], free[0][6:7]]  # one of two tokens, one of a single token
    want = [naive(lm, p, 10, [lm.end_ids, *stops]) for p in ids.split(LENGTHS)]
    got = lm.generate(row, 10, stops)
    assert got == want
    assert len({len(a) for a in got}) > 1


def test_windows_hold_while_writing():
    lm = backbone("mistral", window=4).eval()
    ids, row = prompts(lm)
    assert lm.generate(row, 8, []) == [naive(lm, p, 8, [lm.end_ids]) for p in ids.split(LENGTHS)]


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_answers_do_not_depend_on_the_batch(family):
    lm = backbone(family).eval()
    lengths = tuple(3 + (7 * i) % 40 for i in range(32))
    _, row = prompts(lm, lengths)
    options = [[[5, 9], [7], [11, 12, 13]]] * 32

    def answers(size):
        words, scores = [], []
        for at in range(0, 32, size):
            span = slice(sum(lengths[:at]), sum(lengths[: at + size]))
            part = LMInput(row.embeds[span], row.position_ids[span], lengths[at : at + size], row.labels[span])
            words += lm.generate(part, 12, [])
            scores += lm.score(part, options[:size])
        return words, scores

    (one, scores), *others = answers(1), answers(8), answers(32)
    for words, found in others:
        assert words == one
        torch.testing.assert_close(torch.tensor(found), torch.tensor(scores), atol=2e-5, rtol=1e-5)


def test_an_answer_may_end_at_once_and_may_fill_its_room():
    lm = backbone().eval()
    _, row = prompts(lm, (5, 6))
    first = lm.generate(row, 1, [])
    assert [len(a) for a in first] == [1, 1]
    assert lm.generate(row, 5, [first[0]])[0] == []
    assert lm.generate(row, 0, []) == [[], []]


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "gemma2"])
def test_an_answer_ends_where_the_context_does(family):
    lm = backbone(family, context=32).eval()
    assert lm.context == 32
    lengths = (30, 32, 5, 1)
    _, row = prompts(lm, lengths)
    together = lm.generate(row, 40, [])
    for length, answer in zip(lengths, together, strict=True):
        assert len(answer) <= 32 - length + 1
    lone = []
    for part in row.embeds.split(lengths):
        one = LMInput(part, torch.arange(len(part)), (len(part),), torch.full((len(part),), -100))
        lone += lm.generate(one, 40, [])
    assert lone == together


@pytest.mark.parametrize("family", ["llama", "mamba"])
def test_logits_that_are_not_finite_give_no_answer(family):
    lm = backbone(family).eval()
    _, row = prompts(lm, (5, 6, 4))
    row.embeds[6] = float("nan")
    found = lm.generate(row, 4, [])
    assert found[1] is None
    assert found[0] is not None
    assert found[2] is not None


@pytest.mark.parametrize(
    ("told", "places"),
    [
        ({"max_position_embeddings": 64}, 64),
        ({"max_position_embeddings": 64, "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}, 256),
        (
            {
                "max_position_embeddings": 256,
                "rope_parameters": {
                    "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 1e4,
                },
            },
            256,
        ),
    ],
)  # fmt: skip
def test_the_context_is_that_of_the_config(told, places):
    from affectkit_plugins.backbones.language_models_net import context_of
    from transformers import BloomConfig, LlamaConfig

    assert context_of(LlamaConfig(**told)) == places
    assert context_of(BloomConfig()) is None


def forgetful(family, monkeypatch):
    """Have the family's forward take its cache and not use it."""
    from transformers import AutoModelForCausalLM

    config = backbone(family).core.config
    model = AutoModelForCausalLM._model_mapping[type(config)]
    honest = model.forward

    @functools.wraps(honest)
    def forward(self, *args, **more):
        for name in ("cache", "past_key_values", "cache_params"):
            more.pop(name, None)
        return honest(self, *args, **more)

    monkeypatch.setattr(model, "forward", forward)


def nameless(family, monkeypatch):
    """Have the family call its cache as nobody does."""
    from affectkit_plugins.backbones import reading_net

    monkeypatch.setattr(reading_net, "CACHES", ("souvenirs",))


@pytest.mark.parametrize("family", ["llama", "mamba", "bloom"])
@pytest.mark.parametrize("spoil", [forgetful, nameless])
def test_a_cache_that_is_not_understood_is_not_used_and_that_is_said(family, spoil, monkeypatch, caplog):
    spoil(family, monkeypatch)
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="affectkit_plugins"):
        lm = backbone(family).eval()
    assert f"the cache of {family} is not understood (" in caplog.text  # why, in brackets
    assert "the slow way" in caplog.text
    ids, row = prompts(lm)
    assert lm.generate(row, 8, []) == [naive(lm, p, 8, [lm.end_ids]) for p in ids.split(LENGTHS)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cache_that_is_understood_is_used_without_a_word(family, caplog):
    with caplog.at_level(logging.WARNING, logger="affectkit_plugins"):
        lm = backbone(family).eval()
    assert "slow way" not in caplog.text
    _, row = prompts(lm, (7,))
    read = []
    lm.core.register_forward_pre_hook(lambda m, a, k: read.append(k["inputs_embeds"].shape[1]), with_kwargs=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "`(cache|past)_", FutureWarning)
        assert lm.generate(row, 4, [])
    assert read[:2] == [7, 1]
