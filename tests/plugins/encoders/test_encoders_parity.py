"""Encoders against the published classes and preprocessors with the same weights, saved and read back."""

import importlib
import json
import os
import warnings
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
import transformers as hf
from encoder_inputs import PIECES, frames, noise, view
from safetensors.torch import load_file, save_file

from affectkit import weights
from affectkit.errors import InputError
from affectkit.pieces import Shape

hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()
EVA = Path(os.environ.get("AFFECTKIT_REFERENCE", "../shared/reference")) / "parity" / "eva_vit"
SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
WIDE, TALL = frames(2, seed=1, size=(37, 53)), frames(2, seed=2, size=(61, 40))


def randomised(model):
    """Every weight drawn, so that none of them is a zero or a one that hides a mistake."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


def ours(name, raws, **settings):
    """Our step from `settings`, its blocks for the samples, and what it announced."""
    piece = PIECES[name]
    given = piece.settings(**settings)
    eats = piece.ports[0].eats
    inputs = {eats: Shape("pixels", 2) if eats == "pixels" else Shape("wave", 1, 40000, 16000)}
    step = piece.build(given, inputs, None).eval()
    with torch.no_grad():
        out = step(view(name, given, raws))
    for block, shape in piece.shapes(given, inputs, None).items():
        assert shape.width in (None, out[block].tokens.shape[3])
        assert shape.tokens is None or out[block].tokens.shape[2] <= shape.tokens
    assert step.weights_origin == settings["source"]
    return {block: tokens.tokens for block, tokens in out.items()}


def seen(processor, raw):
    return torch.as_tensor(np.stack(processor(list(raw.frames))["pixel_values"]))


def same(a, b, atol=1e-5):
    torch.testing.assert_close(a, b, atol=atol, rtol=1e-5)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("clip"))
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    text = {**SMALL, "vocab_size": 60, "eos_token_id": 1}
    model = randomised(hf.CLIPModel(hf.CLIPConfig(vision_config=vision, text_config=text, projection_dim=12)))
    # A whole CLIP, as the hub has it: the tower is found inside.
    model.config.vision_config.projection_dim = 12
    model.save_pretrained(folder)
    processor = hf.models.clip.image_processing_pil_clip.CLIPImageProcessorPil(
        size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}, image_mean=[0.4, 0.5, 0.6]
    )
    processor.save_pretrained(folder)
    return folder, model, processor


@pytest.mark.parametrize("raw", [WIDE, TALL], ids=["wide", "tall"])
def test_clip_vision(clip, raw):
    folder, model, processor = clip
    with torch.no_grad():
        out = model.vision_model(seen(processor, raw), output_hidden_states=True)
        embed = model.visual_projection(out.pooler_output)
    mine = ours("clip_vision", [raw], source=folder)
    same(mine["patches"][0], out.last_hidden_state[:, 1:])
    same(mine["cls"][0, :, 0], out.last_hidden_state[:, 0])
    same(ours("clip_vision", [raw], source=folder, pool="projected")["pooled"][0, :, 0], embed)
    same(ours("clip_vision", [raw], source=folder, take=-2)["patches"][0], out.hidden_states[-2][:, 1:])


def test_sizes_of_the_recipe_must_be_those_of_the_checkpoint(clip):
    piece = PIECES["clip_vision"]
    for build in (False, True):
        with (
            weights.using("random" if build else "given"),
            pytest.raises(InputError, match=r"width: 20 in the recipe, 16"),
        ):
            piece.build(piece.settings(source=clip[0], width=20), {"pixels": Shape("pixels", 1)}, None)


def test_a_checkpoint_of_another_kind_is_refused(clip):
    piece = PIECES["vit_mae"]
    settings = piece.settings(source=clip[0])
    with pytest.raises(InputError):
        piece.build(settings, {"pixels": Shape("pixels", 1)}, None)
    with pytest.raises(InputError, match="no network could be read"):
        piece.build(piece.settings(source=str(Path(clip[0]) / "nowhere")), {"pixels": Shape("pixels", 1)}, None)


def vit_processor(folder, kind, **settings):
    module, name = kind
    found = importlib.import_module(f"transformers.models.{module}")
    processor = getattr(found, name)(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225], **settings)
    processor.save_pretrained(folder)
    return processor


def test_vit_mae_sees_every_patch_in_order(tmp_path):
    whole = randomised(
        hf.ViTMAEForPreTraining(
            hf.ViTMAEConfig(
                **SMALL,
                image_size=32,
                patch_size=8,
                mask_ratio=0.75,
                decoder_hidden_size=16,
                decoder_num_hidden_layers=1,
                decoder_num_attention_heads=2,
            )
        )
    )
    whole.save_pretrained(tmp_path)
    processor = vit_processor(
        tmp_path, ("vit.image_processing_pil_vit", "ViTImageProcessorPil"), size={"height": 32, "width": 32}
    )
    model = whole.vit
    model.config.mask_ratio = 0.0
    noise_ = torch.linspace(0, 1, 16).expand(2, 16)
    with torch.no_grad():
        expected = model(seen(processor, WIDE), noise=noise_).last_hidden_state
    mine = ours("vit_mae", [WIDE], source=str(tmp_path))
    same(mine["patches"][0], expected[:, 1:])
    same(mine["cls"][0], expected[:, :1])
    raw = ours("vit_mae", [WIDE], source=str(tmp_path), pool="mean", normalise=False)["pooled"]
    pixels_ = seen(processor, WIDE) * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    pixels_ = pixels_ + torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    with torch.no_grad():
        expected = model(pixels_, noise=noise_).last_hidden_state[:, 1:].mean(1)
    same(raw[0, :, 0], expected, atol=2e-5)


def test_vit_mae_reads_the_layout_of_its_own_code(tmp_path):
    """MAE's code is timm's vision transformer, so timm stands in for it."""
    model = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=32,
        patch_size=8,
        embed_dim=16,
        depth=3,
        num_heads=2,
        mlp_ratio=1.5,
        num_classes=0,
    )
    randomised(model)
    torch.save({"model": {**model.state_dict(), "mask_token": torch.zeros(1)}, "epoch": 340}, tmp_path / "mae.pth")
    sizes = {"size": 32, "patch": 8, "width": 16, "layers": 3, "heads": 2, "hidden": 24}
    mine = ours("vit_mae", [WIDE], source=str(tmp_path / "mae.pth"), normalise=False, **sizes)
    settings = PIECES["vit_mae"].settings(size=32)
    images = torch.from_numpy(PIECES["vit_mae"].prepare(settings, "pixels", WIDE)) / 255
    with torch.no_grad():
        expected = model.forward_features(images)
    same(mine["cls"][0], expected[:, :1])
    same(mine["patches"][0], expected[:, 1:])
    with pytest.raises(InputError, match="by the recipe's sizes"):
        ours("vit_mae", [WIDE], source=str(tmp_path / "mae.pth"), **{**sizes, "hidden": 32})


def test_videomae(tmp_path):
    config = hf.VideoMAEConfig(**SMALL, image_size=32, patch_size=8, num_frames=2, use_mean_pooling=False)
    model = randomised(hf.VideoMAEModel(config))
    model.save_pretrained(tmp_path)
    kind = ("videomae.image_processing_pil_videomae", "VideoMAEImageProcessorPil")
    processor = vit_processor(tmp_path, kind, size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    clip = torch.as_tensor(np.stack(processor([list(WIDE.frames)])["pixel_values"][0]))[None]
    with torch.no_grad():
        expected = model(clip).last_hidden_state
    same(ours("videomae", [WIDE], source=str(tmp_path))["patches"][0, 0], expected[0])
    same(ours("videomae", [WIDE], source=str(tmp_path), pool="mean")["pooled"][0, 0, 0], expected[0].mean(0))
    # The layout of VideoMAE's own code, from the same weights.
    state = {f"encoder.{ours_}": value for ours_, value in videomae_names(model.state_dict()).items()}
    save_file(state, tmp_path / "own.safetensors")
    sizes = {"size": 32, "patch": 8, "width": 16, "layers": 3, "heads": 2, "hidden": 24, "frames": 2}
    mine = ours("videomae", [WIDE], source=str(tmp_path / "own.safetensors"), **sizes)
    same(mine["patches"][0, 0], expected[0], atol=1e-4)


def videomae_names(state):
    """transformers' names back to VideoMAE's own, written out by hand."""
    out = {
        "patch_embed.proj.weight": state["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": state["embeddings.patch_embeddings.projection.bias"],
        "norm.weight": state["layernorm.weight"],
        "norm.bias": state["layernorm.bias"],
    }
    for i in range(3):
        old, new = f"encoder.layer.{i}", f"blocks.{i}"
        q, k, v = (f"{old}.attention.attention.{name}" for name in ("query", "key", "value"))
        out[f"{new}.attn.qkv.weight"] = torch.cat([state[f"{part}.weight"] for part in (q, k, v)])
        out[f"{new}.attn.q_bias"], out[f"{new}.attn.v_bias"] = (
            state[f"{q}.bias"].clone(),
            state[f"{v}.bias"].clone(),
        )
        pairs = {
            "attn.proj": "attention.output.dense",
            "norm1": "layernorm_before",
            "norm2": "layernorm_after",
            "mlp.fc1": "intermediate.dense",
            "mlp.fc2": "output.dense",
        }
        for theirs, mine in pairs.items():
            for kind in ("weight", "bias"):
                out[f"{new}.{theirs}.{kind}"] = state[f"{old}.{mine}.{kind}"]
    return out


@pytest.mark.parametrize("whole", [False, True], ids=["tower", "inside InstructBLIP"])
def test_eva_before_and_after_its_norm(tmp_path, whole):
    vision = {**SMALL, "image_size": 16, "patch_size": 8}
    if whole:
        qformer = {**SMALL, "encoder_hidden_size": 16, "vocab_size": 60}
        text = {
            "model_type": "opt",
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "ffn_dim": 16,
            "vocab_size": 60,
            "word_embed_proj_dim": 16,
        }
        config = hf.InstructBlipConfig(vision_config=vision, qformer_config=qformer, text_config=text)
        saved = randomised(hf.InstructBlipForConditionalGeneration(config))
        model = saved.vision_model
    else:
        saved = model = randomised(hf.InstructBlipVisionModel(hf.InstructBlipVisionConfig(**vision)))
    saved.save_pretrained(tmp_path)
    processor = hf.models.blip.image_processing_pil_blip.BlipImageProcessorPil(size={"height": 24, "width": 24})
    with torch.no_grad():
        out = model(seen(processor, WIDE), interpolate_pos_encoding=True, output_hidden_states=True)
    before = ours("eva_clip_g", [WIDE], source=str(tmp_path), size=24)
    after = ours("eva_clip_g", [WIDE], source=str(tmp_path), size=24, norm="after")
    same(before["patches"][0], out.hidden_states[-1][:, 1:])
    same(after["patches"][0], out.last_hidden_state[:, 1:])
    same(after["cls"][0], out.last_hidden_state[:, :1])


def test_eva_against_the_published_code(tmp_path):
    if not (EVA / "meta.json").is_file():
        pytest.skip(f"no parity set at {EVA}")
    meta = json.loads((EVA / "meta.json").read_text())
    config, strict = meta["config"], float(meta["tolerance"]["strict"])
    inputs, outputs = load_file(EVA / "inputs.safetensors"), load_file(EVA / "outputs.safetensors")
    sizes = {
        "trained_size": config["ckpt_img"],
        "patch": config["patch_size"],
        "width": config["embed_dim"],
        "layers": config["depth"],
        "heads": config["num_heads"],
        "hidden": meta["mlp_width"],
        "norm_eps": 1e-5,
    }
    piece = PIECES["eva_clip_g"]
    cases = (
        ("images", config["img_size"], "features"),
        ("images_small", config["ckpt_img"], "small_features"),
    )
    compared = set()
    for images, size, expected in cases:
        for norm, suffix in (("before", ""), ("after", "_after_ln_vision")):
            settings = piece.settings(source=str(EVA / "weights.safetensors"), size=size, norm=norm, **sizes)
            step = piece.build(settings, {"pixels": Shape("pixels", 1)}, None).eval()
            with torch.no_grad():
                found = step.net(inputs[images])
            tokens = torch.cat((found["cls"], found["patches"]), 1)
            if f"{expected}{suffix}" in outputs:
                want = outputs[f"{expected}{suffix}"]
                assert tokens.shape == want.shape
                assert (tokens - want).abs().max() <= strict * want.abs().max()
                compared.add(f"{expected}{suffix}")
    assert {"features", "features_after_ln_vision", "small_features"} <= compared


CONV = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


@pytest.mark.parametrize("name", ["hubert", "wav2vec2", "wavlm"])
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_speech(tmp_path, name, norm):
    config, model = {
        "hubert": (hf.HubertConfig, hf.HubertForCTC),
        "wav2vec2": (hf.Wav2Vec2Config, hf.Wav2Vec2ForCTC),
        "wavlm": (hf.WavLMConfig, hf.WavLMForCTC),
    }[name]
    whole = randomised(
        model(config(**{**SMALL, "num_hidden_layers": 5}, **CONV, **(STABLE if norm == "layer" else {})))
    )
    whole.save_pretrained(tmp_path)
    extractor = hf.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer")
    extractor.save_pretrained(tmp_path)
    sounds = [noise(6000), noise(6000, 1)] if norm == "group" else [noise(6000), noise(4100, 1)]
    fed = extractor([s.samples for s in sounds], sampling_rate=16000, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = whole.base_model(**fed, output_hidden_states=True)
    lengths = whole._get_feat_extract_output_lengths(torch.tensor([len(s.samples) for s in sounds])).tolist()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Support for mismatched")
        mine = ours(name, sounds, source=str(tmp_path))["frames"]
    four = ours(name, sounds, source=str(tmp_path), take="last_four")["frames"]
    mean = ours(name, sounds, source=str(tmp_path), pool="mean")["pooled"]
    for row, n in enumerate(lengths):
        same(mine[row, 0, :n], out.last_hidden_state[row, :n], atol=3e-5)
        same(four[row, 0, :n], torch.stack(out.hidden_states[-4:]).mean(0)[row, :n], atol=3e-5)
        same(mean[row, 0, 0], out.last_hidden_state[row, :n].mean(0), atol=3e-5)


def test_speech_without_normalising_as_the_checkpoint_says(tmp_path):
    piece = PIECES["hubert"]
    hf.HubertConfig(**SMALL, **CONV).save_pretrained(tmp_path)
    hf.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    plain = piece.prepare(piece.settings(source=str(tmp_path)), "wave", noise(800))
    np.testing.assert_array_equal(plain, noise(800).samples)
    assert piece.prepare(piece.settings(source=str(tmp_path), normalise="utterance"), "wave", noise(800)).std() > 0.9
    assert not piece.pads(piece.settings(source=str(tmp_path)))


def test_whisper(tmp_path):
    config = hf.WhisperConfig(
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        vocab_size=60,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        num_mel_bins=20,
        max_source_positions=100,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    whole = randomised(hf.WhisperForConditionalGeneration(config))
    whole.save_pretrained(tmp_path)
    extractor = hf.WhisperFeatureExtractor(feature_size=20, chunk_length=2)
    sounds = [noise(5000), noise(40000, 1)]
    fed = extractor([s.samples for s in sounds], sampling_rate=16000, return_tensors="pt").input_features
    with torch.no_grad():
        expected = whole.model.encoder(fed).last_hidden_state
    mine = ours("whisper", sounds, source=str(tmp_path))["frames"]
    assert mine.shape[2] == 100
    same(mine[0, 0, :16], expected[0, :16], atol=5e-5)
    assert (mine[0, 0, 16:] == 0).all()
    same(mine[1, 0], expected[1], atol=5e-5)
    same(
        ours("whisper", sounds, source=str(tmp_path), pool="mean")["pooled"][0, 0, 0],
        expected[0, :16].mean(0),
        5e-5,
    )


@pytest.mark.parametrize("raw", [WIDE, TALL], ids=["wide", "tall"])
@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_timm(tmp_path, name, raw):
    size = {"img_size": 64} if name == "test_vit" else {}
    model = randomised(timm.create_model(name, num_classes=7, **size))
    timm.models.save_for_hf(model, tmp_path, model_args=size, safe_serialization=True)
    stated = timm.data.resolve_model_data_config(model) | ({"input_size": (3, 64, 64)} if size else {})
    config = json.loads((tmp_path / "config.json").read_text())
    config["pretrained_cfg"] |= {"input_size": stated["input_size"], "crop_pct": 0.9}
    (tmp_path / "config.json").write_text(json.dumps(config))
    transform = timm.data.create_transform(**{**stated, "crop_pct": 0.9})
    from PIL import Image

    images = torch.stack([transform(Image.fromarray(frame)) for frame in raw.frames])
    with torch.no_grad():
        features = model.forward_features(images)
        head = model.forward_head(features, pre_logits=True)
    mine = ours("timm", [raw], source=str(tmp_path))["patches"][0]
    expected = features[:, 1:] if features.ndim == 3 else features.flatten(2).transpose(1, 2)
    same(mine, expected, atol=1e-4)
    same(ours("timm", [raw], source=str(tmp_path), pool="head")["pooled"][0, :, 0], head, atol=1e-4)


@pytest.mark.parametrize("raw", [WIDE, TALL], ids=["wide", "tall"])
def test_open_clip(tmp_path, raw):
    vision = {"image_size": 32, "patch_size": 8, "width": 16, "layers": 2, "head_width": 8}
    text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}
    own = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(own))
    torch.manual_seed(3)
    save_file(randomised(open_clip.CLIP(**config)).state_dict(), tmp_path / "open_clip_model.safetensors")
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    from PIL import Image

    images = torch.stack([transform(Image.fromarray(frame)) for frame in raw.frames])
    model.eval().visual.output_tokens = True
    with torch.no_grad():
        embed, tokens = model.visual(images)
    same(ours("open_clip", [raw], source=str(tmp_path))["patches"][0], tokens)
    same(ours("open_clip", [raw], source=str(tmp_path), pool="projected")["pooled"][0, :, 0], embed)
    piece = PIECES["open_clip"]
    with weights.using("random"):
        step = piece.build(piece.settings(source=str(tmp_path)), {"pixels": Shape("pixels", 1)}, None)
    assert step.weights_origin == "random"
    assert sum(p.numel() for p in step.parameters()) == sum(p.numel() for p in model.visual.parameters())
