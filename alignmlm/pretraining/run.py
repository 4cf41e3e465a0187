"""One pre-training run, from its recipe to its export."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from alignmlm.corpus.build import build_store
from alignmlm.corpus.sources import SAMPLE_PREFIX, expand_path
from alignmlm.data.store import MANIFEST
from alignmlm.errors import AlignMLMError, CheckpointError
from alignmlm.files import replace_text
from alignmlm.objectives.align_mlm import objective_of
from alignmlm.pretraining.assembly import Assembly, assemble, make_model, merged
from alignmlm.pretraining.checkpoints import (
    Progress,
    load_state,
    newest_checkpoint,
    read_progress,
    save_checkpoint,
    saved_steps,
)
from alignmlm.pretraining.engine import (
    Engine,
    TrainingModule,
    engine_settings,
    micro_batch_rows,
    read_policy,
    start_distributed,
)
from alignmlm.pretraining.export import export
from alignmlm.pretraining.loop import Counters, Hooks, train
from alignmlm.pretraining.metrics import METRICS, Metrics, Recorder, progress_line
from alignmlm.pretraining.recipe import Recipe, RunConfig, differences, numbers_of
from alignmlm.pretraining.run_folder import (
    OFFER,
    SUMMARY,
    as_recorded,
    check_data,
    choose_folder,
    finished,
    open_folder,
)
from alignmlm.pretraining.state import collect_state, load_parameters, restore_state, start_moments
from alignmlm.pretraining.validation import AlignmentProbe, alignment_probe, validate

log = logging.getLogger(__name__)


def on_first_rank(work: Callable[[], Any]) -> Any:
    """What rank 0's work gave, on every rank; if it failed, every rank fails the same way."""
    shared: list[Any] = [None, None]
    if torch.distributed.get_rank() == 0:
        try:
            shared = [work(), None]
        except AlignMLMError as error:
            shared = [None, error]
    torch.distributed.broadcast_object_list(shared)
    if shared[1] is not None:
        raise shared[1]
    return shared[0]


def build_sample(recipe: Recipe) -> None:
    """Build the store of the sample world where it is missing; other corpora are the user's."""
    files = [file for source in recipe.data.sources for file in source.files]
    missing = not (expand_path(recipe.data.store) / MANIFEST).is_file()
    if missing and all(file.startswith(SAMPLE_PREFIX) for file in files):
        log.info("building the sample world in %s", recipe.data.store)
        build_store(recipe.data)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is ready to start."""

    recipe: Recipe
    assembly: Assembly
    folder: Path
    engine: Engine
    counters: Counters
    recorder: Recorder | None  # on rank 0

    @property
    def checkpoints(self) -> Path:
        """The folder of the run's checkpoints."""
        return self.folder / "checkpoints"

    def progress(self) -> Progress:
        """What goes into a checkpoint's manifest."""
        numbers = as_recorded(numbers_of(self.recipe))
        done = self.counters
        data_id = self.assembly.store.manifest.data_id
        return Progress(done.step, done.tokens, done.seconds, data_id, done.first_step, numbers)


def make_module(recipe: Recipe, assembly: Assembly) -> TrainingModule:
    """Model and objective, not yet in DeepSpeed's hands."""
    pairs = assembly.training_pairs(recipe)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return TrainingModule(
        make_model(recipe, assembly),
        objective_of(recipe.objective),
        recipe.objective,
        None if pairs is None else pairs.to(device),
        len(assembly.loader.languages),
    )


def resume(folder: Path) -> tuple[Progress, dict] | None:
    """The newest whole checkpoint of a run and its tensors, if it has one."""
    found = newest_checkpoint(folder / "checkpoints")
    return None if found is None else (found[1], load_state(found[0]))


def first_step_of(
    progress: Progress, data_id: str, numbers: dict[str, object], run: RunConfig
) -> int:
    """The step at which the batches of a run that goes on began.

    Raises:
        CheckpointError: it was trained on other data, and nobody said what to do.
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
    """Model, engine and recorder of a run, gone on from its newest checkpoint."""
    module = make_module(recipe, assembly)
    saved = resume(folder)
    if saved is not None:
        load_parameters(module, saved[1])
    engine = Engine(module, settings, recipe.optimizer)
    counters = Counters()
    start_moments(engine, saved[0].step if saved else 0)
    if saved is not None:
        progress, state = saved
        restore_state(engine, state)
        data_id, told = assembly.store.manifest.data_id, as_recorded(numbers_of(recipe))
        first = first_step_of(progress, data_id, told, recipe.run)
        counters = Counters(progress.step, progress.tokens, progress.seconds, first)
        log.info("going on after step %d of %s", progress.step, folder)
    numbers = as_recorded(numbers_of(recipe))
    first = torch.distributed.get_rank() == 0
    recorder = Recorder(folder, recipe.run, numbers, counters.step) if first else None
    return Run(recipe, assembly, folder, engine, counters, recorder)


def make_hooks(run: Run) -> tuple[Hooks, Metrics]:
    """What happens between steps, and where the last validation's numbers will be."""
    recipe, engine, recorder = run.recipe, run.engine, run.recorder
    used, held_out = run.assembly.used, run.assembly.held_out
    every = merged([used, held_out])
    micro, _ = micro_batch_rows(recipe.train, engine.world_size)
    last: Metrics = {}

    def probe(limit: int | None) -> AlignmentProbe | None:
        return alignment_probe(used, held_out, every, limit) if len(every) else None

    def log_metrics(step: int, metrics: Metrics) -> None:
        if recorder is not None:
            recorder.write(step, metrics)
            left = (recipe.train.steps - step) * run.counters.seconds / step
            recorder.show(progress_line(step, recipe.train.steps, metrics, left))

    def check(step: int) -> None:
        limit = None if step == recipe.train.steps else recipe.train.alignment_words
        last.clear()
        last.update(
            validate(engine, run.assembly.loader, probe(limit), recipe.train.validation_rows, micro)
        )
        if recorder is not None:
            recorder.write(step, last)

    def save(counters: Counters) -> None:
        state = collect_state(engine)
        if engine.rank == 0:
            save_checkpoint(run.checkpoints, state, run.progress(), recipe.run.keep_checkpoints)
        torch.distributed.barrier()

    return Hooks(log_metrics, check, save, recipe.run.checkpoint_steps), last


def summary(run: Run, metrics: Metrics) -> dict[str, object]:
    """What a finished run is in short."""
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
        "validation_loss_nats": {name: metrics[f"validation/loss_nats/{name}"] for name in names},
        "alignment_percent": {
            part: metrics.get(f"alignment/{part}_percent") for part in ("in_dictionary", "held_out")
        },
        "checkpoint": f"checkpoints/step-{run.counters.step}",
        "export": "export",
    }


def finish(run: Run, metrics: Metrics) -> dict[str, object]:
    """Export the last checkpoint and write the summary; rank 0 calls it."""
    state = load_state(run.checkpoints / f"step-{run.counters.step}")
    export(run.recipe, run.assembly, state, run.progress(), metrics, run.folder / "export")
    result = summary(run, metrics)
    replace_text(run.folder / SUMMARY, json.dumps(result, indent=1))
    return result


def pretrain(recipe: Recipe, policy: Path | None) -> tuple[Path, dict[str, object]]:
    """Train the recipe to its end; the run's folder and summary, on every rank.

    A finished run is left as it is, an unfinished one goes on.
    """
    _, world_size = start_distributed()
    settings = engine_settings(
        read_policy(policy), policy, recipe.train, recipe.optimizer, world_size
    )
    on_first_rank(lambda: build_sample(recipe))
    assembly = assemble(recipe)
    folder = on_first_rank(
        lambda: choose_folder(recipe.run, numbers_of(recipe), recipe.train.steps)
    )
    recipe = replace(recipe, run=replace(recipe.run, dir=str(folder)))
    lock: list[Any] = []
    on_first_rank(lambda: lock.append(open_folder(folder, recipe)))
    on_first_rank(lambda: check_data(folder, assembly.store.manifest, recipe.run))
    if finished(folder, recipe.train.steps):
        log.info("%s is finished; name another run.dir to train again", folder)
        return folder, json.loads((folder / SUMMARY).read_text("utf-8"))
    run = prepare(recipe, assembly, folder, settings)
    metrics = train_to_the_end(run)
    return folder, on_first_rank(lambda: finish(run, metrics))


def train_to_the_end(run: Run) -> Metrics:
    """The last validation's numbers, after all steps.

    Raises:
        AlignMLMError: what went wrong, with the rank where it did: others may know nothing of it.
    """
    hooks, metrics = make_hooks(run)
    recipe = run.recipe
    try:
        train(run.engine, run.assembly.loader, recipe.train, recipe.optimizer, run.counters, hooks)
    except AlignMLMError as error:
        error.add_note(f"rank {run.engine.rank}, step {run.counters.step}")
        raise
    finally:
        if run.recorder is not None:
            run.recorder.close()
    # where nothing was left to train, the numbers are those of the run that was cut off
    return metrics or validation_at(run.folder, run.counters.step)


def export_run(recipe: Recipe, folder: Path, output: Path, step: int | None) -> Path:
    """Export a run's checkpoint: that of a step, or the newest whole one.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    kept = folder / "checkpoints"
    if step is None:
        found = newest_checkpoint(kept)
        if found is None:
            raise CheckpointError(f"{folder} has no checkpoint to export")
        path, progress = found
    else:
        path = kept / f"step-{step}"
        if not path.is_dir():
            raise CheckpointError(
                f"{folder} has checkpoints {sorted(saved_steps(kept))}, not {step}"
            )
        progress = read_progress(path)
    state = load_state(path)
    return export(
        recipe, assemble(recipe), state, progress, validation_at(folder, progress.step), output
    )


def validation_at(folder: Path, step: int) -> Metrics:
    """The validation numbers that a run recorded at a step, if it did."""
    lines = (folder / METRICS).read_text("utf-8").splitlines()
    rows = [row for line in lines if (row := json.loads(line))["step"] == step]
    return {
        k: v for row in rows for k, v in row.items() if k.startswith(("validation", "alignment"))
    }
