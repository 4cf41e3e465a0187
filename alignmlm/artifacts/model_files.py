"""The files in a model's folder that its scores depend on; none may lead out of the folder."""

import re
from pathlib import Path
from typing import Any

import xxhash

from alignmlm.artifacts.names import DESCRIPTION
from alignmlm.errors import CheckpointError, quoted
from alignmlm.storage.checksums import file_xxh3
from alignmlm.storage.plain_data import read_json

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "sentencepiece.bpe.model", "spiece.model",
)  # fmt: skip
SHARD = re.compile(r"[^/\\\0]+\.safetensors")
ADAPTER = "adapter_config.json"


def check_inside(folder: Path, path: Path) -> None:
    """Raise unless a file lies in its model's folder, or where the Hugging Face cache keeps it.

    Raises:
        CheckpointError: it is missing, or a link that leads elsewhere.
    """
    whole = folder.resolve()
    roots = [whole]
    if whole.parent.name == "snapshots":  # of huggingface_hub: links to ../../blobs
        roots.append(whole.parents[1] / "blobs")
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    if not any(path.resolve().is_relative_to(root) for root in roots):
        raise CheckpointError(f"{path} leads out of its folder, to {path.resolve()}")


def read_config(folder: Path) -> dict[str, Any]:
    """A model's config.json, which may name neither code nor other weights.

    Raises:
        CheckpointError: it is missing, is not a JSON object, or names either.
    """
    check_inside(folder, folder / CONFIG)
    config = read_json(folder / CONFIG, CheckpointError, nan=True)
    for key in ("auto_map", "transformers_weights"):
        if config.get(key):
            raise CheckpointError(
                f"{folder / CONFIG}: {key} = {quoted(config[key])}, but only models of "
                f"transformers with weights in {WEIGHTS} are read, without code of their own"
            )
    return config


def index_shards(folder: Path) -> list[Path]:
    """The weight files that a model's index names.

    Raises:
        CheckpointError: it is damaged, or names anything but safetensors files beside it.
    """
    index = read_json(folder / INDEX, CheckpointError)
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{folder / INDEX} has no weight_map")
    for name in places.values():
        if not isinstance(name, str) or not SHARD.fullmatch(name):
            requirement = "it may lead to *.safetensors files beside it only"
            raise CheckpointError(f"{folder / INDEX} leads to {quoted(name)}; {requirement}")
    return [folder / name for name in sorted(set(places.values()))]


def weight_files(folder: Path) -> list[Path]:
    """The files that a model's weights are read from: the one, or an index and its shards.

    Raises:
        CheckpointError: there are none in safetensors; other forms may hold code.
    """
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if (folder / INDEX).exists():
        return [folder / INDEX, *index_shards(folder)]
    others = sorted(path.name for path in folder.glob("*.bin"))
    hint = f", only {others}, which can run code when loaded; save it anew" if others else ""
    raise CheckpointError(f"{folder} has no *.safetensors weights{hint}")


def model_files(folder: Path) -> list[Path]:
    """All files in a model's folder that its scores depend on, each of them inside the folder.

    Raises:
        CheckpointError: one is missing or leads out of the folder, or the folder holds an adapter.
    """
    if (folder / ADAPTER).exists():
        raise CheckpointError(f"{folder} holds an adapter; merge it into its model and save that")
    optional = [folder / name for name in (DESCRIPTION, *TOKENIZER_FILES)]
    paths = [folder / CONFIG, *weight_files(folder), *(path for path in optional if path.exists())]
    for path in paths:
        check_inside(folder, path)
    read_config(folder)
    return paths


def model_xxh3(folder: Path) -> str:
    """One hash of all files that a model's scores depend on.

    Raises:
        CheckpointError: one is missing or leads out of the folder.
    """
    digest = xxhash.xxh3_64()
    for path in sorted(model_files(folder)):
        digest.update(f"{path.name}\0{file_xxh3(path)}\n".encode())
    return digest.hexdigest()
