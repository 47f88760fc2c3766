"""An operation without a rule of its own: its Jacobian, column by column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg._errors import FormulaError
from thalweg.sheet._operation import Form, Operation
from thalweg.symbolic import Label

MAX_JACOBIAN = 1_000_000
"""Entries up to which a Jacobian is worked out."""

STEP = 1e-5
DIFFERENCE = 1e-5
"""Central differences of step h are off by h²/6 times the third derivative, and by rounding/h."""


@dataclass(frozen=True, eq=False)
class Differentiated(Operation):
    """y = f(a, b, …) for any differentiable f of torch.

    The Jacobian is forward-mode AD's: column j is the derivative along the unit vector of entry j.
    It is held against central differences here, and the proof holds it against reverse mode.

    Args:
        title: in a sentence.
        of: the formula.
        call: f by torch.
        is_entrywise: whether entry i of y depends on entry i of a alone.
    """

    title: str
    of: Label
    call: Callable[..., Tensor]
    is_entrywise: bool = False

    def value(self, *inputs: Tensor) -> Tensor:
        """f of the inputs."""
        return self.call(*inputs).detach()

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        return self.call(*inputs)

    def form(self, slot: int) -> Form:
        """By the Jacobian, or its diagonal."""
        return Form.EACH if self.is_entrywise else Form.JACOBIAN

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The Jacobian, entries of the output by entries of the input; or its diagonal."""
        J = self._jacobian(slot, inputs, output)
        return J.diagonal().reshape(output.shape) if self.is_entrywise else J

    def _jacobian(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if inputs[slot].numel() * output.numel() > MAX_JACOBIAN:
            raise FormulaError(
                f"{self.title} has a Jacobian of {output.numel():,} by {inputs[slot].numel():,}; "
                f"it is written out up to {MAX_JACOBIAN:,} entries, so give a smaller input"
            )

        def of_one(a: Tensor) -> Tensor:
            return self.call(*inputs[:slot], a, *inputs[slot + 1 :])

        with torch.enable_grad():
            try:
                J = torch.func.jacfwd(of_one)(inputs[slot])
            except Exception:
                # Some operations have no forward mode.
                J = torch.autograd.functional.jacobian(of_one, inputs[slot])
        matrix: Tensor = J.detach().reshape(output.numel(), inputs[slot].numel())
        self._hold(matrix, of_one, inputs[slot])
        return matrix

    def _hold(self, J: Tensor, of_one: Callable[[Tensor], Tensor], a: Tensor) -> None:
        """Against central differences along one direction with every entry in it.

        Raises:
            FormulaError: if they differ: f has no derivative there, or another one.
        """
        along = torch.cos(torch.arange(1, a.numel() + 1, dtype=torch.float64)).reshape(a.shape)
        with torch.no_grad():
            ahead, behind = of_one(a + STEP * along), of_one(a - STEP * along)
        difference = ((ahead - behind) / (2 * STEP)).reshape(-1)
        ours = J @ along.reshape(-1)
        scale = 1 + float(ours.abs().max()) if ours.numel() else 1.0
        if not bool(((difference - ours).abs() <= DIFFERENCE * scale).all()):
            raise FormulaError(
                f"the derivative of {self.title} that torch gives is not what a small step shows; "
                f"move the values away from where it has none, or replace it"
            )

    def formula(self) -> Label:
        """As in the program."""
        return self.of

    def local_formula(self, slot: int) -> Label:
        """A letter: what is shown is its entries."""
        if self.is_entrywise:
            return Label(
                f"{self.title}′($a)",
                f"\\operatorname{{{self.title.replace('_', chr(92) + '_')}}}'($a)",
            )
        return Label("its Jacobian J", "J")

    def rule(self, slot: int) -> Label | None:
        """Jᵀδ."""
        if self.is_entrywise:
            return None
        return Label("Jᵀ $d", r"J^{\top} $d")


def differentiated(
    title: str, of: Label, call: Callable[..., Tensor], inputs: list[Tensor]
) -> Differentiated:
    """The operation; it is tried whether it acts on each entry by itself."""
    operation = Differentiated(title, of, call)
    with torch.no_grad():
        output = operation.value(*inputs)
    if len(inputs) > 1 or output.shape != inputs[0].shape or output.ndim == 0:
        return operation
    with torch.no_grad():
        J = operation.local(0, tuple(t.detach() for t in inputs), output)
    is_entrywise = bool((J - torch.diag(J.diagonal()) == 0).all())
    return Differentiated(title, of, call, is_entrywise)
