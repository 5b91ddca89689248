"""What the benchmarks on real media are made of: tables of joined samples, reasons, paired figures."""

import csv
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from affectkit.evaluation.prediction import Prediction

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import real, reasons, triples  # the folder beside this one, which no wheel has


@pytest.fixture
def packs(tmp_path):
    """Tables as the packs have them, two rows of each label and split."""
    for table, column, ending in (
        ("faces.csv", "path", "jpg"),
        ("speech_pl.csv", "path", "ogg"),
        ("text.csv", "text", ""),
    ):
        with (tmp_path / table).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([column, "label", "split", "speaker"])
            for split in triples.COUNTS:
                for label in (*triples.LABELS, "fear"):
                    writer.writerows([[f"{split}-{label}-{i}.{ending}", label, split, f"{split}{i}"] for i in range(2)])
    return tmp_path


def rows_of(path):
    return list(csv.DictReader(path.open()))


def test_triples_have_label_and_split_in_common(packs):
    rows = rows_of(triples.write(packs / "out", packs, 0)["triples"])
    counts = {split: len(triples.LABELS) * count for split, count in triples.COUNTS.items()}
    assert Counter(row["split"] for row in rows) == counts
    for row in rows:
        for column in ("image", "audio", "subtitle"):
            assert Path(row[column]).name.startswith(f"{row['split']}-{row['label']}-")
    assert all(Path(row["image"]).is_absolute() for row in rows)
    again = rows_of(triples.write(packs / "again", packs, 0)["triples"])
    assert again == rows
    assert rows_of(triples.write(packs / "other", packs, 1)["triples"]) != rows


def test_a_shuffled_sense_is_dealt_out_within_its_split(packs):
    path = triples.write(packs / "out", packs, 0)["triples"]
    whole, dealt = rows_of(path), rows_of(real.dealt_out(path, "audio", packs / "dealt" / "audio.csv"))
    assert [row["image"] for row in dealt] == [row["image"] for row in whole]
    for split in triples.COUNTS:
        before, after = ([row["audio"] for row in rows if row["split"] == split] for rows in (whole, dealt))
        assert Counter(before) == Counter(after)
        assert before != after


def test_senses_in_conflict_have_three_labels(packs):
    for row in rows_of(triples.write(packs / "out", packs, 0)["triples_conflict"]):
        shown = {row[f"{sense}_label"] for sense in triples.SENSES}
        assert len(shown) == 3
        assert row["face_label"] == row["label"]


def test_a_column_is_dealt_out_and_paths_become_absolute(packs):
    path = real.dealt_out(packs / "faces.csv", "path", packs / "out" / "faces.csv")
    before, after = rows_of(packs / "faces.csv"), rows_of(path)
    assert Counter(str(packs / row["path"]) for row in before) == Counter(row["path"] for row in after)
    assert [row["label"] for row in before] == [row["label"] for row in after]


@pytest.mark.parametrize(("pitch", "loud"), [(110, 0.5), (220, 0.05)])
def test_cues_of_a_tone(pitch, loud):
    time = np.arange(16_000) / 16_000
    tone = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in (1, 2, 3)) * loud / 2
    cues = reasons.voice_cues(np.concatenate([tone, np.zeros(8000)]).astype(np.float32))
    assert cues["pitch"] == pytest.approx(12 * np.log2(pitch / 100), abs=0.3)
    assert cues["movement"] < 0.5
    assert cues["pauses"] == pytest.approx(1 / 3, abs=0.05)
    assert cues["loudness"] == pytest.approx(20 * np.log10(np.sqrt((tone**2).mean())), abs=0.5)


def test_cues_of_a_face_follow_what_moves():
    points = np.zeros((68, 2))
    points[17:27, 1], points[36:48, 1], points[48:68, 1], points[8] = 0.3, 0.4, 0.7, (0.5, 1.0)
    points[27] = (0.5, 0.4)
    points[36:42, 0], points[42:48, 0] = np.linspace(0.3, 0.4, 6), np.linspace(0.6, 0.7, 6)
    still, moved = points.copy(), points.copy()
    moved[66, 1] += 0.1  # the lower lip
    moved[[48, 54], 1] -= 0.05  # corners up
    moved[17:27, 1] -= 0.05  # brows up
    moved[[40, 41, 46, 47], 1] += 0.03  # lower lids
    before, after = reasons.face_cues(still), reasons.face_cues(moved)
    assert all(after[cue] > before[cue] + 0.01 for cue in reasons.FACE)


def answers(labels, right):
    made = []
    for i, good in enumerate(right):
        truth = labels[i % len(labels)]
        other = labels[(i + 1) % len(labels)]
        made.append(Prediction(f"s{i}", "label", "scored", truth, truth if good else other))
    return made


def test_differences_are_paired_over_samples_and_seeds():
    labels = ("anger", "neutral")
    rng = np.random.default_rng(0)
    sides = {
        "llm": [answers(labels, rng.random(200) < 0.9) for _ in range(2)],
        "yardstick": [answers(labels, rng.random(200) < 0.6) for _ in range(2)],
    }
    found = real.compared(sides, labels)
    apart = found["yardstick"]["llm_above"]
    assert apart["difference"] == pytest.approx(found["llm"]["mean"] - found["yardstick"]["mean"])
    assert 0.1 < apart["interval"][0] < apart["difference"] < apart["interval"][1] < 0.5
    same = real.compared({"llm": sides["llm"], "other": sides["llm"]}, labels)["other"]["llm_above"]
    assert same["difference"] == 0
    assert same["interval"][0] < 0 < same["interval"][1]  # seeds are drawn for each side


def test_reasons_that_name_other_cues_are_counted():
    before = {"a": "The voice is loud. So it is anger.", "b": "The lips are closed."}
    after = {"a": "It is spoken with force. That is anger.", "b": "The mouth is open."}
    assert real.changed(before, after) == 0.5


def test_a_run_of_other_overrides_is_not_taken_for_this_one(packs, tmp_path, monkeypatch):
    import affectkit

    made, given = [], SimpleNamespace(out=tmp_path / "out", weights=tmp_path, packs=packs, set=[])
    (given.out / "text" / "seed0").mkdir(parents=True)
    monkeypatch.setattr(affectkit, "fit", lambda *_: made.append(1) or SimpleNamespace(folder=tmp_path))
    for _ in range(2):
        assert real.trained("text", real.ROWS["text"], 0, given)[0] == tmp_path
    assert made == [1]
    given.set = ["stages.tune.epochs=1"]
    with pytest.raises(SystemExit, match="seed0 was trained with another recipe, table or overrides"):
        real.trained("text", real.ROWS["text"], 0, given)


def test_a_run_that_was_stopped_goes_on(packs, tmp_path, monkeypatch):
    import affectkit

    given = SimpleNamespace(out=tmp_path / "out", weights=tmp_path, packs=packs, set=[])
    folder, told = given.out / "text" / "seed0", []

    def fit(recipe, overrides=(), resume=None):
        told.append(resume)
        (folder / "last").mkdir(exist_ok=True)
        if resume is None:
            raise KeyboardInterrupt
        return SimpleNamespace(folder=tmp_path)

    monkeypatch.setattr(affectkit, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        real.trained("text", real.ROWS["text"], 0, given)
    assert real.trained("text", real.ROWS["text"], 0, given)[1]["minutes"] is None
    assert told == [None, folder / "last"]


def test_reasons_speak_of_the_senses_that_are_asked(monkeypatch):
    rows = [{"id": str(i), "split": "train", "subtitle": "one two three four", "label": "anger"} for i in range(4)]
    cues = dict.fromkeys((*reasons.FACE, *reasons.VOICE), 0.0)
    monkeypatch.setattr(reasons, "measured", lambda rows, source: [cues | {"mouth": i, "pitch": i} for i in range(4)])
    seen = [row["reason"] for row in reasons.add(rows, "", ("face", "words"))]
    assert all("anger" in text and "two" in text for text in seen)
    assert not any("voice" in text or "pitch" in text for text in seen)
    heard = [row["reason"] for row in reasons.add(rows, "", ("face", "voice"))]
    assert all("voice" in text or "pitch" in text for text in heard)
    assert not any('"' in text for text in heard)
