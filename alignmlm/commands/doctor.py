"""The command that looks at machines before a run."""

import os
from argparse import ArgumentParser as PlainParser
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from alignmlm.config import load_recipe
from alignmlm.doctor.report import Check, Diagnosis, Report
from alignmlm.errors import ConfigError
from alignmlm.terminal import console, new_table, print_json, print_line

COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}
PROBLEM_EXIT_CODE = 2


def doctor_command(arguments: Sequence[str]) -> int:
    """Whether this machine, and the nodes of a hostfile, are ready for a run."""
    parser = PlainParser(prog="alignmlm doctor", description=doctor_command.__doc__)
    parser.add_argument("--nodes", type=Path, metavar="HOSTFILE", help="look at these by ssh too")
    parser.add_argument("--config", help="the recipe whose data store every node has to have")
    parser.add_argument("--store", help="or the store itself")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    told = "write .deepspeed_env: the variables of this shell that the nodes need"
    parser.add_argument("--write-env", action="store_true", help=told)
    values = parser.parse_args(arguments)
    store = values.store
    if values.config is not None:
        store = load_recipe(Path(values.config)).data.store
    diagnosis = found(values.nodes, store, values.write_env)
    if values.json:
        print_json(diagnosis.to_json())
    else:
        show(diagnosis)
    return PROBLEM_EXIT_CODE if diagnosis.worst == "problem" else 0


def found(nodes: Path | None, store: str | None, write_env: bool) -> Diagnosis:
    """The diagnosis of this machine, and of the nodes where there is a hostfile.

    Raises:
        ConfigError: a hostfile that is none, or --write-env without one.
    """
    if nodes is None:
        if write_env:
            raise ConfigError("--write-env", True, "come with --nodes HOSTFILE")
        from alignmlm.doctor.machine import this_machine

        return Diagnosis([this_machine(store)])
    from alignmlm.hostfile import read_hostfile

    shell = dict(os.environ)
    hosts = read_hostfile(nodes)
    if write_env:
        from alignmlm.doctor.environment import write_environment

        write_environment(Path.cwd(), shell)
    from alignmlm.doctor.machine import this_machine
    from alignmlm.doctor.nodes import diagnose

    return diagnose(hosts, this_machine(store), store, shell)


def cell(check: Check | None) -> Text:
    """What was found, in the colour of its state."""
    return Text() if check is None else Text(check.found, COLOURS[check.state])


def show(diagnosis: Diagnosis) -> None:
    """A table with a column for each machine, and what to do."""
    table = new_table(f"doctor: {diagnosis.worst}")
    table.add_column("")
    for number, report in enumerate(diagnosis.reports):
        here = number == 0 and len(diagnosis.reports) > 1
        table.add_column(f"{report.host} (here)" if here else report.host)
    names = {check.name: None for report in diagnosis.reports for check in report.checks}
    for name in names:
        table.add_row(name, *(cell(report.check(name)) for report in diagnosis.reports))
    console.print(table)
    for check in diagnosis.checks:
        print_line(Text.assemble(f"{check.name}: ", cell(check)))
    for report in (*diagnosis.reports, Report("all nodes", diagnosis.checks)):
        for check in report.checks:
            if check.state != "ok":
                told = f"{check.state}, {report.host}, {check.name}: {check.remedy}"
                print_line(Text(told, COLOURS[check.state]))
