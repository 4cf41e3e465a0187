"""The doctor's report on one machine, and the comparison of several."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    state: State
    found: str
    remedy: str = ""  # what to do where it is not ok


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one machine."""

    host: str
    checks: list[Check]
    address: str | None = None  # where other machines reach it
    devices: int = 0  # visible accelerators

    def check(self, name: str) -> Check | None:
        """The check with this name, if there is one."""
        return next((check for check in self.checks if check.name == name), None)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The reports of all machines; the first is this one."""

    reports: list[Report]
    checks: list[Check] = field(default_factory=list)  # of all nodes together

    @property
    def worst(self) -> State:
        """The worst state of all checks."""
        states = {check.state for report in self.reports for check in report.checks}
        states |= {check.state for check in self.checks}
        return next((state for state in ("problem", "warning") if state in states), "ok")

    def to_json(self) -> dict[str, Any]:
        """Everything as one JSON object."""
        return {"worst": self.worst} | asdict(self)


def parse_report(text: str) -> Report:
    """The first report in the JSON that a doctor printed on another machine.

    Raises:
        ValueError: the text is no such report.
    """
    try:
        document = json.loads(text[text.index("{") :])["reports"][0]
        checks = [Check(**check) for check in document.pop("checks")]
        return Report(checks=checks, **document)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"no report: {error!r}") from error


SAME = ("alignmlm", "python", "torch", "deepspeed", "transformers", "numpy", "data store")


def compared(report: Report, here: Report, names: Sequence[str] = SAME) -> Report:
    """A node's report, with a problem for each check in `names` that differs from the one here."""
    checks = []
    for check in report.checks:
        mine = here.check(check.name)
        differs = mine is not None and check.name in names and check.found != mine.found
        if mine is not None and differs and check.state != "problem":
            remedy = f"make it what it is on {here.host}: {mine.found}"
            check = Check(check.name, "problem", check.found, remedy)
        checks.append(check)
    return Report(report.host, checks, report.address, report.devices)
