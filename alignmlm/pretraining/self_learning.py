"""Self-learning: embeddings are rotated once, and pairs are induced from them again and again.

Sources: Schönemann, 1966 (orthogonal Procrustes); Artetxe et al., 2016 (EMNLP), section 2 (the map
between two embeddings); Artetxe et al., 2017 (ACL), section 3 (pairs induced from the last ones).
"""

import logging
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from alignmlm.languages.dictionary import Dictionary, merged
from alignmlm.objectives.registry import objective_of
from alignmlm.pretraining.assembly import own_tokens, trained_pairs
from alignmlm.pretraining.engine import Engine
from alignmlm.pretraining.induced_pairs import (
    candidates_of,
    induction_metrics,
    message,
    record_of,
)
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.training_run import Run
from alignmlm.probes.induction import Candidates, induce_from_embeddings
from alignmlm.probes.neighbours import units
from alignmlm.probes.rotation import orthogonal_map
from alignmlm.probes.words import vectors_of
from alignmlm.ranks.rank_zero import from_rank_zero

log = logging.getLogger(__name__)

FIRST_MOMENT = "exp_avg"  # of AdamW: a mean of gradients, which a rotation of the weights rotates


def learns_after(step: int, recipe: Recipe) -> bool:
    """Whether embeddings are rotated, or pairs are induced from them, after a step."""
    return step == recipe.dictionary.rotation_step or induces_after(step, recipe)


def induces_after(step: int, recipe: Recipe) -> bool:
    """Whether pairs are induced from the embeddings after a step."""
    config, last = recipe.dictionary, step == recipe.train.steps
    if config.induction != "embeddings" or step % config.induction_steps or last:
        return False
    return objective_of(recipe.objective).needs_pairs


def learn(run: Run) -> None:
    """Rotate the embeddings and induce pairs from them, whichever is due after this step."""
    step, recipe = run.counters.step, run.recipe
    if step == recipe.dictionary.rotation_step:
        rotate(run)
    if induces_after(step, recipe):
        train_with(run, from_rank_zero(induced_from)(run, run.engine.embedding()))


def induced_from(run: Run, embedding: Float[Tensor, "vocab hidden"]) -> Dictionary:
    """The pairs induced from the embeddings, and a record of them; rank 0 calls it."""
    assembly, config = run.assembly, run.recipe.dictionary
    if run.candidates is None:
        run.candidates = candidates_of(assembly, config)
    inductions = []
    for pair, words in zip(assembly.pairs, run.candidates, strict=True):
        inductions.append(induce_from_embeddings(embedding.cpu(), words, pair.used, pair.held_out))
        record = record_of(pair, assembly, inductions[-1])
        log.info("step %d: %s", run.counters.step, message(record))
        if run.recorder is not None:
            run.recorder.write(run.counters.step, induction_metrics(record))
    return merged([induction.pairs for induction in inductions])


def train_with(run: Run, induced: Dictionary) -> None:
    """Train on the given pairs and these from now on."""
    run.induced, pairs = induced, run.assembly.training_pairs(run.recipe, induced)
    run.engine.module.pairs = None if pairs is None else pairs.to(run.engine.device)


class Turn(NamedTuple):
    """How the rows of a language are turned: (row - before) rotation + after."""

    before: Float[Tensor, " hidden"]
    rotation: Float[Tensor, "hidden hidden"]
    after: Float[Tensor, " hidden"]


def rotate(run: Run) -> None:
    """Rotate each target language's word embeddings onto those of its source.

    Rows keep their distances from the others of their language, and the layers what they learned,
    but for where those rows lie. Two languages without a given pair stay as they are.
    """
    loader, step = run.assembly.loader, run.counters.step
    for pair in run.assembly.pairs:
        source, target = loader.languages[pair.source], loader.languages[pair.target]
        given = trained_pairs(pair, run.recipe.dictionary)
        if not len(given):
            log.info("step %d: no given pair to rotate %s onto %s by", step, target, source)
            continue
        rows = own_tokens(pair, loader.lexicon.tables)
        turn = from_rank_zero(fitted_turn)(run.engine.embedding().cpu(), rows, given)
        turn_rows(run.engine, torch.from_numpy(rows[1]), turn)
        text = "step %d: embeddings of %s rotated onto those of %s by %d given pairs"
        log.info(text, step, target, source, len(given))


@torch.no_grad()
def fitted_turn(table: Float[Tensor, "vocab hidden"], rows: Candidates, given: Dictionary) -> Turn:
    """The turn of the target rows that brings the words of the given pairs nearest to each other.

    `rows` are the tokens of the source and of the target language.
    """
    after, before = (table[torch.from_numpy(part)].mean(dim=0) for part in rows)
    sources, targets = zip(*given.words(), strict=True)
    onto = units(vectors_of(table, list(sources)) - after)
    turned = units(vectors_of(table, list(targets)) - before)
    return Turn(before, orthogonal_map(turned, onto), after)


@torch.no_grad()
def turn_rows(engine: Engine, rows: Int[Tensor, " row"], turn: Turn) -> None:
    """Turn some rows of the embedding on all ranks, and AdamW's mean of their gradients."""
    weight, partitions = engine.module.masked_model.embedding, engine.partitions
    before, rotation, after = (part.to(engine.device) for part in turn)
    table = partitions.whole(weight, None).to(engine.device, copy=True)
    table[rows] = (table[rows] - before) @ rotation + after
    partitions.put(weight, table, None)
    with engine.whole([weight], writer=0):
        weight.copy_(table)
    if FIRST_MOMENT in engine.moments_of(weight):
        moment = partitions.whole(weight, FIRST_MOMENT).to(engine.device, copy=True)
        moment[rows] = moment[rows] @ rotation
        partitions.put(weight, moment, FIRST_MOMENT)
