"""The words that name what a puppet feels, as somebody would who may use any, and ratings of it: both follow from what its
sidecar tells.

Nothing is drawn by chance, so clips that were made before there were such words or ratings have them too.
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
POLES: dict[str, tuple[float, float]] = {
    "happy": (0.8, 0.5),
    "sad": (-0.7, -0.5),
    "neutral": (0.0, 0.0),
    "angry": (-0.7, 0.7),
    "surprise": (0.2, 0.8),
    "disgust": (-0.7, 0.2),
    "fear": (-0.7, 0.6),
}
"""Emotion to its valence and arousal at full strength: ours, in the quadrants of Russell's circumplex (1980)."""
OF_WORDS = 0.5
"""The strength of an emotion in words: what is said is said, and neither loud nor soft."""
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
        words.append(DEGREES[emotion][_strength(told, seen) >= MUCH[seen]])
    if emotion in DEGREES and evidence in ("words", "all"):
        words.append(_OF_CUE.get(told["cue"], ""))
    return f"[{', '.join(dict.fromkeys(w for w in words if w))}]"


def ratings(told: Mapping[str, Any]) -> dict[str, float]:
    """Valence, arousal and intensity of a sidecar, to three decimals.

    The intensity is how strong the emotion is in what carries it, on average (0 for a neutral clip); valence and arousal
    are those of the emotion, times the intensity.
    """
    emotion, evidence = told["label"], told["evidence"]
    carriers = ("face", "voice", "words") if evidence == "all" else (evidence,)
    strong = [min(1.0, max(0.0, _strength(told, one))) for one in carriers] if emotion in DEGREES else [0.0]
    intensity = sum(strong) / len(strong)
    valence, arousal = POLES[emotion]
    found = {"valence": valence * intensity, "arousal": arousal * intensity, "intensity": intensity}
    return {name: round(value, 3) for name, value in found.items()}


def _strength(told: Mapping[str, Any], carrier: str) -> float:
    """How strong the emotion of a sidecar is in its face, voice or words; about 1 is as strong as it gets."""
    if carrier == "words":
        return OF_WORDS
    emotion = told["label"]
    return _voice(emotion, told["manner"]) if carrier == "voice" else _face(emotion, told["action_units"])


def _face(emotion: str, recorded: Any) -> float:
    """How strong an emotion is in a face [frames, units]: its units at their peak, against their full strength."""
    peaks = np.asarray(recorded, dtype=np.float64).max(0)
    levels = {u: level for u, level in PROTOTYPES[emotion][0].items() if u not in _MOUTH}
    return float(np.mean([peaks[UNITS.index(u)] / level for u, level in levels.items()]))


def _voice(emotion: str, manner: Any) -> float:
    """How far a voice is on the way from neutral (0) to the emotion's own manner (1)."""
    full = np.array(measured(MANNERS[emotion]))
    return float(np.dot(manner, full) / np.dot(full, full))
