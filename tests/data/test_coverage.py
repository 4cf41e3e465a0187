"""What dictionaries cover, held to counts by hand and by plain loops."""

import json
from collections import Counter
from dataclasses import astuple
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.cli import guarded
from alignmlm.commands.data import data_dictionary
from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.data.coverage import DictionarySide, corpus_share, coverage, word_tree
from alignmlm.data.store import TRAIN, Store
from alignmlm.errors import DataError
from alignmlm.languages.settings import DictionaryConfig
from alignmlm.pretraining.assembly import assemble
from tests.conftest import SMALL

bounded = settings(deadline=None, max_examples=50)
word = st.lists(st.integers(0, 9), min_size=1, max_size=4).map(tuple)
words = st.lists(word, max_size=30)
ENGLISH = "The black cat sleeps. A small dog barks at the cat.\n\n"
FRENCH = "Le chat noir dort. Un petit chien aboie contre le chat.\n\n"
PAIRS = "cat chat\ncat\tchat\ndog\tchien\nblack noir\nsmall petit\nthe le\nthe les\ncat cat\n"


def flat(found):
    """Ids and word starts of some words, one after the other."""
    ids = np.array([token for one in found for token in one], np.int64)
    starts = np.array([place == 0 for one in found for place in range(len(one))], bool)
    return ids, starts


def corpus_words(store, language):
    """The words of a language's train split as tuples of tokens, ends of documents left out."""
    for shard in store.split(language, TRAIN).shards:
        size = shard.entry.tokens
        first = np.flatnonzero(shard.flags(0, size, 1))
        parts = (tuple(part.tolist()) for part in np.split(shard.tokens(0, size), first[1:]))
        yield from (part for part in parts if part != (store.vocabulary.eos,))


@pytest.fixture(scope="module")
def natural(tmp_path_factory):
    """Arguments of a recipe of two natural languages and a file of words of several tokens."""
    folder = tmp_path_factory.mktemp("natural")
    for name, text in (("en.txt", ENGLISH), ("fr.txt", FRENCH)):
        numbered = (text.replace(".", f" {number}.", 1) for number in range(80))
        (folder / name).write_text("".join(numbered), encoding="utf-8")
    (folder / "en-fr.txt").write_text(PAIRS, encoding="utf-8")
    sources = [
        {"language": language, "files": [str(folder / file)]}
        for language, file in (("eng-Latn", "en.txt"), ("fra-Latn", "fr.txt"))
    ]

    def arguments(target="fra-Latn", *overrides):
        file = {"path": str(folder / "en-fr.txt"), "source": "eng-Latn", "target": target}
        fixed = [
            f"--data.sources={json.dumps(sources)}",
            f"--dictionary.files={json.dumps([file])}",
            f"--data.store={folder / 'store'}",
            "--data.vocabulary_size=280",
            f"--languages.ids=[eng-Latn, {target}]",
        ]
        return [*SMALL, *fixed, *overrides]

    build_store(load_recipe(None, arguments()).data)
    return SimpleNamespace(arguments=arguments, store=Store(folder / "store"))


def shown(capsys, arguments):
    assert data_dictionary(arguments) == 0
    return " ".join(capsys.readouterr().out.split())


def side(store, base="eng-Latn", **options):
    return DictionarySide(base, np.arange(store.vocabulary.size), **options)


@bounded
@given(words, words)
def test_a_tree_finds_its_words_whole_and_no_others(known, text):
    tree = word_tree(known, 10)
    nodes = tree.nodes(*flat(text))
    assert [node > 0 for node in nodes] == [one in known for one in text]


@bounded
@given(words, words)
def test_a_tree_gives_each_word_a_node_of_its_own(known, text):
    nodes = word_tree(known, 10).nodes(*flat(text))
    found = {(one, node) for one, node in zip(text, nodes.tolist(), strict=True) if node}
    assert len(found) == len({one for one, _ in found}) == len({node for _, node in found})


@pytest.mark.parametrize("piece_tokens", [2, 7, 64, 2**20])
def test_corpus_shares_are_what_a_loop_over_words_counts(natural, piece_tokens):
    store = natural.store
    counted = Counter(corpus_words(store, "eng-Latn"))
    every = sorted(counted)
    known = {*every[::2], (1, 2, 3), (4,)}
    found = corpus_share(known, side(store), store, piece_tokens)
    single = sum(counted[one] for one in known if len(one) == 1)
    several = sum(counted[one] * len(one) for one in known if len(one) > 1)
    total = sum(len(one) * count for one, count in counted.items())
    assert several > 0
    assert astuple(found) == (total, single, several, len(known), len(known & set(every)))


def test_a_dictionary_of_tokens_finds_them_inside_words(natural):
    store = natural.store
    tokens = Counter(token for one in corpus_words(store, "eng-Latn") for token in one)
    known = {(token,) for token in list(tokens)[::2]}
    found = corpus_share(known, side(store, every_token=True), store)
    assert found.single_tokens == sum(tokens[token] for (token,) in known)
    assert found.multi_tokens == 0


def test_no_words_cover_nothing(natural):
    found = corpus_share(set(), side(natural.store), natural.store)
    assert found.percent == 0
    assert found.tokens == sum(len(one) for one in corpus_words(natural.store, "eng-Latn"))


def test_a_damaged_shard_is_an_error(natural, tmp_path):
    import shutil

    copied = shutil.copytree(natural.store.path, tmp_path / "store")
    path = next((copied / "eng-Latn" / TRAIN).glob("*.bin"))
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged in block 0"):
        corpus_share({(5,)}, side(natural.store), Store(copied))


@bounded
@given(st.lists(st.tuples(word | st.just(()), word), max_size=40), st.floats(0, 1))
def test_counts_add_up_to_the_pairs_read(natural, read, fraction):
    store = natural.store
    sides = (side(store), side(store, "fra-Latn"))
    found = coverage(read, sides, DictionaryConfig(fraction=fraction), store)
    left_out = found.unusable + found.identical + found.duplicates
    assert found.read == len(read) == left_out + sum(map(len, found.split))
    assert sum(found.by_length.values()) == sum(map(len, found.split))
    assert found.leaks == 0


def test_pairs_are_counted_by_what_is_wrong_with_them_and_by_length(natural):
    store, unk = natural.store, natural.store.vocabulary.unk
    read = [
        ((10,), (20,)), ((10,), (21,)), ((10,), (20,)),  # one repeated
        ((11,), (11,)),  # identical
        ((), (20,)), ((12,), (unk,)), ((unk, unk), (22,)),  # unusable
        ((12, unk), (22,)), ((13,), (23, 24)), ((13, 14), (23, 24)),
    ]  # fmt: skip
    found = coverage(read, (side(store), side(store, "fra-Latn")), DictionaryConfig(), store)
    assert (found.unusable, found.identical, found.duplicates) == (3, 1, 1)
    assert found.by_length == {"1-1": 2, "1-n": 1, "n-1": 1, "n-n": 1}
    assert (found.source_words, found.translations_mean, found.translations_max) == (4, 1.25, 2)


def test_held_out_pairs_that_share_a_token_with_a_used_word_are_counted(natural):
    store = natural.store
    read = [((10, 30 + n), (20, 40 + n)) for n in range(8)]
    sides = (side(store), side(store, "fra-Latn"))
    found = coverage(read, sides, DictionaryConfig(fraction=0.5), store)
    assert (len(found.split.held_out), found.leaks, found.token_sharing) == (4, 0, 4)


@pytest.mark.parametrize("target", ["fra-Latn", "fra-Latn-x-trans"])
def test_the_parts_are_those_that_a_run_uses(natural, target):
    from alignmlm.commands.dictionary import file_dictionaries
    from alignmlm.languages.language import lay_out_scripts
    from alignmlm.pretraining.assembly import recipe_languages

    recipe = load_recipe(None, natural.arguments(target))
    languages = recipe_languages(recipe, natural.store)
    scripts = lay_out_scripts(languages, natural.store.vocabulary.alphabet(), 0)
    (read,) = file_dictionaries(recipe, natural.store, languages, scripts)
    found = coverage(read.pairs, read.sides, recipe.dictionary, natural.store)
    assembly = assemble(recipe)
    assert found.split.used.words() == assembly.used.words()
    assert found.split.held_out.words() == assembly.held_out.words()


def test_ids_of_its_own_cover_the_same_text(natural):
    store, size = natural.store, natural.store.vocabulary.size
    own = DictionarySide("fra-Latn", np.arange(size) + size)
    base = set(corpus_words(store, "fra-Latn"))
    shifted = {tuple(token + size for token in one) for one in base}
    found = corpus_share(shifted, own, store)
    assert found == corpus_share(base, side(store, "fra-Latn"), store)
    assert found.percent == 100


def test_the_command_shows_counts_and_pairs_of_a_file(natural, capsys):
    text = shown(capsys, natural.arguments("fra-Latn", "--dictionary.fraction=0.5"))
    assert "pairs read 8" in text
    assert "same ids in both 1" in text
    assert "repeated 1" in text
    assert "held-out pairs with a used word 0" in text
    assert "held out" in text


def test_the_command_shows_as_many_pairs_as_asked_for(natural, capsys):
    arguments = natural.arguments("fra-Latn", "--dictionary.fraction=1")
    text = shown(capsys, [*arguments, "--pairs=2"])
    assert text.split("some pairs")[1].count(" used ") == 2


def test_the_command_shows_derived_pairs(small_store, capsys):
    languages = "--languages.ids=[qaa-Latn, qaa-Latn-x-inv-trans]"
    text = shown(capsys, [*SMALL, f"--data.store={small_store}", languages])
    assert "qaa-Latn → qaa-Latn-x-inv-trans · tokens and their counterparts" in text
    assert "pairs read 395" in text
    assert "in dictionary words 100.0 %" in text


def test_the_command_says_where_there_is_no_dictionary(small_store, capsys):
    text = shown(capsys, [*SMALL, f"--data.store={small_store}", "--languages.ids=[qaa-Latn]"])
    assert "no dictionary between qaa-Latn" in text


def test_the_command_names_a_language_that_the_recipe_lacks(natural, capsys):
    arguments = natural.arguments("fra-Latn", "--languages.ids=[eng-Latn]")
    assert guarded(data_dictionary, arguments) == 2
    assert "dictionary.files" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["english-french", "english-french-disjoint"])
def test_the_recipes_of_two_natural_languages_are_valid(name):
    from pathlib import Path

    recipe = load_recipe(Path(f"recipes/{name}.yaml"))
    assert {file.target for file in recipe.dictionary.files} == {recipe.languages.ids[1]}
    assert recipe.data.store == "data/english-french"
