"""Optimizers, the part of their state that checkpoints hold, and the learning rate of each step."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi, sqrt
from typing import Any

import torch
from torch import nn

from alignmlm.models.masked_lm import Matrix
from alignmlm.pretraining.muon import Muon
from alignmlm.pretraining.recipe import OPTIMIZERS, OptimizerConfig

ADAM_MOMENTS, MUON_MOMENTS = ("exp_avg", "exp_avg_sq"), ("momentum",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimizer:
    """One optimizer; the learning rate of each step is written into its parameter groups.

    Without ZeRO the optimizer itself skips steps whose gradient is not finite: where its attribute
    `found_inf` is 1 it must change nothing, as torch's own optimizers do with fused=True.
    """

    make: Callable[[list[dict], OptimizerConfig], Any]  # of parameter groups
    moments: tuple[str, ...]  # names of its state tensors, each of its parameter's shape
    matrices: bool = False  # whether it is Muon: the encoder's matrices are a group of their own


def parameter_groups(module: nn.Module, weight_decay: float, muon: list[Matrix]) -> list[dict]:
    """Parameter groups: with weight decay (matrices), without (biases, norms), Muon's matrices."""
    apart = {id(matrix.weight) for matrix in muon}
    named = [p for p in module.parameters() if p.requires_grad and id(p) not in apart]
    decay = [parameter for parameter in named if parameter.ndim > 1]
    plain = [parameter for parameter in named if parameter.ndim <= 1]
    groups = [
        {"params": decay, "weight_decay": weight_decay, "muon": False},
        {"params": plain, "weight_decay": 0.0, "muon": False},
    ]
    matrices = [matrix.weight for matrix in muon]
    whole = {"params": matrices, "weight_decay": weight_decay, "muon": True}
    return [*groups, whole] if muon else groups


def made_by(kind: Any) -> Callable[[list[dict], OptimizerConfig], Any]:
    """A function that makes an optimizer from a class with AdamW's arguments."""

    def make(groups: list[dict], config: OptimizerConfig) -> Any:
        betas = config.beta1, config.beta2
        return kind(groups, lr=0.0, betas=betas, eps=config.epsilon, fused=True)

    return make


ADAMW = Optimizer(make=made_by(torch.optim.AdamW), moments=ADAM_MOMENTS)
MUON = Optimizer(make=made_by(Muon), moments=ADAM_MOMENTS, matrices=True)


def make_optimizer(module: nn.Module, config: OptimizerConfig, muon: list[Matrix]) -> Any:
    """The optimizer of a recipe; the learning rate of each step comes from learning_rate()."""
    return OPTIMIZERS[config.name].make(parameter_groups(module, config.weight_decay, muon), config)


def learning_rate(step: int, config: OptimizerConfig, steps: int) -> float:
    """AdamW's learning rate at one step: linear warm-up, then the schedule, zero at the end."""
    peak, warmup = config.learning_rate, config.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.schedule == "linear":
        return peak * (steps - step) / max(steps - warmup, 1)
    if config.schedule == "cosine":
        return peak * (1 + cos(pi * (step - warmup) / max(steps - warmup, 1))) / 2
    first = max(warmup, round(steps * (1 - config.decay)))  # first step of the decay
    return peak * (1 - sqrt(max(step - first, 0) / max(steps - first, 1)))
