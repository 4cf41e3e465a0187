"""A build that was stopped goes on only with the contents that it began with, not with paths."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from alignmlm.corpus import workspace
from alignmlm.corpus.build import build_store
from alignmlm.corpus.readers import read_piece
from alignmlm.corpus.settings import DataConfig
from alignmlm.corpus.sources import SourceConfig
from alignmlm.corpus.workspace import workspace_of
from alignmlm.data.tokenizer import train_tokenizer
from alignmlm.errors import ConfigError, DataError

TEXTS = [f"The {colour} cat sat on mat {n}." for n in range(12) for colour in ("red", "blue")]


class StoppedError(Exception):
    """Stands for whatever ends a build."""


def stop_at_shards(progress) -> None:
    if progress.step == "shards":
        raise StoppedError


def write_tokenizer(path: Path, size: int) -> None:
    path.write_text(train_tokenizer(TEXTS, size).to_str())


def write_rows(hub: Path, texts: list[str]) -> None:
    rows = (json.dumps({"text": text}) + "\n" for text in texts)
    (hub / "train.jsonl").write_text("".join(rows))


@pytest.fixture
def config(tmp_path):
    """A build of a folder as a hub dataset, with a tokenizer from elsewhere."""
    hub = tmp_path / "hub"
    hub.mkdir()
    write_rows(hub, TEXTS)
    write_tokenizer(tmp_path / "tokenizer.json", 270)
    source = SourceConfig(language="eng-Latn", files=[f"hub:{hub}"])
    settings = {"validation": 0.2, "tokenizer": str(tmp_path / "tokenizer.json")}
    return DataConfig(store=str(tmp_path / "store"), sources=[source], **settings)


@pytest.fixture
def stopped(config):
    """The same build, stopped at its last step."""
    with pytest.raises(StoppedError):
        build_store(config, stop_at_shards)
    return config


def test_another_tokenizer_at_the_same_path_is_refused(stopped):
    write_tokenizer(Path(stopped.tokenizer), 280)
    with pytest.raises(DataError, match=r"data\.tokenizer_xxh3: '\w+' there, '\w+' here"):
        build_store(stopped)


def test_a_hub_dataset_of_a_folder_that_was_written_since_is_refused(stopped, tmp_path):
    write_rows(tmp_path / "hub", TEXTS[::-1])
    with pytest.raises(DataError, match=r"hub:\S+: written since"):
        build_store(stopped)


def test_the_same_tokenizer_and_hub_dataset_go_on(stopped):
    tokens = next(workspace_of(Path(stopped.store)).tokens.iterdir())
    before = tokens.stat().st_ino
    with pytest.raises(StoppedError):
        build_store(stopped, stop_at_shards)
    assert tokens.stat().st_ino == before


def test_a_build_that_was_killed_when_its_store_was_in_place_is_finished(stopped, tmp_path):
    place = workspace_of(Path(stopped.store)).folder
    shutil.copytree(place, tmp_path / "kept")
    final = build_store(stopped)
    before = (final / "manifest.json").stat().st_ino
    (tmp_path / "kept").rename(place)
    shutil.rmtree(place / "store", ignore_errors=True)
    assert build_store(stopped) == final
    assert (final / "manifest.json").stat().st_ino == before
    assert not place.exists()


def other_build(config):
    return replace(config, tokenizer=None, vocabulary_size=280)


def test_a_workspace_without_a_record_makes_no_other_store_this_one(config):
    final = build_store(config)
    workspace_of(final).folder.mkdir()
    with pytest.raises(DataError, match="holds a store already"):
        build_store(other_build(config))


@pytest.mark.parametrize("folder", ["text", "store.building.tmp-"])
def test_a_workspace_keeps_its_record_until_the_rest_is_removed(folder, stopped, monkeypatch):
    def killed(path, ignore_errors=False):
        remove(path, ignore_errors=ignore_errors)
        if path.name.startswith(folder):
            raise StoppedError

    remove = shutil.rmtree
    monkeypatch.setattr(workspace, "rmtree", killed)
    with pytest.raises(StoppedError):
        build_store(stopped)
    monkeypatch.undo()
    with pytest.raises(DataError, match="holds a store already"):
        build_store(other_build(stopped))
    assert build_store(stopped) == Path(stopped.store)
    assert not list(Path(stopped.store).parent.glob("store.building*"))


def test_what_is_left_of_an_older_build_makes_no_other_store_this_one(stopped, tmp_path):
    place = workspace_of(Path(stopped.store)).folder
    shutil.copytree(place, place.with_name(f"{place.name}.tmp-machine-1"))
    shutil.rmtree(place)
    build_store(other_build(stopped))
    with pytest.raises(DataError, match="holds a store already"):
        build_store(stopped)


@pytest.mark.parametrize("store", ["", ".", "/"])
def test_a_store_without_a_name_is_refused(store, config):
    with pytest.raises(ConfigError, match=r"data\.store = .*name a folder"):
        build_store(replace(config, store=store))


def test_a_tokenizer_that_is_not_there_is_named_before_the_corpus_is_read(config):
    Path(config.tokenizer).unlink()
    seen = []
    with pytest.raises(DataError, match=r"no tokenizer at \S+tokenizer\.json"):
        build_store(config, seen.append)
    assert not seen


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [flipped, lambda data: data[:-9]], ids=["flipped", "cut"])
def test_damaged_text_of_a_stopped_build_is_named(damage, stopped):
    place = workspace_of(Path(stopped.store))
    shutil.rmtree(place.tokens)
    text = next(place.text.glob("*.zst"))
    text.write_bytes(damage(text.read_bytes()))
    with pytest.raises(DataError, match=rf"{text.name} .*remove \S+\.building"):
        build_store(stopped)


@pytest.mark.parametrize("settings", [{}, {"max_documents": 30}])
def test_a_file_that_is_written_while_it_is_read_is_named(config, settings, tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    file.write_text("\n\n".join(TEXTS))

    def read_slowly(piece, source):
        yield from read_piece(piece, source)
        with file.open("a") as more:
            more.write("\n\nAnother cat sat.")

    monkeypatch.setattr("alignmlm.corpus.parts.read_piece", read_slowly)
    source = SourceConfig(language="eng-Latn", files=[str(file)], **settings)
    with pytest.raises(DataError, match=r"a\.txt changed while it was read; run again"):
        build_store(replace(config, sources=[source]))


def test_a_file_of_an_unknown_form_is_refused_before_any_text_is_read(config, tmp_path):
    for name in ("a.txt", "b.md"):
        (tmp_path / name).write_text("\n\n".join(TEXTS))
    source = SourceConfig(language="eng-Latn", files=[f"{tmp_path}/[ab].*"])
    seen: list[str] = []
    with pytest.raises(DataError, match=r"b\.md: the name must end in"):
        build_store(replace(config, sources=[source]), lambda progress: seen.append(progress.step))
    assert not seen
