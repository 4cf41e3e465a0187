"""Turning parses into a syntax order that is stored beside the tokens."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from alignmlm.corpus.parses import MISSING, parses_path, read_blocks, shard_text
from alignmlm.data.shards import Shard
from alignmlm.data.store import Store
from alignmlm.data.stored_orders import (
    SCHEMA_VERSION,
    OrderManifest,
    order_folder,
    write_order_manifest,
    write_order_shard,
)
from alignmlm.data.text import two_letter_code
from alignmlm.errors import ConfigError, DataError
from alignmlm.languages.orders import is_syntax
from alignmlm.storage.atomic import new_folder
from alignmlm.storage.checksums import file_xxh3
from alignmlm.storage.locks import locked
from alignmlm.syntax.ordering import OrderingModel, read_orm, reorder_tree
from alignmlm.syntax.trees import parse_conllu, version_1

Models = tuple[OrderingModel | None, OrderingModel | None]  # for dependents of nouns and of verbs

ORDER = re.compile(r"syn-(?P<noun>[a-z]{2,3})(?:-N-(?P<verb>[a-z]{2,3})-V|-(?P<only>[NV]))?")
Progress = Callable[[int, int], None]  # sentences done, and their total
ByShard = dict[str, list[str]]  # split -> a hash for each shard


def model_languages(order: str) -> tuple[str, str]:
    """The languages whose noun and verb models an order asks for; "" for none.

    Raises:
        ConfigError: it is no syntax order.
    """
    match = ORDER.fullmatch(order)
    if match is None or not is_syntax(order):
        raise ConfigError("--order", order, "be 'syn-fra', 'syn-fra-N', 'syn-fra-N-hin-V', ...")
    first, second, only = match["noun"], match["verb"], match["only"]
    return (first if only != "V" else ""), (second or (first if only != "N" else ""))


def find_model(folder: Path, language: str, kind: str) -> Path:
    """The file of an ordering model: fra@N.orm, fr@N.orm or one of them with .gz.

    Raises:
        DataError: there is none.
    """
    codes = (language, two_letter_code(language))
    names = [f"{code}@{kind}.orm{end}" for code in codes for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"{folder} has no ordering model {names[0]}; fit one with `alignmlm data fit-order`"
    )


def load_models(folder: Path, order: str) -> tuple[Models, dict[str, str]]:
    """The noun and the verb model of an order, and the hash of each file."""
    models: list[OrderingModel | None] = []
    hashes = {}
    for kind, language in zip("NV", model_languages(order), strict=True):
        path = find_model(folder, language, kind) if language else None
        models.append(read_orm(path) if path else None)
        if path:
            hashes[path.name] = file_xxh3(path)
    return (models[0], models[1]), hashes


def sentence_ranks(
    lines: list[str], words: int, models: Models, seed: int, place: str
) -> tuple[UInt8[np.ndarray, " word"], Counter[str]]:
    """The rank (new position) of each word of a sentence, and counts of what happened to it.

    Raises:
        DataError: the parse is that of another sentence.
    """
    unchanged = np.minimum(np.arange(words), 255).astype(np.uint8)
    if lines[0].startswith(MISSING):
        return unchanged, Counter({lines[0].removeprefix(MISSING).strip(): 1})
    tree = next(parse_conllu(lines, place), None)
    if tree is None or len(tree.words) != words:
        count = len(tree.words) if tree else 0
        raise DataError(f"{place}: the parse has {count} words, the sentence {words}")
    moved = reorder_tree(version_1(tree), *models, seed)
    ranks = np.empty(words, np.uint8)
    ranks[moved.order] = np.arange(words)
    counts = {name: count for name, count in asdict(moved.counts).items() if count}
    return ranks, Counter(counts)


def shard_ranks(
    shard: Shard, blocks: Iterator[list[str]], models: Models, seed: int, place: Path
) -> Iterator[tuple[UInt8[np.ndarray, " token"], Counter[str]]]:
    """For each piece of a shard, the rank of each token's word and the counts of its sentences.

    Raises:
        DataError: there are more or fewer parses than sentences.
    """
    for text in shard_text(shard):
        counts: Counter[str] = Counter()
        words = np.bincount(text.sentence_of_word())
        ranks = []
        for number, length in enumerate(words.tolist()):
            lines = next(blocks, None)
            if lines is None:
                raise DataError(f"{place} has fewer parses than {shard.bin_path} has sentences")
            of_words, sentence_counts = sentence_ranks(
                lines, length, models, seed, f"{place}, block {number}"
            )
            ranks.append(of_words)
            counts.update(sentence_counts)
        yield np.concatenate(ranks)[text.word_of_token()], counts


def order_store(
    store: Store, language: str, order: str, models: Path, seed: int, progress: Progress
) -> OrderManifest:
    """Write a syntax order; returns its manifest, which counts what happened to the sentences.

    Raises:
        DataError: parses or models are missing or damaged.
        ConfigError: no such order.
    """
    folder = order_folder(store.path, order, language)
    loaded, hashes = load_models(models, order)
    with locked(folder), new_folder(folder) as new:
        digests, counts, parses = write_ranks(store, language, new, loaded, seed, progress)
        provenance: dict[str, object] = {"models": hashes, "seed": seed, "parses": parses}
        manifest = OrderManifest(
            SCHEMA_VERSION, order, language, store.manifest.data_id, digests, counts, provenance
        )
        write_order_manifest(store.path, manifest, new)
    return manifest


def write_ranks(
    store: Store, language: str, folder: Path, models: Models, seed: int, progress: Progress
) -> tuple[ByShard, dict[str, int], ByShard]:
    """Write a language's ranks to a folder; returns digests, counts and the hashes of the parses.

    Raises:
        DataError: parses are missing or damaged.
    """
    splits = store.manifest.splits[language]
    total = sum(entry.sentences for entries in splits.values() for entry in entries)
    digests: ByShard = {split: [] for split in splits}
    parses: ByShard = {split: [] for split in splits}
    counts: Counter[str] = Counter({"sentences": total})
    done = 0
    for split in splits:
        for shard in store.split(language, split).shards:
            place = parses_path(store.path, language, split, shard.entry.name)
            parts, blocks = [], read_blocks(place)
            for ranks, piece_counts in shard_ranks(shard, blocks, models, seed, place):
                parts.append(ranks)
                counts.update(piece_counts)
                progress(done, total)
            if next(blocks, None) is not None:
                raise DataError(f"{place} has more parses than {shard.bin_path} has sentences")
            done += shard.entry.sentences
            path = folder / split / f"{shard.entry.name}.ord"
            digests[split].append(write_order_shard(path, np.concatenate(parts)))
            parses[split].append(file_xxh3(place))
    return digests, dict(counts), parses
