"""Subspace: gradient and curvature as seen in a few directions, where a step costs nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import BudgetError, OptimizerError
from thalweg.optim._metric import Metric
from thalweg.optim._walk import Proposal, Walk

MAX_DENSE_BYTES = 2 * 2**30
"""Above this the Hessian and its eigenvectors are not written out."""


@dataclass(frozen=True)
class Subspace:
    """The quadratic model m(y) = bᵀy + ½ yᵀΛy of the loss along k orthonormal directions.

    With S = L⁻ᵀ V Q, where M = L Lᵀ, V (n, k) is orthonormal and QΛQᵀ = Vᵀ L⁻¹ C L⁻ᵀ V, a step is
    s = S y, its slope bᵀy with b = Sᵀg, its bend yᵀΛy and its length in the metric ‖y‖.

    Args:
        values: Λ (k,), ascending, float64.
        slopes: b (k,), float64.
        rotation: Q (k, k), float64.
        basis: Vᵀ (k, n); None where V is the identity.
        gradient: L⁻¹ g (n,).
        metric: M.
    """

    values: Float[Tensor, " k"]
    slopes: Float[Tensor, " k"]
    rotation: Float[Tensor, "k k"]
    basis: Float[Tensor, "k n"] | None
    gradient: Float[Tensor, " n"]
    metric: Metric

    @property
    def size(self) -> int:
        """K."""
        return len(self.values)

    @property
    def lowest(self) -> float | None:
        """Λ₁; None where there is no direction."""
        return float(self.values[0]) if self.size else None

    @property
    def highest(self) -> float | None:
        """Λ_k; None where there is no direction."""
        return float(self.values[-1]) if self.size else None

    @property
    def noise(self) -> float:
        """Below it a curvature cannot be told from 0: k ε max |Λ|, the rounding of k products.

        Source: Golub and Van Loan 2013, "Matrix computations", sec. 5.4.1.
        """
        largest = float(self.values.abs().max()) if self.size else 0.0
        return self.size * torch.finfo(self.gradient.dtype).eps * largest

    @property
    def said(self) -> str:
        """The directions of negative curvature in words; "" where there are none."""
        falling = int((self.values < -self.noise).sum())
        return f"negative curvature along {falling} of {self.size} directions" if falling else ""

    def predicted(self, y: Float[Tensor, " k"]) -> float:
        """The decrease −m(y). Cost: k multiplications."""
        return -float(self.slopes @ y) - float((self.values * y) @ y) / 2

    def proposal(self, y: Float[Tensor, " k"], *, is_escape: bool = False) -> Proposal:
        """The step S y. Cost: k n multiplications."""
        y = y.to(self.slopes)
        inner = (self.rotation @ y).to(self.gradient.device, self.gradient.dtype)
        u = inner if self.basis is None else self.basis.T @ inner
        slope, bend = float(self.slopes @ y), float((self.values * y) @ y)
        return Proposal(self.metric.lifted(u), slope, bend, is_escape)


class Space(ABC):
    """In which directions a method looks at the curvature; passed as `subspace`."""

    @abstractmethod
    def read(self, walk: Walk, metric: Metric, generator: torch.Generator) -> Subspace:
        """The quadratic model where the walk starts."""


@dataclass(frozen=True)
class Whole(Space):
    """All directions: `whole_space`.

    Example:
        >>> Whole()
        Whole()
    """

    def read(self, walk: Walk, metric: Metric, generator: torch.Generator) -> Subspace:  # noqa: ARG002
        """The curvature written out."""
        return whole_space(walk, metric)


@dataclass(frozen=True)
class Krylov(Space):
    """The Krylov space of the gradient: `krylov_space`; of a random vector where that is zero.

    Args:
        size: k at most.

    Example:
        >>> Krylov(5)
        Krylov(size=5)
    """

    size: int = 10

    def __post_init__(self) -> None:
        if not self.size >= 1:
            raise OptimizerError(f"Krylov({self.size}); give a whole number of 1 or more")

    def read(self, walk: Walk, metric: Metric, generator: torch.Generator) -> Subspace:
        """Gradient and curvature in `size` directions."""
        start = None
        if walk.gradient_norm == 0:
            start = torch.randn(len(walk.start), generator=generator, dtype=torch.float64)
            start = metric.lifted(start.to(walk.start))
        return krylov_space(walk, metric, self.size, start)


def whole_space(walk: Walk, metric: Metric) -> Subspace:
    """All n directions, the curvature written out: every eigenvalue and eigenvector.

    Args:
        walk: gradient and products.
        metric: M.

    Raises:
        BudgetError: if that takes more than 2 GiB; says how much, and what to use.

    Cost: n products, an eigendecomposition of n × n, 3n² numbers of memory.

    Example:
        >>> import torch
        >>> from thalweg.optim import ClosureObjective, Identity, Walk
        >>> from thalweg.surface import HESSIAN
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> loss = lambda: w[0] ** 2 - 2 * w[1] ** 2
        >>> walk = Walk(ClosureObjective(loss, [w], 1.0), 1.0, HESSIAN)
        >>> whole_space(walk, Identity()).values
        tensor([-4.,  2.], dtype=torch.float64)
    """
    n = len(walk.start)
    needed = 3 * n * n * 8
    if needed > MAX_DENSE_BYTES:
        raise BudgetError(
            f"the dense Hessian of {n:,} parameters and its eigenvectors take "
            f"{needed / 2**30:,.1f} GiB, more than the 2 GiB allowed here; use "
            f"SaddleFreeNewton, NewtonCG or TrustRegionCG, which need products only"
        )
    columns = torch.empty(n, n, dtype=torch.float64, device=walk.start.device)
    unit = torch.zeros_like(walk.start)
    for i in range(n):
        unit[i] = 1.0
        columns[i] = metric.whitened(walk.product(metric.lifted(unit)))
        unit[i] = 0.0
    values, rotation = torch.linalg.eigh((columns + columns.T) / 2)
    gradient = metric.whitened(walk.gradient)
    return Subspace(values, rotation.T @ gradient.double(), rotation, None, gradient, metric)


def krylov_space(
    walk: Walk, metric: Metric, size: int, previous: Float[Tensor, " n"] | None = None
) -> Subspace:
    """The last step, and the Krylov space of the gradient: {d, g̃, C̃g̃, C̃²g̃, …}, C̃ = L⁻¹ C L⁻ᵀ.

    Args:
        walk: gradient and products.
        metric: M.
        size: k at most; fewer where the space is exhausted.
        previous: d, a step that is kept as a direction; None or zero for none.

    Cost: k products; k vectors; each orthogonalised twice against those before.

    Source: Lanczos 1950; full reorthogonalisation after Parlett 1998, "The symmetric eigenvalue
    problem", §6.9; the last step as a direction after Martens and Grosse 2015, §7.

    Example:
        >>> import torch
        >>> from thalweg.optim import ClosureObjective, Identity, Walk
        >>> from thalweg.surface import HESSIAN
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> loss = lambda: w[0] ** 2 - 2 * w[1] ** 2
        >>> walk = Walk(ClosureObjective(loss, [w], 1.0), 1.0, HESSIAN)
        >>> krylov_space(walk, Identity(), size=2).values.round(decimals=6)
        tensor([-4.,  2.], dtype=torch.float64)
    """
    n = len(walk.start)
    size = min(size, n)
    basis = torch.empty(size, n, dtype=walk.start.dtype, device=walk.start.device)
    gradient = metric.whitened(walk.gradient)
    tiny = 64 * torch.finfo(gradient.dtype).eps
    starts = [gradient] if previous is None else [metric.measured(previous), gradient]
    # Row j holds the product of vector j along all that were there, as it was taken off twice.
    taken = basis.new_zeros(2, size, size)
    count = 0
    for start in starts:
        if count < size and _appended(basis, count, start, tiny):
            count += 1
    done = 0
    while done < count:
        image = metric.whitened(walk.product(metric.lifted(basis[done])))
        rest = _orthogonalised(basis[:count], image, taken[:, done, :count])
        # Only the chain that starts at the gradient is continued.
        if done == count - 1 and count < size:
            length = float(torch.linalg.vector_norm(rest))
            if length > tiny * float(torch.linalg.vector_norm(image)):
                torch.div(rest, length, out=basis[count])
                count += 1
        done += 1
    # Symmetric but for rounding: the lower triangle alone is read.
    values, rotation = torch.linalg.eigh(taken[:, :count, :count].double().sum(0).cpu())
    if walk.curvature is not None and not walk.curvature.is_hessian:
        # The GGN has no negative eigenvalue: what is below zero is rounding of its products.
        values = values.clamp_min(0.0)
    slopes = rotation.T @ (basis[:count] @ gradient).double().cpu()
    return Subspace(values, slopes, rotation, basis[:count], gradient, metric)


def _appended(basis: Tensor, count: int, vector: Tensor, tiny: float) -> bool:
    length = float(torch.linalg.vector_norm(vector))
    if not length > 0:
        return False
    rest = vector / length
    if count:
        rest = _orthogonalised(basis[:count], rest, basis.new_empty(2, count))
    left = float(torch.linalg.vector_norm(rest))
    if not left > tiny:
        return False
    torch.div(rest, left, out=basis[count])
    return True


def _orthogonalised(
    basis: Float[Tensor, "j n"], vector: Float[Tensor, " n"], taken: Float[Tensor, "2 j"]
) -> Float[Tensor, " n"]:
    """What is left of a vector outside the basis; what two turns take off goes to `taken`."""
    for coefficients in taken:
        torch.mv(basis, vector, out=coefficients)
        vector = torch.addmv(vector, basis.T, coefficients, alpha=-1.0)
    return vector
