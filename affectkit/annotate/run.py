"""An annotation from its plan to a run folder: a record a sample, with every finding, where it comes from, and the items."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from affectkit.annotate.budget import Budget
from affectkit.annotate.clips import Clip, Outcome, item_values
from affectkit.annotate.engine import Engine
from affectkit.annotate.on_ray import OnRay
from affectkit.annotate.plan import PERSON, AnnotateRun, AnnotationPlan
from affectkit.annotate.spread import Spread, on_threads
from affectkit.annotate.store import Store
from affectkit.files import Json, as_file_name, cache_folder, write_json_atomic, write_jsonl_atomic, write_text_atomic
from affectkit.recipe.settings import yaml_text
from affectkit.report.terminal import table
from affectkit.train.run_folder import fresh_folder, point_last

RECORDS = "records.jsonl"
"""The file of records in a run folder."""
STORE = "annotations.sqlite"
"""The file of answers in the cache folder."""


def annotate(plan: AnnotationPlan, most_calls: int | None = None, most_cost: float | None = None) -> Path:
    """Run the annotators of a plan; returns the run folder with records.jsonl and summary.json. Raises InputError for annotators
    that give what is no answer, RunError where a model is gone."""
    cache = Path(plan.run.cache) if plan.run.cache else cache_folder()
    with Store(cache / STORE) as store, _spread(plan.run) as spread:
        outcome = Engine(plan, store, Budget(most_calls, most_cost), spread).run()
    root = Path(plan.run.folder)
    folder = fresh_folder(root, f"{as_file_name(plan.name)}-{time.strftime('%Y%m%d-%H%M%S')}")
    write_text_atomic(folder / "annotation.yaml", yaml_text(plan.recipe.values))
    write_json_atomic(folder / "run.json", {"recipe": plan.recipe.source, "overrides": list(plan.recipe.overrides)})
    path = write_records(plan, outcome, folder)
    point_last(root, folder)
    print_outcome(plan, outcome, path)
    return folder


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
    failed = sum(bool(c.failed) for c in outcome.clips)
    used = sum(c.live for c in outcome.clips)
    said = f"{used} of {len(outcome.clips)} samples used; {outcome.calls} calls, cost {outcome.cost:g}"
    print(said + (f"; {failed} without a reply, asked again next time" if failed else ""))
    if outcome.stopped:
        print(f"stopped: {outcome.stopped}; the same command goes on")
    print(f"records: {path}")


def record(plan: AnnotationPlan, clip: Clip) -> dict[str, Json]:
    """A clip as a record: `id`, `split`, `media`, `subtitle`, `findings` by annotator and name, `items`, and `rejected`, `failed`
    or `todo` where it came no further."""
    sample = clip.sample
    media: dict[str, Json] = {k: str(v) for k in ("video", "image", "audio") if (v := getattr(sample, k)) is not None}
    media |= {k: v for k in ("start", "end") if (v := getattr(sample, k)) is not None}
    person = sample.fact(PERSON).value
    found: dict[str, Json] = {
        name: {n: {"value": one.value, "source": one.source.to_dict()} for n, one in own.items()}
        for name, own in clip.findings.items()
    }
    out: dict[str, Json] = {"id": sample.id, "split": clip.split, "media": media, "subtitle": sample.subtitle}
    out |= {PERSON: str(person)} if person is not None else {}
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
    write_json_atomic(folder / "summary.json", summary(outcome))
    return path


def summary(outcome: Outcome) -> dict[str, Json]:
    """Counts: how clips ended, why they were rejected, what was asked, made and kept."""
    clips = outcome.clips
    return {
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
