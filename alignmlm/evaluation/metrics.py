"""Scores of predictions, each in [0, 1]."""

import re
import string
from collections import Counter
from collections.abc import Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = frozenset(string.punctuation)
Labels = Sequence[str]


def macro_f1(gold: Labels, predicted: Labels) -> float:
    """Mean over the labels that occur of each one's F1."""
    from sklearn.metrics import f1_score

    return float(f1_score(list(gold), list(predicted), average="macro", zero_division=0))


def plain_answer(text: str) -> str:
    """An answer in lower case, without ASCII punctuation, English articles and extra spaces.

    Source: Rajpurkar et al., 2016 (arXiv:1606.05250), section 6.1, and SQuAD's evaluate-v1.1.py.
    """
    letters = "".join(character for character in text.lower() if character not in PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", letters).split())


def squad_exact(golds: Sequence[str], answer: str) -> float:
    """1 where a prediction equals an answer, both plain; else 0."""
    return float(any(plain_answer(gold) == plain_answer(answer) for gold in golds))


def token_f1(gold: str, answer: str) -> float:
    """F1 of the words that two plain answers share.

    Source: Rajpurkar et al., 2016 (arXiv:1606.05250), section 6.1.
    """
    gold_words, answer_words = plain_answer(gold).split(), plain_answer(answer).split()
    shared = sum((Counter(gold_words) & Counter(answer_words)).values())
    return 2 * shared / (len(gold_words) + len(answer_words)) if shared else 0.0


def squad_f1(golds: Sequence[str], answer: str) -> float:
    """The best F1 over the answers that a question has; at least one."""
    return max(token_f1(gold, answer) for gold in golds)
