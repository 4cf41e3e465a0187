"""Ten pairs of processes at once: both end right, or one with a clear refusal."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alignmlm.artifacts.names import RESULTS
from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.evaluation.scores.results import read_results
from alignmlm.storage.plain_data import read_json
from tests.conftest import SMALL
from tests.small_study import write_small_study
from tests.toys import write_toy_task

pytestmark = pytest.mark.slow
LIMIT_S = 900  # for a hang only
QUICK = ["--evaluation.finetune.epochs=1", "--evaluation.finetune.batch_rows=8"]


def pair(first: list[object], second: list[object], folder: Path) -> list[tuple[int, str]]:
    """Exit codes and error output of two alignmlm commands that run at the same time."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "alignmlm.cli", *map(str, command)],
            cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for command in (first, second)
    ]  # fmt: skip
    try:
        errors = [process.communicate(timeout=LIMIT_S)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for text in errors:
        assert "Traceback" not in text, text
    return [(process.returncode, text) for process, text in zip(processes, errors, strict=True)]


def both_ended_right(outcomes: list[tuple[int, str]]) -> None:
    """Raise unless both processes ended with 0."""
    assert [code for code, _ in outcomes] == [0, 0], outcomes


def one_was_refused(outcomes: list[tuple[int, str]], message: str) -> None:
    """Raise unless one process ended with 0 and the other with an error that says why."""
    (_, _), (code, text) = sorted(outcomes, key=lambda outcome: outcome[0])
    assert sorted(code for code, _ in outcomes) == [0, 2], outcomes
    assert message in " ".join(text.split()), (code, text)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder with a store, a trained run, a recipe of it, and two tasks."""
    folder = tmp_path_factory.mktemp("world")
    build_store(load_recipe(None, [*SMALL, f"--data.store={folder / 'store'}"]).data)
    command = ["train", *SMALL, f"--data.store={folder / 'store'}", f"--run.dir={folder / 'run'}"]
    subprocess.run([sys.executable, "-m", "alignmlm.cli", *command], check=True, cwd=folder,
                   env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    toy = write_toy_task(folder).path
    (folder / "other.yaml").write_text(toy.read_text().replace("name: toy", "name: other"))
    return folder


@pytest.fixture
def place(world, tmp_path) -> Path:
    """A copy of that world."""
    return Path(shutil.copytree(world, tmp_path / "world"))


def training(place: Path, *more: str) -> list[object]:
    """The command that trains the small recipe over the store."""
    return ["train", *SMALL, f"--data.store={place / 'store'}", *more]


def evaluation(place: Path, task: str, *more: object) -> list[object]:
    """The command that measures the run on a task."""
    return ["eval", "run", "--model", place / "run", "--tasks", place / task, *QUICK, *more]


def study(place: Path) -> Path:
    """A study of one run, which is not trained yet."""
    return write_small_study(place, place / "store", "mlm")


def test_two_evaluations_of_other_tasks_into_one_folder_are_both_kept(place):
    both_ended_right(pair(evaluation(place, "toy.yaml"), evaluation(place, "other.yaml"), place))
    assert read_results(place / "run" / "evaluation")["configs"].keys() == {"toy", "other"}


def test_two_evaluations_into_one_folder_both_say_what_they_skipped(place):
    toy = (place / "toy.yaml").read_text("utf-8")
    commands = []
    for task, missing in (("toy.yaml", "first"), ("other.yaml", "second")):
        path = place / f"{missing}.yaml"
        path.write_text(
            toy.replace("name: toy", f"name: {missing}").replace("train.conllu", "none.conllu")
        )
        names = ["--tasks", place / task, path]
        commands.append(["eval", "run", "--model", place / "run", *names, *QUICK])
    outcomes = pair(*commands, place)
    assert [code for code, _ in outcomes] == [3, 3], outcomes
    found = read_results(place / "run" / "evaluation")
    assert found["configs"].keys() == {"toy", "other"}
    assert found["skipped"].keys() == {"first", "second"}


def test_two_evaluations_share_their_fine_tuned_models(place):
    models = f"--evaluation.models={place / 'models'}"
    commands = [
        evaluation(place, "toy.yaml", models, "--output", place / name) for name in ("a", "b")
    ]
    both_ended_right(pair(*commands, place))
    first, second = (read_results(place / name) for name in ("a", "b"))
    assert first["per_seed"] == second["per_seed"]
    assert len([path for path in (place / "models").iterdir() if path.is_dir()]) == 2


def test_two_trainings_into_one_folder(place):
    command = training(place, f"--run.dir={place / 'new'}")
    one_was_refused(pair(command, command, place), "another process trains there (process")
    assert read_json(place / "new" / "summary.json")["steps"] == 8


def test_two_builds_of_one_store(place):
    command = ["data", "build", *(s for s in SMALL if s.startswith("--data.")),
               f"--data.store={place / 'second'}"]  # fmt: skip
    outcomes = pair(command, command, place)
    codes = sorted(code for code, _ in outcomes)
    assert codes == [0, 2], outcomes
    text = " ".join(max(outcomes)[1].split())
    assert "another build of" in text or "exists" in text, text
    same = ("manifest.json", "tokenizer.json")
    for name in same:
        assert (place / "second" / name).read_bytes() == (place / "store" / name).read_bytes()


def test_a_report_while_an_evaluation_writes(place):
    report = ["report", place / "run", "--output", place / "report.html"]
    both_ended_right(pair(report, evaluation(place, "toy.yaml"), place))
    assert (place / "report.html").read_text("utf-8").endswith("</html>\n")


def test_an_evaluation_while_a_study_measures_the_same_run(place):
    shutil.copytree(place / "run", place / "study" / "mlm-seed0")
    path = study(place)
    command = ["eval", "run", "--model", place / "study" / "mlm-seed0", "--tasks",
               place / "other.yaml", *QUICK]  # fmt: skip
    outcomes = pair(["study", "run", path], command, place)
    assert outcomes[1][0] == 0, outcomes
    assert "other" in read_results(place / "study" / "mlm-seed0" / "evaluation")["configs"]


def test_two_processes_run_one_study(place):
    path = study(place)
    outcomes = pair(["study", "run", path], ["study", "run", path], place)
    one_was_refused(outcomes, "another process runs the study")
    assert len(read_json(place / "study" / "study.json")["rows"]) == 1


def test_an_export_is_replaced_while_it_is_evaluated(place):
    shutil.copytree(place / "run" / "export", place / "out")
    command = ["eval", "run", "--model", place / "out", "--tasks", place / "toy.yaml", *QUICK,
               "--output", place / "results"]  # fmt: skip
    outcomes = pair(["export", place / "run", place / "out"], command, place)
    assert outcomes[0][0] == 0, outcomes
    assert outcomes[1][0] == 0 or str(place / "out") in outcomes[1][1], outcomes


def test_two_exports_into_one_folder(place):
    command = ["export", place / "run", place / "out"]
    both_ended_right(pair(command, command, place))
    assert (place / "out" / "model.safetensors").read_bytes() == (
        place / "run" / "export" / "model.safetensors"
    ).read_bytes()


def test_two_reports_into_one_file(place):
    command = ["report", place / "run", "--output", place / "report.html"]
    both_ended_right(pair(command, command, place))
    assert (place / "report.html").read_text("utf-8").endswith("</html>\n")


def test_nothing_unfinished_is_left_by_pairs(place):
    both_ended_right(pair(evaluation(place, "toy.yaml"), evaluation(place, "toy.yaml"), place))
    folder = place / "run" / "evaluation"
    assert not [path for path in folder.rglob("*") if ".tmp-" in path.name]
    assert (folder / RESULTS).is_file()
