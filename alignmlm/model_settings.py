"""The settings of a model, apart from the model, which needs torch and seconds to import."""

from dataclasses import dataclass
from typing import Literal

from alignmlm.errors import ConfigError

SIZES = {  # layers, hidden, heads, feed-forward
    "tiny": (2, 128, 2, 512),
    "small": (4, 256, 4, 1024),
    "paper": (8, 512, 8, 2048),  # Tang et al., 2022: vocabulary 40,000, doubled
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The encoder. Source of the sizes' form: Liu et al., 2019 (RoBERTa)."""

    size: Literal["tiny", "small", "paper"] = "tiny"
    start: str | None = None  # a Hugging Face masked-LM checkpoint to go on from, instead of size
    dropout: float = 0.0  # 0: the same numbers at every world size
    seed: int = 0  # of the initial weights

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ConfigError("model.dropout", self.dropout, "lie in [0, 1)")
