"""The library from Python: a run that was trained on a recipe in hand, asked about media in memory, looked into and trained
further in a loop of one's own."""

import math
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import affectkit
from affectkit.errors import InputError, RunError
from affectkit.evaluation.user_input import media_samples
from affectkit.sample import Sample

RECIPE = """
data: {use: puppets, count: 42}
views:
  look: {use: frames, pick: first}
  face: {use: faces, of: look}
  wave: {use: wave, seconds: 1}
streams:
  scene:
    steps:
      encoder: {use: image_patches, pixels: look, size: 16, patch: 8, width: 16, layers: 1, heads: 2}
      projector: {use: linear}
  near: {steps: {encoder: {use: image_patches, pixels: face, size: 16, patch: 8, width: 16, layers: 1, heads: 2},
                 projector: {use: linear}}}
  audio: {steps: {encoder: {use: log_mel, wave: wave}, pool: {use: mean}, projector: {use: mlp, hidden: 8}}}
prompt:
  use: template
  parts:
    scene: {use: slot, stream: scene}
    near: {use: slot, stream: near}
    audio: {use: slot, stream: audio}
    ask: {use: label_question}
    why: {use: reason_question, wordings: ["Why?"]}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
stages:
  align: {train: [streams.*.projector], epochs: 1}
  instruct: {train: [streams.audio, backbone.model], epochs: 1, tasks: {label: 1, reason: 1}}
score: {metrics: {uar: uar}, resamples: 20, max_new_tokens: 4}
run: {accelerator: cpu}
"""
TRAINS = ["audio.projector", "backbone.model"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of a recipe in Python."""
    recipe = affectkit.load_recipe(RECIPE)
    recipe["run.folder"] = tmp_path_factory.mktemp("runs")
    return affectkit.fit(recipe, say=lambda _: None).folder


@pytest.fixture(scope="module")
def run(folder):
    return affectkit.load(folder)


@pytest.fixture(scope="module")
def labelled(run):
    return run.samples("test")


@pytest.fixture
def still(tmp_path):
    """A photo that is stored lying on its side, as a file."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "photo.jpg"
    Image.fromarray(rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(path, exif=exif)
    return path


@pytest.fixture
def sound(tmp_path):
    """A second of a tone, as int16 and as a file."""
    tone = (8000 * np.sin(np.arange(16000) * 0.2)).astype(np.int16)
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, len(tone), "NONE", ""))
        file.writeframes(tone.tobytes())
    return tone, path


def same(one, two):
    """Whether two predictions are the same answer."""
    return dict(one.probabilities) == pytest.approx(dict(two.probabilities), abs=1e-6) and one.label == two.label


def test_a_picture_is_the_same_from_a_file_its_bytes_pil_and_an_array(run, still):
    of_file = run.predict(still, face="whole")
    assert of_file.id == of_file.media == str(still)
    assert math.isclose(sum(of_file.probabilities.values()), 1, abs_tol=1e-6)
    upright = np.asarray(Image.open(still).rotate(-90, expand=True))
    for media, name in (
        (str(still), str(still)), (still.read_bytes(), "bytes"), (Image.open(still), "picture"), (upright, "picture"),
    ):  # fmt: skip
        found = run.predict(media, face="whole")
        assert same(found, of_file), name
        assert found.id == name
        assert found.media in ("", str(still))
    assert not same(run.predict(upright[::-1].copy(), face="whole"), of_file)


def test_sound_is_the_same_from_a_file_its_bytes_and_arrays(run, sound):
    tone, path = sound
    of_file = run.predict(path)
    floats = tone / np.float32(32768)
    for media in (
        path.read_bytes(), tone, floats, torch.from_numpy(floats), np.stack([floats, floats]), np.stack([tone, tone], 1),
        (tone.astype(np.int32) << 16), (tone.astype(np.int64) + 32768).astype(np.uint16),
    ):  # fmt: skip
        assert same(run.predict(media, rate=16000), of_file)
    assert not same(run.predict(floats, rate=8000), of_file)
    assert run.predict(path, subtitle="words").facts["subtitle"] == "words"


def test_clips_and_lists_of_anything(run, labelled, still, sound):
    clip = labelled[0].video
    of_bytes = run.predict(clip.read_bytes(), face="whole")
    assert same(of_bytes, run.predict(clip, face="whole"))
    found = run.predict([still, sound[0], labelled[0]], rate=16000, face="whole")
    assert [p.id for p in found] == [str(still), "sound 1", labelled[0].id]
    assert found[2].truth == labelled[0].label
    assert same(run.predict(labelled[0]), run.predict([labelled[0]])[0])
    assert run.predict([]) == []


def test_faces_in_media_alone_are_found_by_the_detector_that_is_installed(run, still, monkeypatch):
    asked = []

    def overrides(plan, samples, face, detector, person):
        asked.append([s.id for s in samples])
        return ["views.face.margin=2.0"] if face == "detect" else []

    monkeypatch.setattr("affectkit.api.overrides_for", overrides)
    wide = run.predict(still)
    assert run.predict(run.samples("test")[:1])[0].state == "scored"
    assert asked == [[str(still)]]  # a sample says where its face is, or the recipe does
    assert wide.state == "scored"


def test_media_that_cannot_be_decoded_cost_that_answer(run, still, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    found = run.predict([b"nothing at all", tmp_path / "broken.jpg", still], face="whole")
    assert [p.state for p in found] == ["undecodable", "undecodable", "scored"]
    assert "bytes 0" in found[0].error
    assert "affectkit-" not in found[0].error


@pytest.mark.parametrize(
    ("media", "said"),
    [
        (np.zeros(16000, np.float32), "neither a picture .* nor sound with its rate.*rate=16000"),
        (np.zeros((2, 3, 4, 5), np.uint8), "neither a picture"),
        (3, "cannot look at int.*a path, bytes"),
        ({"a": 1}, "cannot look at dict"),
        (["none.mp4"], "none.mp4: no such file"),
        (Path("."), "is a folder.*give a list of the files in it"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(run, media, said):
    with pytest.raises(InputError, match=f"(?s){said}"):
        run.predict(media)


def test_sound_that_is_not_finite_is_refused(run):
    with pytest.raises(InputError, match="not finite"):
        run.predict(np.array([0.0, np.nan]), rate=16000)


def test_files_of_memory_are_gone_afterwards(still):
    with media_samples([Image.open(still), still.read_bytes()]) as asked:
        paths = [s.image for s in asked.samples]
        assert all(p.is_file() for p in paths)
    assert not any(p.exists() for p in paths)


# -- features -----------------------------------------------------------------------------------------------------------


def test_features_are_what_the_step_gives(run, labelled):
    found = run.features(labelled[:5], "audio.encoder.frames")
    assert found.name == "frames"
    assert found.tokens.shape[0] == 5
    assert bool(found.mask.any((1, 2)).all())
    again = run.features(labelled[3], "audio.encoder")  # the main block
    real = found.tokens[3][found.mask[3]]
    torch.testing.assert_close(again.tokens[0][again.mask[0]], real)
    projected = run.features(labelled[:5], "audio.projector")
    assert projected.tokens.shape[3] == 32
    pooled = run.features(labelled[:5], "audio.pool")
    with torch.no_grad():
        torch.testing.assert_close(
            projected.tokens, run.model.steps.module("audio.projector")(tokens=pooled)["tokens"].tokens
        )


def test_media_alone_and_broken_ones_have_features_too(run, sound, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    found = run.features([sound[0], tmp_path / "broken.wav"], "audio.encoder", rate=16000)
    assert found.mask.any((1, 2)).tolist() == [True, False]
    with pytest.raises(RunError, match="none of the 1 samples can be decoded"):
        run.features(tmp_path / "broken.wav", "audio.encoder")


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("audio.encodr.frames", "unknown step 'audio.encodr'.*did you mean 'audio.encoder'"),
        ("audio", "unknown step 'audio'"),
        ("audio.encoder.frame", "unknown block 'audio.encoder.frame'.*did you mean 'audio.encoder.frames'"),
    ],
)
def test_a_block_that_is_not_there_is_told_with_the_nearest(run, labelled, block, said):
    with pytest.raises(InputError, match=f"(?s){said}"):
        run.features(labelled, block)


# -- a loop of one's own ------------------------------------------------------------------------------------------------


def learning(model):
    return sorted({model.address(n) for n, p in model.named_parameters() if p.requires_grad})


def test_what_the_last_stage_trained_trains_and_answers_change_nothing_of_that(folder):
    run = affectkit.load(folder)
    assert learning(run.model) == TRAINS
    run.model.train()
    modes = [m.training for m in run.model.modules()]
    run.predict(run.samples("test")[:2])
    run.features(run.samples("test")[:2], "audio.projector")
    assert learning(run.model) == TRAINS
    assert [m.training for m in run.model.modules()] == modes


def test_a_loop_of_ones_own_is_what_fit_does(folder):
    run = affectkit.load(folder)
    model, train = run.model, run.samples("train")
    before = run.predict(train[0])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.train()
    losses = []
    for _ in range(12):
        batch = model.training_batch(train[:8])
        total, count = model.loss(batch)
        losses.append(total.item() / count)
        (total / count).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert batch.running == ("audio.projector",)
    assert [s.id for s in batch.samples] == [s.id for s in train[:8]]
    assert losses[-1] < 0.8 * losses[0]
    assert not same(run.predict(train[0]), before)


def test_a_batch_gives_the_loss_of_training(folder):
    """The same rows as a stage makes of them, whatever is cached of the frozen steps."""
    from affectkit.encode.perceive import Perceiver
    from affectkit.model.batch import Key, Prompter, Rows, stack

    run = affectkit.load(folder)
    model, train, stage = run.model, run.samples("train")[:3], run.plan.stages["instruct"]
    perceiver = Perceiver.of(model, stage)
    perceiver.fill(train)
    prompter = Prompter(model.prompt, run.labels, run.plan.run.seed, "train", reads=run.plan.reads)
    rows = Rows(run.plan, train, perceiver, prompter, model.llm)
    batch = stack([rows[Key(i, "reason")] for i in range(3)])
    wanted = model.loss(batch, perceiver.cache_plan.rest)
    found = model.loss(model.training_batch(train, "reason"))
    assert found[1] == wanted[1]
    torch.testing.assert_close(found[0], wanted[0])
    model.freeze(())
    everything = model.loss(model.training_batch(train, "reason"))
    assert model.training_batch(train, "reason").running == ()
    torch.testing.assert_close(everything[0], wanted[0])


def test_freeze_takes_what_a_stage_takes_and_refuses_what_names_nothing(folder):
    model = affectkit.load(folder).model

    def trains():
        return {model.address(n) for n, p in model.named_parameters() if p.requires_grad}

    model.freeze(["streams.*.projector"])
    every = trains()
    assert every
    assert all(address.endswith(".projector") for address in every)
    model.freeze([min(every)])
    assert trains() == {min(every)}
    with pytest.raises(InputError, match=r"unknown address 'audio\.nix'"):
        model.freeze(["audio.nix"])
    assert trains() == {min(every)}


def test_weights_that_are_loaded_into_a_frozen_step_are_seen(folder):
    run = affectkit.load(folder)
    train = run.samples("train")[:3]
    before, _ = run.model.loss(run.model.training_batch(train))
    encoder = run.model.steps.module("scene.encoder")
    encoder.load_state_dict({n: 2 * t for n, t in encoder.state_dict().items()})
    after, _ = run.model.loss(run.model.training_batch(train))
    assert abs((after - before).item()) > 1e-6


def test_broken_samples_stay_out_of_a_batch_and_wrong_tasks_are_told(run, labelled, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no clip")
    broken = Sample("broken", video=tmp_path / "broken.mp4", label=labelled[0].label)
    with pytest.raises(RunError, match=r"none of the 1 samples can be used: .*broken\.mp4"):
        run.model.training_batch([broken])
    assert [s.id for s in run.model.training_batch([broken, labelled[0]]).samples] == [labelled[0].id]
    with pytest.raises(RunError, match="none has an answer to the task 'label'"):
        run.model.training_batch([replace(labelled[0], label=None)])
    with pytest.raises(InputError, match=r"(?s)unknown task 'lable'.*did you mean 'label'"):
        run.model.training_batch([labelled[0]], "lable")


def test_a_recipe_in_hand_is_evaluated_untrained(tmp_path):
    recipe = affectkit.load_recipe(RECIPE, [f"run.folder={tmp_path}", "score.resamples=5"])
    recipe["streams.near"] = None
    recipe["prompt.parts.near"] = None
    run = affectkit.evaluate(recipe, say=lambda _: None)
    assert (run.folder / "metrics.json").is_file()
