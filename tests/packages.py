"""Packages put into a folder, as pip --target does."""

import os
import sys
from pathlib import Path


def install(folder: Path, name: str, code: str, points: str) -> None:
    """Put a package of one module into a folder."""
    (folder / f"{name}.py").write_text(code)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(points)


def environment(folder: Path) -> dict[str, str]:
    """The environment of a process that finds the packages of a folder."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
