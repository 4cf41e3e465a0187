"""Ordering models estimated from a treebank, and how well a model explains one.

Weights maximise the log-likelihood of the orders seen, minus l2 / 2 times their squared norm.
Heads of the same signature are counted together, so large treebanks cost little more.
Source: Wang and Eisner, 2016 (TACL 4; arXiv:1710.03838). As in their program, gdtreebank
(princeton-nlp/align-mlm @ 711fdda), the most frequent tenth of the n-grams seen has weights; unlike
there, weights are regularised.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from alignmlm.errors import DataError
from alignmlm.syntax.features import (
    MAX_NODES,
    WAYS,
    Signature,
    Trie,
    matches,
    ngram_trie,
    ngrams,
    node_order,
    order_number,
    order_tables,
    orders_with,
    pair_names,
    slot_labels,
)
from alignmlm.syntax.ordering import OrderingModel
from alignmlm.syntax.trees import (
    Tree,
    children,
    is_projective,
    read_conllu,
    ud_version,
    version_1,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

TRAINED_NODES = 6  # most nodes (head and dependents) that gdtreebank estimates from; 720 orders
NGRAM_SHARE = 0.1
L2 = 5.0  # best of 0.3 to 20 on the development part of UD_French-Sequoia
MAX_STEPS = 300

Sample = Mapping[Signature, Mapping[int, int]]  # how often each order of a signature was seen
Pairs = dict[tuple[str, str], int]  # number of each pair of labels


def trees_version_1(paths: Iterable[Path]) -> list[Tree]:
    """Trees of CoNLL-U files with labels of UD version 1; the version is detected from the labels.

    Raises:
        DataError: a file is damaged, or labels of both versions occur.
    """
    trees = [tree for path in paths for tree in read_conllu(path)]
    return trees if ud_version(trees) == 1 else [version_1(tree) for tree in trees]


def sample_orders(
    trees: Iterable[Tree], heads: frozenset[str], max_nodes: int = MAX_NODES
) -> Sample:
    """Orders of the heads with these tags, in projective trees, of 2 to max_nodes nodes."""
    sample: dict[Signature, Counter[int]] = defaultdict(Counter)
    for tree in trees:
        below = children(tree)
        if not is_projective(tree, below):
            continue
        for head, dependents in enumerate(below):
            if tree.upos[head] in heads and 0 < len(dependents) < max_nodes:
                signature, nodes = node_order(tree, head, dependents)
                sample[signature][order_number(nodes)] += 1
    return sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """How well a model explains the orders of some heads."""

    heads: int
    total_nats: float  # log-likelihood, at most 0
    uniform_nats: float  # the same where all orders are equally likely

    @property
    def per_head_nats(self) -> float:
        """Mean log-likelihood of a head's order, at most 0."""
        return self.total_nats / max(self.heads, 1)


def log_likelihood(model: OrderingModel, sample: Sample) -> Likelihood:
    """Log-likelihood of the orders of a sample under a model."""
    heads, total, uniform = 0, 0.0, 0.0
    for signature, seen in sample.items():
        log_p = model.log_probabilities(signature)
        count = sum(seen.values())
        heads += count
        total += sum(times * log_p[order] for order, times in seen.items())
        uniform -= count * math.lgamma(len(signature) + 1)
    return Likelihood(heads=heads, total_nats=float(total), uniform_nats=uniform)


def frequent_ngrams(sample: Sample, share: float) -> list[str]:
    """Names of the most frequent share of the n-grams seen; ties are broken by name."""
    counts: Counter[str] = Counter()
    for signature, seen in sample.items():
        orders = order_tables(len(signature)).orders
        for order, times in seen.items():
            labels = [signature[node] for node in orders[order]]
            for ngram in ngrams(labels):
                counts["_".join(("HI", *ngram))] += times
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    return ranked[: math.ceil(share * len(ranked))]


@dataclass(frozen=True, slots=True)
class SignatureGroup:
    """All signatures of one number of nodes."""

    cells: Int[np.ndarray, "signature cell"]  # number of the pair value in each cell
    uses: Float[np.ndarray, "cell order"]  # whether an order uses a cell
    ngrams: "csr_matrix"  # (signature x order) by n-gram feature
    seen: Float[np.ndarray, "signature order"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A sample in the form that the optimiser needs: n-gram features first, then pair features."""

    names: tuple[str, ...]
    ngram_count: int
    pairs: "csr_matrix"  # pair values, WAYS for each pair of labels, by pair feature
    groups: tuple[SignatureGroup, ...]
    l2: float


def _ngram_matrix(signatures: Sequence[Signature], trie: Trie, features: int) -> "csr_matrix":
    """Which n-gram features each order of each signature has."""
    from scipy.sparse import csr_matrix

    orders = math.factorial(len(signatures[0]))
    rows, columns = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number, signature in enumerate(signatures):
        for ngram, feature in matches(trie, signature):
            numbers = orders_with(len(signature), ngram)
            rows.append(number * orders + numbers)
            columns.append(np.full(len(numbers), int(feature)))
    place = (np.concatenate(rows), np.concatenate(columns))
    shape = (len(signatures) * orders, features)
    return csr_matrix((np.ones(len(place[0])), place), shape=shape)


def _pair_cells(
    signatures: Sequence[Signature], used: Int[np.ndarray, " cell"], pairs: Pairs
) -> Int[np.ndarray, "signature cell"]:
    """Number of the pair value in each used cell; new pairs of labels get new numbers."""
    slots = len(signatures[0]) + 2
    first, second = np.divmod(used // WAYS, slots)
    places = list(zip(first.tolist(), second.tolist(), strict=True))
    rows = []
    for signature in signatures:
        labels = slot_labels(signature)
        met = [(labels[a], labels[b]) for a, b in places]
        rows.append([pairs.setdefault(pair, len(pairs)) for pair in met])
    return np.array(rows) * WAYS + used % WAYS


def _group(
    signatures: Sequence[Signature], sample: Sample, pairs: Pairs, trie: Trie, features: int
) -> SignatureGroup:
    """The arrays of all signatures of one number of nodes."""
    table = order_tables(len(signatures[0])).cells
    used, where = np.unique(table, return_inverse=True)
    uses = np.zeros((len(used), table.shape[1]))
    for row in where.reshape(table.shape):
        uses[row, np.arange(len(row))] = 1
    seen = np.zeros((len(signatures), table.shape[1]))
    for number, signature in enumerate(signatures):
        for order, times in sample[signature].items():
            seen[number, order] = times
    cells = _pair_cells(signatures, used, pairs)
    return SignatureGroup(cells, uses, _ngram_matrix(signatures, trie, features), seen)


def _pair_matrix(pairs: Pairs) -> tuple[list[str], "csr_matrix"]:
    """Names of all pair features, and which of them each pair value sums."""
    from scipy.sparse import csr_matrix

    names: dict[str, int] = {}
    rows, columns = [], []
    for (first, second), number in pairs.items():
        for way, fired in enumerate(pair_names(first, second)):
            rows += [number * WAYS + way] * len(fired)
            columns += [names.setdefault(name, len(names)) for name in fired]
    shape = (len(pairs) * WAYS, len(names))
    return list(names), csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)


def problem_of(sample: Sample, l2: float, ngram_share: float) -> Problem:
    """The estimation problem of a sample.

    Raises:
        DataError: the sample is empty.
    """
    if not sample:
        raise DataError("no head with dependents to estimate an ordering model from")
    high = frequent_ngrams(sample, ngram_share)
    trie = ngram_trie({name: float(number) for number, name in enumerate(high)})
    by_size: dict[int, list[Signature]] = defaultdict(list)
    for signature in sorted(sample):
        by_size[len(signature)].append(signature)
    pairs: Pairs = {}
    groups = [_group(part, sample, pairs, trie, len(high)) for part in by_size.values()]
    names, matrix = _pair_matrix(pairs)
    return Problem((*high, *names), len(high), matrix, tuple(groups), l2)


def loss_and_gradient(
    problem: Problem, weights: Float[np.ndarray, " feature"]
) -> tuple[float, Float[np.ndarray, " feature"]]:
    """Negative penalised log-likelihood in nats, and its gradient."""
    high, low = np.split(weights, [problem.ngram_count])
    values = problem.pairs @ low
    high_gradient, value_gradient = np.zeros(len(high)), np.zeros(len(values))
    loss = problem.l2 / 2 * float(weights @ weights)
    for group in problem.groups:
        scores = values[group.cells] @ group.uses
        scores += (group.ngrams @ high).reshape(scores.shape)
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        loss -= float((group.seen * scores).sum())
        excess = group.seen.sum(axis=1, keepdims=True) * np.exp(scores) - group.seen
        high_gradient += group.ngrams.T @ excess.ravel()
        value_gradient += np.bincount(
            group.cells.ravel(), (excess @ group.uses.T).ravel(), len(values)
        )
    gradient = np.concatenate([high_gradient, problem.pairs.T @ value_gradient])
    return loss, gradient + problem.l2 * weights


def fit_sample(
    sample: Sample, *, l2: float = L2, ngram_share: float = NGRAM_SHARE, steps: int = MAX_STEPS
) -> OrderingModel:
    """The model that best explains a sample, by L-BFGS.

    Raises:
        DataError: the sample is empty.
    """
    from scipy.optimize import minimize

    problem = problem_of(sample, l2, ngram_share)
    start = np.zeros(len(problem.names))
    optimum = minimize(
        lambda weights: loss_and_gradient(problem, weights),
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "ftol": 1e-7},
    )
    return OrderingModel(dict(zip(problem.names, optimum.x.tolist(), strict=True)))


def fit_treebank(paths: Iterable[Path], heads: frozenset[str], *, l2: float = L2) -> OrderingModel:
    """The model of the heads with these tags in CoNLL-U files, with labels of UD version 1.

    Raises:
        DataError: a file is damaged, or has no such head with dependents.
    """
    return fit_sample(sample_orders(trees_version_1(paths), heads, TRAINED_NODES), l2=l2)
