"""Dependency trees: read from and written as CoNLL-U, and their labels in UD version 1."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from alignmlm.errors import DataError, quoted
from alignmlm.storage.atomic import replace_text
from alignmlm.storage.conllu import Block, WordLine, blocks
from alignmlm.storage.text import numbered_lines

ROOT = -1
HEAD = re.compile("[0-9]{1,9}")
V1_ONLY = frozenset(
    [
        "CONJ",
        "dobj",
        "nsubjpass",
        "csubjpass",
        "auxpass",
        "neg",
        "mwe",
        "name",
        "foreign",
        "remnant",
    ]
)  # labels that UD version 2 removed
V2_ONLY = frozenset(
    [
        "CCONJ",
        "obj",
        "obl",
        "nsubj:pass",
        "csubj:pass",
        "aux:pass",
        "fixed",
        "flat",
        "orphan",
        "clf",
    ]
)  # labels that UD version 2 added
RELATIONS_V1 = {
    "obj": "dobj",
    "obl": "nmod",
    "obl:tmod": "nmod:tmod",
    "obl:npmod": "nmod:npmod",
    "obl:unmarked": "nmod:npmod",
    "nmod:unmarked": "nmod:npmod",
    "nmod:desc": "compound",
    "nsubj:pass": "nsubjpass",
    "csubj:pass": "csubjpass",
    "aux:pass": "auxpass",
    "fixed": "mwe",
    "flat": "name",
    "flat:foreign": "foreign",
    "orphan": "remnant",
    "expl:pv": "dobj",
    "expl:pass": "dobj",
    "det:poss": "nmod:poss",
}
SUBTYPES_V1 = frozenset(
    [
        "acl:relcl",
        "nmod:poss",
        "nmod:tmod",
        "nmod:npmod",
        "det:predet",
        "cc:preconj",
        "compound:prt",
        "advmod:emph",
    ]
)  # subtypes that the treebanks of UD 1.2 used


@dataclass(frozen=True, slots=True)
class Tree:
    """One sentence with one head for each word."""

    words: tuple[str, ...]
    upos: tuple[str, ...]
    heads: tuple[int, ...]  # positions from 0; ROOT for the word that has no head
    relations: tuple[str, ...]
    features: tuple[str, ...] = ()  # "Number=Sing|Person=3" or "_"; empty where unknown


def children(tree: Tree) -> list[list[int]]:
    """Dependents of each word, from left to right."""
    below: list[list[int]] = [[] for _ in tree.heads]
    for word, head in enumerate(tree.heads):
        if head != ROOT:
            below[head].append(word)
    return below


def top_down(tree: Tree, below: list[list[int]]) -> list[int]:
    """Words that the root governs, each after its head; all words where there is no cycle."""
    words = [word for word, head in enumerate(tree.heads) if head == ROOT]
    for word in words:
        words.extend(below[word])
    return words


def check_tree(tree: Tree, place: str) -> Tree:
    """The same tree, if it is a valid one.

    Raises:
        DataError: there is not exactly one root, a head is not a word, or heads form a cycle.
    """
    count = len(tree.words)
    roots = tree.heads.count(ROOT)
    if roots != 1:
        raise DataError(f"{place}: a sentence has one root (HEAD 0), found {roots}")
    wrong = [head for head in tree.heads if not ROOT <= head < count]
    if wrong:
        raise DataError(f"{place}: HEAD {wrong[0] + 1} is not a word, allowed are 0 to {count}")
    reached = top_down(tree, children(tree))
    if len(reached) < count:
        lost = min(set(range(count)) - set(reached))
        raise DataError(f"{place}: the heads above word {lost + 1} form a cycle")
    return tree


def _head(row: WordLine, place: str) -> int:
    """Position of a word's head, from 0; the labels of the word are checked too."""
    upos, head, relation = row.columns[3], row.columns[6], row.columns[7]
    if not HEAD.fullmatch(head):
        raise DataError(f"{place}: HEAD must be a number, found {head[:80]!r}")
    for name, value in (("UPOS", upos), ("DEPREL", relation)):
        if "_" in value or " " in value or not value:
            requirement = "must be a label without _ or a space"
            raise DataError(f"{place}: {name} {requirement}, found {quoted(value)}")
    return int(head) - 1


def _tree(block: Block, name: str) -> Tree:
    """The tree of one sentence."""
    heads = tuple(_head(row, f"{name}:{row.number}") for row in block.rows)
    words, upos, features, relations = (
        tuple(row.columns[column] for row in block.rows) for column in (1, 3, 5, 7)
    )
    tree = Tree(words, upos, heads, relations, features)
    return check_tree(tree, f"{name}:{block.rows[0].number}")


def parse_conllu(lines: Iterable[str], name: str) -> Iterator[Tree]:
    """Trees of CoNLL-U lines; multiword-token lines, empty nodes and comments are left out.

    Raises:
        DataError: a line or a tree is damaged; the message starts with name:line.
    """
    numbered = enumerate((line.rstrip("\r\n") for line in lines), start=1)
    return (_tree(block, name) for block in blocks(numbered, name, more=True))


def read_conllu(path: Path) -> Iterator[Tree]:
    """Trees of a CoNLL-U file, plain or compressed.

    Raises:
        DataError: the file cannot be read, or a tree is damaged.
    """
    return (_tree(block, str(path)) for block in blocks(numbered_lines(path), path, more=True))


def conllu_text(tree: Tree) -> str:
    """The tree as CoNLL-U, with the blank line that ends it."""
    features = tree.features or ("_",) * len(tree.words)
    rows = zip(tree.words, tree.upos, features, tree.heads, tree.relations, strict=True)
    lines = [
        f"{number}\t{word}\t_\t{upos}\t_\t{feats}\t{head + 1}\t{relation}\t_\t_\n"
        for number, (word, upos, feats, head, relation) in enumerate(rows, start=1)
    ]
    return "".join([*lines, "\n"])


def write_conllu(path: Path, trees: Iterable[Tree]) -> None:
    """Write trees as a plain CoNLL-U file, atomically."""
    replace_text(path, "".join(map(conllu_text, trees)))


def yields(tree: Tree) -> list[list[int]]:
    """The yield of each word: the positions of it and of all words below it, sorted."""
    below = children(tree)
    below_word = [[word] for word in range(len(tree.words))]
    for word in reversed(top_down(tree, below)):
        for child in below[word]:
            below_word[word] += below_word[child]
    return [sorted(words) for words in below_word]


def is_projective(tree: Tree, below: list[list[int]] | None = None) -> bool:
    """Whether every word and all words below it form a contiguous span."""
    below = children(tree) if below is None else below
    first, last = list(range(len(tree.heads))), list(range(len(tree.heads)))
    size = [1] * len(tree.heads)
    for word in reversed(top_down(tree, below)):
        for child in below[word]:
            first[word] = min(first[word], first[child])
            last[word] = max(last[word], last[child])
            size[word] += size[child]
        if last[word] - first[word] + 1 != size[word]:
            return False
    return True


def permuted(tree: Tree, order: Sequence[int]) -> Tree:
    """The tree with its words in a new order; order holds old positions."""
    new = {old: position for position, old in enumerate(order)}
    heads = tuple(new.get(tree.heads[old], ROOT) for old in order)
    words, upos, relations, features = (
        tuple(column[old] for old in order) if column else ()
        for column in (tree.words, tree.upos, tree.relations, tree.features)
    )
    return Tree(words, upos, heads, relations, features)


def ud_version(trees: Iterable[Tree]) -> int:
    """Version of the labels of a treebank, 1 or 2; 2 where no label decides.

    Raises:
        DataError: labels of both versions occur.
    """
    labels = {label for tree in trees for label in (*tree.upos, *tree.relations)}
    labels |= {label.split(":")[0] for label in labels}
    old, new = sorted(labels & V1_ONLY), sorted(labels & V2_ONLY)
    if old and new:
        raise DataError(f"labels of UD version 1 {old} and of version 2 {new} in one treebank")
    return 1 if old else 2


@lru_cache(maxsize=2**16)
def labels_version_1(upos: str, relation: str, features: str) -> tuple[str, str]:
    """The UD version 1 tag and relation of a word labelled as in version 2.

    Source: universaldependencies.org/v2/summary.html read backwards; reflexive pronouns (dobj)
    and possessive determiners (nmod:poss) as in UD_French 1.2.
    """
    tag = "CONJ" if upos == "CCONJ" else "VERB" if (upos, relation) == ("AUX", "cop") else upos
    base = relation.split(":")[0]
    if base in ("advmod", "det") and "Polarity=Neg" in features:
        return tag, "neg"
    if base == "det" and "Poss=Yes" in features:
        return tag, "nmod:poss"
    if relation in SUBTYPES_V1:
        return tag, relation
    return tag, RELATIONS_V1.get(relation, RELATIONS_V1.get(base, base))


def _heads_version_1(tree: Tree) -> tuple[int, ...]:
    """Heads where conjunctions and commas between conjuncts depend on the first conjunct."""
    if not any(relation.startswith("conj") for relation in tree.relations):
        return tree.heads
    heads = list(tree.heads)
    for word, below in enumerate(children(tree)):
        if tree.relations[word].startswith("conj") and heads[word] < word:
            for child in below:
                if child > word or tree.relations[child] not in ("cc", "punct"):
                    break
                heads[child] = heads[word]
    return tuple(heads)


def version_1(tree: Tree) -> Tree:
    """A tree of UD version 2 with the labels and coordination of version 1.

    Source: universaldependencies.org/v2/summary.html, read backwards.
    """
    features = tree.features or ("",) * len(tree.words)
    pairs = list(map(labels_version_1, tree.upos, tree.relations, features))
    return replace(
        tree,
        upos=tuple(tag for tag, _ in pairs),
        relations=tuple(relation for _, relation in pairs),
        heads=_heads_version_1(tree),
    )
