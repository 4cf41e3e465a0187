"""A store as Parquet, read back by datasets."""

from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from alignmlm.commands.interchange import data_export, data_fetch, data_import
from alignmlm.data.store import TOKENIZER, TRAIN, VALIDATION, Store
from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import DataError
from alignmlm.interchange.exports import export_parquet
from alignmlm.interchange.imports import import_tokens
from alignmlm.interchange.remote import HELD
from tests.interchange.test_imports import texts_of, write_datatrove


def read_back(files: list[Path], folder: Path):
    """The rows of Parquet files, by datasets."""
    from datasets import load_dataset

    names = [str(file) for file in files]
    return load_dataset("parquet", data_files=names, split="train", cache_dir=str(folder))


@pytest.fixture(scope="module")
def sharded(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small store's documents in several shards."""
    folder = tmp_path_factory.mktemp("sharded")
    store = Store(small_store)
    found = [texts_of(store, "qaa-Latn", split) for split in (TRAIN, VALIDATION)]
    path = write_datatrove(folder / "0.ds", [[document] for part in found for document in part])
    output = folder / "store"
    import_tokens(
        path, small_store / TOKENIZER, "qaa-Latn", output, validation=0.1, shard_tokens=1024
    )
    return output


def test_tokens_and_starts_come_back_through_datasets(sharded: Path, tmp_path: Path) -> None:
    files = export_parquet(sharded, tmp_path / "parquet", "qaa-Latn", TRAIN)
    shards = Store(sharded).split("qaa-Latn", TRAIN).shards
    assert len(files) == len(shards) > 2
    rows = list(read_back(files, tmp_path / "cache").with_format("numpy"))
    assert [row["document"] for row in rows] == list(range(sum(s.entry.documents for s in shards)))
    texts = [shard.sentences(0, shard.entry.tokens)[0] for shard in shards]
    lengths = np.array([len(row["ids"]) for row in rows])
    np.testing.assert_array_equal(
        np.concatenate([row["ids"] for row in rows]), np.concatenate([t.ids for t in texts])
    )
    for name in ("word_starts", "sentence_starts"):
        before = np.cumsum(lengths) - lengths
        found = np.concatenate([row[name] + b for row, b in zip(rows, before, strict=True)])
        expected = np.flatnonzero(np.concatenate([getattr(t, name) for t in texts]))
        np.testing.assert_array_equal(found, expected)


def test_the_text_is_that_of_the_tokens(sharded: Path, tmp_path: Path) -> None:
    files = export_parquet(sharded, tmp_path / "parquet", "qaa-Latn", VALIDATION)
    row = read_back(files, tmp_path / "cache")[0]
    tokenizer = load_tokenizer(sharded)
    assert row["ids"][-1] == Store(sharded).vocabulary.eos
    assert row["text"] == tokenizer.decode(row["ids"][:-1])
    assert row["text"].strip()[-1] in ".!?"


def test_the_card_makes_the_folder_a_dataset_and_names_no_folder(
    small_store: Path, tmp_path: Path
) -> None:
    from datasets import load_dataset

    folder = tmp_path / "parquet"
    export_parquet(small_store, folder, "qaa-Latn", VALIDATION)
    found = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    entries = Store(small_store).manifest.splits["qaa-Latn"][VALIDATION]
    assert {name: len(rows) for name, rows in found.items()} == {
        VALIDATION: sum(entry.documents for entry in entries)
    }
    card = (folder / "README.md").read_text("utf-8")
    assert 'language: ["qaa"]' in card  # in quotes, for YAML 1.1 takes no for false
    assert f"{sum(entry.tokens for entry in entries):,} tokens" in card
    assert Store(small_store).manifest.data_id in card
    assert "'/" not in card


@pytest.mark.parametrize(
    ("language", "split", "told"),
    [("eng-Latn", TRAIN, "no language 'eng-Latn'"), ("qaa-Latn", "test", "no split 'test'")],
)
def test_what_the_store_does_not_have_is_told(
    sharded: Path, tmp_path: Path, language: str, split: str, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        export_parquet(sharded, tmp_path / "parquet", language, split)


def test_a_folder_in_use_is_left_alone(sharded: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists"):
        export_parquet(sharded, tmp_path, "qaa-Latn", TRAIN)


def test_a_damaged_shard_leaves_no_folder(sharded: Path, tmp_path: Path) -> None:
    copytree(sharded, tmp_path / "store")
    path = tmp_path / "store/qaa-Latn/train/shard-00001.bin"
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"shard-00001.bin .* is damaged in block 0"):
        export_parquet(tmp_path / "store", tmp_path / "parquet", "qaa-Latn", TRAIN)
    assert {p.name for p in tmp_path.iterdir()} == {"store", ".parquet.lock"}


def test_commands_go_from_tokens_to_parquet_and_to_a_mirror(
    small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNMLM_CACHE", str(tmp_path / "cache"))
    found = [texts_of(Store(small_store), "qaa-Latn", split) for split in (TRAIN, VALIDATION)]
    documents = [[document] for document in found[0] + found[1]]
    tokens, store = write_datatrove(tmp_path / "0.ds", documents), str(tmp_path / "store")
    language = ["--language", "qaa-Latn"]
    settings = ["--tokenizer", str(small_store), "--store", store, "--validation", "0.1"]
    assert data_import([str(tokens), *settings, *language]) == 0
    assert data_export([store, "--output", str(tmp_path / "parquet"), *language]) == 0
    assert data_fetch([f"file://{store}", "--limit_gib", "0.5"]) == 0
    manifest = Store(small_store).manifest.splits
    mirror = next(path for path in (tmp_path / "cache").iterdir())
    assert Store(mirror).manifest.splits == Store(Path(store)).manifest.splits == manifest
    rows = read_back(list((tmp_path / "parquet").glob("*.parquet")), tmp_path / "rows")
    assert len(rows) == sum(entry.documents for entry in manifest["qaa-Latn"][TRAIN])
    while HELD:
        HELD.popitem()[1].release()
