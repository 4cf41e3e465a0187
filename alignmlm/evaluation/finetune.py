"""Fine-tuning of an export on examples of one language, and its score on those of any."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import eq
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForTokenClassification,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from alignmlm.errors import ConfigError
from alignmlm.evaluation.export import Export
from alignmlm.evaluation.labelled import IGNORED, Example
from alignmlm.evaluation.metrics import entity_f1

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)  # no slots: jsonargparse takes vars() of nested defaults
class FineTuneConfig:
    """AdamW with linear warm-up and decay; the model after the last epoch is the one tested.

    Tang et al., 2022 use 10 epochs at 2e-5; the defaults here suit the sample's small model.
    """

    epochs: int = 3
    learning_rate: float = 5e-4  # the highest one, after the warm-up
    warmup: float = 0.1  # share of all steps
    weight_decay: float = 0.01
    batch_rows: int = 32

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"evaluation.finetune.{name}", getattr(self, name), "be at least 1"
                )
        if self.learning_rate <= 0:
            raise ConfigError(
                "evaluation.finetune.learning_rate", self.learning_rate, "be positive"
            )
        if not 0 <= self.warmup < 1:
            raise ConfigError("evaluation.finetune.warmup", self.warmup, "lie in [0, 1)")


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """While this is open, transformers prints neither reports nor bars."""
    verbosity, bars = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


class EpochLog(TrainerCallback):
    """One log line an epoch, in place of Trainer's own output."""

    def on_epoch_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Log which epoch ended."""
        log.info(
            "epoch %d of %d, step %d", round(state.epoch), args.num_train_epochs, state.global_step
        )


@dataclass(frozen=True, slots=True)
class Collator:
    """Examples as a batch that is as long as its longest example."""

    pad: int
    language_embeddings: bool  # whether the model takes the language as token type

    def __call__(self, examples: list[Example]) -> dict[str, Tensor]:
        """Tensors of shape (examples, longest)."""
        shape = (len(examples), max(len(example.input_ids) for example in examples))
        ids, labels = np.full(shape, self.pad), np.full(shape, IGNORED)
        attention = np.zeros(shape, np.int64)
        for row, example in enumerate(examples):
            length = len(example.input_ids)
            ids[row, :length], labels[row, :length] = example.input_ids, example.labels
            attention[row, :length] = 1
        batch = {"input_ids": ids, "attention_mask": attention, "labels": labels}
        if self.language_embeddings:
            batch["token_type_ids"] = np.repeat([[e.language] for e in examples], shape[1], axis=1)
        return {name: torch.from_numpy(array) for name, array in batch.items()}


def collator_of(export: Export, model: PreTrainedModel) -> Collator:
    """The collator that a model of this export needs."""
    return Collator(export.vocabulary.pad, export.language_embeddings)


def token_classifier(export: Export, labels: list[str], seed: int) -> PreTrainedModel:
    """The export's encoder below a new layer over the labels, random from the seed."""
    set_seed(seed)
    return AutoModelForTokenClassification.from_pretrained(
        export.path,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        dtype=torch.float32,
    )


def training_arguments(
    config: FineTuneConfig, rows: int, seed: int, folder: str
) -> TrainingArguments:
    """Trainer's settings: nothing saved, nothing reported, the order of rows from the seed."""
    steps = config.epochs * -(-rows // config.batch_rows)
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


def fine_tune(
    export: Export, labels: list[str], train: list[Example], config: FineTuneConfig, seed: int
) -> PreTrainedModel:
    """The export fine-tuned on the examples; on CPU the same to the last bit for the same seed."""
    began = perf_counter()
    with TemporaryDirectory() as folder, quiet_transformers():
        model = token_classifier(export, labels, seed)
        trainer = Trainer(
            model=model,
            args=training_arguments(config, len(train), seed, folder),
            train_dataset=train,
            data_collator=collator_of(export, model),
            callbacks=[EpochLog()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    log.info("fine-tuned on %d sentences in %.1f s", len(train), perf_counter() - began)
    return model


@torch.no_grad()
def predictions(
    export: Export, model: PreTrainedModel, examples: list[Example], batch_rows: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Right and found labels of each example's words, at the first token of each."""
    model.eval()
    collate = collator_of(export, model)
    for at in range(0, len(examples), batch_rows):
        batch = {k: v.to(model.device) for k, v in collate(examples[at : at + batch_rows]).items()}
        labels = batch.pop("labels")
        found = model(**batch).logits.argmax(dim=-1)
        for right, given in zip(labels, found, strict=True):
            scored = right != IGNORED
            yield right[scored].tolist(), given[scored].tolist()


def word_accuracy_percent(
    export: Export, model: PreTrainedModel, examples: list[Example], batch_rows: int
) -> float:
    """Share of the words whose first token gets the right label, in [0, 100]."""
    right = words = 0
    for gold, found in predictions(export, model, examples, batch_rows):
        right += sum(map(eq, gold, found))
        words += len(gold)
    return 100 * right / words


def entity_f1_percent(
    export: Export,
    model: PreTrainedModel,
    examples: list[Example],
    batch_rows: int,
    names: list[str],
) -> float:
    """F1 of whole entities, in [0, 100]; words that the longest row cut off are not scored."""
    pairs = list(predictions(export, model, examples, batch_rows))
    golds, founds = ([[names[n] for n in pair[side]] for pair in pairs] for side in (0, 1))
    return 100 * entity_f1(golds, founds)
