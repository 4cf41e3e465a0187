"""Corpora of every form; damaged or strange ones are errors that name the file."""

import bz2
import gzip
import json
import lzma
import os
import random

import numpy as np
import pytest
import zstandard as zstd

from alignmlm.corpus.hub import hub_name
from alignmlm.corpus.readers import documents
from alignmlm.corpus.sources import SourceConfig, corpus_files
from alignmlm.corpus.token_parts import SENTENCE, make_encoder, make_tokens
from alignmlm.data.tokenizer import encode, train_tokenizer
from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.examples.words import tokens_of_words
from tests.toys import read_sentences

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
    with pytest.raises(DataError, match=rf"{name}:1: byte 0xe9 at column 14 is not UTF-8"):
        read(tmp_path, name, '{"text": "café"}\n'.encode("latin-1"))


def test_a_line_that_is_not_json_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(DataError, match=r"a\.jsonl"):
        read(tmp_path, "a.jsonl", b'{"text": "a b"}\n{"text": \n')


def test_a_parquet_file_of_something_else_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.parquet"):
        read(tmp_path, "a.parquet", b"not parquet")


def test_a_parquet_file_that_was_cut_to_nothing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet: .* 0 bytes"):
        read(tmp_path, "a.parquet", b"")


@pytest.mark.parametrize("count", ["²", "9" * 5000, "0", "-1", ""])
def test_a_sample_world_without_a_number_of_sentences_is_named(count):
    source = SourceConfig(language="qaa-Latn", files=[f"sample:{count}"])
    with pytest.raises(ConfigError, match=r"data\.sources\.files = .*look like 'sample:40000'"):
        list(documents(source))


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.conllu"])
def test_an_empty_file_has_no_documents(tmp_path, name):
    assert read(tmp_path, name, b"") == []


def test_a_sentence_without_tokens_moves_no_sentence_into_another_document():
    tokenizer = train_tokenizer(["the dog runs. the cat sleeps."], 261)
    documents = [["the dog"], [""], ["the cat", "", "runs"]]
    made = make_tokens(make_encoder(tokenizer, 0.5), documents, np.array([False, True, False]))
    ends = np.cumsum(made.documents["tokens"])[:-1]
    shown = [tokenizer.decode(ids.tolist()) for ids in np.split(made.ids, ends)]
    assert shown == [" the dog", " the cat runs"]
    assert not made.documents["validation"].any()
    sentences = np.flatnonzero(made.flags & SENTENCE)
    assert len(sentences) == 3 + 2  # and </s> after each document


LINES = "The cat sat.\nIt slept.\n\nWas it red?\n"
PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("form", ["txt", "jsonl"])
def test_compressed_files_give_what_they_hold(tmp_path, ending, form):
    rows = "".join(json.dumps({"text": text}) + "\n" for text in LINES.split("\n\n"))
    text = LINES if form == "txt" else rows
    expected = read(tmp_path, f"plain.{form}", text.encode())
    assert [s.text for s in expected[0]] == ["The cat sat.", "It slept."]
    assert read(tmp_path, f"a.{form}{ending}", PACKERS[ending](text.encode())) == expected


@pytest.mark.parametrize("ending", PACKERS)
def test_a_compressed_file_that_is_cut_is_named(tmp_path, ending):
    packed = PACKERS[ending](TEXT)
    with pytest.raises(DataError, match=rf"a\.txt{ending} is not a complete"):
        read(tmp_path, f"a.txt{ending}", packed[: len(packed) - 9])


@pytest.mark.parametrize("ending", PACKERS)
def test_a_compressed_file_of_something_else_is_named(tmp_path, ending):
    with pytest.raises(DataError, match=rf"a\.txt{ending} is not a complete"):
        read(tmp_path, f"a.txt{ending}", b"not compressed")


def test_a_zstd_file_of_several_frames_is_read_to_its_end(tmp_path):
    packed = b"".join(zstd.compress(line.encode()) for line in LINES.splitlines(keepends=True))
    assert read(tmp_path, "a.txt.zst", packed) == read(tmp_path, "b.txt", LINES.encode())


def test_a_json_array_gives_a_document_an_object(tmp_path):
    rows = json.dumps([{"text": "One."}, {"text": "Two."}], indent=1)
    assert [d[0].text for d in read(tmp_path, "a.json", rows.encode())] == ["One.", "Two."]


def test_a_row_without_text_is_named_by_its_line(tmp_path):
    with pytest.raises(DataError, match=r"a\.jsonl:3: no column 'text'; there are \['x'\]"):
        read(tmp_path, "a.jsonl", b'{"text": "a"}\n\n{"x": 1}\n')


def test_a_document_without_an_end_is_an_error_that_says_what_ends_one(tmp_path, monkeypatch):
    monkeypatch.setattr("alignmlm.corpus.readers.MOST_CHARACTERS", 100)
    with pytest.raises(DataError, match=r"a\.txt:11: a document of more than 100 characters"):
        read(tmp_path, "a.txt", b"ten bytes\n" * 20)


def test_max_documents_are_the_first_ones_of_all_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"{name} one.\n\n{name} two.\n\n{name} three.\n")
    files = [str(tmp_path / "*.txt")]
    source = SourceConfig(language="eng-Latn", files=files, max_documents=4)
    found = [document[0].text for document in documents(source)]
    assert found == ["a one.", "a two.", "a three.", "b one."]


def hub_folder(tmp_path, shards=3, rows=20):
    folder = tmp_path / "org" / "corpus"
    folder.mkdir(parents=True)
    for shard in range(shards):
        lines = (json.dumps({"body": f"Row {shard * rows + i}."}) for i in range(rows))
        (folder / f"train-{shard:05d}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_hub_dataset_is_read_row_by_row_from_all_its_files(tmp_path):
    source = SourceConfig(
        language="eng-Latn", files=[f"hub:{hub_folder(tmp_path)}"], text_field="body"
    )
    assert len(list(corpus_files(source))) == 3
    assert [d[0].text for d in documents(source)] == [f"Row {i}." for i in range(60)]


def test_a_folder_as_a_hub_dataset_has_another_fingerprint_once_a_file_was_written(tmp_path):
    folder = hub_folder(tmp_path)
    source = SourceConfig(language="eng-Latn", files=[f"hub:{folder}"], text_field="body")
    before = list(corpus_files(source))
    assert list(corpus_files(source)) == before
    os.utime(folder / "train-00001.jsonl", ns=(1, 1))
    assert not set(before).intersection(corpus_files(source))


def test_a_hub_dataset_takes_its_config_and_split_from_its_name_or_the_settings():
    source = SourceConfig(language="eng-Latn", files=["hub:x/y"], config="en", split="test")
    assert hub_name("hub:x/y", source) == ("x/y", "en", "test")
    assert hub_name("hub:x/y:fr:dev", source) == ("x/y", "fr", "dev")


def test_a_hub_dataset_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"hub dataset hub:\S+ cannot be read"):
        list(documents(SourceConfig(language="eng-Latn", files=[f"hub:{tmp_path}/none"])))


def test_a_hub_dataset_without_the_field_says_which_it_has(tmp_path):
    source = SourceConfig(language="eng-Latn", files=[f"hub:{hub_folder(tmp_path)}"])
    with pytest.raises(DataError, match=r"row 0: no column 'text'; there are \['body'\]"):
        list(documents(source))


CONLLU = """# newdoc
1-2\tdon't\t_\t_
1\tdo\tVERB\t_
2\tn't\tPART\t_
3\tgo\tVERB\tSpaceAfter=No
3.1\tgone\tVERB\t_
4\t.\tPUNCT\t_

1-2\tim\t_\tSpaceAfter=No
1\tin\tADP\t_
2\tdem\tDET\t_
3\t,\tPUNCT\t_
4\tja\tINTJ\t_
"""


def conllu(text):
    lines = (line.split("\t") for line in text.splitlines())
    full = ("\t".join([*c[:2], "_", c[2], *["_"] * 5, c[3]]) if c[1:] else c[0] for c in lines)
    return ("\n".join(full) + "\n\n").encode()


def test_a_treebank_has_spaces_where_its_text_has_them(tmp_path):
    [[first, second]] = read(tmp_path, "a.conllu", conllu(CONLLU))
    assert (first.text, first.word_starts) == ("don't go.", (0, 2, 6, 8))
    assert (second.text, second.word_starts) == ("in dem, ja", (0, 3, 6, 8))


def test_a_treebank_has_the_tokens_that_evaluation_gives_it(shared_data):
    file = next((shared_data / "ud").rglob("*ewt*dev*.conllu*"))
    found = list(documents(SourceConfig(language="eng-Latn", files=[str(file)])))
    sentences = [sentence for document in found for sentence in document][:300]
    tokenizer = train_tokenizer([s.text for s in sentences] * 2, 1000)
    labelled = read_sentences(file)[:300]
    expected = tokens_of_words(tokenizer, labelled, unk=3)
    for words, (ids, starts) in zip(expected, encode(tokenizer, sentences), strict=True):
        parts = np.split(ids, np.flatnonzero(starts)[1:])
        assert [tuple(part.tolist()) for part in parts] == words


def test_a_file_that_several_patterns_match_is_read_once_in_its_first_place(tmp_path, caplog):
    (tmp_path / "b").mkdir()
    for name in ("a.txt", "c.txt", "b/b.txt"):
        (tmp_path / name).write_text(f"{name[-5]} one.\n")
    (tmp_path / "d.txt").symlink_to(tmp_path / "a.txt")
    files = [f"{tmp_path}/{name}" for name in ("c.txt", "*.txt", "**/*.txt", "./c.txt")]
    with caplog.at_level("INFO"):
        found = list(documents(SourceConfig(language="eng-Latn", files=files)))
    assert [document[0].text for document in found] == ["c one.", "a one.", "b one."]
    assert (
        "eng-Latn: 2 files are listed more than once in data.sources.files; each is read once"
        in (caplog.text)
    )


def test_what_is_named_twice_and_is_no_file_is_read_once():
    source = SourceConfig(language="eng-Latn", files=["sample:40", "sample:40", "sample:50"])
    assert [file.name for file in corpus_files(source)] == ["sample:40", "sample:50"]


def test_a_name_that_is_not_utf_8_is_refused_before_it_is_recorded(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("One.\n")
    source = SourceConfig(language="eng-Latn", files=[f"{tmp_path}/*.txt"])
    with pytest.raises(DataError, match=r"caf\\udce9\.txt': its name is not UTF-8; rename it"):
        list(corpus_files(source))


def test_a_json_array_may_lie_on_one_line_of_any_length(tmp_path, monkeypatch):
    monkeypatch.setattr("alignmlm.storage.text.MOST_CHARACTERS", 20)
    rows = json.dumps([{"text": f"Number {number}."} for number in range(9)])
    assert len(read(tmp_path, "a.json", f"\n {rows}".encode())) == 9


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_another_encoding_is_known_by_its_zeros_without_a_mark(tmp_path, encoding):
    with pytest.raises(DataError, match=r"a\.txt begins with zeros, as UTF-16 and UTF-32 do"):
        read(tmp_path, "a.txt", "One.\n".encode(encoding))
