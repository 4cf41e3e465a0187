"""A dictionary of word pairs, checked and indexed on construction."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from alignmlm_kernels.alignment.index import IndexSizes, PairIndex, build_index
from alignmlm_kernels.errors import KernelError

MOST_ROWS = 2**24  # of an embedding; the index has a place for each row
INTEGERS = (torch.int32, torch.int64)


def check_words(side: str, ids: Tensor, offsets: Tensor) -> None:
    """Raise unless ids and offsets describe words.

    Raises:
        KernelError: wrong types, falling offsets, empty words, ids that no embedding has.
    """
    if ids.dtype not in INTEGERS or offsets.dtype not in INTEGERS:
        raise KernelError(f"{side} ids and offsets must be int32 or int64, found {ids.dtype}")
    if ids.ndim != 1 or offsets.ndim != 1 or not len(offsets):
        raise KernelError(f"{side} ids and offsets must have one axis, found {ids.shape}")
    if int(offsets[0]) != 0 or int(offsets[-1]) != len(ids):
        raise KernelError(
            f"{side}_offsets must go from 0 to the {len(ids)} ids, "
            f"found {int(offsets[0])} to {int(offsets[-1])}"
        )
    short = (offsets.diff() < 1).nonzero()
    if len(short):
        raise KernelError(f"{side}_offsets must rise: word {int(short[0])} has no tokens")
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < MOST_ROWS:
        id_range = f"{int(ids.min())} to {int(ids.max())}"
        raise KernelError(f"{side}_ids must lie in [0, {MOST_ROWS}), found {id_range}")


def check_weights(weights: Tensor, pairs: int) -> None:
    """Raise unless the weights can be used for a mean.

    Raises:
        KernelError: not one number per pair; one is negative, infinite or NaN; or all are zero.
    """
    if weights.shape != (pairs,) or not weights.is_floating_point():
        actual = f"{weights.dtype} of shape {tuple(weights.shape)}"
        raise KernelError(f"weights must hold a float for each of {pairs} pairs, found {actual}")
    exact = weights.float()  # as they are used
    if pairs and not bool((exact.isfinite() & (exact >= 0)).all()):
        raise KernelError("weights must be finite in float32 and at least 0")
    if pairs and not bool((exact > 0).any()):
        raise KernelError("weights must not all be 0")


@dataclass(frozen=True, slots=True, eq=False)
class WordPairs:
    """Pairs of words as flat token ids; word i has ids[offsets[i] : offsets[i + 1]].

    Words may repeat, have several partners and be their own partner. The index is built here, so
    that no step has to; pass one with its sizes to reuse it.

    Raises:
        KernelError: the tensors are not valid words or weights.
    """

    source_ids: Int[Tensor, " source_token"]
    source_offsets: Int[Tensor, " bound"]
    target_ids: Int[Tensor, " target_token"]
    target_offsets: Int[Tensor, " bound"]
    weights: Float[Tensor, " pair"] | None = None  # None: all equal
    index: PairIndex | None = field(default=None, repr=False)
    sizes: IndexSizes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.index is not None:
            return
        self.check()
        if len(self):
            index, sizes = build_index(*self.words, self.weights)
            object.__setattr__(self, "index", index)
            object.__setattr__(self, "sizes", sizes)

    def __len__(self) -> int:
        return len(self.source_offsets) - 1

    @property
    def words(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Ids and offsets of the source words, ids and offsets of the target words."""
        return self.source_ids, self.source_offsets, self.target_ids, self.target_offsets

    @property
    def device(self) -> torch.device:
        """Where the pairs lie."""
        return self.source_ids.device

    @property
    def prepared(self) -> PairIndex:
        """The index.

        Raises:
            KernelError: there are no pairs.
        """
        if self.index is None:
            raise KernelError("pairs must hold at least one pair")
        return self.index

    def check(self) -> None:
        """Raise unless the tensors are a dictionary.

        Raises:
            KernelError: they are not.
        """
        tensors = [*self.words, *([] if self.weights is None else [self.weights])]
        if len({tensor.device for tensor in tensors}) > 1:
            devices = [str(tensor.device) for tensor in tensors]
            raise KernelError(f"the tensors of pairs must share a device, found {devices}")
        if len(self.source_offsets) != len(self.target_offsets):
            sides = f"{len(self)} source and {len(self.target_offsets) - 1} target words"
            raise KernelError(f"pairs must have as many source as target words, found {sides}")
        check_words("source", self.source_ids, self.source_offsets)
        check_words("target", self.target_ids, self.target_offsets)
        if self.weights is not None:
            check_weights(self.weights, len(self))

    def to(self, device: torch.device | str) -> "WordPairs":
        """The same pairs on a device, with their index."""
        return WordPairs(
            self.source_ids.to(device),
            self.source_offsets.to(device),
            self.target_ids.to(device),
            self.target_offsets.to(device),
            None if self.weights is None else self.weights.to(device),
            self.index and PairIndex(*(tensor.to(device) for tensor in self.index)),
            self.sizes,
        )
