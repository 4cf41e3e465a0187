"""Inputs of the alignment loss: embeddings, dictionaries, and exact gradients."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from alignmlm_kernels import WordPairs
from exact import Exact
from torch import Tensor

from alignmlm.numerics.counter_rng import key

Words = Literal["tokens", "words"]
SPREAD = 0.02
EXACT_CHUNK_PAIRS = 50_000
WORD_SHARE = 0.7  # different words a side, of the number of pairs: the others are repeated
LONGER, LONGEST = 0.2, 0.05  # shares of words with at least two tokens, with three


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How many pairs over how large an embedding."""

    pairs: int
    vocab: int
    hidden: int

    def as_row(self) -> dict[str, int | bool]:
        """The sizes as JSON has them."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        return f"{self.pairs}x{self.vocab}x{self.hidden}"


def parsed_size(text: str) -> Size:
    """A size written as PAIRSxVOCABxHIDDEN."""
    pairs, vocab, hidden = (int(part) for part in text.split("x"))
    return Size(pairs=pairs, vocab=vocab, hidden=hidden)


class Side(NamedTuple):
    """The words of one side: word i has ids[offsets[i] : offsets[i + 1]]."""

    ids: Tensor
    offsets: Tensor

    def part(self, start: int, stop: int) -> "Side":
        """Some of the words."""
        bounds = self.offsets[start : stop + 1]
        return Side(self.ids[bounds[0] : bounds[-1]], bounds - bounds[0])


class AlignmentCase(NamedTuple):
    """One set of inputs; a gradient is wanted for the embedding."""

    embedding: Tensor
    source: Side
    target: Side
    pairs: WordPairs

    def leaves(self) -> list[Tensor]:
        """What gradients are wanted for."""
        return [self.embedding]

    def touched_rows(self) -> int:
        """Different rows of the embedding that some word has."""
        return len(torch.cat([self.source.ids, self.target.ids]).unique())


def token_side(size: Size, first: int, draw: torch.Generator) -> Side:
    """One token a word, each word once while there are enough of them, in random order."""
    half = size.vocab // 2
    ids = torch.cat([torch.randperm(half, generator=draw) for _ in range(-(-size.pairs // half))])
    return Side(first + ids[: size.pairs], torch.arange(size.pairs + 1))


def word_side(size: Size, first: int, draw: torch.Generator) -> Side:
    """Words of one to three tokens; frequent ones have many partners."""
    words = max(1, int(WORD_SHARE * size.pairs))
    uniform = torch.rand(words, generator=draw)
    lengths = 1 + (uniform < LONGER).long() + (uniform < LONGEST).long()
    half = size.vocab // 2
    tokens = first + torch.randint(half, (int(lengths.sum()),), generator=draw)
    chosen = (torch.rand(size.pairs, generator=draw) ** 2 * words).long().clamp(max=words - 1)
    bounds = F.pad(lengths.cumsum(0), (1, 0))
    offsets = F.pad(lengths[chosen].cumsum(0), (1, 0))
    within = torch.arange(int(offsets[-1])) - offsets[:-1].repeat_interleave(lengths[chosen])
    starts = bounds[chosen].repeat_interleave(lengths[chosen])
    return Side(tokens[starts + within], offsets)


SIDES = {"tokens": token_side, "words": word_side}


def make_dictionary(
    size: Size, dtype: torch.dtype, device: torch.device, words: Words, turn: int
) -> AlignmentCase:
    """The inputs of a turn: single tokens one to one, or words of several tokens, many to many."""
    draw = torch.Generator().manual_seed(key("dictionary", str(size), words, turn) >> 1)
    sides = [SIDES[words](size, first, draw) for first in (0, size.vocab // 2)]
    source, target = (Side(*(tensor.to(device) for tensor in side)) for side in sides)
    on_device = torch.Generator(device=device).manual_seed(draw.initial_seed())
    embedding = torch.randn(size.vocab, size.hidden, generator=on_device, device=device)
    embedding = embedding.mul_(SPREAD).to(dtype).requires_grad_()
    return AlignmentCase(embedding, source, target, WordPairs(*source, *target))


def vectors(embedding: Tensor, side: Side) -> Tensor:
    """The mean embedding of the tokens of each word."""
    if len(side.ids) == len(side.offsets) - 1:
        return embedding[side.ids]
    return F.embedding_bag(side.ids, embedding, side.offsets, mode="mean", include_last_offset=True)


def summed_distance(embedding: Tensor, source: Side, target: Side) -> Tensor:
    """The sum of 1 - cos over the pairs."""
    cosines = F.cosine_similarity(vectors(embedding, source), vectors(embedding, target), dim=-1)
    return (1 - cosines).sum()


def exact_alignment(case: AlignmentCase) -> Exact:
    """The mean distance and its gradient in float64, some pairs after the other."""
    embedding = case.embedding.detach().double().requires_grad_()
    pairs, total = len(case.pairs), embedding.new_zeros(())
    for start in range(0, pairs, EXACT_CHUNK_PAIRS):
        stop = min(start + EXACT_CHUNK_PAIRS, pairs)
        sides = (side.part(start, stop) for side in (case.source, case.target))
        mean = summed_distance(embedding, *sides) / pairs
        mean.backward()
        total += mean.detach()
    return Exact(total[None], [embedding.grad])
