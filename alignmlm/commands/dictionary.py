"""What the dictionaries of a recipe cover, and some of their pairs, as tables and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int
from rich.text import Text
from tokenizers import Tokenizer

from alignmlm.console.terminal import console, new_table
from alignmlm.corpus.sources import expand_path
from alignmlm.data.coverage import CorpusShare, Coverage, DictionarySide, coverage
from alignmlm.data.store import TOKENIZER, Store
from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.languages.dictionary import Dictionary, Word, file_pairs, leaking
from alignmlm.languages.language import Language, Scripts, lay_out_scripts
from alignmlm.pretraining.recipe import Recipe


@dataclass(frozen=True, slots=True)
class ReadPairs:
    """A dictionary of a recipe as it was read."""

    name: str  # the file, or what the pairs are derived from
    languages: tuple[str, str]
    sides: tuple[DictionarySide, DictionarySide]
    pairs: list[tuple[Word, Word]]  # in the ids of each language


def derived_dictionaries(
    store: Store, languages: list[Language], scripts: Scripts
) -> Iterator[ReadPairs]:
    """The automatic dictionaries of languages in another script."""
    from alignmlm.pretraining.assembly import source_of

    ordinary = store.vocabulary.alphabet().ordinary()
    for number, language in enumerate(languages):
        source = source_of(number, languages)
        if source is not None:
            tables = [scripts.tables[i] for i in (source, number)]
            ids = zip(*(table[ordinary].tolist() for table in tables), strict=True)
            pairs: list[tuple[Word, Word]] = [((a,), (b,)) for a, b in ids]
            first, second = (
                DictionarySide(language.base, table, every_token=True) for table in tables
            )
            names = (str(languages[source]), str(language))
            yield ReadPairs("tokens and their counterparts", names, (first, second), pairs)


def file_dictionaries(
    recipe: Recipe, store: Store, languages: list[Language], scripts: Scripts
) -> Iterator[ReadPairs]:
    """The dictionaries of a recipe's files, whose languages are known to be among the recipe's."""
    from alignmlm.pretraining.assembly import word_encoder

    tokenizer = load_tokenizer(store.path / TOKENIZER)
    names = [str(language) for language in languages]
    for file in recipe.dictionary.files:
        numbers = [names.index(name) for name in (file.source, file.target)]
        encoders = [word_encoder(tokenizer, scripts.tables[n]) for n in numbers]
        first, second = (DictionarySide(languages[n].base, scripts.tables[n]) for n in numbers)
        pairs = file_pairs(expand_path(file.path), *encoders)
        yield ReadPairs(file.path, (file.source, file.target), (first, second), pairs)


def word_text(tokenizer: Tokenizer, base: Int[np.ndarray, " token"]) -> str:
    """A word as readable text, with a dot between its tokens."""
    shown = (tokenizer.decode([token], skip_special_tokens=False) for token in base.tolist())
    return "·".join(shown).strip()


def show_words(
    tokenizer: Tokenizer,
    dictionary: Dictionary,
    sides: tuple[DictionarySide, DictionarySide],
    count: int,
) -> list[list[str]]:
    """Some pairs as text, evenly spread over the dictionary."""
    pairs = dictionary.words()
    places = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int)
    bases = [side.base_tokens() for side in sides]
    return [
        [word_text(tokenizer, base[list(w)]) for base, w in zip(bases, pairs[i], strict=True)]
        for i in places
    ]


def share_rows(name: str, share: CorpusShare) -> list[tuple[str, str]]:
    """How much of one corpus the dictionary covers, as rows of a table."""
    several = 100 * share.multi_tokens / max(share.tokens, 1)
    return [
        (f"{name}: words, in corpus", f"{share.words:,}, {share.words_seen:,}"),
        (f"{name}: corpus tokens", f"{share.tokens:,}"),
        ("  in dictionary words", f"{share.percent:.1f} %"),
        ("  in those of several tokens", f"{several:.1f} %"),
    ]


def coverage_counts(measured: Coverage) -> dict[str, int]:
    """The counts of a dictionary, by name."""
    return {
        "pairs read": measured.read,
        "  without tokens": measured.unusable,
        "  same ids in both": measured.identical,
        "  repeated": measured.duplicates,
        "  used": len(measured.split.used),
        "  held out": len(measured.split.held_out),
        "  dropped, share a word with a used one": len(measured.split.dropped),
        "held-out pairs with a used word": measured.leaks,
        "held-out pairs with a token of a used word": measured.token_sharing,
        **{f"tokens {name}": count for name, count in measured.by_length.items()},
        "source words": measured.source_words,
    }


def coverage_rows(measured: Coverage, languages: tuple[str, str]) -> list[tuple[str, str]]:
    """The counts of a dictionary as rows of a table."""
    translations = f"{measured.translations_mean:.2f}, {measured.translations_max}"
    return [
        *((name, f"{count:,}") for name, count in coverage_counts(measured).items()),
        ("translations of a word: mean, most", translations),
        *share_rows(languages[0], measured.source),
        *share_rows(languages[1], measured.target),
    ]


@dataclass(frozen=True, slots=True)
class Measured:
    """A dictionary of a recipe, and what it covers."""

    read: ReadPairs
    covered: Coverage
    used_elsewhere: int  # held-out pairs with a word used in any dictionary of the recipe
    tokenizer: Tokenizer

    def examples(self, part: str, count: int) -> list[list[str]]:
        """Some of the "used" or "held_out" pairs as text."""
        return show_words(self.tokenizer, getattr(self.covered.split, part), self.read.sides, count)


def recipe_dictionaries(recipe: Recipe) -> list[Measured]:
    """All dictionaries of a recipe, measured on its store."""
    from alignmlm.languages.dictionary import merged
    from alignmlm.pretraining.assembly import language_pairs, recipe_languages

    store = Store(expand_path(recipe.data.store))
    languages = recipe_languages(recipe, store)
    scripts = lay_out_scripts(languages, store.vocabulary.alphabet(), recipe.languages.seed)
    used = merged([pair.used for pair in language_pairs(recipe, store, languages, scripts)])
    tokenizer = load_tokenizer(store.path / TOKENIZER)
    measured = []
    for read in (
        *derived_dictionaries(store, languages, scripts),
        *file_dictionaries(recipe, store, languages, scripts),
    ):
        covered = coverage(read.pairs, read.sides, recipe.dictionary, store)
        used_elsewhere = int(sum(leaking(covered.split.held_out, used)))
        measured.append(Measured(read, covered, used_elsewhere, tokenizer))
    return measured


def show_dictionary(each: Measured, count: int) -> None:
    """Print a table of a dictionary's counts, and one of some used and some held-out pairs."""
    table = new_table(f"{' → '.join(each.read.languages)} · {each.read.name}")
    table.add_column("of the dictionary")
    table.add_column("count", justify="right")
    for name, number in coverage_rows(each.covered, each.read.languages):
        table.add_row(name, number)
    table.add_row("held-out pairs with a word used in any dictionary", f"{each.used_elsewhere:,}")
    console.print(table)
    table = new_table("some pairs, a dot between tokens")
    for name in ("", *each.read.languages):
        table.add_column(name, overflow="fold")
    for part in ("used", "held_out"):
        for pair in each.examples(part, count):
            table.add_row(part.replace("_", " "), *map(Text, pair))
    console.print(table)


def dictionary_json(each: Measured, count: int) -> dict[str, Any]:
    """A dictionary's counts and some of its pairs, as plain values for JSON."""
    measured = each.covered
    return {
        "dictionary": each.read.name,
        "languages": each.read.languages,
        "counts": {name.strip(): number for name, number in coverage_counts(measured).items()},
        "held_out_pairs_used_elsewhere": each.used_elsewhere,
        "translations_mean": measured.translations_mean,
        "translations_max": measured.translations_max,
        "source": asdict(measured.source) | {"percent": measured.source.percent},
        "target": asdict(measured.target) | {"percent": measured.target.percent},
        "pairs": {part: each.examples(part, count) for part in ("used", "held_out")},
    }
