"""Rows: sentences of one language, or sentences and their translation, as one training sequence."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from alignmlm.data.shards import Shard
from alignmlm.data.tokenizer import Vocabulary
from alignmlm.languages.language import Language
from alignmlm.languages.orders import reorder
from alignmlm.languages.sentences import Sentences

Place = tuple[Shard, int, int]  # a shard and tokens [start, stop) of it


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence before masking; shorter than seq_len where the text did not fill it."""

    ids: Int[np.ndarray, " token"]  # of the model's vocabulary, with <s> and </s>
    languages: Int[np.ndarray, " token"]  # number of each token's language
    positions: Int[np.ndarray, " token"]  # from 0; they restart in the second half of a pair
    halves: int  # 1, or 2 for a translation row


@dataclass(frozen=True, slots=True)
class Rendering:
    """One language, ready to be read: what happens to the base tokens."""

    number: int  # its place in the recipe
    language: Language
    table: Int[np.ndarray, " vocab"]  # script: base id -> id
    seed: int

    def render(self, text: Sentences, vocabulary: Vocabulary) -> Int[np.ndarray, " token"]:
        """Base sentences in this language: the words reordered, then every id looked up."""
        final = np.array(vocabulary.final, np.int64)
        return self.table[reorder(text, self.language.order, self.seed, final)]


def close(ids: Int[np.ndarray, " token"], vocabulary: Vocabulary) -> Int[np.ndarray, " closed"]:
    """The tokens between <s> and </s>."""
    return np.concatenate([[vocabulary.bos], ids, [vocabulary.eos]])


def monolingual_row(place: Place, rendering: Rendering, vocabulary: Vocabulary) -> Row:
    """Tokens [start, stop) of the rendered shard; a cut sentence shows its part of the result."""
    shard, start, stop = place
    text, begin = shard.sentences(start, stop)
    ids = close(rendering.render(text, vocabulary)[start - begin : stop - begin], vocabulary)
    return Row(ids, np.full(len(ids), rendering.number), np.arange(len(ids)), 1)


def whole_sentences(text: Sentences, skip: int, room: int, eos: int) -> Sentences | None:
    """The run of whole sentences that starts at or after token `skip` and fits `room` tokens.

    The </s> of a document does not open the run: there would be nothing to translate.
    """
    starts = np.append(np.flatnonzero(text.sentence_starts), len(text.ids))
    first = starts[:-1][(starts[:-1] >= skip) & (text.ids[starts[:-1]] != eos)]
    if not len(first):
        return None
    begin = int(first[0])
    end = int(starts[starts <= begin + room][-1])
    if end <= begin:
        return None
    inside = slice(begin, end)
    return Sentences(text.ids[inside], text.word_starts[inside], text.sentence_starts[inside])


def translation_row(
    place: Place,
    renderings: tuple[Rendering, Rendering],
    vocabulary: Vocabulary,
    seq_len: int,
) -> Row | None:
    """Whole sentences from `start` on in one language, then the same in another.

    None where no whole sentence fits half a row. Source: Conneau and Lample, 2019
    (arXiv:1901.07291), section 3.3: translation language modelling.
    """
    shard, start, stop = place
    text, begin = shard.sentences(start, stop)
    chosen = whole_sentences(text, start - begin, seq_len // 2 - 2, vocabulary.eos)
    if chosen is None:
        return None
    halves = [close(r.render(chosen, vocabulary), vocabulary) for r in renderings]
    length = len(halves[0])
    languages = np.repeat([r.number for r in renderings], length)
    return Row(np.concatenate(halves), languages, np.tile(np.arange(length), 2), 2)
