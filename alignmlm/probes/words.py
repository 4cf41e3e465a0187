"""Dictionary words as queries, and the alignment of two languages' word embeddings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from alignmlm_kernels import WordPairs
from alignmlm_kernels.alignment.reference import word_vectors
from jaxtyping import Bool, Float, Int
from torch import Tensor

from alignmlm.languages.dictionary import Dictionary, Word, file_pairs, flatten, from_pairs
from alignmlm.probes.neighbours import (
    Answers,
    Neighbourhoods,
    answers_of,
    neighbourhood_means,
    rank_metrics,
    ranks,
    units,
)

CSLS_NEIGHBOURS = 10  # Conneau et al., 2018 (arXiv:1710.04087), section 2.3
BAND_EDGES = (1000, 5000, 20_000)  # the last rank of each band but the open-ended one
Metrics = dict[str, float | int]
Counts = tuple[Mapping[Word, int], Mapping[Word, int]]  # occurrences of source and target words


@dataclass(frozen=True, slots=True)
class Questions:
    """Source words as queries for their nearest target word."""

    sources: list[Word]
    candidates: list[Word]
    answers: list[frozenset[int]]  # places of the right candidates, one set per source word


@dataclass(frozen=True, slots=True)
class WordProbe:
    """The same pairs asked both ways; the candidates of one way are the other way's words."""

    forward: Questions  # from source to target words
    backward: Questions


def word_pairs(dictionary: Dictionary) -> WordPairs:
    """A dictionary as tensors."""
    return WordPairs(
        torch.from_numpy(dictionary.source_ids),
        torch.from_numpy(dictionary.source_offsets),
        torch.from_numpy(dictionary.target_ids),
        torch.from_numpy(dictionary.target_offsets),
    )


def spread(words: list[Word], limit: int | None) -> list[Word]:
    """At most `limit` of the words, evenly spread over the list."""
    if limit is None or len(words) <= limit:
        return words
    return [words[i] for i in np.linspace(0, len(words) - 1, limit).astype(int)]


def questions(asked: Dictionary, every: Dictionary, limit: int | None = None) -> Questions:
    """One question for each source word of `asked`; candidates are all target words of `every`.

    A limit keeps that many source words, evenly spread over the dictionary.
    """
    candidates = sorted({target for _, target in every.words()})
    place = {word: number for number, word in enumerate(candidates)}
    answers: dict[Word, set[int]] = {}
    for source, target in asked.words():
        answers.setdefault(source, set()).add(place[target])
    sources = spread(list(answers), limit)
    return Questions(sources, candidates, [frozenset(answers[word]) for word in sources])


def swapped(dictionary: Dictionary) -> Dictionary:
    """The same pairs from target to source."""
    return Dictionary(
        dictionary.target_ids,
        dictionary.target_offsets,
        dictionary.source_ids,
        dictionary.source_offsets,
    )


def word_probe(asked: Dictionary, every: Dictionary, limit: int | None = None) -> WordProbe:
    """Questions about the pairs of `asked` both ways among all words of `every`.

    A limit keeps that many words of each side.
    """
    backward = questions(swapped(asked), swapped(every), limit)
    return WordProbe(questions(asked, every, limit), backward)


def file_probe(
    asked: Path,
    every: Path,
    source: Callable[[list[str]], list[Word]],
    target: Callable[[list[str]], list[Word]],
    limit: int | None = None,
) -> WordProbe:
    """Questions of bilingual lexicon induction: pairs of one file among the words of both files.

    The files may be MUSE's. `source` and `target` turn words into token ids. Pairs whose words are
    the same ids, and words without ids, are left out.
    Source: Conneau et al., 2018 (arXiv:1710.04087), section 3.1.

    Raises:
        DataError: a file cannot be read, or a line has not exactly two words.
    """
    pairs = file_pairs(asked, source, target)
    everything = [*pairs, *file_pairs(every, source, target)]
    return word_probe(from_pairs(pairs), from_pairs(everything), limit)


def vectors_of(
    embedding: Float[Tensor, "vocab hidden"], words: list[Word]
) -> Float[Tensor, "word hidden"]:
    """The mean embedding of each word's tokens."""
    ids, offsets = (torch.from_numpy(part).to(embedding.device) for part in flatten(words))
    return word_vectors(embedding, ids, offsets)


def unit_vectors(
    embedding: Float[Tensor, "vocab hidden"], words: list[Word]
) -> Float[Tensor, "word hidden"]:
    """Word vectors of length 1."""
    return units(vectors_of(embedding, words))


@torch.no_grad()
def retrieval_percent(embedding: Float[Tensor, "vocab hidden"], asked: Questions) -> float | None:
    """Share of source words whose nearest target word is a translation, in [0, 100].

    None where nothing was asked. Nearest by cosine, among all candidates.
    Source: Tang et al., 2022 (arXiv:2211.08547), section 5 (alignment).
    """
    if not asked.sources:
        return None
    vectors = [unit_vectors(embedding, words) for words in (asked.sources, asked.candidates)]
    answer_ranks = ranks(vectors[0], vectors[1], answers_of(asked.answers, embedding.device))
    return rank_metrics(answer_ranks["cosine"])["p1_percent"]


def frequency_ranks(counts: Int[np.ndarray, " word"]) -> Int[np.ndarray, " word"]:
    """Rank of each word by its count, from 1 for the most frequent; equal counts keep order."""
    ranks_of_words = np.empty(len(counts), np.int64)
    ranks_of_words[np.argsort(-counts, kind="stable")] = np.arange(1, len(counts) + 1)
    return ranks_of_words


def frequency_bands(
    counts: Int[np.ndarray, " word"], edges: tuple[int, ...] = BAND_EDGES
) -> dict[str, Bool[np.ndarray, " word"]]:
    """Which words lie in each band of ranks ("rank_1_1000", ..., "rank_20001_up", "unseen").

    A word that was never counted has no rank worth the name, so it is "unseen".
    """
    place, seen = frequency_ranks(counts), counts > 0
    bounds = [0, *edges]
    bands = {
        f"rank_{low + 1}_{high}": seen & (place > low) & (place <= high)
        for low, high in zip(bounds, edges, strict=False)
    }
    return {**bands, f"rank_{bounds[-1] + 1}_up": seen & (place > bounds[-1]), "unseen": ~seen}


def asked_bands(
    asked: Questions, words: list[Word], counts: Mapping[Word, int]
) -> dict[str, Bool[np.ndarray, " query"]]:
    """Which source words lie in each band; ranks are those among all `words` of their side."""
    place = {word: number for number, word in enumerate(words)}
    of_asked = np.array([place[word] for word in asked.sources], np.int64)
    counted = np.array([counts.get(word, 0) for word in words], np.int64)
    return {name: band[of_asked] for name, band in frequency_bands(counted).items()}


def banded(
    name: str, ranks: Int[Tensor, " query"], bands: dict[str, Bool[np.ndarray, " query"]]
) -> Metrics:
    """P@1 in percent of each band that has a word."""
    places, metrics = ranks.cpu().numpy(), {}
    for band, inside in bands.items():
        if inside.any():
            metrics[f"{band}/{name}_p1_percent"] = float(100 * (places[inside] <= 1).mean())
    return metrics


@torch.no_grad()
def question_metrics(
    tables: tuple[Float[Tensor, "vocab hidden"], Float[Tensor, "vocab hidden"]],
    asked: Questions,
    words: list[Word],
    csls_pool_words: int | None,
    counts: Mapping[Word, int] | None,
) -> Metrics:
    """P@1, P@5 and MRR of one way, by cosine and by CSLS, and P@1 by frequency band.

    `tables` are the token vectors of the asked side and of the candidates, `words` all words of
    the asked side. For CSLS, the neighbours of candidates are sought among `csls_pool_words` of
    these, evenly spread; None: all; 0: no CSLS.
    """
    if not asked.sources:
        return {}
    queries = unit_vectors(tables[0], asked.sources)
    candidates = unit_vectors(tables[1], asked.candidates)
    adjusted = {}
    if csls_pool_words != 0:
        pool = unit_vectors(tables[0], spread(words, csls_pool_words))
        near = neighbourhood_means(candidates, pool, CSLS_NEIGHBOURS)
        adjusted["csls"] = Neighbourhoods(CSLS_NEIGHBOURS, near)
    answers: Answers = answers_of(asked.answers, candidates.device)
    metrics: Metrics = {"words": len(asked.sources)}
    bands = {} if counts is None else asked_bands(asked, words, counts)
    metrics |= {f"{band}/words": int(inside.sum()) for band, inside in bands.items()}
    for name, places in ranks(queries, candidates, answers, adjusted).items():
        metrics |= {f"{name}_{key}": value for key, value in rank_metrics(places).items()}
        metrics |= banded(name, places, bands)
    return metrics


def word_metrics(
    embedding: Float[Tensor, "vocab hidden"],
    probe: WordProbe,
    csls_pool_words: int | None = None,
    counts: Counts | None = None,
    target_embedding: Float[Tensor, "vocab hidden"] | None = None,
) -> Metrics:
    """Retrieval of translations both ways; the paper's number is forward/cosine_p1_percent.

    `counts` are occurrences of the source and of the target words, each in the text of their
    language, for frequency bands of the asked side. Target words have their vectors in
    `target_embedding` where it is given.
    Source: Tang et al., 2022 (arXiv:2211.08547), section 5 (alignment).
    """
    source, target = embedding, embedding if target_embedding is None else target_embedding
    forward, backward = probe.forward, probe.backward
    own, theirs = counts or (None, None)
    pool = csls_pool_words
    ways = {
        "forward": question_metrics((source, target), forward, backward.candidates, pool, own),
        "backward": question_metrics((target, source), backward, forward.candidates, pool, theirs),
    }
    return {f"{way}/{key}": value for way, found in ways.items() for key, value in found.items()}
