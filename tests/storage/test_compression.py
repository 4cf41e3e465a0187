"""Compressed files of one stream or several, to their last byte."""

import bz2
import lzma
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import zstandard

from alignmlm.errors import DataError
from alignmlm.storage.compression import open_stream

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress,
}  # fmt: skip
TEXT = b"".join(b"line %d\n" % number for number in range(1000))
by_form = pytest.mark.parametrize("form", PACKERS)


def unpacked(folder: Path, form: str, data: bytes) -> bytes:
    """What is read from a compressed file."""
    path = folder / f"a.{form}"
    path.write_bytes(data)
    with open_stream(path) as (stream, _):
        return stream.read()


@by_form
def test_all_streams_of_a_file_are_read(tmp_path, form):
    assert unpacked(tmp_path, form, PACKERS[form](TEXT) * 3) == TEXT * 3


@by_form
def test_a_flipped_bit_in_the_header_of_a_later_stream_is_named(tmp_path, form):
    stream = PACKERS[form](TEXT)
    for bit in range(24):  # of its magic number
        damaged = bytearray(stream * 3)
        damaged[len(stream) + bit // 8] ^= 1 << bit % 8
        with pytest.raises(DataError, match=rf"a\.{form} is not a complete"):
            unpacked(tmp_path, form, bytes(damaged))


@by_form
@pytest.mark.parametrize("rest", [b"\n", b"garbage after the stream", bytes(7)])
def test_what_follows_a_stream_and_begins_none_is_named(tmp_path, form, rest):
    with pytest.raises(DataError, match=rf"a\.{form} is not a complete"):
        unpacked(tmp_path, form, PACKERS[form](TEXT) + rest)


@by_form
def test_a_compressed_file_of_no_bytes_is_named(tmp_path, form):
    with pytest.raises(DataError, match=rf"a\.{form} is not a complete"):
        unpacked(tmp_path, form, b"")


@pytest.mark.parametrize("zeros", [4, 40_000])
def test_zeros_pad_the_streams_of_an_xz_file(tmp_path, zeros):
    padded = lzma.compress(TEXT) + bytes(zeros)
    assert unpacked(tmp_path, "xz", padded * 2) == TEXT * 2


def test_zeros_that_are_not_whole_units_of_four_are_named(tmp_path):
    stream = lzma.compress(TEXT)
    with pytest.raises(DataError, match="not a multiple of 4"):
        unpacked(tmp_path, "xz", stream + bytes(6) + stream)


@pytest.mark.parametrize("form", ["bz2", "xz"])
def test_memory_does_not_grow_with_what_a_stream_holds(tmp_path, form):
    path = tmp_path / f"a.{form}"
    path.write_bytes(PACKERS[form](bytes(2**25)))
    tracemalloc.start()
    with open_stream(path) as (stream, _):
        assert sum(len(part) for part in iter(partial(stream.read, 2**16), b"")) == 2**25
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize("form", ["gz", *PACKERS])
def test_a_file_of_no_bytes_is_no_compressed_file(tmp_path, form):
    with pytest.raises(DataError, match=f"a.{form} is not a complete"):
        unpacked(tmp_path, form, b"")


def test_a_zstd_frame_with_a_long_window_is_read(tmp_path):
    long = zstandard.ZstdCompressionParameters(window_log=28)
    packer = zstandard.ZstdCompressor(compression_params=long).compressobj()
    assert unpacked(tmp_path, "zst", packer.compress(TEXT) + packer.flush()) == TEXT
