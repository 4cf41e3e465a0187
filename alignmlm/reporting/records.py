"""What runs and studies have written, read back: metrics by step, summaries, rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignmlm.artifacts.names import STUDY, SUMMARY
from alignmlm.errors import DataError
from alignmlm.evaluation.scores.study_file import study_document
from alignmlm.pretraining.run_records import METRICS, metric_rows, read_summary

Row = dict[str, Any]
LOSS_TERMS = ("mlm", "tlm", "dict")  # data.masking.LossTerm, which needs numba


@dataclass(frozen=True, slots=True)
class Series:
    """One metric over the steps of a run."""

    name: str
    steps: list[int]
    values: list[float]


def read_metrics(run: Path) -> dict[int, Row]:
    """The metrics of a run by step; lines of one step are merged, later values winning.

    A last line that was cut while it was written is left out.

    Raises:
        DataError: there is no metrics.jsonl, or one of its lines is damaged.
    """
    path = run / METRICS
    if not path.is_file():
        raise DataError(f"{run} is no run: it has no {METRICS}")
    by_step: dict[int, Row] = {}
    for row in metric_rows(path):
        by_step[row["step"]] = {**by_step.get(row["step"], {}), **row}
    return by_step


def series(metrics: dict[int, Row], key: str, name: str) -> Series:
    """One metric where it was logged, by rising step."""
    steps = sorted(step for step, row in metrics.items() if key in row)
    return Series(name, steps, [metrics[step][key] for step in steps])


def summary_of(run: Path) -> dict[str, Any]:
    """The summary of a finished run; empty for an unfinished one."""
    return read_summary(run) if (run / SUMMARY).exists() else {}


def read_study(folder: Path) -> tuple[str, list[Row], list[Row]]:
    """Name and rows of the study in a folder, and the runs that it lacks.

    Raises:
        DataError: its file cannot be read, or is not that of a study.
    """
    study = study_document(folder / STUDY)
    return study["name"], study["rows"], study.get("missing", [])


@dataclass(frozen=True, slots=True)
class RunCurves:
    """What is drawn of a run."""

    train_loss: list[Series]  # nats, one per language
    validation_loss: list[Series]  # nats, one per language
    alignment: list[Series]  # percent, in-dictionary and held-out words
    speed: Series  # tokens/s


def languages_of(metrics: dict[int, Row]) -> list[str]:
    """Languages whose loss was logged, in the order of the log."""
    prefixes = ("train/loss_nats/", "validation/loss_nats/")
    names = (
        key.removeprefix(prefix)
        for row in metrics.values()
        for key in row
        for prefix in prefixes
        if key.startswith(prefix)
    )
    return [name for name in dict.fromkeys(names) if name not in LOSS_TERMS]


def curves_of(metrics: dict[int, Row]) -> RunCurves:
    """The curves of a run's metrics; a metric that was never logged is left out."""

    def logged(wanted: dict[str, str]) -> list[Series]:
        every = [series(metrics, key, name) for name, key in wanted.items()]
        return [each for each in every if each.steps]

    languages = languages_of(metrics)
    parts = {"in dictionary": "in_dictionary", "held out": "held_out"}
    return RunCurves(
        logged({name: f"train/loss_nats/{name}" for name in languages}),
        logged({name: f"validation/loss_nats/{name}" for name in languages}),
        logged({name: f"alignment/{part}_percent" for name, part in parts.items()}),
        series(metrics, "train/tokens_per_s", "tokens/s"),
    )


def run_curves(run: Path) -> RunCurves:
    """The curves of a run; a metric that was never logged is left out.

    Raises:
        DataError: it is not a run, or its metrics are damaged.
    """
    return curves_of(read_metrics(run))
