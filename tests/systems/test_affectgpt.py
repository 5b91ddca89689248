"""AffectGPT: what its code does by accident as settings, inputs by one line, tasks at random, Q-Formers in a row."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from affectkit_plugins.adapters import voice_analysis
from affectkit_plugins.encoders import clip_vision, eva_clip_g, speech, speech_net
from affectkit_plugins.fusions import attention_fusion
from affectkit_plugins.projectors import qformer, qformer_net, weighted_sum
from safetensors.torch import save_file

from affectkit import weights
from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.errors import InputError
from affectkit.model.batch import Order
from affectkit.pieces import Shape
from affectkit.plan.check import check
from affectkit.plan.summary import slot_tokens, summary_rows
from affectkit.raw import RawPixels, RawWave
from affectkit.report.results import RunFiles
from affectkit.report.run import warnings
from affectkit.sample import Sample
from affectkit.testing.promises import keeps_its_promises

ROOT = Path(__file__).parents[2]


def block(tokens):
    return TokenBlock("x", tokens, torch.ones(tokens.shape[:3], dtype=torch.bool))


# -- what the published code does by accident --------------------------------------------------------------------------


@pytest.mark.parametrize(("piece", "sizes"), [(clip_vision, {"size": 16}), (eva_clip_g, {"size": 28})])
def test_colours_come_in_the_order_that_is_asked_for(piece, sizes):
    frame = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    raw = RawPixels((frame,), np.arange(1), np.zeros(1), np.ones(1, bool))
    rgb, bgr = (piece.prepare(piece.Settings(colours=c, **sizes), "pixels", raw) for c in ("rgb", "bgr"))
    assert np.array_equal(rgb[:, ::-1], bgr)
    assert not np.array_equal(rgb, bgr)
    assert np.array_equal(rgb, piece.prepare(piece.Settings(**sizes), "pixels", raw))


def heard(samples, **settings):
    return speech.prepare(speech.Hubert(**settings), "wave", RawWave(samples, 16_000))


def test_a_clips_mean_goes_where_it_is_asked_for():
    sound = np.random.default_rng(0).normal(0.3, 0.1, 4000).astype(np.float32)
    assert np.array_equal(heard(sound, normalise="none"), sound)
    for normalise in ("none", "batch"):
        assert abs(heard(sound, normalise=normalise, centre=True).mean()) < 1e-6
    clips = heard(sound, normalise="batch", centre=True, clips=2, seconds=0.2).reshape(2, -1)
    assert np.abs(clips[:, :3200].mean(1)).max() < 1e-6
    assert np.array_equal(heard(sound), heard(sound, centre=True)), "with unit variance its mean is gone anyway"


def test_over_a_batch_all_clips_have_one_mean_and_variance():
    sound = torch.tensor([[1.0, 2.0, 3.0, 9.0], [5.0, 6.0, 0.0, 0.0]])
    got = speech_net.standardised(sound, torch.tensor([4, 2]))
    known = torch.tensor([1.0, 2.0, 3.0, 9.0, 5.0, 6.0])
    wanted = (known - known.mean()) / (known.var(correction=0) + 1e-7).sqrt()
    assert torch.allclose(got, torch.stack((wanted[:4], torch.cat((wanted[4:], torch.zeros(2))))))


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_over_a_batch_a_clip_hangs_on_the_others_and_says_so(norm):
    piece = next(p for p in speech.affectkit_pieces() if p.name == "hubert")
    assert not piece.per_batch(speech.Hubert())
    assert piece.per_batch(speech.Hubert(normalise="batch"))
    tiny = {**piece.tiny, "normalise": "batch", "clips": 2, "seconds": 0.1, "norm": norm, "pool": "mean"}
    keeps_its_promises(replace(piece, tiny=tiny))
    module = piece.build(piece.settings(**tiny), {"wave": Shape("wave", 1, None, 16_000)}, None).eval()
    sound = torch.randn(2, 3200) * torch.tensor([[1.0], [20.0]])
    with torch.no_grad():
        both, alone = (
            module(ViewBlock("wave", s, torch.ones_like(s, dtype=torch.bool)))["pooled"].tokens
            for s in (sound, sound[:1])
        )
    assert (both[:1] - alone).abs().max() > 1e-3


def test_check_and_reports_tell_of_a_step_that_sees_its_batch():
    over = ["streams.audio.steps.encoder.normalise=batch", "streams.audio.steps.encoder.centre=true"]
    rows = {row[0]: row[1] for row in summary_rows(check("paper/affectgpt", over))}
    assert rows["audio.encoder"].endswith("; looks at its batch as a whole: never cached")
    assert "batch" not in {r[0]: r[1] for r in summary_rows(check("paper/affectgpt"))}["audio.encoder"]


@pytest.mark.slow
def test_such_a_run_is_never_cached_and_its_report_says_so(tmp_path):
    from affectkit.api import fit

    speech_size = "width=32 layers=2 heads=2 hidden=32 channels=8 clips=2 seconds=0.5 pool=mean normalise=batch"
    over = ["streams.face.off=true", "stages.voice=null", "stages.lora=null", "data.count=20", "stages.tune.epochs=1"]
    over += ["streams.audio.steps={encoder: {use: hubert, wave: wave}, voice: null}", "stages.tune.batch=4"]
    over += [f"streams.audio.steps.encoder.{s}" for s in speech_size.split()]
    over += [
        f"run.folder={tmp_path}",
        f"run.cache={tmp_path / 'cache'}",
        "score.resamples=10",
        "score.metrics.wheels=null",
    ]
    run = fit(ROOT / "recipes" / "affectgpt.yaml", over, say=lambda _: None)
    assert json.loads(run.about.read_text())["per_batch"] == ["audio.encoder"]
    assert "audio.encoder looked at a batch as a whole and was never cached" in (run.folder / "report.md").read_text()


@pytest.mark.parametrize("told", [[], ["audio.encoder"]])
def test_a_report_warns_of_such_steps_alone(told, tmp_path):
    said = [w.text for w in warnings(RunFiles(tmp_path, {}, "", {"per_batch": told}, {}, (), ()))]
    assert ["never cached" in text for text in said] == [True] * len(told)


# -- tasks at random ------------------------------------------------------------------------------------------------


def test_one_task_a_visit_by_shares():
    samples = [Sample(str(i), label="a") for i in range(400)]
    order = Order(samples, {"open_labels": 1.0, "reason": 3.0}, 0, 16, one_task=True)
    first = order.epoch(0)
    assert sorted(k.index for k in first) == list(range(400))
    share = Counter(k.task for k in first)["reason"] / 400
    assert 0.68 < share < 0.82
    assert order.epoch(0) == first
    tasks = [{k.index: k.task for k in order.epoch(e)} for e in (0, 1)]
    assert sum(tasks[0][i] != tasks[1][i] for i in range(400)) > 80
    every = Order(samples, {"open_labels": 1.0, "reason": 1.0}, 0, 16).epoch(0)
    assert len(every) == 800


# -- inputs by one line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["affectgpt", "paper/affectgpt", "paper/affectgpt_qformer"])
@pytest.mark.parametrize(
    ("line", "slots"),
    [
        ("streams.audio.off=true", ("face",)),
        ("streams.face.off=true", ("audio",)),
        ("streams.multi.off=true", ("audio", "face")),
        ("streams.multi.off=false", ("multi", "audio", "face")),
        ("prompt.parts.says=null", ("multi", "audio", "face")),
        ("views.faces.whole=always", ("multi", "audio", "face")),
    ],
)
def test_one_line_takes_a_modality_out(recipe, line, slots):
    plan = check(recipe, [line])
    assert plan.slots == slots
    assert all(slot_tokens(plan, s) == 1 for s in slots)
    assert {a.split(".")[0] for s in plan.stages.values() for a in s.trains} <= {*slots, "backbone"}


@pytest.mark.parametrize(("line", "slots"), [("video", ("audio",)), ("audio", ("video",))])
@pytest.mark.parametrize("recipe", ["affectgpt_v1", "paper/affectgpt_v1"])
def test_one_line_takes_a_branch_out_of_the_first_version(recipe, line, slots):
    plan = check(recipe, [f"streams.{line}.off=true"])
    assert plan.slots == slots
    assert {a.split(".")[0] for s in plan.stages.values() for a in s.trains} <= {*slots, "backbone"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("streams.fase.off=true", r"unknown stream 'fase'[\s\S]*did you mean 'face'"),
        ("streams.video.off=false", "unknown stream 'video'"),
        ("streams.video=null", "streams to take out: 'video'"),
        ("prompt.parts.say=null", r"prompt\.parts to take out: 'say'[\s\S]*did you mean 'says'"),
        ("stages.align=null", "stages to take out: 'align'"),
        ("score.metrics.recall=null", r"score\.metrics to take out: 'recall'"),
    ],
)
def test_what_is_not_there_cannot_be_taken_out(line, told):
    with pytest.raises(InputError, match=told):
        check("affectgpt", [line])


def test_what_reads_a_stream_goes_with_it_and_nothing_else():
    plan = check("affectgpt", ["streams.audio.off=true"])
    assert list(plan.stages) == ["face", "tune", "lora"]
    assert set(plan.parts) == {"face", "says", "ask", "open", "why"}
    none = check("affectgpt", ["streams.audio.off=true", "streams.face.off=true", "stages.tune.train=[backbone.model]",
                               "stages.lora.train=[backbone.lora]"])  # fmt: skip
    assert not none.graph.steps
    assert list(none.stages) == ["tune", "lora"]
    with pytest.raises(InputError, match="off"):
        check("affectgpt", ["streams.audio.off=sometimes"])


@pytest.mark.parametrize("name", ["affectgpt_without_prefusion", "affectgpt_qformer_prefusion"])
def test_ablations_differ_in_the_fusion_alone(name):
    own, main = check(f"ablations/{name}"), check("affectgpt")
    same = [a for a in main.graph.steps if a != "multi.fusion"]
    assert [a for a in own.graph.steps if a != "multi.fusion"] == same
    assert all(own.graph.steps[a].settings == main.graph.steps[a].settings for a in same)
    assert ("multi" in own.slots) == ("qformer" in name)
    assert own.stages["tune"].settings == main.stages["tune"].settings


# -- attention, stretches, Q-Formers ---------------------------------------------------------------------------------


def test_attention_may_start_as_a_mean():
    tokens = torch.randn(3, 4, 1, 8)
    even = weighted_sum.build(weighted_sum.Settings(start="even"), {"tokens": Shape("tokens", 4, 1, 8)}, 5)
    even.projector = torch.nn.Identity()
    with torch.no_grad():
        got = even(block(tokens))["tokens"].tokens[:, 0, 0]
    assert (got - tokens.mean((1, 2))).abs().max() < 0.35
    shapes = {"video": Shape("tokens", 4, 1, 8), "audio": Shape("tokens", 4, 1, 8)}
    fused = attention_fusion.build(attention_fusion.Settings(common=8, start="even"), shapes, 5)
    assert torch.equal(fused.weigh.bias, torch.full((2,), 0.5))
    plain = attention_fusion.build(attention_fusion.Settings(common=8), shapes, 5)
    assert fused.weigh.weight.abs().max() < plain.weigh.weight.abs().max()


def test_a_voice_is_pooled_by_stretches_of_what_is_real():
    shape = {"tokens": Shape("tokens", 1, 10, 6)}
    torch.manual_seed(0)
    whole = voice_analysis.build(voice_analysis.Settings(channels=8), shape, None).eval()
    cut = voice_analysis.build(voice_analysis.Settings(channels=8, stretches=4), shape, None).eval()
    cut.load_state_dict(whole.state_dict())
    tokens = torch.randn(3, 1, 10, 6)
    mask = torch.ones(3, 1, 10, dtype=torch.bool)
    mask[1, 0, 8:] = mask[2, 0, 2:] = False
    given = TokenBlock("x", tokens, mask)
    with torch.no_grad():
        one, four, alone = whole(given), cut(given), cut(TokenBlock("x", tokens[1:2, :, :8], mask[1:2, :, :8]))
    assert torch.equal(one["units"].tokens, four["units"].tokens)
    assert four["voice"].tokens.shape == (3, 4, 1, 16)
    assert four["voice"].mask[:, :, 0].tolist() == [[True] * 4, [True] * 4, [True, False, True, False]]
    assert torch.allclose(four["voice"].tokens[1:2], alone["voice"].tokens, atol=1e-5)
    means = four["voice"].tokens[1, :, 0, :8].mean(0)
    assert torch.allclose(means, one["voice"].tokens[1, 0, 0, :8], atol=1e-5), "stretches of two frames each"


QUERIES = {"queries": 3, "hidden": 16, "layers": 2, "heads": 2, "cross_every": 2}


def image_qformer(**more):
    made = qformer.build(qformer.Settings(**QUERIES, project=False, **more), {"tokens": Shape("tokens", 2, 5, 8)}, None)
    return made.eval()


def test_a_second_qformer_reads_what_the_first_leaves_unprojected():
    settings = qformer.Settings(**QUERIES, project=False)
    told = qformer.shapes(settings, {"tokens": Shape("tokens", 2, 5, 8)}, 12)
    assert told["tokens"] == Shape("tokens", 2, 3, 16)
    frames = image_qformer()(block(torch.randn(1, 2, 5, 8)))["tokens"]
    assert frames.tokens.shape == (1, 2, 3, 16)
    video = qformer.build(qformer.Settings(**QUERIES, per="clip", positions=2), {"tokens": told["tokens"]}, 12).eval()
    for parameter in video.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    out = video(frames)["tokens"].tokens
    assert out.shape == (1, 1, 3, 12)
    turned = video(TokenBlock("x", frames.tokens.flip(1), frames.mask))["tokens"].tokens
    assert (out - turned).abs().max() > 1e-6, "frames have places"


def lavis(state):
    """A Q-Former's weights under the names of LAVIS, as BLIP-2 and Video-LLaMA publish them."""
    found = {"query_tokens": state["queries"], "ln_vision.weight": torch.ones(8)}
    for name, tensor in state.items():
        tail = name.removeprefix("model.").replace(
            "layernorm.", "embeddings.LayerNorm.", name.startswith("model.layer")
        )
        if name != "queries":
            found[f"Qformer.bert.{tail.replace('attention.attention.', 'attention.self.')}"] = tensor
    return found


def write_lavis(folder, state):
    torch.save({"model": lavis(state)}, folder / "blip2.pth")
    return folder / "blip2.pth"


def write_shards(folder, state):
    named = {"query_tokens": state["queries"], **{f"qformer.{n[6:]}": t for n, t in state.items() if n != "queries"}}
    names = sorted(named)
    parts = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    for file, inside in parts.items():
        save_file({n: named[n].contiguous() for n in inside}, folder / file)
    save_file({"language_model.x": torch.ones(2)}, folder / "c.safetensors")
    index = {n: file for file, inside in parts.items() for n in inside} | {"language_model.x": "c.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


@pytest.mark.parametrize("write", [write_lavis, write_shards])
def test_an_image_qformer_starts_from_blip_2(write, tmp_path):
    torch.manual_seed(1)
    published = image_qformer()
    source = write(tmp_path, published.qformer.state_dict())
    ours = image_qformer(source=str(source))
    assert weights.origin_of(ours) == str(source)
    tokens = block(torch.randn(1, 2, 5, 8))
    assert torch.equal(ours(tokens)["tokens"].tokens, published(tokens)["tokens"].tokens)
    with weights.using("random"):
        assert weights.origin_of(image_qformer(source=str(source))) == weights.RANDOM


def test_a_qformer_from_a_source_with_a_projection_of_its_own_passes_for_random(tmp_path):
    source = str(write_lavis(tmp_path, image_qformer().qformer.state_dict()))
    ports = {"tokens": Shape("tokens", 2, 5, 8)}
    made = qformer.build(qformer.Settings(**QUERIES, source=source), ports, 12)
    assert weights.origins(made) == {"qformer": source, "projector": weights.RANDOM}
    assert weights.origin_of(made) == weights.RANDOM


def test_a_source_that_does_not_fit_is_told(tmp_path):
    state = image_qformer().qformer.state_dict()
    source = write_lavis(tmp_path, state)
    with pytest.raises(InputError, match="lacks 36 weights of this Q-Former"):
        qformer.build(
            qformer.Settings(**{**QUERIES, "layers": 3, "cross_every": 1}, source=str(source)),
            {"tokens": Shape("tokens", 2, 5, 8)}, 12,
        )  # fmt: skip
    image = qformer.Settings(**{**QUERIES, "queries": 4}, source=str(source))
    with pytest.raises(InputError, match=r"queries is \(1, 3, 16\) there, \(1, 4, 16\)"):
        qformer.build(image, {"tokens": Shape("tokens", 2, 5, 8)}, 12)
    with pytest.raises(InputError, match="hf download nobody/none"):
        image_qformer(source="nobody/none")
    ports = {"tokens": Shape("tokens", 2, 5, 8), "question": Shape("text", 1, 16)}
    with pytest.raises(InputError, match="reads a question"):
        qformer.shapes(qformer.Settings(source=str(source)), ports, 12)
    assert not qformer_net.renamed({"llm.layers.0.weight": torch.ones(1)})
