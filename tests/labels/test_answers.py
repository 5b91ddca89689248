"""Answers and truths as people save them: read as an evaluation reads them, or told; never another class in silence."""

import json

import openpyxl
import pytest
from score_runs import figures, run
from written_forms import FORMS, LABELS

import affectkit
from affectkit.errors import InputError
from affectkit.evaluation.prediction import Prediction, write_predictions

TRUTH = {"001": "happy", "002": "sad", "003": "sad"}


def table(rows, header="id,label"):
    return header + "\n" + "".join(f"{name},{label}\n" for name, label in rows.items())


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """Scores answers (text or bytes of a file, or labels by id) against truths."""
    monkeypatch.chdir(tmp_path)

    def score(answers, truths=TRUTH, *more, first="a.csv", second="t.csv"):
        for name, content in ((first, answers), (second, truths)):
            content = table(content) if isinstance(content, dict) else content
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return figures("uar", "war", "--predictions", first, "--labels", second, "--resamples", "10", *more)

    return score


def remarks(found):
    return "\n".join(found.get("remarks", ()))


def test_two_hundred_written_forms_of_a_label_count(scored):
    answers = "".join(json.dumps({"id": i, "label": text}) + "\n" for i, (text, _) in enumerate(FORMS))
    truths = "".join(json.dumps({"id": i, "label": label}) + "\n" for i, (_, label) in enumerate(FORMS))
    for more in ((), ("--classes", ",".join(LABELS))):
        found = scored(answers, truths, *more, first="a.jsonl", second="t.jsonl")
        assert (found["war"]["value"], found["count"]) == (1, 200)
        assert found["labels"] == sorted(LABELS) if not more else list(LABELS)


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "NULL", "<NA>", "N/A", "#N/A"])
def test_words_for_nothing_are_nothing(scored, word):
    found = scored({**TRUTH, "003": word}, {**TRUTH, "001": word})
    assert found["labels"] == ["sad"]
    assert found["ledger"] | {"skipped": 1, "unparsed": 1, "scored": 1} == found["ledger"]
    assert f"truths that say a word for nothing and count as empty: 1, for example {word!r} (001)" in remarks(found)
    assert f"answers that say a word for nothing and count as empty: 1, for example {word!r} (003)" in remarks(found)
    named = scored({**TRUTH, "003": word}, {**TRUTH, "001": word}, "--classes", f"happy,sad,{word}")
    assert named["count"] == 3


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [("Happy", "happy", "but for case"), ("ＨＡＰＰＹ", "happy", "width"), ("hap\u200bpy", "happy", ""),
     ("“happy”。", "happy", "marks"),
     ("1.0", "1", ""), ("-1.0", "-1", ""), ("-1.", "-1", "marks")],
)  # fmt: skip
def test_one_label_written_in_two_ways_is_one(scored, one, other, said):
    base = {"001": other, "002": "0", "003": "0"}
    for answers, truths in (({**base, "001": one}, base), (base, {**base, "001": one, "004": other, "005": other})):
        found = scored({**answers, "004": other, "005": other}, truths)
        assert found["labels"] == sorted(["0", other])
        assert found["uar"]["value"] == 1
        assert said in remarks(found)
    assert affectkit.score([1.0, 0.0], ["1", "0"], "war")["labels"] == ["0", "1"]


def test_a_number_below_nought_is_not_that_above():
    found = affectkit.score(["-1", "1", "0"], ["1", "-1", "0"], "war")
    assert (found["war"]["value"], found["labels"]) == (pytest.approx(1 / 3), ["-1", "0", "1"])


def test_letters_of_another_alphabet_are_told(scored):
    for more in ((), ("--classes", "happy,sad")):
        found = scored({**TRUTH, "001": "h\u0430ppy"}, TRUTH, *more)
        assert found["labels"] == ["happy", "sad"]
        assert found["ledger"]["out_of_vocabulary"] == 1
        assert "which only looks like 'happy'" in remarks(found)
        with pytest.raises(InputError, match="look"):
            scored(TRUTH, {**TRUTH, "004": "h\u0430ppy"}, *more)


def test_labels_that_differ_in_a_plus_are_not_one(scored):
    grades = {"001": "A", "002": "A+", "003": "A-"}
    with pytest.raises(InputError, match="--classes"):
        scored(grades, grades)
    assert scored(grades, grades, "--classes", "A,A+,A-")["war"]["value"] == 1


def test_what_is_no_valid_answer_is_counted_by_kind_with_an_example(scored):
    truths = {str(i): "happy" if i % 2 else "sad" for i in range(8)}
    said = [
        "sad",
        "I cannot judge that.",
        "",
        "bored",
        "He seems to be happy about it",
        "[happy;sad]",
        "not happy",
        "unhappy",
    ]
    found = scored(dict(zip(truths, said, strict=True)), truths, "--classes", "happy,sad")
    states = {k: v for k, v in found["ledger"].items() if v}
    assert states == {"scored": 1, "refused": 1, "unparsed": 3, "out_of_vocabulary": 3, "total": 8}
    for line in ("answers that refuse to say, counted as wrong: 1, for example 'I cannot judge that.' (1)",
                 "answers without a label, counted as wrong: 3, for example an empty one (2)",
                 "answers outside the label set, counted as wrong: 3, for example 'bored' (3)"):  # fmt: skip
        assert line in remarks(found)
    assert (
        affectkit.score(dict(zip(truths, said, strict=True)), truths, "war", ["happy", "sad"])["ledger"]
        == found["ledger"]
    )


def test_classes_that_answers_alone_name_are_told(scored):
    found = scored({**TRUTH, "001": "Bored", "002": "bored"}, TRUTH)
    assert found["labels"] == ["Bored", "happy", "sad"]
    assert "a class of its own; --classes names the set: 2, for example 'Bored' (001)" in remarks(found)


def test_labels_that_are_nearly_the_same_are_told(scored):
    found = scored(TRUTH, {**TRUTH, "001": "surprise", "002": "surprised"})
    assert "nearly the same, each a class of its own: 1, for example 'surprise' and 'surprised'" in remarks(found)
    found = scored({**TRUTH, "001": "hapy"}, TRUTH)
    assert "'hapy', did you mean 'happy'? (001)" in remarks(found)
    assert found["labels"] == ["happy", "hapy", "sad"]
    found = scored({**TRUTH, "001": "hapy"}, TRUTH, "--classes", "happy,sad")
    assert "outside the label set, counted as wrong: 1, for example 'hapy', did you mean 'happy'? (001)" in remarks(
        found
    )


def test_what_a_run_has_read_stays_as_it_is(tmp_path):
    made = [
        Prediction("a", "label", "scored", "happy", "None"), Prediction("b", "label", "refused", "happy", text="happy"),
        Prediction("c", "label", "out_of_vocabulary", "sad", "bored"), Prediction("d", "label", "invalid", "sad"),
        Prediction("e", "label", "unparsed", "sad", text="sad, or so"), Prediction("f", "label", "scored", "sad", "sad"),
    ]  # fmt: skip
    write_predictions(tmp_path / "p.jsonl", made)
    for given in (made, tmp_path / "p.jsonl"):
        found = affectkit.score(given, metrics="war")
        assert found["labels"] == ["None", "happy", "sad"]
        assert [found["ledger"][p.state] for p in made] == [2, 1, 1, 1, 1, 2]
        assert found["war"]["value"] == pytest.approx(1 / 6)
    assert affectkit.score(made, metrics="war", classes=["happy", "sad"])["ledger"]["out_of_vocabulary"] == 2


def test_the_note_comes_before_the_classes(scored):
    scored({**TRUTH, "001": "nan"})
    said = run("uar", "--predictions", "a.csv", "--labels", "t.csv").output
    assert said.index("note: answers that say a word for nothing") < said.index("3 samples in 2 classes: happy, sad")


def workbook(rows):
    import io

    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in (("id", "label"), *rows.items()):
        book.active.append(row)
    book.save(file)
    return file.getvalue()


SAVED = {
    "a.csv": {
        "utf-16": table(TRUTH).encode("utf-16"), "mark": "\ufeff" + table(TRUTH), "semicolons": table(TRUTH).replace(",", ";"),
        "sep": "sep=;\r\n" + table(TRUTH).replace(",", ";"), "trailing": table(TRUTH).replace("\n", ",\n"),
        "returns": table(TRUTH).replace("\n", "\r"), "U+2028": 'id,label,note\n001,happy,"a\u2028b"\n002,sad,\n003,sad,\n',
    },
    "a.tsv": {"tabs": table(TRUTH).replace(",", "\t")},
    "a.txt": {"text": table(TRUTH)},
    "a.CSV": {"capitals": table(TRUTH)},
    "a.xlsx": {"Excel": workbook(TRUTH)},
    "a.jsonl": {
        "U+2028": "".join(f'{{"id": "{i}", "label": "{v}", "text": "a\u2028b"}}\n' for i, v in TRUTH.items()),
    },
    "a.json": {
        "list": json.dumps([{"id": i, "label": v} for i, v in TRUTH.items()]),
        "mapping": json.dumps({i: {"label": v} for i, v in TRUTH.items()}),
        "lines": "".join(json.dumps({"id": i, "label": v}) + "\n" for i, v in TRUTH.items()),
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "how"), [(name, how) for name, some in SAVED.items() for how in some])
def test_tables_as_people_save_them(scored, name, how):
    found = scored(SAVED[name][how], TRUTH, first=name)
    assert (found["war"]["value"], found["count"], found["labels"]) == (1, 3, ["happy", "sad"])
    assert "remarks" not in found


BROKEN = {
    "a quote": ("t.csv", 'id,label,text\n001,happy,"so\n002,sad,b\n003,sad,c\n', r"t\.csv:2: opens a quote"),
    "two columns": ("t.csv", "id,label,label\n001,happy,sad\n", r"t\.csv:1: the header names label more than once"),
    "GBK": ("t.csv", "id,label\n001,高兴\n".encode("gbk"), r"t\.csv:2: is not UTF-8 text; it may be GB18030"),
    "deep": ("t.jsonl", "[" * 100_000 + "\n", r"t\.jsonl:1: this is not JSON: it is nested too deep"),
    "a key twice": ("t.jsonl", '{"id": "001", "label": "a", "label": "b"}\n', r"t\.jsonl:1: .* 'label' is there twice"),
    "no JSON": ("t.json", '{"a": ', r"t\.json: this is not JSON"),
    "no id": ("t.csv", "id,label\nnan,happy\n", r"t\.csv:2: has no id"),
    "a quote that is closed in another row": (
        "t.csv",
        'id,label\nclip,"happy\nother,sad"\nthird,angry\n',
        r"t\.csv: clip: the true label goes on in another line",
    ),
    "another kind": ("t.ods", "id,label\n", r"t\.ods: unknown kind"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_tables_are_named_with_their_line(scored, what):
    name, content, said = BROKEN[what]
    with pytest.raises(InputError, match=said):
        scored(TRUTH, content, second=name)


def test_deep_json_is_named(tmp_path):
    (tmp_path / "m.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"m\.json: this is not JSON: it is nested too deep"):
        run("uar", "--confusion", str(tmp_path / "m.json"))


def test_a_column_that_is_not_read_is_told(scored):
    for other in ("openset", "Label", "labels"):
        found = scored(f"id,label,{other}\n001,happy,glad\n002,sad,\n003,sad,\n", TRUTH)
        assert f"a.csv: read is the column 'label', not {other!r}" in remarks(found)
    assert "remarks" not in scored(
        "id,label,openset\n001,happy,glad\n002,sad,\n003,sad,\n", TRUTH, "--answer-column", "label"
    )


@pytest.mark.parametrize("header", ["ID,Label", " Name , LABELS "])
def test_usual_names_of_columns_may_be_in_capitals(scored, header):
    found = scored(table(TRUTH, header), table({**TRUTH, "001": "sad"}, header))
    assert found["war"]["value"] == pytest.approx(2 / 3)
    lines = "".join(json.dumps({"Id": i, "Label": label}) + "\n" for i, label in TRUTH.items())
    assert scored(lines, TRUTH, first="a.jsonl")["war"]["value"] == 1
    assert scored(table(TRUTH, "ID,Label"), TRUTH, "--answer-column", "Label")["war"]["value"] == 1


def test_a_column_of_predictions_that_is_not_read_is_told(scored):
    found = scored("id,label,prediction\n001,happy,sad\n002,sad,sad\n003,sad,sad\n")
    assert found["war"]["value"] == 1
    assert "a.csv: read is the column 'label', not 'prediction'" in remarks(found)


def test_a_comma_behind_the_last_class_names_none(scored):
    assert scored(TRUTH, TRUTH, "--classes", "happy,sad,")["labels"] == ["happy", "sad"]


def test_a_truth_outside_the_set_is_named(scored):
    with pytest.raises(InputError, match=r"t\.csv:2: unknown truth 'hapy'\n.*\n.*did you mean 'happy'"):
        scored(TRUTH, {**TRUTH, "001": "hapy"}, "--classes", "happy,sad")


def test_texts_that_say_a_word_for_nothing_are_none(scored):
    texts = "id,openset\n001,nan\n002,[sad]\n003,[sad]\n"
    scored(TRUTH)
    for name in ("a.csv", "t.csv"):
        with open(name, "w") as file:
            file.write(texts if name == "a.csv" else texts.replace("nan", "[happy]"))
    found = figures("ov_wheels", "--predictions", "a.csv", "--labels", "t.csv", "--resamples", "10")
    assert found["ledger"]["unparsed"] == 1
    assert "'nan' (001)" in remarks(found)
