"""Which remedies answer which finding."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._activation import leaky_relu, relu, tanh
from thalweg.doctor.remedies._initialisation import edge_of_chaos
from thalweg.doctor.remedies._learning_rate import (
    adam,
    lr_at_limit,
    lr_divided,
    lr_multiplied,
    lr_multiplied_more,
)
from thalweg.doctor.remedies._normalisation import batch_norm
from thalweg.doctor.remedies._remedy import NotApplicable, Proposal, Remedy

ANSWERS: dict[Ailment, tuple[Proposal, ...]] = {
    Ailment.NOT_FINITE: (lr_divided, lr_at_limit, edge_of_chaos, batch_norm, adam),
    Ailment.VANISHING: (relu, batch_norm, edge_of_chaos, tanh, adam),
    Ailment.EXPLODING: (edge_of_chaos, batch_norm, relu, lr_divided, adam),
    Ailment.SATURATED: (edge_of_chaos, relu, batch_norm, tanh, adam),
    Ailment.DEAD: (edge_of_chaos, leaky_relu, batch_norm, lr_divided, adam),
    Ailment.LR_TOO_LARGE: (lr_at_limit, lr_divided, adam),
    Ailment.LR_TOO_SMALL: (lr_at_limit, lr_multiplied, lr_multiplied_more, adam),
    Ailment.STUCK: (adam, lr_multiplied, edge_of_chaos, relu, batch_norm),
}
"""In the order of expected gain."""


def remedies_for(
    findings: Sequence[Finding], readings: Readings
) -> tuple[tuple[Remedy, ...], tuple[NotApplicable, ...]]:
    """What to try for these findings, each once, and what cannot be tried here."""
    proposals = [proposal for finding in findings for proposal in ANSWERS.get(finding.ailment, ())]
    drawn = [proposal(readings) for proposal in dict.fromkeys(proposals)]
    return (
        tuple(remedy for remedy in drawn if isinstance(remedy, Remedy)),
        tuple(remedy for remedy in drawn if isinstance(remedy, NotApplicable)),
    )
