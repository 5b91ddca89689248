"""A contact sheet: clips side by side, for people to look at."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .cast import spread
from .clip import ClipFormat, make
from .film import write_film

_CELL, _TEXT, _COLUMNS = 192, 62, 4


@dataclass(frozen=True)
class SheetClip:
    """One clip on the sheet."""

    frames: Sequence[np.ndarray]
    facts: dict[str, Any]


def apex_of(facts: dict[str, Any]) -> int:
    """The frame in which the face shows most; blinks and talking do not count."""
    names = facts["action_unit_names"]
    counted = [n for n, name in enumerate(names) if name not in ("AU25", "AU45")]
    return int(np.array(facts["action_units"])[:, counted].sum(1).argmax())


def sheet(entries: Sequence[SheetClip]) -> Image.Image:
    """Four clips a row: the apex frame, the emotion, the evidence and the subtitle."""
    rows = -(-len(entries) // _COLUMNS)
    page = Image.new("RGB", (_COLUMNS * _CELL, rows * (_CELL + _TEXT)), (255, 255, 255))
    pen = ImageDraw.Draw(page)
    bold, plain = ImageFont.load_default(14), ImageFont.load_default(11)
    for number, entry in enumerate(entries):
        x, y = (number % _COLUMNS) * _CELL, (number // _COLUMNS) * (_CELL + _TEXT)
        frame = Image.fromarray(entry.frames[apex_of(entry.facts)])
        page.paste(frame.resize((_CELL - 4, _CELL - 4), Image.Resampling.BICUBIC), (x + 2, y + 2))
        told = f"{entry.facts['label']} (by {entry.facts['evidence']})"
        pen.text((x + 4, y + _CELL), told, fill=(0, 0, 0), font=bold)
        lines = textwrap.wrap(entry.facts["subtitle"], 29)[:3]
        pen.text((x + 4, y + _CELL + 18), "\n".join(lines), fill=(60, 60, 60), font=plain, spacing=2)
    return page


def write_some(seed: int, look: ClipFormat, folder: Path, count: int) -> None:
    """Put `count` training clips, emotions and evidence spread, into `folder` with sidecars, and a sheet of them."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, plan in enumerate(spread(seed, count)):
        clip = make(plan, look)
        name = f"{number:03d}-{plan.label}-by-{plan.evidence}"
        write_film(folder / f"{name}.mp4", clip.frames, clip.wave, look.fps)
        (folder / f"{name}.json").write_text(json.dumps(clip.facts), encoding="utf-8")
        entries.append(SheetClip(clip.frames, clip.facts))
    if entries:
        sheet(entries).save(folder / "contact-sheet.png")
