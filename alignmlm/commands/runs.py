"""Commands about runs: train, export, study, report."""

import logging
import os
from argparse import ArgumentParser as PlainParser
from collections.abc import Sequence
from pathlib import Path

from alignmlm.commands.evaluation import PARTIAL_EXIT_CODE, show_skipped
from alignmlm.config import load_recipe, parse_recipe, recipe_parser
from alignmlm.errors import AlignMLMError, ConfigError
from alignmlm.pretraining.run_folder import RECIPE
from alignmlm.ranks.signals import listening
from alignmlm.terminal import console, new_table, print_json, print_line

log = logging.getLogger(__name__)


def train_command(arguments: Sequence[str]) -> int:
    """Pre-train a recipe, and draw its curves."""
    parser = recipe_parser(prog="train.py", description="Pre-train a recipe.")
    policy = "ds_configs file: ZeRO stage, buckets, offload; none: ZeRO 1"
    parser.add_argument("--deepspeed", metavar="JSON", help=policy)
    parser.add_argument("--local_rank", type=int, default=0, help="set by launchers; not used")
    with listening():
        recipe, values = parse_recipe(parser, arguments)
        from alignmlm.pretraining.run import pretrain
        from alignmlm.reporting.curves import plot_curves

        folder, result = pretrain(recipe, Path(values.deepspeed) if values.deepspeed else None)
        if os.environ["RANK"] == "0":
            plot_curves(folder)
            show_summary(folder, result)
    return 0


def show_summary(folder: Path, result: dict) -> None:
    """The short table at the end of a run."""
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


def export_command(arguments: Sequence[str]) -> int:
    """A checkpoint of a run as a Hugging Face model."""
    parser = PlainParser(prog="alignmlm export", description=export_command.__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("output", type=Path, help="folder of the export")
    parser.add_argument("--step", type=int, help="none: the newest checkpoint")
    values = parser.parse_args(arguments)
    from alignmlm.pretraining.run import export_run

    path = values.run / RECIPE
    if not path.is_file():
        raise ConfigError("run", str(values.run), f"be the folder of a run; it has no {RECIPE}")
    recipe = load_recipe(path)
    print_line(f"exported {export_run(recipe, values.run, values.output, values.step)}")
    return 0


def study_run(arguments: Sequence[str]) -> int:
    """Objectives x seeds, each pre-trained and measured; what is done is not done again."""
    from alignmlm.devices import name_accelerator

    name_accelerator()
    from alignmlm.reporting.page import write_page
    from alignmlm.reporting.tables import tables_of, terminal_table
    from alignmlm.studies.study import load_study, run_one, run_study, skipped_tasks

    parser = PlainParser(prog="alignmlm study run", description=study_run.__doc__)
    parser.add_argument("study", type=Path, help="a study (YAML)")
    number = "only this run, counted from 1; the table is left as it is"
    parser.add_argument("--only", type=int, metavar="N", help=number)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    values = parser.parse_args(arguments)
    study = load_study(values.study)
    if values.only is not None:
        run_one(study, values.only)
        return 0
    rows = run_study(study)
    folder = Path(study.folder)
    runs = sorted(path.parent for path in folder.glob("*/summary.json"))
    write_words_of(runs)
    page = write_page(runs, [folder], folder / "report.html")
    skipped = skipped_tasks(study)
    if values.json:
        parts = {"study": study.name, "rows": rows, "skipped": skipped, "report": str(page)}
        print_json(parts)
        return PARTIAL_EXIT_CODE if skipped else 0
    for table in tables_of(rows):
        console.print(terminal_table(table))
    show_skipped(skipped)
    print_line(f"report: {page}")
    return PARTIAL_EXIT_CODE if skipped else 0


def write_words_of(runs: Sequence[Path]) -> None:
    """Write the words of runs for the page; a run whose data is gone goes without."""
    from alignmlm.studies.run_words import write_words

    for run in runs:
        try:
            write_words(load_recipe(run / RECIPE), run)
        except AlignMLMError as error:
            log.warning("%s: the page will have no words of it: %s", run, error)


def report_command(arguments: Sequence[str]) -> int:
    """Tables and curves of runs and studies as one HTML page."""
    from alignmlm.reporting.page import write_page

    parser = PlainParser(prog="alignmlm report", description=report_command.__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="folders that hold runs or studies")
    parser.add_argument("--output", type=Path, default=Path("report.html"))
    values = parser.parse_args(arguments)
    runs = sorted(
        {path.parent for folder in values.folders for path in folder.rglob("metrics.jsonl")}
    )
    studies = sorted(
        {path.parent for folder in values.folders for path in folder.rglob("study.json")}
    )
    if not runs and not studies:
        raise ConfigError("folders", [str(f) for f in values.folders], "hold runs or studies")
    print_line(f"report: {write_page(runs, studies, values.output)}")
    return 0
