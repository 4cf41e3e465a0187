"""Implementations of one loss on the same inputs: who can take part, errors, times, memory."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from exact import Exact
from peers import Implementation, LossOf
from records import BenchRow
from timing import (
    PEAK_COUNTED_BY,
    Work,
    alternating_ms,
    bandwidth_bytes_per_s,
    free_cached,
    peak_bytes,
    quantiles,
)
from torch import Tensor

log = logging.getLogger(__name__)

MODES = ("forward", "both")
BANDWIDTH = "floor: copy"
TURNS = 2  # sets of inputs that rotate


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What all implementations get in one comparison."""

    op: str
    shape: dict[str, int | bool]
    dtype: torch.dtype
    kind: str
    cases: Sequence[Any]  # with leaves(), what gradients are wanted for
    counted: int  # the loss is the sum of the nats over this number
    gradients: tuple[str, ...]  # names of the leaves
    exact: Callable[[Any], Exact]
    least_flops: dict[str, int] = field(default_factory=dict)  # by mode
    least_bytes: dict[str, int] = field(default_factory=dict)
    floors: dict[str, dict[str, Work]] = field(default_factory=dict)  # by name, by mode

    def row(self, impl: str, mode: str, **measured: Any) -> BenchRow:
        """A row of results for these inputs."""
        return BenchRow(
            op=self.op,
            impl=impl,
            mode=mode,
            shape=self.shape,
            dtype=str(self.dtype).removeprefix("torch."),
            inputs=self.kind,
            least_flops=self.least_flops.get(mode, 0),
            least_bytes=self.least_bytes.get(mode, 0),
            **measured,
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What one implementation gave apart from its times."""

    errors: dict[str, float]
    repeatable: bool
    peaks_bytes: dict[str, int] = field(default_factory=dict)


def relative_error(found: Tensor, exact: Tensor) -> float:
    """The norm of a difference over the norm of what is exact; at least 0, nan if found has nan."""
    return float((found.double() - exact).norm() / exact.norm().clamp(min=1e-300))


def gradients(loss_of: LossOf, case: Any) -> tuple[Tensor, ...]:
    """The mean loss of a case and its gradients."""
    loss = loss_of(case, "mean")
    return loss.detach(), *torch.autograd.grad(loss, case.leaves())


def works_of(loss_of: LossOf, cases: Sequence[Any]) -> dict[str, Work]:
    """The calls to be timed, by mode; the forward one keeps what a backward one would need."""
    return {
        "forward": lambda turn: loss_of(cases[turn % len(cases)], "mean"),
        "both": lambda turn: gradients(loss_of, cases[turn % len(cases)]),
    }


def errors_of(implementation: Implementation, loss_of: LossOf, inputs: Inputs) -> Found:
    """Errors against float64 on the first inputs, and whether a second run gives the same bits."""
    case = inputs.cases[0]
    first, again = gradients(loss_of, case), gradients(loss_of, case)
    same = all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    exact = inputs.exact(case)
    errors = {"loss": relative_error(first[0], exact.nats.sum() / max(inputs.counted, 1))}
    for name, found, right in zip(inputs.gradients, first[1:], exact.gradients, strict=True):
        errors[name] = relative_error(found, right)
    if "none" in implementation.reductions:
        with torch.no_grad():
            nats = loss_of(case, "none")
        errors["largest_nats"] = float((nats.double() - exact.nats).abs().max())
    return Found({name: float(f"{value:.3g}") for name, value in errors.items()}, same)


def first_line(error: Exception) -> str:
    """What an exception says, in at most 160 characters of one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:160]


def tried(
    implementation: Implementation, inputs: Inputs, device: torch.device
) -> tuple[LossOf, Found] | str:
    """An implementation ready to be timed and what it gave, or why it cannot take part."""
    try:
        loss_of = implementation.opened()
        found = errors_of(implementation, loss_of, inputs)
        works = works_of(loss_of, inputs.cases)
        for mode in MODES:
            implementation.forget()
            found.peaks_bytes[mode] = peak_bytes(works[mode], device)
    except Exception as error:  # other people's code: whatever it raises is the result
        log.debug("%s failed", implementation.name, exc_info=True)
        return first_line(error)
    return loss_of, found


def measured_row(
    inputs: Inputs, made: Implementation, found: Found, mode: str, device: torch.device
) -> BenchRow:
    """The row of one implementation in one mode, still without its times."""
    return inputs.row(
        made.name,
        mode,
        peak_bytes=found.peaks_bytes[mode],
        peak_counted_by=PEAK_COUNTED_BY[device.type],
        errors=found.errors,
        repeatable=found.repeatable,
        gradients_in_forward=made.gradients_in_forward,
    )


def timed_rows(
    rows: list[BenchRow], works: dict[str, Work], rounds: int, device: torch.device
) -> list[BenchRow]:
    """The rows with times from one run in which all works take turns; every input is seen first."""
    alternating_ms(works, TURNS, device)
    spent = alternating_ms(works, rounds, device)
    times = {name: asdict(quantiles(values)) for name, values in spent.items()}
    return [BenchRow(**asdict(row) | times[row.impl] | {"rounds": rounds}) for row in rows]


def compared(
    implementations: Sequence[Implementation],
    absence: Callable[[Implementation], str | None],
    inputs: Inputs,
    rounds: int,
    device: torch.device,
) -> list[BenchRow]:
    """Rows of every implementation on some inputs, those that could not take part among them."""
    ready, rows = {}, []
    for made in implementations:
        outcome = absence(made) or tried(made, inputs, device)
        free_cached(device)
        if isinstance(outcome, str):
            rows.append(inputs.row(made.name, "both", skipped=outcome))
        else:
            ready[made] = outcome
    for mode in MODES:
        works = {name: modes[mode] for name, modes in inputs.floors.items()}
        part = [inputs.row(name, mode) for name in works]
        works |= {made.name: works_of(ready[made][0], inputs.cases)[mode] for made in ready}
        part += [measured_row(inputs, made, ready[made][1], mode, device) for made in ready]
        rows += timed_rows(part, works, rounds, device)
        free_cached(device)
    copied = round(bandwidth_bytes_per_s(device))
    return [*rows, inputs.row(BANDWIDTH, "both", bytes_per_s=copied)]
