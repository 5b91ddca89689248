"""One clip, from its plan to frames, sound and facts."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .camera import camera_of, scenery
from .cast import AGES, GENDERS, SKIN_TONES, ClipPlan
from .draw import Puppet
from .emotion import MANNER_NAMES, UNIT_NAMES, action_units, manner_of, measured
from .face import boxes, sway
from .film import write_film
from .voice import VoiceTrack, speak
from .words import line_of, reason_of


@dataclass(frozen=True)
class ClipFormat:
    """The technical side of a clip."""

    size: int
    """Width and height in pixels, even."""
    fps: int
    seconds: float


@dataclass(frozen=True)
class Clip:
    """The frames, sound and words of a clip before encoding."""

    frames: list[np.ndarray]
    wave: np.ndarray
    facts: dict[str, Any]
    """What its sidecar holds: words, numbers and lists only."""


def make(plan: ClipPlan, look: ClipFormat) -> Clip:
    """Render one clip."""
    person = plan.person()
    voice = plan.rng(2)
    manner = manner_of(plan.voice, voice.uniform(0.75, 1.0))
    heard = speak(person.voice, manner, look.seconds, voice)
    rng = plan.rng(1)
    times = np.arange(round(look.seconds * look.fps)) / look.fps
    course = action_units(plan.face, times, _mouth(heard, times), rng)
    puppet = Puppet(person, course, sway(person, times, rng), look.size)
    lens = plan.rng(4)
    scene, camera = scenery(look.size, lens), camera_of(look.size, lens)
    frames = [camera.take(puppet.draw(number, scene), lens) for number in range(len(times))]
    line = line_of(plan.words, plan.split, plan.rng(3))
    facts = {
        "label": plan.label,
        "subtitle": line.text,
        "cue": line.cue,
        "reason": reason_of(plan.label, plan.evidence, course.shown, line.cue),
        "evidence": plan.evidence,
        "misleads": plan.misleads,
        "misleading_label": plan.misleading,
        "identity": person.name,
        "age": AGES[person.age],
        "gender": GENDERS[person.gender],
        "skin_tone": SKIN_TONES[person.tone],
        "manner_names": list(MANNER_NAMES),
        "manner": np.round(measured(manner), 3).tolist(),
        "action_unit_names": list(UNIT_NAMES),
        "action_units": np.round(course.both, 3).tolist(),
        "landmarks": np.round(puppet.marks, 2).tolist(),
        "face_box": np.round(boxes(puppet.marks), 2).tolist(),
    }
    return Clip(frames, heard.wave, facts)


def _mouth(heard: VoiceTrack, times: np.ndarray) -> np.ndarray:
    """How open the mouth is at those times."""
    return heard.mouth[np.minimum((times * 1000).astype(int), len(heard.mouth) - 1)]


def is_made(plan: ClipPlan, folder: Path) -> bool:
    """Whether a clip is there as a whole: its film is put in place last."""
    return (folder / f"{plan.name}.mp4").is_file()


def render(plan: ClipPlan, look: ClipFormat, folder: Path) -> None:
    """Make a clip and put it in `folder`: sidecar, then film, each under a temporary name until it is whole."""
    clip = make(plan, look)
    mark = f"{plan.name}.{os.getpid()}.part"
    sidecar, film = folder / f"{mark}.json", folder / f"{mark}.mp4"
    try:
        sidecar.write_text(json.dumps(clip.facts, separators=(",", ":")), encoding="utf-8")
        write_film(film, clip.frames, clip.wave, look.fps)
        os.replace(sidecar, folder / f"{plan.name}.json")
        os.replace(film, folder / f"{plan.name}.mp4")
    finally:
        sidecar.unlink(missing_ok=True)
        film.unlink(missing_ok=True)
