"""Language settings, kept apart from the code that needs NumPy."""

import re
from dataclasses import dataclass, field
from typing import Literal

from alignmlm.errors import ConfigError
from alignmlm.storage.typed_settings import DataPath

BASE = re.compile(r"[a-z]{2,3}-[A-Z][a-z]{3}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DictionaryFile:
    """One pair per line: two words separated by a space (MUSE) or a tab, plain or compressed.

    In a .tsv file (FreeDict) a tab always separates them, so words may hold spaces.
    """

    path: DataPath
    """The file."""
    source: str
    """Language of the first column."""
    target: str
    """Language of the second column."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DictionaryConfig:
    """Pairs of derived languages are made automatically; files add pairs of natural languages."""

    fraction: float = 1.0
    """Share of the source words to use; the others are held out."""
    seed: int = 0
    """Seed that decides which words are held out."""
    files: list[DictionaryFile] = field(default_factory=list)
    """Dictionaries of natural languages:
    [{path: en-fr.txt, source: eng-Latn, target: fra-Latn}]."""
    induction: Literal["none", "contexts", "embeddings"] = "none"
    """Pairs to train on besides the given ones: none; contexts: pairs induced from the training
    text before the first step, of words that occur near translations of each other; embeddings:
    pairs induced again and again during training, of words whose embeddings are near each other
    after a rotation fitted on the given pairs, of which one in ten is then set aside to tell
    whether to trust them. Held-out pairs only evaluate them."""
    induction_tokens: int = 3_000_000
    """Tokens of each language's training text to induce pairs from, or to count words in."""
    induction_steps: int = 250
    """Steps between two inductions from embeddings."""
    rotation_step: int | None = None
    """Step after which the word embeddings of each target language are once rotated onto those of
    its source, by the given pairs; null: never."""

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ConfigError("dictionary.fraction", self.fraction, "lie in [0, 1]")
        if self.induction_tokens < 1:
            raise ConfigError("dictionary.induction_tokens", self.induction_tokens, "be 1 or more")
        if self.induction_steps < 1:
            raise ConfigError("dictionary.induction_steps", self.induction_steps, "be 1 or more")
        if self.rotation_step is not None and self.rotation_step < 1:
            raise ConfigError("dictionary.rotation_step", self.rotation_step, "be 1 or more")
