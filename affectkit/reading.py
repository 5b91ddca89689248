"""What an answer says, read the same way wherever answers are counted; and which words differ in how they look only."""

from __future__ import annotations

import difflib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from affectkit.sample import Targets

NOTHING = ("nan", "NaN", "-nan", "-NaN", "None", "NULL", "null", "<NA>", "NA", "N/A", "n/a", "#N/A", "NaT",
           "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!")  # fmt: skip
"""How tables write that there is nothing, as pandas, R, SQL and spreadsheets do, in just these letters."""

REFUSALS = re.compile(
    r"\b(?:i|we)(?:\s+am|['’]m|\s+are|['’]re)?\s+(?:sorry|unable|not\s+able|afraid)\b"
    r"|\b(?:i|we)\s+(?:can\s*not|can['’]t|could\s*n[o'’]t|could\s+not|won['’]t|will\s+not|must\s+decline|refuse"
    r"|(?:do\s*n['’]t|do\s+not)\s+know|have\s+no\s+idea)\b"
    r"|\bi(?:\s+am|['’]m)\s+not\s+(?:sure|certain)\b"
    r"|\b(?:can\s*not|can['’]t|unable\s+to|impossible\s+to|not\s+possible\s+to)\s+"
    r"(?:be\s+)?(?:judged?|tell|told|determined?|say|said|identif\w+|assess\w*|infer\w*|recogni[sz]\w+|answer\w*)\b"
    r"|\bas\s+an?\s+(?:ai|language\s+model)\b"
    # Chinese: an apology at the beginning, what cannot be judged, and answers of nothing but "I do not know" and its like
    r"|^\W*(?:很|非常|十分)?(?:抱歉|对不起|對不起)|作为(?:一个|一名)?(?:ai|人工智能|语言模型)"
    r"|(?:^|\W)我们?(?:无法|無法|不能|没办法|沒辦法)"
    r"|(?:无法|無法|不能|难以|難以|没有?办法|沒有?辦法)(?:准确|準確|明确|明確|直接)?地?"
    r"(?:判断|判斷|判定|确定|確定|确认|確認|识别|識別|辨别|辨別|分辨|看出|得知|推断|推斷|回答)"
    r"|^\W*(?:我?(?:真的|也)?(?:不知道|不清楚|不确定|不確定|不好说|不好說|说不清楚?|說不清楚?|看不清楚?|看不出来?|看不出來)\W*)+$",
    re.IGNORECASE,
)
"""How models say that they will not or cannot answer, in English and Chinese. What a person in a clip cannot do is none."""

ALIKE = str.maketrans(
    "аеорсухіјѕԁһԛԝѵӏ" "αοενρτυχικ" "ıɡ0",
    "aeopcyxijsdhqwvl" "aoevptuxik" "igo",
)  # fmt: skip
"""Small letters of Cyrillic, Greek and others, and the zero, to the Latin letter that looks the same."""


MINUS = ("-", "\N{MINUS SIGN}", "\N{EN DASH}")
"""What may stand right before a number that is below 0."""


@dataclass(frozen=True)
class Reading:
    """What was read from an answer."""

    label: str | None = None
    """The label of the set; None where the answer is not just one of them."""
    labels: tuple[str, ...] = ()
    """The labels that it lists, each once: those of the set, and others as they are written; none where it is no list."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """The ratings that it gives, by their names. One that cannot be read is not there."""
    thought: str = ""
    """What the model thought before it answered, where that is told apart."""
    refused: bool = False
    """Whether the model says that it will not or cannot answer."""
    answer: str | None = None
    """The part of the text that is the answer; None where that is all of it."""
    error: str = ""
    """Why something that was asked could not be read."""


class Reader(Protocol):
    """What a piece of the kind `reader` builds: pure, and for every text; what it cannot read is not there."""

    def __call__(self, text: str, targets: Targets) -> Reading:
        """What an answer says, where these labels or these ratings were asked for."""
        ...


def fold(text: str) -> str:
    """A text without what does not change which word it is: case, width, marks around it, blanks, invisible signs.

    Marks are quotes, brackets, Markdown, symbols and the punctuation of any script at either end; inside they stay, and so
    does the minus of a number.

    >>> fold(" **Happy**。")
    'happy'
    >>> fold("not happy!")
    'not happy'
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible(text)).casefold())
    first = next((i for i, sign in enumerate(text) if _is_letter(sign)), len(text))
    last = next((i for i in range(len(text), first, -1) if _is_letter(text[i - 1])), first)
    minus = "-" if text[first : first + 1].isdigit() and text[max(first - 1, 0) : first] in MINUS else ""
    return minus + " ".join(text[first:last].split())


def _is_letter(sign: str) -> bool:
    """Whether a sign is part of a word: a letter, a digit, or an accent."""
    return unicodedata.category(sign)[0] in "LNM"


def visible(text: str) -> str:
    """A text without the signs that nobody sees: zero-width blanks, direction marks, variants of emoji, soft hyphens."""
    return "".join(
        sign for sign in text
        if unicodedata.category(sign) != "Cf" and not "\N{VARIATION SELECTOR-1}" <= sign <= "\N{VARIATION SELECTOR-16}"
    )  # fmt: skip


def read_plain(text: str, labels: Sequence[str]) -> Reading:
    """The label that an answer is, `fold`ed; the whole answer must be that label, so `unhappy` and `not happy` are none.

    `1.0` is the label `1`. Labels that fold to one and the same text are told apart by their own letters.
    """
    bare = text.strip()
    exact = next((label for label in labels if label == bare), None)
    if exact is not None:
        return Reading(exact)
    folded = fold(text)
    hits = [label for label in labels if fold(label) == folded] if folded else []
    hits = hits or [label for label in labels if folded and _whole(fold(label)) == _whole(folded)]
    if len(hits) == 1:
        return Reading(hits[0])
    return Reading(refused=is_refusal(text))


NEARLY, MOST_NAMES = 0.85, 100
"""How alike two names are that are likely meant to be one, and among how many that is looked for."""
LABEL_WORDS, LABEL_LETTERS = 2, 30
"""An answer of more words or letters than this, and than every label of the set, is no label."""
SENTENCE_MARKS = ".,;:!?\n。，、；：！？"
"""An answer with one of these inside is no label."""


def is_like_a_label(text: str, labels: Sequence[str]) -> bool:
    """Whether a text has the form of a label, if of none of these: a word or two, or as many as the longest of them has.

    What it means nobody looks up, so `cannot tell` passes for a label; a list of several and a sentence do not.
    """
    words = max([LABEL_WORDS, *(len(label.split()) for label in labels)])
    letters = max([LABEL_LETTERS, *(len(label) for label in labels)])
    inner = text.strip(SENTENCE_MARKS)
    return (
        len(inner.split()) <= words
        and len(inner) <= letters
        and any(map(_is_letter, inner))
        and not any(mark in inner for mark in SENTENCE_MARKS)
    )


def is_refusal(text: str) -> bool:
    """Whether a text says that its author will not or cannot answer."""
    return bool(REFUSALS.search(unicodedata.normalize("NFKC", text)))


def as_label(text: str, known: Iterable[str] = ()) -> str:
    """A cell as a label: a whole number written as a float (`1.0`, as pandas writes it beside empty cells) is `1`.

    A word for nothing (`nan`, `NULL`) is the empty text. One of `known` stays as it is.
    """
    bare = visible(text).strip()
    if text in known or bare in known:
        return text if text in known else bare
    if bare in NOTHING:
        return ""
    return _whole(bare)


def _whole(text: str) -> str:
    """A whole number without the `.0` that it may be written with; any other text as it is."""
    number = re.fullmatch(r"([+-]?\d+)\.0+", text)
    return number[1] if number else text


def lookalike(text: str, labels: Iterable[str]) -> str:
    """The label that a text only looks like, in letters of another alphabet; empty where there is none.

    >>> lookalike("h\N{CYRILLIC SMALL LETTER A}ppy", ["happy", "sad"])
    'happy'
    """
    seen = fold(text).translate(ALIKE)
    return next((label for label in labels if seen and seen == fold(label).translate(ALIKE)), "")


def alike(counts: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Groups of names that look like one name: other case or width, marks around, letters of another alphabet.

    The commonest of each group comes first.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(counts, key=lambda n: (-counts[n], n)):
        groups.setdefault(fold(name).translate(ALIKE) or name, []).append(name)
    return [tuple(names) for names in groups.values() if len(names) > 1]


def nearly(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ in a letter or two, as a typing error leaves them; of many names nobody can tell.

    >>> nearly(["happy", "hapy", "sad", "unhappy", "class 1", "class 2"])
    [('happy', 'hapy')]
    """
    words = sorted(name for name in names if name.isalpha() and len(name) > 3)
    pairs = itertools.combinations(words, 2) if len(words) <= MOST_NAMES else ()
    return [pair for pair in pairs if difflib.SequenceMatcher(None, *pair).ratio() >= NEARLY]


def differ_in(names: Sequence[str]) -> str:
    """In what names of one group of `alike` differ, in words."""
    if len({name.casefold() for name in names}) == 1:
        return "case only"
    if len({fold(name) for name in names}) == 1:
        return "case, width or signs around them only"
    return "letters of another alphabet that look the same only"
