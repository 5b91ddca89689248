"""Files that a user points at, as samples; and answers as a user reads them. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from affectkit.errors import InputError, Problem
from affectkit.evaluation.prediction import Prediction
from affectkit.files import ENDINGS, media_kind
from affectkit.pieces import Converses
from affectkit.plan.plan import Plan
from affectkit.plan.use import task_of
from affectkit.sample import Sample


def samples_of(media: Sequence[str], subtitle: str = "") -> list[Sample]:
    """Files and folders (all media in them, at any depth) as samples; raises InputError naming each that is neither."""
    found: list[Path] = []
    problems = []
    for name in media:
        path = Path(name)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if media_kind(p))
            if not inside:
                problems.append(Problem(name, "the folder holds no clip, still or sound file"))
            found += inside
        elif not path.exists():
            problems.append(Problem(name, "no such file or folder"))
        elif not media_kind(path):
            what = f"the ending {path.suffix!r} is no kind of media that is known"
            problems.append(Problem(name, what, known=tuple(e for endings in ENDINGS.values() for e in endings)))
        else:
            found.append(path)
    if problems:
        raise InputError(problems)
    return [_sample(path, subtitle) for path in dict.fromkeys(found)]


def _sample(path: Path, subtitle: str) -> Sample:
    return Sample(str(path), subtitle=subtitle, **{media_kind(path): path})  # type: ignore[arg-type]


def overrides_for(
    plan: Plan, samples: Sequence[Sample], face: str, detector: str | None, person: int | None
) -> list[str]:
    """Settings of the run's face views that let them find faces in files that come without boxes.

    Raises InputError (exit code 2) where faces are wanted and no detector is installed.
    """
    problem = plan.registry.problem("detector", detector, "--detector") if detector else None
    if problem:
        raise InputError(problem)
    views = plan.graph.views
    boxes = [
        n
        for n, v in views.items()
        if hasattr(v.settings, "detector")
        and (hasattr(v.settings, "whole") or getattr(v.settings, "hide", "none") != "none")
    ]
    boxes = boxes if any(s.video or s.image for s in samples) else []
    if face == "whole":
        return [f"views.{n}.whole=always" for n in boxes if hasattr(views[n].settings, "whole")]
    missing = [n for n in boxes if views[n].settings.detector is None]
    if not missing and not detector:
        return _people(boxes, views, person)
    name = detector or _installed(plan)
    return [
        *(f"views.{n}.detector={{use: {name}}}" for n in boxes if detector or n in missing),
        *_people(boxes, views, person),
    ]


def _people(boxes: Sequence[str], views: Mapping[str, Any], person: int | None) -> list[str]:
    if person is None:
        return []
    return [f"views.{n}.person={person}" for n in boxes if hasattr(views[n].settings, "person")]


def _installed(plan: Plan) -> str:
    problems = []
    for piece in plan.registry.pieces("detector"):
        problem = plan.registry.problem("detector", piece.name)
        if problem is None:
            return piece.name
        problems.append(problem)
    raise InputError([
        Problem("predict", "the recipe looks at faces, and no face detector is installed",
                "pip install 'affectkit[face]', or say --face whole if the picture is the face"), *problems])  # fmt: skip


class Asked(Protocol):
    """A trained run that can be asked; see `affectkit.loading.Loaded`."""

    def predict(
        self, samples: Sequence[Sample], task: str = ..., demographics: bool = ..., turn: int = ...
    ) -> list[Prediction]: ...


def talk_task(plan: Plan) -> str:
    """The task of the recipe that is a conversation. Raises InputError where it has none."""
    for use in plan.parts.values():
        if isinstance(use.settings, Converses):
            return task_of(use)
    known = [p.name for p in plan.registry.pieces("prompt") if issubclass(p.settings, Converses)]
    what = "this run was not trained to converse: its prompt has no part for questions in one's own words"
    raise InputError(Problem("--ask", what, "train with such a part in the prompt, or leave --ask out", tuple(known)))


def converse(
    run: Asked, task: str, samples: Sequence[Sample], questions: Sequence[str], demographics: bool = False
) -> list[list[Prediction]]:
    """The answers to questions in one's own words, put to each sample one after another: a list for each question.

    Each is asked with those before it and their answers in the prompt; steps that read the question read its own words.
    """
    told: list[list[Prediction]] = []
    talks = [replace(sample, turns=()) for sample in samples]
    for turn, question in enumerate(questions):
        talks = [replace(sample, turns=(*sample.turns, (question, ""))) for sample in talks]
        told.append(run.predict(talks, task, demographics, turn))
        talks = [
            replace(sample, turns=(*sample.turns[:-1], (question, p.text)))
            for sample, p in zip(talks, told[-1], strict=True)
        ]
    return told
