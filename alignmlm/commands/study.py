"""Commands about studies: plan, run, status, stop, report."""

import logging
import os
import shlex
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from alignmlm.commands.options import WHOLE, Shipped, as_json, command, run_recipe
from alignmlm.console.terminal import console, new_table, print_json, print_line
from alignmlm.errors import AlignMLMError, ConfigError, ExitCode

if TYPE_CHECKING:
    from alignmlm.studies.cells import Status
    from alignmlm.studies.plan import PlanRow
    from alignmlm.studies.study import StudyConfig

log = logging.getLogger(__name__)

PAGE = "report.html"
EVERY_S = 2.0  # between two looks of --watch
STOP_S = 600.0  # that a study may take to save itself
study_argument = click.argument("study", type=Shipped("study"))


@command("plan")
@study_argument
@as_json
def study_plan(study: Path, as_json: bool) -> None:
    """Say what STUDY (YAML) will run: steps, tokens, hours and disk, measured on this machine."""
    from alignmlm.ranks.devices import name_accelerator

    name_accelerator()
    from alignmlm.studies.plan import plan_rows
    from alignmlm.studies.study import load_study

    rows = list(plan_rows(load_study(study)))
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    console.print(plan_table(rows))
    left = [row for row in rows if not row.done]
    minutes = sum(row.training_s + (row.measuring_s or 0.0) for row in left) / 60
    time_left = f"{minutes:.1f} minutes" if minutes < 60 else f"{minutes / 60:,.1f} hours"
    disk = sum(row.disk_mib for row in left)
    print_line(f"{len(left)} of {len(rows)} runs to do: {time_left}, {disk:,.0f} MiB of disk")
    if any(row.measuring_s is None for row in left):
        print_line(
            "measuring comes on top; its tasks could not be tried: see `alignmlm eval validate`"
        )


def plan_table(rows: "Sequence[PlanRow]") -> Table:
    """The runs of a study, and what each needs."""
    table = new_table()
    for name in ("run", "state"):
        table.add_column(name)
    for name in ("steps", "tokens", "training, min", "measuring, min", "disk, MiB"):
        table.add_column(name, justify="right")
    for row in rows:
        seconds = (row.training_s, row.measuring_s)
        minutes = ("?" if each is None else f"{each / 60:,.1f}" for each in seconds)
        numbers = (f"{row.steps:,}", f"{row.tokens:,}", *minutes, f"{row.disk_mib:,.0f}")
        table.add_row(Text(row.run), "done" if row.done else "to do", *numbers)
    return table


@command("run")
@study_argument
@click.option("--only", type=WHOLE, metavar="N", help="Only run N, from 1; no table is written.")
@click.option(
    "--workers", type=WHOLE, default=1, show_default=True, help="Runs at a time, on this machine."
)
@as_json
def study_run(study: Path, only: int | None, workers: int, as_json: bool) -> int:
    """Pre-train and measure the runs of STUDY (YAML); what is done is not done again."""
    from alignmlm.studies.cells import is_complete, outcome_of
    from alignmlm.studies.study import load_study

    config = load_study(study)
    if workers < 1:
        raise ConfigError("--workers", workers, "be at least 1")
    page = Path(config.folder) / PAGE
    if only is None and is_complete(config, page):
        log.info("study %s: all is done", config.name)
        return show_outcome(config, outcome_of(config), page, as_json)
    from alignmlm.ranks.devices import name_accelerator

    name_accelerator()
    from alignmlm.studies.running import run_one, run_study

    if only is not None:
        record = run_one(config, only)
        if as_json:
            print_json(asdict(record))
        return ExitCode.DONE
    outcome = run_study(config, workers, study)
    return show_outcome(config, outcome, write_study_page(config), as_json)


def show_outcome(config: "StudyConfig", outcome: Any, page: Path, as_json: bool) -> int:
    """Print the outcome of a study; returns the exit code of the command."""
    from alignmlm.commands.evaluation import show_skipped
    from alignmlm.reporting.tables import tables_of, terminal_table

    if as_json:
        print_json({"study": config.name, **asdict(outcome), "report": str(page)})
    else:
        for table in tables_of(outcome.rows):
            console.print(terminal_table(table))
        show_skipped(outcome.skipped | outcome.failed)
        print_line(f"report: {page}")
    return ExitCode.PARTIAL if outcome.skipped or outcome.failed else ExitCode.DONE


def write_study_page(config: "StudyConfig") -> Path:
    """The page of a study, written from what its runs have left so far."""
    from alignmlm.reporting.page import write_page
    from alignmlm.studies.run_words import write_words
    from alignmlm.studies.study import planned_runs

    folder = Path(config.folder)
    planned = {run.folder for run in planned_runs(config)}
    runs = sorted(planned.intersection(path.parent for path in folder.glob("*/summary.json")))
    for run in runs:
        try:
            write_words(run_recipe(run), run)
        except AlignMLMError as error:
            log.warning("%s: the page will have no words of it: %s", run, error)
    return write_page(runs, [folder], folder / PAGE)


@command("status")
@study_argument
@click.option("--watch", is_flag=True, help="Show it anew until all runs are done, or Ctrl-C.")
@as_json
def study_status(study: Path, watch: bool, as_json: bool) -> None:
    """Say how far each run of STUDY (YAML) is, and why a run failed."""
    from alignmlm.studies.cells import statuses
    from alignmlm.studies.study import load_study

    config = load_study(study)
    if as_json:
        print_json([asdict(each) for each in statuses(config)])
        return
    states = list(statuses(config))
    if not watch:
        console.print(status_table(states))
        return
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(status_table(states), refresh=True)
            if all(each.state == "done" for each in states):
                return
            time.sleep(EVERY_S)
            states = list(statuses(config))


def status_table(states: "Sequence[Status]") -> Table:
    """How far the runs of a study are."""
    table = new_table()
    for name in ("run", "state"):
        table.add_column(name)
    for name in ("step", "loss, nats", "tokens/s", "left, min"):
        table.add_column(name, justify="right")
    if any(each.error for each in states):
        table.add_column("error", overflow="fold")
    for each in states:
        measures = ((each.loss_nats, ".3f"), (each.tokens_per_s, ",.0f"))
        numbers = ["" if value is None else format(value, form) for value, form in measures]
        left = "" if each.left_s is None else f"{each.left_s / 60:,.1f}"
        cells = [each.run, each.state, f"{each.step:,}/{each.steps:,}", *numbers, left, each.error]
        table.add_row(*map(Text, cells[: len(table.columns)]))
    return table


@command("stop")
@study_argument
@as_json
def study_stop(study: Path, as_json: bool) -> None:
    """Stop the process that runs STUDY (YAML) here; it saves, and `study run` resumes it."""
    from alignmlm.studies.cells import is_running, living_holder, study_lock
    from alignmlm.studies.study import load_study

    config = load_study(study)
    process = living_holder(study_lock(config)) if is_running(config) else None
    if process is None:
        requirement = "be run on this machine; a job of SLURM ends by scancel"
        raise ConfigError("study", config.name, requirement)
    os.kill(process, signal.SIGTERM)
    log.info("process %d saves and ends", process)
    until = time.monotonic() + STOP_S
    while is_running(config):
        if time.monotonic() > until:
            raise AlignMLMError(
                f"process {process} is still running after {STOP_S:.0f} s; see its output"
            )
        time.sleep(0.2)
    if as_json:
        print_json({"stopped": process})
    else:
        again = shlex.join(["alignmlm", "study", "run", str(study)])
        print_line(f"stopped; go on by: {again}")


@command("report")
@study_argument
@as_json
def study_report(study: Path, as_json: bool) -> None:
    """Write study.json and the page of STUDY (YAML) from what its runs have left so far."""
    from alignmlm.studies.cells import outcome_of
    from alignmlm.studies.running import write_study
    from alignmlm.studies.study import load_study

    config = load_study(study)
    outcome = outcome_of(config)
    write_study(config, outcome.rows)
    show_outcome(config, outcome, write_study_page(config), as_json)
