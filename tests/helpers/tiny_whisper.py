"""A Whisper of two layers with random weights, its tokenizer and what else a folder of it holds: it writes what nobody said."""

import json

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

LANGUAGES = ("en", "de", "pl")


def tiny_whisper(folder, multilingual=True, seed=0, positions=50):
    """Write it; a window is `positions` steps of 20 ms. Returns the folder."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tasks = ("translate", "transcribe") if multilingual else ()
    names = ["endoftext", "startoftranscript", *(LANGUAGES if multilingual else ()), *tasks, "nospeech", "notimestamps"]
    names += [f"{i * 0.02:.2f}" for i in range(positions + 1)]
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in names])
    ids = {name: tokenizer.token_to_id(f"<|{name}|>") for name in names}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)
    frames = 2 * positions
    WhisperFeatureExtractor(feature_size=16, chunk_length=frames * 160 // 16000 or 1).save_pretrained(folder)
    torch.manual_seed(seed)
    special = {"bos_token_id": ids["endoftext"], "eos_token_id": ids["endoftext"], "pad_token_id": ids["endoftext"],
               "decoder_start_token_id": ids["startoftranscript"]}  # fmt: skip
    net = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer.get_vocab()),
            num_mel_bins=16,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_source_positions=positions,
            max_target_positions=40,
            init_std=0.5,
            **special,
        )
    )
    more = {"lang_to_id": {f"<|{n}|>": ids[n] for n in LANGUAGES if n in ids}, "task_to_id": {n: ids[n] for n in tasks}}
    net.generation_config = GenerationConfig(
        **special, is_multilingual=multilingual, no_timestamps_token_id=ids["notimestamps"], max_length=40,
        suppress_tokens=[ids[n] for n in names[1 : names.index("notimestamps")]],
        begin_suppress_tokens=[ids["endoftext"]], **(more if multilingual else {}),
    )  # fmt: skip
    net.save_pretrained(folder)
    assert json.loads((folder / "generation_config.json").read_text())["is_multilingual"] == multilingual
    return folder
