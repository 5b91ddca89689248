"""Several losses in a recipe: what runs for them, what they leave out, and every mistake with its place."""

import pytest

from affectkit import InputError, check
from affectkit.plan.summary import full_recipe, summary_rows

BASE = """
name: losses
data: {use: puppets, count: 60, val: 0.1, test: 0.3}
views:
  frames: {use: frames, pick: uniform, count: 2}
  wave: {use: wave, seconds: 2}
  question: {use: question}
streams:
  scene: {steps: {encoder: {use: image_patches, pixels: frames}, projector: {use: mlp}}}
  audio: {steps: {encoder: {use: log_mel, wave: wave}, adapter: {use: mean}, projector: {use: mlp}}}
prompt:
  use: template
  parts: {scene: {use: slot, stream: scene}, audio: {use: slot, stream: audio}, ask: {use: label_question}}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
heads:
  emotion: {use: classifier, tokens: [audio.adapter]}
stages:
  warm:
    train: [streams.*.projector]
    objective:
      near: {use: label_words, tokens: audio.projector}
      pair: {use: contrastive, a: scene.encoder, b: audio.adapter, width: 8, weight: 0.1}
  all:
    train: [streams.*.projector, backbone.model, heads.emotion]
    objective: {llm: 1.0, emotion: {use: head_loss, head: emotion, weight: 0.5}}
    tasks: {label: 1}
score: {metrics: {uar: uar}}
"""
ALONE = ["backbone=null", "prompt=null", "streams.scene=null", "streams.audio.steps.projector=null", "stages.warm=null"]


def problems(*overrides):
    with pytest.raises(InputError) as caught:
        check(BASE, overrides)
    return str(caught.value)


def test_losses_are_read_with_their_weights():
    plan = check(BASE, ["stages.warm.train=[audio.projector]"])
    warm, both = plan.stages["warm"], plan.stages["all"]
    assert [(one.name, one.weight) for one in warm.losses] == [("near", 1.0), ("pair", 0.1)]
    assert (warm.llm, both.llm) == (False, True)
    assert warm.trains == ("audio.projector", "objectives.warm.near", "objectives.warm.pair")
    assert both.losses[1].heads == ("emotion",)
    rows = dict(summary_rows(plan))
    assert rows["stage warm"].startswith("near (label_words) + 0.1 pair (contrastive); trains audio.projector;")
    assert rows["stage all"].startswith("tasks label + 0.5 emotion (head_loss); trains")


def test_only_what_the_losses_need_runs():
    plan = check(BASE, ["stages.warm.train=[audio.projector]"])
    warm = plan.demand(plan.stages["warm"])
    assert warm.rest == ["audio.projector"]
    assert warm.blocks == {"scene.encoder": ("patches",), "audio.adapter": ("tokens",)}
    assert plan.needed(plan.stages["all"]) == list(plan.graph.steps)
    assert "heads.emotion" not in plan.needed()


def test_what_check_prints_in_full_is_the_same_recipe():
    plan = check(BASE, ["stages.warm.train=[audio.projector]"])
    again = check(full_recipe(plan))
    assert again.stages["warm"] == plan.stages["warm"]
    assert again.stages["all"].settings == plan.stages["all"].settings


def test_a_loss_is_taken_out_with_the_stream_that_it_reads():
    plan = check(BASE, ["streams.scene.off=true"])
    assert [one.name for one in plan.stages["warm"].losses] == ["near"]
    assert "stages.warm.objective.pair" in plan.left_out
    gone = check(
        BASE, ["streams.audio.off=true", "heads=null", "stages.all.objective=''", "stages.all.train=[scene.projector]"]
    )
    assert "warm" not in gone.stages
    assert "stages.warm" in gone.left_out


def test_another_piece_drops_the_settings_of_the_one_before():
    plan = check(
        BASE, ["stages.warm.objective.pair.use=label_words", "stages.warm.objective.pair.tokens=scene.projector"]
    )
    assert plan.stages["warm"].losses[1].weight == 1.0


def test_rates_reach_the_parameters_of_an_objective():
    plan = check(BASE, ["stages.warm.train=[audio.projector]", "stages.warm.lrs={objectives.*: 0.1}"])
    assert plan.stages["warm"].settings.lrs == {"objectives.*": 0.1}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("stages.all.objective.emotion.use=head_los", "stages.all.objective.emotion.use: unknown objective 'head_los'"),
        ("stages.all.objective.emotion.head=emotoin", "stages.all.objective.emotion.head: unknown head 'emotoin'"),
        ("stages.all.objective.emotion.weight=-1", "stages.all.objective.emotion.weight: must be at least 0, got -1"),
        ("stages.all.objective.emotion.weight=much", "stages.all.objective.emotion.weight: wants a number, got text 'much'"),
        ("stages.all.objective.emotion.wieght=1", "did you mean 'weight'?"),
        ("stages.all.objective.llm=high", "stages.all.objective.llm: wants a number, got text 'high'"),
        ("stages.all.objective.emotion=0.5", "only 'llm' is written as a weight alone"),
        ("stages.all.objective={llm: null, emotion: null}", "stages.all.objective: names no loss"),
        ("stages.all.objective={llm: 0, emotion: null}", "the weight of every loss is 0"),
        ("stages.all.objective={LLM: 1.0}", "only 'llm' is written as a weight alone"),
        ("stages.warm.objective.pair.a=scene.encodr", "stages.warm.objective.pair.a: unknown step 'scene.encodr'"),
        ("stages.warm.objective.pair.a=scene.encoder.patch", "unknown block 'scene.encoder.patch'"),
        ("stages.warm.objective.pair.a=frames", "the port 'a' eats tokens, but frames is pixels"),
        ("stages.warm.objective.pair.b=null", "nothing fills the port 'b' of 'contrastive'"),
        ("stages.warm.objective.pair.width=null", "cannot be compared as they are"),
        ("stages.warm.objective.pair.temperature=0", "stages.warm.objective.pair.temperature: must be at least 0.01"),
        ("stages.warm.objective.near.text=a", "stages.warm.objective.near.text: has no {label} in it"),
        ("stages.warm.objective.near.tokens=audio.adapter", "wide, and the LLM's word embeddings 32"),
        ("stages.warm.train=[backbone.model]", "backbone.model trains here, but its objective (near, pair) does not use it"),
        ("stages.all.objective.a__b={use: head_loss, head: emotion}", "the name of the loss 'a__b' has other signs"),
        ("streams.objectives={steps: {encoder: {use: log_mel, wave: wave}}}", "the stream 'objectives' is taken"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(override, told):
    assert told in problems(override)


def test_without_an_llm_there_is_neither_its_loss_nor_its_words():
    alone = [*ALONE, "stages.all.train=[heads.emotion]"]
    told = problems(*alone, "stages.all.objective.near={use: label_words, tokens: audio.adapter}")
    assert "stages.all.objective.llm: there is no LLM whose loss could be trained" in told
    assert "the objective 'label_words' reads the LLM's word embeddings, and there is no LLM" in told
    plan = check(BASE, [*alone, "stages.all.objective.llm=null"])
    assert plan.stages["all"].losses[0].heads == ("emotion",)


def test_words_of_a_turn_are_no_row_of_a_sample():
    stream = "streams.text={steps: {encoder: {use: qformer, tokens: scene.encoder, question: question}}}"
    told = problems(stream, "stages.warm.objective.pair.a=text.encoder")
    assert "depends on text.encoder, which reads the words of each turn" in told
