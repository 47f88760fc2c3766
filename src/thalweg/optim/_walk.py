"""Walk: one step of an optimizer: where it starts, what it tries, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, nan
from types import TracebackType

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import NonFiniteError, RandomModelError
from thalweg.optim._objective import Objective, split
from thalweg.surface import Curvature

FORWARD = 1 / 3
"""The cost of a forward pass in gradients, by count of operations."""


@dataclass(frozen=True)
class Proposal:
    """A direction with what the quadratic model says of it.

    Args:
        direction: d (n,), before the learning rate.
        slope: gᵀd.
        bend: dᵀCd.
        is_escape: whether it leaves along negative curvature.
    """

    direction: Float[Tensor, " n"]
    slope: float
    bend: float
    is_escape: bool = False


@dataclass(frozen=True)
class Attempt:
    """A proposal that was tried.

    Args:
        step: s = lr ∘ d (n,).
        first: −gᵀs.
        second: −gᵀs − ½ sᵀCs.
        loss: L(θ + s); NaN where it is not finite.
        actual: L(θ) − L(θ + s).
        is_escape: of the proposal.
        is_lost: whether the parameters are the same to the bit: the step drowned in their rounding.
    """

    step: Float[Tensor, " n"]
    first: float
    second: float
    loss: float
    actual: float
    is_escape: bool
    is_lost: bool = False

    @property
    def ratio(self) -> float:
        """Actual over predicted decrease; −∞ where the loss is not finite."""
        if not isfinite(self.loss):
            return -inf
        return self.actual / self.second if self.second > 0 else -inf


class Walk:
    """One step: value, gradient and products at θ, attempts at θ + s, and the way back.

    As a context manager it puts the parameters back where they were if anything is raised.

    Args:
        objective: the loss.
        rates: lr, one number or one for each of the n parameters.
        curvature: which products; None where the gradient is enough.

    Raises:
        NonFiniteError: if the loss or its gradient is NaN or infinite here.
    """

    def __init__(
        self, objective: Objective, rates: float | Float[Tensor, " n"], curvature: Curvature | None
    ) -> None:
        self.objective = objective
        self.rates = rates
        self.curvature = curvature
        self.start = torch.cat([p.detach().reshape(-1) for p in objective.params])
        self.num_products = 0
        self.gradients_spent = 1.0
        self._is_away = False
        self._judge, self._share = objective, 1.0
        try:
            local = objective.local(curvature)
            self.value, self.gradient, self._product = local.value, local.gradient, local.product
            self._before = self.value
            self.gradient_norm = float(torch.linalg.vector_norm(self.gradient))
            refuse_nonfinite(self.value, self.gradient_norm)
            if self.gradient_norm == 0:
                objective.refuse_detached()
        except BaseException:
            objective.take_back()
            raise

    def __enter__(self) -> Walk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is not None:
            self.retreat()
            self.objective.take_back()
        self._product = None  # with it goes the graph

    def product(self, v: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """C v, at θ, to which the parameters return for it."""
        assert self._product is not None
        assert self.curvature is not None
        self.retreat()
        self.num_products += 1
        self.gradients_spent += self.curvature.cost
        return self._product(v)

    def judge_by(self, part: Objective, before: float, share: float) -> None:
        """Reads the loss where attempts lead on part of the data alone from now on.

        Args:
            part: the loss of that part.
            before: its value at θ.
            share: of all samples, for the count of work.
        """
        self._judge, self._before, self._share = part, before, share

    def attempt(self, proposal: Proposal) -> Attempt:
        """Moves the parameters to θ + lr ∘ d and reads the loss there.

        Cost: a forward pass; one product more where learning rates differ between groups.
        """
        slope, bend = proposal.slope, proposal.bend
        step = self.rates * proposal.direction
        if isinstance(self.rates, Tensor):
            slope = float(self.gradient @ step)
            bend = 0.0 if self._product is None else float(step @ self.product(step))
        else:
            slope, bend = self.rates * slope, self.rates**2 * bend
        return self.tried(step, slope, bend, is_escape=proposal.is_escape)

    def tried(
        self, step: Float[Tensor, " n"], slope: float, bend: float, *, is_escape: bool = False
    ) -> Attempt:
        """Moves the parameters to θ + s and reads the loss there.

        Args:
            step: s (n,), the learning rate in it.
            slope: gᵀs.
            bend: sᵀCs.
            is_escape: of the proposal.

        Cost: a forward pass.
        """
        end = self.start + step
        self._is_away = True
        self._move(end)
        loss = self._value()
        is_lost = torch.equal(end, self.start)
        return self.known(step, loss, slope, bend, is_escape=is_escape, is_lost=is_lost)

    def known(
        self,
        step: Float[Tensor, " n"],
        loss: float,
        slope: float,
        bend: float,
        *,
        is_escape: bool = False,
        is_lost: bool = False,
    ) -> Attempt:
        """The attempt at a place whose loss is known already.

        Args:
            step: s (n,).
            loss: L(θ + s).
            slope: gᵀs.
            bend: sᵀCs.
            is_escape: of the attempt.
            is_lost: of the attempt.
        """
        actual = self._before - loss
        return Attempt(step, -slope, -slope - bend / 2, loss, actual, is_escape, is_lost)

    def sloped(self, step: Float[Tensor, " n"]) -> tuple[float, Float[Tensor, " n"]]:
        """Moves the parameters to θ + s and reads loss and gradient there. Cost: a gradient.

        Args:
            step: s (n,).
        """
        self._is_away = True
        self._move(self.start + step)
        self.gradients_spent += 1.0
        value, gradient = self.objective.slope()
        return value if isfinite(value) else nan, gradient

    def settle(self, attempt: Attempt) -> None:
        """Moves the parameters to where an attempt was. Cost: nothing."""
        self._is_away = True
        self._move(self.start + attempt.step)

    def retreat(self) -> None:
        """Puts the parameters back to θ, to the bit."""
        if self._is_away:
            self._move(self.start)
            self._is_away = False

    def refuse_difference(self) -> None:
        """Reads the loss at θ a second time.

        Raises:
            RandomModelError: if it differs from the first by more than rounding.
        """
        again = self._value()
        tolerance = torch.finfo(self.start.dtype).eps ** 0.5
        if not abs(again - self._before) <= tolerance * max(abs(again), abs(self._before)):
            raise RandomModelError(
                f"the loss was {self._before:.6g} and then {again:.6g} at the same parameters; a "
                f"step compares losses, so hold the batch still while it runs (draw it before the "
                f"closure, not inside) and switch dropout off (model.eval(), or p=0)"
            )

    @property
    def noise(self) -> float:
        """How far two losses here may differ by rounding alone."""
        return 8 * torch.finfo(self.start.dtype).eps * abs(self._before)

    def is_noise(self, attempt: Attempt, predicted: float | None = None) -> bool:
        """Whether what an attempt did and what was predicted both drown in rounding.

        Args:
            attempt: the attempt.
            predicted: the decrease of the method's own model; the second-order one if left out.

        Source: Conn, Gould and Toint 2000, "Trust-region methods", sec. 17.4.2.
        """
        predicted = attempt.second if predicted is None else predicted
        return abs(attempt.actual) <= self.noise and abs(predicted) <= self.noise

    def ratio(self, attempt: Attempt, predicted: float | None = None) -> float:
        """Actual over predicted decrease: 1 where both are noise, −∞ where there is nothing to it.

        That is where the loss is not finite, no decrease was predicted, or nothing moved.

        Args:
            attempt: the attempt.
            predicted: as of `is_noise`.
        """
        predicted = attempt.second if predicted is None else predicted
        if not isfinite(attempt.loss) or attempt.is_lost:
            return -inf
        if self.is_noise(attempt, predicted):
            return 1.0
        return attempt.actual / predicted if predicted > 0 else -inf

    def _value(self) -> float:
        self.gradients_spent += self._share * FORWARD
        value = self._judge.value()
        return value if isfinite(value) else nan

    def _move(self, vector: Float[Tensor, " n"]) -> None:
        # Through .data: graphs of this step are of θ, and θ is what they find when it is restored.
        params = self.objective.params
        for p, piece in zip(params, split(vector, params), strict=True):
            p.data.copy_(piece)


def refuse_nonfinite(value: float, gradient_norm: float) -> None:
    """Refuses a place from which no step can start.

    Raises:
        NonFiniteError: if the loss or the gradient is NaN or infinite.
    """
    if not isfinite(value) or not isfinite(gradient_norm):
        what = "loss" if not isfinite(value) else "gradient"
        raise NonFiniteError(
            f"the {what} is not finite at the parameters that the step starts from; they were "
            f"left as they are: go back to a checkpoint, scale the inputs, or look for the "
            f"place with thalweg.Surface(problem).here()"
        )
