"""Datasets of the Hugging Face hub, streamed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignmlm.corpus.sources import HUB_PREFIX, CorpusFile, SourceConfig, expand_path
from alignmlm.errors import ConfigError, DataError
from alignmlm.storage.checksums import document_xxh3


def hub_name(pattern: str, source: SourceConfig) -> tuple[str, str | None, str]:
    """Id, config and split of a dataset; the id may be the path of a folder.

    Raises:
        ConfigError: no id, or more than three parts.
    """
    name, *rest = pattern.removeprefix(HUB_PREFIX).split(":")
    if not name or len(rest) > 2:
        requirement = "look like 'hub:<org>/<name>' or 'hub:<org>/<name>:<config>:<split>'"
        raise ConfigError("data.sources.files", pattern, requirement)
    config, split = [*rest, "", ""][:2]
    return str(expand_path(name)), config or source.config, split or source.split


def hub_dataset(pattern: str, source: SourceConfig) -> Any:
    """A hub dataset in streaming mode: nothing is downloaded before it is read.

    Raises:
        DataError: it cannot be opened, whatever the `datasets` library raises.
    """
    from datasets import load_dataset

    name, config, split = hub_name(pattern, source)
    try:
        return load_dataset(name, config, split=split, streaming=True)
    except Exception as error:
        raise hub_error(pattern, error) from error


def hub_error(pattern: str, error: Exception) -> DataError:
    """The error for a dataset that cannot be opened or read further."""
    said = str(error).strip() or type(error).__name__
    return DataError(
        f"hub dataset {pattern} cannot be read: {said} (if the network failed, run the same "
        f"command again)"
    )


def hub_parts(pattern: str, source: SourceConfig) -> int:
    """How many files of a dataset can be read independently."""
    return max(1, hub_dataset(pattern, source).num_shards)


def hub_fingerprint(pattern: str, source: SourceConfig) -> str:
    """The fingerprint of a dataset: a hash of a folder's names, sizes and times, or a commit.

    Raises:
        DataError: it cannot be opened, whatever the `datasets` library raises.
    """
    from datasets import load_dataset_builder

    name, config, _ = hub_name(pattern, source)
    if Path(name).is_dir():
        return folder_fingerprint(Path(name))
    try:
        return str(load_dataset_builder(name, config).hash or "")
    except Exception as error:
        raise hub_error(pattern, error) from error


def folder_fingerprint(folder: Path) -> str:
    """A hash of the names, sizes and times of a folder's files."""
    files = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    states = {str(path): [state.st_size, state.st_mtime_ns] for path, state in files}
    return document_xxh3(states)


def hub_rows(file: CorpusFile, source: SourceConfig) -> Iterator[dict[str, Any]]:
    """The rows of one part of a dataset.

    Raises:
        DataError: it cannot be read to its end.
    """
    index, count = file.part
    whole = hub_dataset(file.name, source)
    part = whole.shard(num_shards=count, index=index) if count > 1 else whole
    rows = iter(part)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise hub_error(file.name, error) from error
        yield row
