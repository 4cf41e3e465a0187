"""Documents as sentences, sentences as words."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise

import regex
from sentencex import segment

from alignmlm.languages.orders import FINAL_MARKS

GIVEN = "\x1f"  # the unit separator, white space, so it never occurs in normalised text
MARKS = "".join(sorted(FINAL_MARKS))
# what belongs to the character before it, in a grapheme cluster of Unicode (UAX 29): combining
# marks, the joiners (also of emoji), skin tones, the tags of regional flags
EXTENDERS = "\\p{M}\u200c\u200d\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
PREFIXES = "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"  # signs before numbers
OTHER_MARKS = rf"[^\s\p{{L}}\p{{N}}{EXTENDERS}{MARKS}{PREFIXES}]"
WORD = regex.compile(
    # from the first letter or digit to the last one without white space between, so "don't"
    # and "well-known" stay whole; runs of sentence-final marks; runs of other marks
    rf"[{PREFIXES}]*(?:"
    rf"(?:[\p{{L}}\p{{N}}]|(?<![^\s{PREFIXES}])[{EXTENDERS}])(?:\S*[\p{{L}}\p{{N}}])?[{EXTENDERS}]*"
    rf"|(?:[{MARKS}][{EXTENDERS}]*)+|(?:{OTHER_MARKS}[{EXTENDERS}]*)+)|[{PREFIXES}]+"
)
LONGEST_RUN = 1000  # characters without a space that a tokenizer is trained on in one piece
RUN = regex.compile(rf".{{1,{LONGEST_RUN}}}(?![{EXTENDERS}])|.{{1,{LONGEST_RUN}}}", regex.DOTALL)
MANY_MARKS = regex.compile(r"\p{M}{1000}")
LINE_END = regex.compile("\r\n|[\r\n]")


@dataclass(frozen=True, slots=True)
class RawSentence:
    """One sentence: normalised text, and the position of each word's first character."""

    text: str  # Unicode NFC, single spaces
    word_starts: tuple[int, ...]
    given: bool = False  # the words come from a treebank, and each has tokens of its own


def composed(text: str) -> str:
    """Unicode NFC; where a letter has over 1,000 marks, each thousand is normalised by itself.

    The time that CPython takes to sort marks grows with the square of their number.
    """
    cuts = [match.end() for match in MANY_MARKS.finditer(text)] if len(text) > 1000 else []
    bounds = pairwise([0, *cuts, len(text)])
    return "".join(unicodedata.normalize("NFC", text[start:stop]) for start, stop in bounds)


def normalise(text: str) -> str:
    """Unicode NFC with every run of white space as one space."""
    return " ".join(composed(text).split())


def words_of(text: str) -> RawSentence:
    """A sentence with its words found: marks at a word's edges are words of their own."""
    return RawSentence(text, tuple(match.start() for match in WORD.finditer(text)))


def from_words(words: list[str], joined: Sequence[bool] = ()) -> RawSentence:
    """A sentence whose words are given, as in a treebank.

    `joined` says which words follow the one before without a space; empty: none does.
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
    """The code that sentencex expects: ISO 639-1 where there is one, else the code as it is."""
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
    lines = (normalise(line) for line in LINE_END.split(text))
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


def cut_runs(text: str) -> list[str]:
    """The text as it is, or word by word where a word is very long, such words cut into pieces.

    The time to learn BPE merges grows with the square of a piece's length.
    """
    words = text.split(" ")
    if max(map(len, words)) <= LONGEST_RUN:
        return [text]
    return [piece for word in words for piece in RUN.findall(word)]


def plain_line(line: str) -> str:
    """The text of a line without the marks that as_line adds."""
    return line.replace(GIVEN, "")


def from_line(line: str) -> RawSentence:
    """The sentence that as_line made a line from."""
    if not line.startswith(GIVEN):
        return words_of(line)
    words = line.split(GIVEN)[1:]
    starts = accumulate((len(word) for word in words[:-1]), initial=0)
    return RawSentence("".join(words), tuple(starts), given=True)
