"""Text files, compressed or not: UTF-8, with or without a byte-order mark.

Lines end at LF, CRLF or CR and nowhere else: a form feed, U+0085 or U+2028 inside a line is a
character like any other.
"""

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from alignmlm.errors import DataError
from alignmlm.storage.compression import open_stream

MOST_CHARACTERS = 2**26  # of a line, which is held in memory
MOST_BYTES = 2**31  # of a file that is read whole
BOM = "\ufeff"
OTHER_MARKS = {  # UTF-32 first: its little-endian mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32 (little-endian)",
    codecs.BOM_UTF32_BE: "UTF-32 (big-endian)",
    codecs.BOM_UTF16_LE: "UTF-16 (little-endian)",
    codecs.BOM_UTF16_BE: "UTF-16 (big-endian)",
}


class Line(NamedTuple):
    """One line of a file."""

    number: int  # from 1
    text: str  # without its end
    read: float  # share of the file's bytes on disk that were read up to here


def check_encoding(path: Path, start: bytes) -> None:
    """Raise unless a file, judged by its first bytes, may be UTF-8.

    Raises:
        DataError: a byte-order mark of another encoding, or a zero byte, as in UTF-16.
    """
    for mark, name in OTHER_MARKS.items():
        if start.startswith(mark):
            raise DataError(f"{path} is {name} by its byte-order mark; save it as UTF-8")
    if b"\0" in start:
        raise DataError(f"{path} begins with zeros, as UTF-16 and UTF-32 do; save it as UTF-8")


def not_utf8(place: str, byte: int, column: int) -> DataError:
    """The error for a byte that is not UTF-8; `column` is a character of its line, from 1."""
    return DataError(f"{place}: byte 0x{byte:02x} at column {column} is not UTF-8")


def check_line(place: str, line: str) -> None:
    """Raise unless a line, decoded with `surrogateescape`, is UTF-8 and not too long.

    Raises:
        DataError: it is not UTF-8, or it is too long to be a line.
    """
    try:
        line.encode()
    except UnicodeEncodeError as error:
        raise not_utf8(place, ord(line[error.start]) - 0xDC00, error.start + 1) from None
    if len(line) >= MOST_CHARACTERS and not line.endswith("\n"):
        raise DataError(f"{place}: a line of more than {MOST_CHARACTERS:,} characters")


@contextmanager
def open_text(path: Path) -> Iterator[tuple[io.TextIOWrapper, io.BufferedReader]]:
    """A text file past its byte-order mark, and the underlying file.

    Bytes that are not UTF-8 become lone surrogates, see check_line.
    """
    with open_stream(path) as (stream, raw):
        start = stream.peek(4)[:4]
        check_encoding(path, start)
        stream.read(len(codecs.BOM_UTF8) * start.startswith(codecs.BOM_UTF8))
        with io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape") as text:
            yield text, raw


def lines_of(path: Path) -> Iterator[Line]:
    """The lines of a text file.

    Raises:
        DataError: the file cannot be read, is damaged, is not UTF-8, or has an overlong line.
    """
    size = max(path.stat().st_size, 1) if path.exists() else 1
    with open_text(path) as (text, raw):
        for number, line in enumerate(iter(partial(text.readline, MOST_CHARACTERS), ""), start=1):
            if not line.isascii() or len(line) >= MOST_CHARACTERS:
                check_line(f"{path}:{number}", line)
            yield Line(number, line.removesuffix("\n"), min(raw.tell() / size, 1.0))


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line of a file; see lines_of."""
    return ((line.number, line.text) for line in lines_of(path))


def split_blanks(line: str) -> list[str]:
    """The fields between spaces and tabs; a no-break space belongs to its field."""
    return [field for field in line.replace("\t", " ").split(" ") if field]


def whole_text(path: Path) -> str:
    """The text of a file.

    Raises:
        DataError: the file cannot be read, is damaged, too large or not UTF-8.
    """
    with open_stream(path) as (stream, _):
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise DataError(f"{path} holds more than {MOST_BYTES:,} bytes, too many to read as a whole")
    check_encoding(path, data[:4])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8-sig")) + 1
        number = before.count(b"\n") + 1
        raise not_utf8(f"{path}:{number}", data[error.start], column) from None
