"""Wheel files, for several test files."""

import os
from pathlib import Path

import pytest

TABLES = Path(os.environ.get("AFFECTKIT_REFERENCE", "../shared/reference")).resolve() / "emotion_wheel"

published = pytest.mark.skipif(not TABLES.is_dir(), reason="there is no copy of the published tables")
