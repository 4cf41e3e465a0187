"""Token vectors averaged over their contexts in a corpus, at every layer."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from alignmlm.data.batches import Loader, make_batch, validation_samples
from alignmlm.data.store import VALIDATION
from alignmlm.languages.dictionary import Dictionary, from_pairs
from alignmlm.probes.encoder import ProbeRow, layer_vectors, token_embedding

CHUNK_ROWS = 64  # at once: bounds the memory
LEAST_CONTEXTS = 3  # of a token whose mean is worth comparing


class ContextMeans(NamedTuple):
    """Mean states of each token of a vocabulary; zero where a token did not occur."""

    layers: Float[Tensor, "layer vocab hidden"]
    counts: Int[Tensor, " vocab"]


def validation_rows(
    loader: Loader, language: int, limit_rows: int, embedding: int = 0
) -> Iterator[ProbeRow]:
    """The first validation rows of a language, unmasked, with a span at every token of text.

    `embedding` is the number of the language's own embedding in models that have them.
    """
    samples = validation_samples(loader, language, limit_rows)
    special = set(loader.vocabulary.special)
    for start in range(0, samples.size, CHUNK_ROWS):
        batch = make_batch(loader, samples.part(start, start + CHUNK_ROWS), VALIDATION)
        ids = batch.input_ids.long().flatten()
        ids[batch.masked] = batch.labels
        lengths = [batch.input_ids.shape[1]] * len(batch.input_ids)
        if batch.attention_mask is not None:
            lengths = batch.attention_mask.sum(dim=1).tolist()
        for row, length in zip(ids.view_as(batch.input_ids).tolist(), lengths, strict=True):
            text = [n for n, token in enumerate(row[:length]) if token not in special]
            yield ProbeRow(tuple(row[:length]), tuple((n, n + 1) for n in text), embedding)


def chunks(rows: Iterator[ProbeRow]) -> Iterator[list[ProbeRow]]:
    """The rows, a few at a time."""
    chunk: list[ProbeRow] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


@torch.no_grad()
def context_means(model: PreTrainedModel, rows: Iterator[ProbeRow]) -> ContextMeans:
    """The mean state of each token over its occurrences in the rows, per layer from 0 (embeddings).

    Raises:
        DataError: there is no row, or the model cannot take one.
    """
    vocabulary = len(token_embedding(model))
    total, counts = torch.zeros(0), torch.zeros(vocabulary, dtype=torch.int64)
    for chunk in chunks(rows):
        states = layer_vectors(model, chunk).cpu()
        tokens = torch.tensor([row.ids[start] for row in chunk for start, _ in row.spans])
        if not len(total):
            total = torch.zeros(len(states), vocabulary, states.shape[2])
        total.index_add_(1, tokens, states)
        counts += torch.bincount(tokens, minlength=vocabulary)
    return ContextMeans(total / counts.clamp(min=1)[:, None], counts)


def seen_pairs(
    dictionary: Dictionary, sides: Sequence[Int[Tensor, " vocab"]], least: int = LEAST_CONTEXTS
) -> Dictionary:
    """The pairs whose words have tokens with at least `least` contexts on their own side."""
    enough = [np.asarray(counts >= least) for counts in sides]
    return from_pairs(
        (source, target)
        for source, target in dictionary.words()
        if enough[0][list(source)].all() and enough[1][list(target)].all()
    )
