"""Scores of predictions, each in [0, 1]."""

import re
import string
from collections import Counter
from collections.abc import Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = frozenset(string.punctuation)
Labels = Sequence[str]


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
