"""A model to evaluate: the export of a run, or any masked-LM checkpoint of transformers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from alignmlm.artifacts.description import Description, export_folder, read_description
from alignmlm.artifacts.model_files import model_xxh3, read_config
from alignmlm.artifacts.names import DESCRIPTION, EXPORT
from alignmlm.data.tokenizer import Vocabulary, describe, load_tokenizer
from alignmlm.errors import CheckpointError, ConfigError, DataError, nearest, quoted
from alignmlm.languages.language import Language, lay_out_scripts, parse_language
from alignmlm.storage.records import record


@dataclass(frozen=True, slots=True)
class Export:
    """A pre-trained model in a folder that transformers can load."""

    path: Path
    objective: str
    languages: tuple[str, ...]  # a language's place here is its number in the model
    language_embeddings: bool  # token types that mark each token's language
    languages_seed: int  # of word permutations and overlaps
    vocabulary: Vocabulary  # of the base languages
    seq_len: int  # longest row, in tokens
    step: int
    data_id: str
    model_xxh3: str  # of all files that its scores depend on
    separators: int = 2  # between two texts of a row: </s></s> of RoBERTa, [SEP] of BERT
    segments: bool = False  # token types that mark which of two texts a token is in
    baseline: str = ""  # "random_embeddings", "monolingual": see EvaluationConfig

    def number_of(self, language: str) -> int:
        """A language's number in the model.

        Raises:
            ConfigError: the model was not trained on it.
        """
        if language not in self.languages:
            known = f"be one of {list(self.languages)}{nearest(language, self.languages)}"
            raise ConfigError(f"language of {self.path}", language, known)
        return self.languages.index(language)

    def parsed_languages(self) -> list[Language]:
        """The languages, by their numbers."""
        return [parse_language(name) for name in self.languages]

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens, over all scripts."""
        alphabet = self.vocabulary.alphabet()
        languages = self.parsed_languages()
        return lay_out_scripts(languages, alphabet, self.languages_seed).vocabulary_size

    def script_tables(self) -> Int[np.ndarray, "language vocab"]:
        """The model's id of each base token in each language."""
        alphabet = self.vocabulary.alphabet()
        return lay_out_scripts(self.parsed_languages(), alphabet, self.languages_seed).tables

    def identity(self) -> dict[str, object]:
        """What identifies this model, independent of its folder."""
        named = f" ({self.baseline.replace('_', ' ')})" if self.baseline else ""
        return {
            "objective": self.objective + named,
            "languages": list(self.languages),
            "step": self.step,
            "data_id": self.data_id,
            "model_xxh3": self.model_xxh3,
        }


def vocabulary_of(described: Description, path: Path) -> Vocabulary:
    """The vocabulary that an export's description has.

    Raises:
        CheckpointError: a field is missing, unknown or of another type.
    """
    place = f"{path}: vocabulary"
    vocabulary = record(Vocabulary, described.vocabulary, place, CheckpointError)
    vocabulary.check_size(path.with_name("tokenizer.json"), CheckpointError)
    return vocabulary


def open_export(model: Path) -> Export:
    """The export of a run folder or an export folder.

    Raises:
        CheckpointError: there is none, it has another schema version, or a file is damaged.
    """
    folder = export_folder(model)
    described = read_description(folder)
    return Export(
        path=folder,
        objective=described.objective,
        languages=tuple(described.languages),
        language_embeddings=described.language_embeddings,
        languages_seed=described.languages_seed,
        vocabulary=vocabulary_of(described, folder / DESCRIPTION),
        seq_len=described.seq_len,
        step=described.step,
        data_id=described.data_id,
        model_xxh3=model_xxh3(folder),
    )


ROBERTAS = (  # </s></s> between two texts, and positions that begin after the id of <pad>
    "roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "roberta-prelayernorm", "xmod",
    "mpnet", "longformer", "data2vec-text",
)  # fmt: skip
LEAST_ROW_TOKENS = 16  # that evaluation.max_tokens and a checkpoint may allow
LONGEST_ROW_TOKENS = 512  # of any checkpoint, also of those without a position table


def described(model: Path) -> bool:
    """Whether a folder is a run or an export of alignmlm."""
    return any((folder / DESCRIPTION).is_file() for folder in (model, model / EXPORT))


def size_in(config: dict[str, Any], key: str, default: int, folder: Path) -> int:
    """A size in a model's config.json; the default where it has none.

    Raises:
        CheckpointError: it is not a positive whole number.
    """
    size = default if config.get(key) is None else config[key]
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        requirement = f"must be a whole number above 0, found {quoted(size)}"
        raise CheckpointError(f"{folder / 'config.json'}: {key} {requirement}")
    return size


def first_position(config: dict[str, Any], folder: Path) -> int:
    """The position of a row's first token: 0, or one more than the id of <pad> in RoBERTas.

    Raises:
        CheckpointError: that id is not a whole number of at least 0.
    """
    if config.get("model_type") not in ROBERTAS:
        return 0
    pad = config.get("pad_token_id", 1)
    if not isinstance(pad, int) or isinstance(pad, bool) or pad < 0:
        requirement = f"must be the id of <pad>, after which positions begin, found {quoted(pad)}"
        raise CheckpointError(f"{folder / 'config.json'}: pad_token_id {requirement}")
    return pad + 1


def longest_row(config: dict[str, Any], folder: Path) -> int:
    """The maximum number of tokens in a row.

    Raises:
        CheckpointError: it is too small.
    """
    known = size_in(config, "max_position_embeddings", LONGEST_ROW_TOKENS, folder)
    first = first_position(config, folder)
    if known - first < LEAST_ROW_TOKENS:
        requirement = f"must be at least {first + LEAST_ROW_TOKENS}, found {known}"
        raise CheckpointError(f"{folder / 'config.json'}: max_position_embeddings {requirement}")
    return min(known - first, LONGEST_ROW_TOKENS)


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
        CheckpointError: no config.json, an invalid size in it, no safetensors, or no tokenizer.
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
        has_file = (folder / "tokenizer.json").is_file()
        remedy = (
            "" if has_file else "; AutoTokenizer of transformers may be able to write that file"
        )
        problem = f"{folder} has no tokenizer that can be used: {error}{remedy}"
        raise CheckpointError(problem) from error
    kind = str(config.get("model_type"))
    return Export(
        path=folder,
        objective=kind,
        languages=tuple(languages),
        language_embeddings=False,
        languages_seed=0,
        vocabulary=vocabulary,
        seq_len=longest_row(config, folder),
        step=0,
        data_id="",
        model_xxh3=identity,
        separators=2 if kind in ROBERTAS else 1,
        segments=kind == "bert" and size_in(config, "type_vocab_size", 2, folder) > 1,
    )


def open_model(
    model: Path, languages: Sequence[str] = (), max_tokens: int | None = None, baseline: str = ""
) -> Export:
    """A run, an export, or any checkpoint with the languages given for it.

    `max_tokens` shortens the longest row. The baseline "monolingual" accepts languages that an
    export lacks: their tokens are untrained.

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
        if not LEAST_ROW_TOKENS <= max_tokens <= export.seq_len:
            longest = f"[{LEAST_ROW_TOKENS}, {export.seq_len}], the longest row of {model}"
            requirement = f"lie in {longest}"
            raise ConfigError("evaluation.max_tokens", max_tokens, requirement)
        export = replace(export, seq_len=max_tokens)
    return replace(export, baseline=baseline)
