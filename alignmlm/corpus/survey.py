"""A survey of text before a store is built: how much there is, what vocabulary it supports."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import escape, iglob
from pathlib import Path

from tokenizers import Tokenizer

from alignmlm.corpus.readers import READERS, read_file
from alignmlm.corpus.sources import SourceConfig, corpus_files
from alignmlm.data.text import plain_line
from alignmlm.data.tokenizer import train_tokenizer
from alignmlm.errors import ConfigError, DataError
from alignmlm.storage.compression import FORMS

PACKED = ["", *FORMS]  # of all but Parquet files, see readers.reader_of
ENDINGS = [e + packed for e in READERS for packed in (PACKED if e != ".parquet" else [""])]
SAMPLE_CHARACTERS = 2**21  # of each language, to measure with
VOCABULARIES = (16_000, 8_000, 4_000, 2_000, 1_000, 500, 300)
MOST_TOKENS = 7.0  # largest vocabulary, as a multiple of the square root of the number of words
FEW_DOCUMENTS = 20  # in a text with fewer, each line is taken as a document


@dataclass(frozen=True, slots=True)
class Corpus:
    """The text of one language, as the readers find it."""

    source: SourceConfig
    documents: int
    sample: list[list[str]]  # sentences of its first documents
    share: float  # of all its characters that are in the sample

    def tokens(self, tokenizer: Tokenizer) -> int:
        """About how many tokens the whole text has."""
        sentences = [text for document in self.sample for text in document]
        return round(sum(map(len, tokenizer.encode_batch(sentences))) / self.share)


def patterns(path: Path) -> list[str]:
    """The files of a text as a recipe names them: a file, or patterns for those of a folder.

    Raises:
        DataError: there are none.
    """
    if path.is_file():
        return [str(path)]
    globs = [f"{escape(str(path))}/**/*{ending}" for ending in ENDINGS]
    found = [each for each in globs if next(iglob(each, recursive=True), None)]  # noqa: PTH207
    if not found:
        raise DataError(f"{path} is no file, and no folder with files in {', '.join(READERS)}")
    return found


def surveyed(language: str, path: str) -> Corpus:
    """The text of a language, read once from end to end.

    Raises:
        DataError: there is none or too little, or a reader refuses it.
    """
    files = patterns(Path(path))
    corpus = surveyed_as(SourceConfig(language=language, files=files))
    if corpus.documents < FEW_DOCUMENTS:
        by_line = surveyed_as(replace(corpus.source, documents="line"))
        corpus = by_line if by_line.documents >= FEW_DOCUMENTS else corpus
    if corpus.documents < FEW_DOCUMENTS:
        requirement = f"have at least {FEW_DOCUMENTS}, separated by blank lines or one per line"
        raise DataError(
            f"{path} has {corpus.documents} documents of {language}; it must {requirement}"
        )
    return corpus


def surveyed_as(source: SourceConfig) -> Corpus:
    """The text of a source, its first documents as sentences."""
    sample: list[list[str]] = []
    documents = characters = sampled = 0
    for file in corpus_files(source):
        for raw in read_file(file, source):
            if sampled < SAMPLE_CHARACTERS:
                sample.append([plain_line(line) for line in raw.lines()])
                sampled += raw.characters
            documents += 1
            characters += raw.characters
    return Corpus(source, documents, sample, sampled / characters if characters else 1.0)


def fitting_tokenizer(corpora: Sequence[Corpus]) -> Tokenizer:
    """A tokenizer of the largest vocabulary that the text supports, trained on half of the sample.

    Raises:
        DataError: there is too little text.
    """
    sentences = [text for each in corpora for document in each.sample[::2] for text in document]
    words = sum(len(text.split()) for text in sentences) * 2 / min(each.share for each in corpora)
    for size in VOCABULARIES:
        if size > MOST_TOKENS * words**0.5:
            continue
        try:
            return train_tokenizer(sentences, size)
        except ConfigError:  # the text has too few different words
            continue
    raise DataError(f"{words:,.0f} words are too few to learn from; give more text")
