"""Loading transformers models: only safetensors, no code, and no silently random weights."""

from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import PreTrainedModel

from alignmlm.artifacts.model_files import model_files
from alignmlm.console.quiet import quiet_transformers
from alignmlm.errors import CheckpointError
from alignmlm.models.language_embeddings import restore_language_embeddings

SHOWN = 3  # tensors that an error names
LOADING_ERRORS = (  # of from_pretrained and from_config, for folders that they cannot read
    OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError, ArithmeticError,
    RuntimeError, SafetensorError, StrictDataclassError,
)  # fmt: skip


def load_pretrained(auto: Any, folder: Path, *, exact: bool = False, **options: Any) -> Any:
    """The model in a folder, in float32, loaded by a class such as transformers.AutoModel.

    Parts above the encoder that the folder lacks, and a pooler, are initialised at random; with
    `exact` nothing is, and the folder may hold no weights besides the model's.

    Raises:
        CheckpointError: it cannot be loaded, or a tensor is missing or unexpected.
    """
    model_files(folder)
    try:
        with quiet_transformers():
            model, report = auto.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
    except LOADING_ERRORS as error:
        problem = f"{folder} holds no model of this kind: {reason_of(error)}"
        raise CheckpointError(problem) from error
    restore_language_embeddings(model, folder)
    missing = report["missing_keys"]
    unexpected = report["unexpected_keys"] - model.state_dict().keys()
    wrong = {
        "lacks": sorted(missing if exact else encoder_weights(model, missing)),
        "has in addition": sorted(unexpected) if exact else [],
    }
    for verb, names in wrong.items():
        if names:
            raise CheckpointError(f"the weights of {folder}: it {verb} {shown(names)}")
    return model


def shown(names: list[str]) -> str:
    """Tensor names as text for an error message; of many, the first ones."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{names[:SHOWN]}{more}"


def reason_of(error: BaseException) -> str:
    """The first line of a library's error message."""
    return str(error).strip().partition("\n")[0]


def encoder_weights(model: PreTrainedModel, names: set[str]) -> list[str]:
    """The weights among `names` that belong to the encoder; a pooler above it does not."""
    base = model.base_model
    prefix = "" if base is model else f"{model.base_model_prefix}."
    inner = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    return [name for name, short in inner.items() if not short.startswith("pooler.")]
