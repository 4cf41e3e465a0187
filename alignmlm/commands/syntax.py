"""Commands about syntax orders: train-parser, parse, fit-order, order."""

from argparse import ArgumentParser as PlainParser
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alignmlm.commands.data import add_store, opened_store
from alignmlm.errors import ConfigError
from alignmlm.terminal import console, messages, new_table, print_line


def sentence_bar() -> Progress:
    """A bar with sentences done and time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"))
    return Progress(*columns, TimeRemainingColumn(), console=messages, transient=True)


def reporter(progress: Progress, what: str) -> Callable[[int, int], None]:
    """A function that moves a bar."""
    task = progress.add_task(what, total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)


def data_train_parser(arguments: Sequence[str]) -> int:
    """A dependency parser from a treebank, offline; its scores on another part of it."""
    parser = PlainParser(prog="alignmlm data train-parser", description=data_train_parser.__doc__)
    parser.add_argument("--train", nargs="+", type=Path, required=True, help="CoNLL-U, also .gz")
    parser.add_argument("--dev", nargs="+", type=Path, required=True, help="to score it on")
    parser.add_argument("--output", type=Path, required=True, help="file of the parser")
    help_text = "quick: a quarter of an hour for 200,000 words; full: about four times as long"
    parser.add_argument("--effort", choices=["quick", "full"], default="quick", help=help_text)
    values = parser.parse_args(arguments)
    from alignmlm.syntax.parser import train_parser

    with sentence_bar() as progress:
        task = progress.add_task("training", total=1.0)

        def report(what: str, share: float) -> None:
            progress.update(task, description=what, completed=share)

        scores = train_parser(values.train, values.dev, values.output, values.effort, report)
    table = new_table(f"{values.output} on {scores.words:,} words")
    for name in ("tags", "UPOS", "UAS", "LAS", "LAS with subtypes"):
        table.add_column(name, justify="left" if name == "tags" else "right")
    for name, found, tagged in (
        ("predicted", scores.predicted_tags, f"{100 * scores.upos:.1f}"),
        ("gold", scores.gold_tags, ""),
    ):
        shares = (found.uas, found.las, found.las_subtypes)
        table.add_row(name, tagged, *(f"{100 * share:.1f}" for share in shares))
    console.print(table)
    return 0


def data_parse(arguments: Sequence[str]) -> int:
    """Parses of a store's sentences, by a parser or from treebanks that have them."""
    parser = PlainParser(prog="alignmlm data parse", description=data_parse.__doc__)
    add_store(parser)
    parser.add_argument("--language", required=True, help="such as eng-Latn")
    parser.add_argument("--parser", type=Path, help="file of `alignmlm data train-parser`")
    parser.add_argument("--gold", nargs="+", type=Path, help="or CoNLL-U files to look them up in")
    parser.add_argument("--sentences", type=int, default=2**62, help="parse no more than so many")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    values = parser.parse_args(arguments)
    if bool(values.parser) == bool(values.gold):
        raise ConfigError("--parser, --gold", (values.parser, values.gold), "be one of the two")
    store = opened_store(values)
    from alignmlm.corpus.parses import looked_up, parse_store, parsed_by
    from alignmlm.syntax.parser import parse_many

    parse = partial(parse_many, values.parser, workers=values.workers)
    blocks = looked_up(values.gold) if values.gold else parsed_by(parse)
    with sentence_bar() as progress:
        counts = parse_store(
            store, values.language, blocks, values.sentences, reporter(progress, "sentences")
        )
    show_counts(f"parses of {values.language} in {store.path}", counts)
    return 0


def data_fit_order(arguments: Sequence[str]) -> int:
    """Ordering models of a language's noun and verb dependents, from its treebank."""
    parser = PlainParser(prog="alignmlm data fit-order", description=data_fit_order.__doc__)
    parser.add_argument("treebanks", nargs="+", type=Path, help="CoNLL-U, also .gz")
    parser.add_argument("--language", required=True, help="ISO 639 code, such as fra")
    parser.add_argument("--output", type=Path, required=True, help="folder of the models")
    values = parser.parse_args(arguments)
    from alignmlm.syntax.features import NOUN_HEADS, VERB_HEADS
    from alignmlm.syntax.fitting import fit_treebank
    from alignmlm.syntax.ordering import write_orm

    values.output.mkdir(parents=True, exist_ok=True)
    for kind, heads in (("N", NOUN_HEADS), ("V", VERB_HEADS)):
        path = values.output / f"{values.language}@{kind}.orm"
        write_orm(path, fit_treebank(values.treebanks, heads))
        print_line(f"fitted {path}")
    return 0


def data_order(arguments: Sequence[str]) -> int:
    """A syntax order of a parsed store: its words as another language would order them."""
    parser = PlainParser(prog="alignmlm data order", description=data_order.__doc__)
    add_store(parser)
    parser.add_argument("--language", required=True, help="such as eng-Latn")
    parser.add_argument("--order", required=True, help="syn-fra, syn-fra-N, syn-fra-N-hin-V, ...")
    parser.add_argument("--models", type=Path, required=True, help="folder with fra@N.orm, ...")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn orders")
    values = parser.parse_args(arguments)
    store = opened_store(values)
    from alignmlm.corpus.reordering import order_store

    with sentence_bar() as progress:
        report = reporter(progress, "sentences")
        manifest = order_store(
            store, values.language, values.order, values.models, values.seed, report
        )
    show_counts(f"{values.order} of {values.language} in {store.path}", manifest.counts)
    return 0


def show_counts(title: str, counts: dict[str, int]) -> None:
    """A table of what happened to how many sentences."""
    table = new_table(title)
    table.add_column("")
    table.add_column("count", justify="right")
    for name, count in counts.items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    console.print(table)
