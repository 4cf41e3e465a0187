"""What a plan is asked for, and how it is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from alignmlm.errors import ConfigError
from alignmlm.planning.jobs import POLICIES, Cluster, GpuSpeed, Workload, policy_of
from alignmlm.planning.shapes import SHAPES

JOB = Workload(shape=SHAPES["tiny"], seq_len=64, batch_rows=32)


@pytest.mark.parametrize("stage", POLICIES)
def test_the_planned_policies_are_those_of_the_files(stage):
    settings = json.loads(Path(f"ds_configs/zero{stage}.json").read_text())
    ours, theirs = POLICIES[stage], policy_of(settings)
    if stage == 0:  # no buckets of its own
        theirs = replace(theirs, bucket_numbers=ours.bucket_numbers)
    assert theirs == ours


def test_offload_and_the_type_on_the_wire_are_read():
    zero = {"stage": 3, "offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"}}
    policy = policy_of({"zero_optimization": zero, "communication_data_type": "fp32"})
    assert policy.offload_optimizer and policy.offload_parameters
    assert policy.gradient_bytes == 4
    assert policy.overlap  # DeepSpeed's own choice at stage 3


@pytest.mark.parametrize(
    "settings", [{"zero_optimization": {"stage": 4}}, {"communication_data_type": "int8"}]
)
def test_a_policy_that_deepspeed_does_not_know_is_refused(settings):
    with pytest.raises(ConfigError, match="be one of"):
        policy_of(settings)


def test_a_batch_that_the_gpus_do_not_divide_is_refused():
    with pytest.raises(ConfigError, match="multiple of the world size, 5"):
        JOB.parts(5)
    with pytest.raises(ConfigError, match=r"divide train\.batch_rows / world size = 16"):
        replace(JOB, micro_rows=3).parts(2)


def test_micro_batches_are_as_large_as_possible_unless_told():
    assert JOB.parts(4) == (8, 1)
    assert replace(JOB, micro_rows=2).parts(4) == (2, 4)


@pytest.mark.parametrize(
    "wrong", [{"nodes": 0}, {"link_gbit_s": 0.0}, {"memory_gib": -1.0}, {"link_latency_us": -1.0}]
)
def test_a_cluster_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Cluster(**wrong)


@pytest.mark.parametrize(
    "wrong", [{}, {"tokens_per_s": 1.0, "tflops": 1.0}, {"tflops": 1.0, "utilization": 2.0}]
)
def test_a_speed_is_told_in_exactly_one_way(wrong):
    with pytest.raises(ConfigError):
        GpuSpeed(**wrong)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("stage", "two", "be one of"),
        ("stage", True, "be one of"),
        ("stage", None, "be one of"),
        ("reduce_bucket_size", "auto", "be a number of at least 1"),
        ("reduce_bucket_size", 0, "be a number of at least 1"),
        ("reduce_bucket_size", -5, "be a number of at least 1"),
        ("stage3_max_live_parameters", "auto", "be a number of at least 0"),
        ("stage3_max_reuse_distance", None, "be a number of at least 0"),
        ("stage3_param_persistence_threshold", True, "be a number of at least 0"),
    ],
)
def test_a_size_that_is_no_number_is_refused_with_its_key(key, value, message):
    with pytest.raises(ConfigError, match=f"zero_optimization.{key} = .* {message}"):
        policy_of({"zero_optimization": {"stage": 3, key: value}})


@pytest.mark.parametrize(
    ("section", "away"),
    [(None, False), ({"device": "none"}, False), ({"device": "cpu"}, True), ({}, False)],
)
def test_what_is_not_offloaded_stays_on_the_gpu(section, away):
    zero = {"stage": 3, "offload_optimizer": section, "offload_param": section}
    policy = policy_of({"zero_optimization": zero})
    assert (policy.offload_optimizer, policy.offload_parameters) == (away, away)


def test_what_is_offloaded_to_nvme_is_not_on_the_gpu():
    section = {"device": "nvme", "nvme_path": "/scratch"}
    zero = {"stage": 3, "offload_optimizer": section, "offload_param": section}
    policy = policy_of({"zero_optimization": zero})
    assert (policy.offload_optimizer, policy.offload_parameters) == (True, True)
