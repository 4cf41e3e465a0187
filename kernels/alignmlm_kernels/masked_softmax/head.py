"""The linear layer before a softmax, as the kernels take it."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Head(NamedTuple):
    """A linear layer before a softmax, its inputs and labels; -1 is no label."""

    hidden: Float[Tensor, "masked hidden"]
    weight: Float[Tensor, "vocab hidden"]
    bias: Float[Tensor, " vocab"] | None
    labels: Int[Tensor, " masked"]

    def part(self, start: int, stop: int) -> "Head":
        """The head restricted to the tokens from `start` to `stop` of the vocabulary."""
        here = (self.labels >= start) & (self.labels < stop)
        labels = torch.where(here, self.labels - start, -1)
        bias = None if self.bias is None else self.bias[start:stop]
        return Head(self.hidden, self.weight[start:stop], bias, labels)

    def cast(self, dtype: torch.dtype) -> "Head":
        """The head with the factors of its product in another type; the bias keeps its own."""
        return self._replace(hidden=self.hidden.to(dtype), weight=self.weight.to(dtype))
