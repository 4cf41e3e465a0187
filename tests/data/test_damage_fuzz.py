"""A thousand random damages of a store: none is silent, each error names the file."""

import json
import shutil
from itertools import chain

import numpy as np
import pytest

from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.data.store import MANIFEST, SELF, TOKENIZER, Store, content_id
from alignmlm.errors import DataError

DAMAGES = 1000
BASE = ["--data.shard_tokens=65536", "--data.vocabulary_size=600"]


def build(folder, sentences):
    sources = [
        {"language": "qaa-Latn", "files": [f"sample:{sentences}"]},
        {"language": "qab-Latn", "files": ["sample:3000"]},
    ]
    settings = [*BASE, f"--data.sources={json.dumps(sources)}", f"--data.store={folder}"]
    return build_store(load_recipe(None, settings).data)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A store of several shards in two languages, and an older state of it."""
    folder = tmp_path_factory.mktemp("fuzz")
    return build(folder / "now", 14000), build(folder / "before", 13000)


def read_everything(folder) -> None:
    store = Store(folder)
    for language in store.languages:
        for split in store.manifest.splits[language]:
            for shard in store.split(language, split).shards:
                shard.verify_blocks(0, shard.entry.blocks - 1)


def flip(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    path.write_bytes(data)


def truncate(path, rng):
    path.write_bytes(path.read_bytes()[: rng.integers(path.stat().st_size)])


def lengthen(path, rng):
    path.write_bytes(path.read_bytes() + bytes(int(rng.integers(1, 5000))))


def overwrite(path, rng):
    data = bytearray(path.read_bytes())
    at = int(rng.integers(len(data)))
    new = rng.integers(0, 256, min(64, len(data) - at), np.uint8).tobytes()
    if data[at : at + len(new)] == new:
        return overwrite(path, rng)
    data[at : at + len(new)] = new
    path.write_bytes(data)


def delete(path, rng):
    path.unlink()


def swap(path, rng):
    """Exchange a file with another one of its kind that is not the same."""
    others = [
        other
        for other in sorted(path.parents[2].rglob(f"*{path.suffix}"))
        if other.read_bytes() != path.read_bytes()
    ]
    other = others[rng.integers(len(others))]
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def add(path, rng):
    shutil.copy(path, path.with_name(f"shard-{rng.integers(900, 1000):05d}{path.suffix}"))


def edit_manifest(folder, rng):
    """Change one number of the manifest, and its hash with it, as a careful editor would."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    del manifest[SELF]
    entries = list(chain(*manifest["splits"]["qaa-Latn"].values()))
    chosen = entries[rng.integers(len(entries))]
    if rng.integers(2):
        chosen["tokens"] += int(rng.integers(1, 3000)) * (1 if rng.integers(2) else -1)
    else:
        chosen["digest"] = f"{int(rng.integers(2**62)):016x}"
    path.write_text(json.dumps(manifest | {SELF: content_id(manifest)}))


def damage(folder, before, rng):
    """Do one random damage; the name that the error must hold."""
    files = sorted(path for path in folder.rglob("shard-*"))
    path = files[rng.integers(len(files))]
    kinds = [flip] * 6 + [truncate, truncate, lengthen, overwrite, overwrite, delete, swap, add]
    choice = rng.integers(len(kinds) + 4)
    if choice < len(kinds):
        kinds[choice](path, rng)
        return ["shard-"]
    if choice == len(kinds):
        flip(folder / MANIFEST, rng)
        return [MANIFEST]
    if choice == len(kinds) + 1:
        kinds[rng.integers(len(kinds) - 2)](folder / TOKENIZER, rng)
        return [TOKENIZER]
    if choice == len(kinds) + 2:
        shutil.copy(before / MANIFEST, folder / MANIFEST)  # of an older state
        return ["shard-", TOKENIZER]
    edit_manifest(folder, rng)
    return ["shard-"]


@pytest.mark.slow
def test_a_thousand_random_damages_are_all_found_and_named(stores, tmp_path):
    now, before = stores
    read_everything(now)
    assert len(list(now.rglob("shard-*.bin"))) >= 6
    silent = []
    for number in range(DAMAGES):
        copy = shutil.copytree(now, tmp_path / "copy")
        names = damage(copy, before, np.random.default_rng(number))
        try:
            read_everything(copy)
            silent.append(number)
        except DataError as error:
            assert any(name in str(error) for name in names), (number, str(error))
        shutil.rmtree(copy)
    assert not silent
