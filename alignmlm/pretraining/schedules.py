"""The learning rate of each step: pure functions of the step."""

from math import cos, pi, sqrt

from alignmlm.pretraining.recipe import OptimizerConfig


def learning_rate(step: int, config: OptimizerConfig, steps: int) -> float:
    """AdamW's learning rate at one step: linear warm-up, then the schedule, zero at the end."""
    peak, warmup = config.learning_rate, config.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.schedule == "linear":
        return peak * (steps - step) / max(steps - warmup, 1)
    if config.schedule == "cosine":
        return peak * (1 + cos(pi * (step - warmup) / max(steps - warmup, 1))) / 2
    first = max(warmup, round(steps * (1 - config.decay)))  # step of the decay
    return peak * (1 - sqrt(max(step - first, 0) / max(steps - first, 1)))
