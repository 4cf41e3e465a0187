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


@dataclass(frozen=True, kw_only=True, slots=True)
class RateChange:
    """The masking rate from a step on."""

    step: int
    """First training step of this rate; counted from 0."""
    rate: float
    """Share of ordinary tokens to predict."""

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ConfigError("mask.rate_changes.step", self.step, "be at least 1")
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
        steps = [change.step for change in self.rate_changes]
        if steps != sorted(set(steps)):
            raise ConfigError("mask.rate_changes", steps, "name each step once, in order")
        if min(self.random, self.keep) < 0 or self.random + self.keep > 1:
            shares = (self.random, self.keep)
            raise ConfigError("mask.random, mask.keep", shares, "be shares that sum to 1 at most")
