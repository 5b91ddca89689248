"""Extraction of emotion labels from free text by rules (lists, fixed sentences) or a language model, and their agreement."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal, TypeVar

from affectkit.errors import InputError, Problem
from affectkit.evaluation.clients import CachedClient, Unreadable
from affectkit.files import Json
from affectkit.labels.sentiment import VALUES
from affectkit.labels.wheels import string_to_list
from affectkit.messages import Message
from affectkit.reading import fold, is_refusal

T = TypeVar("T")

ReadMethod = Literal["auto", "list", "sentence", "client"]
"""How labels are read from a text. `auto`: a list where it is in brackets, else a fixed sentence, else a list all the same."""

Language = Literal["english", "chinese"]

SENTENCES = (
    "The character's emotional state is {labels}.",
    "The character's emotional states are {labels}.",
    "This person feels {labels}.",
    "这个人感到{labels}。",
)
"""Fixed sentences: AffectGPT's, in the singular and the plural, and our own."""

GAP = "{labels}"

AGAIN: dict[Language, str] = {
    "english": "Your reply cannot be used: {why}. Reply with what was asked for and nothing else.",
    "chinese": "你的回复无法使用：{why}。请只回复所要求的内容，不要有任何其他内容。",
}
"""What a model is told whose reply could not be read."""

VERSION = "1"
"""Of the questions and of `AGAIN`: results name it, because another wording gives other labels."""

TRIES = 3

MOST_WORDS = 4
"""What is longer is a clause and no label."""

MOST_LABELS, MOST_LETTERS = 100, 60
"""A longer list, or a longer label in it, is no answer."""

_END = r"[^.!?。！？\n#]*"

_BREAK = re.compile(r"[,;，；、/]|\s(?:and|or|&)\s|以及")

_CLAUSE = re.compile(r"\s(?:because|since|as|while|due to|but|which|who)\s|因为|但是")

_AND = re.compile(r"^(?:and|or|&)\s+")

_AROUND = " \t'\"“”‘’[]()「」*_:"

_LEADING = re.compile(r"^(?:input|output|translation|输入|输出|翻译)\s*[:：]?", re.IGNORECASE)

_FENCE = re.compile(r"^```[a-z]*\s*|\s*```$")

_LIST = re.compile(r"\[[^\[\]]*\]")


@dataclass(frozen=True)
class LabelReading:
    """The labels extracted from a text, and the method that found them."""

    labels: tuple[str, ...]
    how: str
    """`list`, `sentence`, `plain` (no brackets and no fixed sentence: cut at commas), `client`, `empty` (no text), `refused`
    (the answer says that it will not or cannot tell), `unread` (not the sentence that was wanted) or `unusable` (no reply of
    the model could be read)."""


def problem_of(sentence: str) -> str:
    """The error in a fixed sentence; the empty string for a valid one."""
    head = sentence.partition(GAP)[0].strip()
    if sentence.count(GAP) != 1:
        return f"must have {GAP} once, where the labels go: {sentence!r}"
    return "" if head else f"must have words before {GAP}: {sentence!r}"


@lru_cache(maxsize=64)
def _pattern(sentence: str) -> re.Pattern[str]:
    head, tail = (_words(part) for part in sentence.split(GAP))
    edge = r"(?![a-zA-Z])" if head[-1:].isascii() else ""
    labels = rf"({_END}?)\s*{tail}" if tail else f"({_END})"
    return re.compile(rf"(?:^|[.!?。！？\n#:：])\s*{head}{edge}[\s:：]*{labels}", re.IGNORECASE)


def _words(part: str) -> str:
    """A pattern for the words on one side of the gap, whatever the blanks and apostrophes; without the full stop."""
    return re.sub("[’']", "['’]?", r"\s+".join(map(re.escape, part.rstrip(" .!?。").split())))


def in_sentence(text: str, sentences: Sequence[str] = SENTENCES) -> tuple[str, ...] | None:
    """The labels that fixed sentences in a text name, each once and in order; None where it has no such sentence.

    Each of `sentences` has `{labels}` where labels go. It may stand among other sentences, with or without its full stop
    (an answer that was cut off); case and kind of apostrophe do not matter. Labels are cut at commas and at `and` or `or`;
    what follows `because` and its like is left out, and so is a piece of more than four words, which is a clause.
    """
    found = [m.group(1) for sentence in sentences for m in _pattern(sentence).finditer(text)]
    if not found:
        return None
    pieces = [piece.strip(_AROUND) for part in found for piece in _BREAK.split(_CLAUSE.split(part)[0])]
    labels = [_AND.sub("", piece).strip(_AROUND) for piece in pieces]
    first = {label.lower(): label for label in reversed(labels) if label and len(label.split()) <= MOST_WORDS}
    return tuple(first[key] for key in dict.fromkeys(label.lower() for label in labels) if key in first)


def read_offline(text: str, how: ReadMethod = "auto", sentences: Sequence[str] = SENTENCES) -> LabelReading:
    """The labels in a text without asking anybody. A list is read as the published code does: a text without brackets is
    cut at commas and quotes. With `auto` an answer that refuses to tell has no labels."""
    text = text.strip()
    if not text:
        return LabelReading((), "empty")
    if how == "list" or text.startswith("["):
        return LabelReading(tuple(string_to_list(text)), "list")
    labels = in_sentence(text, sentences)
    if labels is not None:
        return LabelReading(labels, "sentence")
    if how == "auto" and is_refusal(text):
        return LabelReading((), "refused")
    return LabelReading((), "unread") if how == "sentence" else LabelReading(tuple(string_to_list(text)), "plain")


def tidy(reply: str) -> str:
    """A reply as the published code stores it: one leading word for input, output or translation and one colon off, line
    breaks out."""
    text = _LEADING.sub("", reply.strip())
    return text.replace("\r", "").replace("\n", "").strip()


def parse_list(reply: str) -> tuple[str, ...]:
    """The labels in a reply that is one list in brackets, and nothing else but a code fence around it. Raises Unreadable."""
    text = tidy(_FENCE.sub("", reply.strip()))
    if not _LIST.fullmatch(text):
        raise Unreadable("it is not one list in square brackets and nothing else")
    labels = string_to_list(text)
    if len(labels) > MOST_LABELS or any(len(label) > MOST_LETTERS for label in labels):
        raise Unreadable("it holds what is too long to be a label, or too many of them")
    return tuple(labels)


def word_of(reply: str) -> str:
    """The word of sentiment that a reply consists of, marks and case aside. Raises Unreadable."""
    word = fold(tidy(reply))
    if word not in VALUES:
        raise Unreadable("it is none of the words positive, negative and neutral")
    return word


@dataclass(frozen=True)
class Extractor:
    """A language model that lists the emotions in a text, and judges the sentiment of such a list.

    The questions are ours, after the published ones; `strict` false takes any reply as it comes, as the published code does.
    """

    client: CachedClient
    language: Language = "english"
    strict: bool = True
    tries: int = TRIES

    def labels(self, text: str) -> tuple[str, ...] | None:
        """The labels in a text; None where no reply could be used."""
        reader = parse_list if self.strict else lambda reply: tuple(string_to_list(tidy(reply)))
        return self._ask("labels", {"text": text}, reader)

    def sentiment(self, labels: Sequence[str]) -> str | None:
        """`positive`, `negative` or `neutral` (with `strict` false: whatever the model said); None without a usable reply."""
        return self._ask("sentiment", {"emotions": list(labels)}, word_of if self.strict else tidy)

    def to_dict(self) -> dict[str, Json]:
        """For results: the model, the language and version of the prompts, and the counts of requests."""
        identity = dict(self.client.client.identity)
        return {**identity, "asked": asdict(self.client.tally), "words": VERSION, "language": self.language}

    def _ask(self, what: str, material: Mapping[str, Json], read: Callable[[str], T]) -> T | None:
        """The reply to a question about the material as `read` parses it; None where no reply could be parsed."""
        question = _question(what, self.language).replace("{material}", json.dumps(material, ensure_ascii=False))
        again = AGAIN[self.language]
        return self.client.read([Message(question)], read, self.tries, lambda why: again.replace("{why}", str(why)))


@cache
def _question(what: str, language: Language) -> str:
    """A question in `templates`: which emotions a text ascribes to its main character (`labels`), or whether a list of them
    is positive, negative or neutral (`sentiment`). `{material}` is a JSON object at the end, so that no text can pass for a
    question."""
    return (Path(__file__).parent / "templates" / f"{what}_{language}.txt").read_text(encoding="utf-8").rstrip("\n")


class LabelReader:
    """Extracts labels from texts by one method; each text is read once."""

    def __init__(
        self, how: ReadMethod = "auto", sentences: Sequence[str] = SENTENCES, extractor: Extractor | None = None
    ) -> None:
        self.how, self.sentences, self.extractor = how, tuple(sentences), extractor
        self._known: dict[str, LabelReading] = {}

    def read(self, texts: Sequence[str]) -> list[LabelReading]:
        """The labels of each text. Raises InputError where a model is needed and none is given, ClientError where it does
        not reply."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        asked = [text for text in fresh if self._asks(text)]
        self._known |= {text: read_offline(text, self.how, self.sentences) for text in fresh if not self._asks(text)}
        if asked:
            who = self.extractor
            if who is None:
                fix = "give it a client: client.use=openai_compatible client.model=NAME client.url=URL"
                raise InputError(Problem("labels from text", "there is no model to ask", fix))
            jobs = [lambda text=text: who.labels(text) for text in asked]
            replies = zip(asked, who.client.read_all(jobs, "extracting labels"), strict=True)
            self._known |= {
                t: LabelReading(r, "client") if r is not None else LabelReading((), "unusable") for t, r in replies
            }
        return [self._known[text] for text in texts]

    def labels(self, text: str) -> tuple[str, ...]:
        """The labels in one text, in lower case."""
        return lower(self.read([text])[0].labels)

    def counts(self, texts: Sequence[str]) -> dict[str, Json]:
        """`how`, and how many texts were read in which way."""
        return {"how": self.how, **Counter(r.how for r in self.read(texts))}

    def agreement_with_sentence(self, texts: Sequence[str]) -> dict[str, Json]:
        """The agreement of a model with the fixed sentence; empty where no model extracts labels."""
        if self.extractor is None or self.how != "client":
            return {}
        return agreement(self.read(texts), [read_offline(text, "sentence", self.sentences) for text in texts])

    def summary(self, texts: Sequence[str]) -> dict[str, Json]:
        """For results: `counts`, and for a model who it is and how far the offline reading agrees with it."""
        compared = self.agreement_with_sentence(texts)
        asked = {"model": self.extractor.to_dict(), "agreement": compared} if self.extractor and compared else {}
        return {**self.counts(texts), **asked}

    def _asks(self, text: str) -> bool:
        """Whether a model reads this text; a list in brackets needs none."""
        return self.how == "client" and bool(text.strip()) and not text.strip().startswith("[")


def lower(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels in lower case without blanks around them, as metrics compare them."""
    return tuple(label.lower().strip() for label in labels)


def summary_sentence(summary: Mapping[str, Json]) -> str:
    """`LabelReader.summary` as a sentence for reports."""
    names = {
        "plain": "cut at commas",
        "client": "by a model",
        "unread": "not the fixed sentence",
        "refused": "refused to tell",
        "sentence": "fixed sentence",
    }
    counts = [f"{n} {names.get(k, k)}" for k, n in summary.items() if isinstance(n, int)]
    return f"labels read from text: {summary['how']} ({', '.join(counts) or 'no text'})"


def as_list(labels: Iterable[str]) -> str:
    """Labels as published files hold them: `[happy, joyful]`; marks that would cut a label in two become blanks."""
    clean = (" ".join(re.sub("['\",\\[\\]]", " ", label).split()) for label in labels)
    return f"[{', '.join(label for label in clean if label)}]"


def agreement(
    model: Sequence[LabelReading], other: Sequence[LabelReading], seed: int = 0, resamples: int = 1000
) -> dict[str, Json]:
    """The agreement of a model's labels with those of another method on the same texts.

    The mean over clips of shared labels over all labels (1 where both have none), with its interval; `differ` counts the
    clips whose sets are not the same. Only clips that the model was asked about and that the other could read count.
    """
    pairs = [
        (set(lower(a.labels)), set(lower(b.labels)))
        for a, b in zip(model, other, strict=True)
        if a.how == "client" and b.how not in ("unread", "unusable", "empty", "refused")
    ]
    return mean_agreement([len(a & b) / len(a | b) if a | b else 1.0 for a, b in pairs], seed, resamples)


def mean_agreement(shares: Sequence[float], seed: int = 0, resamples: int = 1000) -> dict[str, Json]:
    """The mean over clips of what two readings share, with its interval; `differ` counts the clips that share less than all."""
    import numpy as np

    from affectkit.evaluation import bootstrap

    found = bootstrap.mean(np.array(shares, float), seed, resamples)
    return {**found.to_dict(), "clips": len(shares), "differ": sum(share < 1 for share in shares)}
