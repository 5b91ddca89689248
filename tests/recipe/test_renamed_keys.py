"""Keys that have another name today: the former one keeps working, and says so once."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from affectkit.recipe import settings
from affectkit.recipe.load import load_recipe
from affectkit.recipe.sections import ScoreSettings, StageSettings


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "_SAID", set())


def load(text, *overrides):
    Path("a.yaml").write_text(text)
    return load_recipe("a.yaml", overrides)


def stage(recipe):
    return settings.read(StageSettings, recipe.get("stages", "s"), lambda path: recipe.place(("stages", "s", *path)))


def test_a_former_key_works_in_a_file_and_says_once_what_it_is_called_now(caplog):
    recipe = load("stages:\n  s:\n    train: [x]\n    most_steps: 3\n    schedule: linear\n  t: {most_steps: 4}\n")
    made, problems = stage(recipe)
    assert (made.max_steps, made.scheduler, problems, recipe.problems) == (3, "linear", [], [])
    assert recipe.get("stages", "t") == {"max_steps": 4}
    stage(recipe), load_recipe("a.yaml")
    assert caplog.messages == [
        "a.yaml:4:5: stages.s.most_steps: is called max_steps now; the former name goes with the next version",
        "a.yaml:5:5: stages.s.schedule: is called scheduler now; the former name goes with the next version",
    ]


def test_a_former_key_works_as_an_override_and_lies_over_what_the_file_says(caplog):
    recipe = load("stages: {s: {train: [x], max_steps: 3}}\n", "stages.s.most_steps=2", "score.most_tokens=9")
    assert stage(recipe)[0].max_steps == 2
    assert recipe.get("score") == {"max_new_tokens": 9}
    assert recipe.problems == []
    place = "override 'stages.s.most_steps=2': stages.s.max_steps"
    assert recipe.place(("stages", "s", "max_steps")) == place
    assert "override 'stages.s.most_steps=2': stages.s.most_steps: is called max_steps now" in caplog.text


def test_overrides_say_it_once_for_all(caplog):
    text = "stages: {s: {train: [x]}, t: {train: [x]}}\n"
    assert load(text, "stages.s.most_steps=2", "stages.t.most_steps=2").get("stages", "t", "max_steps") == 2
    assert len(caplog.messages) == 1


def test_a_former_key_lies_over_what_a_recipe_extends():
    Path("base.yaml").write_text("stages: {s: {train: [x], max_steps: 3}}\n")
    recipe = load("extends: base\nstages: {s: {most_steps: 2}}\n")
    assert stage(recipe)[0].max_steps == 2
    assert recipe.place(("stages", "s", "max_steps")) == "a.yaml:2:14: stages.s.max_steps"


def test_both_names_at_once_are_an_error_with_both_places():
    recipe = load("stages:\n  s:\n    train: [x]\n    max_steps: 3\n    most_steps: 2\n")
    (problem,) = recipe.problems
    assert problem.place == "a.yaml:5:5: stages.s.most_steps"
    assert problem.what == "says the same as 'max_steps', which is given too: a.yaml:4:5: stages.s.max_steps"
    assert problem.fix == "keep max_steps alone"


def test_another_word_is_taken_without_a_remark(caplog):
    made, problems = stage(load("stages: {s: {train: [x], learning_rate: 0.5, batch_size: 4}}\n"))
    assert (made.lr, made.batch, problems, caplog.messages) == (0.5, 4, [], [])
    assert [p.fix for p in load("stages: {s: {lr: 1, learning_rate: 1}}\n").problems] == ["keep lr alone"]


def test_addresses_and_interpolation_understand_the_former_name():
    recipe = load("stages: {s: {train: [x], max_steps: 3}}\nscore: {reasons: '${stages.s.most_steps}'}\n")
    assert recipe.problems == []
    assert recipe.get("score", "reasons") == recipe["stages.s.most_steps"] == 3
    assert "stages.s.most_steps" in recipe
    recipe["stages.s.most_steps"] = 4
    assert recipe["stages.s.max_steps"] == 4
    del recipe["stages.s.most_steps"]
    assert "stages.s.max_steps" not in recipe


def test_what_is_wrong_with_a_value_stands_where_it_was_written():
    _, (problem,) = stage(load("stages:\n  s:\n    train: [x]\n    most_steps: 0\n"))
    assert problem.place == "a.yaml:4:5: stages.s.max_steps"


@dataclass(frozen=True)
class Own:
    longest: int = field(default=1, metadata={"formerly": ("most", "top"), "also": "max"})

    def problems(self):
        return [("longest", "is too long")] if self.longest > 5 else []


def test_settings_of_any_piece_can_be_renamed(caplog):
    def read(**values):
        return settings.read(Own, values, lambda path: ".".join(["here", *path]))

    assert read(most=2)[0] == read(top=2)[0] == read(max=2)[0] == Own(2)
    assert [m.split(": is")[0] for m in caplog.messages] == ["here.most", "here.top"]
    assert [str(p.place) for p in read(most=9)[1]] == ["here.most"]
    assert [str(p.place) for p in read(most="x")[1]] == ["here.most"]
    assert [p.place for p in read(most=1, top=2)[1]] == ["here.top"]
    assert read(most=1, max=1)[0] is None


def test_every_former_name_is_free():
    for cls in (StageSettings, ScoreSettings):
        assert not settings.renamed(cls).keys() & settings.type_hints(cls).keys()
