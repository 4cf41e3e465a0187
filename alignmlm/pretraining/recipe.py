"""A recipe: everything that a pre-training run depends on. The defaults are the sample recipe."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from alignmlm.corpus.settings import DataConfig
from alignmlm.data.settings import MaskConfig, check_steps
from alignmlm.errors import ConfigError
from alignmlm.languages.settings import DictionaryConfig
from alignmlm.models.settings import ModelConfig
from alignmlm.objectives.settings import ObjectiveConfig
from alignmlm.pretraining.faults import FaultConfig
from alignmlm.storage.registry import Registry
from alignmlm.storage.typed_settings import FolderPath

OPTIMIZERS: Registry = Registry(  # of Optimizer
    "optimizers",
    ("alignmlm.pretraining.optimizers:Optimizer",),
    {
        "adamw": "alignmlm.pretraining.optimizers:ADAMW",
        "muon": "alignmlm.pretraining.optimizers:MUON",
    },
)


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightChange:
    """New mixture weights from a step on; the change neither repeats nor skips a row."""

    step: int
    """First training step of these weights; counted from 0."""
    weights: list[float]
    """Weight of each language of the mixture, in the order of languages.ids."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguagesConfig:
    """The languages to train on."""

    ids: list[str] = field(default_factory=lambda: ["qaa-Latn", "qaa-Latn-x-inv-trans"])
    """Languages to train on, natural (eng-Latn) or derived (eng-Latn-x-inv-trans)."""
    weights: list[float] = field(default_factory=list)
    """Weight of each language in the mixture; empty: equal weights."""
    weight_changes: list[WeightChange] = field(default_factory=list)
    """Other weights from given steps on: [{step: 1000, weights: [1, 3]}]."""
    seed: int = 0
    """Seed of word permutations and of the tokens that overlapping scripts share."""

    def __post_init__(self) -> None:
        if not self.ids or len(set(self.ids)) < len(self.ids):
            raise ConfigError("languages.ids", self.ids, "name at least one language, each once")
        from alignmlm.languages.language import parse_language  # NumPy, which no --help needs

        for name in self.ids:
            parse_language(name)
        lists = [self.weights] if self.weights else []
        for weights in (*lists, *(change.weights for change in self.weight_changes)):
            if len(weights) != len(self.ids):
                raise ConfigError("languages.weights", weights, f"be {len(self.ids)} numbers")
        check_steps("languages.weight_changes", [change.step for change in self.weight_changes])


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW, or Muon for the encoder's matrices and AdamW for the rest; warm-up, then a schedule.

    Sources: Liu et al., 2019 (RoBERTa); Jordan et al., 2024 (Muon); Hu et al., 2024
    (arXiv:2404.06395, warm-up, stable, decay) and Hägele et al., 2024 (arXiv:2405.18392, 1 - sqrt).
    """

    name: Annotated[str, OPTIMIZERS.names] = "muon"
    """Optimizer; muon: Muon for the encoder's matrices, AdamW for all other parameters."""
    learning_rate: float = 4e-3
    """Peak learning rate of AdamW, reached at the end of the warm-up."""
    matrix_learning_rate: float = 0.01
    """Peak learning rate of Muon; about 0.01 for size tiny, 0.005 for small."""
    momentum: float = 0.95
    """Momentum of Muon."""
    schedule: Literal["linear", "cosine", "warmup_stable_decay"] = "linear"
    """Shape of the learning rate after the warm-up."""
    warmup_steps: int = 50
    """Steps in which the learning rate rises from 0 to its peak."""
    decay: float = 0.2
    """Share of all steps in which warmup_stable_decay lowers the learning rate to 0."""
    weight_decay: float = 0.01
    """Decoupled weight decay; biases and norms have none."""
    beta1: float = 0.9
    """Decay rate of AdamW's mean of gradients."""
    beta2: float = 0.98
    """Decay rate of AdamW's mean of squared gradients."""
    epsilon: float = 1e-6
    """Number that AdamW adds to its denominator."""
    clip_norm: float = 1.0
    """Largest norm of the whole gradient; 0: no clipping."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "matrix_learning_rate", "epsilon"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"optimizer.{name}", getattr(self, name), "be positive")
        for name in ("clip_norm", "weight_decay", "warmup_steps"):
            if getattr(self, name) < 0:
                raise ConfigError(f"optimizer.{name}", getattr(self, name), "be at least 0")
        for name in ("momentum", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"optimizer.{name}", getattr(self, name), "lie in [0, 1)")
        if not 0 < self.decay <= 1:
            raise ConfigError("optimizer.decay", self.decay, "lie in (0, 1]")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Lengths and sizes of the run."""

    steps: int = 400
    """Optimizer steps of the whole run."""
    seq_len: int = 64
    """Tokens per row, special tokens included; even, at least 8."""
    batch_rows: int = 32
    """Rows of one step, over all ranks."""
    micro_rows: int | None = None
    """Rows of one forward pass on one rank; null: all rows of the rank's share."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the model's arithmetic; auto: bf16 on CUDA and on CPUs that multiply matrices at
    least 2.5 times as fast in it, fp32 on others; a resumed run keeps what it began with."""
    seed: int = 0
    """Seed of row order, masks and drawn words."""
    workers: int = 1
    """Threads of each rank that prepare batches ahead; 0: none."""
    log_steps: int = 10
    """Steps between two lines of metrics."""
    validation_steps: int = 100
    """Steps between two validations."""
    validation_rows: int = 64
    """Validation rows of each language."""
    alignment_words: int = 2000
    """Dictionary words whose alignment each validation measures; the last one measures all."""

    def __post_init__(self) -> None:
        counts = ("steps", "batch_rows", "log_steps", "validation_steps", "validation_rows")
        for name in (*counts, "alignment_words", "micro_rows"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"train.{name}", value, "be at least 1")
        if not 0 <= self.workers <= 64:
            raise ConfigError("train.workers", self.workers, "lie in [0, 64]")
        if self.seq_len < 8 or self.seq_len % 2:
            raise ConfigError("train.seq_len", self.seq_len, "be even and at least 8")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Where the run's files go; nothing here changes a number."""

    name: str = "sample"
    """Name of the run, also in the default name of its folder."""
    dir: FolderPath | None = None
    """Folder of the run; null: runs/<name>-<n>, the unfinished one or a new one."""
    resume: Literal["auto", "never"] = "auto"
    """auto: resume from the folder's newest checkpoint; never: refuse a folder that holds a run."""
    data_change: Literal["stop", "continue", "restart"] = "stop"
    """What a resumed run does if its data settings differ from those of its checkpoint."""
    checkpoint_steps: int = 200
    """Steps between two checkpoints."""
    keep_checkpoints: int = 2
    """Number of newest checkpoints to keep."""
    keep_best: bool = False
    """Also keep the checkpoint of the lowest mean validation loss."""
    keep_every_hours: float | None = None
    """Also keep the first checkpoint after each multiple of this many training hours; null: off."""
    background_saves: bool = True
    """Write checkpoints in a thread while training goes on."""
    last_save_attempts: int = 2
    """Attempts to write the last checkpoint; if an earlier one fails, the run goes on."""
    collective_timeout_s: float = 600.0
    """Seconds that one rank waits for another before the run fails."""
    tensorboard: bool = False
    """Write event files for TensorBoard into the run's folder; it has to be installed."""
    wandb: bool = False
    """Log to Weights & Biases; without an API key the run is kept offline."""
    wandb_project: str = "alignmlm"
    """Name of the Weights & Biases project."""

    def __post_init__(self) -> None:
        if self.checkpoint_steps < 1 or self.keep_checkpoints < 1:
            values = (self.checkpoint_steps, self.keep_checkpoints)
            raise ConfigError("run.checkpoint_steps, run.keep_checkpoints", values, "be at least 1")
        if self.keep_every_hours is not None and self.keep_every_hours <= 0:
            raise ConfigError("run.keep_every_hours", self.keep_every_hours, "be positive")
        if self.last_save_attempts < 1:
            raise ConfigError("run.last_save_attempts", self.last_save_attempts, "be at least 1")
        if not 1 <= self.collective_timeout_s <= 86400:
            limit = self.collective_timeout_s
            raise ConfigError("run.collective_timeout_s", limit, "lie in [1, 86400]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One pre-training run."""

    data: DataConfig = field(default_factory=DataConfig)
    languages: LanguagesConfig = field(default_factory=LanguagesConfig)
    dictionary: DictionaryConfig = field(default_factory=DictionaryConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    faults: FaultConfig = field(default_factory=FaultConfig)
    run: RunConfig = field(default_factory=RunConfig)
