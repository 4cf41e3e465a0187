"""Mean vectors of words and sentences at every layer of any transformers encoder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import AutoModel, PreTrainedModel

from alignmlm.errors import DataError
from alignmlm.models.loading import load_pretrained
from alignmlm.models.settings import ARCHITECTURES

BATCH_TOKENS = 2**13  # padding included
NO_LIMIT = 2**31  # for models without a position table


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """One input sequence, and the spans whose mean vectors are wanted."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]  # [start, stop), each of at least one token
    language: int = 0  # its embedding, in models that have one for each language


def whole(ids: Sequence[int], language: int = 0) -> ProbeRow:
    """A row whose only span is all its tokens, special ones included."""
    return ProbeRow(tuple(ids), ((0, len(ids)),), language)


def load_encoder(folder: Path) -> PreTrainedModel:
    """The encoder of a checkpoint folder in float32, without its head.

    Parts that no probe uses, such as a pooler, may be random; the caller's RNG state is kept.

    Raises:
        CheckpointError: transformers cannot load it, or weights of the encoder are missing.
    """
    with torch.random.fork_rng(devices=[]):
        return load_pretrained(AutoModel, folder)


def token_embedding(model: PreTrainedModel) -> Float[Tensor, "vocab hidden"]:
    """The word embeddings, one row per token, detached."""
    embedding: Any = model.get_input_embeddings()
    return embedding.weight.detach()


def longest_row_tokens(model: PreTrainedModel) -> int:
    """The longest row, in tokens, that a model has positions for."""
    known = ARCHITECTURES.get(model.config.model_type)
    first = known.first_position(model.config) if known else 0
    return getattr(model.config, "max_position_embeddings", NO_LIMIT) - first


def check_rows(model: PreTrainedModel, rows: Sequence[ProbeRow]) -> None:
    """Raise unless the model can take all rows.

    Raises:
        DataError: a row is empty or too long, has an unknown token, or a span outside of it.
    """
    room, vocabulary = longest_row_tokens(model), len(token_embedding(model))
    for number, row in enumerate(rows):
        place = f"row {number} of {len(rows)}"
        if not 0 < len(row.ids) <= room:
            raise DataError(f"{place} has {len(row.ids)} tokens, the model takes 1 to {room}")
        if not 0 <= min(row.ids) <= max(row.ids) < vocabulary:
            raise DataError(f"{place} has a token outside the model's {vocabulary:,}")
        if not all(0 <= start < stop <= len(row.ids) for start, stop in row.spans):
            raise DataError(f"{place} has spans {row.spans}, but {len(row.ids)} tokens")


def batches(rows: Sequence[ProbeRow], batch_tokens: int) -> Iterator[list[int]]:
    """Numbers of the rows, longest first, so that rows of one length share a batch."""
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number].ids))
    at = 0
    while at < len(order):
        size = max(1, batch_tokens // len(rows[order[at]].ids))
        yield order[at : at + size]
        at += size


def padded(
    rows: Sequence[ProbeRow], pad: int, device: torch.device
) -> tuple[Int[Tensor, "row token"], Bool[Tensor, "row token"]]:
    """Padded ids, and the mask of real tokens."""
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([[*row.ids, *[pad] * (width - len(row.ids))] for row in rows])
    lengths = torch.tensor([len(row.ids) for row in rows])
    return ids.to(device), (torch.arange(width) < lengths[:, None]).to(device)


def span_weights(rows: Sequence[ProbeRow], width: int) -> Float[Tensor, "row span token"]:
    """Weights that turn the tokens of each row into the means of its spans; unused spans are 0."""
    weights = torch.zeros(len(rows), max(len(row.spans) for row in rows), width)
    for number, row in enumerate(rows):
        for place, (start, stop) in enumerate(row.spans):
            weights[number, place, start:stop] = 1 / (stop - start)
    return weights


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Switch to evaluation mode (no dropout) within the context."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def layer_outputs(
    encoder: PreTrainedModel, rows: Sequence[ProbeRow], device: torch.device
) -> tuple[Float[Tensor, "row token hidden"], ...]:
    """The embedding layer's output and that of each layer above it."""
    ids, real = padded(rows, encoder.config.pad_token_id or 0, device)
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": real.long()}
    if any(row.language for row in rows):
        languages = torch.tensor([row.language for row in rows], device=device)
        inputs["token_type_ids"] = languages[:, None].expand_as(ids)
    return encoder(**inputs, output_hidden_states=True).hidden_states


@torch.no_grad()
def layer_vectors(
    model: PreTrainedModel, rows: Sequence[ProbeRow], batch_tokens: int = BATCH_TOKENS
) -> Float[Tensor, "layer span hidden"]:
    """Mean vector of each span of each row, in their order, at each layer from 0 (embeddings).

    Raises:
        DataError: there is no row, or the model cannot take one.
    """
    if not any(row.spans for row in rows):
        raise DataError("there are no rows to take vectors of")
    check_rows(model, rows)
    encoder: Any = model.base_model  # typed as any module
    device = next(encoder.parameters()).device
    means_of_row: dict[int, Tensor] = {}
    with evaluating(encoder):
        for numbers in batches(rows, batch_tokens):
            part = [rows[number] for number in numbers]
            outputs = layer_outputs(encoder, part, device)
            weights = span_weights(part, outputs[0].shape[1]).to(device)
            means = torch.stack([weights @ states.float() for states in outputs], dim=1)
            for number, row, mean in zip(numbers, part, means, strict=True):
                means_of_row[number] = mean[:, : len(row.spans)]
    return torch.cat([means_of_row[number] for number in range(len(rows))], dim=1)


def sentence_vectors(
    model: PreTrainedModel, sentences: Sequence[Sequence[int]], batch_tokens: int = BATCH_TOKENS
) -> Float[Tensor, "layer sentence hidden"]:
    """Mean over the real tokens of each sentence, in their order, at each layer.

    Source: Hu et al., 2020 (XTREME, arXiv:2003.11080), section 3.3 and appendix (Tatoeba).
    """
    return layer_vectors(model, [whole(ids) for ids in sentences], batch_tokens)
