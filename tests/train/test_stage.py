"""Learning rates over a stage: the defaults as they were, and published schedules to the digit."""

import math

import pytest

from affectkit.recipe.sections import StageSettings
from affectkit.train.stage import rate_factor


def rates(total, **settings):
    """The learning rate of every step."""
    made = StageSettings(train=("x",), **settings)
    return [made.lr * rate_factor(step, made, total) for step in range(total)]


def test_the_default_rises_from_nothing_and_falls_to_nothing():
    found = rates(100, lr=1.0, warmup=0.1)
    assert found[0] == 1 / 11
    assert found[9] == 10 / 11
    assert found[10] == 1.0
    assert found[55] == 0.5 * (1 + math.cos(math.pi * 45 / 90))
    assert 0 < found[-1] < 1e-3
    assert rates(100, lr=1.0, warmup=0.1, scheduler="linear")[55] == 0.5
    assert set(rates(50, lr=1.0, warmup=0.0, scheduler="constant")) == {1.0}


def test_a_warm_up_in_steps_needs_no_share():
    assert rates(100, lr=1.0, warmup_steps=10) == rates(100, lr=1.0, warmup=0.1)
    assert rates(10, lr=1.0, warmup_steps=0, warmup=0.5) == rates(10, lr=1.0, warmup=0.0)
    assert len(set(rates(5, lr=1.0, warmup_steps=20))) == 5, "a stage shorter than its warm-up only rises"


def test_the_published_schedule_of_minigpt_v2():
    """A straight rise over 1,000 steps, then a cosine that counts from step 0 and ends above nothing."""
    top, low, first, rise, total = 1e-5, 1e-6, 1e-6, 1000, 30_000
    found = rates(total, lr=top, min_lr=low, warmup_lr=first, warmup_steps=rise, fall="from_start")
    for step in (0, 1, 499, 999):
        assert found[step] == pytest.approx(first + (top - first) * step / rise, rel=1e-12)
    for step in (1000, 1001, 15_000, 29_999):
        assert found[step] == pytest.approx(low + (top - low) * 0.5 * (1 + math.cos(math.pi * step / total)), rel=1e-12)
    assert found[1000] < found[999] < top, "the rate dips at the hand-over"
    assert min(found) >= low


def test_the_fall_may_be_measured_from_the_end_of_the_warm_up():
    found = rates(100, lr=1.0, min_lr=0.1, warmup_steps=20, scheduler="linear")
    assert found[20] == 1.0
    assert found[60] == pytest.approx(0.1 + 0.9 * 0.5)


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"min_lr": 2.0}, "min_lr"), ({"warmup_lr": 2.0}, "warmup_lr"), ({"warmup_steps": -1}, "warmup_steps")],
)
def test_rates_that_mean_nothing_are_refused(settings, field):
    assert [n for n, _ in StageSettings(train=("x",), lr=1.0, **settings).problems()] == [field]
