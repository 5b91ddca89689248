"""Ids of two files that are the same sample written in two ways: told with what is between them."""

import pytest

import affectkit
from affectkit.errors import InputError
from affectkit.labels.pairing import Remarks, likely_same, remark_partners

PAIRS = {
    "zeros before numbers": (["1", "2"], ["001", "002"]),
    "their endings": (["a.mp4", "b.wav"], ["a", "b"]),
    "case": (["Clip_A", "Clip_B"], ["clip_a", "clip_b"]),
    "blanks": (["a 1"], ["a\u200b1"]),
    "the folders before them": (["clips/a", r"clips\b"], ["a", "b"]),
    "the width or accents of letters": (["e\u0301", "Ａ"], ["\u00e9", "A"]),
    "numbers written as 1.0": (["1.0", "2.0"], ["1", "2"]),
    "signs between their parts": (["dia0-utt1"], ["dia0_utt1"]),
    "the beginning 'clip'": (["clip_001", "clip_002"], ["001", "002"]),
    "the end 'face'": (["001", "002"], ["001_face", "002_face"]),
    "how they are written": (["clips/A.mp4", "clips/B.mp4"], ["a", "b"]),
}


@pytest.mark.parametrize("what", PAIRS)
def test_ids_that_are_likely_the_same_are_told(what):
    answers, truths = PAIRS[what]
    told = likely_same(answers, truths)
    assert f"{len(answers)} differ" in told
    assert f"in {what} only: {answers[0]!r} among the answers, {truths[0]!r} among the truths" in told


@pytest.mark.parametrize("what", PAIRS)
def test_files_whose_ids_never_meet_are_refused_with_the_likely_fix(what):
    answers, truths = PAIRS[what]
    with pytest.raises(InputError, match="write them alike") as told:
        affectkit.score(dict.fromkeys(answers, "sad"), dict.fromkeys(truths, "sad"), "war")
    assert what in str(told.value)


@pytest.mark.parametrize(("answers", "truths"), [(["x"], ["y"]), (["11"], ["1"]), ([], ["a"]), (["a"], [])])
def test_other_ids_are_not_taken_for_the_same(answers, truths):
    assert likely_same(answers, truths) == ""


def test_ids_without_a_partner_are_counted():
    remarks = Remarks()
    remark_partners(remarks, ["a", "b.mp4", "z"], ["a", "b", "c"])
    assert remarks.lines() == (
        "truths without an answer: 2 of 3, for example 'b'",
        "answers without a truth, left out: 2 of 3, for example 'b.mp4'",
        "of the ids without a partner 1 differs in their endings only: 'b.mp4' among the answers, 'b' among the truths:"
        " write them alike",
    )
    remarks = Remarks()
    remark_partners(remarks, ["a"], ["a"])
    assert remarks.lines() == ()
