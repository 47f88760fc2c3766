"""The rules: each reads what was measured and says what is wrong, or nothing."""

from collections.abc import Callable

from thalweg.doctor._finding import Finding
from thalweg.doctor._readings import Readings
from thalweg.doctor.findings._gradients import exploding, vanishing
from thalweg.doctor.findings._learning_rate import lr_too_large, lr_too_small
from thalweg.doctor.findings._not_finite import not_finite
from thalweg.doctor.findings._stuck import stuck
from thalweg.doctor.findings._units import dead, saturated

RULES: tuple[Callable[[Readings], Finding | None], ...] = (
    not_finite,
    vanishing,
    exploding,
    lr_too_large,
    saturated,
    dead,
    lr_too_small,
    stuck,
)
"""In the order of telling: causes before symptoms."""

__all__ = ["RULES", "find"]


def find(readings: Readings) -> tuple[Finding, ...]:
    """All findings of all rules, in the order of telling."""
    found = (rule(readings) for rule in RULES)
    return tuple(finding for finding in found if finding is not None)
