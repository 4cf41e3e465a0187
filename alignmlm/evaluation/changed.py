"""What a model's languages do to the examples of a task, counted before anything is trained."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from tokenizers import Tokenizer

from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.evaluation.examples import LabelledSentence, Question, SentencePair
from alignmlm.evaluation.export import Export
from alignmlm.evaluation.forms import read_split
from alignmlm.evaluation.labelled import numbered, rendered_in, reorderer_of, tokens_of_words
from alignmlm.evaluation.moves import (
    PairWords,
    QuestionWords,
    moved_pair,
    moved_question,
    pair_words,
    question_words,
)
from alignmlm.evaluation.reordering import Reorderer, SyntaxConfig, Trees, gold_trees, parser_of
from alignmlm.evaluation.running_text import TextWords, text_words
from alignmlm.evaluation.spans import closed_tags
from alignmlm.evaluation.splits import SplitFile
from alignmlm.evaluation.tasks import Task, found_file
from alignmlm.languages.language import parse_language
from alignmlm.languages.orders import is_syntax

PAIR_SPECIAL, SENTENCE_SPECIAL = 4, 2  # <s> a </s></s> b </s> and <s> a </s>


Tools = tuple[SyntaxConfig, Trees]  # what syntax languages need


@dataclass(frozen=True, slots=True)
class Changer:
    """One language of a model, ready to change texts of its base language."""

    base: str
    tokenizer: Tokenizer
    unk: int
    reorderer: Reorderer

    def order(self, text: TextWords, counts: Counter[str]) -> tuple[Int[np.ndarray, " word"], int]:
        """The words of a text (old positions) in their new order, and how many tokens it has."""
        if not text.words:
            return np.zeros(0, np.int64), 0
        as_sentence = LabelledSentence(text.words, ("",) * len(text.words), text.joined)
        tokens = tokens_of_words(self.tokenizer, [as_sentence], self.unk)[0]
        lengths = text.sentence_lengths_words
        moved, order = self.reorderer.word_order(text.words, tokens, lengths, counts)
        return order, len(moved.ids)

    def pair(self, pair: SentencePair, counts: Counter[str]) -> tuple[PairWords, int]:
        """A pair in the language, and how many tokens both sides have."""
        words = pair_words(pair, self.base)
        first, first_tokens = self.order(words.first, counts)
        second, second_tokens = self.order(words.second, counts)
        return moved_pair(words, first, second), first_tokens + second_tokens

    def question(
        self, question: Question, counts: Counter[str]
    ) -> tuple[QuestionWords | None, int]:
        """A question in the language, or None where its answers fall apart, and its tokens."""
        found = question_words(question, self.base)
        context, context_tokens = self.order(found.question.context, counts)
        asked, asked_tokens = self.order(found.question.question, counts)
        moved = moved_question(found.question, context, asked)
        stayed = len(moved.answers) if moved else 0
        counts["answers_widened"] += found.answers_widened
        counts["answers_torn"] += len(found.question.answers) - stayed
        return moved, context_tokens + asked_tokens


def changer_of(export: Export, language: str, syntax: SyntaxConfig, trees: Trees) -> Changer:
    """A language of a model, ready to change texts.

    Raises:
        ConfigError: the model lacks the language.
        DataError: the model has no tokenizer.
    """
    reorderer = reorderer_of(export, language, syntax, trees)
    base, tokenizer = parse_language(language).base, load_tokenizer(export.path)
    return Changer(base, tokenizer, export.vocabulary.unk, reorderer)


def changed_pairs(
    changer: Changer, pairs: Sequence[SentencePair], room_tokens: int
) -> tuple[list[PairWords], dict[str, int]]:
    """Pairs in a language, and how many are longer than a row of the model."""
    counts = Counter({"pairs_too_long": 0})
    found = []
    for pair in pairs:
        moved, tokens = changer.pair(pair, counts)
        counts["pairs_too_long"] += tokens + PAIR_SPECIAL > room_tokens
        found.append(moved)
    return found, dict(counts)


def changed_questions(
    changer: Changer, questions: Sequence[Question], room_tokens: int
) -> tuple[list[QuestionWords], dict[str, int]]:
    """Questions in a language, those whose answers all fall apart left out and counted."""
    counts = Counter({"questions_dropped": 0, "questions_too_long": 0})
    found = []
    for question in questions:
        moved, tokens = changer.question(question, counts)
        counts["questions_too_long"] += tokens + PAIR_SPECIAL > room_tokens
        if moved is None:
            counts["questions_dropped"] += 1
        else:
            found.append(moved)
    return found, dict(counts)


def changed_texts(
    changer: Changer, texts: Sequence[TextWords], room_tokens: int
) -> tuple[list[TextWords], dict[str, int]]:
    """Texts in a language, and how many are longer than a row of the model."""
    counts = Counter({"texts_too_long": 0})
    found = []
    for text in texts:
        order, tokens = changer.order(text, counts)
        counts["texts_too_long"] += tokens + SENTENCE_SPECIAL > room_tokens
        found.append(text.reordered(order))
    return found, dict(counts)


def sentence_counts(
    export: Export,
    language: str,
    task: Task,
    examples: list[Any],
    tools: Tools,
) -> dict[str, int]:
    """What happens to labelled sentences in a language."""
    reorderer = reorderer_of(export, language, *tools)
    entities = task.metric == "entity_f1"
    labels = sorted({label for example in examples for label in example.labels})
    names = sorted({*task.labels, *labels, *(closed_tags(labels) if entities else ())})
    tokenizer = load_tokenizer(export.path)
    text = numbered(examples, tokenizer, export.vocabulary, names, entities)
    return rendered_in(export, language, text, reorderer).counts


def counts_in(
    export: Export,
    language: str,
    task: Task,
    examples: list[Any],
    tools: Tools,
) -> dict[str, int]:
    """What happens to the examples of a task in a language."""
    if task.kind == "token_classification":
        return sentence_counts(export, language, task, examples, tools)
    changer = changer_of(export, language, *tools)
    if task.kind == "pair_classification":
        return changed_pairs(changer, examples, export.seq_len)[1]
    if task.kind == "question_answering":
        return changed_questions(changer, examples, export.seq_len)[1]
    texts = [text_words(example.source, task.language) for example in examples]
    return changed_texts(changer, texts, export.seq_len)[1]


def fitting_languages(export: Export, task: Task, asked: Sequence[str] | None) -> list[str]:
    """The languages asked for, or all of a model's that are made from the task's language.

    Raises:
        ConfigError: an unknown language id, or one that the model lacks.
    """
    for name in asked or ():
        parse_language(name)
        export.number_of(name)
    return [
        name for name in asked or export.languages if parse_language(name).base == task.language
    ]


def language_counts(
    export: Export,
    task: Task,
    sample_folder: Path,
    languages: Sequence[str] | None = None,
    syntax: SyntaxConfig = SyntaxConfig(),  # noqa: B008 - frozen
) -> dict[str, dict[str, int]]:
    """What happens to the test examples of a task in each language of a model.

    Raises:
        ConfigError: an unknown language id, one that the model lacks, or a syntax order without
            its models or a parser.
        DataError: the files or the model's tokenizer are missing or damaged.
    """
    file = found_file(task, "test", sample_folder)
    examples, fitting = read_split(file).examples, fitting_languages(export, task, languages)
    needed = any(is_syntax(parse_language(name).order) for name in fitting)
    trees = trees_of(file, syntax) if needed else Trees()
    return {
        name: {"examples": len(examples)} | counts_in(export, name, task, examples, (syntax, trees))
        for name in fitting
    }


def trees_of(file: SplitFile, syntax: SyntaxConfig) -> Trees:
    """Gold trees of a file that has them, and a parser where one is named."""
    gold = gold_trees([file.file]) if file.form == "conllu_upos" else {}
    return Trees(gold, parser_of(syntax.parser) if syntax.parser else None)
