"""The rules: each reads what was measured and says what is wrong, or nothing."""

from collections.abc import Callable

from thalweg.doctor._finding import Finding
from thalweg.doctor._readings import Readings
from thalweg.doctor.findings._bottleneck import bottleneck
from thalweg.doctor.findings._conditioning import ill_conditioned
from thalweg.doctor.findings._data import data_not_finite
from thalweg.doctor.findings._gradients import exploding, vanishing
from thalweg.doctor.findings._inputs import constant_features, input_scale, outliers
from thalweg.doctor.findings._learning_rate import lr_too_large, lr_too_small
from thalweg.doctor.findings._modes import batch_of_one, too_much_dropout, wrong_mode
from thalweg.doctor.findings._no_signal import no_signal
from thalweg.doctor.findings._noise import noise
from thalweg.doctor.findings._not_finite import not_finite
from thalweg.doctor.findings._output_loss import output_loss
from thalweg.doctor.findings._parameters import cannot_learn
from thalweg.doctor.findings._reduction import wrong_reduction
from thalweg.doctor.findings._settings import epsilon, momentum
from thalweg.doctor.findings._step import accumulated, clipping, weight_decay
from thalweg.doctor.findings._stuck import gradient_flat, stuck
from thalweg.doctor.findings._symmetric import symmetric
from thalweg.doctor.findings._targets import target_range, target_scale, target_shape
from thalweg.doctor.findings._units import dead, saturated

Rule = Callable[[Readings], Finding | None]

CERTAIN: tuple[Rule, ...] = (
    *(data_not_finite, target_shape, target_range, output_loss),
    *(batch_of_one, wrong_mode, accumulated, cannot_learn),
)
"""What shows in the data and in a few steps, however the training ends."""

CAUSES: tuple[Rule, ...] = (
    *(*CERTAIN, symmetric),
    *(no_signal, outliers, input_scale, constant_features, target_scale, wrong_reduction),
    *(too_much_dropout, weight_decay, clipping, momentum, epsilon, noise),
    *(vanishing, exploding, lr_too_large, saturated, bottleneck, dead, lr_too_small),
)
"""What explains itself: in the data, the step, the settings, the network, in this order."""

SYMPTOMS: tuple[Rule, ...] = (ill_conditioned, gradient_flat, stuck, not_finite)
"""What has a cause, named or not."""

RULES = (*CAUSES, *SYMPTOMS)
"""In the order of telling: causes before symptoms."""

__all__ = ["CAUSES", "CERTAIN", "RULES", "SYMPTOMS", "find"]


def find(readings: Readings) -> tuple[Finding, ...]:
    """All findings of all rules, in the order of telling; none that is declared on purpose.

    After a first look that was enough, only of the rules that it is enough for.
    """
    if readings.observed is not None and readings.observed.is_certain:
        certain = _told(CERTAIN, readings)
        return (*certain, *(_told((not_finite,), readings) if certain else ()))
    return _told(RULES, readings)


def _told(rules: tuple[Rule, ...], readings: Readings) -> tuple[Finding, ...]:
    found = (rule(readings) for rule in rules)
    return tuple(
        finding
        for finding in found
        if finding is not None
        and not (finding.layers and all(map(readings.problem.is_on_purpose, finding.layers)))
    )
