"""Commands about data: verify, stats, show."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from alignmlm.commands.options import (
    WHOLE,
    AtLeast,
    as_json,
    command,
    opened_store,
    store,
    store_config,
)
from alignmlm.config import recipe_options
from alignmlm.console.terminal import console, messages, new_table, print_json, print_line
from alignmlm.errors import ConfigError, ExitCode
from alignmlm.pretraining.recipe import Recipe

if TYPE_CHECKING:
    from alignmlm.data.inspect import ShownRow
    from alignmlm.data.store import Store


@command("verify")
@store
@store_config
@click.option("--workers", type=AtLeast(1), help="Threads; none: one for each core.")
@as_json
def data_verify(store: str | None, config: str | None, workers: int | None, as_json: bool) -> int:
    """Read every block of a store, and of its syntax orders, and check its hash."""
    from alignmlm.data.inspect import damages

    opened = opened_store(store, config)
    columns = (TextColumn("verified"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True) as progress:
        task = progress.add_task("verified", total=None)

        def report(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        damaged = damages(opened, workers, report)
    if as_json:
        print_json({"store": str(opened.path), "damaged": damaged})
    else:
        for line in damaged:
            print_line(Text.assemble(("damaged", "red"), f" {line}"))
        print_line(f"{opened.path}: {len(damaged)} damaged" if damaged else f"{opened.path}: whole")
    return ExitCode.DAMAGED if damaged else ExitCode.DONE


@command("stats")
@store
@store_config
@as_json
def data_stats(store: str | None, config: str | None, as_json: bool) -> None:
    """Count the documents, sentences, words and tokens of a store."""
    show_statistics(opened_store(store, config), as_json)


def show_statistics(store: "Store", as_json: bool, **more: Any) -> None:
    """Print a table of a store's counts, or JSON that also holds `more`."""
    from alignmlm.data.inspect import statistics

    if as_json:
        size, splits = store.vocabulary.size, [asdict(row) for row in statistics(store)]
        print_json({"store": str(store.path), "vocabulary_tokens": size, "splits": splits, **more})
        return
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


@command(
    "show",
    *recipe_options(
        "data.store", "languages.ids", "dictionary.", "mask.", "objective.name",
        "objective.base", "train.seq_len", "train.batch_rows", "train.seed",
    ),
)  # fmt: skip
@click.option("--step", type=AtLeast(0), default=0, show_default=True, help="0 is the first batch.")
@click.option("--rows", type=AtLeast(1), default=4, show_default=True, help="Rows to show.")
@click.option("--hash", "only_hash", is_flag=True, help="Print the batch's hash alone.")
@as_json
def data_show(recipe: Recipe, step: int, rows: int, only_hash: bool, as_json: bool) -> None:
    """Show any batch of any run as text: the original, and what the model sees of it."""
    batch_rows = recipe.train.batch_rows
    if step >= 2**63 // batch_rows:
        raise ConfigError("--step", step, f"be less than 2**63 / {batch_rows}, the rows of a batch")
    from alignmlm.corpus.sources import expand_path
    from alignmlm.data.batches import batch_samples, make_batch
    from alignmlm.data.inspect import show_rows
    from alignmlm.data.store import TOKENIZER, TRAIN
    from alignmlm.data.tokenizer import load_tokenizer
    from alignmlm.pretraining.assembly import assemble

    loader = assemble(recipe).loader
    samples = batch_samples(loader, step, batch_rows, 0, 1, batch_rows)[0]
    if only_hash:
        digest = make_batch(loader, samples, TRAIN).hash()
        print_json({"step": step, "hash": digest}) if as_json else print_line(digest)
        return
    samples = samples.part(0, rows)
    tokenizer = load_tokenizer(expand_path(recipe.data.store) / TOKENIZER)
    batch = make_batch(loader, samples, TRAIN)
    shown = list(show_rows(loader, tokenizer, samples, batch, TRAIN))
    if as_json:
        print_json({"step": step, "rows": [asdict(row) for row in shown]})
    else:
        show_batch(f"step {step}, rows 0 to {samples.size - 1} of {batch_rows}", shown)


def show_batch(title: str, rows: "list[ShownRow]") -> None:
    """Print a table of the rows of a batch."""
    table = new_table(title, lines=True)
    table.add_column("sample")
    for name in ("original", "as the model sees it (labels)"):
        table.add_column(name, overflow="fold")
    for row in rows:
        where = f"{row.language}\nepoch {row.epoch}\nrow {row.row}"
        seen = Text()
        for token, label in row.tokens:
            seen.append(token, "bold" if label else "")
            if label:
                seen.append(f"({label.strip()})", "green")
        table.add_row(where, Text(row.original), seen)
    console.print(table)


@command("dictionary", *recipe_options("data.store", "languages.", "dictionary."))
@click.option("--pairs", type=WHOLE, default=10, show_default=True, help="Pairs to show of each.")
@as_json
def data_dictionary(recipe: Recipe, pairs: int, as_json: bool) -> None:
    """Show what the dictionaries of a recipe cover, and some of their pairs."""
    if pairs < 0:
        raise ConfigError("pairs", pairs, "be at least 0")
    from alignmlm.commands.dictionary import dictionary_json, recipe_dictionaries, show_dictionary

    dictionaries = recipe_dictionaries(recipe)
    if as_json:
        print_json([dictionary_json(each, pairs) for each in dictionaries])
        return
    for each in dictionaries:
        show_dictionary(each, pairs)
    if not dictionaries:
        print_line(f"no dictionary between {', '.join(recipe.languages.ids)}")
