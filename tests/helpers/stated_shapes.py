"""The modules that state shapes of tensors, which every test checks."""

import re
from importlib.util import find_spec
from pathlib import Path

STATED = re.compile(r"^from (jaxtyping import|affectkit_plugins\.encoders\._frames_net import .*Images)", re.M)
"""A module that imports the words for shapes, or the ones that every image network shares."""


def shaped():
    """Every module of ours that states the shape of a tensor, found without importing it."""
    for package in ("affectkit", "affectkit_plugins"):
        root = Path(find_spec(package).origin).parent
        for path in sorted(root.rglob("*.py")):
            if STATED.search(path.read_text(encoding="utf-8")):
                yield ".".join([package, *path.relative_to(root).with_suffix("").parts])


SHAPED = tuple(shaped())
