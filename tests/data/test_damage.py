"""A damaged store is never read in silence."""

import json
import shutil

import pytest

from alignmlm.data.inspect import damages
from alignmlm.data.store import SELF, TRAIN, Store, content_id
from alignmlm.errors import DataError


@pytest.fixture
def copy(small_store, tmp_path):
    return shutil.copytree(small_store, tmp_path / "store")


def flip(path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def read_everything(folder) -> None:
    for shard in Store(folder).split("qaa-Latn", TRAIN).shards:
        shard.sentences(0, shard.entry.tokens)


@pytest.mark.parametrize("ending", ["bin", "idx"])
@pytest.mark.parametrize("place", [0, 1000, -1000, -1])
def test_a_flipped_bit_names_shard_block_bytes_and_both_hashes(copy, ending, place):
    flip(copy / "qaa-Latn" / TRAIN / f"shard-00000.{ending}", place)
    with pytest.raises(DataError, match=r"0\.bin.*block \d+, bytes \d+ to \d+: hash \w+, expected"):
        read_everything(copy)
    assert len(damages(Store(copy))) == 1


def test_blocks_that_changed_places_are_found(copy):
    folder = copy / "qaa-Latn" / TRAIN
    for ending, width in (("bin", 2048), ("idx", 264)):
        path = folder / f"shard-00000.{ending}"
        data = path.read_bytes()
        path.write_bytes(data[width : 2 * width] + data[:width] + data[2 * width :])
    with pytest.raises(DataError, match="block 0"):
        read_everything(copy)


def test_a_file_that_is_not_in_the_manifest_is_an_error(copy):
    (copy / "qaa-Latn" / TRAIN / "shard-00001.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"shard-00001\.bin is not in the manifest"):
        read_everything(copy)


@pytest.mark.parametrize("ending", ["bin", "idx"])
def test_a_short_shard_is_an_error_when_the_store_is_opened(copy, ending):
    path = copy / "qaa-Latn" / TRAIN / f"shard-00000.{ending}"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match=rf"shard-00000\.{ending} has \d+ bytes, the manifest says"):
        read_everything(copy)


def test_a_missing_shard_is_an_error_when_the_store_is_opened(copy):
    (copy / "qaa-Latn" / TRAIN / "shard-00000.bin").unlink()
    with pytest.raises(DataError, match=r"shard-00000\.bin is missing"):
        read_everything(copy)


def test_another_tokenizer_is_refused(copy):
    flip(copy / "tokenizer.json", 10)
    with pytest.raises(DataError, match=r"tokenizer\.json has xxh3"):
        Store(copy)


def change_manifest(folder, change) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[SELF]
    change(manifest)
    path.write_text(json.dumps(manifest | {SELF: content_id(manifest)}))


def test_an_edited_manifest_is_an_error(copy):
    path = copy / "manifest.json"
    path.write_text(path.read_text().replace('"words": ', '"words": 1'))
    with pytest.raises(DataError, match="was edited"):
        Store(copy)


def test_another_schema_version_is_refused(copy):
    change_manifest(copy, lambda manifest: manifest.update(schema_version=1))
    with pytest.raises(DataError, match="schema version 1; this alignmlm reads 2"):
        Store(copy)


def test_a_shard_name_that_leads_out_of_the_store_is_refused(copy):
    change_manifest(
        copy, lambda m: m["splits"]["qaa-Latn"][TRAIN][0].update(name="../../../etc/passwd")
    )
    with pytest.raises(DataError, match="leads out of the store"):
        Store(copy)


def test_a_manifest_of_something_else_is_refused(copy):
    (copy / "manifest.json").write_text("[1, 2]")
    with pytest.raises(DataError, match="must be a mapping"):
        Store(copy)


def test_a_language_that_is_not_there_is_named_with_those_that_are(small_store):
    with pytest.raises(DataError, match=r"no language 'fra-Latn'; it has qaa-Latn"):
        Store(small_store).split("fra-Latn", TRAIN)
