"""A function of a few numbers as a Problem: values, or residuals to be squared."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from thalweg._errors import ProblemError
from thalweg._problem import Problem


def from_function(f: Callable[[Tensor], Tensor], start: Tensor, name: str = "") -> Problem:
    """The problem whose loss is L(θ) = f(θ), whatever the data.

    The model holds θ, in the dtype of `start`, and its output is the loss itself: there is nothing
    between them for a GGN to go by, which is 0 here. See `from_residuals` for that.

    Args:
        f: θ (n,) to a scalar, in torch operations.
        start: θ where reading and training begin.
        name: a title for reports.

    Raises:
        ProblemError: if `f` gives no scalar, or `start` is no vector of real numbers.

    Example:
        >>> import thalweg
        >>> bowl = from_function(lambda θ: (θ**2).sum(), torch.tensor([3.0, 4.0]))
        >>> thalweg.Surface(bowl).here().value
        25.0
    """
    return _problem(f, start, name, 0, mean)


def from_residuals(r: Callable[[Tensor], Tensor], start: Tensor, name: str = "") -> Problem:
    """The problem of least squares L(θ) = ‖r(θ)‖², whatever the data; its GGN is 2 JᵀJ.

    Args:
        r: θ (n,) to residuals (m,), in torch operations.
        start: θ where reading and training begin.
        name: a title for reports.

    Raises:
        ProblemError: if `r` gives no vector, or `start` is no vector of real numbers.

    Example:
        >>> import thalweg
        >>> line = from_residuals(lambda θ: 2 * θ - 1, torch.tensor([3.0, 4.0]))
        >>> thalweg.Surface(line).here().ggn().to_dense()
        tensor([[8., 0.],
                [0., 8.]])
    """
    return _problem(r, start, name, 1, sum_of_squares)


def mean(values: Tensor) -> Tensor:
    """The loss of a model that computes the loss of each sample itself."""
    return values.mean()


def sum_of_squares(residuals: Tensor) -> Tensor:
    """‖r‖² of a sample, mean over samples."""
    return residuals.square().sum(1).mean()


class _Function(nn.Module):
    """θ, and a function of it for every sample alike."""

    def __init__(self, f: Callable[[Tensor], Tensor], start: Tensor) -> None:
        super().__init__()
        self.f = f
        self.theta = nn.Parameter(start.detach().clone())

    def forward(self, samples: Tensor) -> Tensor:
        """The value (b,), or the residuals (b, m)."""
        value = self.f(self.theta)
        return value.expand(len(samples), *value.shape)


def _problem(
    f: Callable[[Tensor], Tensor],
    start: Tensor,
    name: str,
    num_axes: int,
    loss: Callable[[Tensor], Tensor],
) -> Problem:
    if start.ndim != 1 or not len(start) or not start.is_floating_point():
        raise ProblemError(
            f"start has shape {tuple(start.shape)} and dtype {start.dtype}; give a vector of real "
            f"numbers, torch.tensor([1.0, 2.0])"
        )
    value = f(start.detach())
    if not isinstance(value, Tensor) or value.ndim != num_axes:
        found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ProblemError(
            f"the function gives {found} at the start; from_function takes one that gives a scalar "
            f"tensor, from_residuals one that gives a vector"
        )
    sample = torch.zeros((1, 1), dtype=start.dtype, device=start.device)
    return Problem(
        _Function(f, start),
        loss,
        sample,
        optimizer=lambda params: torch.optim.Adam(params, lr=0.01),
        batch_size=1,
        name=name,
    )
