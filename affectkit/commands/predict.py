"""`affectkit predict`: ask a trained run about files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from affectkit.commands._options import plugin_options, print_json
from affectkit.errors import InputError, Problem
from affectkit.evaluation.prediction import NOTES, Prediction
from affectkit.report.terminal import table
from affectkit.sample import LABEL, LABELS, NUMBERS
from affectkit.weights import random_parts, stand_ins


def print_answers(
    labels: Sequence[Prediction],
    reasons: Sequence[Prediction],
    origins: Sequence[Mapping[str, str]],
    as_json: bool,
    talk: Sequence[tuple[str, Sequence[Prediction]]] = (),
) -> None:
    """Answers on stdout: a table, the reasons and the answers to one's own questions, or JSON lines."""
    by_id = {p.id: p for p in reasons}
    if as_json:
        for number, p in enumerate(labels):
            row: dict[str, object] = {"id": p.id, "state": p.state, "label": p.label, "probabilities": p.probabilities}
            if p.task != LABEL:
                row = {"id": p.id, "state": p.state, "text": p.text, **typed(p)}
            if p.id in by_id:
                row["reason"] = by_id[p.id].text
            if talk:
                row["turns"] = [{"question": q, "answer": said[number].text} for q, said in talk]
            if p.error and p.state in ("undecodable", "invalid"):
                row["error"] = p.error
            if p.notes:
                row["notes"] = p.notes
            print_json(row)
        return
    rows = []
    for p in labels:
        best = sorted(p.probabilities.items(), key=lambda item: -item[1])[:3]
        answer = (p.label if p.task == LABEL else p.text) or p.error
        rows.append([p.id, answer or p.state, ", ".join(f"{n} {v:.2f}" for n, v in best)])
    table("", ["file", "answer", "probabilities"], rows)
    for p in labels:
        for name, note in p.notes.items():
            click.echo(f"{p.id}: {NOTES[name]} ({note})")
    for p in reasons:
        click.echo(f"{p.id}: {p.text or p.error}")
    for number, p in enumerate(labels):
        for question, answers in talk:
            click.echo(f"{p.id}: {question} {answers[number].text or answers[number].error}")
    random = random_parts(origins)
    if random:
        click.echo(f"trained from random weights, not pretrained ones: {', '.join(random)}", err=True)
    for said in stand_ins(origins):
        click.echo(said, err=True)


def typed(p: Prediction) -> dict[str, object]:
    """What an answer to another task than one label holds beside its text."""
    if p.task == LABELS:
        return {"labels": list(p.labels), "probabilities": p.probabilities}
    return {"numbers": p.numbers} if p.task == NUMBERS else {}


@click.command("predict")
@click.argument("run")
@click.argument("media", nargs=-1, required=True, metavar="FILE|FOLDER...")
@click.option("--reason", is_flag=True, help="Give the reason in words as well.")
@click.option(
    "--ask",
    "questions",
    multiple=True,
    metavar="TEXT",
    help="Ask this in your own words; several are asked in turn, each after the answers to those before it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, every digit.")
@click.option("--subtitle", default="", help="What is said in the clip, where you know it.")
@click.option(
    "--person",
    type=int,
    default=None,
    metavar="N",
    help="Follow the N-th largest tracked face (0 is the largest).",
)
@click.option(
    "--face",
    type=click.Choice(["detect", "whole"]),
    default="detect",
    show_default=True,
    help="Find the face, or take the whole picture as the face.",
)
@click.option("--detector", default=None, help="Detector piece to find faces with; default: the first one installed.")
@click.option(
    "--demographics",
    is_flag=True,
    help="Let the prompt state the estimated age, gender and race (left out otherwise).",
)
@plugin_options
def command(
    run: str,
    media: tuple[str, ...],
    reason: bool,
    questions: tuple[str, ...],
    as_json: bool,
    subtitle: str,
    person: int | None,
    face: str,
    detector: str | None,
    demographics: bool,
    plugins: tuple[str, ...],
    trust_plugins: bool,
) -> None:
    """Ask a trained run about clips, stills, sound files, or all of them in a folder.

    \b
    affectkit predict runs/last clip.mp4
    affectkit predict runs/last clips/ --json > answers.jsonl
    affectkit predict runs/last photo.jpg --face whole --reason
    affectkit predict runs/last clip.mp4 --ask "Which emotion is it?" --ask "What shows it?"
    """
    from affectkit.evaluation.user_input import converse, overrides_for, samples_of, talk_task
    from affectkit.plan.check import check
    from affectkit.train.run_folder import open_run

    samples = samples_of(media, subtitle)
    opened = open_run(run)
    plan = check(opened.recipe, (), plugins, trust_plugins)
    if reason and "reason" not in plan.tasks:
        what = "this run was not trained to give reasons: its prompt has no part for the task 'reason'"
        raise InputError(Problem("--reason", what, "leave --reason out"))
    task = talk_task(plan) if questions else ""
    overrides = overrides_for(plan, samples, face, detector, person)
    from affectkit.api import load  # torch: only once nothing is wrong with what was asked

    loaded = load(run, overrides, plugins, trust_plugins)
    said = loaded.predict(samples, "reason", demographics) if reason else []
    answers = converse(loaded, task, samples, questions, demographics)
    talks = questions and task == plan.main_task  # a run that does nothing but converse
    labels = answers[0] if talks else loaded.predict(samples, plan.main_task, demographics)
    talk = list(zip(questions, answers, strict=True))
    print_answers(labels, said, loaded.model.origins(), as_json, talk)
    if labels and all(p.state in ("undecodable", "invalid") for p in labels):
        raise click.exceptions.Exit(1)
