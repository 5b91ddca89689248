"""Whisper's encoder with fewer layers and shorter windows: what is put out, and what it does not depend on."""

import pytest
import torch
import transformers as hf
from encoder_inputs import PIECES, noise, view

from affectkit.encode.cache import Keys, Memo
from affectkit.errors import InputError
from affectkit.model.model import build_steps
from affectkit.pieces import Shape
from affectkit.plan.check import check

PIECE = PIECES["whisper"]
SIZES = {"d_model": 16, "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "num_mel_bins": 16, "vocab_size": 20,
         "encoder_layers": 3, "decoder_layers": 1, "decoder_ffn_dim": 8, "decoder_attention_heads": 1, "pad_token_id": 0,
         "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0}  # fmt: skip
INPUTS = {"wave": Shape("wave", 1, 16_000, 16_000)}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    hf.WhisperModel(hf.WhisperConfig(**SIZES, max_source_positions=50)).save_pretrained(tmp_path)
    return str(tmp_path)


def run(source, raws, **settings):
    made = PIECE.settings(source=source, **settings)
    net = PIECE.build(made, INPUTS, None).eval()
    with torch.no_grad():
        out = net(view("whisper", made, raws))["frames"]
    announced = PIECE.shapes(made, INPUTS, None)["frames"]
    assert out.tokens.shape[2] <= announced.tokens
    return net, out


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_a_layer_is_that_of_the_whole_network(folder, layer):
    whole, last = run(folder, [noise(16_000)])
    heard = {}
    inner = whole.model.layers
    for number, module in enumerate(inner):
        module.register_forward_pre_hook(lambda _, given, n=number: heard.update({n: given[0]}))
        module.register_forward_hook(
            lambda _, __, made, n=number: heard.update({n + 1: made[0] if isinstance(made, tuple) else made})
        )
    with torch.no_grad():
        whole(view("whisper", PIECE.settings(source=folder), [noise(16_000)]))
    net, out = run(folder, [noise(16_000)], layer=layer)
    torch.testing.assert_close(out.tokens[:, 0], heard[layer])
    assert len(net.model.layers) == layer
    assert not torch.allclose(out.tokens, last.tokens)


def test_a_short_window_is_the_network_with_fewer_positions(folder):
    _, out = run(folder, [noise(16_000)], window=0.4)
    small = hf.WhisperModel(hf.WhisperConfig(**SIZES, max_source_positions=20)).eval()
    state = hf.WhisperModel.from_pretrained(folder).state_dict()
    state["encoder.embed_positions.weight"] = state["encoder.embed_positions.weight"][:20]
    small.load_state_dict(state)
    features = hf.WhisperFeatureExtractor(16, chunk_length=1)
    sound = noise(16_000).samples[: int(0.4 * 16_000)]
    mel = torch.from_numpy(features._np_extract_fbank_features(sound[None], "cpu"))
    with torch.no_grad():
        theirs = small.encoder(mel).last_hidden_state
    assert out.tokens.shape == (1, 1, 20, 16)
    torch.testing.assert_close(out.tokens[:, 0], theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("window", [None, 0.5])
def test_a_clip_is_the_same_whatever_lies_beside_it(folder, window):
    short, long = noise(4_000), noise(16_000, seed=1)
    _, alone = run(folder, [short], window=window)
    _, beside = run(folder, [short, long], window=window)
    count = alone.tokens.shape[2]
    torch.testing.assert_close(beside.tokens[:1, :, :count], alone.tokens, atol=1e-5, rtol=1e-5)
    assert not beside.mask[0, 0, count:].any()


def test_layer_and_window_are_in_the_key_of_the_cache(folder, tmp_path_factory):
    """Tokens of another layer or window are never taken for its own; the key of the same settings is the same."""
    named = "streams.audio.steps.encoder={{use: whisper, wave: wave, source: {}{}}}"
    memo = Memo(tmp_path_factory.mktemp("memo"))
    keys = {}
    settings = ["", ", window: 0.4", ", window: 0.5", ", layer: 1", ", layer: 2"]
    for said in (*settings, ""):
        plan = check("voice", [named.format(folder, said)])
        steps, plan = build_steps(plan, ["audio.encoder"], None)
        key = Keys(plan, steps, memo).step("audio.encoder")
        assert keys.setdefault(said, key) == key
    assert len(set(keys.values())) == len(settings)


def test_more_than_the_network_has_is_named(folder):
    known = PIECE.settings(source=folder, layer=4, window=1.5).problems()
    assert known == [
        ("layer", "4 is beyond the network's 3 layers"),
        ("window", "1.5 is beyond the network's 50 positions of 20 ms"),
    ]
    assert PIECE.settings(layer=-1, window=0.0).problems() == [
        ("layer", "must be at least 0, got -1"),
        ("window", "must be at least 0.1, got 0.0"),
    ]
    with pytest.raises(InputError, match=r"1\.5 is beyond the 50 that the network has"):
        PIECE.build(PIECE.settings(source=folder, window=1.5), INPUTS, None)
