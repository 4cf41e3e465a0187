"""Word order of a sentence in a language of a model, including orders that depend on a tree."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int

from alignmlm.corpus.reordering import Models, load_models
from alignmlm.errors import ConfigError
from alignmlm.evaluation.evaluation_config import SyntaxConfig
from alignmlm.languages.language import Language
from alignmlm.languages.orders import is_syntax, word_order
from alignmlm.languages.sentences import Sentences, from_words
from alignmlm.storage.checksums import file_xxh3
from alignmlm.syntax.ordering import reorder_tree
from alignmlm.syntax.trees import Tree, parse_conllu, read_conllu, version_1

TokensOfWord = tuple[int, ...]
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
        DataError: the file is no parser.
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
        """Ranks of a sentence's words by a syntax order; none of other orders.

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
    """The ordering models of a syntax order; none of other orders.

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
