"""Prompt pieces: whole prompts as text, what is trained, missing facts, repeatable chance."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from affectkit_plugins.prompts import (
    age_gender_race,
    label_question,
    reason_question,
    slot,
    subtitle,
    template,
    text,
)

from affectkit.errors import InputError
from affectkit.plan.slots import check_layouts
from affectkit.plan.use import Checker
from affectkit.prompt import Ask, Prompt, Segment, draw_for
from affectkit.recipe.recipe import Recipe
from affectkit.registry import Registry
from affectkit.sample import Fact, Sample

SAMPLE = Sample(
    "clip1",
    subtitle="I can't  believe it.",
    label="angry",
    answers={"reason": "The brows are drawn together."},
    facts={"age": Fact("20-29"), "gender": Fact("female"), "skin_tone": Fact("dark")},
)
LABELS = ("happy", "sad", "angry")
ASK = Ask("label", labels=LABELS)


def whole(segments: tuple[Segment, ...]) -> str:
    """A prompt on one line: <slots>, [special tokens], and what is trained in {braces}."""
    marks = [s.text or (f"<{s.slot}>" if s.slot else f"[{s.special}]") for s in segments]
    return "".join(f"{{{m}}}" if s.trained else m for m, s in zip(marks, segments, strict=True))


def words(piece, settings, ask: Ask = ASK, sample: Sample = SAMPLE) -> str:
    return whole(piece.build(settings)(sample, ask))


def prompt(settings: template.Settings) -> Prompt:
    parts = {
        "face": slot.build(slot.Settings("face")),
        "words": subtitle.build(subtitle.Settings()),
        "label": label_question.build(label_question.Settings(wording="Which of {options}?")),
        "reason": reason_question.build(reason_question.Settings(wordings=("Why?",))),
    }
    return Prompt(template.build(settings), parts)


SAID = '<face>The person says: "I can\'t believe it." Which of happy, sad, angry?'


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (template.Settings(), f"[start]{SAID}\n{{angry}}{{[end]}}"),
        (
            template.Settings("vicuna_v1", system="Be brief."),
            f"[start]Be brief. USER: {SAID} ASSISTANT:{{angry}}{{[end]}}",
        ),
        (template.Settings("llama2"), f"[start][INST] {SAID} [/INST]{{angry}}{{[end]}}"),
        (
            template.Settings("llama2", system="Be brief."),
            f"[start][INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n{SAID} [/INST]{{angry}}{{[end]}}",
        ),
        (
            template.Settings("chatml", system=""),
            f"[start]<|im_start|>user\n{SAID}<|im_end|>\n<|im_start|>assistant\n{{angry}}{{[end]}}",
        ),
        (template.Settings("hashes", bos="train"), f"[start]###Human: {SAID}###Assistant: {{angry}}{{###}}"),
        (
            template.Settings("hashes", bos="infer", end=""),
            f"###Human: {SAID}###Assistant: {{angry}}{{[end]}}",
        ),
        (
            template.Settings(human="Q: ", assistant=" A:", end=" .", bos="never"),
            f"Q: {SAID} A:{{angry}}{{ .}}",
        ),
    ],
)
def test_whole_prompts(settings, wanted):
    assert whole(prompt(settings).segments(SAMPLE, ASK)) == wanted


def test_the_answer_is_left_out_at_inference_and_scored_alone():
    made = prompt(template.Settings("hashes", bos="train"))
    asked = made.segments(SAMPLE, replace(ASK, phase="infer"))
    assert whole(asked) == f"###Human: {SAID}###Assistant: "
    answer = made.candidates(SAMPLE, replace(ASK, phase="infer", labels=("sad", "angry")))[0]
    assert whole(answer) == "{sad}{###}"
    assert all(s.trained for s in answer)


def test_system_sentence_and_beginning_stand_in_the_first_turn_alone():
    made = prompt(template.Settings("chatml", system="Be brief."))
    first = whole(made.segments(SAMPLE, ASK))
    later = whole(made.segments(SAMPLE, Ask("reason", turn=1)))
    assert first.startswith("[start]<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<face>")
    assert later == (
        "\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n{The brows are drawn together.}{[end]}"
    )


def test_texts_that_meet_are_one_and_slots_stay_apart():
    segments = prompt(template.Settings("vicuna_v1")).segments(SAMPLE, ASK)
    kinds = ["slot" if s.slot else s.special or ("answer" if s.trained else "text") for s in segments]
    assert kinds == ["start", "text", "slot", "text", "answer", "end"]


def test_a_join_stands_only_where_there_is_no_white_space():
    parts = {name: text.build(text.Settings(t)) for name, t in (("a", "one"), ("b", "two\n"), ("c", "three"))}
    made = Prompt(template.build(template.Settings(bos="never", assistant="")), parts)
    assert whole(made.segments(SAMPLE, ASK)) == "one two\nthree"
    tight = Prompt(template.build(template.Settings(bos="never", assistant="", join="")), parts)
    assert whole(tight.segments(SAMPLE, ASK)) == "onetwo\nthree"


def test_the_training_layout_of_emotion_llama_can_be_written():
    parts = {
        "patches": slot.build(slot.Settings("patches", "<video>", "</video> <feature>")),
        **{s: slot.build(slot.Settings(s)) for s in ("face", "motion", "audio")},
        "cls": slot.build(slot.Settings("cls", "", "</feature> ")),
        "words": subtitle.build(subtitle.Settings("The person in video says: {subtitle}.  ")),
        "ask": label_question.build(label_question.Settings("[emotion] Which of: {options}. ")),
    }
    made = Prompt(template.build(template.Settings("llama2")), parts)
    assert whole(made.segments(replace(SAMPLE, subtitle="no"), ASK)) == (
        "[start][INST] <video><patches></video> <feature><face><motion><audio><cls></feature> "
        "The person in video says: no.  [emotion] Which of: happy, sad, angry.  [/INST]{angry}{[end]}"
    )


def test_stops_and_slots_and_reads():
    assert template.Settings("hashes").stops() == ("###",)
    assert template.Settings("vicuna_v1").stops() == ()
    assert slot.Settings("face").slots() == ("face",)
    assert age_gender_race.Settings().reads() == {}
    assert age_gender_race.Settings("priors.net").reads() == {"priors.net": ("age", "gender", "race")}


def test_a_part_speaks_in_its_turn_and_task():
    assert words(slot, slot.Settings("face", "a", "b")) == "a<face>b"
    assert words(slot, slot.Settings("face"), replace(ASK, turn=1)) == ""
    assert words(slot, slot.Settings("face", turns="every"), replace(ASK, turn=1)) == "<face>"
    assert words(text, text.Settings("Look.", task="reason")) == ""
    assert words(text, text.Settings("Look.", task="label")) == "Look."
    assert words(label_question, label_question.Settings(), Ask("reason", labels=LABELS)) == ""
    assert words(reason_question, reason_question.Settings()) == ""


def test_subtitle():
    silent = replace(SAMPLE, subtitle=" \n")
    assert words(subtitle, subtitle.Settings()) == 'The person says: "I can\'t believe it."'
    assert words(subtitle, subtitle.Settings(), sample=silent) == ""
    assert words(subtitle, subtitle.Settings(missing="Nothing is said."), sample=silent) == "Nothing is said."
    assert words(subtitle, subtitle.Settings(), sample=replace(SAMPLE, subtitle="{subtitle} {0}")) == (
        'The person says: "{subtitle} {0}"'
    )
    assert subtitle.Settings("no gap").problems()


KEEP = age_gender_race.Settings(drop=0.0)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (SAMPLE.facts, "Subject: 20-29 years old, female."),
        ({"race": Fact("Asian"), "age": Fact("child")}, "Subject: child, Asian."),
        ({"age": Fact("70+")}, "Subject: 70+ years old."),
        ({"skin_tone": Fact("dark")}, ""),
        ({}, ""),
        ({"race": Fact(None, "missing"), "gender": Fact("male", "missing")}, ""),
        ({"age": Fact("20-29", "estimate", 0.99)}, ""),
    ],
)
def test_age_gender_race_from_labels(facts, sentence):
    assert words(age_gender_race, KEEP, sample=replace(SAMPLE, facts=facts)) == sentence


@pytest.mark.parametrize(
    ("estimates", "sentence"),
    [
        (
            {"age": Fact("30-39", "estimate", 0.6), "race": Fact("White", "estimate", 0.51)},
            "Subject: 30-39 years old, White.",
        ),
        ({"age": Fact("30-39", "estimate", 0.49), "gender": Fact("male", "estimate", 0.5)}, "Subject: male."),
        ({"gender": Fact("male", "estimate")}, ""),
        ({"gender": Fact("male", "label")}, ""),
        ({}, ""),
    ],
)
def test_age_gender_race_from_a_network(estimates, sentence):
    ask = replace(ASK, estimates={"priors.net": estimates})
    assert words(age_gender_race, replace(KEEP, source="priors.net"), ask) == sentence
    assert words(age_gender_race, replace(KEEP, source="other.net"), ask) == "", "labels fill no gap"


def test_age_gender_race_can_be_left_out():
    assert words(age_gender_race, replace(KEEP, fields=("gender",))) == "Subject: female."
    assert words(age_gender_race, KEEP, replace(ASK, demographics=False, phase="infer")) == ""
    often = replace(KEEP, drop=0.5)
    told = [words(age_gender_race, often, replace(ASK, draw=draw_for(0, 0, str(i)))) for i in range(200)]
    again = [words(age_gender_race, often, replace(ASK, draw=draw_for(0, 0, str(i)))) for i in range(200)]
    assert told == again
    assert 60 < told.count("") < 140
    infer = {words(age_gender_race, often, replace(ASK, phase="infer", draw=draw_for(0, 0, str(i)))) for i in range(50)}
    assert "" not in infer
    assert {n for n, _ in age_gender_race.Settings(drop=2, threshold=-1, fields=("age", "age")).problems()} == {
        "drop",
        "threshold",
        "fields",
    }


def test_label_question():
    asked = words(label_question, label_question.Settings())
    assert asked == "Which emotion does this person show? Answer with one of: happy, sad, angry.{angry}"
    assert words(label_question, label_question.Settings(), sample=replace(SAMPLE, label=None)).endswith("angry.")
    braced = label_question.Settings("One of {{options}}!", "It is {label}.", ("a", "b"), separator="|")
    assert words(label_question, braced, sample=replace(SAMPLE, label="b")) == "One of {a|b}!{It is b.}"
    with pytest.raises(InputError, match="no labels to offer"):
        words(label_question, label_question.Settings(), Ask("label"))
    assert label_question.Settings(answer="x").problems()


def test_options_are_shuffled_in_training_only_and_repeat():
    shuffled = label_question.Settings("{options}", order="shuffled")
    asks = [replace(ASK, draw=draw_for(0, epoch, "clip1")) for epoch in range(20)]
    orders = [words(label_question, shuffled, ask) for ask in asks]
    assert len(set(orders)) > 3
    assert orders == [words(label_question, shuffled, ask) for ask in asks]
    assert words(label_question, shuffled, replace(ASK, phase="infer")).startswith("happy, sad, angry")
    assert ASK.labels == LABELS


def test_reason_question():
    settings = reason_question.Settings()
    drawn = {words(reason_question, settings, Ask("reason", draw=draw_for(0, e, "x"))) for e in range(60)}
    assert {d.partition("{")[0] for d in drawn} == set(reason_question.POOL)
    assert len(reason_question.POOL) == 5
    infer = words(
        reason_question,
        settings,
        Ask("reason", "infer", draw=draw_for(0, 3, "x")),
        replace(SAMPLE, answers={}),
    )
    assert infer == reason_question.POOL[0]


def test_blip_cleaning():
    assert reason_question.blip('He says: "No!" (twice) -- a~b #1; so.', 200) == "he says no twice -- a b 1 so"
    assert reason_question.blip("a b c d", 3) == "a b c"
    cleaned = reason_question.Settings(wordings=("Why?",), clean="blip")
    assert words(reason_question, cleaned, Ask("reason")) == "Why?{the brows are drawn together}"


def test_what_a_text_conditioned_step_reads_is_the_turn_without_slots_and_answer():
    asked = prompt(template.Settings(bos="never")).question(SAMPLE, ASK)
    assert asked == 'The person says: "I can\'t believe it." Which of happy, sad, angry?'


def test_prompt_pieces_need_neither_torch_nor_numpy():
    names = "age_gender_race label_question reason_question slot subtitle template text"
    imports = "".join(f"import affectkit_plugins.prompts.{n} as m; m.affectkit_pieces();" for n in names.split())
    code = f"import sys;{imports}print([m for m in ('torch', 'numpy', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


TAGGED = {
    "patches": slot.build(slot.Settings("patches", "<video>")),
    "between": text.build(text.Settings("</video> <feature>", layout="train")),
    "face": slot.build(slot.Settings("face")),
    "close": text.build(text.Settings("</feature> ", layout="train")),
    "left": text.build(text.Settings("</video> <feature>NONE</feature> ", layout="other")),
    "ask": label_question.build(label_question.Settings("Which?")),
}
ALIKE = "[start][INST] <video><patches></video> <feature><face></feature> Which? [/INST]"
OTHER = "[start][start][INST] <video><patches><face></video> <feature>NONE</feature> Which? [/INST]"


@pytest.mark.parametrize(
    ("infer", "wanted"), [("train", ALIKE), ("other", OTHER)], ids=["the same at both times", "another at inference"]
)
def test_a_layout_for_each_phase(infer, wanted):
    settings = template.Settings("llama2", bos_twice=("other",), layouts={"train": "train", "infer": infer})
    made = Prompt(template.build(settings), TAGGED, settings.layouts)
    assert whole(made.segments(SAMPLE, ASK)) == ALIKE + "{angry}{[end]}"
    asked = replace(ASK, phase="infer")
    assert whole(made.segments(SAMPLE, asked)) == wanted
    assert whole(made.candidates(SAMPLE, replace(asked, labels=(SAMPLE.label,)))[0]) == "{angry}{[end]}"
    words_of = "<video> </video> <feature> </feature> Which?"
    assert made.question(SAMPLE, ASK) == words_of
    assert made.question(SAMPLE, asked) == (
        words_of if infer == "train" else "<video> </video> <feature>NONE</feature> Which?"
    )


def test_slots_may_belong_to_a_layout_too():
    assert words(slot, slot.Settings("face", layout="a"), replace(ASK, layout="a")) == "<face>"
    assert words(slot, slot.Settings("face", layout="a"), replace(ASK, layout="b")) == ""
    assert words(slot, slot.Settings("face"), replace(ASK, layout="b")) == "<face>"


@pytest.mark.parametrize(
    ("written", "parts", "wrong"),
    [
        ({}, {"a": ""}, None),
        ({"train": "x", "infer": "x"}, {"a": "", "b": "x", "c": "y"}, None),
        ({"train": "x", "infer": "z"}, {"b": "x", "c": "y"}, "prompt.layouts.infer: unknown layout 'z'"),
        ({"train": "x", "infr": "x"}, {"b": "x"}, "prompt.layouts.infr: unknown phase 'infr'"),
        ({"train": "x"}, {"b": "x"}, "prompt.layouts: says no layout for phase 'infer'"),
        ({}, {"a": "", "b": "x"}, "prompt.parts.b: this part stands in the layout 'x' only"),
    ],
)
def test_layouts_are_checked(written, parts, wrong):
    checker = Checker(Recipe("a.yaml", {}), Registry())
    check_layouts(written, parts, checker)
    found = [str(p).removeprefix("a.yaml: ") for p in checker.problems]
    assert bool(found) == bool(wrong)
    assert not wrong or any(f.startswith(wrong) for f in found)


def test_an_answer_may_have_another_name_than_its_task():
    other = reason_question.Settings(wordings=("Why?",), task="reason_v2", answer="reason")
    assert words(reason_question, other, Ask("reason_v2")) == "Why?{The brows are drawn together.}"
    assert words(reason_question, replace(other, answer=""), Ask("reason_v2")) == "Why?"
    assert words(reason_question, other, Ask("reason")) == ""
