"""Parameters and optimizer state as full fp32 tensors, for any ZeRO stage and world size."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alignmlm.errors import CheckpointError
from alignmlm.pretraining.checkpoints import CHECKPOINTS, Progress, load_state, newest_checkpoint
from alignmlm.pretraining.engine import Engine
from alignmlm.pretraining.optimizers import MUON_MOMENTS
from alignmlm.ranks.rank_zero import on_rank_zero


def collect_state(engine: Engine) -> dict[str, Tensor]:
    """All parameters and moments as full tensors on the CPU of rank 0; all ranks must call it."""
    state: dict[str, Tensor] = {}
    for name, parameter in engine.module.named_parameters():
        for moment in (None, *engine.moments_of(parameter)):
            value = engine.partitions.whole(parameter, moment)
            if engine.rank == 0:
                state[f"{moment or 'parameter'}/{name}"] = value.cpu().clone()
    return state


def share_state(state: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Broadcast rank 0's state to every rank: only rank 0 reads the folder of a run."""
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


def newest_state(folder: Path) -> tuple[Progress, dict[str, Tensor]] | None:
    """The newest whole checkpoint of a run and its tensors, if it has one.

    Raises:
        CheckpointError: there are checkpoints, and none is whole.
    """
    newest = newest_checkpoint(folder / CHECKPOINTS)
    return None if newest is None else (newest[1], load_state(newest[0]))


def resume(folder: Path) -> tuple[Progress, dict[str, Tensor]] | None:
    """The newest whole checkpoint of a run and its tensors, if it has one, as rank 0 found it.

    Raises:
        CheckpointError: there are checkpoints, and none is whole; on every rank.
    """
    saved = on_rank_zero(newest_state)(folder)
    progress, state = saved or (None, {})
    shared = [progress]
    torch.distributed.broadcast_object_list(shared)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return None if shared[0] is None else (shared[0], share_state(state, device))


def check_state(module: nn.Module, state: dict[str, Tensor], prefix: str = "") -> None:
    """Raise unless a state belongs to this model; in it, `prefix` precedes the model's names.

    Raises:
        CheckpointError: a tensor is missing, unexpected, or of another shape or type.
    """
    expected: dict[str, torch.Size] = {}
    moments = {key.partition("/")[0] for key in state} - {"parameter", *MUON_MOMENTS}
    for name, parameter in module.named_parameters():
        muon = f"{MUON_MOMENTS[0]}/{prefix}{name}" in state
        kinds = ("parameter", *(MUON_MOMENTS if muon else moments))
        expected |= {f"{kind}/{prefix}{name}": parameter.shape for kind in kinds}
    if odd := sorted(expected.keys() ^ state.keys()):
        raise CheckpointError(f"the checkpoint is of another model; they differ in {odd[:3]}")
    for name, shape in expected.items():
        tensor = state[name]
        if tensor.shape != shape or tensor.dtype != torch.float32:
            mismatch = f"{tensor.dtype} of shape {tuple(tensor.shape)}, the model's {tuple(shape)}"
            raise CheckpointError(f"the checkpoint is of another model: {name} is {mismatch}")


def load_parameters(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Load saved parameters into a module that DeepSpeed has not wrapped yet.

    Raises:
        CheckpointError: they are of another model.
    """
    check_state(module, state)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(state[f"parameter/{name}"])


def start_moments(engine: Engine, steps: int) -> None:
    """Give every master weight zero moments and a step count of `steps`.

    AdamW would create them at its first step; but DeepSpeed links the moments of ZeRO 1 and 2 to
    the parameters after the step of the first parameter group, when the second has none yet.
    """
    parts = engine.partitions
    moments_of: dict[Any, dict[str, Tensor]] = parts.base.state
    for master, group in parts.masters():
        moments = (*MUON_MOMENTS, "update") if group["muon"] else engine.kind.moments
        moments_of[master] = {moment: torch.zeros_like(master) for moment in moments}
        moments_of[master]["step"] = torch.tensor(float(steps), device=master.device)
    if parts.divided and parts.stage < 3:
        parts.wrapper._lazy_init_hp_params_optimizer_state()


def restore_state(engine: Engine, state: dict[str, Tensor]) -> None:
    """Load saved master weights and moments into an engine whose moments exist.

    Raises:
        CheckpointError: they are those of another optimizer.
    """
    for name, parameter in engine.module.named_parameters():
        for moment in (None, *engine.moments_of(parameter)):
            value = state.get(f"{moment or 'parameter'}/{name}")
            if value is None:
                raise CheckpointError(f"the checkpoint is of another optimizer: no {moment}/{name}")
            engine.partitions.put(parameter, value.to(engine.device), moment)
