"""Documents as sentences, sentences as words."""

import unicodedata
from dataclasses import dataclass
from functools import cache

import regex
from sentencex import segment

from alignmlm.languages.orders import FINAL_MARKS

MARKS = "".join(sorted(FINAL_MARKS))
WORD = regex.compile(
    # from the first letter or digit to the last one without white space between, so "don't"
    # and "well-known" stay whole; runs of sentence-final marks; runs of other marks
    rf"[\p{{L}}\p{{M}}\p{{N}}](?:\S*[\p{{L}}\p{{M}}\p{{N}}])?|[{MARKS}]+|[^\s\p{{L}}\p{{M}}\p{{N}}{MARKS}]+"
)


@dataclass(frozen=True, slots=True)
class RawSentence:
    """One sentence: normalised text, and the position of each word's first character."""

    text: str  # Unicode NFC, single spaces
    word_starts: tuple[int, ...]


def normalise(text: str) -> str:
    """Unicode NFC with every run of white space as one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def words_of(text: str) -> RawSentence:
    """A sentence with its words found: marks at a word's edges are words of their own."""
    return RawSentence(text, tuple(match.start() for match in WORD.finditer(text)))


def from_words(words: list[str]) -> RawSentence:
    """A sentence whose words are given, as in a treebank; one space between them."""
    words = [normalised for word in words if (normalised := normalise(word).replace(" ", "\u00a0"))]
    starts = [0]
    for word in words[:-1]:
        starts.append(starts[-1] + len(word) + 1)
    return RawSentence(" ".join(words), tuple(starts))


@cache
def two_letter_code(language: str) -> str:
    """The ISO 639-1 code where there is one, else the code as it is; sentencex wants it."""
    return {
        "eng": "en", "fra": "fr", "deu": "de", "hin": "hi", "ara": "ar", "spa": "es", "ita": "it",
        "por": "pt", "nld": "nl", "rus": "ru", "ell": "el", "bul": "bg", "tur": "tr", "urd": "ur",
        "swa": "sw", "tha": "th", "vie": "vi", "zho": "zh", "jpn": "ja", "kor": "ko", "pol": "pl",
    }.get(language, language)  # fmt: skip


def split_sentences(text: str, language: str) -> list[RawSentence]:
    """Sentences of a document; a line break always ends a sentence.

    Source: sentencex, Wikimedia's segmenter (300 languages, 50 MB/s on one core).
    """
    code = two_letter_code(language)
    lines = (normalise(line) for line in text.splitlines())
    parts = (part.strip() for line in lines if line for part in segment(code, line))
    return [sentence for part in parts if part and (sentence := words_of(part)).word_starts]
