"""The alignment loss as PyTorch operators, opaque to torch.compile and unaffected by autocast.

alignmlm::align computes the loss and, in the same pass, the gradient of the rows in use;
alignmlm::align_backward scales these rows and scatters them into a gradient of the embedding.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from alignmlm_kernels.alignment.choice import SAMPLE, chosen_count, chosen_order
from alignmlm_kernels.alignment.contrastive import contrast_attraction
from alignmlm_kernels.alignment.index import IndexSizes, PairIndex
from alignmlm_kernels.alignment.pairwise import Asked, Attraction, attraction
from alignmlm_kernels.alignment.reference import PAIRED, Contrast
from alignmlm_kernels.alignment.tables import chunk_words, exact_type, sampled_units
from alignmlm_kernels.second_derivative import differentiable_once


@torch.library.custom_op("alignmlm::choose_pairs", mutates_args=())
def choose_pairs(weights: Tensor, share: float, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Weights, 0 for the pairs that this step leaves out; the chosen pairs in the step's order."""
    pairs = len(weights)
    order = chosen_order(pairs, chosen_count(pairs, share), seed, step, weights.device)
    left = torch.zeros_like(weights)
    left[order] = weights[order]
    return left, order


@choose_pairs.register_fake
def _(*arguments: Any) -> tuple[Tensor, Tensor]:
    weights, share = arguments[:2]
    count = chosen_count(len(weights), share)
    return torch.empty_like(weights), weights.new_empty(count, dtype=torch.int64)


def attract(
    asked: Asked, order: Tensor, distance: str, contrast: Contrast, impl: str
) -> Attraction:
    """The attraction of the pairs, by the chosen implementation."""
    if impl == "triton":
        from alignmlm_kernels.alignment.triton_alignment import triton_attraction

        return triton_attraction(asked, distance)
    if distance in PAIRED:
        return attraction(asked, distance)
    return contrast_attraction(asked, order, distance, contrast)


@torch.library.custom_op("alignmlm::align", mutates_args=())
def align(
    embedding: Tensor,
    index: list[Tensor],
    sizes: Sequence[int],
    weights: Tensor,
    order: Tensor,
    distance: str,
    contrast: Sequence[float],
    dtype: torch.dtype,
    with_gradient: bool,
    impl: str,
) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient for the rows in use."""
    margin, temperature, group_pairs = contrast
    known = Contrast(margin, temperature, int(group_pairs))
    wanted = dtype if with_gradient else None
    asked = Asked(embedding, PairIndex(*index), IndexSizes(*sizes), weights, wanted)
    with torch.autocast(embedding.device.type, enabled=False):
        result = attract(asked, order, distance, known, impl)
    return result.loss, result.rows.to(dtype)


@align.register_fake
def _(*arguments: Any) -> tuple[Tensor, Tensor]:
    embedding, index, dtype, with_gradient = (arguments[place] for place in (0, 1, 7, 8))
    rows = len(PairIndex(*index).rows) if with_gradient else 0
    loss = embedding.new_empty((), dtype=exact_type(embedding))
    return loss, embedding.new_empty((rows, embedding.shape[1]), dtype=dtype)


@torch.library.custom_op("alignmlm::align_backward", mutates_args=())
def align_backward(
    rows: Tensor,
    places: Tensor,
    row_ids: Tensor,
    scale: Tensor,
    vocab: int,
    dtype: torch.dtype,
    impl: str,
) -> Tensor:
    """Gradient of the whole embedding: scaled rows where there are any, zeros elsewhere."""
    if impl == "triton":
        from alignmlm_kernels.alignment.triton_alignment import spread_rows

        return spread_rows(rows, places, scale, vocab, dtype)
    gradient = rows.new_zeros((vocab, rows.shape[1]), dtype=dtype)
    size = chunk_words(len(rows), rows)
    for part, ids in zip(rows.split(size), row_ids.split(size), strict=True):
        gradient.index_copy_(0, ids, (part * scale).to(dtype))
    return gradient


@align_backward.register_fake
def _(*arguments: Any) -> Tensor:
    rows, vocab, dtype = (arguments[place] for place in (0, 4, 5))
    return rows.new_empty((vocab, rows.shape[1]), dtype=dtype)


def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """Save what the backward pass needs."""
    embedding, index = inputs[0], PairIndex(*inputs[1])
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1], index.row_places, index.rows)
    ctx.vocab, ctx.dtype, ctx.impl = len(embedding), embedding.dtype, inputs[9]
    ctx.tensors = len(index)


def backward(ctx: Any, loss: Tensor | None, rows: Tensor | None) -> tuple[Any, ...]:
    """The gradients of all inputs of `align`: only the embedding has one."""
    nothing = ([None] * ctx.tensors, *[None] * 8)
    if loss is None:
        return None, *nothing
    gradient = align_backward(*ctx.saved_tensors, loss, ctx.vocab, ctx.dtype, ctx.impl)
    return differentiable_once("alignment_loss", gradient), *nothing


align.register_autograd(backward, setup_context=keep)


@torch.library.custom_op("alignmlm::retrieval", mutates_args=())
def retrieval(
    embedding: Tensor, index: list[Tensor], sizes: Sequence[int], most: int, seed: int, step: int
) -> Tensor:
    """Share of sampled pairs whose source is nearest to a translation, among sampled targets."""
    lists, known = PairIndex(*index), IndexSizes(*sizes)
    pairs = known.pairs
    order = chosen_order(pairs, min(most, pairs), seed ^ SAMPLE, step, embedding.device)
    sources, targets = lists.sources[order], lists.targets[order]
    with torch.autocast(embedding.device.type, enabled=False):
        units = sampled_units(embedding, lists, known, torch.cat([sources, targets]))
        nearest = (units[: len(order)] @ units[len(order) :].T).argmax(dim=1)
    right = (sources[nearest] == sources) | (targets[nearest] == targets)
    return right.to(exact_type(embedding)).mean()


@retrieval.register_fake
def _(*arguments: Any) -> Tensor:
    return arguments[0].new_empty((), dtype=exact_type(arguments[0]))
