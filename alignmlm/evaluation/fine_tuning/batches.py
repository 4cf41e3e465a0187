"""Batches of rows to fine-tune on and to predict, and which rows they have."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from alignmlm.evaluation.evaluated_model import Export
from alignmlm.evaluation.examples.rendering import IGNORED, Example
from alignmlm.evaluation.settings import FineTuneConfig

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


def buckets_of(rows: list[Example], config: FineTuneConfig, seed: int) -> LengthBuckets | None:
    """Batches of rows of similar length, if the settings ask for them."""
    if not config.group_by_length:
        return None
    lengths, of_tokens = [len(row.input_ids) for row in rows], isinstance(rows[0].labels, list)
    return LengthBuckets(lengths, config.batch_rows, seed, equal_tokens=of_tokens)


def label_columns(examples: Sequence[Example], length: int) -> dict[str, np.ndarray]:
    """The labels under the argument names of transformers' models."""
    first = examples[0].labels
    if isinstance(first, tuple):
        places = np.array([example.labels for example in examples])
        return {"start_positions": places[:, 0], "end_positions": places[:, 1]}
    if isinstance(first, int):
        return {"labels": np.array([example.labels for example in examples])}
    labels = np.full((len(examples), length), IGNORED)
    for row, example in enumerate(examples):
        labels[row, : len(example.input_ids)] = example.labels
    return {"labels": labels}


@dataclass(frozen=True, slots=True)
class Collator:
    """Makes a batch of examples, padded to the longest of them."""

    pad: int
    language_embeddings: bool = False  # whether the model takes the language as token type
    segments: bool = False  # whether it takes the number of the text, 0 or 1, as token type
    length_step: int = 1  # rows are padded to a multiple of it, but not beyond seq_len
    seq_len: int = 0

    def __call__(self, examples: list[Example]) -> dict[str, Tensor]:
        """Tensors of shape (examples, longest), padded."""
        longest = max(len(example.input_ids) for example in examples)
        padded = -(-longest // self.length_step) * self.length_step
        shape = (len(examples), max(longest, min(padded, self.seq_len)))
        ids, attention, types = (np.full(shape, value) for value in (self.pad, 0, 0))
        for row, example in enumerate(examples):
            length = len(example.input_ids)
            ids[row, :length], attention[row, :length] = example.input_ids, 1
            if self.language_embeddings:
                types[row] = example.language
            elif self.segments and example.second:
                types[row, example.second : length] = 1
        batch = {"input_ids": ids, "attention_mask": attention}
        if self.language_embeddings or self.segments:
            batch["token_type_ids"] = types
        batch |= label_columns(examples, shape[1])
        return {name: torch.from_numpy(array) for name, array in batch.items()}


def collator_of(export: Export, length_step: int = 1) -> Collator:
    """The collator that a model of this export needs."""
    pad, languages, segments = export.vocabulary.pad, export.language_embeddings, export.segments
    return Collator(pad, languages, segments, length_step, export.seq_len)
