"""Exact deduplication of documents by 128-bit hashes, in bounded memory.

Every rank distributes the hashes of its parts to buckets by their leading bits; then each bucket is
sorted on its own, and all but the first of each set of equal documents are recorded.
"""

from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import numpy as np
from jaxtyping import Bool, Int, Shaped

from alignmlm.corpus.mpi import Ranks
from alignmlm.corpus.parts import Part, read_records
from alignmlm.corpus.workspace import Workspace
from alignmlm.storage.atomic import replace_bytes

BUCKET_DOCUMENTS = 2**20  # in a bucket, approximately
ENTRY = np.dtype([("high", "<u8"), ("low", "<u8"), ("number", "<u8")])
DONE = "done"


def first_numbers(place: Workspace, parts: list[Part], ranks: Ranks) -> Int[np.ndarray, " bound"]:
    """The number of documents before each part and, last, in the whole corpus."""
    counts = ranks.gathered([len(read_records(place, part)) for part in ranks.mine(parts)])
    whole = np.zeros(len(parts) + 1, np.int64)
    for rank, documents in enumerate(counts):
        whole[1 + rank :: ranks.size] = documents
    return np.cumsum(whole)


def deal_out(
    place: Workspace, parts: list[Part], numbers: Int[np.ndarray, " bound"], bits: int, ranks: Ranks
) -> None:
    """Append the hashes of this rank's parts to this rank's file of each bucket."""
    for index in ranks.mine(range(len(parts))):
        records = read_records(place, parts[index])
        entries = np.empty(len(records), ENTRY)
        entries["high"], entries["low"] = records["high"], records["low"]
        entries["number"] = numbers[index] + np.arange(len(records))
        bucket = bucket_of(entries, bits)
        for number in np.unique(bucket):
            path = place.duplicates / f"{number:05d}-{ranks.rank:05d}.hashes"
            with path.open("ab") as file:
                file.write(entries[bucket == number].tobytes())


def bucket_of(entries: Shaped[np.ndarray, " entry"], bits: int) -> Int[np.ndarray, " entry"]:
    """The bucket of each hash: the number that its first bits form."""
    return (entries["high"] >> np.uint64(63 - bits) >> np.uint64(1)).astype(np.int64)


def repeated(entries: Shaped[np.ndarray, " entry"]) -> Int[np.ndarray, " duplicate"]:
    """Numbers of the documents that are equal to an earlier one, sorted."""
    entries = entries[np.lexsort((entries["number"], entries["low"], entries["high"]))]
    same = (entries["high"][1:] == entries["high"][:-1]) & (
        entries["low"][1:] == entries["low"][:-1]
    )
    return np.sort(entries["number"][1:][same].astype(np.int64))


def note_bucket(place: Workspace, bucket: int) -> None:
    """Record which documents of a bucket are left out."""
    paths = sorted(place.duplicates.glob(f"{bucket:05d}-*.hashes"))
    entries = [np.frombuffer(path.read_bytes(), ENTRY) for path in paths]
    numbers = repeated(np.concatenate([np.empty(0, ENTRY), *entries]))
    replace_bytes(place.duplicates / f"{bucket:05d}.numbers", numbers.astype("<i8").tobytes())
    for path in paths:
        path.unlink()


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The documents that are left out."""

    first_numbers: Int[np.ndarray, " bound"]  # documents before each part, and in all
    buckets: list[Int[np.ndarray, " _"]]  # numbers of those left out, sorted, memory-mapped

    def kept(self, part: int, documents: int) -> Bool[np.ndarray, " document"]:
        """Which of a part's documents are kept."""
        mask = np.ones(documents, bool)
        for numbers in self.buckets:
            first = self.first_numbers[part]
            start, stop = np.searchsorted(numbers, (first, first + documents))
            mask[np.asarray(numbers[start:stop]) - first] = False
        return mask


NO_DUPLICATES = Duplicates(np.zeros(1, np.int64), [])


def empty_folder(folder: Path) -> None:
    """Create a folder, or empty it."""
    rmtree(folder, ignore_errors=True)
    folder.mkdir()


def find_duplicates(place: Workspace, parts: list[Part], ranks: Ranks) -> Duplicates:
    """All documents that are equal to an earlier one of their language."""
    numbers = first_numbers(place, parts, ranks)
    done = place.duplicates / DONE
    if not ranks.of_first(done.exists):
        ranks.of_first(lambda: empty_folder(place.duplicates))
        bits = (int(numbers[-1]) // BUCKET_DOCUMENTS).bit_length()
        deal_out(place, parts, numbers, bits, ranks)
        ranks.meet()
        for bucket in ranks.mine(range(2**bits)):
            note_bucket(place, bucket)
        ranks.meet()
        if ranks.first:
            replace_bytes(done, b"")
    ranks.meet()
    paths = sorted(place.duplicates.glob("*.numbers"))
    return Duplicates(numbers, [np.memmap(p, "<i8", "r") for p in paths if p.stat().st_size])


def dropped_documents(
    parts: list[Part], duplicates: Duplicates, languages: list[str]
) -> dict[str, int]:
    """How many documents of each language are left out."""
    counts = dict.fromkeys(languages, 0)
    bounds = duplicates.first_numbers
    for index, part in enumerate(parts):
        documents = int(bounds[index + 1] - bounds[index])
        counts[languages[part.source]] += int((~duplicates.kept(index, documents)).sum())
    return counts
