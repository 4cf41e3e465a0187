"""Times of functions that take turns on rotating inputs, and the bytes that each holds at most."""

import gc
import time
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

FLUSH_BYTES = 2**29  # several times the second-level cache of any GPU
BANDWIDTH_BYTES = 2**28
Work = Callable[[int], object]  # runs once, on the inputs of a turn


@dataclass(frozen=True, slots=True)
class Quantiles:
    """The 20, 50 and 80 % quantiles of some times."""

    p20_ms: float
    p50_ms: float
    p80_ms: float


def quantiles(spent_ms: list[float]) -> Quantiles:
    """The median of some times and the two quantiles that bound their spread."""
    return Quantiles(*(round(float(q), 4) for q in np.quantile(spent_ms, (0.2, 0.5, 0.8))))


def cpu_ms(work: Work, turn: int) -> float:
    """Milliseconds of wall time that one call takes on this machine."""
    start = time.perf_counter()
    work(turn)
    return 1e3 * (time.perf_counter() - start)


def cuda_ms(work: Work, turn: int, flush: torch.Tensor) -> float:
    """Milliseconds between two events around one call, with the caches filled by something else.

    Overwriting the flush buffer keeps the GPU busy while the call's first kernels are launched.
    """
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    flush.zero_()
    start.record()
    work(turn)
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


def clock_of(device: torch.device) -> Callable[[Work, int], float]:
    """The function that times one call on a device."""
    if device.type != "cuda":
        return cpu_ms
    flush = torch.empty(FLUSH_BYTES, dtype=torch.int8, device=device)
    return lambda work, turn: cuda_ms(work, turn, flush)


def alternating_ms(
    works: Mapping[str, Work], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Milliseconds of every call, by name; in each round all take a turn, another one first.

    So a slow spell of the machine hits all of them, and nobody always follows the same neighbour.
    """
    names, clock = list(works), clock_of(device)
    spent: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names) if names else 0
        for name in names[first:] + names[:first]:
            spent[name].append(clock(works[name], turn))
    return spent


def free_cached(device: torch.device) -> None:
    """Give back what nobody holds any more."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def cuda_peak_bytes(work: Work) -> int:
    """The most that the CUDA allocator held during one call, less what it held before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work(0)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def cpu_peak_bytes(work: Work) -> int:
    """The most that one call held of torch's CPU allocator, plus the most of Python's and NumPy's.

    The two peaks may lie apart in time, so this is an upper bound; scratch memory that a library
    takes past both allocators is not seen.
    """
    cpu = [torch.profiler.ProfilerActivity.CPU]
    tracemalloc.start()
    with torch.profiler.profile(activities=cpu, profile_memory=True, acc_events=True) as seen:
        before_bytes = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        work(0)
        python_bytes = tracemalloc.get_traced_memory()[1] - before_bytes
    tracemalloc.stop()
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = np.cumsum([0, *(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns()))])
    return int(held.max()) + python_bytes


PEAK_COUNTED_BY = {
    "cuda": "torch.cuda.max_memory_allocated",
    "cpu": "torch's allocator (torch.profiler) + NumPy's (tracemalloc)",
}


def peak_bytes(work: Work, device: torch.device) -> int:
    """The most bytes that one call holds beyond its inputs."""
    free_cached(device)
    return cuda_peak_bytes(work) if device.type == "cuda" else cpu_peak_bytes(work)


def bandwidth_bytes_per_s(device: torch.device, rounds: int = 9) -> float:
    """Bytes read and written a second by a large copy: the median of some rounds."""
    source = torch.zeros(BANDWIDTH_BYTES, dtype=torch.int8, device=device)
    target = torch.ones_like(source)
    spent = alternating_ms({"copy": lambda _: target.copy_(source)}, rounds, device)["copy"]
    return 2 * BANDWIDTH_BYTES / (quantiles(spent[1:]).p50_ms / 1e3)
