"""Stores behind a URL: copied to a local mirror, checked block by block, shared by processes.

<cache>/<data id>/        laid out exactly as the store
  manifest.json, tokenizer.json, <language>/<split>/shard-00000.bin ...
  .mirror/
    used                  its modification time is the time of the last use
    .mirror.lock          held while a process begins to read the mirror, or removes it
    readers/              a lock of each process that reads the mirror
    .<language>.<split>.<shard>.lock     held while a shard is copied
    <language>/<split>/   files that are being copied; renamed into place when they are verified

A mirror is named by a hash of its store's content, so it never changes: a rebuilt store has another
mirror. To keep to a limit, whole mirrors are evicted, least recently used first, but none that a
process on this machine reads. The syntax orders of a store are not copied.
"""

import errno
import logging
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import xxhash
from filelock import FileLock

from alignmlm.corpus.sources import expand_path
from alignmlm.data.blocks import first_damaged, reference_hash
from alignmlm.data.shards import Shard, token_dtype
from alignmlm.data.store import MANIFEST, TOKENIZER, TRAIN, VALIDATION, Manifest, parse_manifest
from alignmlm.errors import ConfigError, DataError, quoted
from alignmlm.languages.settings import BASE
from alignmlm.storage.atomic import folder_bytes, modified_ns, rename, replace_bytes, sync
from alignmlm.storage.locks import LockHeldError, held_or_refused, lock_of, locked, take_lock

log = logging.getLogger(__name__)

CACHE = "ALIGNMLM_CACHE"
INNER, USED, READERS = ".mirror", "used", "readers"
COPIES = 8  # at once
ATTEMPTS = 2
CONNECT_S, SILENCE_S = 30, 60  # to connect to an HTTP server, and to wait for more data
HELD: dict[Path, FileLock] = {}  # mirrors that this process uses; locked until it ends

Report = Callable[[int, int], None]  # bytes that are there, and bytes in all


def cache_folder() -> Path:
    """The folder of all mirrors: $ALIGNMLM_CACHE, or ~/.cache/alignmlm/stores."""
    return expand_path(os.environ.get(CACHE) or "~/.cache/alignmlm/stores")


@dataclass(frozen=True, slots=True)
class Remote:
    """A folder behind a URL."""

    url: str
    files: Any  # fsspec.AbstractFileSystem, which has no types
    root: str

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            DataError: it cannot be read.
        """
        with failures_told(f"{self.url}/{name}"):
            return self.files.cat_file(f"{self.root}/{name}")

    def copy(self, name: str, path: Path) -> None:
        """Copy a file.

        Raises:
            DataError: it cannot be read, or the disk is full.
        """
        with failures_told(f"{self.url}/{name}"):
            self.files.get_file(f"{self.root}/{name}", str(path))


@contextmanager
def failures_told(url: str) -> Iterator[None]:
    """Turn whatever a file system raises into an error that a user can fix.

    Raises:
        DataError: anything failed.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{url} does not exist; is there a whole store at this URL?") from error
    except Exception as error:  # each file system has errors of its own
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"no space left on the disk while copying {url}: free space, or name another "
                f"folder in ${CACHE}"
            ) from error
        raise DataError(
            f"{url} cannot be read ({type(error).__name__}: {error}). Is the server there, and "
            f"may you read it? What was copied is kept: the same command goes on from there"
        ) from error


def open_folder(url: str) -> Remote:
    """The folder behind a URL.

    Raises:
        DataError: a protocol that is not known, or whose package is missing.
    """
    from fsspec.core import url_to_fs

    settings = {}
    try:
        if url.startswith(("http://", "https://")):
            from aiohttp import ClientTimeout

            patience = ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
            settings = {"client_kwargs": {"timeout": patience}}
        files, root = url_to_fs(url.rstrip("/"), **settings)
    except (ImportError, ValueError) as error:
        raise DataError(f"{url} cannot be opened: {error}") from error
    return Remote(url.rstrip("/"), files, root.rstrip("/"))


@dataclass(frozen=True, slots=True)
class MirrorShard:
    """A shard of a store, and its place in the mirror."""

    language: str
    split: str
    shard: Shard  # in the mirror

    @property
    def place(self) -> str:
        """Its folder within the store."""
        return f"{self.language}/{self.split}"

    @property
    def bytes(self) -> int:
        """The size of both its files."""
        return sum(self.shard.sizes_bytes.values())

    def is_there(self) -> bool:
        """Whether it was copied; shards are verified before they get there."""
        return has_sizes(self.shard)


def has_sizes(shard: Shard) -> bool:
    """Whether both files of a shard have the right size."""
    paths = (shard.bin_path, shard.idx_path)
    return all(p.is_file() and p.stat().st_size == shard.sizes_bytes[p.name] for p in paths)


def damage_of(shard: Shard) -> str | None:
    """What is wrong with a shard that was just copied; None if it is whole."""
    if not has_sizes(shard):
        sizes_bytes = {
            p.name: p.stat().st_size for p in (shard.bin_path, shard.idx_path) if p.is_file()
        }
        return f"sizes {sizes_bytes}, expected {shard.sizes_bytes} bytes"
    block = first_damaged(shard.words, shard.records, shard.key, 0, shard.entry.blocks - 1)
    if block < 0:
        return None
    tokens, bits = shard.words[block].tobytes(), shard.records[block, 1:].tobytes()
    found_hash = reference_hash(tokens, bits, shard.key, int(block))
    return f"block {block} has hash {found_hash:016x}, expected {int(shard.records[block, 0]):016x}"


def wanted_shards(
    mirror: Path, manifest: Manifest, languages: list[str] | None
) -> list[MirrorShard]:
    """The shards of some languages, or of all.

    Raises:
        DataError: the store lacks a language, or its manifest names a path outside the mirror.
    """
    dtype, wanted = token_dtype(manifest.vocabulary.size), []
    for language in languages or sorted(manifest.splits):
        splits = manifest.splits.get(language)
        if splits is None or not BASE.fullmatch(language) or not {*splits} <= {TRAIN, VALIDATION}:
            has = ", ".join(sorted(manifest.splits))
            raise DataError(f"the store has no language {quoted(language)} to copy; it has {has}")
        for split, entries in splits.items():
            folder = mirror / language / split
            wanted += [
                MirrorShard(language, split, Shard(folder, entry, dtype)) for entry in entries
            ]
    return wanted


def copied_shard(remote: Remote, mirror: Path, wanted: MirrorShard) -> int:
    """Copy a shard unless it is there; returns its size in bytes.

    Raises:
        DataError: the server does not answer, or what it sent was damaged each time.
    """
    name = f"{wanted.language}.{wanted.split}.{wanted.shard.entry.name}"
    with locked(mirror / INNER / name):
        if not wanted.is_there():
            partial = mirror / INNER / wanted.place
            partial.mkdir(parents=True, exist_ok=True)
            verified_copy(remote, wanted, partial)
            wanted.shard.bin_path.parent.mkdir(parents=True, exist_ok=True)
            for path in (wanted.shard.bin_path, wanted.shard.idx_path):
                sync(partial / path.name)
                rename(partial / path.name, path)
    return wanted.bytes


def verified_copy(remote: Remote, wanted: MirrorShard, folder: Path) -> None:
    """Copy both files of a shard into a folder, with one retry.

    Raises:
        DataError: it failed, or was damaged, each time.
    """
    copy = Shard(folder, wanted.shard.entry, wanted.shard.dtype)
    for attempt in range(ATTEMPTS):
        try:
            return copy_once(remote, wanted, copy)
        except DataError as error:
            for name in copy.sizes_bytes:
                (folder / name).unlink(missing_ok=True)
            if attempt == ATTEMPTS - 1:
                raise
            log.info("%s; retrying", error)
            copy = Shard(folder, copy.entry, copy.dtype)


def copy_once(remote: Remote, wanted: MirrorShard, copy: Shard) -> None:
    """Copy both files of a shard and verify them.

    Raises:
        DataError: the copy failed, or is damaged.
    """
    for name in copy.sizes_bytes:
        remote.copy(f"{wanted.place}/{name}", copy.bin_path.parent / name)
    if (damage := damage_of(copy)) is not None:
        raise DataError(
            f"{remote.url}/{wanted.place}/{copy.entry.name}.bin (or its .idx) arrived damaged: "
            f"{damage}; if that happens again, run `alignmlm data verify` where the store lies"
        )


def copy_shards(remote: Remote, mirror: Path, shards: list[MirrorShard], report: Report) -> None:
    """Copy missing shards, several at once.

    Raises:
        DataError: one cannot be copied; those that were are kept.
    """
    missing = [wanted for wanted in shards if not wanted.is_there()]
    whole = sum(wanted.bytes for wanted in shards)
    done = whole - sum(wanted.bytes for wanted in missing)
    report(done, whole)
    pool = ThreadPoolExecutor(COPIES)
    try:
        jobs = [pool.submit(copied_shard, remote, mirror, wanted) for wanted in missing]
        for job in as_completed(jobs):
            done += job.result()
            report(done, whole)
    finally:
        pool.shutdown(cancel_futures=True)


def hold(mirror: Path) -> None:
    """Protect a mirror from eviction as long as this process lives."""
    while mirror not in HELD:
        with suppress(FileNotFoundError), locked(mirror / INNER / "mirror"):  # gone if just removed
            reader = f"{socket.gethostname()}-{os.getpid()}.lock"
            HELD[mirror] = take_lock(mirror / INNER / READERS / reader)
    (mirror / INNER / USED).touch()


def is_read(mirror: Path) -> bool:
    """Whether a process reads a mirror; the caller holds its lock."""
    for path in (mirror / INNER / READERS).glob("*.lock"):
        try:
            take_lock(path).release()
        except LockHeldError:
            return True
        path.unlink()
    return False


def removed(mirror: Path) -> bool:
    """Remove a mirror unless it is in use; returns whether it is gone."""
    if not mirror.exists():
        return True  # another process was faster
    try:
        with held_or_refused(lock_of(mirror / INNER / "mirror")):
            if is_read(mirror):
                return False
            aside = mirror.with_name(f".removed-{os.getpid()}-{mirror.name}")
            mirror.rename(aside)
            rmtree(aside)
            return True
    except LockHeldError:
        return False


def make_room(cache: Path, mirror: Path, wanted_bytes: int, limit_bytes: int) -> None:
    """Evict other mirrors, least recently used first, until this one may grow to wanted_bytes.

    Raises:
        DataError: the limit is too low for the store, or for it and what processes use.
    """
    if wanted_bytes > limit_bytes:
        raise DataError(
            f"{mirror} would hold {wanted_bytes:,} bytes, and the limit of {cache} is "
            f"{limit_bytes:,}: ask for fewer languages, or raise the limit"
        )
    marks = [mark for mark in cache.glob(f"*/{INNER}/{USED}") if mark.parents[1] != mirror]
    marks.sort(key=lambda mark: (modified_ns(mark), mark))
    sizes = [folder_bytes(mark.parents[1]) for mark in marks]
    total = sum(sizes) + wanted_bytes
    for mark, size in zip(marks, sizes, strict=True):
        if total > limit_bytes and removed(mark.parents[1]):
            log.info("removed %s, %s bytes", mark.parents[1], f"{size:,}")
            total -= size
    if total > limit_bytes:
        raise DataError(
            f"{cache} would hold {total:,} bytes, its limit is {limit_bytes:,}, and running "
            f"processes use all the rest of it: wait for them, or raise the limit"
        )


def read_manifest(remote: Remote) -> tuple[Manifest, bytes]:
    """The manifest behind a URL and its text.

    Raises:
        DataError: there is none, or it is damaged.
    """
    text, path = remote.read(MANIFEST), Path(remote.url, MANIFEST)
    try:
        return parse_manifest(text, path), text
    except DataError as error:
        message = str(error).replace(str(path), f"{remote.url}/{MANIFEST}")
        raise DataError(message) from error


def copy_tokenizer(remote: Remote, mirror: Path, manifest: Manifest) -> None:
    """Copy the tokenizer unless it is there; a damaged copy is retried once.

    Raises:
        DataError: it cannot be read, or both copies were damaged.
    """
    path, expected, digest = mirror / TOKENIZER, manifest.tokenizer_xxh3, None
    if path.is_file() and xxhash.xxh3_64_hexdigest(path.read_bytes()) == expected:
        return
    for _ in range(ATTEMPTS):
        text = remote.read(TOKENIZER)
        if (digest := xxhash.xxh3_64_hexdigest(text)) == expected:
            return replace_bytes(path, text)
    raise DataError(f"{remote.url}/{TOKENIZER} has xxh3 {digest}, the manifest says {expected}")


def local_store(
    url_or_path: str,
    languages: list[str] | None = None,
    limit_bytes: int | None = None,
    report: Report = lambda done, whole: None,
) -> Path:
    """A folder that `Store` can open: the path itself, or the mirror of the store behind a URL.

    A mirror holds the shards of the languages asked for (none: all of them) and those of earlier
    calls. To keep the cache within limit_bytes, other mirrors may be removed.

    Raises:
        DataError: the server is gone, sends something other than the manifest says, or has no such
            language; the limit or the disk is too small.
        ConfigError: a limit below 1 byte.
    """
    if "://" not in url_or_path:
        return expand_path(url_or_path)
    if limit_bytes is not None and limit_bytes < 1:
        raise ConfigError("limit_bytes", limit_bytes, "be at least 1")
    remote, cache = open_folder(url_or_path), cache_folder()
    manifest, text = read_manifest(remote)
    mirror = cache / manifest.data_id
    shards = wanted_shards(mirror, manifest, languages)
    hold(mirror)
    if limit_bytes is not None:
        missing_bytes = sum(wanted.bytes for wanted in shards if not wanted.is_there())
        make_room(cache, mirror, folder_bytes(mirror) + missing_bytes, limit_bytes)
    copy_tokenizer(remote, mirror, manifest)
    copy_shards(remote, mirror, shards, report)
    replace_bytes(mirror / MANIFEST, text)
    return mirror
