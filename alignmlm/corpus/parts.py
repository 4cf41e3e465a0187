"""The corpus in parts of a few megabytes, cut at document boundaries, the same for any rank.

Where a part ends depends on the corpus alone. A part is first written as sentences, with a record
of each document, and later as tokens. So a build can be interrupted and resumed, and any rank can
process any part.
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from math import ceil
from operator import itemgetter

import numpy as np
import xxhash
from jaxtyping import Bool, Shaped

from alignmlm.corpus.mpi import Ranks
from alignmlm.corpus.readers import RawDocument, read_piece
from alignmlm.corpus.sources import Piece, SourceConfig, check_unchanged
from alignmlm.corpus.workspace import Workspace
from alignmlm.data.text import plain_line
from alignmlm.errors import DataError
from alignmlm.storage.arrays import read_npy
from alignmlm.storage.atomic import replace_bytes
from alignmlm.storage.compression import open_stream
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.records import check_keys

PART_CHARACTERS = 2**21
PIECES_OF_A_RANK = 4  # a file that is more than a quarter of a rank's work is read by all ranks
DOCUMENT = np.dtype([("high", "<u8"), ("low", "<u8"), ("split", "<u8"), ("bytes", "<u4")])
ZSTD_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Part:
    """A run of documents of one piece."""

    source: int  # number of the language in the recipe
    piece: int
    number: int  # within the piece

    @property
    def name(self) -> str:
        """The name of its files, without their suffix."""
        return f"{self.piece:05d}-{self.number:05d}"


def numbered_by_part(raws: Iterable[RawDocument]) -> Iterator[tuple[int, RawDocument]]:
    """Documents of a piece, each with the number of its part."""
    number = characters = 0
    for raw in raws:
        yield number, raw
        characters += raw.characters
        if characters >= PART_CHARACTERS:
            number, characters = number + 1, 0


def document_record(lines: list[str], language: str) -> tuple[int, int, int, int]:
    """Hash of a document and its language (high, low), hash that decides its split, its size."""
    text = "\n".join(map(plain_line, lines)).encode()
    whole = xxhash.xxh3_128_intdigest(text, seed=xxhash.xxh3_64_intdigest(language.encode()))
    return whole >> 64, whole % 2**64, xxhash.xxh3_64_intdigest(text), min(len(text), 2**32 - 1)


def is_validation(
    documents: Shaped[np.ndarray, " document"], share: float
) -> Bool[np.ndarray, " document"]:
    """Which documents are held out; this depends on their text alone."""
    return documents["split"] < np.uint64(ceil(share * 2**64))


def npy(array: np.ndarray) -> bytes:
    """An array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def write_text(place: Workspace, part: Part, language: str, raws: Iterable[RawDocument]) -> float:
    """Write a part's sentences and document records; documents without text are left out.

    Returns the share of the piece, in [0, 1], that has been read at the end of the part.
    """
    from zstandard import ZstdCompressor

    packer = ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj()
    packed, records, read = [], [], 0.0
    for raw in raws:
        read = raw.read
        if lines := raw.lines():
            packed.append(packer.compress(("\n".join(lines) + "\n\n").encode()))
            records.append(document_record(lines, language))
    packed.append(packer.flush())
    replace_bytes(place.text / f"{part.name}.zst", b"".join(packed))
    replace_bytes(place.text / f"{part.name}.npy", npy(np.array(records, DOCUMENT)))
    return read


def read_documents(place: Workspace, part: Part) -> Iterator[list[str]]:
    """The documents of a part, each as its lines; see text.from_line.

    Raises:
        DataError: its file is damaged.
    """
    try:
        with open_stream(place.text / f"{part.name}.zst") as (stream, _):
            text = stream.read().decode()
    except DataError as error:
        raise DataError(f"{error}; remove {place.folder}") from error
    return (document.split("\n") for document in text.split("\n\n") if document)


def read_records(place: Workspace, part: Part) -> Shaped[np.ndarray, " document"]:
    """The records of a part's documents."""
    return read_npy(place.text / f"{part.name}.npy")


def has_text(place: Workspace, part: Part) -> bool:
    """Whether a part was read; its record is written last."""
    return (place.text / f"{part.name}.npy").exists()


def readers_of(sizes_bytes: list[int], ranks: int) -> list[int | None]:
    """The rank that reads each piece; None: all ranks.

    Pieces are assigned largest first, each to the least loaded rank. Where all ranks read a piece,
    each reads all of it and writes its share of the parts.
    """
    readers: list[int | None] = [None] * len(sizes_bytes)
    loads = [0] * ranks
    large = sum(sizes_bytes) / (PIECES_OF_A_RANK * ranks)
    for piece in sorted(range(len(sizes_bytes)), key=lambda i: (-sizes_bytes[i], i)):
        if sizes_bytes[piece] <= large:
            readers[piece] = loads.index(min(loads))
            loads[readers[piece] or 0] += sizes_bytes[piece] + 1
    return readers


def parts_in(place: Workspace, number: int, piece: Piece) -> list[Part] | None:
    """The parts of a fully read piece; None if it was not read to its end."""
    done = place.text / f"{number:05d}.json"
    if not done.exists():
        return None
    content = read_json(done)
    check_keys(content, {"parts": int}, done, DataError)
    return [Part(piece.source, number, i) for i in range(content["parts"])]


def is_read(place: Workspace, number: int, piece: Piece) -> bool:
    """Whether a piece was read to its end and every part of it is there."""
    parts = parts_in(place, number, piece)
    return parts is not None and all(has_text(place, part) for part in parts)


@dataclass(frozen=True, slots=True)
class AssignedPiece:
    """A piece that this rank reads."""

    number: int
    piece: Piece
    alone: bool  # False: all ranks read it, and each writes its share of the parts

    def owns(self, part: int, ranks: Ranks) -> bool:
        """Whether a part of the piece is this rank's work."""
        return self.alone or (self.number + part) % ranks.size == ranks.rank


def assigned_pieces(place: Workspace, pieces: list[Piece], ranks: Ranks) -> list[AssignedPiece]:
    """The pieces that this rank has yet to read."""
    todo = ranks.of_first(
        lambda: [i for i, piece in enumerate(pieces) if not is_read(place, i, piece)]
    )
    readers = readers_of([pieces[i].bytes for i in todo], ranks.size)
    return [
        AssignedPiece(number, pieces[number], reader is not None)
        for number, reader in zip(todo, readers, strict=True)
        if reader in (None, ranks.rank)
    ]


def do_job(
    place: Workspace,
    job: AssignedPiece,
    source: SourceConfig,
    ranks: Ranks,
    report: Callable[[float], None],
) -> None:
    """Read a piece to its end; write those of its parts that this rank owns and that are missing.

    Raises:
        DataError: a file cannot be read, or changed while it was read.
    """
    count = 0
    raws = numbered_by_part(read_piece(job.piece, source))
    for number, group in groupby(raws, itemgetter(0)):
        part = Part(job.piece.source, job.number, number)
        if job.owns(number, ranks) and not has_text(place, part):
            report(write_text(place, part, source.language, (raw for _, raw in group)))
        count += 1
    for file in job.piece.files:
        check_unchanged(file)
    if job.alone or ranks.first:
        done = place.text / f"{job.number:05d}.json"
        replace_bytes(done, json.dumps({"parts": count}).encode())


def write_texts(
    place: Workspace,
    sources: list[SourceConfig],
    pieces: list[Piece],
    ranks: Ranks,
    report: Callable[[float], None],
) -> list[Part]:
    """Read the pieces not yet read, each rank its share; returns all parts in corpus order.

    Raises:
        DataError: a corpus file cannot be read, or changed while it was read.
    """
    jobs = assigned_pieces(place, pieces, ranks)
    whole, before = sum(job.piece.bytes for job in jobs) or 1, 0
    for job in jobs:
        shown = partial(report_piece, report, before / whole, job.piece.bytes / whole)
        do_job(place, job, sources[job.piece.source], ranks, shown)
        before += job.piece.bytes
    ranks.meet()
    return ranks.of_first(lambda: all_parts(place, pieces))


def report_piece(
    report: Callable[[float], None], before: float, weight: float, share: float
) -> None:
    """Report overall progress, given the progress within one piece."""
    report(before + weight * share)


def all_parts(place: Workspace, pieces: list[Piece]) -> list[Part]:
    """Every part of the corpus, in order.

    Raises:
        DataError: one is missing because ranks saw different texts.
    """
    parts = [part for i, piece in enumerate(pieces) for part in parts_in(place, i, piece) or []]
    for part in parts:
        if not has_text(place, part):
            names = ", ".join(file.name for file in pieces[part.piece].files)
            raise DataError(f"{names} changed while it was read; run again with --restart")
    return parts
