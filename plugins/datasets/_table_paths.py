"""Files that a table names as another system writes them: backslashes, other forms of accents, other case, `file://`."""

from __future__ import annotations

import os
import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote, urlsplit

from affectkit.reading import visible

LONGEST = 255
"""Bytes of a file's name that file systems take."""


@dataclass
class MediaFinder:
    """Finds files below a folder; looks into each folder once."""

    root: Path
    notes: dict[str, int] = field(default_factory=dict)
    """How names had to be changed before their file was found, and how often."""
    _listed: dict[Path, dict[str, list[str]]] = field(default_factory=dict)

    def find(self, text: str) -> Path:
        """The path that a cell names: as it is written where that is there, else the one file that it can mean.

        A path that nothing is found for comes back as it was written. Raises ValueError where no file can have that name.
        """
        if "\0" in text:
            raise ValueError("holds the sign NUL, which no file's name can have")
        written = self.root / text
        if any(len(os.fsencode(part)) > LONGEST for part in written.parts):
            raise ValueError(f"holds a name of more than {LONGEST} bytes, which no file can have")
        if written.name in self._names(written.parent).get(_plain(written.name), ()):
            return written
        for how, path in self._others(text):
            found = self._below(path)
            if found is not None:
                self.notes[how] = self.notes.get(how, 0) + 1
                return found
        return written

    def _others(self, text: str) -> list[tuple[str, Path]]:
        """Other paths that the text can mean, and what was changed."""
        ways = []
        if text.lower().startswith("file:"):
            url = urlsplit(text)
            ways.append(("file:// URLs", Path(unquote(url.path))))
        windows = PureWindowsPath(text)
        back = "\\" in text
        # another machine's folder: the end of the path may lie below ours. A name with a colon is none
        if (windows.root or windows.drive) if back else (windows.root and not Path(text).parent.exists()):
            parts = windows.parts[1:]
            ways += [("paths of another machine", self.root.joinpath(*parts[i:])) for i in range(len(parts))]
        elif back:
            ways.append(("backslashes", self.root.joinpath(*windows.parts)))
        return [*ways, ("another case, form of accent or invisible sign", self.root / text)]

    def _below(self, path: Path) -> Path | None:
        """The file at that path, where one letter for letter or one that reads the same is there; None for none or several."""
        here = Path(path.anchor) if path.is_absolute() else Path()
        for part in path.parts[1:] if path.is_absolute() else path.parts:
            if (here / part).exists():
                here /= part
                continue
            names = self._names(here).get(_plain(part), [])
            if len(names) != 1:
                return None
            here /= names[0]
        return here

    def _names(self, folder: Path) -> dict[str, list[str]]:
        """The names in a folder by how they read."""
        if folder not in self._listed:
            found: dict[str, list[str]] = {}
            with suppress(OSError):  # a folder that is not there, or not ours to read, offers no other spelling
                for name in os.listdir(folder):
                    found.setdefault(_plain(name), []).append(name)
            self._listed[folder] = found
        return self._listed[folder]


def _plain(name: str) -> str:
    """A name as a reader sees it."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", visible(name)).casefold())
