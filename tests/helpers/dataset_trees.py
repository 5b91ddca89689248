"""Small trees in the layouts of published data sets, made by code; no content of any of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ("sample_00000001", "sample_00000002", "samplenew_00000003", "samplenew_00000004", "sample_00000005",
         "sample_00000006", "samplenew_00000007", "samplenew_00000008", "sample_00000009")  # fmt: skip
NINE = ("neutral", "angry", "happy", "sad", "worried", "surprise", "fear", "contempt", "doubt")


def _piece(settings: Any) -> Any:
    """The piece whose settings these are."""
    offered = sys.modules[type(settings).__module__].affectkit_pieces()
    return next(piece for piece in offered if piece.settings is type(settings))


def build(settings: Any, split: str) -> Any:
    """One split of the data set whose settings these are."""
    return _piece(settings).build(settings, split)


def survey(settings: Any) -> Any:
    """The survey of the data set whose settings these are."""
    return _piece(settings).survey(settings)


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


def corpora(path: Path, **splits: Mapping[str, Mapping[str, object]]) -> Path:
    """An npz of labels as MERBench writes it: a 0-d array of a dictionary for each corpus."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{f"{split}_corpus": np.array(dict(rows), dtype=object) for split, rows in splits.items()})
    return path


def transcripts(path: Path, names: Sequence[str]) -> Path:
    """What is said in both languages; the last clip says nothing in English."""
    rows = [f'{n},话 {i},"words, {i}"' for i, n in enumerate(names)]
    return text(path, "name,chinese,english", *rows[:-1], f"{names[-1]},话,")


def emotions(names: Sequence[str], codes: Sequence[object], value: object = -10) -> dict[str, dict[str, object]]:
    """One corpus: clip to label and value."""
    return {n: {"emo": codes[i % len(codes)], "val": value} for i, n in enumerate(names)}


def values(names: Sequence[str], least: float = -3.0) -> dict[str, dict[str, object]]:
    """One corpus of sentiment: a negative, a zero and a positive value in turn; the label is a filler."""
    return {n: {"emo": 0, "val": (least, 0.0, np.float32(-least / 2))[i % 3]} for i, n in enumerate(names)}


def merbench(root: Path) -> dict[str, object]:
    """A processed copy of IEMOCAP: two clips of each session, labels as whole numbers."""
    names = [f"Ses0{s}F_impro01_M00{i}" for s in range(1, 6) for i in range(2)]
    corpora(root / "label_4way.npz", whole=emotions(names, (0, 1, 2, 3)))
    clips(root / "subvideo-tgt", tuple(names))
    transcripts(root / "transcription-engchi-polish.csv", names)
    return {"root": str(root)}


def meld(root: Path) -> dict[str, object]:
    """MELD as its archives unpack: seven utterances a split under the same numbers, one training clip nested."""
    head = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
    words = ("anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise")
    signs = {"joy": "positive", "neutral": "neutral"}
    inside = {"train": "train/train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
    for split, folder in inside.items():
        rows = [
            f'{i + 1},"Oh, {split} {i}.",Nobody,{w},{signs.get(w, "negative")},0,{i},1,1,"00:00:0{i},000","00:00:0{i},900"'
            for i, w in enumerate(words)
        ]
        path = root / f"{split}_sent_emo.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(("\r\n".join([head, *rows]) + "\r\n").encode())
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(7):
            (root / folder / f"dia0_utt{i}.mp4").write_bytes(f"{split} {i}".encode())
    return {"root": str(root)}


def iemocap(root: Path) -> dict[str, object]:
    """The release of IEMOCAP: a dialogue a session, with turns of every kind and a line that is none."""
    codes = ("ang", "hap", "exc", "sad", "neu", "fru", "xxx")
    for n in range(1, 6):
        session = root / "IEMOCAP_full_release" / f"Session{n}"
        dialogue = f"Ses0{n}F_impro01"
        turns = [f"{dialogue}_{'FM'[i % 2]}{i:03d}" for i in range(len(codes))]
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        for i, (turn, code) in enumerate(zip(turns, codes, strict=True)):
            lines += [f"[{i}.0000 - {i}.5000]\t{turn}\t{code}\t[2.5000, 3.0000, {i}.0000]", "C-E2:\tAnger;\t()", ""]
        text(session / "dialog" / "EmoEvaluation" / f"{dialogue}.txt", *lines)
        said = [f"{turn} [00{i}.0000-00{i}.5000]: words {i}" for i, turn in enumerate(turns)]
        text(session / "dialog" / "transcriptions" / f"{dialogue}.txt", *said[:-1], "M: no turn at all")
        clips(session / "sentences" / "wav" / dialogue, tuple(turns), ".wav")
        (session / "dialog" / "EmoEvaluation" / f"._{dialogue}.txt").write_bytes(b"\x00\x05")
    return {"root": str(root)}


COLUMNS = "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode"


def mmsa(root: Path, rows: Sequence[tuple[str, str, str, str]], file: str = "label.csv") -> dict[str, object]:
    """A table of sentiment in MMSA's form: rows are video, clip as the table has it, clip as its file, split."""
    lines = []
    for i, (video, clip, name, mode) in enumerate(rows):
        clips(root / "Raw" / video, (name,))
        (root / "Raw" / video / f"{name}.mp4").write_bytes(f"{video} {name}".encode())
        value = ("-0.8", "0.0", "1.0")[i % 3]
        lines.append(f'{video},{clip},"words, {i}",{value},0.2,,-0.2,Neutral,{mode}')
    text(root / file, COLUMNS, *lines)
    return {"root": str(root)}


def cmu_mosi(root: Path) -> dict[str, object]:
    """A processed copy of CMU-MOSI."""
    parts = {s: [f"-{s}_x_{i}" for i in range(1, 4)] for s in ("train", "val", "test")}
    every = [name for names in parts.values() for name in names]
    corpora(root / "label.npz", **{s: values(names) for s, names in parts.items()})
    clips(root / "subvideo", tuple(every))
    clips(root / "subaudio", tuple(every), ".wav")
    transcripts(root / "transcription-engchi-polish.csv", every)
    return {"root": str(root)}


def cmu_mosei(root: Path) -> dict[str, object]:
    """MMSA's copy of CMU-MOSEI, with the release's transcripts beside it."""
    modes = ("train", "train", "train", "valid", "valid", "test", "test")
    settings = mmsa(root, [("-a_b_", str(i), str(i), mode) for i, mode in enumerate(modes)])
    lines = [f"-a_b____{i}___{i}.5___{i + 1}.25___a ___ heard {i}" for i in range(len(modes))]
    text(root / "Raw" / "Transcript" / "Segmented" / "Combined" / "-a_b_.txt", *lines)
    return {**settings, "transcripts": "Raw/Transcript/Segmented/Combined"}


def ch_sims(root: Path) -> dict[str, object]:
    """CH-SIMS' metadata: six clips, whose numbers lose their zeros in the tables."""
    clips(root / "Raw" / "video_0001", tuple(f"{i:04d}" for i in range(1, 7)))
    meta = root / "metadata"
    text(
        meta / "sentiment" / "label_M.csv",
        "video_id,clip_id,label",
        *(f"video_0001,{i},{(i - 3) / 5}" for i in range(1, 7)),
    )
    for split, rows in {"train": (0, 1, 5), "val": (3,), "test": (2, 4)}.items():
        text(meta / f"{split}_index.csv", "index", *map(str, rows))
    text(
        meta / "Translation.csv",
        "video_id,clip_id,Chinese,English",
        *(f"video_0001,{i:04d},话 {i},words {i}" for i in range(1, 7)),
    )
    return {"root": str(root)}


def ch_sims_v2(root: Path) -> dict[str, object]:
    """CH-SIMS v2: numbers of clips that are text, two that differ in their zeros only."""
    rows = [("video_0001", c, c, m) for c, m in (("0001", "train"), ("0002", "train"), ("00012_1", "train"))]
    rows += [
        ("aqgy1_0001", "00001", "00001", "valid"),
        ("aqgy1_0001", "0001", "0001", "test"),
        ("test1", "1", "1", "test"),
    ]
    mmsa(root / "ch-simsv2s", rows, "meta.csv")
    return {"root": str(root)}


def mer2025(root: Path) -> dict[str, object]:
    """MER2025's three tracks: six clips with emotions, words and descriptions; three candidates."""
    clips(root / "video", NAMES)
    transcripts(root / "subtitle_chieng.csv", NAMES)
    text(
        root / "track1_train_disdim.csv", "name,discrete", *(f"{n},{w}" for n, w in zip(NAMES, NINE[:6], strict=False))
    )
    opened = [f'{n},"[\'sad\', ""hurt {i}""]"' for i, n in enumerate(NAMES[:5])]
    told = [f'{n},"because, {i}"' for i, n in enumerate(NAMES[:6])]
    for source in ("ovmerd", "mercaptionplus"):
        text(root / f"track2_train_{source}.csv", "name,openset", *opened, f"{NAMES[5]},[]")
        text(root / f"track3_train_{source}.csv", "name,reason", *told)
    text(root / "track_all_candidates.csv", "name", *NAMES[6:])
    text(root / "track1_test_dis.csv", "name,discrete", f"{NAMES[6]},sad")
    text(root / "track2_test.csv", "name,openset", f"{NAMES[6]},[calm]")
    return {"root": str(root)}


def mer2026(root: Path) -> dict[str, object]:
    """MER2026's three tracks."""
    mer2025(root)
    (root / "track1_train_disdim.csv").rename(root / "track1_train.csv")
    (root / "track1_test_dis.csv").rename(root / "track1_test.csv")
    (root / "track2_train_ovmerd.csv").rename(root / "track2_train_human.csv")
    (root / "track_all_candidates.csv").rename(root / "track1_track2_candidate.csv")
    for source, chosen in (("emoprefer", ("a1", "a2", "same")), ("emopreferv2", ("a2", "a1", "a1", "same"))):
        rows = [f'{NAMES[i // 2]},"one\n\tline {i}","another, {i}",{c}' for i, c in enumerate(chosen)]
        text(root / f"track3_{source}.csv", "name,a1,a2,preference", *rows)
    text(root / "track3_candidate.csv", "name,a1,a2", f"{NAMES[6]},one,two", f"{NAMES[6]},one,three")
    return {"root": str(root)}


def ov_merd(root: Path) -> dict[str, object]:
    """OV-MERD in MER2025's files, and OV-MERD+ in MER-UniBench's."""
    mer2025(root)
    text(root / "ovlabel.csv", "name,openset", *(f"{n},[calm]" for n in NAMES[6:]))
    return {"root": str(root)}


def pictures(folder: Path, names: Sequence[str], size: tuple[int, int] = (8, 8)) -> None:
    """Stills, each of another colour."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.new("RGB", size, (20 * i % 256, 7 * i % 256, len(name))).save(folder / name)


def raf_db(root: Path, part: str = "basic") -> dict[str, object]:
    """RAF-DB: seven training pictures and seven test pictures, attributes beside them."""
    inner = root / part
    names = [f"train_{i:05d}" for i in range(1, 8)] + [f"test_{i:04d}" for i in range(1, 8)]
    text(inner / "EmoLabel" / "list_patition_label.txt", *(f"{n}.jpg {i % 7 + 1}" for i, n in enumerate(names)))
    pictures(inner / "Image" / "aligned", [f"{n}_aligned.jpg" for n in names])
    for i, name in enumerate(names):
        marks = [f"{x}.5\t{x + 1}.25" for x in range(5)]
        text(inner / "Annotation" / "manual" / f"{name}_manu_attri.txt", *marks, str(i % 3), str(i % 3), str(i % 5))
    return {"root": str(root)}


FER_VOTES = {
    "fer0000000.png": (8, 2, 0, 0, 0, 0, 0, 0, 0, 0), "fer0000001.png": (1, 8, 1, 0, 0, 0, 0, 0, 0, 0),
    "fer0000002.png": (4, 0, 0, 3, 3, 0, 0, 0, 0, 0), "fer0000003.png": (2, 2, 0, 0, 0, 0, 0, 0, 6, 0),
    "fer0000004.png": (0, 0, 5, 0, 0, 0, 4, 0, 0, 0),
}  # fmt: skip
"""A clear one, slips, a tie below half, unknown on top, and nine votes."""


def ferplus(root: Path) -> dict[str, object]:
    """FERPlus as its script writes it: five pictures a split, lists without a header."""
    for i, folder in enumerate(("FER2013Train", "FER2013Valid", "FER2013Test")):
        names = {f"fer{int(n[3:10]) + 10 * i:07d}.png": votes for n, votes in FER_VOTES.items()}
        rows = [f'{n},"(0, 0, 48, 48)",{",".join(map(str, votes))}' for n, votes in names.items()]
        text(root / folder / "label.csv", *rows)
        pictures(root / folder, list(names), (48 + i, 48))
    return {"root": str(root)}


def affectnet(root: Path) -> dict[str, object]:
    """AffectNet of 2021: eight training pictures, sixteen to test on; one label is stored as text."""
    for folder, numbers in (("train_set", range(8)), ("val_set", range(8, 24))):
        (root / folder / "annotations").mkdir(parents=True)
        for n in numbers:
            file = str(root / folder / "annotations" / f"{n}_{{}}.npy")
            np.save(file.format("exp"), np.array("3") if n == 3 else np.array(n % 8))
            for name, value in (("val", n / 100), ("aro", -n / 100)):
                np.save(file.format(name), np.array(f"{value}"))
            np.save(file.format("lnd"), np.zeros(136))
        pictures(root / folder / "images", [f"{n}.jpg" for n in numbers], (8, 8 + len(folder)))
    return {"root": str(root)}


def ferv39k(root: Path) -> dict[str, object]:
    """FERV39k: fourteen training clips and seven test clips of one scene, numbers that begin anew in each folder."""
    words = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
    clip = {
        "train": [f"Action/{w}/{n:04d}" for w in words for n in (1, 2)],
        "test": [f"Action/{w}/0003" for w in words],
    }
    for split, names in clip.items():
        lines = [f"{n} {n.split('/')[1]}" for n in names]
        text(root / "4_setups" / "All_scenes" / f"{split}_All.csv", *lines)
        text(root / "4_setups" / "22_scenes" / f"{split}_Action.csv", *lines[:7])
        for i, name in enumerate(names):
            pictures(root / "2_ClipsforFaceCrop" / name, [f"{f:02d}.jpg" for f in range(2)], (8 + i, 9 + len(split)))
    return {"root": str(root)}


MAFW = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "anxiety", "helplessness",
        "disappointment")  # fmt: skip


def mafw(root: Path) -> dict[str, object]:
    """MAFW: two training clips of each class and one to test on, in each fold; lines end as on Windows, captions in GBK."""
    lists = root / "Train & Test Set" / "single"
    every = [f"{n:05d}" for n in range(1, 34)]
    clips(root / "data" / "clips", tuple(every))
    for fold in range(1, 6):
        for part in ("train", "test"):
            chosen = [n for i, n in enumerate(every) if (i // 11 == (fold - 1) % 3) == (part == "test")]
            rows = [(f"{n}.mp4", MAFW[(int(n) - 1) % 11]) for n in chosen]
            told = [f"{n}\t{w}\t他 {n}\tHe {w}." for n, w in rows if w != "neutral"]
            for form, lines in (("no_caption", [" ".join(r) for r in rows]), ("with_caption", told)):
                path = lists / form / f"set_{fold}" / f"{part}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes("\r\n".join(lines).encode("gbk"))
    return {"root": str(root)}


def ferid(root: Path) -> dict[str, object]:
    """FERID: a category and a conversation on each of four pictures and two clips."""
    files = [("image", f"RAF-DB/{n}.jpg", "joy") for n in range(4)] + [
        ("video", f"MAFW/{n}.mp4", "anxiety") for n in range(2)
    ]
    pictures(root / "RAF-DB", [f"{n}.jpg" for n in range(4)])
    clips(root / "MAFW", ("0", "1"))
    records = []
    for i, (kind, file, label) in enumerate(files):
        asked = {"from": "human", "value": f"<{kind}>\nWhich expression?"}
        about = {kind: file, "dataset": file.split("/")[0], "label": label}
        short = [asked, {"from": "gpt", "value": label}]
        more = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": f"Nobody knows {i}."}]
        long = [asked, {"from": "gpt", "value": f"The brows {i}."}, *(more if kind == "video" else [])]
        records.append({"id": f"c{i}", "conversations": short, "kind": "category", **about})
        records.append({"id": f"t{i}", "conversations": long, "kind": "conversation", **about})
    text(root / "ferid.json", json.dumps(records))
    return {"root": str(root)}


TREES = {
    "merr": merr, "mer2023": mer2023, "mer2024": mer2024, "dfew": dfew, "emer": emer, "merbench": merbench,
    "meld": meld, "iemocap": iemocap, "cmu_mosi": cmu_mosi, "cmu_mosei": cmu_mosei, "ch_sims": ch_sims,
    "ch_sims_v2": ch_sims_v2, "mer2025": mer2025, "mer2026": mer2026, "ov_merd": ov_merd, "mer_caption": mer2025,
    "raf_db": raf_db, "ferplus": ferplus, "affectnet": affectnet, "ferv39k": ferv39k, "mafw": mafw, "ferid": ferid,
}  # fmt: skip
"""A tree for each of these data sets, and the settings that read it."""
MORE: dict[str, dict[str, object]] = {
    "merr": {"test": 0.2},
    "mer2024": {"test": "ov", "ov_labels": "check-openset.csv"},
    "emer": {"train": 0.4},
    "merbench": {"classes": ["happy", "sad", "neutral", "angry"]},
    **{name: {"classes": "three"} for name in ("cmu_mosi", "cmu_mosei", "ch_sims", "ch_sims_v2")},
    "ov_merd": {"train": 0.4},
    "mer_caption": {"test": 0.4},
    "ferid": {"kinds": ["category"], "test": 0.4},
}
"""Further settings, for a training and a test split where the data set has none."""
BARE = ("ov_merd", "mer_caption")
"""Data sets without labels, and what a recipe that asks for one has to leave out to read them."""
WITHOUT_LABELS = ["stages=null", "prompt.parts.ask={use: reason_question}"]
