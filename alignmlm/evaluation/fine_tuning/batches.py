"""Batches of rows of similar length."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

LENGTH_STEP = 8  # rows are padded to a multiple of it, so that batches have few shapes


class LengthBuckets(Sampler[list[int]]):
    """Batches of rows of similar length, drawn anew in each epoch from a seed.

    With `equal_tokens` batches have about as many tokens each, not as many rows: where tokens have
    labels, each label then weighs as much as in batches of random rows. Shapes are the same in
    every epoch, because oneDNN, torch's CPU library, compiles its bf16 products for each new one.
    """

    def __init__(
        self, lengths: Sequence[int], batch_rows: int, seed: int, equal_tokens: bool
    ) -> None:
        self.seed, self.epoch = seed, 0
        padded = -(-np.asarray(lengths) // LENGTH_STEP) * LENGTH_STEP
        cost = padded if equal_tokens else np.ones_like(padded)
        budget = cost.sum() / -(-len(padded) // batch_rows)
        self.buckets: list[tuple[np.ndarray, int]] = []  # rows, and the number of their batches
        for length in np.unique(padded):
            rows = np.flatnonzero(padded == length)
            batches = max(1, round(cost[rows].sum() / budget))
            self.buckets.append((rows, min(batches, len(rows))))

    def __len__(self) -> int:
        return sum(batches for _, batches in self.buckets)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng((self.seed, self.epoch))
        self.epoch += 1
        found = [
            batch.tolist()
            for rows, batches in self.buckets
            for batch in np.array_split(random.permutation(rows), batches)
        ]
        return iter([found[number] for number in random.permutation(len(found))])
