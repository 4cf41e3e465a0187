"""Documents of a corpus, from files of any usual form."""

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from glob import glob
from os import environ
from os.path import expandvars
from pathlib import Path
from typing import Literal

from alignmlm.data.sample_world import plain_text, sample_documents
from alignmlm.data.text import RawSentence, from_words, split_sentences
from alignmlm.errors import ConfigError, DataError
from alignmlm.languages.language import BASE

SAMPLE_PREFIX = "sample:"
Document = list[RawSentence]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """The corpus of one natural language."""

    language: str  # "eng-Latn"
    files: list[str] = field(default_factory=list)  # paths, globs, or "sample:<sentences>"
    documents: Literal["blank_line", "line"] = "blank_line"  # what ends a document in txt files
    text_field: str = "text"  # of jsonl and parquet rows

    def __post_init__(self) -> None:
        if not BASE.fullmatch(self.language):
            raise ConfigError("data.sources.language", self.language, "look like 'eng-Latn'")
        if not self.files:
            raise ConfigError("data.sources.files", self.files, "name at least one file")


def expand_path(path: str) -> Path:
    """A path with its environment variables; ALIGNMLM_DATA is ../shared/data where it is unset."""
    environ.setdefault("ALIGNMLM_DATA", "../shared/data")
    return Path(expandvars(path)).expanduser()


def source_paths(source: SourceConfig) -> list[Path]:
    """The files of a source, globs expanded, in the order given.

    Raises:
        DataError: a file or glob that matches nothing.
    """
    paths: list[Path] = []
    for pattern in source.files:
        if pattern.startswith(SAMPLE_PREFIX):
            continue
        found = sorted(glob(str(expand_path(pattern)), recursive=True))  # noqa: PTH207
        if not found:
            raise DataError(
                f"corpus file {pattern} of {source.language} does not exist (looked for "
                f"{expand_path(pattern).absolute()}); see data.sources.files and $ALIGNMLM_DATA"
            )
        paths += map(Path, found)
    return paths


def open_text(path: Path) -> io.TextIOBase:
    """A text file, decompressed where its name ends in .gz."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def text_documents(path: Path, unit: str) -> Iterator[str]:
    """Documents of a txt file: lines, or runs of lines that a blank line ends."""
    lines: list[str] = []
    with open_text(path) as file:
        for line in file:
            if line.strip():
                lines.append(line)
            if lines and (unit == "line" or not line.strip()):
                yield "".join(lines)
                lines = []
    if lines:
        yield "".join(lines)


def table_rows(path: Path, form: str) -> Iterator[dict]:
    """The rows of a jsonl or parquet file.

    Raises:
        DataError: the file is not what its name says; datasets raises many kinds of errors.
    """
    from datasets import load_dataset

    if not path.stat().st_size:
        return
    try:
        yield from load_dataset(form, data_files=str(path), split="train", streaming=True)
    except (UnicodeDecodeError, zlib.error, EOFError):
        raise
    except Exception as error:
        raise DataError(f"{path} cannot be read: {error or type(error).__name__}") from error


def table_documents(path: Path, form: str, text_field: str) -> Iterator[str]:
    """Documents of a jsonl or parquet file: one a row."""
    for number, row in enumerate(table_rows(path, form)):
        if not isinstance(row.get(text_field), str):
            raise DataError(
                f"{path}, row {number}: no text in {text_field!r}; found fields {sorted(row)}"
            )
        yield row[text_field]


def conllu_documents(path: Path) -> Iterator[list[list[str]]]:
    """Documents of a CoNLL-U file as lists of sentences, each a list of its words."""
    sentences: list[list[str]] = []
    words: list[str] = []
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.startswith("# newdoc") and sentences:
                yield sentences
                sentences = []
            elif not line.strip() and words:
                sentences.append(words)
                words = []
            elif line.strip() and not line.startswith("#"):
                columns = line.rstrip("\n").split("\t")
                if len(columns) < 10:
                    raise DataError(f"{path}:{number}: a CoNLL-U line has 10 columns: {line!r}")
                words += [columns[1]] if columns[0].isdigit() else []
    if words:
        sentences.append(words)
    if sentences:
        yield sentences


def file_documents(path: Path, source: SourceConfig) -> Iterator[Document]:
    """Documents of one file, its form told by its name.

    Raises:
        DataError: the file is not UTF-8, or its form is unknown.
    """
    name = path.name.removesuffix(".gz")
    language = source.language.split("-")[0]
    try:
        if name.endswith(".conllu"):
            for sentences in conllu_documents(path):
                yield [from_words(words) for words in sentences]
        elif name.endswith((".jsonl", ".json", ".parquet")):
            form = "parquet" if name.endswith(".parquet") else "json"
            for text in table_documents(path, form, source.text_field):
                yield split_sentences(text, language)
        elif name.endswith(".txt"):
            for text in text_documents(path, source.documents):
                yield split_sentences(text, language)
        else:
            known = ".txt, .jsonl, .json, .conllu (each also .gz) or .parquet"
            raise DataError(f"{path}: the name must end in {known}")
    except (UnicodeDecodeError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is not a UTF-8 text or not a whole gzip file: {error}") from error


def documents(source: SourceConfig) -> Iterator[Document]:
    """All documents of a source, in order."""
    for pattern in source.files:
        if pattern.startswith(SAMPLE_PREFIX):
            count = pattern.removeprefix(SAMPLE_PREFIX)
            if not count.isdigit():
                raise ConfigError("data.sources.files", pattern, "look like 'sample:40000'")
            for sentences in sample_documents(int(count)):
                text = " ".join(map(plain_text, sentences))
                yield split_sentences(text, source.language.split("-")[0])
    for path in source_paths(source):
        yield from file_documents(path, source)
