"""The expression of a face, by a small pretrained network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins._content import model_words
from affectkit_plugins._values import shares
from affectkit_plugins.encoders import face_api, mini_xception
from affectkit_plugins.encoders._face_api_files import source_faults

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.pieces import Piece, Port, hookimpl

if TYPE_CHECKING:
    import numpy as np

WORDS = {"face_api": face_api.EXPRESSIONS, "mini_xception": mini_xception.LABELS}
"""By network, its labels in their order."""
NETWORK = "face_expression_model"


@dataclass(frozen=True)
class Settings:
    """The expression that a network sees in face crops: face-api's (npm `@vladmandic/face-api`) or mini-Xception of FER2013.

    `probabilities` are means over the frames with a face, `label` the likeliest, `frame` the index in the media file of the frame
    in which it is most probable. Both networks know faces that pose: of the labels of faces that speak less is right, and a
    probability is no chance of being right (docs/annotation.md has figures). They want tight crops (a view of faces with
    `margin: 0`).
    """

    source: str
    """Folder of face-api's networks, or mini-Xception's file (`.hdf5`). Random weights see nothing: a source must be named."""
    network: Literal["face_api", "mini_xception"] = "face_api"
    """Which network the source holds."""
    least: float = 0.0
    """Least probability of the label, below which a clip is rejected as `unsure`."""
    rename: dict[str, str] = field(default_factory=dict)
    """The network's label to the one to use instead (`{happy: happiness}`); two that become one are added."""
    leave_out: tuple[str, ...] = ()
    """The network's labels that the label set has not: the others share their probability."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing, and sources of another kind."""
        own = WORDS[self.network]
        found = shares(self, "least")
        for setting in ("rename", "leave_out"):
            strange = [name for name in getattr(self, setting) if name not in own]
            found += [(setting, f"{n!r} is no label of {self.network} ({', '.join(own)})") for n in strange]
        if not set(own) - set(self.leave_out):
            found.append(("leave_out", "leaves no label"))
        if not self.source:
            return [*found, ("source", "names no weights; random ones see nothing")]
        if self.network == "face_api":
            return found + source_faults(self.source, (NETWORK,))
        return found + mini_xception.Settings(self.source).problems()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that are found, in the network's order."""
        return tuple(dict.fromkeys(self.rename.get(n, n) for n in WORDS[self.network] if n not in self.leave_out))

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        import numpy as np

        from affectkit.raw import RawPixels

        rng = np.random.default_rng(0)
        for valid in ([True, True, False], [True, False, False]):
            frames = tuple(rng.integers(0, 256, (48, 40, 3), np.uint8) for _ in valid)
            yield {"faces": RawPixels(frames, np.array([3, 9, 15]), np.array([0.1, 0.3, 0.5]), np.array(valid))}, ""


def build(settings: Settings) -> Expression:
    """The annotator; weights are read when they are first needed. Raises InputError then where they are missing or others."""
    return Expression(settings)


class Expression:
    """See `Settings`."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.batch = settings, 8
        self._see: Any = None

    @property
    def model(self) -> str:
        """The network with the fingerprint of its files."""
        return model_words(self.settings.source, f"{self.settings.network} expression")

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`label`, `probabilities` and `frame` of each row, or why it is rejected."""
        if self._see is None:
            from affectkit_plugins.annotators.expression_net import seer

            self._see = seer(self.settings)
        return [self._found(row["faces"]) for row in rows]

    def _found(self, faces: Any) -> Findings | Reject:
        """Frames of one clip go through the network together and those of others do not: a clip gets the same in any company."""
        if not faces.valid.any():
            return Reject("no face is seen")
        places, frames = faces.indices[faces.valid], self._shares(self._see(faces))
        mean = frames.mean(0)
        best = int(mean.argmax())
        label, sure = self.settings.labels[best], float(mean[best])
        if sure < self.settings.least:
            return Reject("unsure", f"{label} {sure:.2f}")
        clear = int(places[int(frames[:, best].argmax())])
        chances = {name: round(float(p), 4) for name, p in zip(self.settings.labels, mean, strict=True)}
        return {"label": label, "probabilities": chances, "frame": clear}

    def _shares(self, frames: np.ndarray) -> np.ndarray:
        """Probabilities [t k] of the network's labels as those of ours."""
        import numpy as np

        ours = self.settings.labels
        out = np.zeros((len(frames), len(ours)))
        for i, name in enumerate(WORDS[self.settings.network]):
            if name not in self.settings.leave_out:
                out[:, ours.index(self.settings.rename.get(name, name))] += frames[:, i]
        return out / np.maximum(out.sum(1, keepdims=True), 1e-12)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("faces", "pixels", "a view of face crops"),)
    tells = ("label", "probabilities", "frame")
    tiny = {"source": "face-api"}
    return [Piece("annotator", "expression", Settings, build, ports=ports, tells=tells, needs=("torch",), tiny=tiny)]
