"""Examples of a task as the harness reads them, and the same in a derived language."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xxhash
from jaxtyping import Int

from alignmlm.data.inspect import base_of as base_tokens
from alignmlm.data.text import normalise
from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import ConfigError
from alignmlm.evaluation.evaluated_model import Export
from alignmlm.evaluation.examples.question_answering import (
    moved_question,
    question_text,
    question_words,
)
from alignmlm.evaluation.examples.rendering import (
    Reorderer,
    Trees,
    renderer_of,
    reorderer_of,
    syntax_models,
)
from alignmlm.evaluation.examples.words import TextWords, text_words, tokens_of_words, written
from alignmlm.evaluation.settings import SyntaxConfig
from alignmlm.languages.language import base_of, parse_language
from alignmlm.languages.orders import FINAL_MARKS
from alignmlm.tasks.examples import (
    Example,
    LabelledSentence,
    ParallelPair,
    Question,
    SentencePair,
    WordPair,
)
from alignmlm.tasks.metrics import METRICS
from alignmlm.tasks.spans import MovedEntities, moved_entities
from alignmlm.tasks.task import Task

FINAL = 0  # stands for a final mark where there is no tokenizer
BLANKS = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0")  # letters and marks that show nothing


@dataclass(frozen=True, slots=True)
class ChangedWords:
    """The words of a text in a language."""

    order: Int[np.ndarray, " word"]  # old positions, in their new order
    words: tuple[str, ...]  # in the new order, random ones in the place of those replaced
    ids: tuple[tuple[int, ...], ...]  # the model's, of each word; none without a model


Change = Callable[[LabelledSentence | TextWords], ChangedWords]


@dataclass(frozen=True, slots=True)
class Preview:
    """An example in a language; `ids` has the model's ids for each line of its text."""

    example: Example | None  # none: the language tears all answers apart, and it is dropped
    ids: list[list[int]]


def sentence_lengths(text: LabelledSentence | TextWords) -> tuple[int, ...]:
    """The number of words of each sentence of a text."""
    if isinstance(text, TextWords):
        return text.sentence_lengths_words
    return (len(text.words),)


def word_id(word: str) -> int:
    """A number for a word where there is no tokenizer: FINAL of final marks, a hash of others."""
    if set(word) <= FINAL_MARKS:
        return FINAL
    return 1 + xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass")) % 2**31


def change_without_model(language: str, syntax: SyntaxConfig, trees: Trees) -> Change:
    """What a language does to words; random draws differ from those of any model.

    Raises:
        ConfigError: an unknown language id, or a syntax order without its models.
        DataError: an ordering model is missing or damaged.
    """
    order = parse_language(language).order
    reorderer = Reorderer(order, 0, (FINAL,), syntax_models(order, syntax), trees, syntax.seed)

    def change(text: LabelledSentence | TextWords) -> ChangedWords:
        tokens = [(word_id(word),) for word in text.words]
        lengths = sentence_lengths(text)
        _, places = reorderer.word_order(text.words, tokens, lengths, Counter())
        return ChangedWords(places, tuple(text.words[place] for place in places), ())

    return change


def change_of_model(export: Export, language: str, syntax: SyntaxConfig, trees: Trees) -> Change:
    """What a language of a model does to words.

    Raises:
        ConfigError: the model lacks the language, or a syntax order lacks its models.
        DataError: the tokenizer or an ordering model is missing or damaged.
    """
    tokenizer, vocabulary = load_tokenizer(export.path), export.vocabulary
    renderer = renderer_of(export, language, reorderer_of(export, language, syntax, trees))
    base = base_tokens(renderer.table, export.vocabulary_size)

    def change(text: LabelledSentence | TextWords) -> ChangedWords:
        if not text.words:
            return ChangedWords(np.zeros(0, np.int64), (), ())
        tokens = tokens_of_words(tokenizer, [text], vocabulary.unk)[0]
        rendered = renderer.words(text.words, tokens, sentence_lengths(text), Counter())
        words = [
            text.words[place]
            if tuple(base[ids]) == tokens[place]
            else tokenizer.decode(base[ids].tolist(), skip_special_tokens=False).strip()
            for place, ids in zip(rendered.order, rendered.ids, strict=True)
        ]
        ids = tuple(tuple(word.tolist()) for word in rendered.ids)
        return ChangedWords(rendered.order, tuple(words), ids)

    return change


def drawn(language: str) -> bool:
    """Whether a language's order or words are drawn by token id, and so depend on a model."""
    parsed = parse_language(language)
    return parsed.order.startswith(("perm", "noise")) or parsed.replaced_percent > 0


def flat(changed: ChangedWords) -> list[int]:
    """The ids of all words."""
    return [token for word in changed.ids for token in word]


def moved_sentence(sentence: LabelledSentence, order: Int[np.ndarray, " word"]) -> LabelledSentence:
    """The words in a new order, each with its label and its flag about the space before it."""
    words, labels, joined = (
        tuple(column[i] for i in order)
        for column in (sentence.words, sentence.labels, sentence.joined)
    )
    return replace(sentence, words=words, labels=labels, joined=joined)


def moved_entity_sentence(
    sentence: LabelledSentence, order: Int[np.ndarray, " word"]
) -> tuple[LabelledSentence, MovedEntities]:
    """The words in a new order with valid BIO tags, and what happened to the spans."""
    moved = moved_entities(sentence.labels, order)
    return replace(moved_sentence(sentence, order), labels=moved.labels), moved


@dataclass(frozen=True, slots=True)
class PreviewPair:
    """A pair as words."""

    first: TextWords
    second: TextWords
    label: str
    id: str = ""


def pair_words(pair: SentencePair, language: str) -> PreviewPair:
    """The words of both sides of a pair; a side may hold several sentences."""
    first, second = (text_words(text, language) for text in (pair.first, pair.second))
    return PreviewPair(first, second, pair.label, pair.id)


def moved_pair(
    pair: PreviewPair, first: Int[np.ndarray, " word"], second: Int[np.ndarray, " other_word"]
) -> PreviewPair:
    """Both sides in their new orders, and the same label."""
    return replace(pair, first=pair.first.reordered(first), second=pair.second.reordered(second))


def pair_text(pair: PreviewPair) -> SentencePair:
    """The pair as text."""
    return SentencePair(written(pair.first)[0], written(pair.second)[0], pair.label, pair.id)


def previewed(example: Example, task: Task, language: str, change: Change) -> Preview:
    """An example in a language, with its labels and answers moved along.

    Of two translations, only the one in the language's base is changed.
    """
    match example:
        case LabelledSentence():
            return sentence_preview(example, METRICS[task.metric].entities, change)
        case SentencePair():
            words = pair_words(example, task.language)
            first, second = change(words.first), change(words.second)
            moved = moved_pair(words, first.order, second.order)
            moved = replace(
                moved,
                first=replace(moved.first, words=first.words),
                second=replace(moved.second, words=second.words),
            )
            return Preview(pair_text(moved), [flat(first), flat(second), []])
        case Question():
            return question_preview(example, task.language, change)
        case ParallelPair() | WordPair():
            side = "source" if base_of(language) == task.language else "target"
            text = text_words(getattr(example, side), base_of(language))
            if isinstance(example, WordPair):  # one word, whatever it looks like
                text = TextWords((normalise(getattr(example, side)),), (False,), (1,))
            changed = change(text)
            shown = written(replace(text.reordered(changed.order), words=changed.words))[0]
            ids = [flat(changed), []] if side == "source" else [[], flat(changed)]
            return Preview(replace(example, **{side: shown}), ids)


def sentence_preview(sentence: LabelledSentence, entities: bool, change: Change) -> Preview:
    """A labelled sentence in a language."""
    changed = change(sentence)
    moved = moved_sentence(sentence, changed.order)
    if entities:
        moved, _ = moved_entity_sentence(sentence, changed.order)
    return Preview(replace(moved, words=changed.words), [list(ids) for ids in changed.ids])


def question_preview(question: Question, language: str, change: Change) -> Preview:
    """A question in a language."""
    words = question_words(question, language).question
    context, asked = change(words.context), change(words.question)
    moved = moved_question(words, context.order, asked.order)
    if moved is None:
        return Preview(None, [])
    moved = replace(
        moved,
        context=replace(moved.context, words=context.words),
        question=replace(moved.question, words=asked.words),
    )
    return Preview(question_text(moved), [flat(context), flat(asked)])


def lines_of(example: Example) -> list[tuple[str, str]]:
    """An example as readable lines: words and labels, or the names and texts of its parts."""
    match example:
        case LabelledSentence():
            return list(zip(example.words, example.labels, strict=True))
        case SentencePair():
            return [(name, getattr(example, name)) for name in ("first", "second", "label")]
        case Question():
            answers = [(f"answer at {answer.start}", answer.text) for answer in example.answers]
            return [("context", example.context), ("question", example.question), *answers]
        case ParallelPair() | WordPair():
            return [("source", example.source), ("target", example.target)]


def invisible(character: str) -> bool:
    """Whether a character other than the space is invisible, or changes how its neighbours look."""
    category = unicodedata.category(character)
    variation = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    blank = category in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs") and character != " "
    return blank or variation or character in BLANKS


def visible(text: str) -> str:
    """A text with invisible characters shown: "<U+00A0>", "␣" for spaces that print would lose."""
    inner = text.strip(" ")
    before = len(text) - len(text.lstrip(" ")) if inner else len(text)
    after = len(text) - before - len(inner)
    doubled = inner.replace("  ", "␣␣")
    marked = "".join(f"<U+{ord(c):04X}>" if invisible(c) else c for c in doubled)
    return "␣" * before + marked + "␣" * after


def asked_languages(task: Task, known: Sequence[str] | None, language: str | None) -> list[str]:
    """The languages to show a task in: the given one, or all that a model derives from it.

    Raises:
        ConfigError: an unknown language, or one whose base is not a language of the task.
    """
    bases = [name for name in (task.language, task.other_language) if name]
    if language is None:
        return [n for n in known or () if parse_language(n).derived and base_of(n) in bases]
    if base_of(language) not in bases:
        requirement = f"be made from {' or '.join(bases)}, the language of {task.name}"
        raise ConfigError("--language", language, requirement)
    return [language]


def as_json(example: Example | None) -> dict[str, Any] | None:
    """An example as plain values."""
    if example is None:
        return None
    plain: dict[str, Any] = {name: getattr(example, name) for name in example.__slots__}
    if isinstance(example, Question):
        plain["answers"] = [{"text": a.text, "start": a.start} for a in example.answers]
    return plain
