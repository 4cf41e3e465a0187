"""Building a store: raw text becomes a tokenizer and token shards, in one process or many.

The store appears atomically. The steps are sentences, duplicates, tokenizer, tokens, shards and
manifest; each ends when all ranks have finished it, and what it writes does not depend on the
number of ranks.
"""

import ctypes
import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import xxhash
from tokenizers import Tokenizer

from alignmlm import __version__
from alignmlm.corpus.duplicates import (
    NO_DUPLICATES,
    Duplicates,
    dropped_documents,
    find_duplicates,
)
from alignmlm.corpus.mpi import SINGLE, Ranks, tokenizer_threads
from alignmlm.corpus.parts import Part, write_texts
from alignmlm.corpus.readers import reader_of
from alignmlm.corpus.settings import DataConfig
from alignmlm.corpus.sharding import SPLITS, ShardPlan, cut_shard, make_shard_folders, plan_shards
from alignmlm.corpus.sources import SourceConfig, expand_path, pieces_of, source_paths
from alignmlm.corpus.token_parts import Encoder, has_tokens, make_encoder, tokenise_part
from alignmlm.corpus.training_text import sample_steps, training_sentences
from alignmlm.corpus.workspace import (
    OtherBuildError,
    Workspace,
    build_record,
    is_worth_keeping,
    locked,
    open_workspace,
    read_record,
    record_differences,
    record_settings,
    remove_content,
    remove_workspace,
    removed_partly,
    workspace_of,
)
from alignmlm.data.shards import ShardEntry, token_dtype
from alignmlm.data.store import MANIFEST, SCHEMA_VERSION, TOKENIZER, Manifest
from alignmlm.data.tokenizer import Vocabulary, describe, load_tokenizer, train_tokenizer
from alignmlm.errors import AlignMLMError, DataError, listed
from alignmlm.storage.atomic import remove_partials_in, rename, replace_bytes, sync_tree

log = logging.getLogger(__name__)


class BuildProgress(NamedTuple):
    """Progress of a build, as rank 0 sees it."""

    step: str
    share: float  # of the step that is done
    tokens: int = 0  # written so far by all ranks, approximately


Report = Callable[[BuildProgress], None]


def empty_split(source: SourceConfig, split: str, tokens: int, config: DataConfig) -> DataError:
    """The error for a language that has no text in a split."""
    if not tokens:
        return DataError(f"corpus of {source.language} ({', '.join(source.files)}) has no text")
    return DataError(
        f"corpus of {source.language} has no {split} document: with data.validation = "
        f"{config.validation} every document went to the other split; give more documents (in a "
        f"text file, data.sources.documents: line makes each line one; in a treebank, a line "
        f"`# newdoc` starts one) or another share"
    )


def no_training_text(config: DataConfig) -> DataError:
    """The error for a corpus that a tokenizer cannot be trained on."""
    files = listed([file for source in config.sources for file in source.files])
    return DataError(
        f"the corpus {files} has no text to train a tokenizer on: it is blank, or, with "
        f"data.validation = {config.validation}, it has no train document"
    )


def check_final_paths(config: DataConfig) -> None:
    """Raise unless a store can be built.

    Raises:
        DataError: its folder is in use, or a corpus file is missing or of an unknown form.
    """
    for source in config.sources:
        for path in source_paths(source):
            reader_of(path)
    final = expand_path(config.store)
    if (final / MANIFEST).exists():
        raise DataError(f"{final} holds a store already; remove it, or name another data.store")
    if final.exists() and any(final.iterdir()):
        raise DataError(f"{final} is in use and holds no store; name another data.store")


@contextmanager
def full_disk_told(place: Workspace, final: Path) -> Iterator[None]:
    """Turn a full disk into an error that a user can fix.

    Raises:
        DataError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataError(
            f"no space left on the disk of {final} while building. What was done is kept in "
            f"{place.folder}: free space and run the same command again, or remove that folder. A "
            f"build needs about as much space as its text"
        ) from error


@contextmanager
def little_removed(place: Workspace, ranks: Ranks) -> Iterator[None]:
    """Keep the work of a failed build, unless the corpus is at fault and little was done."""
    try:
        yield
    except OtherBuildError:
        raise
    except AlignMLMError:
        if ranks.size == 1 and not is_worth_keeping(place):
            remove_workspace(place)
        raise


def build_store(
    config: DataConfig,
    report: Report = lambda progress: None,
    ranks: Ranks = SINGLE,
    restart: bool = False,
) -> Path:
    """Build the store of a recipe, or resume a build that stopped.

    With `restart`, remains of a build with other settings or files are removed first.

    Raises:
        DataError: a corpus that is missing, empty or not UTF-8; a folder in use; a full disk;
            another build of the same store, running or begun with other settings or files.
        ConfigError: a vocabulary larger than the data supports, or a store without a name.
    """
    started, final = perf_counter(), expand_path(config.store)
    place = workspace_of(final)
    if ranks.of_first(lambda: was_finished(place, final, config)):
        return final
    ranks.of_first(lambda: check_final_paths(config))
    lock = locked(place, final) if ranks.first else nullcontext()
    with full_disk_told(place, final), lock, little_removed(place, ranks):
        ranks.of_first(lambda: check_final_paths(config))
        write_store(place, config, report, ranks, restart)
        ranks.of_first(lambda: finish(place, final))
    log.info("built %s in %.1f s", final, perf_counter() - started)
    return final


def finish(place: Workspace, final: Path) -> None:
    """Move the finished build to the store's path, and remove the rest.

    A killed process may have left half-written files among the finished ones.
    """
    for rest in removed_partly(place):
        remove_content(rest)  # left by another build; it must not be taken for this one's
    if final.exists():
        final.rmdir()
    for folder in (place.store, *(path for path in place.store.rglob("*") if path.is_dir())):
        remove_partials_in(folder)
    sync_tree(place.store)
    rename(place.store, final)
    remove_workspace(place)


def was_finished(place: Workspace, final: Path, config: DataConfig) -> bool:
    """Whether this build was killed after its store was in place; removes what it left behind."""
    left = removed_partly(place)
    unmoved = place.folder.exists() and not place.store.exists()
    if not (final / MANIFEST).exists() or not (left or unmoved):
        return False
    with locked(place, final) if unmoved else nullcontext():
        records = [record for each in [place, *left] if (record := read_record(each))]
        new = build_record(config, pieces_of(config.sources))
        if not records or any(record_differences(old, new) for old in records):
            return False
        for rest in [place, *left] if unmoved else left:
            remove_content(rest)
    return True


def write_store(
    place: Workspace, config: DataConfig, report: Report, ranks: Ranks, restart: bool
) -> None:
    """All steps from text to manifest."""
    pieces = ranks.of_first(lambda: pieces_of(config.sources))
    ranks.of_first(lambda: open_workspace(place, config, pieces, restart))
    parts = write_texts(
        place,
        config.sources,
        pieces,
        ranks,
        lambda share: report(BuildProgress("sentences", share)),
    )
    duplicates = NO_DUPLICATES
    if config.deduplicate:
        report(BuildProgress("duplicates", 0.0))
        duplicates = find_duplicates(place, parts, ranks)
    tokenizer = store_tokenizer(place, parts, duplicates, config, report, ranks)
    write_tokens(
        place, parts, duplicates, make_encoder(tokenizer, config.validation), report, ranks
    )
    give_back_memory()
    vocabulary = describe(tokenizer)
    splits = write_shards(place, parts, config, token_dtype(vocabulary.size), report, ranks)
    if ranks.first:
        write_manifest(place, parts, duplicates, config, vocabulary, splits)


def make_tokenizer(
    place: Workspace,
    parts: list[Part],
    duplicates: Duplicates,
    config: DataConfig,
    sample: tuple[int, int],
    report: Report,
) -> None:
    """Write the tokenizer of a store, loaded or trained."""
    steps, size_bytes = sample

    def told(read_bytes: int) -> None:
        report(BuildProgress("tokenizer", read_bytes / max(size_bytes, 1)))

    if config.tokenizer:
        tokenizer = load_tokenizer(expand_path(config.tokenizer))
    elif not size_bytes:
        raise no_training_text(config)
    else:
        texts = training_sentences(place, parts, duplicates, config, steps, told)
        tokenizer = train_tokenizer(texts, config.vocabulary_size)
    record_settings(place, config)
    replace_bytes(place.tokenizer, tokenizer.to_str(pretty=True).encode())


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can; training frees a lot of it."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def store_tokenizer(
    place: Workspace,
    parts: list[Part],
    duplicates: Duplicates,
    config: DataConfig,
    report: Report,
    ranks: Ranks,
) -> Tokenizer:
    """The tokenizer of a store; rank 0 makes it unless it exists."""
    if not ranks.of_first(place.tokenizer.exists):
        report(BuildProgress("tokenizer", 0.0))
        tokenizer_threads(alone=True)
        sample = sample_steps(place, parts, duplicates, config, ranks)
        ranks.of_first(lambda: make_tokenizer(place, parts, duplicates, config, sample, report))
    tokenizer_threads(alone=False)
    give_back_memory()
    return load_tokenizer(place.tokenizer)


def write_tokens(
    place: Workspace,
    parts: list[Part],
    duplicates: Duplicates,
    encoder: Encoder,
    report: Report,
    ranks: Ranks,
) -> None:
    """Tokenise the parts that have no tokens yet, each rank its share."""
    todo = ranks.of_first(lambda: [i for i, p in enumerate(parts) if not has_tokens(place, p)])
    tokens, mine = 0, ranks.mine(todo)
    report(BuildProgress("tokens", 0.0))
    for done, index in enumerate(mine, start=1):
        tokens += tokenise_part(place, parts, index, duplicates, encoder)
        report(BuildProgress("tokens", done / len(mine), tokens * ranks.size))
    ranks.meet()


def checked_plans(place: Workspace, parts: list[Part], config: DataConfig) -> list[ShardPlan]:
    """The plan of a store's shards; creates their folders.

    Raises:
        DataError: a language has no text at all, or none in one of the splits.
    """
    languages = [source.language for source in config.sources]
    plans = plan_shards(place, parts, languages, config.shard_tokens)
    for source in config.sources:
        tokens_by_split = {
            plan.split: plan.tokens for plan in plans if plan.language == source.language
        }
        for split in SPLITS:
            if split not in tokens_by_split:
                raise empty_split(source, split, sum(tokens_by_split.values()), config)
    make_shard_folders(place, languages)
    return plans


def write_shards(
    place: Workspace,
    parts: list[Part],
    config: DataConfig,
    dtype: np.dtype,
    report: Report,
    ranks: Ranks,
) -> dict[str, dict[str, list[ShardEntry]]]:
    """Write all shards, each rank its share; returns the manifest's rows by language and split."""
    report(BuildProgress("shards", 0.0))
    plans = ranks.of_first(lambda: checked_plans(place, parts, config))
    languages = [source.language for source in config.sources]
    tokens, mine = 0, ranks.mine(plans)
    entries = []
    for done, plan in enumerate(mine, start=1):
        source = languages.index(plan.language)
        entries.append((plan, cut_shard(place, parts, plan, source, dtype)))
        tokens += plan.tokens
        report(BuildProgress("shards", done / len(mine), tokens * ranks.size))
    every = {
        plan: entry for rank_entries in ranks.gathered(entries) for plan, entry in rank_entries
    }
    splits: dict[str, dict[str, list[ShardEntry]]] = {
        language: {split: [] for split in SPLITS} for language in languages
    }
    for plan in plans:
        splits[plan.language][plan.split].append(every[plan])
    return splits


def write_manifest(
    place: Workspace,
    parts: list[Part],
    duplicates: Duplicates,
    config: DataConfig,
    vocabulary: Vocabulary,
    splits: dict[str, dict[str, list[ShardEntry]]],
) -> None:
    """Write the tokenizer's copy in the store and, last, the manifest."""
    text = place.tokenizer.read_bytes()
    replace_bytes(place.store / TOKENIZER, text)
    provenance: dict[str, object] = {
        "alignmlm": __version__,
        "sources": [asdict(source) for source in config.sources],
        "validation": config.validation,
        "tokenizer_bytes": config.tokenizer_bytes,
    }
    if config.deduplicate:
        languages = [source.language for source in config.sources]
        dropped = dropped_documents(parts, duplicates, languages)
        provenance["duplicates_dropped"] = dropped
        for language, count in dropped.items():
            log.info("%s: %s duplicate documents left out", language, f"{count:,}")
    digest = xxhash.xxh3_64_hexdigest(text)
    manifest = Manifest(SCHEMA_VERSION, vocabulary, digest, splits, provenance)
    replace_bytes(place.store / MANIFEST, manifest.to_json().encode())
