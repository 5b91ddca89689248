"""Which column of a table is what: by the recipe's word, else by its usual names."""

from __future__ import annotations

import re
from collections.abc import Mapping

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
    "box": ("box", "bbox", "face_box", "face_bbox"),
    "x0": ("x0", "x_min", "xmin", "left", "face_x0"),
    "y0": ("y0", "y_min", "ymin", "top", "face_y0"),
    "x1": ("x1", "x_max", "xmax", "right", "face_x1"),
    "y1": ("y1", "y_max", "ymax", "bottom", "face_y1"),
}  # fmt: skip
"""What a table can hold, and the names its column usually has, the likeliest first."""
MEDIA = ("path", "video", "image", "audio")


def find(columns: list[str], given: Mapping[str, str], table: str) -> tuple[dict[str, str], list[Problem]]:
    """Our word to the table's column. `given` comes first (an empty name means "none"), then the usual names.

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
    taken = set(found.values())
    for ours, names in USUAL.items():
        if ours in given:
            continue
        theirs = next((plain[n] for n in names if n in plain and plain[n] not in taken), "")
        if theirs:
            found[ours] = theirs
            taken.add(theirs)
    corners = [ours for ours in ("x0", "y0", "x1", "y1") if ours in found]
    if len(corners) < 4:
        for ours in corners:
            del found[ours]
    if not any(found.get(ours) for ours in MEDIA) and not problems:
        fix = "name it: `data.columns: {path: …}`"
        problems.append(Problem(table, "has no column with the path of a clip, still or sound", fix, tuple(columns)))
    return found, problems
