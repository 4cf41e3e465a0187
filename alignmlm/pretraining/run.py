"""One pre-training run, from its recipe to its export."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from alignmlm.artifacts.names import SUMMARY
from alignmlm.artifacts.provenance import chosen_before, record_start
from alignmlm.errors import AlignMLMError
from alignmlm.pretraining.assembly import Assembly, assemble
from alignmlm.pretraining.between_steps import validate_run
from alignmlm.pretraining.checkpoints import CHECKPOINTS, load_state
from alignmlm.pretraining.contents import numbers_of
from alignmlm.pretraining.engine import chosen_precision, engine_settings, precision_in
from alignmlm.pretraining.export import export
from alignmlm.pretraining.loop import train
from alignmlm.pretraining.metrics import Metrics
from alignmlm.pretraining.policy import read_policy
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.run_folder import check_data, choose_folder, finished, open_folder
from alignmlm.pretraining.run_records import read_summary, validation_at
from alignmlm.pretraining.step_profile import StepProfile
from alignmlm.pretraining.trackers import check_trackers
from alignmlm.pretraining.training_run import Run, prepare
from alignmlm.ranks.precision import Precision
from alignmlm.ranks.rank_zero import from_rank_zero, on_rank_zero
from alignmlm.ranks.watchdog import watched
from alignmlm.storage.atomic import replace_text

log = logging.getLogger(__name__)

PRECISION = "precision"  # in code.json


def summary(run: Run, metrics: Metrics) -> dict[str, object]:
    """The summary of a finished run."""
    names = run.recipe.languages.ids
    return {
        "recipe_name": run.recipe.run.name,
        "objective": run.recipe.objective.name,
        "languages": names,
        "steps": run.counters.step,
        "tokens": run.counters.tokens,
        "seconds": round(run.counters.seconds, 2),
        "tokens_per_s": round(run.counters.tokens / run.counters.seconds, 1),
        "world_size": run.engine.world_size,
        "zero_stage": run.engine.stage,
        "precision": run.engine.precision,
        "validation_loss_nats": {name: metrics[f"validation/loss_nats/{name}"] for name in names},
        "alignment_percent": {
            part: metrics.get(f"alignment/{part}_percent") for part in ("in_dictionary", "held_out")
        },
        "checkpoint": f"{CHECKPOINTS}/step-{run.counters.step}",
        "export": "export",
    }


def finish(run: Run, metrics: Metrics) -> dict[str, object]:
    """Export the last checkpoint and write the summary; rank 0 calls it."""
    state = load_state(run.checkpoints / f"step-{run.counters.step}")
    export(run.recipe, run.assembly, state, run.progress(), metrics, run.folder / "export")
    result = summary(run, metrics)
    replace_text(run.folder / SUMMARY, json.dumps(result, indent=1))
    return result


def folder_and_precision(recipe: Recipe) -> tuple[Path, Precision]:
    """The folder of a recipe's run, and its precision; a resume keeps both."""
    folder = choose_folder(recipe.run, numbers_of(recipe), recipe.train.steps)
    precision, reason = chosen_precision(recipe.train, chosen_before(folder, PRECISION))
    threads = torch.get_num_threads()
    log.info("computing in %s (%s), %d CPU threads per rank", precision, reason, threads)
    return folder, precision


def finished_summary(folder: Path, steps: int) -> dict[str, object] | None:
    """The summary of the run in a folder, if it has finished the given number of steps."""
    return read_summary(folder) if finished(folder, steps) else None


def pretrain(
    recipe: Recipe, policy: Path | None, profiled: bool = False
) -> tuple[Path, dict[str, object]]:
    """Train the recipe to its end; returns the run's folder and summary, on every rank.

    All ranks call it, after `start_distributed`. A finished run is left as it is, an unfinished one
    is resumed. `profiled`: rank 0 prints where the time of a step goes, and writes a trace.
    """
    check_trackers(recipe.run)
    asked = read_policy(policy)
    folder, precision = from_rank_zero(folder_and_precision)(recipe)
    in_precision = replace(recipe.train, precision=precision)
    world_size = torch.distributed.get_world_size()
    settings = engine_settings(asked, policy, in_precision, recipe.optimizer, world_size)
    assembly = assemble(recipe)
    recipe = replace(recipe, run=replace(recipe.run, dir=str(folder)))
    lock = on_rank_zero(open_folder)(folder, recipe)
    try:
        from_rank_zero(check_data)(folder, assembly.store.manifest, recipe)
        result = from_rank_zero(finished_summary)(folder, recipe.train.steps)
        if result is None:
            result = train_in(folder, recipe, assembly, settings, profiled)
        else:
            log.info("%s is finished; name another run.dir to train again", folder)
        return folder, result
    finally:
        if lock is not None:
            lock.release()


def train_in(
    folder: Path, recipe: Recipe, assembly: Assembly, settings: dict[str, Any], profiled: bool
) -> dict[str, object]:
    """Train the recipe to its end in an open folder; returns the run's summary, on every rank."""
    from_rank_zero(record_start)(folder, **{PRECISION: precision_in(settings)})
    run = prepare(recipe, assembly, folder, settings)
    if profiled and run.engine.rank == 0:
        run.profile = StepProfile(folder, run.engine.device)
    with watched(recipe.run.collective_timeout_s, run.turn):
        metrics = train_to_the_end(run)
        if run.profile is not None:
            run.profile.close()
        return from_rank_zero(finish)(run, metrics)


def train_to_the_end(run: Run) -> Metrics:
    """Train all steps; returns the last validation's metrics.

    Raises:
        AlignMLMError: training failed; a note names the rank, as other ranks may see no error.
    """
    try:
        train(run)
        return last_validation(run)
    except AlignMLMError as error:
        error.add_note(f"rank {run.engine.rank}, step {run.counters.step}")
        raise
    finally:
        if run.saver is not None:
            run.saver.settle()
        if run.recorder is not None:
            run.recorder.close()


def last_validation(run: Run) -> Metrics:
    """The last validation's metrics; if no step was left to train, as recorded or measured now."""
    step = run.counters.step
    recorded = run.validation or from_rank_zero(validation_at)(run.folder, step)
    if not recorded:
        validate_run(run)
    return run.validation or recorded
