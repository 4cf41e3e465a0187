"""Word alignment of parallel sentences from hidden states, and its error rate."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from alignmlm.data.store import Split
from alignmlm.languages.sentences import Sentences
from alignmlm.probes.encoder import BATCH_TOKENS, layer_vectors
from alignmlm.probes.neighbours import units
from alignmlm.probes.parallel import ParallelRows

SHORTEST_WORDS = 2  # of a sentence in which there is something to choose


def split_sentences(split: Split) -> Iterator[Sentences]:
    """The sentences of a split, one at a time.

    Raises:
        DataError: a damaged block of a shard.
    """
    for shard in split.shards:
        text, _ = shard.sentences(0, shard.entry.tokens)
        bounds = [*text.sentence_starts.nonzero()[0].tolist(), len(text.ids)]
        for start, stop in pairwise(bounds):
            yield text.part(start, stop)


def agreeing_links(
    source: Float[Tensor, "word hidden"], target: Float[Tensor, "word hidden"]
) -> tuple[int, int]:
    """How many words are each other's nearest, and how many of those translate each other.

    Word i of the source translates word i of the target.
    Source: Jalili Sabet et al., 2020 (SimAlign, arXiv:2004.08728), section 3.2 (argmax).
    """
    cosines = units(source) @ units(target).T
    forward, backward = cosines.argmax(dim=1), cosines.argmax(dim=0)
    place = torch.arange(len(source), device=source.device)
    mutual = backward[forward] == place
    return int(mutual.sum()), int((mutual & (forward == place)).sum())


def error_rate_percent(
    source: Float[Tensor, "span hidden"],
    target: Float[Tensor, "span hidden"],
    lengths_words: Sequence[int],
) -> float:
    """Alignment error rate 1 - 2 |A and S| / (|A| + |S|) over all sentences, in [0, 100].

    A are the mutual nearest words within a sentence, S the true links, all sure.
    Source: Och and Ney, 2003 (Computational Linguistics 29), section 5.
    """
    links = [
        agreeing_links(one, two)
        for one, two in zip(
            source.split(list(lengths_words)), target.split(list(lengths_words)), strict=True
        )
    ]
    proposed, right = (sum(counts) for counts in zip(*links, strict=True))
    return 100 * (1 - 2 * right / (proposed + sum(lengths_words)))


def alignment_error_metrics(
    model: PreTrainedModel, rows: ParallelRows, batch_tokens: int = BATCH_TOKENS
) -> dict[str, float]:
    """The alignment error rate of parallel sentences at each layer, in percent.

    Raises:
        DataError: the model cannot take a row.
    """
    source, target = (
        layer_vectors(model, side, batch_tokens) for side in (rows.source, rows.target)
    )
    lengths = [len(row.spans) for row in rows.source]
    return {
        f"layer_{layer}/alignment_error_percent": error_rate_percent(one, two, lengths)
        for layer, (one, two) in enumerate(zip(source, target, strict=True))
    }
