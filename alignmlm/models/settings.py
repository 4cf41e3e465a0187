"""The settings of a model, without its code: that needs torch and takes seconds to import."""

from dataclasses import dataclass
from typing import Annotated, Literal

from alignmlm.errors import ConfigError
from alignmlm.storage.registry import Names, Registry
from alignmlm.storage.typed_settings import FolderPath

ARCHITECTURES: Registry = Registry(  # of Architecture
    "architectures",
    ("alignmlm.models.masked_lm:Architecture",),
    {
        "roberta": "alignmlm.models.masked_lm:ROBERTA",
        "modernbert": "alignmlm.models.masked_lm:MODERNBERT",
        "bert": "alignmlm.models.masked_lm:BERT",
        "xlm-roberta": "alignmlm.models.masked_lm:XLM_ROBERTA",
    },
)
NEW_MODELS = Names("architectures", "roberta", "modernbert")

SIZES = {  # layers, hidden, heads, feed-forward
    "tiny": (2, 128, 2, 512),
    "small": (4, 256, 4, 1024),
    "paper": (8, 512, 8, 2048),  # Tang et al., 2022: vocabulary 40,000, doubled
    "base": (12, 768, 12, 3072),  # Devlin et al., 2019 (BERT)
}


def gated_width(feed_forward: int) -> int:
    """The width at which a gated feed-forward layer has about as many parameters as a plain one.

    It has three matrices, not two: two thirds of the width, rounded up to a multiple of 32.
    Source: Shazeer, 2020 (arXiv:2002.05202), section 2.
    """
    return -(-feed_forward * 2 // 3 // 32) * 32


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The encoder. Sources: Liu et al., 2019 (RoBERTa); Warner et al., 2024 (ModernBERT).

    roberta has learned absolute positions and post-norm layers; modernbert has rotary positions,
    pre-norm layers, gated feed-forward parts of about as many parameters, and local attention.
    """

    architecture: Annotated[str, NEW_MODELS] = "modernbert"
    """Architecture of a new model."""
    size: Literal["tiny", "small", "paper", "base"] = "tiny"
    """Size of a new model."""
    local_attention: int = 8
    """Tokens around each token that modernbert's local layers attend to; 0: all layers global."""
    start: FolderPath | None = None
    """A Hugging Face masked-LM checkpoint to go on from; null: a new model."""
    dropout: float = 0.0
    """Dropout probability; with 0 the results are the same at every world size."""
    seed: int = 0
    """Seed of the initial weights."""

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ConfigError("model.dropout", self.dropout, "lie in [0, 1)")
        if self.local_attention < 0 or self.local_attention % 2:
            raise ConfigError(
                "model.local_attention", self.local_attention, "be even and at least 0"
            )
