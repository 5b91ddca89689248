"""Faults that only built modules or opened data show: told before anything trains, as wrong input."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from affectkit.api import fit
from affectkit.errors import InputError
from affectkit.model.model import build
from affectkit.model.sizes import build_on_meta, sizes
from affectkit.plan.check import check, plan_recipe
from affectkit.plan.graph import wire
from affectkit.plan.summary import absent, summary_rows
from affectkit.plan.use import Checker
from affectkit.recipe.load import load_recipe
from affectkit.registry import Registry

SMALL = ("backbone.layers=1", "backbone.width=48", "backbone.heads=2", "run.accelerator=cpu")


def words():
    yield "which emotion"


def refused(look, *overrides):
    with pytest.raises(InputError) as caught:
        look(check("voice", [*SMALL, *overrides]))
    return [f"{p.place}: {p.what}" for p in caught.value.problems]


def built(plan):
    build(plan, words)


def test_a_recipe_that_is_right_is_built():
    model, plan = build(check("voice", SMALL), words)
    assert model.llm.width == plan.width == 48


def blind(plan):
    """The plan as it is where the LLM's width shows only when it is built."""
    backbone = replace(plan.backbone, piece=replace(plan.backbone.piece, shapes=None))
    return replace(plan, backbone=backbone, width=None, graph=wire(Checker(plan.recipe, plan.registry), None))


def test_what_only_a_build_knows_is_in_the_plan_that_it_gives_back():
    plan = check("voice", SMALL)
    unknown = blind(plan)
    before = replace(unknown)
    model, known = build(unknown, words)
    assert unknown == before
    assert (unknown.width, unknown.learns) == (None, None)
    assert unknown.graph.shape(unknown.graph.ends["audio"]).width is None
    assert model.plan is known
    assert known.width == known.graph.shape(known.graph.ends["audio"]).width == 48
    assert known.learns == {"audio.adapter", "audio.projector"}
    assert known.graph.steps == build(plan, words)[1].graph.steps


def test_a_width_that_shows_at_build_and_does_not_meet_is_told_with_its_place():
    recipe = load_recipe("voice", [*SMALL, "streams.audio.steps.projector=null"])
    narrow, _ = plan_recipe(recipe, Registry.load())
    with pytest.raises(InputError) as caught:
        build(blind(narrow), words)
    (problem,) = caught.value.problems
    assert problem.what.endswith("wide, the LLM 48: a stream that a prompt names must end in the LLM's width")


def test_a_step_without_parameters_is_frozen_whatever_a_glob_says():
    plan = check("voice", [*SMALL, "stages.train.train=[audio.*, backbone.model]"])
    stage = plan.stages["train"]
    assert plan.demand(stage).heads == []
    _, known = build_on_meta(plan)
    assert (
        known.demand(stage).heads == known.demand(changing=["audio.*", "audio.encoder"]).heads[:1] == ["audio.encoder"]
    )
    assert known.demand(stage).rest == ["audio.adapter", "audio.projector"]
    assert known.demand().rest == []


@pytest.mark.parametrize("thing", ["plan", "graph", "demand"])
def test_a_plan_does_not_change(thing):
    plan = check("voice", SMALL)
    frozen = {"plan": plan, "graph": plan.graph, "demand": plan.demand()}[thing]
    with pytest.raises(FrozenInstanceError):
        setattr(frozen, next(iter(vars(frozen))), None)


def test_what_was_built_is_said():
    plan = check("voice", SMALL)
    model, known = build_on_meta(plan)
    built = dict(summary_rows(known, sizes(model).parameters))
    assert built["built"].startswith("on the meta device, without weights: ")
    assert "trains audio.encoder (no parameters), audio.adapter, " in built["stage train"]
    unbuilt = dict(summary_rows(plan))
    assert "built" not in unbuilt
    assert "(no parameters)" not in unbuilt["stage train"]


def test_an_objective_needs_a_loss_which_is_known_before_anything_is_built():
    assert refused(lambda plan: plan, "stages.train.objective=audio.encoder", "stages.train.train=[audio.encoder]") == [
        "override 'stages.train.objective=audio.encoder': stages.train.objective: "
        "audio.encoder is the encoder 'log_mel', which has no loss of its own",
    ]
    assert check("emo_llama").graph.steps["audio.adapter"].piece.objective


def test_a_stage_needs_parameters():
    assert refused(built, "stages.train.train=[audio.encoder]") == [
        "override 'stages.train.train=[audio.encoder]': stages.train.train: "
        "nothing that trains here has parameters (audio.encoder)",
    ]


def test_a_prompt_reads_facts_only_of_steps_that_tell_some_of_them():
    who = "prompt.parts.who={use: age_gender_race, source: audio.%s}"
    (line,) = refused(lambda plan: plan, who % "encoder", "stages.train.train=[audio.projector]")
    assert line.endswith("reads age, gender, race of audio.encoder, but the encoder 'log_mel' tells none")
    net = "streams.priors={steps: {net: {use: facexformer, tells: [%s], pixels: faces}}}"
    views = "views={frames: {use: frames}, faces: {use: faces, of: frames}, wave: {use: wave, seconds: 3}}"
    priors = "prompt.parts.who={use: age_gender_race, source: priors.net}"
    (line,) = refused(lambda plan: plan, priors, net % "pose", views)
    assert line.endswith("reads age, gender, race of priors.net, but the encoder 'facexformer' tells only pose")
    plan = check("voice", [*SMALL, priors, net % "pose, race, age", views])
    assert dict(summary_rows(plan))["facts of priors.net"] == "age, race; it does not tell gender"


OWN = """
from dataclasses import dataclass
from affectkit import Piece, Port, hookimpl

@dataclass(frozen=True)
class Settings:
    "Hands on what it gets."

def build(settings, inputs, width):
    from torch import nn

    class Same(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Linear(1, 1)

        def forward(self, tokens):
            return {"tokens": tokens}

    return Same()

@hookimpl
def affectkit_pieces():
    same = lambda settings, inputs, width: {"tokens": inputs["tokens"]}
    return [Piece("adapter", "same", Settings, build, same, (Port("tokens"),), tells=("age",), objective=True)]
"""


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ("stages.own={objective: audio.adapter, train: [audio.adapter]}",),
            "objective=True, and its module has no `loss`",
        ),
        (("prompt.parts.who={use: age_gender_race, source: audio.adapter}",), "tells, and its module has no `facts`"),
    ],
)
def test_a_piece_that_says_more_of_itself_than_its_module_has_is_told_before_anything_trains(tmp_path, overrides, said):
    """`check` takes its word; a prompt would lose its sentence without a trace."""
    (tmp_path / "own.py").write_text(OWN)
    step = "streams.audio.steps.adapter.use=same"
    trained = ("stages.train.train=[audio.projector]",)
    plan = check("voice", [*SMALL, step, *trained, *overrides], plugins=[str(tmp_path / "own.py")])
    with pytest.raises(InputError) as caught:
        built(plan)
    (problem,) = caught.value.problems
    assert problem.what == f"the adapter 'same' says {said}"
    assert problem.place.endswith("streams.audio.steps.adapter")


def test_splits_to_score_on_are_opened_before_anything_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = []
    few = ("data.count=14", "data.size=48", "data.seconds=1", "data.fps=4")
    with pytest.raises(InputError, match="tset") as caught:
        fit("voice", [*SMALL, *few, "score.splits=[tset]"], say=said.append)
    assert "did you mean 'test'?" in str(caught.value)
    assert said == []


def test_weights_that_are_not_here_are_told_by_check_and_by_fit_with_their_place(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    net = "streams.priors={steps: {net: {use: facexformer, source: %s, pixels: faces}}}"
    views = "views={frames: {use: frames}, faces: {use: faces, of: frames}, wave: {use: wave, seconds: 3}}"
    who = "prompt.parts.who={use: age_gender_race, source: priors.net}"
    plan = check("voice", [*SMALL, views, who, net % "gone.pt"])
    assert absent(plan) == {"priors.net.source": "gone.pt"}
    assert dict(summary_rows(plan))["weights of priors.net.source"] == "gone.pt: not here yet"
    assert refused(built, views, who, net % "gone.pt") == [
        f"override '{net % 'gone.pt'}': streams.priors.steps.net (gone.pt): no such file of weights"
    ]
    assert not absent(check("voice", [*SMALL, views, who, net % "gone.pt", "run.weights=random"]))
    torch.save({"a": torch.ones(1)}, tmp_path / "there.pt")
    assert not absent(check("voice", [*SMALL, views, who, net % (tmp_path / "there.pt")]))


def test_what_goes_with_a_stream_that_is_off_is_told():
    plan = check("emo_llama", ["streams.priors.off=true", "prompt.parts.who=null"])
    assert dict(summary_rows(plan))["left out"] == (
        "streams.priors, streams.scene, streams.face, prompt.parts.scene, prompt.parts.face, stages.face"
    )
    assert "left out" not in dict(summary_rows(check("emo_llama")))
