"""Byte-level BPE, trained here or loaded, and what the rest of the project needs to know of it."""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from tokenizers import (
    Encoding,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from alignmlm.data.text import EXTENDERS, MARKS, OTHER_MARKS, PREFIXES, RawSentence, composed
from alignmlm.errors import AlignMLMError, ConfigError, DataError
from alignmlm.languages.orders import FINAL_MARKS
from alignmlm.languages.scripts import Alphabet
from alignmlm.storage.records import check_count

log = logging.getLogger(__name__)

SPECIAL = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
ALIASES = {"bos": "[CLS]", "pad": "[PAD]", "eos": "[SEP]", "unk": "[UNK]", "mask": "[MASK]"}
PIECES = (  # GPT-2's pieces, final marks on their own; no piece begins inside a grapheme cluster
    rf"'(?:[sdmt]|ll|ve|re)(?![\p{{L}}{EXTENDERS}])"
    rf"| ?[{PREFIXES}]*(?:[\p{{L}}{EXTENDERS}]+|(?:\p{{N}}[{EXTENDERS}]*)+"
    rf"|(?:[{MARKS}][{EXTENDERS}]*)+|(?:{OTHER_MARKS}[{EXTENDERS}]*)+)| ?[{PREFIXES}]+|\s+"
)


MOST_TOKENS = 2**31  # of a vocabulary
LEAST_BYTES = 4  # of a token in tokenizer.json: quotes, colon, comma


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The base vocabulary, without its strings."""

    size: int
    bos: int
    pad: int
    eos: int
    unk: int
    mask: int
    final: tuple[int, ...]  # tokens that are nothing but sentence-final marks
    special: tuple[int, ...]  # every special token, those above and any other

    def __post_init__(self) -> None:
        check_count("size", self.size, MOST_TOKENS)
        for name in ("bos", "pad", "eos", "unk", "mask"):
            check_count(name, getattr(self, name), self.size - 1)
        for name in ("final", "special"):
            for token in getattr(self, name):
                check_count(name, token, self.size - 1)

    def check_size(self, tokenizer: Path, error: type[AlignMLMError] = DataError) -> None:
        """Raise if a tokenizer's file is too small for so many tokens.

        Raises:
            AlignMLMError: of type `error`: the file is too small, or missing.
        """
        if not tokenizer.is_file():
            raise error(f"{tokenizer} is missing")
        if self.size * LEAST_BYTES > (size := tokenizer.stat().st_size):
            raise error(f"{tokenizer} has {size} bytes, too few for {self.size} tokens")

    def alphabet(self) -> Alphabet:
        """What script changes need to know of the vocabulary."""
        return Alphabet(self.size, self.special)


def untrained_tokenizer() -> Tokenizer:
    """Our tokenizer without its vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Strip(), normalizers.Prepend(" ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def is_split_at_spaces(tokenizer: Tokenizer) -> bool:
    """Whether the text between two spaces has the same tokens in any context, as with ours.

    Our pieces can have a space only at their start, and every text gets a leading space. Added
    tokens are matched before the text is split into pieces, and "New York" would hold a space.
    """
    theirs, ours = (json.loads(t.to_str()) for t in (tokenizer, untrained_tokenizer()))
    if not all(added["special"] for added in theirs["added_tokens"]):
        return False
    return all(theirs[part] == ours[part] for part in ("normalizer", "pre_tokenizer"))


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> Tokenizer:
    """A byte-level BPE of exactly vocabulary_size tokens, special ones included.

    Every text starts with one space, so a word is the same token at the start of a sentence.

    Raises:
        ConfigError: the texts yield fewer tokens, or bytes and special tokens alone are more.
    """
    least = len(SPECIAL) + 256
    if vocabulary_size < least:
        raise ConfigError("data.vocabulary_size", vocabulary_size, f"be at least {least}")
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer = untrained_tokenizer()
    tokenizer.train_from_iterator(texts, trainer)
    if (reached := tokenizer.get_vocab_size()) < vocabulary_size:
        raise ConfigError(
            "data.vocabulary_size", vocabulary_size, f"be at most {reached} for this corpus"
        )
    return tokenizer


def tokenizer_file(path: Path) -> Path:
    """A tokenizer.json file, given itself or its folder.

    Raises:
        DataError: there is none.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"no tokenizer at {file}")
    return file


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a tokenizer.json file, or of a folder that holds one.

    "<mask>" in a text is ordinary text to it; see also ordinary(). Truncation, padding and dropout
    are off, whatever the file says: they belong to the batches that it was last used for. The first
    word of a text has the tokens that it has after a space, also with a tokenizer like RoBERTa's.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    file = tokenizer_file(path)
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise DataError(f"{file} is no tokenizer: {error}") from error
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if isinstance(tokenizer.model, models.BPE):
        tokenizer.model.dropout = None
    pieces = tokenizer.pre_tokenizer
    if isinstance(pieces, pre_tokenizers.ByteLevel) and pieces.use_regex:
        pieces.add_prefix_space = True
    return tokenizer


def ordinary(tokenizer: Tokenizer, ids: Int[np.ndarray, " token"]) -> Int[np.ndarray, " token"]:
    """Token ids of text, with <unk> for special tokens, which some models make from plain text."""
    added = tokenizer.get_added_tokens_decoder().items()
    special = [number for number, token in added if token.special]
    of_tokens = np.zeros(max([*special, int(ids.max(initial=0))]) + 1, bool)
    of_tokens[special] = True
    is_special = of_tokens[ids.astype(np.int64, copy=False)]
    return np.where(is_special, special_id(tokenizer, "unk"), ids) if is_special.any() else ids


def special_id(tokenizer: Tokenizer, role: str) -> int:
    """The id of a role's special token, by its name in RoBERTa or in BERT.

    Raises:
        DataError: the tokenizer has neither.
    """
    for name in (SPECIAL[role], ALIASES[role]):
        if (token_id := tokenizer.token_to_id(name)) is not None:
            return token_id
    raise DataError(f"the tokenizer has neither {SPECIAL[role]} nor {ALIASES[role]}")


def describe(tokenizer: Tokenizer) -> Vocabulary:
    """What the rest of the project needs to know of a tokenizer.

    Raises:
        DataError: it lacks a special token, or an id is larger than its number of tokens allows.
    """
    roles = {role: special_id(tokenizer, role) for role in SPECIAL}
    added = {
        number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special
    }
    size = tokenizer.get_vocab_size()
    if (highest := max(tokenizer.get_vocab().values(), default=0)) >= size:
        raise DataError(f"a token of the tokenizer has the id {highest}; ids must lie below {size}")
    shown = (tokenizer.decode([number]).strip() for number in range(size))
    final = tuple(i for i, text in enumerate(shown) if text and set(text) <= FINAL_MARKS)
    return Vocabulary(
        size, **roles, final=final, special=tuple(sorted(added | set(roles.values())))
    )


def token_word_starts(offsets: list[tuple[int, int]], sentence: RawSentence) -> np.ndarray:
    """Which tokens of a sentence start a word: the first one at a word's first character."""
    starts = np.fromiter((start for start, _ in offsets), np.int64, len(offsets))
    blank = np.frombuffer(sentence.text.encode("utf-32-le"), np.uint32) == ord(" ")
    starts = starts + blank[np.minimum(starts, len(blank) - 1)]
    at_word = np.zeros(len(sentence.text) + 1, bool)
    at_word[list(sentence.word_starts)] = True
    return at_word[starts] & np.append(True, starts[1:] != starts[:-1])


class Encoded(NamedTuple):
    """The tokens of some sentences, one after the other."""

    ids: Int[np.ndarray, " token"]
    word_starts: Bool[np.ndarray, " token"]
    lengths_tokens: Int[np.ndarray, " sentence"]  # 0 where a sentence has no tokens


def encodings(tokenizer: Tokenizer, texts: list[str]) -> list[Encoding]:
    """The tokens of some texts, as the library gives them, without special tokens around them.

    Raises:
        DataError: a text has a piece that the tokenizer does not know, and it has no unknown token.
    """
    try:
        return tokenizer.encode_batch(texts, add_special_tokens=False)
    except Exception as error:  # tokenizers raises bare Exception
        raise DataError(
            f"the tokenizer has no tokens for some text ({error}); give its model an unknown token"
        ) from error


def encode_flat(tokenizer: Tokenizer, sentences: list[RawSentence]) -> Encoded:
    """The tokens of some sentences and which of them start a word.

    Words that were given share no token: where one would hold parts of two ("don" of "do" and
    "n't"), each word of that run without spaces is tokenised on its own.
    """
    encoded = encodings(tokenizer, [s.text for s in sentences])
    lengths = np.fromiter((len(e) for e in encoded), np.int64, len(encoded))
    ids = np.fromiter(chain.from_iterable(e.ids for e in encoded), np.int64, lengths.sum())
    bounds = chain.from_iterable(chain.from_iterable(e.offsets for e in encoded))
    starts = np.fromiter(bounds, np.int64, 2 * lengths.sum())[::2]
    tokens = Encoded(ordinary(tokenizer, ids), first_tokens(starts, lengths, sentences), lengths)
    return mended(tokenizer, sentences, tokens)


def first_tokens(
    starts: Int[np.ndarray, " token"],
    lengths: Int[np.ndarray, " sentence"],
    sentences: list[RawSentence],
) -> Bool[np.ndarray, " token"]:
    """Which tokens start a word or a sentence, from each one's first character."""
    sizes = np.fromiter((len(s.text) + 1 for s in sentences), np.int64, len(sentences))
    before = np.cumsum(sizes) - sizes
    text = "\n".join([*(s.text for s in sentences), ""])
    blank = np.frombuffer(text.encode("utf-32-le"), np.uint32) == ord(" ")
    words = np.fromiter((len(s.word_starts) for s in sentences), np.int64, len(sentences))
    at_word = np.zeros(len(text) + 1, bool)
    flat = np.fromiter(chain.from_iterable(s.word_starts for s in sentences), np.int64, words.sum())
    at_word[flat + np.repeat(before, words)] = True
    starts = starts + np.repeat(before, lengths)
    starts += blank[starts]
    opens = np.zeros(len(starts) + 1, bool)
    opens[np.cumsum(lengths) - lengths] = True
    opens = opens[:-1]
    return opens | (at_word[starts] & np.append(True, starts[1:] != starts[:-1]))


def mended(tokenizer: Tokenizer, sentences: list[RawSentence], encoded: Encoded) -> Encoded:
    """The same tokens, with tokens of its own for each word that was given."""
    ends = np.cumsum(encoded.lengths_tokens)
    counts = np.diff(np.append(0, np.cumsum(encoded.word_starts))[np.append(0, ends)])
    wrong = [i for i, s in enumerate(sentences) if s.given and counts[i] < len(s.word_starts)]
    if not wrong:
        return encoded
    ids, starts = (np.split(array, ends[:-1]) for array in encoded[:2])
    for i in wrong:
        words = tokens_of_given(tokenizer, sentences[i])
        ids[i] = np.array([token for word in words for token in word], np.int64)
        starts[i] = np.array([place == 0 for word in words for place in range(len(word))], bool)
    lengths = np.array([len(part) for part in ids], np.int64)
    return Encoded(np.concatenate(ids), np.concatenate(starts), lengths)


def chunks_of(sentence: RawSentence) -> list[RawSentence]:
    """Runs of words of a sentence without a space between them."""
    bounds = [*sentence.word_starts, len(sentence.text)]
    chunks: list[RawSentence] = []
    text, starts = "", [0]
    for start, stop in pairwise(bounds):
        text += sentence.text[start:stop].rstrip(" ")
        if sentence.text[stop - 1] == " " or stop == bounds[-1]:
            chunks.append(RawSentence(text, tuple(starts), given=True))
            text, starts = "", [0]
        else:
            starts.append(len(text))
    return chunks


def tokens_of_given(tokenizer: Tokenizer, sentence: RawSentence) -> list[tuple[int, ...]]:
    """The tokens of each given word; words that have none are left out."""
    words: list[tuple[int, ...]] = []
    for chunk in chunks_of(sentence):
        [encoding] = encodings(tokenizer, [chunk.text])
        starts = token_word_starts(encoding.offsets, chunk) if encoding.ids else np.zeros(0, bool)
        if starts.sum() == len(chunk.word_starts):
            ids = ordinary(tokenizer, np.array(encoding.ids))
            parts = np.split(ids, np.flatnonzero(starts)[1:])
            words += [tuple(part.tolist()) for part in parts]
        else:
            bounds = pairwise([*chunk.word_starts, len(chunk.text)])
            words += encode_words(tokenizer, [chunk.text[a:b] for a, b in bounds])
    return [word for word in words if word]


def encode(
    tokenizer: Tokenizer, sentences: list[RawSentence]
) -> Iterator[tuple[Int[np.ndarray, " token"], Bool[np.ndarray, " token"]]]:
    """Token ids and word starts of each sentence; both are empty where it has no tokens."""
    if not sentences:
        return
    encoded = encode_flat(tokenizer, sentences)
    bounds = np.cumsum(encoded.lengths_tokens)[:-1]
    yield from zip(
        np.split(encoded.ids, bounds), np.split(encoded.word_starts, bounds), strict=True
    )


def encode_words(tokenizer: Tokenizer, words: list[str]) -> list[tuple[int, ...]]:
    """Token ids of each word on its own, in Unicode NFC as text is."""
    encoded = encodings(tokenizer, list(map(composed, words)))
    lengths = [len(encoding.ids) for encoding in encoded]
    ids = np.fromiter(chain.from_iterable(e.ids for e in encoded), np.int64, sum(lengths))
    parts = np.split(ordinary(tokenizer, ids), np.cumsum(lengths)[:-1])
    return [tuple(part.tolist()) for part in parts][: len(words)]
