"""Facial priors from libraries alone: published layouts in, classes in our words, each network's own view of a crop."""

import numpy as np
import open_clip
import pytest
import torch
from affectkit_plugins.encoders.clip_face import LABELS, Settings, affectkit_pieces, band, columns, prepare
from affectkit_plugins.encoders.face_analysis import AGES, GENDERS
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from affectkit import weights
from affectkit.blocks import ViewBlock
from affectkit.errors import InputError
from affectkit.pieces import Shape
from affectkit.raw import RawPixels

PIECE = affectkit_pieces()[0]
INPUTS = {"pixels": Shape("pixels", 3)}
VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "patch_size": 8}


def tiny(**changes):
    return Settings(**{**PIECE.tiny, **changes})


def step(settings, seed=0):
    torch.manual_seed(seed)
    return PIECE.build(settings, INPUTS, None).eval()


def crops(count=3, size=(40, 33), valid=None, seed=0):
    rng = np.random.default_rng(seed)
    frames = tuple(rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count))
    valid = np.ones(count, bool) if valid is None else np.array(valid, bool)
    return RawPixels(frames, np.arange(count), np.arange(count) / 25, valid)


def seen(settings, *raws):
    values = torch.stack([torch.from_numpy(prepare(settings, "pixels", raw)) for raw in raws])
    return ViewBlock("faces", values, torch.stack([torch.from_numpy(raw.valid) for raw in raws]))


def run(module, view):
    with torch.no_grad():
        return module(view)


@pytest.fixture
def published(tmp_path):
    """A CLIP and two classifiers, small, as `save_pretrained` writes them."""
    torch.manual_seed(7)
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}
    clip = CLIPModel(CLIPConfig(vision_config={**VIT, "image_size": 32}, text_config=text, projection_dim=8))
    clip.save_pretrained(tmp_path / "clip")
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path / "clip")
    sources = {"source": str(tmp_path / "clip")}
    for told, size in (("age", 24), ("gender", 16)):
        labels = dict(enumerate(LABELS[told]))
        config = ViTConfig(**VIT, image_size=size, id2label=labels, label2id={v: k for k, v in labels.items()})
        net = ViTForImageClassification(config)
        torch.nn.init.normal_(net.classifier.weight, std=2.0)
        net.save_pretrained(tmp_path / told)
        ViTImageProcessorPil(size={"height": size, "width": size}).save_pretrained(tmp_path / told)
        sources[f"{told}_source"] = str(tmp_path / told)
    return sources


def test_published_folders_give_what_transformers_gives(published):
    settings = Settings(**published, grid=2)
    module, raw = step(settings), crops()
    out = run(module, seen(settings, raw))
    assert weights.origins(module) == {
        "faces.net": published["source"],
        "people.age.net": published["age_source"],
        "people.gender.net": published["gender_source"],
    }
    assert weights.origin_of(module) == ", ".join(published.values()), "reports do not call it random"
    assert weights.origin_of(torch.nn.ModuleList([module, step(tiny())])) == "random", "a part that is, is kept"
    clip = CLIPModel.from_pretrained(published["source"]).eval()
    images = CLIPImageProcessorPil.from_pretrained(published["source"])(list(raw.frames), return_tensors="pt")
    with torch.no_grad():
        tokens = clip.vision_model(**images).last_hidden_state
    torch.testing.assert_close(out["local"].tokens[0], tokens[:, 1:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out["global"].tokens[0, :, 0], tokens[:, 0], atol=1e-5, rtol=1e-4)
    first = tokens[:, 1:].unflatten(1, (4, 4))[:, :2, :2].mean((1, 2))
    torch.testing.assert_close(out["global"].tokens[0, :, 1], first, atol=1e-5, rtol=1e-4)
    for told in ("age", "gender"):
        net = ViTForImageClassification.from_pretrained(published[f"{told}_source"]).eval()
        images = ViTImageProcessorPil.from_pretrained(published[f"{told}_source"])(
            list(raw.frames), return_tensors="pt"
        )
        with torch.no_grad():
            sure = net(**images).logits.softmax(-1)
        ours = out[told].tokens[0, :, 0]
        if told == "gender":
            assert GENDERS == ("female", "male")
            torch.testing.assert_close(ours, sure, atol=1e-5, rtol=1e-4)
        else:
            torch.testing.assert_close(ours[:, 0], sure[:, 0] + sure[:, 1], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(ours[:, 1:], sure[:, 2:], atol=1e-5, rtol=1e-4)


def test_sizes_come_from_the_folders_before_anything_is_built(published):
    announced = PIECE.shapes(Settings(**published), INPUTS, None)
    assert announced["global"] == Shape("tokens", 3, 50, 16)
    assert announced["local"] == Shape("tokens", 3, 16, 16)
    assert announced["age"] == Shape("tokens", 3, 1, len(AGES))
    assert "race" not in announced
    assert "landmarks" not in announced
    with pytest.raises(InputError, match="24 in the recipe, 16 in"):
        step(Settings(**published, width=24))


def test_default_sizes_are_those_of_farl():
    announced = PIECE.shapes(Settings(), {"pixels": Shape("pixels", 8)}, None)
    assert announced["global"] == Shape("tokens", 8, 50, 768)
    assert announced["local"] == Shape("tokens", 8, 196, 768)
    assert announced["valid"] == Shape("tokens", 8, 1, 1)


def test_random_weights_are_said_to_be_random_whatever_the_sources(tmp_path):
    settings = tiny(
        source="Green-Sky/FaRL-Base-Patch16-LAIONFace20M-ep64", age_source="dima806/fairface_age_image_detection"
    )
    with weights.using("random"):
        module = step(settings)
    assert set(weights.origins(module).values()) == {"random"}
    assert module.people["age"].net.model.config.num_labels == 9


@pytest.mark.parametrize("whole", ["both", "grid", "cls"])
@pytest.mark.parametrize("local_grid", [None, 1])
def test_tokens_are_what_the_settings_say(whole, local_grid):
    settings = tiny(whole=whole, local_grid=local_grid, local_layer=-2)
    announced = PIECE.shapes(settings, INPUTS, None)
    out = run(step(settings), seen(settings, crops()))
    assert list(out) == list(announced)
    for name, shape in announced.items():
        assert out[name].tokens.shape == (1, shape.time, shape.tokens, shape.width), name
    base = tiny(local_layer=-2)
    full = run(step(base), seen(base, crops()))
    pick = {"both": slice(None), "cls": slice(1), "grid": slice(1, None)}[whole]
    torch.testing.assert_close(out["global"].tokens, full["global"].tokens[:, :, pick])
    last = run(step(tiny()), seen(tiny(), crops()))["local"].tokens
    assert (full["local"].tokens - last).abs().max() > 1e-3
    if local_grid:
        torch.testing.assert_close(out["local"].tokens[:, :, 0], full["local"].tokens.mean(2))


def test_frames_without_a_face_are_empty_and_change_nothing():
    settings = tiny()
    module = step(settings)
    holed, whole = seen(settings, crops(valid=[1, 0, 1])), seen(settings, crops())
    holed.values[0, 1] = 255
    out, full = run(module, holed), run(module, whole)
    for name, block in out.items():
        assert block.mask[0].any(-1).tolist() == [True, False, True], name
        assert (block.tokens[0, 1] == 0).all()
        torch.testing.assert_close(block.tokens[0, 2], full[name].tokens[0, 2], atol=1e-5, rtol=1e-4)


def test_facts_are_estimates_in_our_words():
    settings = tiny()
    module = step(settings)
    out = run(module, seen(settings, crops(), crops(valid=[0, 0, 0])))
    told, nobody = module.facts(out)
    assert set(told) == {"age", "gender"}
    assert told["age"].value in AGES
    mean = out["age"].tokens[0, :, 0].mean(0)
    assert told["age"].probability == pytest.approx(float(mean.max()))
    assert told["gender"].origin == "estimate"
    assert all(fact.origin == "missing" for fact in nobody.values())
    silent = tiny(tells=())
    assert step(silent).facts(run(step(silent), seen(silent, crops()))) == [{}]


@pytest.mark.parametrize("whole", [True, False])
def test_a_bare_file_in_the_layout_of_openai_is_read(tmp_path, whole):
    torch.manual_seed(3)
    vision = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8, "mlp_ratio": 1.5}
    text = {"context_length": 4, "vocab_size": 9, "width": 8, "heads": 2, "layers": 2}
    theirs = open_clip.CLIP(8, vision, text, quick_gelu=True).eval()
    theirs.visual.output_tokens = True
    state = theirs.state_dict() if whole else theirs.visual.state_dict()
    torch.save({"epoch": 64, "state_dict": state}, tmp_path / "farl.pth")
    sizes = {"size": 32, "patch": 8, "width": 16, "layers": 2, "heads": 2, "hidden": 24}
    settings = Settings(source=str(tmp_path / "farl.pth"), **sizes, tells=())
    module, raw = step(settings), crops(size=(32, 32))
    with torch.no_grad():
        images = torch.from_numpy(np.stack([f.transpose(2, 0, 1) for f in raw.frames])).float() / 255
        look = settings.look()
        images = (images - torch.tensor(look.mean)[:, None, None]) / torch.tensor(look.std)[:, None, None]
        x = theirs.visual._embeds(images)
        x = theirs.visual.transformer(x)
    out = run(module, seen(settings, raw))
    torch.testing.assert_close(out["local"].tokens[0], x[:, 1:], atol=1e-5, rtol=1e-4)
    wrong = Settings(source=str(tmp_path / "farl.pth"), **{**sizes, "layers": 3}, tells=())
    with pytest.raises(InputError, match="lacks 16 weights"):
        step(wrong)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("0-2", (0, 2)),
        ("More than 70", (70, float("inf"))),
        ("70+", (70, float("inf"))),
        ("07", (7, 7)),
        ("young", None),
    ],
)
def test_bands_of_age_are_understood(word, expected):
    assert band(word) == expected


def test_classes_that_are_none_of_our_words_are_told_until_somebody_says_which():
    assert columns(LABELS["age"], AGES, {}, "age_words")[0] == [0, 0, 1, 2, 3, 4, 5, 6, 7]
    assert columns(("Male", "Female"), GENDERS, {}, "gender_words")[0] == [1, 0]
    found, wrong = columns(("16-20", "21-25"), AGES, {}, "age_words")
    assert found == []
    assert "'16-20' are none of our words" in str(wrong[0])
    assert columns(("16-20", "21-25"), AGES, {"16-20": "10-19"}, "age_words") == ([1, 2], [])
    with pytest.raises(InputError, match="'Female' are none of our words"):
        PIECE.shapes(tiny(genders=("male",)), INPUTS, None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"grid": 0}, "grid"),
        ({"local_grid": 0}, "local_grid"),
        ({"local_layer": 1}, "local_layer"),
        ({"classifier": {"depth": 2}}, "classifier"),
        ({"tells": ("age", "age")}, "tells"),
        ({"ages": ()}, "ages"),
    ],
)
def test_settings_that_cannot_be_are_told(changes, field):
    assert field in [name for name, _ in tiny(**changes).problems()]
    assert not tiny().problems()
