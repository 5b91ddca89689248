"""Every fault a user can write: the exact list of what is told, each with its place and the nearest fix."""

# ruff: noqa: E501 -- each fault in one line, as a user meets it
import doctest
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults import BASE, broken, plan_of, told

from affectkit import errors
from affectkit.errors import InputError, Problem
from affectkit.plan.check import MOST_PROBLEMS, check

FACE, PROJECTOR, STAGE = "a.yaml:10:", "streams.face.steps.projector", "stages.train"
UNKNOWN = {
    "piece": ("use: linear", "use: liner", f"a.yaml:11:19: {PROJECTOR}.use: unknown step 'liner' => did you mean 'linear'?"),
    "section": ("score:", "scores:", "a.yaml:27:1: scores: unknown section 'scores' => did you mean 'score'?"),
    "key": ("mlp}", "mlp, hiden: 3}", "a.yaml:15:29: streams.voice.steps.projector.hiden: unknown key 'hiden' => did you mean 'hidden'?"),
    "port": ("pixels: crops", "pixls: crops", "a.yaml:10:37: streams.face.steps.encoder.pixls: unknown key 'pixls' => did you mean 'pixels'?"),
    "view in a port": ("pixels: crops", "pixels: crop", "a.yaml:10:37: streams.face.steps.encoder.pixels: unknown view or stream 'crop' => did you mean 'crops'?"),
    "kind of view": ("use: wave", "use: waves", "a.yaml:6:10: views.wave.use: unknown view 'waves' => did you mean 'wave'?"),
    "setting of a view": ("seconds: 2", "secnds: 2", "a.yaml:6:21: views.wave.secnds: unknown key 'secnds' => did you mean 'seconds'?"),
    "view to cut from": ("of: frames", "of: frame", "a.yaml:5:23: views.crops.of: unknown view of frames 'frame' => did you mean 'frames'?"),
    "stream in a slot": ("stream: face", "stream: fase", "a.yaml:19:23: prompt.parts.face.stream: unknown stream for a slot 'fase' => did you mean 'face'?"),
    "required key": ("stream: face", "straem: face", "a.yaml:19:23: prompt.parts.face.straem: unknown key 'straem' => did you mean 'stream'?"),
    "step in a port": ("use: linear", "use: linear, tokens: voice.encodr", f"a.yaml:11:32: {PROJECTOR}.tokens: unknown step 'voice.encodr' => did you mean 'voice.encoder'?"),
    "block": ("use: linear", "use: linear, tokens: voice.encoder.framse", f"a.yaml:11:32: {PROJECTOR}.tokens: unknown block 'voice.encoder.framse' => did you mean 'voice.encoder.frames'?"),
    "block without its step": ("use: linear", "use: linear, tokens: voice.patches", f"a.yaml:11:32: {PROJECTOR}.tokens: unknown step 'voice.patches' => a block is named with its step, such as voice.projector.patches"),
    "glob": ("streams.*.projector", "streams.*.projctor", f"a.yaml:25:13: {STAGE}.train.0: nothing has an address like 'streams.*.projctor' => did you mean 'streams.*.projector'?"),
    "address": ("streams.*.projector", "face.projecter", f"a.yaml:25:13: {STAGE}.train.0: nothing has an address like 'face.projecter' => did you mean 'face.projector'?"),
    "rate's address": ("epochs: 2", "lrs: {backbone.modl: 1}", f"a.yaml:26:11: {STAGE}.lrs.backbone.modl: nothing has an address like 'backbone.modl' => did you mean 'backbone.model'?"),
    "metric": ("uar: uar", "uar: uarr", "a.yaml:27:19: score.metrics.uar.use: unknown metric 'uarr' => did you mean 'uar'?"),
    "dataset": ("use: puppets", "use: pupets", "a.yaml:2:8: data.use: unknown dataset 'pupets' => did you mean 'puppets'?"),
    "template": ("use: template", "use: templat", "a.yaml:17:3: prompt.use: unknown prompt 'templat' => did you mean 'template'?"),
    "backbone": ("causal_lm", "causal_ml", "a.yaml:22:12: backbone.use: unknown backbone 'causal_ml' => did you mean 'causal_lm'?"),
    "inner key": ("width: 48", "lora: {rnk: 8}", "a.yaml:22:35: backbone.lora.rnk: unknown key 'rnk' => did you mean 'rank'?"),
    "objective": ("epochs: 2", "objective: face.encodr", f"a.yaml:26:5: {STAGE}.objective: unknown step 'face.encodr' => did you mean 'face.encoder'?"),
    "task": ("epochs: 2", "tasks: {lable: 1}", f"a.yaml:26:13: {STAGE}.tasks.lable: unknown task 'lable' => did you mean 'label'? else add a part with that `task` to the prompt"),
    "choice": ("epochs: 2", "scheduler: cosin", f"a.yaml:26:5: {STAGE}.scheduler: text 'cosin' is none of cosine, linear, constant => did you mean 'cosine'?"),
    "data of a stage": ("epochs: 2", "data: {use: puppetss}", f"a.yaml:26:12: {STAGE}.data.use: unknown dataset 'puppetss' => did you mean 'puppets'?"),
    "key of a stage's data": ("epochs: 2", "data: {use: puppets, cout: 3}", f"a.yaml:26:26: {STAGE}.data.cout: unknown key 'cout' => did you mean 'count'?"),
    "key that another piece has": ("use: puppets", "use: puppets, path: x", "a.yaml:2:22: data.path: unknown key 'path' => the dataset annotated or table has it: change `use` too?"),
    "`use` itself": ("{use: puppets}", "{us: puppets}", "a.yaml:2:1: data.use: `use` must name a dataset => write `use` for 'us'"),
    "key of a stream": ("    steps:\n      encoder: {use: image", "    stpes:\n      encoder: {use: image", "a.yaml:9:5: streams.face.stpes: unknown key 'stpes' => did you mean 'steps'?"),
    "detector": ("of: frames", "of: frames, detector: {use: harr}", "a.yaml:5:46: views.crops.detector.use: unknown detector 'harr' => did you mean 'haar'?"),
    "age's step": ("label_question}", "label_question}\n    who: {use: age_gender_race, source: face.encodr}", "a.yaml:22:33: prompt.parts.who.source: unknown step to read facts of 'face.encodr' => did you mean 'face.encoder'?"),
}  # fmt: skip
WRONG = {
    "text for a whole number": ("epochs: 2", "epochs: two", f"a.yaml:26:5: {STAGE}.epochs: wants a whole number, got text 'two'"),
    "fraction for a whole number": ("epochs: 2", "epochs: 2.5", f"a.yaml:26:5: {STAGE}.epochs: wants a whole number, got 2.5"),
    "truth for a whole number": ("epochs: 2", "epochs: true", f"a.yaml:26:5: {STAGE}.epochs: wants a whole number, got true"),
    "nothing for a whole number": ("epochs: 2", "epochs:", f"a.yaml:26:5: {STAGE}.epochs: wants a whole number, got nothing (null)"),
    "text for a number": ("epochs: 2", "lr: fast", f"a.yaml:26:5: {STAGE}.lr: wants a number, got text 'fast'"),
    "text for a truth": ("linear}", "linear, bias: yes}", f"a.yaml:11:32: {PROJECTOR}.bias: wants true or false, got text 'yes'"),
    "truth for a text": ("label_question", "label_question, task: true", 'a.yaml:21:32: prompt.parts.ask.task: wants text, got true => write "true" in quotes'),
    "list for a text": ("stream: face", "stream: [face]", "a.yaml:19:23: prompt.parts.face.stream: wants text, got a list ['face']"),
    "text for a list": ("[streams.*.projector, backbone.model]", "backbone.model", f"a.yaml:25:5: {STAGE}.train: wants a list, got text 'backbone.model' => write [\"backbone.model\"]"),
    "text inside a list": ("[streams.*.projector, backbone.model]", "[backbone.model, [x]]", f"a.yaml:25:29: {STAGE}.train.1: wants text, got a list ['x']"),
    "list for a mapping": ("epochs: 2", "tasks: [label]", f"a.yaml:26:5: {STAGE}.tasks: wants a mapping, got a list ['label'] => write {{label: …}}"),
    "text in a mapping": ("epochs: 2", "tasks: {label: often}", f"a.yaml:26:13: {STAGE}.tasks.label: wants a number, got text 'often'"),
    "number for settings": ("width: 48", "lora: 8", "a.yaml:22:28: backbone.lora: wants a mapping of settings (rank, alpha, dropout, targets) or null, got 8"),
    "text for a number or null": ("width: 48", "width: wide", "a.yaml:22:28: backbone.width: wants a whole number or null, got text 'wide'"),
    "number for a port": ("pixels: crops", "pixels: 3", "a.yaml:10:37: streams.face.steps.encoder.pixels: the port 'pixels' names a view or a block, got 3"),
    "number for a piece": ("use: linear", "use: 3", f"a.yaml:11:19: {PROJECTOR}.use: `use` must name a step, got 3 => add `use: …`, the name of a step"),
    "list for a block": ("{use: linear}", "[linear]", f"a.yaml:11:7: {PROJECTOR}: wants a block with `use`, got a list ['linear'] => write {{use: NAME}} with the name of a step"),
    "number for a stage": ("\n    train: [streams.*.projector, backbone.model]\n    epochs: 2", " 5", "a.yaml:24:3: stages.train: wants a mapping of settings (train, data, objective, tasks, visits, epochs, max_steps, batch, accumulate, lr, lrs, scheduler, warmup, warmup_steps, warmup_lr, min_lr, fall, weight_decay, clip, balance, keep, save_every, keep_every), got 5"),
    "list for a name": ("name: face", "name: [face]", "a.yaml:1:1: name: wants text, got a list ['face']"),
    "text for plugins": ("name: face", "plugins: x.py", "a.yaml:1:1: plugins: wants a list of .py files, got text 'x.py'"),
    "number for a stream": ("{use: label_question}", "{use: label_question}\nviews: 3", "a.yaml:22:1: duplicate key 'views' (first at line 3) => keep one of the two"),
    "no epochs": ("epochs: 2", "epochs: 0", f"a.yaml:26:5: {STAGE}.epochs: must be at least 1, got 0"),
    "a rate that is no number": ("epochs: 2", "lr: .nan", f"a.yaml:26:5: {STAGE}.lr: wants a number from -2147483647 to 2147483647, got nan"),
    "nothing trains": ("[streams.*.projector, backbone.model]", "[]", f"a.yaml:25:5: {STAGE}.train: a stage trains at least one address"),
    "nothing is asked": ("epochs: 2", "tasks: {}", f"a.yaml:26:5: {STAGE}.tasks: a stage asks at least one task, or has an objective"),
    "no share": ("epochs: 2", "tasks: {label: 0}", f"a.yaml:26:13: {STAGE}.tasks.label: the share of task 'label' must be above 0, got 0.0"),
    "a piece's own rule": ("use: puppets", "use: puppets, count: 1", "a.yaml:2:22: data.count: must be between 3 and 1000000, not 1"),
    "a rule over two settings": ("heads: 4", "heads: 5", "a.yaml:22:28: backbone.width: 48 is not a multiple of the 5 heads"),
    "a view's own rule": ("count: 4", "count: 0", "a.yaml:4:25: views.frames.count: must be at least 1, got 0"),
    "a port of the wrong kind": ("pixels: crops", "pixels: wave", "a.yaml:10:37: streams.face.steps.encoder.pixels: the port 'pixels' eats pixels, but wave is wave => name a view of pixels"),
    "tokens of the wrong kind": ("use: linear", "use: linear, tokens: frames", f"a.yaml:11:32: {PROJECTOR}.tokens: the port 'tokens' eats tokens, but frames is pixels => name a block of another step"),
    "a port that nothing fills": ("pixels: crops", "size: 32", "a.yaml:10:7: streams.face.steps.encoder: nothing fills the port 'pixels' of 'image_patches' => add `pixels: frames`, the name of a view of pixels"),
    "widths that do not meet": ("      projector: {use: mlp}\n", "", "a.yaml:14:7: streams.voice.steps.encoder: voice.encoder.frames is 256 wide, the LLM 48: a stream that a prompt names must end in the LLM's width => end the stream with a projector"),
    "a stream nobody uses": ("    voice: {use: slot, stream: voice}\n", "", "a.yaml:12:3: streams.voice: nobody uses the stream 'voice' => add a part with a slot for 'voice' to the prompt, or set streams.voice to null"),
    "no data": ("data: {use: puppets}\n", "", "a.yaml:1:1: the section 'data' is missing => add `data: {use: …}`"),
    "no question": ("    ask: {use: label_question}\n", "", "a.yaml:18:3: prompt.parts: no part of the prompt asks for a task => add a part that does"),
    "no LoRA to train": ("[streams.*.projector, backbone.model]", "[backbone.lora]", f"a.yaml:25:13: {STAGE}.train.0: backbone.lora trains here, but the backbone has no LoRA => give the backbone `lora: {{}}`, or train backbone.model"),
    "a stage that would leave its folder": ("\n  train:\n", "\n  ../train:\n", "a.yaml:24:3: stages.../train: the name of the stage '../train' has other signs than letters, digits and single _ or - between them => rename it"),
    "a step that is no address": ("      encoder: {use: image", "      en.coder: {use: image", "a.yaml:10:7: streams.face.steps.en.coder: the name of the step 'en.coder' has other signs than letters, digits and single _ or - between them => rename it"),
    "a view and a stream of one name": ("\n  crops: {use: faces", "\n  voice: {use: faces", None),
    "duplicate key": ("epochs: 2", "epochs: 2\n    epochs: 3", "a.yaml:27:5: duplicate key 'epochs' (first at line 26) => keep one of the two"),
    "merge key": ("epochs: 2", "<<: {epochs: 2}", "a.yaml:26:5: merge keys (`<<`) are not read => use `extends`, or write the keys out"),
    "tag": ("{use: puppets}", "!!python/object/apply:os.system ['touch pwned']", "a.yaml:2:7: the tag '!!python/object/apply:os.system' is not allowed: a recipe holds plain values only => leave it out"),
    "alias to itself": ("{use: puppets}", "&d {use: puppets, again: *d}", "a.yaml:2:7: an alias leads back to itself => write the value out"),
    "environment": ("name: face", "name: ${oc.env:HOME}", "a.yaml:1:1: name: the interpolation ${oc.env:HOME} is not allowed: only another key of the recipe can be named => write the value itself"),
    "circle of interpolations": ("name: face", "name: ${about}\nabout: ${name}", "a.yaml:1:1: name: interpolations form a circle: name -> about -> name => write one of them out"),
    "unknown interpolation": ("name: face", "name: ${views.frames.cuont}", "a.yaml:1:1: name: the interpolation ${views.frames.cuont} names no key of the recipe => did you mean ${views.frames.count}?"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_recipe_that_is_broken_below_is_right():
    assert told(BASE) == []


@pytest.mark.parametrize("fault", UNKNOWN)
def test_an_unknown_name_is_told_once_with_its_place_and_the_nearest(fault):
    old, new, line = UNKNOWN[fault]
    assert told(broken((old, new))) == [line]


NET = ("use: image_patches", "use: face_analysis")


def test_what_trains_must_be_used_by_the_objective():
    line = f"a.yaml:25:34: {STAGE}.train.1: backbone.model trains here, but the objective face.encoder does not use it"
    assert told(broken(NET, ("epochs: 2", "objective: face.encoder"))) == [f"{line} => leave it out"]


def test_an_objective_is_a_step_with_a_loss():
    line = f"a.yaml:26:5: {STAGE}.objective: face.encoder is the encoder 'image_patches', which has no loss of its own"
    fix = "leave it out, so that the LLM's loss counts, or set stages.train to null"
    assert told(broken(("epochs: 2", "objective: face.encoder"))) == [f"{line} => {fix}"]


def test_facts_are_read_of_steps_that_tell_them_and_have_been_trained():
    who = ("{use: label_question}", "{use: label_question}\n    who: {use: age_gender_race, source: face.encoder}")
    trains = ("[streams.*.projector,", "[face.encoder, streams.*.projector,")
    line = f"a.yaml:26:5: {STAGE}.train: the prompt reads facts of face.encoder, but face.encoder still trains in this stage"
    fix = "train face.encoder in a stage before, by its own objective"
    assert told(broken(NET, who, trains)) == [f"{line}: its words would change under the LLM => {fix}"]
    line = "a.yaml:22:33: prompt.parts.who.source: reads age, gender, race of face.encoder"
    fix = "set prompt.parts.who to null"
    assert told(broken(who)) == [f"{line}, but the encoder 'image_patches' tells none => {fix}"]


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_value_is_told_once_with_its_place(fault):
    old, new, line = WRONG[fault]
    found = told(broken((old, new)))
    if line is not None:
        assert found == [line]
    else:
        assert "a.yaml:12:3: streams.voice: a view and a stream are both called 'voice' => rename one of them" in found
    assert not Path("pwned").exists()


def test_a_circle_of_streams_is_told_once():
    assert told(broken(("encoder: {use: log_mel, wave: wave}", "encoder: {use: mlp, tokens: face}"), ("use: image_patches, pixels: crops", "use: mlp, tokens: voice"))) == [
        "a.yaml:10:7: streams.face.steps.encoder: the streams form a circle, each reading the next: face.encoder -> "
        "voice.projector -> voice.encoder -> face.projector -> face.encoder => let one of these steps read something else"
    ]  # fmt: skip


MANY = """\
name: x
data: {use: pupets}
views:
  frames: {use: frames, count: four}
  crops: {use: faces, of: frames}
  wave: {use: wav}
streams:
  face: {steps: {encoder: {use: image_patches, pixels: crops, size: big}, projector: {use: linear}}}
  voice:
    steps:
      encoder: {use: log_mel, wave: wave}
      adapter: {use: conv_transformr}
      projector: {use: mlp, hidden: -1}
  other: {steps: {a: {use: linear, tokens: voice.encoder}}}
prompt:
  use: template
  parts:
    face: {use: slot, stream: face}
    voice: {use: slott, stream: voice}
    ask: {use: label_question, order: dta}
backbone: {use: causal_lm, width: 48, heads: 5}
stages:
  train: {train: [streams.voice.projector, other.a, backbone.modl], tasks: {labl: 1}}
  two: {train: [], epochs: 0, foo: 1}
score: {metrics: {uar: ua}, splits: []}
run: {seed: -1, workers: -1}
zzz: 1
"""


def test_all_problems_come_at_once_in_the_order_of_the_file_and_none_only_follows():
    found = [line.split(" => ")[0].removeprefix("a.yaml:") for line in told(MANY)]
    assert found == [
        "2:8: data.use: unknown dataset 'pupets'",
        "4:25: views.frames.count: wants a whole number, got text 'four'",
        "6:10: views.wave.use: unknown view 'wav'",
        "8:63: streams.face.steps.encoder.size: wants a whole number, got text 'big'",
        "12:17: streams.voice.steps.adapter.use: unknown step 'conv_transformr'",
        "13:29: streams.voice.steps.projector.hidden: must be at least 1, got -1",
        "14:3: streams.other: nobody uses the stream 'other'",
        "19:13: prompt.parts.voice.use: unknown prompt 'slott'",
        "20:32: prompt.parts.ask.order: text 'dta' is none of data, shuffled",
        "21:28: backbone.width: 48 is not a multiple of the 5 heads",
        "23:53: stages.train.train.2: nothing has an address like 'backbone.modl'",
        "24:9: stages.two.train: a stage trains at least one address",
        "24:20: stages.two.epochs: must be at least 1, got 0",
        "24:31: stages.two.foo: unknown key 'foo'",
        "25:19: score.metrics.uar.use: unknown metric 'ua'",
        "25:29: score.splits: names no split to evaluate",
        "26:7: run.seed: must be at least 0, got -1",
        "26:17: run.workers: must be at least 0, got -1",
        "27:1: zzz: unknown section 'zzz'",
    ]


def test_a_flood_of_problems_is_cut():
    Path("a.yaml").write_text(BASE + "".join(f"x{i}: 1\n" for i in range(MOST_PROBLEMS + 7)))
    with pytest.raises(InputError) as caught:
        check("a.yaml")
    assert len(caught.value.problems) == MOST_PROBLEMS + 1
    assert str(caught.value.problems[-1]) == "and 7 more problems"


def test_a_problem_is_written_with_what_is_known_and_the_fix():
    problem = Problem("a.yaml:1:2", "is wrong", "mend it", ("a", "b"))
    assert str(problem) == "a.yaml:1:2: is wrong\n    known: a, b\n    fix: mend it"
    assert str(InputError([problem, Problem("", "too")])) == f"{problem}\ntoo"
    assert InputError("short").problems == (Problem("", "short"),)


def test_a_long_name_is_cut():
    assert len(errors.unknown("", "piece", "x" * 5000, ["a"]).what) < 120


def test_examples():
    assert doctest.testmod(errors).failed == 0


SHELL = {
    ("check", "right.yaml"): (0, ""),
    ("check", "right.yaml", "run.seed=x"): (2, "error: override 'run.seed=x': run.seed: wants a whole number, got text 'x'"),
    ("fit", "wrong.yaml"): (2, "error: 2 problems"),
    ("check", "nothing.yaml"): (2, "error: unknown recipe 'nothing.yaml'"),
    ("chek", "right.yaml"): (2, "Error: unknown command 'chek'"),
}  # fmt: skip


@pytest.mark.parametrize("arguments", SHELL, ids=" ".join)
def test_the_exit_code_of_the_shell(arguments):
    Path("right.yaml").write_text(BASE)
    Path("wrong.yaml").write_text(broken(("epochs: 2", "epochs: x"), ("uar: uar", "uar: ua")))
    code, line = SHELL[arguments]
    ran = subprocess.run(
        [sys.executable, "-m", "affectkit", *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == code
    assert (ran.stderr.splitlines() or [""])[0] == line
    assert "Traceback" not in ran.stderr


def test_a_recipe_is_checked_well_under_a_second():
    began = time.process_time()
    told(BASE)
    assert time.process_time() - began < 20  # no bomb goes off; speed is for benchmarks/


def test_a_port_is_offered_only_what_makes_no_circle():
    text = broken(
        ("      projector: {use: linear}\n", "      more: {use: mean}\n      projector: {use: linear}\n"),
        ("encoder: {use: log_mel, wave: wave}", "encoder: {use: mlp}"),
    )
    problem = next(p for p in plan_of(text)[1] if "nothing fills" in p.what)
    assert problem.known == ("face.encoder", "face.more", "face.projector")
    text = text.replace("encoder: {use: image_patches, pixels: crops}", "encoder: {use: mlp, tokens: voice}")
    problem = next(p for p in plan_of(text)[1] if "nothing fills" in p.what)
    assert problem.known == ()


@pytest.mark.parametrize("block", ["data", "backbone", "prompt", "views.frames", "streams.face.steps.projector"])
def test_use_misspelt_as_an_override(block):
    lines = [line for line in told(BASE, f"{block}.us=x") if "unknown key 'us'" in line]
    assert len(lines) == 1
    assert lines[0].endswith("=> did you mean 'use'?")
