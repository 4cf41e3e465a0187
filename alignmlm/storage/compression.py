"""Files, compressed or not, as streams of bytes; a damaged one raises an error that names it."""

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
ZSTD_WINDOW = 2**31  # bytes that a frame may refer back to; the library's default is 128 MiB
INPUT_BYTES = 2**11  # read at once: a 4-byte zstd block may unpack to 128 KiB, so at most 64 MiB


class FrameReader(io.RawIOBase):
    """Decompressed bytes of all frames (streams) of a file, from its first byte to its last one.

    What follows a frame must begin another one; a file that ends too early raises EOFError, as with
    gzip. Time and memory do not depend on how much a part of the file unpacks to.
    """

    def __init__(
        self, raw: io.BufferedReader, begin: Callable[[], Any], *most: int, padding: int = 0
    ) -> None:
        self.raw, self.begin, self.padding = raw, begin, padding
        self.most = most  # bytes to unpack at once, for a decompressor that takes a limit
        self.data, self.pending, self.used, self.zeros = b"", b"", 0, 0
        self.frame: Any = begin()  # the decompressor of a frame that has not ended

    def readable(self) -> bool:
        """Always readable."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Number of bytes put into the buffer; 0 at the end."""
        while self.used == len(self.pending):
            if not self.data and getattr(self.frame, "needs_input", True):
                self.data = self.raw.read(INPUT_BYTES)
                if not self.data:
                    self.check_end()
                    return 0
            self.pending, self.used = self.decompressed(), 0
        part = memoryview(self.pending)[self.used : self.used + len(buffer)]
        buffer[: len(part)] = part
        self.used += len(part)
        return len(part)

    def check_end(self) -> None:
        """Raise unless the file may end here.

        Raises:
            EOFError: it is within a frame, or within a unit of the padding after one.
        """
        if self.frame is not None or self.zeros:
            raise EOFError("compressed file ended before the end of a frame")

    def decompressed(self) -> bytes:
        """The input that was read, decompressed up to the end of a frame; perhaps no bytes."""
        if self.frame is None and not self.skip_padding():
            return b""
        self.frame = self.frame or self.begin()
        part: bytes = self.frame.decompress(self.data, *self.most)
        self.data = self.frame.unused_data if self.frame.eof else b""
        self.frame = None if self.frame.eof else self.frame
        return part

    def skip_padding(self) -> bool:
        """Skip the zeros between two frames, in whole units; returns whether more data follows.

        Raises:
            LZMAError: the next frame starts within a unit.
        """
        if self.padding:
            size = len(self.data)
            self.data = self.data.lstrip(b"\0")
            self.zeros = (self.zeros + size - len(self.data)) % self.padding
        if self.data and self.zeros:
            raise lzma.LZMAError(f"the zeros after a frame are not a multiple of {self.padding}")
        return bool(self.data)


def zstd_frame() -> Any:
    """A decompressor of one zstd frame, also of one that `zstd --long=31` wrote."""
    from zstandard import ZstdDecompressor

    return ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()


def gzip_file(raw: io.BufferedReader) -> gzip.GzipFile:
    """A decompressor of all members of a gzip file.

    Raises:
        EOFError: the file is empty, which Python would take for empty content.
    """
    if not raw.peek(1):
        raise EOFError("the file is empty")
    return gzip.GzipFile(fileobj=raw)


READERS: dict[str, Callable[[io.BufferedReader], io.IOBase]] = {
    ".gz": gzip_file,
    ".bz2": lambda raw: FrameReader(raw, bz2.BZ2Decompressor, CHUNK_BYTES),
    ".xz": lambda raw: FrameReader(raw, lzma.LZMADecompressor, CHUNK_BYTES, padding=4),
    ".zst": lambda raw: FrameReader(raw, zstd_frame),
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
        raise DataError(
            f"{path} is not a complete {FORMS.get(path.suffix)} file: {error}"
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except OSError as error:
        if error.errno is None:  # bz2 has no error of its own
            raise DataError(
                f"{path} is not a complete {FORMS.get(path.suffix)} file: {error}"
            ) from error
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
