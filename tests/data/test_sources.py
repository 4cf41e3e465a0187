"""Corpus files that are damaged or strange: each is an error that names the file."""

import gzip
import random

import pytest

from alignmlm.data.build import encode_documents
from alignmlm.data.sources import SourceConfig, documents
from alignmlm.data.text import from_words, words_of
from alignmlm.data.tokenizer import train_tokenizer
from alignmlm.errors import DataError

TEXT = " ".join(random.Random(0).choices("abcdefghijk", k=20_000)).encode()


def read(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    return list(documents(SourceConfig(language="eng-Latn", files=[str(tmp_path / name)])))


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_in_a_gzip_file_is_named(tmp_path, seed):
    damaged, draw = bytearray(gzip.compress(TEXT)), random.Random(seed)
    damaged[draw.randrange(20, len(damaged) - 8)] ^= 1 << draw.randrange(8)
    with pytest.raises(DataError, match=r"a\.txt\.gz"):
        read(tmp_path, "a.txt.gz", bytes(damaged))


def test_a_cut_gzip_table_is_named(tmp_path):
    whole = gzip.compress(b'{"text": "a b"}\n' * 50)
    with pytest.raises(DataError, match=r"a\.jsonl\.gz"):
        read(tmp_path, "a.jsonl.gz", whole[:40])


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.conllu"])
def test_a_file_that_is_not_utf_8_is_named_whatever_its_form(tmp_path, name):
    with pytest.raises(DataError, match=rf"{name} is not a UTF-8 text"):
        read(tmp_path, name, '{"text": "café"}\n'.encode("latin-1"))


def test_a_line_that_is_not_json_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(DataError, match=r"a\.jsonl"):
        read(tmp_path, "a.jsonl", b'{"text": "a b"}\n{"text": \n')


def test_a_parquet_file_of_something_else_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.parquet"):
        read(tmp_path, "a.parquet", b"not parquet")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.conllu"])
def test_an_empty_file_has_no_documents(tmp_path, name):
    assert read(tmp_path, name, b"") == []


def test_a_sentence_without_tokens_moves_no_sentence_into_another_document():
    tokenizer = train_tokenizer(["the dog runs. the cat sleeps."], 261)
    nothing = from_words(["\u00a0"])  # such as a CoNLL-U form that is a no-break space
    chunk = [[words_of("the dog")], [nothing], [words_of("the cat"), words_of("runs")]]
    encoded = encode_documents(tokenizer, chunk)
    shown = [[tokenizer.decode(ids.tolist()) for ids, _ in document] for document in encoded]
    assert shown == [[" the dog"], [], [" the cat", " runs"]]
