"""Checks of all nodes of a hostfile, over ssh as the launcher will reach them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alignmlm.doctor.bandwidth import RankPlace
from alignmlm.doctor.environment import FILE, forgotten, on_nodes
from alignmlm.doctor.hostfile import Host
from alignmlm.doctor.report import Check, Diagnosis, Report, compared, parse_report
from alignmlm.ranks.network import free_port

SSH = (
    "ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5",
    "-o", "ServerAliveCountMax=3",
)  # fmt: skip
LIMIT_S = 600  # of one command on a node; the first import of DeepSpeed may take minutes
CLOCK_S = 1.0  # largest acceptable clock difference
SLOW_MB_PER_S = 100.0  # about a 1 Gbit link
NO_SSH = "there is no ssh here"
WATCH = "-o ServerAliveInterval=10 -o ServerAliveCountMax=6"


class NodeError(Exception):
    """A command on a node that failed; the text says how."""


def asked(host: Host, command: Sequence[str], variables: dict[str, str]) -> str:
    """The output of a command on a node, run in the same working folder as here.

    Raises:
        NodeError: ssh or the command failed, or took too long.
    """
    given = [f"{name}={value}" for name, value in variables.items()]
    words = ["env", *given, *command]
    remote = f"cd {shlex.quote(str(Path.cwd()))} && exec {shlex.join(words)}"
    try:
        done = subprocess.run(
            [*SSH, host.name, remote],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise NodeError(f"no answer within {LIMIT_S} s") from error
    except FileNotFoundError as error:
        raise NodeError(NO_SSH) from error
    # 2: the doctor found a problem, and says so in its report
    if done.returncode not in (0, 2) or not done.stdout:
        error_lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NodeError(error_lines[-1])
    return done.stdout


def on_all(hosts: list[Host], work: Callable[[Host], Check | Report]) -> list:
    """The results of some work for each node, done concurrently."""
    with ThreadPoolExecutor(max_workers=64) as pool:
        return list(pool.map(work, hosts))


def visit(host: Host, store: str | None, variables: dict[str, str]) -> Report:
    """The report of the doctor on a node, with its clock."""
    command = [sys.executable, "-m", "alignmlm.cli", "doctor", "--json"]
    if store is not None:
        command += ["--store", store]
    try:
        clock = clock_difference(host)
        report = parse_report(asked(host, command, variables))
    except (NodeError, ValueError) as error:
        where = f"{sys.executable} and {Path.cwd()}"
        remedy = f"make `ssh {host.name} true` work without a password, and have {where} there"
        return Report(host.name, [Check("ssh", "problem", str(error)[:200], remedy)])
    checks = [Check("ssh", "ok", "without a password"), clock, slots(host, report), *report.checks]
    return Report(host.name, checks, report.address, report.devices)


def clock_difference(host: Host) -> Check:
    """How far a node's clock is ahead of this one, within half the round-trip time.

    Raises:
        NodeError: the node does not answer.
    """
    before = time.time()
    answer = float(asked(host, ["date", "+%s.%N"], {}))
    after = time.time()
    ahead, unsure = answer - (before + after) / 2, (after - before) / 2
    offset = f"{ahead:+.1f} s (± {unsure:.1f})"
    if abs(ahead) - unsure > CLOCK_S:
        return Check(
            "clock",
            "warning",
            offset,
            "start chrony or ntpd: timestamps in the nodes' logs will not match",
        )
    return Check("clock", "ok", offset)


def slots(host: Host, report: Report) -> Check:
    """Whether a node has at least as many devices as slots in the hostfile."""
    if report.devices and host.slots > report.devices:
        remedy = f"write slots={report.devices}, as many as the node has GPUs"
        return Check("slots", "problem", f"{host.slots} for {report.devices} GPUs", remedy)
    return Check("slots", "ok", str(host.slots))


def link_watch(host: Host) -> Check:
    """Whether ssh notices a dead connection to a node, according to its configuration."""
    if shutil.which("ssh") is None:
        return Check("link watch", "warning", NO_SSH, "install an ssh client")
    try:
        appended = shlex.split(os.environ.get("PDSH_SSH_ARGS_APPEND", ""))
        command = ["ssh", *appended, "-G", host.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (ValueError, subprocess.TimeoutExpired) as error:  # a quote that is not closed
        remedy = "mend PDSH_SSH_ARGS_APPEND, or the configuration of ssh"
        return Check("link watch", "problem", str(error)[:200], remedy)
    match = re.search(r"^serveraliveinterval (\d+)", done.stdout, re.MULTILINE)
    seconds = int(match[1]) if match else 0
    if seconds == 0:
        remedy = f'export PDSH_SSH_ARGS_APPEND="{WATCH}" where you start deepspeed'
        return Check("link watch", "warning", "off: a dead link is never noticed", remedy)
    return Check("link watch", "ok", f"every {seconds} s")


def launcher() -> Check:
    """Whether deepspeed's default launcher is installed."""
    if shutil.which("pdsh") is None:
        remedy = "install pdsh, or start with --launcher openmpi, torchrun or srun"
        return Check("pdsh", "warning", "not installed", remedy)
    return Check("pdsh", "ok", "installed")


def environment(shell: Mapping[str, str]) -> Check:
    """Whether the nodes will get the variables that are set in the shell."""
    missing = forgotten(Path.cwd(), shell)
    if missing:
        remedy = "alignmlm doctor --nodes HOSTFILE --write-env"
        return Check(FILE, "warning", f"lacks {', '.join(missing)}", remedy)
    return Check(FILE, "ok", "has what is set here")


def bandwidth(hosts: list[Host], address: str, variables: dict[str, str]) -> Check:
    """The all-reduce speed over some nodes, as measured by the slowest."""
    port, world = free_port(), len(hosts)
    module = [sys.executable, "-m", "alignmlm.doctor.bandwidth"]
    name = f"all-reduce, {world} nodes"

    def measured(number: int) -> float:
        place = RankPlace(number, world, address, port)
        return float(
            json.loads(asked(hosts[number], [*module, *place.arguments()], variables))["mb_per_s"]
        )

    try:
        with ThreadPoolExecutor(max_workers=world) as pool:
            speed = min(pool.map(measured, range(world)))
    except (NodeError, ValueError) as error:
        remedy = f"open TCP ports between the nodes; rank 0 was {address}:{port}"
        return Check(name, "problem", str(error)[:200], remedy)
    speed_text = f"{speed:.0f} MB/s"
    if speed < SLOW_MB_PER_S:
        remedy = "each step sends the gradients once: 4 MB per million parameters; see docs"
        return Check(name, "warning", speed_text, remedy)
    return Check(name, "ok", speed_text)


def diagnose(
    hosts: list[Host], here: Report, store: str | None, shell: Mapping[str, str]
) -> Diagnosis:
    """This machine's report, every node's compared with it, and the checks of all together.

    `shell` is the environment from which the user will start the run.
    """
    variables = on_nodes(Path.cwd(), shell)
    reports = on_all(hosts, lambda host: compared(visit(host, store, variables), here))
    checks = [launcher(), environment(shell), link_watch(hosts[0])]
    pairs = zip(hosts, reports, strict=True)
    ready = [(host, report.address) for host, report in pairs if report.address is not None]
    if len(ready) > 1:
        first = str(ready[0][1])
        checks.append(bandwidth([host for host, _ in ready], first, variables))
    return Diagnosis([here, *reports], checks)
