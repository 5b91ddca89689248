"""The words that name what a puppet feels, as somebody would who may use any: they follow from what its sidecar tells.

Nothing is drawn, so clips that were made before there were such words have them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .emotion import MANNERS, PROTOTYPES, UNITS, measured

NAMES = {"surprise": "surprised", "disgust": "disgusted", "fear": "afraid"}
"""Emotion to the word for who feels it, where that is another."""
DEGREES: dict[str, tuple[str, str]] = {
    "happy": ("pleased", "joyful"),
    "sad": ("gloomy", "sorrowful"),
    "angry": ("annoyed", "furious"),
    "surprise": ("amazed", "stunned"),
    "disgust": ("", "revolted"),
    "fear": ("nervous", "terrified"),
}
"""Emotion to the word for little and for much of it; empty where there is none."""
CUES: dict[str, tuple[str, ...]] = {
    "delighted": ("wonderful", "delighted", "best"),
    "joyful": ("joy",),
    "cheerful": ("smile", "celebrate"),
    "sorrowful": ("miss", "sorrow"),
    "heartbroken": ("heart", "lost"),
    "unhappy": ("cry", "tears"),
    "lonely": ("lonely",),
    "furious": ("furious", "outrage"),
    "mad": ("mad", "ruined"),
    "resentful": ("hate", "dare"),
    "irritated": ("enough", "shut"),
    "astonished": ("astonishing", "expected"),
    "amazed": ("amazed", "wow"),
    "stunned": ("unbelievable", "nowhere"),
    "revolted": ("sick", "revolting", "slime"),
    "repulsed": ("rotten", "yuck", "gross"),
    "scared": ("scared", "dangerous"),
    "terrified": ("terrified", "nightmare"),
    "nervous": ("trembling", "threat"),
    "frightened": ("hide",),
}
"""Word to the words of a subtitle that make it fit; a cue that is not here says no more than the emotion."""
MUCH = {"face": 0.8, "voice": 0.875}
"""From this strength on there is much of an emotion: the middle of what is drawn."""
_MOUTH = (25, 26)
"""Units that speech moves too."""
_OF_CUE = {cue: word for word, cues in CUES.items() for cue in cues}


def open_labels(told: Mapping[str, Any]) -> str:
    """One to three words, `[happy, joyful, cheerful]`: the emotion, its degree where face or voice shows it, the cue's.

    `told` is a sidecar.
    """
    emotion, evidence = told["label"], told["evidence"]
    words = [NAMES.get(emotion, emotion)]
    if emotion in DEGREES and evidence != "words":
        seen = "voice" if evidence == "voice" else "face"
        strength = _voice(emotion, told["manner"]) if seen == "voice" else _face(emotion, told["action_units"])
        words.append(DEGREES[emotion][strength >= MUCH[seen]])
    if emotion in DEGREES and evidence in ("words", "all"):
        words.append(_OF_CUE.get(told["cue"], ""))
    return f"[{', '.join(dict.fromkeys(w for w in words if w))}]"


def _face(emotion: str, recorded: Any) -> float:
    """How strong an emotion is in a face [frames, units]: its units at their peak, against their full strength."""
    peaks = np.asarray(recorded, dtype=np.float64).max(0)
    levels = {u: level for u, level in PROTOTYPES[emotion][0].items() if u not in _MOUTH}
    return float(np.mean([peaks[UNITS.index(u)] / level for u, level in levels.items()]))


def _voice(emotion: str, manner: Any) -> float:
    """How far a voice is on the way from neutral (0) to the emotion's own manner (1)."""
    full = np.array(measured(MANNERS[emotion]))
    return float(np.dot(manner, full) / np.dot(full, full))
