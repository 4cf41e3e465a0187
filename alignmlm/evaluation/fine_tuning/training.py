"""Fine-tuning on a task in one of a model's languages, unless cached, and predictions."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
import transformers
import xxhash
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from alignmlm.console.quiet import quiet_transformers
from alignmlm.console.terminal import clock
from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import CheckpointError, DataError, quoted
from alignmlm.evaluation.evaluated_model import Export
from alignmlm.evaluation.examples.rendering import (
    Example,
    RenderedSplit,
    Trees,
    renderer_of,
    reorderer_of,
    rows_hash,
    trees_of,
)
from alignmlm.evaluation.fine_tuning.batches import (
    LENGTH_STEP,
    LengthBuckets,
    buckets_of,
    collator_of,
)
from alignmlm.evaluation.fine_tuning.model_cache import cached_model, make_room, write_model
from alignmlm.evaluation.scores.scoring import SplitScore
from alignmlm.evaluation.settings import EvaluationConfig, FineTuneConfig, SyntaxConfig
from alignmlm.models.attention import fastest_attention
from alignmlm.models.layers import freeze
from alignmlm.models.loading import load_pretrained
from alignmlm.ranks.precision import Precision, fastest_precision
from alignmlm.storage.locks import locked
from alignmlm.tasks.examples import document_of, examples_xxh3
from alignmlm.tasks.kinds import KINDS, TaskKind
from alignmlm.tasks.metrics import METRICS, score_percent
from alignmlm.tasks.task import Task, TaskExamples

log = logging.getLogger(__name__)

VERSION = 4  # of cached models: increases when the same rows and settings would give another one
LINE_S = 30.0  # between two lines of progress
MODEL_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


@dataclass(frozen=True, slots=True)
class TaskData:
    """A task's splits as base tokens, ready for any language of a model."""

    export: Export
    task: Task
    labels: list[str]  # empty for questions
    splits: dict[str, Any]  # what the task's kind makes of the examples, see TaskKind.as_tokens
    documents: dict[str, list[tuple[str, str]]]  # id and hash of each example of a split
    test_examples: int  # in the file, before any limit
    dev_xxh3: str  # of the development examples with all their answers
    syntax: SyntaxConfig = field(default_factory=SyntaxConfig)
    trees: Trees = field(default_factory=Trees)
    known: dict[tuple[str, str], RenderedSplit] = field(default_factory=dict)  # by language, split

    @property
    def kind(self) -> TaskKind:
        """The task's kind."""
        return KINDS[self.task.kind]

    def rendered(self, language: str, split: str) -> RenderedSplit:
        """A split in a language of the model; made once.

        Raises:
            DataError: no example is left, as when the language tears all answers apart.
        """
        if (language, split) not in self.known:
            reorderer = reorderer_of(self.export, language, self.syntax, self.trees)
            renderer = renderer_of(self.export, language, reorderer)
            tokens, seq_len = self.splits[split], self.export.seq_len
            rows = self.kind.rows(tokens, renderer, seq_len)
            if not rows.examples:
                left = f"none of its {split} examples is left in {language}"
                raise DataError(f"task {self.task.name}: {left}: {quoted(rows.counts)}")
            self.known[language, split] = rows
        return self.known[language, split]


def task_data(
    export: Export, source: TaskExamples, tested: TaskExamples, config: EvaluationConfig
) -> dict[str, TaskData]:
    """The source and the tested task, by name, as tokens and indices into the source's labels."""
    tokenizer, labels = load_tokenizer(export.path), source.labels
    by_name = {one.task.name: one for one in (source, tested)}
    files = [file for one in by_name.values() for file in one.files.values()]
    trees = trees_of(files, export.languages, config.syntax)
    data: dict[str, TaskData] = {}
    for name, one in by_name.items():
        task, as_tokens = one.task, KINDS[one.task.kind].as_tokens
        limited = {split: part.examples[: config.limit] for split, part in one.splits.items()}
        data[name] = TaskData(
            export,
            task,
            labels,
            {k: as_tokens(task, part, labels, tokenizer, export) for k, part in limited.items()},
            {k: [document_of(e, n) for n, e in enumerate(part)] for k, part in limited.items()},
            len(one.splits["test"].examples),
            examples_xxh3(limited.get("dev", [])),
            config.syntax,
            trees,
        )
    return data


class Epochs(TrainerCallback):
    """Logs progress in place of Trainer's output, and keeps the best epoch's weights if asked.

    There is a line at the end of each epoch, and in longer ones every LINE_S seconds.
    """

    def __init__(self, data: TaskData, language: str, config: FineTuneConfig) -> None:
        self.data, self.language, self.config, self.best = data, language, config, -1.0
        self.weights: dict[str, Tensor] = {}
        self.began = self.shown = perf_counter()

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Start the clock."""
        self.began = self.shown = perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Log progress, unless that was done in the last LINE_S seconds."""
        if perf_counter() - self.shown >= LINE_S:
            self.show(args, state)

    def show(self, args: Any, state: Any, score_text: str = "") -> None:
        """Log epoch, step and time left."""
        self.shown = perf_counter()
        seconds_left = (self.shown - self.began) * (state.max_steps / state.global_step - 1)
        log.info(
            "epoch %d of %d, step %s/%s%s · %s left",
            min(int(state.epoch) + (state.epoch % 1 > 0), args.num_train_epochs),
            args.num_train_epochs,
            f"{state.global_step:,}",
            f"{state.max_steps:,}",
            score_text,
            clock(seconds_left),
        )

    def on_epoch_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Log which epoch ended, and keep its weights if it is the best so far."""
        score_text = ""
        if self.config.selection == "source_dev":
            model = others["model"]
            score = scored_split(
                model, self.data, self.language, "dev", self.config.batch_rows
            ).percent
            model.train()
            score_text = f", development score {score:.1f}"
            if score > self.best:
                self.best = score
                self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.show(args, state, score_text)


def random_rows(weight: Tensor, first: int, spread: float) -> None:
    """Reinitialise the rows of an embedding from `first` on, reproducibly."""
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        weight[first:] = torch.randn(weight[first:].shape, generator=drawn) * spread


def classifier(export: Export, kind: str, labels: list[str], seed: int) -> PreTrainedModel:
    """The export's encoder with a new head, initialised from the seed.

    Baselines have word embeddings reinitialised: "monolingual" the rows of languages that the model
    was not trained on, "random_embeddings" all rows.

    Raises:
        CheckpointError: the model lacks weights, or has fewer tokens than its tokenizer.
    """
    set_seed(seed)
    named: dict[str, Any] = {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
    }
    model = load_pretrained(model_class(kind), export.path, **(named if labels else {}))
    spread, old = model.config.initializer_range, model.get_input_embeddings().num_embeddings
    if export.vocabulary_size > old:
        if export.baseline != "monolingual":
            raise CheckpointError(
                f"{export.path}: the tokenizer has {export.vocabulary_size:,} tokens, the model "
                f"{old:,}"
            )
        with torch.random.fork_rng(devices=[]):
            model.resize_token_embeddings(export.vocabulary_size, mean_resizing=False)
        random_rows(model.get_input_embeddings().weight, old, spread)
    if export.baseline == "random_embeddings":
        random_rows(model.get_input_embeddings().weight, 0, spread)
    return model


def in_precision(config: FineTuneConfig, before: Precision | None = None) -> FineTuneConfig:
    """The settings with a precision in place of `auto`: the one before, or the fastest here."""
    if config.precision != "auto":
        return config
    return replace(config, precision=before or fastest_precision()[0])


class BucketTrainer(Trainer):
    """Trainer with batches of rows of similar length, and bf16 where that is the precision."""

    def __init__(self, batches: LengthBuckets | None, precision: str, **others: Any) -> None:
        super().__init__(**others)
        self.batches, self.precision = batches, precision

    def get_train_dataloader(self) -> DataLoader:
        """The batches; without, those of random rows that Trainer makes."""
        if self.batches is None:
            return super().get_train_dataloader()
        rows: Any = self.train_dataset
        loader = DataLoader(
            rows,
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)

    def compute_loss(self, *args: Any, **others: Any) -> Any:
        """The model's loss; only here is the precision that of training."""
        bf16 = self.precision == "bf16"
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=bf16):
            return super().compute_loss(*args, **others)


def training_arguments(
    config: FineTuneConfig, steps: int, seed: int, folder: str
) -> TrainingArguments:
    """Trainer's settings: nothing saved, nothing reported, the order of rows from the seed."""
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        warmup_steps=round(config.warmup * steps),
        weight_decay=config.weight_decay,
        per_device_train_batch_size=config.batch_rows,
        seed=seed,
        data_seed=seed,
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )


def model_class(kind: str) -> Any:
    """The class of transformers for tasks of a kind."""
    return getattr(transformers, KINDS[kind].model)


def fine_tune(data: TaskData, language: str, config: FineTuneConfig, seed: int) -> PreTrainedModel:
    """The export fine-tuned on a training split in one of its languages.

    On CPU it is the same to the last bit for the same seed and precision.
    """
    began, export, config = perf_counter(), data.export, in_precision(config)
    train = data.rendered(language, "train").examples
    epochs, buckets = Epochs(data, language, config), buckets_of(train, config, seed)
    collate = collator_of(export, LENGTH_STEP if buckets else 1)
    steps = config.epochs * (len(buckets) if buckets else -(-len(train) // config.batch_rows))
    with TemporaryDirectory() as folder, quiet_transformers():
        model = classifier(export, data.task.kind, data.labels, seed)
        freeze(model, config.frozen)
        with fastest_attention(model, config.precision):
            trainer = BucketTrainer(
                buckets,
                config.precision,
                model=model,
                args=training_arguments(config, steps, seed, folder),
                train_dataset=train,
                data_collator=collate,
                callbacks=[epochs],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
    if epochs.weights:
        model.load_state_dict(epochs.weights)
    rows, seconds = f"{len(train):,}", perf_counter() - began
    log.info("fine-tuned on %s rows in %.1f s, in %s", rows, seconds, config.precision)
    return model


def model_key(
    data: TaskData, rows: Sequence[Sequence[Example]], config: FineTuneConfig, seed: int
) -> str:
    """The hash of what a fine-tuned model depends on; `rows` are those to train and select on."""
    chosen_by = [data.task.metric, data.dev_xxh3] if config.selection == "source_dev" else []
    dependencies = {
        "version": VERSION,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "model": data.export.identity(),
        "kind": data.task.kind,
        "labels": data.labels,
        "rows": [rows_hash(part) for part in rows],
        "chosen_by": chosen_by,
        "finetune": asdict(config),
        "seed": seed,
    }
    return xxhash.xxh3_64_hexdigest(json.dumps(dependencies, sort_keys=True).encode())


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """How a model is fine-tuned, and where fine-tuned ones are kept."""

    config: FineTuneConfig
    models: Path | None  # folder; none: not kept
    models_gib: float


def fine_tuned(data: TaskData, language: str, seed: int, tuning: Tuning) -> PreTrainedModel:
    """The export fine-tuned on a task in a language, from the cache if it is there.

    If several processes need the same model, one fine-tunes it and the others wait.
    """
    config, kind = in_precision(tuning.config), data.task.kind
    if tuning.models is None:
        return fine_tune(data, language, config, seed)
    splits = ("train", "dev") if config.selection == "source_dev" else ("train",)
    rows = [data.rendered(language, split).examples for split in splits]
    key = model_key(data, rows, config, seed)
    with locked(tuning.models / key):
        model = cached_model(tuning.models, model_class(kind), key)
        if model is not None:
            return model
        model = fine_tune(data, language, config, seed)
        write_model(tuning.models / key, model, key)
    make_room(tuning.models, tuning.models_gib * 2**30)
    return model


@torch.no_grad()
def predictions(
    export: Export, model: PreTrainedModel, examples: list[Example], batch_rows: int
) -> list[tuple[Example, dict[str, np.ndarray]]]:
    """Each example and the model's outputs for it, without padding; rows are batched by length.

    Raises:
        DataError: an output is not a number: fine-tuning has diverged.
    """
    model.eval()
    collate = collator_of(export)
    order = sorted(range(len(examples)), key=lambda number: -len(examples[number].input_ids))
    scores_of: dict[int, dict[str, np.ndarray]] = {}
    of_rows = bool(examples) and isinstance(examples[0].labels, int)
    for at in range(0, len(order), batch_rows):
        numbers = order[at : at + batch_rows]
        batch = collate([examples[number] for number in numbers])
        inputs = {k: v.to(model.device) for k, v in batch.items() if k in MODEL_INPUTS}
        outputs = {k: v.float().cpu().numpy() for k, v in model(**inputs).items() if v is not None}
        if any(np.isnan(scores).any() for scores in outputs.values()):
            remedy = "lower evaluation.finetune.learning_rate"
            raise DataError(f"fine-tuning has diverged: outputs of the model are NaN; {remedy}")
        for row, number in enumerate(numbers):
            unpadded = slice(None) if of_rows else slice(len(examples[number].input_ids))
            scores_of[number] = {name: scores[row][unpadded] for name, scores in outputs.items()}
    return [(example, scores_of[number]) for number, example in enumerate(examples)]


def scored_split(
    model: PreTrainedModel, data: TaskData, language: str, split: str, batch_rows: int
) -> SplitScore:
    """The predictions of a fine-tuned model on a split in one of its languages, scored."""
    rendered, metric = data.rendered(language, split), METRICS[data.task.metric]
    outputs = predictions(data.export, model, rendered.examples, batch_rows)
    scored = data.kind.scored(rendered, outputs, data.labels, metric)
    return SplitScore(scored, score_percent(metric, scored), data.documents[split])
