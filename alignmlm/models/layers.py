"""The layers of any transformers encoder, and which parts of it a training leaves as they are."""

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from alignmlm.errors import ConfigError


def encoder_layers(encoder: Any) -> nn.ModuleList | None:
    """The layers of a transformers encoder, from the lowest up; None: it has no list of them."""
    count = encoder.config.num_hidden_layers
    lists = (each for each in encoder.modules() if isinstance(each, nn.ModuleList))
    return next((each for each in lists if len(each) == count), None)


def freeze(model: PreTrainedModel, part: str) -> None:
    """Let the embeddings keep their values; for "lower_half", half of the encoder's layers too.

    Raises:
        ConfigError: the encoder's layers are not known.
    """
    frozen = [] if part == "none" else [model.base_model.embeddings]
    if part == "lower_half":
        layers = encoder_layers(model.base_model)
        if layers is None:
            requirement = f"be none or embeddings: {type(model).__name__} has no list of its layers"
            raise ConfigError("evaluation.finetune.frozen", part, requirement)
        frozen += layers[: len(layers) // 2]
    for module in frozen:
        module.requires_grad_(False)
