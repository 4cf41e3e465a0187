"""What an objective is: how rows are corrupted, and a loss of (batch, model outputs)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from alignmlm_kernels import WordPairs
from jaxtyping import Float
from torch import Tensor

from alignmlm.data.batches import Batch
from alignmlm.data.masking import Corruption
from alignmlm.models.masked_lm import MaskedOutput
from alignmlm.objectives.settings import ObjectiveConfig


class Losses(NamedTuple):
    """Sums over the masked positions of one micro-batch; the engine divides them.

    A named tuple, because the hooks of ZeRO-3 look into tuples and not into dataclasses.
    """

    prediction_nats: Float[Tensor, ""]  # sum, to be divided by the step's masked positions
    auxiliary: dict[str, Float[Tensor, ""]]  # other terms by name, weighted; added as they are
    nats: Float[Tensor, "term language"]  # prediction_nats in parts, without gradient
    correct: Float[Tensor, "term language"]
    positions: Float[Tensor, "term language"]


Loss = Callable[[ObjectiveConfig, Batch, MaskedOutput, WordPairs | None, int], Losses]


@dataclass(frozen=True, slots=True)
class Objective:
    """A corruption of rows and a loss; the last argument of `loss` is the number of languages."""

    corruption: Callable[[ObjectiveConfig], Corruption]
    loss: Loss
    language_embeddings: bool = False
    needs_pairs: bool = False  # `loss` is given the dictionary's pairs


@dataclass(frozen=True, slots=True)
class AddedLoss:
    """An objective that adds a loss to a prediction objective."""

    put_on: Callable[[Objective], Objective]
