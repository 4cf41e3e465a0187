"""Parameters and optimizer state as whole fp32 tensors, whatever the ZeRO stage and world size."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alignmlm.errors import CheckpointError
from alignmlm.pretraining.checkpoints import CHECKPOINTS, Progress, load_state, newest_checkpoint
from alignmlm.pretraining.engine import Engine
from alignmlm.ranks.first_rank import on_first_rank

MOMENTS = ("exp_avg", "exp_avg_sq")


def partitioned(engine: Engine) -> bool:
    """Whether DeepSpeed keeps master weights of its own, apart from the module's parameters."""
    return engine.deepspeed.optimizer is not base_optimizer(engine)


def base_optimizer(engine: Engine) -> torch.optim.Optimizer:
    """The AdamW below DeepSpeed's wrapper."""
    wrapper = engine.deepspeed.optimizer
    return getattr(wrapper, "optimizer", wrapper)


def masters(engine: Engine) -> list[Tensor]:
    """The tensors that AdamW keeps its moments for, on this rank."""
    if engine.stage == 3:
        return list(engine.deepspeed.optimizer.fp32_partitioned_groups_flat)
    groups = base_optimizer(engine).param_groups
    return [parameter for group in groups for parameter in group["params"]]


def collect_state(engine: Engine) -> dict[str, Tensor]:
    """Every parameter and its moments, whole, on the CPU of rank 0; all ranks must call it."""
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    state: dict[str, Tensor] = {}
    for name, parameter in engine.module.named_parameters():
        if partitioned(engine):
            found = {"parameter": safe_get_full_fp32_param(parameter)}
            for moment in MOMENTS:
                found[moment] = safe_get_full_optimizer_state(parameter, moment)
        else:
            kept = base_optimizer(engine).state[parameter]
            found = {"parameter": parameter.detach(), **{m: kept[m] for m in MOMENTS}}
        if engine.rank == 0:
            state |= {f"{kind}/{name}": value.cpu().clone() for kind, value in found.items()}
    return state


def share_state(state: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The state that rank 0 has, on every rank: only rank 0 reads the folder of a run."""
    shapes = [{name: value.shape for name, value in state.items()}]
    torch.distributed.broadcast_object_list(shapes)
    if torch.distributed.get_world_size() == 1:
        return state
    shared: dict[str, Tensor] = {}
    for name, shape in shapes[0].items():
        value = state[name].to(device) if state else torch.empty(shape, device=device)
        torch.distributed.broadcast(value, src=0)
        shared[name] = value.cpu()
    return shared


def resume(folder: Path) -> tuple[Progress, dict] | None:
    """The newest whole checkpoint of a run and its tensors, if it has one, as rank 0 found it.

    Raises:
        CheckpointError: there are checkpoints, and none is whole; on every rank.
    """
    state: dict[str, Tensor] = {}

    def read() -> Progress | None:
        found = newest_checkpoint(folder / CHECKPOINTS)
        if found is not None:
            state.update(load_state(found[0]))
        return None if found is None else found[1]

    progress = on_first_rank(read)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return None if progress is None else (progress, share_state(state, device))


def check_state(module: nn.Module, state: dict[str, Tensor], prefix: str = "") -> None:
    """Whether a state is one of this model, whose names there have a prefix.

    Raises:
        CheckpointError: a tensor is missing, too much, or of another shape or type.
    """
    expected = {
        f"{kind}/{prefix}{name}": parameter.shape
        for name, parameter in module.named_parameters()
        for kind in ("parameter", *MOMENTS)
    }
    if odd := sorted(expected.keys() ^ state.keys()):
        raise CheckpointError(f"the checkpoint is of another model; they differ in {odd[:3]}")
    for name, shape in expected.items():
        found = state[name]
        if found.shape != shape or found.dtype != torch.float32:
            told = f"{found.dtype} of shape {tuple(found.shape)}, the model's {tuple(shape)}"
            raise CheckpointError(f"the checkpoint is of another model: {name} is {told}")


def load_parameters(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Put saved parameters into a module that DeepSpeed has not seen yet.

    Raises:
        CheckpointError: they are of another model.
    """
    check_state(module, state)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(state[f"parameter/{name}"])


def start_moments(engine: Engine, steps: int) -> None:
    """Give every master weight zero moments after `steps` steps.

    AdamW would make them at its first step; but DeepSpeed links the moments of ZeRO 1 and 2 to
    the parameters after the step of the first parameter group, when the second has none yet.
    """
    kept: dict[Any, dict[str, Tensor]] = base_optimizer(engine).state
    for master in masters(engine):
        kept[master] = {moment: torch.zeros_like(master) for moment in MOMENTS}
        kept[master]["step"] = torch.tensor(float(steps), device=master.device)
    if partitioned(engine) and engine.stage < 3:
        engine.deepspeed.optimizer._lazy_init_hp_params_optimizer_state()


def restore_state(engine: Engine, state: dict[str, Tensor]) -> None:
    """Put saved master weights and moments into an engine whose moments were started."""
    for name, parameter in engine.module.named_parameters():
        for kind in ("parameter", *MOMENTS):
            value = state[f"{kind}/{name}"].to(engine.device)
            put(engine, parameter, value, None if kind == "parameter" else kind)


def put(engine: Engine, parameter: nn.Parameter, value: Tensor, moment: str | None) -> None:
    """Copy a whole tensor into a master weight, or into one of its moments."""
    if not partitioned(engine):
        target = parameter if moment is None else base_optimizer(engine).state[parameter][moment]
        target.data.copy_(value)
    elif engine.stage < 3:
        parameter.set_full_hp_param(value, moment)  # type: ignore[attr-defined]
    else:
        # set_full_hp_param of stage 3 fails where the world size does not divide the tensor
        zero = engine.deepspeed.optimizer
        part, _ = zero._get_fp32_opt_state_partition(
            parameter, release_swap_buffers=False, optim_state_key=moment
        )
        room = part.numel() * engine.world_size - value.numel()
        whole = nn.functional.pad(value.flatten(), (0, room))
        part.data.copy_(whole[part.numel() * engine.rank :][: part.numel()])
