"""How a recipe comes together: `extends`, overrides, interpolation, where things were written, and finding the file."""
# ruff: noqa: E501 -- each fault in one line

import time
from pathlib import Path

import pytest
from faults import BASE, broken, plan_of, told

from affectkit.errors import InputError
from affectkit.recipe.load import MOST_FILES, find, load_recipe, shipped_recipes


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def load(text, *overrides):
    """The recipe of a text, which must be read without a problem."""
    Path("a.yaml").write_text(text)
    recipe = load_recipe("a.yaml", overrides)
    assert recipe.problems == []
    return recipe


def base(text, name="base.yaml"):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text)


# -- extends --------------------------------------------------------------------------------------------------------


def test_mappings_merge_and_all_else_replaces():
    base("views: {f: {use: frames, count: 3}, g: {use: frames}}\nstages: {s: {train: [a, b]}}\n")
    recipe = load("extends: base.yaml\nviews: {f: {count: 4}}\nstages: {s: {train: [c]}}\n")
    assert recipe.values == {
        "views": {"f": {"use": "frames", "count": 4}, "g": {"use": "frames"}},
        "stages": {"s": {"train": ["c"]}},
    }
    assert recipe.place(("views", "f", "count")) == "a.yaml:2:13: views.f.count"
    assert recipe.place(("views", "f", "use")) == "base.yaml:1:13 (extended by a.yaml): views.f.use"
    assert recipe.place(("stages", "s", "train", 0)) == "a.yaml:3:22: stages.s.train.0"
    assert recipe.place(("stages", "s", "lr")) == "base.yaml:2:10 (extended by a.yaml): stages.s.lr"


def test_a_changed_use_drops_the_old_settings_and_the_same_one_keeps_them():
    base("data: {use: puppets, count: 3}\nbackbone: {use: causal_lm, width: 48}\nviews: {frames: {count: 3}}\n")
    recipe = load(
        "extends: base\ndata: {use: table, path: x}\nbackbone: {use: causal_lm}\nviews: {frames: {use: faces}}\n"
    )
    assert recipe.get("data") == {"use": "table", "path": "x"}
    assert recipe.get("backbone") == {"use": "causal_lm", "width": 48}
    assert recipe.get("views", "frames") == {"use": "faces"}
    assert recipe.place(("data", "count")) == "a.yaml:2:1: data.count"


def test_a_name_alone_is_a_block():
    base("data: puppets\nbackbone: {use: causal_lm, width: 48}\n")
    recipe = load("extends: base.yaml\ndata: {count: 7}\nbackbone: causal_lm\n")
    assert recipe.values == {"data": {"use": "puppets", "count": 7}, "backbone": {"use": "causal_lm", "width": 48}}
    assert load("extends: base.yaml\nbackbone: other\n").get("backbone") == {"use": "other"}


def test_another_template_keeps_the_parts():
    base("prompt: {use: a, system: x, parts: {p: slot}}\n")
    assert load("extends: base.yaml\nprompt: {use: b}\n").get("prompt") == {"parts": {"p": "slot"}, "use": "b"}


ROW = "prompt: {use: t, parts: {a: slot, b: {use: slot, after: x}, c: slot}}\nstages: {one: {train: [x]}, two: {train: [y]}}\n"


@pytest.mark.parametrize(
    ("changes", "parts", "stages"),
    [
        ("prompt: {parts: {new: {use: p, insert: before b}}}\n", "a new b c", "one two"),
        ("prompt: {parts: {new: {use: p, insert: after b}}}\n", "a b new c", "one two"),
        ("stages: {new: {train: [z], insert: before one}}\n", "a b c", "new one two"),
        ("prompt: {parts: {c: {insert: before a}}}\n", "c a b", "one two"),
        (
            "prompt: {parts: {m: {use: p, insert: after a}, n: {use: p, insert: after a}, o: {use: p, insert: before a}, "
            "p: {use: p, insert: before a}}}\n",
            "o p a m n b c",
            "one two",
        ),
        ("prompt: {parts: {n: {use: p, insert: before m}, m: {use: p, insert: after c}}}\n", "a b c n m", "one two"),
        ("prompt: {parts: {a: null, new: {use: p, insert: before a}}}\n", "new a b c", "one two"),
    ],
)
def test_a_recipe_can_insert_what_it_adds(changes, parts, stages):
    base(ROW)
    recipe = load(f"extends: base.yaml\n{changes}")
    assert recipe.problems == []
    assert " ".join(recipe.get("prompt", "parts")) == parts
    assert " ".join(recipe.get("stages")) == stages
    assert "insert" not in str(recipe.values)
    assert recipe.get("prompt", "parts", "b")["after"] == "x"  # a setting of a piece


def test_what_is_inserted_keeps_its_place_in_what_extends_it_and_overrides_insert_too():
    base(ROW)
    base("extends: base.yaml\nprompt: {parts: {new: {use: p, insert: before b}}}\n", "mid.yaml")
    recipe = load("extends: mid.yaml\nprompt: {parts: {new: {size: 3}}}\n")
    assert recipe.get("prompt", "parts", "new") == {"use": "p", "size": 3}
    assert " ".join(recipe.get("prompt", "parts")) == "a new b c"
    recipe = load("extends: mid.yaml\n", "stages.new={train: [z], insert: after one}")
    assert list(recipe.get("stages")) == ["one", "new", "two"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("before bb", ["a.yaml:2:", "unknown name in prompt.parts 'bb'", "known: a, b, c"]),
        ("before", ["a.yaml:2:", "`insert` wants `before NAME` or `after NAME`, got 'before'"]),
        ("2", ["a.yaml:2:", "`insert` wants `before NAME` or `after NAME`, got 2"]),
        ("after new", ["a.yaml:2:", "`insert` runs in a circle: 'new'"]),
    ],
)
def test_an_insert_that_leads_nowhere_is_told_with_its_place(said, words):
    base(ROW)
    Path("a.yaml").write_text(f"extends: base.yaml\nprompt: {{parts: {{new: {{use: p, insert: {said}}}}}}}\n")
    recipe = load_recipe("a.yaml")
    assert len(recipe.problems) == 1
    for word in words:
        assert word in str(recipe.problems[0])
    assert recipe.get("prompt", "parts", "new") == {"use": "p"}


def test_null_takes_out_and_a_later_recipe_puts_in_again():
    base("streams: {a: {steps: {x: {use: y}}}, b: {steps: {z: {use: y}}}}\n")
    base("extends: base.yaml\nstreams: {a: null}\n", "mid.yaml")
    assert load("extends: mid.yaml\n").get("streams", "a") is None
    assert load("extends: mid.yaml\nstreams: {a: {cache: none}}\n").get("streams", "a") == {"cache": "none"}


def test_a_name_is_looked_for_beside_the_extending_file_then_here_then_among_the_shipped():
    base("extends: base.yaml\nabout: x\n", "sub/mid.yaml")
    base("name: near\n", "sub/base.yaml")
    base("name: far\n")
    recipe = load("extends: sub/mid\n")
    assert recipe.get("name") == "near"
    assert recipe.files == ["a.yaml", "sub/mid.yaml", "sub/base.yaml"]
    assert recipe.place(("name",)) == "sub/base.yaml:1:1 (extended by sub/mid.yaml <- a.yaml): name"
    assert load("extends: [voice, base.yaml]\n").get("name") == "far"
    assert load("extends: voice\n").get("backbone", "use")


def test_a_base_twice_by_two_ways_is_no_circle():
    base("name: x\n")
    base("extends: base.yaml\n", "l.yaml")
    base("extends: base.yaml\n", "r.yaml")
    assert load("extends: [l.yaml, r.yaml]\n").get("name") == "x"


EXTENDS = {
    "extends: a.yaml": "a.yaml:1:1: a recipe extends itself: a.yaml -> a.yaml => remove one `extends` of the circle",
    "extends: c.yaml": "d.yaml:1:1 (extended by c.yaml <- a.yaml): a recipe extends itself: a.yaml -> c.yaml -> d.yaml -> c => remove one `extends` of the circle",
    "extends: voise": "a.yaml:1:1: unknown recipe to extend 'voise' => did you mean 'voice'?",
    "extends: 3": "a.yaml:1:1: `extends` names a recipe or a list of recipes, got 3",
    "extends: [base.yaml, {a: b}]": "a.yaml:1:22: `extends` names a recipe or a list of recipes, got a mapping {'a': 'b'}",
    "extends: secret": "a.yaml:1:1: 'secret' is no recipe => name a file that ends in .yaml",
    "extends: bad.yaml": "bad.yaml:2:1 (extended by a.yaml): is not YAML: a bracket is not closed, or a comma is missing (it begins at line 1) => close it",
    "extends: list.yaml": "list.yaml (extended by a.yaml): a recipe is a mapping of sections, this is a list ['a']",
    "- a": "a.yaml: a recipe is a mapping of sections, this is a list ['a']",
    "": "a.yaml: is empty",
}  # fmt: skip


@pytest.mark.parametrize("text", EXTENDS)
def test_a_recipe_that_cannot_be_put_together_is_told_that_and_nothing_else(text):
    base(BASE)
    for name, content in {
        "c.yaml": "extends: d",
        "d.yaml": "extends: c",
        "bad.yaml": "a: [1\n",
        "list.yaml": "- a\n",
        "secret": "k",
    }.items():
        base(content, name)
    assert told(text) == [EXTENDS[text]]


def test_recipes_that_extend_without_end_are_stopped():
    for i in range(40):
        base(f"extends: [b{i + 1}, b{i + 1}]\n", f"b{i}.yaml")
    base(BASE, "b40.yaml")
    began = time.process_time()
    found = told("extends: b0\n")
    assert time.process_time() - began < 20  # no bomb goes off; speed is for benchmarks/
    assert [line.split("): ")[-1] for line in found] == [f"the recipe extends more than {MOST_FILES} files"]


# -- overrides ------------------------------------------------------------------------------------------------------


def test_overrides_come_last_and_those_that_name_a_piece_come_first():
    recipe = load(
        BASE, "data.path=x.csv", "data.use=table", "stages.train.epochs=7", "name='5'", "score.metrics={war: war}"
    )
    assert recipe.get("data") == {"use": "table", "path": "x.csv"}
    assert recipe.get("stages", "train", "epochs") == 7
    assert recipe.get("name") == "5"
    assert recipe.get("score", "metrics") == {"uar": "uar", "war": "war"}
    assert recipe.place(("data", "path")) == "override 'data.path=x.csv': data.path"
    assert load(BASE, "data.path=x.csv", "data=table").get("data") == {"use": "table", "path": "x.csv"}
    assert load(BASE, "about=").get("about") == ""
    assert load(BASE, "backbone.lora.rank=4").get("backbone", "lora") == {"rank": 4}
    assert load(BASE, "score.metrics.uar.x=1").get("score", "metrics", "uar") == {"use": "uar", "x": 1}


OVERRIDES = {
    "foo": "override 'foo': is not of the form key.key=value => for example stages.align.epochs=1",
    "=3": "override '=3': is not of the form key.key=value => for example stages.align.epochs=1",
    "data..x=3": "override 'data..x=3': is not of the form key.key=value => for example stages.align.epochs=1",
    "dta.x=3": "override 'dta.x=3': unknown section 'dta' => did you mean 'data'?",
    "epochs=3": "override 'epochs=3': unknown section 'epochs' => was stages.train.epochs meant?",
    "extends=x": "override 'extends=x': `extends` cannot be overridden => write a recipe that extends both",
    "stages.train.epochs.x=1": "override 'stages.train.epochs.x=1': stages.train.epochs is 2, it has no keys below it",
    "name.x=1": "override 'name.x=1': name is text 'face', it has no keys below it",
    "stages.train.train.0=x": "override 'stages.train.train.0=x': stages.train.train is a list ['streams.*.projector', 'backbone.mod…, it has no keys below it => give the whole list: stages.train.train=[…]",
    "stages.train.epochs=[1": "override 'stages.train.epochs=[1': the value is not YAML: a bracket is not closed, or a comma is missing (it begins at line 1) => close it",
    "stages.train.epochs=@1": "override 'stages.train.epochs=@1': the value is not YAML: a text begins with a character that YAML keeps for itself => quote the text",
    "stages.train.epochs=!!python/name:os.system": "override 'stages.train.epochs=!!python/name:os.system': the value is not YAML: the tag '!!python/name:os.system' is not allowed: a recipe holds plain values only => leave it out",
    "stages.train.epochs=x": "override 'stages.train.epochs=x': stages.train.epochs: wants a whole number, got text 'x'",
    "stages.train.epoch=1": "override 'stages.train.epoch=1': stages.train.epoch: unknown key 'epoch' => did you mean 'epochs'?",
    "data=5": "override 'data=5': data: wants a mapping, got 5",
    "data.use=table": "override 'data.use=table': data: missing key 'path' (text) => add `path: …`: The table: `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json` or `.parquet`, with the columns' names in it.",
    "name=${oc.env:HOME}": "override 'name=${oc.env:HOME}': name: the interpolation ${oc.env:HOME} is not allowed: only another key of the recipe can be named => write the value itself",
}  # fmt: skip


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_wrong_override_is_told_as_such(override):
    assert told(BASE, override) == [OVERRIDES[override]]


def test_problems_of_overrides_come_behind_those_of_the_file():
    found = told(broken(("epochs: 2", "epochs: x")), "nme=1", "run.seed=x")
    assert [line.split(": ")[0] for line in found] == ["a.yaml:26:5", "override 'nme=1'", "override 'run.seed=x'"]


# -- interpolation --------------------------------------------------------------------------------------------------


def test_interpolation_takes_values_texts_and_mappings_of_the_recipe():
    recipe = load(
        "name: '${data.use}-${stages.a.epochs}'\nabout: ${.name}\ndata: {use: puppets, count: 30}\n"
        "stages: {a: {epochs: 3, data: '${data}'}, b: {epochs: '${..a.epochs}', data: {use: x, count: '${data.count}'}}}\n"
    )
    assert recipe.get("name") == recipe.get("about") == "puppets-3"
    assert recipe.get("stages", "a", "data") == {"use": "puppets", "count": 30}
    assert recipe.get("stages", "b") == {"epochs": 3, "data": {"use": "x", "count": 30}}
    assert load("name: a\nabout: 'costs \\${x} and ${name}'\n").get("about") == "costs ${x} and a"
    assert load("name: 007\nabout: ${name}\n").get("about") == 7


NO_NAME = "only another key of the recipe can be named => write the value itself"
INTERPOLATIONS = {
    "${oc.env:HOME}": f"the interpolation ${{oc.env:HOME}} is not allowed: {NO_NAME}",
    "${oc.env:HOME,x}": f"the interpolation ${{oc.env:HOME,x}} is not allowed: {NO_NAME}",
    "${oc.decode:'{a: b}'}": "broken or nested interpolation in \"${oc.decode:'{a: b}'}\" => write ${section.key}, or \\${ for the text ${",
    "${name.${name}}": "broken or nested interpolation in '${name.${name}}' => write ${section.key}, or \\${ for the text ${",
    "${name": "broken or nested interpolation in '${name' => write ${section.key}, or \\${ for the text ${",
    "${}": f"the interpolation ${{}} is not allowed: {NO_NAME}",
    "${about}": "interpolations form a circle: about -> about => write one of them out",
    "${nme}": "the interpolation ${nme} names no key of the recipe => did you mean ${name}?",
    "${name.x}": "the interpolation ${name.x} names no key of the recipe",
    "${...name}": "the interpolation ${...name} leads above the recipe",
}  # fmt: skip


@pytest.mark.parametrize("value", INTERPOLATIONS)
def test_an_interpolation_that_is_refused_is_told_once(value, monkeypatch):
    monkeypatch.setenv("HOME", "SECRET")
    quoted = "'" + value.replace("'", "''") + "'"
    found = told(BASE + f"about: {quoted}\n")
    assert found == [f"a.yaml:28:1: about: {INTERPOLATIONS[value]}"]


def test_interpolations_that_grow_without_end_are_stopped():
    lines = [f"  k{i}: '{f'${{score.k{i + 1}}}' * 10}'" for i in range(30)]
    began = time.process_time()
    found = told(
        broken(
            ("score: {metrics: {uar: uar}}", "score:\n  metrics: {uar: uar}\n" + "\n".join(lines) + "\n  k30: xxxxx")
        )
    )
    assert time.process_time() - began < 20  # no bomb goes off; speed is for benchmarks/
    assert sum("the interpolation stands for more than" in line for line in found) == 1
    tree = "".join(f"  k{i}: {{a: '${{score.k{i + 1}}}', b: '${{score.k{i + 1}}}'}}\n" for i in range(30))
    found = told(broken(("score: {metrics: {uar: uar}}", "score:\n  metrics: {uar: uar}\n" + tree + "  k30: {x: y}\n")))
    assert time.process_time() - began < 20  # no bomb goes off; speed is for benchmarks/
    assert any("stands for more than" in line or "lead through each other" in line for line in found)


# -- finding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["voice", "voice.yaml", "recipes/voice.yaml", "./recipes/voice.yaml", "recipes/voice"])
def test_a_shipped_recipe_is_found_by_its_name_anywhere(name):
    assert load_recipe(name).get("name") == "voice"


def test_a_file_here_comes_before_a_shipped_one():
    base("name: mine\n", "recipes/voice.yaml")
    assert load_recipe("recipes/voice.yaml").get("name") == "mine"
    assert load_recipe("voice").get("name") == "voice"


LOST = {
    "recipes/voise.yaml": "unknown recipe 'recipes/voise.yaml' => did you mean 'voice'? give the path of a YAML file, or the name of a shipped recipe",
    "qqqqqq": "unknown recipe 'qqqqqq' => give the path of a YAML file, or the name of a shipped recipe",
    ".": ".: is a folder, not a recipe => name a YAML file in it",
    "a\0b": "unknown recipe 'a\\x00b' => give the path of a YAML file, or the name of a shipped recipe",
}  # fmt: skip


@pytest.mark.parametrize("name", LOST, ids=repr)
def test_a_recipe_that_is_not_there(name):
    with pytest.raises(InputError) as caught:
        load_recipe(name)
    (problem,) = caught.value.problems
    assert f"{problem.place}: {problem.what} => {problem.fix}".removeprefix(": ") == LOST[name]
    assert problem.known == (() if name == "." else tuple(shipped_recipes()))


def test_a_name_too_long_for_a_file_is_no_file():
    assert find("x" * 5000) is None
    with pytest.raises(InputError, match="unknown recipe"):
        load_recipe("x" * 5000)


def test_a_recipe_that_is_no_text():
    Path("clip.yaml").write_bytes(b"\x00\xff\xfe\x80")
    recipe = load_recipe("clip.yaml")
    assert [str(p) for p in recipe.problems] == ["clip.yaml: is not UTF-8 text\n    fix: give a recipe: a YAML file"]


def test_sections_of_the_wrong_form_silence_what_leans_on_them():
    assert told(broken(("views:\n  frames: {use: frames, count: 4}\n  crops: {use: faces, of: frames}\n  wave: {use: wave, seconds: 2}", "views: [frames]"))) == [
        "a.yaml:3:1: views: wants a mapping, got a list ['frames']"
    ]  # fmt: skip
    streams = BASE[BASE.index("streams:") : BASE.index("prompt:")]
    assert told(broken((streams, "streams: 5\n"))) == ["a.yaml:7:1: streams: wants a mapping, got 5"]
    assert plan_of(BASE)[1] == []
