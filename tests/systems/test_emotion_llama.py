"""Emotion-LLaMA's recipes: sizes, layouts to the letter, published schedules, frame choice; the stand-in from fit to predict."""

import functools
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from affectkit.api import evaluate, fit
from affectkit.commands.predict import command as predict
from affectkit.data.views import pick
from affectkit.model.model import make_prompt
from affectkit.model.sizes import build_on_meta, sizes
from affectkit.plan.check import check
from affectkit.prompt import Ask, draw_for
from affectkit.recipe.views import Frames
from affectkit.sample import Fact, Sample
from affectkit.train.stage import rate_factor

PAPER = ("paper/emotion_llama", "paper/emotion_llama_pseudo")
LABELS = ("happy", "sad", "neutral", "angry", "worried", "surprise", "fear", "contempt", "doubt")
CLIP = Sample("a", subtitle="it is over", label="sad", answers={"reason": "The brows: drawn UP. Slow voice!"})
UPSTREAM = "prompt.layouts.infer=upstream_infer"
REFERENCE = Path(os.environ.get("AFFECTKIT_REFERENCE", "../shared/reference")) / "parity/emotion_llama_tokens/meta.json"


@functools.cache
def prompt_of(name, overrides):
    """The prompt of a recipe."""
    return make_prompt(check(name, overrides))


def segments(name, overrides=(), task="label", phase="train", sample=CLIP, **ask):
    """The prompt's segments: text, `<slot>`, or `[special]`."""
    made = prompt_of(name, tuple(overrides)).segments(sample, Ask(task, phase, labels=LABELS, **ask))
    return [s.text or (f"<{s.slot}>" if s.slot else f"[{s.special}]") for s in made]


# -- layouts ----------------------------------------------------------------------------------------------------------

ASKED = (
    "</feature> These words are spoken: it is over.  [emotion] Which of these emotions does the person in the video "
    "show: happy, sad, neutral, angry, worried, surprise, fear, contempt, doubt?  [/INST]"
)
TRAIN = [
    "[start]",
    "[INST] <video>",
    "<patches>",
    "</video> <feature>",
    "<face>",
    "<motion>",
    "<audio>",
    "<cls>",
    ASKED,
]
INFER = [
    "[start]", "[start]", "[INST] <video>", "<patches>", "<face>", "<motion>", "<audio>", "<cls>",
    "</video> <feature><FeatureHere>" + ASKED,
]  # fmt: skip


@pytest.mark.parametrize("name", PAPER)
def test_the_layout_is_the_same_at_both_times_unless_published_inference_is_asked_for(name):
    assert segments(name) == [*TRAIN, "sad", "[end]"]
    assert segments(name, phase="infer") == TRAIN
    assert segments(name, [UPSTREAM]) == [*TRAIN, "sad", "[end]"], "training is laid out as ever"
    assert segments(name, [UPSTREAM], phase="infer") == INFER


def test_reasons_are_asked_for_by_tag_and_cleaned_as_published():
    for task in ("reason", "reason_v2"):
        found = segments(PAPER[0], task=task, draw=draw_for(0, 1, "a"))
        assert f": it is over.  [{task}] " in found[-3]
        assert "[emotion]" not in found[-3]
        assert found[-2:] == ["the brows drawn up slow voice", "[end]"]
    long = Sample("b", answers={"reason": "word " * 300})
    assert len(segments(PAPER[0], task="reason", sample=long)[-2].split()) == 200
    drawn = {segments(PAPER[0], task="reason", draw=draw_for(0, e, "a"))[-3] for e in range(60)}
    assert len(drawn) == 5


def test_a_silent_clip_keeps_the_published_sentence_with_nothing_in_it():
    silent = segments(PAPER[0], sample=Sample("b", label="sad"))
    assert silent[-3].startswith("</feature> These words are spoken: .  [emotion] Which")
    ours = segments(PAPER[0], ['prompt.parts.says.missing=""'], sample=Sample("b", label="sad"))
    assert ours[-3].startswith("</feature> [emotion] Which")


@pytest.mark.skipif(not REFERENCE.is_file(), reason=f"there is no {REFERENCE}: set AFFECTKIT_REFERENCE")
def test_with_the_published_words_both_layouts_are_the_published_ones():
    """The words come from the reference: our recipe has its own. Each list is what was tokenised by itself."""
    known = json.loads(REFERENCE.read_text())
    plain = {"what", "tokens"}
    for i, example in enumerate(known["examples"]):
        task = {"emotion": "label"}.get(example["task"], example["task"])
        said = known["instruction_strings"][i].split("</feature> ")[1].partition(": ")  # a clip may say nothing
        part = {"label": "ask.wording", "reason": "why.wordings"}[task]
        question = [example["question"]] if task == "reason" else example["question"]
        words = [
            f"prompt.parts.says.wording={json.dumps(said[0] + ': {subtitle}.  ')}",
            f"prompt.parts.{part}={json.dumps(question)}",
            UPSTREAM,
        ]
        sample = Sample("a", subtitle=example["sentence"], label=example["answer"], answers={task: example["answer"]})
        for phase, layout in (("train", "layout_train"), ("infer", "layout_infer")):
            found = segments(PAPER[0], words, task, phase, sample)
            texts = [
                t
                for t in found
                if not t.startswith(("[start]", "[end]", "<patches>", "<face>", "<motion>", "<audio>", "<cls>"))
            ]
            wanted = [x["text"] for x in known[layout][i] if "text" in x and not plain & set(x)]
            assert texts == [t.removeprefix("<s>").removesuffix("</s>") for t in wanted]
            begins = sum(
                x.get("add_special_tokens", False) + x.get("text", "").startswith("<s>") for x in known[layout][i]
            )
            assert found.count("[start]") == max(begins, 1)


# -- sizes ------------------------------------------------------------------------------------------------------------

PROJECTIONS = {"patches": 23_072_768, "face": 4_198_400, "motion": 4_198_400, "audio": 4_198_400, "cls": 5_771_264}


@pytest.mark.parametrize("name", PAPER)
def test_as_much_trains_as_published_in_every_stage(name):
    """Spelled out in the paper as 34 M, which is LoRA alone; the projections train too."""
    found = sizes(build_on_meta(check(name, ["run.weights=random"]))[0])
    assert len(found.trainable) == 2
    for counts in found.trainable.values():
        assert {a: n for a, n in counts.items() if a != "backbone.lora"} == {
            f"{s}.projector": n for s, n in PROJECTIONS.items()
        }
        assert counts["backbone.lora"] == 32 * 2 * 2 * 4096 * 64 == 33_554_432
        assert sum(counts.values()) == 74_993_664


@pytest.mark.parametrize("name", PAPER)
def test_260_tokens_in_the_published_order(name):
    graph = check(name).graph
    assert check(name).slots == ("patches", "face", "motion", "audio", "cls")
    tokens = [graph.shape(graph.ends[s]).time * graph.shape(graph.ends[s]).tokens for s in check(name).slots]
    assert tokens == [256, 1, 1, 1, 1]


# -- stages -----------------------------------------------------------------------------------------------------------


def rates(name, stage, steps):
    settings = check(name).stages[stage].settings
    return [settings.lr * rate_factor(step, settings, 30_000) for step in steps]


@pytest.mark.parametrize(("name", "stage"), [(PAPER[0], "coarse"), (PAPER[1], "pseudo"), (PAPER[1], "labels")])
def test_rates_are_the_published_ones(name, stage):
    rise = [1e-6 + 9e-6 * step / 1000 for step in (0, 500, 999)]
    fall = [1e-6 + 9e-6 * 0.5 * (1 + math.cos(math.pi * step / 30_000)) for step in (1000, 15_000, 29_999)]
    assert rates(name, stage, (0, 500, 999, 1000, 15_000, 29_999)) == pytest.approx(rise + fall, rel=1e-12)


def test_the_second_stage_as_described_keeps_one_rate():
    assert set(rates(PAPER[0], "fine", range(0, 30_000, 1000))) == {1e-6}


@pytest.mark.parametrize("name", PAPER)
def test_every_stage_chooses_on_a_validation_share_and_trains_on_no_clip_that_is_tested(name):
    plan = check(name)
    tasks = [tuple(s.settings.tasks) for s in plan.stages.values()]
    assert tasks == ([("label", "reason"), ("reason_v2",)] if name == PAPER[0] else [("label",), ("label",)])
    assert plan.data.settings.labels == LABELS[:6], "MER2023's six are scored; the question offers all nine"
    tested = plan.data.settings.files["test3"]
    for stage in plan.stages.values():
        assert stage.settings.keep == "best"
        assert stage.data.settings.val > 0
        assert stage.data.settings.without == (tested,)
        assert stage.data.settings.labels == plan.parts["ask"].settings.labels == LABELS
        assert (stage.settings.clip, stage.settings.weight_decay) == (0, 0.05)
        assert stage.settings.batch * stage.settings.accumulate == 4


@pytest.mark.parametrize(("choice", "index"), [("first", 0), ("middle", 5), ("peak", 7)])
def test_one_line_chooses_the_frame(choice, index):
    units = np.zeros((10, 3))
    units[7] = 1
    sample = Sample("a", facts={"action_units": Fact(units, per_frame=True)})
    for name in (*PAPER, "emotion_llama"):
        view = check(name, [f"views.frame.pick={choice}"]).graph.views["frame"].settings
        assert isinstance(view, Frames)
        assert pick(view, 10, sample) == [index]


# -- the stand-in -----------------------------------------------------------------------------------------------------


def test_the_stand_in_is_composed_as_the_published_one():
    small, large = check("emotion_llama"), check(PAPER[0])
    assert small.slots == large.slots
    ends = {s: (small.graph.ends[s].step, small.graph.steps[small.graph.ends[s].step].piece.name) for s in small.slots}
    assert ends == {s: (f"{s}.projector", "linear") for s in large.slots}
    assert small.template.settings.layouts == large.template.settings.layouts
    tags = ("[emotion] ", "[reason] ")
    assert [t for p in small.parts.values() if (t := getattr(p.settings, "text", "")) in tags] == list(tags)
    found = [t for t in segments("emotion_llama") if t.startswith("<") and t[1:-1] in small.slots]
    assert found == ["<patches>", "<face>", "<motion>", "<audio>", "<cls>"]
    assert segments("emotion_llama", [UPSTREAM], phase="infer")[:2] == ["[start]", "[start]"]


COUNT = ("data.count=40", "stages.face.data.count=40", "stages.voice.data.count=40")
SHORT = (
    *COUNT,
    *(f"stages.{s}.max_steps=2" for s in ("face", "voice", "coarse", "fine")),
    *("score.resamples=20", "score.reasons=1", "score.max_new_tokens=6", "run.accelerator=cpu"),
)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """A run of the stand-in that has hardly learnt anything."""
    folder = tmp_path_factory.mktemp("emotion_llama")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield fit("emotion_llama", [*SHORT, f"run.folder={folder}"], say=lambda _: None).folder
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_the_stand_in_trains_in_its_stages_and_answers_in_either_layout(stand_in):
    steps = [json.loads(line) for line in (stand_in / "curves.jsonl").read_text().splitlines()]
    for stage in ("face", "voice", "coarse", "fine"):
        assert [s["step"] for s in steps if s["stage"] == stage and s["kind"] == "train"] == [0, 1]
    other = evaluate(stand_in, [UPSTREAM, "score.reasons=0"], say=lambda _: None).folder
    own, mixed = (
        [p for line in (f / "predictions.jsonl").read_text().splitlines() if (p := json.loads(line))["task"] == "label"]
        for f in (stand_in, other)
    )
    assert [p["id"] for p in own] == [p["id"] for p in mixed]
    assert all(p["probabilities"] != q["probabilities"] for p, q in zip(own, mixed, strict=True)), "another prompt"


@pytest.mark.slow
def test_the_stand_in_answers_and_reasons_on_a_raw_clip(stand_in):
    clip = json.loads((stand_in / "predictions.jsonl").read_text().splitlines()[0])["media"]
    out = CliRunner().invoke(predict, [str(stand_in), clip, "--reason", "--face", "whole", "--json"])
    assert out.exit_code == 0, out.output
    answer = json.loads(out.stdout.splitlines()[0])
    assert answer["label"] in answer["probabilities"]
    assert len(answer["probabilities"]) == 7
    assert isinstance(answer["reason"], str)
