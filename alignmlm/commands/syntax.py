"""Commands about syntax orders: train-parser, parse, fit-order, order."""

import re
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alignmlm.commands.options import (
    PATH,
    WHOLE,
    AtLeast,
    NewFile,
    as_json,
    command,
    language,
    opened_store,
    store,
    store_config,
)
from alignmlm.config import Several, Value
from alignmlm.console.terminal import console, messages, new_table, print_json, print_line
from alignmlm.errors import ConfigError

EFFORT = Value(Literal["quick", "full"])


def sentence_bar() -> Progress:
    """A bar with sentences done and time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"))
    return Progress(*columns, TimeRemainingColumn(), console=messages, transient=True)


def reporter(progress: Progress, what: str) -> Callable[[int, int], None]:
    """A callback that advances a new bar of a progress display."""
    task = progress.add_task(what, total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)


@command("train-parser")
@click.option(
    "--train", cls=Several, type=PATH, required=True, metavar="FILE...", help="CoNLL-U, also .gz."
)
@click.option(
    "--dev", cls=Several, type=PATH, required=True, metavar="FILE...", help="To score it on."
)
@click.option("--output", type=NewFile(), required=True, help="File of the parser.")
@click.option(
    "--effort",
    type=EFFORT,
    default="quick",
    show_default=True,
    help="quick: a quarter of an hour for 200,000 words; full: about four times as long.",
)
@as_json
def data_train_parser(
    train: tuple[Path, ...],
    dev: tuple[Path, ...],
    output: Path,
    effort: Literal["quick", "full"],
    as_json: bool,
) -> None:
    """Train a dependency parser on a treebank, offline, and score it on another part of it."""
    from alignmlm.syntax.parser import train_parser

    with sentence_bar() as progress:
        task = progress.add_task("training", total=1.0)

        def report(what: str, share: float) -> None:
            progress.update(task, description=what, completed=share)

        scores = train_parser(list(train), list(dev), output, effort, report)
    if as_json:
        print_json({"parser": str(output), **asdict(scores)})
    else:
        show_scores(output, scores)


def show_scores(output: Path, scores: Any) -> None:
    """Print a table of the scores of a parser."""
    table = new_table(f"{output} on {scores.words:,} words")
    for name in ("tags", "UPOS", "UAS", "LAS", "LAS with subtypes"):
        table.add_column(name, justify="left" if name == "tags" else "right")
    for name, attachment, tagged in (
        ("predicted", scores.predicted_tags, f"{100 * scores.upos:.1f}"),
        ("gold", scores.gold_tags, ""),
    ):
        shares = (attachment.uas, attachment.las, attachment.las_subtypes)
        table.add_row(name, tagged, *(f"{100 * share:.1f}" for share in shares))
    console.print(table)


@command("parse")
@store
@store_config
@language
@click.option("--parser", type=PATH, help="File of `alignmlm data train-parser`.")
@click.option("--gold", cls=Several, type=PATH, metavar="FILE...", help="CoNLL-U with the parses.")
@click.option("--sentences", type=AtLeast(0), default=2**62, help="Parse no more; none: all.")
@click.option("--workers", type=WHOLE, default=1, show_default=True, help="Processes.")
@as_json
def data_parse(
    store: str | None,
    config: str | None,
    language: str,
    parser: Path | None,
    gold: tuple[Path, ...],
    sentences: int,
    workers: int,
    as_json: bool,
) -> None:
    """Parse a store's sentences with a parser, or look them up in treebanks that have them."""
    if bool(parser) == bool(gold):
        raise ConfigError("--parser, --gold", (parser, gold), "be one of the two")
    opened = opened_store(store, config)
    opened.check_language(language)
    from alignmlm.corpus.parses import looked_up, parse_store, parsed_by
    from alignmlm.syntax.parser import parse_many

    blocks = (
        parsed_by(partial(parse_many, parser, workers=workers), parser)
        if parser is not None
        else looked_up(list(gold))
    )
    with sentence_bar() as progress:
        counts = parse_store(opened, language, blocks, sentences, reporter(progress, "sentences"))
    show_counts(f"parses of {language} in {opened.path}", counts, as_json)


@command("fit-order")
@click.argument("treebanks", type=PATH, nargs=-1, required=True)
@click.option("--language", required=True, metavar="CODE", help="ISO 639 code: fra.")
@click.option("--output", type=PATH, required=True, help="Folder of the models.")
@as_json
def data_fit_order(treebanks: tuple[Path, ...], language: str, output: Path, as_json: bool) -> None:
    """Fit ordering models of a language's noun and verb dependents to TREEBANKS (CoNLL-U)."""
    if not re.fullmatch("[a-z]{2,3}", language):
        raise ConfigError("--language", language, "be a code of two or three letters, like 'fra'")
    from alignmlm.syntax.features import NOUN_HEADS, VERB_HEADS
    from alignmlm.syntax.fitting import fit_treebank
    from alignmlm.syntax.ordering import write_orm

    output.mkdir(parents=True, exist_ok=True)
    fitted = []
    for kind, heads in (("N", NOUN_HEADS), ("V", VERB_HEADS)):
        path = output / f"{language}@{kind}.orm"
        write_orm(path, fit_treebank(list(treebanks), heads))
        fitted.append(str(path))
        if not as_json:
            print_line(f"fitted {path}")
    if as_json:
        print_json({"models": fitted})


@command("order")
@store
@store_config
@language
@click.option("--order", required=True, help="syn-fra, syn-fra-N, syn-fra-N-hin-V, ...")
@click.option("--models", type=PATH, required=True, help="Folder with fra@N.orm, ...")
@click.option("--seed", type=WHOLE, default=0, show_default=True, help="Seed of the drawn orders.")
@as_json
def data_order(
    store: str | None,
    config: str | None,
    language: str,
    order: str,
    models: Path,
    seed: int,
    as_json: bool,
) -> None:
    """Order the words of a parsed store as another language would."""
    opened = opened_store(store, config)
    opened.check_language(language)
    from alignmlm.corpus.reordering import order_store

    with sentence_bar() as progress:
        report = reporter(progress, "sentences")
        manifest = order_store(opened, language, order, models, seed, report)
    show_counts(f"{order} of {language} in {opened.path}", manifest.counts, as_json)


def show_counts(title: str, counts: dict[str, int], as_json: bool) -> None:
    """Print counts of sentences by what happened to them, as a table or as JSON."""
    if as_json:
        print_json(counts)
        return
    table = new_table(title)
    table.add_column("")
    table.add_column("count", justify="right")
    for name, count in counts.items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    console.print(table)
