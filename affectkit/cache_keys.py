"""Names under which the cache keeps things: of a step by its settings, inputs and weights, of a sample by its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from affectkit.cache import Contents, Memo, digest
from affectkit.errors import MediaError
from affectkit.heads import weights_digest
from affectkit.plan import Plan
from affectkit.sample import Sample
from affectkit.settings import plain
from affectkit.steps import Steps


class Keys:
    """Names of the views, steps and samples of a plan; files are hashed once and remembered in a memo."""

    def __init__(self, plan: Plan, steps: Steps, memo: Memo) -> None:
        self.plan, self.steps, self.contents = plan, steps, Contents(memo)
        self._known: dict[tuple[str | bool, ...], str] = {}
        """A file is taken to stay as it is while one of these objects lives."""

    def view(self, name: str) -> str:
        """A view with its settings, and the view that it is cut from."""
        view = self.plan.graph.views[name]
        of = getattr(view.settings, "of", None)
        return digest("view", view.use, plain(view.settings), self.view(of) if of else "")

    def views(self, names: Iterable[str]) -> str:
        """That the files of some views could be decoded."""
        return digest("seen", sorted(self.view(name) for name in names))

    def port(self, port: str) -> str:
        """A view as the step at `address:port` prepares it."""
        address, _, name = port.partition(":")
        step = self.plan.graph.steps[address]
        settings = plain(step.settings)
        return digest("prepared", step.piece.kind, step.piece.name, settings, name, self.view(step.inputs[name].view))

    def step(self, address: str) -> str:
        """What a step gives: its settings, all that it eats, its weights."""
        step = self.plan.graph.steps[address]
        version = self.plan.registry.plugin_of(step.piece).version
        inputs = {p: self.view(r.view) if r.view else [self.step(r.step), r.block] for p, r in step.inputs.items()}
        weights = weights_digest(self.steps.module(address))
        return digest("step", step.piece.kind, step.piece.name, version, plain(step.settings), inputs, weights)

    def sample(self, sample: Sample, flip: bool) -> str:
        """All of a sample that views look at: its files by content, boxes, action units and words.

        Raises MediaError for a file that cannot be read.
        """
        place = (sample.id, str(sample.video), str(sample.image), str(sample.audio), flip)
        if place not in self._known:
            self._known[place] = self._sample(sample, flip)
        return self._known[place]

    def keep(self) -> None:
        """Remember the files that were hashed since the last call."""
        self.contents.keep()

    def _sample(self, sample: Sample, flip: bool) -> str:
        parts: list[Any] = [sample.subtitle, flip]
        for path in (sample.video, sample.image, sample.audio, *dict(sample.features).values()):
            parts.append(self._file(Path(path)) if path else None)
        for name in ("face_box", "action_units", "peak_frame"):
            fact = sample.fact(name)
            value = None if fact.value is None else np.ascontiguousarray(fact.value, dtype=np.float64).tobytes()
            parts.append(hashlib.blake2b(value, digest_size=8).hexdigest() if value else None)
        return digest(*parts)

    def _file(self, path: Path) -> str:
        try:
            return self.contents.of(path)
        except OSError as error:
            raise MediaError(f"{path}: {error.strerror or error}") from error
