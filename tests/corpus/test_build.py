"""Text to a store: whole, exact, and nothing left behind when it fails."""

import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from alignmlm.corpus.build import DataConfig, build_store, finish
from alignmlm.corpus.duplicates import NO_DUPLICATES
from alignmlm.corpus.mpi import SINGLE
from alignmlm.corpus.parts import Part, write_text
from alignmlm.corpus.readers import RawDocument, documents
from alignmlm.corpus.sources import SourceConfig
from alignmlm.corpus.training_text import sample_steps, training_sentences
from alignmlm.corpus.workspace import Workspace, locked, workspace_of
from alignmlm.data.inspect import damages, statistics
from alignmlm.data.store import TRAIN, VALIDATION, Store
from alignmlm.data.tokenizer import encode, load_tokenizer
from alignmlm.errors import ConfigError, DataError
from tests.limits import HANG_S

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
            ends = np.flatnonzero(tokens == store.vocabulary.eos) + 1
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
    "empty": (lambda f: write(f / "a.txt", " \n\n "), "has no text"),
    "latin-1": (lambda f: write_bytes(f / "a.txt", b"caf\xe9"), "is not UTF-8"),
    "cut gzip": (lambda f: write_bytes(f / "a.txt.gz", CUT), "not a complete gzip file"),
    "unknown form": (lambda f: write(f / "a.pdf"), "the name must end in"),
    "no field": (lambda f: write(f / "a.jsonl", '{"body": "x"}\n'), "no column 'text'"),
    "short conllu": (lambda f: write(f / "a.conllu", "1\tword\n\n"), "10 columns"),
    "one document": (
        lambda f: write(f / "a.txt", TEXT.replace("\n\n", "\n")),
        "no (train|validation) document",
    ),
    "one treebank": (
        lambda f: write(f / "a.conllu", "1\tword\t_\tX\t_\t_\t0\troot\t_\t_\n\n" * 40),
        "no (train|validation) document: .*`# newdoc`",
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


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_full_disk_is_an_error_and_the_same_build_goes_on_when_there_is_space(
    tmp_path, small_disk
):
    disk = small_disk("40k")
    settings = config(disk, source(as_txt(tmp_path)))
    with pytest.raises(DataError, match=r"no space left on the disk.*is kept in"):
        build_store(settings)
    assert [path.name for path in disk.iterdir()] == ["store.building"]
    subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
    found = files_of(build_store(settings))
    assert found == files_of(build_store(replace(settings, store=str(tmp_path / "other"))))
    assert [path.name for path in disk.iterdir()] == ["store"]


def shown_text(folder: Path) -> list[str]:
    store = Store(folder)
    tokenizer = load_tokenizer(folder)
    shards = (s for name in (TRAIN, VALIDATION) for s in store.split("eng-Latn", name).shards)
    tokens = np.concatenate([shard.tokens(0, shard.entry.tokens) for shard in shards])
    ends = np.flatnonzero(tokens == store.vocabulary.eos)
    parts = np.split(tokens, ends + 1)[:-1]
    return [tokenizer.decode(part.tolist()).strip() for part in parts]


def test_of_equal_documents_the_first_is_kept_and_the_others_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("alignmlm.corpus.parts.PART_CHARACTERS", 400)
    monkeypatch.setattr("alignmlm.corpus.duplicates.BUCKET_DOCUMENTS", 8)
    documents = TEXT.split("\n\n")
    first = write(tmp_path / "a.txt", "\n\n".join([*documents, *documents[:7]]))
    second = write(tmp_path / "b.txt", "\n\n".join([documents[3], "A new cat."]))
    sources = SourceConfig(language="eng-Latn", files=[str(first), str(second)])
    plain, once = (
        build_store(config(tmp_path / name, sources, deduplicate=on))
        for name, on in (("plain", False), ("once", True))
    )
    found = shown_text(once)
    assert len(found) == len(set(found)) == len(documents) + 1
    assert len(shown_text(plain)) == len(documents) + 9
    assert Store(once).manifest.provenance["duplicates_dropped"] == {"eng-Latn": 8}


def test_equal_documents_of_two_languages_are_both_kept(tmp_path):
    text = as_txt(tmp_path)
    other = SourceConfig(language="deu-Latn", files=[str(text)])
    store = Store(build_store(config(tmp_path, source(text), other, deduplicate=True)))
    assert sum(row.documents for row in statistics(store)) == 120


def test_the_tokenizer_of_a_large_corpus_is_trained_on_a_sample_that_no_order_changes(tmp_path):
    documents = [f"{TEXT[:600]} number {number}." for number in range(400)]
    tokenizers = []
    for name, listed in (("a", documents), ("b", documents[::-1])):
        text = write(tmp_path / f"{name}.txt", "\n\n".join(listed))
        settings = config(tmp_path / name, source(text), tokenizer_bytes=2**16)
        tokenizers.append((build_store(settings) / "tokenizer.json").read_bytes())
    assert tokenizers[0] == tokenizers[1]


def training_bytes(folder: Path, most: int) -> int:
    (folder / "text").mkdir(parents=True)
    place, piece = Workspace(folder), Part(0, 0, 0)
    raws = (RawDocument(9, 1.0, lambda n=n: [f"Document {n} has some text."]) for n in range(9000))
    write_text(place, piece, "eng-Latn", raws)
    settings = config(folder, source(folder), tokenizer_bytes=most)
    steps, _ = sample_steps(place, [piece], NO_DUPLICATES, settings, SINGLE)
    parts = (place, [piece], NO_DUPLICATES, settings, steps, lambda read: None)
    return sum(len(sentence) for sentence in training_sentences(*parts))


def test_the_sample_of_the_tokenizer_is_as_large_as_allowed(tmp_path):
    assert 0.97 * 2**16 < training_bytes(tmp_path / "a", 2**16) <= 2**16
    assert training_bytes(tmp_path / "b", 2**28) > 2e5


def test_a_hub_dataset_gives_the_store_of_its_rows(tmp_path):
    rows = [json.dumps({"text": text}) + "\n" for text in TEXT.split("\n\n")]
    hub = tmp_path / "hub"
    hub.mkdir()
    for number in range(3):
        write(hub / f"train-{number}.jsonl", "".join(rows[20 * number : 20 * number + 20]))
    rows_store = build_store(config(tmp_path / "rows", source(hub / "*.jsonl")))
    streamed = SourceConfig(language="eng-Latn", files=[f"hub:{hub}"])
    hub_store = build_store(config(tmp_path / "streamed", streamed))
    expected, found = files_of(rows_store), files_of(hub_store)
    assert expected.pop("manifest.json") != found.pop("manifest.json")  # it names the source
    assert found == expected


def test_names_of_special_tokens_in_a_text_are_ordinary_text(tmp_path):
    text = write(tmp_path / "a.txt", TEXT.replace("didn't", "</s> <mask>"))
    store = Store(build_store(config(tmp_path, source(text))))
    assert sum("</s> <mask>" in shown for shown in shown_text(store.path)) == 60
    assert sum(row.documents for row in statistics(store)) == 60


class StoppedError(Exception):
    """Stands for whatever ends a build."""


def stop_at(step: str, share: float = 0.0):
    def report(progress) -> None:
        if progress.step == step and progress.share >= share:
            raise StoppedError

    return report


STOPS = [("sentences", 0.0), ("tokenizer", 0.0), ("tokens", 0.4), ("shards", 0.0), ("shards", 0.6)]


@pytest.mark.parametrize(("step", "share"), STOPS)
def test_a_build_that_stopped_goes_on_to_the_same_bytes(step, share, tmp_path, monkeypatch):
    monkeypatch.setattr("alignmlm.corpus.parts.PART_CHARACTERS", 500)
    text = as_txt(tmp_path)
    expected = files_of(build_store(config(tmp_path / "whole", source(text), deduplicate=True)))
    settings = config(tmp_path, source(text), deduplicate=True)
    with pytest.raises(StoppedError):
        build_store(settings, stop_at(step, share))
    done = files_of(tmp_path / "store.building")
    assert any(name.startswith("text/00000-00000") for name in done)
    before = sorted(path.stat().st_ino for path in (tmp_path / "store.building/text").glob("*.npy"))
    with pytest.raises(StoppedError):
        build_store(settings, stop_at("shards"))
    after = {path.stat().st_ino for path in (tmp_path / "store.building/text").glob("*.npy")}
    assert after.issuperset(before)
    assert files_of(build_store(settings)) == expected
    assert not (tmp_path / "store.building").exists()


def test_a_build_goes_on_only_with_its_own_settings_or_starts_over(tmp_path):
    text = as_txt(tmp_path)
    with pytest.raises(StoppedError):
        build_store(config(tmp_path, source(text)), stop_at("tokens"))
    other = config(tmp_path, source(text), validation=0.3)
    with pytest.raises(DataError, match=r"data\.validation: 0\.2 there, 0\.3 here.*--restart"):
        build_store(other)
    expected = files_of(build_store(replace(other, store=str(tmp_path / "fresh"))))
    assert files_of(build_store(other, restart=True)) == expected


def test_a_build_goes_on_only_with_the_same_files_or_starts_over_with_those_that_changed(tmp_path):
    first, second = write(tmp_path / "a.txt"), write(tmp_path / "b.txt", TEXT.upper())
    both = SourceConfig(language="eng-Latn", files=[str(first), str(second)])
    with pytest.raises(StoppedError):
        build_store(config(tmp_path, both), stop_at("tokens"))
    write(second, TEXT.lower())
    os.utime(second, ns=(1, 1))
    with pytest.raises(DataError, match=r"b\.txt: written since"):
        build_store(config(tmp_path, both))
    write(second, TEXT.lower() + " More.")
    with pytest.raises(DataError, match=rf"b\.txt: {len(TEXT)} bytes there, {len(TEXT) + 6} here"):
        build_store(config(tmp_path, both))
    kept = (tmp_path / "store.building" / "text" / "00000-00000.npy").stat().st_ino
    with pytest.raises(StoppedError):
        build_store(config(tmp_path, both), stop_at("tokens"), restart=True)
    assert (tmp_path / "store.building" / "text" / "00000-00000.npy").stat().st_ino == kept
    expected = files_of(build_store(config(tmp_path / "fresh", both)))
    assert files_of(build_store(config(tmp_path, both))) == expected


def test_two_builds_of_one_store_at_once_are_refused(tmp_path):
    settings = config(tmp_path, source(as_txt(tmp_path)))
    with (
        locked(workspace_of(Path(settings.store)), Path(settings.store)),
        pytest.raises(DataError, match=rf"another build of .* \(process {os.getpid()} on "),
    ):
        build_store(settings)


def test_progress_names_each_step_and_ends_with_all_tokens(tmp_path):
    seen = []
    store = Store(build_store(config(tmp_path, source(as_txt(tmp_path))), seen.append))
    assert list(dict.fromkeys(progress.step for progress in seen)) == [
        "sentences", "tokenizer", "tokens", "shards",
    ]  # fmt: skip
    assert all(0 <= progress.share <= 1 for progress in seen)
    assert seen[-1].tokens == sum(row.tokens for row in statistics(store))


def test_building_alone_needs_no_mpi(tmp_path):
    code = (
        "import sys; sys.modules['mpi4py'] = None\n"
        "from alignmlm.commands.build import data_build\n"
        f"data_build(['--data.store={tmp_path / 'store'}', '--data.validation=0.2',\n"
        "'--data.vocabulary_size=400',\n"
        """'--data.sources=[{"language": "qaa-Latn", "files": ["sample:600"]}]'])"""
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HANG_S)
    assert Store(tmp_path / "store").languages == ["qaa-Latn"]


def test_what_a_killed_build_left_half_written_does_not_get_into_the_store(tmp_path):
    place, final = workspace_of(tmp_path / "store"), tmp_path / "store"
    below = place.store / "eng-Latn" / "train"
    below.mkdir(parents=True)
    for path in (place.store / "tokenizer.json", below / "00000.tok"):
        path.touch()
        path.with_name(f"{path.name}.tmp-27660").touch()
    finish(place, final)
    found = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["00000.tok", "tokenizer.json"]
