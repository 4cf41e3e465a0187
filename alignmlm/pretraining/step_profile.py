"""Where the time of a step goes: its largest costs by phase, and a trace for trace viewers."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from alignmlm.console.terminal import messages, new_table
from alignmlm.ranks.stragglers import PHASE_PREFIX, phase
from alignmlm.storage.atomic import new_file

log = logging.getLogger(__name__)

PHASES = ("data", "forward", "head and loss", "backward", "optimizer")
STEP, OTHER = "step", "other"
BETWEEN = "between operations"  # Python, and waiting for a device or for other ranks
TRACE = "trace.json"
WARM_UP_STEPS, PROFILED_STEPS = 3, 5
SHOWN = 10


class Cost(NamedTuple):
    """An operation in a phase of the step."""

    phase: str
    operation: str


@dataclass(frozen=True, slots=True)
class StepCosts:
    """The costs of some steps, which add up to their time."""

    steps: int
    step_us: float  # of all steps
    costs_us: dict[Cost, float]

    def by_phase(self) -> dict[str, float]:
        """Share of each phase in percent."""
        shares = dict.fromkeys((*PHASES, OTHER), 0.0)
        for cost, spent_us in self.costs_us.items():
            shares[cost.phase] += 100 * spent_us / self.step_us
        return shares


class StepProfile:
    """Profiles a few steps of a run once it has warmed up."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device, self.taken = folder, device, 0
        on_device = [ProfilerActivity.CUDA] if device.type == "cuda" else []
        self.profiler = profile(activities=[ProfilerActivity.CPU, *on_device])

    @contextmanager
    def step(self) -> Iterator[None]:
        """A context for each step of the run."""
        self.taken += 1
        if self.taken == WARM_UP_STEPS + 1:
            self.profiler.start()
        if not WARM_UP_STEPS < self.taken <= WARM_UP_STEPS + PROFILED_STEPS:
            yield
            return
        with phase(STEP):
            yield
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        if self.taken == WARM_UP_STEPS + PROFILED_STEPS:
            self.finish()

    def close(self) -> None:
        """Finish with the steps profiled so far, if the run ended before all of them were."""
        last = WARM_UP_STEPS + PROFILED_STEPS
        if self.taken <= WARM_UP_STEPS:
            text = "no profile written: it covers steps %d to %d after a start, and this one ran %d"
            log.warning(text, WARM_UP_STEPS + 1, last, self.taken)
        elif self.taken < last:
            self.finish()

    def finish(self) -> None:
        """Write the trace and print the costs."""
        self.profiler.stop()
        with new_file(self.folder / TRACE) as partial:
            self.profiler.export_chrome_trace(str(partial))
        show(step_costs(self.profiler.events() or [], self.device.type == "cuda"))
        messages.print(f"trace: {self.folder / TRACE} (chrome://tracing, ui.perfetto.dev)")


def step_costs(events: Iterable[Any], on_cuda: bool) -> StepCosts:
    """The costs of profiled steps: on CUDA the device's time, elsewhere the CPU's."""
    on_cpu = [event for event in events if event.device_type == DeviceType.CPU]
    ranges = [event for event in on_cpu if event.name.startswith(PHASE_PREFIX)]
    steps = [event for event in ranges if phase_name(event) == STEP]
    step_us = sum(event.cpu_time_total for event in steps)
    costs: defaultdict[Cost, float] = defaultdict(float)
    for event in on_cpu:
        place = phase_of(event, ranges)
        if place is not None and not event.name.startswith(PHASE_PREFIX):
            spent_us = event.self_device_time_total if on_cuda else event.self_cpu_time_total
            costs[Cost(OTHER if place == STEP else place, event.name)] += spent_us
    # on CUDA a phase ends on the CPU before the device has finished its work
    whole_us = {OTHER: step_us - sum(costs.values())} if on_cuda else phases_us(ranges)
    for name, spent_us in whole_us.items():
        inside = 0 if on_cuda else sum(us for cost, us in costs.items() if cost.phase == name)
        costs[Cost(name, BETWEEN)] = max(0.0, spent_us - inside)
    return StepCosts(len(steps), step_us, costs)


def phases_us(ranges: Iterable[Any]) -> dict[str, float]:
    """The time of each phase, without that of phases inside it; "other" is time outside phases."""
    own: defaultdict[str, float] = defaultdict(float)
    for event in ranges:
        own[phase_name(event)] += event.cpu_time_total
        if (outer := enclosing(event.cpu_parent)) is not None:
            own[phase_name(outer)] -= event.cpu_time_total
    own[OTHER] = own.pop(STEP)
    return own


def phase_name(event: Any) -> str:
    """The phase that a range stands for."""
    return str(event.name.removeprefix(PHASE_PREFIX))


def enclosing(event: Any) -> Any:
    """The innermost range around an event, itself included; None if no range is around it."""
    while event is not None and not event.name.startswith(PHASE_PREFIX):
        event = event.cpu_parent
    return event


def phase_of(event: Any, ranges: Iterable[Any]) -> str | None:
    """The phase of an event; found by its time if on another thread (backward pass on CUDA)."""
    if (inner := enclosing(event)) is not None:
        return phase_name(inner)
    start, stop = event.time_range.start, event.time_range.end
    around = [r for r in ranges if r.time_range.start <= start and stop <= r.time_range.end]
    return phase_name(min(around, key=lambda r: r.cpu_time_total)) if around else None


def show(costs: StepCosts) -> None:
    """Print the phases and the largest costs of a step."""
    step_ms = costs.step_us / max(costs.steps, 1) / 1000
    phases = new_table(
        f"{step_ms:.1f} ms a step, mean of {costs.steps}, without log and validation"
    )
    phases.add_column("phase")
    phases.add_column("ms", justify="right")
    phases.add_column("% of step", justify="right")
    for name, share in costs.by_phase().items():
        phases.add_row(name, f"{share * step_ms / 100:.2f}", f"{share:.1f}")
    largest = new_table("largest costs")
    largest.add_column("phase")
    largest.add_column("operation", overflow="fold")
    largest.add_column("% of step", justify="right")
    for cost, spent_us in sorted(costs.costs_us.items(), key=lambda item: -item[1])[:SHOWN]:
        largest.add_row(cost.phase, cost.operation, f"{100 * spent_us / costs.step_us:.1f}")
    messages.print(phases, largest)
