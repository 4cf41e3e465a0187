"""Batch scripts of launchers/ under a real SLURM: two nodes, signals, nodes that are taken."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm import Cluster, missing_programs, slurm, until
from tests.conftest import SMALL

ROOT = Path(__file__).parents[2]
STEPS = 60
LIMIT_S = 1800  # of a run, on a busy machine
LONG = [
    *SMALL,
    f"--train.steps={STEPS}",
    f"--train.validation_steps={STEPS}",
    "--run.checkpoint_steps=10",
    "--run.keep_checkpoints=4",
]
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="NOT ROOT: slurmd starts jobs as root only"),
    pytest.mark.skipif(bool(missing_programs()), reason=f"NO SLURM: {missing_programs()}"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes, and a site's file that fits them."""
    folder = tmp_path_factory.mktemp("slurm")
    site = (ROOT / "launchers" / "env.sh").read_text()
    values = {"VENV": "", "MASTER": "127.0.0.1", "SCRATCH": str(folder)}
    for name, value in (values | {"CONTAINER": "env OMP_NUM_THREADS=1"}).items():
        site = re.sub(rf'(?m)^SITE_{name}="[^"]*"', f'SITE_{name}="{value}"', site)
    (folder / "site.sh").write_text(site)
    with slurm(folder) as found:
        python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        places = [str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")]
        own = {"PATH": python, "PYTHONPATH": os.pathsep.join(places)}
        found.environment.update(own, ALIGNMLM_SITE=str(folder / "site.sh"))
        of_ranks = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
        for name in ("OMP_NUM_THREADS", *of_ranks):
            found.environment.pop(name, None)
        yield found


def submit(cluster: Cluster, log: Path, *command: str) -> int:
    """The number of a job that is submitted from the checkout."""
    options = ["--parsable", f"--output={log}", f"--chdir={ROOT}"]
    return int(cluster.call("sbatch", *options, *command))


def losses(folder: Path) -> list[float]:
    """The training losses of a run, in the order of its steps."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row["train/loss_nats"] for row in rows if "train/loss_nats" in row]


def trained(cluster: Cluster, folder: Path, store: Path, *options: str) -> int:
    """The number of a job that trains the long recipe in a folder."""
    recipe = [*LONG, f"--data.store={store}", f"--run.dir={folder}"]
    script = ["launchers/pretrain.sbatch", "--deepspeed=ds_configs/zero2.json"]
    return submit(cluster, folder.with_suffix(".log"), *options, *script, *recipe)


def finished(cluster: Cluster, number: int, folder: Path) -> list[float]:
    """The losses of a job that must come to its end."""
    job = cluster.until_job(number, ENDED, LIMIT_S)
    logs = [folder.with_suffix(".log"), *folder.glob("launch/*/*.log"), *folder.glob("logs/*")]
    told = "\n".join(f"== {log}\n{log.read_text()[-3000:]}" for log in logs if log.exists())
    assert job["JobState"] == "COMPLETED", f"{job}\n{told}"
    return losses(folder)


def until_steps(folder: Path, number: int) -> None:
    """Wait until a run has logged so many steps."""
    path = folder / "metrics.jsonl"
    until(
        lambda: path.is_file() and path.read_text().count("train/loss_nats") >= number,
        f"{number} steps of {folder}",
        LIMIT_S,
    )


@pytest.fixture(scope="module")
def alone(small_store: Path, tmp_path_factory) -> list[float]:
    """The losses of one process without SLURM; it also compiles what the jobs need."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    recipe = [*LONG, f"--data.store={small_store}", f"--run.dir={folder}"]
    subprocess.run([sys.executable, "train.py", *recipe], check=True, timeout=LIMIT_S, cwd=ROOT)
    return losses(folder)


@pytest.fixture(scope="module")
def whole(alone: list[float], cluster: Cluster, small_store: Path, tmp_path_factory) -> Path:
    """The folder of an uninterrupted run on two nodes, submitted by `alignmlm launch`."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    recipe = [*LONG, f"--data.store={small_store}", f"--run.dir={folder}"]
    launch = [sys.executable, "-m", "alignmlm.cli", "launch", "pretrain"]
    told = cluster.call(*launch, "--nodes=2", "--deepspeed=ds_configs/zero2.json", *recipe)
    number = int(re.search(r"job (\d+) submitted", told)[1])
    finished(cluster, number, folder)
    return folder


def test_two_nodes_have_the_losses_of_one_process(alone, whole):
    summary = json.loads((whole / "summary.json").read_text())
    assert (summary["world_size"], summary["zero_stage"]) == (2, 2)
    assert losses(whole) == pytest.approx(alone, abs=1e-4)
    assert {path.name for path in (whole / "logs").iterdir()} == {"rank-0.log", "rank-1.log"}


def test_a_launched_run_keeps_what_was_submitted(whole):
    kept = {path.name for path in (whole / "launch" / "1").iterdir()}
    assert {"submission.json", "recipe.yaml", "deepspeed.json", "pretrain.sbatch"} <= kept
    document = json.loads((whole / "launch" / "1" / "submission.json").read_text())
    assert document["sbatch"][0] == "sbatch"
    assert any(name.startswith("job-") for name in kept)


def test_a_run_records_the_code_that_it_ran(whole):
    (start,) = json.loads((whole / "code.json").read_text())["starts"]
    assert start["launcher"] == "srun"
    assert start["environment"]["SLURM_NTASKS"] == "2"
    assert start["environment"]["OMP_NUM_THREADS"] == "1"  # by what the site starts Python with
    assert start["libraries"]["torch"]


def test_a_job_told_that_time_is_nearly_up_saves_is_requeued_and_goes_on(
    cluster, whole, small_store, tmp_path
):
    folder = tmp_path / "run"
    number = trained(cluster, folder, small_store, "--nodes=2")
    until_steps(folder, 15)
    cluster.call("scancel", "--batch", "--signal=USR1", str(number))
    cluster.start_now(number)
    assert finished(cluster, number, folder) == losses(whole)
    log = folder.with_suffix(".log").read_text()
    assert "asked to save" in log
    assert "the ranks ended with exit code 85" in log
    assert cluster.job(number)["Restarts"] == "1"
    assert len(json.loads((folder / "code.json").read_text())["starts"]) == 2


@pytest.mark.slow
def test_a_job_whose_node_is_taken_is_requeued_and_goes_on(cluster, whole, small_store, tmp_path):
    folder = tmp_path / "run"
    number = trained(cluster, folder, small_store, "--nodes=2")
    until_steps(folder, 15)
    cluster.call("scontrol", "update", "NodeName=node2", "State=DOWN", "Reason=taken")
    until(lambda: cluster.job(number)["JobState"] == "PENDING", "requeued")
    cluster.call("scontrol", "update", "NodeName=node2", "State=RESUME")
    cluster.start_now(number)
    assert finished(cluster, number, folder) == losses(whole)
    assert cluster.job(number)["Restarts"] == "1"


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A batch script of job.sh alone: its first start waits for a signal, its second ends."""
    path = tmp_path / "waiting.sbatch"
    work = 'touch "$1/step-$0" && [ -n "${SLURM_RESTART_COUNT:-}" ] || sleep 300'
    lines = [
        "#!/usr/bin/env bash",
        "#SBATCH --requeue --open-mode=append",
        "set -uo pipefail",
        f". {ROOT}/launchers/job.sh",
        f"run_step srun --mpi=none bash -c '{work}' \"$job\" {tmp_path}",
        "end_job",
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_an_element_of_an_array_is_requeued_and_the_others_run_on(cluster, waiting, tmp_path):
    number = submit(cluster, tmp_path / "%a.log", "--array=1-2", str(waiting))
    for element in (1, 2):
        until((tmp_path / f"step-{number}_{element}").exists, f"element {element} runs")
    last = f"{number}_2"  # its own number is that of the array
    cluster.call("scancel", "--batch", "--signal=USR1", last)
    cluster.start_now(last)
    assert cluster.until_job(last, ENDED)["JobState"] == "COMPLETED"
    other = cluster.job(f"{number}_1")
    assert (other["JobState"], other["Restarts"]) == ("RUNNING", "0")
    cluster.call("scancel", str(number))


def test_a_job_that_is_cancelled_is_not_requeued(cluster, waiting, tmp_path):
    number = submit(cluster, tmp_path / "job.log", str(waiting))
    until((tmp_path / f"step-{number}").exists, "the job runs")
    cluster.call("scancel", str(number))
    cluster.until_job(number, ENDED)
    until(lambda: "ended with exit code" in (tmp_path / "job.log").read_text(), "the script ended")
    assert cluster.job(number)["JobState"] == "CANCELLED"
    assert "next start" not in (tmp_path / "job.log").read_text()
