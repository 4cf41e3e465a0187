"""Reordering the trees of one language by the word order of another.

The order of a head and its dependents is drawn from a log-linear model over all their orders:
p(order) is proportional to exp(sum of the weights of its features). Subtrees stay contiguous.
Source: Wang and Eisner, 2016 (TACL 4; arXiv:1710.03838).
"""

import gzip
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from alignmlm.errors import DataError, quoted
from alignmlm.numerics.counter_rng import key, keys, uniform
from alignmlm.storage.atomic import replace_bytes, replace_text
from alignmlm.storage.text import numbered_lines, split_blanks
from alignmlm.syntax.features import (
    KINDS,
    MAX_NODES,
    NGRAM_SIZES,
    NOUN_HEADS,
    VERB_HEADS,
    Signature,
    Trie,
    matches,
    ngram_trie,
    node_order,
    order_number,
    order_tables,
    orders_with,
    pair_names,
    slot_labels,
)
from alignmlm.syntax.trees import ROOT, Tree, children, is_projective

SUBSTRATE_SHARE = 0.05
CACHED_NUMBERS = 2**22  # 32 MiB of probabilities for each number of nodes


class OrderingModel:
    """Weights of order features, with a cache of distributions."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = dict(weights)
        self._trie: Trie = ngram_trie(self.weights)
        self._pairs: dict[tuple[str, str], tuple[float, ...]] = {}
        self._cumulative: dict[int, dict[Signature, Float[np.ndarray, " order"]]] = {}

    def _pair(self, first: str, second: str) -> tuple[float, ...]:
        """Weights of a pair of labels, one for each relative position."""
        pair_weights = self._pairs.get((first, second))
        if pair_weights is None:
            get = self.weights.get
            pair_weights = tuple(
                sum((get(name, 0.0) for name in names), 0.0) for names in pair_names(first, second)
            )
            self._pairs[first, second] = pair_weights
        return pair_weights

    def scores(self, signature: Signature) -> Float[np.ndarray, " order"]:
        """Sum of the weights of each order's features."""
        labels, nodes = slot_labels(signature), len(signature)
        table = np.array([self._pair(first, second) for first in labels for second in labels])
        scores = table.take(order_tables(nodes).cells).sum(axis=0)
        ngrams = matches(self._trie, signature)
        if ngrams:
            numbers = [orders_with(nodes, ngram) for ngram, _ in ngrams]
            weights = np.repeat([weight for _, weight in ngrams], [len(part) for part in numbers])
            scores += np.bincount(np.concatenate(numbers), weights, len(scores))
        return scores

    def log_probabilities(self, signature: Signature) -> Float[np.ndarray, " order"]:
        """Log-probability in nats of each order of order_tables, at most 0."""
        scores = self.scores(signature)
        scores -= scores.max()
        return scores - np.log(np.exp(scores).sum())

    def cumulative(self, signature: Signature) -> Float[np.ndarray, " order"]:
        """Probability of each order and of all before it, rising to 1."""
        cached = self._cumulative.setdefault(len(signature), {})
        probabilities = cached.get(signature)
        if probabilities is None:
            probabilities = np.exp(self.log_probabilities(signature)).cumsum()
            if (len(cached) + 1) * len(probabilities) > CACHED_NUMBERS:
                cached.clear()
            cached[signature] = probabilities
        return probabilities

    def draw(self, signature: Signature, number: float) -> Int[np.ndarray, " node"]:
        """The order that a uniform number in [0, 1) picks, as node numbers."""
        cumulative = self.cumulative(signature)
        picked = min(bisect_right(cumulative, number), len(cumulative) - 1)
        return order_tables(len(signature)).orders[picked]


def blend(
    superstrate: OrderingModel, substrate: OrderingModel, share: float = SUBSTRATE_SHARE
) -> OrderingModel:
    """A model whose weights are (1 - share) x superstrate + share x substrate.

    Where the superstrate has seen a construction, its large weights decide; elsewhere the small
    share of the substrate's weights favours the original order.
    Source: gdtreebank (princeton-nlp/align-mlm @ 711fdda), option lambda and its default.
    """
    names = superstrate.weights.keys() | substrate.weights.keys()
    upper, lower = superstrate.weights.get, substrate.weights.get
    return OrderingModel(
        {name: (1 - share) * upper(name, 0.0) + share * lower(name, 0.0) for name in sorted(names)}
    )


def _check_name(name: str, place: str) -> None:
    """Raise unless a text is the name of a feature."""
    kind, *symbols = name.split("_")
    sizes = NGRAM_SIZES if kind == "HI" else (2,)
    if kind not in KINDS or len(symbols) not in sizes:
        raise DataError(
            f"{place}: a feature is one of {', '.join(KINDS)} and 2 symbols, or 3 to 5 for HI, "
            f"joined by _; found {quoted(name)}"
        )


def _weight(text: str, place: str) -> float:
    """The weight that a text gives, which must be finite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{place}: a weight must be a finite number, found {quoted(text)}")
    return value


def read_orm(path: Path) -> OrderingModel:
    """The model of a file of "feature weight" lines, plain or compressed.

    Raises:
        DataError: a line is not a feature and a finite weight, a feature occurs twice, or there is
            none.
    """
    weights: dict[str, float] = {}
    for number, line in numbered_lines(path):
        place, parts = f"{path}:{number}", split_blanks(line)
        if len(parts) != 2:
            raise DataError(f"{place}: a line is a feature and its weight, found {quoted(line)}")
        _check_name(parts[0], place)
        if parts[0] in weights:
            raise DataError(f"{place}: feature {quoted(parts[0])} occurs twice")
        weights[parts[0]] = _weight(parts[1], place)
    if not weights:
        raise DataError(f"{path} holds no feature, but it must be an ordering model")
    return OrderingModel(weights)


def write_orm(path: Path, model: OrderingModel) -> None:
    """Write the weights, sorted by name; compressed where the name ends in .gz."""
    text = "".join(f"{name} {model.weights[name]!r}\n" for name in sorted(model.weights))
    if path.suffix != ".gz":
        replace_text(path, text)
        return
    replace_bytes(path, gzip.compress(text.encode(), mtime=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of what happened to trees and to their heads with dependents."""

    trees: int = 0
    trees_not_projective: int = 0  # kept as they were; their heads are not counted
    heads_drawn: int = 0
    heads_moved: int = 0  # of those drawn, the ones that got another order
    heads_too_large: int = 0  # more than MAX_NODES nodes: order kept
    heads_without_model: int = 0  # order kept

    def __add__(self, other: "Counts") -> "Counts":
        names = [name.name for name in fields(self)]
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True)
class Reordered:
    """A permutation of the words of a tree."""

    order: Int[np.ndarray, " word"]  # old positions, in their new order
    counts: Counts


@dataclass(slots=True)
class _Drawn:
    """The orders drawn for the heads of one tree, and counts of its heads."""

    heads: int = 0
    moved: int = 0
    too_large: int = 0
    without_model: int = 0
    sequences: dict[int, list[int]] = field(default_factory=dict)


def word_draws(words: tuple[str, ...], seed: int) -> list[float]:
    """A number in [0, 1) for each word that depends on the sentence's words and the seed alone."""
    parent = key("syntax", seed, "\t".join(words))
    return uniform(keys(parent, np.arange(len(words)))).tolist()


def _models(
    noun_model: OrderingModel | None, verb_model: OrderingModel | None
) -> Callable[[str], OrderingModel | None]:
    """A function from a head's tag to the model that orders its dependents."""
    table = dict.fromkeys(NOUN_HEADS, noun_model) | dict.fromkeys(VERB_HEADS, verb_model)
    return table.get


@dataclass(frozen=True, slots=True)
class HeadOrder:
    """How likely the order of one head and its dependents is."""

    head: int
    words: tuple[int, ...]  # positions, from left to right
    log_probability_nats: float


def head_orders(
    tree: Tree, noun_model: OrderingModel | None, verb_model: OrderingModel | None
) -> list[HeadOrder]:
    """Each head that reorder_tree would draw an order for, and how likely its present order is."""
    below, model_of = children(tree), _models(noun_model, verb_model)
    orders: list[HeadOrder] = []
    if not is_projective(tree, below):
        return orders
    for head, dependents in enumerate(below):
        model = model_of(tree.upos[head])
        if model is not None and 0 < len(dependents) < MAX_NODES:
            signature, nodes = node_order(tree, head, dependents)
            log_p = float(model.log_probabilities(signature)[order_number(nodes)])
            orders.append(HeadOrder(head, tuple(sorted(nodes)), log_p))
    return orders


def _head_sequences(
    tree: Tree,
    below: list[list[int]],
    model_of: Callable[[str], OrderingModel | None],
    draws: list[float],
) -> _Drawn:
    """Each head with its dependents, in the order drawn for them."""
    result = _Drawn()
    for head, dependents in enumerate(below):
        if not dependents:
            continue
        sequence = sorted([head, *dependents])
        model = model_of(tree.upos[head])
        if model is None:
            result.without_model += 1
        elif len(sequence) > MAX_NODES:
            result.too_large += 1
        else:
            signature, nodes = node_order(tree, head, dependents)
            drawn = [nodes[node] for node in model.draw(signature, draws[head]).tolist()]
            result.heads += 1
            result.moved += drawn != sequence
            sequence = drawn
        result.sequences[head] = sequence
    return result


def _flattened(root: int, sequences: dict[int, list[int]]) -> list[int]:
    """Words of a tree, with each subtree at the place that its head's order gives it."""
    words: list[int] = []
    waiting = [(root, False)]
    while waiting:
        word, alone = waiting.pop()
        if alone or word not in sequences:
            words.append(word)
        else:
            waiting += [(node, node == word) for node in reversed(sequences[word])]
    return words


def reorder_tree(
    tree: Tree,
    noun_model: OrderingModel | None,
    verb_model: OrderingModel | None,
    seed: int,
) -> Reordered:
    """The words of a tree in a drawn order, always the same for the same tree and seed.

    Trees that are not projective, heads of more than MAX_NODES nodes and heads without a model
    keep their order and are counted.
    """
    below = children(tree)
    if not is_projective(tree, below):
        identity = np.arange(len(tree.words))
        return Reordered(identity, Counts(trees=1, trees_not_projective=1))
    draws = word_draws(tree.words, seed)
    result = _head_sequences(tree, below, _models(noun_model, verb_model), draws)
    order = _flattened(tree.heads.index(ROOT), result.sequences)
    counts = Counts(
        trees=1,
        heads_drawn=result.heads,
        heads_moved=result.moved,
        heads_too_large=result.too_large,
        heads_without_model=result.without_model,
    )
    return Reordered(np.array(order, np.int64), counts)
