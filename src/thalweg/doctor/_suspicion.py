"""Suspicions: what an epoch makes one suspect, named before it can be confirmed or cleared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from thalweg.doctor._finding import Ailment, Finding, Suspicion
from thalweg.doctor._readings import Readings
from thalweg.doctor.findings import suspicious

Tally = tuple[int, int]
"""Suspicions that were confirmed, and that were named."""

NOT_MENDED: Tally = (26, 26)
"""A rule held after an epoch, and no remedy of it mended the training within those steps."""

AS_IF_WHOLE: Tally = (5, 5)
"""A rule would hold if the training ended there."""

NEVER_COUNTED: Tally = (0, 0)
"""What does no harm that is seen."""

ON_ITS_OWN: dict[Ailment, Tally] = {Ailment.NO_SIGNAL: (9, 9), Ailment.MOMENTUM: (1, 1)}
"""By evidence that an epoch alone has."""


def suspicions_of(early: Readings, unconfirmed: Sequence[Finding]) -> tuple[Suspicion, ...]:
    """What is named after an epoch, the likeliest first.

    Args:
        early: read by then.
        unconfirmed: what its rules found, and no remedy of it mended within these steps.
    """
    tallies = {each.ailment: NOT_MENDED for each in unconfirmed}
    named = {each.ailment: each for each in (*suspicious(early), *unconfirmed)}
    told = []
    for ailment, finding in named.items():
        tally = tallies.get(ailment) or ON_ITS_OWN.get(ailment, AS_IF_WHOLE)
        sentence, steps = finding.sentence, early.num_seen
        told.append(Suspicion(ailment, sentence, steps, probability(*tally)))
    return tuple(sorted(told, key=lambda each: -each.probability))


def probability(confirmed: int, named: int) -> float:
    """That the next one is confirmed, (k + 1)/(n + 2): Laplace's rule of succession.

    Counted over 288 seeded faults and 100 sound trainings, none of which was suspected: where
    faults are rarer, it is lower. `python -m benchmarks.faults --half sealed` counts on others.
    """
    return (confirmed + 1) / (named + 2)


def settled_with(
    findings: Sequence[Finding], suspicions: Sequence[Suspicion], is_proved: bool
) -> tuple[tuple[Finding, ...], tuple[Suspicion, ...]]:
    """Findings with the step that first named them; suspicions with what became of them.

    Args:
        findings: of all rules. One that needs a proof is a suspicion where there is none.
        suspicions: told on the way.
        is_proved: whether a remedy was.
    """
    first = {each.ailment: each.named_after for each in suspicions}
    unproved = [each for each in findings if each.needs_proof and not is_proved]
    findings = [each for each in findings if each not in unproved]
    suspicions = [
        *suspicions,
        *(
            Suspicion(each.ailment, each.sentence, each.found_after, probability(*NEVER_COUNTED))
            for each in unproved
            if each.ailment not in first
        ),
    ]
    found = {each.ailment for each in findings}
    return (
        tuple(replace(each, suspected_after=first.get(each.ailment)) for each in findings),
        tuple(replace(each, is_confirmed=each.ailment in found) for each in suspicions),
    )
