"""How long a step takes, by ZeRO stage, and which stage to take."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum

from alignmlm.planning.communication import (
    Algorithm,
    Backend,
    Transfer,
    transfer_seconds,
    transfers,
)
from alignmlm.planning.jobs import Cluster, GpuSpeed, Policy, Workload
from alignmlm.planning.memory import Memory, memory

FORWARD_SHARE = 1 / 3  # of a step's operations. Source: Kaplan et al., 2020, section 2.1
ROOM = 0.9  # of a GPU's memory that a plan may fill: the rest is the allocator's and the libraries'
CLOSE = 1.02  # a higher stage must be this much faster to be worth it


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePlan:
    """What one ZeRO stage costs on a cluster."""

    policy: Policy
    memory: Memory
    fits: bool
    sent_bytes: float  # by each GPU in a step
    compute_s: float
    communication_s: float
    step_s: float  # with the overlap that the policy asks for
    serial_step_s: float  # without
    tokens_per_s: float
    efficiency: float  # relative to as many GPUs without communication, in (0, 1]


def compute_seconds(job: Workload, speed: GpuSpeed, ranks: int) -> float:
    """Seconds that each rank computes in a step."""
    tokens = job.tokens / ranks
    if speed.tokens_per_s is not None:
        return tokens / speed.tokens_per_s
    reached = 1e12 * (speed.tflops or 0.0) * speed.utilization
    return tokens * job.shape.training_flops(job.seq_len, job.masked_share) / reached


def overlapped_seconds(
    compute_s: float, transfers: list[tuple[Transfer, float]], policy: Policy
) -> float:
    """Seconds of a step whose transfers overlap with the pass that they belong to.

    A pass cannot end before its transfers have; their bare share overlaps with nothing.
    """
    if not policy.overlap:
        return compute_s + sum(seconds for _, seconds in transfers)
    passes = {"forward": compute_s * FORWARD_SHARE, "backward": compute_s * (1 - FORWARD_SHARE)}
    step = 0.0
    for phase, computing in passes.items():
        here = [(each, seconds) for each, seconds in transfers if each.phase == phase]
        bare = sum(seconds * each.bare_share for each, seconds in here)
        beside = sum(seconds for _, seconds in here) - bare
        step += max(computing, beside) + bare
    return step + sum(seconds for each, seconds in transfers if each.phase == "step")


def plan_stage(
    job: Workload,
    cluster: Cluster,
    speed: GpuSpeed,
    policy: Policy,
    algorithm: Algorithm = "nccl",
    backend: Backend = "nccl",
) -> StagePlan:
    """Memory, communication and time of one policy."""
    ranks = cluster.world_size
    needed = memory(job, policy, cluster)
    sent = transfers(job, policy, ranks, backend)
    timed_transfers = [
        (transfer, transfer_seconds(cluster, transfer, algorithm)) for transfer in sent
    ]
    compute = compute_seconds(job, speed, ranks)
    communication = fsum(seconds for _, seconds in timed_transfers)
    step = overlapped_seconds(compute, timed_transfers, policy)
    return StagePlan(
        policy=policy,
        memory=needed,
        fits=needed.total <= ROOM * cluster.memory_gib * 2**30,
        sent_bytes=fsum(transfer.sent_bytes(ranks) for transfer in sent),
        compute_s=compute,
        communication_s=communication,
        step_s=step,
        serial_step_s=compute + communication,
        tokens_per_s=job.tokens / step,
        efficiency=compute / step,
    )


def plan(
    job: Workload,
    cluster: Cluster,
    speed: GpuSpeed,
    policies: Mapping[int, Policy],
    algorithm: Algorithm = "nccl",
) -> list[StagePlan]:
    """A plan for each policy, in their order."""
    made = policies.values()
    return [plan_stage(job, cluster, speed, policy, algorithm) for policy in made]


def chosen(plans: list[StagePlan]) -> StagePlan | None:
    """The lowest stage that fits and is nearly as fast as the fastest; None where none fits."""
    fitting = [each for each in plans if each.fits]
    if not fitting:
        return None
    fastest = min(each.step_s for each in fitting)
    near = [each for each in fitting if each.step_s <= CLOSE * fastest]
    return min(near, key=lambda each: each.policy.stage)
