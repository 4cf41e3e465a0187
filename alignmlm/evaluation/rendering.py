"""A text in any language of a model: its words in their new order, as the model's token ids."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from alignmlm.data.tokenizer import Vocabulary
from alignmlm.evaluation.evaluation_config import SyntaxConfig
from alignmlm.evaluation.export import Export
from alignmlm.evaluation.reordering import (
    Reorderer,
    TokensOfWord,
    Trees,
    syntax_models,
)
from alignmlm.languages.replacement import replace_words
from alignmlm.languages.sentences import Sentences


@dataclass(frozen=True, slots=True)
class RenderedWords:
    """The words of a text in a language."""

    order: Int[np.ndarray, " word"]  # old positions, in their new order
    ids: list[Int[np.ndarray, " _"]]  # the model's ids of each word, in the new order

    def flat(self) -> list[int]:
        """The ids of all words."""
        return [token for word in self.ids for token in word.tolist()]


@dataclass(frozen=True, slots=True)
class Renderer:
    """One language of a model, ready to render texts of its base language."""

    number: int  # of the language in the model
    table: Int[np.ndarray, " vocab"]  # the model's id of each base token
    vocabulary: Vocabulary
    reorderer: Reorderer
    replaced_percent: int = 0  # of the words, by random ones
    seed: int = 0  # of replaced words
    separators: int = 2  # between two texts: </s></s> of RoBERTa, [SEP] of BERT

    def pair(self, first: list[int], second: list[int]) -> tuple[list[int], int]:
        """The row of two texts, "<s> a </s></s> b </s>", and where the second one begins."""
        eos = self.vocabulary.eos
        before = [self.vocabulary.bos, *first, *[eos] * self.separators]
        return [*before, *second, eos], len(before)

    def replaced(self, text: Sentences) -> Sentences:
        """The sentences with the language's share of random words."""
        final = np.array(self.vocabulary.final, np.int64)
        ordinary = self.vocabulary.alphabet().ordinary()
        return replace_words(text, self.replaced_percent, self.seed, ordinary, final)

    def words(
        self,
        words: Sequence[str],
        tokens: Sequence[TokensOfWord],
        sentence_lengths_words: Sequence[int],
        counts: Counter[str],
    ) -> RenderedWords:
        """Some sentences, given as words with their base tokens, in the language."""
        if not words:
            return RenderedWords(np.zeros(0, np.int64), [])
        text, order = self.reorderer.word_order(words, tokens, sentence_lengths_words, counts)
        changed = self.replaced(text) if self.replaced_percent else text
        ids = np.split(self.table[changed.ids], changed.first_tokens()[1:])
        return RenderedWords(order, [ids[word] for word in order])


def reorderer_of(export: Export, language: str, syntax: SyntaxConfig, trees: Trees) -> Reorderer:
    """The reorderer of a language of a model.

    Raises:
        ConfigError: the model lacks the language, or a syntax order lacks its models.
    """
    order = export.parsed_languages()[export.number_of(language)].order
    models = syntax_models(order, syntax)
    final, seed = export.vocabulary.final, export.languages_seed
    return Reorderer(order, seed, final, models, trees, syntax.seed)


def renderer_of(export: Export, language: str, reorderer: Reorderer) -> Renderer:
    """The renderer of a language of a model.

    Raises:
        ConfigError: the model lacks the language.
    """
    number = export.number_of(language)
    return Renderer(
        number,
        export.script_tables()[number],
        export.vocabulary,
        reorderer,
        export.parsed_languages()[number].replaced_percent,
        export.languages_seed,
        export.separators,
    )
