"""Feature folders out of raw clips, and back in: one stream or all, the tokens are the same."""

import json
import shutil

import numpy as np
import published_files as published
import pytest
import torch
from click.testing import CliRunner
from media_files import write_clip

from affectkit.commands.cache import command
from affectkit.encode.perceive import Perceiver
from affectkit.errors import InputError
from affectkit.interop.contract import Layout, find_converter
from affectkit.interop.feature_files import blocks_of, export_features
from affectkit.model.batch import Key, Prompter, Rows, stack
from affectkit.model.model import build
from affectkit.plan.check import check
from affectkit.plan.summary import full_recipe
from affectkit.registry import Registry

REGISTRY = Registry.load()
FOLDERS = {"face": "mae_340_UTT", "motion": "maeV_399_UTT", "audio": "HL-UTT"}
VIEWS = [f"views.{s}_features.width={published.FEATURES}" for s in FOLDERS]


def layout(chosen=()):
    return find_converter(REGISTRY, "emotion_llama", Layout, chosen)[1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """MER2023 as Emotion-LLaMA lays it out, of three puppet clips, one of them broken."""
    root = tmp_path_factory.mktemp("tree") / "MER2023"
    (root / "video").mkdir(parents=True)
    made = check("voice", ["data.count=12"])
    clips = made.data.piece.build(made.data.settings, "train")
    for i in range(3):
        shutil.copy(clips[i].video, root / "video" / f"sample_{i}{clips[i].video.suffix}")
    (root / "video" / "sample_3.mp4").write_bytes(b"no clip")
    (root / "relative_test3_NCEV.txt").write_text("".join(f"sample_{i} 10 happy -10\n" for i in range(4)))
    (root / "transcription_en_all.csv").write_text("name,sentence\n" + "".join(f"sample_{i},Hello\n" for i in range(4)))
    return root


def small(tree, *more):
    """The paper's recipe at a small size with random weights on that tree, the whole picture for the face."""
    if more:
        path = tree.parent / "small.yaml"
        path.write_text(full_recipe(small(tree)))
        return check(path, more)
    own = [
        o
        for o in published.overrides(tree)
        if not o.startswith(("data.", "backbone.", "streams.patches.steps.encoder.source"))
    ]
    llm = ["layers=1", "width=32", "heads=4", "mlp=48", "vocabulary=300", "context=512", "dtype=float32", "lora.rank=4"]
    faces = ["views.faces.whole=always", "views.faces16.whole=always", f"data.root={tree}", "run.weights=random"]
    return check("paper/emotion_llama", [*own, *VIEWS, *faces, *(f"backbone.{x}" for x in llm)])


def tokens(plan, model):
    """What each slot of the prompt gets, for the three clips that are whole."""
    samples = plan.data.piece.build(plan.data.settings, "test")
    perceiver = Perceiver.of(model)
    perceiver.fill(samples)
    rows = Rows(plan, samples, perceiver, Prompter(model.prompt, samples.labels, 0, "infer"), model.llm)
    batch = stack([rows[Key(i, "label")] for i in range(3)])
    with torch.no_grad():
        found = model.eval().slots(batch, perceiver.cache_plan.rest)
    return {slot: block.tokens[block.mask] for slot, block in found.items()}, perceiver


def test_clips_become_folders_and_give_the_same_tokens(tree):
    plan = small(tree)
    online, _ = tokens(plan, build(plan, lambda: ())[0])
    written = export_features(small(tree), layout(), tree, ["test"])
    assert written.counts == dict.fromkeys(FOLDERS.values(), 3)
    assert list(written.left_out) == ["sample_3"]
    for folder in FOLDERS.values():
        array = np.load(tree / folder / "sample_1.npy")
        assert array.dtype == np.float32
        assert array.shape == (published.FEATURES,)
    note = json.loads((tree / "features.json").read_text())
    assert note["blocks"]["mae_340_UTT"] == "face.mean.tokens"
    assert note["left_out"]["sample_3"]

    swapped = {s: f"streams.{s}.steps.encoder={{use: mean, tokens: {s}_features}}" for s in FOLDERS}
    features = "data.features={" + ", ".join(f"{s}: {f}" for s, f in FOLDERS.items()) + "}"
    for streams in (["face"], ["motion", "audio"]):
        plan = small(tree, features, *(swapped[s] for s in streams))
        read, _ = tokens(plan, build(plan, lambda: ())[0])
        for slot, values in online.items():
            assert values.shape == read[slot].shape
            assert (values - read[slot]).abs().max() <= 1e-6 * values.abs().max(), (streams, slot)


def test_a_clip_with_nothing_to_hear_reads_back_as_it_is(tree, tmp_path):
    root = tmp_path / "MER2023"
    shutil.copytree(tree, root)
    for folder in FOLDERS.values():
        shutil.rmtree(root / folder, ignore_errors=True)
    images = [np.full((96, 96, 3), 20 * i, np.uint8) for i in range(6)]
    write_clip(root / "video" / "sample_1.mp4", images)  # it has no sound
    plan = small(root)
    online, _ = tokens(plan, build(plan, lambda: ())[0])
    written = export_features(small(root), layout(), root, ["test"])
    assert written.left_out["HL-UTT/sample_1"]
    assert not (root / "HL-UTT" / "sample_1.npy").exists()
    features = "data.features={" + ", ".join(f"{s}: {f}" for s, f in FOLDERS.items()) + "}"
    plan = small(root, features, *(f"streams.{s}.steps.encoder={{use: mean, tokens: {s}_features}}" for s in FOLDERS))
    read, perceiver = tokens(plan, build(plan, lambda: ())[0])
    assert list(perceiver.broken) == ["sample_3"]
    assert len(online["audio"]) == len(read["audio"]) == 2
    assert (online["audio"] - read["audio"]).abs().max() <= 1e-6 * online["audio"].abs().max()
    samples = plan.data.piece.build(plan.data.settings, "test")
    assert "1 clips go without the feature 'audio': nothing was to be seen or heard for it" in samples.notes
    np.save(root / "HL-UTT" / "sample_1.npy", np.ones(published.FEATURES, np.float32))  # made since
    assert "audio" in plan.data.piece.build(plan.data.settings, "test")[1].features


def test_the_blocks_can_be_named(tree):
    plan = small(tree)
    assert {n: str(r) for n, r in blocks_of(plan, layout()).items()} == {
        "mae_340_UTT": "face.mean.tokens",
        "maeV_399_UTT": "motion.encoder.pooled",
        "HL-UTT": "audio.encoder.pooled",
    }
    named = layout(["folders={frames: face.encoder, first: patches.encoder.cls}"])
    assert {n: str(r) for n, r in blocks_of(plan, named).items()} == {
        "frames": "face.encoder.pooled",
        "first": "patches.encoder.cls",
    }
    with pytest.raises(InputError, match="did you mean"):
        blocks_of(plan, layout(["folders={x: face.encoder.poled}"]))


def test_the_command_says_what_it_wrote_and_what_not(tree, tmp_path):
    words = [
        "export",
        "paper/emotion_llama",
        "--layout",
        "emotion-llama",
        "--out",
        str(tmp_path / "f"),
        "--split",
        "test",
    ]
    out = CliRunner().invoke(command, [*words, "--set", "folders={only: audio}", *small(tree).recipe.overrides])
    assert out.exit_code == 0, out.output
    assert "only: 3 files, from audio.encoder.pooled" in out.output
    assert "no file for sample_3" in out.output
    assert sorted(p.name for p in (tmp_path / "f").iterdir()) == ["features.json", "only"]


def test_an_id_that_is_no_file_name_is_left_out(tree, tmp_path):
    from dataclasses import replace

    plan = small(tree)
    samples = plan.data.piece.build(plan.data.settings, "test")
    away = [replace(samples[0], id="../away"), replace(samples[1], id="inside/it")]
    away_data = replace(plan.data, piece=replace(plan.data.piece, build=lambda settings, split: away))
    plan = replace(plan, data=away_data)
    written = export_features(plan, layout(["folders={only: audio}"]), tmp_path / "f", ["test"])
    assert written.left_out == {"../away": "its id is no name of a file"}
    assert (tmp_path / "f" / "only" / "inside" / "it.npy").is_file()
