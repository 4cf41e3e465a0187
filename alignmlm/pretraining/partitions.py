"""Where DeepSpeed keeps master weights and moments: whole, or partitioned over the ranks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from alignmlm.models.masked_lm import Matrix


@dataclass(frozen=True, slots=True)
class Partitions:
    """An optimizer's share of a module's parameters under one ZeRO stage."""

    wrapper: Any  # DeepSpeed's optimizer, or the optimizer itself where nothing is divided
    stage: int
    matrices: Sequence[Matrix] = ()  # those that Muon updates

    @property
    def base(self) -> torch.optim.Optimizer:
        """The optimizer below DeepSpeed's wrapper."""
        return getattr(self.wrapper, "optimizer", self.wrapper)

    @property
    def divided(self) -> bool:
        """Whether DeepSpeed keeps master weights of its own, apart from the parameters."""
        return self.wrapper is not self.base

    def masters(self) -> list[tuple[Tensor, dict[str, Any]]]:
        """The tensors that the optimizer keeps moments for on this rank, and their groups."""
        groups = self.base.param_groups
        if self.stage < 3:
            return [(master, group) for group in groups for master in group["params"]]
        flat = enumerate(self.wrapper.fp32_partitioned_groups_flat)
        return [(master, groups[self.wrapper.sub_group_to_group_id[n]]) for n, master in flat]

    def matrices_in(self, master: Tensor) -> list[Matrix]:
        """Muon's matrices of which this master tensor may hold a part, on this or another rank."""
        if not self.divided:
            return [matrix for matrix in self.matrices if matrix.weight is master]
        if self.stage < 3:
            return list(self.matrices)  # they are one group, which is one tensor
        flat = self.wrapper.fp32_partitioned_groups_flat
        number = next(n for n, other in enumerate(flat) if other is master)
        here = {id(parameter) for parameter in self.wrapper.fp16_groups[number]}
        return [matrix for matrix in self.matrices if id(matrix.weight) in here]

    def has_part(self, parameter: Tensor) -> bool:
        """Whether a part of a parameter lies on this rank."""
        if not self.divided or self.stage == 3:
            return True
        return parameter._hp_mapping is not None  # type: ignore[attr-defined]

    def whole(self, parameter: Tensor, moment: str | None) -> Tensor:
        """A full master weight, or one of its moments; all ranks must call it."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        if not self.divided:
            state = self.base.state[parameter]
            return parameter.detach() if moment is None else state[moment]
        if moment is None:
            return safe_get_full_fp32_param(parameter)
        return safe_get_full_optimizer_state(parameter, moment)

    def put(self, parameter: Tensor, value: Tensor, moment: str | None) -> None:
        """Copy a full tensor into a master weight, or into one of its moments."""
        if not self.divided:
            target = parameter if moment is None else self.base.state[parameter][moment]
            target.data.copy_(value)
        elif self.stage < 3:
            parameter.set_full_hp_param(value, moment)  # type: ignore[attr-defined]
        else:
            # set_full_hp_param of stage 3 fails where the world size does not divide the tensor
            part, _ = self.wrapper._get_fp32_opt_state_partition(
                parameter, release_swap_buffers=False, optim_state_key=moment
            )
            ranks, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
            flat = nn.functional.pad(value.flatten(), (0, part.numel() * ranks - value.numel()))
            part.data.copy_(flat[part.numel() * rank :][: part.numel()])
