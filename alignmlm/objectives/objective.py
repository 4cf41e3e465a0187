"""What an objective is: how rows are corrupted, and a loss of (batch, model outputs)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from alignmlm_kernels import WordPairs
from jaxtyping import Float
from torch import Tensor

from alignmlm.data.batches import Batch
from alignmlm.data.masking import Corruption
from alignmlm.errors import ConfigError
from alignmlm.model import MaskedOutput


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveConfig:
    """Which objective, and the settings of each."""

    name: Literal["mlm", "tlm", "dict_mlm", "align_mlm"] = "align_mlm"
    base: Literal["mlm", "tlm", "dict_mlm"] = "mlm"  # what align_mlm adds its term to
    alpha: float = 10.0  # align_mlm: weight of the alignment term
    distance: Literal["cosine", "l2"] = "cosine"  # align_mlm
    translation_rows: float = 0.25  # tlm: share of rows that are pairs
    dictionary: float = 0.5  # dict_mlm: share of masked dictionary tokens that cross over
    predict: Literal["original", "translation"] = "original"  # dict_mlm: the authors', the paper's

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise ConfigError("objective.alpha", self.alpha, "be 0 or more")
        for name in ("translation_rows", "dictionary"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"objective.{name}", getattr(self, name), "lie in [0, 1]")

    @property
    def rows(self) -> str:
        """The objective whose rows are read: align_mlm reads those of its base."""
        return self.base if self.name == "align_mlm" else self.name


class Losses(NamedTuple):
    """Sums over the masked positions of one micro-batch; the engine divides them.

    A named tuple, because the hooks of ZeRO-3 look into tuples and not into dataclasses.
    """

    prediction_nats: Float[Tensor, ""]  # sum, to be divided by the step's masked positions
    alignment: Float[Tensor, ""] | None  # alpha times the mean distance of dictionary pairs
    nats: Float[Tensor, "term language"]  # prediction_nats in parts, without gradient
    correct: Float[Tensor, "term language"]
    positions: Float[Tensor, "term language"]


Loss = Callable[[ObjectiveConfig, Batch, MaskedOutput, WordPairs | None, int], Losses]


@dataclass(frozen=True, slots=True)
class Objective:
    """The parts of an objective; `loss` takes the number of languages last."""

    corruption: Callable[[ObjectiveConfig], Corruption]
    loss: Loss
    language_embeddings: bool = False
