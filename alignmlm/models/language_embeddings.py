"""Language embeddings for encoders without token types, such as ModernBERT.

They are vectors added to the word embeddings, selected by `token_type_ids`. The first language's is
zero and stays so: loaded without our code, the model is exactly that of its first language.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel

from alignmlm.artifacts.model_files import INDEX, weight_files
from alignmlm.errors import CheckpointError

COUNT = "language_embeddings"  # in the configuration: how many there are
WEIGHT = "embeddings.language_embeddings.weight"  # the end of its name in the weights


def add_language_embeddings(model: PreTrainedModel, languages: int) -> None:
    """Make a model, with or without a head, accept language numbers as token_type_ids."""
    encoder: Any = model.base_model
    width, spread = model.config.hidden_size, model.config.initializer_range
    table = nn.Embedding(languages, width, padding_idx=0)
    with torch.no_grad():
        table.weight[1:].normal_(0, spread)
    encoder.embeddings.language_embeddings = table.to(model.device, model.dtype)
    encoder.register_forward_pre_hook(embed_languages, with_kwargs=True)
    setattr(model.config, COUNT, languages)


def embed_languages(encoder: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict]:
    """The arguments of a forward pass, with embeddings in place of tokens if languages are given.

    All arguments must be named, as transformers' own heads name them.
    """
    languages = kwargs.pop("token_type_ids", None)
    if languages is not None:
        words = encoder.get_input_embeddings()(kwargs.pop("input_ids"))
        kwargs["inputs_embeds"] = words + encoder.embeddings.language_embeddings(languages)
    return args, kwargs


def restore_language_embeddings(model: PreTrainedModel, folder: Path) -> None:
    """Give a model that transformers loaded from a folder the language embeddings saved there.

    Nothing happens where the model has none, or keeps them as token types.

    Raises:
        CheckpointError: its configuration promises some, and no file of weights has them.
    """
    count = getattr(model.config, COUNT, 0)
    if not count:
        return
    add_language_embeddings(model, count)
    for path in weight_files(folder):
        if path.name == INDEX:
            continue
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a dictionary)
                if name.endswith(WEIGHT):
                    encoder: Any = model.base_model
                    encoder.embeddings.language_embeddings.weight.data.copy_(file.get_tensor(name))
                    return
    raise CheckpointError(f"{folder} has no {WEIGHT}, but its config.json says {COUNT} = {count}")
