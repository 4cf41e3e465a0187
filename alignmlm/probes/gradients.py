"""Cosines between the gradients of two losses, by part of the model.

Negative: a step for one loss undoes some of the other's. Source: Yu et al., 2020
(arXiv:2001.06782), section 2.2; for languages, Wang et al., 2021 (arXiv:2010.05874), section 3.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alignmlm.models.layers import encoder_layers
from alignmlm.models.masked_lm import MaskedLanguageModel
from alignmlm.probes.words import Metrics

Gradient = Sequence[Tensor | None]  # of each parameter; None: the loss does not depend on it


def parts_of(model: MaskedLanguageModel) -> dict[str, list[nn.Parameter]]:
    """The parameters of the embeddings, of each layer from 1 up, and of all else: the head.

    The embeddings are the output matrix too. Every parameter is in one part.
    """
    encoder = model.parts.encoder(model.model)
    layers = enumerate(encoder_layers(encoder) or [], start=1)
    modules: dict[str, Any] = {"embeddings": encoder.embeddings} | {
        f"layer_{n}": layer for n, layer in layers
    }
    parts = {name: list(module.parameters()) for name, module in modules.items()}
    known = {id(parameter) for part in parts.values() for parameter in part}
    parts["head"] = [each for each in model.parameters() if id(each) not in known]
    return parts


def gradient_of(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Gradient:
    """The gradient of a loss; its graph is kept."""
    return torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)


def cosine(one: Gradient, other: Gradient) -> float | None:
    """The cosine of two gradients in [-1, 1]; None where one of them is zero."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    product = sum(float((a * b).sum()) for a, b in pairs)
    squares = [sum(float(g.square().sum()) for g in own if g is not None) for own in (one, other)]
    return product / (squares[0] * squares[1]) ** 0.5 if all(squares) else None


def gradient_cosines(model: MaskedLanguageModel, one: Tensor, other: Tensor) -> Metrics:
    """The cosine between the gradients of two losses, by part; parts without one are left out."""
    metrics: Metrics = {}
    for name, parameters in parts_of(model).items():
        if parameters:
            found = cosine(gradient_of(one, parameters), gradient_of(other, parameters))
            metrics |= {} if found is None else {f"{name}/gradient_cosine": found}
    return metrics
