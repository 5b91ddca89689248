"""A language model in a folder on this machine, through transformers."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins._content import fingerprint
from affectkit_plugins._values import at_least

from affectkit import weight_files
from affectkit.errors import InputError, Problem
from affectkit.evaluation.clients import Client
from affectkit.messages import Message
from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from affectkit_plugins.clients.local_hf_net import LocalNet

GATHER = 0.02
"""Seconds in which questions that are asked at the same time come together."""


@dataclass(frozen=True)
class Settings:
    """An instruction-tuned model in a local folder (Hugging Face layout, safetensors), asked through its chat template.

    Greedy; questions that come at the same time are answered together, as a batch. Nothing is downloaded and no code of the
    folder is run. It sees pictures where the folder has a processor for them (LLaVA, Qwen-VL, SmolVLM and others); sound is for
    servers.
    """

    folder: str
    """Folder with config, weights and tokenizer."""
    max_new_tokens: int = field(default=512, metadata={"formerly": "most_tokens"})
    """Longest reply, in tokens."""
    batch: int = 8
    """Most questions that are answered together. In a batch numbers are rounded otherwise, which moves a word once in a while."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs; auto = the first GPU, else the CPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the weights; auto = as they are stored."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return at_least(self, 1, "max_new_tokens", "batch")


class _Waiting:
    """A question that waits for its reply."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.reply: str | None = None
        self.error: BaseException | None = None


class Local:
    """A model that is loaded when it is asked for the first time; see `affectkit.evaluation.clients.Client`."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder, self.parallel = settings, folder, settings.batch
        self._print: str | None = None
        self._net: LocalNet | None = None
        self._waiting: list[_Waiting] = []
        self._lock, self._turn = threading.Lock(), threading.Lock()

    def __reduce__(self) -> tuple[type[Local], tuple[Settings, Path]]:
        return Local, (self.settings, self.folder)

    @property
    def identity(self) -> Mapping[str, Any]:
        """What a reply depends on: the files of the folder by content, and how they are run."""
        if self._print is None:
            self._print = fingerprint(self.folder)
        return {"model": self._print, "max_new_tokens": self.settings.max_new_tokens, "dtype": self.settings.dtype}

    def ask(self, messages: Sequence[Message]) -> str:
        """The greedy continuation of the conversation. Raises InputError for pictures that it cannot see, and for sound."""
        mine = _Waiting(messages)
        with self._lock:
            self._waiting.append(mine)
        with self._turn:  # one thread runs the model for all who came meanwhile
            while mine.reply is None and mine.error is None:
                self._answer_some()
        if mine.error is not None:
            raise mine.error
        assert mine.reply is not None
        return mine.reply

    def _answer_some(self) -> None:
        """Answer those who wait, at most a batch; others that come within a moment are waited for."""
        until = time.monotonic() + GATHER
        while len(self._waiting) < self.settings.batch and time.monotonic() < until and self.settings.batch > 1:
            time.sleep(GATHER / 10)
        with self._lock:
            part, self._waiting = self._waiting[: self.settings.batch], self._waiting[self.settings.batch :]
        try:
            if self._net is None:
                from affectkit_plugins.clients.local_hf_net import LocalNet

                self._net = LocalNet(self.settings, self.folder)
            for one, reply in zip(part, self._net.answers([one.messages for one in part]), strict=True):
                one.reply = reply
        except BaseException as error:
            for one in part:
                one.error = error


def build(settings: Settings) -> Client:
    """The model, not loaded yet. Raises InputError where there is no such folder."""
    from pathlib import Path

    folder = Path(settings.folder)
    if not (folder / "config.json").is_file():
        what = f"{settings.folder!r} is no folder of a model (it has no config.json)"
        raise InputError(Problem("client.folder", what, "download the model once and name its folder"))
    if broken := weight_files.inspect(folder):
        raise InputError(broken)
    return Local(settings, folder)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("client", "local_hf", Settings, build, tiny={"folder": "."}, needs=("transformers",))]
