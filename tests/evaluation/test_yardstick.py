"""The yardstick reads the words that the prompt says, as the LLM reads them that nobody has trained."""

import contextlib
from dataclasses import replace
from pathlib import Path

import packed_rows
import pytest
import torch
import wav_table
from affectkit_plugins.backbones.causal_lm import Settings, build
from affectkit_plugins.backbones.causal_lm_net import CausalLM

from affectkit import evaluate, fit, load
from affectkit.evaluation import yardstick
from affectkit.evaluation.prediction import read_predictions
from affectkit.evaluation.score import read_metrics

SAID = {"happy": "what a joy to be here", "sad": "how I miss the old days", "angry": "get out of my way"}
WORDS = "the frozen LLM's words"
TEXT = """
name: texts
data: {use: table, path: t.csv}
prompt: {use: template, parts: {words: {use: subtitle}, ask: {use: label_question, wording: "Emotion?"}}}
backbone: {use: causal_lm, source: llm, lora: {rank: 4}}
stages:
  tune: {train: [backbone.lora], epochs: 2, batch: 4, lr: 0.05}
score: {metrics: {uar: uar}, resamples: 20}
run: {accelerator: cpu, folder: runs}
"""
HEARD = ["backbone.lora={rank: 4}", "stages.one.train=[streams.audio.projector,backbone.lora]"]


@pytest.fixture
def folder(tmp_path, monkeypatch, one_thread):
    """A folder with an LLM as transformers saves it, and a table of texts."""
    monkeypatch.chdir(tmp_path)
    lm = packed_rows.backbone()
    lm.core.save_pretrained("llm")
    lm.tokens.inner.save_pretrained("llm")
    wav_table.write(tmp_path, text_alone, text=TEXT)
    return tmp_path


def text_alone(row, i):
    """A row of the table without its sound, whose words say the label."""
    return {**{k: v for k, v in row.items() if k != "path"}, "subtitle": f"{SAID[row['label']]}, number {i}"}


def fitted(*overrides, recipe="r.yaml"):
    """(the run, its yardstick or None, what was said)."""
    said = []
    run = fit(recipe, list(overrides), say=said.append)
    others = read_metrics(run.folder)["test"].others or {}
    return run, others.get("yardstick"), "\n".join(said)


def test_of_words_alone_the_yardstick_reads_the_words(folder):
    run, yard, said = fitted()
    assert yard.about.startswith(f"linear_probe on {WORDS} (")
    assert "no yardstick" not in said
    assert yard.metrics["uar"].value == 1
    bare = evaluate(run.folder, ["score.yardstick=null", f"run.folder={folder}"], say=lambda _: None)
    ours, alone = (read_predictions(one.folder / "predictions.jsonl") for one in (run, bare))
    assert [p.probabilities for p in ours] == [p.probabilities for p in alone]  # to the last digit
    again = evaluate(run.folder, [f"run.folder={folder}"], say=lambda _: None)
    assert read_metrics(again.folder)["test"].others["yardstick"].metrics == yard.metrics


def test_of_other_data_it_knows_what_the_llm_was_taught(folder):
    run, _, _ = fitted()
    rows = Path("t.csv").read_text()
    for known, label in (("happy", "HAPPY"), ("sad", "happy"), ("HAPPY", "sad")):
        rows = rows.replace(f",{known},", f",{label},")
    other = folder / "other.csv"
    other.write_text(rows)
    again = evaluate(run.folder, [f"data.path={other}", f"run.folder={folder}"], say=lambda _: None)
    theirs = read_metrics(again.folder)["test"].others["yardstick"]
    assert theirs.metrics["uar"].value == pytest.approx(1 / 3)  # of the words it learnt, two labels have changed places
    answered = [
        [p.label for p in read_predictions(one.folder / "predictions-label-yardstick.jsonl")] for one in (run, again)
    ]
    assert answered[0] == answered[1]


def test_what_the_yardstick_cannot_read_counts_in_no_difference(folder, monkeypatch):
    asked = yardstick.predict

    def half_blind(model, samples, labels, cache, options):
        found = asked(model, samples, labels, cache, options)
        return [replace(p, state="unparsed", label=None) if i < 2 else p for i, p in enumerate(found)]

    monkeypatch.setattr(yardstick, "predict", half_blind)
    _, yard, _ = fitted()
    assert yard.about.endswith("(nothing to read in 2 of 6 samples, which no difference counts)")
    assert yard.metrics["uar"].value == pytest.approx(2 / 3)  # for itself, an answer that is not there is wrong
    assert yard.apart["uar"].first == 1


def test_a_head_that_wants_a_stage_is_no_yardstick(folder):
    _, yard, said = fitted("score.yardstick={use: classifier}", "stages.tune.epochs=1")
    assert yard is None
    assert "score.yardstick" in said
    assert "the head 'classifier' learns in a stage of its own" in said


def test_beside_sound_it_reads_both_where_the_prompt_says_the_words(folder):
    wav_table.write(folder)
    for overrides, words in ((HEARD, True), ([*HEARD, "prompt.parts.words=null"], False)):
        _, yard, _ = fitted(*overrides)
        assert yard.about.startswith(f"linear_probe on audio.encoder.frames{', ' + WORDS if words else ''} (")


def test_what_a_stage_trains_itself_is_no_yardstick(folder):
    _, yard, said = fitted("stages.tune.train=[backbone.model]", "stages.tune.lr=1e-4")
    assert yard is None
    assert (
        "no yardstick: no frozen step feeds the LLM, and stage tune trains the LLM itself, which reads the words"
        in said
    )
    wav_table.write(folder)
    _, yard, said = fitted("stages.one.max_steps=1")
    assert yard.about.startswith("linear_probe on audio.encoder.frames (")
    assert "no yardstick" not in said


def test_the_words_are_read_without_what_was_learned(folder):
    run, _, _ = fitted()
    model = load(run.folder).model
    lora = [p for name, p in model.llm.named_parameters() if model.llm.group(name) == "lora"]
    lora[0].requires_grad_(False)
    learning = [p.requires_grad for p in model.parameters()]
    base = build(Settings(source="llm"), list, None).eval()
    texts = list(SAID.values())
    model.eval()
    with torch.no_grad():
        theirs, ours = (yardstick.read_words(lm, texts, torch.device("cpu")) for lm in (base, model.llm))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(CausalLM, "without_adapters", lambda self: contextlib.nullcontext())
            trained = yardstick.read_words(model.llm, texts, torch.device("cpu"))
    torch.testing.assert_close(ours.tokens, theirs.tokens, rtol=0, atol=1e-6)
    assert float((trained.tokens - theirs.tokens).abs().max()) > 1e-2
    assert [p.requires_grad for p in model.parameters()] == learning


def test_texts_are_read_together_as_alone(folder, monkeypatch):
    lm, device = build(Settings(source="llm"), list, None).eval(), torch.device("cpu")
    texts = ["one", "", "a much longer text of several words", "  ", "what is said " * 100, "the last one"]
    rows = []
    real = CausalLM.forward
    monkeypatch.setattr(CausalLM, "forward", lambda self, row, at: rows.append(row.lengths) or real(self, row, at))
    with torch.no_grad():
        whole = yardstick.read_words(lm, texts, device)
        alone = [yardstick.read_words(lm, [text], device) for text in texts]
        monkeypatch.setattr(yardstick, "MOST_TOKENS", 30)
        parts = yardstick.read_words(lm, texts, device)
    assert whole.mask.flatten().tolist() == [True, False, True, False, True, True]
    assert max(map(max, rows)) == lm.context
    assert len(rows[0]) == 4
    assert len(rows) > 1 + 4 + 1  # in one forward, alone, and in several
    assert all(sum(lengths[:-1]) <= 30 for lengths in rows[5:])
    for other in (torch.cat([block.tokens for block in alone]), parts.tokens):
        torch.testing.assert_close(whole.tokens, other, rtol=0, atol=3e-6)
    ids = torch.tensor([*lm.start_ids, *lm.tokenise("one")])
    with torch.no_grad():
        states = lm.core(inputs_embeds=lm.embed(ids)[None], output_hidden_states=True).hidden_states[-1][0]
    torch.testing.assert_close(whole.tokens[0, 0, 0], states[len(lm.start_ids) :].mean(0), rtol=0, atol=3e-6)


def test_a_backbone_that_cannot_read_words_costs_no_figure(folder, monkeypatch):
    @contextlib.contextmanager
    def broken(self):
        raise ValueError("no such thing")
        yield

    run, yard, _ = fitted()
    assert yard is not None
    monkeypatch.setattr(CausalLM, "without_adapters", broken)
    said = []
    again = evaluate(run.folder, [f"run.folder={folder}"], say=said.append)
    assert read_metrics(again.folder)["test"].others is None
    assert any(line.startswith("no yardstick: backbone: forward() of the backbone 'causal_lm'") for line in said)
    monkeypatch.delattr(CausalLM, "without_adapters")
    said.clear()
    evaluate(run.folder, [f"run.folder={folder}"], say=said.append)
    assert any(
        "the backbone 'causal_lm' lacks `forward(row, hidden_at)` or `without_adapters()`" in line for line in said
    )
