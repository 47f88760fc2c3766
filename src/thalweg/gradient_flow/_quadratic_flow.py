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
from thalweg.gradient_flow._integrator import Integrator, Node, Step, check_tol, size_of
from thalweg.gradient_flow._krylov import KrylovSpace
from thalweg.gradient_flow._phi import phi
from thalweg.linalg import SymmetricOperator

_ALIKE = 1e-6
"""Gradients of a quadratic differ by H times the difference, to this share."""

_NUM_MOMENTS = 64


@dataclass(frozen=True, eq=False)
class QuadraticFlow:
    """θ(t) of L = ½ (θ − θ₀)ᵀH(θ − θ₀) + gᵀ(θ − θ₀), from θ₀, with one rate e^{−λᵢt} a mode.

        θ(t) − θ₀ = −t φ₁(−tH) g → −H⁻¹ g where H is positive definite

    Args:
        rates: λᵢ of the modes that g excites: Ritz values, ascending [loss/param²].
        slopes: the gradient's coordinate along each [loss/param].
        num_products: products taken.
        error: estimate of ‖error of θ(t)‖ at `until` [param]; at infinity, of the gradient that is
            left there over the least rate.
        until: the time up to which the space was grown.
        modes: Ritz vectors, one a column, to which rates and slopes belong.
    """

    rates: NDArray[np.float64]
    slopes: NDArray[np.float64]
    num_products: int
    error: float
    until: float
    modes: Float[Tensor, "n m"]

    def moved(self, time: float) -> Float[Tensor, " n"]:
        """θ(t) − θ₀; at infinity −H⁻¹ g.

        Raises:
            ThalwegError: at infinity, if some rate is not positive: there is no minimum.
        """
        if isinf(time):
            if not self.converges:
                raise ThalwegError(
                    f"the flow has no limit: a mode has the rate {self.rates.min():.3g}, which is "
                    f"not positive; ask for a finite time"
                )
            return self._lifted(-self.slopes / self.rates)
        return self._lifted(-time * phi(-time * self.rates, 1)[1] * self.slopes)

    def velocity(self, time: float) -> Float[Tensor, " n"]:
        """θ̇(t) = −e^{−tH} g [loss/param]."""
        return self._lifted(-phi(-time * self.rates, 0)[0] * self.slopes)

    def energy(self, time: float) -> float:
        """∫₀ᵗ‖∇L‖² = Σ gᵢ² t φ₁(−2λᵢt) = L(0) − L(t) [loss]."""
        return float(np.square(self.slopes) @ (time * phi(-2 * time * self.rates, 1)[1]))

    @property
    def converges(self) -> bool:
        """Whether all rates are positive: the flow ends in a minimum."""
        return bool((self.rates > 0).all())

    def _lifted(self, along_modes: NDArray[np.float64]) -> Tensor:
        return self.modes @ self.modes.new_tensor(along_modes)


def quadratic_flow(
    hessian: SymmetricOperator,
    gradient: Float[Tensor, " n"],
    until: float = inf,
    *,
    tol: float = 1e-10,
    max_products: int = 200,
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

    Cost: a product a Lanczos step. n products are enough for all times; fewer where λ_max t is
    small, about √(λ_max t ln 1/tol), or eigenvalues lie apart.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator
        >>> op = MatrixOperator(torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64)))
        >>> flow = quadratic_flow(op, torch.tensor([1.0, 4.0], dtype=torch.float64))
        >>> flow.rates.round(6).tolist(), [round(x, 6) for x in flow.moved(inf).tolist()]
        ([1.0, 4.0], [-1.0, -1.0])

    Source: Saad 1992, "Analysis of some Krylov subspace approximations to the matrix exponential
    operator". No method that only multiplies g by H as often does essentially better.
    """
    if not until > 0:
        raise ThalwegError(f"quadratic_flow(until={until}); give a positive time, or infinity")
    hessian.check_factor(gradient)
    space = KrylovSpace(hessian, gradient)
    error = _grown(space, until, tol, max_products)
    slopes, rates = space.modes()
    vectors = space.coordinates(np.eye(space.size))
    modes = space.basis @ gradient.new_tensor(vectors)
    return QuadraticFlow(rates, slopes, space.size, error, until, modes)


def _grown(space: KrylovSpace, until: float, tol: float, most: int) -> float:
    """Grows the space until the whole path is known; the error that is left."""
    error, wanted = inf, 0.0
    while error > wanted and space.size < most and not (space.size and space.is_invariant):
        space.grow(1.0, 1, -1.0, min(most, space.size + max(2, space.size // 8)))
        slopes, rates = space.modes()
        if isinf(until):
            least = float(np.abs(rates).min())
            error = space.residual() / least if least > 0 else inf
            wanted = tol * float(np.linalg.norm(slopes / rates)) if least > 0 else 0.0
        else:
            error = space.error(until, 1)
            wanted = tol * float(np.linalg.norm(until * phi(-until * rates, 1)[1] * slopes))
    return 0.0 if space.is_invariant else error


@dataclass(frozen=True)
class ExactQuadratic(Integrator):
    """The exact flow where the loss is quadratic, which is checked first; see `quadratic_flow`.

    Args:
        tol: of the error of θ(t), as a share of the way.
        max_products: the most products.

    Raises:
        ThalwegError: in use, if the loss is not quadratic.

    Cost: 3 gradients and the products.

    Example:
        >>> ExactQuadratic().said
        'exact, by Lanczos, tol 1e-10'
    """

    tol: float = 1e-10
    max_products: int = 200

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
        spent = 0.0
        for time in map(float, times):
            vector, velocity = exact(time)
            energy = found.energy(time)
            if time == span:
                place = field.at(vector)
            else:
                value = start.value - energy
                place = Place(vector, value, -velocity, field.surface.at(vector))
            error = found.error if time == span else 0.0
            yield Step((Node(time, vector, velocity),), place, energy - spent, error, exact)
            spent = energy


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
