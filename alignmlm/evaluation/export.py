"""A model to evaluate: the export of a run, or any masked-LM checkpoint of transformers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from alignmlm.artifacts.description import Description, export_folder, read_description
from alignmlm.artifacts.model_files import model_xxh3
from alignmlm.artifacts.names import DESCRIPTION
from alignmlm.data.tokenizer import Vocabulary
from alignmlm.errors import CheckpointError, ConfigError, nearest
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
        """Tokens of all scripts."""
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
