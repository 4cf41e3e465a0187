"""Masking settings, kept apart from the compiled code, which takes a second to import."""

from dataclasses import dataclass, field

from alignmlm.errors import ConfigError


def check_rate(name: str, rate: float) -> None:
    """Raise unless a masking rate is valid.

    Raises:
        ConfigError: it is not strictly between 0 and 1.
    """
    if not 0 < rate < 1:
        raise ConfigError(name, rate, "lie strictly between 0 and 1")


def check_steps(name: str, steps: list[int]) -> None:
    """Raise unless a schedule's changes come at training steps from 1 up, in order.

    Raises:
        ConfigError: a step is 0 or less, is named twice, or follows a later one.
    """
    if any(step < 1 for step in steps):
        raise ConfigError(f"{name}.step", min(steps), "be at least 1")
    if steps != sorted(set(steps)):
        raise ConfigError(name, steps, "name each step once, in order")


@dataclass(frozen=True, kw_only=True, slots=True)
class RateChange:
    """The masking rate from a step on."""

    step: int
    """First training step of this rate; counted from 0."""
    rate: float
    """Share of ordinary tokens to predict."""

    def __post_init__(self) -> None:
        check_rate("mask.rate_changes.rate", self.rate)


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskConfig:
    """Corruption of input tokens. Source: Devlin et al., 2019 (BERT), section 3.1."""

    rate: float = 0.15
    """Share of ordinary tokens to predict."""
    rate_changes: list[RateChange] = field(default_factory=list)
    """Other masking rates, each from a given training step on: [{step: 1000, rate: 0.3}]."""
    random: float = 0.10
    """Share of the tokens to predict that become a random token of their language."""
    keep: float = 0.10
    """Share of the tokens to predict that stay as they are; all others become <mask>."""

    def __post_init__(self) -> None:
        check_rate("mask.rate", self.rate)
        check_steps("mask.rate_changes", [change.step for change in self.rate_changes])
        if min(self.random, self.keep) < 0 or self.random + self.keep > 1:
            shares = (self.random, self.keep)
            raise ConfigError("mask.random, mask.keep", shares, "be shares that sum to 1 at most")
