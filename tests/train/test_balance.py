"""How often classes are drawn: as they come, by the square root of their frequency, equally."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from affectkit.model.batch import Order
from affectkit.recipe.sections import StageSettings
from affectkit.recipe.settings import read
from affectkit.sample import Sample

COUNTS = {"happy": 1600, "sad": 400, "fear": 100}
SAMPLES = [Sample(f"{label}{i}", label=label) for label, n in COUNTS.items() for i in range(n)]
SHARES = {
    "none": {"happy": 16 / 21, "sad": 4 / 21, "fear": 1 / 21},
    "sqrt": {"happy": 4 / 7, "sad": 2 / 7, "fear": 1 / 7},
    "equal": {"happy": 1 / 3, "sad": 1 / 3, "fear": 1 / 3},
}


def drawn(balance, epoch=0, seed=0):
    return [k.index for k in Order(SAMPLES, {"label": 1.0}, seed, 16, balance).epoch(epoch)]


@pytest.mark.parametrize("balance", SHARES)
def test_shares_of_classes(balance):
    indices = [i for epoch in range(4) for i in drawn(balance, epoch)]
    assert len(indices) == 4 * len(SAMPLES)  # an epoch is as long as without balance
    found = Counter(SAMPLES[i].label for i in indices)
    for label, share in SHARES[balance].items():
        assert found[label] / len(indices) == pytest.approx(share, abs=0.02), label


def test_draws_repeat_and_differ_by_epoch_and_seed():
    assert drawn("sqrt") == drawn("sqrt")
    assert drawn("sqrt") != drawn("sqrt", epoch=1)
    assert drawn("sqrt") != drawn("sqrt", seed=1)
    assert sorted(drawn("none")) == list(range(len(SAMPLES)))


def test_every_rank_draws_the_same_epoch():
    made = [Order(SAMPLES, {"label": 1.0}, 0, 8, "sqrt", world=2, rank=r).batches(0) for r in range(2)]
    together = [k for pair in zip(*made, strict=True) for batch in pair for k in batch]
    assert Counter(together) == Counter(Order(SAMPLES, {"label": 1.0}, 0, 16, "sqrt").epoch(0))


def test_the_page_shows_a_stage_that_is_right():
    page = (Path(__file__).parents[2] / "docs" / "cross.md").read_text()
    (block,) = [yaml.safe_load(b) for b in re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S)]
    made, problems = read(StageSettings, block["stages"]["tune"], str)
    assert problems == []
    assert made.balance == "sqrt"
