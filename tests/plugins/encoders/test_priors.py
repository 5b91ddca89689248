"""One contract for every source of facial priors, and recipes in which a source or a miner is swapped by one line."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from affectkit_plugins.encoders import face_analysis

from affectkit.api import fit
from affectkit.blocks import TokenBlock
from affectkit.errors import InputError
from affectkit.plan.check import check
from affectkit.recipe.settings import read
from affectkit.registry import Registry
from affectkit.sample import Fact
from affectkit.testing.bench import StepBench
from affectkit.testing.steps import PROMISES, contract

SOURCES = ("face_analysis", "facexformer", "clip_face")
RECIPE = """
extends: emo_llama
name: short
data: {count: 40}
stages:
  face: null
  voice: null
  align: {max_steps: 2}
  instruct: {max_steps: 2, epochs: 1, batch: 4}
  lora: null
score: {resamples: 20, reasons: 1, max_new_tokens: 4}
run: {accelerator: cpu}
"""
NETS = {
    "face_analysis": "{use: face_analysis, pixels: faces, grid: 2}",
    "facexformer": "{use: facexformer, pixels: faces, size: 32, grid: 2, channels: 32, depths: [1, 1, 1, 1], window: 2,"
    " width: 16, heads: 2, hidden: 16}",
    "clip_face": "{use: clip_face, pixels: faces, size: 16, patch: 8, width: 16, layers: 1, heads: 2, hidden: 24, grid: 2,"
    " classifier: {size: 16, patch: 8, width: 16, layers: 1, heads: 2, hidden: 24}}",
}
NET, MINER = "streams.priors.steps.net", "streams.scene.steps.miner"
GUIDED = f"{MINER}={{use: region_guided, landmarks: priors.net.landmarks, heads: 4}}"
REGIONS = f"{MINER}.landmarks=priors.net.landmarks"


def bench(piece):
    return StepBench(piece, read(piece.settings, piece.tiny, str)[0], {}, {})


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_held_to_the_contract(name):
    source = bench(Registry.load().find("encoder", name))
    assert set(source.announced) >= {"global", "local", "valid", "age", "gender"}
    assert list(contract(source)) == []
    assert contract in PROMISES, "so tests of plugins hold theirs to it too"


def page_checks():
    """What follows `affectkit check` in the lines of the page on EMO-LLaMA."""
    page = (Path(__file__).parents[3] / "docs" / "emo-llama.md").read_text()
    return [shlex.split(line)[2:] for line in page.splitlines() if line.startswith("affectkit check ")]


@pytest.mark.parametrize("mode", ["enrich", "tokens"])
def test_the_scene_goes_on_behind_the_miner_in_every_mode(mode):
    (words,) = (w for w in page_checks() if f"{MINER}.inject={mode}" in w)
    tokens = check("emo_llama", words[1:]).graph.steps["scene.tokens"].inputs["tokens"]
    assert str(tokens) == "scene.miner.enriched"


def test_a_mode_without_face_tokens_says_how_to_leave_out_what_reads_them():
    with pytest.raises(InputError) as refused:
        check("emo_llama", [f"{MINER}.inject=enrich"])
    (problem,) = refused.value.problems
    assert problem.what == (
        "unknown block 'scene.miner.face_tokens': as it is set, 'face_info_mining' does not put it out"
    )
    assert problem.known == ("scene.miner.enriched",)
    assert problem.fix == "name another block, or leave out what reads it (`streams.face.off=true`)"


@pytest.mark.parametrize("words", page_checks(), ids=lambda words: " ".join(words)[-40:])
def test_the_checks_of_the_page_find_nothing_wrong(words):
    source = words[0].removeprefix("recipes/").removesuffix(".yaml")
    assert check(source, words[1:]).graph.steps


class Wrong(torch.nn.Module):
    """A source that breaks its contract in the ways of `how`."""

    def __init__(self, inner, how):
        super().__init__()
        self.inner, self.how = inner, how

    def forward(self, pixels):
        out = dict(self.inner(pixels))
        if self.how == "faceless":  # local tokens, zeros, in frames without a face
            local = out["local"]
            out["local"] = TokenBlock("local", local.tokens, torch.ones_like(local.mask))
        if self.how == "valid":
            out["valid"] = TokenBlock("valid", out["valid"].tokens * 0.5, out["valid"].mask)
        return out

    def facts(self, blocks):
        rows = self.inner.facts(blocks)
        return [{**r, "age": Fact("20-29", "estimate")} for r in rows] if self.how == "sure" else rows


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("faceless", "block 'local' is not whole in the frames with a face and empty in the others"),
        ("valid", "block 'valid' is not 1 where there is a face"),
        ("sure", "fact 'age' is a word without a probability"),
    ],
)
def test_a_source_that_breaks_the_contract_is_told(how, said):
    piece = face_analysis.affectkit_pieces()[0]

    def build(settings, inputs, width):
        return Wrong(piece.build(settings, inputs, width), how)

    assert any(said in what for what in contract(bench(replace(piece, build=build))))


def test_every_source_fits_every_miner_that_reads_what_it_has():
    for name, net in NETS.items():
        over = ["stages.face=null", f"{NET}={net}"]
        plan = check("emo_llama", over)
        blocks = plan.graph.steps["scene.miner"].shapes
        assert blocks["face_tokens"].tokens == 2
        assert plan.graph.steps["priors.net"].piece.name == name
        if name == "clip_face":  # it has no landmarks, and a recipe that wants them says so
            with pytest.raises(
                InputError, match=r"unknown block 'priors\.net\.landmarks': as it is set, 'clip_face' does"
            ):
                check("emo_llama", [*over, REGIONS])
            with pytest.raises(InputError, match="fix: put face_analysis or face_api or facexformer in its place"):
                check("emo_llama", [*over, GUIDED])
            continue
        assert check("emo_llama", [*over, GUIDED]).graph.steps["scene.miner"].shapes["face_tokens"].tokens == 1
        assert check("emo_llama", [*over, REGIONS]).graph.steps["scene.miner"].shapes == blocks


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        *(f"{NET}={net}" for net in NETS.values()),
        GUIDED,
        f"{GUIDED[:-1]}, proximity: false}}",
        REGIONS,
        f"{MINER}.order=global_then_local",
    ],
    ids=[*NETS, "region_guided", "region_guided_published", "regions", "order"],
)
@pytest.mark.usefixtures("one_thread")
def test_one_line_swaps_a_source_or_a_miner(line, tmp_path):
    recipe = tmp_path / "short.yaml"
    recipe.write_text(RECIPE)
    run = fit(str(recipe), [line, f"run.folder={tmp_path / 'runs'}"], say=lambda _: None)
    steps = [json.loads(row) for row in (run.folder / "curves.jsonl").read_text().splitlines()]
    for stage in ("align", "instruct"):
        assert [s["step"] for s in steps if s["stage"] == stage and s["kind"] == "train"] == [0, 1]
    assert (run.folder / "metrics.json").exists()
