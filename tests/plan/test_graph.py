"""What ports get, in which order steps run, and what a graph knows of shapes."""

import random
import time

import pytest
from faults import BASE, REGISTRY, broken, plan_of, told

from affectkit.pieces import Shape
from affectkit.plan.graph import Ref, wire
from affectkit.plan.references import running_order
from affectkit.plan.use import Checker


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def graph(*edits):
    plan, problems = plan_of(broken(*edits))
    assert problems == []
    return plan.graph


def test_a_first_port_takes_the_step_before_and_others_their_own_name():
    steps = graph(("encoder: {use: log_mel, wave: wave}", "encoder: log_mel")).steps
    assert steps["voice.encoder"].inputs == {"wave": Ref(view="wave")}
    assert steps["voice.projector"].inputs == {"tokens": Ref(step="voice.encoder", block="frames")}
    assert str(steps["voice.projector"].inputs["tokens"]) == "voice.encoder.frames"
    assert steps["face.encoder"].eats["pixels"] == Shape("pixels", time=4)
    assert steps["voice.projector"].shapes["tokens"].width == 48


def test_a_port_names_a_stream_a_step_or_a_block():
    for name in ("voice.encoder.frames", "voice.encoder"):
        inputs = graph(("use: linear", f"use: linear, tokens: {name}")).steps["face.projector"].inputs
        assert inputs == {"tokens": Ref(step="voice.encoder", block="frames")}
    inputs = graph(("use: linear", "use: linear, tokens: voice")).steps["face.projector"].inputs
    assert inputs["tokens"].step == "voice.projector"


def test_steps_run_behind_what_they_read_and_otherwise_as_written():
    assert list(graph().steps) == ["face.encoder", "face.projector", "voice.encoder", "voice.projector"]
    plan, problems = plan_of(broken(("use: linear", "use: linear, tokens: voice")))
    assert problems == []
    assert list(plan.graph.steps) == ["face.encoder", "voice.encoder", "voice.projector", "face.projector"]
    assert plan.graph.upstream(["face.projector"]) == ["voice.encoder", "voice.projector", "face.projector"]
    assert {stream: str(end) for stream, end in plan.graph.ends.items()} == {
        "face": "face.projector.tokens",
        "voice": "voice.projector.tokens",
    }


@pytest.mark.parametrize("seed", range(20))
def test_a_running_order_holds_every_step_once_behind_its_needs(seed):
    rng = random.Random(seed)
    names = [f"s{i}" for i in range(rng.randint(1, 30))]
    needs = {n: rng.sample(names[:i], rng.randint(0, min(3, i))) for i, n in enumerate(names)}
    shuffled = dict(rng.sample(list(needs.items()), len(needs)))
    order, circles = running_order(shuffled)
    assert circles == []
    assert sorted(order) == sorted(names)
    assert all(order.index(m) < order.index(n) for n in names for m in needs[n])


def test_a_running_order_names_every_circle():
    order, circles = running_order({"a": ["b"], "b": ["a"], "c": ["c"], "d": ["c", "gone"], "e": []})
    assert circles == [["a", "b", "a"], ["c", "c"]]
    assert sorted(order) == ["a", "b", "c", "d", "e"]


def test_a_long_chain_of_streams_needs_no_deep_stack():
    chain = "".join(f"  s{i}: {{steps: {{p: {{use: mlp, tokens: s{i + 1}}}}}}}\n" for i in range(600))
    last = "  s600: {steps: {e: {use: log_mel, wave: wave}}}\n"
    text = broken(("streams:\n", f"streams:\n{chain}{last}"), ("stream: voice", "stream: s0"))
    began = time.process_time()
    found = told(text)
    assert [line.split(" => ")[0] for line in found] == ["a.yaml:613:3: streams.voice: nobody uses the stream 'voice'"]
    assert time.process_time() - began < 20  # no bomb goes off; speed is for benchmarks/


def test_faces_have_as_many_steps_in_time_as_their_frames():
    views = graph(("count: 4", "count: 7")).views
    assert views["crops"].shape == Shape("pixels", time=7)


def test_faces_cannot_be_cut_from_faces():
    found = told(
        broken(("crops: {use: faces, of: frames}", "crops: {use: faces, of: more}\n  more: {use: faces, of: crops}"))
    )
    assert [line.split(" => ")[0] for line in found] == [
        "a.yaml:5:23: views.crops.of: unknown view of frames 'more'",
        "a.yaml:6:22: views.more.of: unknown view of frames 'crops'",
    ]


def test_what_leans_on_something_wrong_is_left_out_in_silence():
    text = broken(
        ("use: wave, seconds: 2", "use: wave, seconds: x"), ("use: image_patches", "use: image_patches, patch: 0")
    )
    plan, problems = plan_of(text)
    assert [p.place for p in problems] == [
        "a.yaml:6:21: views.wave.seconds", "a.yaml:10:37: streams.face.steps.encoder.patch",
    ]  # fmt: skip
    assert plan.graph.steps == {}
    assert plan.graph.written == ("face.encoder", "face.projector", "voice.encoder", "voice.projector")
    assert plan.slots == ("face", "voice")


def test_a_piece_that_refuses_its_inputs_is_told_at_the_key():
    miner = "{use: face_info_mining, tokens: face.encoder, heads: 7, inject: enrich}"
    found = told(broken(("{use: mlp}", miner)))
    assert found[0].startswith("a.yaml:15:")
    assert ": streams.voice.steps.projector.heads: 7 heads do not divide the width" in found[0]
    assert len(found) == 1


def test_a_width_that_is_known_only_when_built_is_checked_then():
    plan, problems = plan_of(broken(("width: 48, heads: 4", "source: somebody/model")))
    assert problems == []
    assert plan.width is None
    checker = Checker(plan.recipe, REGISTRY)
    assert wire(checker, 64).steps["face.projector"].shapes["tokens"].width == 64
    assert checker.problems == []


def test_only_the_last_unused_stream_of_a_chain_is_told():
    text = broken(
        ("    voice: {use: slot, stream: voice}\n", ""),
        ("prompt:\n", "  more: {steps: {p: {use: mlp, tokens: voice}}}\nprompt:\n"),
    )
    assert [line.split(" => ")[0] for line in told(text)] == [
        "a.yaml:16:3: streams.more: nobody uses the stream 'more'"
    ]
    assert told(BASE) == []
