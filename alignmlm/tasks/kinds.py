"""Kinds of tasks: what an example is, how it becomes model input, and how answers are scored."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from alignmlm.storage.registry import Registry
from alignmlm.tasks.metrics import Metric


def no_details(examples: Sequence[Any], metric: Metric) -> Counter[str]:
    """No counts beyond those of every kind."""
    return Counter()


def not_of_this_kind(*given: Any) -> Any:
    """Stand in for a function that a kind of task does not have.

    Raises:
        TypeError: always.
    """
    raise TypeError("a kind of task is either fine-tuned on or retrieves")


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskKind:
    """One kind of task: models are either fine-tuned on it, or retrieve without fine-tuning.

    Its formats are those whose examples are of its type, its metrics those that name it. `rows`
    decides how the words of a text and their labels follow a language change.
    """

    example: type  # of one example, a record of alignmlm.tasks.examples
    two_languages: bool = False  # whether each example holds text of another language too
    sentences: bool = True  # whether a language changes the order of its words
    details: Callable[[Sequence[Any], Metric], Counter[str]] = no_details  # counts of examples

    # of kinds that are fine-tuned on
    model: str = ""  # class of transformers: "AutoModelForTokenClassification"; "": not fine-tuned
    # (task, examples, labels, tokenizer, export): the examples as base tokens and label numbers
    as_tokens: Callable[..., Any] = not_of_this_kind
    # (tokens, renderer, seq_len): the rows in a language, an evaluation.examples.rendering.Rendered
    rows: Callable[..., Any] = not_of_this_kind
    # (rendered, predictions, labels, metric): a tasks.metrics.Scored for each example
    scored: Callable[..., Any] = not_of_this_kind

    # of kinds that are not fine-tuned on: (export, encoder, languages, splits, tokenizer,
    # (syntax, trees)): the scores of a pair of languages and every answer
    retrieve: Callable[..., Any] = not_of_this_kind


EXAMPLES = "alignmlm.evaluation.examples"
KINDS: Registry[TaskKind] = Registry(
    "task_kinds",
    (TaskKind,),
    {
        "token_classification": f"{EXAMPLES}.token_classification:TOKEN_CLASSIFICATION",
        "pair_classification": f"{EXAMPLES}.pair_classification:PAIR_CLASSIFICATION",
        "question_answering": f"{EXAMPLES}.question_answering:QUESTION_ANSWERING",
        "sentence_retrieval": "alignmlm.evaluation.parallel_pairs:SENTENCE_RETRIEVAL",
        "lexicon_induction": "alignmlm.evaluation.parallel_pairs:LEXICON_INDUCTION",
    },
)
