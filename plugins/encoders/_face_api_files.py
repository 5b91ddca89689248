"""The files of face-api's networks, looked at without torch: whether a folder has them, whole by their manifests."""

from __future__ import annotations

import math
from pathlib import Path

from affectkit import weights
from affectkit.errors import InputError
from affectkit.files import read_json

PRIORS = ("face_expression_model", "face_landmark_68_model", "age_gender_model")
DETECTOR = ("tiny_face_detector_model",)
BYTES = {"uint8": 1, "uint16": 2, "float32": 4}
FOLDER = "give the folder `model` of the package @vladmandic/face-api"


def source_faults(source: str, networks: tuple[str, ...]) -> list[tuple[str, str]]:
    """What a folder that is there lacks of these networks, as `problems()` of settings tells it."""
    folder = Path(source).expanduser()
    if not source or weights.random() or not folder.exists():  # what is not there yet may come
        return []
    if not folder.is_dir():
        return [("source", f"{source} is no folder of face-api's networks: {FOLDER}")]
    absent = [name for name in (f"{n}-weights_manifest.json" for n in networks) if not (folder / name).is_file()]
    if absent:
        return [("source", f"{source} has no {', '.join(absent)}: {FOLDER}")]
    return [("source", f"{source}: {why}: {FOLDER}") for name in networks if (why := _lacks(folder, name))]


def _lacks(folder: Path, network: str) -> str:
    """What is wrong with one network's files; empty if nothing is, as far as sizes tell."""
    path = folder / f"{network}-weights_manifest.json"
    try:
        for group in read_json(path):
            kinds = [(one.get("quantization") or one)["dtype"] for one in group["weights"]]
            wanted = sum(BYTES[k] * math.prod(one["shape"]) for k, one in zip(kinds, group["weights"], strict=True))
            files = [folder / Path(str(name)).name for name in group["paths"]]
            if lost := [file.name for file in files if not file.is_file()]:
                return f"{', '.join(lost)} is missing"
            if (size := sum(file.stat().st_size for file in files)) != wanted:
                return f"{files[0].name} has {size:,} bytes, and by its manifest {wanted:,}"
    except (InputError, KeyError, TypeError, AttributeError, IndexError) as error:
        told = error.problems[0].what if isinstance(error, InputError) else type(error).__name__
        return f"{path.name} is no manifest of weights ({told})"
    return ""
