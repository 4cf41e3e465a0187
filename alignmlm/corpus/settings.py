"""The settings of a store: where its text comes from and how it becomes tokens."""

from dataclasses import dataclass, field

from alignmlm.corpus.sources import SAMPLE_PREFIX, SourceConfig
from alignmlm.errors import ConfigError
from alignmlm.storage.typed_settings import DataPath


def sample_source() -> list[SourceConfig]:
    """The sample world, whose language has a private-use ISO 639 code."""
    return [SourceConfig(language="qaa-Latn", files=[f"{SAMPLE_PREFIX}40000"])]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where the text comes from, and where its tokens are stored."""

    store: DataPath = "data/sample"
    """Folder of the store: the tokens of all corpora."""
    sources: list[SourceConfig] = field(default_factory=sample_source)
    """Corpora, one for each natural language: [{language: eng-Latn, files: [corpus/*.txt]}]."""
    vocabulary_size: int = 1200
    """Tokens of the BPE tokenizer to train, special ones included."""
    tokenizer: DataPath | None = None
    """A tokenizer.json, or a folder with one, instead of training one; null: train one."""
    tokenizer_bytes: int = 2**27
    """Bytes of text to train the tokenizer on, each of which takes 7 bytes of memory."""
    validation: float = 0.02
    """Share of the documents to hold out, chosen by their hash."""
    deduplicate: bool = False
    """Keep only the first of equal documents of a language."""
    shard_tokens: int = 2**24
    """Tokens of a shard, at least."""

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise ConfigError("data.validation", self.validation, "lie strictly between 0 and 1")
        if not self.sources:
            raise ConfigError("data.sources", self.sources, "name at least one language")
        languages = [source.language for source in self.sources]
        if len(set(languages)) < len(languages):
            raise ConfigError("data.sources", languages, "name each language once")
        if self.tokenizer_bytes < 2**16:
            raise ConfigError("data.tokenizer_bytes", self.tokenizer_bytes, "be at least 65536")
        if not 2**16 <= self.shard_tokens < 2**32:
            raise ConfigError("data.shard_tokens", self.shard_tokens, "lie in [65536, 2**32)")
