"""Time of a step, and the stage that a plan takes."""

from dataclasses import replace

import pytest

from alignmlm.planning.communication import Transfer
from alignmlm.planning.jobs import POLICIES, Cluster, GpuSpeed, Policy, Workload
from alignmlm.planning.shapes import SHAPES
from alignmlm.planning.steps import chosen, compute_seconds, overlapped_seconds, plan

JOB = Workload(shape=SHAPES["paper"], seq_len=512, batch_rows=256)
SPEED = GpuSpeed(tflops=790.0, utilization=0.4)
OVERLAP = Policy(stage=2, overlap=True)


def backward(seconds: float, bare: float = 0.0) -> list[tuple[Transfer, float]]:
    """A reduction of gradients that takes some seconds."""
    reduced = Transfer(kind="all_reduce", phase="backward", whole_bytes=1, calls=1, bare_share=bare)
    return [(reduced, seconds)]


def test_compute_is_shared_out_and_measured_speed_is_taken_as_it_is():
    assert compute_seconds(JOB, GpuSpeed(tokens_per_s=1000.0), 4) == pytest.approx(32.768)
    flops = JOB.tokens * JOB.shape.training_flops(512, 0.15)
    assert compute_seconds(JOB, SPEED, 8) == pytest.approx(flops / 8 / 316e12)


def test_short_transfers_hide_behind_the_backward_pass():
    assert overlapped_seconds(3.0, backward(1.0), OVERLAP) == pytest.approx(3.0)


def test_what_is_ready_only_at_the_end_hides_behind_nothing():
    assert overlapped_seconds(3.0, backward(1.0, bare=0.6), OVERLAP) == pytest.approx(3.6)


def test_long_transfers_take_the_place_of_the_backward_pass():
    assert overlapped_seconds(3.0, backward(5.0), OVERLAP) == pytest.approx(6.0)


def test_without_overlap_everything_comes_one_after_the_other():
    assert overlapped_seconds(3.0, backward(1.0), Policy(stage=2)) == pytest.approx(4.0)


def test_one_gpu_is_fully_efficient():
    for each in plan(JOB, Cluster(gpus=1), SPEED, POLICIES):
        assert (each.efficiency, each.sent_bytes) == (1.0, 0.0)


def test_slower_links_never_make_a_step_faster():
    fast, slow = (
        plan(JOB, Cluster(nodes=4, link_gbit_s=gbit), SPEED, POLICIES) for gbit in (3200.0, 10.0)
    )
    for here, there in zip(fast, slow, strict=True):
        assert here.step_s < there.step_s
        assert here.compute_s < here.step_s <= here.serial_step_s


def test_the_lowest_of_equally_fast_stages_is_taken():
    assert chosen(plan(JOB, Cluster(gpus=1), SPEED, POLICIES)).policy.stage == 0


def test_what_does_not_fit_is_not_taken():
    job = replace(JOB, shape=SHAPES["xlm-r-large"], micro_rows=1)
    plans = plan(job, Cluster(nodes=8, memory_gib=8.0), SPEED, POLICIES)
    best = chosen(plans)
    assert not plans[0].fits
    assert best is not None and best.policy.stage > 0
    assert chosen(plan(job, Cluster(nodes=8, memory_gib=1.0), SPEED, POLICIES)) is None
