"""Two languages' word vectors centred, and the source side rotated onto the target side."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from alignmlm.languages.dictionary import Word
from alignmlm.probes.neighbours import units
from alignmlm.probes.words import vectors_of


class Tables(NamedTuple):
    """Vectors of all tokens, once as the source language reads them and once as the target does."""

    source: Float[Tensor, "vocab hidden"]
    target: Float[Tensor, "vocab hidden"]


def orthogonal_map(
    source: Float[Tensor, "pair hidden"], target: Float[Tensor, "pair hidden"]
) -> Float[Tensor, "hidden hidden"]:
    """The rotation or reflection W that minimises |source W - target|, in float32.

    Source: Schönemann, 1966 (orthogonal Procrustes); Artetxe et al., 2016 (EMNLP), section 2.
    """
    left, _, right = torch.linalg.svd(source.double().T @ target.double())
    return (left @ right).float()


@torch.no_grad()
def centred(table: Float[Tensor, "vocab hidden"], words: list[Word]) -> Tensor:
    """A table less the mean vector of the words."""
    return table.float() - vectors_of(table, words).float().mean(dim=0)


@torch.no_grad()
def centred_tables(tables: Tables, source_words: list[Word], target_words: list[Word]) -> Tables:
    """Each side less the mean of its own words."""
    return Tables(centred(tables.source, source_words), centred(tables.target, target_words))


@torch.no_grad()
def rotated_tables(tables: Tables, given: list[tuple[Word, Word]]) -> Tables:
    """The source side rotated onto the target side by the map fitted on the given pairs.

    The tables should be centred. Words of several tokens are the means of their tokens, which a
    linear map keeps.
    """
    sides = [[pair[side] for pair in given] for side in (0, 1)]
    source, target = (
        units(vectors_of(table, words)) for table, words in zip(tables, sides, strict=True)
    )
    return Tables(tables.source @ orthogonal_map(source, target), tables.target)
