"""Verdicts on disk, agreement against published figures, and the records that come of verdicts."""

import json
import multiprocessing
import random
from collections import Counter

import pytest
from review_run import record, write_records
from sklearn.metrics import cohen_kappa_score

from affectkit.__main__ import main
from affectkit.annotate.agreement import agreement_on, cohen_kappa, fleiss_kappa, krippendorff_alpha
from affectkit.annotate.reviews import (
    ReviewFile,
    Verdict,
    agreements,
    annotation_folder,
    export,
    read_records,
    reviewed,
    shown_hash,
    standing,
    to_review,
    valid,
)
from affectkit.errors import InputError, WriteError


def table_pairs(rows):
    """A table of counts as pairs of categories."""
    return [(str(i), str(j)) for i, row in enumerate(rows) for j, n in enumerate(row) for _ in range(n)]


@pytest.mark.parametrize(
    ("rows", "kappa"),
    [
        # J. Cohen (1960), proportions of 200 records; and the unweighted kappa of the table of J. Cohen (1968)
        ([[50, 26, 24], [24, 4, 32], [6, 30, 4]], (0.29 - 0.35) / 0.65),
        ([[88, 14, 18], [10, 40, 10], [2, 6, 12]], 0.492),
    ],
)
def test_cohens_kappa_is_that_of_cohens_tables(rows, kappa):
    assert cohen_kappa(table_pairs(rows)) == pytest.approx(kappa, abs=5e-4)


def test_cohens_kappa_is_that_of_scikit_learn():
    draw = random.Random(0)
    for _ in range(20):
        a, b = (draw.choices("xyz", weights=(5, 2, 1), k=40) for _ in range(2))
        b = [x if draw.random() < 0.4 else y for x, y in zip(a, b, strict=True)]
        assert cohen_kappa(zip(a, b, strict=True)) == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)


DIAGNOSES = (
    "444444 222555 233335 555555 222444 113333 333355 113334 114444 555555 144444 124444 222333 144444 224445 "
    "333335 111455 111112 224444 133555 555555 244444 224555 114444 144445 222224 111155 224444 133333 555555"
)
"""Fleiss (1971), table 1: what six psychiatrists said of each of thirty patients."""


def test_fleiss_kappa_is_that_of_fleiss():
    units = [Counter(one) for one in DIAGNOSES.split()]
    assert fleiss_kappa(units) == pytest.approx(0.430, abs=5e-4)
    with pytest.raises(ValueError, match="different numbers of people"):
        fleiss_kappa([Counter("ab"), Counter("abc")])


def columns(*raters):
    """Rows of a reliability matrix, a sign a unit and a dot where it is missing, as values by unit."""
    return [[value for value in column if value != "."] for column in zip(*raters, strict=True)]


@pytest.mark.parametrize(
    ("raters", "alpha"),
    [
        # Krippendorff (2011): A two observers, two values; B two observers, five values; C four observers, missing values
        (("0100000010", "1110010000"), 0.095),
        (("aabbdcccedda", "babbbccceddd"), 0.692),
        (("123321412...", "1233224125.3", ".3332342251.", "12332441251."), 0.743),
    ],
)
def test_krippendorffs_alpha_is_that_of_krippendorff(raters, alpha):
    assert krippendorff_alpha(columns(*raters)) == pytest.approx(alpha, abs=5e-4)


def test_what_cannot_be_told_is_none():
    assert cohen_kappa([]) is None
    assert cohen_kappa([("a", "a")] * 3) is None  # chance alone agrees fully, too
    assert fleiss_kappa([]) is None
    assert fleiss_kappa([Counter("a"), Counter("b")]) is None
    assert krippendorff_alpha([["a"], ["b"]]) is None
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None


def test_agreement_takes_pairs_and_the_number_of_people_that_most_records_have():
    units = [{"a": "x", "b": "x"}, {"a": "x", "b": "y"}, {"a": "y", "b": "y", "c": "y"}, {"c": "x"}]
    found = agreement_on("label", units)
    assert (found.records, found.same, found.fleiss_people, found.fleiss_records) == (3, 2, 2, 2)
    assert {pair: n for pair, (_, n) in found.cohen.items()} == {("a", "b"): 3, ("a", "c"): 1, ("b", "c"): 1}
    assert found.cohen_mean == pytest.approx(cohen_kappa_score(list("xxy"), list("xyy")))
    assert json.loads(json.dumps(found.to_dict()))["krippendorff_alpha"] == pytest.approx(found.alpha)


@pytest.fixture
def rows():
    return [record(i, {}) for i in range(4)]


@pytest.fixture
def run(tmp_path, rows):
    return write_records(tmp_path / "runs" / "r", rows)


def said(row, who, verdict, **more):
    return Verdict(row["id"], row["split"], who, verdict, seen=shown_hash(row), **more)


def test_verdicts_are_on_disk_and_read_by_others(run, rows):
    here, there = ReviewFile(run / "reviews.jsonl"), ReviewFile(run / "reviews.jsonl")
    assert here.append(said(rows[0], "ann", "accept", key="k1"))
    assert there.append(said(rows[0], "bob", "reject", reason="wrong emotion", key="k2"))
    assert not here.append(said(rows[0], "ann", "accept", key="k1")), "sent twice, it counts once"
    assert not here.append(said(rows[0], "bob", "accept", key="k2")), "also where another process wrote it"
    assert [v.reviewer for v in here.refresh().verdicts] == ["ann", "bob"]
    assert len((run / "reviews.jsonl").read_text().splitlines()) == 2


def test_a_line_that_a_crash_cut_is_passed_over_and_told(run, rows, capsys):
    path = run / "reviews.jsonl"
    ReviewFile(path).append(said(rows[0], "ann", "accept"))
    with path.open("a") as file:
        file.write('{"id": "SECRET_1", "split": "tra')
    assert len(ReviewFile(path).refresh().verdicts) == 1
    ReviewFile(path).append(said(rows[2], "ann", "reject", reason="é, 怒"))
    found = ReviewFile(path).refresh()
    assert [v.id for v in found.verdicts] == ["SECRET_0", "SECRET_2"]
    assert found.verdicts[1].reason == "é, 怒"
    assert found.broken == [2]
    export(run)
    assert "no verdict in line 2, left by a crash" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", ["[]", "3", '{"id": 1}', '{"id":"a","split":"b","reviewer":"c","verdict":"like"}', "\\x"]
)
def test_what_is_no_verdict_is_passed_over(run, line):
    (run / "reviews.jsonl").write_text(line + "\n")
    found = ReviewFile(run / "reviews.jsonl").refresh()
    assert (found.verdicts, found.broken) == ([], [1])


def test_a_full_disk_leaves_no_part_of_a_line(run, rows, monkeypatch):
    path = run / "reviews.jsonl"
    file = ReviewFile(path)
    file.append(said(rows[0], "ann", "accept"))
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(WriteError, match="No space left"):
        file.append(said(rows[1], "ann", "accept"))
    assert path.read_bytes() == before


def write_many(path, who, count):
    file = ReviewFile(path)
    for i in range(count):
        file.append(Verdict(str(i), "train", who, "accept", key=f"{who}{i}", reason="x" * 500))


def test_several_processes_lose_nothing_of_each_other(tmp_path):
    path = tmp_path / "reviews.jsonl"
    context = multiprocessing.get_context("fork")
    people = [context.Process(target=write_many, args=(path, who, 40)) for who in "abc"]
    for one in people:
        one.start()
    for one in people:
        one.join()
    found = ReviewFile(path).refresh()
    assert found.broken == []
    assert Counter(v.reviewer for v in found.verdicts) == {"a": 40, "b": 40, "c": 40}


def test_the_latest_counts_and_undo_brings_back_the_one_before(rows):
    line = [said(rows[0], "ann", v) for v in ("accept", "reject", "undo")]
    key = ("train", "SECRET_0")
    assert standing(line[:2])[key]["ann"].verdict == "reject"
    assert standing(line)[key]["ann"].verdict == "accept"
    assert standing([*line, line[2]]) == standing([*line, line[2], line[2]]) == {}


def test_a_verdict_on_a_record_that_has_changed_does_not_count(run, rows, capsys):
    ReviewFile(run / "reviews.jsonl").append(said(rows[0], "ann", "reject", reason="wrong emotion"))
    changed = {**rows[0], "items": [{**rows[0]["items"][0], "answer": "sad"}]}
    write_records(run, [changed, *rows[1:]])
    export(run)
    assert "1 of 1 verdicts are about records that have changed since" in capsys.readouterr().out
    assert "rejected" not in read_records(run)[0]
    assert json.loads((run / "review.json").read_text())["stale"] == 1


def answers(made):
    return {item["name"]: (item["answer"], item["from"]) for item in made["items"]}


def test_an_edit_is_a_finding_with_its_source_and_the_items_answer(rows):
    verdict = said(rows[0], "ann", "edit", edits={"why": "Better words."}, seconds=4.5, at="2026-01-01T10:00:00+00:00")
    made, *others = reviewed(rows, [verdict])
    assert answers(made) == {"emotion": ("angry", "label.label"), "why": ("Better words.", "review.ann")}
    found = made["findings"]["review"]["ann"]
    assert found["value"] == {"verdict": "edit", "edits": {"why": "Better words."}, "at": "2026-01-01T10:00:00+00:00"}
    assert (found["source"]["piece"], found["source"]["settings"]) == ("review", {"reviewer": "ann"})
    assert found["source"]["seconds"] == 4.5
    assert others == rows[1:]
    assert [one["id"] for one in reviewed(rows, [verdict], only=True)] == ["SECRET_0"]
    assert shown_hash(made) != shown_hash(rows[0])


def test_where_people_differ_most_of_them_decide(rows):
    one = rows[0]
    sad = {"edits": {"emotion": "sad"}}
    most = [said(one, "ann", "edit", **sad), said(one, "bob", "accept"), said(one, "cid", "edit", **sad)]
    assert answers(reviewed(rows, most)[0])["emotion"] == ("sad", "review.ann")
    tie = [said(one, "bob", "accept"), said(one, "cid", "edit", **sad)]
    assert answers(reviewed(rows, tie)[0])["emotion"] == ("sad", "review.cid"), "an edit before what was there"
    two = [said(one, "bob", "edit", edits={"why": "B"}), said(one, "cid", "edit", edits={"why": "C"})]
    assert answers(reviewed(rows, two)[0])["why"] == ("B", "review.bob"), "the earlier one"
    against = [said(one, "ann", "reject", reason="wrong emotion"), said(one, "bob", "accept")]
    made = reviewed(rows, against)[0]
    assert (made["rejected"], made["items"]) == ({"by": "review", "reason": "wrong emotion"}, [])
    assert "rejected" not in reviewed(rows, [*against, said(one, "cid", "accept")])[0]


def test_what_an_annotator_rejected_stays_rejected(rows):
    one = {**rows[0], "items": [], "rejected": {"by": "size", "reason": "too short"}}
    made = reviewed([one], [said(one, "ann", "reject", reason="it should be used")])[0]
    assert made["rejected"] == one["rejected"]
    assert made["findings"]["review"]["ann"]["value"]["reason"] == "it should be used"


def test_agreement_is_on_the_verdict_and_on_labels(rows):
    lines = [said(row, who, "accept") for row in rows[:2] for who in ("ann", "bob")]
    lines += [said(rows[2], "ann", "edit", edits={"emotion": "sad"}), said(rows[2], "bob", "accept")]
    lines += [said(rows[3], "ann", "reject"), said(rows[3], "bob", "reject")]
    verdict, emotion = agreements(rows, valid(rows, lines))
    assert (verdict.about, verdict.records, verdict.same) == ("verdict", 4, 3)
    first, second = ["accept", "accept", "edit", "reject"], ["accept", "accept", "accept", "reject"]
    assert verdict.cohen["ann", "bob"][0] == pytest.approx(cohen_kappa_score(first, second))
    assert (emotion.about, emotion.records, emotion.same) == ("emotion", 3, 2)
    names = ["angry", "happy"]
    assert emotion.cohen_mean == pytest.approx(cohen_kappa_score([*names, "sad"], [*names, "neutral"]))


def test_a_sample_is_the_same_for_everybody(rows):
    many = [{**rows[0], "id": str(i)} for i in range(50)]
    many[3]["failed"], many[4]["todo"], many[5]["rejected"] = {"by": "a"}, "a", {"by": "a", "reason": "b"}
    assert set(range(50)) - set(to_review(many)) == {3, 4, 5}
    assert set(range(50)) - set(to_review(many, rejected=True)) == {3, 4}
    ten = to_review(many, 10, seed=7)
    assert ten == to_review(many, 10, seed=7) == sorted(ten)
    assert ten != to_review(many, 10, seed=8)
    assert to_review(many, 500) == to_review(many)


def test_a_folder_that_holds_no_annotation_is_told_apart(tmp_path):
    with pytest.raises(InputError, match=r"no run of an annotation(.|\n)*affectkit annotate"):
        annotation_folder(tmp_path)
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(InputError, match="is a run of training"):
        annotation_folder(tmp_path)


def test_records_that_are_none_are_named_with_their_lines(run, rows):
    write_records(run, [rows[0], {"id": "x"}, rows[0]])
    with pytest.raises(InputError) as error:
        read_records(run)
    assert "records.jsonl:2: is no record: it has no split, findings, items" in str(error.value)
    assert "records.jsonl:3: the record 'SECRET_0' of train is there twice" in str(error.value)


def test_export_writes_and_prints_what_came_of_it(run, rows, capsys, monkeypatch):
    file = ReviewFile(run / "reviews.jsonl")
    for row in rows:
        file.append(said(row, "ann", "accept", seconds=30))
        file.append(said(row, "bob", *(("reject",) if row is rows[3] else ("accept",)), reason="nothing to judge"))
    monkeypatch.setattr("sys.argv", ["affectkit", "review", str(run), "--export", "--only"])
    with pytest.raises(SystemExit) as end:
        main()
    out = capsys.readouterr().out
    assert end.value.code == 0
    assert "4 of 4 records reviewed" in out
    assert "Krippendorff's alpha" in out
    assert "3 used, 1 rejected" in out
    made = [json.loads(line) for line in (run / "reviewed.jsonl").open()]
    assert ["rejected" in one for one in made] == [False, False, False, True]
    told = json.loads((run / "review.json").read_text())
    assert told["people"]["ann"] == {"accept": 4, "edit": 0, "reject": 0, "minutes": 2.0}
    assert [one["about"] for one in told["agreement"]] == ["verdict", "emotion"]
