"""The model of `local_hf`: conversations to replies, in batches."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from affectkit_plugins._published_net import first_line, published

from affectkit.errors import InputError, Problem
from affectkit.messages import Message, Reply, loaded

if TYPE_CHECKING:
    from affectkit_plugins.clients.local_hf import Settings

SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
FIX = "download the model once more, as safetensors"


class LocalNet:
    """A model with its tokenizer, or its processor where it sees. Raises InputError where the folder holds none."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

        self.settings = settings
        try:
            config = AutoConfig.from_pretrained(folder, **SAFE)
        except Exception as cause:  # a broken file leads the reader into errors of any kind
            raise InputError(Problem(str(folder), f"its config cannot be read: {first_line(cause)}", FIX)) from cause
        reads = any((folder / f"{name}_config.json").is_file() for name in ("processor", "preprocessor"))
        self.sees = hasattr(config, "vision_config") and reads
        self.reader = _reader(folder, self.sees)
        options = {"dtype": settings.dtype, "use_safetensors": True, "local_files_only": True}
        kind = AutoModelForImageTextToText if self.sees else AutoModelForCausalLM
        placed: Any = published(kind, folder, "client.folder", options, FIX)
        # what the folder says of sampling does not count: replies are greedy
        chosen = placed.generation_config
        chosen.do_sample, chosen.temperature, chosen.top_p, chosen.top_k = False, None, None, None
        auto = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = placed.to(auto if settings.device == "auto" else settings.device).eval()

    def answers(self, asked: Sequence[Sequence[Message]]) -> list[Reply]:
        """The greedy continuation of each conversation. Raises InputError for pictures that it cannot see, and for sound."""
        messages = [message for one in asked for message in one]
        if any(m.audio for m in messages) or (not self.sees and any(m.images for m in messages)):
            what = "this model hears nothing" if any(m.audio for m in messages) else "this model reads text only"
            raise InputError(Problem("client", what, "use a server with a model that does"))
        tokenizer = getattr(self.reader, "tokenizer", self.reader)
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        talks = [[self._turn(message) for message in one] for one in asked]
        how: dict[str, Any] = {
            "add_generation_prompt": True,
            "tokenize": True,
            "return_dict": True,
            "return_tensors": "pt",
        }
        how |= {"processor_kwargs": {"padding": True}} if self.sees else {"padding": True}
        ids = self.reader.apply_chat_template(talks, **how).to(self.model.device)
        with torch.inference_mode():
            out = self.model.generate(
                **ids, max_new_tokens=self.settings.max_new_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id
            )
        new = out[:, ids["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(new, skip_special_tokens=True)
        there = ids["attention_mask"].sum(1).tolist()
        ends = (new != tokenizer.pad_token_id).sum(1).tolist()
        return [Reply(text, *counts) for text, *counts in zip(texts, there, ends, strict=True)]

    def _turn(self, message: Message) -> dict[str, Any]:
        """A message as chat templates take it: pictures before the words where the model sees."""
        if not self.sees:
            return {"role": message.role, "content": message.text}
        from PIL import Image

        parts: list[dict[str, Any]] = [
            {"type": "image", "image": Image.open(io.BytesIO(loaded(file).data)).convert("RGB")}
            for file in message.images
        ]
        return {"role": message.role, "content": [*parts, {"type": "text", "text": message.text}]}


def _reader(folder: Path, sees: bool) -> Any:
    """The tokenizer, or the processor, with a chat template. Raises InputError."""
    from transformers import AutoProcessor, AutoTokenizer

    try:
        found = (AutoProcessor if sees else AutoTokenizer).from_pretrained(folder, **SAFE)
    except Exception as cause:  # a broken file leads the reader into errors of any kind
        raise InputError(Problem(str(folder), f"its tokenizer cannot be read: {first_line(cause)}", FIX)) from cause
    if not (getattr(found, "chat_template", None) or getattr(getattr(found, "tokenizer", None), "chat_template", None)):
        what = "the tokenizer has no chat template: this is no instruction-tuned model"
        raise InputError(Problem(str(folder), what, "take the chat or instruct version of the model"))
    return found
