"""Documents of a corpus, one after the other. What is read is parsed only where it is wanted."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from alignmlm.corpus.conllu import blocks, words_of_block
from alignmlm.corpus.sample_world import plain_text, sample_documents
from alignmlm.corpus.sources import (
    HUB_PREFIX,
    SAMPLE_PREFIX,
    CorpusFile,
    Piece,
    SourceConfig,
    corpus_files,
)
from alignmlm.data.text import RawSentence, as_line, from_line, from_words, sentence_texts
from alignmlm.errors import DataError
from alignmlm.storage.compression import FORMS, damage_named, open_counted

MOST_CHARACTERS = 2**26  # of a document, which is held in memory
Document = list[RawSentence]


@dataclass(frozen=True, slots=True)
class RawDocument:
    """A document as it was read."""

    characters: int  # about
    read: float  # share of its file up to its end
    lines: Callable[[], list[str]]  # its sentences, see text.as_line


Reader = Callable[[Path, SourceConfig], Iterator[RawDocument]]


def read_lines(path: Path) -> Iterator[tuple[int, str, float]]:
    """Number, text and share read of each line of a text file."""
    size = max(path.stat().st_size, 1)
    with open_counted(path) as (text, raw):
        for number, line in enumerate(text, start=1):
            yield number, line, min(raw.tell() / size, 1.0)


def plain_document(text: str, read: float, source: SourceConfig) -> RawDocument:
    """A document of running text."""
    return RawDocument(len(text), read, partial(sentence_texts, text, source.language_code))


def read_text(path: Path, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of a txt file: lines, or runs of lines that a blank line ends.

    Raises:
        DataError: a document that is too long to be one.
    """
    lines: list[str] = []
    characters, read = 0, 0.0
    for number, line, read in read_lines(path):
        blank = not line.strip()
        if not blank:
            lines.append(line)
            characters += len(line)
        if characters > MOST_CHARACTERS:
            raise DataError(
                f"{path}:{number}: a document of more than {MOST_CHARACTERS:,} characters; a blank "
                f"line ends one, or with data.sources.documents: line each line is one"
            )
        if lines and (blank or source.documents == "line"):
            yield plain_document("".join(lines), read, source)
            lines, characters = [], 0
    if lines:
        yield plain_document("".join(lines), read, source)


def row_lines(row: Any, where: str, source: SourceConfig) -> list[str]:
    """Sentences of a row's text.

    Raises:
        DataError: it has none.
    """
    text = row.get(source.text_field) if isinstance(row, dict) else None
    if not isinstance(text, str):
        found = f"fields {sorted(row)}" if isinstance(row, dict) else f"{type(row).__name__}"
        raise DataError(f"{where}: no text in {source.text_field!r}; found {found}")
    return sentence_texts(text, source.language_code)


def json_lines(text: str, where: str, source: SourceConfig) -> list[str]:
    """Sentences of a line of JSON.

    Raises:
        DataError: it is no JSON, or has no text.
    """
    try:
        row = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where}: not a line of JSON: {error}") from error
    return row_lines(row, where, source)


def read_jsonl(path: Path, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of a jsonl file: one a line."""
    for number, line, share in read_lines(path):
        if line.strip():
            parse = partial(json_lines, line, f"{path}:{number}", source)
            yield RawDocument(len(line), share, parse)


def read_json(path: Path, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of a json file: the objects of an array, held in memory, or one object a line.

    Raises:
        DataError: it is neither.
    """
    with open_counted(path) as (text, _):
        start = next((line.lstrip() for line in text if line.strip()), "")
    if not start.startswith("["):
        yield from read_jsonl(path, source)
        return
    try:
        with open_counted(path) as (text, _):
            rows = json.load(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    for number, row in enumerate(rows):
        parse = partial(row_lines, row, f"{path}, row {number}", source)
        yield RawDocument(len(str(row)), (number + 1) / len(rows), parse)


def read_parquet(path: Path, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of a parquet file: one a row. Only the column with the text is read.

    Raises:
        DataError: it is no parquet file, or has no such column.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    if not path.stat().st_size:
        return
    field, number = source.text_field, 0
    try:
        with ParquetFile(path) as table:
            names, count = table.schema_arrow.names, max(table.metadata.num_rows, 1)
            if field not in names:
                raise DataError(f"{path}, row 0: no text in {field!r}; found fields {names}")
            for batch in table.iter_batches(batch_size=256, columns=[field]):
                for text in batch.column(0).to_pylist():
                    parse = partial(row_lines, {field: text}, f"{path}, row {number}", source)
                    number += 1
                    yield RawDocument(len(text or ""), number / count, parse)
    except (ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def block_lines(numbered: list[tuple[int, str]], path: Path) -> list[str]:
    """Sentences of some lines of a CoNLL-U file."""
    found = (from_words(*words_of_block(block, path)) for block in blocks(numbered, path))
    return [as_line(sentence) for sentence in found if sentence.word_starts]


def treebank_document(numbered: list[tuple[int, str]], read: float, path: Path) -> RawDocument:
    """A document of a treebank."""
    characters = sum(len(line) for _, line in numbered)
    return RawDocument(characters, read, partial(block_lines, numbered, path))


def read_conllu(path: Path, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of a CoNLL-U file: sentences up to `# newdoc`."""
    numbered: list[tuple[int, str]] = []
    read = 0.0
    for number, line, read in read_lines(path):
        if line.startswith("# newdoc") and numbered:
            yield treebank_document(numbered, read, path)
            numbered = []
        if not line.startswith("#"):
            numbered.append((number, line))
    if numbered:
        yield treebank_document(numbered, read, path)


def read_sample(file: CorpusFile, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of the sample world."""
    count = int(file.name.removeprefix(SAMPLE_PREFIX))
    made = 0
    for sentences in sample_documents(count):
        made += len(sentences)
        yield plain_document(" ".join(map(plain_text, sentences)), made / count, source)


def read_hub(file: CorpusFile, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of a part of a hub dataset: one a row."""
    from alignmlm.corpus.hub import hub_rows

    for number, row in enumerate(hub_rows(file, source)):
        parse = partial(row_lines, row, f"{file.name}, row {number}", source)
        yield RawDocument(len(str(row.get(source.text_field))), 0.0, parse)


READERS: dict[str, Reader] = {
    ".txt": read_text,
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".conllu": read_conllu,
    ".parquet": read_parquet,
}


def reader_of(path: Path) -> Reader:
    """What reads a file, told by its name.

    Raises:
        DataError: its form is unknown.
    """
    ending = Path(path.stem).suffix if path.suffix in FORMS else path.suffix
    if ending in READERS and not (ending == ".parquet" and path.suffix in FORMS):
        return READERS[ending]
    texts = ", ".join(sorted(READERS.keys() - {".parquet"}))
    packed = ", ".join(FORMS)
    raise DataError(f"{path}: the name must end in {texts} (each also {packed}) or .parquet")


def read_file(file: CorpusFile, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of one file, not yet parsed.

    Raises:
        DataError: the file is not UTF-8, damaged, or of an unknown form.
    """
    if file.name.startswith(SAMPLE_PREFIX):
        yield from read_sample(file, source)
    elif file.name.startswith(HUB_PREFIX):
        yield from read_hub(file, source)
    else:
        path = Path(file.name)
        reader = reader_of(path)
        with damage_named(path):
            yield from reader(path, source)


def read_piece(piece: Piece, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of a piece, `read` being the share of all its files."""
    before, whole = 0, max(piece.bytes, 1)

    def of_file(file: CorpusFile, before: int) -> Iterator[RawDocument]:
        for raw in read_file(file, source):
            share = (before + raw.read * file.bytes) / whole
            yield RawDocument(raw.characters, share, raw.lines)

    files = []
    for file in piece.files:
        files.append(of_file(file, before))
        before += file.bytes
    return islice(chain.from_iterable(files), source.max_documents)


def documents(source: SourceConfig) -> Iterator[Document]:
    """All documents of a source, in order, with their sentences."""
    files = chain.from_iterable(read_file(file, source) for file in corpus_files(source))
    for raw in islice(files, source.max_documents):
        yield [from_line(line) for line in raw.lines()]
