"""A last activation that the loss does not expect, or one that it misses."""

from __future__ import annotations

from thalweg._loss import Kind
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._levels import NOTHING
from thalweg.doctor._readings import WELL_WITHIN, Readings

LOSSES = (Kind.SQUARED, Kind.ELEMENTWISE)
"""Of a regression."""

TOLERANCE = 1e-3
"""Σ exp(output) of log-probabilities is 1 up to this."""

RULE = (
    "the operations between the last layer and the loss, read from autograd's graph of a training "
    "step, are not those that the loss is defined for"
)

OWN_RULE = (
    "the loss, which is none of torch's, or its slope is not finite at the outputs, or is flat "
    "wherever they are outside of [0, 1], and is neither behind such an activation; of a training "
    "that learns something it counts only where that is proved to help"
)


def output_loss(readings: Readings) -> Finding | None:
    """Softmax before cross-entropy, a sigmoid too many or too few, a final ReLU, and the like."""
    told = _told(readings)
    if told is None:
        return None
    what, mend = told
    head = readings.head
    return Finding(
        Ailment.OUTPUT_LOSS,
        f"Output and loss do not match: {what}. {mend}.",
        (),
        {"least output": head.low, "greatest output": head.high},
        OWN_RULE if head.kind is None else RULE,
        2.0,
        needs_proof=head.kind is None and _learns(readings),
    )


def perhaps_output_loss(readings: Readings) -> Finding | None:
    """The outputs have one sign, or a bound, that the loss does not ask for; it learns so far."""
    head = readings.head
    if readings.is_early or readings.watched.failure:
        return None
    if head.kind is Kind.CLASSES:
        is_cut, loss = head.final in ("relu", "tanh", "log-sigmoid"), "cross_entropy"
    else:
        is_cut, loss = head.final == "relu" and head.kind in LOSSES, "a regression"
    if not is_cut:
        return None
    return Finding(
        Ailment.OUTPUT_LOSS,
        f"Output and loss do not match: {loss} gets the output of a final {head.final}, whose "
        f"units stop learning wherever it is flat. Take the last {head.final} out.",
        (),
        {"least output": head.low, "greatest output": head.high},
        "the network ends in an activation that the loss does not ask for, and nothing else is "
        "found; of a training that learns it counts only where it is proved to do better without",
        1.0,
        needs_proof=True,
    )


def _told(readings: Readings) -> tuple[str, str] | None:
    """What does not match, and how to mend it."""
    head = readings.head
    match head.kind:
        case Kind.CLASSES:
            return _of_logits(readings)
        case Kind.LOG_CLASSES:
            return _of_log_probabilities(readings)
        case Kind.BINARY_LOGITS:
            if head.final == "sigmoid":
                return (
                    "the network ends in a sigmoid, and binary_cross_entropy_with_logits takes "
                    "another one",
                    "Take the sigmoid out of the network",
                )
            if head.final in ("softmax", "relu", "log-sigmoid"):
                return (
                    f"binary_cross_entropy_with_logits gets the output of a {head.final}, which "
                    f"has one sign only",
                    f"Take the {head.final} out",
                )
        case Kind.BINARY:
            return _of_probabilities(readings)
        case Kind.SQUARED | Kind.ELEMENTWISE:
            if head.final == "relu" and not readings.may_train_well:
                low = head.target_low
                if low is None or low < 0 or readings.head.high == 0:
                    return None  # targets below zero are said as such
                return (
                    "a regression ends in a ReLU, whose units stop learning wherever it is zero",
                    "Take the last activation out",
                )
        case None if head.missing and (readings.watched.failure or _goes_nowhere(readings)):
            return (
                f"the loss takes probabilities, and is flat or not defined at the network's "
                f"outputs, which run from {head.low:.3g} to {head.high:.3g}: a {head.missing} is "
                f"missing",
                f"End the network in a {head.missing}, or use the loss of torch that takes logits",
            )
    return None


def _goes_nowhere(readings: Readings) -> bool:
    """Whether a training on outputs that the loss does not take is neither there nor near."""
    if _is_below_zero(readings):
        return True
    if readings.is_early and readings.halfway_in <= WELL_WITHIN * readings.times_left:
        return False
    return not readings.may_train_well


def _learns(readings: Readings) -> bool:
    """Whether it learns something all the same."""
    return not _is_below_zero(readings) and readings.learned >= NOTHING


def _is_below_zero(readings: Readings) -> bool:
    """What takes the loss of classes there are outputs above one, and no answers."""
    return readings.head.missing == "softmax" and min(readings.end, readings.settled) < 0


def _of_logits(readings: Readings) -> tuple[str, str] | None:
    head = readings.head
    if head.num_classes == 1 and head.target_high is not None:
        return (
            "cross_entropy over a single output is zero whatever the network says",
            "Give it an output a class, or use binary_cross_entropy_with_logits",
        )
    if head.final == "softmax":
        return (
            "cross_entropy gets probabilities where it takes logits: the network ends in a "
            "softmax, and the loss takes another one, so that it cannot fall to zero",
            "Take the softmax out of the network",
        )
    if head.final == "sigmoid":
        return (
            "cross_entropy gets the output of a sigmoid where it takes logits, so that no class "
            "can be more than e times as likely as another",
            "Take the sigmoid out of the network",
        )
    if head.final in ("relu", "tanh", "log-sigmoid") and not readings.may_train:
        return (
            f"cross_entropy gets the output of a final {head.final} where it takes logits of any "
            f"sign and size",
            f"Take the last {head.final} out",
        )
    return None


def _of_log_probabilities(readings: Readings) -> tuple[str, str] | None:
    head = readings.head
    if head.squashes[:1] == ("log",) and head.squashes[1:3] == ("softmax", "softmax"):
        return "two softmaxes follow one another before the loss", "Take one of them out"
    error = head.row_sum_error
    if head.final in ("log-softmax", "log") or error is None or error < TOLERANCE:
        if head.final == "log-softmax" and error is not None and error > TOLERANCE:
            return (
                "nll_loss gets a log-softmax over another dimension than the classes'",
                "Take it over dimension 1",
            )
        return None
    if head.final == "softmax":
        return (
            "nll_loss gets probabilities where it takes their logarithms",
            "End the network in log_softmax, or use cross_entropy on logits",
        )
    return (
        "nll_loss gets raw outputs where it takes log-probabilities, so that it falls without end",
        "Use cross_entropy, or end the network in log_softmax",
    )


def _of_probabilities(readings: Readings) -> tuple[str, str] | None:
    head = readings.head
    if head.squashes[:2] == ("sigmoid", "sigmoid"):
        return (
            "two sigmoids follow one another before binary_cross_entropy",
            "Take one of them out",
        )
    if head.final == "softmax" and head.output_shape[1:] == (1,):
        return (
            "a softmax over a single output is 1 whatever the network says",
            "End the network in a sigmoid",
        )
    is_bounded = head.final in ("sigmoid", "softmax", "hardtanh") or (
        head.low >= 0 and head.high <= 1
    )
    is_refused = "between 0 and 1" in readings.watched.failure
    if is_refused or (not is_bounded and head.low == head.low):
        return (
            f"binary_cross_entropy takes probabilities, and the network's outputs run from "
            f"{head.low:.3g} to {head.high:.3g}: a sigmoid is missing",
            "Use binary_cross_entropy_with_logits, or end the network in a sigmoid",
        )
    return None
