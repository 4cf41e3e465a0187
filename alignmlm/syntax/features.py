"""Features of the order of a head and its dependents, and tables over all orders of n nodes.

A node is named by a label, "POS&relation"; the head by "@POS&@". A pair feature names two nodes
in one of three forms (tag alone, relation alone, both). PRE: a before b; BFR, BTW, AFT: the same,
both being dependents before, on either side of, or after the head; BI: a directly before b, where
b may also be the end (EOS) and a the beginning (BOS). HI names 3 to 5 neighbours.
Source: Wang and Eisner, 2016 (TACL 4; arXiv:1710.03838); names and sizes as in their program,
gdtreebank (princeton-nlp/align-mlm @ 711fdda).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, permutations

import numpy as np
from jaxtyping import Int

from alignmlm.syntax.trees import Tree

BOS, EOS, HEAD = "BOS", "EOS", "@"
KINDS = ("PRE", "BFR", "BTW", "AFT", "BI", "HI")
NGRAM_SIZES = (3, 4, 5)
BEFORE, BETWEEN, AFTER, ADJACENT = range(4)  # relative position of two nodes in an order
WAYS = 4
NOUN_HEADS = frozenset(("NOUN", "PROPN", "PRON"))
VERB_HEADS = frozenset(("VERB",))
MAX_NODES = 7  # most nodes (head and dependents) that gdtreebank reorders; 5,040 orders

Signature = tuple[str, ...]  # label of the head, then those of its dependents, sorted
Ngram = tuple[int, ...]  # slots: node numbers, then n for BOS and n + 1 for EOS
Trie = dict  # symbol -> Trie; None -> the value of the n-gram that ends here


def head_label(upos: str) -> str:
    """Label of a head in its own order."""
    return f"{HEAD}{upos}&{HEAD}"


def is_head(label: str) -> bool:
    """Whether a label is that of the head."""
    return label.startswith(HEAD)


def node_order(tree: Tree, head: int, below: Sequence[int]) -> tuple[Signature, list[int]]:
    """Signature of a head and the word of each node: the head, then dependents by label."""
    labels = [f"{tree.upos[word]}&{tree.relations[word]}" for word in below]
    ranked = sorted(range(len(below)), key=labels.__getitem__)
    signature = (head_label(tree.upos[head]), *[labels[rank] for rank in ranked])
    return signature, [head, *[below[rank] for rank in ranked]]


def _forms(label: str) -> tuple[str, str, str]:
    """The three forms of a label: tag alone, relation alone, both."""
    if label in (BOS, EOS):
        return label, label, label
    upos, _, relation = label.partition("&")
    return upos, relation, label


def pair_names(first: str, second: str) -> tuple[tuple[str, ...], ...]:
    """Names of the features that fire where one label precedes another, by relative position."""
    pairs = list(zip(_forms(first), _forms(second), strict=True))

    def names(*kinds: str) -> tuple[str, ...]:
        return tuple(f"{kind}_{a}_{b}" for kind in kinds for a, b in pairs)

    if first == BOS or second == EOS:
        return (), (), (), names("BI")
    if is_head(first) or is_head(second):
        return names("PRE"), (), (), names("BI")
    return names("PRE", "BFR"), names("PRE", "BTW"), names("PRE", "AFT"), names("BI")


def slot_labels(signature: Signature) -> Signature:
    """Labels of all slots: the nodes, the beginning and the end."""
    return (*signature, BOS, EOS)


@dataclass(frozen=True, slots=True)
class OrderTables:
    """All orders of n nodes; node 0 is the head."""

    orders: Int[np.ndarray, "order node"]
    places: Int[np.ndarray, "order node"]  # position of each node in each order
    cells: Int[np.ndarray, "use order"]  # (first slot, second slot, way) of each pair, flattened
    numbers: Mapping[bytes, int]  # number of each order


def _cells(orders: Int[np.ndarray, "order node"]) -> Int[np.ndarray, "use order"]:
    """Cells of the pairs and neighbours of every order."""
    count, nodes = orders.shape
    head = (orders == 0).argmax(axis=1)
    edge = np.ones((count, 1), orders.dtype)
    padded = np.hstack([edge * nodes, orders, edge * (nodes + 1)]).astype(np.int64)
    slots = nodes + 2

    def cell(first: int, second: int, way: Int[np.ndarray, " order"] | int) -> np.ndarray:
        return (padded[:, first] * slots + padded[:, second]) * WAYS + way

    rows = [cell(place, place + 1, ADJACENT) for place in range(nodes + 1)]
    for i in range(nodes):
        for j in range(i + 1, nodes):
            way = (head < i).astype(np.int64) + (head < j)
            way[(head == i) | (head == j)] = BEFORE
            rows.append(cell(i + 1, j + 1, way))
    return np.stack(rows).astype(np.intp)


@cache
def order_tables(nodes: int) -> OrderTables:
    """Tables over the n! orders of n nodes, in lexicographic order."""
    orders = np.array(list(permutations(range(nodes))), np.int8)
    numbers = {order.tobytes(): number for number, order in enumerate(orders)}
    return OrderTables(orders, orders.argsort(axis=1), _cells(orders), numbers)


def order_number(nodes: Sequence[int]) -> int:
    """Number of the order in which the words of the nodes stand."""
    ranks = np.argsort(nodes).astype(np.int8)
    return order_tables(len(nodes)).numbers[ranks.tobytes()]


@cache
def orders_with(nodes: int, ngram: Ngram) -> Int[np.ndarray, " order"]:
    """Numbers of the orders in which an n-gram of slots occurs."""
    places = order_tables(nodes).places
    inside = [slot for slot in ngram if slot < nodes]
    fits = np.ones(len(places), bool)
    if ngram[0] == nodes:
        fits &= places[:, inside[0]] == 0
    if ngram[-1] == nodes + 1:
        fits &= places[:, inside[-1]] == nodes - 1
    for left, right in pairwise(inside):
        fits &= places[:, left] + 1 == places[:, right]
    return np.flatnonzero(fits)


def ngrams(labels: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """N-grams of padded labels that contain a node, at most as long as there are nodes."""
    for size in NGRAM_SIZES:
        if size <= len(labels):
            padded = [BOS] * (size - 1) + list(labels) + [EOS] * (size - 1)
            for end in range(size, len(padded) + 1):
                yield tuple(padded[end - size : end])


def ngram_trie(values: Mapping[str, float]) -> Trie:
    """HI features and their values as a trie of symbols; n-grams of padding alone are left out."""
    root: Trie = {}
    for name, value in values.items():
        kind, *symbols = name.split("_")
        if kind == "HI" and any(symbol not in (BOS, EOS) for symbol in symbols):
            below = root
            for symbol in symbols:
                below = below.setdefault(symbol, {})
            below[None] = value
    return root


def matches(trie: Trie, signature: Signature) -> list[tuple[Ngram, float]]:
    """N-grams of a trie that some order of the nodes contains, with their values."""
    nodes, longest = len(signature), min(len(signature), NGRAM_SIZES[-1])
    slots: dict[str, list[int]] = {}
    for slot, label in enumerate(slot_labels(signature)):
        slots.setdefault(label, []).append(slot)
    matching: list[tuple[Ngram, float]] = []
    waiting: list[tuple[Ngram, Trie]] = [((), trie)]
    while waiting:
        ngram, below = waiting.pop()
        fewer, more = (below, slots) if len(below) < len(slots) else (slots, below)
        for label in fewer:
            if label not in more:
                continue
            rest = below[label]
            for slot in slots[label]:
                if slot >= nodes or slot not in ngram:
                    longer = (*ngram, slot)
                    if None in rest:
                        matching.append((longer, rest[None]))
                    if len(longer) < longest:
                        waiting.append((longer, rest))
    return matching
