"""Memory of one GPU against the formulas of the ZeRO paper."""

from dataclasses import replace

import pytest

from alignmlm.planning.jobs import POLICIES, Cluster, Policy, Workload
from alignmlm.planning.memory import (
    activation_bytes,
    gradient_bytes,
    memory,
    optimizer_bytes,
    parameter_bytes,
)
from alignmlm.planning.shapes import SHAPES

JOB = Workload(shape=SHAPES["paper"], seq_len=512, batch_rows=256)
NUMBERS = JOB.shape.parameters
LEAN = {"bucket_numbers": 1, "live_numbers": 0, "whole_below": 0}


def states(stage: int, ranks: int, precision: str) -> float:
    """Bytes of parameters, gradients and optimizer for each parameter, without buffers."""
    job, policy = replace(JOB, precision=precision), Policy(stage=stage, **LEAN)
    held = optimizer_bytes(job, policy, ranks) + gradient_bytes(job, policy, ranks)
    held += parameter_bytes(job, policy, ranks)
    size = 2 if precision == "bf16" and stage else 4
    largest = job.shape.embedding_parameters * size  # gathered, and its gradient
    buffers = {2: largest + size, 3: largest + size + (largest if ranks > 1 else 0)}
    return (held - buffers.get(stage, 0)) / NUMBERS


@pytest.mark.parametrize("ranks", [1, 8, 64])
def test_states_shrink_with_the_ranks_as_the_paper_says(ranks):
    # section 5: 2 + 2 + 12 bytes, with fp32 gradients 2 + 4 + 12
    assert states(1, ranks, "bf16") == pytest.approx(6 + 12 / ranks, rel=1e-6)
    assert states(2, ranks, "bf16") == pytest.approx(2 + 16 / ranks, rel=1e-6)
    assert states(3, ranks, "bf16") == pytest.approx(18 / ranks, rel=1e-6)


def test_without_zero_every_rank_holds_everything():
    assert states(0, 64, "fp32") == 16
    assert states(0, 64, "bf16") == 18  # autocast keeps a copy of the weights in bf16


def test_zero_keeps_an_fp32_copy_of_fp32_weights():
    assert states(1, 1, "fp32") == 20
    assert states(1, 2, "fp32") == pytest.approx(14, rel=1e-6)


def test_offload_moves_optimizer_and_parameters_to_the_host():
    cluster = Cluster(nodes=2)
    kept = memory(JOB, POLICIES[3], cluster)
    offloaded = replace(POLICIES[3], offload_optimizer=True, offload_parameters=True)
    moved = memory(JOB, offloaded, cluster)
    assert (kept.host, moved.optimizer) == (0, 0)
    assert moved.host == pytest.approx(NUMBERS * 18 / 16, rel=1e-6)
    assert kept.total - moved.total == pytest.approx(moved.host, rel=1e-6)


def test_activations_follow_the_published_count():
    units = 4 * 512 * 512 * 8
    assert activation_bytes(replace(JOB, dropout=True), 2, 4) == 34 * units
    assert activation_bytes(JOB, 2, 4) == 32 * units
    assert activation_bytes(replace(JOB, precision="fp32"), 2, 4) == 64 * units


def test_smaller_micro_batches_take_less_memory():
    cluster = Cluster()
    whole = memory(JOB, POLICIES[2], cluster)
    parts = memory(replace(JOB, micro_rows=4), POLICIES[2], cluster)
    assert parts.activations == whole.activations / 8
    assert parts.head < whole.head
    assert parts.states == whole.states
