"""The proof of a pass: every value, local derivative and gradient again, by torch and autograd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg.sheet._graph import Local
from thalweg.sheet._operation import Form

if TYPE_CHECKING:
    from thalweg.sheet._draft import Step

TOL = 1e-9
"""Relative difference up to which two numbers are the same."""

ROUNDING = 64 * torch.finfo(torch.float64).eps
"""What the operations of one step may lose, as a share of what goes into them."""


@dataclass(frozen=True)
class Proof:
    """What was compared.

    Args:
        num_checked: numbers compared.
        num_rounded: that agree within rounding only.
        deviation: largest relative difference of the others.
    """

    num_checked: int
    num_rounded: int
    deviation: float


class _Tally:
    def __init__(self) -> None:
        self.num_checked = 0
        self.num_rounded = 0
        self.deviation = 0.0

    def compare(self, what: str, ours: Tensor, theirs: Tensor, slack: float) -> None:
        """Counts a comparison.

        Raises:
            ThalwegError: if the two differ by more than rounding explains.
        """
        ours, theirs = torch.broadcast_tensors(ours, theirs)
        # −∞ of a mask is the same as −∞.
        is_equal = ours == theirs
        difference = torch.where(is_equal, 0.0, (ours - theirs).abs())
        # Entry by entry, or where entries cancel, beside the largest of them.
        relative = difference / torch.maximum(ours.abs(), theirs.abs()).clamp(min=1e-300, max=1e308)
        is_same = relative <= TOL
        largest = _largest(theirs)
        is_rounded = difference <= slack + ROUNDING * largest
        if not bool((is_same | is_rounded).all()):
            raise ThalwegError(
                f"{what} is {_said(ours)} by the rules of thalweg and {_said(theirs)} by autograd, "
                f"so nothing is shown; this is an error of thalweg, please report it"
            )
        self.num_checked += ours.numel()
        self.num_rounded += int((~is_same).sum())
        if bool(is_same.any()):
            self.deviation = max(self.deviation, float(relative[is_same].max()))


def prove(
    steps: list[Step],
    loss: int,
    gradients: list[Tensor],
    locals_: list[tuple[Local, ...]],
) -> Proof:
    """Compares a pass with torch, step by step and as a whole.

    Raises:
        ThalwegError: if a number differs.
    """
    tally = _Tally()
    with torch.inference_mode(False), torch.enable_grad():
        for place, step in enumerate(steps):
            if step.operation is not None:
                _prove_step(tally, steps, place, gradients[place], locals_[place])
        _prove_whole(tally, steps, loss, gradients, locals_)
    return Proof(tally.num_checked, tally.num_rounded, tally.deviation)


def _prove_step(
    tally: _Tally, steps: list[Step], place: int, delta: Tensor, found: tuple[Local, ...]
) -> None:
    """One operation by itself, from the same inputs and the same δ."""
    step = steps[place]
    assert step.operation is not None, "asked for operations only"
    name = step.label.text
    leaves = [steps[i].value.clone().requires_grad_() for i in step.inputs]
    output = step.operation.peer(*leaves)
    size = max((_largest(leaf.detach()) for leaf in leaves), default=0.0)
    tally.compare(name, step.value, output.detach(), ROUNDING * size)
    wanted = list(zip(_derived(step, steps, leaves), found, strict=True))
    if not wanted:
        return
    pulled = torch.autograd.grad(
        output, [leaf for leaf, _ in wanted], delta.reshape(output.shape), retain_graph=True,
        materialize_grads=True, allow_unused=True,
    )  # fmt: skip
    for (leaf, local), theirs in zip(wanted, pulled, strict=True):
        lost = ROUNDING * float(delta.abs().max()) * (1 + _largest(local.value))
        tally.compare(f"the gradient of {local.towards}", local.gradient, theirs, lost)
        if local.form in (Form.EACH, Form.WHOLE):
            (slope,) = torch.autograd.grad(
                output, leaf, torch.ones_like(output), retain_graph=True,
                materialize_grads=True, allow_unused=True,
            )  # fmt: skip
            ours = local.value
            if local.form is Form.EACH:
                ours = ours.expand(output.shape).sum_to_size(leaf.shape)
            tally.compare(f"∂{name}/∂{local.towards}", ours, slope, ROUNDING)


def _derived(step: Step, steps: list[Step], leaves: list[Tensor]) -> list[Tensor]:
    return [
        leaf
        for leaf, source in zip(leaves, step.inputs, strict=True)
        if steps[source].takes_gradient
    ]


def _prove_whole(
    tally: _Tally,
    steps: list[Step],
    loss: int,
    gradients: list[Tensor],
    locals_: list[tuple[Local, ...]],
) -> None:
    """All gradients at once, by one backward pass of autograd from what is given."""
    run: list[Tensor] = []
    for step in steps:
        if step.operation is None:
            run.append(step.value.clone().requires_grad_(step.takes_gradient))
        else:
            run.append(step.operation.peer(*(run[i] for i in step.inputs)))
    if not run[loss].requires_grad:
        return
    watched = [place for place, value in enumerate(run) if value.requires_grad]
    theirs = torch.autograd.grad(
        run[loss], [run[place] for place in watched], torch.ones_like(run[loss]),
        materialize_grads=True, allow_unused=True,
    )  # fmt: skip
    slack = _slack(steps, loss, gradients, locals_)
    for place, gradient in zip(watched, theirs, strict=True):
        name = steps[place].label.text
        tally.compare(f"∂L/∂{name}", gradients[place], gradient.detach(), slack[place])


def _slack(
    steps: list[Step], loss: int, gradients: list[Tensor], locals_: list[tuple[Local, ...]]
) -> list[float]:
    """How far rounding alone may move each gradient: losses of each step, carried backward."""
    slack = [0.0] * len(steps)
    places = {step.name: place for place, step in enumerate(steps)}
    for place in reversed(range(loss + 1)):
        delta = float(gradients[place].abs().max())
        for local in locals_[place]:
            spread = gradients[place].numel() if local.value.numel() == 1 else 1
            J = local.value[torch.isfinite(local.value)].abs()
            gain = float(J.sum()) * spread
            lost = ROUNDING * delta * (1 + (float(J.max()) if J.numel() else 0.0))
            slack[places[local.towards]] += gain * slack[place] + lost
    return slack


def _largest(values: Tensor) -> float:
    """Of the finite ones."""
    finite = values[torch.isfinite(values)]
    return float(finite.abs().max()) if finite.numel() else 0.0


def _said(numbers: Tensor) -> str:
    flat = numbers.reshape(-1)[:4].tolist()
    shown = ", ".join(f"{number:.12g}" for number in flat)
    return shown + (", …" if numbers.numel() > 4 else "")
