"""The path of an exponential Adams step: exponentials in the sharp space, else polynomials."""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from thalweg.gradient_flow._field import Place
from thalweg.gradient_flow._graded_rule import graded_rule
from thalweg.gradient_flow._phi import phi
from thalweg.gradient_flow._sharp_space import SharpSpace


class Slopes:
    """f_n and the rests r_j at some other times, with their parts in the sharp space.

    Args:
        space: V, Λ.
        origin: where the step begins.
        time: when.
        length: h, of the step.
        others: times and places beside it, in order of time.
    """

    def __init__(
        self,
        space: SharpSpace,
        origin: Place,
        time: float,
        length: float,
        others: Sequence[tuple[float, Place]],
    ) -> None:
        self.space, self.origin, self.time, self.length = space, origin, time, length
        self.times = [when for when, _ in others]
        # At the end of the step all polynomials ask for these; `also` makes one degree more.
        self.functions_at_end = phi(-length * space.values, len(others) + 2)
        columns = [-origin.gradient, *(self._rest(place) for _, place in others)]
        self.columns = torch.stack(columns, 1)
        self.sharp = space.coordinates(self.columns)

    def _rest(self, place: Place) -> Float[Tensor, " n"]:
        moved = place.vector - self.origin.vector
        return self.origin.gradient - place.gradient + self.space.multiplied(moved)

    def also(self, time: float, place: Place) -> Slopes:
        """The same with one more."""
        more = object.__new__(Slopes)
        more.space, more.origin, more.time = self.space, self.origin, self.time
        more.length, more.functions_at_end = self.length, self.functions_at_end
        column = self._rest(place)[:, None]
        more.times = [*self.times, time]
        more.columns = torch.cat([self.columns, column], 1)
        more.sharp = np.concatenate([self.sharp, self.space.coordinates(column)], 1)
        return more


class ExponentialPolynomial:
    """θ(s) for s ∈ [0, 1], where r is a polynomial through some of the slopes.

        θ_V(s) = θ_n + h s φ₁(−s z) f + h Σ_m c_m m! s^{m+1} φ_{m+1}(−s z),   z = h λ

    per direction of V; elsewhere the same with z = 0.

    Args:
        slopes: f_n and the rests.
        chosen: which of the rests, by number, are interpolated.
    """

    def __init__(self, slopes: Slopes, chosen: Sequence[int]) -> None:
        self._slopes, self._h = slopes, slopes.length
        self._z = slopes.space.values * slopes.length
        self._degree = len(chosen)
        shares = np.array([(slopes.times[j] - slopes.time) / slopes.length for j in chosen])
        powers = shares[:, None] ** np.arange(1, self._degree + 1)
        # c_m = Σ_j inverse[m, j] r_j, spread over all columns; the first is f_n.
        self._spread = np.zeros((self._degree, slopes.columns.shape[1]))
        if self._degree:
            self._spread[:, [j + 1 for j in chosen]] = np.linalg.inv(powers)

    def at(self, share: float) -> tuple[Tensor, Tensor]:
        """θ and θ̇ at a share of the step."""
        functions = phi(-self._z * share, self._degree + 1)
        plain, sharp = self._speeds(np.array([share]), functions[:, :, None])
        return self._vector(share, functions), self._combined(plain[:, 0], sharp[:, 0])

    def end(self) -> Float[Tensor, " n"]:
        """θ at the end of the step."""
        return self._vector(1.0, self._slopes.functions_at_end)

    def energy(self) -> float:
        """∫‖θ̇‖² over the step [loss], by Gauss' rule on panels that get finer to its start."""
        sharpest = float(np.abs(self._z).max(initial=0.0))
        shares, weights = graded_rule(sharpest)
        plain, sharp = self._speeds(shares, phi(-self._z[:, None] * shares, self._degree))
        columns, parts = self._slopes.columns, self._slopes.sharp
        gram = (columns.T @ columns).cpu().double().numpy() - parts.T @ parts
        beside = np.einsum("is,ij,js->s", plain, gram, plain)
        inside = np.square(sharp).sum(0)
        return float(self._h * weights @ (beside + inside))

    def _vector(self, share: float, functions: NDArray[np.float64]) -> Float[Tensor, " n"]:
        powers = share ** np.arange(1, self._degree + 2)
        plain = self._spread.T @ (powers[1:] / np.arange(2, self._degree + 2))
        plain[0] += share
        rests = self._slopes.sharp @ self._spread.T
        sharp = self._slopes.sharp[:, 0] * share * functions[1]
        for m in range(1, self._degree + 1):
            sharp = sharp + rests[:, m - 1] * (factorial(m) * powers[m] * functions[m + 1])
        return self._slopes.origin.vector + self._h * self._combined(plain, sharp)

    def _speeds(
        self, shares: NDArray[np.float64], functions: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], ...]:
        """θ̇ as weights of the columns, and as coordinates in the sharp space."""
        powers = shares ** np.arange(1, self._degree + 1)[:, None]
        plain = self._spread.T @ powers
        plain[0] += 1.0
        rests = self._slopes.sharp @ self._spread.T
        sharp = self._slopes.sharp[:, :1] * functions[0]
        for m in range(1, self._degree + 1):
            sharp = sharp + rests[:, m - 1 : m] * (factorial(m) * powers[m - 1] * functions[m])
        return plain, sharp

    def _combined(
        self, plain: NDArray[np.float64], sharp: NDArray[np.float64]
    ) -> Float[Tensor, " n"]:
        columns, space = self._slopes.columns, self._slopes.space
        inside = sharp - self._slopes.sharp @ plain
        return columns @ columns.new_tensor(plain) + space.lifted(inside)
