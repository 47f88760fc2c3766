"""A matrix seen in two ways: exactly on a Krylov space, by probes on what that leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._lanczos import LanczosRun
from thalweg.linalg._ritz import tridiagonal_eigh
from thalweg.linalg._sphere import unit_vectors

ROUNDINGS = 10.0
"""Roundings allowed to a number summed from products: as in a Lanczos run."""

PILOTS = 2
"""Probes that are drawn before the space is finished, to know what it leaves."""

# The first steps of a run find little, and the gain of a single step jumps with the sign of α.
_FIRST_SHARE, _MEAN_OF = 6, 4
_FOLDS, _SLACK = 10, 1.01
# The share c of a fold is told by probes that were fitted with its help: of few, too much so.
_FEWEST_FITTED = 6

Draw = Callable[[CountedOperator, int, torch.Generator], Tensor]


@dataclass(frozen=True, eq=False)
class Fold:
    """Some of the probes, and what all the others know of the remainder.

    Attributes:
        members: Places of the probes.
        share: ±c, by how much the others are believed.
        seen: F Fᵀuᵢ of the members, as columns.
        coordinates: Fᵀuᵢ of the members, as columns.
        gram: FᵀF.
        diagonal: diag F Fᵀ.
    """

    members: list[int]
    share: float
    seen: Float[Tensor, "n j"]
    coordinates: Float[Tensor, "r j"]
    gram: Float64[Tensor, "r r"]
    diagonal: Float[Tensor, "n"]


class Deflation:
    """A = what a Krylov space holds of it + a remainder that probes estimate.

        A Q = Q T + β q eₘᵀ,   P = I − QQᵀ,   G = P A P,   uᵢ uniform in the image of P
        tr A = tr T + tr G,   ‖A‖_F² = ‖T‖_F² + 2β² + ‖G‖_F²

    One product a step of the run, one a probe. The images G uᵢ of the other probes make a Nyström
    approximation F Fᵀ of ±G + σP, with σ what the run has seen beyond 0 at the lesser end; since
    its trace, norm and diagonal are known, it is a control variate for uᵢ, of mean zero whatever
    it is worth, and so nothing is biased.

    Attributes:
        run: The Lanczos run.
        rest: Pωᵢ as columns.
        images: G ωᵢ as columns.
        omega: ωᵢ as columns, as they were drawn.
    """

    def __init__(
        self, op: CountedOperator, generator: torch.Generator, draw: Draw = unit_vectors
    ) -> None:
        self._op, self._generator, self._draw = op, generator, draw
        self.run = LanczosRun(op, unit_vectors(op, 1, generator)[:, 0])
        empty = torch.empty(op.size, 0, dtype=op.dtype, device=op.device)
        self.omega, self.rest, self.images = empty, empty, empty
        self._sizes: list[float] = []
        self._row_squares = torch.zeros(op.size, dtype=op.dtype, device=op.device)

    @property
    def num_products(self) -> int:
        """Products taken so far."""
        return self._op.num_products

    @property
    def route(self) -> str:
        """How products are computed, in words."""
        return self._op.said

    @property
    def num_probes(self) -> int:
        """Probes drawn so far, s."""
        return self.rest.shape[1]

    @property
    def rank(self) -> int:
        """The dimension of the image of P, k = n − m."""
        return self._op.size - self.run.num_steps

    @property
    def held_trace(self) -> float:
        """Return tr T."""
        return sum(self.run.alphas)

    @property
    def held_square(self) -> float:
        """Return ‖A − G‖_F²."""
        return sum(a * a for a in self.run.alphas) + 2 * sum(b * b for b in self.run.betas)

    @property
    def is_whole(self) -> bool:
        """Whether the space holds all of A: what the probes see beside it is rounding."""
        eps = torch.finfo(self._op.dtype).eps
        left = self.units()[1].norm(dim=0).tolist()
        return all(
            y <= self.run.rounding + ROUNDINGS * eps * size
            for y, size in zip(left, self._sizes, strict=True)
        )

    @property
    def floor(self) -> float:
        """Rounding of a trace that is summed from these products."""
        size = sum(map(abs, self.run.alphas)) + self._op.size * float(np.mean(self._sizes))
        return ROUNDINGS * torch.finfo(self._op.dtype).eps * size

    def row_floor(self) -> Float[Tensor, "n"]:
        """Rounding of an entry in each row: roundings of ‖A_j‖, which is the rms of (Aω)_j."""
        rows: Tensor = (self._row_squares / self.num_probes).sqrt()
        return rows * (ROUNDINGS * torch.finfo(self._op.dtype).eps)

    def held_diagonal(self) -> Float[Tensor, "n"]:
        """Return diag(A − G)."""
        Q = self.run.basis.to_tensor()
        alphas, betas = (Q.new_tensor(x) for x in (self.run.alphas, self.run.betas))
        beside = (Q[:, :-1] * Q[:, 1:]) @ betas[:-1]
        if not self.run.is_invariant:
            beside = beside + betas[-1] * Q[:, -1] * self.run.ahead
        return (Q * Q) @ alphas + 2 * beside

    def begin(self, budget: int) -> None:
        """Take a part of the budget in steps, and the pilot probes."""
        self.run.extend(max(1, budget // _FIRST_SHARE))
        self.probe(min(PILOTS, budget - self.num_products))

    def is_worth_a_step(self, num_left: int) -> bool:
        """Whether one step more lowers the variance by more than the probe that it costs.

        With V the variance of one probe and s + R probes in the end, a step that lowers V by 2g
        costs V/(s + R) by the probe that is missing then, and that twice because a probe also
        serves all others; g is to be larger. For μ the mean of G's eigenvalues, from which a
        spherical probe has no variance, g = (α − μ)² + 2β²; its mean over the last steps is
        expected of the next.
        """
        if self.run.is_invariant or num_left < 1:
            return False
        units, images = self.units()
        mean = float((units * images).sum(dim=0).mean())
        variance = float(self.laws(off(images, units)).mean())
        last = zip(self.run.alphas[-_MEAN_OF:], self.run.betas[-_MEAN_OF:], strict=True)
        gain = float(np.mean([(a - mean) ** 2 + 2 * b * b for a, b in last]))
        return gain > variance / (self.num_probes + num_left)

    def spend(self, budget: int) -> None:
        """Deepen the space as long as that is the better use of the budget, then probe."""
        self.begin(budget)
        while self.is_worth_a_step(budget - self.num_products):
            self.deepen()
        if not self.is_whole:
            self.probe(budget - self.num_products)

    def deepen(self) -> None:
        """Take one more step of the run, and take what it finds out of the probes."""
        self.run.extend(1)
        q = self.run.basis.vector(self.run.num_steps - 1)
        parts = q @ self.rest
        self.rest = self.rest - torch.outer(q, parts)
        # P′A q = β q⁺ for the space with q in it.
        self.images = self.images - torch.outer(q, q @ self.images)
        if not self.run.is_invariant:
            self.images = self.images - torch.outer(self.run.ahead, self.run.betas[-1] * parts)

    def probe(self, count: int) -> None:
        """Draw `count` more probes; a product each."""
        if count < 1:
            return
        omega = self._draw(self._op, count, self._generator)
        raw = self._op @ omega
        rest, images = [], []
        for w, y in zip(omega.unbind(1), raw.unbind(1), strict=True):
            inside, taken = self.run.basis.project_out(w)
            # A Q c is in the space but for its last step.
            if not self.run.is_invariant:
                y = y - self.run.ahead * (self.run.betas[-1] * taken[-1])
            rest.append(inside)
            images.append(self.run.basis.project_out(y)[0])
        self._row_squares += raw.square().sum(dim=1)
        self._sizes += (raw.norm(dim=0) / omega.norm(dim=0)).tolist()
        self.omega = torch.cat([self.omega, omega], dim=1)
        self.rest = torch.cat([self.rest, torch.stack(rest, dim=1)], dim=1)
        self.images = torch.cat([self.images, torch.stack(images, dim=1)], dim=1)

    def units(self) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s"]]:
        """Return uᵢ = Pωᵢ/‖Pωᵢ‖ and G uᵢ."""
        lengths = self.rest.norm(dim=0)
        return self.rest / lengths, self.images / lengths

    def laws(self, deviations: Float[Tensor, "n s"]) -> Float64[Tensor, "s"]:
        """Return 2k‖(I − uuᵀ)G u‖² for each u, given those vectors.

        Its mean is 2k/(k + 2)·(‖G‖_F² − tr(G)²/k), the variance of k uᵀG u on the sphere, exactly:
        each probe tells the variance without bias.
        """
        return 2 * self.rank * (deviations * deviations).sum(dim=0).double()

    def seen_ends(self) -> tuple[float, float]:
        """Return the lowest of all quotients uᵀAu that were seen, and the largest |uᵀAu|."""
        units, images = self.units()
        quotients = (units * images).sum(dim=0).tolist()
        seen = [*tridiagonal_eigh(self.run.alphas, self.run.betas)[0].tolist(), *quotients]
        return min(seen), max(map(abs, seen))

    def sign_and_shift(self) -> tuple[float, float]:
        """Return the sign of the greater end of T, and how far the other lies beyond 0."""
        ritz = tridiagonal_eigh(self.run.alphas, self.run.betas)[0]
        low, high = float(ritz[0]), float(ritz[-1])
        return (1.0, max(0.0, -low)) if high >= -low else (-1.0, max(0.0, high))

    def folds(self) -> list[Fold]:
        """Fit the remainder, for every fold of the probes by all the others.

        With Y = (±G + σP)U of the others, F Fᵀ = Y(UᵀY)⁺Yᵀ. The share c is what makes the law of
        G − cF Fᵀ least, summed over the other folds.
        """
        sign, shift = self.sign_and_shift()
        units, images = self.units()
        shifted = sign * images + shift * units
        core = (units.T @ shifted).double()
        core = (core + core.T) / 2
        bound = _SLACK * (self.seen_ends()[1] + shift)
        count = min(self.num_probes, _FOLDS)
        members = [list(range(i, self.num_probes, count)) for i in range(count)]
        factors = [_factor(own, shifted, core, bound) for own in members]
        seen = torch.zeros_like(images)
        for own, F in zip(members, factors, strict=True):
            seen[:, own] = F @ (F.T @ units[:, own])
        ours, theirs = off(images, units), off(seen, units)
        agreement = sign * (ours * theirs).sum(dim=0).double()
        size = (theirs * theirs).sum(dim=0).double()
        return [
            Fold(
                members=own,
                share=sign * _share(agreement, size, own),
                seen=seen[:, own],
                coordinates=F.T @ units[:, own],
                gram=(F.T @ F).double(),
                diagonal=(F * F).sum(dim=1),
            )
            for own, F in zip(members, factors, strict=True)
        ]


def _factor(
    own: list[int], shifted: Float[Tensor, "n s"], core: Float64[Tensor, "s s"], bound: float
) -> Float[Tensor, "n r"]:
    """Return F of all probes but those of a fold; nothing from too few of them."""
    others = [i for i in range(len(core)) if i not in own]
    if len(core) < _FEWEST_FITTED:
        return shifted[:, :0]
    values, vectors = torch.linalg.eigh(core[others][:, others])
    # What is left of a core of lower rank is rounding, and a direction below 0 no square.
    is_kept = values > len(others) * torch.finfo(shifted.dtype).eps * values.abs().max()
    roots = vectors[:, is_kept] / values[is_kept].sqrt()
    F = shifted[:, others] @ roots.to(shifted.dtype)
    # No direction of F Fᵀ ⪯ ±G + σP is longer than that; where ±G + σP is indefinite, some are.
    fits: Tensor = F[:, (F * F).sum(dim=0) <= bound]
    return fits


def off(images: Float[Tensor, "n s"], units: Float[Tensor, "n s"]) -> Float[Tensor, "n s"]:
    """Return (I − uuᵀ)y for each pair."""
    return images.addcmul(units, (units * images).sum(dim=0), value=-1)


def _share(agreement: Float64[Tensor, "s"], size: Float64[Tensor, "s"], own: list[int]) -> float:
    """Return the c between 0 and 1 that is best for all probes but those of a fold."""
    most = float(size.sum() - size[own].sum())
    return min(max(float(agreement.sum() - agreement[own].sum()) / most, 0.0), 1.0) if most else 0.0
