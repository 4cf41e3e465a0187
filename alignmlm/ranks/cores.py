"""How many CPU cores this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

OWN_GROUPS = Path("/proc/self/cgroup")
ALL_GROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """The cores that this process may run on, at least 1, limited by the quota of its container.

    The quota (`docker run --cpus 2`) leaves all of the machine's cores visible; threads beyond it
    only wait for each other.
    """
    allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *map(math.ceil, quotas(OWN_GROUPS, ALL_GROUPS))]))


def quotas(own: Path, groups: Path) -> Iterator[float]:
    """The CPU quotas, in cores, of this process's control groups and of those above them.

    Args:
        own: lists the groups of the process, each as `number:controllers:path` (cgroups(7)).
        groups: where the groups are mounted; version 1 has a folder for each set of controllers.
    """
    try:
        lines = own.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = groups / controllers
        folder = mounted / path.strip("/")
        while True:
            yield from quota_of(folder)
            if folder == mounted:
                break
            folder = folder.parent


def quota_of(folder: Path) -> Iterator[float]:
    """The quota of one group, in cores, if it has one."""
    try:
        if (folder / "cpu.max").exists():  # version 2
            texts = (folder / "cpu.max").read_text("ascii").split()
        else:
            texts = [
                (folder / f"cpu.cfs_{name}_us").read_text("ascii") for name in ("quota", "period")
            ]
        quota_us, period_us = map(int, texts)
    except (OSError, ValueError):
        return  # no such group here, or "max"
    if quota_us > 0 and period_us > 0:
        yield quota_us / period_us
