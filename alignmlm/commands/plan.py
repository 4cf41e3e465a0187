"""The command that says what a run will need on a cluster."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import click
from rich.table import Table

from alignmlm.commands.options import as_json, command, deepspeed
from alignmlm.config import Value, recipe_options, setting_options
from alignmlm.console.terminal import console, new_table, print_json, print_line
from alignmlm.errors import ConfigError, nearest
from alignmlm.planning.jobs import POLICIES, Cluster, GpuSpeed, Policy, Workload, policy_of
from alignmlm.planning.shapes import SHAPES, EncoderShape, sized
from alignmlm.planning.steps import StagePlan, chosen, plan
from alignmlm.pretraining.recipe import Recipe

ALGORITHM = Value(Literal["nccl", "ring", "hierarchical"])


def recipe_shape(recipe: Recipe) -> EncoderShape:
    """The encoder of a recipe, with a vocabulary for each of its scripts.

    Raises:
        ConfigError: it goes on from a checkpoint, whose size is not known here.
    """
    if recipe.model.start is not None:
        requirement = f"not be set here; name a size by --shape: {', '.join(SHAPES)}"
        raise ConfigError("model.start", recipe.model.start, requirement)
    from alignmlm.languages.language import parse_language

    scripts = {parse_language(name).script for name in recipe.languages.ids}
    vocabulary = recipe.data.vocabulary_size * len(scripts)
    model = recipe.model
    return sized(model.size, vocabulary, recipe.train.seq_len, model.architecture)


def planned_job(recipe: Recipe, shape: str | None) -> Workload:
    """What a recipe trains, in another size where one is named.

    Raises:
        ConfigError: no such size.
    """
    if shape is not None and shape not in SHAPES:
        requirement = f"be one of: {', '.join(SHAPES)}{nearest(shape, SHAPES)}"
        raise ConfigError("shape", shape, requirement)
    train = recipe.train
    return Workload(
        shape=recipe_shape(recipe) if shape is None else SHAPES[shape],
        seq_len=train.seq_len,
        batch_rows=train.batch_rows,
        micro_rows=train.micro_rows,
        masked_share=recipe.mask.rate,
        precision="bf16" if train.precision == "auto" else train.precision,
        dropout=recipe.model.dropout > 0,
    )


def planned_policies(path: Path | None) -> dict[int, Policy]:
    """The policy of a ds_configs file, or those of all stages.

    Raises:
        ConfigError: no such file, or a setting in it that cannot be planned with.
    """
    if path is None:
        return POLICIES
    from alignmlm.pretraining.policy import read_policy

    settings = read_policy(path)
    try:
        policy = policy_of(settings)
    except ConfigError as error:
        key, value, requirement = error.args
        raise ConfigError(f"{path}: {key}", value, requirement) from error
    return {policy.stage: policy}


def gib(count: int) -> str:
    """Bytes in GiB for a table."""
    return f"{count / 2**30:,.2f}"


def numbers_table(title: str, names: Sequence[str]) -> Table:
    """An empty table of numbers."""
    table = new_table(title)
    for name in names:
        table.add_column(name, justify="right")
    return table


def memory_table(plans: list[StagePlan]) -> Table:
    """What each GPU holds, by stage."""
    names = ("ZeRO", "parameters", "gradients", "optimizer", "activations", "head", "total")
    table = numbers_table("Memory of one GPU, GiB", (*names, "on the host"))
    table.add_column("fits")
    for each in plans:
        held = each.memory
        parts = (held.parameters, held.gradients, held.optimizer, held.activations, held.head)
        cells = (gib(part) for part in (*parts, held.total, held.host))
        table.add_row(str(each.policy.stage), *cells, "yes" if each.fits else "no")
    return table


def step_table(plans: list[StagePlan]) -> Table:
    """What each stage sends and how long its step takes."""
    names = ("ZeRO", "sent by a GPU, MB", "compute, ms", "communication, ms")
    times = ("one after the other, ms", "step, ms", "tokens/s", "efficiency, %")
    table = numbers_table("A step", names + times)
    for each in plans:
        seconds = (each.compute_s, each.communication_s, each.serial_step_s, each.step_s)
        table.add_row(
            str(each.policy.stage),
            f"{each.sent_bytes / 1e6:,.1f}",
            *(f"{1e3 * value:,.2f}" for value in seconds),
            f"{each.tokens_per_s:,.0f}",
            f"{100 * each.efficiency:.1f}",
        )
    return table


def advice(plans: list[StagePlan], cluster: Cluster) -> str:
    """Which stage to take, and why, as a sentence."""
    best = chosen(plans)
    if best is None:
        least = min(plans, key=lambda each: each.memory.total)
        return (
            f"no stage fits into {cluster.memory_gib:g} GiB: ZeRO {least.policy.stage} needs "
            f"{gib(least.memory.total)} GiB a GPU; lower train.micro_rows, or offload"
        )
    return (
        f"take ZeRO {best.policy.stage}: {1e3 * best.step_s:,.2f} ms a step, "
        f"{best.tokens_per_s:,.0f} tokens/s, {gib(best.memory.total)} GiB of "
        f"{cluster.memory_gib:g} on each GPU"
    )


def plan_rows(plans: list[StagePlan]) -> Iterator[dict[str, Any]]:
    """The plans as JSON objects."""
    for each in plans:
        yield asdict(each) | {"memory": each.memory.to_json()}


@command(
    "plan",
    *recipe_options(
        "data.vocabulary_size", "languages.ids", "mask.rate", "model.size", "model.dropout",
        "train.seq_len", "train.batch_rows", "train.micro_rows", "train.precision",
    ),
    *setting_options("cluster", Cluster),
    *setting_options("speed", GpuSpeed),
)  # fmt: skip
@click.option("--shape", help=f"A size instead of the recipe's: {', '.join(SHAPES)}.")
@deepspeed
@click.option(
    "--algorithm",
    type=ALGORITHM,
    default="nccl",
    show_default=True,
    help="Algorithm of the collectives: nccl, ring or hierarchical.",
)
@as_json
def plan_command(
    recipe: Recipe,
    cluster: Cluster,
    speed: GpuSpeed,
    shape: str | None,
    deepspeed: Path | None,
    algorithm: Literal["nccl", "ring", "hierarchical"],
    as_json: bool,
) -> None:
    """Plan memory, communication and time of a recipe on a cluster, by ZeRO stage (0 to 3)."""
    job = planned_job(recipe, shape)
    plans = plan(job, cluster, speed, planned_policies(deepspeed), algorithm)
    if as_json:
        best = chosen(plans)
        document = {
            "job": asdict(job) | {"parameters": job.shape.parameters},
            "cluster": asdict(cluster),
            "speed": asdict(speed),
            "stages": list(plan_rows(plans)),
            "chosen": None if best is None else best.policy.stage,
        }
        print_json(document)
        return
    millions = job.shape.parameters / 1e6
    print_line(
        f"{millions:,.1f} M parameters, {job.batch_rows:,} rows of {job.seq_len} a step, "
        f"{cluster.nodes} x {cluster.gpus} GPUs, {job.precision}"
    )
    console.print(memory_table(plans))
    console.print(step_table(plans))
    print_line(advice(plans, cluster))
