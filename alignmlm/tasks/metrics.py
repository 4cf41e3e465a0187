"""Metrics: how the answers to a task's examples add up to a score."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alignmlm.storage.registry import Registry
from alignmlm.tasks.spans import entities_of

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = frozenset(string.punctuation)
Labels = Sequence[str]


@dataclass(frozen=True, slots=True)
class Scored:
    """The prediction for one document; a score is 100 * sum(gained) / sum(possible)."""

    document: int
    target: list[str]  # the right labels; where several answers are right, the closest
    found: list[str]  # the labels or the answer given
    gained: float
    possible: float


def equal_labels(target: list[str], predicted: list[str]) -> tuple[float, float]:
    """Number of correct labels, and of all labels."""
    return float(sum(a == b for a, b in zip(target, predicted, strict=True))), float(len(target))


def equal_entities(target: list[str], predicted: list[str]) -> tuple[float, float]:
    """Twice the number of right entities, and the entities of both sides: their ratio is F1."""
    gold_entities, predicted_entities = entities_of(target), entities_of(predicted)
    return 2.0 * len(gold_entities & predicted_entities), float(
        len(gold_entities) + len(predicted_entities)
    )


def macro_f1(gold: Labels, predicted: Labels) -> float:
    """Mean of the F1 of each label that occurs."""
    from sklearn.metrics import f1_score

    return float(f1_score(list(gold), list(predicted), average="macro", zero_division=0))


def plain_answer(text: str) -> str:
    """An answer in lower case, without ASCII punctuation, English articles and extra spaces.

    Source: Rajpurkar et al., 2016 (arXiv:1606.05250), section 6.1, and SQuAD's evaluate-v1.1.py.
    """
    letters = "".join(character for character in text.lower() if character not in PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", letters).split())


def exact_answer(right: list[str], given: list[str]) -> tuple[float, float]:
    """1 of 1 where the plain answer is the right one, else 0 of 1."""
    return float(plain_answer(right[0]) == plain_answer(given[0])), 1.0


def token_f1(gold: str, answer: str) -> float:
    """F1 of the words that two plain answers share.

    Source: Rajpurkar et al., 2016 (arXiv:1606.05250), section 6.1.
    """
    gold_words, answer_words = plain_answer(gold).split(), plain_answer(answer).split()
    shared = sum((Counter(gold_words) & Counter(answer_words)).values())
    return 2 * shared / (len(gold_words) + len(answer_words)) if shared else 0.0


def answer_f1(right: list[str], given: list[str]) -> tuple[float, float]:
    """F1 of the answer's words, out of 1."""
    return token_f1(right[0], given[0]), 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric, as a share in [0, 1] of what can be gained over all examples."""

    kinds: tuple[str, ...]  # of the tasks that it can score
    key: str  # in results.json, as lm-evaluation-harness names it
    gained: Callable[[list[str], list[str]], tuple[float, float]]  # of one example: right, given
    # of all examples at once: right, given; None: the ratio of all points gained to all possible
    whole: Callable[[Labels, Labels], float] | None = None
    entities: bool = False  # whether labels are BIO tags, which a language change may tear apart


METRICS: Registry[Metric] = Registry(
    "metrics",
    (Metric,),
    {
        "accuracy": Metric(
            kinds=("token_classification", "pair_classification"), key="acc", gained=equal_labels
        ),
        "entity_f1": Metric(
            kinds=("token_classification",), key="f1", gained=equal_entities, entities=True
        ),
        "macro_f1": Metric(
            kinds=("pair_classification",), key="f1", gained=equal_labels, whole=macro_f1
        ),
        "squad_f1": Metric(kinds=("question_answering",), key="f1", gained=answer_f1),
        "squad_exact": Metric(kinds=("question_answering",), key="exact", gained=exact_answer),
        "retrieval_accuracy": Metric(kinds=("sentence_retrieval",), key="acc", gained=equal_labels),
        "precision_at_1": Metric(kinds=("lexicon_induction",), key="p1", gained=equal_labels),
    },
)


def metrics_of(kind: str) -> list[str]:
    """The metrics that can score tasks of a kind."""
    return [name for name in METRICS if kind in METRICS[name].kinds]


def score_percent(metric: Metric, scored: Sequence[Scored]) -> float:
    """The metric over all documents, in [0, 100]; 0 where the maximum is 0."""
    if metric.whole is not None:
        return 100 * metric.whole([s.target[0] for s in scored], [s.found[0] for s in scored])
    possible = sum(one.possible for one in scored)
    return 100 * sum(one.gained for one in scored) / possible if possible else 0.0
