"""Lanczos: a symmetric matrix seen from one vector, as a small tridiagonal one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._basis import Basis, BasisStorage
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._operator import SymmetricOperator

# A residual below this many roundings of ‖T‖ is rounding: the space is invariant. (At dimension r
# + 1 of a dense rank-r matrix, n ≤ 1000, r ≤ 40, it measures 1 to 45 of them, seldom more.)
_BREAKDOWN_ROUNDINGS = 50.0


@dataclass(frozen=True, eq=False)
class Tridiagonal:
    """What m Lanczos steps found: A Q = Q T + β_m q_{m+1} e_mᵀ.

    T is tridiagonal, with `alphas` on its diagonal and all but the last of `betas` beside it.

    Attributes:
        alphas: α₁ … α_m. [the operator's unit]
        betas: β₁ … β_m; the last is the norm of the residual. [the operator's unit]
        basis: Q, with orthonormal columns; the first is the start, normalised.
        is_invariant: The run broke down: the columns of Q span an invariant subspace of A to
            rounding, and the eigenvalues of T are eigenvalues of A.
        defect: ‖QᵀAQ − T‖_F, measured on the way: asymmetry and noise of the operator, and
            rounding. [the operator's unit]
        num_products: Products taken.
        route: How products were computed, in words; "" for an operator that does not say.
    """

    alphas: Float[Tensor, "m"]
    betas: Float[Tensor, "m"]
    basis: Float[Tensor, "n m"]
    is_invariant: bool
    defect: float
    num_products: int
    route: str = ""


class LanczosRun:
    """A Lanczos run that can be extended, and restarted where it broke down."""

    def __init__(
        self,
        op: CountedOperator,
        start: Float[Tensor, "n"],
        storage: BasisStorage | None = None,
    ) -> None:
        self._op = op
        self.basis = Basis(op.size, op.dtype, op.device, storage)
        self.alphas: list[float] = []
        self.betas: list[float] = []
        self.defect = 0.0
        self.scale = 0.0
        self.is_invariant = False
        self.block_start = 0
        self.first_block: int | None = None
        self._next: Tensor | None = start / torch.linalg.vector_norm(start)

    @property
    def num_steps(self) -> int:
        """Steps taken, m."""
        return len(self.alphas)

    @property
    def num_products(self) -> int:
        """Products taken by the operator so far."""
        return self._op.num_products

    @property
    def ahead(self) -> Float[Tensor, "n"]:
        """The next basis vector, q_{m+1}."""
        assert self._next is not None, "a closed space has no next vector"
        return self._next

    @property
    def is_closed(self) -> bool:
        """The space is invariant, or so nearly that rounding alone may have led out of it.

        An earlier small β magnifies rounding in the direction after it, so a space that should
        be invariant may show a β above the breakdown's floor: up to ε^⅔ ‖T‖ it is not trusted.
        """
        return self.is_invariant or self.betas[-1] <= self.eps ** (2 / 3) * self.scale

    @property
    def eps(self) -> float:
        """The rounding of the operator's dtype, or of the basis as it is stored."""
        return max(torch.finfo(self._op.dtype).eps, self.basis.eps)

    @property
    def rounding(self) -> float:
        """How far the numbers of T may be from those of A by rounding and asymmetry.

        ‖QᵀAQ − T‖_F as measured, plus ε‖T‖(10 + √m) for what a projection on Q cannot see: m
        steps whose local roundings are independent.
        """
        return self.defect + self.eps * self.scale * (10.0 + math.sqrt(self.num_steps))

    def extend(self, num_steps: int) -> None:
        """Take up to `num_steps` further steps; stop early at breakdown."""
        for _ in range(num_steps):
            if self.is_invariant:
                return
            self.take(self._op @ self.begin())

    def begin(self) -> Float[Tensor, "n"]:
        """Take the next basis vector in, and return it; `take` wants its product."""
        if self.betas and self.is_closed:
            self.block_start = self.num_steps
        self.basis.append(self.ahead)
        # It lives in the basis from now on: no second copy beside the product.
        self._next = None
        return self.basis.vector(self.num_steps)

    def take(self, product: Float[Tensor, "n"]) -> None:
        """Finish the step that `begin` began, with A q."""
        before = self.betas[-1] if self.betas else 0.0
        rest, coefficients = self.basis.project_out(product)
        beta, alpha, discarded = self._read(rest, coefficients, before)
        self.alphas.append(alpha)
        self.betas.append(beta)
        self.defect = math.hypot(self.defect, discarded)
        self.scale = max(self.scale, before + abs(alpha) + beta)
        floor = _BREAKDOWN_ROUNDINGS * self.eps * self.scale
        if beta <= floor or self.num_steps == self._op.size:
            self.is_invariant = True
            self.first_block = self.first_block or self.num_steps
        else:
            self._next = rest.div_(beta)

    def _read(
        self, rest: Float[Tensor, "n"], coefficients: Float[Tensor, "m"], before: float
    ) -> tuple[float, float, float]:
        """Read β, α and what QᵀAq has beside them, in one transfer from the device."""
        # A symmetric A leaves only β_{m−1} and α_m here: the remainder is measured, not assumed.
        unexpected = coefficients[:-1].clone()
        unexpected[-1:] -= before
        norms = [torch.linalg.vector_norm(rest), torch.linalg.vector_norm(unexpected)]
        beta, discarded, alpha = torch.stack([*norms, coefficients[-1]]).tolist()
        if not math.isfinite(alpha + beta + discarded):
            raise OperatorError(
                f"op @ v: product {self.num_products} of this run is finite but its square "
                f"overflows {self._op.dtype}; scale the operator, (1e-10 * op), or use float64."
            )
        return beta, alpha, discarded

    def restart(self, direction: Float[Tensor, "n"]) -> None:
        """Go on after a breakdown from a new direction, with β = 0 between the two blocks.

        The complement of an invariant subspace is invariant too, so T stays tridiagonal. Only
        a restart finds the second copy of a repeated eigenvalue.
        """
        rest, _ = self.basis.project_out(direction)
        self._next = rest.div_(torch.linalg.vector_norm(rest))
        self.defect = math.hypot(self.defect, self.betas[-1])
        self.betas[-1] = 0.0
        self.is_invariant = False


def extend_together(op: CountedOperator, runs: Sequence[LanczosRun], num_steps: int) -> None:
    """Extend several runs on one operator, their products taken as blocks; each may break down.

    Every run is what it would be alone, but for the rounding of a block.
    """
    for _ in range(num_steps):
        going = [run for run in runs if not run.is_invariant]
        if not going:
            return
        block = op @ torch.stack([run.begin() for run in going], dim=1)
        # In one piece each, as the run alone would get it.
        for run, product in zip(going, block.T.contiguous(), strict=True):
            run.take(product)


def lanczos(op: SymmetricOperator, start: Float[Tensor, "n"], num_steps: int) -> Tridiagonal:
    """Take Lanczos steps from a start vector, with full reorthogonalisation.

        A Q = Q T + β_m q_{m+1} e_mᵀ,   QᵀQ = I,   q₁ = start/‖start‖

    Stops early where β_m falls below 50 roundings of ‖T‖: the space is then invariant.

    Args:
        op: Symmetric n×n operator.
        start: Nonzero vector of shape (n,).
        num_steps: Steps wanted, at least 1; at most n are taken.

    Returns:
        A `Tridiagonal` of m ≤ num_steps steps. [the operator's unit]

    Raises:
        OperatorError: The start is zero, does not fit the operator, or num_steps < 1; a
            product is NaN or infinite.

    Cost: m products, 4m²n operations of reorthogonalisation, m vectors of memory.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, lanczos
        >>> op = MatrixOperator(torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
        >>> lanczos(op, torch.tensor([1.0, 0.0]), 2).alphas
        tensor([2., 2.])

    Source: Lanczos 1950; Paige 1976 for the recurrence. Each new vector is made orthogonal to
    the whole basis by classical Gram-Schmidt, twice (Giraud, Langou and Rozložník 2005), which
    costs memory and is what keeps T right beyond some fifty steps.
    """
    if num_steps < 1:
        raise OperatorError(
            f"lanczos(op, start, num_steps={num_steps}): give at least one step, num_steps >= 1."
        )
    op.check_factor(start)
    start = start.detach()
    if float(torch.linalg.vector_norm(start)) == 0.0:
        raise OperatorError(
            "lanczos(op, start): the start is the zero vector; give a nonzero one, for "
            "instance torch.randn(op.size, generator=g)."
        )
    run = LanczosRun(CountedOperator(op, "lanczos"), start)
    run.extend(num_steps)
    return Tridiagonal(
        alphas=torch.tensor(run.alphas, dtype=op.dtype, device=op.device),
        betas=torch.tensor(run.betas, dtype=op.dtype, device=op.device),
        basis=run.basis.to_tensor(),
        is_invariant=run.is_invariant,
        defect=run.defect,
        num_products=run.num_products,
        route=op.said,
    )
