"""What a number was measured on: the commit and the processor."""

import platform
import subprocess
from pathlib import Path


def commit() -> str:
    """The commit of this checkout, with a + where files differ from it; "unknown" without git."""
    told = ["git", "describe", "--always", "--dirty=+", "--abbrev=9"]
    here = Path(__file__).parent
    try:
        done = subprocess.run(told, cwd=here, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def processor() -> str:
    """The name of the processor, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def device_name() -> str:
    """The name of the GPU that torch sees, or of the processor."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
