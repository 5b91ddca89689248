"""Small trees in the layouts of published data sets, made by code; no content of any of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("sample_00000001", "sample_00000002", "samplenew_00000003", "samplenew_00000004", "sample_00000005",
         "sample_00000006", "samplenew_00000007", "samplenew_00000008", "sample_00000009")  # fmt: skip
NINE = ("neutral", "angry", "happy", "sad", "worried", "surprise", "fear", "contempt", "doubt")


def text(path: Path, *lines: str, **how: str) -> Path:
    """A file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", **{"encoding": "utf-8", **how})
    return path


def clips(folder: Path, names: tuple[str, ...], ending: str = ".mp4") -> None:
    """Files that stand for clips; each with other bytes, none can be decoded."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}{ending}").write_bytes(f"not looked at: {name}".encode())


def arrays(folder: Path, names: tuple[str, ...], shape: tuple[int, ...] = (8,)) -> None:
    """Feature files."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        np.save(folder / f"{name}.npy", np.full(shape, i, np.float32))


def clue(i: int, **more: object) -> dict[str, object]:
    """One entry of MERR."""
    return {
        "AU_list": ["AU05", "AU12"], "visual_prior_list": ["eyes wide", "lips up"], "audio_prior_list": "a low voice",
        "peak_index": str(3 + i), "peak_AU_list": ["AU05", "AU12", "AU25"], "pseu_emotion": NINE[i % 9],
        "text": f"words of clip {i}", **more,
    }  # fmt: skip


def merr(root: Path) -> dict[str, object]:
    """MERR beside MER2023's clips, as Emotion-LLaMA wants them: nine clips, one a label."""
    clips(root / "video", NAMES[:-1])
    clips(root / "video", NAMES[-1:], ".avi")
    for folder in ("mae_340_UTT", "maeV_399_UTT", "HL-UTT"):
        arrays(root / folder, NAMES)
    fine = {name: clue(i, smp_reason_caption=f"reason {i}") for i, name in enumerate(NAMES)}
    coarse = {name: clue(i, caption=f"caption {i}") for i, name in enumerate(NAMES)}
    loose = json.dumps(fine, indent=1).replace('"\n }', '",\n }').replace("}\n}", "},\n}")
    text(root / "MERR_fine_grained.json", loose)
    text(root / "MERR_coarse_grained.json", json.dumps(coarse))
    lines = [f"{name} {30 + i} {NINE[i]} {-10 if i % 2 else 0.25 * i}" for i, name in enumerate(NAMES)]
    text(root / "MERR_fine_grained.txt", *lines)
    said = [f"{name},heard {i}" for i, name in enumerate(NAMES[2:])]
    text(root / "transcription_en_all.csv", "name,sentence", *said[:-2], f'{NAMES[-2]},"nan"', f"{NAMES[-1]},")
    return {"root": str(root)}


def mer2023(root: Path, most: int = 6) -> dict[str, object]:
    """The release of MER2023: `most` training clips, two in each test."""
    labels = NINE[:6]
    train = [(f"sample_{i:08d}", labels[i % 6], f"{i / 2 - 1}") for i in range(most)]
    tests = {
        "test1": [("sample_10000000", "happy", "2.5"), ("sample_10000001", "sad", "-10")],
        "test2": [("sample_20000000", "angry", "-1.25"), ("sample_20000001", "sad", "")],
        "test3": [("samplenew_30000000", "worried", None), ("sample_30000001", "surprise", None)],
    }
    for split, rows in {"train": train, **tests}.items():
        clips(root / split, tuple(name for name, *_ in rows))
        head = "name,discrete" if split == "test3" else "name,discrete,valence"
        cells = [",".join(c for c in row if c is not None) for row in rows]
        text(root / f"{split}-label.csv", head, *cells)
    return {"root": str(root)}


def mer2024(root: Path) -> dict[str, object]:
    """MER2024 as its code reads it: six training clips, two unlabelled ones with open labels."""
    clips(root / "video-labeled", NAMES[:6])
    clips(root / "video-unlabeled-with-test2noise", NAMES[6:9])
    rows = [f"{name},{label},{i - 3}" for i, (name, label) in enumerate(zip(NAMES, NINE[:6], strict=False))]
    text(root / "label-disdim.csv", "name,discrete,valence", *rows)
    text(root / "check-openset.csv", "name,openset", f'{NAMES[6]},"[\'sad\', ""hurt""]"', f"{NAMES[7]},[]")
    return {"root": str(root)}


def dfew(root: Path, spelling: str = "(single-labeled)", frames: bool = True) -> dict[str, object]:
    """DFEW: 14 training clips and 7 test clips of each fold, numbers not padded in the lists."""
    lists = root / "EmoLabel_DataSplit"
    for fold in range(1, 6):
        numbers = {"train": range(1, 15), "test": range(fold * 100, fold * 100 + 7)}
        for part, these in numbers.items():
            rows = [f"{n},{i % 7 + 1}" for i, n in enumerate(these)]
            text(lists / f"{part}{spelling}" / f"set_{fold}.csv", "video_name,label", *rows)
    every = [*range(1, 15), *(f * 100 + i for f in range(1, 6) for i in range(7))]
    clips(root / "Clip" / "original", tuple(str(n) for n in every))
    if frames:
        for n in (*range(1, 15), *range(100, 107)):
            folder = root / "Clip" / "clip_224x224_16f" / f"{n:05d}"
            folder.mkdir(parents=True)
            for f in (1, 2, 10):
                Image.new("RGB", (16, 12), (20 * f, n, 0)).save(folder / f"{f}.png")
    return {"root": str(root)}


def emer(root: Path) -> dict[str, object]:
    """EMER version 1 in both languages, and version 2: five clips."""
    five = ("angry", "happy", "worried", "sad", "surprise")
    chinese = ("愤怒", "高兴", "担心", "悲伤", "惊讶")
    clips(root / "video", NAMES[:5])
    for file, words in (("gt-eng.csv", five), ("gt-chi.csv", chinese)):
        rows = [f'{name},{w},said {i},"reason {i}, {w}"' for i, (name, w) in enumerate(zip(NAMES, words, strict=False))]
        text(root / file, "names,emotions,subtitles,reasons", *rows)
    rows = [f'{name},理由 {i},"because {i}"' for i, name in enumerate(NAMES[:5])]
    text(root / "final-EMER-reason.csv", "name,chinese,english", *rows)
    return {"root": str(root)}


TREES = {"merr": merr, "mer2023": mer2023, "mer2024": mer2024, "dfew": dfew, "emer": emer}
"""A tree for each of these data sets, and the settings that read it."""
MORE: dict[str, dict[str, object]] = {
    "merr": {"test": 0.2},
    "mer2024": {"test": "ov", "ov_labels": "check-openset.csv"},
    "emer": {"train": 0.4},
}
"""Further settings, for a training and a test split where the data set has none."""
