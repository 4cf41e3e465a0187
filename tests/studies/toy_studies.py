"""Toy studies, and what their runs leave."""

import json
from dataclasses import replace
from pathlib import Path

from alignmlm.evaluation.settings import EvaluationConfig, FineTuneConfig
from alignmlm.studies.cells import (
    CellRecord,
    inputs_of,
    outcome_of,
    write_cell,
)
from alignmlm.studies.running import write_study
from alignmlm.studies.study import (
    StudyConfig,
    planned_runs,
)
from tests.evaluation.conftest import LANGUAGES, write_export
from tests.reporting.studies import study_rows
from tests.toys import write_toy_task

QUICK = EvaluationConfig(finetune=FineTuneConfig(epochs=1, batch_rows=8))


def study(folder: Path, **settings) -> StudyConfig:
    return StudyConfig(name="toy", objectives=["align_mlm"], folder=str(folder), **settings)


def finish(folder: Path) -> Path:
    """What a run leaves."""
    folder.mkdir(parents=True)
    write_export(folder / "export", LANGUAGES)
    summary = {
        "objective": "align_mlm", "steps": 600, "seconds": 9.0, "tokens_per_s": 2e4,
        "export": "export",
        "validation_loss_nats": {LANGUAGES[0]: 3.1, LANGUAGES[1]: 3.4},
        "alignment_percent": {"in_dictionary": 98.1, "held_out": None},
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (folder / "curves.png").touch()
    return folder


def scored(folder: Path, seeds: list[int]) -> StudyConfig:
    """A study with a task of its own in its folder, each run with invented scores on record."""
    toy = write_toy_task(folder)
    config = study(folder, seeds=seeds, tasks=[str(toy.path)], evaluation=QUICK)
    for run in planned_runs(config):
        (run.folder / "export").mkdir(parents=True)
        for name in ("summary.json", "curves.png", "export/alignmlm.json"):
            (run.folder / name).touch()
        rows = study_rows(["align_mlm"], [run.seed])
        write_cell(config, run, CellRecord(inputs_of(config, run), rows))
    write_study(config, outcome_of(config).rows)
    return config


def raised(config: StudyConfig) -> StudyConfig:
    """The study with more epochs of fine-tuning."""
    return replace(config, evaluation=EvaluationConfig(finetune=FineTuneConfig(epochs=2)))
