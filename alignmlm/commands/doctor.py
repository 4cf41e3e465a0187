"""The command that looks at machines before a run."""

import os
from pathlib import Path

import click
from rich.text import Text

from alignmlm.commands.options import PATH, as_json, command
from alignmlm.config import load_recipe
from alignmlm.console.terminal import console, new_table, print_json, print_line
from alignmlm.doctor.report import Check, Diagnosis, Report
from alignmlm.errors import ConfigError, ExitCode

COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@command("doctor")
@click.option("--nodes", type=PATH, metavar="HOSTFILE", help="Look at these nodes by ssh too.")
@click.option("--config", type=PATH, metavar="YAML", help="Recipe whose store nodes have to have.")
@click.option("--store", type=click.Path(), help="The store itself, instead of a recipe.")
@click.option("--write-env", is_flag=True, help="Write .deepspeed_env: variables the nodes need.")
@as_json
def doctor_command(
    nodes: Path | None, config: Path | None, store: str | None, write_env: bool, as_json: bool
) -> int:
    """Check whether this machine, and the nodes of a hostfile, are ready for a run."""
    if config is not None:
        if store is not None:
            raise ConfigError("--config", str(config), "be left out with --store")
        store = load_recipe(config).data.store
    diagnosis = found(nodes, store, write_env)
    if as_json:
        print_json(diagnosis.to_json())
    else:
        show(diagnosis)
    return ExitCode.ERROR if diagnosis.worst == "problem" else ExitCode.DONE


def found(nodes: Path | None, store: str | None, write_env: bool) -> Diagnosis:
    """The diagnosis of this machine, and of the nodes where there is a hostfile.

    Raises:
        ConfigError: an invalid hostfile, or --write-env without one.
    """
    if nodes is None:
        if write_env:
            raise ConfigError("--write-env", True, "come with --nodes HOSTFILE")
        from alignmlm.doctor.machine import this_machine

        return Diagnosis([this_machine(store)])
    from alignmlm.doctor.hostfile import read_hostfile

    shell = dict(os.environ)
    hosts = read_hostfile(nodes)
    if write_env:
        from alignmlm.doctor.environment import write_environment

        write_environment(Path.cwd(), shell)
    from alignmlm.doctor.machine import this_machine
    from alignmlm.doctor.nodes import diagnose

    return diagnose(hosts, this_machine(store), store, shell)


def cell(check: Check | None) -> Text:
    """The result of a check, in the colour of its state."""
    return Text() if check is None else Text(check.found, COLOURS[check.state])


def show(diagnosis: Diagnosis) -> None:
    """Print a table with a column for each machine, and what to do."""
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
                advice = f"{check.state}, {report.host}, {check.name}: {check.remedy}"
                print_line(Text(advice, COLOURS[check.state]))
