"""Which GPUs there are, without torch."""

from __future__ import annotations

import os
import shutil
import subprocess


def gpus() -> list[str]:
    """Names of the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` wants them; none without a driver."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return [d.strip() for d in said.split(",") if d.strip() and d.strip() != "-1"]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        told = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, line in enumerate(told.splitlines()) if line.startswith("GPU ")]


def devices_for(wanted: int | str, accelerator: str) -> list[str | None]:
    """A device for each process that may run at a time: GPUs where there are any, else None for a share of the CPU."""
    found: list[str | None] = [] if accelerator in ("cpu", "mps") else list(gpus())
    count = len(found) or 1 if wanted == "auto" else int(wanted)
    return [found[i % len(found)] for i in range(count)] if found else [None] * count
