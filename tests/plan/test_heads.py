"""Heads in a recipe: where they are named, what they read, and every mistake with its place."""

import pytest

from affectkit import InputError, check

BASE = """
name: heads
data: {use: puppets, count: 60, val: 0.1, test: 0.3}
views:
  frames: {use: frames, pick: uniform, count: 2}
streams:
  scene: {steps: {encoder: {use: image_patches, pixels: frames}}}
backbone: null
heads:
  emotion: {use: classifier, tokens: [scene.encoder]}
stages:
  head: {train: [heads.emotion], objective: heads.emotion}
score: {metrics: {uar: uar}}
"""


def problems(*overrides):
    with pytest.raises(InputError) as caught:
        check(BASE, overrides)
    return str(caught.value)


def test_a_head_answers_alone():
    plan = check(BASE)
    assert plan.alone
    assert plan.heads == {"emotion": "label"}
    assert plan.method("label") == "emotion"
    assert plan.stages["head"].trains == ("heads.emotion",)
    assert plan.demand(plan.stages["head"]).blocks == {"scene.encoder": ("patches",)}
    assert plan.demand().rest == ["heads.emotion"]
    again = check({**plan.recipe.values})
    assert again.heads == plan.heads


def test_what_check_prints_in_full_is_the_same_recipe():
    from affectkit.plan.summary import full_recipe

    plan = check(BASE)
    full = check(full_recipe(plan))
    assert full.heads == plan.heads
    assert full.graph.steps["heads.emotion"].inputs == plan.graph.steps["heads.emotion"].inputs


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("heads.emotion.use=classifer", "heads.emotion.use: unknown head 'classifer'"),
        ("heads.emotion.tokens=[scene.encodr]", "unknown step 'scene.encodr'"),
        ("heads.emotion.tokens=[scene.encoder.patch]", "unknown block 'scene.encoder.patch'"),
        ("heads.emotion.tokens=frames", "the port 'tokens' eats tokens, but frames is pixels"),
        ("heads.emotion.dropout=2", "heads.emotion.dropout: must be from 0 to below 1"),
        ("heads.emotion=null", "there is no LLM, and no head that answers"),
        ("heads.yardstick=${heads.emotion}", "heads.yardstick: 'yardstick' says already how else a label is found"),
        ("score.method=emotions", "unknown method 'emotions'"),
        ("stages.head.objective=heads.emotoin", "unknown step 'heads.emotoin'"),
        ("stages.head.objective=scene.encoder", "which has no loss of its own"),
        ("stages.head.objective=''", "a stage trains a head's loss where there is no LLM"),
        ("heads.idle={use: linear_probe, tokens: scene.encoder}", "no stage trains the head 'idle'"),
        ("score.yardstick.use=linear_prob", "unknown head 'linear_prob'"),
        ("prompt={use: template, parts: {ask: {use: label_question}}}", "there is no LLM that a prompt could go to"),
        ("streams.scene.steps.projector={use: mlp}", "brings tokens to the LLM's width, and there is no LLM"),
    ],
)
def test_a_mistake_is_told_with_its_place(override, told):
    assert told in problems(override)


def test_a_stream_that_no_head_reads_is_a_mistake():
    extra = "streams.other={steps: {encoder: {use: image_patches, pixels: frames}}}"
    assert "nobody uses the stream 'other'" in problems(extra)
    assert "let a head read it" in problems(extra)


def test_a_metric_of_what_no_head_answers_is_refused(tmp_path):
    plugin = tmp_path / "numbers.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "import affectkit\n"
        "@dataclass(frozen=True)\n"
        "class Settings:\n"
        '    """The mean of ratings."""\n'
        "    def asks(self):\n"
        '        return "numbers", ""\n'
        "def build(settings):\n"
        '    return lambda predictions, labels: {"value": None}\n'
        "@affectkit.hookimpl\n"
        "def affectkit_pieces():\n"
        '    return [affectkit.Piece("metric", "mean_rating", Settings, build)]\n'
    )
    with pytest.raises(InputError, match="scores the task 'numbers', which no head answers"):
        check(BASE, ["score.metrics.mine=mean_rating"], plugins=[plugin])
    made = check(
        BASE,
        [
            "score.metrics.mine=mean_rating",
            "heads.emotion={use: regression, tokens: [scene.encoder]}",
            "score.metrics.uar=null",
        ],
        [plugin],
    )
    assert made.method("numbers") == "emotion"


RATED = """
name: rated
data: {use: puppets, count: 60, val: 0.1, test: 0.3}
views: {wave: {use: wave}}
streams: {voice: {steps: {encoder: {use: log_mel, wave: wave}, projector: {use: mlp}}}}
prompt:
  use: template
  parts: {voice: {use: slot, stream: voice}, ask: {use: numbers_question, numbers: {valence: [-1, 1]}}}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
stages: {tune: {train: [streams.voice.projector], tasks: {numbers: 1}}}
score: {metrics: {ccc: ccc}}
"""


def test_the_yardstick_answers_what_the_llm_is_asked():
    plan = check(RATED)
    assert plan.yardstick.piece.answers(plan.yardstick.settings) == "numbers"
    assert check(RATED, ["score.yardstick=null"]).yardstick is None


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("score.metrics.uar=uar", "the metric 'uar' scores the task 'label', which no part of the prompt asks"),
        ("score.yardstick={use: nearest_mean}", "'nearest_mean' answers label, and the LLM is asked for numbers"),
    ],
)
def test_what_a_recipe_of_ratings_has_no_use_for_is_refused(override, told):
    with pytest.raises(InputError) as caught:
        check(RATED, [override])
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("named", "wrong"),
    [
        ("scene.encodr", "unknown step 'scene.encodr'"),
        ("scene.encoder.patch", "unknown block 'scene.encoder.patch'"),
    ],
)
def test_a_wrong_setting_hides_no_wrong_port(named, wrong):
    found = problems(f"heads.emotion={{use: classifier, dropout: 2, tokens: [{named}]}}")
    assert found.count("dropout: must be") == found.count(wrong) == 1


def test_a_port_that_a_wrong_block_does_not_name_is_not_reported_on_top():
    found = problems("heads.emotion={use: classifier, dropout: 2, tokns: [scene.encoder]}")
    assert "did you mean 'tokens'?" in found
    assert "nothing fills" not in found
