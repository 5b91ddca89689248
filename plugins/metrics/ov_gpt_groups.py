"""MER2024-OV: set overlap where a language model says which words mean the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from affectkit_plugins.metrics._groups import GroupMetric
from affectkit_plugins.metrics._wheels import ReadSettings

from affectkit.evaluation.clients import CachedClient
from affectkit.pieces import Piece, hookimpl


@dataclass(frozen=True)
class Settings(ReadSettings):
    """Mean of set precision and recall after an LLM grouped synonyms (MER2024-OV; Lian et al. 2024), clip by clip.

    Groups that are stored are replayed without a model: a published score can be had again. The published model
    (gpt-3.5-turbo) is withdrawn; groups by another one, with our question, are comparable among themselves only.
    """

    groups: str | None = None
    """Folder or zip of stored groups (NAME.npy as published, or groups.jsonl); groups that a client makes are added there."""
    client: dict[str, Any] | None = None
    """The model that groups where nothing is stored, and reads free text where `read` is client."""

    def wants_client(self) -> bool:
        """Not where stored groups are replayed."""
        return self.groups is None or self.client is not None or self.read == "client"


def build(settings: Settings, client: CachedClient | None = None) -> GroupMetric:
    """The metric. Raises InputError for groups that cannot be read."""
    from pathlib import Path

    return GroupMetric(Path(settings.groups) if settings.groups else None, client, settings.reader(client))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "ov_gpt_groups", Settings, build)]
