"""Byte-level BPE: trained here or loaded, and what the rest must know of it."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from alignmlm.data.text import MARKS, RawSentence
from alignmlm.errors import ConfigError, DataError
from alignmlm.languages.orders import FINAL_MARKS
from alignmlm.languages.scripts import Alphabet

log = logging.getLogger(__name__)

SPECIAL = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
ALIASES = {"bos": "[CLS]", "pad": "[PAD]", "eos": "[SEP]", "unk": "[UNK]", "mask": "[MASK]"}
PIECES = (  # GPT-2's pieces, with combining marks among the letters and final marks on their own
    r"'(?:[sdmt]|ll|ve|re)(?!\p{L})"
    rf"| ?[\p{{L}}\p{{M}}]+| ?\p{{N}}+| ?[{MARKS}]+| ?[^\s\p{{L}}\p{{M}}\p{{N}}{MARKS}]+|\s+"
)


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

    def alphabet(self) -> Alphabet:
        """What script changes may look at."""
        return Alphabet(self.size, self.special)


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> Tokenizer:
    """A byte-level BPE of exactly vocabulary_size tokens, special ones included.

    Every text starts with one space, so a word is the same token at the start of a sentence.

    Raises:
        ConfigError: the texts do not support so many tokens, or the bytes alone are more.
    """
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
    least = len(SPECIAL) + 256
    if vocabulary_size < least:
        raise ConfigError("data.vocabulary_size", vocabulary_size, f"be at least {least}")
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if (reached := tokenizer.get_vocab_size()) < vocabulary_size:
        raise ConfigError(
            "data.vocabulary_size", vocabulary_size, f"be at most {reached} for this corpus"
        )
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a tokenizer.json file, or of a folder that holds one.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"no tokenizer at {file}")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise DataError(f"{file} is no tokenizer: {error}") from error


def special_id(tokenizer: Tokenizer, role: str) -> int:
    """The id of a special token, RoBERTa's or BERT's."""
    for name in (SPECIAL[role], ALIASES[role]):
        if (found := tokenizer.token_to_id(name)) is not None:
            return found
    raise DataError(f"the tokenizer has neither {SPECIAL[role]} nor {ALIASES[role]}")


def describe(tokenizer: Tokenizer) -> Vocabulary:
    """What the rest of the project must know of a tokenizer."""
    roles = {role: special_id(tokenizer, role) for role in SPECIAL}
    added = {
        number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special
    }
    size = tokenizer.get_vocab_size()
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


def encode(
    tokenizer: Tokenizer, sentences: list[RawSentence]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Token ids and word starts of each sentence; both are empty where it has no tokens."""
    encoded = tokenizer.encode_batch([s.text for s in sentences], add_special_tokens=False)
    for sentence, encoding in zip(sentences, encoded, strict=True):
        starts = np.zeros(len(encoding.ids), bool)
        if encoding.ids:
            starts = token_word_starts(encoding.offsets, sentence)
            starts[0] = True
        yield np.array(encoding.ids, np.int64), starts


def encode_words(tokenizer: Tokenizer, words: list[str]) -> list[tuple[int, ...]]:
    """Token ids of each word on its own."""
    encoded = tokenizer.encode_batch(list(words), add_special_tokens=False)
    return [tuple(encoding.ids) for encoding in encoded]
