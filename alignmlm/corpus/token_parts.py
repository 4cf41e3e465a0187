"""Parts of the corpus as tokens; the tokens of a document depend on that document alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt8
from tokenizers import Tokenizer

from alignmlm.corpus.duplicates import Duplicates
from alignmlm.corpus.parts import Part, is_validation, npy, read_documents, read_records
from alignmlm.corpus.workspace import Workspace
from alignmlm.data.shards import token_dtype
from alignmlm.data.text import from_line
from alignmlm.data.tokenizer import (
    Encoded,
    Vocabulary,
    describe,
    encode_flat,
    is_split_at_spaces,
)
from alignmlm.storage.arrays import read_array, read_npy
from alignmlm.storage.atomic import replace_bytes

BATCH_SENTENCES = 2048  # in one call of the tokenizer
KNOWN_CHARACTERS = 2**21  # in cached chunks; with more, the cache is cleared
WORD, SENTENCE = 1, 2  # bits of a token's flags
DOCUMENT = np.dtype([("tokens", "<u4"), ("validation", "?")])


@dataclass(frozen=True, slots=True)
class TokenPart:
    """The documents of a part as tokens; </s> closes each, as a sentence of its own."""

    documents: Shaped[np.ndarray, " document"]  # number of tokens, and whether it is held out
    ids: Shaped[np.ndarray, " token"]
    flags: UInt8[np.ndarray, " token"]


def no_tokens() -> Encoded:
    """An empty batch of tokens."""
    return Encoded(np.empty(0, np.int64), np.empty(0, bool), np.empty(0, np.int64))


def joined(batches: list[Encoded]) -> Encoded:
    """Batches of tokens, concatenated."""
    return Encoded(*(np.concatenate(arrays) for arrays in zip(no_tokens(), *batches, strict=True)))


class ChunkTokens:
    """A cache of the tokens of each chunk (the characters between two spaces), as most recur.

    The result is the tokenizer's own for whole sentences, and comes several times as fast.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.forget()

    def forget(self) -> None:
        """Clear the cache."""
        self.numbers: dict[str, int] = {}
        self.tokens, self.firsts, self.characters = no_tokens(), np.empty(0, np.int64), 0

    def learn(self, chunks: list[str]) -> None:
        """Tokenise chunks that are not in the cache."""
        new_tokens = encode_flat(self.tokenizer, [from_line(chunk) for chunk in chunks])
        self.numbers.update(zip(chunks, count(len(self.numbers))))
        self.tokens = joined([self.tokens, new_tokens])
        self.firsts = np.cumsum(self.tokens.lengths_tokens) - self.tokens.lengths_tokens
        self.characters += sum(map(len, chunks))

    def encode(self, lines: list[str]) -> Encoded:
        """The tokens of some sentences."""
        if self.characters > KNOWN_CHARACTERS:
            self.forget()
        parts = [line.split(" ") for line in lines]
        chunks = list(chain.from_iterable(parts))
        if new := list(dict.fromkeys(c for c in chunks if c not in self.numbers)):
            self.learn(new)
        numbers = np.fromiter(map(self.numbers.__getitem__, chunks), np.int64, len(chunks))
        lengths = self.tokens.lengths_tokens[numbers]
        shift = self.firsts[numbers] - (np.cumsum(lengths) - lengths)
        at = np.repeat(shift, lengths) + np.arange(lengths.sum())
        sizes = np.fromiter(map(len, parts), np.int64, len(parts))
        sentences = np.add.reduceat(lengths, np.cumsum(sizes) - sizes)
        return Encoded(self.tokens.ids[at], self.tokens.word_starts[at], sentences)


def encode_lines(tokenizer: Tokenizer, lines: list[str]) -> Encoded:
    """The tokens of some sentences, for any tokenizer."""
    return encode_flat(tokenizer, [from_line(line) for line in lines])


def close_documents(
    encoded: Encoded, sentences: Int[np.ndarray, " document"], eos: int
) -> tuple[Encoded, Int[np.ndarray, " document"]]:
    """The tokens with </s> after each document that has any, and how many each document has."""
    document = np.repeat(np.arange(len(sentences)), sentences)
    tokens = np.bincount(document, encoded.lengths_tokens, len(sentences)).astype(np.int64)
    ends = np.cumsum(tokens)[tokens > 0]
    ids = np.insert(encoded.ids, ends, eos)
    starts = np.insert(encoded.word_starts, ends, True)
    last = np.cumsum(sentences)[tokens > 0]
    lengths = np.insert(encoded.lengths_tokens, last, 1)
    return Encoded(ids, starts, lengths[lengths > 0]), tokens + (tokens > 0)


def flags_of(encoded: Encoded) -> UInt8[np.ndarray, " token"]:
    """Bits that say which tokens start a word and a sentence."""
    flags = encoded.word_starts.astype(np.uint8) * np.uint8(WORD)
    flags[np.cumsum(encoded.lengths_tokens) - encoded.lengths_tokens] |= SENTENCE
    return flags


@dataclass(frozen=True, slots=True)
class Encoder:
    """Converts documents to tokens."""

    encode: Callable[[list[str]], Encoded]  # of sentences as lines, see text.as_line
    vocabulary: Vocabulary
    validation: float  # share of the documents that are held out

    @property
    def dtype(self) -> np.dtype:
        """The type in which tokens are stored."""
        return token_dtype(self.vocabulary.size)


def make_encoder(tokenizer: Tokenizer, validation: float) -> Encoder:
    """The encoder of a tokenizer."""
    vocabulary = describe(tokenizer)
    fast = is_split_at_spaces(tokenizer)
    encode = ChunkTokens(tokenizer).encode if fast else partial(encode_lines, tokenizer)
    return Encoder(encode, vocabulary, validation)


def make_tokens(
    encoder: Encoder, documents: list[list[str]], validation: Bool[np.ndarray, " document"]
) -> TokenPart:
    """Some documents as tokens; those without tokens are left out."""
    sentences = np.array([len(document) for document in documents], np.int64)
    lines = chain.from_iterable(documents)
    batches = iter(lambda: list(islice(lines, BATCH_SENTENCES)), [])
    encoded = joined([encoder.encode(batch) for batch in batches])
    closed, tokens = close_documents(encoded, sentences, encoder.vocabulary.eos)
    records = np.empty(len(documents), DOCUMENT)
    records["tokens"], records["validation"] = tokens, validation
    return TokenPart(records[tokens > 0], closed.ids.astype(encoder.dtype), flags_of(closed))


def tokenise_part(
    place: Workspace,
    parts: list[Part],
    index: int,
    duplicates: Duplicates,
    encoder: Encoder,
) -> int:
    """Write a part as tokens; returns their number."""
    records = read_records(place, parts[index])
    kept_mask = duplicates.kept(index, len(records))
    read = zip(kept_mask, read_documents(place, parts[index]), strict=True)
    documents = [document for wanted, document in read if wanted]
    held_out = is_validation(records, encoder.validation)[kept_mask]
    made = make_tokens(encoder, documents, held_out)
    arrays = (made.documents, made.ids, made.flags)
    path = place.tokens / f"{parts[index].name}.npys"
    replace_bytes(path, b"".join(npy(array) for array in arrays))
    return len(made.ids)


def has_tokens(place: Workspace, part: Part) -> bool:
    """Whether a part is written as tokens."""
    return (place.tokens / f"{part.name}.npys").exists()


def read_token_documents(place: Workspace, part: Part) -> Shaped[np.ndarray, " document"]:
    """The documents of a part, without their tokens: the first array of its file."""
    return read_npy(place.tokens / f"{part.name}.npys")


def read_tokens(place: Workspace, part: Part) -> TokenPart:
    """A part as tokens."""
    path = place.tokens / f"{part.name}.npys"
    with path.open("rb") as file:
        return TokenPart(*(read_array(file, path) for _ in range(3)))
