"""An annotation's run folder, written by hand, with records of every form; and a server of its review in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
from media_files import sine, write_clip, write_sound
from PIL import Image

LABELS = ("angry", "happy", "neutral", "sad", "surprised")
TEXTS = (
    "The person smiles broadly, the voice rises, and the words are warm: a happy moment, with a trace of surprise.",
    "The eyes are cast down and the voice is slow and low. The words say that something is over; the person is sad.",
    "Brows drawn together, a loud and pressed voice. What is said blames somebody: anger.",
)


def found(value, piece, **source):
    """A finding with its source."""
    whole = {"piece": piece, "settings": {}, "model": "", "prompt": "", "calls": 0, "cost": 0.0, "seconds": 0.1}
    return {"value": value, "source": {**whole, **source}}


def record(number, media, **more):
    """A record with a label, a text and findings of several forms; its id says what the data set says."""
    label = LABELS[number % len(LABELS)]
    text = TEXTS[number % len(TEXTS)]
    findings = {
        "said": {"text": found("I never thought that you would come.", "spoken"), "count": found(7, "spoken")},
        "voice": {"pitch": found(280.6854, "sound"), "energy": found(-20.3654, "sound"), "pauses": found(0.0, "sound")},
        "heard": {
            "text": found("The voice is high, it moves up and down, loud.", "sound_words"),
            "away": found({"pitch": 1.57, "energy": 1.67, "rate": -0.47}, "sound_words"),
        },
        "merged": {"text": found(text, "merger", model="some-model-7b", calls=1)},
        "label": {"label": found(label, "namer", model="some-model-7b", settings={"labels": list(LABELS)})},
    }
    items = [
        {"name": "emotion", "task": "label", "answer": label, "from": "label.label"},
        {"name": "why", "task": "reason", "question": "How does she feel, and why?", "answer": text, "from": "merged.text"},
    ]  # fmt: skip
    one = {
        "id": f"SECRET_{number}",
        "split": "train",
        "media": media,
        "subtitle": "I never thought that you would come.",
    }
    return {**one, "person": "p1", "findings": findings, "items": items, **more}


def write_records(folder, rows):
    """records.jsonl of a run folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def write_run(folder, count=4):
    """A run of `count` records with a clip each; the second is in a format that browsers do not play, the third is sound."""
    media = folder / "media"
    media.mkdir(parents=True)
    ramp = np.linspace(40, 220, 160, dtype=np.uint8)
    frames = [np.stack([np.roll(np.tile(ramp, (120, 1)), 12 * i + c, 1) for c in (0, 40, 80)], -1) for i in range(20)]
    write_clip(media / "clip_happy.mp4", frames, tone=(300, 0.8), options={"crf": "30"})
    write_clip(media / "old.avi", frames, codec="mpeg4", options={})
    write_sound(media / "voice.wav", sine(16000, 220, 0.5)[None], 16000)
    Image.fromarray(frames[0]).save(media / "face.jpg")
    kinds = [
        {"video": str(media / "clip_happy.mp4"), "start": 0.1, "end": 0.7},
        {"video": str(media / "old.avi")},
        {"audio": str(media / "voice.wav")},
        {"image": str(media / "face.jpg")},
    ]
    rows = [record(i, kinds[i % 4]) for i in range(count)]
    if count > 3:
        turns = [["How does she look?", "Glad."], ["Why?", "She was not expected."]]
        rows[3]["items"].append({"name": "talk", "task": "talk", "turns": turns, "from": "merged.turns"})
    return write_records(folder / "runs" / "tried", rows)


def verdicts(folder):
    """What is on disk."""
    path = folder / "reviews.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


class Server:
    """`affectkit review` in a process; `start` again after `kill`."""

    def __init__(self, folder, *options):
        self.words = [sys.executable, "-m", "affectkit", "review", str(folder), "--no-browser", *map(str, options)]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            self.words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "COLUMNS": "140"},
        )
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if match := re.match(r"open (http://127\.0\.0\.1:(\d+)/)\?token=(\S+)", line):
                self.url, self.port, self.token = match[1], int(match[2]), match[3]
                self.address = f"{self.url}?token={self.token}"
                return self
        raise AssertionError("no address:\n" + "".join(lines))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        """Ctrl+C; exit code and what was printed after the address."""
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=30)
        return self.process.returncode, said


@contextmanager
def reviewing(folder, *options):
    """A running server, which is gone at the end."""
    server = Server(folder, *options).start()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
