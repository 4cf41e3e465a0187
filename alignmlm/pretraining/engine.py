"""DeepSpeed behind one class: the recipe owns the hyperparameters, a ds_configs file the policy."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, cast

import torch
from alignmlm_kernels import WordPairs
from jaxtyping import Float
from torch import Tensor, nn

from alignmlm.data.batches import Batch
from alignmlm.errors import CheckpointError, ConfigError, DataError
from alignmlm.models.attention import use_fastest_attention
from alignmlm.models.masked_lm import MaskedLanguageModel
from alignmlm.objectives.objective import Losses, Objective, ObjectiveConfig
from alignmlm.pretraining.optimizers import MUON_MOMENTS, make_optimizer
from alignmlm.pretraining.partitions import Partitions
from alignmlm.pretraining.policy import OWNERS, deepspeed_errors_named
from alignmlm.pretraining.recipe import OPTIMIZERS, OptimizerConfig, TrainConfig
from alignmlm.ranks.micro_batching import micro_batches
from alignmlm.ranks.precision import Precision, fastest_precision
from alignmlm.ranks.signals import asked
from alignmlm.ranks.stragglers import DeviceTime, phase


class TrainingModule(nn.Module):
    """Model and objective as one module, so that ZeRO-3 gathers the tied matrix once for both."""

    def __init__(
        self,
        model: MaskedLanguageModel,
        objective: Objective,
        config: ObjectiveConfig,
        pairs: WordPairs | None,
        languages: int,
    ) -> None:
        super().__init__()
        self.masked_model, self.objective, self.config = model, objective, config
        self.pairs, self.languages = pairs, languages

    def forward(self, batch: Batch) -> Losses:
        """The objective's losses of one micro-batch."""
        outputs = self.masked_model(batch)
        with phase("head and loss"):
            return self.objective.loss(self.config, batch, outputs, self.pairs, self.languages)


def engine_settings(
    policy: dict[str, Any],
    path: Path | None,
    train: TrainConfig,
    optimizer: OptimizerConfig,
    world_size: int,
) -> dict[str, Any]:
    """DeepSpeed's configuration: the policy, and what the recipe owns.

    Raises:
        ConfigError: the file contradicts the recipe.
    """
    micro, parts = micro_batches(train.batch_rows, train.micro_rows, world_size)
    bf16 = chosen_precision(train)[0] == "bf16"
    owned: dict[str, Any] = {
        "train_batch_size": train.batch_rows,
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": parts,
        "gradient_clipping": optimizer.clip_norm,
        "bf16": {"enabled": bf16},
        "fp16": {"enabled": False},
        "optimizer": None,
        "scheduler": None,
    }
    for key, value in policy.items():
        if key in owned and value not in ("auto", owned[key]):
            requirement = (
                f"agree with the recipe, where {OWNERS[key]} gives {owned[key]!r}; leave it out"
            )
            raise ConfigError(f"{path}: {key}", value, requirement)
    offload = policy.get("zero_optimization", {}).get("offload_optimizer")
    if OPTIMIZERS[optimizer.name].matrices and offload and offload.get("device") == "nvme":
        name = optimizer.name
        requirement = f"be cpu or none with optimizer.name = {name}, which needs whole matrices"
        raise ConfigError(
            f"{path}: zero_optimization.offload_optimizer.device", "nvme", requirement
        )
    settings = {key: value for key, value in owned.items() if value is not None}
    settings |= {key: value for key, value in policy.items() if key not in owned}
    return settings | (bf16_settings(settings) if bf16 else {})


def bf16_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings for DeepSpeed to compute in bf16 and keep weights and gradients in fp32.

    Without ZeRO DeepSpeed cannot do so; torch's autocast is used instead.
    """
    if settings.get("zero_optimization", {}).get("stage", 0) == 0:
        autocast = {"enabled": True, "dtype": "bfloat16"}
        return {"bf16": {"enabled": False}, "torch_autocast": autocast}
    return {"data_types": {"grad_accum_dtype": "fp32"} | settings.get("data_types", {})}


def precision_in(settings: dict[str, Any]) -> str:
    """The precision of matrix products, "fp32" or "bf16", in DeepSpeed's configuration."""
    places = (settings["bf16"], settings.get("torch_autocast", {}))
    return "bf16" if any(place.get("enabled", False) for place in places) else "fp32"


def chosen_precision(train: TrainConfig, before: str | None = None) -> tuple[Precision, str]:
    """The precision of a run, "fp32" or "bf16", and why; `before`: the one that it began with.

    Raises:
        CheckpointError: `before` is neither.
    """
    if train.precision != "auto":
        return train.precision, "the recipe says so"
    fastest, reason = fastest_precision()
    if before in (None, fastest):
        return fastest, reason
    if before not in ("fp32", "bf16"):
        raise CheckpointError(f"the run's precision must be fp32 or bf16, found {before!r:.80}")
    return cast(
        Precision, before
    ), f"the run started with it; a new run on this machine would use {fastest}: {reason}"


def not_about_untested_optimizers(record: logging.LogRecord) -> bool:
    """A log filter that drops DeepSpeed's untested-optimizer warning: test_muon.py tests Muon."""
    return "untested optimizer" not in record.getMessage()


class Engine:
    """A DeepSpeed engine, with the operations that the training loop needs."""

    def __init__(
        self,
        module: TrainingModule,
        settings: dict[str, Any],
        optimizer: OptimizerConfig,
    ) -> None:
        import deepspeed

        self.kind = OPTIMIZERS[optimizer.name]
        muon = module.masked_model.matrices if self.kind.matrices else []
        self.optimizer = make_optimizer(module, optimizer, muon)
        deepspeed.utils.logger.addFilter(not_about_untested_optimizers)
        self.matrix_share = optimizer.matrix_learning_rate / optimizer.learning_rate
        own = {"zero_force_ds_cpu_optimizer": False}  # else CPU offload allows no other optimizer
        config = own | settings | {"zero_allow_untested_optimizer": True}
        with deepspeed_errors_named(settings), redirect_stdout(StringIO()):  # it prints its memory
            self.deepspeed, *_ = deepspeed.initialize(
                model=module, optimizer=self.optimizer, config=config
            )
        self.module = module
        self.precision = precision_in(settings)
        self.stage = int(self.deepspeed.zero_optimization_stage())
        self.partitions = Partitions(self.deepspeed.optimizer, self.stage, muon)
        if muon:
            self.optimizer.partitions = self.partitions
            self.optimizer.momentum = optimizer.momentum
            self.optimizer.dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        self.parts = int(self.deepspeed.gradient_accumulation_steps())
        self.world_size = torch.distributed.get_world_size()
        self.rank = torch.distributed.get_rank()
        self.device = torch.device(self.deepspeed.device)
        use_fastest_attention(module.masked_model.model, self.precision)
        # counts and errors are exchanged between the CPUs: no GPU has to wait for them
        self.control = torch.distributed.new_group(backend="gloo")
        self.turns = 0  # increases with the work done
        self.forward_time = DeviceTime(self.device)
        self.asked_to_stop = False  # by a signal to any rank; equal on all ranks

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all ranks, in place."""
        torch.distributed.all_reduce(value)
        return value

    def sync_batches(self, batches: list[Batch], error: str | None = None) -> Float[Tensor, ""]:
        """The number of masked positions in all ranks' batches of a step.

        The same exchange between the CPUs tells all ranks whether making the batches failed on any
        rank, and whether any rank received a signal.

        Raises:
            DataError: there is an error on some rank; raised on every rank.
        """
        masked = float(sum(len(batch.labels) for batch in batches))
        counts = torch.tensor([masked, float(error is not None), float(asked())])
        self.turns += 1
        torch.distributed.all_reduce(counts, group=self.control)
        self.turns += 1
        self.asked_to_stop = self.asked_to_stop or bool(counts[2])
        if counts[1]:
            errors: list[str | None] = [None] * self.world_size
            torch.distributed.all_gather_object(errors, error, group=self.control)
            rank = next(rank for rank, text in enumerate(errors) if text is not None)
            raise DataError(f"{errors[rank]} (found by rank {rank})")
        return counts[0]

    def step(
        self, batches: list[Batch], masked: Float[Tensor, ""], rate: float, seed: int
    ) -> tuple[Losses, Tensor]:
        """Take an optimizer step; returns the micro-batches' summed losses and the gradient norm.

        If a loss or the norm is not finite on any rank, the norm is not finite on all ranks, and no
        parameter, moment or step count of the optimizer changes: under ZeRO, DeepSpeed skips the
        update; without ZeRO, the optimizer itself does, on the device.

        The gradient is that of (nats / masked positions of the whole step) + auxiliary losses, for
        any number of ranks and micro-batches: DeepSpeed averages over both, hence `share`.
        """
        for group in self.deepspeed.optimizer.param_groups:
            group["lr"] = rate * self.matrix_share if group["muon"] else rate
        masked = masked.clamp(min=1).to(self.device, non_blocking=True)
        share = self.world_size * self.parts
        collected = []
        for number, batch in enumerate(batches):
            torch.manual_seed(seed + number)
            with self.forward_time, phase("forward"):
                losses = self.deepspeed(batch.to(self.device))
            total = losses.prediction_nats * (share / masked)
            for term in losses.auxiliary.values():
                total = total + term
            with phase("backward"):
                self.deepspeed.backward(spoiled_if_not_finite(total))
            with phase("optimizer"):
                norm = self.gradient_norm() if number == self.parts - 1 else None
                if norm is not None:
                    self.optimizer.found_inf = (~torch.isfinite(norm)).float()
                self.deepspeed.step()
            collected.append(losses)
        return add_up(collected), self.norm_after_step(norm)

    def moments_of(self, parameter: nn.Parameter) -> tuple[str, ...]:
        """The moments of a parameter that a checkpoint must have."""
        matrices = {id(matrix.weight) for matrix in self.partitions.matrices}
        return MUON_MOMENTS if id(parameter) in matrices else self.kind.moments

    def gradient_norm(self) -> Tensor | None:
        """The norm before clipping where DeepSpeed reports none (fp32 without ZeRO); else None."""
        if self.stage > 0 or self.deepspeed.bfloat16_enabled():
            return None
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        return torch.nn.utils.get_total_norm(gradients)

    def norm_after_step(self, norm: Tensor | None) -> Tensor:
        """The gradient norm of the step that was just taken."""
        reported = norm if norm is not None else self.deepspeed.get_global_grad_norm()
        value = torch.as_tensor(
            reported if reported is not None else float("nan"), device=self.device
        )
        return torch.where(value < 0, float("nan"), value)  # DeepSpeed says -1 for not finite

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Losses:
        """The losses of a batch without training on it."""
        self.deepspeed.eval()
        losses = self.deepspeed(batch.to(self.device))
        self.deepspeed.train()
        return losses

    def whole(
        self, parameters: list[nn.Parameter], writer: int | None = None
    ) -> AbstractContextManager:
        """A context with partitioned parameters gathered; rank `writer`'s writes persist."""
        if self.stage < 3:
            return nullcontext()
        import deepspeed

        return deepspeed.zero.GatheredParameters(parameters, modifier_rank=writer)

    def embedding(self) -> Float[Tensor, "vocab hidden"]:
        """A copy of the full word embeddings in float32."""
        weight = self.module.masked_model.embedding
        with self.whole([weight]):
            return weight.detach().float().clone()


def made_batches(ready: Callable[[], list[Batch]]) -> tuple[list[Batch], str | None]:
    """Batches made ahead, or why they could not be made: an error to report to all ranks."""
    try:
        return ready(), None
    except DataError as error:
        return [], str(error)


def spoiled_if_not_finite(loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Turn a non-finite loss into non-finite gradients: then the norm shows it on all ranks.

    A finite loss is multiplied by one, which changes no bit of it or of its gradient.
    """
    fine = torch.isfinite(loss.detach())
    return loss * torch.ones_like(loss).masked_fill(~fine, float("nan"))


def add_up(parts: list[Losses]) -> Losses:
    """The sum of micro-batches' losses; auxiliary terms are equal in each."""
    sums = (sum(getattr(p, name) for p in parts) for name in ("nats", "correct", "positions"))
    prediction = torch.stack([part.prediction_nats.detach() for part in parts]).sum()
    return Losses(prediction, parts[-1].auxiliary, *sums)
