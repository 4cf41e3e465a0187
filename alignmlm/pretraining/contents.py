"""Hashes of the files outside the store that a run's numbers depend on, whatever their names."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from alignmlm.artifacts.model_files import model_xxh3
from alignmlm.corpus.sources import expand_path
from alignmlm.data.stored_orders import MANIFEST, order_folder
from alignmlm.languages.language import parse_language
from alignmlm.languages.orders import is_syntax
from alignmlm.storage.checksums import file_xxh3


@lru_cache
def hash_of_state(path: Path, size: int, written_ns: int) -> str:
    """The hash of a file that has a size and was written at a time."""
    return file_xxh3(path)


def content_hash(path: Path) -> str | None:
    """The hash of a file, computed once for each state of it; None where there is none."""
    if not path.is_file():
        return None
    state = path.stat()
    return hash_of_state(path.absolute(), state.st_size, state.st_mtime_ns)


def dictionary_contents(paths: Iterable[str]) -> dict[str, str | None]:
    """The hash of each dictionary file, by its place among the recipe's."""
    return {
        f"dictionary.content.{place}": content_hash(expand_path(path))
        for place, path in enumerate(paths)
    }


def order_contents(store: str, languages: Iterable[str]) -> dict[str, str | None]:
    """The hash of each syntax order's manifest, which has those of its shards and models."""
    contents = {}
    for language in map(parse_language, languages):
        if is_syntax(language.order):
            folder = order_folder(expand_path(store), language.order, language.base)
            key = f"data.order.{language.order}.{language.base}"
            contents[key] = content_hash(folder / MANIFEST)
    return contents


def start_content(start: str | None) -> dict[str, str]:
    """The hash of the checkpoint that a model goes on from, where it is a folder.

    Raises:
        CheckpointError: a file of it is missing, or leads out of it.
    """
    if start is None or not Path(start).is_dir():
        return {}
    return {"model.start_content": model_xxh3(Path(start))}
