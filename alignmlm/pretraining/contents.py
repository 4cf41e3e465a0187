"""What a run's results depend on: its settings, and hashes of the files outside the store."""

from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from alignmlm.artifacts.model_files import model_xxh3
from alignmlm.corpus.sources import expand_path
from alignmlm.languages.language import parse_language
from alignmlm.languages.orders import is_syntax
from alignmlm.pretraining.recipe import Recipe
from alignmlm.storage.checksums import file_xxh3


@lru_cache
def hash_of_state(path: Path, size: int, written_ns: int) -> str:
    """The hash of a file with a given size and modification time (the cache key)."""
    return file_xxh3(path)


def content_hash(path: Path) -> str | None:
    """The hash of a file, cached by size and modification time; None if it does not exist."""
    if not path.is_file():
        return None
    state = path.stat()
    return hash_of_state(path.absolute(), state.st_size, state.st_mtime_ns)


def dictionary_contents(paths: Iterable[str]) -> dict[str, str | None]:
    """The hash of each dictionary file, by its index in the recipe."""
    return {
        f"dictionary.content.{place}": content_hash(expand_path(path))
        for place, path in enumerate(paths)
    }


def order_contents(store: str, languages: Iterable[str]) -> dict[str, str | None]:
    """The hash of each syntax order's manifest, which has those of its shards and models."""
    contents = {}
    for language in map(parse_language, languages):
        if is_syntax(language.order):
            from alignmlm.data.stored_orders import MANIFEST, order_folder  # slow to import (1 s)

            folder = order_folder(expand_path(store), language.order, language.base)
            key = f"data.order.{language.order}.{language.base}"
            contents[key] = content_hash(folder / MANIFEST)
    return contents


def start_content(start: str | None) -> dict[str, str]:
    """The hash of the checkpoint that a model starts from, if it is a folder.

    Raises:
        CheckpointError: a file of it is missing, or leads out of it.
    """
    if start is None or not Path(start).is_dir():
        return {}
    return {"model.start_content": model_xxh3(Path(start))}


NO_NUMBERS = {
    "train.micro_rows",
    "train.workers",
    "train.log_steps",
    "train.alignment_words",
    "data.store",
}


def numbers_of(recipe: Recipe) -> dict[str, object]:
    """What a run's results depend on, flat: "train.steps" and so on, and hashes of other files.

    Raises:
        CheckpointError: model.start is a folder without a model.
    """
    flat: dict[str, object] = {}
    for section, settings in asdict(recipe).items():
        if section not in ("run", "faults"):  # no result of a regular step depends on them
            flat |= {f"{section}.{name}": value for name, value in settings.items()}
    return {
        **{name: value for name, value in flat.items() if name not in NO_NUMBERS},
        **dictionary_contents(file.path for file in recipe.dictionary.files),
        **order_contents(recipe.data.store, recipe.languages.ids),
        **start_content(recipe.model.start),
    }


# settings that may change when a run resumes; those of the model, of its vocabulary (languages.seed
# draws the tokens that scripts share) and of the samples' numbering (train.batch_rows) may not
DATA_SETTINGS = (
    "data.", "mask.", "dictionary.", "languages.weight", "train.seed", "train.steps",
)  # fmt: skip


def differences(old: dict[str, object], new: dict[str, object]) -> list[str]:
    """Settings that differ, one line each."""
    names = sorted(old.keys() | new.keys())
    missing = "(not set)"
    return [
        f"{name}: {old.get(name, missing)!r} there, {new.get(name, missing)!r} here"
        for name in names
        if old.get(name, missing) != new.get(name, missing)
    ]
