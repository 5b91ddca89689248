"""What a run came to, in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from affectkit.evaluation.prediction import NOTES
from affectkit.evaluation.score import ledgers
from affectkit.files import read_json
from affectkit.report.terminal import table, tables
from affectkit.train.run_folder import Run
from affectkit.weights import random_parts, stand_ins


def tell_outcome(run: Run, say: Callable[[str], None]) -> None:
    """A table of the figures with their intervals, chance and majority; where the report lies; what the weights are."""
    metrics = run.folder / "metrics.json"
    if not metrics.exists():
        return
    from affectkit.report import bias as bias_pages
    from affectkit.report import profile as profile_pages
    from affectkit.report import suite as suite_pages
    from affectkit.report.sensitivity import variant_rows

    suite = suite_pages.read_suite(run.folder)
    for split, figures in read_json(metrics).items():
        chance, majority = figures.get("chance") or {}, figures.get("majority") or {}
        rows = [
            _row(name, f, chance.get(name), majority.get(name))
            for name, f in figures.items()
            if isinstance(f, dict) and {"value", "low", "high"} <= set(f)
        ]
        guesses = ["chance", f"always {majority['label']}"] if majority.get("label") else []
        columns = ["metric", "value", "95 % interval", *guesses]
        table(f"{split} (protocol: {figures.get('protocol', '?')})", columns, [row[: len(columns)] for row in rows])
        for name, figure in figures.items():
            if isinstance(figure, dict) and "value" in figure and figure.get("protocol"):
                say(f"{split}: {name}: {figure['protocol']}")
        for name, states in ledgers({split: figures}).items():
            say(f"{name}: {', '.join(f'{n} {state}' for state, n in states.items() if n)}")
        for name, number in figures.get("notes", {}).items():
            if number:
                say(f"{split}: {number} {NOTES.get(name, name)}")
        for kind, columns, lines in variant_rows(figures.get("sensitivity", {})):
            table(f"{split}, other ways to ask: {kind}", columns, lines)
        if not suite:  # which has a table of its own for people
            tables(bias_pages.tables(figures.get("bias", {})), say, split)
    suite_pages.tell(run.folder, say)
    about = read_json(run.about)
    profile_pages.tell(about)
    parts = about.get("weights", [])
    random = random_parts(parts)
    if random:
        say(f"started from random weights, not pretrained ones: {', '.join(random)}")
    for said in stand_ins(parts):
        say(said)
    say(f"report: {run.folder / 'report.html'}")


def _row(name: str, figure: dict[str, Any], chance: Any, majority: Any) -> list[str]:
    return [
        name,
        _number(figure["value"]),
        f"{_number(figure['low'])} to {_number(figure['high'])}",
        _number(chance),
        _number(majority),
    ]


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, (int, float)) else "-" if value is None else str(value)
