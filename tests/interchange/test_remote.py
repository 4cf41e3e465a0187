"""Stores behind a URL are mirrored, verified and shared; a real server misbehaves in every way."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copytree, rmtree
from threading import Thread

import numpy as np
import pytest

from alignmlm.data.inspect import damages
from alignmlm.data.store import MANIFEST, TOKENIZER, TRAIN, VALIDATION, Store
from alignmlm.errors import DataError
from alignmlm.interchange import remote
from alignmlm.interchange.imports import import_tokens
from alignmlm.interchange.remote import INNER, USED, local_store
from alignmlm.storage.atomic import folder_bytes
from tests.interchange.test_imports import texts_of, write_datatrove

LANGUAGE = "qaa-Latn"
FIRST = f"/{LANGUAGE}/train/shard-00000.bin"


class Server(ThreadingHTTPServer):
    """A server of a folder on loopback that counts requests and can spoil its answers."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.requests: Counter[str] = Counter()
        self.spoil: Callable[[Handler, str, bytes], bytes | None] = lambda h, path, data: data

    def stop(self) -> None:
        """Answer nobody any more."""
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        """Where the store lies."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(SimpleHTTPRequestHandler):
    """Sends whole files; no ranges."""

    server: Server

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        sent = self.server.spoil(self, self.path, data)
        if sent is not None:
            self.wfile.write(sent)
            self.close_connection = len(sent) != len(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def stores(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two stores of several shards each, the second one smaller."""
    folder = tmp_path_factory.mktemp("stores")
    store = Store(small_store)
    found = [texts_of(store, LANGUAGE, split) for split in (TRAIN, VALIDATION)]
    documents = [[document] for part in found for document in part]
    settings = {"validation": 0.1, "shard_tokens": 1024}
    made = []
    for number, chosen in enumerate((documents, documents[len(documents) // 4 :])):
        path = write_datatrove(folder / f"{number}.ds", chosen)
        output = folder / f"store{number}"
        import_tokens(path, small_store / TOKENIZER, LANGUAGE, output, **settings)
        made.append(output)
    return made


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache; what a test holds is let go of at its end."""
    monkeypatch.setenv("ALIGNMLM_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    let_go()


def let_go() -> None:
    """Use no mirror any more, as a process that ended."""
    while remote.HELD:
        remote.HELD.popitem()[1].release()


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Server]]:
    """A function that serves a folder until the test ends."""
    running: list[Server] = []

    def start(folder: Path) -> Server:
        running.append(Server(folder))
        Thread(target=running[-1].serve_forever, args=(0.05,), daemon=True).start()
        return running[-1]

    yield start
    for server in running:
        server.stop()


def same_content(mirror: Path, store: Path) -> bool:
    """Whether a mirror has every file of a store and no others, but for its own notes."""

    def files(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and INNER not in path.parts
        }

    return files(mirror) == files(store)


def test_a_path_is_a_store_already(stores: list[Path], cache: Path) -> None:
    assert local_store(str(stores[0])) == stores[0]
    assert not cache.exists()


def test_a_store_behind_http_is_mirrored_whole(stores, cache, serve) -> None:
    server, told = serve(stores[0]), []
    mirror = local_store(server.url, report=lambda done, whole: told.append((done, whole)))
    assert mirror.parent == cache
    assert same_content(mirror, stores[0])
    assert damages(Store(mirror)) == []
    assert told[0][0] == 0 and told[-1][0] == told[-1][1] and told == sorted(told)


def test_what_is_there_is_not_copied_again(stores, cache, serve) -> None:
    server = serve(stores[0])
    mirror = local_store(server.url)
    before = server.requests.copy()
    (mirror / FIRST[1:]).unlink()
    assert local_store(f"{server.url}/") == mirror
    again = {path for path in server.requests if server.requests[path] > before[path]}
    assert again == {f"/{MANIFEST}", FIRST, FIRST.replace(".bin", ".idx")}
    assert same_content(mirror, stores[0])


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_any_fsspec_url_is_a_store(stores, cache, scheme: str) -> None:
    import fsspec

    url = f"file://{stores[0]}"
    if scheme == "memory":
        url = "memory://some/store"
        fsspec.filesystem("memory").put(f"{stores[0]}/", "/some/store/", recursive=True)
    assert same_content(local_store(url), stores[0])


def flipped(data: bytes) -> bytes:
    """The same with one bit the other way round."""
    return data[:100] + bytes([data[100] ^ 4]) + data[101:]


def test_a_shard_that_arrives_damaged_once_is_copied_again(stores, cache, serve) -> None:
    server = serve(stores[0])
    server.spoil = lambda h, path, data: (
        flipped(data) if path == FIRST and server.requests[path] == 1 else data
    )
    assert same_content(local_store(server.url), stores[0])
    assert server.requests[FIRST] == 2


def test_a_shard_that_always_arrives_damaged_is_an_error_with_both_hashes(
    stores, cache, serve
) -> None:
    server = serve(stores[0])
    server.spoil = lambda h, path, data: flipped(data) if path == FIRST else data
    told = rf"{server.url}{FIRST} .* block 0 has hash [0-9a-f]{{16}}, expected [0-9a-f]{{16}}"
    with pytest.raises(DataError, match=told):
        local_store(server.url)
    assert server.requests[FIRST] == 2
    assert not list(cache.rglob(FIRST[1:]))
    assert not list(cache.glob(f"*/{MANIFEST}"))


@pytest.mark.parametrize("wrong", ["length", "connection"])
def test_an_answer_that_breaks_off_once_is_asked_for_again(
    stores, cache, serve, wrong: str
) -> None:
    server = serve(stores[0])

    def spoil(handler: Handler, path: str, data: bytes) -> bytes | None:
        if path != FIRST or server.requests[path] > 1:
            return data
        handler.close_connection = True
        return data[:500] if wrong == "length" else None

    server.spoil = spoil
    assert same_content(local_store(server.url), stores[0])
    assert server.requests[FIRST] == 2


def test_a_server_that_dies_in_the_middle_is_told_and_what_came_is_kept(
    stores, cache, serve
) -> None:
    server = serve(stores[0])

    def spoil(handler: Handler, path: str, data: bytes) -> bytes | None:
        if len([name for name in server.requests if name.endswith(".idx")]) < 4:
            return data
        Thread(target=server.stop).start()
        handler.close_connection = True
        return data[:100]

    server.spoil = spoil
    told = rf"{server.url}/.* cannot be read .*the same command goes on from there"
    with pytest.raises(DataError, match=told):
        local_store(server.url)
    kept = list(cache.glob("*/*/*/*.idx"))
    assert kept
    again = serve(stores[0])
    assert same_content(local_store(again.url), stores[0])
    assert all(again.requests[f"/{path.relative_to(path.parents[2])}"] == 0 for path in kept)


def test_no_server_is_told(cache) -> None:
    with pytest.raises(DataError, match=r"http://127.0.0.1:9/manifest.json cannot be read"):
        local_store("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense://store", "nonsense://store cannot be opened"),
        ("memory://nothing/here", r"memory://nothing/here/manifest.json does not exist"),
    ],
)
def test_a_url_without_a_store_is_told(cache, url: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        local_store(url)


def test_a_missing_shard_is_told(stores, cache, serve, tmp_path) -> None:
    copytree(stores[0], tmp_path / "copy")
    (tmp_path / "copy" / FIRST[1:]).unlink()
    with pytest.raises(DataError, match=rf"{FIRST} does not exist"):
        local_store(serve(tmp_path / "copy").url)


@pytest.mark.parametrize(
    ("name", "told"), [(MANIFEST, "is damaged or was edited"), (TOKENIZER, "has xxh3")]
)
def test_a_damaged_manifest_or_tokenizer_is_told_with_its_url(
    stores, cache, serve, name: str, told: str
) -> None:
    server = serve(stores[0])
    server.spoil = lambda h, path, data: data.replace(b"1", b"2") if path == f"/{name}" else data
    with pytest.raises(DataError, match=rf"{server.url}/{name} (has schema|{told})"):
        local_store(server.url)


def test_a_language_that_the_store_does_not_have_is_told(stores, cache, serve) -> None:
    with pytest.raises(DataError, match="no language 'eng-Latn' to copy; it has qaa-Latn"):
        local_store(serve(stores[0]).url, ["eng-Latn"])


def test_a_manifest_cannot_lead_out_of_the_mirror(stores, cache, serve, tmp_path) -> None:
    from dataclasses import replace

    copytree(stores[0], tmp_path / "copy")
    manifest = Store(stores[0]).manifest
    entries = {TRAIN: manifest.splits[LANGUAGE][TRAIN]}
    for splits in ({"../../out": entries}, {LANGUAGE: {"../../..": entries[TRAIN]}}):
        text = replace(manifest, splits=splits).to_json()
        (tmp_path / "copy" / MANIFEST).write_text(text)
        with pytest.raises(DataError, match="leads out of the store"):
            local_store(serve(tmp_path / "copy").url)


def test_a_store_that_was_built_anew_has_another_mirror(stores, cache, serve, tmp_path) -> None:
    copytree(stores[0], tmp_path / "copy")
    server = serve(tmp_path / "copy")
    old = local_store(server.url)
    rmtree(tmp_path / "copy")
    copytree(stores[1], tmp_path / "copy")
    new = local_store(server.url)
    assert new != old
    assert same_content(old, stores[0]) and same_content(new, stores[1])


def test_a_limit_removes_the_mirror_that_was_used_least_recently(
    stores, cache, serve, tmp_path, small_store
) -> None:
    urls = [serve(store).url for store in (*stores, small_store)]
    first, second = (local_store(url) for url in urls[:2])
    let_go()
    os.utime(second / INNER / USED, (1, 1))
    limit = folder_bytes(first) + folder_bytes(small_store) + 2**12
    third = local_store(urls[2], limit_bytes=limit)
    assert sorted(p.name for p in cache.iterdir()) == sorted([first.name, third.name])
    assert same_content(first, stores[0]) and same_content(third, small_store)


def test_a_mirror_in_use_is_never_removed(stores, cache, serve) -> None:
    first = local_store(serve(stores[0]).url)
    limit = max(folder_bytes(store) for store in stores) + 2**12
    with pytest.raises(DataError, match="running processes use"):
        local_store(serve(stores[1]).url, limit_bytes=limit)
    assert same_content(first, stores[0])


def test_a_limit_below_the_store_is_told_before_anything_is_copied(stores, cache, serve) -> None:
    server = serve(stores[0])
    with pytest.raises(DataError, match=r"the limit of .* is 1,000"):
        local_store(server.url, limit_bytes=1000)
    assert set(server.requests) == {f"/{MANIFEST}"}


SCRIPT = """
import sys
from alignmlm.interchange.remote import local_store
print(local_store(sys.argv[1]), flush=True)
sys.stdin.read()
"""


def start(url: str) -> subprocess.Popen[str]:
    """A process that mirrors a store and holds it until its input ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, url], text=True, **pipes)


def test_processes_share_one_copy_of_each_shard(stores, cache, serve) -> None:
    from time import sleep

    server = serve(stores[0])
    server.spoil = lambda h, path, data: sleep(0.1) or data
    found = [start(server.url) for _ in range(3)]
    mirrors = {Path(process.communicate("")[0].strip()) for process in found}
    assert [process.returncode for process in found] == [0, 0, 0]
    assert len(mirrors) == 1 and same_content(mirrors.pop(), stores[0])
    shards = {path: n for path, n in server.requests.items() if path.endswith((".bin", ".idx"))}
    assert set(shards.values()) == {1}


def test_a_mirror_that_another_process_uses_is_not_removed(stores, cache, serve) -> None:
    process = start(serve(stores[0]).url)
    mirror = Path(process.stdout.readline().strip())
    limit = max(folder_bytes(store) for store in stores) + 2**12
    other = serve(stores[1]).url
    with pytest.raises(DataError, match="running processes use"):
        local_store(other, limit_bytes=limit)
    assert same_content(mirror, stores[0])
    process.communicate("")
    local_store(other, limit_bytes=limit)
    assert not mirror.exists()


def test_a_mirror_gives_the_same_tokens(stores, cache, serve) -> None:
    mirror = Store(local_store(serve(stores[0]).url, [LANGUAGE]))
    for split in (TRAIN, VALIDATION):
        pairs = zip(
            Store(stores[0]).split(LANGUAGE, split).shards,
            mirror.split(LANGUAGE, split).shards,
            strict=True,
        )
        for there, here in pairs:
            stop = there.entry.tokens
            np.testing.assert_array_equal(here.tokens(0, stop), there.tokens(0, stop))
