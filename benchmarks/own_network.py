"""A network of a process's own, and a cable to it; as root, on Linux."""

import ctypes
import subprocess

from forked_ranks import LIBC

CLONE_NEWNET = 0x40000000  # linux/sched.h
LINK = "cable"
HERE, THERE = "10.78.0.1", "10.78.0.2"  # at the two ends of the cable


def own_network() -> None:
    """Give this process and its children a network of their own, with a loopback only."""
    if LIBC.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def plug_in(pid: int) -> None:
    """A cable from here to the network of another process; the last one may still be there."""
    subprocess.run(["ip", "link", "del", LINK], check=False, capture_output=True)
    inside = ["nsenter", f"--target={pid}", "--net"]
    for command in (
        ["ip", "link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", str(pid)],
        ["ip", "addr", "add", f"{HERE}/24", "dev", LINK],
        ["ip", "link", "set", LINK, "up"],
        [*inside, "ip", "addr", "add", f"{THERE}/24", "dev", "eth0"],
        [*inside, "ip", "link", "set", "eth0", "up"],
    ):
        subprocess.run(command, check=True)


def unplug() -> None:
    """Take the link down; both ends stay."""
    subprocess.run(["ip", "link", "set", LINK, "down"], check=True)
