"""Conversations: all turns in one row, every answer trained, and text-conditioned steps run on each turn's own words."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from affectkit_plugins.datasets import table
from affectkit_plugins.datasets._turns import turns_in
from affectkit_plugins.prompts import conversation, label_question, slot, template

from affectkit.api import LoadedRun, fit
from affectkit.commands.predict import print_answers
from affectkit.data.splits import open_splits
from affectkit.encode.cache import Cache
from affectkit.encode.perceive import Perceiver
from affectkit.errors import InputError
from affectkit.evaluation.prediction import Prediction
from affectkit.evaluation.user_input import converse, talk_task
from affectkit.model.batch import Key, Order, Prompter, Rows, stack
from affectkit.model.model import build, make_prompt
from affectkit.plan.check import check
from affectkit.prompt import Ask, Prompt, draw_for
from affectkit.sample import Sample

RECIPE = """
name: talk
data: {use: puppets, count: 14, size: 64, fps: 8, seconds: 1.0}
views:
  look: {use: frames, pick: uniform, count: 2}
  question: {use: question}
streams:
  scene:
    steps:
      encoder: {use: image_patches, pixels: look, size: 16, patch: 8, width: 16, layers: 1, heads: 2}
      tokens: {use: context_content, queries: 2, hidden: 16, layers: 1, heads: 2, most_text: 32}
  again: {steps: {projector: {use: linear, tokens: scene.tokens}}}
  plain: {steps: {projector: {use: linear, tokens: scene.encoder}}}
prompt:
  use: template
  style: vicuna_v1
  system: Be brief.
  parts:
    scene: {use: slot, stream: scene, turns: every}
    again: {use: slot, stream: again, turns: every}
    plain: {use: slot, stream: plain, after: "\\n", turns: every}
    ask: {use: label_question, wording: "Emotion?"}
    talk: {use: conversation}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1, context: 256}
stages: {all: {train: [streams.*.tokens, streams.*.projector, backbone.model], tasks: {conversation: 1, label: 0.5}}}
score: {metrics: {uar: uar}, max_new_tokens: 4, resamples: 20}
run: {accelerator: cpu}
"""
CONDITIONED = {"scene", "again"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "talk.yaml"
    path.write_text(RECIPE.replace("{accelerator: cpu}", f"{{accelerator: cpu, folder: {path.parent}/runs}}"))
    return path


@pytest.fixture(scope="module")
def made(recipe, tmp_path_factory):
    plan = check(recipe)
    model, plan = build(plan)
    model.eval()
    with torch.no_grad():  # large weights: with the usual small ones every token is as likely as any other
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)
    whole = list(open_splits(plan, plan.stages["all"]).train)[:3]
    samples = [
        whole[0],
        replace(whole[1], turns=(*whole[1].turns, ("Since when?", "nobody knows"))),
        replace(whole[2], turns=whole[2].turns[:1]),
    ]
    perceiver = Perceiver.of(model, plan.stages["all"], Cache(tmp_path_factory.mktemp("seen")))
    perceiver.fill(samples)
    running = perceiver.cache_plan.rest
    return SimpleNamespace(plan=plan, model=model, samples=samples, perceiver=perceiver, running=running)


def rows(made, samples=None, **asking):
    asked = Prompter(made.model.prompt, ("happy", "sad"), 0, **({"phase": "train"} | asking))
    return Rows(made.plan, samples or made.samples, made.perceiver, asked, made.model.llm)


def keys(task="conversation"):
    return [Key(0, task), Key(1, task), Key(2, task)]


def loss(made, batch):
    made.model.zero_grad()
    total, count = made.model.loss(batch, made.running)
    total.backward()
    return total.item(), count, {n: p.grad.clone() for n, p in made.model.named_parameters() if p.grad is not None}


def told(made, chunks):
    return "".join(f"<{c.slot}>" if c.slot else made.model.llm.untokenise(c.ids) or "[]" for c in chunks)


def test_all_turns_stand_in_one_row_and_every_answer_is_trained(made):
    row = rows(made)[Key(1, "conversation")]
    label, reason = row.sample.label, row.sample.answers["reason"]
    slots = "<scene><again><plain>\n"
    assert told(made, row.chunks) == (
        f"[]Be brief. USER: {slots}Which emotion does this person show? ASSISTANT:{label}[]"
        f"USER: {slots}What shows it? ASSISTANT:{reason}[]"
        f"USER: {slots}Since when? ASSISTANT:nobody knows[]"
    )
    packed = made.model.row(stack([row]), made.running)
    texts = [label, reason, "nobody knows"]
    wanted = [i for text in texts for i in (*made.model.llm.tokenise(text), *made.model.llm.end_ids)]
    assert packed.labels[packed.labels >= 0].tolist() == wanted
    assert [(s.stream, s.turn) for s in packed.where] == [(s, t) for t in range(3) for s in ("scene", "again", "plain")]


def test_a_packed_batch_of_conversations_costs_and_teaches_what_they_do_one_by_one(made):
    mixed = [*keys(), Key(0, "label")]
    whole = rows(made)
    together, count, grads = loss(made, stack([whole[k] for k in mixed]))
    alone = [loss(made, stack([whole[k]])) for k in mixed]
    assert count == sum(n for _, n, _ in alone) > 20
    assert together / count == pytest.approx(sum(t for t, _, _ in alone) / count, abs=1e-5)
    for name, grad in grads.items():
        other = sum(g[name] for _, _, g in alone if name in g)
        torch.testing.assert_close(grad / count, other / count, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    assert any("qformer" in n for n in grads)


def test_vision_runs_once_a_sample_and_what_reads_the_question_once_a_turn(made):
    batch = stack([rows(made)[k] for k in keys()])
    assert batch.turns == ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0))
    seen = {}

    def watch(name):
        return lambda module, given, out: seen.update({name: len(next(iter(out.values())).mask)})

    hooks = [made.model.steps.module(a).register_forward_hook(watch(a)) for a in made.plan.needed()]
    with torch.no_grad():
        packed = made.model.row(batch, made.running)
    for hook in hooks:
        hook.remove()
    assert seen == {"scene.tokens": 6, "again.projector": 6, "plain.projector": 3}, "the encoder is a head, and cached"
    spans = {(s.sample, s.stream, s.turn): packed.embeds[s.start : s.stop] for s in packed.where}
    for stream in ("scene", "again", "plain"):
        first, second = spans[0, stream, 0], spans[0, stream, 1]
        assert len(first) > 0
        far = (first - second).abs().max()
        assert far > 1e-4 if stream in CONDITIONED else far == 0, stream


def test_the_words_of_a_turn_are_its_own(made):
    asking = rows(made).prompter
    sample, key = made.samples[0], Key(0, "conversation")
    assert [asking.question(key, sample, {}, t) for t in (0, 1)] == [q for q, _ in sample.turns]
    row = rows(made)[key]
    ports = ("scene.tokens:question",)
    assert set(row.later) == {1}
    assert set(row.later[1]) == set(ports)
    first, second = row.ports[ports[0]]["values"], row.later[1][ports[0]]["values"]
    assert first.tolist() != second.tolist()


def test_a_slot_of_the_first_turn_alone_makes_nothing_run_twice(made):
    once = {
        n: replace(u.settings, turns="first")
        for n, u in made.plan.parts.items()
        if u.settings.__class__ is slot.Settings
    }
    parts = {n: slot.build(once[n]) if n in once else p for n, p in made.model.prompt.parts.items()}
    asked = Prompter(replace(made.model.prompt, parts=parts), (), 0, "train")
    whole = Rows(made.plan, made.samples, made.perceiver, asked, made.model.llm)
    batch = stack([whole[k] for k in keys()])
    assert batch.turns == ()
    assert {c.turn for row in batch.chunks for c in row if c.slot} == {0}
    assert made.model.row(batch, made.running).lengths


def last_turn(made, batch):
    """Loss over the last turn's answer alone."""
    row = made.model.row(batch, made.running)
    start = max(s.start for s in row.where)
    labels = row.labels.clone()
    labels[:start] = -100
    return made.model.llm.loss(replace(row, labels=labels))[0].item()


def test_the_second_turn_sees_the_first(made):
    sample = made.samples[0]
    other = replace(sample, turns=(("Where is it?", "in a room"), sample.turns[1]))
    one, two = (last_turn(made, stack([rows(made, [s])[Key(0, "conversation")]])) for s in (sample, other))
    assert abs(one - two) > 1e-4
    second = replace(sample, turns=(sample.turns[0], ("Why?", "it is so")))
    packed = [made.model.row(stack([rows(made, [s])[Key(0, "conversation")]]), made.running) for s in (sample, second)]
    start = next(s.start for s in packed[0].where if s.turn == 1)
    torch.testing.assert_close(packed[0].embeds[:start], packed[1].embeds[:start])


def test_other_tasks_are_as_they_were(made):
    batch = stack([rows(made)[Key(i, "label")] for i in range(3)])
    assert batch.turns == ()
    assert all(c.turn == 0 for row in batch.chunks for c in row)
    bare = [replace(s, turns=()) for s in made.samples]
    assert stack([rows(made, bare)[Key(i, "label")] for i in range(3)]).chunks == batch.chunks


# -- the prompt -----------------------------------------------------------------------------------------------------

SAMPLE = Sample("a", label="sad", turns=(("What?", "sad"), ("Why?", "tears"), ("Since when?", "now")))


def prompt(place="listed", most=None, **settings):
    talk = conversation.Settings(most=most)
    parts = {
        "face": slot.build(slot.Settings("face", before="<", after=">\n", turns="every", place=place)),
        "ask": label_question.build(label_question.Settings(wording="Which?")),
        "talk": conversation.build(talk),
    }
    return Prompt(template.build(template.Settings(**settings)), parts, {}, (talk.count_turns,))


def whole(segments):
    marks = [s.text or (f"[{s.slot}]" if s.slot else f"|{s.special}|") for s in segments]
    return "".join(f"{{{m}}}" if s.trained else m for m, s in zip(marks, segments, strict=True))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (
            {"human": "Q: ", "assistant": " A:"},
            "|start|Q: <[face]>\nWhat? A:{sad}{|end|}Q: <[face]>\nWhy? A:{tears}{|end|}",
        ),
        (
            {"style": "chatml", "system": "S.", "bos": "never"},
            "<|im_start|>system\nS.<|im_end|>\n<|im_start|>user\n<[face]>\nWhat?<|im_end|>\n<|im_start|>assistant\n{sad}{|end|}"
            "\n<|im_start|>user\n<[face]>\nWhy?<|im_end|>\n<|im_start|>assistant\n{tears}{|end|}",
        ),
    ],
)
def test_templates_write_all_turns(settings, wanted):
    assert whole(prompt(most=2, **settings).segments(SAMPLE, Ask("conversation"))) == wanted


def test_at_inference_a_turn_is_asked_after_the_answers_to_those_before_it():
    made, ask = prompt(human="Q: ", assistant=" A:"), Ask("conversation", "infer")
    assert whole(made.segments(SAMPLE, ask)) == "|start|Q: <[face]>\nWhat? A:"
    assert whole(made.segments(SAMPLE, replace(ask, turn=1))) == (
        "|start|Q: <[face]>\nWhat? A:sad|end|Q: <[face]>\nWhy? A:"
    )
    silent = replace(SAMPLE, turns=(("What?", ""), ("Why?", "")))
    assert whole(made.segments(silent, replace(ask, turn=1))).startswith("|start|Q: <[face]>\nWhat? A:|||end|Q: ")
    assert made.question(SAMPLE, replace(ask, turn=2)) == "< > Since when?"


def test_a_slot_goes_before_or_behind_the_words_by_chance_in_training_alone():
    made = prompt("random", human="", assistant=" A:", bos="never", end=".")
    found = set()
    for epoch in range(12):
        text = whole(made.segments(SAMPLE, Ask("conversation", draw=draw_for(0, epoch, "a"))))
        again = whole(made.segments(SAMPLE, Ask("conversation", draw=draw_for(0, epoch, "a"))))
        assert text == again
        turns = text.removesuffix("{.}").split("{.}")
        assert all(t.startswith("<[face]>\n") or ">\n[face]<" in t for t in turns)
        found.add(tuple(t.startswith("<[face]>\n") for t in turns))
    assert len(found) > 3, "each turn draws for itself"
    asked = whole(made.segments(SAMPLE, Ask("conversation", "infer", turn=2)))
    assert asked.count("<[face]>\n") == 3
    assert whole(prompt(human="", assistant="").segments(SAMPLE, Ask("label"))) == "|start|<[face]>\nWhich?{sad}{|end|}"


def test_several_slots_go_to_the_same_side():
    parts = {n: slot.build(slot.Settings(n, place="random")) for n in ("a", "b")}
    made = Prompt(template.build(template.Settings(bos="never")), {**parts, "ask": label_question.build(
        label_question.Settings(wording="Which?"))})  # fmt: skip
    texts = {whole(made.segments(SAMPLE, Ask("label", draw=draw_for(0, e, "a")))) for e in range(12)}
    assert texts == {"[a][b]Which?\n{sad}{|end|}", "Which?[a][b]\n{sad}{|end|}"}


def test_whether_there_is_anything_to_ask():
    made = prompt()
    assert [made.turns(s, "conversation") for s in (SAMPLE, Sample("b"))] == [3, 0]
    assert made.turns(SAMPLE, "label") is None
    assert conversation.Settings(most=0).problems()
    samples = [SAMPLE, Sample("b"), replace(SAMPLE, id="c")]
    order = Order(samples, {"label": 1.0, "conversation": 1.0}, 0, 4, asks=lambda s, t: made.turns(s, t) != 0)
    assert sorted((k.index, k.task) for k in order.epoch(0)) == [
        (0, "conversation"), (0, "label"), (1, "label"), (2, "conversation"), (2, "label"),
    ]  # fmt: skip
    one = replace(order, one_task=True)
    assert {k.task for e in range(9) for k in one.epoch(e) if k.index == 1} == {"label"}
    silent = replace(order, tasks={"conversation": 1.0}, one_task=True)
    assert {k.index for k in silent.epoch(0)} == {0, 2}


# -- data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_table_has_a_column_of_turns(tmp_path, ending):
    turns = [["What?", "sad"], ["Why, then?", 'she says "no"']]
    spoken = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "sad"}]
    cells = [turns, spoken, None]
    for n in range(3):
        (tmp_path / f"{n}.jpg").touch()
    path = tmp_path / f"mine.{ending}"
    if ending == "csv":
        quoted = ["" if c is None else json.dumps(c).replace('"', '""') for c in cells]
        path.write_text("path,turns\n" + "\n".join(f'{n}.jpg,"{c}"' for n, c in enumerate(quoted)))
    else:
        path.write_text("\n".join(json.dumps({"path": f"{n}.jpg", "turns": c}) for n, c in enumerate(cells)))
    found = table.build(table.Settings(str(path), val=0, test=0), "train")
    assert [s.turns for s in found] == [tuple(map(tuple, turns)), (("What?", "sad"),), ()]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("[[", "broken JSON"),
        ('{"a": 1}', "wants a list"),
        ('[["What?"]]', "turn 1 is not"),
        ('[["What?", "sad"], ["Why?", ""]]', "turn 2 is not"),
        ('[{"from": "human", "value": "What?"}]', "do not take turns"),
        ('[{"from": "gpt", "value": "sad"}]', "do not take turns"),
    ],
)
def test_turns_that_are_none_are_told(tmp_path, cell, said):
    with pytest.raises(ValueError, match=said):
        turns_in(cell)
    (tmp_path / "a.jpg").touch()
    (tmp_path / "mine.jsonl").write_text(json.dumps({"path": "a.jpg", "turns": cell}))
    with pytest.raises(InputError, match=r"mine\.jsonl:1: the turns are no conversation: .*"):
        table.build(table.Settings(str(tmp_path / "mine.jsonl")), "train")


# -- asking a trained run -------------------------------------------------------------------------------------------


class Told:
    """A run that answers with what it was asked."""

    def __init__(self):
        self.prompts = []

    def predict(self, samples, task="label", demographics=False, turn=0):
        asked = Ask(task, "infer", turn)
        texts = [whole(prompt(human="Q:", assistant=" A:", bos="never").segments(s, asked)) for s in samples]
        self.prompts += texts
        return [Prediction(s.id, task, "scored", text=f"{s.id}{turn}") for s in samples]


def test_questions_are_put_one_after_another(capsys):
    run = Told()
    samples = [Sample("a", turns=(("no", "no"),)), Sample("b")]
    said = converse(run, "conversation", samples, ["What?", "Why?"])
    assert [[p.text for p in s] for s in said] == [["a0", "b0"], ["a1", "b1"]]
    face = "<[face]>\n"
    assert run.prompts == [
        f"Q:{face}What? A:", f"Q:{face}What? A:",
        f"Q:{face}What? A:a0|end|Q:{face}Why? A:", f"Q:{face}What? A:b0|end|Q:{face}Why? A:",
    ]  # fmt: skip
    labels = [Prediction(i, "label", "scored", label="sad") for i in "ab"]
    talk = list(zip(["What?", "Why?"], said, strict=True))
    print_answers(labels, [], [], True, talk)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[1]["turns"] == [{"question": "What?", "answer": "b0"}, {"question": "Why?", "answer": "b1"}]
    print_answers(labels, [], [], False, talk)
    assert "a: What? a0\na: Why? a1\nb: What? b0" in capsys.readouterr().out


def test_the_model_answers_in_turn(made, recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTKIT_CACHE", str(tmp_path))
    loaded = LoadedRun(made.plan, made.model, SimpleNamespace(about=tmp_path / "none", notes=dict))
    monkeypatch.setattr(LoadedRun, "labels", ("happy", "sad"))
    assert talk_task(made.plan) == "conversation"
    answers = converse(loaded, "conversation", made.samples, ["Which emotion?", "Why?"])
    assert [[p.state for p in told] for told in answers] == [["scored"] * 3] * 2
    alone = [converse(loaded, "conversation", [s], ["Which emotion?", "Why?"])[1][0].text for s in made.samples]
    assert [p.text for p in answers[1]] == alone
    single = check(recipe, ["prompt.parts.talk=null", "stages=null"])
    with pytest.raises(InputError, match="not trained to converse"):
        talk_task(single)


def test_a_run_learns_conversations_and_shows_them(recipe, tmp_path, capsys):
    from affectkit.commands._show_sample import show_sample

    short = ["stages.all.max_steps=2", "stages.all.batch=4", f"run.folder={tmp_path}"]
    run = fit(recipe, short, say=lambda text: None)
    assert run.weights("all").exists()
    capsys.readouterr()
    show_sample(check(recipe, short), 0)
    shown = "".join(capsys.readouterr().out.split())
    assert shown.count("<scene×4>") == 3, "two turns of the conversation, one of the label"
    assert "Whichemotiondoesthispersonshow?ASSISTANT:" in shown
    assert "Whatshowsit?ASSISTANT:" in shown
    bare = tmp_path / "bare.jsonl"
    clip = next(iter(open_splits(check(recipe), check(recipe).stages["all"]).train)).video
    bare.write_text("\n".join(json.dumps({"path": str(clip), "label": "sad", "split": s}) for s in ("train", "test")))
    alone = [f"data={{use: table, path: {bare}, val: 0}}", "stages.all.tasks.label=null"]
    with pytest.raises(InputError, match="has an answer to the task 'conversation'"):
        fit(recipe, [*short[:3], *alone], say=lambda text: None)


def test_a_prompt_knows_its_conversations(made):
    assert make_prompt(made.plan).turns(made.samples[1], "conversation") == 3
