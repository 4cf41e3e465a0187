"""The records of a run: metrics.jsonl, one line per logged step, and summary.json."""

from pathlib import Path
from typing import Any

from alignmlm.artifacts.names import SUMMARY
from alignmlm.errors import CheckpointError, DataError
from alignmlm.storage.plain_data import parse_json, read_json, read_text
from alignmlm.storage.records import check_keys

METRICS = "metrics.jsonl"
MOST_MIB = 4096  # of metrics.jsonl
PARTS = dict.fromkeys(("in_dictionary", "held_out"), int | float | None)  # of alignment_percent


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of a finished run.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path = folder / SUMMARY
    summary = read_json(path, CheckpointError, nan=True)
    kinds: dict[str, Any] = {"objective": str, "export": str, "steps": int, "seconds": int | float}
    kinds |= {"tokens_per_s": int | float}
    kinds |= dict.fromkeys(("validation_loss_nats", "alignment_percent"), dict)
    check_keys(summary, kinds, path, CheckpointError)
    check_keys(summary["alignment_percent"], PARTS, f"{path}: alignment_percent", CheckpointError)
    losses = summary["validation_loss_nats"]
    check_keys(losses, dict.fromkeys(losses, int | float), path, CheckpointError)
    return summary


def metric_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a metrics file; a truncated last line is ignored.

    Raises:
        DataError: it cannot be read, or one of its lines is damaged.
    """
    lines = read_text(path, MOST_MIB, DataError).splitlines(keepends=True)
    whole = lines if not lines or lines[-1].endswith("\n") else lines[:-1]
    rows = []
    for number, line in enumerate(whole, start=1):
        row = parse_json(line, f"{path}:{number}", DataError, nan=True)
        if not isinstance(row, dict) or type(row.get("step")) is not int:
            raise DataError(f"{path}:{number}: no metrics of a step: {line[:80]!r}")
        for name, value in row.items():
            if not isinstance(value, int | float):
                raise DataError(f"{path}:{number}: {name} must be a number, found {value!r:.80}")
        rows.append(row)
    return rows


def validation_at(folder: Path, step: int) -> dict[str, float | int]:
    """The validation metrics that a run recorded at a step, if any."""
    path = folder / METRICS
    rows = [row for row in metric_rows(path) if row["step"] == step] if path.exists() else []
    return {
        k: v for row in rows for k, v in row.items() if k.startswith(("validation", "alignment"))
    }
