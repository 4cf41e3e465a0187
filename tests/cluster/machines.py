"""Machines within this one: namespaces with their own addresses, names, files and sshd.

A machine is a process that sleeps in namespaces of its own; they end with their processes, and
these with the tests, however those end. Nothing is added to this machine's network. Only processes
of these namespaces are ever ended.
"""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HEAD, NODES = "head", ("node1", "node2")
ADDRESSES = {"head": "10.77.0.254", "node1": "10.77.0.1", "node2": "10.77.0.2"}
SSHD = "/usr/sbin/sshd"
WITH_US = ("setpriv", "--pdeathsig", "KILL")  # the command after it ends when this process does
JOB = Path("/job")  # where DeepSpeed looks for its hostfile


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine, by the process that keeps its namespaces."""

    name: str
    holder: int

    def command(self, *words: str) -> list[str]:
        """A command line that runs words on this machine, in the working folder."""
        enter = ["nsenter", f"--target={self.holder}", "--net", "--uts", "--mount"]
        return [*enter, f"--wdns={Path.cwd()}", "--", *words]

    def run(self, *words: str, check: bool = True) -> str:
        """What a command prints on this machine."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{self.name}: {words}: {done.stderr}"
        return done.stdout

    def start(self, words: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        """A command that goes on in the background."""
        return subprocess.Popen(
            self.command(*words), env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


def new_machine(name: str, folder: Path) -> Machine:
    """A machine with a name, hosts file, ~/.ssh and /job of its own; it has no network yet."""
    (folder / f"hosts.{name}").write_text(hosts_file(name))
    job = folder / f"job.{name}"
    job.mkdir()
    mounts = [
        (folder / f"hosts.{name}", "/etc/hosts"),
        (folder / "ssh", Path("~/.ssh")),
        (job, JOB),
    ]
    script = "; ".join(
        f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(Path(target).expanduser()))}"
        for source, target in mounts
    )
    ready = f"set -e; hostname {name}; {script}; ip link set lo up; echo ready; exec sleep infinity"
    namespaces = ["unshare", "--net", "--uts", "--mount", "--propagation=private"]
    process = subprocess.Popen(
        [*WITH_US, *namespaces, "sh", "-c", ready],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", f"{name} does not start"
    return Machine(name, process.pid)


def hosts_file(name: str) -> str:
    """A hosts file as Debian's installer writes it: the own name stands for loopback."""
    others = [f"{ADDRESSES[other]} {other}\n" for other in ADDRESSES if other != name]
    return f"127.0.0.1 localhost\n127.0.1.1 {name}\n" + "".join(others)


def connect(head: Machine, node: Machine, number: int) -> None:
    """A cable from the bridge in the head to eth0 of a node."""
    cable = f"v{number}"
    head.run(
        "ip", "link", "add", cable, "type", "veth",
        "peer", "name", "eth0", "netns", str(node.holder),
    )  # fmt: skip
    head.run("ip", "link", "set", cable, "master", "br0", "up")
    node.run("ip", "addr", "add", f"{ADDRESSES[node.name]}/24", "dev", "eth0")
    node.run("ip", "link", "set", "eth0", "up")


def make_keys(folder: Path) -> None:
    """A ~/.ssh for all machines, with a key that opens all of them, and sshd's configuration."""
    ssh = folder / "ssh"
    ssh.mkdir(mode=0o700)
    for key in (ssh / "id_ed25519", folder / "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (ssh / "authorized_keys").write_bytes((ssh / "id_ed25519.pub").read_bytes())
    quiet = "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n"
    (ssh / "config").write_text(f"Host *\n{quiet}")
    (folder / "sshd_config").write_text(
        f"HostKey {folder}/host_key\nAuthorizedKeysFile {ssh}/authorized_keys\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\nUsePAM no\n"
        "StrictModes no\nMaxStartups 100\nMaxSessions 100\n"
    )


def start_sshd(machine: Machine, folder: Path) -> None:
    """An sshd on a machine; it is there when this returns."""
    options = ["-f", folder / "sshd_config", "-E", folder / f"sshd.{machine.name}.log"]
    pid_file = folder / f"sshd.{machine.name}.pid"
    command = [*WITH_US, SSHD, "-D", *map(str, options), "-o", f"PidFile={pid_file}"]
    subprocess.Popen(machine.command(*command), stdin=subprocess.DEVNULL)
    for _ in range(100):
        if pid_file.exists():
            return
        time.sleep(0.1)
    raise AssertionError((folder / f"sshd.{machine.name}.log").read_text())


def processes_of(machines: Sequence[Machine]) -> list[int]:
    """Processes whose network namespace is that of one of some machines."""
    ours = {Path(f"/proc/{machine.holder}/ns/net").readlink() for machine in machines}
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            inside = (path / "ns" / "net").readlink() in ours
        except OSError:
            continue  # it has just ended
        if inside:
            found.append(int(path.name))
    return found


def lose_work(machine: Machine, word: str) -> None:
    """kill -9 of every process of a machine that has a word in its command line."""
    for pid in processes_of([machine]):
        try:
            if word in Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace"):
                os.kill(pid, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended


def end_all(machines: Sequence[Machine]) -> None:
    """End every process of some machines; the sleeping ones last, as they keep the namespaces."""
    holders = {machine.holder for machine in machines}
    for pid in [pid for pid in processes_of(machines) if pid not in holders]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for pid in holders:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def running(folder: Path) -> Iterator[dict[str, Machine]]:
    """A head and two nodes, joined by a bridge, each with sshd."""
    make_keys(folder)
    made_here = [path for path in (JOB, Path("~/.ssh").expanduser()) if not path.exists()]
    Path("/run/sshd").mkdir(exist_ok=True)
    for path in made_here:
        path.mkdir(mode=0o700)
    machines: dict[str, Machine] = {}
    try:
        for name in (HEAD, *NODES):
            machines[name] = new_machine(name, folder)
        head = machines[HEAD]
        head.run("ip", "link", "add", "br0", "type", "bridge")
        head.run("ip", "addr", "add", f"{ADDRESSES[HEAD]}/24", "dev", "br0")
        head.run("ip", "link", "set", "br0", "up")
        for number, name in enumerate(NODES):
            connect(head, machines[name], number)
        for machine in machines.values():
            start_sshd(machine, folder)
        yield machines
    finally:
        end_all(list(machines.values()))
        for path in made_here:
            path.rmdir()
