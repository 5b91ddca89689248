"""What puppets say, and the sentence that names a clip's clues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .emotion import NEUTRAL_FACE, UNIT_WORDS, VOICE_WORDS

PHRASES: dict[str, tuple[tuple[str, str], ...]] = {
    "happy": (
        ("I am so happy about it", "happy"),
        ("what a wonderful day", "wonderful"),
        ("this is the best news ever", "best"),
        ("I could sing with joy", "joy"),
        ("I am delighted", "delighted"),
        ("it makes me smile every time", "smile"),
        ("we are going to celebrate tonight", "celebrate"),
        ("I loved every minute of it", "loved"),
    ),
    "sad": (
        ("I miss her so much", "miss"),
        ("I could only cry", "cry"),
        ("I feel so lonely now", "lonely"),
        ("it broke my heart", "heart"),
        ("we have lost him", "lost"),
        ("there were tears in my eyes", "tears"),
        ("I am too sad to talk", "sad"),
        ("it is a deep sorrow", "sorrow"),
    ),
    "neutral": (
        ("that is how it was planned", "planned"),
        ("nothing has changed since then", "changed"),
        ("it says so on the list", "list"),
        ("that is the usual way", "usual"),
        ("somebody told me so", "told"),
        ("I will write it down", "write"),
        ("it takes about an hour", "hour"),
        ("that is all I know", "know"),
    ),
    "angry": (
        ("how dare you", "dare"),
        ("I am furious about it", "furious"),
        ("this is an outrage", "outrage"),
        ("I have had enough of this", "enough"),
        ("you ruined everything", "ruined"),
        ("it makes me so mad", "mad"),
        ("I hate how they treat us", "hate"),
        ("shut up and stop it", "shut"),
    ),
    "surprise": (
        ("I never expected that", "expected"),
        ("wow, just look at it", "wow"),
        ("that is unbelievable", "unbelievable"),
        ("it came out of nowhere", "nowhere"),
        ("I am completely amazed", "amazed"),
        ("who would have guessed", "guessed"),
        ("what an astonishing turn", "astonishing"),
        ("goodness, is that true", "goodness"),
    ),
    "disgust": (
        ("that is disgusting", "disgusting"),
        ("it smells rotten", "rotten"),
        ("yuck, take it away", "yuck"),
        ("it makes me feel sick", "sick"),
        ("how gross that looks", "gross"),
        ("everything was filthy", "filthy"),
        ("it is simply revolting", "revolting"),
        ("there was slime all over it", "slime"),
    ),
    "fear": (
        ("I am so scared", "scared"),
        ("I am afraid to go in", "afraid"),
        ("please help me, it is dangerous", "dangerous"),
        ("I was terrified", "terrified"),
        ("my hands are trembling", "trembling"),
        ("we have to run and hide", "hide"),
        ("it was like a nightmare", "nightmare"),
        ("there is a threat at the door", "threat"),
    ),
}
"""Emotion -> phrases that say it, each with the word that does. All splits use them all."""

_CARRIERS = """
the train to the coast leaves at nine|my neighbour painted the fence|the shop on the corner sells bread
we met at the station on Monday|the parcel is in the hall|the lights in the kitchen are on
our teacher moved to another room|the bus stops near the library|he put the keys on the table
the meeting starts after lunch|she brought the papers along|the window faces the garden
they opened a second office|the dog was sleeping under the chair|the report has twelve pages
my brother works at the harbour|the road goes past the mill|the bottle stood beside the sink
our team plays on Saturday|the phone rang at seven|the boxes came from the cellar
the new manager is called Peters|the film lasts two hours|the tickets are in my bag
the wall behind the house is wet|the doctor called this morning|the soup is on the stove
we took the stairs to the third floor|the letter came from the bank|the car is parked outside
the lake is close to the village|my cousin bought a camera|the clock in the tower struck five
the guests arrived by boat|the carpet covers the whole floor|the garden gate was open
she turned the radio on|the market is held on Fridays|the picture hangs above the sofa
the engineer checked the bridge|the children built a hut|the coat belongs to my uncle
the answer is on the last page|the plane landed at noon|he left the suitcase in the lobby
the photograph shows our street|the cook prepared the fish|the machine in the corner was running
the river bends behind the church|they sent the results by post|a man with a hat came in
the curtain in the bedroom is blue|the class visited the museum|the jacket was on the bench
her sister rented a flat|the computer needs a new screen|the path leads into the forest
the waiter brought the menu|the baker starts at four|the ladder leans against the shed
the folder is under the newspaper|the singer came from Vienna|the plants stand by the door
the door to the attic was closed|the farm lies beyond the hill|the package weighs two kilos
the driver waited at the gate|the school got a new roof|the map is in the drawer
the elevator went to the top floor|the crew repaired the sail|the book lay on the counter
"""
CARRIERS = tuple(part.strip() for line in _CARRIERS.strip().splitlines() for part in line.split("|"))
"""Sentences without feeling; every split has its own."""

_PATTERNS = (
    "{carrier}, {phrase}.",
    "{phrase}, {carrier}.",
    "{carrier} and {phrase}.",
    "{phrase} because {carrier}.",
)


@dataclass(frozen=True)
class SpokenLine:
    """A subtitle and the word in it that carries the emotion."""

    text: str
    cue: str


def carriers_of(split: str) -> tuple[str, ...]:
    """The carrier sentences of a split: 50 for train, 10 for val, 15 for test and conflict."""
    places = {"train": range(10), "val": range(10, 12), "test": range(12, 15), "conflict": range(12, 15)}
    return tuple(c for n, c in enumerate(CARRIERS) if n % 15 in places[split])


def line_of(emotion: str, split: str, rng: np.random.Generator) -> SpokenLine:
    """A subtitle whose phrase says that emotion, around a carrier sentence of that split."""
    carriers = carriers_of(split)
    phrase, cue = PHRASES[emotion][int(rng.integers(len(PHRASES[emotion])))]
    pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))]
    text = pattern.format(carrier=carriers[int(rng.integers(len(carriers)))], phrase=phrase)
    return SpokenLine(text[0].upper() + text[1:], cue)


def reason_of(label: str, evidence: str, units: tuple[int, ...], cue: str) -> str:
    """One sentence that names the clues and the emotion.

    Its clues come only from the modality that carries the evidence (all three for `all`): `units` are the action units
    that the emotion raised, strongest first; `cue` is the word of the subtitle.
    """
    face = [UNIT_WORDS[unit] for unit in sorted(units[: 2 if evidence == "all" else 3])] or [NEUTRAL_FACE]
    voice = [VOICE_WORDS[label]]
    words = [f'the word "{cue}" sounds plain' if label == "neutral" else f'the word "{cue}" is said']
    clues = {"face": face, "voice": voice, "words": words, "all": face + voice + words}[evidence]
    listed = clues[0] if len(clues) == 1 else f"{', '.join(clues[:-1])} and {clues[-1]}"
    return f"{listed[0].upper()}{listed[1:]}, which points to {label}."
