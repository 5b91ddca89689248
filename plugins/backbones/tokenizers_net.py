"""Tokenizers behind one small interface: trained on the spot, of transformers, or a SentencePiece file."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from affectkit.errors import InputError, Problem
from affectkit.files import read_json, read_object

START, END, PAD = "<s>", "</s>", "<pad>"
MARK = "tokenizer_mode.json"
"""Written beside a saved tokenizer: how it is to be read."""
MARKUP = re.compile(r"<\S+>|\[\S+\]")
"""What an added token looks like that is markup without being declared special (Qwen's `<think>`), unlike a word or blanks."""


class Tokenizer(Protocol):
    """The methods that the backbone needs of a tokenizer."""

    size: int
    """Rows that the embedding table needs at least."""
    start_ids: tuple[int, ...]
    end_ids: tuple[int, ...]

    def encode(self, text: str, marks: Sequence[tuple[int, int]] = ()) -> list[int]:
        """Ids of a text; special tokens are real inside `marks`, and elsewhere mere letters."""
        ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def save(self, folder: str) -> None: ...


class Transformers:
    """A tokenizer of transformers."""

    def __init__(self, inner: Any, start: str = "", end: str = "") -> None:
        self.inner = inner
        self.named = {"start": start, "end": end}
        self.size = len(inner)
        self.start_ids = _ids_of(inner, start or inner.bos_token)
        self.end_ids = _ids_of(inner, end or inner.eos_token)
        added = inner.added_tokens_decoder.values()
        special = [str(token) for token in added if token.special or MARKUP.fullmatch(str(token))]
        self.special = _any_of((*inner.all_special_tokens, *special))
        self.speller = inner
        """Reads special tokens as letters: only those that are declared special can be split."""
        if not all(token.special for token in added if str(token) in special):
            self.speller = copy.deepcopy(inner)
            self.speller.add_tokens(special, special_tokens=True)

    def encode(self, text: str, marks: Sequence[tuple[int, int]] = ()) -> list[int]:
        real, letters = _special_places(self.special, text, marks)
        if not letters or self.inner.split_special_tokens:
            return self._ids(text)
        ids: list[int] = []
        for stretch, special in _stretches(text, real):
            ids += self._ids(stretch) if special else self._ids(stretch, self.speller, split_special_tokens=True)
        return ids

    def _ids(self, text: str, tokenizer: Any = None, **how: bool) -> list[int]:
        return list((tokenizer or self.inner)(text, add_special_tokens=False, verbose=False, **how)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        return self.inner.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def save(self, folder: str) -> None:
        self.inner.save_pretrained(folder)
        _mark(folder, {"mode": "auto", **self.named})


class Pieces:
    """A `tokenizer.model` read by SentencePiece itself, as Llama's slow tokenizer did.

    Special strings inside marks of a text, and those of the recipe's `special_texts` anywhere, are split out and
    become their ids; every stretch between them is encoded by itself and so gets its own leading-space marker.
    transformers 5 converts the file to another algorithm, which ranks some merges differently.
    """

    def __init__(self, file: Path, specials: Sequence[str], start: str = "", end: str = "") -> None:
        import sentencepiece

        self.file = file
        self.named = {"start": start, "end": end}
        self.inner = sentencepiece.SentencePieceProcessor(model_file=str(file))
        self.size = self.inner.get_piece_size()
        own = [self.inner.id_to_piece(i) for i in self._own_ids()]
        self.specials = tuple(specials)
        self.special_ids = {text: self._id(text) for text in (*own, *specials, start, end) if text}
        self.special = _any_of(self.special_ids)
        self.start_ids = (self._id(start),) if start else _real(self.inner.bos_id())
        self.end_ids = (self._id(end),) if end else _real(self.inner.eos_id())

    def _own_ids(self) -> tuple[int, ...]:
        return tuple(i for i in (self.inner.bos_id(), self.inner.eos_id(), self.inner.unk_id()) if i >= 0)

    def _id(self, piece: str) -> int:
        found = self.inner.piece_to_id(piece)
        if self.inner.id_to_piece(found) != piece:
            raise InputError(Problem("backbone.special_texts", f"{piece!r} is no piece of {self.file}"))
        return found

    def encode(self, text: str, marks: Sequence[tuple[int, int]] = ()) -> list[int]:
        real, letters = _special_places(self.special, text, marks)
        real += [place for place in letters if text[slice(*place)] in self.specials]
        ids: list[int] = []
        for stretch, special in _stretches(text, sorted(real)):
            ids += [self.special_ids[stretch]] if special else self.inner.encode(stretch)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        silent = set(self.special_ids.values())
        return self.inner.decode([i for i in ids if i not in silent])

    def save(self, folder: str) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        saved = Path(folder) / "tokenizer.model"
        if saved.resolve() != self.file.resolve():
            shutil.copyfile(self.file, saved)
        _mark(folder, {"mode": "sentencepiece", "specials": list(self.specials), **self.named})


def train(texts: Iterable[str], most: int) -> Transformers:
    """A byte-level BPE tokenizer of at most `most` tokens; the same texts give the same tokenizer.

    Nothing is unknown to it (the 256 bytes are in it) and decoding gives the text back exactly. Each distinct
    text counts once, so that a template repeated for every sample does not push words out; a pair of pieces
    must occur four times to be joined, so that rare words stay in pieces that are trained often. Special
    strings inside a text are mere characters.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=most,
        min_frequency=4,
        show_progress=False,
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    inner.train_from_iterator(sorted(set(texts)), trainer)
    return Transformers(
        PreTrainedTokenizerFast(
            tokenizer_object=inner,
            bos_token=START,
            eos_token=END,
            pad_token=PAD,
            split_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
    )


def load(source: str, mode: str, specials: Sequence[str], start: str, end: str) -> Tokenizer:
    """A published tokenizer; raises InputError where there is none to be read."""
    if mode == "sentencepiece":
        return Pieces(_piece_file(source), specials, start, end)
    try:
        return Transformers(_reader(source).from_pretrained(source, trust_remote_code=False), start, end)
    except Exception as cause:  # a broken file leads the reader into errors of any kind
        fix = "name a folder that has one in backbone.tokenizer, or say run.weights=random"
        problem = Problem("backbone.tokenizer", f"cannot read a tokenizer from {source!r}: {_first_line(cause)}", fix)
        raise InputError(problem) from cause


def load_saved(folder: str) -> Tokenizer:
    """The tokenizer that `save` wrote."""
    note = read_object(Path(folder) / MARK)
    return load(folder, note["mode"], note.get("specials", ()), note["start"], note["end"])


def _reader(source: str) -> Any:
    """The class that reads a tokenizer: where a folder says that its tokenizer.json is all, not that of its
    model's family.

    AutoTokenizer would take the family's class all the same, and add that family's special tokens.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    note = Path(source) / "tokenizer_config.json"
    named = read_json(note).get("tokenizer_class") if note.is_file() else None
    return PreTrainedTokenizerFast if named in ("PreTrainedTokenizerFast", "TokenizersBackend") else AutoTokenizer


def _piece_file(source: str) -> Path:
    local = Path(source) / "tokenizer.model"
    if local.is_file():
        return local
    if Path(source).is_dir():
        fix = "leave tokenizer_mode at auto"
        raise InputError(Problem("backbone.tokenizer_mode", f"{source} has no tokenizer.model", fix))
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, "tokenizer.model"))
    except (OSError, ValueError) as cause:
        what = f"cannot get tokenizer.model of {source!r}: {_first_line(cause)}"
        raise InputError(Problem("backbone.tokenizer", what, "give a local folder")) from cause


def _ids_of(tokenizer: Any, token: str | None) -> tuple[int, ...]:
    if not token:
        return ()
    found = tokenizer.convert_tokens_to_ids(token)
    if found is None or (found == tokenizer.unk_token_id and token != tokenizer.unk_token):
        raise InputError(
            Problem("backbone", f"the tokenizer has no token {token!r}", "name one in start_token or end_token")
        )
    return (found,)


Places = list[tuple[int, int]]


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    """What finds any of these texts, the longest first; None where there are none."""
    longest_first = sorted({text for text in texts if text}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _special_places(
    special: re.Pattern[str] | None, text: str, marks: Sequence[tuple[int, int]]
) -> tuple[Places, Places]:
    """Where special strings stand in a text: inside one of the marks, and elsewhere."""
    found = [match.span() for match in special.finditer(text)] if special else []
    real = [(a, b) for a, b in found if any(start <= a and b <= stop for start, stop in marks)]
    return real, [place for place in found if place not in real]


def _stretches(text: str, places: Places) -> Iterator[tuple[str, bool]]:
    """A text cut at these places: (stretch, whether it is one of them); empty ones are left out."""
    end = 0
    for start, stop in places:
        yield from ((text[a:b], special) for a, b, special in ((end, start, False), (start, stop, True)) if a < b)
        end = stop
    if end < len(text):
        yield text[end:], False


def _real(token: int) -> tuple[int, ...]:
    return (token,) if token >= 0 else ()


def _mark(folder: str, note: dict[str, Any]) -> None:
    (Path(folder) / MARK).write_text(json.dumps(note), encoding="utf-8")


def _first_line(cause: Exception) -> str:
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)
