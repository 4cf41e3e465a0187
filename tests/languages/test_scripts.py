import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.errors import ConfigError
from alignmlm.languages.scripts import Alphabet, script_table, split_name

SPECIAL = (0, 1, 2, 3, 4)
ALPHABET = Alphabet(405, SPECIAL)
SIZE = ALPHABET.size

bounded = settings(deadline=None, max_examples=50)
names = st.one_of(st.just("trans"), st.integers(0, 100).map("ovl{}".format))


def kept(name, seed=0):
    """The ordinary ids that a script shares with the base."""
    table = script_table(name, 1, ALPHABET, seed)
    return set(ALPHABET.ordinary()[table[ALPHABET.ordinary()] < SIZE].tolist())


@bounded
@given(names, st.integers(1, 4), st.integers(0, 9))
def test_specials_are_the_same_in_every_script(name, block, seed):
    assert script_table(name, block, ALPHABET, seed)[list(SPECIAL)].tolist() == [*SPECIAL]


@bounded
@given(names, st.integers(1, 4), st.integers(0, 9))
def test_every_token_stays_or_moves_by_whole_blocks(name, block, seed):
    shift = script_table(name, block, ALPHABET, seed) - np.arange(SIZE)
    assert set(shift.tolist()) <= {0, block * SIZE}


@bounded
@given(names, st.integers(1, 4), st.integers(0, 9))
def test_no_two_tokens_share_an_id(name, block, seed):
    assert len(np.unique(script_table(name, block, ALPHABET, seed))) == SIZE


def test_transliteration_shifts_every_ordinary_token_by_the_vocabulary():
    table = script_table("trans", 1, ALPHABET, 0)
    assert (table[5:] == np.arange(5, SIZE) + SIZE).all()


def test_the_base_script_changes_nothing():
    assert (script_table("", 0, ALPHABET, 0) == np.arange(SIZE)).all()


@pytest.mark.parametrize("percent", [0, 25, 50, 99, 100])
def test_overlap_keeps_exactly_its_percentage(percent):
    assert len(kept(f"ovl{percent}")) == 4 * percent  # of 400 ordinary tokens


def test_a_larger_overlap_contains_a_smaller_one():
    assert kept("ovl25") < kept("ovl50") < kept("ovl75")


def test_the_overlap_depends_on_the_seed():
    assert kept("ovl25", seed=0) != kept("ovl25", seed=1)


def test_the_overlap_is_not_the_first_tokens():
    assert kept("ovl25") != set(range(5, 105))


def test_specials_in_the_middle_of_the_vocabulary_stay():
    table = script_table("trans", 2, Alphabet(10, (3, 9)), 0)
    assert table.tolist() == [20, 21, 22, 3, 24, 25, 26, 27, 28, 9]


@pytest.mark.parametrize("name,parts", [("trans", ("trans", 0)), ("ovl25", ("ovl", 0.25))])
def test_a_name_is_a_kind_and_a_share(name, parts):
    assert split_name(name) == parts


@pytest.mark.parametrize("name", ["ovl", "ovl101", "trans5", "ovl1000", "cyrillic", "25", ""])
def test_a_bad_name_is_an_error_that_shows_it(name):
    with pytest.raises(ConfigError, match=f"script = '{name}'"):
        split_name(name)


@pytest.mark.parametrize("name", ["Trans", "ovl-25", "ovl 25", "ovl2.5", "25ovl"])
def test_a_name_of_another_form_is_the_same_error(name):
    with pytest.raises(ConfigError, match=f"script = '{name}'"):
        split_name(name)


def test_a_percentage_of_many_digits_is_an_error():
    with pytest.raises(ConfigError, match="script = 'ovl999"):
        split_name("ovl" + "9" * 5000)


def test_a_misspelt_name_gets_a_hint():
    with pytest.raises(ConfigError, match="did you mean 'trans'"):
        split_name("tranz")
