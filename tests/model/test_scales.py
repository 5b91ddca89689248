"""The size of streams' tokens beside words: what is real counts, and what is far apart is told with its fix."""

import pytest
import torch

from affectkit.blocks import TokenBlock
from affectkit.model.scales import rms_of, unequal


def test_only_what_is_real_counts():
    tokens = torch.tensor([3.0, 4.0, 1e9]).reshape(1, 1, 3, 1)
    mask = torch.tensor([True, True, False]).reshape(1, 1, 3)
    assert rms_of(TokenBlock("tokens", tokens, mask)) == pytest.approx(12.5**0.5)
    assert rms_of(TokenBlock("tokens", tokens, ~mask & False)) is None


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0.6, ""),
        (1.9, ""),
        (240.0, "12,000 times as large as the words of the prompt (RMS 240 and 0.02): the LLM may see little else"),
        (0.00001, "0.0005 of the size of the words of the prompt (RMS 1e-05 and 0.02): the LLM may not see them"),
        (0.0, "0 of the size of"),
    ],
)
def test_a_hundred_times_are_told_of(size, told):
    found = unequal({"face": size, "words": 0.02})
    assert set(found) == ({"face"} if told else set())
    assert told in found.get("face", "")
    if told:
        assert found["face"].startswith("the tokens of the stream face are ")
        assert "standardise" in found["face"]


def test_without_words_there_is_nothing_to_compare_with():
    assert unequal({"face": 100.0}) == {}
