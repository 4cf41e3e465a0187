"""The user's line and its siblings on two nodes: the same losses as on one."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.machines import ADDRESSES, JOB, NODES, Machine, lose_work
from tests.conftest import SMALL

pytestmark = pytest.mark.cluster
BIN = Path(sys.executable).parent
TRAIN = ["train.py", "--deepspeed", "ds_configs/zero2.json"]
USERS_LINE = ["deepspeed", "--num_nodes", "2", *TRAIN]
LIMIT_S = 1200
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def losses(folder: Path) -> list[float]:
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row["train/loss_nats"] for row in rows if "train/loss_nats" in row]


def output_of(process: subprocess.Popen[str]) -> str:
    """What a process printed, once it has ended well."""
    told, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, told[-4000:]
    return told


@pytest.fixture(scope="session")
def settings(small_store: Path) -> list[str]:
    return [*SMALL, f"--data.store={small_store}"]


@pytest.fixture(scope="session")
def alone(settings, cluster_environment, tmp_path_factory) -> list[float]:
    """The losses of the recipe on one rank of this machine."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    command = [sys.executable, *TRAIN, *settings, f"--run.dir={folder}"]
    done = subprocess.run(
        command, env=cluster_environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return losses(folder)


@pytest.fixture
def hostfile(tmp_path: Path) -> Path:
    path = tmp_path / "hostfile"
    path.write_text("# the two nodes\n" + "".join(f"{name} slots=1\n" for name in NODES))
    return path


@pytest.fixture
def environment(cluster_environment, tmp_path) -> dict[str, str]:
    """A shell's environment; the launcher's variables for the nodes are in a file of its own."""
    return cluster_environment | AS_ROOT | {"DS_ENV_FILE": str(tmp_path / "deepspeed_env")}


@pytest.fixture
def same_losses(alone, tmp_path) -> Callable[[], None]:
    """Compares the run of a test with the one on a single rank."""

    def compare() -> None:
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        assert (summary["world_size"], summary["zero_stage"]) == (2, 2)
        assert len(alone) == 8
        assert losses(tmp_path / "run") == pytest.approx(alone, abs=1e-4)

    return compare


def write_environment(machine: Machine, hostfile: Path, environment: dict[str, str]) -> None:
    """What the doctor's --write-env does, without the rest of its visit."""
    code = "import os, pathlib; from alignmlm.doctor.environment import write_environment; "
    code += "write_environment(pathlib.Path.cwd(), os.environ)"
    output_of(machine.start([sys.executable, "-c", code], environment))


def needs(program: str) -> None:
    """Skip a test, loudly, where a launcher is missing."""
    if shutil.which(program) is None:
        pytest.skip(f"NO {program.upper()}: run tests/cluster/install.sh")


def test_the_users_line_finds_its_nodes_in_the_default_hostfile(
    machines, settings, hostfile, environment, tmp_path, same_losses
):
    needs("pdsh")
    node1 = machines["node1"]
    write_environment(node1, hostfile, environment)
    node1.run("cp", str(hostfile), str(JOB / "hostfile"))
    line = [str(BIN / USERS_LINE[0]), *USERS_LINE[1:]]
    output_of(node1.start([*line, *settings, f"--run.dir={tmp_path / 'run'}"], environment))
    node1.run("rm", str(JOB / "hostfile"))
    same_losses()


@pytest.mark.slow
def test_a_hostfile_may_be_named_and_the_line_started_from_a_third_machine(
    machines, settings, hostfile, environment, tmp_path, same_losses
):
    needs("pdsh")
    write_environment(machines["head"], hostfile, environment)
    line = [str(BIN / "deepspeed"), "--hostfile", str(hostfile), *USERS_LINE[1:]]
    output_of(
        machines["head"].start([*line, *settings, f"--run.dir={tmp_path / 'run'}"], environment)
    )
    same_losses()


@pytest.mark.slow
def test_deepspeed_may_start_its_ranks_by_openmpi(
    machines, settings, hostfile, environment, tmp_path, same_losses
):
    needs("mpirun")
    pytest.importorskip("mpi4py", reason="NO MPI4PY")
    write_environment(machines["node1"], hostfile, environment)
    line = [str(BIN / "deepspeed"), "--hostfile", str(hostfile), "--launcher", "openmpi", *TRAIN]
    output_of(
        machines["node1"].start([*line, *settings, f"--run.dir={tmp_path / 'run'}"], environment)
    )
    same_losses()


@pytest.mark.slow
def test_torchrun_on_each_node_needs_no_ssh(machines, settings, environment, tmp_path, same_losses):
    line = [str(BIN / "torchrun"), "--nnodes=2", "--nproc-per-node=1", "--master-port=29400"]
    line.append(f"--master-addr={ADDRESSES['node1']}")
    ranks = [
        machines[name].start(
            [*line, f"--node-rank={rank}", *TRAIN, *settings, f"--run.dir={tmp_path / 'run'}"],
            environment,
        )
        for rank, name in enumerate(NODES)
    ]
    for rank in ranks:
        output_of(rank)
    same_losses()


def test_mpirun_starts_the_ranks_and_rank_0_tells_where_it_is(
    machines, settings, environment, tmp_path, same_losses
):
    needs("mpirun")
    pytest.importorskip("mpi4py", reason="NO MPI4PY")
    given = ("PYTHONPATH", "DS_ACCELERATOR", "OMP_NUM_THREADS", "HF_HUB_OFFLINE")
    exports = [word for name in given for word in ("-x", name)]
    line = ["mpirun", "-n", "2", "--host", ",".join(NODES), *exports, sys.executable, *TRAIN]
    output_of(
        machines["node1"].start([*line, *settings, f"--run.dir={tmp_path / 'run'}"], environment)
    )
    same_losses()


@pytest.mark.parametrize(("how", "code"), [("raise", 1), ("exit", 2), ("kill", 137)])
def test_a_rank_that_ends_badly_under_mpirun_ends_the_others(environment, how, code):
    needs("mpirun")
    pytest.importorskip("mpi4py", reason="NO MPI4PY")
    started = time.monotonic()
    command = ["mpirun", "--oversubscribe", "-n", "2", sys.executable]
    done = subprocess.run(
        [*command, "-m", "tests.cluster.ending_rank", how],
        env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "still there" not in done.stdout
    assert time.monotonic() - started < 60


def elastic(machine: Machine, settings: list[str], environment: dict[str, str]) -> subprocess.Popen:
    """An agent of torchrun that goes on with what is left, as launchers/pretrain.sbatch has it.

    is_host: the hosts file leads node1's name to 127.0.1.1, so torchrun would not know itself.
    """
    line = [
        str(BIN / "torchrun"), "--nnodes=1:2", "--nproc-per-node=1", "--max-restarts=3",
        "--rdzv-backend=c10d", "--rdzv-id=elastic", f"--rdzv-endpoint={ADDRESSES['node1']}:29401",
        f"--rdzv-conf=last_call_timeout=5,is_host={int(machine.name == 'node1')}",
        f"--local-addr={ADDRESSES[machine.name]}",
    ]  # fmt: skip
    own = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    return machine.start([*line, *TRAIN, *settings], environment | own)


def until(true: Callable[[], bool], what: str) -> None:
    """Wait until something is true."""
    end = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.2)


@pytest.mark.slow
def test_torchrun_goes_on_with_the_node_that_is_left_and_takes_back_the_other(
    machines, settings, environment, cluster_environment, tmp_path
):
    alone, folder, steps = tmp_path / "alone", tmp_path / "run", 1200
    line = [*settings, f"--train.steps={steps}", f"--train.validation_steps={steps}"]
    line += ["--run.checkpoint_steps=20"]
    # at the rates of the recipe, AdamW's and Muon's, rounding grows to 1e-3 nats and more
    line += ["--optimizer.learning_rate=2e-5", "--optimizer.matrix_learning_rate=2e-4"]
    command = [sys.executable, *TRAIN, *line, f"--run.dir={alone}"]
    subprocess.run(command, env=cluster_environment, capture_output=True, check=True)
    line.append(f"--run.dir={folder}")

    def logged() -> int:
        path = folder / "metrics.jsonl"
        return path.read_text().count('train/loss_nats"') if path.exists() else 0

    def worlds() -> list[int]:
        starts = json.loads((folder / "code.json").read_text())["starts"]
        return [int(start["environment"]["WORLD_SIZE"]) for start in starts]

    first, lost = (elastic(machines[name], line, environment) for name in NODES)
    until(lambda: logged() > 30, "steps of two nodes")
    lose_work(machines["node2"], "train.py")
    until(lambda: len(worlds()) == 2, "a start of one node")
    seen = logged()
    until(lambda: logged() > seen + 10, "steps of one node")
    again = elastic(machines["node2"], line, environment)
    output_of(first)
    output_of(again)
    assert lost.wait() == -signal.SIGKILL
    assert worlds() == [2, 1, 2]
    assert losses(folder) == pytest.approx(losses(alone), abs=1e-4)
