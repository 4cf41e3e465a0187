"""A recipe: everything that a pre-training run depends on. The defaults are the sample recipe."""

from dataclasses import asdict, dataclass, field
from typing import Literal

from alignmlm.corpus.settings import DataConfig
from alignmlm.data.masking import MaskConfig
from alignmlm.errors import ConfigError
from alignmlm.languages.dictionary import DictionaryConfig
from alignmlm.languages.language import parse_language
from alignmlm.model_settings import ModelConfig
from alignmlm.objectives.settings import ObjectiveConfig
from alignmlm.pretraining.contents import dictionary_contents, order_contents, start_content
from alignmlm.pretraining.faults import FaultConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightChange:
    """Weights of the mixture from a step on; no row comes twice and none is left out."""

    step: int
    weights: list[float]

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ConfigError("languages.weight_changes.step", self.step, "be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguagesConfig:
    """The languages to train on."""

    ids: list[str] = field(default_factory=lambda: ["qaa-Latn", "qaa-Latn-x-inv-trans"])
    weights: list[float] = field(default_factory=list)  # of the mixture; empty: equal
    weight_changes: list[WeightChange] = field(default_factory=list)  # from some steps on
    seed: int = 0  # of word permutations and overlaps

    def __post_init__(self) -> None:
        if not self.ids or len(set(self.ids)) < len(self.ids):
            raise ConfigError("languages.ids", self.ids, "name at least one language, each once")
        for name in self.ids:
            parse_language(name)
        lists = [self.weights] if self.weights else []
        for weights in (*lists, *(change.weights for change in self.weight_changes)):
            if len(weights) != len(self.ids):
                raise ConfigError("languages.weights", weights, f"be {len(self.ids)} numbers")
        steps = [change.step for change in self.weight_changes]
        if steps != sorted(set(steps)):
            raise ConfigError("languages.weight_changes", steps, "name each step once, in order")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW, or Muon for the encoder's matrices and AdamW for the rest; rates after a warm-up.

    Sources: Liu et al., 2019 (RoBERTa); Jordan et al., 2024 (Muon); Hu et al., 2024
    (arXiv:2404.06395, warm-up, stable, decay) and Hägele et al., 2024 (arXiv:2405.18392, 1 - sqrt).
    """

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 2e-3  # of AdamW: the highest one, after the warm-up
    matrix_learning_rate: float = 0.02  # of Muon, likewise
    momentum: float = 0.95  # of Muon
    schedule: Literal["linear", "cosine", "warmup_stable_decay"] = "linear"
    warmup_steps: int = 50
    decay: float = 0.2  # share of all steps in which warmup_stable_decay falls
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-6
    clip_norm: float = 1.0  # largest gradient norm; 0 clips nothing

    def __post_init__(self) -> None:
        for name in ("learning_rate", "matrix_learning_rate"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"optimizer.{name}", getattr(self, name), "be positive")
        if not 0 <= self.momentum < 1:
            raise ConfigError("optimizer.momentum", self.momentum, "lie in [0, 1)")
        if not 0 < self.decay <= 1:
            raise ConfigError("optimizer.decay", self.decay, "lie in (0, 1]")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Lengths and sizes of the run."""

    steps: int = 600
    seq_len: int = 64
    batch_rows: int = 32  # of one step, over all ranks
    micro_rows: int | None = None  # of one forward pass on one rank; none: as many as possible
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 on CUDA, fp32 on CPU
    seed: int = 0  # of row order, masks and draws
    workers: int = 1  # threads of each rank that make batches ahead; 0: none
    log_steps: int = 10
    validation_steps: int = 200
    validation_rows: int = 64  # of each language
    alignment_words: int = 2000  # asked while training; all of them at the end

    def __post_init__(self) -> None:
        for name in ("steps", "batch_rows", "log_steps", "validation_steps", "validation_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name}", getattr(self, name), "be at least 1")
        if not 0 <= self.workers <= 64:
            raise ConfigError("train.workers", self.workers, "lie in [0, 64]")
        if self.seq_len < 8 or self.seq_len % 2:
            raise ConfigError("train.seq_len", self.seq_len, "be even and at least 8")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Where the run's files go; nothing here changes a number."""

    name: str = "sample"
    dir: str | None = None  # none: runs/<name>-<n>, the unfinished one or a new one
    resume: Literal["auto", "never"] = "auto"  # auto: go on from the newest checkpoint
    data_change: Literal["stop", "continue", "restart"] = "stop"  # where data differs at resume
    checkpoint_steps: int = 200
    keep_checkpoints: int = 2  # the newest ones
    keep_best: bool = False  # and that of the lowest mean validation loss
    keep_every_hours: float | None = None  # and the first one after each so many hours of training
    background_saves: bool = True  # a thread writes while training goes on; the last save waits
    last_save_attempts: int = 2  # a failed save stops a run only at its end, after so many
    collective_timeout_s: float = 600.0  # the longest that one rank waits for another
    wandb: bool = False  # needs no key: without one the run is kept offline
    wandb_project: str = "alignmlm"

    def __post_init__(self) -> None:
        if self.checkpoint_steps < 1 or self.keep_checkpoints < 1:
            found = (self.checkpoint_steps, self.keep_checkpoints)
            raise ConfigError("run.checkpoint_steps, run.keep_checkpoints", found, "be at least 1")
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


NO_NUMBERS = {
    "train.micro_rows",
    "train.workers",
    "train.log_steps",
    "train.alignment_words",
    "data.store",
}


def numbers_of(recipe: Recipe) -> dict[str, object]:
    """What a run's numbers depend on, flat: "train.steps" and so on, and hashes of other files.

    Raises:
        CheckpointError: model.start is a folder without a model.
    """
    flat: dict[str, object] = {}
    for section, settings in asdict(recipe).items():
        if section not in ("run", "faults"):  # no number of a step that went well depends on them
            flat |= {f"{section}.{name}": value for name, value in settings.items()}
    return {
        **{name: value for name, value in flat.items() if name not in NO_NUMBERS},
        **dictionary_contents(file.path for file in recipe.dictionary.files),
        **order_contents(recipe.data.store, recipe.languages.ids),
        **start_content(recipe.model.start),
    }


# what a run may go on with after it changed: the model and its vocabulary stay
DATA_SETTINGS = (
    "data.", "mask.", "dictionary.", "languages.weight", "languages.seed",
    "train.batch_rows", "train.seed", "train.steps",
)  # fmt: skip


def differences(old: dict[str, object], new: dict[str, object]) -> list[str]:
    """Settings that differ, one line each."""
    names = sorted(old.keys() | new.keys())
    missing = "(not set)"
    return [
        f"{name}: {old.get(name, missing)!r} there, {new.get(name, missing)!r} here"
        for name in names
        if old.get(name, missing) != new.get(name, missing)
    ]
