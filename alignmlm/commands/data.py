"""Commands about data: verify, stats, show."""

from argparse import ArgumentParser as PlainParser
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from alignmlm.commands.recipe_help import show_settings
from alignmlm.config import load_recipe, parse_recipe, recipe_parser
from alignmlm.corpus.sources import expand_path
from alignmlm.data.store import TOKENIZER, TRAIN, Store
from alignmlm.terminal import console, messages, new_table, print_json, print_line


def add_store(parser: PlainParser) -> None:
    """The arguments that name a store: a folder, or a recipe whose store it is."""
    parser.add_argument("store", nargs="?", help="folder of a store")
    parser.add_argument("--config", help="or the recipe whose store it is")


def opened_store(values: Namespace) -> Store:
    """The store that a command is about."""
    if values.store:
        return Store(Path(values.store))
    recipe = load_recipe(Path(values.config) if values.config else None)
    return Store(expand_path(recipe.data.store))


def data_verify(arguments: Sequence[str]) -> int:
    """Read every block of a store, and of its syntax orders, and compare its hash."""
    parser = PlainParser(prog="alignmlm data verify", description=data_verify.__doc__)
    add_store(parser)
    parser.add_argument("--workers", type=int, help="threads; none: one for each core")
    values = parser.parse_args(arguments)
    from alignmlm.data.inspect import damages

    store = opened_store(values)
    columns = (TextColumn("verified"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True) as progress:
        task = progress.add_task("verified", total=None)

        def report(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        found = damages(store, values.workers, report)
    for line in found:
        print_line(Text.assemble(("damaged", "red"), f" {line}"))
    print_line(f"{store.path}: {len(found)} damaged" if found else f"{store.path}: whole")
    return 1 if found else 0


def data_stats(arguments: Sequence[str]) -> int:
    """Counts of a store."""
    parser = PlainParser(prog="alignmlm data stats", description=data_stats.__doc__)
    add_store(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    values = parser.parse_args(arguments)
    store = opened_store(values)
    if values.json:
        from alignmlm.data.inspect import statistics

        counts = [asdict(row) for row in statistics(store)]
        size = store.vocabulary.size
        print_json({"store": str(store.path), "vocabulary_tokens": size, "splits": counts})
    else:
        show_statistics(store)
    return 0


def show_statistics(store: Store) -> None:
    """A table of a store's counts."""
    from alignmlm.data.inspect import statistics

    table = new_table(f"{store.path} · vocabulary {store.vocabulary.size:,}")
    for name in ("language", "split"):
        table.add_column(name)
    for name in ("shards", "documents", "sentences", "words", "tokens", "tokens/word", "used (%)"):
        table.add_column(name, justify="right")
    for row in statistics(store):
        counts = (row.shards, row.documents, row.sentences, row.words, row.tokens)
        shares = (f"{row.tokens_per_word:.2f}", f"{100 * row.vocabulary_used:.1f}")
        table.add_row(row.language, row.split, *(f"{count:,}" for count in counts), *shares)
    console.print(table)


def data_show(arguments: Sequence[str]) -> int:
    """Any batch of any run as text: the original, and what the model sees of it."""
    parser = recipe_parser(prog="alignmlm data show", description=data_show.__doc__)
    show_settings(
        parser, "data.store", "languages.ids", "dictionary.", "mask.", "objective.name",
        "objective.base", "train.seq_len", "train.batch_rows", "train.seed",
    )  # fmt: skip
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
        print_line(make_batch(loader, samples, TRAIN).hash())
        return 0
    samples = samples.part(0, values.rows)
    tokenizer = load_tokenizer(expand_path(recipe.data.store) / TOKENIZER)
    batch = make_batch(loader, samples, TRAIN)
    table = new_table(f"step {values.step}, rows 0 to {samples.size - 1} of {rows}", lines=True)
    table.add_column("sample")
    for name in ("original", "as the model sees it (labels)"):
        table.add_column(name, overflow="fold")
    for row in show_rows(loader, tokenizer, samples, batch, TRAIN):
        where = f"{row.language}\nepoch {row.epoch}\nrow {row.row}"
        seen = Text()
        for token, label in row.tokens:
            seen.append(token, "bold" if label else "")
            if label:
                seen.append(f"({label.strip()})", "green")
        table.add_row(where, Text(row.original), seen)
    console.print(table)
    return 0
