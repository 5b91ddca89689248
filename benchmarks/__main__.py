"""`python -m benchmarks NAME …` runs the measurement of that name."""

import importlib
import sys
from pathlib import Path

NAMES = sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py"))


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in NAMES:
        sys.exit(f"usage: python -m benchmarks NAME …; names: {', '.join(NAMES)}")
    sys.argv[:2] = [f"python -m benchmarks {name}"]
    importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
