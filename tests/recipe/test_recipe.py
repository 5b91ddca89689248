"""A recipe in Python: from text and mappings, values read and set by their address, checked apart from the one that is kept."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faults import BASE

from affectkit.errors import InputError
from affectkit.plan.check import check
from affectkit.recipe import marked_yaml
from affectkit.recipe.load import load_recipe

STEP = "streams.voice.steps"


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def recipe():
    return load_recipe(BASE)


def first(wrong):
    """The first problem of an error, its lines joined."""
    return str(wrong.value.problems[0]).replace("\n    ", " | ")


# -- text and mappings ------------------------------------------------------------------------------------------------


def test_text_a_mapping_and_a_file_are_the_same_recipe():
    Path("a.yaml").write_text(BASE)
    of_file, of_text = load_recipe("a.yaml"), load_recipe(BASE)
    of_dict = load_recipe(marked_yaml.parse(BASE, "")[0])
    assert of_file.values == of_text.values == of_dict.values
    assert of_text.place(("backbone",)).startswith("recipe text:")
    assert of_dict.place(("backbone", "width")) == "recipe dict: backbone.width"
    assert check(of_dict).width == check(of_file).width


def test_text_and_mappings_extend_what_lies_in_the_working_folder_or_is_shipped():
    Path("a.yaml").write_text(BASE)
    assert load_recipe("extends: a").get("name") == "face"
    made = load_recipe({"extends": ["a.yaml"], "run": {"seed": 3}}, ["name=mine"])
    assert (made["name"], made["run.seed"], made["backbone.use"]) == ("mine", 3, "causal_lm")
    assert load_recipe({"extends": "voice"})["views.wave.seconds"] == 4
    with pytest.raises(InputError) as wrong:
        check({"extends": "voise"})
    assert first(wrong).startswith("recipe dict: unknown recipe to extend 'voise'")
    assert "did you mean 'voice'" in first(wrong)


def test_an_existing_file_is_no_text():
    Path("a: b").write_text(BASE)
    assert load_recipe("a: b").get("name") == "face"


def test_what_is_wrong_with_text_has_its_line_and_with_a_mapping_its_address():
    with pytest.raises(InputError) as wrong:
        check(BASE.replace("width:", "widht:", 1))
    assert first(wrong).startswith("recipe text:")
    assert "did you mean 'width'" in first(wrong)
    tree = marked_yaml.parse(BASE, "")[0]
    with pytest.raises(InputError) as wrong:
        check({**tree, "backbone": {"use": "causal_lm", "widht": 32}})
    assert first(wrong).startswith("recipe dict: backbone.widht: unknown key 'widht'")


def test_a_mapping_holds_what_a_file_could(recipe):
    given = {"run": {"seed": np.int64(3), "folder": Path("x")}, "score": {"splits": ("test",)}, "name": np.str_("n")}
    made = load_recipe(given)
    assert made.values == {"run": {"seed": 3, "folder": "x"}, "score": {"splits": ["test"]}, "name": "n"}
    assert type(made["run.seed"]) is int
    circle = {}
    circle["run"] = circle
    for wrong, said in (
        ({"run": {"seed": object()}}, "recipe dict: run.seed: wants plain values"),
        ({"data": {"list": [1, {2, 3}]}}, "recipe dict: data.list.1: wants plain values"),
        ({"data": {(1, 2): 3}}, "recipe dict: data: a key must be a word"),
        (circle, "nested too deeply"),
    ):
        with pytest.raises(InputError, match=said):
            load_recipe(wrong)


# -- reading and setting ----------------------------------------------------------------------------------------------


def test_values_are_read_by_their_address(recipe):
    assert recipe["name"] == "face"
    assert recipe["backbone.width"] == 48
    assert recipe["score.metrics"] == {"uar": "uar"}
    assert recipe["score.metrics.uar.use"] == "uar"  # a block in short
    recipe["score.metrics"]["war"] = "war"
    assert recipe["score.metrics"] == {"uar": "uar"}  # a copy
    assert "backbone.width" in recipe
    assert "backbone.lora" not in recipe


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("backbon.width", "unknown section 'backbon' | known: "),
        ("backbone.widht", "unknown key in backbone: 'widht' | known: "),
        ("backbone.widht", "did you mean 'width'? what is not written has its piece's default"),
        ("name.first", "is text 'face', it has no key 'first' below it"),
        ("stages.train.train.0", "has no key '0' below it"),
    ],
)
def test_an_address_that_is_not_there_is_told_with_the_nearest(recipe, address, said):
    with pytest.raises(InputError) as wrong:
        recipe[address]
    assert said in first(wrong)


def test_a_value_that_is_set_has_its_place_and_is_checked(recipe):
    recipe["backbone.width"] = 64
    recipe["stages.train.epochs"] = 3
    plan = check(recipe)
    assert plan.width == 64
    assert plan.stages["train"].settings.epochs == 3
    recipe["backbone.widht"] = 3
    with pytest.raises(InputError) as wrong:
        check(recipe)
    assert first(wrong).startswith("set in Python: backbone.widht: unknown key 'widht'")
    assert "did you mean 'width'" in first(wrong)
    del recipe["backbone.widht"]
    recipe["run.seed"] = "x"
    with pytest.raises(InputError) as wrong:
        check(recipe)
    assert [p.place for p in wrong.value.problems] == ["set in Python: run.seed"]
    assert recipe.overrides == ("backbone.width=64", "stages.train.epochs=3", "run.seed=x")


def test_what_is_taken_out_was_never_written(recipe):
    del recipe["score"]
    del recipe["backbone.width"]
    assert "score" not in recipe
    assert check(recipe).width == 192  # the default
    with pytest.raises(InputError, match="unknown key in backbone: 'widht'"):
        del recipe["backbone.widht"]
    with pytest.raises(InputError, match="unknown key in name: 'x'"):
        del recipe["name.x"]


def test_setting_follows_the_rules_of_overrides(recipe):
    recipe["score.metrics"] = {"war": "war"}
    assert recipe["score.metrics"] == {"uar": "uar", "war": "war"}
    recipe["data"] = {"use": "table", "path": Path("x.csv")}
    assert recipe["data"] == {"use": "table", "path": "x.csv"}
    recipe["score.metrics.uar"] = None
    assert "score.metrics.uar" not in recipe
    recipe["stages.train.train"] = ("backbone.model",)
    assert recipe["stages.train.train"] == ["backbone.model"]
    recipe["name"] = "64"
    assert recipe["name"] == "64"  # text stays text


def test_what_interpolates_a_value_follows_it(recipe):
    recipe["run.seed"] = "${backbone.width}"
    assert recipe["run.seed"] == 48
    recipe["backbone.width"] = 64
    assert recipe["run.seed"] == 64
    recipe["run.seed"] = "${backbone.wdth}"
    with pytest.raises(InputError, match="names no key of the recipe"):
        recipe["run.seed"]
    recipe["run.seed"] = 0
    assert recipe.problems == []


@pytest.mark.parametrize(
    ("address", "value", "said"),
    [
        ("backbon.width", 1, "unknown section 'backbon' | known: "),
        ("width", 1, "was backbone.width meant?"),
        ("backbone..width", 1, "is no address | fix: for example stages.align.epochs"),
        ("extends", "voice", "`extends` cannot be overridden"),
        ("name.first", 1, "name is text 'face', it has no keys below it"),
        ("stages.train.train.0", "x", "fix: give the whole list: stages.train.train=[…]"),
        ("streams.vioce", None, "unknown name in streams to take out: 'vioce'"),
        ("streams.vioce.steps.encoder.size", 1, "unknown name in streams: 'vioce' | known: "),
        (f"{STEP}.encodr.size", 1, f"did you mean 'encoder'? to add it, say first which piece it uses: {STEP}.encodr.use"),
        ("score.metrics.war.x", 1, "unknown name in score.metrics: 'war' | known: uar"),
        ("backbone.width", object(), "wants plain values"),
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_refused_and_changes_nothing(recipe, address, value, said):
    before = recipe.copy()
    with pytest.raises(InputError) as wrong:
        recipe[address] = value
    assert first(wrong).startswith(f"set in Python: {address}: ")
    assert said in first(wrong)
    assert (recipe.values, recipe.marks, recipe.problems) == (before.values, before.marks, before.problems)


def test_an_override_of_a_block_that_is_not_there_is_told_so_too():
    found = load_recipe(BASE, [f"{STEP}.encodr.size=1"]).problems
    assert "did you mean 'encoder'" in str(found[0])
    assert load_recipe(BASE, ["score.metrics.war.x=1", "score.metrics.war.use=war"]).problems == []


def test_a_section_that_was_wrong_can_be_set_right():
    recipe = load_recipe(BASE, ["data=5"])
    with pytest.raises(InputError, match="data: wants a mapping, got 5"):
        recipe["data.use"]
    recipe["data"] = {"use": "puppets"}
    assert check(recipe).data.piece.name == "puppets"


# -- apart ------------------------------------------------------------------------------------------------------------


def test_overrides_are_laid_over_a_copy_and_a_check_changes_nothing(recipe):
    plan = check(recipe, ["backbone.width=16", "streams.voice.off=true"])
    assert (plan.width, plan.recipe["backbone.width"]) == (16, 16)
    assert plan.recipe.get("streams", "voice") is None  # left out of the plan
    assert recipe["backbone.width"] == 48
    assert recipe["streams.voice.steps"]
    assert recipe.overrides == ()
    recipe["backbone.width"] = 64
    assert plan.recipe["backbone.width"] == 16


def test_recipes_in_python_import_no_torch():
    code = (
        "import sys, affectkit\nrecipe = affectkit.load_recipe({'extends': 'voice'})\nrecipe['backbone.width'] = 64\n"
        "print(recipe['backbone.width'], {'torch', 'numpy'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["64", "set()"]
