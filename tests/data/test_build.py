"""Text to a store: whole, exact, and nothing left behind when it fails."""

import gzip
import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from alignmlm.data.build import DataConfig, build_store
from alignmlm.data.inspect import damages, statistics
from alignmlm.data.sources import SourceConfig, documents
from alignmlm.data.store import TRAIN, VALIDATION, Store
from alignmlm.data.tokenizer import encode, load_tokenizer
from alignmlm.errors import ConfigError, DataError

TEXT = "\n\n".join(
    f"The {colour} cat sat on mat {number}. It didn't move!\nWas it {colour}?"
    for number, colour in enumerate(["red", "green", "blue", "grey", "black"] * 12)
)


def source(file: Path, **settings) -> SourceConfig:
    return SourceConfig(language="eng-Latn", files=[str(file)], **settings)


def config(folder: Path, *sources: SourceConfig, **settings) -> DataConfig:
    defaults = {"vocabulary_size": 290, "validation": 0.2}
    return DataConfig(store=str(folder / "store"), sources=list(sources), **(defaults | settings))


def write(path: Path, text: str = TEXT) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def as_txt(folder: Path) -> Path:
    return write(folder / "a.txt")


def as_gz(folder: Path) -> Path:
    path = folder / "a.txt.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))
    return path


def as_jsonl(folder: Path) -> Path:
    return write(folder / "a.jsonl", "\n".join(json.dumps({"text": t}) for t in TEXT.split("\n\n")))


def as_parquet(folder: Path) -> Path:
    pa.parquet.write_table(pa.table({"text": TEXT.split("\n\n")}), folder / "a.parquet")
    return folder / "a.parquet"


@pytest.mark.parametrize("form", [as_txt, as_gz, as_jsonl, as_parquet])
def test_every_form_of_a_corpus_gives_the_same_sentences(form, tmp_path):
    expected = list(documents(source(write(tmp_path / "reference.txt"))))
    found = list(documents(source(form(tmp_path))))
    assert found == expected
    assert [s.text for s in found[0]][:2] == ["The red cat sat on mat 0.", "It didn't move!"]


def test_a_treebank_keeps_its_words(tmp_path):
    lines = ["# newdoc", "1\tDon", "2\t't", "3\tgo", "4\t.", "", "1-2\tim", "1\tin", "2\tdem", ""]
    padded = [line + "\t_" * 8 if "\t" in line else line for line in lines]
    [document] = documents(source(write(tmp_path / "a.conllu", "\n".join(padded) + "\n")))
    assert [s.text for s in document] == ["Don 't go .", "in dem"]
    assert document[0].word_starts == (0, 4, 7, 10)


def test_with_documents_line_each_line_is_a_document(tmp_path):
    found = list(documents(source(write(tmp_path / "a.txt", "One.\nTwo.\n"), documents="line")))
    assert [d[0].text for d in found] == ["One.", "Two."]


def test_every_token_is_in_the_store_once_and_in_order(tmp_path):
    settings = config(tmp_path, source(as_txt(tmp_path)))
    store = Store(build_store(settings))
    tokenizer, stored = load_tokenizer(store.path), []
    for split in (TRAIN, VALIDATION):
        for shard in store.split("eng-Latn", split).shards:
            tokens = shard.tokens(0, shard.entry.tokens)
            ends = shard.index["documents"].astype(int)
            stored += [part.tolist() for part in np.split(tokens, ends[:-1])]
    expected = [
        [*(int(t) for ids, _ in encode(tokenizer, document) for t in ids), store.vocabulary.eos]
        for document in documents(settings.sources[0])
    ]
    assert sorted(stored) == sorted(expected)


def test_word_bits_say_where_the_words_of_a_sentence_start(tmp_path):
    store = Store(build_store(config(tmp_path, source(as_txt(tmp_path)))))
    shard = store.split("eng-Latn", TRAIN).shards[0]
    text, begin = shard.sentences(0, 1)
    words = np.split(text.ids, np.flatnonzero(text.word_starts)[1:])
    tokenizer = load_tokenizer(store.path)
    shown = [tokenizer.decode(word.tolist()).strip() for word in words]
    assert begin == 0
    assert shown[:2] + shown[-4:] == ["The", shown[1], "on", "mat", shown[-2], "."]


def test_two_builds_are_the_same_to_the_last_byte(tmp_path):
    stores = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        stores.append(build_store(config(tmp_path / name, source(write(tmp_path / "x.txt")))))
    files = [sorted(p.relative_to(s) for p in s.rglob("*") if p.is_file()) for s in stores]
    assert files[0] == files[1]
    assert all((stores[0] / f).read_bytes() == (stores[1] / f).read_bytes() for f in files[0])


def test_small_shards_hold_the_same_rows_of_text(tmp_path):
    long = write(tmp_path / "long.txt", "\n\n".join(f"{TEXT} {i}" for i in range(40)))
    settings = config(
        tmp_path, source(long), shard_tokens=2**16, vocabulary_size=261, validation=0.5
    )
    store = Store(build_store(settings))
    assert len(store.split("eng-Latn", TRAIN).shards) > 1
    assert not damages(store)


def test_statistics_count_what_is_there(tmp_path):
    rows = statistics(Store(build_store(config(tmp_path, source(as_txt(tmp_path))))))
    assert sum(row.documents for row in rows) == 60
    assert {row.split for row in rows} == {TRAIN, VALIDATION}
    assert all(row.tokens >= row.words > row.sentences for row in rows)


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


CUT = gzip.compress(TEXT.encode())[:99]
BAD = {
    "missing": (lambda f: f / "none.txt", r"none\.txt.*does not exist"),
    "empty": (lambda f: write(f / "a.txt", " \n\n "), "has no text|be at most"),
    "latin-1": (lambda f: write_bytes(f / "a.txt", b"caf\xe9"), "not a UTF-8"),
    "cut gzip": (lambda f: write_bytes(f / "a.txt.gz", CUT), "not a whole gzip file"),
    "unknown form": (lambda f: write(f / "a.pdf"), "the name must end in"),
    "no field": (lambda f: write(f / "a.jsonl", '{"body": "x"}\n'), "no text in 'text'"),
    "short conllu": (lambda f: write(f / "a.conllu", "1\tword\n\n"), "10 columns"),
    "one document": (
        lambda f: write(f / "a.txt", TEXT.replace("\n\n", "\n")),
        "no (train|validation) document",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_corpus_that_cannot_be_used_is_named_and_leaves_nothing_behind(name, tmp_path):
    make, message = BAD[name]
    settings = config(tmp_path, source(make(tmp_path)), vocabulary_size=261)
    before = sorted(tmp_path.iterdir())
    with pytest.raises((DataError, ConfigError), match=message):
        build_store(settings)
    assert sorted(tmp_path.iterdir()) == before


def test_a_vocabulary_larger_than_the_data_supports_says_the_largest(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.vocabulary_size = 9999.*be at most \d{3}"):
        build_store(config(tmp_path, source(as_txt(tmp_path)), vocabulary_size=9999))
    assert not list(tmp_path.glob("store*"))


def test_a_folder_in_use_is_refused_and_kept(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").write_text("precious")
    with pytest.raises(DataError, match="in use"):
        build_store(config(tmp_path, source(as_txt(tmp_path))))
    assert (tmp_path / "store" / "thesis.tex").is_file()


def test_a_tokenizer_can_be_loaded_instead_of_trained(tmp_path):
    text = as_txt(tmp_path)
    first = build_store(config(tmp_path, source(text)))
    (tmp_path / "b").mkdir()
    second = build_store(config(tmp_path / "b", source(text), tokenizer=str(first)))
    assert Store(first).manifest.tokenizer_xxh3 == Store(second).manifest.tokenizer_xxh3


def test_a_full_disk_is_an_error_that_leaves_nothing_behind(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12k", "none", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("NOT RUN: a full disk can only be made by root")
    try:
        with pytest.raises(DataError, match="no space left on the disk"):
            build_store(config(disk, source(as_txt(tmp_path))))
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)
