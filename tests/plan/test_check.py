"""A recipe as a plan: round trips through `check --full`, ablations, trust in plugins, and no input that raises."""

import random
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from faults import BASE, REGISTRY, broken, plan_of, told

from affectkit.errors import InputError
from affectkit.pieces import Piece, Port, Shape
from affectkit.plan.check import check, plan_recipe
from affectkit.plan.stages import matching
from affectkit.plan.summary import full_recipe, full_values, summary_rows
from affectkit.recipe import marked_yaml
from affectkit.recipe.interpolate import escape
from affectkit.recipe.load import load_recipe, shipped_folder, shipped_recipes
from affectkit.recipe.recipe import Recipe
from affectkit.registry import Plugin, Registry


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@dataclass(frozen=True)
class Inner:
    """A block in a block."""

    rank: int = 8
    """A rank."""
    names: tuple[str, ...] = ("a",)
    """Names."""


@dataclass(frozen=True)
class Odd:
    """One of every kind of setting."""

    text: str = ""
    """Text."""
    maybe: int | None = 3
    """A number or null."""
    inner: Inner | None = None
    """A block or null."""
    always: Inner = Inner()
    """A block."""
    map: dict[str, float] = field(default_factory=lambda: {"a": 1.0})
    """A mapping."""
    any: dict[str, Any] | None = None
    """Anything."""
    choice: Literal["x", 1, None] = "x"
    """A choice."""
    pair: tuple[int, float] = (1, 2.5)
    """Two numbers."""
    size: int | str = "auto"
    """A number or text."""


def odd_shapes(settings, inputs, width):
    if settings.text == "crash":
        raise KeyError("oops")
    return {} if settings.text == "silent" else {"out": Shape(width=width), "other": Shape(tokens=2)}


def never(*arguments):
    raise AssertionError("nothing is built by check")


ODD = Piece("projector", "odd", Odd, never, odd_shapes, (Port("tokens"), Port("wave", "wave", optional=True)))


def registry(*pieces):
    return Registry([*REGISTRY.plugins, Plugin("own", "own.py", pieces=list(pieces))])


WITH_ODD = registry(ODD)


def same(text, **more):
    """The plan of a text, after checking that its full recipe gives the same plan."""
    plan, problems = plan_of(text, **more)
    assert problems == []
    again, problems = plan_of(full_recipe(plan), name="full.yaml", **more)
    assert problems == []
    assert full_values(again) == full_values(plan)
    for part in (
        "data",
        "template",
        "parts",
        "backbone",
        "width",
        "stages",
        "metrics",
        "score",
        "run",
        "graph",
        "slots",
    ):
        assert getattr(again, part) == getattr(plan, part), part
    assert summary_rows(again) == summary_rows(plan)
    return plan


@pytest.mark.parametrize("name", shipped_recipes())
def test_the_full_recipe_of_a_shipped_one_is_the_same_recipe(name):
    plan, problems = plan_recipe(load_recipe(name), REGISTRY)
    assert problems == []
    again, problems = plan_of(full_recipe(plan), name="full.yaml")
    assert problems == []
    assert full_values(again) == full_values(plan)
    assert (again.graph, again.stages, again.parts) == (plan.graph, plan.stages, plan.parts)


ODDITIES = (
    "{use: odd}",
    "{use: odd, wave: null}",
    "{use: odd, maybe: null, inner: {rank: 2, names: []}, always: {names: ['1', 'yes', '1e-5']}}",
    "{use: odd, map: {}, any: {a: null, b: [1, '1', {c: 007}]}, choice: null, pair: [3, 4], size: 5}",
    "{use: odd, map: {a: null, b: 1}, text: 007, choice: 1, size: '5'}",
    r"{use: odd, text: 'costs \${x} or \\\${y}'}",
    '{use: odd, text: "a\\nb: #c \\u2028 \\t"}',
)


@pytest.mark.parametrize("block", ODDITIES)
def test_the_full_recipe_keeps_every_kind_of_setting(block):
    plan = same(broken(("{use: mlp}", block)), registry=WITH_ODD)
    assert plan.graph.steps["voice.projector"].piece is ODD
    assert ("wave" in plan.graph.steps["voice.projector"].inputs) == ("wave: null" not in block)


def test_the_full_recipe_keeps_detectors_stage_data_and_removed_things():
    text = broken(
        ("of: frames", "of: frames, detector: own"),
        ("epochs: 2", "data: puppets\n    objective: ''\n  gone: null"),
        ("  wave: {use: wave, seconds: 2}", "  wave: {use: wave, seconds: null}\n  unused: null"),
    )
    plan = same(text, registry=registry(Piece("detector", "own", Inner, never)))
    assert full_values(plan)["stages"]["train"]["data"]["count"] == 1000
    assert len(full_values(plan)["views"]["crops"]["detector"]) > 1


def test_a_text_that_looks_like_an_interpolation_is_escaped():
    for text in ("${x}", "\\${x}", "\\\\${x}", "a ${", "$", "{x}"):
        recipe = marked_yaml.dump({"name": escape(text), "about": "x"})
        Path("a.yaml").write_text(recipe)
        found = load_recipe("a.yaml")
        assert found.problems == []
        assert found.get("name") == text


def test_ablations_take_streams_steps_views_and_parts_out():
    over = ("streams.voice=null", "prompt.parts.voice=null", "views.wave=null")
    plan, problems = plan_of(BASE, *over)
    assert problems == []
    assert list(plan.graph.steps) == ["face.encoder", "face.projector"]
    text = broken(("[streams.*.projector,", "[voice.projector, streams.voice, streams.face,"))
    assert told(text, *over) == []
    assert told(BASE, "streams.voice=null") == [
        "a.yaml:20:24: prompt.parts.voice.stream: unknown stream for a slot 'voice' => streams.voice is null "
        "(override 'streams.voice=null': streams.voice): set this part to null too"
    ]
    assert told(BASE, "streams.voice.steps.projector=null")[0].startswith(
        "a.yaml:14:7: streams.voice.steps.encoder: voice"
    )


@pytest.mark.parametrize(("how", "said"), [("=null", "null"), (".off=true", "off")])
def test_a_part_that_reads_facts_of_a_stream_that_is_gone_is_told_what_to_do(how, said):
    who = "prompt.parts.who={use: age_gender_race, source: voice.encoder}"
    (line,) = (line for line in told(BASE, f"streams.voice{how}", who) if "read facts of 'voice.encoder'" in line)
    assert f"=> streams.voice is {said} (override 'streams.voice{how}': " in line
    assert line.endswith("): set this part to null too")
    assert not any("read facts" in line for line in told(BASE, f"streams.voice{how}", who, "prompt.parts.who=null"))


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("streams.*", ["face.encoder", "voice.projector"]),
        ("streams.*.projector", ["voice.projector"]),
        ("*.projector", ["voice.projector"]),
        ("voice", ["voice.projector"]),
        ("backbone.*", ["backbone.model", "backbone.lora"]),
        ("streams.backbone.lora", []),
        ("*", ["face.encoder", "voice.projector", "backbone.model", "backbone.lora", "heads.emotion"]),
    ],
)
def test_a_glob_over_streams_names_steps_alone(pattern, named):
    known = ("face.encoder", "voice.projector", "backbone.model", "backbone.lora", "heads.emotion")
    assert matching(pattern, known) == named


def test_a_removed_section_is_missing():
    assert [t.split(" => ")[0] for t in told(BASE, "data=null", "prompt=null", "stages=null")] == [
        "a.yaml:1:1: the section 'data' is missing",
        "a.yaml:1:1: the section 'prompt' is missing",
    ]


def test_what_a_strangers_piece_does_wrong_is_told_with_its_name():
    @dataclass(frozen=True)
    class Bad:
        """Bad."""

        def problems(self):
            raise RuntimeError("no")

    pieces = registry(ODD, Piece("projector", "bad", Bad, never, odd_shapes, (Port("tokens"),)))
    at = "a.yaml:15:7: streams.voice.steps.projector: "
    line = odd_shapes.__code__.co_firstlineno + 2  # where it raises
    assert told(broken(("use: mlp", "use: odd, text: crash")), registry=pieces) == [
        f"{at}shapes() of the projector 'odd' from own.py failed: KeyError: 'oops' (test_check.py:{line}) => tell its author"
    ]
    assert told(broken(("use: mlp", "use: odd, text: silent")), registry=pieces) == [
        f"{at}the projector 'odd' does not say what it puts out => tell its author"
    ]
    assert told(broken(("use: mlp", "use: bad")), registry=pieces) == [f"{at}{__name__}.Bad failed: RuntimeError: no"]


def test_a_missing_package_is_told_beside_the_other_faults():
    pieces = registry(replace(ODD, needs=("nosuch.part", "nosuch"), extra="odd"))
    assert told(broken(("use: mlp", "use: odd, maybe: x")), registry=pieces) == [
        "a.yaml:15:19: streams.voice.steps.projector.use: the step 'odd' needs the package nosuch.part, nosuch, "
        "which is not installed => pip install nosuch.part nosuch",
        "a.yaml:15:29: streams.voice.steps.projector.maybe: wants a whole number or null, got text 'x'",
    ]


PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path
import affectkit
from affectkit.pieces import Port, Shape

Path("loaded").touch()

@dataclass(frozen=True)
class Settings:
    """Mine."""

@affectkit.hookimpl
def affectkit_pieces():
    shapes = lambda settings, inputs, width: {"tokens": Shape(width=width)}
    return [affectkit.Piece("projector", "mine", Settings, print, shapes, (Port("tokens"),))]
'''


def test_a_plugin_that_a_recipe_names_is_loaded_only_where_it_is_trusted():
    Path("own").mkdir()
    Path("own/mine.py").write_text(PLUGIN)
    Path("own/a.yaml").write_text(broken(("name: face", "plugins: [mine.py]"), ("use: mlp", "use: mine")))
    with pytest.raises(InputError) as caught:
        check("own/a.yaml")
    assert [str(p).splitlines() for p in caught.value.problems] == [
        [
            "own/a.yaml:1:1: plugins: the recipe names plugin files (mine.py), which are not loaded unless you say so",
            "    fix: add --trust-plugins if you trust who wrote them",
        ]
    ]
    assert not Path("loaded").exists()
    assert check("own/a.yaml", trust=True).graph.steps["voice.projector"].piece.name == "mine"
    assert Path("loaded").exists()
    with pytest.raises(
        InputError, match=r"override 'plugins=\[none\.py\]': plugins\.0: there is no plugin file 'none\.py'"
    ):
        check("own/a.yaml", ["plugins=[none.py]"], trust=True)


def test_check_takes_a_recipe_that_was_read_before():
    Path("a.yaml").write_text(BASE)
    assert check(load_recipe("a.yaml", ["name=other"])).name == "other"


WORDS = (
    None, True, 0, -1, 3, 10**12, 2.5, float("nan"), float("inf"), "", "x", "face", "voice.encoder", "frames", "${name}",
    "${streams}", "${a.b", "use", "null", [], [1], ["face"], {}, {"use": "linear"}, {"use": 3}, {"a": {"b": [None]}},
    "streams.*", "[", "*", "é", "a.b", "../x", "linear", "mlp", "slot", "puppets", "causal_lm", "qformer", "template",
)  # fmt: skip


def places(value, path=()):
    """Every path in a tree."""
    yield path
    for key, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(child, (*path, key))


def mutate(tree, rng):
    """Delete, rename, replace, copy elsewhere: one random change, in place."""
    path = rng.choice([p for p in places(tree) if p])
    holder = tree
    for key in path[:-1]:
        holder = holder[key]
    other = tree
    for key in rng.choice(list(places(tree))):
        other = other[key]
    other = marked_yaml.parse(marked_yaml.dump(other), "")[0]
    action = rng.randrange(5)
    if action == 0:
        del holder[path[-1]]
    elif action == 1 and isinstance(holder, dict):
        name = str(path[-1])
        new = rng.choice(
            [name[:-1], name + "s", name[::-1], "use", "x y", "", "1", rng.choice(["face", "steps", "of"])]
        )
        holder[new] = holder.pop(path[-1])
    elif action == 2 and isinstance(holder, dict):
        holder[rng.choice(["use", "cache", "tokens", "lora", "zzz", "train"])] = rng.choice(WORDS)
    elif action == 3:
        holder[path[-1]] = other
    else:
        holder[path[-1]] = rng.choice(WORDS)


SEEDS = {"base": range(150), "emo_llama": range(60), "paper/affectgpt": range(30)}


@pytest.mark.parametrize(("name", "seed"), [(n, s) for n, seeds in SEEDS.items() for s in seeds])
def test_no_recipe_raises_anything_but_input_errors_or_takes_long(name, seed):
    rng = random.Random(f"{name} {seed}")
    text = BASE if name == "base" else (shipped_folder() / f"{name}.yaml").read_text()
    tree = marked_yaml.parse(text, name)[0]
    for _ in range(rng.randint(1, 6)):
        if len(tree) > 1:
            mutate(tree, rng)
    text = marked_yaml.dump(tree)
    began = time.process_time()
    try:
        plan, problems = plan_of(text)
    except InputError as error:
        problems, plan = error.problems, None
    assert time.process_time() - began < 20  # no bomb goes off; speed is for benchmarks/
    assert len({(p.place, p.what) for p in problems}) == len(problems)
    for problem in problems:
        assert problem.place
        assert " failed: " not in problem.what, problem
        assert "\n" not in problem.what
    if plan is not None and not problems:
        same(text)


def test_a_recipe_made_in_python_is_checked_too():
    tree = marked_yaml.parse(BASE, "x")[0]
    plan, problems = plan_recipe(Recipe("made", tree), REGISTRY)
    assert problems == []
    assert plan.name == "face"
    _, problems = plan_recipe(Recipe("made", {**tree, "data": 3}), REGISTRY)
    assert [p.place for p in problems] == ["made: data"]


def test_a_wrong_number_hides_no_wrong_name_in_its_stage():
    from affectkit.errors import InputError
    from affectkit.plan.check import check

    wrong = ["lr=fast", "train=[streams.*.projektor]", "tasks={lable: 1}", "data.use=pupets"]
    with pytest.raises(InputError) as told:
        check("recipes/emo_llama.yaml", [f"stages.instruct.{w}" for w in wrong])
    text = str(told.value)
    assert all(name in text for name in ("lr", "projektor", "lable", "pupets")), text
    assert "projector" in text
    assert "puppets" in text


def test_a_value_that_was_reported_before_hides_no_wrong_name_in_its_stage():
    edits = (
        ("[streams.*.projector, backbone.model]", "[streams.*.projektor]"),
        ("epochs: 2", "tasks: {label: '${nope.x}'}"),
    )
    one, other = told(broken(*edits))
    assert one.startswith("a.yaml:25:13: stages.train.train.0: nothing has an address like 'streams.*.projektor'")
    assert "the interpolation ${nope.x} names no key of the recipe" in other


def test_a_temperature_is_fitted_on_other_samples_than_those_that_are_scored():
    assert told(BASE, "score.calibrate=train")[0].startswith(
        "override 'score.calibrate=train': score.calibrate: 'train' is the split"
    )
    assert "is scored, and a temperature is fitted on other samples" in told(BASE, "score.calibrate=test")[0]
    assert told(BASE, "score.splits=[val,test]") == []
