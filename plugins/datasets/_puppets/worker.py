"""A worker process: renders the clips that it is told on standard input, and prints a line for each one.

Started as `python -m affectkit_plugins.datasets._puppets.worker`; it imports no torch and nothing of its parent's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .cast import ClipPlan
from .clip import ClipFormat, is_made, render


def main() -> None:
    """Read one JSON object {folder, look, plans}; make what is missing."""
    job = json.load(sys.stdin)
    folder, look = Path(job["folder"]), ClipFormat(**job["look"])
    for values in job["plans"]:
        plan = ClipPlan(**values)
        if not is_made(plan, folder):
            render(plan, look, folder)
        print(plan.name, flush=True)


if __name__ == "__main__":
    main()
