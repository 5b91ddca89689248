"""A language model in a folder on this machine, through transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins._content import fingerprint
from affectkit_plugins._values import at_least

from affectkit import weight_files
from affectkit.errors import InputError, Problem
from affectkit.evaluation.clients import Client, Message
from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """An instruction-tuned LLM in a local folder (Hugging Face layout, safetensors), asked through its chat template.

    Greedy, one question at a time. Nothing is downloaded and no code of the folder is run. Text only.
    """

    folder: str
    """Folder with config, weights and tokenizer."""
    max_new_tokens: int = field(default=512, metadata={"formerly": "most_tokens"})
    """Longest reply, in tokens."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs; auto = the first GPU, else the CPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the weights; auto = as they are stored."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return at_least(self, 1, "max_new_tokens")


class Local:
    """A model that is loaded when it is asked for the first time; see `affectkit.evaluation.clients.Client`."""

    parallel = 1

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self._print: str | None = None
        self._loaded: tuple[Any, Any] | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        """What a reply depends on: the files of the folder by content, and how they are run."""
        if self._print is None:
            self._print = fingerprint(self.folder)
        return {"model": self._print, "max_new_tokens": self.settings.max_new_tokens, "dtype": self.settings.dtype}

    def ask(self, messages: Sequence[Message]) -> str:
        """The greedy continuation of the conversation. Raises InputError for pictures and sound."""
        import torch

        if any(m.images or m.audio for m in messages):
            raise InputError(Problem("client", "this model reads text only", "use a server with a model that sees"))
        tokenizer, model = self._model()
        talk = [{"role": m.role, "content": m.text} for m in messages]
        ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        ids = ids.to(model.device)
        with torch.inference_mode():
            out = model.generate(
                **ids,
                max_new_tokens=self.settings.max_new_tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
            )
        return str(tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))

    def _model(self) -> tuple[Any, Any]:
        import torch
        from affectkit_plugins._published_net import first_line, published
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if self._loaded is None:
            safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            fix = "download the model once more, as safetensors"
            try:
                tokenizer = AutoTokenizer.from_pretrained(self.folder, **safe)
            except Exception as cause:  # a broken file leads the reader into errors of any kind
                what = f"its tokenizer cannot be read: {first_line(cause)}"
                raise InputError(Problem(str(self.folder), what, fix)) from cause
            if not tokenizer.chat_template:
                what = "the tokenizer has no chat template: this is no instruction-tuned model"
                raise InputError(Problem(str(self.folder), what, "take the chat or instruct version of the model"))
            dtype = self.settings.dtype
            options = {"dtype": dtype, "use_safetensors": True, "local_files_only": True}
            model = published(AutoModelForCausalLM, self.folder, "client.folder", options, fix)
            # what the folder says of sampling does not count: replies are greedy
            settings = model.generation_config
            settings.do_sample, settings.temperature, settings.top_p, settings.top_k = False, None, None, None
            auto = "cuda" if torch.cuda.is_available() else "cpu"
            where = auto if self.settings.device == "auto" else self.settings.device
            placed: Any = model
            self._loaded = (tokenizer, placed.to(where).eval())
        return self._loaded


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
