"""How the model does on held-out documents and on the dictionary."""

from dataclasses import dataclass
from functools import partial

import torch

from alignmlm.data.batches import Batch, Loader, Samples, make_batch, validation_samples
from alignmlm.data.masking import Term
from alignmlm.data.store import VALIDATION
from alignmlm.languages.dictionary import Dictionary
from alignmlm.objectives.objective import Losses
from alignmlm.pretraining.engine import Engine
from alignmlm.pretraining.metrics import Metrics, loss_metrics
from alignmlm.probes.words import Questions, questions, retrieval_percent


@dataclass(frozen=True, slots=True)
class AlignmentProbe:
    """Dictionary words to look up: those trained on and those held out."""

    in_dictionary: Questions
    held_out: Questions


def alignment_probe(
    used: Dictionary, held_out: Dictionary, every: Dictionary, limit: int | None
) -> AlignmentProbe:
    """Questions about both halves of a dictionary; the candidates are all its target words."""
    return AlignmentProbe(questions(used, every, limit), questions(held_out, every, limit))


def validation_batch(loader: Loader, chunk: Samples) -> list[Batch]:
    """One batch of validation rows, in a list as the steps of training have them."""
    return [make_batch(loader, chunk, VALIDATION)]


def validation_losses(
    engine: Engine, loader: Loader, language: int, rows: int, micro: int
) -> Losses:
    """Summed losses of a language's validation rows, the same on every rank.

    Chunks of `micro` rows go round the ranks; a rank without one runs the first again, uncounted,
    because under ZeRO-3 every rank must take part in every forward pass.
    """
    samples = validation_samples(loader, language, rows)
    chunks = [samples.part(at, at + micro) for at in range(0, samples.size, micro)]
    shape = (3, len(Term), len(loader.languages))
    total = torch.zeros(shape, dtype=torch.float64, device=engine.device)
    for turn in range(0, len(chunks), engine.world_size):
        mine = turn + engine.rank
        chunk = chunks[mine] if mine < len(chunks) else chunks[0]
        (batch,), _ = engine.agreed(partial(validation_batch, loader, chunk))
        losses = engine.evaluate(batch)
        if mine < len(chunks):
            total += torch.stack([losses.nats, losses.correct, losses.positions])
    engine.sum_over_ranks(total)
    return Losses(total[0].sum(), None, *total)


def validate(
    engine: Engine, loader: Loader, probe: AlignmentProbe | None, rows: int, micro: int
) -> Metrics:
    """Validation loss of each language in nats, and alignment in percent."""
    names = [str(language) for language in loader.languages]
    metrics: Metrics = {}
    for number, name in enumerate(names):
        losses = validation_losses(engine, loader, number, rows, micro)
        key = f"validation/loss_nats/{name}"
        metrics[key] = loss_metrics(losses, names, "validation")["validation/loss_nats"]
    if probe is not None:
        embedding = engine.embedding()
        for name in ("in_dictionary", "held_out"):
            percent = retrieval_percent(embedding, getattr(probe, name))
            if percent is not None:
                metrics[f"alignment/{name}_percent"] = percent
    return metrics
