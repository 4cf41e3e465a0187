"""From a recipe and a store to the inputs of the loop: loader, dictionaries, model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from alignmlm_kernels import WordPairs
from jaxtyping import Int
from tokenizers import Tokenizer

from alignmlm.corpus.sources import expand_path
from alignmlm.data.batches import Loader
from alignmlm.data.masking import Corruption, CorruptionTables, masks_of
from alignmlm.data.plain_orders import PlainOrder
from alignmlm.data.rendering import changes_of
from alignmlm.data.schedule import Mixture, mixture_of
from alignmlm.data.store import TOKENIZER, TRAIN, VALIDATION, Store
from alignmlm.data.tokenizer import describe, encode_words, load_tokenizer
from alignmlm.errors import ConfigError, DataError
from alignmlm.languages.dictionary import (
    Dictionary,
    Word,
    derived_pairs,
    file_pairs,
    from_pairs,
    leaking,
    merged,
    split,
)
from alignmlm.languages.language import Language, Scripts, lay_out_scripts, parse_language
from alignmlm.languages.orders import is_plain, is_syntax
from alignmlm.languages.settings import DictionaryConfig
from alignmlm.models.masked_lm import MaskedLanguageModel, new_model
from alignmlm.objectives.registry import corruption_of, objective_of
from alignmlm.pretraining.recipe import Recipe
from alignmlm.probes.induction import Candidates, without_control
from alignmlm.probes.words import word_pairs
from alignmlm.ranks.devices import keep_freed_memory


@dataclass(frozen=True, slots=True)
class LanguagePair:
    """The dictionary between two languages of a recipe, given by their indices."""

    source: int
    target: int
    used: Dictionary
    held_out: Dictionary


def trained_pairs(pair: LanguagePair, config: DictionaryConfig) -> Dictionary:
    """The given pairs of two languages, less those set aside where embeddings induce others."""
    return without_control(pair.used) if config.induction == "embeddings" else pair.used


def own_tokens(pair: LanguagePair, tables: Int[np.ndarray, "language vocab"]) -> Candidates:
    """The source language's tokens that are not the target's, and those of the target alone."""
    others = np.delete(tables, pair.target, axis=0)
    source = np.setdiff1d(tables[pair.source], tables[pair.target])
    return source, np.setdiff1d(tables[pair.target], others)


def recipe_languages(recipe: Recipe, store: Store) -> list[Language]:
    """The languages of a recipe.

    Raises:
        ConfigError: a base language that the store does not have.
    """
    languages = [parse_language(name) for name in recipe.languages.ids]
    for language in languages:
        if language.base not in store.languages:
            requirement = f"use base languages of {store.path}: {', '.join(store.languages)}"
            raise ConfigError("languages.ids", str(language), requirement)
    return languages


def source_of(number: int, languages: list[Language]) -> int | None:
    """The index of a derived-script language's source: the first of its base in the base script."""
    here = languages[number]
    for other, language in enumerate(languages):
        if language.base == here.base and language.script == "" and here.script != "":
            return other
    return None


def language_pairs(
    recipe: Recipe, store: Store, languages: list[Language], scripts: Scripts
) -> list[LanguagePair]:
    """Dictionaries of all pairs of languages: derived ones, and those of the recipe's files."""
    config, pairs = recipe.dictionary, []
    for number in range(len(languages)):
        source = source_of(number, languages)
        if source is not None:
            words = derived_pairs(scripts.tables[source], scripts.tables[number])
            used, held_out = split(from_pairs(words), config.fraction, config.seed)
            pairs.append(LanguagePair(source, number, used, held_out))
    return pairs + file_language_pairs(config, store, languages, scripts)


def file_language_pairs(
    config: DictionaryConfig, store: Store, languages: list[Language], scripts: Scripts
) -> list[LanguagePair]:
    """Dictionaries of the recipe's files.

    Raises:
        ConfigError: a file of languages that the recipe does not train on.
        DataError: no usable pair: every word is the same in both languages.
    """
    tokenizer = load_tokenizer(store.path / TOKENIZER)
    names, pairs = [str(language) for language in languages], []
    for file in config.files:
        for name in (file.source, file.target):
            if name not in names:
                raise ConfigError("dictionary.files", name, f"be one of languages.ids: {names}")
        source, target = names.index(file.source), names.index(file.target)
        encoders = [word_encoder(tokenizer, scripts.tables[n]) for n in (source, target)]
        whole = from_pairs(file_pairs(expand_path(file.path), *encoders))
        if not len(whole):
            raise DataError(f"dictionary {file.path} has no usable pair for {names}")
        pairs.append(LanguagePair(source, target, *split(whole, config.fraction, config.seed)))
    return pairs


def word_encoder(
    tokenizer: Tokenizer, table: Int[np.ndarray, " vocab"]
) -> Callable[[list[str]], list[Word]]:
    """A function from words to their token ids in one script."""
    unknown = describe(tokenizer).unk

    def encoder(words: list[str]) -> list[Word]:
        encoded = encode_words(tokenizer, words)
        known = [ids if set(ids) - {unknown} else () for ids in encoded]
        return [tuple(table[list(ids)].tolist()) if ids else () for ids in known]

    return encoder


def translation_table(pairs: list[LanguagePair], scripts: Scripts) -> np.ndarray:
    """The partner of each token from one language to another, -1 where there is none.

    Words of several tokens have no partner here; of several translations the first is used.
    """
    count = len(scripts.tables)
    table = np.full((count, count, scripts.vocabulary_size), -1, np.int64)
    for pair in reversed(pairs):
        source, target = pair.used.single_tokens().T[:, ::-1]
        table[pair.source, pair.target, source] = target
        table[pair.target, pair.source, target] = source
    return table


def check_unified_output(pairs: list[LanguagePair], scripts: Scripts) -> None:
    """Raise if a given target word is also a token of the source language.

    Raises:
        ConfigError: one is: its label would change in the source language's text as well.
    """
    for pair in pairs:
        targets = pair.used.single_tokens()[:, 1]
        shared = np.isin(targets, scripts.tables[pair.source])
        if shared.any():
            problem = f"unified, with {shared.sum()} given target words that are source tokens too"
            requirement = (
                "be separate where two languages share tokens; give each a script of its own"
            )
            raise ConfigError("objective.output", problem, requirement)


def check_rotation(step: int, pairs: list[LanguagePair], scripts: Scripts) -> None:
    """Raise unless each target language has tokens of its own, whose embeddings can be rotated.

    Raises:
        ConfigError: one has none, as all of them are another language's too.
    """
    if not all(len(own_tokens(pair, scripts.tables)[1]) for pair in pairs):
        requirement = "be null where languages share their tokens; give each a script of its own"
        raise ConfigError("dictionary.rotation_step", step, requirement)


def check_objective(
    recipe: Recipe, corruption: Corruption, pairs: list[LanguagePair], scripts: Scripts
) -> None:
    """Raise unless the data has what the objective needs.

    Raises:
        DataError: no dictionary pair for an objective that needs one.
        ConfigError: no two languages of one base for tlm, or shared tokens for a unified output.
    """
    wish, usable = f"objective.name = {recipe.objective.name}", sum(len(p.used) for p in pairs)
    if recipe.objective.code_switch:
        wish = f"objective.code_switch = {recipe.objective.code_switch:g}"
    if recipe.objective.output == "unified":
        wish = "objective.output = unified"
        check_unified_output(pairs, scripts)
    needed = objective_of(recipe.objective).needs_pairs or corruption.translates
    if (step := recipe.dictionary.rotation_step) is not None:
        wish, needed = f"dictionary.rotation_step = {step}", True
        check_rotation(step, pairs, scripts)
    if needed and not usable:
        raise DataError(
            f"{wish} needs a dictionary, and there is no usable pair: "
            f"languages.ids = {recipe.languages.ids} gives pairs where a language has "
            f"another script than its base (such as -x-trans); "
            f"dictionary.fraction = {recipe.dictionary.fraction}; "
            f"dictionary.files = {[file.path for file in recipe.dictionary.files]}"
        )
    bases = [parse_language(language).base for language in recipe.languages.ids]
    if corruption.translation_rows and len(set(bases)) == len(bases):
        requirement = "hold two languages of one base for tlm, which needs the same text in both"
        raise ConfigError("languages.ids", recipe.languages.ids, requirement)


def make_loader(
    recipe: Recipe, store: Store, languages: list[Language], scripts: Scripts, pairs: list
) -> Loader:
    """The loader of a recipe."""
    corruption = corruption_of(recipe.objective)
    check_objective(recipe, corruption, pairs, scripts)
    keep_freed_memory()
    vocabulary = store.vocabulary
    special = np.zeros(scripts.vocabulary_size, bool)
    special[list(vocabulary.special)] = True
    ordinary = vocabulary.alphabet().ordinary()
    translations = translation_table(pairs if corruption.translates else [], scripts)
    lexicon = CorruptionTables(special, vocabulary.mask, ordinary, scripts.tables, translations)
    orders, plain = orders_of(languages, is_syntax), orders_of(languages, is_plain)
    splits = {
        base: {name: store.split(base, name, orders[base]) for name in (TRAIN, VALIDATION)}
        for base in {language.base for language in languages}
    }
    for base, by_name in splits.items():
        for shard in by_name[TRAIN].shards + by_name[VALIDATION].shards:
            shard.orders += [PlainOrder(shard, o, recipe.languages.seed) for o in plain[base]]
        orders[base] += plain[base]
    return Loader(
        languages,
        [splits[language.base] for language in languages],
        vocabulary,
        recipe_mixture(recipe),
        lexicon,
        recipe.mask,
        corruption,
        changes_of(languages, scripts, vocabulary, orders, recipe.languages.seed),
        masks_of(lexicon, recipe.mask, corruption, recipe.train.batch_rows),
        recipe.train.seq_len,
        recipe.train.seed,
    )


def orders_of(languages: list[Language], wanted: Callable[[str], bool]) -> dict[str, list[str]]:
    """The word orders of one kind in which each base language is read."""
    orders_by_base: dict[str, list[str]] = {language.base: [] for language in languages}
    for language in languages:
        orders = orders_by_base[language.base]
        if wanted(language.order) and language.order not in orders:
            orders.append(language.order)
    return orders_by_base


def recipe_mixture(recipe: Recipe) -> Mixture:
    """The mixture of a recipe, with its changes at steps."""
    equal, rows = [1.0] * len(recipe.languages.ids), recipe.train.batch_rows
    changes = {change.step * rows: change.weights for change in recipe.languages.weight_changes}
    return mixture_of(recipe.languages.weights or equal, changes)


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts of a run."""

    store: Store
    loader: Loader
    pairs: list[LanguagePair]
    vocabulary_size: int  # of the model: all scripts

    @property
    def used(self) -> Dictionary:
        """The dictionary pairs to train on."""
        return merged([pair.used for pair in self.pairs])

    @property
    def held_out(self) -> Dictionary:
        """The dictionary pairs that training never sees."""
        pairs = merged([pair.held_out for pair in self.pairs])
        known = leaking(pairs, self.used)  # through the dictionary of another pair of languages
        words = zip(pairs.words(), known, strict=True)
        return from_pairs(pair for pair, leaks in words if not leaks)

    def training_pairs(self, recipe: Recipe, induced: Dictionary) -> WordPairs | None:
        """The dictionary's pairs and induced ones, for objectives that need pairs."""
        if not objective_of(recipe.objective).needs_pairs:
            return None
        given = [trained_pairs(pair, recipe.dictionary) for pair in self.pairs]
        return word_pairs(merged([*given, induced]))


def assemble(recipe: Recipe) -> Assembly:
    """Open the store of a recipe and prepare everything except the model."""
    store = Store(expand_path(recipe.data.store))
    languages = recipe_languages(recipe, store)
    scripts = lay_out_scripts(languages, store.vocabulary.alphabet(), recipe.languages.seed)
    pairs = language_pairs(recipe, store, languages, scripts)
    loader = make_loader(recipe, store, languages, scripts, pairs)
    return Assembly(store, loader, pairs, scripts.vocabulary_size)


def check_start_tokenizer(start: Path, store: Store) -> None:
    """Raise if a checkpoint folder's tokenizer has different tokens from a store's.

    Raises:
        ConfigError: it does: the checkpoint's embeddings would belong to different tokens.
        DataError: its tokenizer cannot be read.
    """
    if not (start / TOKENIZER).is_file():
        return
    theirs, own = (load_tokenizer(path / TOKENIZER).get_vocab() for path in (start, store.path))
    known = {number: token for token, number in theirs.items()}
    others = sum(known.get(number, token) != token for token, number in own.items())
    if others:
        requirement = (
            f"have the tokenizer of data.store, {store.path}, and {others:,} tokens are others "
            f"there; build a store with data.tokenizer = {start}"
        )
        raise ConfigError("model.start", str(start), requirement)


def make_model(recipe: Recipe, assembly: Assembly) -> MaskedLanguageModel:
    """The model of a recipe, with language embeddings if the objective needs them."""
    if recipe.model.start is not None:
        check_start_tokenizer(Path(recipe.model.start), assembly.store)
    wanted = objective_of(recipe.objective).language_embeddings
    languages = len(assembly.loader.languages) if wanted else 1
    vocabulary, size = assembly.store.vocabulary, assembly.vocabulary_size
    return new_model(recipe.model, vocabulary, size, recipe.train.seq_len, languages)
