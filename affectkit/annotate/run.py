"""An annotation from its plan to a run folder: a record a sample, with every finding, where it comes from, and the items."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from affectkit.annotate.audit import Audit, audit
from affectkit.annotate.budget import Budget
from affectkit.annotate.clips import BOX, Clip, Outcome, found_value, item_values, media_of
from affectkit.annotate.engine import Engine
from affectkit.annotate.on_ray import OnRay
from affectkit.annotate.plan import PERSON, AnnotateRun, AnnotationPlan, Export
from affectkit.annotate.rehearse import Forecast, print_forecast, rehearse, unpriced
from affectkit.annotate.report import write_annotation_report
from affectkit.annotate.reviews import RECORDS
from affectkit.annotate.spread import Spread, on_threads
from affectkit.annotate.store import Store
from affectkit.annotators import ExportRow, WritesRecords
from affectkit.errors import InputError, Problem
from affectkit.evaluation.figures import digits
from affectkit.files import (
    Json,
    as_file_name,
    cache_folder,
    plain,
    write_json_atomic,
    write_jsonl_atomic,
    write_text_atomic,
)
from affectkit.recipe.settings import yaml_text
from affectkit.report.terminal import table
from affectkit.train.run_folder import fresh_folder, point_last

STORE = "annotations.sqlite"
"""The file of answers in the cache folder."""


def annotate(plan: AnnotationPlan, most_calls: int | None = None, most_cost: float | None = None) -> Path:
    """Run the annotators of a plan; returns the run folder with records.jsonl and summary.json. Raises InputError for annotators
    that give what is no answer, RunError where a model is gone."""
    if most_cost is not None:
        _check_prices(plan)
    with _store(plan) as store, _spread(plan.run) as spread:
        outcome = Engine(plan, store, Budget(most_calls, most_cost), spread).run()
    root = Path(plan.run.folder)
    folder = fresh_folder(root, f"{as_file_name(plan.name)}-{time.strftime('%Y%m%d-%H%M%S')}")
    write_text_atomic(folder / "annotation.yaml", yaml_text(plan.recipe.values))
    write_json_atomic(folder / "run.json", {"recipe": plan.recipe.source, "overrides": list(plan.recipe.overrides)})
    path = write_records(plan, outcome, folder)
    written = write_exports(plan, outcome.clips, folder)
    write_annotation_report(folder)
    point_last(root, folder)
    print_outcome(plan, outcome, path)
    for name, paths in written.items():
        print(f"{name}: {', '.join(map(str, paths))}")
    return folder


def _check_prices(plan: AnnotationPlan) -> None:
    """Raise InputError where a bound on cost would be none, for nobody says what a client costs."""
    what, fix = "nothing is known of what it costs", "set price_in and price_out"
    free = [Problem(plan.recipe.place(("annotators", name, "client")), what, fix) for name in unpriced(plan)]
    if free:
        raise InputError(free)


def forecast(plan: AnnotationPlan) -> list[Forecast]:
    """What `annotate` would ask and what that may cost, as a table too; nothing is asked, and no answer is made."""
    with _store(plan) as store:
        found = rehearse(plan, store)
    print_forecast(plan, found)
    return found


def _store(plan: AnnotationPlan) -> Store:
    return Store((Path(plan.run.cache) if plan.run.cache else cache_folder()) / STORE)


def _spread(run: AnnotateRun) -> AbstractContextManager[Spread]:
    """Where the work is done, as a recipe says."""
    return OnRay(run) if run.engine == "ray" else nullcontext(on_threads)


def print_outcome(plan: AnnotationPlan, outcome: Outcome, path: Path) -> None:
    """A table of what each annotator did, and how clips ended."""
    lost = rejects(outcome.clips)
    rows = []
    for name in ("media", *plan.annotators):
        why = ", ".join(f"{reason} {count}" for reason, count in lost.get(name, {}).items())
        if name != "media" or why:
            rows.append([name, str(outcome.made.get(name, 0)), str(outcome.kept.get(name, 0)), why])
    table(
        f"{plan.name}: {len(outcome.clips)} samples",
        ["annotator", "answers made", "kept from before", "rejected"],
        rows,
    )
    print_labels(audit(plan, outcome.clips))
    failed = sum(bool(c.failed) for c in outcome.clips)
    used = sum(c.live for c in outcome.clips)
    said = f"{used} of {len(outcome.clips)} samples used; {outcome.calls} calls, cost {outcome.cost:g}"
    print(said + (f"; {failed} failed, asked about again next time" if failed else ""))
    if outcome.stopped:
        print(f"stopped: {outcome.stopped}; the same command goes on")
    print(f"records: {path}\nreport: {path.with_name('report.html')}")


def print_labels(found: Audit) -> None:
    """A table of how right the labels are behind each filter, where the data knows."""
    if found.truths:
        rows = [
            [one.after, one.clips, one.precision, digits(one.right_kept, 2), digits(one.wrong_removed, 2)]
            for one in found.passed
        ]
        head = ["after", "clips", "precision", "right ones left", "wrong ones gone"]
        table(f"{found.label} against the labels of the data, which no annotator saw", head, rows)


def record(plan: AnnotationPlan, clip: Clip) -> dict[str, Json]:
    """A clip as a record: `id`, `split`, `media`, `subtitle`, where its face is, `findings` by annotator and name, `items`, and
    `rejected`, `failed` or `todo` where it came no further."""
    sample = clip.sample
    media: dict[str, Json] = {kind: str(path) for kind, path in media_of(sample).items()}
    media |= {k: v for k in ("start", "end") if (v := getattr(sample, k)) is not None}
    person = sample.fact(PERSON).value
    found: dict[str, Json] = {
        name: {n: {"value": one.value, "source": one.source.to_dict()} for n, one in own.items()}
        for name, own in clip.findings.items()
    }
    out: dict[str, Json] = {"id": sample.id, "split": clip.split, "media": media, "subtitle": sample.subtitle}
    out |= {PERSON: str(person)} if person is not None else {}
    box = sample.fact(BOX)
    if box.value is not None:  # exactly, so that whoever trains on the record finds features that are kept
        pixels = plain(np.asarray(box.value, np.float64).tolist())
        out[BOX] = {"pixels": pixels, "per_frame": box.per_frame, "origin": box.origin}
    out |= {"findings": found, "items": item_values(plan, clip)}
    if clip.rejected:
        by, why = clip.rejected
        out["rejected"] = {"by": by, "reason": why.reason, **({"about": why.about} if why.about else {})}
    if clip.failed:
        out["failed"] = {"by": clip.failed[0], "error": clip.failed[1]}
    if clip.todo:
        out["todo"] = clip.todo
    return out


def write_records(plan: AnnotationPlan, outcome: Outcome, folder: Path) -> Path:
    """Write the records, in the order of the samples, and summary.json; returns the path of the records."""
    path = folder / RECORDS
    write_jsonl_atomic(path, (record(plan, clip) for clip in outcome.clips))
    write_json_atomic(folder / "summary.json", summary(plan, outcome))
    return path


def write_exports(plan: AnnotationPlan, clips: Sequence[Clip], folder: Path) -> dict[str, list[Path]]:
    """Write the clips that were not rejected in the recipe's published forms, each in a folder of its own; gives their files.
    Raises InputError for what a form cannot hold."""
    written = {}
    for name, export in plan.exports.items():
        own = folder / "exports" / as_file_name(name)
        own.mkdir(parents=True, exist_ok=True)
        built: WritesRecords = export.use.piece.build(export.use.settings)
        rows = [_export_row(clip, export) for clip in clips if clip.live]
        written[name] = list(built.write(rows, own))
    return written


def _export_row(clip: Clip, export: Export) -> ExportRow:
    ports = [port.name for port in export.use.piece.ports]
    values = {port: found_value(clip, ref) if (ref := export.inputs.get(port)) else None for port in ports}
    return ExportRow(clip.sample.id, clip.split, media_of(clip.sample), values)


def summary(plan: AnnotationPlan, outcome: Outcome) -> dict[str, Json]:
    """Counts: how clips ended, why they were rejected, what was asked, made and kept, what is to be said of the labels."""
    clips = outcome.clips
    return {
        "name": plan.name,
        "annotators": list(plan.annotators),
        "given": list(plan.run.given),
        "audit": audit(plan, clips).to_dict(),
        "samples": len(clips),
        "used": sum(clip.live for clip in clips),
        "rejected": rejects(clips),
        "failed": sum(bool(clip.failed) for clip in clips),
        "todo": sum(bool(clip.todo) for clip in clips),
        "calls": outcome.calls,
        "cost": round(outcome.cost, 6),
        "made": dict(outcome.made),
        "kept": dict(outcome.kept),
        "seconds": round(outcome.seconds, 2),
        **({"stopped": outcome.stopped} if outcome.stopped else {}),
    }


def rejects(clips: Sequence[Clip]) -> dict[str, dict[str, int]]:
    """By annotator, how many clips were rejected for which reason."""
    found: dict[str, Counter[str]] = {}
    for clip in clips:
        if clip.rejected:
            by, why = clip.rejected
            found.setdefault(by or "media", Counter())[why.reason] += 1
    return {by: dict(own) for by, own in found.items()}
