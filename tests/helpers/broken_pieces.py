"""Broken pieces, for several test files."""

from dataclasses import dataclass

import pytest

from affectkit.testing.promises import BrokenPromise, keeps_its_promises


@dataclass(frozen=True)
class Settings:
    """A step for these tests."""

    hidden: int = 6
    """Width inside."""


def broken(piece, **more):
    with pytest.raises(BrokenPromise) as told:
        keeps_its_promises(piece, light=False, **more)
    assert str(told.value).startswith(f"{piece.kind} {piece.name!r} breaks ")
    return dict(told.value.broken), str(told.value)
