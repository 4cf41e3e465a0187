"""Commands that exchange stores: import tokens of others, export a store, fetch a remote one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alignmlm.commands.options import NUMBER, PATH, WHOLE, as_json, command, language
from alignmlm.config import Several
from alignmlm.console.terminal import messages, print_json, print_line
from alignmlm.errors import ConfigError


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[float, str], None]]:
    """A progress reporter, called with the share done and a text; a bar on a terminal alone."""
    columns = (
        TextColumn(name),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    shown = messages.is_terminal
    with Progress(*columns, console=messages, transient=True, disable=not shown) as bars:
        task = bars.add_task(name, total=1.0, text="")

        def show(share: float, text: str) -> None:
            bars.update(task, completed=share, text=text)

        yield show


@command("import")
@click.argument("tokens", type=PATH)
@click.option(
    "--tokenizer", type=PATH, required=True, help="tokenizer.json of the tokens, or its folder."
)
@language
@click.option("--store", type=PATH, required=True, help="Folder of the new store.")
@click.option(
    "--validation",
    type=NUMBER,
    default=0.02,
    show_default=True,
    help="Share of the documents to hold out, chosen by their text.",
)
@click.option(
    "--shard_tokens", type=WHOLE, default=2**24, show_default=True, help="Least tokens of a shard."
)
@as_json
def data_import(
    tokens: Path,
    tokenizer: Path,
    language: str,
    store: Path,
    validation: float,
    shard_tokens: int,
    as_json: bool,
) -> None:
    """Make a store from TOKENS of Megatron-LM (.bin, .idx) or datatrove (.ds), a file or folder."""
    from alignmlm.commands.data import show_statistics
    from alignmlm.data.store import Store
    from alignmlm.interchange.imports import import_tokens

    with progress_bar("import") as show:
        total = import_tokens(
            tokens,
            tokenizer,
            language,
            store,
            validation=validation,
            shard_tokens=shard_tokens,
            progress=lambda share, count: show(share, f"{count:,} tokens"),
        )
    counts = {
        "documents": total.documents,
        "documents_changed": total.documents_changed,
        "tokens_left_out": total.tokens_left_out,
    }
    show_statistics(Store(store), as_json, imported=counts)
    if as_json:
        return
    print_line(f"{total.tokens_left_out:,} special and blank tokens were left out")
    if total.documents_changed:
        print_line(
            f"{total.documents_changed:,} of {total.documents:,} documents would have other tokens "
            f"by {tokenizer}: where they are many, it is not the tokenizer that made them"
        )


@command("export")
@click.argument("store", type=PATH)
@click.option("--output", type=PATH, required=True, help="Folder of the new files.")
@language
@click.option("--split", default="train", show_default=True, help="train or validation.")
@as_json
def data_export(store: Path, output: Path, language: str, split: str, as_json: bool) -> None:
    """Write a split of a store as Parquet files that `datasets` reads."""
    from alignmlm.interchange.exports import export_parquet

    with progress_bar("export") as show:
        files = export_parquet(
            store, output, language, split, progress=lambda share: show(share, "")
        )
    if as_json:
        print_json({"folder": str(output), "files": [str(path) for path in files]})
    else:
        print_line(f"{output}: {len(files)} Parquet files")


@command("fetch")
@click.argument("url")
@click.option("--languages", cls=Several, metavar="ID...", help="Languages to copy; none: all.")
@click.option(
    "--limit_gib",
    type=NUMBER,
    help="GiB of the cache: other mirrors leave, least recently used first; none: no limit.",
)
@as_json
def data_fetch(
    url: str, languages: tuple[str, ...], limit_gib: float | None, as_json: bool
) -> None:
    """Mirror the store behind URL (any that fsspec opens), verified; resumes where it stopped."""
    from alignmlm.interchange.remote import local_store

    if "://" not in url:
        raise ConfigError("url", url, "be a URL: file:///path, https://..., s3://...")
    limit_bytes = None if limit_gib is None else int(limit_gib * 2**30)
    with progress_bar("fetch") as show:
        folder = local_store(
            url,
            list(languages) or None,
            limit_bytes,
            lambda done, whole: show(done / max(whole, 1), f"{done / 2**20:,.0f} MiB"),
        )
    if as_json:
        print_json({"store": str(folder)})
    else:
        print_line(str(folder))
