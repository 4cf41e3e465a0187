from dataclasses import replace

import numpy as np
import pytest

from alignmlm.corpus.sample_world import plain_text, sample_documents
from alignmlm.data.reference import Rendering
from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import ConfigError, DataError
from alignmlm.languages.language import parse_language
from alignmlm.languages.sentences import Sentences
from alignmlm.probes.encoder import whole
from alignmlm.probes.parallel import (
    ParallelRows,
    base_sentences,
    read_parallel_lines,
    rendered,
    sentence_rows,
    word_rows,
)


@pytest.fixture(scope="module")
def texts(export):
    tokenizer = load_tokenizer(export.path)
    lines = [plain_text(s) for document in sample_documents(60) for s in document]
    return base_sentences(tokenizer, lines, export.vocabulary.unk)


@pytest.mark.parametrize("name", ["qaa-Latn-x-inv-trans", "qaa-Latn-x-perm", "qaa-Latn-x-rep50"])
def test_a_sentence_is_rendered_as_the_reference_of_training_does(name, texts, readings):
    reading = replace(readings[1], language=parse_language(name), seed=7)
    reference = Rendering(1, reading.language, reading.table, 7)
    for text in texts:
        assert np.array_equal(
            rendered(text, reading).ids, reference.render(text, reading.vocabulary)
        )


def test_a_sentences_span_leaves_out_what_all_sentences_share(texts, readings):
    rows = sentence_rows(texts, readings[0])
    vocabulary = readings[0].vocabulary
    for text, row in zip(texts, rows, strict=True):
        ((start, stop),) = row.spans
        assert row.ids[:start] == (vocabulary.bos,) and row.ids[stop:] == (vocabulary.eos,)
        assert row.ids[start:stop] == tuple(text.ids[:22].tolist())


def test_words_of_a_derived_language_match_those_they_were_made_of(texts, readings):
    rows = word_rows(texts, *readings)
    assert sum(len(row.spans) for row in rows.source) > 100
    for one, two in zip(rows.source, rows.target, strict=True):
        for (start, stop), (first, last) in zip(one.spans, two.spans, strict=True):
            made = tuple(readings[1].table[list(one.ids[start:stop])].tolist())
            assert made == two.ids[first:last]


def test_words_that_do_not_fit_are_left_out_of_both_sides(texts, readings):
    short = [replace(reading, longest_tokens=15) for reading in readings]
    rows = word_rows(texts, *short)
    for row in (*rows.source, *rows.target):
        assert len(row.ids) <= 15
        assert all(1 <= start < stop <= len(row.ids) - 1 for start, stop in row.spans)


def test_replaced_words_are_left_out(texts, readings):
    replaced = replace(readings[0], language=parse_language("qaa-Latn-x-rep50"))
    rows = word_rows(texts, readings[0], replaced, repeated=True)
    for one, two in zip(rows.source, rows.target, strict=True):
        assert [one.ids[a:b] for a, b in one.spans] == [two.ids[a:b] for a, b in two.spans]
    every = word_rows(texts, readings[0], readings[0], repeated=True)
    kept, all_words = (sum(len(r.spans) for r in rows.source) for rows in (rows, every))
    assert 0.3 * all_words < kept < 0.8 * all_words


def test_languages_without_a_word_in_common_have_no_rows(texts, readings):
    replaced = replace(readings[0], language=parse_language("qaa-Latn-x-rep100"))
    text = texts[0]
    words = Sentences(text.ids[:-1], text.word_starts[:-1], text.sentence_starts[:-1])
    assert word_rows([words], readings[0], replaced) is None  # a final mark is not replaced


def test_a_word_is_asked_once_unless_repeats_are_wanted(texts, readings):
    once, every = (word_rows(texts, *readings, repeated=repeated) for repeated in (False, True))
    first = [row.ids[a:b] for row in once.source for a, b in row.spans]
    spoken = [row.ids[a:b] for row in every.source for a, b in row.spans]
    assert len(first) == len(set(first)) < len(spoken)
    assert set(first) == set(spoken)


def test_a_limit_keeps_the_first_words(texts, readings):
    every, some = word_rows(texts, *readings), word_rows(texts, *readings, limit_words=20)
    spans = [span for row in some.source for span in row.spans]
    assert len(spans) == 20
    assert spans == [span for row in every.source for span in row.spans][:20]


def test_a_syntax_order_needs_parses_that_are_not_here(readings):
    with pytest.raises(ConfigError, match="no syntax order"):
        replace(readings[0], language=parse_language("eng-Latn-x-syn-fra"))


def test_sides_with_different_numbers_of_spans_are_refused():
    with pytest.raises(ConfigError, match="same number"):
        ParallelRows((whole((5,)), whole((6,))), (whole((7,)),))


def test_a_text_without_tokens_is_unknown(export):
    (text,) = base_sentences(load_tokenizer(export.path), [" "], export.vocabulary.unk)
    assert text.ids.tolist() == [export.vocabulary.unk]


def test_tatoeba_is_a_thousand_pairs(tatoeba):
    one, two = read_parallel_lines(*tatoeba)
    assert len(one) == len(two) == 1000


@pytest.mark.parametrize(
    ("text", "told"),
    [(b"a\n\nb\n", ":2: the line is empty"), (b"\xff\n", "UTF-8"), (b"a\n", "damaged.txt has 1")],
)
def test_a_damaged_file_is_named(tmp_path, text, told):
    whole_file, damaged = tmp_path / "whole.txt", tmp_path / "damaged.txt"
    whole_file.write_bytes(b"a\nb\n")
    damaged.write_bytes(text)
    with pytest.raises(DataError, match=told) as error:
        read_parallel_lines(whole_file, damaged)
    assert "damaged.txt" in str(error.value)
