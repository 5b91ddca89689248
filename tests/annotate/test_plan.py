"""What a recipe of an annotation is told, each fault with its place."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from affectkit.annotate.plan import check_annotation, is_annotation
from affectkit.commands.check import command
from affectkit.errors import InputError
from affectkit.plan.check import check
from affectkit.recipe.load import ANNOTATIONS, shipped_in

RECIPE = """\
name: tried
data: {use: puppets}
views: {words: {use: subtitle}, sound: {use: wave, seconds: 4}}
annotators:
  said: {use: spoken_words}
  measured: {use: voice, wave: sound}
  size: {use: length_filter, text: said}
items: {why: {task: reason, answer: said}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def told(*edits):
    text = RECIPE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    Path("a.yaml").write_text(text)
    try:
        check_annotation("a.yaml", data=True)
    except InputError as error:
        return [f"{p.place}: {p.what}" + (f" => {p.fix}" if p.fix else "") for p in error.problems]
    return []


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (("use: spoken_words}", "use: spoken_wrds}"), "unknown annotator 'spoken_wrds' => did you mean 'spoken_words'?"),
        (("text: said}", "text: sad}"), "annotators.size.text: unknown view or annotator 'sad' => did you mean 'said'?"),
        (("text: said}", "text: said.txt}"), "annotators.size.text: unknown finding of said 'said.txt'"),
        (("wave: sound}", "wave: words}"), "annotators.measured.wave: 'words' is a view of text, and the port wants wave"),
        (("wave: sound}", "wave: said}"), "annotators.measured.wave: 'said' is a finding, and the port wants a view of wave"),
        (("text: said}", "text: said, low: 0.6}"), "annotators.size.low: must be from 0 to below 0.5, got 0.6"),
        (("text: said}", "text: said, missing: drop}"), "annotators.size.missing: "),
        (("answer: said}", "answer: sad}"), "items.why.answer: unknown annotator 'sad' => did you mean 'said'?"),
        (("answer: said}", "answer: said, turns: said}"), "items.why.answer: an item has either `answer` or `turns`"),
        (("annotators:", "stages: {a: {}}\nannotators:"), "unknown section 'stages'"),
        (("use: length_filter, text: said}", "use: length_filter}"), "nothing fills the port 'text' (a text)"),
        (("use: spoken_words}", "use: merge_clues, visual: size}"), "asks a model, and no client is named"),
    ],
)  # fmt: skip
def test_a_fault_stands_at_its_place(edit, line):
    found = told(edit)
    assert any(line.split(" => ")[0].replace("said.txt'", "") in one for one in found), found


def test_circles_and_splits_are_told():
    found = told(("use: spoken_words}", "use: length_filter, text: size}"))
    assert any("the annotators form a circle, each reading the next: said -> size -> said" in one for one in found), (
        found
    )
    assert any("unknown split of the data 'tran'" in one for one in told(("items:", "run: {splits: [tran]}\nitems:")))


@pytest.mark.parametrize("name", shipped_in(ANNOTATIONS))
def test_shipped_annotations_are_right(name):
    plan = check_annotation(name, data=True)
    assert plan.name == name
    assert 20 < len(str(plan.recipe.get("about"))) < 160
    assert plan.items


def test_an_annotation_is_no_recipe_to_train(folder):
    Path("a.yaml").write_text(RECIPE)
    with pytest.raises(InputError, match=r"affectkit annotate a\.yaml"):
        check("a.yaml")


def test_check_shows_what_is_composed():
    assert told() == []
    assert is_annotation("a.yaml")
    shown = CliRunner().invoke(command, ["a.yaml"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "annotator size" in shown.output
    assert "length_filter(said.text) -> words" in shown.output
    assert not is_annotation("emo_llama")
