"""Minibatches so small that their gradients say more about chance than about the loss."""

from __future__ import annotations

from itertools import islice

import torch

from thalweg._errors import ThalwegError
from thalweg._reading import reading
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import NOT_WELL, Readings
from thalweg.doctor.findings._learning_rate import is_thrown

NUM_BATCHES = 24

NOISY = 5.0
"""The variance of a minibatch's gradient over the square of the mean gradient."""

GAIN = 0.15
"""Larger minibatches must learn this share of the attainable more in as many steps."""

LARGER, LARGER_CALM = 16, 8
"""So many times larger; and where that costs more than may be spent, so many are enough to see that
they stand a step that throws small ones far off.
"""

CALM = 0.05
"""A loss that is not above a blind answer's by more than this is no overshoot."""

FOREIGN = 0.5
"""Of the squared norm of the gradient in use, from which on it is not the loss's."""

SMALL = 8
"""Minibatches of more samples are not called small."""


def noise(readings: Readings) -> Finding | None:
    """Noise outweighs the gradient, and the same steps on larger minibatches learn far more."""
    size = readings.plan.batch_size
    if readings.trains_well or readings.watched.error or size > SMALL:
        return None
    ratio = None
    if not (readings.watched.failure or is_thrown(readings)):
        # Where a step was thrown far off, the gradients at the end say nothing of what threw it.
        ratio = _noise_to_signal(readings)
        if ratio is None or ratio < NOISY:
            return None
    stability = readings.card.stability if readings.card else None
    if stability is not None and stability.ratio > 1:
        return None
    larger = LARGER
    if ratio is None and readings.probe.at(1.0, larger) is None:
        larger = LARGER_CALM
    gain = readings.gain(1.0, larger)
    if gain < GAIN and not _is_calmed(readings, larger):
        return None
    says = (
        f"The gradient is mostly noise: over minibatches of {size} its variance is {ratio:.3g} "
        f"times the square of its mean"
        if ratio is not None
        else f"The gradient is too noisy for its step: on minibatches of {size} the training is "
        f"thrown far off"
    )
    evidence = {"gain by larger minibatches": gain, "samples of a minibatch": float(size)}
    if ratio is not None:
        evidence = {"variance of the gradient over its square": ratio, **evidence}
    return Finding(
        Ailment.NOISE,
        f"{says}, and as many steps on {larger * size} samples each learn {gain:.0%} of what can "
        f"be learned more. Use larger minibatches, or a smaller learning rate.",
        (),
        evidence,
        f"minibatches of {SMALL} samples at most; at the end of the training the variance of their "
        f"gradients is more than {NOISY:g} times the square of the mean, or a step threw it far "
        f"off; {larger} times larger ones learn {GAIN:.0%} of the attainable more in as many steps "
        f"or fewer, or stand the step that throws small ones off; and {NOT_WELL}",
        1.0 if ratio is None else ratio / NOISY,
        readings.num_seen,
    )


def noisy_step(readings: Readings) -> Finding | None:
    """The gradient that a step of their own uses is mostly another one than the loss's."""
    own = readings.own_step
    if own is None or own.rest <= FOREIGN or readings.trains_well:
        return None
    return Finding(
        Ailment.NOISE,
        f"The gradient that the step of your own uses is mostly not that of its minibatch's loss: "
        f"{own.rest:.0%} of its squared norm is something else. Is noise added to it, or is the "
        f"loss taken of a part of the minibatch, or of other data?",
        (),
        {
            "share of the squared norm that is not the loss's gradient": own.rest,
            "factor by which the loss's gradient is in it": own.scale,
        },
        f"of the gradient that the optimizer is given, fitted by a ∇L + c θ, a rest of more than "
        f"{FOREIGN:.0%} of the squared norm is left, in the median of some minibatches, ∇L of the "
        f"same minibatch with the same random numbers; and {NOT_WELL}",
        own.rest / FOREIGN,
    )


def _is_calmed(readings: Readings, larger: int) -> bool:
    """Whether larger minibatches stand the very step that throws small ones far off."""
    blind, calm = readings.blind_loss, readings.probe.at(1.0, larger)
    if blind is None or calm is None or not is_thrown(readings):
        return False
    return calm < blind * (1 + CALM) < min(readings.end, readings.settled)


def _noise_to_signal(readings: Readings) -> float | None:
    """Tr Σ_B / ‖G‖², unbiased, at the end of the watched training.

    Source: McCandlish et al. 2018, "An empirical model of large-batch training", appendix A.
    """
    problem = readings.watched.problem
    params = [p for p in problem.model.parameters() if p.requires_grad]
    mean: list[torch.Tensor] | None = None
    squares = count = 0.0
    modes = [(module, module.training) for module in problem.model.modules()]
    problem.model.eval()
    try:
        with reading():
            stream = problem.minibatches(readings.plan.batch_size, torch.Generator().manual_seed(1))
            for batch in islice(stream, NUM_BATCHES):
                loss = problem.evaluate(problem.model, batch).loss
                found = torch.autograd.grad(loss, params, allow_unused=True)
                gradients = [torch.zeros(1) if g is None else g.double() for g in found]
                squares += sum(float(g.square().sum()) for g in gradients)
                mean = gradients if mean is None else [m + g for m, g in zip(mean, gradients)]  # noqa: B905
                count += 1
    except (ThalwegError, RuntimeError):
        return None
    finally:
        for module, mode in modes:
            module.training = mode
    if mean is None or count < 2:
        return None
    of_mean = sum(float(m.square().sum()) for m in mean) / count**2
    variance = (squares / count - of_mean) * count / (count - 1)
    # The mean of so many has some of the noise in it.
    signal = of_mean - variance / count
    return variance / max(signal, variance / (10 * count), 1e-300)
