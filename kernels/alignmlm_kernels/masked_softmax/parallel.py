"""The loss over a vocabulary that is split over the ranks of a process group."""

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from alignmlm_kernels.errors import KernelError
from alignmlm_kernels.masked_softmax.autograd import mean_logits, position_nats
from alignmlm_kernels.masked_softmax.designs import Plan
from alignmlm_kernels.masked_softmax.memory import chosen_design
from alignmlm_kernels.masked_softmax.operators import (
    check_labels,
    masked_softmax_gradients,
    masked_softmax_sums,
)
from alignmlm_kernels.masked_softmax.reference import Options
from alignmlm_kernels.masked_softmax.row_sums import RowSums
from alignmlm_kernels.second_derivative import once_differentiable


class Share(NamedTuple):
    """This rank's part of the vocabulary and of the positions."""

    group: dist.ProcessGroup | None
    counts: list[int]  # positions of each rank
    first: int  # this rank's first token
    vocab: int  # tokens of all ranks

    @property
    def own(self) -> slice:
        """This rank's positions among those of all."""
        rank = dist.get_rank(self.group)
        return slice(sum(self.counts[:rank]), sum(self.counts[: rank + 1]))


def share_of(
    rows: int, tokens: int, device: torch.device, group: dist.ProcessGroup | None
) -> Share:
    """This rank's part, from the sizes of all ranks, for which the host waits."""
    mine = torch.tensor([rows, tokens], device=device)
    all_sizes = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(all_sizes, mine, group=group)
    counts, sizes = torch.stack(all_sizes).T.tolist()
    return Share(group, counts, sum(sizes[: dist.get_rank(group)]), sum(sizes))


def gathered(values: Shaped[Tensor, "own ..."], share: Share) -> Shaped[Tensor, "all ..."]:
    """The rows of all ranks, in the order of the ranks; they may have different numbers of them."""
    room = values.new_zeros(max(share.counts), *values.shape[1:])
    room[: len(values)] = values
    padded = [torch.empty_like(room) for _ in share.counts]
    dist.all_gather(padded, room, group=share.group)
    return torch.cat([part[:count] for part, count in zip(padded, share.counts, strict=True)])


def log_of_sums(local: Float[Tensor, " masked"], share: Share) -> Float[Tensor, " masked"]:
    """The log of the sum over all ranks from the logs of each rank's sum."""
    largest = local.clone()
    dist.all_reduce(largest, dist.ReduceOp.MAX, group=share.group)
    total = (local - largest).exp()
    dist.all_reduce(total, group=share.group)
    return largest + total.log()


def wins(sums: RowSums, share: Share) -> Bool[Tensor, " masked"]:
    """Whether the label is the first token of all ranks with the largest logit."""
    maxima = [torch.empty_like(sums.largest) for _ in share.counts]
    dist.all_gather(maxima, sums.largest, group=share.group)
    first = torch.stack(maxima).argmax(dim=0) == dist.get_rank(share.group)
    won = (first & sums.leads).to(torch.uint8)
    dist.all_reduce(won, dist.ReduceOp.MAX, group=share.group)
    return won.bool()


class VocabularyParallel(torch.autograd.Function):
    """(nats, correct, log_sum_exp) of this rank's positions over the tokens of all ranks."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        plan: Plan,
        options: Options,
        budget_bytes: int,
        group: dist.ProcessGroup | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Every rank sees all positions over its own tokens; sums and maxima are exchanged."""
        share = share_of(len(hidden), len(weight), hidden.device, group)
        states, wanted = gathered(hidden, share), gathered(labels, share)
        check_labels(wanted, share.vocab)
        rows, device = len(states), hidden.device
        design = chosen_design(rows, len(weight), plan.dtype, device, budget_bytes)
        plan = plan._replace(design=design)
        own = (wanted >= share.first) & (wanted < share.first + len(weight))
        local = torch.where(own, wanted - share.first, -1)
        keep = any(ctx.needs_input_grad)
        *numbers, exponentials = masked_softmax_sums(states, weight, bias, local, *plan, keep)
        sums = RowSums(*numbers)
        log_sum_exp = log_of_sums(sums.log_sum_exp(), share)
        label_logit, correct = sums.label_logit.clone(), wins(sums, share)
        dist.all_reduce(label_logit, group=group)
        mean: Tensor | float = 0.0
        if options.label_smoothing:
            mean = mean_logits(states, weight, bias) * (len(weight) / share.vocab)
            dist.all_reduce(mean, group=group)
        everywhere = sums._replace(label_logit=label_logit)
        nats = position_nats(everywhere, log_sum_exp, wanted >= 0, mean, options)
        saved = (states, weight, bias, wanted, local, log_sum_exp, exponentials, *numbers)
        ctx.save_for_backward(*saved)
        ctx.setting = (plan, options, share)
        outputs = (nats[share.own], correct[share.own], log_sum_exp[share.own])
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    @once_differentiable("vocabulary_parallel_loss")
    def backward(ctx: Any, nats_grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of this rank's positions, summed over all ranks, and of its tokens."""
        states, weight, bias, wanted, local, log_sum_exp, exponentials, *numbers = ctx.saved_tensors
        plan, options, share = ctx.setting
        upstream = torch.where(wanted >= 0, gathered(nats_grad.contiguous(), share), 0)
        here = (RowSums(*numbers).log_sum_exp() - log_sum_exp).exp()  # this rank's part of the sum
        of_softmax = upstream * (1 + 2 * options.z_loss * log_sum_exp) * here
        smoothing = options.label_smoothing
        uniform = upstream * (smoothing / share.vocab) if smoothing else None
        wishes = list(ctx.needs_input_grad[:3])
        gradients = masked_softmax_gradients(
            states, weight, bias, local, numbers, exponentials, of_softmax,
            (1 - smoothing) * upstream, uniform, None, *plan, wishes,
        )  # fmt: skip
        grads = [grad if wish else None for grad, wish in zip(gradients, wishes, strict=True)]
        if grads[0] is not None:
            dist.all_reduce(grads[0], group=share.group)
            grads[0] = grads[0][share.own]
        return *grads, None, None, None, None, None


def check_group(group: dist.ProcessGroup | None) -> None:
    """Raise unless torch.distributed runs and this rank is in the group.

    Raises:
        KernelError: torch.distributed was not started, or this rank is not in the group.
    """
    if not dist.is_available() or not dist.is_initialized():
        raise KernelError("a loss over a process group needs torch.distributed to be started")
    if dist.get_rank(group) < 0:
        raise KernelError("this rank is not in the process group")
