"""The settings of an objective, without its loss: that needs torch and takes seconds to import."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from alignmlm.data.settings import check_steps
from alignmlm.errors import ConfigError
from alignmlm.storage.registry import Names, Registry


@dataclass(frozen=True, slots=True)
class Distance:
    """A distance between the two words of a dictionary pair, for the alignment loss."""

    # a distance of alignmlm_kernels by name; or a function in torch, differentiated by autograd,
    # from the vectors [pair, hidden] of the pairs' first and second words to a distance per pair
    between: Literal["cosine", "l2", "margin", "infonce"] | Callable[[Any, Any], Any]


DISTANCES: Registry[Distance] = Registry(
    "distances",
    (Distance,),
    {
        "cosine": Distance("cosine"),
        "l2": Distance("l2"),
        "margin": Distance("margin"),
        "infonce": Distance("infonce"),
    },
)
OBJECTIVES: Registry = Registry(  # of Objective and AddedLoss
    "objectives",
    ("alignmlm.objectives.objective:Objective", "alignmlm.objectives.objective:AddedLoss"),
    {
        "mlm": "alignmlm.objectives.mlm:MLM",
        "tlm": "alignmlm.objectives.tlm:TLM",
        "dict_mlm": "alignmlm.objectives.dict_mlm:DICT_MLM",
        "align_mlm": "alignmlm.objectives.align_mlm:ALIGN_MLM",
    },
)
BASES = Names("objectives", *(name for name in OBJECTIVES.built_in if name != "align_mlm"))


@dataclass(frozen=True, kw_only=True, slots=True)
class AlphaChange:
    """The weight of the alignment loss from a step on."""

    step: int
    """First training step of this weight; counted from 0."""
    alpha: float
    """Weight of the alignment loss of align_mlm."""

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise ConfigError("objective.alpha_changes.alpha", self.alpha, "be 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveConfig:
    """Which objective, and the settings of each."""

    name: Annotated[str, OBJECTIVES.names] = "align_mlm"
    """Objective."""
    base: Annotated[str, BASES] = "mlm"
    """Prediction objective that align_mlm adds its alignment loss to."""
    output: Literal["separate", "unified"] = "separate"
    """Labels of the two words of a given pair: one each, or (unified) one for both."""
    alpha: float = 10.0
    """Weight of the alignment loss of align_mlm."""
    alpha_changes: list[AlphaChange] = field(default_factory=list)
    """Other weights, each from a given training step on: [{step: 400, alpha: 0}]."""
    distance: Annotated[str, DISTANCES.names] = "cosine"
    """Distance between a pair's embeddings in the alignment loss of align_mlm."""
    share: float = 1.0
    """Share of the dictionary's pairs in each step's alignment loss, drawn anew at each step."""
    margin: float = 0.2
    """Margin by which a pair's cosine should exceed its hardest negative's (distance margin)."""
    temperature: float = 0.07
    """Temperature, by which the cosines are divided (distance infonce)."""
    translation_rows: float = 0.25
    """Share of rows that hold a sentence and its translation (tlm)."""
    dictionary: float = 0.5
    """Share of masked dictionary tokens that are translated (dict_mlm)."""
    code_switch: float = 0.0
    """Share of the dictionary words in the input that are shown translated, where they are not to
    be predicted; labels stay. With any objective; validation shows none."""
    predict: Literal["original", "translation"] = "original"
    """What dict_mlm predicts: the original (the authors' code) or the translation (the paper)."""

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise ConfigError("objective.alpha", self.alpha, "be 0 or more")
        check_steps("objective.alpha_changes", [change.step for change in self.alpha_changes])
        if not 0 < self.share <= 1:
            raise ConfigError("objective.share", self.share, "lie in (0, 1]")
        if self.margin < 0:
            raise ConfigError("objective.margin", self.margin, "be 0 or more")
        if self.temperature <= 0:
            raise ConfigError("objective.temperature", self.temperature, "be above 0")
        for name in ("translation_rows", "dictionary", "code_switch"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"objective.{name}", getattr(self, name), "lie in [0, 1]")

    def alpha_at(self, step: int) -> float:
        """The weight of the alignment loss in a training step, counted from 0."""
        begun = [change.alpha for change in self.alpha_changes if change.step <= step]
        return begun[-1] if begun else self.alpha
