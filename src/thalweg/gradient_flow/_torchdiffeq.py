"""The solvers of torchdiffeq behind the same call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from math import nan

import torch
from torch import Tensor, nn

from thalweg._errors import ThalwegError
from thalweg.gradient_flow._field import Field, Place, Tally
from thalweg.gradient_flow._integrator import FlowStuck, Integrator, Node, Step, check_tol

_RECENT = 20
"""So many evaluations back the beginning of a step is looked for: one step of dopri8 has 14."""

MOST_KEPT = 1000
"""Of more steps every other one is forgotten: each holds two vectors."""


@dataclass(frozen=True)
class Torchdiffeq(Integrator):
    """A solver of torchdiffeq, such as dopri5, with ∫‖∇L‖² as one more component.

    The whole span is integrated before the first step is handed out, so that an event ends the
    path, not the work.

    Args:
        method: its name there: "dopri5", "dopri8", "bosh3", "tsit5", "adaptive_heun", and others.
        rtol: relative tolerance of each component.
        atol: absolute tolerance of each component [param]; rtol/100 where left out.

    Raises:
        ThalwegError: if torchdiffeq is not installed, or has no such solver.

    Cost: 6 gradients a step of dopri5, rejected ones too.

    Source: Chen 2018, https://github.com/rtqichen/torchdiffeq; Dormand and Prince 1980 for dopri5.
    """

    method: str = "dopri5"
    rtol: float = 1e-7
    atol: float | None = None

    def __post_init__(self) -> None:
        check_tol("Torchdiffeq", self.rtol)
        if find_spec("torchdiffeq") is None:
            raise ThalwegError(
                "torchdiffeq is not installed; pip install 'thalweg[flow-peers]', or take another "
                "integrator, such as ExponentialAdams()"
            )
        from torchdiffeq._impl.odeint import SOLVERS

        if self.method not in SOLVERS:
            raise ThalwegError(
                f"torchdiffeq has no solver {self.method!r}; it has {', '.join(SOLVERS)}"
            )

    @property
    def said(self) -> str:
        """The method in words."""
        return f"torchdiffeq {self.method}, rtol {self.rtol:g}"

    def steps(
        self, field: Field, start: Place, span: float, generator: torch.Generator
    ) -> Iterator[Step]:
        """Steps of this method; see `Integrator.steps`."""
        from torchdiffeq import odeint

        func = _Augmented(field)
        state = torch.cat([start.vector, start.vector.new_zeros(1)])
        times = torch.tensor([0.0, span], dtype=torch.float64, device=state.device)
        atol = self.rtol / 100 if self.atol is None else self.atol
        try:
            ends = odeint(func, state, times, rtol=self.rtol, atol=atol, method=self.method)
        except AssertionError as error:
            raise FlowStuck(f"torchdiffeq gave up: {error}") from error
        # The solver interpolates its end, where nothing was evaluated.
        last = field.counting(Tally()).at(ends[-1, :-1].clone())
        moments = [kept for kept in func.kept if 0 < kept[0] < span]
        before = 0.0
        for time, place, energy in [*moments, (span, last, float(ends[-1, -1]))]:
            node = Node(time, place.vector, -place.gradient)
            yield Step((node,), place, energy - before, nan)
            before = energy


class _Augmented(nn.Module):
    """(θ, E) ↦ (−∇L, ‖∇L‖²), which keeps some of the places where steps began."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self._field = field
        self._recent: list[Place] = []
        self._stride, self._count = 1, 0
        self.kept: list[tuple[float, Place, float]] = []

    def forward(self, _: Tensor, state: Tensor) -> Tensor:
        """The field."""
        place = self._field.at(state[:-1].clone())
        self._recent = [*self._recent[1 - _RECENT :], place]
        square = (place.gradient @ place.gradient)[None]
        return torch.cat([-place.gradient, square])

    def callback_accept_step(self, time: Tensor, state: Tensor, _: Tensor) -> None:
        """Called by torchdiffeq at each accepted step, with where it began."""
        self._count += 1
        if self._count % self._stride:
            return
        # What a step begins with was evaluated as the last stage of the one before.
        for place in reversed(self._recent):
            if torch.equal(place.vector, state[:-1]):
                self.kept.append((float(time), place, float(state[-1])))
                break
        if len(self.kept) > MOST_KEPT:
            self.kept, self._stride = self.kept[::2], 2 * self._stride
