"""Bytes that one GPU needs, by ZeRO stage."""

from dataclasses import asdict, dataclass
from math import ceil

from alignmlm.planning.jobs import Cluster, Policy, Workload

FP32, BF16 = 4, 2
MOMENTS, MASTER = 8, 4  # bytes of AdamW's two fp32 moments, and of an fp32 weight


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes on one GPU at the peak of a step, and what is offloaded to its host."""

    parameters: int
    gradients: int
    optimizer: int
    activations: int
    head: int  # workspace of the softmax loss
    host: int = 0

    @property
    def states(self) -> int:
        """Parameters, gradients and optimizer."""
        return self.parameters + self.gradients + self.optimizer

    @property
    def total(self) -> int:
        """All that the GPU holds."""
        return self.states + self.activations + self.head

    def to_json(self) -> dict[str, int]:
        """Each part, and the total."""
        return asdict(self) | {"total": self.total}


def held_bytes(job: Workload, stage: int) -> int:
    """Bytes of one parameter as the model holds it; ZeRO-0 runs bf16 by autocast over fp32."""
    return FP32 if job.precision == "fp32" or stage == 0 else BF16


def parameter_bytes(job: Workload, policy: Policy, ranks: int) -> int:
    """Bytes of the parameters on one GPU.

    Stages 0 to 2 hold all of them, and under autocast a bf16 copy as well. ZeRO-3 holds its share,
    small tensors whole, and what is gathered at any one time. Source: Rajbhandari et al., 2020
    (arXiv:1910.02054), section 5.3.
    """
    numbers, size = job.shape.parameters, held_bytes(job, policy.stage)
    if policy.stage < 3:
        copy = BF16 if policy.stage == 0 and job.precision == "bf16" else 0
        return numbers * (size + copy)
    whole = job.shape.whole_parameters(policy.whole_below)
    gathered = min(numbers - whole, max(policy.live_numbers, job.shape.embedding_parameters))
    share = 0 if policy.offload_parameters else ceil(numbers / ranks)
    return size * (share + whole + (gathered if ranks > 1 or policy.offload_parameters else 0))


def gradient_bytes(job: Workload, policy: Policy, ranks: int) -> int:
    """Bytes of the gradients on one GPU, in fp32 as this project accumulates them.

    Stages 0 and 1 keep all of them. Stages 2 and 3 keep a share, the buckets that are being filled
    and sent (one, or two where they overlap with the backward pass), and for a moment the largest
    gradient, that of the tied matrix. Source: Rajbhandari et al., 2020, sections 5.1 and 5.2.
    """
    numbers, size = job.shape.parameters, held_bytes(job, policy.stage)
    if policy.stage < 2:
        return numbers * FP32
    share = 0 if policy.offload_optimizer else ceil(numbers / ranks) * FP32
    buckets = policy.bucket_numbers * (2 if policy.overlap and policy.stage == 2 else 1)
    return share + buckets * size + job.shape.embedding_parameters * size


def optimizer_bytes(job: Workload, policy: Policy, ranks: int) -> int:
    """Bytes of AdamW's moments and of ZeRO's fp32 weights, which it keeps beside fp32 models too.

    Source: Rajbhandari et al., 2020, section 3.1 (K = 12) and 5.1.
    """
    if policy.stage == 0:
        return job.shape.parameters * MOMENTS
    return ceil(job.shape.parameters / ranks) * (MOMENTS + MASTER)


def activation_bytes(job: Workload, stage: int, rows: int) -> int:
    """Bytes of activations kept for the backward pass of one micro-batch, with fused attention.

    Source: Korthikanti et al., 2022 (arXiv:2205.05198), section 4.1: 34 bytes for each token,
    layer and hidden unit at 2 bytes a number, of which 2 are dropout masks; the attention matrices
    that the paper adds are not kept by fused attention. In fp32 twice that, except the masks.
    """
    units = rows * job.seq_len * job.shape.hidden * job.shape.layers
    values = 32 * (2 if job.precision == "fp32" else 1)
    return units * (values + (2 if job.dropout else 0))


def head_bytes(job: Workload, rows: int) -> int:
    """Bytes that the softmax loss needs at the masked positions, besides inputs and gradients."""
    import torch
    from alignmlm_kernels.masked_softmax.memory import BUDGET_BYTES, chosen_design, peak_bytes

    masked = ceil(rows * job.seq_len * job.masked_share)
    dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
    device, shape = torch.device("cuda"), job.shape
    design = chosen_design(masked, shape.vocabulary, dtype, device, BUDGET_BYTES)
    return peak_bytes(masked, shape.vocabulary, shape.hidden, dtype, device, design)


def memory(job: Workload, policy: Policy, cluster: Cluster) -> Memory:
    """What one GPU of a cluster holds at the peak of a step."""
    ranks, (rows, _) = cluster.world_size, job.parts(cluster.world_size)
    optimizer = optimizer_bytes(job, policy, ranks)
    share, size = ceil(job.shape.parameters / ranks), held_bytes(job, policy.stage)
    host = share * size if policy.offload_parameters else 0
    if policy.offload_optimizer:
        host, optimizer = host + optimizer + share * FP32, 0
    return Memory(
        parameters=parameter_bytes(job, policy, ranks),
        gradients=gradient_bytes(job, policy, ranks),
        optimizer=optimizer,
        activations=activation_bytes(job, policy.stage, rows),
        head=head_bytes(job, rows),
        host=host,
    )
