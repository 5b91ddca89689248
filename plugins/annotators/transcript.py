"""What is said, written down by Whisper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins._content import model_words
from affectkit_plugins._values import at_least
from affectkit_plugins.encoders._architectures import foreign
from affectkit_plugins.encoders._sizes import read_json
from affectkit_plugins.encoders._sound import at_rate

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Port, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from affectkit_plugins.annotators.transcript_net import Heard

RATE = 16_000
SILENCE = 1e-5
"""Largest value of a sound in which there is nothing."""
TELLS = ("text", "language", "times", "no_speech", "language_probability", "log_probability")


@dataclass(frozen=True)
class Settings:
    """A transcript by Whisper (Radford et al. 2022, `WhisperForConditionalGeneration`), greedy and with timestamps.

    Sound is heard in windows of 30 seconds. Where a window ends within a segment, the next begins at the last timestamp, as in
    the paper (3.8, without the text before as a prompt and without its retries at higher temperatures); less than a second that
    is left over is not heard. `times` are the segments: [start, end, text] in seconds. `no_speech` is the probability of the
    no-speech token at the first step, the least of all windows; `log_probability` the mean over tokens. A clip is rejected as
    `the words go round in circles` where a window's text packs too well, which is what Whisper's loops do.
    """

    source: str
    """Hub id (`openai/whisper-base`) or folder written by `save_pretrained`. Random weights write nothing that was said: a source
    must be named."""
    language: str | None = None
    """Code of the language that is spoken (`pl`); null has Whisper find it in the first 30 seconds."""
    task: Literal["transcribe", "translate"] = "transcribe"
    """transcribe: in the language that is spoken; translate: into English."""
    most_no_speech: float = 0.6
    """Above this probability of no speech a window is taken to be silent, if `log_probability` is below `least_log_probability`
    too, as in the paper."""
    least_log_probability: float = -1.0
    """See `most_no_speech`; 0 lets `most_no_speech` alone decide."""
    silent: Literal["reject", "empty"] = "reject"
    """What becomes of a clip without speech: it is rejected, or found with an empty text."""
    most_compression: float = 2.4
    """Length of a window's text over its length packed (zlib), above which it goes round in circles; Whisper's own 2.4."""
    batch: int = 8
    """Windows that are written at a time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs; auto = the first GPU, else the CPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the weights; auto = float16 on a GPU, float32 on the CPU."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing, and networks that are no Whisper or do not know the language."""
        found = at_least(self, 1, "batch", "most_compression") + at_least(self, 0, "most_no_speech")
        found += [] if self.source else [("source", "names no weights; random ones write nothing that was said")]
        found += foreign(self.source, "Whisper", ("whisper",))
        known = (read_json(self.source, "generation_config.json") or {}).get("lang_to_id") if self.source else None
        if known and self.language is not None and f"<|{self.language}|>" not in known:
            some = ", ".join(sorted(name.strip("<|>") for name in known)[:6])
            found.append(("language", f"{self.language!r} is no language of {self.source} ({some} …)"))
        return found

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        import numpy as np

        from affectkit.raw import RawWave

        rng = np.random.default_rng(0)
        for seconds in (1.0, 0.4):
            yield {"wave": RawWave(0.1 * rng.normal(size=int(seconds * RATE)).astype(np.float32), RATE)}, ""


def build(settings: Settings) -> Transcript:
    """The annotator; weights are read when they are first needed. Raises InputError then where they cannot be."""
    return Transcript(settings)


class Transcript:
    """See `Settings`."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.batch = settings, settings.batch
        self._loaded: Any = None

    @property
    def model(self) -> str:
        """Whisper with the fingerprint of its files. Those that only the hub has are fetched for it."""
        words = model_words(self.settings.source, "whisper")
        if words == "whisper":
            self._whisper()
            words = model_words(self.settings.source, "whisper")
        return words

    def _whisper(self) -> Any:
        if self._loaded is None:
            from affectkit_plugins.annotators.transcript_net import load

            self._loaded = load(self.settings)
        return self._loaded

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`text`, `language`, `times`, `no_speech`, `language_probability` (null where the network knows one language only) and
        `log_probability` of each row, or why it is rejected."""
        sounds = [_sound(row) for row in rows]
        loud = [i for i, sound in enumerate(sounds) if sound.size and abs(sound).max() > SILENCE]
        heard: dict[int, Heard] = {}
        if loud:
            heard = dict(zip(loud, self._whisper().hear([sounds[i] for i in loud]), strict=True))
        return [self._found(heard.get(i)) for i in range(len(rows))]

    def _found(self, heard: Heard | None) -> Findings | Reject:
        if heard is None or not heard.text:
            sure = 1.0 if heard is None else round(heard.no_speech, 4)
            if self.settings.silent == "reject":
                return Reject("no speech", "silence" if heard is None else f"no-speech probability {sure:.2f}")
            found: Findings = {"text": "", "language": None, "times": [], "no_speech": sure}
            return found
        if heard.compression > self.settings.most_compression:
            return Reject("the words go round in circles", heard.text[:80])
        likely = heard.language_probability
        return {
            "text": heard.text,
            "language": heard.language,
            "times": [[round(start, 2), round(end, 2), text] for start, end, text in heard.times],
            "no_speech": round(heard.no_speech, 4),
            "language_probability": None if likely is None else round(likely, 4),
            "log_probability": round(heard.log_probability, 4),
        }


def _sound(row: ClipRow) -> np.ndarray:
    """The sound of a row, float32 [a] at 16 kHz. Raises InputError for sound that is cut into clips."""
    wave = row["wave"]
    if wave.samples.ndim > 1:
        what = "the view cuts the sound into clips, whose words nobody could put together"
        raise InputError(Problem("wave", what, "give a view of the whole sound: {use: wave}"))
    return at_rate(wave, RATE)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("wave", "wave", "a view of the whole sound"),)
    tiny = {"source": "whisper"}
    return [
        Piece("annotator", "transcript", Settings, build, ports=ports, tells=TELLS, needs=("transformers",), tiny=tiny)
    ]
