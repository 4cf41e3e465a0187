"""Scores of predictions, each in [0, 1]."""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = frozenset(string.punctuation)
Labels = Sequence[str]


def accuracy(gold: Labels, found: Labels) -> float:
    """Share of equal labels."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(list(gold), list(found)))


def macro_f1(gold: Labels, found: Labels) -> float:
    """Mean over the labels that occur of each one's F1."""
    from sklearn.metrics import f1_score

    return float(f1_score(list(gold), list(found), average="macro", zero_division=0))


def plain_answer(text: str) -> str:
    """An answer in lower case, without ASCII punctuation, English articles and extra spaces.

    Source: Rajpurkar et al., 2016 (arXiv:1606.05250), section 6.1, and SQuAD's evaluate-v1.1.py.
    """
    kept = "".join(character for character in text.lower() if character not in PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", kept).split())


def squad_exact(golds: Sequence[str], found: str) -> float:
    """1 where a prediction equals an answer, both plain; else 0."""
    return float(any(plain_answer(gold) == plain_answer(found) for gold in golds))


def token_f1(gold: str, found: str) -> float:
    """F1 of the words that two plain answers share.

    Source: Rajpurkar et al., 2016 (arXiv:1606.05250), section 6.1.
    """
    golds, founds = plain_answer(gold).split(), plain_answer(found).split()
    shared = sum((Counter(golds) & Counter(founds)).values())
    return 2 * shared / (len(golds) + len(founds)) if shared else 0.0


def squad_f1(golds: Sequence[str], found: str) -> float:
    """The best F1 over the answers that a question has; at least one."""
    return max(token_f1(gold, found) for gold in golds)


def mean_over_questions(
    score: Callable[[Sequence[str], str], float],
    golds: Mapping[str, Sequence[str]],
    found: Mapping[str, str],
) -> float:
    """The mean of a score over questions by id; a question without a prediction scores 0."""
    return sum(score(golds[name], found[name]) for name in golds if name in found) / len(golds)


def cosines(
    source: Float[np.ndarray, "source hidden"], target: Float[np.ndarray, "target hidden"]
) -> Float[np.ndarray, "source target"]:
    """Cosine similarities in [-1, 1]; 0 with a vector of zeros."""
    sides = [side.astype(np.float64) for side in (source, target)]
    norms = [np.linalg.norm(side, axis=1, keepdims=True) for side in sides]
    unit = [side / np.where(norm > 0, norm, 1) for side, norm in zip(sides, norms, strict=True)]
    return unit[0] @ unit[1].T


def retrieval_accuracy(
    source: Float[np.ndarray, "pair hidden"], target: Float[np.ndarray, "pair hidden"]
) -> float:
    """Share of source sentences whose nearest target, by cosine, is their own translation.

    Source: Hu et al., 2020 (XTREME, arXiv:2003.11080), Tatoeba.
    """
    nearest = cosines(source, target).argmax(axis=1)
    return float((nearest == np.arange(len(source))).mean())


def precision_at_1(
    source: Float[np.ndarray, "source hidden"],
    target: Float[np.ndarray, "target hidden"],
    translations: Sequence[frozenset[int]],
) -> float:
    """Share of source words whose nearest target word, by cosine, is one of their translations.

    Source: Conneau et al., 2018 (MUSE, arXiv:1710.04087), section 3.2.
    """
    nearest = cosines(source, target).argmax(axis=1).tolist()
    return float(np.mean([n in right for n, right in zip(nearest, translations, strict=True)]))
