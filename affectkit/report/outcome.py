"""What a run came to, in the terminal."""

from __future__ import annotations

from collections.abc import Callable

from affectkit.evaluation.figures import digits
from affectkit.evaluation.prediction import NOTES
from affectkit.evaluation.score import ledgers, read_metrics
from affectkit.files import read_json
from affectkit.report.terminal import print_blocks, table
from affectkit.train.run_folder import Run
from affectkit.weights import random_parts, stand_ins


def print_outcome(run: Run, say: Callable[[str], None]) -> None:
    """A table of the figures with their intervals, chance and majority; where the report lies; what the weights are."""
    metrics = run.folder / "metrics.json"
    if not metrics.exists():
        return
    from affectkit.report import bias as bias_pages
    from affectkit.report import profile as profile_pages
    from affectkit.report import sensitivity as sensitivity_pages
    from affectkit.report import suite as suite_pages

    suite = suite_pages.read_suite(run.folder)
    for split, figures in read_metrics(run.folder).items():
        label = figures.majority.label if figures.majority else None
        columns = ["metric", "value", "95 % interval", *(["chance", f"always {label}"] if label else [])]
        rows = [
            [name, *f.digits(none="-"), *(digits(guess, none="-") for guess in figures.guesses(name))][: len(columns)]
            for name, f in figures.metrics.items()
        ]
        table(f"{split} (protocol: {figures.protocol or '?'})", columns, rows)
        for name, figure in figures.metrics.items():
            if figure.protocol:
                say(f"{split}: {name}: {figure.protocol}")
        for name, states in ledgers({split: figures}).items():
            say(f"{name}: {', '.join(f'{n} {state}' for state, n in states.to_dict().items() if n)}")
        for name, number in (figures.notes or {}).items():
            if number:
                say(f"{split}: {number} {NOTES.get(name, name)}")
        print_blocks(sensitivity_pages.blocks(figures.sensitivity or {}), say, split)
        if figures.bias and not suite:  # which has a table of its own for people
            print_blocks(bias_pages.blocks(figures.bias), say, split)
    suite_pages.print_suite(run.folder, say)
    about = read_json(run.about)
    print_blocks(profile_pages.blocks(about), say)
    parts = about.get("weights", [])
    random = random_parts(parts)
    if random:
        say(f"started from random weights, not pretrained ones: {', '.join(random)}")
    for said in stand_ins(parts):
        say(said)
    say(f"report: {run.folder / 'report.html'}")
