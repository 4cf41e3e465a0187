"""The settings of an evaluation."""

from dataclasses import dataclass, field
from typing import Literal

from alignmlm.errors import ConfigError
from alignmlm.evaluation.finetune import FineTuneConfig
from alignmlm.evaluation.reordering import SyntaxConfig
from alignmlm.tasks.task import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """How transfer is measured.

    Baselines: "random_embeddings" draws all word embeddings anew before fine-tuning; "monolingual"
    lets a model that was trained on one language take `languages` that it never saw, their tokens
    untrained.
    """

    seeds: list[int] = field(default_factory=lambda: [0])  # of fine-tuning
    source: str | None = None  # none: the model's first language
    # none: the task itself, or its group's in the source language; one for all, or one for each
    # task or group that is tested: {xquad_deu: squad_eng, pos: ewt_pos}
    source_task: str | dict[str, str] | None = None
    targets: list[str] = field(default_factory=list)  # none: all that a task has in the model
    languages: list[str] = field(default_factory=list)  # of a checkpoint; of a run: which
    finetune: FineTuneConfig = field(default_factory=FineTuneConfig)
    limit: int | None = None  # examples of each split, from its first on; none: all
    max_tokens: int | None = None  # of a row; none: as many as the model takes
    baseline: Literal["none", "random_embeddings", "monolingual"] = "none"
    models: str | None = None  # folder of fine-tuned models; none: "models" beside the results
    models_gib: float = 10.0  # of that folder; the ones unused for longest go first; 0: keep none
    sample_folder: str = "data/sample_tasks"  # where the sample world's tasks are made
    syntax: SyntaxConfig = field(default_factory=SyntaxConfig)

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError("evaluation.seeds", self.seeds, "name at least one seed, each once")
        for name in ("targets", "languages"):
            found = getattr(self, name)
            if len(set(found)) < len(found):
                raise ConfigError(f"evaluation.{name}", found, "name each language once")
        if self.limit is not None and self.limit < 1:
            raise ConfigError("evaluation.limit", self.limit, "be at least 1")
        if self.models_gib < 0:
            raise ConfigError("evaluation.models_gib", self.models_gib, "be 0 or more")

    def source_task_of(self, task: Task) -> str | None:
        """The task that is named to be fine-tuned on before another is tested; None: none is."""
        if isinstance(self.source_task, dict):
            return self.source_task.get(task.name, self.source_task.get(task.group))
        return self.source_task
