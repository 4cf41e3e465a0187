"""Rows of results: what was measured, where, and with which versions; appended as JSON lines."""

import importlib.metadata
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import torch

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What a number depends on besides the code that is measured."""

    run: str  # when the run began: rows of one run share it
    device: str
    threads: int
    torch: str
    triton: str | None
    commit: str
    dirty: bool  # files differed from the commit
    clock: str  # real, or interpreter: then times mean nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchRow:
    """One implementation in one mode on one set of inputs."""

    op: str
    impl: str
    mode: str  # forward, or both: forward and backward
    shape: dict[str, int | bool]
    dtype: str
    inputs: str  # which kind of logits or words
    least_flops: int = 0  # of its matrix products
    least_bytes: int = 0  # that cross the memory bus when every input and gradient does so once
    rounds: int = 0
    p20_ms: float | None = None
    p50_ms: float | None = None
    p80_ms: float | None = None
    peak_bytes: int | None = None  # beyond what the inputs hold
    peak_counted_by: str | None = None
    errors: dict[str, float] = field(default_factory=dict)  # relative, against float64
    repeatable: bool | None = None  # a second run gave the same bits
    gradients_in_forward: bool = False
    bytes_per_s: float | None = None
    skipped: str | None = None  # why nothing was measured


def version_of(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def device_name(device: torch.device) -> str:
    """The name of a GPU or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return helpers().processor()


def helpers() -> ModuleType:
    """The module of the other benchmarks that knows the commit and the processor."""
    if str(ROOT / "benchmarks") not in sys.path:
        sys.path.append(str(ROOT / "benchmarks"))
    import machine

    return machine


def place_of(device: torch.device, commit: str | None, clock: str) -> Place:
    """Where and with what this run measures; a commit is told where the checkout has no history."""
    told = commit or helpers().commit()
    return Place(
        run=datetime.now(UTC).isoformat(timespec="seconds"),
        device=device_name(device),
        threads=torch.get_num_threads() if device.type == "cpu" else 0,
        torch=torch.__version__,
        triton=version_of("triton"),
        commit=told.rstrip("+"),
        dirty=told.endswith("+"),
        clock=clock,
    )


def without_nothing(row: dict[str, object]) -> dict[str, object]:
    """A row without the fields that hold nothing."""
    return {name: value for name, value in row.items() if value is not None and value != {}}


def keep(place: Place, rows: Iterable[BenchRow], path: Path) -> None:
    """Append rows to a file of results, in one write."""
    lines = [json.dumps(asdict(place) | without_nothing(asdict(row))) + "\n" for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(lines))


def kept_rows(path: Path) -> list[dict]:
    """Every row of a file of results, oldest first."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
