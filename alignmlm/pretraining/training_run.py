"""A run in progress: what it consists of, how far it has come, and how it is prepared."""

import logging
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from alignmlm.languages.dictionary import Dictionary, from_pairs, merged
from alignmlm.objectives.registry import objective_of
from alignmlm.pretraining.assembly import Assembly, make_model
from alignmlm.pretraining.checkpoints import CHECKPOINTS, Progress, finish_save
from alignmlm.pretraining.contents import numbers_of
from alignmlm.pretraining.engine import Engine, TrainingModule
from alignmlm.pretraining.faults import FaultRecord, Faults, read_skip_list
from alignmlm.pretraining.induced_pairs import induced_pairs, listed_pairs, pairs_of
from alignmlm.pretraining.metrics import Metrics, Recorder, keep_until
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.run_folder import as_recorded, first_step_of
from alignmlm.pretraining.run_records import METRICS
from alignmlm.pretraining.saving import Saver, make_saver
from alignmlm.pretraining.state import load_parameters, restore_state, resume, start_moments
from alignmlm.pretraining.step_profile import StepProfile
from alignmlm.pretraining.trackers import start_trackers
from alignmlm.probes.induction import Candidates
from alignmlm.probes.words import WordProbe
from alignmlm.ranks.rank_zero import from_rank_zero, on_rank_zero
from alignmlm.ranks.stragglers import SlowRank, slow_rank

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """How far a run has come; the only state of the loop besides the engine's."""

    step: int = 0
    tokens: int = 0  # over all ranks, padding not counted
    seconds: float = 0.0  # of training, without validation and checkpoints
    first_step: int = 0  # step at which batch 0 of the data was, or would have been, seen


@dataclass(slots=True)
class Run:
    """All parts of a run; loop.py takes its steps, between_steps.py does what comes between."""

    recipe: Recipe
    assembly: Assembly
    folder: Path
    engine: Engine
    counters: Counters
    faults: Faults
    recorder: Recorder | None  # on rank 0
    saver: Saver | None  # on rank 0
    slow_rank: SlowRank
    numbers: dict[str, object]  # the recipe, flat, and hashes of its files when the run started
    induced: Dictionary  # the pairs induced from embeddings so far
    candidates: list[Candidates] | None = None  # of each language pair, on rank 0, once counted
    profile: StepProfile | None = None  # on rank 0, if asked for
    validation: Metrics = field(default_factory=dict)  # the last one's
    validated_step: int | None = None  # the step after which the last validation ran
    word_probes: dict[int | None, dict[str, WordProbe]] = field(default_factory=dict)  # by limit

    @property
    def checkpoints(self) -> Path:
        """The folder of the run's checkpoints."""
        return self.folder / CHECKPOINTS

    def turn(self) -> tuple[int, int]:
        """A counter that increases while training makes progress, and the number of steps done."""
        return self.engine.turns + self.counters.step, self.counters.step

    def progress(self) -> Progress:
        """What a checkpoint's manifest records."""
        done = self.counters
        data_id = self.assembly.store.manifest.data_id
        return Progress(
            done.step,
            done.tokens,
            done.seconds,
            data_id,
            done.first_step,
            self.numbers,
            faults=deepcopy(self.faults.record),
            induced=listed_pairs(self.induced),
        )


def make_module(
    recipe: Recipe, assembly: Assembly, induced: Dictionary | None = None
) -> TrainingModule:
    """Model and objective, before DeepSpeed wraps them."""
    pairs = assembly.training_pairs(recipe, induced or from_pairs([]))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return TrainingModule(
        make_model(recipe, assembly),
        objective_of(recipe.objective),
        recipe.objective,
        None if pairs is None else pairs.to(device),
        len(assembly.loader.languages),
    )


def start_writers(
    recipe: Recipe, folder: Path, numbers: dict[str, object], step: int
) -> tuple[Recorder, Saver]:
    """The writers of metrics and checkpoints for a run that starts or resumes after `step`.

    Only rank 0 calls this. Whatever an earlier start recorded after `step` is removed.

    Raises:
        ConfigError: a tracker cannot start.
        OSError: the disk fails.
    """
    (folder / CHECKPOINTS).mkdir(exist_ok=True)
    keep_until(folder / METRICS, step)
    recorder = Recorder(folder, start_trackers(folder, recipe.run, numbers, step))
    saver = make_saver(recipe.run, folder / CHECKPOINTS)
    finish_save(saver.folder, step, saver.rotation)
    return recorder, saver


def prepare(recipe: Recipe, assembly: Assembly, folder: Path, settings: dict[str, Any]) -> Run:
    """Set up the parts of a run, resumed from its newest checkpoint if there is one."""
    from_text = from_rank_zero(induced_pairs)(recipe, assembly, folder)
    saved = resume(folder)
    induced = pairs_of(saved[0].induced) if saved else from_pairs([])
    module = make_module(recipe, assembly, merged([from_text, induced]))
    if saved is not None:
        load_parameters(module, saved[1])
    engine = Engine(module, settings, recipe.optimizer)
    counters, record = Counters(), saved[0].faults if saved else FaultRecord()
    numbers = as_recorded(numbers_of(recipe))
    start_moments(engine, saved[0].step - record.not_taken if saved else 0)
    if saved is not None:
        progress, state = saved
        restore_state(engine, state)
        data_id = assembly.store.manifest.data_id
        first_step = first_step_of(progress, data_id, numbers, recipe.run)
        counters = Counters(progress.step, progress.tokens, progress.seconds, first_step)
        log.info("going on after step %d of %s", progress.step, folder)
    writers = on_rank_zero(start_writers)(recipe, folder, numbers, counters.step)
    recorder, saver = writers or (None, None)
    skip = from_rank_zero(read_skip_list)(folder)
    faults = Faults(recipe.faults, record, skip, folder, counters.first_step)
    slowest = slow_rank(engine.control)
    writing = (recorder, saver, slowest, numbers, induced)
    return Run(recipe, assembly, folder, engine, counters, faults, *writing)
