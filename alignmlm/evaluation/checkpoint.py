"""Any masked-LM checkpoint of transformers as a model to evaluate, in natural languages."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from alignmlm.artifacts.model_files import model_xxh3, read_config
from alignmlm.artifacts.names import DESCRIPTION, EXPORT
from alignmlm.data.tokenizer import describe, load_tokenizer
from alignmlm.errors import CheckpointError, ConfigError, DataError
from alignmlm.evaluation.export import Export, open_export
from alignmlm.languages.language import parse_language

TWO_SEPARATORS = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl")
LONGEST_ROW_TOKENS = 512  # of models whose positions have no table


def described(model: Path) -> bool:
    """Whether a folder is a run or an export of alignmlm."""
    return any((folder / DESCRIPTION).is_file() for folder in (model, model / EXPORT))


def spaced(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with a space before each text, as before a word in running text."""
    tokenizer_json = json.loads(tokenizer.to_str())
    parts = tokenizer_json.get("pre_tokenizer") or {}
    for part in [parts, *parts.get("pretokenizers", [])]:
        if part.get("type") == "ByteLevel" and part.get("use_regex", True):
            part["add_prefix_space"] = True
    changed = Tokenizer.from_str(json.dumps(tokenizer_json))
    changed.encode_special_tokens = tokenizer.encode_special_tokens  # not a part of its JSON
    return changed


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model's folder, so that a text's first word is like any other.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    return spaced(load_tokenizer(folder))


def longest_row(config: dict[str, Any]) -> int:
    """How many tokens fit a row: RoBERTa's position table has two rows more than that."""
    known = config.get("max_position_embeddings", LONGEST_ROW_TOKENS)
    return min(known - 2 * (config.get("model_type") in TWO_SEPARATORS), LONGEST_ROW_TOKENS)


def check_languages(languages: Sequence[str], folder: Path) -> None:
    """Raise unless the languages of a checkpoint are named, and natural.

    Raises:
        ConfigError: they are not.
    """
    if not languages:
        requirement = (
            f"name the languages of {folder}, which has no {DESCRIPTION}: eng-Latn fra-Latn"
        )
        raise ConfigError("evaluation.languages", list(languages), requirement)
    for name in languages:
        if parse_language(name).derived:
            requirement = f"be natural: {folder} says nothing of derived ones"
            raise ConfigError("evaluation.languages", name, requirement)


def open_checkpoint(folder: Path, languages: Sequence[str]) -> Export:
    """A checkpoint that transformers can load, with the natural languages given for it.

    Raises:
        CheckpointError: no config.json, no safetensors, or no tokenizer.
        ConfigError: no language, or a derived one.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"there is no model at {folder}: neither {DESCRIPTION} nor config.json is there"
        )
    check_languages(languages, folder)
    config, identity = read_config(folder), model_xxh3(folder)
    try:
        vocabulary = describe(load_tokenizer(folder))
    except DataError as error:
        raise CheckpointError(f"{folder} has no tokenizer that can be used: {error}") from error
    kind = str(config.get("model_type"))
    return Export(
        path=folder,
        objective=kind,
        languages=tuple(languages),
        language_embeddings=False,
        languages_seed=0,
        vocabulary=vocabulary,
        seq_len=longest_row(config),
        step=0,
        data_id="",
        model_xxh3=identity,
        separators=2 if kind in TWO_SEPARATORS else 1,
        segments=kind == "bert" and config.get("type_vocab_size", 2) > 1,
    )


def open_model(
    model: Path, languages: Sequence[str] = (), max_tokens: int | None = None, baseline: str = ""
) -> Export:
    """A run, an export, or any checkpoint with the languages given for it.

    `max_tokens` shortens the longest row. A baseline takes languages that an export lacks: their
    tokens are untrained.

    Raises:
        CheckpointError: there is no model, or it is damaged.
        ConfigError: languages that cannot be used.
    """
    if not described(model):
        export = open_checkpoint(model, languages)
    else:
        export = replace(open_export(model), baseline=baseline)
        extra = [name for name in languages if name not in export.languages]
        if extra and baseline != "monolingual":
            known = f"be languages of {model}, trained on {list(export.languages)}"
            requirement = f"{known}, or evaluation.baseline be monolingual"
            raise ConfigError("evaluation.languages", extra, requirement)
        if extra and export.language_embeddings:
            requirement = (
                f"be languages of {model}: it has an embedding for each of its own, no others"
            )
            raise ConfigError("evaluation.languages", extra, requirement)
        export = replace(export, languages=(*export.languages, *extra))
    if max_tokens is not None:
        if not 16 <= max_tokens <= export.seq_len:
            requirement = f"lie in [16, {export.seq_len}], the longest row of {model}"
            raise ConfigError("evaluation.max_tokens", max_tokens, requirement)
        export = replace(export, seq_len=max_tokens)
    return replace(export, baseline=baseline)
