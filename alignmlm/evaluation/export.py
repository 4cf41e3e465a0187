"""A model to evaluate: the export of a run, or any masked-LM checkpoint of transformers."""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import xxhash
from jaxtyping import Int

from alignmlm.data.tokenizer import Vocabulary
from alignmlm.errors import CheckpointError, ConfigError, nearest
from alignmlm.languages.language import Language, lay_out_scripts, parse_language

SCHEMA_VERSION = 1
DESCRIPTION = "alignmlm.json"


@dataclass(frozen=True, slots=True)
class Export:
    """A pre-trained model in a folder that transformers can load."""

    path: Path
    objective: str
    languages: tuple[str, ...]  # a language's place here is its number in the model
    language_embeddings: bool  # token types that say which language a token is of
    languages_seed: int  # of word permutations and overlaps
    vocabulary: Vocabulary  # of the base languages
    seq_len: int  # longest row, in tokens
    step: int
    data_id: str
    weights_xxh3: str
    separators: int = 2  # between two texts of a row: </s></s> of RoBERTa, [SEP] of BERT
    segments: bool = False  # token types that say which of two texts a token is of
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
        """Tokens of all scripts."""
        alphabet = self.vocabulary.alphabet()
        languages = self.parsed_languages()
        return lay_out_scripts(languages, alphabet, self.languages_seed).vocabulary_size

    def script_tables(self) -> Int[np.ndarray, "language vocab"]:
        """The model's id of each base token in each language."""
        alphabet = self.vocabulary.alphabet()
        return lay_out_scripts(self.parsed_languages(), alphabet, self.languages_seed).tables

    def identity(self) -> dict[str, object]:
        """What tells this model from any other, wherever its folder lies."""
        named = f" ({self.baseline.replace('_', ' ')})" if self.baseline else ""
        return {
            "objective": self.objective + named,
            "languages": list(self.languages),
            "step": self.step,
            "data_id": self.data_id,
            "weights_xxh3": self.weights_xxh3,
        }


def export_folder(model: Path) -> Path:
    """The export of a run folder, or the folder itself where it is an export.

    Raises:
        CheckpointError: neither.
    """
    for folder in (model, model / "export"):
        if (folder / DESCRIPTION).is_file():
            return folder
    raise CheckpointError(
        f"there is no export at {model}: neither {DESCRIPTION} nor export/{DESCRIPTION} is there; "
        f"a run writes its export when it ends"
    )


def check_weights(folder: Path) -> None:
    """Whether a checkpoint has safetensors weights; other forms may hold code.

    Raises:
        CheckpointError: it has none.
    """
    if not list(folder.glob("*.safetensors")):
        others = sorted(path.name for path in folder.glob("*.bin"))
        hint = f", only {others}, which can run code when loaded; save it anew" if others else ""
        raise CheckpointError(f"{folder} has no *.safetensors weights{hint}")


def weights_xxh3(folder: Path) -> str:
    """One hash of all weight files of a checkpoint."""
    total = xxhash.xxh3_64()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, xxhash.xxh3_64).digest())
    return total.hexdigest()


def open_export(model: Path) -> Export:
    """The export of a run folder or an export folder.

    Raises:
        CheckpointError: there is none, it has another schema version, or it is damaged.
    """
    folder = export_folder(model)
    file = folder / DESCRIPTION
    check_weights(folder)
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        if raw["schema_version"] != SCHEMA_VERSION:
            found = raw["schema_version"]
            raise CheckpointError(f"{file} has schema version {found}; this alignmlm reads 1")
        words = {name: raw["vocabulary"][name] for name in (f.name for f in fields(Vocabulary))}
        words |= {name: tuple(words[name]) for name in ("final", "special")}
        names = ("objective", "language_embeddings", "languages_seed", "seq_len", "step", "data_id")
        known = {name: raw[name] for name in names}
        return Export(
            path=folder,
            languages=tuple(raw["languages"]),
            vocabulary=Vocabulary(**words),
            weights_xxh3=weights_xxh3(folder),
            **known,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file} does not describe an export: {error!r}") from error
