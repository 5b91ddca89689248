"""What is written and tokenised for a row: only what is wanted, and the same text once."""

from collections import Counter

from affectkit.model.packing import MOST_TEXTS, tokenise
from affectkit.prompt import Segment


class Counting:
    """A backbone that counts what it is asked; a character is its code."""

    start_ids, end_ids = (1,), (2,)
    width = packs = untokenise = embed = loss = score = generate = group = save_tokenizer = 0

    def __init__(self):
        self.asked = Counter()

    def tokenise(self, text):
        self.asked[text] += 1
        return [ord(c) for c in text]


def test_a_text_is_tokenised_once():
    backbone, known = Counting(), {}
    prompt = (Segment(special="start"), Segment("ab"), Segment(slot="face"), Segment("c", trained=True))
    first = tokenise(prompt, backbone, known)
    assert [c.ids for c in first] == [(1,), (97, 98), (), (99,)]
    assert [c.slot for c in first] == ["", "", "face", ""]
    assert first[3].trained
    assert tokenise(prompt, backbone, known) == first == tokenise(prompt, Counting())
    assert backbone.asked == {"ab": 1, "c": 1}


def test_texts_without_end_do_not_fill_the_memory():
    backbone, known = Counting(), {}
    for i in range(MOST_TEXTS + 10):
        assert tokenise([Segment(str(i))], backbone, known)[0].ids == tuple(map(ord, str(i)))
    assert len(known) == 10
