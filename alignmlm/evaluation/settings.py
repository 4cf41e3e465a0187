"""The settings of an evaluation, apart from its code, which needs torch and is slow to import."""

from dataclasses import dataclass, field
from typing import Literal

from alignmlm.errors import ConfigError
from alignmlm.storage.typed_settings import FolderPath


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTuneConfig:
    """AdamW with linear warm-up and decay.

    Tang et al., 2022 use 10 epochs (5 of XNLI) at 2e-5; the defaults here suit small models.
    """

    epochs: int = 3
    """Passes over the training split."""
    learning_rate: float = 5e-4
    """Peak learning rate, reached at the end of the warm-up."""
    warmup: float = 0.1
    """Share of all steps in which the learning rate rises from 0 to its peak."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    batch_rows: int = 32
    """Rows of a step, on one device."""
    group_by_length: bool = True
    """Put rows of similar length into one batch, of as many tokens as any other where tokens have
    labels: three times as fast on short sentences."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the model's arithmetic; auto: as for train.precision. Predictions are fp32."""
    frozen: Literal["none", "embeddings", "lower_half"] = "none"
    """What keeps its pre-trained values: nothing, the embeddings, or the embeddings and the lower
    half of the layers."""
    selection: Literal["last", "source_dev"] = "last"
    """Which epoch to keep: the last, or the best on the source's development split."""

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
        if self.weight_decay < 0:
            raise ConfigError("evaluation.finetune.weight_decay", self.weight_decay, "be 0 or more")
        if not 0 <= self.warmup < 1:
            raise ConfigError("evaluation.finetune.warmup", self.warmup, "lie in [0, 1)")


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntaxConfig:
    """Where the trees and the order of a syntax language come from, as in its pre-training."""

    models: FolderPath | None = None
    """Folder of the ordering models (fra@N.orm, ...)."""
    parser: FolderPath | None = None
    """Parser file made by `alignmlm data train-parser`, for sentences without a gold tree."""
    seed: int = 0
    """Seed of the drawn orders: that of `alignmlm data order`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """Settings of an evaluation.

    Baselines: "random_embeddings" draws all word embeddings anew before fine-tuning; "monolingual"
    lets a model that was trained on one language take `languages` that it never saw, their tokens
    untrained.
    """

    seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds of fine-tuning, each measured."""
    source: str | None = None
    """Language to fine-tune in; null: the model's first language."""
    source_task: str | dict[str, str] | None = None
    """Task to fine-tune on: one name, or one for each task or group that is tested, as in
    {xquad_deu: squad_eng, pos: ewt_pos}; null: the task itself, or the one of its group in
    the source language."""
    targets: list[str] = field(default_factory=list)
    """Languages to test in; empty: all languages of the model that fit the task."""
    languages: list[str] = field(default_factory=list)
    """Languages of a checkpoint not made by alignmlm, or which of a run's languages to use."""
    finetune: FineTuneConfig = field(default_factory=FineTuneConfig)
    limit: int | None = None
    """Examples of each split, from its first on; null: all."""
    max_tokens: int | None = None
    """Maximum tokens of a row, special ones included; null: as many as the model takes."""
    baseline: Literal["none", "random_embeddings", "monolingual"] = "none"
    """random_embeddings: draw all word embeddings anew; monolingual: test languages never seen."""
    models: FolderPath | None = None
    """Folder of fine-tuned models; null: "models" beside the results."""
    models_gib: float = 10.0
    """Maximum GiB of fine-tuned models to keep; the least recently used go first; 0: keep none."""
    sample_folder: FolderPath = "data/sample_tasks"
    """Folder of the sample world's tasks, which are made where they are missing."""
    syntax: SyntaxConfig = field(default_factory=SyntaxConfig)

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError("evaluation.seeds", self.seeds, "name at least one seed, each once")
        if not all(0 <= seed < 2**32 for seed in self.seeds):
            raise ConfigError("evaluation.seeds", self.seeds, "lie in [0, 2**32)")
        for name in ("targets", "languages"):
            value = getattr(self, name)
            if len(set(value)) < len(value):
                raise ConfigError(f"evaluation.{name}", value, "name each language once")
        if self.limit is not None and self.limit < 1:
            raise ConfigError("evaluation.limit", self.limit, "be at least 1")
        if self.models_gib < 0:
            raise ConfigError("evaluation.models_gib", self.models_gib, "be 0 or more")

    def source_task_of(self, name: str, group: str) -> str | None:
        """The task that `source_task` names to fine-tune on before testing a task; None if none."""
        if isinstance(self.source_task, dict):
            return self.source_task.get(name, self.source_task.get(group))
        return self.source_task
