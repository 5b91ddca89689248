"""FaceXFormer: the published decoder's numbers, the published sizes, and the priors that are read from it."""

import json
from dataclasses import replace

import pytest
import torch
from affectkit_plugins.encoders._swin_net import Swin
from affectkit_plugins.encoders.facexformer import ATTRIBUTES, FACTS, PARTS, POSE, RACES, Settings, affectkit_pieces
from affectkit_plugins.encoders.facexformer_net import TASKS, FaceXFormer, Narrow, point_tokens, region_tokens
from safetensors.torch import save_file
from step_checks import close, reference

from affectkit.blocks import ViewBlock
from affectkit.errors import InputError
from affectkit.pieces import Shape
from affectkit.plan.check import check
from affectkit.plan.forecast import forecast
from affectkit.recipe.settings import read

PIECE = affectkit_pieces()[0]
TINY = Settings(**PIECE.tiny)
INPUTS = {"pixels": Shape("pixels", 3)}
OUTPUTS = {"landmarks": "landmarks", "pose": "headpose", "attribute": "attributes", "visibility": "visibility",
           "age": "age", "gender": "gender", "race": "race"}  # fmt: skip


def step(settings=TINY):
    torch.manual_seed(0)
    return PIECE.build(settings, INPUTS, None).eval()


def crops(mask, boxes=None, seed=0):
    mask = torch.tensor(mask, dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (*mask.shape, 3, TINY.size, TINY.size), generator=generator).to(torch.uint8)
    return ViewBlock("faces", values, mask, boxes)


def run(module, view):
    with torch.no_grad():
        return module(view)


def test_decoder_equals_the_published_one():
    meta, state, inputs, outputs = reference("facexformer")
    sizes = meta["config"]
    heads = meta["head_sizes"]
    settings = Settings(
        width=sizes["dim"],
        heads=sizes["heads"],
        hidden=sizes["mlp_dim"],
        channels=32,
        depths=(1, 1, 1, 1),
        ages=tuple(map(str, range(heads["age"]))),
        genders=tuple(map(str, range(heads["gender"]))),
        races=tuple(map(str, range(heads["race"]))),
    )
    model = FaceXFormer(settings).eval()
    # the set has stage maps of widths that no Swin has, and stands in for the backbone
    model.linear_c = torch.nn.ModuleList(Narrow(c, sizes["dim"]) for c in sizes["widths"])
    found = model.load_state_dict(state, strict=False)
    assert not found.unexpected_keys
    assert all(key.startswith("backbone.") for key in found.missing_keys)
    tolerance = meta["tolerance"]["strict"]
    with torch.no_grad():
        face = model.fuse([inputs[f"stage{i}"] for i in range(4)])
        close(face, outputs["fused_map"], tolerance)
        high, wide = face.shape[2:]
        places = model.pe_layer(high, wide)
        close(places.T.unflatten(1, (high, wide)), outputs["position_map"], tolerance)
        tokens, refined = model.face_decoder(face.flatten(2).transpose(1, 2), places)
        close(tokens, outputs["refined_tokens"], tolerance)
        close(refined, outputs["refined_map"], tolerance)
        close(model.face_decoder.parse(tokens, refined, high), outputs["segmentation"], tolerance)
        for task in TASKS:
            close(model.face_decoder.tell(task, tokens), outputs[OUTPUTS[task]], tolerance)


@pytest.mark.parametrize(("size", "window", "depths"), [(64, 7, (1, 2, 1, 1)), (96, 3, (2, 1, 3, 1))])
def test_backbone_equals_torchvision(size, window, depths):
    swin = pytest.importorskip("torchvision.models.swin_transformer")
    model = swin.SwinTransformer([4, 4], 32, list(depths), [1, 2, 4, 8], [window] * 2, num_classes=1).eval()
    theirs = torch.nn.Sequential(model.features, model.norm)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    ours = Swin(32, depths, (1, 2, 4, 8), window).eval()
    ours.load_state_dict(theirs.state_dict())
    x = images = torch.randn(1, 3, size, size)
    with torch.no_grad():
        maps = ours(images)
        for index, part in enumerate(theirs[0]):
            x = part(x)
            if index % 2:
                close(maps[index // 2], x, 1e-5)


def test_published_checkpoint_has_these_weights_and_no_others():
    with torch.device("meta"):
        state = FaceXFormer(Settings()).state_dict()
    assert len(state) == 505
    assert sum(v.numel() for v in state.values()) == 92_043_823
    assert state["backbone.0.1.0.attn.relative_position_bias_table"].shape == (169, 4)
    assert state["face_decoder.landmarks_prediction_head.layers.2.weight"].shape == (136, 256)


def test_puts_out_what_it_announced():
    out = run(step(), crops([[1, 1, 1], [1, 1, 1]]))
    announced = PIECE.shapes(TINY, INPUTS, None)
    assert list(out) == list(announced)
    for name, shape in announced.items():
        assert out[name].tokens.shape == (2, shape.time, shape.tokens, shape.width), name
        assert out[name].mask.all()
        assert out[name].tokens.isfinite().all()
    for name in ("age", "gender", "race"):
        torch.testing.assert_close(out[name].tokens.sum(-1), torch.ones(2, 3, 1))


def test_published_sizes_give_49_global_and_10_local_tokens():
    announced = PIECE.shapes(Settings(), {"pixels": Shape("pixels", 16)}, None)
    assert announced["global"] == Shape("tokens", 16, 49, 256)
    assert announced["local"] == Shape("tokens", 16, 10, 256)
    assert announced["landmarks"] == Shape("tokens", 16, 68, 2)


def test_frames_without_a_face_are_not_seen_and_change_nothing():
    module = step()
    whole, holed = crops([[1, 1, 1]]), crops([[1, 0, 1]])
    holed.values[0, 1] = 255
    full, out = run(module, whole), run(module, holed)
    for name, block in out.items():
        assert (block.tokens[0, 1] == 0).all(), name
        assert block.mask[0].any(-1).tolist() == [True, False, True]
        torch.testing.assert_close(block.tokens[0, 0], full[name].tokens[0, 0], atol=1e-5, rtol=1e-5)


def test_landmarks_are_told_in_the_whole_frame_where_boxes_are_known():
    module = step()
    boxes = torch.tensor([[[0.5, 0.25, 0.75, 0.75]] * 3])
    inside = run(module, crops([[1, 1, 0]]))["landmarks"].tokens
    outside = run(module, crops([[1, 1, 0]], boxes))["landmarks"].tokens
    torch.testing.assert_close(outside[0, 0, :, 0], 0.5 + 0.25 * inside[0, 0, :, 0])
    torch.testing.assert_close(outside[0, 0, :, 1], 0.25 + 0.5 * inside[0, 0, :, 1])
    assert (outside[0, 2] == 0).all()


def test_region_tokens_are_read_where_the_points_lie():
    face = torch.zeros(1, 2, 4, 4)
    face[0, 0, :, 3] = 1.0  # the right column
    face[0, 1, 0, :] = 1.0  # the top row
    points = torch.zeros(1, 68, 2)
    points[0, :17] = torch.tensor([0.75, 0.75])  # jaw: bottom right
    points[0, 17:22] = torch.tensor([-0.75, -0.75])  # one brow: top left
    regions = region_tokens(face, points)
    assert regions.shape == (1, 9, 2)
    torch.testing.assert_close(regions[0, 0], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(regions[0, 1], torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(regions[0, 8], torch.tensor([0.0, 0.0]))


@pytest.mark.parametrize(("local", "count"), [("regions", 10), ("points", 69), ("landmarks", 1)])
@pytest.mark.parametrize("appearance", ["refined", "fused"])
def test_local_tokens_are_what_the_settings_say(local, count, appearance):
    settings = replace(TINY, local=local, appearance=appearance)
    module, view = step(settings), crops([[1, 1, 1]])
    assert PIECE.shapes(settings, INPUTS, None)["local"] == Shape("tokens", 3, count, TINY.width)
    out = run(module, view)["local"].tokens
    assert out.shape[2] == count
    with torch.no_grad():
        tokens, refined, fused = module.frames.net.model(module.frames.normalised(view.values[0]))
        points = module.frames.net.model.face_decoder.tell("landmarks", tokens).unflatten(-1, (-1, 2))
    face = refined.transpose(1, 2).unflatten(2, (fused.shape[2], -1)) if appearance == "refined" else fused
    torch.testing.assert_close(out[0, :, -1], tokens[:, 0])
    if local == "points":
        torch.testing.assert_close(out[0, :, :-1], point_tokens(face, points))
    if local == "regions":
        torch.testing.assert_close(out[0, :, 0], point_tokens(face, points)[:, :17].mean(1))


def test_maps_task_tokens_and_masks_are_blocks_of_a_few_tokens():
    module, view = step(), crops([[1, 1, 1]])
    out = run(module, view)
    with torch.no_grad():
        tokens, refined, fused = module.frames.net.model(module.frames.normalised(view.values[0]))
        logits = module.frames.net.model.face_decoder.parse(tokens, refined, fused.shape[2])
    side = TINY.size // 4 // TINY.grid
    corner = refined.unflatten(1, (TINY.size // 4, -1))[:, :side, :side].mean((1, 2))
    torch.testing.assert_close(out["global"].tokens[0, :, 0], corner)
    torch.testing.assert_close(out["fused"].tokens[0, :, 0], fused[:, :, :side, :side].mean((2, 3)))
    torch.testing.assert_close(out["tokens"].tokens[0], tokens)
    assert out["tokens"].tokens.shape[2] == len(TASKS) + len(PARTS) == 18
    big = TINY.size // TINY.grid
    sure = logits.softmax(1)[:, :, :big, :big].mean((2, 3))
    torch.testing.assert_close(out["parsing"].tokens[0, :, 0], sure)
    torch.testing.assert_close(out["parsing"].tokens.sum(-1), torch.ones(1, 3, TINY.grid**2))
    without = replace(TINY, parsing=False)
    assert list(run(step(without), view)) == [name for name in out if name != "parsing"]


def test_landmarks_stay_in_the_crop_where_the_settings_say_so():
    boxes = torch.tensor([[[0.5, 0.25, 0.75, 0.75]] * 3])
    inside = run(step(), crops([[1, 1, 1]]))["landmarks"].tokens
    kept = run(step(replace(TINY, places="crop")), crops([[1, 1, 1]], boxes))["landmarks"].tokens
    torch.testing.assert_close(kept, inside)


def test_people_are_estimated_with_a_probability_and_missing_without_a_face():
    module = step()
    out = run(module, crops([[1, 1, 1], [0, 0, 0]]))
    seen, nobody = module.facts(out)
    assert set(seen) == set(FACTS)
    mean = out["race"].tokens[0, :, 0].mean(0)
    assert seen["race"].origin == "estimate"
    assert seen["race"].value == RACES[int(mean.argmax())]
    assert seen["race"].probability == pytest.approx(float(mean.max()))
    assert all(fact.origin == "missing" and fact.value is None for fact in nobody.values())


def test_facts_are_means_over_the_frames_with_a_face_and_plain_numbers():
    module = step()
    out = run(module, crops([[1, 0, 1]]))
    (told,) = module.facts(out)
    assert all(fact.origin == "estimate" for fact in told.values())
    assert json.loads(json.dumps({n: f.value for n, f in told.items()})) == {n: f.value for n, f in told.items()}
    for name, words in (("pose", POSE), ("attributes", ATTRIBUTES)):
        assert tuple(told[name].value) == words
        mean = out[name].tokens[0, [0, 2], 0].mean(0)
        assert list(told[name].value.values()) == pytest.approx(mean.tolist(), abs=1e-4)
    assert tuple(told["parsing"].value) == PARTS
    assert sum(told["parsing"].value.values()) == pytest.approx(1, abs=1e-3)
    assert told["landmarks"].value[67] == pytest.approx(
        out["landmarks"].tokens[0, [0, 2], 67].mean(0).tolist(), abs=1e-4
    )
    assert len(told["visibility"].value) == 29
    few = step(replace(TINY, tells=("gender", "pose"), parsing=False))
    assert [set(row) for row in few.facts(run(few, crops([[1, 1, 1]])))] == [{"gender", "pose"}]
    none = step(replace(TINY, tells=()))
    assert none.facts(run(none, crops([[1, 1, 1], [0, 0, 0]]))) == [{}, {}]


@pytest.mark.parametrize("reads", ["global", "local"])
def test_a_block_that_nobody_eats_costs_nothing_in_the_cache(reads):
    """What is kept of a sample is the block that a miner reads, and no other."""
    over = [
        "streams.priors.steps.net={use: facexformer, pixels: faces}",
        f"streams.scene.steps.miner.{'local' if reads == 'global' else 'global'}_prior=null",
        "stages.face=null",
    ]
    plan = check("emo_llama", over)
    stage = plan.stages["instruct"]
    known = replace(plan, learns=frozenset(stage.trains))
    (kept,) = [k for k in forecast(known) if k.name == "priors.net"]
    shape = plan.graph.steps["priors.net"].shapes[reads]
    values = shape.time * shape.tokens * (4 * shape.width + 1)
    assert values <= kept.bytes <= values * 1.01


def test_reads_its_weights_from_a_file(tmp_path):
    first, path = step(), tmp_path / "facexformer.safetensors"
    state = first.frames.net.model.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    torch.manual_seed(1)
    again = PIECE.build(Settings(**PIECE.tiny, source=str(path)), INPUTS, None).eval()
    assert again.weights_origin == str(path)
    view = crops([[1, 1, 1]])
    for name, block in run(first, view).items():
        torch.testing.assert_close(run(again, view)[name].tokens, block.tokens)


def test_a_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"backbone.weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="not those of this network"):
        PIECE.build(Settings(**PIECE.tiny, source=str(path)), INPUTS, None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", 100),
        ("channels", 48),
        ("depths", [2, 2]),
        ("heads", 7),
        ("grid", 60),
        ("races", ["a", "a"]),
        ("layers", 0),
    ],
)
def test_settings_that_cannot_be_are_told(key, value):
    made, problems = read(Settings, {key: value}, lambda below: ".".join(map(str, below)))
    assert made is None
    assert any(key in problem.place for problem in problems)
