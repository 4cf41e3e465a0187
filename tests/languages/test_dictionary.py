import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.errors import ConfigError, DataError
from alignmlm.languages.dictionary import (
    derived_pairs,
    file_pairs,
    file_words,
    from_pairs,
    leaking,
    split,
    split_pairs,
)
from alignmlm.languages.settings import DictionaryConfig

bounded = settings(deadline=None, max_examples=50)
word = st.lists(st.integers(0, 30), min_size=1, max_size=3).map(tuple)
pairs = st.lists(st.tuples(word, word), max_size=40)
MANY = from_pairs(((n,), (1000 + n + k,)) for n in range(200) for k in range(n % 3 + 1))


def sources(dictionary):
    return {source for source, _ in dictionary.words()}


def words_of(dictionary):
    return {word for pair in dictionary.words() for word in pair}


def spelled(words):
    """Words as the code points of their letters."""
    return [tuple(map(ord, word)) for word in words]


def written(tmp_path, text):
    path = tmp_path / "en-xx.txt"
    path.write_text(text, encoding="utf-8")
    return path


def read(tmp_path, text):
    found = file_pairs(written(tmp_path, text), spelled, spelled)
    return [("".join(map(chr, source)), "".join(map(chr, target))) for source, target in found]


@bounded
@given(pairs)
def test_words_are_the_pairs_sorted_once_each_without_equal_ones(raw):
    assert from_pairs(raw).words() == sorted({pair for pair in raw if pair[0] != pair[1]})


@bounded
@given(pairs)
def test_words_go_round(raw):
    dictionary = from_pairs(raw)
    again = from_pairs(dictionary.words())
    assert again.words() == dictionary.words()
    assert len(again) == len(dictionary) == len(dictionary.words())


@bounded
@given(pairs)
def test_single_tokens_are_the_pairs_of_one_token_words(raw):
    dictionary = from_pairs(raw)
    single = [(s[0], t[0]) for s, t in dictionary.words() if len(s) == len(t) == 1]
    assert list(map(tuple, dictionary.single_tokens().tolist())) == single


def test_no_pairs_make_an_empty_dictionary():
    dictionary = from_pairs([])
    assert len(dictionary) == 0
    assert dictionary.words() == []
    assert dictionary.single_tokens().shape == (0, 2)


@pytest.mark.parametrize("pair", [((), (1,)), ((1,), ())])
def test_a_word_without_tokens_is_no_pair(pair):
    assert len(from_pairs([pair])) == 0


def test_derived_pairs_are_the_tokens_whose_id_differs():
    assert derived_pairs(np.array([0, 1, 2]), np.array([0, 11, 12])) == [
        ((1,), (11,)),
        ((2,), (12,)),
    ]


@bounded
@given(pairs, st.floats(0, 1), st.integers(0, 99))
def test_the_three_parts_together_are_the_dictionary(raw, fraction, seed):
    whole = from_pairs(raw)
    parts = split_pairs(whole, fraction, seed)
    assert sorted(pair for part in parts for pair in part.words()) == whole.words()


@bounded
@given(pairs, st.floats(0, 1), st.integers(0, 99))
def test_no_word_of_either_side_is_both_used_and_held_out(raw, fraction, seed):
    used, held_out = split(from_pairs(raw), fraction, seed)
    assert not words_of(used) & words_of(held_out)
    assert not any(leaking(held_out, used))


@bounded
@given(pairs, st.floats(0, 1), st.integers(0, 99))
def test_every_dropped_pair_has_a_used_word_and_no_used_source_word(raw, fraction, seed):
    used, _, dropped = split_pairs(from_pairs(raw), fraction, seed)
    assert all(leaking(dropped, used))
    assert not sources(dropped) & sources(used)


@bounded
@given(pairs, st.floats(0, 1), st.integers(0, 99))
def test_split_is_the_first_two_of_the_three_parts(raw, fraction, seed):
    whole = from_pairs(raw)
    halves, parts = split(whole, fraction, seed), split_pairs(whole, fraction, seed)
    assert [half.words() for half in halves] == [part.words() for part in parts[:2]]


def test_a_pair_with_a_used_target_word_is_dropped():
    whole = from_pairs([((1,), (9,)), ((2,), (9,))])
    used, held_out, dropped = split_pairs(whole, 0.5, 0)
    assert (len(used), len(held_out), len(dropped)) == (1, 0, 1)


def test_a_pair_whose_target_word_is_a_used_source_word_is_dropped():
    whole = from_pairs([((1,), (2,)), ((2,), (3,))])
    used, held_out, dropped = split_pairs(whole, 0.5, 0)
    assert (len(used), len(held_out), len(dropped)) == (1, 0, 1)


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 1.0])
def test_one_partner_a_word_and_ids_of_its_own_drop_no_pair(fraction):
    whole = from_pairs(((n,), (1000 + n,)) for n in range(200))
    used, held_out, dropped = split_pairs(whole, fraction, 0)
    assert len(used) == round(200 * fraction)
    assert len(held_out) == 200 - len(used)
    assert len(dropped) == 0


@bounded
@given(pairs, st.floats(0, 1), st.integers(0, 99))
def test_no_source_word_is_in_both_halves(raw, fraction, seed):
    used, held_out = split(from_pairs(raw), fraction, seed)
    assert not sources(used) & sources(held_out)


@bounded
@given(pairs, st.floats(0, 1), st.integers(0, 99))
def test_the_share_of_source_words_is_exact(raw, fraction, seed):
    whole = from_pairs(raw)
    assert len(sources(split(whole, fraction, seed)[0])) == round(fraction * len(sources(whole)))


@bounded
@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_a_larger_fraction_contains_a_smaller_one(one, other, seed):
    small = split(MANY, min(one, other), seed)[0]
    assert sources(small) <= sources(split(MANY, max(one, other), seed)[0])


@bounded
@given(pairs, st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_a_larger_fraction_uses_more_pairs_and_holds_out_fewer(raw, one, other, seed):
    whole = from_pairs(raw)
    small, large = (split(whole, fraction, seed) for fraction in sorted((one, other)))
    assert set(small[0].words()) <= set(large[0].words())
    assert set(small[1].words()) >= set(large[1].words())


def test_the_split_depends_on_its_seed():
    assert sources(split(MANY, 0.5, 0)[0]) != sources(split(MANY, 0.5, 1)[0])


def test_a_pair_more_moves_no_other_word_of_a_whole_dictionary():
    more = from_pairs([*MANY.words(), ((5000,), (6000,))])
    assert len(sources(split(more, 0.5, 0)[0]) ^ sources(split(MANY, 0.5, 0)[0])) <= 2


def test_the_split_never_changes():
    assert sorted(source for (source,) in sources(split(MANY, 0.03, 0)[0])) == GOLDEN_SPLIT


def test_words_that_share_tokens_are_split_apart():
    words = [((1, 2), (7,)), ((2, 1), (7,)), ((1, 1, 1), (7,)), ((3,), (7,))]
    shares = {len(sources(split(from_pairs(words), 0.25, seed)[0])) for seed in range(20)}
    assert shares == {1}


def test_the_dictionary_of_a_run_does_not_depend_on_the_seed_of_the_model(small_recipe):
    from alignmlm.pretraining.assembly import assemble

    seeds = [("--model.seed=0", "--train.seed=0"), ("--model.seed=5", "--train.seed=6")]
    one, other = (assemble(small_recipe(*overrides)).used.words() for overrides in seeds)
    assert one == other


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_fraction_outside_0_to_1_is_an_error(fraction):
    with pytest.raises(ConfigError, match=r"dictionary\.fraction"):
        DictionaryConfig(fraction=fraction)


def test_a_space_separates_two_words(tmp_path):
    assert read(tmp_path, "cat chat\ndog chien\n") == [("cat", "chat"), ("dog", "chien")]


def test_a_tab_separates_words_that_hold_spaces(tmp_path):
    assert read(tmp_path, "ice cream\tcrème glacée\n") == [("ice cream", "crème glacée")]


def test_spaces_and_tabs_may_alternate_between_lines(tmp_path):
    assert read(tmp_path, "a b\nc\td\n") == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize("line", ["cat", "a b c", "", "x\t", "\ty", "a\tb\tc"])
def test_a_malformed_line_is_an_error_that_names_file_and_line(tmp_path, line):
    with pytest.raises(DataError, match=r"en-xx\.txt:2: expected 'source target'"):
        read(tmp_path, f"cat chat\n{line}\ndog chien\n")


def test_an_empty_file_has_no_pairs(tmp_path):
    assert read(tmp_path, "") == []


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.txt"):
        file_pairs(tmp_path / "nothing.txt", spelled, spelled)


def test_a_file_that_is_not_utf_8_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("été summer\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.txt"):
        file_pairs(path, spelled, spelled)


def test_an_unusual_line_separator_inside_a_line_ends_no_line(tmp_path):
    with pytest.raises(DataError, match=r"en-xx\.txt:2"):
        read(tmp_path, "cat\u2028 chat\nbad\n")


def test_line_ends_of_other_systems_and_a_byte_order_mark_are_no_part_of_a_word(tmp_path):
    assert read(tmp_path, "\ufeffcat chat\r\ndog\tchien\r\n") == [("cat", "chat"), ("dog", "chien")]


def test_a_compressed_file_reads_like_a_plain_one(tmp_path):
    path = tmp_path / "en-xx.txt.gz"
    path.write_bytes(gzip.compress(b"cat chat\ndog chien\n"))
    assert file_words(path) == [("cat", "chat"), ("dog", "chien")]


@pytest.mark.parametrize("damaged", [b"no gzip", gzip.compress(b"cat chat\n" * 99, mtime=0)[:-12]])
def test_a_damaged_compressed_file_is_an_error_that_names_it(tmp_path, damaged):
    path = tmp_path / "en-xx.txt.gz"
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"en-xx\.txt\.gz"):
        file_words(path)


@pytest.mark.parametrize("name", ["eng-xxx.tsv", "eng-xxx.tsv.gz"])
def test_only_a_tab_separates_the_words_of_a_tsv_file(tmp_path, name):
    path, text = tmp_path / name, "ice cream\tcrème glacée\nice cream\n"
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    with pytest.raises(DataError, match=rf"{name}:2: .* separated by a tab"):
        file_words(path)


def test_real_dictionaries_are_read_whole(shared_data):
    folders = [shared_data / "muse", shared_data / "freedict"]
    files = [path for folder in folders for path in folder.glob("*-*.t*")]
    assert {path.suffix for path in files} == {".txt", ".gz", ".tsv"}
    for path in files:
        content = path.read_bytes()
        text = gzip.decompress(content) if path.suffix == ".gz" else content
        assert len(file_words(path)) == text.count(b"\n")


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.9])
def test_a_real_dictionary_holds_out_most_of_what_it_does_not_use(shared_data, fraction):
    path = shared_data / "muse" / "en-fr.0-5000.txt"
    used, held_out, dropped = split_pairs(
        from_pairs(file_pairs(path, spelled, spelled)), fraction, 0
    )
    assert not words_of(used) & words_of(held_out)
    assert len(held_out) > len(dropped) > 0


GOLDEN_SPLIT = [42, 90, 101, 125, 127, 148]
