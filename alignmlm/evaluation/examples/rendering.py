"""A text in any language of a model: words in their new order, as the model's token ids."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xxhash
from jaxtyping import Int

from alignmlm.corpus.reordering import Models, load_models
from alignmlm.data.tokenizer import Vocabulary
from alignmlm.errors import ConfigError
from alignmlm.evaluation.evaluated_model import Export
from alignmlm.evaluation.examples.words import TokensOfWord
from alignmlm.evaluation.settings import SyntaxConfig
from alignmlm.languages.language import Language, parse_language
from alignmlm.languages.orders import is_syntax, word_order
from alignmlm.languages.replacement import replace_words
from alignmlm.languages.sentences import Sentences, from_words
from alignmlm.storage.checksums import file_xxh3
from alignmlm.syntax.ordering import reorder_tree
from alignmlm.syntax.trees import Tree, parse_conllu, read_conllu, version_1
from alignmlm.tasks.examples import SplitFile
from alignmlm.tasks.formats import FORMATS

IGNORED = -100  # label of a position that is not scored
Outputs = dict[str, np.ndarray]  # a model's scores of one row, by their name


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence in one language, as the model sees it."""

    input_ids: list[int]  # with <s> and </s>
    labels: list[int] | int | tuple[int, int]  # of each token, of the row, or first and last token
    language: int  # its number in the model
    document: int = 0  # index in its split of the example that it shows, whole or in part
    second: int = 0  # where the second text begins; 0: there is none
    offset_tokens: int = 0  # tokens of the second text that come before this window of it


@dataclass(frozen=True, slots=True)
class RenderedSplit:
    """A split in one language of a model."""

    examples: list[Example]
    counts: dict[str, int]  # of what was lost or changed, by name; all zero where nothing was


def rows_hash(examples: Sequence[Example]) -> str:
    """A hash of some rows, in their order."""
    digest = xxhash.xxh3_64()
    for example in examples:
        labels = np.atleast_1d(np.array(example.labels, np.int64))
        sizes = [len(example.input_ids), labels.size, example.language, example.second]
        for part in (sizes, example.input_ids, labels):
            digest.update(np.array(part, np.int64).tobytes())
    return digest.hexdigest()


Predictions = Iterable[tuple[Example, Outputs]]
Parse = Callable[[list[list[str]]], list[str | None]]  # sentences of words to CoNLL-U blocks


def syntax_contents(config: SyntaxConfig, languages: Iterable[Language]) -> dict[str, str]:
    """The hash of the parser and of each ordering model that some languages use, by file name."""
    contents = {}
    if config.parser is not None and Path(config.parser).is_file():
        contents["parser"] = file_xxh3(Path(config.parser))
    for language in languages:
        if config.models is not None and is_syntax(language.order):
            contents |= load_models(Path(config.models), language.order)[1]
    return contents


def gold_trees(paths: Iterable[Path]) -> dict[tuple[str, ...], Tree]:
    """The trees of some treebanks, by their words."""
    return {tree.words: tree for path in paths for tree in read_conllu(path)}


def parser_of(path: str) -> Parse:
    """A parser from sentences to CoNLL-U blocks.

    Raises:
        DataError: the file is not a parser.
    """
    from alignmlm.syntax.parser import load_parser

    return load_parser(Path(path)).parse


@dataclass(slots=True)
class Trees:
    """Trees of sentences: gold ones where available, parses elsewhere."""

    gold: Mapping[tuple[str, ...], Tree] = field(default_factory=dict)
    parse: Parse | None = None
    parsed: dict[tuple[str, ...], Tree | None] = field(default_factory=dict)  # cache

    def tree_of(self, words: tuple[str, ...]) -> tuple[Tree | None, str]:
        """A sentence's tree and where it comes from; None where it is too long to be parsed.

        Raises:
            ConfigError: it has no gold tree, and there is no parser.
        """
        if words in self.gold:
            return self.gold[words], "trees_gold"
        if self.parse is None:
            problem = f"none, and {' '.join(words)[:60]!r} has no gold tree"
            requirement = "name a parser: see `alignmlm data train-parser`"
            raise ConfigError("evaluation.syntax.parser", problem, requirement)
        if words not in self.parsed:
            block = self.parse([list(words)])[0]
            lines = block.split("\n") if block else []
            self.parsed[words] = next(parse_conllu(lines, "a parse"), None)
        tree = self.parsed[words]
        return tree, "trees_missing" if tree is None else "trees_parsed"


def trees_of(files: Iterable[SplitFile], languages: Iterable[str], syntax: SyntaxConfig) -> Trees:
    """Gold trees of files that have them, and a parser where one is named.

    Nothing is read where none of the languages needs trees: heads may then be missing.
    """
    if not any(is_syntax(parse_language(name).order) for name in languages):
        return Trees()
    gold = gold_trees(file.file for file in files if FORMATS[file.form].trees)
    return Trees(gold, parser_of(syntax.parser) if syntax.parser else None)


def tree_ranks(tree: Tree, models: Models, seed: int) -> Int[np.ndarray, " word"]:
    """The rank of each word in the order that the models draw for a tree."""
    ranks = np.empty(len(tree.words), np.int64)
    ranks[reorder_tree(version_1(tree), *models, seed).order] = np.arange(len(tree.words))
    return ranks


@dataclass(frozen=True, slots=True)
class Reorderer:
    """The word order of one language of a model."""

    order: str  # "", "inv", "perm", "syn-fra", ...
    seed: int  # of permutations
    final: tuple[int, ...]  # tokens that stay last in their sentence
    models: Models = (None, None)  # of a syntax order
    trees: Trees = field(default_factory=Trees)
    syntax_seed: int = 0

    def ranks(
        self, words: tuple[str, ...], counts: Counter[str]
    ) -> Int[np.ndarray, " word"] | None:
        """Ranks of a sentence's words by a syntax order; None for other orders.

        A sentence without a tree keeps its order, as in pre-training, and is counted.
        """
        if not is_syntax(self.order):
            return None
        tree, source = self.trees.tree_of(words)
        counts[source] += 1
        return (
            np.arange(len(words))
            if tree is None
            else tree_ranks(tree, self.models, self.syntax_seed)
        )

    def word_order(
        self,
        words: Sequence[str],
        tokens: Sequence[TokensOfWord],
        sentence_lengths_words: Sequence[int],
        counts: Counter[str],
    ) -> tuple[Sentences, Int[np.ndarray, " word"]]:
        """The tokens of some sentences, and their words (old positions) in the new order."""
        lengths = [length for length in sentence_lengths_words if length]
        text = from_words([list(word) for word in tokens], lengths)
        ends = np.cumsum(lengths).tolist()
        bounds = zip([0, *ends[:-1]], ends, strict=True)
        sentence_ranks = [self.ranks(tuple(words[a:b]), counts) for a, b in bounds]
        ranks = [part for part in sentence_ranks if part is not None]
        if ranks:
            by_token = np.concatenate(ranks)[text.word_of_token()]
            text = Sentences(text.ids, text.word_starts, text.sentence_starts, by_token)
        return text, word_order(text, self.order, self.seed, np.array(self.final, np.int64))


def syntax_models(order: str, config: SyntaxConfig) -> Models:
    """The ordering models of a syntax order; (None, None) for other orders.

    Raises:
        ConfigError: no folder of models is named.
        DataError: the folder lacks one.
    """
    if not is_syntax(order):
        return None, None
    if config.models is None:
        requirement = f"name the folder of the ordering models of {order}"
        raise ConfigError("evaluation.syntax.models", config.models, requirement)
    return load_models(Path(config.models), order)[0]


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
    replaced_percent: int = 0  # of the words, replaced by random ones
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
