"""The specification of the alignment loss, in plain PyTorch."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class WordPairs:
    """Pairs of words as flat token ids; word i has ids[offsets[i] : offsets[i + 1]]."""

    source_ids: Int[Tensor, " source_token"]
    source_offsets: Int[Tensor, " bound"]
    target_ids: Int[Tensor, " target_token"]
    target_offsets: Int[Tensor, " bound"]

    def __len__(self) -> int:
        return len(self.source_offsets) - 1

    def to(self, device: torch.device) -> "WordPairs":
        """The same pairs on a device."""
        tensors = (self.source_ids, self.source_offsets, self.target_ids, self.target_offsets)
        return WordPairs(*(tensor.to(device) for tensor in tensors))


def word_vectors(
    embedding: Float[Tensor, "vocab hidden"],
    ids: Int[Tensor, " token"],
    offsets: Int[Tensor, " bound"],
) -> Float[Tensor, "word hidden"]:
    """The mean embedding of each word's sub-words, at least in float32."""
    if len(ids) == len(offsets) - 1:  # one token a word
        vectors = embedding[ids]
        return vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    exact = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
    return F.embedding_bag(ids, exact, offsets, mode="mean", include_last_offset=True)


def both_vectors(
    embedding: Float[Tensor, "vocab hidden"], pairs: WordPairs
) -> tuple[Float[Tensor, "pair hidden"], Float[Tensor, "pair hidden"]]:
    """Vectors of the source and the target words."""
    source = word_vectors(embedding, pairs.source_ids, pairs.source_offsets)
    return source, word_vectors(embedding, pairs.target_ids, pairs.target_offsets)


def cosine_distance(
    embedding: Float[Tensor, "vocab hidden"], pairs: WordPairs
) -> Float[Tensor, ""]:
    """Mean of 1 - cos, each norm at least 1e-8."""
    source, target = both_vectors(embedding, pairs)
    return 1 - F.cosine_similarity(source, target, dim=-1, eps=1e-8).mean()


def squared_distance(
    embedding: Float[Tensor, "vocab hidden"], pairs: WordPairs
) -> Float[Tensor, ""]:
    """Mean squared Euclidean distance."""
    source, target = both_vectors(embedding, pairs)
    return (source - target).square().sum(dim=-1).mean()


DISTANCES = {"cosine": cosine_distance, "l2": squared_distance}
