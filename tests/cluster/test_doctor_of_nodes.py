"""`alignmlm doctor --nodes` on two machines that are well, and on machines that are not."""

import json
import os
import shutil
import sys

import pytest

from alignmlm.data.store import MANIFEST, SELF
from tests.cluster.machines import ADDRESSES, NODES, Machine

pytestmark = pytest.mark.cluster
LIMIT_S = 900


def doctor(machine: Machine, environment: dict[str, str], *arguments: str) -> tuple[int, dict]:
    """The exit code of the doctor, and what it found."""
    command = [sys.executable, "-m", "alignmlm.cli", "doctor", "--json", *arguments]
    process = machine.start(command, environment)
    told, _ = process.communicate(timeout=LIMIT_S)
    return process.returncode, json.loads(told[told.index("{") :])


def states(report: dict) -> dict[str, str]:
    return {check["name"]: check["state"] for check in report["checks"]}


@pytest.fixture
def environment(cluster_environment, tmp_path) -> dict[str, str]:
    return cluster_environment | {"DS_ENV_FILE": str(tmp_path / "deepspeed_env")}


def test_two_nodes_that_are_alike_are_ready(machines, small_store, environment, tmp_path):
    hostfile = tmp_path / "hostfile"
    hostfile.write_text("".join(f"{name} slots=1\n" for name in NODES))
    code, found = doctor(
        machines["node1"], environment,
        "--nodes", str(hostfile), "--store", str(small_store), "--write-env",
    )  # fmt: skip
    assert code == 0, found
    assert [report["host"] for report in found["reports"]] == ["node1", "node1", "node2"]
    for report in found["reports"][1:]:
        assert report["address"] == ADDRESSES[report["host"]]
        # the nodes' hosts files lead their names to 127.0.1.1
        unwell = {name for name, state in states(report).items() if state != "ok"}
        assert unwell <= {"network", "free disk"}
    together = {check["name"]: check for check in found["checks"]}
    assert together["all-reduce, 2 nodes"]["found"].endswith("MB/s")
    assert together[".deepspeed_env"]["state"] == "ok"
    assert together["link watch"]["state"] == "warning"
    assert "DS_ACCELERATOR=cpu" in (tmp_path / "deepspeed_env").read_text().splitlines()


@pytest.mark.slow
def test_a_node_with_other_data_a_lock_and_one_that_is_not_there_are_told(
    machines, small_store, environment, tmp_path
):
    hostfile, other = tmp_path / "hostfile", tmp_path / "other"
    hostfile.write_text("node2 slots=1\nnowhere slots=1\n")
    shutil.copytree(small_store, other)
    manifest = (other / MANIFEST).read_text()
    (other / MANIFEST).write_text(manifest.replace(f'"{SELF}": "', f'"{SELF}": "0'))
    lock = tmp_path / "extensions" / "cpu_adam" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (0, 0))
    given = environment | {"TORCH_EXTENSIONS_DIR": str(tmp_path / "extensions")}
    machines["node2"].run("mount", "--bind", str(other), str(small_store))
    try:
        code, found = doctor(
            machines["node1"], given,
            "--nodes", str(hostfile), "--store", str(small_store), "--write-env",
        )  # fmt: skip
    finally:
        machines["node2"].run("umount", str(small_store))
    _, node2, nowhere = found["reports"]
    assert code == 2
    assert states(node2)["data store"] == "problem"
    assert states(node2)["extensions"] == "problem"
    assert states(nowhere) == {"ssh": "problem"}
