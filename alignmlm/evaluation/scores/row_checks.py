"""Validation of the rows of results and studies that tables, charts and statistics read."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alignmlm.errors import DataError
from alignmlm.storage.records import check_keys

NUMBER, SCORE, BOUNDS = int | float, int | float | None, list | None
ROW: dict[str, Any] = {"objective": str, "task": str, "language": str}
SCORES: dict[str, Any] = dict.fromkeys(("source", "bs", "bz", "delta"), SCORE)
STUDY_ROW: dict[str, Any] = {"source_language": str, "seed": int, **SCORES}
OPTIONAL: dict[str, Any] = {
    **STUDY_ROW, "n_seeds": int, "retrieved": NUMBER, "layer": int | None, "metrics": dict,
    "validation_loss_nats": dict, "alignment_in_dictionary_percent": SCORE,
    "alignment_held_out_percent": SCORE,
    **dict.fromkeys(("source_ci95", "bs_ci95", "bz_ci95", "delta_ci95"), BOUNDS),
}  # fmt: skip
SEED: dict[str, Any] = {"source": str, "target": str, "seed": int, "source_test": NUMBER}
SEED |= {"bs": SCORE, "bz": NUMBER, "delta": SCORE}


def check_rows(rows: Iterable[Any], place: str | Path) -> None:
    """Raise unless each row has the keys that identify it, with values of the right types.

    Raises:
        DataError: a key is missing, or its value has another type.
    """
    for number, row in enumerate(rows):
        check_keys(row, ROW, f"{place}: row {number}", DataError, OPTIONAL)
        for name, nats in row.get("validation_loss_nats", {}).items():
            check_keys({name: nats}, {name: NUMBER}, f"{place}: row {number}")


def check_study_rows(rows: Iterable[Any], place: str | Path) -> None:
    """Raise unless a study's transfer rows have all scores.

    Raises:
        DataError: one has not.
    """
    check_rows(rows, place)
    for number, row in enumerate(rows):
        if "retrieved" not in row:
            check_keys(row, STUDY_ROW, f"{place}: row {number}")


def check_per_seed(by_task: dict[str, Any], place: str | Path) -> None:
    """Raise unless the scores of each seed of each task are complete.

    Raises:
        DataError: they are not.
    """
    for task, rows in by_task.items():
        if not isinstance(rows, list):
            raise DataError(f"{place}: per_seed, {task} must be a list, found {rows!r:.80}")
        for row in rows:
            check_keys(row, SEED, f"{place}: per_seed, {task}")
