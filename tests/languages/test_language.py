import re
from itertools import product

import numpy as np
import pytest

from alignmlm.errors import ConfigError
from alignmlm.languages.language import Language, lay_out_scripts, parse_language
from alignmlm.languages.scripts import Alphabet

BASES = ["eng-Latn", "qaa-Latn", "hi-Deva"]
SCRIPT_NAMES = ["", "trans", "ovl0", "ovl25", "ovl100", "vperm"]
ORDER_NAMES = ["", "inv", "perm", "noise3", "syn-fra", "syn-fra-N", "syn-hin-V", "syn-fra-N-hin-V"]
EVERY = [Language(*parts) for parts in product(BASES, ORDER_NAMES, SCRIPT_NAMES, [0, 20])]
ALPHABET = Alphabet(100, (0, 1, 2, 3, 4))


def scripts_of(*names):
    return lay_out_scripts([parse_language(name) for name in names], ALPHABET, 0)


@pytest.mark.parametrize("language", EVERY, ids=str)
def test_an_id_is_read_as_it_was_written(language):
    assert parse_language(str(language)) == language


def test_every_language_has_an_id_of_its_own():
    assert len(set(map(str, EVERY))) == len(EVERY)


def test_an_id_names_order_then_script():
    assert str(Language("eng-Latn", "inv", "trans")) == "eng-Latn-x-inv-trans"


@pytest.mark.parametrize("language", EVERY, ids=str)
def test_only_a_changed_language_is_derived(language):
    assert language.derived == ("-x-" in str(language))


@pytest.mark.parametrize("name", ["", "eng", "eng_Latn", "ENG-Latn", "eng-latn", "engl-Latn"])
def test_a_bad_base_is_an_error_that_shows_the_form(name):
    with pytest.raises(
        ConfigError, match=r"language = '.*start with language and script.*eng-Latn"
    ):
        parse_language(name)


@pytest.mark.parametrize("change", ["mirror", "Inv", "", "mirror-trans"])
def test_an_unknown_change_is_an_error_that_names_it_and_the_known_ones(change):
    named = change.split("-")[0]
    with pytest.raises(ConfigError, match=rf"change '{named}'.*inv, perm.*trans, ovl<percent>"):
        parse_language(f"eng-Latn-x-{change}")


@pytest.mark.parametrize("changes", ["inv-perm", "trans-ovl25", "trans-inv", "inv-trans-trans"])
def test_too_many_changes_or_another_order_are_an_error(changes):
    with pytest.raises(ConfigError, match="at most one order, then random words"):
        parse_language(f"eng-Latn-x-{changes}")


@pytest.mark.parametrize("change", ["ovl", "ovl101", "trans25"])
def test_a_bad_percentage_is_an_error(change):
    with pytest.raises(ConfigError, match=f"script = '{change}'"):
        parse_language(f"eng-Latn-x-{change}")


@pytest.mark.parametrize(
    "change", ["rep0", "rep00-trans", "rep020", "rep\u0662\u0660", "noise00", "noise03", "ovl025"]
)
def test_a_number_has_one_spelling_and_changes_something(change):
    with pytest.raises(ConfigError, match=re.escape(change.removesuffix("-trans"))):
        parse_language(f"eng-Latn-x-{change}")


def test_a_language_made_by_hand_is_checked_too():
    with pytest.raises(ConfigError, match="language order = 'nope'"):
        Language("eng-Latn", "nope")


def test_each_changed_script_has_a_block_in_the_order_of_the_languages():
    scripts = scripts_of("eng-Latn", "eng-Latn-x-trans", "eng-Latn-x-ovl0")
    assert scripts.vocabulary_size == 300
    assert (scripts.tables[:, 5:] // 100 == np.array([[0], [1], [2]])).all()


def test_languages_of_one_script_share_its_block():
    scripts = scripts_of("eng-Latn", "fra-Latn", "eng-Latn-x-trans", "eng-Latn-x-inv-trans")
    assert scripts.vocabulary_size == 200
    assert (scripts.tables[0] == scripts.tables[1]).all()
    assert (scripts.tables[2] == scripts.tables[3]).all()


def test_the_base_block_is_there_even_if_no_language_uses_it():
    assert scripts_of("eng-Latn-x-trans").vocabulary_size == 200


def test_specials_are_shared_by_all_languages():
    scripts = scripts_of("eng-Latn", "eng-Latn-x-trans", "eng-Latn-x-ovl25")
    assert (scripts.tables[:, :5] == np.arange(5)).all()
