"""Another learning rate, or an optimizer that finds its own scale."""

from __future__ import annotations

import inspect
from dataclasses import replace

import torch

from thalweg._loss import known_loss
from thalweg._problem import Problem
from thalweg.doctor._probe import multiplied
from thalweg.doctor._readings import Readings
from thalweg.doctor.findings._learning_rate import is_thrown
from thalweg.doctor.findings._reduction import exponent_of
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy, joined

USUAL, FASTER = 1e-3, 3e-3
"""Adam's default learning rate, and its rival's: small networks stand more."""


def lr_divided(readings: Readings) -> Remedy | NotApplicable:
    """A tenth of the learning rate."""
    return _scaled(readings, 0.1)


def lr_multiplied(readings: Readings) -> Remedy | NotApplicable:
    """Ten times the learning rate."""
    return _scaled(readings, 10.0)


def lr_multiplied_more(readings: Readings) -> Remedy | NotApplicable:
    """A hundred times the learning rate."""
    return _scaled(readings, 100.0)


def lr_divided_more(readings: Readings) -> Remedy | NotApplicable:
    """A hundredth of the learning rate."""
    return _scaled(readings, 0.01)


def lr_divided_most(readings: Readings) -> Remedy | NotApplicable:
    """A thousandth of the learning rate."""
    return _scaled(readings, 0.001)


def lr_multiplied_most(readings: Readings) -> Remedy | NotApplicable:
    """A thousand times the learning rate."""
    return _scaled(readings, 1000.0)


def lr_at_limit(readings: Readings) -> Remedy | NotApplicable:
    """Half the learning rate at which the step would turn unstable at this point."""
    name = "half the stability limit as learning rate"
    stability = readings.card.stability if readings.card else None
    if stability is None or stability.sharpness <= 0:
        return NotApplicable(name, "no stability limit is known for this optimizer here")
    # The limit is inversely proportional to the learning rate, for every rule.
    factor = 0.5 / stability.ratio
    if 0.8 < factor < 1.25:
        return NotApplicable(name, "that is about the learning rate in use")
    return _scaled(readings, factor)


def lr_of_the_mean(readings: Readings) -> Remedy | NotApplicable:
    """The learning rate over a minibatch's samples, where a step of one's own sums the loss.

    And where a loss of one's own lost what the training had learned, so that trials go on from
    before that: what momentum has gathered of summed gradients is right for this rate, and too
    large for a mean.
    """
    name = "the learning rate over the number of samples"
    problem = readings.problem
    known = known_loss(problem.loss)
    has_mean = known is not None and known.reduction == "sum"
    is_lost = readings.observed is not None and readings.lost_since is not None
    # What throws a training off at once shows from the start.
    is_lost = is_lost and not is_thrown(readings)
    if problem.step is None and (has_mean or not is_lost):
        return NotApplicable(name, "the loss is not called by a step of your own and can be mended")
    exponent = exponent_of(problem)
    power = 0 if exponent is None else round(exponent)
    if not power:
        return NotApplicable(name, "the loss does not grow or fall with the number of samples")
    scaled = _scaled(readings, float(readings.plan.batch_size) ** -power)
    return scaled if isinstance(scaled, NotApplicable) else replace(scaled, is_direct=True)


def adam(readings: Readings) -> Remedy | NotApplicable:
    """Adam at its usual learning rate; at three times that, where it does better."""
    group = readings.optimizer.param_groups[0]
    if not isinstance(readings.optimizer, torch.optim.Adam | torch.optim.AdamW):
        return replace(_adam(USUAL), rivals=(_adam(FASTER),))
    if float(group["lr"]) == USUAL:
        name = type(readings.optimizer).__name__
        return NotApplicable("Adam", f"{name} with lr {USUAL:g} is in use already")
    return _scaled(readings, USUAL / float(group["lr"]))


def _adam(rate: float) -> Remedy:
    return Remedy(
        f"Adam, lr {rate:g}",
        f"optimizer = torch.optim.Adam(model.parameters(), lr={rate:g})",
        lambda problem, _: replace(
            problem, optimizer=lambda params: torch.optim.Adam(params, lr=rate)
        ),
        changes_step=True,
    )


def slower(remedy: Remedy, readings: Readings) -> Remedy:
    """A remedy for the network, together with a tenth of the learning rate."""
    step = _scaled(readings, 0.1)
    if isinstance(step, NotApplicable):
        return remedy
    return joined(remedy, step)


def _scaled(readings: Readings, factor: float) -> Remedy | NotApplicable:
    """The learning rate times about that factor: it is rounded, so that it can be typed."""
    before = float(readings.optimizer.param_groups[0]["lr"])
    if before <= 0:
        return NotApplicable("another learning rate", "the one in use is zero")
    after = float(f"{before * factor:.3g}")
    original = readings.problem.optimizer
    assert original is not None, "trials have an optimizer"

    def apply(problem: Problem, _: torch.Generator) -> Problem:
        return replace(problem, optimizer=multiplied(original, after / before))

    return Remedy(f"learning rate {after:g}", _code(readings.optimizer, before, after), apply, True)


def _code(optimizer: torch.optim.Optimizer, before: float, after: float) -> str:
    """The optimizer as it is made, with all that is set otherwise than by default."""
    if len(optimizer.param_groups) > 1:
        return (
            f"for group in optimizer.param_groups:  # {before:g} -> {after:g}\n"
            f'    group["lr"] *= {after / before:.6g}'
        )
    group, kind = optimizer.param_groups[0], type(optimizer)
    defaults = inspect.signature(kind).parameters
    settings = {
        name: group[name]
        for name, parameter in defaults.items()
        if name in group and name not in ("params", "lr") and group[name] != parameter.default
    }
    listed = "".join(f", {name}={value!r}" for name, value in settings.items())
    name = f"torch.optim.{kind.__name__}" if kind.__module__.startswith("torch.") else kind.__name__
    return f"optimizer = {name}(model.parameters(), lr={after:g}{listed})"
