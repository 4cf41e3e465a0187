"""A package of the code blocks of CONTRIBUTING.md, word for word, used by the command line."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import SMALL
from tests.limits import HANG_S
from tests.packages import environment, install
from tests.toys import write_toy_task

BLOCK = re.compile(r"^```(python|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
KINDS = {
    "orders", "scripts", "objectives", "distances", "optimizers", "architectures", "launchers",
    "task_kinds", "metrics",
}  # fmt: skip
LANGUAGES = "--languages.ids=[qaa-Latn, qaa-Latn-x-evens-halfnew]"
OWN = [
    "--objective.name=align_mlm", "--objective.base=short_mlm", "--objective.distance=city_block",
    "--optimizer.name=sgd", "--model.architecture=electra", LANGUAGES,
]  # fmt: skip
FARM = {
    "FARM_TASK": "0", "FARM_TASKS": "1", "FARM_LOCAL_TASK": "0",
    "FARM_HEAD": "127.0.0.1", "FARM_JOB": "41",
}  # fmt: skip


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """A folder with the package."""
    blocks = BLOCK.findall(Path("CONTRIBUTING.md").read_text("utf-8"))
    code = "\n\n".join(text for language, text in blocks if language == "python")
    points = ""
    for language, text in blocks:
        groups = tomllib.loads(text)["project"]["entry-points"] if language == "toml" else {}
        for group, names in groups.items():
            points += f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items())
    assert set(re.findall(r"^\[alignmlm\.(\w+)\]$", points, re.MULTILINE)) == KINDS
    folder = tmp_path_factory.mktemp("site")
    install(folder, "my_package", code, points)
    return folder


def run(package: Path, *line: str, **variables: str) -> str:
    """What a command prints that finds the package."""
    code = "import sys; from alignmlm.cli import main; sys.argv[0] = 'alignmlm'; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *line],
        env=environment(package) | variables, capture_output=True, text=True, timeout=HANG_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(package, small_store, tmp_path_factory) -> Path:
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("own") / "run"
    places = [f"--data.store={small_store}", f"--run.dir={folder}"]
    run(package, "train", *SMALL, *OWN, *places, "--train.steps=2", "--run.wandb=false", **FARM)
    return folder


def test_a_model_is_trained_with_an_objective_a_distance_and_an_optimizer_of_its_own(trained):
    rows = [json.loads(row) for row in (trained / "metrics.jsonl").read_text().splitlines()]
    (last,) = [row for row in rows if row["step"] == 2 and "train/loss_nats" in row]
    assert last["train/length_loss"] > 0
    assert last["train/alignment_loss"] > 0
    (start,) = json.loads((trained / "code.json").read_text())["starts"]
    assert start["launcher"] == "farm"
    assert json.loads((trained / "export" / "config.json").read_text())["model_type"] == "electra"


def test_a_task_of_its_own_kind_and_metric_is_measured(package, trained, tmp_path):
    toy = write_toy_task(tmp_path)
    text = toy.path.read_text().replace("token_classification", "opening")
    toy.path.write_text(text.replace("accuracy", "lenient"))
    limits = ["--evaluation.limit=8", "--evaluation.finetune.epochs=1"]
    task = ["--tasks", str(toy.path), *limits]
    found = json.loads(run(package, "eval", "run", "--model", str(trained), *task, "--json"))
    assert 0 <= found["results"]["toy"]["lenient,none"] <= 1
    assert found["configs"]["toy"]["targets"] == ["qaa-Latn-x-evens-halfnew"]
    checked = run(package, "eval", "validate", str(toy.path), "--model", str(trained))
    assert "evens-halfnew" in checked


def test_its_languages_are_shown_and_its_settings_handed_to_slurm(package, small_store, tmp_path):
    places = [f"--data.store={small_store}", *SMALL, *OWN, f"--run.dir={tmp_path / 'run'}"]
    shown = run(package, "data", "show", *places)
    assert "evens-halfnew" in shown
    planned = run(package, "launch", "pretrain", *places, "--nodes=1", "--dry-run")
    assert "sbatch" in planned
