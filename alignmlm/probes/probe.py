"""All probes of a model in one flat dict, with units in the keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from alignmlm.errors import ConfigError
from alignmlm.probes.encoder import BATCH_TOKENS, layer_vectors, load_encoder, token_embedding
from alignmlm.probes.geometry import (
    isotropy_metrics,
    linear_cka,
    mean_cosine,
    norm_gap_percent,
    pair_cosine,
)
from alignmlm.probes.neighbours import (
    Neighbourhoods,
    neighbourhood_means,
    own_place,
    rank_metrics,
    ranks,
    units,
)
from alignmlm.probes.parallel import ParallelRows
from alignmlm.probes.words import (
    CSLS_NEIGHBOURS,
    Counts,
    Metrics,
    WordProbe,
    spread,
    vectors_of,
    word_metrics,
)

MARGIN_NEIGHBOURS = 4  # Artetxe and Schwenk, 2019 (arXiv:1811.01136), section 4.1


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeConfig:
    """How much is measured; by default, everything."""

    csls_pool_words: int | None = None  # of the asked side; none: all; 0: no CSLS of words
    geometry_words: int | None = None  # for isotropy, norms and CKA; none: all; 0: none of these
    spectra: bool = True  # isoscore, partition ratio and CKA: time grows with hidden size squared
    batch_tokens: int = BATCH_TOKENS  # of a forward pass, padding included

    def __post_init__(self) -> None:
        for name in ("csls_pool_words", "geometry_words"):
            if (value := getattr(self, name)) is not None and value < 0:
                raise ConfigError(f"probe.{name}", value, "be 0 or more")
        if self.batch_tokens < 1:
            raise ConfigError("probe.batch_tokens", self.batch_tokens, "be at least 1")


TRAINING = ProbeConfig(csls_pool_words=0, geometry_words=2000, spectra=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """The inputs of a probe, under names that become the first part of the keys."""

    words: Mapping[str, WordProbe] = field(default_factory=dict)
    texts: Mapping[str, ParallelRows] = field(default_factory=dict)
    counts: Counts | None = None  # for frequency bands


def prefixed(prefix: str, metrics: Metrics) -> Metrics:
    """The metrics with a prefix before their names."""
    return {f"{prefix}/{key}": value for key, value in metrics.items()}


def cloud_metrics(
    source: Float[Tensor, "source hidden"], target: Float[Tensor, "target hidden"]
) -> Metrics:
    """Isotropy of each language's vectors and the gap between their norms."""
    return {
        **prefixed("source", isotropy_metrics(source)),
        **prefixed("target", isotropy_metrics(target)),
        "norm_gap_percent": norm_gap_percent(source, target),
    }


def paired_metrics(
    source: Float[Tensor, "pair hidden"], target: Float[Tensor, "pair hidden"]
) -> Metrics:
    """Similarity of paired vectors: mean cosine in [-1, 1] and linear CKA in [0, 1]."""
    return {"pair_cosine": pair_cosine(source, target), "linear_cka": linear_cka(source, target)}


def cosine_and_norm_metrics(
    source: Float[Tensor, "source hidden"],
    target: Float[Tensor, "target hidden"],
    paired: tuple[Float[Tensor, "pair hidden"], Float[Tensor, "pair hidden"]],
) -> Metrics:
    """Metrics of one pass: mean cosines within each language and of pairs, and the norm gap."""
    return {
        "source/mean_cosine": mean_cosine(source),
        "target/mean_cosine": mean_cosine(target),
        "norm_gap_percent": norm_gap_percent(source, target),
        "pair_cosine": pair_cosine(*paired),
    }


@torch.no_grad()
def retrieval_metrics(
    source: Float[Tensor, "pair hidden"], target: Float[Tensor, "pair hidden"]
) -> Metrics:
    """P@1, P@5 and MRR of paired vectors both ways, by cosine, CSLS and margin ratio.

    Source: Artetxe and Schwenk, 2019 (arXiv:1812.10464), section 4.3: similarity search.
    """
    one, two = units(source), units(target)
    answers = own_place(len(one), one.device)
    metrics: Metrics = {}
    for way, (queries, candidates) in {"forward": (one, two), "backward": (two, one)}.items():
        near = {"csls": CSLS_NEIGHBOURS, "margin_ratio": MARGIN_NEIGHBOURS}
        adjusted = {
            name: Neighbourhoods(count, neighbourhood_means(candidates, queries, count))
            for name, count in near.items()
        }
        for name, answer_ranks in ranks(queries, candidates, answers, adjusted).items():
            metrics |= prefixed(
                way, {f"{name}_{k}": v for k, v in rank_metrics(answer_ranks).items()}
            )
    return metrics


@torch.no_grad()
def embedding_metrics(
    embedding: Float[Tensor, "vocab hidden"], probe: WordProbe, config: ProbeConfig
) -> Metrics:
    """Geometry of word embeddings: at most config.geometry_words of each side, and as many pairs.

    Both are evenly spread samples. Where a word has several translations, the first in the order of
    ids makes the pair.
    """
    asked, words = probe.forward, config.geometry_words
    if not asked.sources:
        return {}
    sides = [spread(side.candidates, words) for side in (probe.backward, asked)]
    first = [asked.candidates[min(right)] for right in asked.answers]
    pairs = [spread(side, words) for side in (asked.sources, first)]
    clouds = [vectors_of(embedding, side) for side in sides]
    paired = [vectors_of(embedding, side) for side in pairs]
    if not config.spectra:
        return cosine_and_norm_metrics(clouds[0], clouds[1], (paired[0], paired[1]))
    return cloud_metrics(clouds[0], clouds[1]) | paired_metrics(paired[0], paired[1])


def text_metrics(model: PreTrainedModel, rows: ParallelRows, config: ProbeConfig) -> Metrics:
    """Retrieval and geometry at each layer, from layer_0 (embeddings) up."""
    source, target = (
        layer_vectors(model, side, config.batch_tokens) for side in (rows.source, rows.target)
    )
    metrics: Metrics = {"pairs": source.shape[1]}
    for layer, (one, two) in enumerate(zip(source, target, strict=True)):
        layer_metrics = retrieval_metrics(one, two)
        if config.geometry_words != 0 and config.spectra:
            layer_metrics |= cloud_metrics(one, two) | paired_metrics(one, two)
        elif config.geometry_words != 0:
            layer_metrics |= cosine_and_norm_metrics(one, two, (one, two))
        metrics |= prefixed(f"layer_{layer}", layer_metrics)
    return metrics


def probe_words(
    embedding: Float[Tensor, "vocab hidden"], asked: Asked, config: ProbeConfig
) -> Metrics:
    """Metrics of the word embeddings alone."""
    metrics: Metrics = {}
    for name, words in asked.words.items():
        own_metrics = word_metrics(embedding, words, config.csls_pool_words, asked.counts)
        if config.geometry_words != 0:
            own_metrics |= embedding_metrics(embedding, words, config)
        metrics |= prefixed(name, own_metrics)
    return metrics


def probe(
    model: PreTrainedModel | Path, asked: Asked, config: ProbeConfig | None = None
) -> Metrics:
    """All metrics of a model, or of the checkpoint in a folder, by name.

    Names are <what was asked>/<way or layer>/<measure>. Those in _percent lie in [0, 100],
    except norm_gap_percent, which is above -100; words and pairs are counts; the others have no
    unit.

    Raises:
        CheckpointError: the folder holds no encoder.
        DataError: the model cannot take a row.
    """
    config = config or ProbeConfig()
    encoder = load_encoder(model) if isinstance(model, Path) else model
    metrics = probe_words(token_embedding(encoder), asked, config)
    for name, rows in asked.texts.items():
        metrics |= prefixed(name, text_metrics(encoder, rows, config))
    return metrics
