"""What the command lines of all these benchmarks share."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from peers import Implementation


def add_arguments(parser: argparse.ArgumentParser, results: Path) -> None:
    """Add the arguments of every comparison; `results` is where --keep appends without a file."""
    parser.add_argument("--device", choices=["cpu", "cuda"], help="a GPU where there is one")
    parser.add_argument("--rounds", type=int, help="timed turns of each implementation")
    parser.add_argument("--only", nargs="+", help="names that contain one of these")
    parser.add_argument("--interpreter", action="store_true", help="Triton on a CPU: errors only")
    parser.add_argument("--smoke", action="store_true", help="small sizes, seconds")
    parser.add_argument("--keep", nargs="?", type=Path, const=results, help="append the rows")
    parser.add_argument("--commit", help="where the checkout has no history")


def device_of(asked: argparse.Namespace) -> torch.device:
    """The device that was asked for, or a GPU where there is one.

    Raises:
        SystemExit: CUDA was asked for and is not there.
    """
    if asked.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: torch sees no CUDA device here")
    if asked.interpreter:
        return torch.device("cpu")
    return torch.device(asked.device or ("cuda" if torch.cuda.is_available() else "cpu"))


def clock_of(asked: argparse.Namespace) -> str:
    """Whether times are real.

    Raises:
        SystemExit: Triton's interpreter was asked for too late, after the kernels were imported.
    """
    if asked.interpreter and os.environ.get("TRITON_INTERPRET") != "1":
        raise SystemExit("--interpreter: start the script with it, or set TRITON_INTERPRET=1")
    return "interpreter" if asked.interpreter else "real"


def is_chosen(name: str, only: list[str] | None) -> bool:
    """Whether a name contains one of some parts; true without parts."""
    return any(part in name for part in only or [""])


def chosen(known: Sequence[Implementation], only: list[str] | None) -> list[Implementation]:
    """The implementations whose name contains one of some parts; all without parts."""
    return [made for made in known if is_chosen(made.name, only)]
