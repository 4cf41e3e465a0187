"""One pre-training run, from its recipe to its export."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from alignmlm.artifacts.names import SUMMARY
from alignmlm.code_record import chosen_before, record_start
from alignmlm.corpus.sources import SAMPLE_PREFIX, expand_path
from alignmlm.data.store import MANIFEST
from alignmlm.errors import AlignMLMError, CheckpointError
from alignmlm.languages.dictionary import Dictionary, from_pairs
from alignmlm.objectives.registry import objective_of
from alignmlm.pretraining.assembly import Assembly, assemble, make_model
from alignmlm.pretraining.checkpoints import (
    CHECKPOINTS,
    Progress,
    Rotation,
    load_state,
    newest_checkpoint,
    read_progress,
    saved_steps,
)
from alignmlm.pretraining.contents import differences, numbers_of
from alignmlm.pretraining.engine import (
    Engine,
    TrainingModule,
    chosen_precision,
    engine_settings,
    precision_in,
)
from alignmlm.pretraining.export import export
from alignmlm.pretraining.faults import FaultRecord, Faults, read_skip_list
from alignmlm.pretraining.induced_pairs import induced_pairs
from alignmlm.pretraining.loop import train
from alignmlm.pretraining.metrics import (
    Metrics,
    Recorder,
    keep_until,
)
from alignmlm.pretraining.policy import read_policy
from alignmlm.pretraining.recipe import Recipe, RunConfig, TrainConfig
from alignmlm.pretraining.run_folder import (
    OFFER,
    as_recorded,
    check_data,
    choose_folder,
    finished,
    open_folder,
)
from alignmlm.pretraining.run_records import METRICS, metric_rows, read_summary
from alignmlm.pretraining.saving import Saver
from alignmlm.pretraining.state import (
    load_parameters,
    restore_state,
    resume,
    start_moments,
)
from alignmlm.pretraining.step_profile import StepProfile
from alignmlm.pretraining.training_run import Counters, Run
from alignmlm.ranks.distributed import start_distributed
from alignmlm.ranks.first_rank import on_first_rank
from alignmlm.ranks.pace import slow_rank
from alignmlm.ranks.watch import watched
from alignmlm.storage.atomic import replace_text

log = logging.getLogger(__name__)

PRECISION = "precision"  # in code.json


def build_sample(recipe: Recipe) -> None:
    """Build the store of the sample world if it is missing; other corpora are up to the user."""
    files = [file for source in recipe.data.sources for file in source.files]
    missing = not (expand_path(recipe.data.store) / MANIFEST).is_file()
    if missing and all(file.startswith(SAMPLE_PREFIX) for file in files):
        from alignmlm.corpus.build import build_store  # most runs have their corpus

        log.info("building the sample world in %s", recipe.data.store)
        build_store(recipe.data)


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


def first_step_of(
    progress: Progress, data_id: str, numbers: dict[str, object], run: RunConfig
) -> int:
    """The step of the first batch of a resumed run.

    Raises:
        CheckpointError: it was trained on other data, and run.data_change does not say what to do.
    """
    if progress.data_id == data_id and not differences(progress.numbers, numbers):
        return progress.first_step
    if run.data_change == "stop":
        raise CheckpointError(
            f"step {progress.step} was trained on data {progress.data_id}, not on {data_id}; "
            f"{OFFER}"
        )
    return progress.step if run.data_change == "restart" else progress.first_step


def prepare(recipe: Recipe, assembly: Assembly, folder: Path, settings: dict[str, Any]) -> Run:
    """Model, engine and recorder of a run, resumed from its newest checkpoint."""
    induced = on_first_rank(lambda: induced_pairs(recipe, assembly, folder))
    module = make_module(recipe, assembly, induced)
    saved = resume(folder)
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
    on_first_rank(lambda: (folder / CHECKPOINTS).mkdir(exist_ok=True))
    on_first_rank(lambda: keep_until(folder / METRICS, counters.step))
    recorder, saver = None, None
    if engine.rank == 0:
        recorder = Recorder(folder, recipe.run, numbers)
        saver = make_saver(recipe.run, folder / CHECKPOINTS)
    skip = on_first_rank(lambda: read_skip_list(folder))
    faults = Faults(recipe.faults, record, skip, folder, counters.first_step)
    slowest = slow_rank(engine.control)
    return Run(recipe, assembly, folder, engine, counters, faults, recorder, saver, slowest)


def make_saver(config: RunConfig, folder: Path) -> Saver:
    """The saver of a run, into an existing folder; a deleted one is not recreated."""
    rotation = Rotation(config.keep_checkpoints, config.keep_best, config.keep_every_hours)
    return Saver(folder, rotation, patience_s=config.collective_timeout_s / 2)


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


def run_precision(train: TrainConfig, folder: Path) -> str:
    """The precision of the run in a folder, which a resume on another machine keeps; rank 0's."""
    precision, reason = chosen_precision(train, chosen_before(folder, PRECISION))
    threads = torch.get_num_threads()
    log.info("computing in %s (%s), %d CPU threads a rank", precision, reason, threads)
    return precision


def pretrain(
    recipe: Recipe, policy: Path | None, profiled: bool = False
) -> tuple[Path, dict[str, object]]:
    """Train the recipe to its end; returns the run's folder and summary, on every rank.

    A finished run is left as it is, an unfinished one is resumed. `profiled`: rank 0 prints what
    the time of a step goes to, and writes a trace.
    """
    _, world_size = start_distributed(recipe.run.collective_timeout_s)
    asked = read_policy(policy)
    folder = on_first_rank(
        lambda: choose_folder(recipe.run, numbers_of(recipe), recipe.train.steps)
    )
    precision = on_first_rank(lambda: run_precision(recipe.train, folder))
    in_precision = replace(recipe.train, precision=precision)
    settings = engine_settings(asked, policy, in_precision, recipe.optimizer, world_size)
    on_first_rank(lambda: build_sample(recipe))
    assembly = assemble(recipe)
    recipe = replace(recipe, run=replace(recipe.run, dir=str(folder)))
    locks: list[FileLock] = []  # on rank 0
    on_first_rank(lambda: locks.append(open_folder(folder, recipe)))
    try:
        return folder, pretrain_in(folder, recipe, assembly, settings, profiled)
    finally:
        for held in locks:
            held.release()


def pretrain_in(
    folder: Path, recipe: Recipe, assembly: Assembly, settings: dict[str, Any], profiled: bool
) -> dict[str, object]:
    """Train the recipe to its end in an open folder; returns the run's summary, on every rank."""
    on_first_rank(lambda: check_data(folder, assembly.store.manifest, recipe.run))
    if finished(folder, recipe.train.steps):
        log.info("%s is finished; name another run.dir to train again", folder)
        return read_summary(folder)
    on_first_rank(lambda: record_start(folder, **{PRECISION: precision_in(settings)}))
    run = prepare(recipe, assembly, folder, settings)
    if profiled and run.engine.rank == 0:
        run.profile = StepProfile(folder, run.engine.device)
    with watched(recipe.run.collective_timeout_s, run.turn):
        metrics = train_to_the_end(run)
        if run.profile is not None:
            run.profile.close()
        return on_first_rank(lambda: finish(run, metrics))


def train_to_the_end(run: Run) -> Metrics:
    """Train all steps; returns the last validation's metrics.

    Raises:
        AlignMLMError: the error, with the rank where it occurred: others may not know of it.
    """
    try:
        train(run)
    except AlignMLMError as error:
        error.add_note(f"rank {run.engine.rank}, step {run.counters.step}")
        raise
    finally:
        if run.saver is not None:
            run.saver.settle()
        if run.recorder is not None:
            run.recorder.close()
    # if no step was left to train, the metrics are those of the interrupted run
    return run.validation or validation_at(run.folder, run.counters.step)


def export_run(recipe: Recipe, folder: Path, output: Path, step: int | None) -> Path:
    """Export a run's checkpoint: that of a step, or the newest whole one.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    checkpoints = folder / CHECKPOINTS
    if step is None:
        newest = newest_checkpoint(checkpoints)
        if newest is None:
            raise CheckpointError(f"{folder} has no checkpoint to export")
        path, progress = newest
    else:
        path = checkpoints / f"step-{step}"
        if not path.is_dir():
            raise CheckpointError(
                f"{folder} has checkpoints {sorted(saved_steps(checkpoints))}, not {step}"
            )
        progress = read_progress(path)
    state = load_state(path)
    return export(
        recipe, assemble(recipe), state, progress, validation_at(folder, progress.step), output
    )


def validation_at(folder: Path, step: int) -> Metrics:
    """The validation metrics that a run recorded at a step, if any."""
    path = folder / METRICS
    rows = [row for row in metric_rows(path) if row["step"] == step] if path.exists() else []
    return {
        k: v for row in rows for k, v in row.items() if k.startswith(("validation", "alignment"))
    }
