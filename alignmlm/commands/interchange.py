"""Commands about stores of others: import their tokens, export ours, fetch a store from afar."""

from argparse import ArgumentParser as PlainParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alignmlm.terminal import messages, print_line


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[float, str], None]]:
    """What is told the share that is done and a text beside it; a bar on a terminal alone."""
    columns = (
        TextColumn(name),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    shown = messages.is_terminal
    with Progress(*columns, console=messages, transient=True, disable=not shown) as bars:
        task = bars.add_task(name, total=1.0, told="")

        def show(share: float, told: str) -> None:
            bars.update(task, completed=share, told=told)

        yield show


def data_import(arguments: Sequence[str]) -> int:
    """Tokens of Megatron-LM (.bin, .idx) or datatrove (.ds) -> a store of one language."""
    parser = PlainParser(prog="alignmlm data import", description=data_import.__doc__)
    parser.add_argument("tokens", type=Path, help="a .bin, .idx or .ds file, or a folder of them")
    about = "the tokenizer.json that the tokens were made with, or its folder"
    parser.add_argument("--tokenizer", type=Path, required=True, help=about)
    parser.add_argument("--language", required=True, help="of the tokens, like eng-Latn")
    parser.add_argument("--store", type=Path, required=True, help="folder of the store to be")
    about = "share of the documents to hold out, chosen by their text (0.02)"
    parser.add_argument("--validation", type=float, default=0.02, help=about)
    about = "least tokens of a shard (16,777,216)"
    parser.add_argument("--shard_tokens", type=int, default=2**24, help=about)
    values = parser.parse_args(arguments)
    from alignmlm.commands.data import show_statistics
    from alignmlm.data.store import Store
    from alignmlm.interchange.imports import import_tokens

    with progress_bar("import") as show:
        total = import_tokens(
            values.tokens,
            values.tokenizer,
            values.language,
            values.store,
            validation=values.validation,
            shard_tokens=values.shard_tokens,
            progress=lambda share, tokens: show(share, f"{tokens:,} tokens"),
        )
    show_statistics(Store(values.store))
    print_line(f"{total.tokens_left_out:,} special and blank tokens were left out")
    if total.documents_changed:
        print_line(
            f"{total.documents_changed:,} of {total.documents:,} documents would have other tokens "
            f"by {values.tokenizer}: where they are many, it is not the tokenizer that made them"
        )
    return 0


def data_export(arguments: Sequence[str]) -> int:
    """A split of a store -> Parquet files that `datasets` reads."""
    parser = PlainParser(prog="alignmlm data export", description=data_export.__doc__)
    parser.add_argument("store", type=Path, help="folder of a store")
    parser.add_argument("--output", type=Path, required=True, help="folder of the files to be")
    parser.add_argument("--language", required=True, help="like eng-Latn")
    parser.add_argument("--split", default="train", help="train (the default) or validation")
    values = parser.parse_args(arguments)
    from alignmlm.interchange.exports import export_parquet

    with progress_bar("export") as show:
        files = export_parquet(
            values.store,
            values.output,
            values.language,
            values.split,
            progress=lambda share: show(share, ""),
        )
    print_line(f"{values.output}: {len(files)} Parquet files")
    return 0


def data_fetch(arguments: Sequence[str]) -> int:
    """A store behind a URL -> its local mirror, verified; goes on where it stopped."""
    parser = PlainParser(prog="alignmlm data fetch", description=data_fetch.__doc__)
    parser.add_argument("url", help="http://, s3:// or any other URL that fsspec opens")
    about = "those to copy (all); like eng-Latn"
    parser.add_argument("--languages", nargs="+", metavar="LANGUAGE", help=about)
    about = "most GiB of the cache: other mirrors are removed, least recently used first (no limit)"
    parser.add_argument("--limit_gib", type=float, help=about)
    values = parser.parse_args(arguments)
    from alignmlm.interchange.remote import local_store

    limit_bytes = None if values.limit_gib is None else int(values.limit_gib * 2**30)
    with progress_bar("fetch") as show:
        folder = local_store(
            values.url,
            values.languages,
            limit_bytes,
            lambda done, whole: show(done / max(whole, 1), f"{done / 2**20:,.0f} MiB"),
        )
    print_line(str(folder))
    return 0
