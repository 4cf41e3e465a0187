"""The implementations that are compared, ours and other people's; each imported when it is used."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from alignmlm_kernels import masked_softmax_loss
from alignmlm_kernels.masked_softmax import memory
from cases import IGNORED, Case, Shape
from torch import Tensor

Reduction = Literal["mean", "none"]
LossOf = Callable[[Case, Reduction], Tensor]
EAGER_CHUNKS_MOST_LOGITS = 2**24  # F.linear_cross_entropy needs 50 s for 614 x 80,000 on two cores
LIGER_CHUNK_CONSTANTS = (1, 4, 16, 64)  # 1 is its default


@dataclass(frozen=True, kw_only=True, slots=True)
class Implementation:
    """One way to compute the loss, and where it runs."""

    name: str
    opened: Callable[[], LossOf]  # imports and compiles
    package: str | None = None  # what it imports
    requirement: str | None = None  # what pip installs
    bias: bool = True
    cuda_only: bool = False  # its kernels run neither on a CPU nor in Triton's interpreter
    triton: bool = False  # on a CPU it runs in the interpreter only
    gradients_in_forward: bool = False
    slow_start: bool = False  # compiles for more than ten seconds
    reductions: tuple[Reduction, ...] = ("mean", "none")
    most_cpu_logits: int | None = None
    rows_multiple: int = 1
    forget: Callable[[], None] = lambda: None  # gives up memory that is kept from call to call


def ours(impl: str) -> Callable[[], LossOf]:
    """The public function with one of its implementations."""
    chosen = partial(masked_softmax_loss, ignore_index=IGNORED, impl=impl)

    def loss(case: Case, reduction: Reduction) -> Tensor:
        return chosen(*case, reduction=reduction).nats

    return lambda: loss


def forget_ours() -> None:
    """Let go of the blocks that the next call would have used again."""
    memory.FREE.clear()


def plain(case: Case, reduction: Reduction) -> Tensor:
    """A linear layer and cross entropy."""
    logits = F.linear(case.hidden, case.weight, case.bias).float()
    return F.cross_entropy(logits, case.labels, reduction=reduction, ignore_index=IGNORED)


def compiled_plain() -> LossOf:
    """The same through torch.compile."""
    return torch.compile(plain, dynamic=False)


def torch_chunked() -> LossOf:
    """torch's own chunked function, with its default options."""
    options = torch.nn.LinearCrossEntropyOptions()

    def loss(case: Case, reduction: Reduction) -> Tensor:
        return F.linear_cross_entropy(
            case.hidden,
            case.weight,
            case.labels,
            linear_bias=case.bias,
            reduction=reduction,
            ignore_index=IGNORED,
            options=options,
        )

    return loss


def liger(chunk_constant: int) -> Callable[[], LossOf]:
    """Liger's fused function, whose chunks of rows grow with the constant."""

    def opened() -> LossOf:
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

        def loss(case: Case, reduction: Reduction) -> Tensor:
            return liger_fused_linear_cross_entropy(
                case.hidden,
                case.weight,
                case.labels,
                case.bias,
                reduction=reduction,
                ignore_index=IGNORED,
                chunk_mem_const=chunk_constant,
            )

        return loss

    return opened


def cut(filter_eps: str | None) -> Callable[[], LossOf]:
    """Cut Cross-Entropy, with its filter of small gradients or without."""

    def opened() -> LossOf:
        from cut_cross_entropy import linear_cross_entropy

        def loss(case: Case, reduction: Reduction) -> Tensor:
            return linear_cross_entropy(
                case.hidden,
                case.weight,
                case.labels,
                reduction=reduction,
                ignore_index=IGNORED,
                filter_eps=filter_eps,
            )

        return loss

    return opened


def quack() -> LossOf:
    """quack's chunked function, which chooses its scaled exponentials where it can."""
    from quack.linear_cross_entropy import chunked_linear_cross_entropy

    def loss(case: Case, reduction: Reduction) -> Tensor:
        return chunked_linear_cross_entropy(
            case.hidden, case.weight, case.labels, reduction=reduction, ignore_index=IGNORED
        )

    return loss


OURS = tuple(
    Implementation(name=f"alignmlm: {impl}", opened=ours(impl), forget=forget_ours)
    for impl in ("auto", "reference", "slab", "scaled", "lean")
)
LIGER = tuple(
    Implementation(
        name=f"liger: chunk constant {constant}" + (", default" if constant == 1 else ""),
        opened=liger(constant),
        package="liger_kernel",
        requirement="liger-kernel==0.8.5",
        triton=True,
        gradients_in_forward=True,
    )
    for constant in LIGER_CHUNK_CONSTANTS
)
CUT = tuple(
    Implementation(
        name=name,
        opened=cut(filter_eps),
        package="cut_cross_entropy",
        requirement="cut-cross-entropy==25.1.1",
        bias=False,
        cuda_only=True,
    )
    for name, filter_eps in (("cut cross-entropy: default", "high"), ("cut: no filter", None))
)
PEERS = (
    Implementation(name="torch: plain", opened=lambda: plain),
    Implementation(name="torch: plain, compiled", opened=compiled_plain, slow_start=True),
    Implementation(
        name="torch: linear_cross_entropy",
        opened=torch_chunked,
        gradients_in_forward=True,
        most_cpu_logits=EAGER_CHUNKS_MOST_LOGITS,
    ),
    *LIGER,
    *CUT,
    Implementation(
        name="quack",
        opened=quack,
        package="quack",
        requirement="quack-kernels==0.6.5",
        bias=False,
        cuda_only=True,
        gradients_in_forward=True,
        reductions=("mean",),
        rows_multiple=8,
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Where the comparison runs."""

    device: torch.device
    interpreter: bool = False
    smoke: bool = False


def absence(implementation: Implementation, shape: Shape, setting: Setting) -> str | None:
    """Why an implementation cannot take part, or None."""
    package, on_cpu = implementation.package, setting.device.type == "cpu"
    limit = implementation.most_cpu_logits
    reasons = {
        f"not installed: pip install {implementation.requirement}": package is not None
        and importlib.util.find_spec(package) is None,
        "needs CUDA": on_cpu and implementation.cuda_only,
        "needs CUDA, or --interpreter": on_cpu
        and implementation.triton
        and not setting.interpreter,
        "takes no bias": shape.bias and not implementation.bias,
        "compiles for too long for a smoke run": implementation.slow_start and setting.smoke,
        f"minutes on a CPU beyond {limit} logits": on_cpu
        and limit is not None
        and shape.positions * shape.vocab > limit,
        f"positions must be a multiple of {implementation.rows_multiple}": shape.positions
        % implementation.rows_multiple
        != 0,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
