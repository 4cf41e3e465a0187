"""A real SLURM on this machine: munged, slurmctld and two slurmd on loopback ports.

Everything lies in one folder and is found by SLURM_CONF, so an installed SLURM is not touched.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "sinfo", "munged")
NODES = ("node1", "node2")
CONFIGURATION = """
ClusterName=alignmlm
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
ReturnToService=1
KillWait=5
JobRequeue=1
AccountingStorageType=accounting_storage/none
PartitionName=all Nodes=node[1-2] Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """Programs of SLURM and munge that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def free_ports(number: int) -> list[int]:
    """TCP ports that nobody listens on."""
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in opened:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in opened]


def until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until something is true.

    Raises:
        TimeoutError: it was not, in time.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds} s: not {what}")
        time.sleep(0.2)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A SLURM that runs."""

    folder: Path
    environment: dict[str, str]

    def call(self, *command: str) -> str:
        """What a command of SLURM prints; it must succeed."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def job(self, number: int | str) -> dict[str, str]:
        """The fields of `scontrol show job`."""
        text = self.call("scontrol", "show", "job", "-o", str(number))
        return dict(re.findall(r"(\w+)=(\S*)", text))

    def until_job(
        self, number: int | str, states: set[str], seconds: float = 120
    ) -> dict[str, str]:
        """Wait until a job is in one of the states; its fields."""
        until(lambda: self.job(number)["JobState"] in states, f"job {number} in {states}", seconds)
        return self.job(number)

    def start_now(self, number: int | str, seconds: float = 60) -> None:
        """Let a requeued job start soon; SLURM would wait two minutes.

        At once is too soon: a node refuses the job's credential in the second of its revocation.
        """
        until(lambda: self.job(number)["JobState"] == "PENDING", f"{number} is pending", seconds)
        self.call("scontrol", "update", f"JobId={number}", "StartTime=now+5")

    def node_state(self, name: str) -> str:
        """The state of a node, such as IDLE."""
        text = self.call("scontrol", "show", "node", "-o", name)
        return re.search(r"State=(\S+)", text)[1]


def write_configuration(folder: Path) -> None:
    """Write slurm.conf and cgroup.conf, and make the folders that they name."""
    host, (port, *ports) = socket.gethostname(), free_ports(1 + len(NODES))
    lines = [CONFIGURATION.format(host=host, port=port, folder=folder)]
    for name, own in zip(NODES, ports, strict=True):
        where = f"NodeHostname={host} NodeAddr=127.0.0.1 Port={own}"
        lines.append(f"NodeName={name} {where} CPUs=4 RealMemory=4000 State=UNKNOWN")
        (folder / f"spool.{name}").mkdir()
    (folder / "state").mkdir()
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n", encoding="utf-8")


@contextmanager
def daemon(folder: Path, *command: str) -> Iterator[None]:
    """A process that stays in the foreground and is ended at the end."""
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    with (folder / f"{command[0]}.out").open("a") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def munge_command(folder: Path) -> list[str]:
    """How munged is started with everything in the folder."""
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
    options = [f"--{option}={folder}/munge.{name}" for option, name in names.items()]
    return ["munged", "--foreground", "--force", f"--seed-file={folder}/munge.seed", *options]


@contextmanager
def slurm(folder: Path) -> Iterator[Cluster]:
    """A SLURM of two nodes with four CPUs each, until the block ends."""
    folder.chmod(0o755)
    write_configuration(folder)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))}
    cluster = Cluster(folder, environment | {"SLURM_CONF": str(folder / "slurm.conf")})
    with ExitStack() as stack:
        stack.enter_context(daemon(folder, *munge_command(folder)))
        until((folder / "munge.socket").exists, "munge listens", 10)
        stack.enter_context(daemon(folder, "slurmctld", "-D", "-c"))
        for name in NODES:
            stack.enter_context(daemon(folder, "slurmd", "-D", "-c", "-N", name))
        try:
            until(lambda: ready(cluster), "all nodes are idle", 60)
        except TimeoutError as error:
            told = "".join(path.read_text()[-600:] for path in folder.glob("slurm*.log"))
            pytest.skip(f"NO SLURM: it does not start here: {error}: {told}")
        try:
            yield cluster
        finally:
            cluster.call("scancel", "--user=root")
            until(lambda: not cluster.call("squeue", "--noheader"), "all jobs ended", 60)


def ready(cluster: Cluster) -> bool:
    """Whether every node is idle."""
    found = subprocess.run(
        ["sinfo", "-h", "-N", "-t", "idle", "-o", "%N"],
        env=cluster.environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return set(found.stdout.split()) == set(NODES)
