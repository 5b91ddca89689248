"""Whisper as a writer: sounds in windows of 30 seconds to tokens, these to segments."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from affectkit_plugins._published_net import BROKEN, first_line, published
from affectkit_plugins.backbones.reading_net import cache_name
from torch import Tensor
from transformers import (
    AutoTokenizer,
    LogitsProcessorList,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)
from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor
from transformers.modeling_outputs import BaseModelOutput

from affectkit.errors import InputError, Problem

if TYPE_CHECKING:
    from affectkit_plugins.annotators.transcript import Settings

RATE, HOP = 16_000, 160
TICK = 0.02
"""Seconds of a step of the timestamp tokens."""
LEAST = RATE
"""Samples that are left over and not heard: in a shorter rest Whisper hears what is not there."""
FIX = "give a Whisper as `save_pretrained` writes it, with its tokenizer, preprocessor_config.json and generation_config.json"


@dataclass(frozen=True)
class Heard:
    """What Whisper wrote of a sound."""

    text: str
    language: str
    times: Sequence[tuple[float, float, str]]
    """Segments: start and end in seconds, text."""
    no_speech: float
    language_probability: float | None
    log_probability: float
    compression: float
    """Of the window whose text packs best."""


@dataclass
class Listening:
    """A sound on its way, from window to window."""

    features: Tensor
    """Log-mel [mels frames], with a window of silence behind it."""
    length: float
    """Seconds of sound."""
    at: float = 0.0
    """Where the next window begins, in seconds."""
    language: str = ""
    sure: float | None = None
    no_speech: float = 1.0
    compression: float = 0.0
    total: float = 0.0
    tokens: int = 0
    times: list[tuple[float, float, str]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether all of it was heard."""
        return self.at > 0 and self.length - self.at < LEAST / RATE


class Whisper:
    """A network with its features and tokens."""

    def __init__(self, net: Any, extractor: Any, tokenizer: Any, settings: Settings) -> None:
        self.net, self.extractor, self.tokenizer, self.settings = net, extractor, tokenizer, settings
        own = net.generation_config
        self.first = int(own.no_timestamps_token_id) + 1
        """The token of 0 seconds; those above it are later."""
        self.silence = int(own.no_timestamps_token_id) - 1
        self.languages = dict(own.lang_to_id) if getattr(own, "is_multilingual", False) else {}
        self.cache = cache_name(net) or "past_key_values"
        self.seconds = net.config.max_source_positions * 2 * HOP / RATE

    def hear(self, sounds: Sequence[np.ndarray]) -> list[Heard]:
        """What is said in each sound (float32 [a], 16 kHz, not empty)."""
        states = [Listening(self._log_mel(sound), len(sound) / RATE) for sound in sounds]
        while going := [state for state in states if not state.over]:
            for start in range(0, len(going), self.settings.batch):
                self._window(going[start : start + self.settings.batch])
        return [
            Heard(
                " ".join(text for _, _, text in state.times),
                state.language,
                state.times,
                state.no_speech,
                state.sure,
                state.total / max(state.tokens, 1),
                state.compression,
            )
            for state in states
        ]

    def _log_mel(self, sound: np.ndarray) -> Tensor:
        """[mels frames]: of a sound longer than a window all of it, and always so much silence that any window is full."""
        window = round(self.seconds * RATE)
        padded = np.pad(sound, (0, max(window - len(sound), 0) if len(sound) <= window else window))
        made = self.extractor(padded, sampling_rate=RATE, return_tensors="pt", truncation=False, padding=False)
        found: Tensor = made["input_features"][0]
        return found

    @torch.inference_mode()
    def _window(self, states: Sequence[Listening]) -> None:
        """Hear one window of each, and move on."""
        frames = round(self.seconds * RATE / HOP)
        begins = [round(state.at * RATE / HOP) for state in states]
        seen = torch.stack([s.features[:, b : b + frames] for s, b in zip(states, begins, strict=True)])
        encoded = self.net.model.encoder(seen.to(self.net.device, self.net.dtype)).last_hidden_state
        quiet = self._look(encoded, states)
        written = self._write(encoded, [self._prompt(state) for state in states])
        for state, silent, (tokens, chance) in zip(states, quiet, written, strict=True):
            state.no_speech = min(state.no_speech, silent)
            left = min(self.seconds, state.length - state.at)
            found, step = segments(tokens, self.first, left)
            sure = chance / (len(tokens) + 1)
            if silent > self.settings.most_no_speech and sure < self.settings.least_log_probability:
                found, step = [], left
            for begin, end, own in found:
                if text := self.tokenizer.decode(own, skip_special_tokens=True).strip():
                    state.times.append((state.at + begin, state.at + end, text))
            said = self.tokenizer.decode([t for t in tokens if t < self.first], skip_special_tokens=True).strip()
            if found and said:
                state.compression = max(state.compression, compression(said))
                state.total, state.tokens = state.total + chance, state.tokens + len(tokens) + 1
            state.at += step

    def _look(self, encoded: Tensor, states: Sequence[Listening]) -> list[float]:
        """The probability of no speech in each row; its language goes into those that have none yet."""
        start = torch.full((len(states), 1), self.net.generation_config.decoder_start_token_id, device=encoded.device)
        out = self.net(encoder_outputs=BaseModelOutput(encoded), decoder_input_ids=start, use_cache=False)
        scores = out.logits[:, -1].float()
        if not self.languages:
            for state in states:
                state.language = "en"
        else:
            names, ids = list(self.languages), torch.tensor(list(self.languages.values()), device=scores.device)
            among = scores[:, ids].softmax(-1)
            for state, row in zip(states, among, strict=True):
                if state.language:
                    continue
                given = self.settings.language
                best = int(row.argmax()) if given is None else names.index(f"<|{given}|>")
                state.language, state.sure = names[best].strip("<|>"), float(row[best])
        return [float(p) for p in scores.softmax(-1)[:, self.silence]]

    def _prompt(self, state: Listening) -> list[int]:
        own = self.net.generation_config
        if not self.languages:
            return [own.decoder_start_token_id]
        return [own.decoder_start_token_id, self.languages[f"<|{state.language}|>"], own.task_to_id[self.settings.task]]

    def _write(self, encoded: Tensor, prompts: Sequence[list[int]]) -> list[tuple[list[int], float]]:
        """The greedy tokens behind each prompt, and the sum of their log-probabilities with that of the end."""
        own, begin = self.net.generation_config, len(prompts[0])
        ids = torch.tensor(prompts, device=encoded.device)
        rules: Any = self._rules(begin, encoded.device)
        most = min(self.net.config.max_target_positions - begin, self.net.config.max_target_positions // 2)
        cache: dict[str, Any] = {}
        done = torch.zeros(len(ids), dtype=torch.bool, device=encoded.device)
        total = torch.zeros(len(ids), device=encoded.device)
        fed = ids
        for _ in range(most):
            out = self.net(encoder_outputs=BaseModelOutput(encoded), decoder_input_ids=fed, use_cache=True, **cache)
            cache = {self.cache: getattr(out, self.cache)}
            chances = rules(ids, out.logits[:, -1].float()).log_softmax(-1)
            best, fed = chances.max(-1)
            total += best.masked_fill(done, 0.0)
            fed = fed.masked_fill(done, own.eos_token_id)
            done |= fed == own.eos_token_id
            fed = fed[:, None]
            ids = torch.cat([ids, fed], 1)
            if bool(done.all()):
                break
        rows = ids[:, begin:].tolist()
        cut = [row[: row.index(own.eos_token_id)] if own.eos_token_id in row else row for row in rows]
        return list(zip(cut, total.tolist(), strict=True))

    def _rules(self, begin: int, device: torch.device) -> LogitsProcessorList:
        """What may be written: nothing that the configuration suppresses, and timestamps in pairs that never run back."""
        own = self.net.generation_config
        rules: list[Any] = []
        if own.begin_suppress_tokens:
            rules.append(SuppressTokensAtBeginLogitsProcessor(own.begin_suppress_tokens, begin, device=str(device)))
        if own.suppress_tokens:
            rules.append(SuppressTokensLogitsProcessor(own.suppress_tokens, device=str(device)))
        return LogitsProcessorList([*rules, WhisperTimeStampLogitsProcessor(own, begin_index=begin)])


def segments(tokens: Sequence[int], first: int, left: float) -> tuple[list[tuple[float, float, list[int]]], float]:
    """The segments of a window (start and end in seconds from its beginning, tokens), and how many seconds on the next begins.

    `first` is the token of 0 seconds, `left` the seconds of sound in the window. A segment that has no end is cut by the window:
    it is left to the next, which begins at the last timestamp, unless no more than a second would be left for that.
    """
    found: list[tuple[float, float, list[int]]] = []
    start, own = 0.0, list[int]()
    for token in tokens:
        if token < first:
            own.append(token)
            continue
        time = min((token - first) * TICK, left)
        if own:
            found.append((start, time, own))
            own = []
        start = time
    stamps = [token >= first for token in tokens]
    paired = any(a and b for a, b in pairwise(stamps))
    whole = stamps[-2:] == [False, True]
    if paired and not whole and start > 0 and left - start >= LEAST / RATE:
        return found, start
    return [*found, (start, left, own)] if own else found, left


def compression(text: str) -> float:
    """Bytes of a text over its bytes packed."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def load(settings: Settings) -> Whisper:
    """The network from its source. Raises InputError where it cannot be read, is no Whisper, or lacks what tells its tokens."""
    where = settings.device if settings.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    dtype = settings.dtype if settings.dtype != "auto" else "float16" if where == "cuda" else "float32"
    net = published(WhisperForConditionalGeneration, settings.source, "source", {"dtype": getattr(torch, dtype)}, FIX)
    try:
        extractor = WhisperFeatureExtractor.from_pretrained(settings.source)
        tokenizer = AutoTokenizer.from_pretrained(settings.source, trust_remote_code=False)
    except BROKEN as cause:
        what = f"cannot read how {settings.source!r} hears and writes: {first_line(cause)}"
        raise InputError(Problem("source", what, FIX)) from cause
    _refuse_gaps(net, tokenizer, settings)
    return Whisper(net.to(where).eval(), extractor, tokenizer, settings)


def _refuse_gaps(net: Any, tokenizer: Any, settings: Settings) -> None:
    """Raises InputError for a generation config that says too little, or a language that the network does not know."""
    own = net.generation_config
    many = bool(getattr(own, "is_multilingual", False))
    needs = ["no_timestamps_token_id", "decoder_start_token_id", "eos_token_id"]
    lacks = [n for n in (*needs, *(("lang_to_id", "task_to_id") if many else ())) if getattr(own, n, None) is None]
    if lacks:
        raise InputError(Problem("source", f"its generation_config.json lacks {', '.join(lacks)}", FIX))
    last = int(own.no_timestamps_token_id) + 1 + net.config.max_source_positions
    if last >= net.config.vocab_size or len(tokenizer) <= own.eos_token_id:
        what = f"its tokens do not fit: {len(tokenizer)} in the tokenizer, {net.config.vocab_size} in the network, {last} needed"
        raise InputError(Problem("source", what, FIX))
    if not many and (settings.language not in (None, "en") or settings.task != "transcribe"):
        raise InputError(Problem("language", f"{settings.source!r} knows English only", "leave language and task out"))
    if many and settings.language is not None and f"<|{settings.language}|>" not in own.lang_to_id:
        known = tuple(sorted(name.strip("<|>") for name in own.lang_to_id))
        raise InputError(Problem("language", f"unknown language {settings.language!r}", known=known))
