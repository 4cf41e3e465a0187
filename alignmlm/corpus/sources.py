"""Where a corpus comes from: files of the usual formats, hub datasets, the sample world."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from glob import glob
from os import environ
from os.path import exists, realpath
from pathlib import Path
from typing import Literal

from alignmlm.errors import ConfigError, DataError
from alignmlm.languages.settings import BASE
from alignmlm.storage.typed_settings import DataPath
from alignmlm.storage.variables import expanded

log = logging.getLogger(__name__)
SAMPLE_PREFIX, HUB_PREFIX = "sample:", "hub:"
SAMPLE_COUNT = re.compile("[1-9][0-9]{0,11}")
SAMPLE_BYTES = 50  # of a sentence of the sample world, about
HUB_BYTES = 2**28  # of a piece of a hub dataset, whose size is not known


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """The corpus of one natural language."""

    language: str
    """Language and script of the corpus: eng-Latn."""
    files: list[DataPath] = field(default_factory=list)
    """Paths, globs, sample:<sentences> or hub:<organization>/<dataset>."""
    documents: Literal["blank_line", "line"] = "blank_line"
    """What ends a document of a text file."""
    text_field: str = "text"
    """Field of the text in jsonl, parquet and hub rows."""
    config: str | None = None
    """Configuration of hub datasets; hub:<organization>/<dataset>:<config>:<split> names it too."""
    split: str = "train"
    """Split of hub datasets."""
    max_documents: int | None = None
    """Read only so many documents from the first on; null: all."""

    def __post_init__(self) -> None:
        if not BASE.fullmatch(self.language):
            raise ConfigError("data.sources.language", self.language, "look like 'eng-Latn'")
        if not self.files:
            raise ConfigError("data.sources.files", self.files, "name at least one file")
        if self.max_documents is not None and self.max_documents < 1:
            raise ConfigError("data.sources.max_documents", self.max_documents, "be at least 1")

    @property
    def language_code(self) -> str:
        """The ISO 639-3 code of the language."""
        return self.language.split("-")[0]


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """A file of a corpus, or what stands for one: the sample world, a part of a hub dataset."""

    name: str  # a path, or the entry of data.sources.files
    bytes: int  # on disk; an estimate where it is no file
    changed_ns: int = 0  # when it was last written
    part: tuple[int, int] = (0, 1)  # of a hub dataset: index from 0, and number of parts
    fingerprint: str = ""  # of a hub dataset: changes when its files do, where that is known


@dataclass(frozen=True, slots=True)
class Piece:
    """What is read from end to end: a file, or all files of a source with max_documents."""

    source: int  # index of its source in the recipe, from 0
    files: tuple[CorpusFile, ...]

    @property
    def bytes(self) -> int:
        """Size of all its files on the disk."""
        return sum(file.bytes for file in self.files)


def expand_path(path: str) -> Path:
    """A path with its variables expanded; ALIGNMLM_DATA is ../shared/data by default.

    Raises:
        ConfigError: another variable is not set.
    """
    environ.setdefault("ALIGNMLM_DATA", "../shared/data")
    return Path(expanded(path))


def matching_paths(pattern: str, language: str) -> list[Path]:
    """The file at a path, or else the files that match it as a glob, sorted.

    Raises:
        DataError: there are none.
    """
    literal = expand_path(pattern)
    if exists(literal):  # noqa: PTH110 - False for names that no file can have
        return [literal]
    matches = sorted(glob(str(literal), recursive=True))  # noqa: PTH207
    if not matches:
        raise DataError(
            f"corpus file {pattern} of {language} does not exist (looked for "
            f"{literal.absolute()}); see data.sources.files and $ALIGNMLM_DATA"
        )
    return [Path(path) for path in matches]


def names_of(source: SourceConfig) -> dict[str, list[str | Path]]:
    """All names of each file of a source, globs expanded, in the order given, by real path.

    Raises:
        DataError: a file or glob that matches nothing.
    """
    names: dict[str, list[str | Path]] = {}
    for pattern in source.files:
        if pattern.startswith((SAMPLE_PREFIX, HUB_PREFIX)):
            names.setdefault(pattern, []).append(pattern)
            continue
        for path in matching_paths(pattern, source.language):
            names.setdefault(realpath(path), []).append(path)
    return names


def source_paths(source: SourceConfig) -> list[Path]:
    """The files of a source that are on disk, globs expanded, in the order given, each once.

    Raises:
        DataError: a file or glob that matches nothing.
    """
    return [first for first, *_ in names_of(source).values() if isinstance(first, Path)]


def sample_file(pattern: str) -> CorpusFile:
    """The sample world as a file.

    Raises:
        ConfigError: no number of sentences, in [1, 10**12).
    """
    count = pattern.removeprefix(SAMPLE_PREFIX)
    if not SAMPLE_COUNT.fullmatch(count):
        raise ConfigError("data.sources.files", pattern, "look like 'sample:40000'")
    return CorpusFile(pattern, SAMPLE_BYTES * int(count))


def file_on_disk(path: Path) -> CorpusFile:
    """A file with its present size and modification time.

    Raises:
        DataError: its name is not UTF-8, so that no record could name it.
    """
    name, state = str(path), path.stat()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"corpus file {name!a}: its name is not UTF-8; rename it") from error
    return CorpusFile(name, state.st_size, state.st_mtime_ns)


def check_unchanged(file: CorpusFile) -> None:
    """Raise unless a file on disk is as it was when the build began.

    Raises:
        DataError: it was modified since.
    """
    if file.changed_ns and file_on_disk(Path(file.name)) != file:
        raise DataError(f"{file.name} changed while it was read; run again with --restart")


def corpus_files(source: SourceConfig) -> Iterator[CorpusFile]:
    """The files of a source in the order given, globs expanded, each once.

    Raises:
        DataError: a file or a hub dataset that does not exist, or a name that is not UTF-8.
        ConfigError: a sample world without a number.
    """
    named = names_of(source)
    if repeated := sum(len(names) > 1 for names in named.values()):
        text = "%s: %s files are listed more than once in data.sources.files; each is read once"
        log.info(text, source.language, f"{repeated:,}")
    for first, *_ in named.values():
        if isinstance(first, Path):
            yield file_on_disk(first)
        elif first.startswith(SAMPLE_PREFIX):
            yield sample_file(first)
        else:
            from alignmlm.corpus.hub import hub_fingerprint, hub_parts

            count, seen = hub_parts(first, source), hub_fingerprint(first, source)
            yield from (CorpusFile(first, HUB_BYTES, 0, (i, count), seen) for i in range(count))


def pieces_of(sources: list[SourceConfig]) -> list[Piece]:
    """Everything to read, in corpus order."""
    pieces = []
    for number, source in enumerate(sources):
        files = tuple(corpus_files(source))
        whole = [files] if source.max_documents else [(file,) for file in files]
        pieces += [Piece(number, part) for part in whole]
    return pieces
