"""Timing of each rank's own work, and detection of stragglers."""

import logging
import socket
from dataclasses import dataclass, field
from statistics import median_low
from time import perf_counter
from typing import Any

import torch
from torch.profiler import record_function

log = logging.getLogger(__name__)

PHASE_PREFIX = "alignmlm: "  # of the names of phases in a trace
SLOW = 1.5  # times the median of all ranks
SLOW_READINGS = 3  # logged steps in a row before a slow rank is named


def phase(name: str) -> record_function:
    """A context that names a part of a step in traces; costs microseconds if none is recorded."""
    return record_function(PHASE_PREFIX + name)


class DeviceTime:
    """A timer of a device's work, used as a context; it does not synchronise with the device."""

    def __init__(self, device: torch.device) -> None:
        self.on_cuda = device.type == "cuda"
        self.started, self.passed_s = 0.0, 0.0
        self.events: list[torch.cuda.Event] = []  # starts and ends in turn

    def __enter__(self) -> None:
        self.note()
        self.started = perf_counter()

    def __exit__(self, *error: object) -> None:
        self.note()
        self.passed_s += perf_counter() - self.started

    def note(self) -> None:
        """Record an event in the device's queue, if it has one."""
        if self.on_cuda:
            self.events.append(torch.cuda.Event(enable_timing=True))
            self.events[-1].record()

    def take_s(self) -> float:
        """Seconds timed since the last call; on CUDA its work must be done, as after logging."""
        passed_s, self.passed_s = self.passed_s, 0.0
        if self.on_cuda:
            spans = zip(self.events[::2], self.events[1::2], strict=True)
            passed_s = sum(start.elapsed_time(end) for start, end in spans) / 1000
            self.events = []
        return passed_s


@dataclass(slots=True)
class SlowRank:
    """The slowest rank at the last logged steps."""

    names: list[str]  # of the ranks, with their hosts
    group: Any = None  # process group of the ranks, on their CPUs
    rank: int = -1
    readings: int = 0  # consecutive logged steps that this rank was far behind
    reported: set[int] = field(default_factory=set)

    def compare(self, own_s: float) -> dict[str, float | int]:
        """Metrics of the slowest rank; every rank calls this with its own seconds."""
        if len(self.names) == 1:
            return {}
        seconds = torch.zeros(len(self.names), dtype=torch.float64)
        rank = torch.distributed.get_rank()
        seconds[rank] = own_s
        torch.distributed.all_reduce(seconds, group=self.group)
        return self.judge(seconds.tolist(), tell=rank == 0)

    def judge(self, seconds: list[float], tell: bool) -> dict[str, float | int]:
        """Metrics of the slowest rank; one that stays far behind the median is reported once.

        `seconds` is what each rank spent on its own work, without waiting for others.
        """
        slowest = max(range(len(seconds)), key=seconds.__getitem__)
        ratio = seconds[slowest] / max(median_low(seconds), 1e-9)
        same = ratio > SLOW and slowest == self.rank
        self.readings = self.readings + 1 if same else int(ratio > SLOW)
        self.rank = slowest if ratio > SLOW else -1
        if self.readings >= SLOW_READINGS and slowest not in self.reported:
            self.reported.add(slowest)
            if tell:
                text = "%s is slow: %.2f times the median rank's time for data and forward pass"
                log.warning(text, self.names[slowest], ratio)
        return {"train/slowest_rank": slowest, "train/slowest_rank_ratio": ratio}


def slow_rank(group: Any) -> SlowRank:
    """Gather the names of all ranks of a process group; every rank calls this."""
    names: list[Any] = [None] * torch.distributed.get_world_size()
    name = f"rank {torch.distributed.get_rank()} on {socket.gethostname()}"
    torch.distributed.all_gather_object(names, name, group)
    return SlowRank(names, group)
