"""The settings of an objective, apart from its loss, which needs torch and seconds to import."""

from dataclasses import dataclass
from typing import Literal

from alignmlm.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveConfig:
    """Which objective, and the settings of each."""

    name: Literal["mlm", "tlm", "dict_mlm", "align_mlm"] = "align_mlm"
    base: Literal["mlm", "tlm", "dict_mlm"] = "mlm"  # what align_mlm adds its term to
    output: Literal["separate", "unified"] = "separate"  # unified: one label for a given pair
    alpha: float = 10.0  # align_mlm: weight of the alignment term
    distance: Literal["cosine", "l2", "margin", "infonce"] = "cosine"  # align_mlm
    share: float = 1.0  # align_mlm: of the dictionary's pairs, drawn anew at each step
    margin: float = 0.2  # align_mlm with margin: cosines of a pair and its hardest rival apart
    temperature: float = 0.07  # align_mlm with infonce: cosines are divided by it
    translation_rows: float = 0.25  # tlm: share of rows that are pairs
    dictionary: float = 0.5  # dict_mlm: share of masked dictionary tokens that cross over
    predict: Literal["original", "translation"] = "original"  # dict_mlm: the authors', the paper's

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise ConfigError("objective.alpha", self.alpha, "be 0 or more")
        if not 0 < self.share <= 1:
            raise ConfigError("objective.share", self.share, "lie in (0, 1]")
        if self.margin < 0:
            raise ConfigError("objective.margin", self.margin, "be 0 or more")
        if self.temperature <= 0:
            raise ConfigError("objective.temperature", self.temperature, "be above 0")
        for name in ("translation_rows", "dictionary"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"objective.{name}", getattr(self, name), "lie in [0, 1]")

    @property
    def rows(self) -> str:
        """The objective whose rows are read: align_mlm reads those of its base."""
        return self.base if self.name == "align_mlm" else self.name
