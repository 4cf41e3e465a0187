"""A study of the small recipe over a task, as a file for processes of their own."""

import json
from pathlib import Path

import yaml

from tests.conftest import SMALL
from tests.toys import write_toy_task


def write_small_study(place: Path, store: Path, *objectives: str, **overrides: object) -> Path:
    """study.yaml in a folder, with the task toy.yaml beside it and its runs in the folder study."""
    toy = write_toy_task(place).path
    settings = dict(item[2:].split("=", 1) for item in SMALL)
    settings_of_all = {name: yaml.safe_load(value) for name, value in settings.items()}
    document = {
        "name": "small", "folder": str(place / "study"), "objectives": list(objectives),
        "overrides": settings_of_all | {"data.store": str(store)} | overrides,
        "tasks": [str(toy)], "evaluation": {"finetune": {"epochs": 1, "batch_rows": 8}},
    }  # fmt: skip
    (place / "study.yaml").write_text(json.dumps(document), encoding="utf-8")
    return place / "study.yaml"
