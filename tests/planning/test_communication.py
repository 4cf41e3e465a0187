"""What each stage sends, and how long links take."""

from dataclasses import replace

import pytest

from alignmlm.planning.communication import Transfer, bare_share, transfer_seconds, transfers
from alignmlm.planning.jobs import POLICIES, Cluster, Policy, Workload
from alignmlm.planning.shapes import SHAPES

JOB = Workload(shape=SHAPES["paper"], seq_len=512, batch_rows=256)
SIZE = 2 * JOB.shape.parameters  # in bf16
AT_ONCE = {"inner_latency_us": 0.0, "link_latency_us": 0.0}
GIGABYTE = Transfer(kind="all_reduce", phase="step", whole_bytes=10**9, calls=1)


def sent(policy: Policy, ranks: int = 4, job: Workload = JOB) -> float:
    """Bytes that a rank sends in a step, as a multiple of the parameters in bf16."""
    return sum(each.sent_bytes(ranks) for each in transfers(job, policy, ranks)) / SIZE


def test_one_rank_sends_nothing():
    assert all(transfers(JOB, policy, 1) == [] for policy in POLICIES.values())


def test_volumes_are_those_of_deepspeed():
    ring = 3 / 4
    assert sent(POLICIES[0]) == pytest.approx(2 * 2 * ring)  # fp32 gradients
    assert sent(POLICIES[1]) == sent(POLICIES[2]) == pytest.approx(3 * ring)
    assert sent(POLICIES[3]) == pytest.approx(2 * ring, rel=0.01)


def test_zero_3_gathers_twice_where_nothing_is_kept():
    # section 7.2.2 of the paper: 3 x parameters
    assert sent(replace(POLICIES[3], reuse_numbers=0)) == pytest.approx(3 * 3 / 4, rel=0.01)


def test_zero_3_gathers_nothing_before_a_pass_where_all_tensors_stay_whole():
    found = transfers(JOB, replace(POLICIES[3], whole_below=10**9), 4)
    assert [each.whole_bytes for each in found] == [0, SIZE, SIZE]
    assert all(0 <= each.bare_share <= 1 for each in found)


def test_accumulation_repeats_what_stages_2_and_3_send():
    job = replace(JOB, micro_rows=16)  # four micro-batches
    assert sent(POLICIES[1], job=job) == sent(POLICIES[1])
    assert sent(POLICIES[2], job=job) == pytest.approx((4 * 2 + 1) * 3 / 4)
    assert sent(POLICIES[3], job=job) == pytest.approx(4 * 2 * 3 / 4, rel=0.01)


def test_fp32_on_the_wire_doubles_the_gradients():
    assert sent(replace(POLICIES[2], gradient_bytes=4)) == pytest.approx((4 + 1) * 3 / 4)


def test_a_ring_is_as_fast_as_its_slowest_link():
    cluster = Cluster(
        nodes=2, gpus=2, inner_gbit_s=80.0, link_gbit_s=8.0, **AT_ONCE
    )  # 10 and 1 GB/s
    assert transfer_seconds(cluster, GIGABYTE) == pytest.approx(1.5)
    assert transfer_seconds(replace(cluster, nodes=1), GIGABYTE) == pytest.approx(0.1)
    assert transfer_seconds(replace(cluster, gpus=1), GIGABYTE) == pytest.approx(1.0)


def test_the_hierarchical_form_sends_less_between_nodes_and_more_in_turn():
    cluster = Cluster(nodes=2, gpus=4, inner_gbit_s=80.0, link_gbit_s=8.0, **AT_ONCE)
    inside, between = 1.5 / 10, 1.0
    found = transfer_seconds(cluster, GIGABYTE, "hierarchical")
    assert found == pytest.approx(inside + between)
    assert transfer_seconds(cluster, GIGABYTE) == pytest.approx(2 * 7 / 8)


def test_latency_counts_for_each_call_and_hop():
    cluster = Cluster(nodes=4, gpus=2, inner_latency_us=10.0, link_latency_us=100.0)
    calls = replace(GIGABYTE, whole_bytes=0, calls=10)
    found = transfer_seconds(cluster, calls, "ring")
    assert found == pytest.approx(10 * 2 * (4 * 10 + 3 * 100) * 1e-6)
    found = transfer_seconds(cluster, calls, "hierarchical")
    assert found == pytest.approx(10 * 2 * (1 * 10 + 3 * 100) * 1e-6)


def test_nccl_waits_for_a_tree_where_that_is_shorter_than_the_ring():
    cluster = Cluster(nodes=16, gpus=2, inner_latency_us=10.0, link_latency_us=100.0)
    reduced = replace(GIGABYTE, whole_bytes=0)
    assert transfer_seconds(cluster, reduced) == pytest.approx(2 * (10 + 4 * 100) * 1e-6)
    gathered = replace(reduced, kind="all_gather")
    assert transfer_seconds(cluster, gathered) == pytest.approx((16 * 10 + 15 * 100) * 1e-6)


def test_the_tied_matrix_is_what_cannot_overlap():
    shape = JOB.shape
    assert bare_share(JOB, 10**6) == shape.embedding_parameters / shape.parameters
    assert bare_share(JOB, 10**9) == 1.0
