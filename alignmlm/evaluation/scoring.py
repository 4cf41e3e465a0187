"""Predictions for each document of a test split, decoded and scored."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from alignmlm.evaluation.metrics import macro_f1, squad_exact, squad_f1
from alignmlm.evaluation.question_rows import RenderedQuestions, answered_text, best_span
from alignmlm.evaluation.rows import IGNORED, Example, Rendered
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
