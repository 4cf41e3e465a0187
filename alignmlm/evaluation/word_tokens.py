"""The base tokens of each word of a text, as they are in running text."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
from tokenizers import Encoding, Tokenizer

from alignmlm.data.text import RawSentence, normalise
from alignmlm.data.tokenizer import encode_words, ordinary, token_word_starts
from alignmlm.evaluation.reordering import TokensOfWord
from alignmlm.evaluation.running_text import TextWords
from alignmlm.tasks.examples import LabelledSentence

Spaced = LabelledSentence | TextWords  # words that are marked where no space precedes them


def shown_words(sentence: Spaced) -> list[str]:
    """The words of a sentence, normalised; a word of white space alone is empty."""
    return [normalise(word).replace(" ", "\u00a0") for word in sentence.words]


def chunks_of(words: Sequence[str], joined: Sequence[bool]) -> Iterator[RawSentence]:
    """Runs of words without a space between them, as text with word starts; no empty words."""
    run: list[str] = []
    apart = False
    for word, follows in zip(words, joined, strict=True):
        apart = apart or not follows
        if word and apart and run:
            yield run_of(run)
            run = []
        if word:
            run.append(word)
            apart = False
    if run:
        yield run_of(run)


def run_of(words: list[str]) -> RawSentence:
    """Words as one text."""
    return RawSentence("".join(words), tuple(accumulate(map(len, words[:-1]), initial=0)))


def chunk_words(chunk: RawSentence) -> list[str]:
    """The words of a chunk."""
    ends = [*chunk.word_starts[1:], len(chunk.text)]
    return [chunk.text[start:end] for start, end in zip(chunk.word_starts, ends, strict=True)]


def split_tokens(
    tokenizer: Tokenizer, encoding: Encoding, chunk: RawSentence
) -> list[TokensOfWord] | None:
    """Token ids of each word of a chunk; None where the tokens do not respect its words."""
    if not encoding.ids:
        return None
    starts = token_word_starts(encoding.offsets, chunk)
    if starts.sum() != len(chunk.word_starts):
        return None
    parts = np.split(ordinary(tokenizer, np.array(encoding.ids)), np.flatnonzero(starts)[1:])
    return [tuple(part.tolist()) for part in parts]


def tokens_of_words(
    tokenizer: Tokenizer, sentences: Sequence[Spaced], unk: int
) -> list[list[TokensOfWord]]:
    """Token ids of each word of each sentence, at least one a word.

    A word has the tokens that it has in running text ("lamp" and "." of "a lamp."); where a token
    would hold parts of two words ("don" of "do" and "n't"), each word is tokenised on its own. A
    word without tokens, of white space alone, is <unk>, so that it keeps its place and its label.
    """
    words = [shown_words(sentence) for sentence in sentences]
    chunks = [
        list(chunks_of(shown, sentence.joined))
        for shown, sentence in zip(words, sentences, strict=True)
    ]
    flat = [chunk for part in chunks for chunk in part]
    encodings = iter(tokenizer.encode_batch([c.text for c in flat], add_special_tokens=False))
    token_ids = []
    for shown, part in zip(words, chunks, strict=True):
        tokens: list[TokensOfWord] = []
        for chunk in part:
            by_word = split_tokens(tokenizer, next(encodings), chunk)
            tokens += by_word or encode_words(tokenizer, chunk_words(chunk))
        each = iter(tokens)
        token_ids.append([(next(each) if word else ()) or (unk,) for word in shown])
    return token_ids
