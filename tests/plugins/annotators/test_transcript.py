"""Whisper as a writer: windows, segments, silence, loops; the same as transformers' own generation writes."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from affectkit_plugins.annotators import transcript
from affectkit_plugins.annotators.transcript_net import Heard, compression, load, segments
from tiny_whisper import tiny_whisper

from affectkit.annotators import Reject
from affectkit.data.views import look_at
from affectkit.errors import InputError
from affectkit.raw import RawWave
from affectkit.recipe.views import Wave
from affectkit.sample import Sample

REAL = Path(os.environ.get("AFFECTKIT_REFERENCE", "../shared/reference")) / "real"
FIRST = 100
"""The token of 0 seconds in the tests of segments."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_whisper(tmp_path_factory.mktemp("whisper"))


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=int(seconds * 16000))).astype(np.float32)


def row(samples, rate=16000):
    return {"wave": RawWave(samples, rate)}


def built(folder, **settings):
    return transcript.build(transcript.Settings(str(folder), **{"most_compression": 1e9, **settings}))


def generated(whisper, sound, **more):
    """The text by transformers' own generation, with the features that we hear."""
    features = whisper._log_mel(sound)[None]
    more = {"task": "transcribe", **more} if whisper.languages else more
    out = whisper.net.generate(features, return_timestamps=True, max_new_tokens=whisper.net.config.max_target_positions // 2,
                               force_unique_generate_call=True, **more)  # fmt: skip
    return whisper.tokenizer.decode(out[0], skip_special_tokens=True).strip()


@pytest.mark.parametrize("seed", range(4))
def test_a_window_is_written_as_transformers_writes_it(seed, tmp_path):
    """With random weights, whose tokens mean nothing, and in the order of tokens they keep to Whisper's rules all the same."""
    whisper = load(transcript.Settings(str(tiny_whisper(tmp_path, seed=seed))))
    sound = noise(0.9, seed)
    with torch.inference_mode():
        encoded = whisper.net.model.encoder(whisper._log_mel(sound)[None]).last_hidden_state
        prompt = [whisper.net.generation_config.decoder_start_token_id, whisper.languages["<|de|>"],
                  whisper.net.generation_config.task_to_id["transcribe"]]  # fmt: skip
        ((tokens, chance),) = whisper._write(encoded, [prompt])
    assert tokens[0] >= whisper.first
    assert chance < 0 < len(tokens) - 3
    ours = whisper.tokenizer.decode(tokens, skip_special_tokens=True).strip()
    assert ours == generated(whisper, sound, language="de")


def test_clips_give_the_same_in_any_company(folder):
    made = built(folder, batch=3)
    rows = [row(noise(s, i)) for i, s in enumerate((0.5, 1.0, 2.7, 0.2, 1.3))]
    together = made(rows)
    assert [one["text"] for one in together] == [made([one])[0]["text"] for one in rows]
    assert len({one["text"] for one in together}) > 1


def test_sound_longer_than_a_window_is_heard_to_its_end(folder):
    """A window of the tiny network is a second; there is no rest of less than a second."""
    (one,) = built(folder)([row(noise(3.4))])
    starts = [start for start, _, _ in one["times"]]
    assert starts == sorted(starts)
    assert starts[-1] >= 1.0
    assert max(end for _, end, _ in one["times"]) <= 3.4
    assert " ".join(text for _, _, text in one["times"]) == one["text"]
    again = built(folder)([row(np.repeat(noise(3.4), 2), 32000)])[0]
    assert again["language"] == one["language"]


def test_the_language_is_given_or_found(folder):
    found, given = (built(folder, language=one)([row(noise(0.5))])[0] for one in (None, "pl"))
    assert given["language"] == "pl"
    assert found["language_probability"] >= given["language_probability"] > 0
    others = [built(folder, language=one)([row(noise(0.5))])[0]["language_probability"] for one in ("en", "de")]
    assert sum(others) + given["language_probability"] == pytest.approx(1, abs=1e-3)


def test_one_language_is_no_question(tmp_path):
    source = tiny_whisper(tmp_path, multilingual=False)
    (one,) = built(source)([row(noise(0.5))])
    assert (one["language"], one["language_probability"]) == ("en", None)
    with pytest.raises(InputError, match="knows English only"):
        built(source, language="de")([row(noise(0.5))])


def test_silence_is_no_speech(folder):
    quiet = [row(np.zeros(8000, np.float32)), row(np.zeros(0, np.float32)), row(np.full(800, 1e-7, np.float32))]
    assert built(folder)(quiet) == [Reject("no speech", "silence")] * 3
    (empty, *_) = built(folder, silent="empty")(quiet)
    assert empty == {"text": "", "language": None, "times": [], "no_speech": 1.0}
    made = transcript.build(transcript.Settings("nowhere/at-all"))
    assert made(quiet) == [Reject("no speech", "silence")] * 3, "for silence no weights are read"


def test_what_whisper_takes_for_silence_is_none(folder):
    (one,) = built(folder, most_no_speech=0.0, least_log_probability=0.0)([row(noise(0.5))])
    assert isinstance(one, Reject)
    assert one.reason == "no speech"
    assert "text" in built(folder, most_no_speech=0.0, least_log_probability=-1e9)([row(noise(0.5))])[0]


def test_a_loop_is_rejected(folder):
    made = built(folder, most_compression=2.4)
    said = "no no no " * 20
    heard = Heard(said, "en", [(0.0, 1.0, said)], 0.1, 0.9, -0.2, compression(said))
    assert made._found(heard).reason == "the words go round in circles"
    plain = "The children talk by the door and the dogs sit there."
    assert compression(plain) < 1.3
    assert made._found(Heard(plain, "en", [], 0.1, 0.9, -0.2, compression(plain)))["text"] == plain


T = FIRST


@pytest.mark.parametrize(
    ("tokens", "left", "found", "step"),
    [
        ([T, 1, 2, T + 50], 30.0, [(0.0, 1.0, [1, 2])], 30.0),
        ([T, 1, T + 50, T + 60, 2, T + 100], 30.0, [(0.0, 1.0, [1]), (1.2, 2.0, [2])], 30.0),
        # cut by the window: what has no end is left to the next
        ([T, 1, T + 50, T + 50, 2, 3], 30.0, [(0.0, 1.0, [1])], 1.0),
        ([T, 1, T + 50, T + 50], 30.0, [(0.0, 1.0, [1])], 1.0),
        # but not where less than a second is left
        ([T, 1, T + 50, T + 50, 2], 1.5, [(0.0, 1.0, [1]), (1.0, 1.5, [2])], 1.5),
        ([T, 1, 2], 3.0, [(0.0, 3.0, [1, 2])], 3.0),
        ([T, 1, T + 500], 3.0, [(0.0, 3.0, [1])], 3.0),
        # never stuck
        ([T, T, 1], 30.0, [(0.0, 30.0, [1])], 30.0),
        ([], 2.0, [], 2.0),
    ],
)  # fmt: skip
def test_segments_of_a_window(tokens, left, found, step):
    assert segments(tokens, FIRST, left) == (found, step)


def test_faults_are_named(folder, tmp_path):
    def faults(**settings):
        return dict(transcript.Settings(**settings).problems())

    assert "names no weights" in faults(source="")["source"]
    assert faults(source=str(folder), language="xx")["language"].startswith("'xx' is no language of")
    assert set(faults(source="a/b", batch=0, most_compression=0.5)) == {"batch", "most_compression"}
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    assert "no Whisper" in faults(source=str(tmp_path))["source"]
    assert faults(source=str(folder), language="pl") == {}
    clips = {"wave": RawWave(np.zeros((2, 100), np.float32), 16000)}
    with pytest.raises(InputError, match="cuts the sound into clips"):
        built(folder)([clips])


@pytest.mark.parametrize("name", ["tokenizer.json", "preprocessor_config.json"])
def test_a_folder_that_lacks_a_file_is_named(name, tmp_path):
    source = tiny_whisper(tmp_path)
    (source / name).unlink()
    for more in ("tokenizer_config.json",) if name == "tokenizer.json" else ():
        (source / more).unlink()
    with pytest.raises(InputError, match=r"cannot read how|its tokens do not fit"):
        built(source)([row(noise(0.5))])


def test_other_weights_have_another_name(tmp_path):
    one, other = (built(tiny_whisper(tmp_path / str(seed), seed=seed)).model for seed in (0, 1))
    assert one.split()[0] == other.split()[0] == "whisper"
    assert one != other
    assert built(tmp_path / "0").model == one


def spoken(name):
    return look_at(Sample(name, audio=REAL / "speech" / name), {"wave": Wave()}).views["wave"]


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "speech.csv").is_file(), reason=f"{REAL} has no speech.csv (AFFECTKIT_REFERENCE)")
def test_real_weights_write_what_transformers_writes(small):
    with (REAL / "speech.csv").open() as file:
        rows = list(csv.DictReader(file))[::11]
    made = transcript.build(transcript.Settings(str(small("whisper-base")), batch=4))
    waves = [spoken(Path(one["path"]).name) for one in rows]
    found = made([{"wave": wave} for wave in waves])
    for one, wave, given in zip(found, waves, rows, strict=True):
        assert one["text"].split()[-5:] == [*given["subtitle"].split()[-5:-1], "door."], "one clip has Cutes for Kids"
        assert one["language"] == "en"
        assert one["no_speech"] < 0.6
        whisper = made._whisper()
        assert generated(whisper, wave.samples) == one["text"]
    assert made([{"wave": waves[1]}]) == [found[1]]
    long = RawWave(np.concatenate([wave.samples for wave in waves] * 4), 16000)
    (whole,) = transcript.build(transcript.Settings(str(small("whisper-base")), most_compression=1e9))([{"wave": long}])
    assert long.samples.size / 16000 > 30
    assert whole["text"].count("by the door") > 8
