"""A quadratic: one Hessian everywhere, of which every eigenvalue is given."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._errors import ProblemError
from thalweg._problem import Problem
from thalweg.problems._function import mean


class Quadratic(nn.Module):
    """A model that computes the loss of a sample b itself: ½ θᵀAθ − bᵀθ.

    Args:
        A: symmetric (n, n), kept as a buffer.
        start: θ (n,).
    """

    A: Tensor

    def __init__(self, A: Float[Tensor, "n n"], start: Float[Tensor, " n"]) -> None:
        super().__init__()
        self.register_buffer("A", A)
        self.theta = nn.Parameter(start.detach().clone())

    def forward(self, b: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
        """The losses of some samples."""
        return 0.5 * self.theta @ self.A @ self.theta - b @ self.theta


def quadratic(eigenvalues: Sequence[float] = (1.0, 10.0, 100.0), seed: int = 0) -> Problem:
    """L(θ) = ½ θᵀAθ − bᵀθ with A of these eigenvalues in random directions, from θ = 0, in float64.

    A = QΛQᵀ and b = Aθ*, with θ* drawn from N(0, I): the gradient vanishes at θ*, where
    L = −½ θ*ᵀAθ*. Where all eigenvalues are positive that is the minimum, and Newton's first step
    lands on it; where one is negative there is none. The model is a `Quadratic`, `problem.model.A`
    its matrix, `problem.data` is b.

    Args:
        eigenvalues: of A, at least one, of any sign.
        seed: of the directions and of θ*.

    Raises:
        ProblemError: if there is no eigenvalue, or one is not finite.

    Example:
        >>> import thalweg
        >>> point = thalweg.Surface(quadratic((4.0, -1.0))).here()
        >>> [round(v, 6) for v in torch.linalg.eigvalsh(point.hessian().to_dense()).tolist()]
        [-1.0, 4.0]
    """
    values = torch.tensor(tuple(eigenvalues), dtype=torch.float64)
    if not len(values) or not values.isfinite().all():
        raise ProblemError(
            f"quadratic({tuple(eigenvalues)}); give one eigenvalue or more, finite numbers all"
        )
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn((len(values), len(values)), generator=generator, dtype=torch.float64)
    Q = torch.linalg.qr(normal).Q
    A = (Q * values) @ Q.T
    A = (A + A.T) / 2
    critical = torch.randn(len(values), generator=generator, dtype=torch.float64)
    return Problem(
        Quadratic(A, torch.zeros_like(critical)),
        mean,
        (A @ critical).unsqueeze(0),
        optimizer=lambda params: torch.optim.SGD(params, lr=float(1 / values.abs().max())),
        batch_size=1,
        name="quadratic",
    )
