"""Losses that are sums of squares, and the pairs of inputs and targets under them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._problem import Problem
from thalweg.problems._linear_networks import half_squares


def is_squares(problem: Problem) -> bool:
    """Whether L = c Σ‖f(x) − y‖² for some c."""
    loss = problem.loss
    return (
        loss is half_squares
        or loss is nn.functional.mse_loss
        or (type(loss) is nn.MSELoss and loss.reduction != "none")
    )


def pairs(problem: Problem) -> tuple[Float[Tensor, "N d"], Float[Tensor, "N m"]] | None:
    """All inputs and all targets, a row each, in float64; None where the data are no such pairs."""
    inputs, targets = [], []
    for batch in problem.batches:
        if not (isinstance(batch, tuple | list) and len(batch) == 2):
            return None
        x, y = batch
        if not isinstance(x, Tensor) or not isinstance(y, Tensor) or not x.ndim == y.ndim == 2:
            return None
        inputs.append(x.double())
        targets.append(y.double())
    if len({x.shape[1] for x in inputs}) != 1 or len({y.shape[1] for y in targets}) != 1:
        return None
    return torch.cat(inputs), torch.cat(targets)
