"""Files, compressed or not, as streams of bytes; a damaged one is an error that names it."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from alignmlm.errors import DataError

FORMS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
CHUNK_BYTES = 2**17
ZSTD_INPUT_BYTES = 2**11  # at once: a block of 4 bytes may unpack to 128 KiB, so at most 64 MiB


class ZstdReader(io.RawIOBase):
    """Decompressed bytes of a zstd file; one that ends too early is an EOFError, as with gzip.

    Time and memory do not depend on how much a part of the file unpacks to.
    """

    def __init__(self, raw: io.BufferedReader) -> None:
        self.raw, self.pending, self.used = raw, b"", 0
        self.frame: Any = None  # the decompressor of a frame that has not ended

    def readable(self) -> bool:
        """Always readable."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Number of bytes put into the buffer; 0 at the end."""
        while self.used == len(self.pending):
            if not (data := self.raw.read(ZSTD_INPUT_BYTES)):
                if self.frame is not None:
                    raise EOFError("compressed file ended before the end of a zstd frame")
                return 0
            self.pending, self.used = self.decompressed(data), 0
        part = memoryview(self.pending)[self.used : self.used + len(buffer)]
        buffer[: len(part)] = part
        self.used += len(part)
        return len(part)

    def decompressed(self, data: bytes) -> bytes:
        """What some bytes of the file decompress to, across frame boundaries."""
        from zstandard import ZstdDecompressor

        parts = []
        while data:
            frame = self.frame or ZstdDecompressor().decompressobj()
            parts.append(frame.decompress(data))
            data = frame.unused_data
            self.frame = None if frame.eof else frame
        return b"".join(parts)


READERS: dict[str, Callable[[io.BufferedReader], io.BufferedIOBase]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda raw: io.BufferedReader(ZstdReader(raw), CHUNK_BYTES),
}


def inner_suffix(path: Path) -> str:
    """The ending of a file's name, without that of its compression."""
    return Path(path.stem).suffix if path.suffix in FORMS else path.suffix


@contextmanager
def open_stream(path: Path) -> Iterator[tuple[io.BufferedReader, io.BufferedReader]]:
    """The decompressed content of a file, and the file itself, whose position is the progress.

    Raises:
        DataError: the file cannot be read, or is damaged.
    """
    with damage_named(path), path.open("rb") as raw:
        reader = READERS.get(path.suffix)
        if reader is None:
            yield raw, raw
        else:
            with io.BufferedReader(cast(Any, reader(raw)), CHUNK_BYTES) as stream:
                yield stream, raw


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn errors of reading a file into one that names it.

    Raises:
        DataError: the file is missing or cannot be read, or a compressed file is damaged or cut.
    """
    from zstandard import ZstdError

    damage = (gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, ZstdError)
    try:
        yield
    except damage as error:
        raise DataError(f"{path} is not a whole {FORMS.get(path.suffix)} file: {error}") from error
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except OSError as error:
        if error.errno is None:  # bz2 has no error of its own
            raise DataError(
                f"{path} is not a whole {FORMS.get(path.suffix)} file: {error}"
            ) from error
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
