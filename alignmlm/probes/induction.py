"""Pairs that a dictionary lacks, induced from text or from a model's word embeddings.

From text, no model is needed. A word is the vector of its associations with the given words around
it, and dimension k is the k-th given pair in both languages, so the vectors of two languages lie in
one space. The window is symmetric: counts do not change when a language is written in reverse.
From embeddings, a word is its vector after a rotation that is fitted on given pairs.
Sources: Rapp, 1999 (ACL), sections 2 and 3 (vectors from text); Levy et al., 2015 (TACL 3), section
3 (positive pointwise mutual information with context smoothing); Conneau et al., 2018
(arXiv:1710.04087), section 2.3 (mutual neighbours by CSLS); Artetxe et al., 2017 (ACL), section 3
(pairs found in one round are given ones in the next).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from torch import Tensor

from alignmlm.data.batches import Loader, Samples, make_rows
from alignmlm.data.schedule import rows_of_language
from alignmlm.data.store import TRAIN
from alignmlm.languages.dictionary import Dictionary, Word, from_pairs
from alignmlm.probes.neighbours import cosine_blocks, csls, nearest_mean, neighbourhood_means, units
from alignmlm.probes.rotation import Tables, centred_tables, rotated_tables

WINDOW = 2  # tokens on each side
LEAST_COUNT = 10  # occurrences of a word in the text that was read
WORDS = 5000  # of each language, the most frequent: the time of a round grows with the square
CONTEXTS = 2048  # given pairs as dimensions, the most frequent
SMOOTHING = 0.75  # exponent of the contexts' counts: Levy et al., 2015, section 3
NEIGHBOURS = 10  # of CSLS
CHANGED = 0.01  # share of the pairs: a round that changes no more is the last
CONTROL = 10  # one given pair in this many is set aside
ROWS_AT_ONCE = 4096

Candidates = tuple[Int[np.ndarray, " source"], Int[np.ndarray, " target"]]  # tokens of each side
# from known pairs to unit vectors of the source and target candidates in one space
Vectors = Callable[[Int[np.ndarray, "pair 2"]], tuple[Tensor, Tensor]]


class Rule(NamedTuple):
    """When a pair is induced, and when an induction is trusted."""

    margin: float  # least lead of the nearest word over the second, in CSLS
    rounds: int  # at most; the pairs of a round are known in the next
    least_precision: float  # of the control
    least_known: int  # control words for which a pair was induced


FROM_TEXT = Rule(margin=0.05, rounds=20, least_precision=0.5, least_known=0)
# wrong pairs, once trained on, confirm themselves in later inductions, so more evidence is asked
FROM_EMBEDDINGS = Rule(margin=0.1, rounds=1, least_precision=0.75, least_known=8)


class Round(NamedTuple):
    """How many pairs a round induced, and how many of those with a known answer are right."""

    pairs: int
    known: int  # pairs whose source word the held-out dictionary has
    right: int  # of those


@dataclass(frozen=True, slots=True)
class Induction:
    """Induced pairs of two languages; no word of them has a given partner."""

    pairs: Dictionary
    rounds: list[Round]  # compared with the held-out pairs; the first entry: before any round
    control: Round  # the last round, compared with given pairs that were set aside


def neighbour_counts(loader: Loader, language: int, limit_tokens: int, seed: int) -> csr_array:
    """A symmetric matrix: entry [a, b] counts how often token b is within WINDOW tokens of a.

    Reads training rows of a language, in its own order and script, drawn by the seed until
    `limit_tokens` tokens of text or all rows are read. Special tokens are not counted.

    Raises:
        DataError: a damaged block of a shard.
    """
    size = len(loader.lexicon.special)
    available = loader.rows(language, TRAIN)
    numbers = np.arange(min(available, -(-limit_tokens // loader.payload_tokens)))
    name = str(loader.languages[language])
    counts = csr_array((size, size), dtype=np.int32)
    for start in range(0, len(numbers), ROWS_AT_ONCE):
        part = numbers[start : start + ROWS_AT_ONCE]
        epochs, rows = rows_of_language(seed, name, part, available)
        samples = Samples(part, np.full_like(part, language), epochs, rows)
        ids = make_rows(loader, samples, TRAIN, np.full_like(part, -1))[0].ids
        for distance in range(1, WINDOW + 1):
            counts += pair_counts(ids[:, :-distance], ids[:, distance:], loader.lexicon.special)
    return csr_array(counts + counts.T)


def pair_counts(
    left: Int[np.ndarray, "row seq"], right: Int[np.ndarray, "row seq"], special: np.ndarray
) -> csr_array:
    """How often each pair of tokens occurs; pairs with a special token are left out."""
    text = ~(special[left] | special[right])
    ones = np.ones(int(text.sum()), np.int32)
    return csr_array((ones, (left[text], right[text])), shape=(len(special), len(special)))


def associations(
    counts: csr_array, words: Int[np.ndarray, " word"], contexts: Int[np.ndarray, " context"]
) -> Float[Tensor, "word context"]:
    """Positive pointwise mutual information of words with contexts, as unit vectors.

    Source: Levy et al., 2015 (TACL 3), section 3.1.
    """
    table = counts[words][:, contexts].toarray().astype(np.float64)
    of_words = table.sum(axis=1, keepdims=True)
    of_contexts = table.sum(axis=0) ** SMOOTHING
    expected = of_words * (of_contexts / max(of_contexts.sum(), 1.0))
    ratios = np.divide(table, expected, out=np.ones_like(table), where=table > 0)
    return units(torch.from_numpy(np.maximum(np.log(ratios), 0)).float())


@torch.no_grad()
def best_by_csls(
    queries: Float[Tensor, "query hidden"], candidates: Float[Tensor, "candidate hidden"]
) -> tuple[Int[Tensor, " query"], Float[Tensor, " query"]]:
    """Each query's nearest candidate by CSLS, and its lead over the second."""
    near = neighbourhood_means(candidates, queries, NEIGHBOURS)
    best = torch.empty(len(queries), dtype=torch.int64)
    lead = torch.empty(len(queries))
    for part, cosines in cosine_blocks(queries, candidates):
        scores = csls(cosines, nearest_mean(cosines, NEIGHBOURS), near)
        top = scores.topk(2, dim=1)
        best[part], lead[part] = top.indices[:, 0], top.values[:, 0] - top.values[:, 1]
    return best, lead


def mutual_pairs(
    source: Float[Tensor, "source hidden"], target: Float[Tensor, "target hidden"], margin: float
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Words that are each other's nearest by CSLS, with a lead of `margin` or more both ways."""
    if min(len(source), len(target)) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    forward, forward_lead = best_by_csls(source, target)
    backward, backward_lead = best_by_csls(target, source)
    mutual = backward[forward] == torch.arange(len(source))
    mutual &= (forward_lead >= margin) & (backward_lead[forward] >= margin)
    places = mutual.nonzero()[:, 0]
    return places.numpy(), forward[places].numpy()


def frequent(counts: csr_array, tokens: Int[np.ndarray, " token"], limit: int) -> np.ndarray:
    """The most frequent of some tokens, in ascending order; rare ones are left out."""
    occurrences = counts[tokens].sum(axis=1) // (2 * WINDOW)
    order = np.argsort(-occurrences, kind="stable")[:limit]
    return np.sort(tokens[order[occurrences[order] >= LEAST_COUNT]])


def control_of(given: Dictionary) -> Int[np.ndarray, "control 2"]:
    """The given pairs of one-token words that are set aside, one in CONTROL."""
    return given.single_tokens()[::CONTROL]


def without_control(given: Dictionary) -> Dictionary:
    """The given pairs that are not set aside."""
    aside = {((a,), (b,)) for a, b in control_of(given).tolist()}
    return from_pairs(pair for pair in given.words() if pair not in aside)


def candidates(source: csr_array, target: csr_array, given: Dictionary) -> Candidates:
    """The frequent one-token words of each side that no given pair has, but for control pairs.

    `source` and `target` are neighbour counts.
    """
    vocabulary, control = source.shape[0], control_of(given)
    source_words, target_words = (
        frequent(counts, without_partner(vocabulary, given, control, side), WORDS)
        for side, counts in enumerate((source, target))
    )
    return source_words, target_words


def induce(
    words: Candidates, vectors: Vectors, given: Dictionary, held_out: Dictionary, rule: Rule
) -> Induction:
    """Pairs of candidates that are mutual neighbours.

    The pairs set aside as a control are not known to `vectors`: if what was induced for their words
    does not satisfy the rule, no pair is returned. Nor are pairs with words of theirs. The held-out
    pairs serve for comparison only, for precision and recall.
    """
    pairs, control = given.single_tokens(), control_of(given)
    known = np.delete(pairs, np.s_[::CONTROL], axis=0)
    induced: set[tuple[int, int]] = set()
    rounds = [Round(0, 0, 0)]
    while len(known) and len(rounds) <= rule.rounds:
        every = np.array([*known.tolist(), *sorted(induced)])
        places = mutual_pairs(*vectors(every), rule.margin)
        before = induced
        found = words[0][places[0]].tolist(), words[1][places[1]].tolist()
        induced = set(zip(*found, strict=True))
        rounds.append(compared(induced, held_out.single_tokens()))
        if len(induced ^ before) <= CHANGED * len(induced):
            break
    check = compared(induced, control)
    if check.known < rule.least_known or check.right < rule.least_precision * check.known:
        return Induction(from_pairs([]), rounds, check)
    aside = set(control[:, 0].tolist()), set(control[:, 1].tolist())
    new = [((a,), (b,)) for a, b in induced if a not in aside[0] and b not in aside[1]]
    return Induction(from_pairs(new), rounds, check)


def induce_from_text(
    source: csr_array, target: csr_array, given: Dictionary, held_out: Dictionary
) -> Induction:
    """Pairs of words that occur near the same given pairs; see `induce`.

    `source` and `target` are neighbour counts.
    """
    words = candidates(source, target, given)

    def vectors(known: Int[np.ndarray, "pair 2"]) -> tuple[Tensor, Tensor]:
        contexts = frequent_pairs(source, target, known)
        return (
            associations(source, words[0], contexts[:, 0]),
            associations(target, words[1], contexts[:, 1]),
        )

    return induce(words, vectors, given, held_out, FROM_TEXT)


def induce_from_embeddings(
    embedding: Float[Tensor, "vocab hidden"],
    words: Candidates,
    given: Dictionary,
    held_out: Dictionary,
) -> Induction:
    """Pairs of words that are near each other after a rotation fitted on given ones."""
    vectors = partial(rotated_vectors, embedding, words)
    return induce(words, vectors, given, held_out, FROM_EMBEDDINGS)


def rotated_vectors(
    embedding: Float[Tensor, "vocab hidden"], words: Candidates, known: Int[np.ndarray, "pair 2"]
) -> tuple[Float[Tensor, "source hidden"], Float[Tensor, "target hidden"]]:
    """Unit vectors of the candidates, each side centred, the source side rotated onto the other."""
    sides = [one_token_words(np.append(words[side], known[:, side])) for side in (0, 1)]
    pairs = list(zip(*(one_token_words(known[:, side]) for side in (0, 1)), strict=True))
    tables = rotated_tables(centred_tables(Tables(embedding, embedding), *sides), pairs)
    return units(tables.source[words[0]]), units(tables.target[words[1]])


def one_token_words(tokens: Int[np.ndarray, " token"]) -> list[Word]:
    """Each token as a word."""
    return [(token,) for token in tokens.tolist()]


def without_partner(
    vocabulary: int, given: Dictionary, control: Int[np.ndarray, "pair 2"], side: int
) -> Int[np.ndarray, " token"]:
    """The tokens that are not a word of any given pair on one side, not counting control pairs."""
    aside = {((a,), (b,)) for a, b in control.tolist()}
    words = (pair[side] for pair in given.words() if pair not in aside)
    taken = [word[0] for word in words if len(word) == 1]
    return np.setdiff1d(np.arange(vocabulary), taken)


def compared(induced: set[tuple[int, int]], answers: Int[np.ndarray, "pair 2"]) -> Round:
    """Counts of the induced pairs, of those whose source word has an answer, and of the right."""
    right = {(int(a), int(b)) for a, b in answers}
    asked = {source_word for source_word, _ in right}
    checked = [pair in right for pair in induced if pair[0] in asked]
    return Round(len(induced), len(checked), sum(checked))


def frequent_pairs(
    source: csr_array, target: csr_array, pairs: Int[np.ndarray, "pair 2"]
) -> Int[np.ndarray, "context 2"]:
    """The pairs that occur most often in both languages, at most CONTEXTS."""
    occurrences = source[pairs[:, 0]].sum(axis=1) * float(1) * target[pairs[:, 1]].sum(axis=1)
    return pairs[np.sort(np.argsort(-occurrences, kind="stable")[:CONTEXTS])]
