"""Readers of corpus files: documents one by one, each parsed only when it is used."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

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
from alignmlm.storage.cells import as_text, cell
from alignmlm.storage.compression import FORMS, inner_suffix
from alignmlm.storage.conllu import blocks
from alignmlm.storage.tables import (
    Row,
    array_rows,
    is_array,
    json_lines,
    json_object,
    parquet_length,
    parquet_rows,
)
from alignmlm.storage.text import lines_of

MOST_CHARACTERS = 2**26  # of a document, which is held in memory
Document = list[RawSentence]


@dataclass(frozen=True, slots=True)
class RawDocument:
    """A document before parsing."""

    characters: int  # approximately
    read: float  # share of the file up to the document's end
    lines: Callable[[], list[str]]  # its sentences, see text.as_line


Reader = Callable[[Path, SourceConfig], Iterator[RawDocument]]


def plain_document(text: str, read: float, source: SourceConfig) -> RawDocument:
    """A document of running text."""
    return RawDocument(len(text), read, partial(sentence_texts, text, source.language_code))


def read_text(path: Path, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of a txt file: single lines, or runs of lines, each ended by a blank line.

    Raises:
        DataError: a document has more than MOST_CHARACTERS characters.
    """
    lines: list[str] = []
    characters, read = 0, 0.0
    for number, line, read in lines_of(path):
        blank = not line or line.isspace()
        if not blank:
            lines.append(line)
            characters += len(line) + 1
        if characters > MOST_CHARACTERS:
            raise DataError(
                f"{path}:{number}: a document of more than {MOST_CHARACTERS:,} characters; a blank "
                f"line ends one, or with data.sources.documents: line each line is one"
            )
        if lines and (blank or source.documents == "line"):
            yield plain_document("\n".join([*lines, ""]), read, source)
            lines, characters = [], 0
    if lines:
        yield plain_document("\n".join([*lines, ""]), read, source)


def row_lines(row: Row, where: str, source: SourceConfig) -> list[str]:
    """Sentences of a row's text.

    Raises:
        DataError: it has none.
    """
    field = source.text_field
    text = as_text(cell(row, field, where), repr(field), where)
    return sentence_texts(text, source.language_code)


def json_sentences(text: str, where: str, source: SourceConfig) -> list[str]:
    """Sentences of a line of JSON.

    Raises:
        DataError: it is not JSON, or has no text.
    """
    return row_lines(json_object(text, where), where, source)


def read_jsonl(path: Path, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of a jsonl file: one a line."""
    for place, line in json_lines(path):
        parse = partial(json_sentences, line.text, place, source)
        yield RawDocument(len(line.text) + 1, line.read, parse)


def read_json(path: Path, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of a json file: the objects of an array, held in memory, or one object a line.

    Raises:
        DataError: it is neither.
    """
    if not is_array(path):
        yield from read_jsonl(path, source)
        return
    rows = array_rows(path)
    for number, (place, row) in enumerate(rows, start=1):
        parse = partial(row_lines, row, place, source)
        yield RawDocument(len(str(row)), number / len(rows), parse)


def read_parquet(path: Path, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of a parquet file: one a row. Only the column with the text is read.

    Raises:
        DataError: it is no parquet file, or has no such column.
    """
    count = parquet_length(path)
    for number, (place, row) in enumerate(parquet_rows(path, [source.text_field]), start=1):
        characters = len(str(row[source.text_field]))
        yield RawDocument(characters, number / count, partial(row_lines, row, place, source))


def block_lines(numbered: list[tuple[int, str]], path: Path) -> list[str]:
    """Sentences of consecutive lines of a CoNLL-U file."""
    sentences = (from_words(block.words, block.joined()) for block in blocks(numbered, path))
    return [as_line(sentence) for sentence in sentences if sentence.word_starts]


def treebank_document(numbered: list[tuple[int, str]], read: float, path: Path) -> RawDocument:
    """A document of a treebank."""
    characters = sum(len(line) for _, line in numbered)
    return RawDocument(characters, read, partial(block_lines, numbered, path))


def read_conllu(path: Path, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of a CoNLL-U file: sentences up to the next `# newdoc`."""
    numbered: list[tuple[int, str]] = []
    read = 0.0
    for number, line, read in lines_of(path):
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
    """The reader for a file, chosen by its name.

    Raises:
        DataError: its format is unknown.
    """
    ending = inner_suffix(path)
    if ending in READERS and not (ending == ".parquet" and path.suffix in FORMS):
        return READERS[ending]
    texts = ", ".join(sorted(READERS.keys() - {".parquet"}))
    packed = ", ".join(FORMS)
    raise DataError(f"{path}: the name must end in {texts} (each also {packed}) or .parquet")


def read_file(file: CorpusFile, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of one file, not yet parsed.

    Raises:
        DataError: the file is not UTF-8, damaged, or of an unknown format.
    """
    if file.name.startswith(SAMPLE_PREFIX):
        yield from read_sample(file, source)
    elif file.name.startswith(HUB_PREFIX):
        yield from read_hub(file, source)
    else:
        path = Path(file.name)
        yield from reader_of(path)(path, source)


def read_piece(piece: Piece, source: SourceConfig) -> Iterator[RawDocument]:
    """Documents of a piece; their `read` is a share of all its files together."""
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
