"""What a user asks a run: media (files, or pictures and sound in memory) as samples, and questions in their own words.

Imports no torch.
"""

from __future__ import annotations

import logging
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from affectkit.data import video
from affectkit.errors import InputError, MediaError, Problem
from affectkit.evaluation.prediction import Prediction
from affectkit.files import ENDINGS, media_kind
from affectkit.pieces import Converses
from affectkit.plan.plan import Plan
from affectkit.plan.use import task_of
from affectkit.sample import Sample

log = logging.getLogger(__name__)


def samples_of(media: Sequence[str], subtitle: str = "") -> list[Sample]:
    """Files and folders (all media in them, at any depth) as samples; raises InputError naming each that is neither. What a
    folder holds beside media is said in a warning, by ending."""
    found: list[Path] = []
    problems = []
    for name in media:
        path = Path(name)
        if path.is_dir():
            inside, left = media_in(path)
            if not inside:
                what = f"the folder holds no clip, still or sound file{f' (but {left})' if left else ''}"
                problems.append(Problem(name, what))
            elif left:
                log.warning("%s: left out, for they are no media: %s", name, left)
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
    return [_of_kind(str(path), media_kind(path), path, subtitle) for path in dict.fromkeys(found)]


def media_in(folder: Path) -> tuple[list[Path], str]:
    """The media in a folder, at any depth; and how many other files it holds, by ending."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() or (path.is_symlink() and not path.exists()))
    # a Mac writes a hidden `._clip.mp4` beside each `clip.mp4` on foreign drives: it is no clip
    inside = [path for path in files if media_kind(path) and not path.name.startswith(".")]
    known = set(inside)
    others = Counter(_ending(path) for path in files if path not in known)
    return inside, ", ".join(f"{count} {ending}" for ending, count in others.most_common())


def _ending(path: Path) -> str:
    """How a file that is left out is called."""
    return "hidden" if path.name.startswith(".") else path.suffix or "without an ending"


def _of_kind(name: str, kind: str, path: Path, subtitle: str = "") -> Sample:
    """A sample of one file: an `image`, `audio` or `video`."""
    return replace(Sample(name, subtitle=subtitle), **{kind: path})  # type: ignore[arg-type]


@dataclass(frozen=True)
class MediaInput:
    """What was asked about, as samples; media that lay in memory are in files while it is open."""

    samples: list[Sample]
    bare: list[Sample]
    """Those of them that came as media alone: nobody said where a face is."""
    single: bool
    """Whether one thing was asked about, not a row of them."""
    folder: Path

    def named(self, prediction: Prediction) -> Prediction:
        """A prediction without the name of a file that will be gone."""
        if not prediction.media.startswith(str(self.folder)):
            return prediction
        error = prediction.error.replace(prediction.media, prediction.id)
        return replace(prediction, media="", error=error)


@contextmanager
def media_samples(given: Any, rate: int | None = None, subtitle: str = "") -> Iterator[MediaInput]:
    """Samples of one clip, still or sound, or of a sequence of them: paths, the bytes of a file, PIL images, arrays (uint8
    [h, w, 3] in RGB; sound at `rate` samples a second, [a], or with channels along the shorter axis). Samples stay as they
    are.

    Raises InputError for anything else, and for files that are not there.
    """
    row = hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, Mapping)
    single = not row or isinstance(given, str | bytes | bytearray) or hasattr(given, "__array__")
    media = [given] if single else given
    with tempfile.TemporaryDirectory(prefix="affectkit-") as folder:
        found, bare = [], []
        for i in range(len(media)):
            one = media[i]
            if not isinstance(one, Sample):
                here = Path(folder) / str(i)
                here.mkdir()
                one = replace(_sample_of(one, here, rate, f" {i}" if len(media) > 1 else ""), subtitle=subtitle)
                bare.append(one)
            found.append(one)
        yield MediaInput(found, bare, single, Path(folder))


def _sample_of(media: Any, folder: Path, rate: int | None, number: str) -> Sample:
    """One thing that somebody asks about; what lies in memory goes into a file in the folder."""
    from PIL import Image, ImageOps

    if isinstance(media, str | Path):
        if Path(media).is_dir():
            raise InputError(Problem(str(media), "is a folder", "give a list of the files in it"))
        return samples_of([str(media)])[0]
    if isinstance(media, bytes | bytearray):
        path = folder / "file"
        path.write_bytes(media)
        return _of_kind(f"bytes{number}", _kind_of(path), path)
    path = folder / "picture.png"
    if isinstance(media, Image.Image):
        ImageOps.exif_transpose(media).save(path)
        return Sample(f"picture{number}", image=path)
    if not hasattr(media, "__array__"):
        known = ("a path", "bytes", "a PIL image", "a numpy array", "a Sample")
        raise InputError(Problem("predict", f"cannot look at {type(media).__name__}", known=known))
    array = np.asarray(media)
    if rate is None and array.dtype == np.uint8 and array.ndim in (2, 3):
        Image.fromarray(array).save(path)
        return Sample(f"picture{number}", image=path)
    if rate is None or array.ndim not in (1, 2) or not array.size:
        what = f"an array {list(array.shape)} of {array.dtype} is neither a picture (uint8 [h, w, 3]) nor sound with its rate"
        raise InputError(Problem("predict", what, "for sound say its samples a second, for example rate=16000"))
    path = folder / "sound.wav"
    path.write_bytes(_wav(array, rate))
    return Sample(f"sound{number}", audio=path)


def _kind_of(path: Path) -> str:
    """`image`, `audio` or `video` by what is in a file; one that nothing can read counts as a clip, whose ledger says so."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return "video" if image.format == "GIF" else "image"
    except OSError:
        pass
    try:
        return "video" if video.probe(path).size else "audio"
    except MediaError:
        return "video"


def _wav(sound: np.ndarray, rate: int) -> bytes:
    """Sound [a], [channels, a] or [a, channels] as a WAV file of one channel, float32; whole numbers fill their type."""
    wave = sound.astype(np.float64)
    if sound.dtype.kind in "iu":
        signed = sound.dtype.kind == "i"
        full = (np.iinfo(sound.dtype).max + 1) / (1 if signed else 2)
        wave = (wave - (0 if signed else full)) / full
    if wave.ndim == 2:
        wave = wave.mean(int(np.argmin(wave.shape)))
    if not np.isfinite(wave).all():
        raise InputError(Problem("predict", "the sound holds values that are not finite"))
    data = wave.astype("<f4").tobytes()
    form = struct.pack("<HHIIHH", 3, 1, rate, 4 * rate, 4, 32)
    head = struct.pack("<4sI4s4sI", b"RIFF", 28 + len(form) - 8 + len(data), b"WAVE", b"fmt ", len(form))
    return head + form + struct.pack("<4sI", b"data", len(data)) + data


def overrides_for(
    plan: Plan, samples: Sequence[Sample], face: str, detector: str | None, person: int | None
) -> list[str]:
    """Settings of the run's face views that let them find faces in files that come without boxes.

    Raises InputError (exit code 2) where faces are wanted and no detector is installed.
    """
    problem = plan.registry.problem("detector", detector, "--detector") if detector else None
    if problem:
        raise InputError(problem)
    seen = any(s.video or s.image for s in samples)
    views = {n: v.settings for n, v in plan.graph.views.items() if seen and _wants_boxes(v.settings)}
    if face == "whole":
        return [f"views.{n}.whole=always" for n, settings in views.items() if hasattr(settings, "whole")]
    wanting = [n for n, settings in views.items() if detector or settings.detector is None]
    name = detector or (_installed(plan) if wanting else "")
    followed = [n for n, settings in views.items() if person is not None and hasattr(settings, "person")]
    return [f"views.{n}.detector={{use: {name}}}" for n in wanting] + [f"views.{n}.person={person}" for n in followed]


def _wants_boxes(settings: Any) -> bool:
    """Whether a view cuts out faces, or hides them."""
    hides = getattr(settings, "hide", "none") != "none"
    return hasattr(settings, "detector") and (hides or hasattr(settings, "whole"))


def _installed(plan: Plan) -> str:
    problems = []
    for piece in plan.registry.pieces("detector"):
        problem = plan.registry.problem("detector", piece.name)
        if problem is not None:
            problems.append(problem)
        elif not any(
            f.name == "source" and not f.default for f in fields(piece.settings)
        ):  # else its weights are random
            return piece.name
    what = "the recipe looks at faces, and no face detector is installed"
    whole = 'say --face whole (in Python face="whole") if the picture is the face'
    raise InputError([Problem("predict", what, f"pip install 'affectkit[face]', or {whole}"), *problems])


class Predictor(Protocol):
    """A trained run that can be asked; see `affectkit.api.LoadedRun`."""

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
    run: Predictor, task: str, samples: Sequence[Sample], questions: Sequence[str], demographics: bool = False
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
