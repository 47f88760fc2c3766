"""The flow of a quadratic, exactly: e^{−Ht} in one Krylov space for all times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isinf

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg.gradient_flow._field import Field, Place
from thalweg.gradient_flow._integrator import FlowStuck, Integrator, Node, Step, check_tol, size_of
from thalweg.gradient_flow._krylov import KrylovSpace, truncation
from thalweg.gradient_flow._phi import phi
from thalweg.linalg import SymmetricOperator

_ALIKE = 1e-6
"""Gradients of a quadratic differ by H times the difference, to this share."""

_NUM_MOMENTS = 64

MOST_PRODUCTS = 1000
"""So many products are taken at most where nothing else is said; each keeps a vector."""


@dataclass(frozen=True, eq=False)
class QuadraticFlow:
    """θ(t) of L = ½ (θ − θ₀)ᵀH(θ − θ₀) + gᵀ(θ − θ₀), from θ₀, with one rate e^{−λᵢt} a mode.

        θ(t) − θ₀ = −t φ₁(−tH) g → −H⁻¹ g where H is positive definite

    Args:
        rates: λᵢ of the modes that g excites: Ritz values, ascending [loss/param²].
        slopes: the gradient's coordinate along each [loss/param].
        residues: what H does to each mode beyond the space [loss²/param³].
        num_products: products taken.
        until: the time up to which the space was grown.
        modes: Ritz vectors, one a column, to which rates and slopes belong.
    """

    rates: NDArray[np.float64]
    slopes: NDArray[np.float64]
    residues: NDArray[np.float64]
    num_products: int
    until: float
    modes: Float[Tensor, "n m"]

    def moved(self, time: float) -> Float[Tensor, " n"]:
        """θ(t) − θ₀; at infinity −H⁻¹ g.

        Raises:
            ThalwegError: at infinity, if some rate is not positive: there is no minimum.
        """
        if isinf(time) and not self.converges:
            raise ThalwegError(
                f"the flow has no limit: a mode has the rate {self.rates.min():.3g}, which is "
                f"not positive; ask for a finite time"
            )
        return self._lifted(_coordinates(self.rates, self.slopes, time))

    def velocity(self, time: float) -> Float[Tensor, " n"]:
        """θ̇(t) = −e^{−tH} g [loss/param]."""
        return self._lifted(-phi(-time * self.rates, 0)[0] * self.slopes)

    def energy(self, time: float) -> float:
        """∫₀ᵗ‖∇L‖² = Σ gᵢ² t φ₁(−2λᵢt) = L(0) − L(t) [loss]."""
        return float(np.square(self.slopes) @ (time * phi(-2 * time * self.rates, 1)[1]))

    def error_at(self, time: float) -> float:
        """Estimate of ‖error of θ(t)‖ [param].

        The first term of its series (Saad 1992, theorem 5.1); at infinity the gradient that is left
        there over the least rate, which bounds it where the least Ritz value is that of H.
        """
        return _error(self.rates, self.residues, time)

    @property
    def error(self) -> float:
        """`error_at` the time `until` which it was wanted [param]."""
        return self.error_at(self.until)

    def length(self, time: float) -> float:
        """‖θ(t) − θ₀‖ [param]."""
        return float(np.linalg.norm(_coordinates(self.rates, self.slopes, time)))

    @property
    def converges(self) -> bool:
        """Whether all rates are positive: the flow ends in a minimum."""
        return bool((self.rates > 0).all())

    def _lifted(self, along_modes: NDArray[np.float64]) -> Tensor:
        return self.modes @ self.modes.new_tensor(along_modes)


def _coordinates(
    rates: NDArray[np.float64], slopes: NDArray[np.float64], time: float
) -> NDArray[np.float64]:
    if isinf(time):
        return -slopes / rates
    along: NDArray[np.float64] = -time * phi(-time * rates, 1)[1] * slopes
    return along


def _error(rates: NDArray[np.float64], residues: NDArray[np.float64], time: float) -> float:
    if not residues.any():
        return 0.0
    if not isinf(time):
        return truncation(rates, residues, time, 1)
    least = float(np.abs(rates).min())
    return abs(float(residues @ (1 / rates))) / least if least > 0 else inf


def quadratic_flow(
    hessian: SymmetricOperator,
    gradient: Float[Tensor, " n"],
    until: float = inf,
    *,
    tol: float = 1e-10,
    max_products: int = MOST_PRODUCTS,
) -> QuadraticFlow:
    """The exact flow of a quadratic, from its Hessian and the gradient where it begins.

        θ(t) − θ₀ ≈ −‖g‖ Q t φ₁(−tT) e₁,   HQ = QT + β q e_mᵀ

    Args:
        hessian: H.
        gradient: g = ∇L(θ₀).
        until: the time up to which it is wanted; infinity for the minimum too [param²/loss].
        tol: of ‖θ(t) − θ₀‖'s error, as a share of it.
        max_products: the most products with H.

    Returns:
        `QuadraticFlow`, with the error that is left.

    Raises:
        ThalwegError: if `until` is not positive.
        OperatorError: if gradient and operator do not fit.

    Cost: a product and a vector of memory a Lanczos step; 4m²n operations to keep m of them
    orthogonal. Where eigenvalues lie close, about √(λ_max t ln 1/tol) steps, n at most: 130 for
    n = 1,000 from 1e-3 to 1e3, equally spaced in logarithm, at λ_max t = 1e3, and 600 at 1e6. Where
    few lie apart from a bulk, √(λ t ln 1/tol) with λ of the bulk, and a few for each.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator
        >>> op = MatrixOperator(torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64)))
        >>> flow = quadratic_flow(op, torch.tensor([1.0, 4.0], dtype=torch.float64))
        >>> flow.rates.round(6).tolist(), [round(x, 6) for x in flow.moved(inf).tolist()]
        ([1.0, 4.0], [-1.0, -1.0])

    Source: Saad 1992, "Analysis of some Krylov subspace approximations to the matrix exponential
    operator"; Hochbruck and Lubich 1997, "On Krylov subspace approximations to the matrix
    exponential operator". Nothing that adds up products needs much fewer: after m of them it is a
    polynomial of degree m in H times g, whatever it restarts, splits, deflates or solves within,
    and on [0, λ_max t] no polynomial of a degree below a constant times √(λ_max t ln 1/tol) comes
    within tol of e^{−x} (Aggarwal and Alman 2022, "Optimal-degree polynomial approximations for
    exponentials").
    """
    if not until > 0:
        raise ThalwegError(f"quadratic_flow(until={until}); give a positive time, or infinity")
    hessian.check_factor(gradient)
    space = KrylovSpace(hessian, gradient)
    _grow(space, until, tol, max_products)
    slopes, rates = space.modes()
    modes = space.basis @ gradient.new_tensor(space.coordinates(np.eye(space.size)))
    return QuadraticFlow(rates, slopes, space.residues, space.size, until, modes)


def _grow(space: KrylovSpace, until: float, tol: float, most: int) -> None:
    """Takes products until the whole path is known."""
    error, wanted = inf, 0.0
    while error > wanted and space.size < most and not space.is_invariant:
        space.extend(space.ahead(error, wanted), most)
        slopes, rates = space.modes()
        error = _error(rates, space.residues, until)
        if error < inf:
            wanted = tol * float(np.linalg.norm(_coordinates(rates, slopes, until)))


@dataclass(frozen=True)
class ExactQuadratic(Integrator):
    """The exact flow where the loss is quadratic, which is checked first; see `quadratic_flow`.

    Args:
        tol: of the error of θ(t), as a share of the way.
        max_products: the most products; each keeps a vector.

    Raises:
        ThalwegError: in use, if the loss is not quadratic.

    The flow ends before its time, and says so, where `max_products` know it to `tol` no longer.

    Cost: 3 gradients and the products.

    Example:
        >>> ExactQuadratic().said
        'exact, by Lanczos, tol 1e-10'
    """

    tol: float = 1e-10
    max_products: int = MOST_PRODUCTS

    def __post_init__(self) -> None:
        check_tol("ExactQuadratic", self.tol)
        if self.max_products < 1:
            raise ThalwegError(
                f"ExactQuadratic(max_products={self.max_products}); give at least one"
            )

    @property
    def said(self) -> str:
        """The method in words."""
        return f"exact, by Lanczos, tol {self.tol:g}"

    def steps(
        self, field: Field, start: Place, span: float, generator: torch.Generator
    ) -> Iterator[Step]:
        """Moments of the exact flow; see `Integrator.steps`."""
        op = field.hessian(start)
        _check_quadratic(field, start, op, generator)
        found = quadratic_flow(
            op, start.gradient, span, tol=self.tol, max_products=self.max_products
        )

        def exact(time: float) -> tuple[Tensor, Tensor]:
            return start.vector + found.moved(time), found.velocity(time)

        sharpest = float(np.abs(found.rates).max(initial=0.0)) or 1 / span
        first = min(0.01 / sharpest, span / 2)
        times = np.geomspace(first, span, _NUM_MOMENTS)
        times[-1] = span
        spent, spent_at = 0.0, 0.0
        for time in map(float, times):
            if found.error_at(time) > self.tol * found.length(time):
                raise FlowStuck(
                    f"{found.num_products} products know it to {self.tol:g} of the way up to "
                    f"t = {spent_at:.4g} only; give ExactQuadratic(max_products="
                    f"{4 * found.num_products}), or a larger tol"
                )
            vector, velocity = exact(time)
            energy = found.energy(time)
            if time == span:
                place = field.at(vector)
            else:
                value = start.value - energy
                place = Place(vector, value, -velocity, field.surface.at(vector))
            error = found.error if time == span else 0.0
            yield Step((Node(time, vector, velocity),), place, energy - spent, error, exact)
            spent, spent_at = energy, time


def _check_quadratic(
    field: Field, start: Place, op: SymmetricOperator, generator: torch.Generator
) -> None:
    noise = torch.randn(op.size, generator=generator, dtype=op.dtype).to(op.device)
    along = noise * (size_of(start.vector) / float(torch.linalg.vector_norm(noise)))
    change = field.at(start.vector + along).gradient - start.gradient
    bent = op @ along
    missed = float(torch.linalg.vector_norm(change - bent))
    size = float(torch.linalg.vector_norm(change)) + float(torch.linalg.vector_norm(bent))
    if missed > _ALIKE * max(size, 1e-300):
        raise ThalwegError(
            f"ExactQuadratic() takes quadratic losses, and this one is not: over a distance of "
            f"{size_of(start.vector):.3g} its gradient changes by {missed / size:.1g} of itself "
            f"otherwise than its Hessian says; take ExponentialAdams()"
        )
