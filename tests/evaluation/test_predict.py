"""What a generated answer counts as: a label of the set, one outside it, or nothing that could be read as one."""

import pytest

from affectkit.evaluation.predict import AnswerOptions, judge
from affectkit.evaluation.score import count, ledger
from affectkit.sample import Sample

SET = ("happy", "sad", "neutral")
COMPOUND = ("Happily Surprised", "Sadly Angry", "unsure about what is felt here", "喜")
READ = [
    ("happy", SET, "scored", "happy"),
    (" Happy.\n", SET, "scored", "happy"),
    ("happily surprised", COMPOUND, "scored", "Happily Surprised"),
    ("bored", SET, "out_of_vocabulary", "bored"),
    ("very happy", SET, "out_of_vocabulary", "very happy"),
    ("Self-conscious!", SET, "out_of_vocabulary", "Self-conscious!"),
    ("cannot tell", SET, "out_of_vocabulary", "cannot tell"),  # a word or two: nobody looks up what they mean
    ("惊讶。", SET, "out_of_vocabulary", "惊讶。"),
    ("quite sure that it is joy", COMPOUND, "out_of_vocabulary", "quite sure that it is joy"),
    ("", SET, "unparsed", None),
    (" ... ", SET, "unparsed", None),
    ("I cannot tell.", SET, "unparsed", None),
    ("The person in the video feels happy", SET, "unparsed", None),
    ("happy, sad", SET, "unparsed", None),
    ("happy\nsad", SET, "unparsed", None),
    ("看不清，不知道", SET, "unparsed", None),
    ("3", SET, "unparsed", None),
    ("a" * 31, SET, "unparsed", None),
]


@pytest.mark.parametrize(("text", "labels", "state", "label"), READ)
def test_states_are_what_the_ledger_says_they_are(text, labels, state, label):
    options = AnswerOptions(method="generate")
    made = judge(Sample("a", label=labels[0]), labels, text, options)
    assert (made.state, made.label, made.text) == (state, label, text)
    assert bool(made.error) is (state != "scored")


def test_what_could_not_be_read_counts_as_wrong_like_a_label_outside_the_set():
    options = AnswerOptions(method="generate")
    texts = ["happy", "bored", "I cannot tell", ""]
    made = [judge(Sample(t, label="happy"), SET, t, options) for t in texts]
    assert count(made, SET).tolist() == [[1, 0, 0, 3], [0, 0, 0, 0], [0, 0, 0, 0]]
    found = ledger(made)
    assert (found.scored, found.out_of_vocabulary, found.unparsed) == (1, 1, 2)


def test_a_task_in_words_is_read_by_its_metric():
    made = judge(Sample("a"), SET, "She smiles, so she is happy.", AnswerOptions("reason", "generate"))
    assert (made.state, made.error) == ("scored", "")
