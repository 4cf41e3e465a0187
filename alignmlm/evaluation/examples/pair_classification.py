"""Text pairs as input rows of a model, in any of its languages; each text is rendered by itself."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from alignmlm.evaluation.examples.rendering import Example, Predictions, RenderedSplit, Renderer
from alignmlm.evaluation.examples.words import TextWords, TokensOfWord, text_words, tokens_of_words
from alignmlm.tasks.examples import SentencePair
from alignmlm.tasks.kinds import TaskKind
from alignmlm.tasks.metrics import Metric, Scored


@dataclass(frozen=True, slots=True)
class TokenText:
    """A text as words, each with its base tokens."""

    text: TextWords
    tokens: list[TokensOfWord]

    def shown(self, renderer: Renderer, counts: Counter[str]) -> list[int]:
        """The ids of the text in a language."""
        lengths = self.text.sentence_lengths_words
        return renderer.words(self.text.words, self.tokens, lengths, counts).flat()


def token_texts(texts: list[TextWords], tokenizer: Tokenizer, unk: int) -> list[TokenText]:
    """Texts with the base tokens of their words; a text without words has none."""
    full = [text for text in texts if text.words]
    tokens = iter(tokens_of_words(tokenizer, full, unk))
    return [TokenText(text, next(tokens) if text.words else []) for text in texts]


@dataclass(frozen=True, slots=True)
class PairText:
    """A split of pairs as base tokens and label numbers."""

    firsts: list[TokenText]
    seconds: list[TokenText]
    labels: list[int]


def numbered_pairs(
    pairs: list[SentencePair], tokenizer: Tokenizer, unk: int, language: str, names: list[str]
) -> PairText:
    """Pairs of a base language with their words as tokens and their labels as numbers."""
    sides = [
        token_texts([text_words(text, language) for text in side], tokenizer, unk)
        for side in ([pair.first for pair in pairs], [pair.second for pair in pairs])
    ]
    return PairText(sides[0], sides[1], [names.index(pair.label) for pair in pairs])


def cut_pair(first: list[int], second: list[int], room: int) -> tuple[list[int], list[int]]:
    """Both sides with their ends cut until they fit: the longer one first, then both alike."""
    if len(first) + len(second) <= room:
        return first, second
    least = min(len(first), len(second), room // 2)
    lengths = (room - least, least) if len(first) >= len(second) else (least, room - least)
    return first[: lengths[0]], second[: lengths[1]]


def pair_rows(text: PairText, renderer: Renderer, seq_len: int) -> RenderedSplit:
    """The pairs in one language of a model; pairs_too_long counts those that had to be cut."""
    counts: Counter[str] = Counter({"pairs_too_long": 0})
    examples: list[Example] = []
    for first, second, label in zip(text.firsts, text.seconds, text.labels, strict=True):
        sides = first.shown(renderer, counts), second.shown(renderer, counts)
        one, two = cut_pair(*sides, seq_len - 2 - renderer.separators)
        counts["pairs_too_long"] += len(one) + len(two) < sum(map(len, sides))
        row, start = renderer.pair(one, two)
        examples.append(Example(row, label, renderer.number, len(examples), start))
    return RenderedSplit(examples, dict(counts))


def scored_pairs(
    rendered: RenderedSplit, predictions: Predictions, labels: list[str], metric: Metric
) -> list[Scored]:
    """The predicted label of each pair, scored."""
    scored = []
    for example, outputs in predictions:
        target = [labels[int(np.array(example.labels))]]
        predicted = [labels[int(outputs["logits"].argmax())]]
        gained, possible = metric.gained(target, predicted)
        scored.append(Scored(example.document, target, predicted, gained, possible))
    return scored


PAIR_CLASSIFICATION = TaskKind(
    example=SentencePair,
    model="AutoModelForSequenceClassification",
    as_tokens=lambda task, examples, labels, tokenizer, export: numbered_pairs(
        examples, tokenizer, export.vocabulary.unk, task.language, labels
    ),
    rows=pair_rows,
    scored=scored_pairs,
)
