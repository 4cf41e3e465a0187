"""Validation on held-out documents and on the dictionary."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from alignmlm.data.batches import Batch, Loader, Samples, make_batch, validation_samples
from alignmlm.data.masking import LossTerm
from alignmlm.data.store import VALIDATION
from alignmlm.languages.dictionary import Dictionary, merged
from alignmlm.objectives.objective import Losses
from alignmlm.pretraining.engine import Engine, made_batches
from alignmlm.pretraining.metrics import Metrics, loss_metrics
from alignmlm.probes.probe import TRAINING, Asked, probe_words
from alignmlm.probes.words import WordProbe, word_probe


def word_probes(used: Dictionary, held_out: Dictionary, limit: int | None) -> dict[str, WordProbe]:
    """Retrieval questions on trained and on held-out words, for each dictionary that is not empty.

    Candidates are all words of both; a limit keeps that many questions per kind and direction.
    """
    every = merged([used, held_out])
    parts = {"in_dictionary": used, "held_out": held_out}
    return {name: word_probe(part, every, limit) for name, part in parts.items() if len(part)}


def validation_batch(loader: Loader, chunk: Samples) -> list[Batch]:
    """One batch of validation rows, in a list like a training step's."""
    return [make_batch(loader, chunk, VALIDATION)]


def validation_losses(
    engine: Engine, loader: Loader, language: int, rows: int, micro: int
) -> Losses:
    """Summed losses of a language's validation rows, the same on every rank.

    Chunks of `micro` rows are dealt to the ranks; a rank without one reruns the first, uncounted,
    because under ZeRO-3 every rank must take part in every forward pass.
    """
    samples = validation_samples(loader, language, rows)
    chunks = [samples.part(at, at + micro) for at in range(0, samples.size, micro)]
    shape = (3, len(LossTerm), len(loader.languages))
    total = torch.zeros(shape, dtype=torch.float64, device=engine.device)
    for turn in range(0, len(chunks), engine.world_size):
        mine = turn + engine.rank
        chunk = chunks[mine] if mine < len(chunks) else chunks[0]
        batches, error = made_batches(partial(validation_batch, loader, chunk))
        engine.sync_batches(batches, error)
        losses = engine.evaluate(batches[0])
        if mine < len(chunks):
            total += torch.stack([losses.nats, losses.correct, losses.positions])
    engine.sum_over_ranks(total)
    return Losses(total[0].sum(), {}, *total)


def alignment_metrics(
    embedding: Float[Tensor, "vocab hidden"], words: dict[str, WordProbe]
) -> Metrics:
    """The cheap probes of the word embeddings; the paper's metric is <words>_percent.

    Source: Tang et al., 2022 (arXiv:2211.08547), section 5 (alignment).
    """
    metrics = probe_words(embedding, Asked(words=words), TRAINING)
    paper = {f"{name}_percent": metrics[f"{name}/forward/cosine_p1_percent"] for name in words}
    return {f"alignment/{key}": value for key, value in {**paper, **metrics}.items()}


def validate(
    engine: Engine, loader: Loader, words: dict[str, WordProbe], rows: int, micro: int
) -> Metrics:
    """Validation loss of each language in nats, and the alignment of words if given."""
    names = [str(language) for language in loader.languages]
    metrics: Metrics = {}
    for number, name in enumerate(names):
        losses = validation_losses(engine, loader, number, rows, micro)
        key = f"validation/loss_nats/{name}"
        metrics[key] = loss_metrics(losses, names, "validation")["validation/loss_nats"]
    return metrics | alignment_metrics(engine.embedding(), words) if words else metrics
