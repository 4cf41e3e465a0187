"""Counts, sizes and ids that a file states are compared with what is there before they are used."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from alignmlm.data.store import MANIFEST, SELF, TRAIN, Store, content_id
from alignmlm.data.tokenizer import describe
from alignmlm.errors import DataError
from alignmlm.storage.arrays import read_npy

NO_COUNTS = ["5", -5, 2**70, None, 1.5, True, [], {}]


@pytest.fixture
def copy(small_store, tmp_path) -> Path:
    return shutil.copytree(small_store, tmp_path / "store")


def changed(folder: Path, keys: list, value: object) -> None:
    """Put a value into a manifest whose hash of itself is right again."""
    raw = json.loads((folder / MANIFEST).read_text("utf-8"))
    del raw[SELF]
    at = raw
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    (folder / MANIFEST).write_text(json.dumps(raw | {SELF: content_id(raw)}), "utf-8")


def refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.json|tokenizer\.json|shard-00000"):
        Store(folder).split("qaa-Latn", TRAIN)


@pytest.mark.parametrize("value", NO_COUNTS)
@pytest.mark.parametrize("name", ["tokens", "sentences", "documents", "words"])
def test_a_count_of_a_shard_that_is_none_is_refused(copy, name, value):
    changed(copy, ["splits", "qaa-Latn", TRAIN, 0, name], value)
    refused(copy)


@pytest.mark.parametrize("value", [*NO_COUNTS, 10**9])
@pytest.mark.parametrize("name", ["size", "bos", "mask"])
def test_a_vocabulary_that_the_tokenizer_cannot_have_is_refused(copy, name, value):
    changed(copy, ["vocabulary", name], value)
    refused(copy)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["vocabulary", "special"], [0, 2**31]),
        (["vocabulary", "final"], "12"),
        (["vocabulary"], None),
        (["splits"], []),
        (["splits", "qaa-Latn"], [1]),
        (["splits", "qaa-Latn", TRAIN], {}),
        (["splits", "qaa-Latn", TRAIN, 0], 7),
        (["splits", "qaa-Latn", TRAIN, 0, "digest"], "../"),
        (["splits", "qaa-Latn", TRAIN, 0, "unknown"], 1),
        (["splits", "../x"], {}),
        (["tokenizer_xxh3"], 5),
        (["provenance"], None),
        (["unknown"], 1),
    ],
)
def test_a_manifest_of_another_shape_is_refused(copy, keys, value):
    changed(copy, keys, value)
    refused(copy)


def test_a_folder_in_the_place_of_a_shard_is_refused(copy):
    path = copy / "qaa-Latn" / TRAIN / "shard-00000.bin"
    path.unlink()
    path.mkdir()
    refused(copy)


def test_a_tokenizer_with_an_id_far_beyond_its_size_is_refused():
    known = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "a": 2**31 - 1}
    with pytest.raises(DataError, match="has the id 2147483647"):
        describe(Tokenizer(models.WordLevel(known, unk_token="<unk>")))


@pytest.mark.parametrize("shape", ["(4611686018427387904,)", "(1099511627776, 2)", "(9,)"])
def test_an_array_that_its_file_is_too_short_for_is_refused(tmp_path, shape):
    buffer = io.BytesIO()
    np.save(buffer, np.arange(8))
    header = buffer.getvalue()[:128].replace(b"(8,)", shape.encode())
    spare = len(header) - 128  # spaces before the line's end
    header = header[: -1 - spare] + b"\n" if spare else header
    (tmp_path / "a.npy").write_bytes(header + np.arange(8).tobytes())
    with pytest.raises(DataError, match=r"a\.npy is damaged: .*bytes are left of"):
        read_npy(tmp_path / "a.npy")
