"""Token files of other projects, mapped and checked: Megatron-LM's .bin/.idx, datatrove's .ds."""

from dataclasses import dataclass
from pathlib import Path
from struct import Struct

import numpy as np
from jaxtyping import Int, Integer

from alignmlm.errors import DataError

HEADER = Struct("<9sQBQQ")  # magic, version, type of the tokens, sequences, document bounds
MAGIC = b"MMIDIDX\x00\x00"
TYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
CHECKED_AT_ONCE = 2**20  # sequences


@dataclass(frozen=True, slots=True)
class TokenFile:
    """Foreign tokens, mapped: documents are runs of sequences, sequences are runs of tokens."""

    path: Path
    ids: Integer[np.ndarray, " token"]
    inner: Integer[np.ndarray, " bound"]  # where all sequences but the first one start
    unit: int  # bytes per token where `inner` counts bytes, 1 where it counts tokens
    groups: Int[np.ndarray, " document"] | None = None  # sequences before each; None: one each

    @property
    def sequences(self) -> int:
        """How many sequences there are."""
        return len(self.inner) + 1

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return self.sequences if self.groups is None else len(self.groups) - 1

    def bounds(self, first: int, stop: int) -> Int[np.ndarray, " bound"]:
        """How many tokens lie before each of the sequences first to stop, both included."""
        inside = np.asarray(self.inner[max(first - 1, 0) : stop]).astype(np.int64) // self.unit
        head = [0] if first == 0 else []
        return np.concatenate([head, inside, [len(self.ids)] * (stop == self.sequences)]).astype(
            np.int64
        )

    def document(self, number: int) -> list[Int[np.ndarray, " token"]]:
        """The sequences of a document."""
        first, stop = number, number + 1
        if self.groups is not None:
            first, stop = (int(bound) for bound in self.groups[number : number + 2])
        if first == stop:
            return []
        bounds = self.bounds(first, stop)
        ids = self.ids[bounds[0] : bounds[-1]].astype(np.int64)
        return np.split(ids, bounds[1:-1] - bounds[0])


def mapped(path: Path, dtype: str) -> np.ndarray:
    """A file as a memory-mapped array.

    Raises:
        DataError: it is missing, empty, or ends within a number.
    """
    size = path.stat().st_size if path.is_file() else None
    width = np.dtype(dtype).itemsize
    if not size or size % width:
        problem = "is missing" if size is None else f"has {size} bytes"
        raise DataError(f"{path} {problem}; it must hold whole numbers of {width} bytes")
    return np.asarray(np.memmap(path, dtype, "r"))


def damaged(path: Path, why: str) -> DataError:
    """The error for a file that contradicts its index."""
    return DataError(
        f"{path} is damaged or cut off: {why}; copy it again, with the index that was written with "
        f"it (an index describes one file, not several that were joined)"
    )


def megatron_header(path: Path) -> tuple[np.dtype, int, int]:
    """Type of the tokens, number of sequences and of document bounds of an .idx file.

    Raises:
        DataError: it is no such file, of another version, or its size is wrong.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; it belongs to {path.with_suffix('.bin')}")
    with path.open("rb") as file:
        start = file.read(HEADER.size)
    if start[: len(MAGIC)] != MAGIC:
        magic = start[: len(MAGIC)]
        raise DataError(
            f"{path} is no index of Megatron-LM: it starts with {magic!r}, not {MAGIC!r}"
        )
    size = path.stat().st_size
    if size < HEADER.size:
        raise damaged(path, f"{size} bytes, and the header alone has {HEADER.size}")
    _, version, code, sequences, bounds = HEADER.unpack(start)
    if version != 1 or code not in TYPES:
        raise DataError(
            f"{path} has version {version} and token type {code}; only version 1 with the integer "
            f"types {', '.join(map(str, TYPES))} can be read"
        )
    least = HEADER.size + 12 * sequences + 8 * bounds
    if size not in (least, least + sequences):  # with one mode byte per sequence
        raise damaged(path, f"{size} bytes, and {least} for {sequences} sequences")
    return np.dtype(TYPES[code]), sequences, bounds


def open_megatron(stem: str) -> TokenFile:
    """The tokens of an indexed dataset, checked against its index.

    Raises:
        DataError: files that are missing, damaged, cut off or of another format.

    Source: NVIDIA/Megatron-LM, megatron/core/datasets/indexed_dataset.py.
    """
    bin_path, idx_path = Path(f"{stem}.bin"), Path(f"{stem}.idx")
    dtype, sequences, bounds = megatron_header(idx_path)
    index = np.memmap(idx_path, "u1", "r")
    at = HEADER.size
    lengths = np.frombuffer(index, "<i4", sequences, at)
    pointers = np.frombuffer(index, "<i8", sequences, at + 4 * sequences)
    groups = np.frombuffer(index, "<i8", bounds, at + 12 * sequences)
    ids = mapped(bin_path, dtype.str)
    if not sequences or pointers[0] != 0:
        raise damaged(idx_path, "no sequence starts at byte 0")
    token_file = TokenFile(bin_path, ids, pointers[1:], dtype.itemsize, groups)
    check_bounds(token_file, idx_path, lengths)
    if len(groups) < 2 or groups[0] != 0 or groups[-1] != sequences or np.any(np.diff(groups) < 0):
        raise damaged(idx_path, f"its document bounds do not rise from 0 to {sequences}")
    return token_file


def check_bounds(file: TokenFile, index: Path, lengths: np.ndarray | None = None) -> None:
    """Raise unless the sequences are contiguous and as long as their index says.

    Raises:
        DataError: they are not, or the last one does not end where the tokens do.
    """
    for first in range(0, file.sequences, CHECKED_AT_ONCE):
        stop = min(first + CHECKED_AT_ONCE, file.sequences)
        actual = np.diff(file.bounds(first, stop))
        wrong = actual < 0 if lengths is None else actual != lengths[first:stop]
        if np.any(wrong):
            sequence = int(np.argmax(wrong))
            expected = "0 or more" if lengths is None else f"{lengths[first + sequence]}"
            raise damaged(
                file.path,
                f"sequence {first + sequence} has {actual[sequence]} tokens, "
                f"and {expected} by {index}",
            )


def open_datatrove(path: Path) -> TokenFile:
    """The tokens of a .ds file, checked against its .ds.index and, where it is there, .ds.metadata.

    Raises:
        DataError: files that are missing, damaged or cut off.

    Source: huggingface/datatrove, src/datatrove/pipeline/tokens/tokenizer.py.
    """
    index = Path(f"{path}.index")
    ends = mapped(index, "<u8")
    size, tokens = mapped(path, "u1").size, int(ends[-1])
    widths = {width: tokens * width for width in (2, 4)}
    width = next((width for width, expected in widths.items() if expected == size), None)
    if width is None:
        raise damaged(path, f"{size} bytes, and {tokens} tokens of 2 or 4 bytes by {index}")
    check_metadata(Path(f"{path}.metadata"), tokens, width)
    token_file = TokenFile(path, mapped(path, f"<u{width}"), ends[:-1], 1)
    check_bounds(token_file, index)
    return token_file


def check_metadata(path: Path, tokens: int, width: int) -> None:
    """Raise unless a .ds.metadata file, if there is one, agrees with the tokens.

    Raises:
        DataError: it says something else.
    """
    if not path.is_file():
        return
    lines = [*path.read_text("utf-8", "replace").split("\n"), ""]
    name, _, said = lines[0].rpartition("|")
    if lines[1] != str(tokens) or (name and said != str(width)):
        raise DataError(
            f"{path} says {lines[1] or 'nothing'} tokens of {said or width} bytes; the tokens "
            f"beside it are {tokens} of {width} bytes"
        )


def described(path: Path) -> Path | None:
    """The .idx or .ds that a file belongs to, even if it does not exist; None for other files."""
    if path.suffix in (".bin", ".idx"):
        return path.with_suffix(".idx")
    tokens = path.with_suffix("") if path.suffix in (".index", ".metadata") else path
    return tokens if tokens.suffix == ".ds" else None


def open_tokens(path: Path) -> list[TokenFile]:
    """The token files that a path names: a .bin, .idx or .ds, their common stem, or a folder.

    Raises:
        DataError: there are none, or one cannot be read.
    """
    if path.is_dir():
        names = sorted({name for p in path.iterdir() if (name := described(p)) is not None})
        if not names:
            raise DataError(f"{path} holds no .idx and no .ds file")
        return [file for name in names for file in open_tokens(name)]
    if path.suffix == ".ds":
        return [open_datatrove(path)]
    stem = str(path).removesuffix(".bin").removesuffix(".idx")
    if not Path(f"{stem}.idx").is_file() and not Path(f"{stem}.bin").is_file():
        raise DataError(f"no tokens at {path}: there is no {stem}.idx, and it is no .ds file")
    return [open_megatron(stem)]
