"""Answers in all the forms that models write them in, and names that only look the same."""

import pytest
from written_forms import FORMS, LABELS

from affectkit.reading import alike, as_label, differ_in, fold, is_refusal, read_plain


def test_two_hundred_written_forms_of_a_label_are_that_label():
    assert len(FORMS) == 200
    assert [(text, read_plain(text, LABELS).label) for text, _ in FORMS] == FORMS


@pytest.mark.parametrize(
    "text",
    ["unhappy", "not happy", "happy, sad", "happy and sad", "very happy", "happyness", "h.a.p.p.y", "1. happy", "", "...", "?",
     "I am happy for you", "haрру", "notsure"],
)  # fmt: skip
def test_what_is_more_or_less_than_a_label_is_none(text):
    assert read_plain(text, LABELS).label is None
    assert not read_plain(text, LABELS).refused


@pytest.mark.parametrize(
    "text",
    ["I cannot judge that.", "I'm sorry, but I can’t help with that.", "As an AI, I do not see emotions",
     "It cannot be determined", "I am unable to tell", "抱歉，我无法判断。", "We could not say", "I do not know.",
     "I'm not sure", "I have no idea!", "不知道", "我不知道。", "无法判断", "無法判斷", "难以确定", "看不清，不知道",
     "我不确定", "没办法判断",
     "对不起，我不能回答", "无法准确识别情绪"],
)  # fmt: skip
def test_refusals_are_told_from_other_answers(text):
    assert is_refusal(text)
    assert read_plain(text, LABELS).refused


@pytest.mark.parametrize("text", ["sorry", "He apologises", "he cannot hold back tears", "the canal", "not sure",
                                  "他无法控制情绪", "她不知道该怎么办，很悲伤", "她说对不起，显得难过"])  # fmt: skip
def test_words_of_a_clip_are_no_refusal(text):
    assert not is_refusal(text)


def test_labels_that_fold_to_one_are_told_apart_by_their_own_letters():
    labels = ("+", "-", "Happy", "happy")
    assert read_plain("+", labels).label == "+"
    assert read_plain("-", labels).label == "-"
    assert read_plain("Happy", labels).label == "Happy"
    assert read_plain("HAPPY", labels).label is None  # either of two


def test_accents_and_other_scripts_are_words():
    assert fold("«Überrascht!»") == fold("u\u0308berrascht")
    assert fold("开心。") == "开心"
    assert fold("İstanbul") == fold("i̇stanbul")


def test_names_that_look_the_same_are_grouped_the_commonest_first():
    groups = alike({"happy": 3, "h\u0430ppy": 1, "Happy": 5, "sad": 2, "hap": 1})
    assert groups == [("Happy", "happy", "h\u0430ppy")]
    assert differ_in(("Happy", "happy")) == "case only"
    assert "around" in differ_in(("happy", "happy."))
    assert "alphabet" in differ_in(groups[0])
    assert alike({"+": 1, "-": 1}) == []


def test_cells_as_labels():
    assert [as_label(t) for t in ("1.0", "1.00", "-1.0", "1.5", "nan", "NULL", "none", " sad\u200b ")] == [
        "1", "1", "-1", "1.5", "", "", "none", "sad",
    ]  # fmt: skip
    assert as_label("None", ("None",)) == "None"
    assert as_label("1.0", ("1.0",)) == "1.0"
