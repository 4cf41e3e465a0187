"""The job, the cluster and the ZeRO policy of an estimate."""

from dataclasses import dataclass
from typing import Any, Literal

from alignmlm.errors import ConfigError
from alignmlm.planning.shapes import EncoderShape
from alignmlm.ranks.micro_batching import micro_batches

Precision = Literal["fp32", "bf16"]
GIGABIT_BYTES = 10**9 / 8
STAGES = (0, 1, 2, 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Machines and the links between them; bandwidths count one direction.

    Source of the latencies: NCCL, src/graph/tuning.cc, hwLat of Ring/Simple over NVLink and over
    the network.
    """

    nodes: int = 1
    """Number of nodes."""
    gpus: int = 8
    """GPUs on each node."""
    inner_gbit_s: float = 3600.0
    """Gbit/s from one GPU to the others on its node, in one direction."""
    link_gbit_s: float = 3200.0
    """Gbit/s from one node to the others, over all its network cards, in one direction."""
    inner_latency_us: float = 3.4
    """Latency of one message within a node, in microseconds."""
    link_latency_us: float = 14.0
    """Latency of one message between nodes, in microseconds."""
    memory_gib: float = 80.0
    """Memory of one GPU, in GiB."""

    def __post_init__(self) -> None:
        for name in ("nodes", "gpus"):
            if getattr(self, name) < 1:
                raise ConfigError(name, getattr(self, name), "be at least 1")
        for name in ("inner_gbit_s", "link_gbit_s", "memory_gib"):
            if getattr(self, name) <= 0:
                raise ConfigError(name, getattr(self, name), "be positive")
        for name in ("inner_latency_us", "link_latency_us"):
            if getattr(self, name) < 0:
                raise ConfigError(name, getattr(self, name), "not be negative")

    @property
    def world_size(self) -> int:
        """Number of ranks, one per GPU."""
        return self.nodes * self.gpus


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuSpeed:
    """How fast one GPU computes: its measured tokens/s, or a share of its TFLOP/s."""

    tokens_per_s: float | None = None
    """Measured tokens/s of one GPU alone, instead of tflops."""
    tflops: float | None = None
    """Peak TFLOP/s of one GPU for matrix products in the training precision."""
    utilization: float = 0.4
    """Share of tflops that training reaches, in (0, 1]."""

    def __post_init__(self) -> None:
        if (self.tokens_per_s is None) == (self.tflops is None):
            values = (self.tokens_per_s, self.tflops)
            raise ConfigError(
                "tokens_per_s, tflops",
                values,
                "be one of the two: tokens/s that were measured, or TFLOP/s",
            )
        for name in ("tokens_per_s", "tflops"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(name, value, "be positive")
        if not 0 < self.utilization <= 1:
            raise ConfigError("utilization", self.utilization, "lie in (0, 1]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """The model and the batch of one step."""

    shape: EncoderShape
    seq_len: int
    batch_rows: int  # of one step, over all ranks
    micro_rows: int | None = None  # of one forward pass on one rank; none: all of its rows
    masked_share: float = 0.15
    precision: Precision = "bf16"
    dropout: bool = False

    def __post_init__(self) -> None:
        if self.seq_len < 1 or self.batch_rows < 1:
            values = (self.seq_len, self.batch_rows)
            raise ConfigError("seq_len, batch_rows", values, "be at least 1")

    @property
    def tokens(self) -> int:
        """Positions of one step, over all ranks."""
        return self.batch_rows * self.seq_len

    def parts(self, world_size: int) -> tuple[int, int]:
        """Rows of a micro-batch, and micro-batches per step, on each rank.

        Raises:
            ConfigError: the sizes do not divide each other.
        """
        return micro_batches(self.batch_rows, self.micro_rows, world_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The settings of a ds_configs file that affect memory and time. Defaults: DeepSpeed 0.19's."""

    stage: int
    overlap: bool = False
    bucket_numbers: int = 500_000_000  # gradient elements reduced in one call
    whole_below: int = 100_000  # elements: ZeRO-3 keeps smaller tensors whole
    live_numbers: int = 10**9  # parameters that ZeRO-3 keeps gathered at a time
    reuse_numbers: int = 10**9  # ZeRO-3 keeps parameters that are used again within this many
    gradient_bytes: int | None = None  # of one element on the wire; none: by the precision
    offload_optimizer: bool = False
    offload_parameters: bool = False


WIRE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
ZERO = "zero_optimization"


def size_of(zero: dict[str, Any], key: str, default: float, least: int = 0) -> int:
    """A size in the ZeRO section of a ds_configs file.

    Raises:
        ConfigError: it is not a number, or less than `least`.
    """
    value = zero.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
        raise ConfigError(f"{ZERO}.{key}", value, f"be a number of at least {least}")
    return int(value)


def is_offloaded(zero: dict[str, Any], key: str) -> bool:
    """Whether a part of the state is offloaded from the GPU to the host's memory or disk."""
    return ((zero.get(key) or {}).get("device") or "none") != "none"


def policy_of(settings: dict[str, Any]) -> Policy:
    """The policy of a ds_configs file.

    Raises:
        ConfigError: a stage or a communication type that DeepSpeed does not know, or a size that is
            no number.
    """
    zero = settings.get(ZERO, {})
    stage, wire = zero.get("stage", 0), settings.get("communication_data_type")
    if stage not in STAGES or isinstance(stage, bool):
        raise ConfigError(f"{ZERO}.stage", stage, f"be one of {STAGES}")
    if wire is not None and wire not in WIRE_BYTES:
        raise ConfigError("communication_data_type", wire, f"be one of {sorted(WIRE_BYTES)}")
    overlap = zero.get("overlap_comm")
    return Policy(
        stage=int(stage),
        overlap=stage == 3 if overlap is None else bool(overlap) and stage > 0,
        bucket_numbers=size_of(zero, "reduce_bucket_size", 5e8, least=1),
        whole_below=size_of(zero, "stage3_param_persistence_threshold", 1e5),
        live_numbers=size_of(zero, "stage3_max_live_parameters", 1e9),
        reuse_numbers=size_of(zero, "stage3_max_reuse_distance", 1e9),
        gradient_bytes=None if wire is None else WIRE_BYTES[wire],
        offload_optimizer=is_offloaded(zero, "offload_optimizer"),
        offload_parameters=is_offloaded(zero, "offload_param"),
    )


POLICIES = {  # ds_configs/zero0.json to zero3.json; a test checks that they agree
    0: Policy(stage=0),
    1: Policy(stage=1, bucket_numbers=50_000_000),
    2: Policy(stage=2, bucket_numbers=50_000_000, overlap=True),
    3: Policy(stage=3, bucket_numbers=50_000_000, overlap=True),
}
