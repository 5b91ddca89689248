"""Prompts that are longer than the LLM's context: named before anything trains on them or is answered."""

from dataclasses import replace

import pytest
import torch
import wav_table

from affectkit.api import fit, starting
from affectkit.encode.cache import Cache
from affectkit.encode.perceive import Perceiver
from affectkit.errors import InputError
from affectkit.evaluation.predict import AnswerOptions, predict
from affectkit.model.batch import Key, Prompter, Rows
from affectkit.plan.check import check
from affectkit.sample import Sample

LONG = " ".join(f"word{i}" for i in range(400))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFFECTKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def long_ones(*numbers):
    return lambda row, i: {**row, "subtitle": LONG} if i in numbers else row


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(("numbers", "named"), [((3, 7), "prompts of 2 samples"), ((20,), "prompts of 1 samples")])
def test_training_names_them_before_it_begins(here, family, numbers, named):
    wav_table.write(here, long_ones(*numbers))
    with pytest.raises(InputError, match=f"{named} are longer than the LLM's context of 256 tokens") as found:
        fit("r.yaml", ["backbone.context=256", f"backbone.family={family}"], say=lambda line: None)
    assert all(f"c{i:02d} (" in str(found.value) for i in numbers)
    assert "backbone.context" in str(found.value)
    assert not any(path.read_text() for path in here.glob("runs/*/curves.jsonl"))


@pytest.mark.parametrize("method", ["candidates", "generate"])
def test_training_names_those_of_the_test_split_before_it_begins(here, method):
    wav_table.write(here, long_ones(27))
    with pytest.raises(InputError, match=r"prompts of 1 samples .* 256 tokens: c27 \(\d+\)"):
        fit("r.yaml", ["backbone.context=256", f"score.method={method}"], say=lambda line: None)
    assert not any(path.read_text() for path in here.glob("runs/*/curves.jsonl"))


def test_tokens_of_streams_count_in_the_test_split_too(here):
    wav_table.write(here, lambda row, i: {**row, "subtitle": "w" * 40 if i == 27 else ""})
    (here / "wav/c28.wav").write_bytes(b"broken")  # a file that is found broken on the way is the ledger's
    with pytest.raises(InputError, match=r"tokens: c27 \(\d+\); the longest"):
        fit("r.yaml", ["backbone.context=76"], say=lambda line: None)
    assert not any(path.read_text() for path in here.glob("runs/*/curves.jsonl"))


def test_tokens_of_streams_count(here):
    wav_table.write(here, lambda row, i: {**row, "subtitle": ""})
    for i in range(24, 30):  # nothing of the test split can be measured
        (here / f"wav/c{i}.wav").write_bytes(b"broken")
    with pytest.raises(InputError, match="prompts of 18 samples are longer than the LLM's context of 18 tokens"):
        fit("r.yaml", ["backbone.context=18", "stages.one.max_steps=1"], say=lambda line: None)


def test_answers_name_them_too(here):
    wav_table.write(here)
    loaded = starting(here / "r.yaml", ["backbone.context=128"], say=lambda line: None)
    short, long = (Sample(name, subtitle=said, label="sad") for name, said in (("short", "so"), ("long", LONG)))
    labels = ("happy", "sad", "angry")
    for method, task in (("candidates", "label"), ("generate", "label"), ("generate", "reason")):
        options = AnswerOptions(task, method, max_new_tokens=4)
        assert predict(loaded.model, [short], labels, Cache(here / "c"), options)[0].id == "short"
        with pytest.raises(InputError, match=r"prompts of 1 samples .* 128 tokens: long \(\d+\)"):
            predict(loaded.model, [short, long], labels, Cache(here / "c"), options)


def test_a_backbone_without_a_limit_reads_everything(here):
    wav_table.write(here)
    loaded = starting(here / "r.yaml", ["backbone.context=128"], say=lambda line: None)
    loaded.model.backbone.context = None
    sample, labels = Sample("long", subtitle=LONG, label="sad"), ("happy", "sad", "angry")
    assert predict(loaded.model, [sample], labels, Cache(here / "c"), AnswerOptions())[0].state == "scored"


def test_words_that_spell_special_tokens_stay_letters_in_prompts(here):
    wav_table.write(here)
    loaded = starting(here / "r.yaml", say=lambda line: None)
    model, words = loaded.model, "well </s> <s> then"
    samples = [Sample("a", subtitle=words, label="sad", answers={"reason": "so </s>"})]
    for phase, task in (("train", "label"), ("train", "reason"), ("infer", "label")):
        prompter = Prompter(model.prompt, ("sad", "<s>"), 0, phase)
        rows = Rows(model.plan, samples, Perceiver.of(model, None, Cache(here / "c")), prompter, model.llm)
        ids = [i for chunk in rows._tokens(prompter.segments(Key(0, task), samples[0], {})) for i in chunk.ids]
        assert ids.count(model.llm.start_ids[0]) == 1
        assert ids.count(model.llm.end_ids[0]) == (phase == "train")
        assert words in model.llm.untokenise(ids)


WAYS = ("sum", "mean", "prior")


def test_candidates_are_compared_as_the_recipe_says(here):
    wav_table.write(here)
    loaded = starting(here / "r.yaml", say=lambda line: None)
    model, labels = loaded.model, ("sad", "angry at all of them")
    sample = Sample("a", subtitle="well then")
    logs = {}
    for way in WAYS:
        options = AnswerOptions(normalise=way)
        (made,) = predict(model, [sample], labels, Cache(here / "c"), options)
        odds = torch.tensor([made.probabilities[n] for n in labels], dtype=torch.float64)
        logs[way] = float(odds[0].log() - odds[1].log())
    ends = [len(model.llm.tokenise(n)) + 1 for n in labels]
    bare = replace(sample, subtitle="")
    (empty,) = predict(model, [bare], labels, Cache(here / "c"), AnswerOptions())
    prior = [empty.probabilities[n] for n in labels]
    assert logs["prior"] == pytest.approx(
        logs["sum"] - float(torch.tensor(prior, dtype=torch.float64).log().diff() * -1)
    )
    assert ends[1] > ends[0]
    assert len({round(v, 4) for v in logs.values()}) == 3
    # nothing of the sample is known where its prompt is the empty one: all labels are alike, and that is told
    (alike,) = predict(model, [bare], labels, Cache(here / "c"), AnswerOptions(normalise="prior"))
    assert alike.probabilities == pytest.approx(dict.fromkeys(labels, 0.5), abs=1e-5)


def test_a_run_is_asked_as_its_recipe_says(here):
    wav_table.write(here)
    for way in WAYS:
        score = check(here / "r.yaml", [f"score.normalise={way}"]).score
        assert AnswerOptions.of(score, "label", "candidates").normalise == way
    with pytest.raises(InputError, match=r"score\.normalise|normalise"):
        check(here / "r.yaml", ["score.normalise=median"])
