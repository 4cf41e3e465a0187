"""Dictionaries, scripts and loaders as a recipe asks for them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.errors import ConfigError, DataError
from alignmlm.languages.dictionary import from_pairs
from alignmlm.languages.language import lay_out_scripts
from alignmlm.pretraining.assembly import assemble, check_start_tokenizer, translation_table
from tests.conftest import SMALL
from tests.runs import pretrain

ENGLISH = "The black cat sleeps. A small dog barks at the cat.\n\n"
FRENCH = "Le chat noir dort. Un petit chien aboie contre le chat.\n\n"
PAIRS = "cat chat\ndog\tchien\nblack noir\nsmall petit\nthe le\nthe les\ncat cat\n"


@pytest.fixture
def natural(tmp_path):
    """A function from overrides to a recipe of two natural languages and a MUSE-format file."""
    for name, text in (("en.txt", ENGLISH), ("fr.txt", FRENCH)):
        numbered = (text.replace(".", f" {number}.", 1) for number in range(80))
        (tmp_path / name).write_text("".join(numbered), encoding="utf-8")
    (tmp_path / "en-fr.txt").write_text(PAIRS, encoding="utf-8")
    sources = [
        {"language": language, "files": [str(tmp_path / file)]}
        for language, file in (("eng-Latn", "en.txt"), ("fra-Latn", "fr.txt"))
    ]
    files = [{"path": str(tmp_path / "en-fr.txt"), "source": "eng-Latn", "target": "fra-Latn"}]

    def recipe(*overrides: str):
        natural = [
            f"--data.sources={json.dumps(sources)}",
            f"--dictionary.files={json.dumps(files)}",
            f"--data.store={tmp_path / 'store'}",
            f"--run.dir={tmp_path / 'run'}",
            "--data.vocabulary_size=280",
            "--languages.ids=[eng-Latn, fra-Latn]",
        ]
        return load_recipe(None, [*SMALL, *natural, *overrides])

    build_store(recipe().data)
    return recipe


def test_a_file_gives_pairs_of_words_of_several_tokens_and_leaves_equal_words_out(natural):
    assembly = assemble(natural("--dictionary.fraction=1"))
    assert len(assembly.used) == 6
    assert len(assembly.held_out) == 0
    assert max(len(word) for pair in assembly.used.words() for word in pair) > 1
    assert assembly.vocabulary_size == 280


def test_of_the_translations_in_two_files_the_first_is_used(natural):
    assembly = assemble(natural("--dictionary.fraction=1"))
    scripts = lay_out_scripts(assembly.loader.languages, assembly.store.vocabulary.alphabet(), 0)
    (pair,) = assembly.pairs
    files = [replace(pair, used=from_pairs([((10,), (target,))])) for target in (11, 12)]
    table = translation_table(files, scripts)
    assert (table[0, 1, 10], table[1, 0, 11], table[1, 0, 12]) == (11, 10, 10)


def test_two_natural_languages_train_with_their_dictionary(natural):
    _, summary = pretrain(natural("--dictionary.fraction=0.6"), Path("ds_configs/zero1.json"))
    assert set(summary["validation_loss_nats"]) == {"eng-Latn", "fra-Latn"}
    assert summary["alignment_percent"]["in_dictionary"] is not None
    assert summary["alignment_percent"]["held_out"] is not None


def test_a_file_of_a_language_that_is_not_trained_is_named(natural):
    with pytest.raises(ConfigError, match=r"dictionary\.files = 'fra-Latn'"):
        assemble(natural("--languages.ids=[eng-Latn, eng-Latn-x-trans]"))


def test_a_file_without_a_usable_pair_is_named(natural, tmp_path):
    (tmp_path / "en-fr.txt").write_text("cat cat\n")
    with pytest.raises(DataError, match=r"en-fr\.txt has no usable pair"):
        assemble(natural())


def test_a_derived_language_and_its_base_bring_their_own_dictionary(small_recipe):
    assembly = assemble(small_recipe("--dictionary.fraction=0.25"))
    ordinary = len(assembly.store.vocabulary.alphabet().ordinary())
    assert len(assembly.used) == round(0.25 * ordinary)
    assert len(assembly.used) + len(assembly.held_out) == ordinary


def test_languages_of_one_script_share_a_block_of_the_vocabulary(small_recipe):
    names = "[qaa-Latn, qaa-Latn-x-trans, qaa-Latn-x-inv-trans, qaa-Latn-x-ovl50]"
    assembly = assemble(small_recipe(f"--languages.ids={names}"))
    assert assembly.vocabulary_size == 3 * assembly.store.vocabulary.size


def test_a_start_with_other_tokens_under_the_ids_of_the_store_is_refused(small_recipe, tmp_path):
    store = assemble(small_recipe()).store
    text = (store.path / "tokenizer.json").read_text("utf-8")
    (tmp_path / "tokenizer.json").write_text(text, "utf-8")
    check_start_tokenizer(tmp_path, store)
    tokenizer = json.loads(text)
    vocabulary = tokenizer["model"]["vocab"]
    (first, one), (second, two) = list(vocabulary.items())[-2:]
    tokenizer["model"]["vocab"] = vocabulary | {first: two, second: one}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    with pytest.raises(ConfigError, match=r"model\.start.*2 tokens.*data\.tokenizer"):
        check_start_tokenizer(tmp_path, store)


@pytest.mark.parametrize(
    ("settings", "wish"),
    [
        (["--objective.name=align_mlm"], "objective.name = align_mlm"),
        (["--objective.name=mlm", "--objective.code_switch=0.2"], "objective.code_switch = 0.2"),
        (["--objective.name=mlm", "--objective.output=unified"], "objective.output = unified"),
    ],
)
def test_what_needs_a_dictionary_is_named_where_there_is_none(small_recipe, settings, wish):
    recipe = small_recipe("--languages.ids=[qaa-Latn]", *settings)
    with pytest.raises(DataError, match=f"{wish} needs a dictionary, and there is no usable pair"):
        assemble(recipe)
