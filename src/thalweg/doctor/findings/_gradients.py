"""Gradients that shrink or grow with every layer on their way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from torch import Tensor, nn

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._levels import NOTHING
from thalweg.doctor._readings import NOT_WELL, UNTRAINED, Readings
from thalweg.doctor.findings._learning_rate import BLOWN
from thalweg.doctor.findings._parameters import LEARNING
from thalweg.doctor.findings._units import saturated, saturated_gates
from thalweg.signal import DepthRow, Signal

FACTOR = 1e3
"""Between the ends of the network the gradient must change by this before it is worth naming."""

LESS = 100.0
"""Or by this, where nothing is learned and no cause is known."""

FAR_DOWN = 1e6
"""From which on it counts wherever it is lost: a few layers of tiny weights are no trend."""

GROWN = 30.0
"""Or by this, where the outputs exploded as well: the training begins at `BLOWN` times the loss of
an answer that ignores the input."""

PARTS = {FACTOR: "thousandth", LESS: "hundredth"}

DRAWN = 5.0
"""Times by which a matrix of weights lengthens, that no initialisation in use comes near: torch's
own draws them at 0.6, Glorot's at about 1, He's at 1.4."""

UNLEARNED = (
    f"the network as it is learns less than {NOTHING:.0%} of what can be learned, and no other "
    "cause is found"
)
DOUBTED = f"{NOT_WELL}, nothing else is found, and a remedy is proved"


def vanishing(readings: Readings) -> Finding | None:
    """The gradient shrinks layer by layer towards the input, and the network does not train."""
    return None if readings.trains else _vanishing(readings, FACTOR, UNTRAINED)


def vanishing_less(readings: Readings) -> Finding | None:
    """It shrinks less, but in all the steps that were watched nothing was learned."""
    if readings.is_early or readings.watched.failure or readings.learned >= NOTHING:
        return None
    if readings.trains or vanishing(readings) is not None:
        return None
    return _vanishing(readings, LESS, UNLEARNED)


def perhaps_vanishing(readings: Readings) -> Finding | None:
    """It shrinks so much in a training that learns, but less than simple learners do."""
    if readings.is_early or readings.watched.failure:
        return None
    if readings.trains_well or not readings.trains:
        return None
    found = _vanishing(readings, LESS, DOUBTED)
    return None if found is None else replace(found, needs_proof=True)


def _vanishing(readings: Readings, least: float, where: str) -> Finding | None:
    signal = readings.signal
    if not signal.gradient:
        return None
    first, last = signal.rows[0], signal.rows[-1]
    shrinkage = last.gradient_norm / first.gradient_norm if first.gradient_norm else inf
    # So far down it need not be evenly; but a last layer of zeros lets nothing pass at first.
    falls = signal.gradient.high < 1 or FAR_DOWN < shrinkage < inf
    if shrinkage < least or not falls:
        return None
    starved = [row.name for row in signal.rows if row.gradient_norm * least < last.gradient_norm]
    return Finding(
        Ailment.VANISHING,
        f"The gradient vanishes: from {last.name!r} back to {first.name!r} it shrinks "
        f"{shrinkage:.1e} times, by {_per_layer(signal)} a layer. "
        f"{_named(starved)} less than a {PARTS[least]} of it.",
        tuple(starved),
        _evidence(signal, first, last),
        f"the gradient norm falls by more than {least:,.0f} times from the last layer to the "
        f"first, its trend over depth is a fall at 95 % confidence or it falls by more than "
        f"{FAR_DOWN:,.0f} times, and {where}",
        shrinkage / least,
    )


def exploding(readings: Readings) -> Finding | None:
    """The gradient grows layer by layer towards the input, and the network does not train.

    Or outputs are so large that the loss begins far above a blind answer's, and passes no gradient
    on at all, or weights are larger than any initialisation draws them.
    """
    found = _growing(readings)
    if found is not None or readings.trains:
        return found
    norms = [row.gradient_norm for row in readings.signal.rows]
    passes_none = bool(norms) and not any(norms)
    # Where such weights drive bounded units to their ends, these are what stops the gradient.
    is_drawn_large = has_large_weights(readings.problem.model) and not _is_saturated(readings)
    return _blown(readings) if passes_none or is_drawn_large else None


def _is_saturated(readings: Readings) -> bool:
    frugal = replace(readings, is_frugal=True)
    return saturated(frugal) is not None or saturated_gates(frugal) is not None


def _growing(readings: Readings) -> Finding | None:
    signal = readings.signal
    if readings.trains or not signal.gradient or signal.gradient.low <= 1:
        return None
    first, last = signal.rows[0], signal.rows[-1]
    growth = first.gradient_norm / last.gradient_norm if last.gradient_norm else inf
    blind = readings.blind_loss
    is_blown = blind is not None and readings.start > BLOWN * blind > 0
    least = GROWN if is_blown and growth < FACTOR else FACTOR
    if growth < least:
        return None
    flooded = [row.name for row in signal.rows if row.gradient_norm > least * last.gradient_norm]
    return Finding(
        Ailment.EXPLODING,
        f"The gradient explodes: from {last.name!r} back to {first.name!r} it grows {growth:.1e} "
        f"times, by {_per_layer(signal)} a layer.",
        tuple(flooded),
        _evidence(signal, first, last),
        f"the gradient norm grows by more than {FACTOR:,.0f} times from the last layer to the "
        f"first (by {GROWN:g}, where the loss begins {BLOWN:g} times above an answer that "
        f"ignores the input), its trend over depth is a growth at 95 % confidence, and {UNTRAINED}",
        growth / least,
    )


def perhaps_exploding(readings: Readings) -> Finding | None:
    """The training begins far above a blind answer, and spends its steps on coming down."""
    if readings.is_early or readings.watched.failure or readings.trains_well:
        return None
    found = _blown(readings)
    return None if found is None else replace(found, needs_proof=True)


def perhaps_large_weights(readings: Readings) -> Finding | None:
    """Weights that no initialisation draws so large: normalisation hides it, attention does not."""
    if readings.is_early or readings.watched.failure:
        return None
    if readings.trains_well and readings.generalises:
        return None
    sizes = _sizes(readings.problem.model)
    large = {name: size for name, size in sizes.items() if size > DRAWN}
    if not large:
        return None
    most = max(large, key=lambda name: large[name])
    return Finding(
        Ailment.EXPLODING,
        f"The weights are larger than any initialisation draws them: {len(large)} of {len(sizes)} "
        f"matrices, most of all {most!r}, which makes numbers of size 1 {large[most]:.3g} times as "
        f"large; 0.6 to 1.4 times is usual.",
        tuple(dict.fromkeys(name.rpartition(".")[0] for name in large)),
        {f"√(inputs · mean(W²)) of {name}": size for name, size in large.items()},
        f"√(inputs · mean(W²)) of a matrix is above {DRAWN:g} before the training, which does not "
        f"learn 80 % of what simple learners do, or not of what was held out, and nothing else is "
        f"found; it counts only where a remedy is proved",
        large[most] / DRAWN,
        needs_proof=True,
    )


def has_large_weights(model: nn.Module) -> bool:
    """Whether a matrix is larger than any initialisation draws it."""
    return max(_sizes(model).values(), default=0.0) > DRAWN


def _sizes(model: nn.Module) -> dict[str, float]:
    """√(inputs · mean(W²)) of each matrix of a layer that is trained.

    An embedding has no inputs, nor what is tied to one, or learned as it is: positions, tokens.
    """
    modules = dict(model.named_modules())
    embedded = {id(m.weight) for m in modules.values() if isinstance(m, nn.Embedding)}
    return {
        f"{name}.{own}" if name else own: _size(weight)
        for name, module in modules.items()
        if isinstance(module, LEARNING)
        for own, weight in module.named_parameters(recurse=False)
        if weight.ndim > 1 and weight.requires_grad and id(weight) not in embedded
    }


def _size(weight: Tensor) -> float:
    return float((weight[0].numel() * weight.detach().double().square().mean()).sqrt())


def _blown(readings: Readings) -> Finding | None:
    blind = readings.blind_loss
    if not readings.is_readable or blind is None or not readings.start > BLOWN * blind > 0:
        return None
    return Finding(
        Ailment.EXPLODING,
        f"The outputs explode: the training begins at a loss of {readings.start:.3g}, where the "
        f"best constant answer gets {blind:.3g}, and after {readings.num_seen} of its "
        f"{readings.total_steps} steps it is at {readings.end:.3g}.",
        tuple(row.name for row in readings.signal.rows),
        {
            "loss of the first minibatch": readings.start,
            "loss of the best constant answer": blind,
            "training loss at the end": readings.end,
        },
        f"the training begins at {BLOWN:g} times the loss of an answer that ignores the input, "
        f"where no gradient passes or a matrix is {DRAWN:g} times as large as drawn, and "
        f"{UNTRAINED}; or {NOT_WELL}, and a remedy is proved",
        readings.start / (BLOWN * blind),
        readings.num_seen,
    )


def _named(starved: Sequence[str]) -> str:
    if len(starved) == 1:
        return f"Layer {starved[0]!r} receives"
    return f"Layers {starved[0]!r} to {starved[-1]!r} receive"


def _per_layer(signal: Signal) -> str:
    assert signal.gradient is not None, "the rules ask for a trend first"
    measured = f"a factor of {signal.gradient.factor:.3g}"
    if signal.predicted_factor is None:
        return measured
    return f"{measured} (mean-field theory predicts {signal.predicted_factor:.3g})"


def _evidence(signal: Signal, first: DepthRow, last: DepthRow) -> dict[str, float]:
    assert signal.gradient is not None, "the rules ask for a trend first"
    evidence = {
        "gradient norm at the first layer": first.gradient_norm,
        "gradient norm at the last layer": last.gradient_norm,
        "factor per layer": signal.gradient.factor,
        "factor per layer, low": signal.gradient.low,
        "factor per layer, high": signal.gradient.high,
    }
    if signal.predicted_factor is not None:
        evidence["factor per layer, predicted"] = signal.predicted_factor
    if signal.theory is not None:
        evidence["depth scale, predicted (layers)"] = signal.theory.depth_scale
    return evidence
