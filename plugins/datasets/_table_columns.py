"""Columns of a table to what they mean."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from affectkit.errors import Problem, unknown

USUAL: dict[str, tuple[str, ...]] = {
    "path": (
        "path", "file", "filename", "file_name", "filepath", "file_path", "media", "media_path", "clip", "clip_path",
    ),
    "video": ("video", "video_path", "video_file", "video_name"),
    "image": ("image", "image_path", "image_file", "image_name", "img", "img_path", "picture", "photo"),
    "audio": ("audio", "audio_path", "audio_file", "audio_name", "wav", "wav_path", "sound", "speech"),
    "label": ("label", "emotion", "discrete", "expression", "class", "target", "category", "emo", "emotion_label"),
    "subtitle": (
        "subtitle", "sentence", "text", "english", "utterance", "transcript", "transcription", "subtitles",
        "sentence_en", "words",
    ),
    "split": ("split", "fold", "set", "mode", "subset", "partition", "usage", "part"),
    "reason": ("reason", "reasoning", "explanation", "rationale", "smp_reason_caption", "reason_caption"),
    "turns": ("turns", "conversation", "conversations", "dialogue"),
    "id": ("id", "name", "clip_id", "sample_id", "utterance_id", "uid", "video_id"),
    "person": (
        "person", "speaker", "subject", "identity", "actor", "person_id", "speaker_id", "subject_id", "actor_id",
    ),
    "age": ("age", "age_band", "age_group"),
    "gender": ("gender", "sex"),
    "race": ("race", "ethnicity"),
    "skin_tone": ("skin_tone", "skintone"),
    "openface": ("openface", "openface_csv", "openface_path", "openface_file", "au_csv"),
    "box": ("box", "bbox", "face_box", "face_bbox"),
    "x0": ("x0", "x_min", "xmin", "left", "face_x0", "x", "face_x", "box_x", "bbox_x"),
    "y0": ("y0", "y_min", "ymin", "top", "face_y0", "y", "face_y", "box_y", "bbox_y"),
    "x1": ("x1", "x_max", "xmax", "right", "face_x1"),
    "y1": ("y1", "y_max", "ymax", "bottom", "face_y1"),
    "width": ("width", "w", "face_width", "face_w", "box_width", "box_w", "bbox_w"),
    "height": ("height", "h", "face_height", "face_h", "box_height", "box_h", "bbox_h"),
    "start": ("start", "start_time", "begin", "onset", "start_sec", "start_s", "starttime", "start_seconds"),
    "end": ("end", "end_time", "stop", "offset", "end_sec", "end_s", "endtime", "end_seconds"),
}  # fmt: skip
"""What a table can hold, and the names its column usually has, the likeliest first."""
MEDIA = ("path", "video", "image", "audio")
CORNERS, CORNER_AND_SIZE = ("x0", "y0", "x1", "y1"), ("x0", "y0", "width", "height")
"""How a face box stands in columns of its own."""
FROM_ONE = {"x0": "x1", "y0": "y1", "x1": "x2", "y1": "y2"}
"""Its corners where a table counts them from one."""
PARTS = re.compile(r"(start|begin|onset|end|stop|offset|duration|dur)(_|$)")
"""What columns that say which part of a file a row is are called, in whatever unit."""


def find(
    columns: list[str], given: Mapping[str, str], table: str, targets: Collection[str] = ()
) -> tuple[dict[str, str], list[str], list[Problem]]:
    """Our word to the table's column, notes, and what is wrong. `given` comes first (an empty name means "none"), then the
    usual names. The columns `targets` are spoken for.

    Case, spaces and dashes do not matter for usual names; a column serves one purpose only.
    """
    problems: list[Problem] = []
    found: dict[str, str] = {}
    for ours, theirs in given.items():
        if ours not in USUAL:
            problems.append(unknown("data.columns", "kind of column", ours, USUAL))
        elif theirs and theirs not in columns:
            problems.append(unknown(f"data.columns.{ours}", f"column of {table}:", theirs, columns))
        elif theirs:
            found[ours] = theirs
    plain = {re.sub(r"[\s\-]+", "_", c.strip().lower()): c for c in reversed(columns)}
    if plain.keys() >= set(FROM_ONE.values()) and not plain.keys() & {"x0", "y0"} and not {*FROM_ONE} & {*given}:
        found |= {ours: plain[theirs] for ours, theirs in FROM_ONE.items()}
    taken = {*found.values(), *targets}
    for ours, names in USUAL.items():
        if ours in given or ours in found:
            continue
        theirs = next((plain[n] for n in names if n in plain and plain[n] not in taken), "")
        if theirs:
            found[ours] = theirs
            taken.add(theirs)
    notes = _unused_columns(found, given, {n: c for n, c in plain.items() if c not in targets}, table)
    if not any(found.get(ours) for ours in (*MEDIA, "subtitle")) and not problems:
        fix = "name it: `data.columns: {path: …}`; `{subtitle: …}` where there are words alone"
        problems.append(Problem(table, "has no column with the path of a clip, still or sound", fix, tuple(columns)))
    return found, notes, problems


def _unused_columns(found: dict[str, str], given: Mapping[str, str], plain: dict[str, str], table: str) -> list[str]:
    """Takes columns of half a box out of `found`; notes on these, and on other columns that could be the labels."""
    box = next((names for names in (CORNERS, CORNER_AND_SIZE) if all(n in found for n in names)), ())
    parts = [n for n in dict.fromkeys((*CORNERS, *CORNER_AND_SIZE)) if n in found and n not in box]
    names = ", ".join(found[n] for n in parts if n not in ("width", "height"))
    notes = [f"{table}: the columns {names} are no whole face box and are passed over"] if names and not box else []
    for part in parts:
        del found[part]
    timed = [
        c
        for n, c in reversed(plain.items())
        if PARTS.match(n) and c not in found.values() and not {"start", "end"} & {*given}
    ]
    if timed and not (set(timed) == {plain.get("duration")} and "start" not in found):  # a length alone is no part
        fix = "only `start` and `end` in seconds make a part"
        notes.append(f"{table}: the columns {', '.join(timed)} are not read as a part of a file: {fix}")
    others = [plain[n] for n in USUAL["label"] if n in plain and plain[n] not in found.values()]
    if "label" in found and "label" not in given and others:
        what = f"labels are those of the column {found['label']!r}, not of {', '.join(map(repr, others))}"
        notes.append(f"{table}: {what}; `data.columns: {{label: …}}` chooses")
    return notes
