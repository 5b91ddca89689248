"""What a run came to: report.html and report.md from what lies in its folder, and the same in short in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from affectkit.errors import MediaError
from affectkit.evaluation.figures import ClassFigures, GroupFigures, Matrix, SplitFigures, Variation, digits
from affectkit.evaluation.prediction import ANSWERED, NOTES, STATES, Prediction, labelled
from affectkit.evaluation.score import ledgers, read_metrics
from affectkit.files import read_object
from affectkit.report import answers as answer_pages
from affectkit.report import bias as bias_pages
from affectkit.report import suite as suite_pages
from affectkit.report.others import other_blocks
from affectkit.report.page import (
    Bar,
    Case,
    Cases,
    Cell,
    Code,
    Figures,
    Fold,
    Grid,
    Heading,
    Page,
    PageBlock,
    Paragraph,
    Picture,
    SideBySide,
    bar,
    side_by_side,
)
from affectkit.report.render import spoken_name, title, write_page
from affectkit.report.results import RunFiles, RunInfo, StageLoss, flat, read_run
from affectkit.report.terminal import print_blocks, table
from affectkit.sample import LABEL, LABELS, NUMBERS
from affectkit.train.run_folder import Run
from affectkit.weights import random_parts, stand_ins

WORST = 12
"""How many wrong answers are shown."""

LISTED = 200
"""How many unscored samples are listed; predictions.jsonl has them all."""

PROTOCOL = (
    "Protocol: honest. An answer that is no label counts as wrong; samples that could not be read or that "
    "the protocol skips are in the ledger and in no figure. Intervals: 95 % percentile bootstrap over samples"
)

UNITS = {"gpu": "GPU memory, at most", "process": "memory of the process, at most"}
"""Kinds of memory that a profile tells of."""

COMPARED = {
    "mean": "the mean log-probability of their tokens",
    "prior": "their log-probability less that after the prompt without the sample's media and words",
}
"""Ways to compare labels, other than by log-probability as it is."""

PROFILE_ABOUT = (
    "Seconds of one process, those of a part without the parts in it; each training stage's first batch is left out. "
    "Encoding counts where features were not kept already."
)


def write_report(run: str | Path) -> Path:
    """Write RUN/report.html and RUN/report.md and return the former; it opens from disk with no network."""
    files = read_run(run)
    page = Page(files.name, str(files.recipe.get("about") or ""), tuple(_blocks(files)))
    return write_page(page, files.folder / "report.html")


def _blocks(files: RunFiles) -> Iterator[PageBlock]:
    yield Paragraph(_made(files), "quiet")
    yield from warnings(files)
    yield from suite_pages.blocks(files.folder)
    if not files.metrics:
        yield Paragraph("This run has no figures yet: it was not evaluated, or it did not end.", "warn")
    for number, (split, found) in enumerate(files.metrics.items()):
        yield from _split(split, found, [p for p in files.predictions if p.split == split], whole=number == 0)
    yield from _training(files)
    yield from profile_blocks(files.info)
    yield from _ledger(files)
    yield from _worst(files)
    yield from _in_words(files)
    yield Heading("What made this run")
    yield Fold("Recipe", (Code(files.recipe_text, "yaml"),))
    rows = tuple((key, value) for key, value in flat(files.info) if value not in (None, "", [], {}))
    if rows:
        yield Fold("Versions, seed, weights, data, times", (Grid(("", ""), rows),))


def warnings(files: RunFiles) -> Iterator[Paragraph]:
    """What to know before the figures: weights that are not pretrained, other stand-ins, demographics in the prompts."""
    weights = files.info.get("weights") or []
    random = random_parts(weights)
    if random:
        named, rest = ", ".join(random), ", ".join(w["address"] for w in weights if w["address"] not in random)
        none = f"Random weights: these figures say nothing about pretrained ones. Stand-ins at {named}."
        some = f"These parts began at random weights, not at pretrained ones: {named}. Others had weights: {rest}."
        yield Paragraph(some if rest else none, "warn")
    for said in stand_ins(weights):
        yield Paragraph(f"{said}.", "warn")
    taught = [label for label in files.info.get("labels") or () if label not in (files.info.get("untaught") or ())]
    for split, one in files.metrics.items():
        if unseen := [label for label in one.labels if taught and label not in taught]:
            yield Paragraph(
                f"{split}: the run was never taught {', '.join(unseen)}; it knows {', '.join(taught)}.", "warn"
            )
    for said in (files.info.get("scale_warnings") or {}).values():
        yield Paragraph(f"At the start of training {said}.", "warn")
    section = files.recipe.get("score")
    how = section.get("normalise", "sum") if isinstance(section, Mapping) else "sum"
    if how in COMPARED:
        yield Paragraph(f"Labels were compared by {COMPARED[how]} (score.normalise: {how}).", "quiet")
    if files.info.get("demographics"):
        yield Paragraph("Age, gender or race were stated in the prompts of this evaluation.")
    batched = files.info.get("per_batch") or []
    if batched:
        told = f"{', '.join(batched)} looked at a batch as a whole and was never cached"
        yield Paragraph(
            f"{told}: an answer may hang on the clips that it was asked with, and on the batch size.", "warn"
        )


def _made(files: RunFiles) -> str:
    info, seconds = files.info, sum(_stage_seconds(files).values())
    commit = info.get("commit") or ""
    parts = [
        f"run {files.folder.name}",
        info.get("started", "")[:16].replace("T", " "),
        f"seed {info['seed']}" if info.get("seed") is not None else "",
        f"commit {commit[:10]}{'+' if commit.endswith('+') else ''}" if commit else "",
        f"no commit: {info['commit_note']}" if info.get("commit_note") and not commit else "",
        f"{seconds:.0f} s of training" if seconds else "",
    ]
    return " · ".join(part for part in parts if part)


def metric_bar(figures: SplitFigures, name: str) -> Bar:
    """A metric of a split with its interval, on its scale, beside what guessing gives."""
    one = figures.metrics.get(name)
    guesses = zip(("chance", "majority"), figures.guesses(name), strict=True)
    marks = [(kind, value) for kind, value in guesses if value is not None]
    return bar(one, marks=marks)


def _split(split: str, found: SplitFigures, predictions: Sequence[Prediction], whole: bool) -> Iterator[PageBlock]:
    classes_of = f", {len(found.labels)} classes" if found.labels else ""
    yield Heading(f"{split}: {'?' if found.count is None else found.count} samples{classes_of}")
    draws = found.bootstrap
    tail = f" ({draws.resamples} draws, seed {draws.seed})." if draws else "."
    yield Paragraph(PROTOCOL + tail if whole else "Protocol as above.", "quiet")
    for name, one in found.metrics.items():
        if one.protocol:
            yield Paragraph(f"{title(name)} has a protocol of its own: {one.protocol}.", "quiet")
        if one.error:
            yield Paragraph(f"{title(name)} has no value: {one.error}", "warn")
    if found.metrics:
        yield Figures(tuple((title(name), metric_bar(found, name)) for name in found.metrics))
    if found.majority and found.majority.label:
        told = f"majority: always “{found.majority.label}”"
        told = f"chance: every label alike; {told}, the commonest truth" if found.chance else told
        yield Paragraph(f"{told}.", "quiet")
    yield from other_blocks(found)
    classes = (Heading("By class", 3), class_grid(found.per_class, "recall [95 % interval]")) if found.per_class else ()
    columns = (tuple(_confusion(found.matrix)) if found.matrix else (), classes)
    if any(columns):
        yield SideBySide(tuple(c for c in columns if c))
    yield from answer_pages.blocks(found, predictions)
    if found.reliability:
        yield from answer_pages.reliability_blocks(found.reliability)
    below = {fact for fact, one in found.bias.groups.items() if one.groups} if found.bias else set()
    groups = tuple(
        (Heading(f"By {spoken_name(fact)}", 3), _group(fact, values, list(found.metrics)))
        for fact, values in (found.groups or {}).items()
        if fact not in below  # with more to say of them
    )
    if groups:
        yield SideBySide(groups) if whole else Fold("Groups", (SideBySide(groups),))
    yield from sensitivity_blocks(found.sensitivity or {})
    if found.bias:
        yield from bias_pages.blocks(found.bias)


def sensitivity_blocks(found: Mapping[str, Variation]) -> Iterator[PageBlock]:
    """How figures vary with the prompt."""
    if not found:
        return
    yield Heading("Asked in other ways", 3)
    told = "Same weights, another way to ask. Differences are paired, against the recipe's own way; 95 % intervals."
    yield Paragraph(told, "quiet")
    for kind, one in found.items():
        names = list(one.spread)
        rows = [
            (row.name, *(str(row.metrics[name]) for name in names), (row.apart or {}).get(names[0]))
            for row in one.variants
        ]
        spread = (None if value is None else round(value, 4) for value in one.spread.values())
        head = (f"{kind}: {one.about}", *map(title, names), f"difference in {title(names[0])}")
        yield Grid(head, (*rows, ("largest less smallest", *spread, None)))


def _confusion(matrix: Matrix) -> Iterator[PageBlock]:
    from affectkit.report.pictures import confusion_picture

    labels, columns, rows = matrix.labels, matrix.columns, matrix.rows
    yield Heading("Confusion matrix", 3)
    yield Picture(confusion_picture(labels, columns, rows), "Confusion matrix; the same numbers are in report.md")
    grid = Grid(("truth \\ answer", *columns), tuple((label, *row) for label, row in zip(labels, rows, strict=True)))
    yield Fold("as a table", (grid,), bare=True)


def _group(fact: str, values: Mapping[str, GroupFigures], names: Sequence[str]) -> Grid:
    shown = [name for name in names if any(name in group.metrics for group in values.values())]
    shown = shown[: bias_pages.SHOWN]
    rows = tuple(
        (value, g.count, *side_by_side([g.metrics.get(name) for name in shown])) for value, g in values.items()
    )
    return Grid((spoken_name(fact), "samples", *(title(name) for name in shown)), rows)


def class_grid(classes: Mapping[str, ClassFigures], recall: str = "recall") -> Grid:
    """A row a class; `recall` heads its column."""
    rows = tuple(
        (label, c.support, c.precision, Bar(c.recall, c.recall_low, c.recall_high), c.f1)
        for label, c in classes.items()
    )
    return Grid(("class", "samples", "precision", recall, "F1"), rows)


def _stage_seconds(files: RunFiles) -> dict[str, float]:
    stages = files.info.get("stages") or {}
    return {name: one["seconds"] for name, one in stages.items() if one.get("seconds") is not None}


def _training(files: RunFiles) -> Iterator[PageBlock]:
    from affectkit.report.pictures import curves_picture, loss_names, losses

    for which, info in (files.info.get("stages") or {}).items():
        if lacking := info.get("without_target"):
            what = (
                f"{lacking} of {info.get('train')} training samples have no truth for what it learns, and were left out"
            )
            yield Paragraph(f"Stage {which}: {what}.", "quiet")
        if chosen := info.get("chosen"):
            yield Paragraph(f"Stage {which}: {', '.join(f'{k} {v}' for k, v in chosen.items())}.", "quiet")
    picture = curves_picture(files.curves)
    if picture is None:
        return
    yield Heading("Training")
    yield Picture(picture, "Loss curves by stage; first and last values are in the table")
    seconds, rows = _stage_seconds(files), []
    for stage in dict.fromkeys(row.stage for row in files.curves):
        told = _losses(files, stage)
        for name in ("", *loss_names(files.curves, stage)):
            train, val = (losses(files.curves, stage, kind, name) for kind in ("train", "val"))
            steps = train[-1][0] + 1 if train and not name else None  # counted before the step of the row
            ends = (train[0][1], train[-1][1]) if train else (None, None)
            took = f"{seconds[stage]:.0f} s" if stage in seconds and not name else "–"
            best = min((loss for _, loss in val), default=None)
            weight = told[name].get("weight", 1.0) if name in told else 1.0
            said = f"{stage}: {name}{'' if weight == 1 else f', x {weight:g}'}" if name else stage
            rows.append((said, steps, *ends, val[-1][1] if val else None, best, took))
    ends_of = ("first loss", "last loss", "last validation loss", "best validation loss")
    yield Grid(("stage", "steps", *ends_of, "time"), tuple(rows))
    for stage in files.info.get("stages") or {}:
        for name, loss in _losses(files, stage).items():
            if loss.get("batch"):
                told_of = (
                    f"{stage}: {name} ({loss.get('use')}) is over the pairs within a batch of {loss['batch']} samples"
                )
                yield Paragraph(f"{told_of} on each device: with another batch it is another loss.", "quiet")


def _losses(files: RunFiles, stage: str) -> Mapping[str, StageLoss]:
    """What a stage trained, where that was several losses."""
    return (files.info.get("stages") or {}).get(stage, {}).get("losses") or {}


def profile_table(info: RunInfo) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns (a stage each) and rows (a part each, most seconds first) of what `run.json` says of its stages; no rows
    where nothing was measured."""
    told = {name: stage["profile"] for name, stage in (info.get("stages") or {}).items() if stage.get("profile")}
    rows: list[tuple[str, ...]] = []
    sections = {
        "before training": [one.get("before") or {} for one in told.values()],
        "training": [one.get("training") or {} for one in told.values()],
    }
    for when, seconds in sections.items():
        parts = {part: sum(s.get(part, 0.0) for s in seconds) for s in seconds for part in s}
        ordered = sorted(parts, key=lambda part: -parts[part])
        rows += [(when, part, *(_share(s, part) for s in seconds)) for part in ordered]
    if rows:
        speeds = (one.get("samples_per_second") for one in told.values())
        rows.append(("", "samples a second", *("–" if speed is None else f"{speed:.3g}" for speed in speeds)))
        for kind in dict.fromkeys(kind for one in told.values() for kind in one["most_bytes"]):
            held = (one["most_bytes"].get(kind) for one in told.values())
            rows.append(("", UNITS.get(kind, kind), *("–" if h is None else f"{h / 1e9:.2f} GB" for h in held)))
    return ("", "part", *told), rows


def _share(seconds: Mapping[str, float], part: str) -> str:
    whole = sum(seconds.values())
    return f"{seconds[part]:.1f} s, {seconds[part] / whole:.0%}" if seconds.get(part) and whole else "–"


def profile_blocks(info: RunInfo) -> Iterator[PageBlock]:
    """Where training time went, or nothing."""
    head, rows = profile_table(info)
    if rows:
        yield Heading("Where the time went", 3)
        yield Paragraph(PROFILE_ABOUT, "quiet")
        yield Grid(head, tuple(rows))


def _ledger(files: RunFiles) -> Iterator[PageBlock]:
    every = ledgers(files.metrics)
    if not every:
        return
    yield Heading("The ledger: what became of every sample")
    counts: list[dict[str, int]] = [vars(ledger) for ledger in every.values()]
    states: tuple[tuple[str, str], ...] = (*STATES.items(), ("total", ""))
    rows: list[tuple[Cell, ...]] = [(state, *(one[state] for one in counts), about) for state, about in states]
    yield Grid(("state", *every, ""), tuple(rows))
    yield from _noted(files)
    unscored = [
        (p.split, p.id, p.state, answer_pages.truth_text(p), answer_pages.answer_text(p), p.error)
        for p in files.predictions
        if p.state != "scored"
    ]
    if unscored:
        head = ("split", "sample", "state", "truth", "answer", "why")
        yield _listed("samples without a valid answer", head, unscored)


def _noted(files: RunFiles) -> Iterator[PageBlock]:
    """Answered samples that there is more to say of: those of broken files, those of which nothing was seen."""
    counts = {split: one.notes or {} for split, one in files.metrics.items() if one.ledger}
    names = [name for name in NOTES if any(one.get(name) for one in counts.values())]
    if not names:
        return
    yield Grid(("of these", *counts), tuple((NOTES[n], *(one.get(n, 0) for one in counts.values())) for n in names))
    noted = [
        (p.split, p.id, NOTES[name], why)
        for p in files.predictions
        for name, why in p.notes.items()
        if name in names and p.task in (LABEL, LABELS, NUMBERS) and p.state in ANSWERED
    ]
    yield _listed("answers with a note", ("split", "sample", "note", "what is known"), noted)


def _listed(what: str, head: tuple[str, ...], rows: Sequence[tuple[Cell, ...]]) -> Fold:
    """A table that is closed at first, of so many rows at most."""
    first = f", the first {LISTED}" if len(rows) > LISTED else ""
    return Fold(f"{len(rows)} {what}{first}", (Grid(head, tuple(rows[:LISTED])),))


def _worst(files: RunFiles) -> Iterator[PageBlock]:
    main = next(iter(files.metrics), "test")
    own = [p for p in labelled(files.predictions) if p.split == main and p.state == "scored"]
    wrong = [p for p in own if p.label != p.truth]
    if not wrong:
        return
    wrong.sort(key=lambda p: (-p.probabilities.get(p.label or "", 0.0), p.id))
    yield Heading(f"Most confident wrong answers ({min(WORST, len(wrong))} of {len(wrong)})")
    yield Cases(tuple(_case(p) for p in wrong[:WORST]))


def _case(p: Prediction) -> Case:
    from affectkit.report.pictures import frames_for

    pictures: Sequence[bytes] = ()
    notes = [f"{NOTES[name]} ({why})" for name, why in p.notes.items() if name in NOTES]
    if p.media:
        try:
            pictures = frames_for(p.media)
        except MediaError:
            notes.append(f"no picture: {Path(p.media).name} cannot be read")
    odds = sorted(p.probabilities.items(), key=lambda item: -item[1])
    chips = tuple(f"{spoken_name(k)} {v}" for k, v in p.facts.items() if k != "subtitle" and len(str(v)) <= 40)
    said = str(p.facts.get("subtitle", ""))
    return Case(p.id, p.truth or "", p.label or "", tuple(odds), said, chips, tuple(pictures), "; ".join(notes))


def _in_words(files: RunFiles) -> Iterator[PageBlock]:
    told = [p for p in files.predictions if p.task not in (LABEL, LABELS, NUMBERS) and p.text and p.state == "scored"][
        :8
    ]
    if told:
        yield Heading("Answers in words, the first few")
        yield Grid(("sample", "task", "answer"), tuple((p.id, p.task, p.text) for p in told))


def shared_warnings(runs: Sequence[tuple[str, RunFiles]]) -> Iterator[Paragraph]:
    """The warnings of all runs, each once, with the names that it is about, or those that it is not about if these are fewer."""
    names = list(dict.fromkeys(name for name, _ in runs))
    found: dict[Paragraph, list[str]] = {}
    for name, files in runs:
        for words in warnings(files):
            found.setdefault(words, []).append(name)
    for words, about in found.items():
        others = [name for name in names if name not in about]
        whose = (
            f"All but {', '.join(others)}"
            if len(others) < len(names) - len(others)
            else ", ".join(dict.fromkeys(about))
        )
        yield replace(words, text=f"{whose}: {words.text}") if others else words


def print_outcome(run: Run, say: Callable[[str], None]) -> None:
    """A table of the figures with their intervals, chance and majority; where the report lies; what the weights are."""
    metrics = run.folder / "metrics.json"
    if not metrics.exists():
        return
    suite = suite_pages.read_suite(run.folder)
    for split, figures in read_metrics(run.folder).items():
        label = figures.majority.label if figures.majority else None
        heads = {"chance": figures.chance, f"always {label}": label}
        shown = [place for place, there in enumerate(heads.values()) if there]
        columns = ["metric", "value", "95 % interval", *(list(heads)[place] for place in shown)]
        rows = [
            [name, *f.digits(none="-"), *(digits(figures.guesses(name)[place], none="-") for place in shown)]
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
        print_blocks(other_blocks(figures), say, split)
        if not figures.per_class:
            print_blocks(answer_pages.part_blocks(figures), say, split)
        if figures.reliability:
            say(f"{split}: {answer_pages.reliability_line(figures.reliability)}")
        print_blocks(sensitivity_blocks(figures.sensitivity or {}), say, split)
        if figures.bias and not suite:  # which has a table of its own for people
            print_blocks(bias_pages.blocks(figures.bias), say, split)
    suite_pages.print_suite(run.folder, say)
    about = read_object(run.about)
    print_blocks(profile_blocks(cast(RunInfo, about)), say)
    parts = about.get("weights", [])
    random = random_parts(parts)
    if random:
        say(f"started from random weights, not pretrained ones: {', '.join(random)}")
    for said in stand_ins(parts):
        say(said)
    say(f"report: {run.folder / 'report.html'}")
