"""Pairs of sentences, or of words, that translate each other: kinds without fine-tuning."""

from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any

from alignmlm.errors import ConfigError
from alignmlm.evaluation.evaluated_model import Export
from alignmlm.languages.language import base_of
from alignmlm.tasks.examples import ParallelPair, WordPair
from alignmlm.tasks.kinds import TaskKind
from alignmlm.tasks.metrics import Metric
from alignmlm.tasks.task import Task


def language_pairs(export: Export, task: Task, among: Sequence[str] = ()) -> list[tuple[str, str]]:
    """The model's languages of either side of a task, each with each; `among` some, if any.

    Raises:
        ConfigError: the model has none of one side.
    """
    sides = [
        [name for name in among or export.languages if base_of(name) == base]
        for base in (task.language, task.other_language)
    ]
    for base, side in zip((task.language, task.other_language), sides, strict=True):
        if not side:
            requirement = f"hold {base}, or a language made from it, for task {task.name}"
            raise ConfigError(
                f"languages of {export.path}", list(among or export.languages), requirement
            )
    return [(source, target) for source, target in product(*sides)]


def found_sentences(*given: Any) -> Any:
    """Translations of sentences, see alignmlm.evaluation.retrieval, which needs torch."""
    from alignmlm.evaluation.retrieval import sentence_retrieval

    return sentence_retrieval(*given)


def found_words(*given: Any) -> Any:
    """Translations of words, see alignmlm.evaluation.retrieval, which needs torch."""
    from alignmlm.evaluation.retrieval import lexicon_induction

    return lexicon_induction(*given)


def word_details(examples: Sequence[WordPair], metric: Metric) -> Counter[str]:
    """Different words to be translated."""
    return Counter(source_words=len({example.source for example in examples}))


SENTENCE_RETRIEVAL = TaskKind(example=ParallelPair, two_languages=True, retrieve=found_sentences)
LEXICON_INDUCTION = TaskKind(
    example=WordPair,
    two_languages=True,
    sentences=False,
    details=word_details,
    retrieve=found_words,
)
