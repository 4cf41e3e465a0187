"""Text files, compressed or not, opened for reading."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from alignmlm.errors import DataError

CHUNK_BYTES = 2**17
FORMS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}


class ZstdReader(io.RawIOBase):
    """The text of a zstd file; one that ends too early is an EOFError, as with other forms."""

    def __init__(self, raw: io.BufferedReader) -> None:
        self.raw, self.pending = raw, b""
        self.frame: Any = None  # the decompressor of a frame that has not ended

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """How many bytes were put into the buffer; 0 at the end."""
        while not self.pending:
            if not (data := self.raw.read(CHUNK_BYTES)):
                if self.frame is not None:
                    raise EOFError("compressed file ended before the end of a zstd frame")
                return 0
            self.pending = self.decompressed(data)
        size = min(len(buffer), len(self.pending))
        buffer[:size] = self.pending[:size]
        self.pending = self.pending[size:]
        return size

    def decompressed(self, data: bytes) -> bytes:
        """What some bytes of the file hold, over the bounds of frames."""
        from zstandard import ZstdDecompressor

        found = []
        while data:
            frame = self.frame or ZstdDecompressor().decompressobj()
            found.append(frame.decompress(data))
            data = frame.unused_data
            self.frame = None if frame.eof else frame
        return b"".join(found)


READERS: dict[str, Callable[[io.BufferedReader], io.BufferedIOBase]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda raw: io.BufferedReader(ZstdReader(raw), CHUNK_BYTES),
}


@contextmanager
def open_counted(path: Path) -> Iterator[tuple[io.TextIOWrapper, io.BufferedReader]]:
    """A text file, and the file below, whose position says how much of it was read."""
    with path.open("rb") as raw:
        reader = READERS.get(path.suffix)
        stream = cast(BinaryIO, reader(raw) if reader else raw)
        with io.TextIOWrapper(stream, encoding="utf-8") as text:
            yield text, raw


@contextmanager
def open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """A text file, decompressed where its name says so."""
    with open_counted(path) as (text, _):
        yield text


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Errors of reading a damaged file become one that names it.

    Raises:
        DataError: the file is not UTF-8, or a compressed file that is damaged or cut.
    """
    from zstandard import ZstdError

    damage = (UnicodeDecodeError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, ZstdError)
    form = FORMS.get(path.suffix, "")
    told = f"{path} is not a UTF-8 text" + (f" or not a whole {form} file" if form else "")
    try:
        yield
    except damage as error:
        raise DataError(f"{told}: {error}") from error
    except OSError as error:
        if error.errno is None:  # bz2 has no error of its own
            raise DataError(f"{told}: {error}") from error
        raise
