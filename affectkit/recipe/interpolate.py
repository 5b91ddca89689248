"""`${section.key}` in a recipe.

OmegaConf puts the values in; what it would also do (read the environment, call resolvers, nest, grow without end) is
refused before it sees them, each with its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from affectkit.errors import Problem
from affectkit.recipe.marked_yaml import Path_

MOST = 20_000
"""Characters and values that one interpolation may stand for."""
MOST_LINKS = 50
"""Interpolations that may lead through each other."""
_OPENS = re.compile(r"(\\*)\$\{")
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_NAME = re.compile(r"(\.*)([A-Za-z_][\w-]*(?:\.[\w-]+)*)")


def interpolate(values: dict[str, Any], place: Callable[[Path_], str], problems: list[Problem]) -> None:
    """Resolve every interpolation in `values`, in place; one that cannot be resolved becomes `WRONG`."""
    texts = [(path, text) for path, text in _texts(values, ()) if "${" in text]
    for path, text in texts:
        _put(values, path, _renamed(path, text))
    paths = [path for path, _ in texts]
