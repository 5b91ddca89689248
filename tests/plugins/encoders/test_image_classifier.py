"""Image classifiers of transformers as encoders: their tokens, their labels, and what they cannot be."""

import json

import pytest
import torch
import transformers as hf
from affectkit_plugins.encoders.image_classifier import Settings, affectkit_pieces, prepare
from encoder_inputs import frames

from affectkit.blocks import ViewBlock
from affectkit.errors import InputError
from affectkit.pieces import Shape

PIECE = affectkit_pieces()[0]
INPUTS = {"pixels": Shape("pixels", 3)}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
LABELS = {"id2label": {0: "angry", 1: "happy", 2: "sad"}}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(3)
    hf.ViTForImageClassification(hf.ViTConfig(**SIZES, **LABELS, image_size=32, patch_size=8)).save_pretrained(tmp_path)
    hf.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    return tmp_path


def run(settings, valid=(1, 1, 1)):
    net = PIECE.build(settings, INPUTS, None).eval()
    raw = frames(3, valid)
    values = torch.from_numpy(prepare(settings, "pixels", raw))[None]
    with torch.no_grad():
        return net, raw, net(ViewBlock("pixels", values, torch.tensor([valid], dtype=torch.bool)))


def test_it_gives_the_networks_own_tokens_and_probabilities(folder):
    net, raw, out = run(Settings(source=str(folder)))
    theirs = hf.ViTForImageClassification.from_pretrained(folder).eval()
    images = hf.ViTImageProcessor.from_pretrained(folder)(list(raw.frames), return_tensors="pt").pixel_values
    with torch.no_grad():
        told = theirs(images, output_hidden_states=True)
        head = theirs.vit.layernorm(told.hidden_states[-1])[:, 0]
    torch.testing.assert_close(out["probabilities"].tokens[0, :, 0], told.logits.softmax(-1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out["patches"].tokens[0], told.hidden_states[-1][:, 1:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out["pooled"].tokens[0, :, 0], head, atol=1e-5, rtol=1e-4)
    assert net.frames.weights_origin == str(folder)
    shapes = PIECE.shapes(Settings(source=str(folder)), INPUTS, None)
    assert {n: (s.tokens, s.width) for n, s in shapes.items()} == {n: b.tokens.shape[2:] for n, b in out.items()}


def test_what_the_last_layer_reads_may_be_wider_than_the_network(tmp_path):
    sizes = {n: v for n, v in SIZES.items() if n != "intermediate_size"}
    config = hf.Dinov2Config(**sizes, **LABELS, image_size=32, patch_size=8, mlp_ratio=2)
    hf.Dinov2ForImageClassification(config).save_pretrained(tmp_path)
    net, _, out = run(Settings(source=str(tmp_path)))
    assert net.out_shapes["pooled"].width == out["pooled"].tokens.shape[-1] == 2 * SIZES["hidden_size"]


def test_labels_are_estimates_in_our_words(folder):
    settings = Settings(source=str(folder), words={"angry": "anger"}, fact="mood")
    net, _, out = run(settings, (1, 0, 1))
    (row,) = net.facts(out)
    mean = out["probabilities"].tokens[0, [0, 2], 0].mean(0)
    assert settings.known_labels() == net.words == ("anger", "happy", "sad")
    assert (row["mood"].value, row["mood"].origin) == (net.words[int(mean.argmax())], "estimate")
    assert row["mood"].probability == pytest.approx(float(mean.max()))


CONVNEXT = hf.ConvNextConfig(hidden_sizes=[8, 8, 8, 16], depths=[1] * 4, image_size=32, **LABELS)
SWIN = hf.SwinConfig(image_size=32, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=2, **LABELS)


@pytest.mark.parametrize(("config", "tokens"), [(CONVNEXT, 1), (SWIN, 16)], ids=["convnext", "swin"])
def test_other_networks_than_vision_transformers(config, tokens, tmp_path):
    hf.AutoModelForImageClassification.from_config(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 32, "width": 32}}))
    settings = Settings(source=str(tmp_path))
    _, _, out = run(settings)
    assert {n: tuple(b.tokens.shape[2:]) for n, b in out.items()} == {
        "patches": (tokens, 16), "pooled": (1, 16), "probabilities": (1, 3)
    }  # fmt: skip
    assert PIECE.shapes(settings, INPUTS, None)["pooled"].width == 16


def test_what_it_cannot_be_is_named(folder, tmp_path_factory):
    def said(**settings):
        with pytest.raises(InputError) as error:
            run(Settings(**{"source": str(folder), **settings}))
        return str(error.value)

    assert "the network has no label 'joy'" in said(words={"joy": "happy"})
    assert "24 in the recipe, 16 in" in said(width=24)
    bare = tmp_path_factory.mktemp("bare")
    hf.ViTModel(hf.ViTConfig(**SIZES, **LABELS, image_size=32, patch_size=8)).save_pretrained(bare)
    assert "lacks 2 weights of this network (classifier.bias" in said(source=str(bare))
    assert "no network could be read from there" in said(source=str(tmp_path_factory.mktemp("empty")))
