"""Two nodes and a head for the tests here; where they cannot be, the tests are skipped, loudly."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.machines import SSHD, Machine, running

PROGRAMS = ("ip", "unshare", "nsenter", "setpriv", "ssh", SSHD, "ssh-keygen")


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Machine]]:
    """Machines by name: head, node1, node2."""
    if os.geteuid() != 0:
        pytest.skip("NO NODES: namespaces need root")
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"NO NODES: install {', '.join(missing)} (tests/cluster/install.sh)")
    if told := why_no_namespaces():
        pytest.skip(f"NO NODES: this machine does not let us make them: {told}")
    with running(tmp_path_factory.mktemp("machines")) as found:
        yield found


def why_no_namespaces() -> str:
    """What hinders namespaces with bridges and cables here, as in many containers; or nothing."""
    links = "ip link add br0 type bridge && ip link add v0 type veth peer name eth0"
    command = ["unshare", "--net", "--uts", "--mount", "--propagation=private", "sh", "-c", links]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return tried.stderr if tried.returncode else ""


@pytest.fixture(scope="session")
def cluster_environment() -> dict[str, str]:
    """The environment of a shell on a node, from which a user starts a run."""
    launchers = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "OMPI_", "PMI_", "SLURM_", "GLOO_")
    kept = {name: v for name, v in os.environ.items() if not name.startswith(launchers)}
    places = [str(Path.cwd()), str(Path("kernels").absolute()), os.environ.get("PYTHONPATH", "")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, places)),
        "PATH": path,
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
