"""Commands about runs: train, export, report."""

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from alignmlm.commands.options import (
    PATH,
    WHOLE,
    NewFile,
    as_json,
    command,
    deepspeed,
    run_recipe,
)
from alignmlm.config import recipe_options
from alignmlm.corpus.settings import DataConfig
from alignmlm.corpus.sources import SAMPLE_PREFIX, expand_path
from alignmlm.errors import ConfigError
from alignmlm.pretraining.recipe import Recipe
from alignmlm.ranks.signals import listening

log = logging.getLogger(__name__)


@command("train", *recipe_options())
@deepspeed
@click.option(
    "--profile",
    "profiled",
    is_flag=True,
    help="Print the largest costs of a step, by phase, and write trace.json into the run's folder.",
)
@click.option("--local_rank", type=WHOLE, hidden=True, help="Set by launchers; not used.")
@as_json
def train_command(
    recipe: Recipe,
    deepspeed: Path | None,
    profiled: bool,
    local_rank: int | None,
    as_json: bool,
) -> None:
    """Pre-train the model of a recipe, and draw its curves."""
    with listening():
        from alignmlm.console.terminal import print_json
        from alignmlm.pretraining.run import pretrain
        from alignmlm.ranks.distributed import start_distributed
        from alignmlm.ranks.rank_zero import from_rank_zero

        start_distributed(recipe.run.collective_timeout_s)
        from_rank_zero(build_sample)(recipe.data)
        folder, result = pretrain(recipe, deepspeed, profiled)
        if os.environ["RANK"] != "0":
            return
        from alignmlm.reporting.curves import plot_curves  # matplotlib, which no step waits for

        plot_curves(folder)
        if as_json:
            print_json({"run": str(folder), **result})
        else:
            show_summary(folder, result)


def build_sample(data: DataConfig) -> None:
    """Build the store of the sample world if it is missing; other corpora are up to the user."""
    from alignmlm.data.store import MANIFEST

    files = [file for source in data.sources for file in source.files]
    missing = not (expand_path(data.store) / MANIFEST).is_file()
    if missing and all(file.startswith(SAMPLE_PREFIX) for file in files):
        from alignmlm.corpus.build import build_store  # most runs have their corpus

        log.info("building the sample world in %s", data.store)
        build_store(data)


def show_summary(folder: Path, result: dict[str, Any]) -> None:
    """Print the short table at the end of a run."""
    from alignmlm.console.terminal import console, new_table

    table = new_table(f"{result['objective']} · {result['steps']:,} steps · {folder}")
    table.add_column("")
    table.add_column("value", justify="right")
    for language, nats in result["validation_loss_nats"].items():
        table.add_row(f"validation loss, {language}", f"{nats:.3f} nats")
    for part, percent in result["alignment_percent"].items():
        if percent is not None:
            table.add_row(f"alignment, {part.replace('_', ' ')}", f"{percent:.1f} %")
    table.add_row("speed", f"{result['tokens_per_s']:,.0f} tokens/s")
    table.add_row("export", str(folder / result["export"]))
    console.print(table)


@command("export")
@click.argument("run", type=PATH)
@click.argument("output", type=PATH)
@click.option("--step", type=WHOLE, help="Checkpoint; none: the newest.")
@click.option("--push", metavar="ORG/NAME", help="Upload it to the Hugging Face hub, too.")
@click.option("--public", is_flag=True, help="Of --push: a new repository is not private.")
@as_json
def export_command(
    run: Path, output: Path, step: int | None, push: str | None, public: bool, as_json: bool
) -> None:
    """Export a checkpoint of the run in RUN as a Hugging Face model to OUTPUT."""
    if public and push is None:
        raise ConfigError("--public", True, "come with --push ORG/NAME")
    recipe = run_recipe(run)
    if not output.absolute().name:
        raise ConfigError("output", str(output), "be new, or an export to replace")
    from alignmlm.ranks.devices import name_accelerator

    name_accelerator()
    from alignmlm.console.terminal import print_json, print_line
    from alignmlm.pretraining import export

    export.export_run(recipe, run, output.absolute(), step)
    made = {"export": str(output)}
    if push is not None:
        made["pushed"] = export.push(output, push, public)
    if as_json:
        print_json(made)
        return
    for name, place in made.items():
        print_line(f"{name}: {place}")


@command("report")
@click.argument("folders", type=PATH, nargs=-1, required=True)
@click.option(
    "--output", type=NewFile(), default=Path("report.html"), show_default=True, help="The page."
)
@click.option("--watch", is_flag=True, help="Serve the page to this machine, and follow the runs.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of --watch; 0: a free one.")
@click.option("--wandb", metavar="GROUP", help="Keep the page in wandb too, beside a study's runs.")
@click.option("--wandb-project", default="alignmlm", show_default=True, help="Of --wandb.")
@as_json
def report_command(
    folders: tuple[Path, ...],
    output: Path,
    watch: bool,
    port: int,
    wandb: str | None,
    wandb_project: str,
    as_json: bool,
) -> None:
    """Write tables and curves of the runs and studies in FOLDERS as one HTML page."""
    from alignmlm.console.terminal import print_json, print_line
    from alignmlm.reporting.page import found_in, write_page

    if watch:
        watch_runs(folders, port, as_json)
        return
    runs, studies = found_in(folders)
    if not runs and not studies:
        raise ConfigError("folders", [str(f) for f in folders], "hold runs or studies")
    page = write_page(runs, studies, output)
    if wandb is not None:
        from alignmlm.pretraining.trackers import push_page

        push_page(page, wandb_project, wandb)
    if as_json:
        print_json({"report": str(page)})
    else:
        print_line(f"report: {page}")


def watch_runs(folders: Sequence[Path], port: int, as_json: bool) -> None:
    """Serve the page of running studies until Ctrl-C."""
    from alignmlm.console.terminal import print_json, print_line
    from alignmlm.reporting.watch import LOOPBACK, Server, Watched

    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        raise ConfigError("folders", missing, "be existing folders")
    try:
        server = Server(Watched(folders), port)
    except OSError as error:
        raise ConfigError("--port", port, f"be free on {LOOPBACK} ({error.strerror})") from error
    with server, suppress(KeyboardInterrupt):
        if as_json:
            print_json({"report": server.address})
        else:
            print_line(f"report: {server.address} (Ctrl-C ends it)")
        server.serve_forever()
