"""What a step does near a saddle, in closed form: c ↦ c' along the eigenvectors of its Hessian."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import log2

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.optim import StepRecord

Vector = Float[Tensor, " m"]


class EscapeTheory(ABC):
    """A method's step on L_s + ½ Σ λᵢ cᵢ²: exact there, elsewhere as steps and c tend to 0."""

    is_bound = False
    """Whether the steps it predicts are an upper bound only."""

    @abstractmethod
    def after(self, values: Vector, c: Vector, number: int, record: StepRecord | None) -> Vector:
        """The displacement c' after step `number` (from 0).

        Args:
            values: λ, ascending [loss/param²].
            c: displacement along the eigenvectors [param].
            number: of the step.
            record: of that step, whose damping, radius or weight it had; None to predict ahead.
        """

    def num_steps(self, values: Vector, c: Vector, radius: float, most: int) -> int | None:
        """The first step after which ‖c‖ > r; None where that is none of the first `most`.

        Args:
            values: λ.
            c: where it starts.
            radius: r.
            most: steps looked ahead.
        """
        for number in range(most):
            before, c = c, self.after(values, c, number, None)
            if torch.equal(before, c):
                return None  # at rest
            if float(torch.linalg.vector_norm(c)) > radius:
                return number + 1
        return None


@dataclass(frozen=True)
class Scaled(EscapeTheory):
    """Gradient descent: c' = (1 − ηλ) c, so that ln(r/d)/ln(1 + η|λ|) steps lead from d to r.

    Args:
        lr: η.

    Source: Nocedal and Wright 2006, sec. 3.3, for the factor.

    Example:
        >>> import torch
        >>> λ, c = torch.tensor([-1.0, 2.0]), torch.ones(2)
        >>> Scaled(0.25).after(λ, c, 0, None)
        tensor([1.2500, 0.5000])
    """

    lr: float

    def after(self, values: Vector, c: Vector, number: int, record: StepRecord | None) -> Vector:  # noqa: ARG002
        """As of `EscapeTheory`.

        Args:
            values: λ.
            c: displacement.
            number: not used.
            record: not used.
        """
        return (1 - self.lr * values) * c


@dataclass(frozen=True)
class Attracted(EscapeTheory):
    """Newton: c' = 0 along every curvature, of either sign; what is null stays.

    Source: Dauphin et al. 2014, sec. 4.

    Example:
        >>> import torch
        >>> Attracted().after(torch.tensor([-1.0, 0.0]), torch.ones(2), 0, None)
        tensor([0., 1.])
    """

    def after(self, values: Vector, c: Vector, number: int, record: StepRecord | None) -> Vector:  # noqa: ARG002
        """As of `EscapeTheory`.

        Args:
            values: λ.
            c: displacement.
            number: not used.
            record: not used.
        """
        return torch.where(values == 0, c, torch.zeros_like(c))


@dataclass(frozen=True)
class Mirrored(EscapeTheory):
    """Saddle-free Newton: c' = (1 − λ/(|λ| + μ)) c, about 2c where λ < 0 and 0 where λ > 0.

    Source: Dauphin et al. 2014, sec. 5.

    Example:
        >>> import torch
        >>> Mirrored().after(torch.tensor([-1.0, 0.0, 2.0]), torch.ones(3), 0, None)
        tensor([2., 1., 0.])
    """

    def after(self, values: Vector, c: Vector, number: int, record: StepRecord | None) -> Vector:  # noqa: ARG002
        """As of `EscapeTheory`.

        Args:
            values: λ.
            c: displacement.
            number: not used.
            record: whose damping is μ; 0 without.
        """
        μ = 0.0 if record is None or record.damping is None else record.damping
        return torch.where(values == 0, c, (1 - values / (values.abs() + μ)) * c)


class LongStep(EscapeTheory):
    """A step of length ℓ ≫ ‖c‖ along the lowest curvature λ₁ < 0, on the side where c is.

        c₁' = c₁ + ℓ sign(c₁),   cᵢ' = |λ₁|/(λᵢ + |λ₁|) cᵢ

    since s = −(H + μ)⁻¹ g with μ → |λ₁| as g → 0. Off a quadratic, third derivatives T turn the
    eigenvectors at the start, and with them the step: cᵢ' is right to about T ℓ/|λᵢ − λ₁| of cᵢ.
    """

    @abstractmethod
    def length(self, values: Vector, number: int, record: StepRecord | None) -> float:
        """ℓ of step `number`.

        Args:
            values: λ.
            number: of the step.
            record: of it; None to predict ahead.
        """

    def after(self, values: Vector, c: Vector, number: int, record: StepRecord | None) -> Vector:
        """As of `EscapeTheory`.

        Args:
            values: λ.
            c: displacement.
            number: of the step.
            record: of it.
        """
        lowest = float(values[0])
        if lowest >= 0:
            return torch.full_like(c, torch.nan)
        is_lowest = values <= lowest * (1 - 1e-9)
        rest = torch.where(is_lowest, 1.0, -lowest / (values - lowest)) * c
        low = torch.where(is_lowest, c, torch.zeros_like(c))
        size = float(torch.linalg.vector_norm(low))
        return rest + (self.length(values, number, record) / size) * low if size else rest


@dataclass(frozen=True)
class Bordered(LongStep):
    """Trust region: ℓ = Δ, which doubles with every step that the model foresaw.

    Args:
        radius: Δ at first.

    Source: Moré and Sorensen 1983, lemma 2.1; Nocedal and Wright 2006, algorithm 4.1, for Δ.

    Example:
        >>> import torch
        >>> Bordered(0.5).after(torch.tensor([-1.0, 3.0]), torch.tensor([1e-6, 1e-6]), 0, None)
        tensor([5.0000e-01, 2.5000e-07])
    """

    radius: float

    def length(self, values: Vector, number: int, record: StepRecord | None) -> float:  # noqa: ARG002
        """As of `LongStep`.

        Args:
            values: not used.
            number: of the step, for Δ ahead.
            record: whose radius is Δ.
        """
        if record is not None and record.radius is not None:
            return record.radius
        return self.radius * 2.0**number


@dataclass(frozen=True)
class Penalised(LongStep):
    """Cubic regularisation: ℓ = |λ₁|/σ, at which the cubic term outweighs the curvature.

    Args:
        weight: σ at first; it falls where the model was right, so that steps ahead are a bound.

    Source: Cartis, Gould and Toint 2011, theorem 3.1, with g → 0.

    Example:
        >>> import torch
        >>> Penalised(4.0).after(torch.tensor([-1.0, 3.0]), torch.tensor([1e-6, 1e-6]), 0, None)
        tensor([2.5000e-01, 2.5000e-07])
    """

    weight: float
    is_bound = True

    def length(self, values: Vector, number: int, record: StepRecord | None) -> float:  # noqa: ARG002
        """As of `LongStep`.

        Args:
            values: λ.
            number: not used.
            record: of it, which tells how often σ was doubled; the first σ without.
        """
        weight = self.weight
        if record is not None and record.damping and record.step_norm:
            # μ = σ‖s‖ is in the record; σ itself is the first one, doubled or shrunk.
            weight = record.damping / record.step_norm
            if weight > self.weight:
                weight = self.weight * 2.0 ** round(log2(weight / self.weight))
        return -float(values[0]) / weight
