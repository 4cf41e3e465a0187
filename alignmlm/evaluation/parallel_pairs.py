"""Task kinds without fine-tuning: pairs of sentences or words that translate each other."""

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
    """All (source, target) pairs of a model's languages for a task, or of those in `among` if any.

    Raises:
        ConfigError: there is no language for one of the sides.
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
    """The result of sentence_retrieval, which is imported only when called: it needs torch."""
    from alignmlm.evaluation.retrieval import sentence_retrieval

    return sentence_retrieval(*given)


def found_words(*given: Any) -> Any:
    """The result of lexicon_induction, which is imported only when called: it needs torch."""
    from alignmlm.evaluation.retrieval import lexicon_induction

    return lexicon_induction(*given)


def word_details(examples: Sequence[WordPair], metric: Metric) -> Counter[str]:
    """The number of distinct words to be translated."""
    return Counter(source_words=len({example.source for example in examples}))


SENTENCE_RETRIEVAL = TaskKind(example=ParallelPair, two_languages=True, retrieve=found_sentences)
LEXICON_INDUCTION = TaskKind(
    example=WordPair,
    two_languages=True,
    sentences=False,
    details=word_details,
    retrieve=found_words,
)
