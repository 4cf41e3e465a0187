"""Every probe of a run's checkpoints: words, contexts and parallel sentences, as one document."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from alignmlm_kernels import alignment_loss
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from alignmlm.data.batches import make_batch, validation_samples
from alignmlm.data.coverage import DictionarySide, word_counts
from alignmlm.data.store import VALIDATION
from alignmlm.errors import CheckpointError, ConfigError
from alignmlm.languages.dictionary import Dictionary, from_pairs, merged
from alignmlm.languages.language import lay_out_scripts
from alignmlm.languages.orders import is_syntax
from alignmlm.models.masked_lm import MaskedLanguageModel
from alignmlm.objectives.registry import objective_of
from alignmlm.objectives.settings import DISTANCES
from alignmlm.pretraining.assembly import Assembly, LanguagePair, assemble
from alignmlm.pretraining.checkpoints import CHECKPOINTS, load_state, read_progress, saved_steps
from alignmlm.pretraining.export import trained_model
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.run_folder import check_store
from alignmlm.probes.contexts import ContextMeans, context_means, seen_pairs, validation_rows
from alignmlm.probes.encoder import token_embedding
from alignmlm.probes.gradients import gradient_cosines
from alignmlm.probes.hubs import neighbourhood_metrics
from alignmlm.probes.parallel import ParallelRows, Reading, word_rows
from alignmlm.probes.probe import ProbeConfig, embedding_metrics, prefixed, text_metrics
from alignmlm.probes.rotation import Tables, centred_tables, rotated_tables
from alignmlm.probes.word_alignment import (
    SHORTEST_WORDS,
    alignment_error_metrics,
    split_sentences,
)
from alignmlm.probes.words import (
    Counts,
    Metrics,
    unit_vectors,
    word_metrics,
    word_pairs,
    word_probe,
)

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
PROBES = "probes.json"


def check_sizes(section: str, sizes: dict[str, int]) -> None:
    """Raise unless all sizes of a section are at least 1.

    Raises:
        ConfigError: one is smaller.
    """
    for name, value in sizes.items():
        if value < 1:
            raise ConfigError(f"{section}.{name}", value, "be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSizes:
    """How much of the validation text is read."""

    context_rows: int = 1000  # of each language, for the mean states of words
    sentences: int = 500  # for word alignment and geometry, of languages of one base
    gradient_rows: int = 64  # of each language, for the gradients of its loss

    def __post_init__(self) -> None:
        check_sizes("probe", asdict(self))


@dataclass(frozen=True, slots=True)
class PairMaterial:
    """The probe inputs of two languages of a run, the same at every checkpoint."""

    name: str  # "<source> <target>"
    pair: LanguagePair
    counts: Counts  # in the train split
    sentences: ParallelRows | None  # None unless both share a base and neither has a syntax order


def pair_counts(recipe: Recipe, assembly: Assembly, pair: LanguagePair) -> Counts:
    """Train-split frequencies of the dictionary words of two languages, each in its own text.

    Raises:
        DataError: a damaged block of a shard.
    """
    languages = assembly.loader.languages
    alphabet = assembly.store.vocabulary.alphabet()
    scripts = lay_out_scripts(languages, alphabet, recipe.languages.seed)
    both = merged([pair.used, pair.held_out]).words()
    derived = languages[pair.source].base == languages[pair.target].base
    counts = []
    for number, place in ((pair.source, 0), (pair.target, 1)):
        side = DictionarySide(languages[number].base, scripts.tables[number], every_token=derived)
        words = sorted({words[place] for words in both})
        counts.append(word_counts(words, side, assembly.store))
    return counts[0], counts[1]


def pair_material(
    recipe: Recipe, assembly: Assembly, pair: LanguagePair, sizes: ProbeSizes
) -> PairMaterial:
    """The words and sentences of one language pair.

    Raises:
        DataError: a damaged block of a shard.
    """
    languages = assembly.loader.languages
    vocabulary = assembly.store.vocabulary
    scripts = lay_out_scripts(languages, vocabulary.alphabet(), recipe.languages.seed)
    counts = pair_counts(recipe, assembly, pair)
    embeddings = objective_of(recipe.objective).language_embeddings
    sentences = parallel_sentences(
        recipe, assembly, pair, scripts.tables, sizes.sentences, embeddings
    )
    name = f"{languages[pair.source]} {languages[pair.target]}"
    return PairMaterial(name, pair, counts, sentences)


def parallel_sentences(
    recipe: Recipe,
    assembly: Assembly,
    pair: LanguagePair,
    tables: np.ndarray,
    limit: int,
    embeddings: bool,
) -> ParallelRows | None:
    """Validation sentences in both languages, word by word; None unless both have the same base."""
    languages = [assembly.loader.languages[number] for number in (pair.source, pair.target)]
    if languages[0].base != languages[1].base or any(is_syntax(own.order) for own in languages):
        return None
    source, target = [
        Reading(
            language,
            tables[number],
            assembly.store.vocabulary,
            recipe.languages.seed,
            recipe.train.seq_len,
            number if embeddings else 0,
        )
        for language, number in zip(languages, (pair.source, pair.target), strict=True)
    ]
    split = assembly.store.split(languages[0].base, VALIDATION)
    texts = (text for text in split_sentences(split) if text.word_starts.sum() >= SHORTEST_WORDS)
    return word_rows(list(islice(texts, limit)), source, target, repeated=True)


def spaces_of(tables: Tables, given: Dictionary, every: Dictionary) -> Iterator[tuple[str, Tables]]:
    """The raw vectors, the centred ones, and those rotated by a map fitted on the given pairs."""
    yield "as_is", tables
    sides = [sorted({words[place] for words in every.words()}) for place in (0, 1)]
    moved = centred_tables(tables, *sides)
    yield "centred", moved
    if len(given):
        yield "rotated", rotated_tables(moved, given.words())


def word_space_metrics(
    tables: Tables, given: Dictionary, held_out: Dictionary, counts: Counts
) -> Metrics:
    """Retrieval of given and held-out words, mutual neighbours and hubs, in each space."""
    every = merged([given, held_out])
    metrics: Metrics = {}
    parts = {"given": given, "held_out": held_out}
    for space, own in spaces_of(tables, given, every):
        for part, asked in parts.items():
            if len(asked):
                probe = word_probe(asked, every)
                values = word_metrics(own.source, probe, None, counts, own.target)
                metrics |= prefixed(f"{space}/{part}", values)
        words = [sorted({pair[place] for pair in every.words()}) for place in (0, 1)]
        sides = (unit_vectors(table, side) for table, side in zip(own, words, strict=True))
        metrics |= prefixed(space, neighbourhood_metrics(*sides))
    return metrics


def context_metrics(
    sides: tuple[ContextMeans, ContextMeans], pair: LanguagePair, counts: Counts
) -> Metrics:
    """word_space_metrics() of mean states, by layer; words with too few contexts are left out."""
    used, held_out = (
        seen_pairs(part, [side.counts for side in sides]) for part in (pair.used, pair.held_out)
    )
    metrics: Metrics = {"given_pairs": len(used), "held_out_pairs": len(held_out)}
    if not len(used) + len(held_out):
        return metrics
    for layer, vectors in enumerate(zip(sides[0].layers, sides[1].layers, strict=True)):
        values = word_space_metrics(Tables(*vectors), used, held_out, counts)
        metrics |= prefixed(f"layer_{layer}", values)
    return metrics


def pair_metrics(
    encoder: PreTrainedModel,
    embedding: Float[Tensor, "vocab hidden"],
    contexts: dict[int, ContextMeans],
    material: PairMaterial,
) -> Metrics:
    """All metrics of a language pair that are defined; CKA of a single word is not, for example."""
    pair = material.pair
    every = merged([pair.used, pair.held_out])
    tables = Tables(embedding, embedding)
    rows = word_space_metrics(tables, pair.used, pair.held_out, material.counts)
    geometry = embedding_metrics(embedding, word_probe(every, every), ProbeConfig())
    metrics = prefixed("rows", rows) | prefixed("rows", geometry)
    sides = (contexts[pair.source], contexts[pair.target])
    metrics |= prefixed("contexts", context_metrics(sides, pair, material.counts))
    if material.sentences is not None:
        errors = alignment_error_metrics(encoder, material.sentences)
        shapes = text_metrics(encoder, material.sentences, ProbeConfig())
        metrics |= prefixed("sentences", errors | shapes)
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def step_metrics(
    recipe: Recipe, assembly: Assembly, path: Path, material: list[PairMaterial], sizes: ProbeSizes
) -> dict[str, Any]:
    """Step, tokens and every pair's metrics of one checkpoint.

    Raises:
        CheckpointError: it is damaged, or of another model, or of other data.
    """
    progress = read_progress(path)
    check_store(path.parents[1], progress, assembly.store.manifest)
    model = trained_model(recipe, assembly, load_state(path))
    encoder: Any = model.model.base_model
    embedding = token_embedding(model.model)
    embeddings = objective_of(recipe.objective).language_embeddings
    asked = {number for own in material for number in (own.pair.source, own.pair.target)}
    contexts = {}
    for number in sorted(asked):
        own = number if embeddings else 0
        rows = validation_rows(assembly.loader, number, sizes.context_rows, own)
        contexts[number] = context_means(encoder, rows)
    pairs = {own.name: pair_metrics(encoder, embedding, contexts, own) for own in material}
    for asked_pair in material:
        found = gradient_metrics(recipe, assembly, model, asked_pair.pair, sizes.gradient_rows)
        pairs[asked_pair.name] |= prefixed("gradients", found)
    return {"step": progress.step, "tokens": progress.tokens, "pairs": pairs}


def gradient_metrics(
    recipe: Recipe, assembly: Assembly, model: MaskedLanguageModel, pair: LanguagePair, rows: int
) -> Metrics:
    """Cosines of gradients: of both languages' prediction loss, and of it and the alignment term.

    The losses are means over the first validation rows of each language; the term is that of the
    given pairs, with the recipe's distance, whether or not the run was trained with it.
    """
    config, loader = recipe.objective, assembly.loader
    given = assembly.training_pairs(recipe, from_pairs([]))

    def loss(language: int) -> Tensor:
        batch = make_batch(loader, validation_samples(loader, language, rows), VALIDATION)
        outputs, languages = model(batch), len(loader.languages)
        losses = objective_of(config).loss(config, batch, outputs, given, languages)
        return losses.prediction_nats / max(1, len(batch.labels))

    with torch.enable_grad():
        source, target = loss(pair.source), loss(pair.target)
        metrics = prefixed("languages", gradient_cosines(model, source, target))
        if len(pair.used):
            between = DISTANCES[config.distance].between
            term = alignment_loss(model.embedding, word_pairs(pair.used), between)
            metrics |= prefixed("alignment", gradient_cosines(model, source + target, term))
    return metrics


def asked_steps(folder: Path, step: int | None, every: bool) -> list[int]:
    """Steps of the checkpoints to look at, in ascending order.

    Raises:
        CheckpointError: the run has no checkpoint, or none of that step.
    """
    saved = sorted(saved_steps(folder / CHECKPOINTS))
    if not saved:
        raise CheckpointError(f"{folder} has no checkpoint to probe")
    if step is not None and step not in saved:
        raise CheckpointError(f"{folder} has checkpoints {saved}, not {step}")
    if every:
        return saved
    return [saved[-1] if step is None else step]


@torch.no_grad()
def probe_run(
    recipe: Recipe,
    folder: Path,
    steps: list[int],
    sizes: ProbeSizes,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """The probe metrics of some checkpoints of a run, as written to probes.json.

    Keys of metrics are <vectors>/<space>/<words>/<way>/<measure>; docs/probes.md explains each.

    Raises:
        CheckpointError: a checkpoint is damaged, or of other data than data.store holds.
        ConfigError: the run has no dictionary to ask about.
        DataError: a damaged block of a shard.
    """
    assembly = assemble(recipe)
    if not assembly.pairs:
        raise ConfigError("languages.ids", recipe.languages.ids, "have a dictionary to ask about")
    material = [pair_material(recipe, assembly, pair, sizes) for pair in assembly.pairs]
    measured = []
    for number, step in enumerate(steps):
        progress(number, len(steps))
        path = folder / CHECKPOINTS / f"step-{step}"
        measured.append(step_metrics(recipe, assembly, path, material, sizes))
    return {
        "schema_version": SCHEMA_VERSION,
        "data_id": assembly.store.manifest.data_id,
        "objective": recipe.objective.name,
        "sizes": asdict(sizes),
        "steps": measured,
    }
