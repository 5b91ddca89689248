"""Targets in tables: ratings on their scale, several labels in a cell or in columns, rows of words alone."""

from __future__ import annotations

import json
import math

import pytest
from affectkit_plugins.datasets.table import Settings, SeveralLabels, build, survey

from affectkit.data.check import as_json, check_data_set, label_rows
from affectkit.errors import InputError
from affectkit.plan.check import check
from affectkit.plan.use import Use
from affectkit.recipe import settings as reading
from affectkit.registry import Registry
from affectkit.sample import targets_in

BANK = (
    "id,split,V,A,text\n"
    "one,train,3.44,3.0,Goodwill helps people.\n"
    'two,train,"2,5",,Nothing was said of that.\n'
    "three,val,nan,2.1,Three.\n"
    "four,test,1,5,Four.\n"
)
SCALE = {"valence": (1.0, 5.0), "arousal": (1.0, 5.0)}
EMOTIONS = "id,labels,split,text\na,joy|anger,train,Well.\nb,anger,train,No!\nc,,val,So.\nd,[joy],test,Yes.\n"


@pytest.fixture
def table(tmp_path):
    def write(text, **given):
        (tmp_path / "data.csv").write_text(text)
        made, wrong = reading.read(
            Settings, {"path": str(tmp_path / "data.csv"), **given}, lambda p: ".".join(map(str, p))
        )
        assert not wrong, [str(p) for p in wrong]
        return made

    return write


def problems(settings, split="train"):
    with pytest.raises(InputError) as caught:
        build(settings, split)
    return [str(p) for p in caught.value.problems]


def test_ratings_on_their_scale(table):
    settings = table(BANK, numbers=SCALE, columns={"valence": "V", "arousal": "A"})
    train = build(settings, "train")
    assert [s.numbers for s in train] == [{"valence": 3.44, "arousal": 3.0}, {"valence": 2.5}]
    assert build(settings, "val")[0].numbers == {"arousal": 2.1}
    assert build(settings, "test")[0].numbers == {"valence": 1.0, "arousal": 5.0}  # the ends belong to the scale
    assert targets_in(train).numbers == SCALE == survey(settings).numbers
    assert any("rows without valence: 1" in note for note in train.notes)


def test_ratings_by_their_columns_have_no_ends(table):
    train = build(table(BANK, numbers=["V", "A"]), "train")
    assert train.numbers == {"V": (-math.inf, math.inf), "A": (-math.inf, math.inf)}
    assert train[0].numbers == {"V": 3.44, "A": 3.0}


def test_a_rating_with_a_usual_name_serves_one_purpose(table):
    """`target` would be the label, `text` the words."""
    train = build(table("target,text\n3,so\n4,no\n", numbers=["target"], val=0, test=0), "train")
    assert [(s.label, s.numbers) for s in train] == [(None, {"target": 3.0}), (None, {"target": 4.0})]
    assert train.labels == ()


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("5.2", "the valence 5.2 (column 'V') is outside its scale, 1 to 5"),
        ("much", "the valence 'much' (column 'V') is no number"),
        ("inf", "the valence 'inf' (column 'V') is no number"),
        ("1_0", "the valence '1_0' (column 'V') is no number"),
        ("1,000,1", "is no number"),
    ],
)
def test_a_wrong_rating_is_told_with_its_line(table, cell, what):
    settings = table(BANK.replace("3.44", f'"{cell}"'), numbers=SCALE, columns={"valence": "V", "arousal": "A"})
    (told,) = problems(settings)
    assert "data.csv:2: " in told
    assert what in told


def test_one_mistake_in_many_rows_is_told_once(table):
    text = "id,split,V,W,labels,text\n" + "".join(
        f"{i},train,{i},x,{'joy' if i % 2 else 'fear'}|sad,So.\n" for i in range(60)
    )
    told = problems(table(text, numbers={"V": [2, 3], "W": []}))
    assert len(told) == 2
    assert "data.csv:2: the V 0 (column 'V') is outside its scale, 2 to 3 (58 rows, this one first)" in told[0]
    assert "data.csv:2: the W 'x' (column 'W') is no number (60 rows, this one first)" in told[1]
    told = problems(table(text, labels={"column": "labels", "set": ["anger", "joy"]}))
    assert [t.partition("\n")[0].partition("data.csv:")[2] for t in told] == [
        "2: unknown label 'fear' (30 rows, this one first)",
        "2: unknown label 'sad' (60 rows, this one first)",
    ]
    told = problems(table(text.replace("labels", "label").replace("|sad", ""), labels=["anger", "joy"]))
    assert len(told) == 1
    assert "unknown label 'fear' (30 rows, this one first)" in told[0]
    assert "fix: name more in `data.labels`, or map it" in told[0]
    told = problems(table(text.replace(",train,", ",learning set,")))
    assert len(told) == 1
    assert "has 'learning set' for a split (60 rows, this one first)" in told[0]
    told = problems(table(text, labels={"columns": ["V"]}))
    assert len(told) == 1
    assert "holds '2', and 0 or 1 says whether a label is there (58 rows, this one first)" in told[0]


def test_another_separator_than_the_cells_have_is_told(table):
    text = "id,labels,split,text\n" + "".join(f"{i},{'anger;joy' if i % 2 else 'joy'},train,So.\n" for i in range(9))
    said = survey(table(text, labels={"column": "labels"})).note
    assert "no cell of 'labels' has the separator '|', and 4 of 9 have ';', which stays a part of their labels" in said
    assert '`data.labels.separator: ";"`' in said
    fine = [({"separator": ";"}, text), ({}, text.replace(";", "|")), ({}, text.replace("anger;joy", "joy"))]
    for given, cells in (*fine, ({}, text.replace("0,joy", "0,joy|fear"))):
        assert "separator" not in survey(table(cells, labels={"column": "labels", **given})).note


def test_columns_that_are_not_there_are_told_with_the_nearest(table):
    told = problems(table(BANK, numbers=["v", "A"], labels={"column": "labls"}))
    assert [t.partition(":")[0] for t in told] == ["data.numbers", "data.labels.column"]
    assert "'v'" in told[0]


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"numbers": {"V": [5, 1]}}, "numbers: the scale of 'V' is [lowest, highest], or [] for none, got [5.0, 1.0]"),
        ({"numbers": {"V": [5]}}, "numbers: the scale of 'V'"),
        ({"numbers": ["V", "V"]}, "numbers: names a rating twice"),
        ({"labels": {"separator": "|"}}, "labels.column: say either the column of all labels"),
        ({"labels": {"column": "labels", "votes": True}}, "labels.votes: votes stand in `columns`"),
        ({"labels": {"column": "labels", "separator": ""}}, "labels.separator: must not be empty"),
        ({"labels": {"column": "labels", "set": ["a", "a"]}}, "labels.set: names a label twice"),
    ],
)
def test_settings_that_mean_nothing(given, what):
    _, wrong = reading.read(Settings, {"path": "x.csv", **given}, lambda p: ".".join(map(str, p)))
    assert [what in str(p) for p in wrong] == [True]


def test_several_labels_in_a_cell(table):
    settings = table(EMOTIONS, labels={"column": "labels", "separator": "|"})
    train = build(settings, "train")
    assert [s.labels for s in train] == [{"joy": 1.0, "anger": 1.0}, {"anger": 1.0}]
    assert [s.label for s in train] == [None, None], "one label of a set is still a set"
    assert train.labels == ("anger", "joy") == survey(settings).labels
    assert build(settings, "test")[0].labels == {"joy": 1.0}
    assert build(settings, "val")[0].labels == {}
    assert any("rows without labels: 1" in note for note in train.notes)


def test_the_set_orders_labels_and_a_label_outside_it_has_its_line(table):
    ordered = table(EMOTIONS, labels={"column": "labels", "set": ["joy", "anger", "awe"]})
    assert build(ordered, "train").labels == ("joy", "anger", "awe")
    (told,) = problems(table(EMOTIONS, labels={"column": "labels", "set": ["joy", "angr"]}))[:1]
    assert "data.csv:2: " in told
    assert "'anger'" in told
    assert "`data.labels.set`" in told


def test_labels_that_look_alike_are_told(table):
    (told,) = problems(table(EMOTIONS.replace("b,anger", "b,Anger"), labels={"column": "labels"}))
    assert "labels differ in case only" in told
    renamed = table(EMOTIONS.replace("b,anger", "b,Anger"), labels={"column": "labels"}, rename={"Anger": "anger"})
    assert build(renamed, "train").labels == ("anger", "joy")


def test_a_column_for_each_label_and_one_label_beside(table):
    text = "id,emotion,joy,fear,split,text\na,joy,1,0,train,Well.\nb,fear,1,1.0,train,No!\n"
    train = build(table(text, labels={"columns": ["joy", "fear"]}, val=0), "train")
    assert [(s.label, s.labels) for s in train] == [("joy", {"joy": 1.0}), ("fear", {"joy": 1.0, "fear": 1.0})]
    assert train.labels == ("fear", "joy")


def test_votes_are_shares_that_add_up_to_one(table):
    text = "id,joy,fear,split,text\na,7,1,train,Well.\nb,0,0,train,No!\nc,0.25,0.25,train,So.\n"
    train = build(table(text, labels={"columns": ["joy", "fear"], "votes": True}, val=0), "train")
    assert [s.labels for s in train] == [{"joy": 0.875, "fear": 0.125}, {}, {"joy": 0.5, "fear": 0.5}]
    told = problems(table(text, labels={"columns": ["joy", "fear"]}, val=0))
    assert "data.csv:2: the column 'joy' holds '7'" in told[0]
    assert "`data.labels.votes: true`" in told[0]
    told = problems(table(text.replace("7", "-7"), labels={"columns": ["joy", "fear"], "votes": True}))
    assert "'-7', which is no count of votes" in told[0]


def test_words_alone_are_a_sample(table):
    settings = table("label,text\njoy,Well done.\nfear,Oh no.\njoy,Well done.\n", val=0, test=0)
    train = build(settings, "train")
    assert [(s.subtitle, s.label, s.video, s.image, s.audio) for s in train][:1] == [("Well done.", "joy", *[None] * 3)]
    one, two, three = (s.id for s in train)
    assert three == f"{one}#2" != two
    moved = build(table("label,text\nfear,Oh no.\njoy,Well done.\n", val=0, test=0), "train")
    assert [s.id for s in moved] == [two, one], "an id does not depend on the place in the table"


def test_words_beside_files(table, tmp_path):
    (tmp_path / "a.wav").touch()
    text = "path,label,text\na.wav,joy,\n,fear,Oh no.\n"
    train = build(table(text, val=0, test=0), "train")
    assert [bool(s.audio) for s in train] == [True, False]
    assert any("rows of words alone, without a file: 1" in note for note in train.notes)
    (told,) = problems(table(text + ",fear,\n", val=0, test=0))
    assert "data.csv:4: has no path and no words" in told


def report(settings):
    return check_data_set(Use(Registry.load().piece("dataset", "table"), settings))


def test_data_check_counts_targets_and_wants_no_media_of_words(table):
    text = EMOTIONS.replace("id,", "id,V,").replace("\na,", "\na,3,").replace("\nb,", "\nb,,").replace("\nc,", "\nc,1,")
    found = report(
        table(text.replace("\nd,", "\nd,2,").replace("Yes.", "well."), labels={"column": "labels"}, numbers=["V"])
    )
    told = {s["split"]: s for s in json.loads(json.dumps(as_json(found)))["splits"]}
    assert (told["train"]["labels"], told["train"]["numbers"]) == ({"anger": 2, "joy": 1}, {"V": 1})
    assert [s["no_label"] for s in told.values()] == [0, 1, 0]
    assert found.findings == []
    assert "data: 1 texts are in train and in test, word for word" in found.notes


def test_ratings_are_counted_beside_labels_and_alone(table):
    columns, rows = label_rows(report(table(BANK, numbers=["V", "A"])))
    assert (columns[0], rows) == ("label", [["(V: a number)", "2", "0", "1"], ["(A: a number)", "1", "1", "1"]])
    rows = label_rows(report(table(EMOTIONS, labels={"column": "labels"})))[1]
    assert ["(no label)", "0", "1", "0"] in rows


def test_a_recipe_of_words_checks_and_wants_media_where_a_view_does(table):
    settings = table("label,split,text\njoy,train,Well.\nfear,train,No!\njoy,val,A.\nfear,test,B.\n")
    base = {
        "name": "words", "data": {"use": "table", "path": settings.path},
        "prompt": {"use": "template", "parts": {"says": {"use": "subtitle"}, "ask": {"use": "label_question"}}},
        "backbone": {"use": "causal_lm"}, "stages": {"all": {"train": ["backbone.model"]}},
    }  # fmt: skip
    plan = check(base, data=True)
    assert plan.surveys["data",].labels == ("fear", "joy")
    several = {"use": "table", "path": settings.path, "labels": {"column": "label", "set": ["fear", "joy"]}}
    assert check({**base, "data": several}, data=True).data.settings.labels == SeveralLabels(
        "label", set=("fear", "joy")
    )


RATED = """
name: rated
data: {{use: table, path: {path}, columns: {{valence: V, arousal: A}}, numbers: {{valence: [1, 5], arousal: [1, 5]}}}}
prompt:
  use: template
  parts:
    says: {{use: subtitle}}
    ask: {{use: numbers_question, numbers: "${{data.numbers}}"}}
backbone: {{use: causal_lm, width: 32, heads: 2, layers: 1}}
stages: {{all: {{train: [backbone.model], epochs: 1, batch: 2, tasks: {{numbers: 1}}}}}}
score: {{method: generate, reader: numbers}}
run: {{accelerator: cpu, folder: {folder}/runs, cache: {folder}/cache}}
"""


@pytest.fixture
def rated(table, tmp_path):
    """A recipe of words and ratings, as a file."""
    settings = table(BANK)
    (tmp_path / "rated.yaml").write_text(RATED.format(path=settings.path, folder=tmp_path))
    return tmp_path / "rated.yaml"


def test_a_recipe_says_the_scale_once(rated):
    plan = check(rated, data=True)
    assert plan.scales("numbers") == SCALE
    assert plan.scales("label") == {}
    assert plan.reader.piece.name == "numbers"


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("prompt.parts.ask.numbers={valance: [1, 5]}", "unknown rating (the data has not got it) 'valance'"),
        ("prompt.parts.ask.numbers={valence: [1, 4]}", "from 1 to 4, and the data's scale is 1 to 5"),
        ("prompt.parts.ask.numbers={valence: [5, 1]}", "the scale of 'valence' is [lowest, highest]"),
        ("prompt.parts.ask.numbers={}", "names no rating to ask for"),
        ("data.numbers={V: [1, 3]}", "outside its scale, 1 to 3"),
        ("data.columns={dominance: D}", "unknown kind of column 'dominance'"),
    ],
)
def test_what_is_wrong_with_ratings_is_told_with_its_place(rated, override, what):
    with pytest.raises(InputError) as caught:
        check(rated, [override], data=True)
    assert any(what in str(p) for p in caught.value.problems), caught.value.problems


def test_a_run_of_words_alone_learns_and_answers_ratings(rated):
    """Every sample ends in the ledger, also one without any rating; no view, no media."""
    from affectkit.api import fit, load
    from affectkit.data.splits import open_split
    from affectkit.encode.cache import Cache
    from affectkit.evaluation.predict import AnswerOptions, predict

    run = load(fit(rated, say=lambda _: None).folder)
    train = open_split(run.model.plan.data, "train", "")
    options = AnswerOptions.of(run.model.plan.score, "numbers", "generate")
    made = predict(run.model, train, train.labels, Cache(run.model.plan.cache_folder), options)
    assert [p.true_numbers for p in made] == [{"valence": 3.44, "arousal": 3.0}, {"valence": 2.5}]
    assert {p.state for p in made} <= {"scored", "unparsed"}
    assert all(bool(p.numbers) == (p.state == "scored") for p in made)
    assert {p.media for p in made} == {""}


def test_rows_of_rare_labels_are_left_out_and_counted(table):
    rows = "id,label,split,text\na,happy,train,Well.\nb,fear,train,No!\nc,sad,val,So.\nd,fear,test,Oh.\ne,happy,test,Yes.\n"
    settings = table(rows, leave_out=["fear", "contempt"])
    assert [s.id for s in build(settings, "train")] == ["a"]
    assert [s.id for s in build(settings, "test")] == ["e"]
    found = survey(settings)
    assert found.labels == ("happy", "sad")
    assert "rows left out for the label 'fear' (`data.leave_out`): 2" in found.note
    assert "rows left out for the label 'contempt' (`data.leave_out`): 0" in found.note
    assert Settings("x", labels=("happy", "fear"), leave_out=("fear",)).problems() == [
        ("leave_out", "'fear' is one of `labels`")
    ]


def test_a_row_with_one_of_several_labels_to_leave_out_goes(table):
    settings = table(EMOTIONS, labels={"column": "labels"}, leave_out=["joy"])
    assert [s.id for s in build(settings, "train")] == ["b"]
