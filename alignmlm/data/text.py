"""Documents as sentences, sentences as words."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise

import regex
from sentencex import segment

from alignmlm.languages.orders import FINAL_MARKS

GIVEN = "\x1f"  # the unit separator, which is white space and so in no normalised text
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
    given: bool = False  # the words come from a treebank, and each has tokens of its own


def normalise(text: str) -> str:
    """Unicode NFC with every run of white space as one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def words_of(text: str) -> RawSentence:
    """A sentence with its words found: marks at a word's edges are words of their own."""
    return RawSentence(text, tuple(match.start() for match in WORD.finditer(text)))


def from_words(words: list[str], joined: Sequence[bool] = ()) -> RawSentence:
    """A sentence whose words are given, as in a treebank.

    `joined` says which words no space parts from the word before; none: a space between all.
    """
    text, starts = "", []
    for word, follows in zip(words, joined or [False] * len(words), strict=True):
        shown = normalise(word).replace(" ", "\u00a0")
        if shown:
            text += "" if follows or not text else " "
            starts.append(len(text))
            text += shown
    return RawSentence(text, tuple(starts), given=True)


@cache
def two_letter_code(language: str) -> str:
    """The ISO 639-1 code where there is one, else the code as it is; sentencex wants it."""
    return {
        "eng": "en", "fra": "fr", "deu": "de", "hin": "hi", "ara": "ar", "spa": "es", "ita": "it",
        "por": "pt", "nld": "nl", "rus": "ru", "ell": "el", "bul": "bg", "tur": "tr", "urd": "ur",
        "swa": "sw", "tha": "th", "vie": "vi", "zho": "zh", "jpn": "ja", "kor": "ko", "pol": "pl",
    }.get(language, language)  # fmt: skip


def sentence_texts(text: str, language: str) -> list[str]:
    """Sentences of a document, normalised; a line break always ends a sentence.

    Source: sentencex, Wikimedia's segmenter (300 languages, 50 MB/s on one core).
    """
    code = two_letter_code(language)
    lines = (normalise(line) for line in text.splitlines())
    parts = (part.strip() for line in lines if line for part in segment(code, line))
    return [part for part in parts if part]


def split_sentences(text: str, language: str) -> list[RawSentence]:
    """Sentences of a document with their words."""
    return [words_of(part) for part in sentence_texts(text, language)]


def as_line(sentence: RawSentence) -> str:
    """A sentence as one line of text, with a mark before each word that was given."""
    if not sentence.given:
        return sentence.text
    bounds = [*sentence.word_starts, len(sentence.text)]
    return "".join(f"{GIVEN}{sentence.text[a:b]}" for a, b in pairwise(bounds))


def plain_line(line: str) -> str:
    """The text of a line without its marks."""
    return line.replace(GIVEN, "")


def from_line(line: str) -> RawSentence:
    """The sentence of a line."""
    if not line.startswith(GIVEN):
        return words_of(line)
    words = line.split(GIVEN)[1:]
    starts = accumulate((len(word) for word in words[:-1]), initial=0)
    return RawSentence("".join(words), tuple(starts), given=True)
