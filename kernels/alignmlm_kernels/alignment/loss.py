"""The public functions of the alignment loss: options, checks, and dispatch."""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from alignmlm_kernels.alignment.choice import chosen_count
from alignmlm_kernels.alignment.index import PairIndex
from alignmlm_kernels.alignment.operators import align, choose_pairs, retrieval
from alignmlm_kernels.alignment.pairs import WordPairs
from alignmlm_kernels.alignment.pairwise import ATTRACTIONS
from alignmlm_kernels.alignment.reference import CONTRASTED, DISTANCES, Contrast, reference_loss
from alignmlm_kernels.alignment.tables import exact_type
from alignmlm_kernels.errors import KernelError

Between = Callable[[Tensor, Tensor], Tensor]  # vectors of the first and second words to distances
Distance = Literal["cosine", "l2", "margin", "infonce"] | Between
Implementation = Literal["auto", "reference", "cpu", "triton"]
FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SAMPLED_PAIRS = 512
TRITON = importlib.util.find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") == "1"


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignmentOptions:
    """The distance between the words of a pair, and which pairs a step uses."""

    distance: Distance = "cosine"
    share: float = 1.0  # of the pairs, at each step
    seed: int = 0
    margin: float = 0.2  # margin: wanted difference of cosines
    temperature: float = 0.07  # infonce: cosines are divided by it
    group_pairs: int = 1024  # margin and infonce: pairs among which negatives are found
    impl: Implementation = "auto"

    def __post_init__(self) -> None:
        if not callable(self.distance):
            self.one_of("distance", DISTANCES)
        self.one_of("impl", get_args(Implementation))
        if not 0 < self.share <= 1:
            raise KernelError(f"share must lie in (0, 1], found {self.share}")
        if not self.margin >= 0:
            raise KernelError(f"margin must be at least 0, found {self.margin}")
        if not self.temperature > 0:
            raise KernelError(f"temperature must be above 0, found {self.temperature}")
        if self.group_pairs < 2:
            raise KernelError(f"group_pairs must be at least 2, found {self.group_pairs}")
        if self.impl == "triton" and self.distance not in ATTRACTIONS:
            raise KernelError(f"impl 'triton' has cosine and l2 only, found {self.distance!r}")
        if self.impl == "cpu" and callable(self.distance):
            raise KernelError(f"impl 'cpu' has {list(DISTANCES)} only, found {self.distance!r}")

    def one_of(self, name: str, allowed: tuple[str, ...]) -> None:
        """Raise unless a setting has an allowed value.

        Raises:
            KernelError: it is not.
        """
        value = getattr(self, name)
        if value not in allowed:
            raise KernelError(f"{name} must be one of {sorted(allowed)}, found {value!r}")

    @property
    def contrast(self) -> Contrast:
        """The settings of distances with negatives."""
        return Contrast(self.margin, self.temperature, self.group_pairs)


class AlignmentStatistics(NamedTuple):
    """A step's loss and alignment measures; no synchronisation with the device."""

    loss: Float[Tensor, ""]  # has a gradient
    mean_cosine: Float[Tensor, ""]  # of the step's pairs, in [-1, 1]
    retrieval: Float[Tensor, ""]  # share of sampled sources nearest to a translation, in [0, 1]
    pairs: int  # used by the step


def check(embedding: Tensor, pairs: WordPairs) -> PairIndex:
    """The index of the pairs, checked against the embedding.

    Raises:
        KernelError: no pairs; a wrong shape, type or device; an id outside the vocabulary.
    """
    index = pairs.prepared
    if embedding.ndim != 2 or embedding.dtype not in FLOATS:
        problem = f"{embedding.dtype} of shape {tuple(embedding.shape)}"
        raise KernelError(f"embedding must be floats of shape [vocab, hidden], found {problem}")
    if embedding.device != pairs.device:
        problem = f"{embedding.device} and {pairs.device}"
        raise KernelError(f"embedding and pairs must share a device, found {problem}")
    needed = len(index.row_places)
    if len(embedding) < needed:
        raise KernelError(
            f"ids of pairs must lie below the {len(embedding)} rows of the embedding, "
            f"found {needed - 1}"
        )
    return index


def implementation(options: AlignmentOptions, embedding: Tensor) -> str:
    """The implementation to run.

    Raises:
        KernelError: Triton was asked for where it cannot run.
    """
    if callable(options.distance):
        return "reference"
    fast = embedding.dtype != torch.float64 and (embedding.is_cuda or INTERPRETED) and TRITON
    if options.impl == "auto":
        fits = fast and embedding.is_cuda and options.distance in ATTRACTIONS
        return "triton" if fits else "cpu"
    if options.impl == "triton" and not fast:
        place = f"{embedding.dtype} on {embedding.device}"
        raise KernelError(f"impl 'triton' needs Triton, a GPU and no float64, found {place}")
    return options.impl


class Chosen(NamedTuple):
    """The pairs of a step."""

    weights: Float[Tensor, " pair"]  # 0: left out
    order: Int[Tensor, " chosen"]  # empty where nothing depends on it


def choose(index: PairIndex, options: AlignmentOptions, step: int) -> Chosen:
    """The pairs of a step, the same on every rank."""
    if options.share == 1 and options.distance not in CONTRASTED:
        return Chosen(index.weights, index.sources[:0])
    return Chosen(*choose_pairs(index.weights, options.share, options.seed, step))


def fused(
    embedding: Float[Tensor, "vocab hidden"],
    pairs: WordPairs,
    chosen: Chosen,
    options: AlignmentOptions,
    dtype: torch.dtype,
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient for the rows in use in `dtype`."""
    return align(
        embedding,
        list(pairs.prepared),
        list(pairs.sizes or ()),
        chosen.weights,
        chosen.order,
        str(options.distance),
        list(options.contrast),
        dtype,
        with_gradient,
        implementation(options, embedding),
    )


def chosen_loss(
    embedding: Float[Tensor, "vocab hidden"],
    pairs: WordPairs,
    chosen: Chosen,
    options: AlignmentOptions,
) -> Float[Tensor, ""]:
    """The loss of the chosen pairs, with a gradient if the embedding requires one."""
    if implementation(options, embedding) == "reference":
        with torch.autocast(embedding.device.type, enabled=False):
            return reference_loss(embedding, pairs, *chosen, options.distance, options.contrast)
    wanted = torch.is_grad_enabled() and embedding.requires_grad
    gradient_dtype = torch.bfloat16 if embedding.dtype == torch.bfloat16 else exact_type(embedding)
    return fused(embedding, pairs, chosen, options, gradient_dtype, wanted)[0]


def alignment_loss(
    embedding: Float[Tensor, "vocab hidden"],
    pairs: WordPairs,
    distance: Distance = "cosine",
    *,
    share: float = 1.0,
    seed: int = 0,
    step: int = 0,
    margin: float = 0.2,
    temperature: float = 0.07,
    group_pairs: int = 1024,
    impl: Implementation = "auto",
) -> Float[Tensor, ""]:
    """Weighted mean distance between the words of a pair; a word is the mean of its sub-words.

    cosine: 1 - cos, in [0, 2]. l2: squared Euclidean distance, at least 0. margin: hinge on the
    hardest negative of the pair's group, at least 0. infonce: cross entropy in nats. Or a function
    in plain PyTorch from the vectors [pair, hidden] of the first and the second words, at least
    float32, to a distance per pair. Groups have at most group_pairs pairs. Sums are taken in
    float32 (float64 for float64 embeddings), under autocast too.

    With a share below 1 a step looks at that share of the pairs, drawn by (seed, step): the same
    on every rank. Nothing is communicated: each rank computes the whole loss, so gradients are to
    be averaged over the ranks, not summed. Under ZeRO-3 the embedding must be whole.

    Source: Tang et al., 2022 (arXiv:2211.08547), plus 1, so that 0 means fully aligned; its
    authors' code holds the l2 form too. The others: see reference.py.

    Raises:
        KernelError: arguments that do not fit, no pairs, ids outside the vocabulary.
    """
    options = AlignmentOptions(
        distance=distance,
        share=share,
        seed=seed,
        margin=margin,
        temperature=temperature,
        group_pairs=group_pairs,
        impl=impl,
    )
    return chosen_loss(embedding, pairs, choose(check(embedding, pairs), options, step), options)


def mean_cosine(
    embedding: Float[Tensor, "vocab hidden"],
    pairs: WordPairs,
    chosen: Chosen,
    options: AlignmentOptions,
    loss: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Weighted mean cosine of the chosen pairs; for the cosine distance it is 1 - loss."""
    if options.distance == "cosine":
        return 1 - loss.detach()
    plain = AlignmentOptions(distance="cosine", impl=options.impl)
    return 1 - chosen_loss(embedding.detach(), pairs, chosen, plain)


def alignment_statistics(
    embedding: Float[Tensor, "vocab hidden"],
    pairs: WordPairs,
    options: AlignmentOptions,
    *,
    step: int = 0,
) -> AlignmentStatistics:
    """The loss and how well the pairs are aligned; retrieval uses up to 512 sampled pairs.

    Raises:
        KernelError: as for `alignment_loss`.
    """
    index = check(embedding, pairs)
    chosen = choose(index, options, step)
    loss = chosen_loss(embedding, pairs, chosen, options)
    return AlignmentStatistics(
        loss,
        mean_cosine(embedding, pairs, chosen, options, loss),
        retrieval(
            embedding.detach(),
            list(index),
            list(pairs.sizes or ()),
            SAMPLED_PAIRS,
            options.seed,
            step,
        ),
        chosen_count(len(pairs), options.share),
    )


@torch.no_grad()
def add_alignment_gradient(
    embedding: Float[Tensor, "vocab hidden"],
    pairs: WordPairs,
    embedding_grad: Float[Tensor, "vocab hidden"],
    options: AlignmentOptions,
    *,
    scale: float = 1.0,
    step: int = 0,
) -> Float[Tensor, ""]:
    """The loss; scale times its gradient is added to `embedding_grad`, in that tensor's precision.

    Raises:
        KernelError: as for `alignment_loss`; a buffer of another shape or type; a distance or impl
            that runs as the reference, which cannot add to a buffer.
    """
    index = check(embedding, pairs)
    if embedding_grad.shape != embedding.shape or embedding_grad.dtype != exact_type(embedding):
        actual = f"{embedding_grad.dtype} of shape {tuple(embedding_grad.shape)}"
        expected = f"{exact_type(embedding)} of shape {tuple(embedding.shape)}"
        raise KernelError(f"embedding_grad must be {expected}, found {actual}")
    if options.impl == "reference" or callable(options.distance):
        raise KernelError("impl 'reference' adds to no buffer")
    chosen = choose(index, options, step)
    loss, rows = fused(embedding, pairs, chosen, options, embedding_grad.dtype, True)
    embedding_grad.index_add_(0, index.rows, rows, alpha=scale)
    return loss


class AlignmentLoss(nn.Module):
    """The alignment loss of fixed pairs, which follow the module's device and are not its state.

    They are not buffers either: a module's cast to bfloat16 must not round their weights, and
    DistributedDataParallel need not send them at every step.
    """

    def __init__(self, pairs: WordPairs, options: AlignmentOptions) -> None:
        super().__init__()
        self.pairs, self.options = pairs, options

    def _apply(self, fn, recurse: bool = True):  # type: ignore[no-untyped-def]
        device = fn(torch.empty(0, device=self.pairs.device)).device
        if device != self.pairs.device:
            self.pairs = self.pairs.to(device)
        return super()._apply(fn, recurse)

    def forward(self, embedding: Float[Tensor, "vocab hidden"], step: int = 0) -> Float[Tensor, ""]:
        """The loss of a step."""
        chosen = choose(check(embedding, self.pairs), self.options, step)
        return chosen_loss(embedding, self.pairs, chosen, self.options)
