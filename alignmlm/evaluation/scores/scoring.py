"""Predictions for each document of a test split, decoded and scored."""

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from alignmlm.evaluation.examples.question_rows import RenderedQuestions, answered_text, best_span
from alignmlm.evaluation.examples.rendering import IGNORED, Example, Rendered
from alignmlm.evaluation.scores.statistics import mean_interval
from alignmlm.tasks.spans import entities_of

Outputs = dict[str, np.ndarray]  # a model's scores of one row, by their name
Predictions = Iterable[tuple[Example, Outputs]]


@dataclass(frozen=True, slots=True)
class Scored:
    """The prediction for one document; a score is 100 * sum(gained) / sum(possible)."""

    document: int
    target: list[str]  # the right labels; of several right answers the closest
    found: list[str]  # the labels or the answer given
    gained: float
    possible: float


def score_percent(metric: str, scored: Sequence[Scored]) -> float:
    """The metric over all documents, in [0, 100]; 0 where the maximum is 0."""
    if metric == "macro_f1":
        return 100 * macro_f1([one.target[0] for one in scored], [one.found[0] for one in scored])
    possible = sum(one.possible for one in scored)
    return 100 * sum(one.gained for one in scored) / possible if possible else 0.0


def equal_labels(target: list[str], predicted: list[str]) -> tuple[float, float]:
    """Number of correct labels, and of all labels."""
    return float(sum(a == b for a, b in zip(target, predicted, strict=True))), float(len(target))


def equal_entities(target: list[str], predicted: list[str]) -> tuple[float, float]:
    """Twice the entities that are right, and those of both sides: their ratio is F1."""
    gold_entities, predicted_entities = entities_of(target), entities_of(predicted)
    return 2.0 * len(gold_entities & predicted_entities), float(
        len(gold_entities) + len(predicted_entities)
    )


def scored_words(
    rendered: Rendered, predictions: Predictions, labels: list[str], metric: str
) -> list[Scored]:
    """The label of each word at its first token; words that the longest row cut off are not."""
    gain = equal_entities if metric == "entity_f1" else equal_labels
    scored = []
    for example, outputs in predictions:
        right = np.array(example.labels)
        places = np.flatnonzero(right != IGNORED)
        target = [labels[number] for number in right[places]]
        predicted = [labels[number] for number in outputs["logits"][places].argmax(axis=-1)]
        scored.append(Scored(example.document, target, predicted, *gain(target, predicted)))
    return scored


def scored_pairs(
    rendered: Rendered, predictions: Predictions, labels: list[str], metric: str
) -> list[Scored]:
    """The label of each pair."""
    scored = []
    for example, outputs in predictions:
        target = [labels[int(np.array(example.labels))]]
        predicted = [labels[int(outputs["logits"].argmax())]]
        scored.append(Scored(example.document, target, predicted, *equal_labels(target, predicted)))
    return scored


def scored_questions(
    rendered: Rendered, predictions: Predictions, labels: list[str], metric: str
) -> list[Scored]:
    """The answer to each question: of all its windows, the span with the highest score."""
    if not isinstance(rendered, RenderedQuestions):
        raise TypeError(f"questions are rendered with their documents, not as {type(rendered)}")
    gain = squad_exact if metric == "squad_exact" else squad_f1
    best: dict[int, tuple[float, int, int]] = {}
    for example, outputs in predictions:
        inside = slice(example.second, len(example.input_ids) - 1)
        score, *span = best_span(*(outputs[f"{side}_logits"][inside] for side in ("start", "end")))
        first, last = (token + example.offset_tokens for token in span)
        if score > best.get(example.document, (-np.inf,))[0]:
            best[example.document] = score, first, last
    scored = []
    for number, (_, first, last) in best.items():
        document = rendered.documents[number]
        answer = answered_text(document, first, last)
        gained = [gain([gold], answer) for gold in document.golds]
        nearest = document.golds[int(np.argmax(gained))]
        scored.append(Scored(number, [nearest], [answer], max(gained), 1.0))
    return scored


SCORED: dict[str, Callable[[Rendered, Predictions, list[str], str], list[Scored]]] = {
    "token_classification": scored_words,
    "pair_classification": scored_pairs,
    "question_answering": scored_questions,
}


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Scores of one fine-tuning seed on one target language, each in percent."""

    seed: int
    source: str  # language fine-tuned on
    target: str
    source_dev: float | None = None  # fine-tuned on the source, its development split
    source_test: float  # fine-tuned and tested on the source
    bz: float  # fine-tuned on the source, tested on the target: zero-shot
    bs: float | None  # fine-tuned and tested on the target; none where it has no training split

    @property
    def delta(self) -> float | None:
        """What zero-shot transfer loses, in percentage points: BS - BZ; smaller is better."""
        return None if self.bs is None else self.bs - self.bz

    def to_json(self) -> dict[str, object]:
        """Itself as a JSON object, Delta included."""
        return {**asdict(self), "delta": self.delta}


def mean(values: list[float]) -> float:
    """The arithmetic mean of at least one number."""
    return sum(values) / len(values)


def measured(values: list[float | None]) -> tuple[float | None, list[float] | None]:
    """Mean and 95 % interval over seeds; none where nothing, or one seed, was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return None, None
    interval = mean_interval(np.array(known, np.float64))
    bounds = [interval.low, interval.high]
    return mean(known), None if any(map(math.isnan, bounds)) else bounds


def summary(scores: list[Scores], metric: str = "acc") -> dict[str, object]:
    """Means over seeds, and over targets where there are several, with 95 % intervals over seeds.

    "acc,none" or "f1,none" is the zero-shot score in [0, 1] and "acc_stderr,none" its standard
    error over seeds, lm-evaluation-harness's keys and range; source, bs and bz are in percent,
    delta in percentage points. There is no interval over several targets: they are not a sample.
    """
    columns: dict[str, list[float | None]] = {
        "source": [score.source_test for score in scores],
        "bs": [score.bs for score in scores],
        "bz": [score.bz for score in scores],
        "delta": [score.delta for score in scores],
    }
    one_target = len({score.target for score in scores}) == 1
    means: dict[str, object] = {}
    for name, values in columns.items():
        means[name], interval = measured(values)
        means[f"{name}_ci95"] = interval if one_target else None
    seeds = len({score.seed for score in scores})
    zero_shot = [score.bz / 100 for score in scores]
    spread = float(np.std(zero_shot, ddof=1)) if one_target and seeds > 1 else None
    error = None if spread is None else spread / math.sqrt(seeds)
    named = {f"{metric},none": mean(zero_shot), f"{metric}_stderr,none": error}
    return {**named, **means, "n_seeds": seeds}


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrieved:
    """What one pair of languages scored; `percent` is the task's number."""

    source: str
    target: str
    percent: float  # P@1 by cosine from source to target
    layer: int | None  # whose vectors; none: word embeddings
    items: int  # asked for
    metrics: dict[str, float | int]  # both directions, by cosine, CSLS and margin, at all layers
    counts: dict[str, int]
