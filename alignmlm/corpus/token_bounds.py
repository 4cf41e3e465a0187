"""Word and sentence bounds of imported tokens, which come without them.

Each token has a surface, the bytes that it stands for. A document's bytes are its text, whose words
and sentences are found as the builder finds them, and each character lies in a known token. So the
bounds are exact even where the tokenizer would split the text differently.
"""

import json
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import regex
from jaxtyping import Bool, Int, Integer
from sentencex import segment
from tokenizers import Tokenizer, pre_tokenizers

from alignmlm.data.text import LINE_END, normalise, two_letter_code, words_of
from alignmlm.data.tokenizer import Vocabulary, describe, load_tokenizer
from alignmlm.errors import DataError

BLANK = np.array([chr(code).isspace() for code in range(0x3002)])  # no later character is blank
BROKEN = regex.compile("[\udc80-\udcff]")  # bytes that are not UTF-8
BYTE_TOKEN = regex.compile("<0x([0-9A-F]{2})>")


@cache
def bytes_of_characters() -> dict[str, int]:
    """The byte that each character of a byte-level token stands for.

    Source: Radford et al., 2019 (GPT-2): printable Latin-1 is itself, other bytes start at 256.
    """
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = sorted(set(range(256)) - set(shown))
    return {chr(b): b for b in shown} | {chr(256 + i): b for i, b in enumerate(others)}


def decoder_kinds(decoder: dict | None) -> set[str]:
    """The types of a tokenizer's decoder and of its components."""
    parts = (decoder or {}).get("decoders", [])
    return {(decoder or {}).get("type", "none")}.union(*(decoder_kinds(part) for part in parts))


def surface_of(token: str, kinds: set[str], added: bool) -> bytes:
    """The bytes that one token stands for; for added tokens their text, except in WordPiece."""
    if "WordPiece" in kinds:
        return (token[2:] if token.startswith("##") else f" {token}").encode()
    if added:
        return token.encode()
    if "ByteLevel" in kinds:
        return bytes(bytes_of_characters()[character] for character in token)
    if byte := BYTE_TOKEN.fullmatch(token):
        return bytes([int(byte[1], 16)])
    return token.replace("\u2581", " ").encode()


@dataclass(frozen=True, slots=True)
class Importer:
    """Converts foreign tokens to those of a store."""

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    surfaces: list[bytes]
    lengths_bytes: Int[np.ndarray, " vocab"]
    parting: Bool[np.ndarray, " vocab"]  # tokens that are not text and end a document
    language: str
    validation: float


def make_importer(path: Path, language: str, validation: float) -> Importer:
    """An importer with the tokenizer of a path.

    Raises:
        DataError: there is no tokenizer, or one of a kind whose tokens have no surface.
    """
    tokenizer = load_tokenizer(path)
    tokenizer.encode_special_tokens = False  # "<unk>" in the text of foreign tokens is that token
    if isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel):
        tokenizer.pre_tokenizer.add_prefix_space = False  # their text begins as the tokens say
    kinds = decoder_kinds(json.loads(tokenizer.to_str())["decoder"])
    if not kinds & {"ByteLevel", "WordPiece", "Metaspace", "ByteFallback"}:
        raise DataError(
            f"{path} has the decoder {', '.join(sorted(kinds))}; tokens can be imported with "
            f"byte-level, WordPiece and Metaspace tokenizers"
        )
    vocabulary, added = describe(tokenizer), tokenizer.get_added_tokens_decoder()
    surfaces = [
        surface_of(tokenizer.id_to_token(i) or "", kinds, i in added)
        for i in range(vocabulary.size)
    ]
    lengths = np.array([len(surface) for surface in surfaces], np.int64)
    parting = np.zeros(vocabulary.size, bool)
    parting[list({*vocabulary.special} - {vocabulary.unk, vocabulary.mask})] = True
    return Importer(tokenizer, vocabulary, surfaces, lengths, parting, language, validation)


def sentence_parts(text: str, language: str) -> list[str]:
    """Sentences of a text with single spaces; all its other characters are unchanged."""
    code = two_letter_code(language)
    lines = [" ".join(line.split()) for line in LINE_END.split(text)]
    parts = [part.strip() for line in lines if line for part in segment(code, line)]
    return [part for part in parts if part]


def code_points(text: str) -> Integer[np.ndarray, " character"]:
    """The code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def blanks(codes: Integer[np.ndarray, " character"]) -> Bool[np.ndarray, " character"]:
    """Which code points are white space."""
    return BLANK[np.minimum(codes, len(BLANK) - 1)]


@dataclass(frozen=True, slots=True)
class Found:
    """Words and sentences of a run of tokens."""

    ids: Int[np.ndarray, " token"]
    word_starts: Bool[np.ndarray, " token"]
    sentence_starts: Bool[np.ndarray, " token"]
    text: str
    lines: list[str]  # its sentences, normalised


def found_starts(text: str, parts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The positions in a text at which words and sentences start, given its sentences."""
    joined = " ".join(parts)
    text_places, joined_places = (np.flatnonzero(~blanks(code_points(t))) for t in (text, joined))
    place = np.zeros(len(joined), np.int64)
    place[joined_places] = text_places  # the same characters, but for blanks
    sizes = np.array([len(part) + 1 for part in parts], np.int64)
    before = np.cumsum(sizes) - sizes
    words = [words_of(part).word_starts for part in parts]
    flat = np.fromiter(chain.from_iterable(words), np.int64)
    return place[flat + np.repeat(before, [len(w) for w in words])], place[before]


def first_characters(
    lengths_bytes: Int[np.ndarray, " token"], codes: Integer[np.ndarray, " character"]
) -> Int[np.ndarray, " token"]:
    """The position of each token's first non-blank character, at which a word may start.

    A token that is a single space belongs to what follows, other blank tokens to what precedes.
    """
    broken = (codes >= 0xDC80) & (codes <= 0xDCFF)
    widths = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000) - 2 * broken
    starts_bytes = np.cumsum(widths) - widths
    ends = np.cumsum(lengths_bytes)
    at = np.searchsorted(starts_bytes, ends - lengths_bytes, "right") - 1
    last = np.searchsorted(starts_bytes, np.maximum(ends - 1, 0), "right") - 1
    places = np.arange(len(codes))
    shown = np.where(blanks(codes), len(codes), places)
    following = np.minimum.accumulate(shown[::-1])[::-1][at]
    return np.where(following <= last, following, at + (codes[at] == ord(" ")))


def find_bounds(importer: Importer, ids: Int[np.ndarray, " token"]) -> Found | None:
    """Words and sentences of a run of tokens; None if it is blank."""
    raw = b"".join([importer.surfaces[i] for i in ids]).decode("utf-8", "surrogateescape")
    text = BROKEN.sub("\ufffd", raw)
    parts = sentence_parts(text, importer.language.split("-")[0])
    if not parts:
        return None
    first = first_characters(importer.lengths_bytes[ids], code_points(raw))
    new = np.append(True, first[1:] != first[:-1])
    flags: list[np.ndarray] = []
    for starts in found_starts(text, parts):
        at_start = np.zeros(len(text) + 1, bool)
        at_start[starts] = True
        flag = at_start[first] & new
        flag[: np.argmax(flag) + 1] = False  # what is before the first word belongs to it
        flag[0] = True
        flags.append(flag)
    words, sentences = flags
    return Found(ids, words, sentences, text, [normalise(part) for part in parts])
