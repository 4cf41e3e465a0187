"""What ZeRO communicates in a step, and how long that takes on given links."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log2
from typing import Literal

from alignmlm.planning.jobs import GIGABIT_BYTES, Cluster, Policy, Workload
from alignmlm.planning.memory import held_bytes

Kind = Literal["all_reduce", "reduce_scatter", "all_gather"]
Phase = Literal["forward", "backward", "step"]
Algorithm = Literal["nccl", "ring", "hierarchical"]
Backend = Literal["nccl", "gloo"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """One kind of collective in a step: all its calls together."""

    kind: Kind
    phase: Phase  # the pass it can overlap with; "step" (the optimizer's) overlaps with nothing
    whole_bytes: int  # of the whole tensors, not of a rank's share
    calls: int
    bare_share: float = 0.0  # share of it that overlaps with no computation, in [0, 1]

    def sent_bytes(self, ranks: int) -> float:
        """Bytes that each of `ranks` ranks sends, and as many that it receives.

        Source: Patarasuk and Yuan, 2009 (J. Parallel Distrib. Comput. 69), section 3: a ring
        all-reduce sends 2 (n - 1) / n of the tensor, either half of it (n - 1) / n.
        """
        return self.halves * (ranks - 1) / ranks * self.whole_bytes

    @property
    def halves(self) -> int:
        """2 for an all-reduce, which is a reduce-scatter and an all-gather; 1 for either alone."""
        return 2 if self.kind == "all_reduce" else 1


def wire_bytes(job: Workload, policy: Policy) -> int:
    """Bytes per gradient element on the wire."""
    return policy.gradient_bytes or held_bytes(job, policy.stage)


def bare_share(job: Workload, bucket_numbers: int) -> float:
    """The share of the gradients that is ready only when the backward pass ends, in (0, 1].

    The tied matrix is used both first and last in the forward pass: its gradient is complete at
    the very end. So is the last bucket.
    """
    last = max(job.shape.embedding_parameters, bucket_numbers)
    return min(1.0, last / job.shape.parameters)


def transfers(
    job: Workload, policy: Policy, ranks: int, backend: Backend = "nccl"
) -> list[Transfer]:
    """The collectives of one step, as DeepSpeed 0.19 does them.

    The paper's stages 1 and 2 reduce-scatter the gradients (2 x parameters in all); DeepSpeed
    all-reduces them (`use_multi_rank_bucket_allreduce`) and gathers the parameters (3 x). Source:
    Rajbhandari et al., 2020 (arXiv:1910.02054), section 7; DeepSpeed 0.19.8, stage_1_and_2.py
    (average_tensor, step), stage3.py.
    """
    if ranks == 1:
        return []
    _, parts = job.parts(ranks)
    if policy.stage == 3:
        return list(partitioned_transfers(job, policy, parts, backend))
    numbers = job.shape.parameters
    times = parts if policy.stage == 2 or (policy.stage == 1 and policy.overlap) else 1
    reduced = Transfer(
        kind="all_reduce",
        phase="backward" if policy.overlap else "step",
        whole_bytes=times * numbers * wire_bytes(job, policy),
        calls=times * ceil(numbers / policy.bucket_numbers),
        bare_share=bare_share(job, policy.bucket_numbers),
    )
    if policy.stage == 0:
        return [reduced]
    size = numbers * held_bytes(job, policy.stage)
    gathered = Transfer(kind="all_gather", phase="step", whole_bytes=size, calls=2)
    return [reduced, gathered]


def partitioned_transfers(
    job: Workload, policy: Policy, parts: int, backend: Backend
) -> Iterator[Transfer]:
    """ZeRO-3: parameters are gathered for the forward pass, and again for the backward pass.

    The second gather is skipped where DeepSpeed keeps what it soon uses again (`max_reuse_distance`
    and `max_live_parameters`, both 10**9 by default: more than these models have). One call for
    each matrix is an upper bound; prefetching merges several into one.
    """
    shape, size = job.shape, held_bytes(job, 3)
    whole = shape.whole_parameters(policy.whole_below)
    divided = shape.parameters - whole
    modules = 6 * shape.layers + 2  # matrices of the layers, the tied one, the head's
    tied = shape.embedding_parameters if shape.embedding_parameters > policy.whole_below else 0
    stays_gathered = divided <= min(policy.reuse_numbers, policy.live_numbers)
    phases: tuple[Phase, ...] = ("forward",) if stays_gathered else ("forward", "backward")
    for phase in phases:
        gathered = parts * divided * size
        yield Transfer(
            kind="all_gather",
            phase=phase,
            whole_bytes=gathered,
            calls=parts * modules,
            bare_share=tied / max(divided, 1),
        )
    yield Transfer(
        kind="all_reduce" if backend == "gloo" else "reduce_scatter",
        phase="backward",
        whole_bytes=parts * shape.parameters * wire_bytes(job, policy),
        calls=parts * ceil(shape.parameters / policy.bucket_numbers),
        bare_share=bare_share(job, policy.bucket_numbers),
    )
    yield Transfer(kind="all_gather", phase="step", whole_bytes=whole * size, calls=1)


def waiting_us(cluster: Cluster, transfer: Transfer, algorithm: Algorithm) -> float:
    """Microseconds of latency in one call.

    A ring passes messages through all ranks, all but nodes - 1 of them inside a node. For
    all-reduces NCCL takes trees between the nodes where those are faster. Source: NCCL,
    src/graph/tuning.cc, ncclTopoTuneModel.
    """
    inner, link = cluster.inner_latency_us, cluster.link_latency_us
    nodes, gpus = cluster.nodes, cluster.gpus
    inner_hops = gpus - 1 if algorithm == "hierarchical" else cluster.world_size - nodes
    ring = transfer.halves * (inner_hops * inner + (nodes - 1) * link)
    if algorithm != "nccl" or transfer.kind != "all_reduce":
        return ring
    return min(ring, 2 * ((gpus - 1) * inner + ceil(log2(nodes)) * link))


def transfer_seconds(cluster: Cluster, transfer: Transfer, algorithm: Algorithm = "nccl") -> float:
    """Seconds that a transfer takes when nothing else uses the links.

    A ring through all ranks is as fast as its slowest link. The hierarchical form reduces within a
    node, then exchanges each GPU's part between nodes, then gathers within the node. Source: Mikami
    et al., 2018 (arXiv:1811.05233), the two-dimensional all-reduce.
    """
    inner, link = (gbit * GIGABIT_BYTES for gbit in (cluster.inner_gbit_s, cluster.link_gbit_s))
    nodes, gpus = cluster.nodes, cluster.gpus
    if algorithm == "hierarchical":
        flowing = transfer.sent_bytes(gpus) / inner + transfer.sent_bytes(nodes) / link
    else:
        sent = transfer.sent_bytes(cluster.world_size)
        flowing = max(sent / inner if gpus > 1 else 0.0, sent / link if nodes > 1 else 0.0)
    return flowing + transfer.calls * waiting_us(cluster, transfer, algorithm) * 1e-6
