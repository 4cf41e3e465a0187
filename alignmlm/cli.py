"""The command line: `alignmlm <command>`, and what train.py runs."""

import os
import sys
from argparse import ArgumentParser as PlainParser
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from alignmlm import __version__
from alignmlm.config import load_recipe, parse_recipe, recipe_parser
from alignmlm.data.build import build_store
from alignmlm.data.sources import expand_path
from alignmlm.data.store import TOKENIZER, TRAIN, Store
from alignmlm.errors import AlignMLMError, ConfigError, nearest
from alignmlm.terminal import messages, set_up_logging

console = Console()


def guarded(work: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """The exit code of a command; an error that a user can fix is one message, not a traceback."""
    set_up_logging()
    try:
        return work(arguments)
    except AlignMLMError as error:
        notes = getattr(error, "__notes__", [])  # from one rank; without, every rank has the error
        if notes or os.environ.get("RANK", "0") == "0":
            where = f" on {notes[0]}" if notes else ""
            told = Text(f"alignmlm: error{where}: {error}", "bold red")
            messages.print(told, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        return 130


def train_command(arguments: Sequence[str]) -> int:
    """Pre-train a recipe, and draw its curves."""
    parser = recipe_parser(prog="train.py", description="Pre-train a recipe.")
    policy = "ds_configs file: ZeRO stage, buckets, offload; none: ZeRO 1"
    parser.add_argument("--deepspeed", metavar="JSON", help=policy)
    parser.add_argument("--local_rank", type=int, default=0, help="set by launchers; not used")
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
    table = Table(title=f"{result['objective']} · {result['steps']:,} steps · {folder}")
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


def data_build(arguments: Sequence[str]) -> int:
    """Text -> tokenizer and token shards."""
    parser = recipe_parser(prog="alignmlm data build", description=data_build.__doc__)
    recipe, _ = parse_recipe(parser, arguments)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=messages, transient=True) as progress:
        task = progress.add_task("reading")

        def report(what: str, tokens: int) -> None:
            progress.update(task, description=f"{what}: {tokens:,} tokens")

        folder = build_store(recipe.data, report)
    show_statistics(Store(folder))
    return 0


def store_argument(name: str, arguments: Sequence[str]) -> Store:
    """The store that a command is about: a folder, or that of a recipe."""
    parser = PlainParser(prog=f"alignmlm data {name}")
    parser.add_argument("store", nargs="?", help="folder of a store")
    parser.add_argument("--config", help="or the recipe whose store it is")
    values = parser.parse_args(arguments)
    if values.store:
        return Store(Path(values.store))
    recipe = load_recipe(Path(values.config) if values.config else None)
    return Store(expand_path(recipe.data.store))


def data_verify(arguments: Sequence[str]) -> int:
    """Read every block of a store and compare its hash."""
    from alignmlm.data.inspect import damages

    store = store_argument("verify", arguments)
    found = damages(store)
    for line in found:
        console.print(f"[red]damaged[/red] {line}", soft_wrap=True)
    console.print(f"{store.path}: {len(found)} damaged" if found else f"{store.path}: whole")
    return 1 if found else 0


def data_stats(arguments: Sequence[str]) -> int:
    """Counts of a store."""
    show_statistics(store_argument("stats", arguments))
    return 0


def show_statistics(store: Store) -> None:
    """A table of a store's counts."""
    from alignmlm.data.inspect import statistics

    table = Table(title=f"{store.path} · vocabulary {store.vocabulary.size:,}")
    for name in ("language", "split"):
        table.add_column(name)
    for name in ("shards", "documents", "sentences", "words", "tokens", "tokens/word", "used"):
        table.add_column(name, justify="right")
    for row in statistics(store):
        counts = (row.shards, row.documents, row.sentences, row.words, row.tokens)
        shares = (f"{row.tokens_per_word:.2f}", f"{100 * row.vocabulary_used:.1f} %")
        table.add_row(row.language, row.split, *(f"{count:,}" for count in counts), *shares)
    console.print(table)


def data_show(arguments: Sequence[str]) -> int:
    """Any batch of any run as text: the original, and what the model sees of it."""
    parser = recipe_parser(prog="alignmlm data show", description=data_show.__doc__)
    parser.add_argument("--step", type=int, default=0, help="0 is the first batch")
    parser.add_argument("--rows", type=int, default=4, help="rows to show")
    parser.add_argument("--hash", action="store_true", help="print the batch's hash alone")
    recipe, values = parse_recipe(parser, arguments)
    from alignmlm.data.batches import batch_samples, make_batch
    from alignmlm.data.inspect import show_rows
    from alignmlm.data.tokenizer import load_tokenizer
    from alignmlm.pretraining.assembly import assemble

    loader = assemble(recipe).loader
    rows = recipe.train.batch_rows
    samples = batch_samples(loader, values.step, rows, 0, 1, rows)[0]
    if values.hash:
        console.print(make_batch(loader, samples, TRAIN).hash())
        return 0
    samples = samples[: values.rows]
    tokenizer = load_tokenizer(expand_path(recipe.data.store) / TOKENIZER)
    batch = make_batch(loader, samples, TRAIN)
    table = Table(
        title=f"step {values.step}, rows 0 to {len(samples) - 1} of {rows}", show_lines=True
    )
    for name in ("sample", "original", "as the model sees it (labels)"):
        table.add_column(name, overflow="fold")
    for row in show_rows(loader, tokenizer, samples, batch, TRAIN):
        where = f"{row.language}\nepoch {row.sample.epoch}\nrow {row.sample.row}"
        seen = Text()
        for token, label in row.tokens:
            seen.append(token, "bold" if label else "")
            if label:
                seen.append(f"({label.strip()})", "green")
        table.add_row(where, Text(row.original), seen)
    console.print(table)
    return 0


def export_command(arguments: Sequence[str]) -> int:
    """A checkpoint of a run as a Hugging Face model."""
    parser = PlainParser(prog="alignmlm export", description=export_command.__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("output", type=Path, help="folder of the export")
    parser.add_argument("--step", type=int, help="none: the newest checkpoint")
    values = parser.parse_args(arguments)
    from alignmlm.pretraining.run import export_run

    recipe = load_recipe(values.run / "recipe.yaml")
    console.print(f"exported {export_run(recipe, values.run, values.output, values.step)}")
    return 0


def eval_run(arguments: Sequence[str]) -> int:
    """Fine-tune on a task, measure BS, BZ and Delta."""
    from jsonargparse import ArgumentParser

    from alignmlm.devices import name_accelerator

    name_accelerator()
    from alignmlm.evaluation.evaluate import EvaluationConfig, evaluate
    from alignmlm.evaluation.results import result_rows
    from alignmlm.reporting.tables import study_table

    parser = ArgumentParser(prog="alignmlm eval run", description=eval_run.__doc__)
    parser.add_argument("--model", type=str, required=True, help="folder of a run or an export")
    parser.add_argument("--tasks", nargs="+", default=["sample_pos"], help="see alignmlm eval ls")
    parser.add_argument("--output", type=str, help="folder of the results; none: in the run")
    parser.add_class_arguments(EvaluationConfig, "evaluation")
    values = parser.parse_args(list(arguments))
    config = parser.instantiate(values).evaluation
    output = Path(values.output) if values.output else None
    results = evaluate(Path(values.model), values.tasks, config, output)
    console.print(study_table(result_rows(results)))
    return 0


def eval_ls(arguments: Sequence[str]) -> int:
    """Names of the tasks."""
    from alignmlm.evaluation.tasks import task_names

    PlainParser(prog="alignmlm eval ls", description=eval_ls.__doc__).parse_args(arguments)
    console.print("\n".join(task_names()))
    return 0


def study_run(arguments: Sequence[str]) -> int:
    """Objectives x seeds, each pre-trained and measured; what is done is not done again."""
    from alignmlm.devices import name_accelerator

    name_accelerator()
    from alignmlm.reporting.page import write_page
    from alignmlm.reporting.tables import study_table
    from alignmlm.studies.study import load_study, run_study

    parser = PlainParser(prog="alignmlm study run", description=study_run.__doc__)
    parser.add_argument("study", type=Path, help="a study (YAML)")
    study = load_study(parser.parse_args(arguments).study)
    rows = run_study(study)
    folder = Path(study.folder)
    page = write_page(
        sorted(path.parent for path in folder.glob("*/summary.json")),
        [folder],
        folder / "report.html",
    )
    console.print(study_table(rows))
    console.print(f"report: {page}")
    return 0


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
    console.print(f"report: {write_page(runs, studies, values.output)}")
    return 0


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train_command,
    "data build": data_build,
    "data verify": data_verify,
    "data show": data_show,
    "data stats": data_stats,
    "eval run": eval_run,
    "eval ls": eval_ls,
    "study run": study_run,
    "export": export_command,
    "report": report_command,
}


def usage() -> str:
    """One line for each command."""
    about = {name: (work.__doc__ or "").splitlines()[0] for name, work in COMMANDS.items()}
    lines = [f"  alignmlm {name:<12} {line}" for name, line in about.items()]
    title = f"alignmlm {__version__}: pre-train multilingual encoders, measure transfer"
    return "\n".join([title, "", *lines, "", "Each command has --help."])


def dispatch(arguments: Sequence[str]) -> int:
    """Run the command that the first one or two words name."""
    if not arguments or arguments[0] in ("-h", "--help"):
        console.print(usage(), highlight=False)
        return 0
    if arguments[0] == "--version":
        console.print(__version__)
        return 0
    for words in (2, 1):
        name = " ".join(arguments[:words])
        if name in COMMANDS:
            return COMMANDS[name](arguments[words:])
    must = f"be one of: {', '.join(COMMANDS)}{nearest(' '.join(arguments[:2]), COMMANDS)}"
    raise ConfigError("command", " ".join(arguments[:2]), must)


def main() -> None:
    """Entry point of `alignmlm`."""
    leave(guarded(dispatch, sys.argv[1:]))


def train() -> None:
    """Entry point of train.py."""
    leave(guarded(train_command, sys.argv[1:]))


def leave(code: int) -> None:
    """End this process; after training at once, as ZeRO-3 sometimes aborts while torn down."""
    torch = sys.modules.get("torch")
    if code == 0 and torch is not None and torch.distributed.is_initialized():
        torch.distributed.barrier()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    sys.exit(code)


if __name__ == "__main__":
    main()
