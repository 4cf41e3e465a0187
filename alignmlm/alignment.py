"""How well the word embeddings of two languages are aligned."""

from dataclasses import dataclass

import numpy as np
import torch
from alignmlm_kernels import WordPairs
from alignmlm_kernels.alignment.reference import word_vectors
from jaxtyping import Float
from torch import Tensor

from alignmlm.languages.dictionary import Dictionary, Word, flatten

CHUNK_WORDS = 1024


@dataclass(frozen=True, slots=True)
class Questions:
    """Source words whose nearest target word is asked for."""

    sources: list[Word]
    candidates: list[Word]
    answers: list[frozenset[int]]  # places of the right candidates, one set a source word


def word_pairs(dictionary: Dictionary) -> WordPairs:
    """A dictionary as tensors."""
    arrays = (
        dictionary.source_ids,
        dictionary.source_offsets,
        dictionary.target_ids,
        dictionary.target_offsets,
    )
    source_ids, source_bounds, target_ids, target_bounds = map(torch.from_numpy, arrays)
    return WordPairs(source_ids, source_bounds, target_ids, target_bounds)


def questions(asked: Dictionary, every: Dictionary, limit: int | None = None) -> Questions:
    """One question for each source word of `asked`; candidates are all target words of `every`.

    A limit keeps that many source words, evenly spread over the dictionary.
    """
    candidates = sorted({target for _, target in every.words()})
    place = {word: number for number, word in enumerate(candidates)}
    answers: dict[Word, set[int]] = {}
    for source, target in asked.words():
        answers.setdefault(source, set()).add(place[target])
    sources = list(answers)
    if limit is not None and len(sources) > limit:
        sources = [sources[i] for i in np.linspace(0, len(sources) - 1, limit).astype(int)]
    return Questions(sources, candidates, [frozenset(answers[word]) for word in sources])


def unit_vectors(
    embedding: Float[Tensor, "vocab hidden"], words: list[Word]
) -> Float[Tensor, "word hidden"]:
    """Word vectors of length 1."""
    ids, offsets = (torch.from_numpy(part).to(embedding.device) for part in flatten(words))
    return torch.nn.functional.normalize(word_vectors(embedding, ids, offsets), dim=1)


@torch.no_grad()
def retrieval_percent(embedding: Float[Tensor, "vocab hidden"], asked: Questions) -> float | None:
    """Share of source words whose nearest target word is a translation, in [0, 100].

    None where nothing was asked. Nearest by cosine, among all candidates.
    Source: Tang et al., 2022 (arXiv:2211.08547), section 5 (alignment).
    """
    if not asked.sources:
        return None
    targets = unit_vectors(embedding, asked.candidates)
    hits = 0
    for at in range(0, len(asked.sources), CHUNK_WORDS):
        vectors = unit_vectors(embedding, asked.sources[at : at + CHUNK_WORDS])
        nearest = (vectors @ targets.T).argmax(dim=1).tolist()
        right = asked.answers[at : at + CHUNK_WORDS]
        hits += sum(found in answer for found, answer in zip(nearest, right, strict=True))
    return 100 * hits / len(asked.sources)
