"""The rules: each reads what was measured and says what is wrong, or nothing."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

from thalweg.doctor._finding import Finding
from thalweg.doctor._observation import Stage
from thalweg.doctor._readings import Readings
from thalweg.doctor.findings._bottleneck import bottleneck, perhaps_bottleneck
from thalweg.doctor.findings._conditioning import ill_conditioned
from thalweg.doctor.findings._data import data_not_finite
from thalweg.doctor.findings._gradients import (
    exploding,
    perhaps_exploding,
    perhaps_large_weights,
    perhaps_vanishing,
    vanishing,
    vanishing_less,
)
from thalweg.doctor.findings._held_out import unlike_held_out
from thalweg.doctor.findings._inputs import (
    arrive_large,
    constant_features,
    input_scale,
    outliers,
    perhaps_constant_features,
    perhaps_input_scale,
    perhaps_outliers,
)
from thalweg.doctor.findings._learning_rate import (
    is_thrown,
    lr_too_large,
    lr_too_small,
    perhaps_lr_too_large,
    perhaps_lr_too_small,
)
from thalweg.doctor.findings._modes import (
    batch_of_one,
    perhaps_batch_of_one,
    perhaps_too_much_dropout,
    too_much_dropout,
    wrong_mode,
)
from thalweg.doctor.findings._no_signal import no_signal, perhaps_no_signal
from thalweg.doctor.findings._noise import noise, noisy_step
from thalweg.doctor.findings._not_finite import not_finite
from thalweg.doctor.findings._output_loss import output_loss, perhaps_output_loss
from thalweg.doctor.findings._parameters import cannot_learn
from thalweg.doctor.findings._reduction import perhaps_reduction, scaled_step, wrong_reduction
from thalweg.doctor.findings._settings import (
    doubtful_momentum,
    epsilon,
    momentum,
    perhaps_epsilon,
    perhaps_momentum,
)
from thalweg.doctor.findings._step import (
    accumulated,
    clipping,
    perhaps_weight_decay,
    weight_decay,
)
from thalweg.doctor.findings._stuck import gradient_flat, stuck
from thalweg.doctor.findings._symmetric import perhaps_symmetric, symmetric
from thalweg.doctor.findings._targets import (
    perhaps_target_range,
    perhaps_target_scale,
    target_outliers,
    target_range,
    target_scale,
    target_shape,
)
from thalweg.doctor.findings._time import exploding_in_time, vanishing_in_time
from thalweg.doctor.findings._units import dead, perhaps_saturated, saturated, saturated_gates

Rule = Callable[[Readings], Finding | None]

CERTAIN: tuple[Rule, ...] = (
    *(data_not_finite, target_shape, target_range, output_loss),
    *(batch_of_one, wrong_mode, accumulated, cannot_learn),
)
"""What shows in the data and in a few steps, however the training ends."""

CAUSES: tuple[Rule, ...] = (
    *(*CERTAIN, symmetric),
    *(
        target_outliers,
        no_signal,
        unlike_held_out,
        outliers,
        input_scale,
        constant_features,
        target_scale,
        wrong_reduction,
    ),
    *(noisy_step, scaled_step, too_much_dropout, weight_decay, clipping, momentum, epsilon, noise),
    *(vanishing, exploding, exploding_in_time),
    *(
        lr_too_large,
        saturated,
        saturated_gates,
        bottleneck,
        dead,
        lr_too_small,
        vanishing_in_time,
        vanishing_less,
    ),
)
"""What explains itself: in the data, the step, the settings, the network, in this order."""

_BESIDE: tuple[Rule, ...] = (outliers, input_scale, constant_features)
"""What the data show beside such a cause, though the training was not watched for it."""

FAR_PAST = 2.0
"""Times past its rule, from which on that is told."""

_DEAR = (wrong_reduction, noise, lr_too_large, lr_too_small, vanishing_in_time, vanishing_less)
"""What is asked where nothing else is known: it takes other trainings, or rules them out."""

_EARLY = tuple(rule for rule in CAUSES if rule not in (*_DEAR, no_signal, unlike_held_out))

_SUSPICIOUS: tuple[Rule, ...] = (
    *(symmetric, outliers, input_scale, constant_features, target_scale),
    *(wrong_reduction, too_much_dropout, weight_decay, clipping, momentum, epsilon, bottleneck),
)
"""What lies in the data, the recipe or the network, whatever becomes of the training."""

_PERHAPS: tuple[Rule, ...] = (perhaps_no_signal, perhaps_momentum)
"""What an epoch makes one suspect by evidence of its own."""

_DOUBTS: tuple[Rule, ...] = (
    *(perhaps_batch_of_one, perhaps_target_range, perhaps_output_loss),
    *(perhaps_outliers, perhaps_constant_features, perhaps_input_scale, perhaps_symmetric),
    *(perhaps_reduction, perhaps_bottleneck, perhaps_saturated, perhaps_target_scale),
    perhaps_exploding,
    *(perhaps_large_weights, perhaps_vanishing, perhaps_weight_decay, perhaps_too_much_dropout),
    *(doubtful_momentum, perhaps_epsilon, perhaps_lr_too_large, perhaps_lr_too_small),
)
"""What counts only where taking it away is proved to help, and is asked where nothing is found."""

SYMPTOMS: tuple[Rule, ...] = (ill_conditioned, gradient_flat, stuck, not_finite)
"""What has a cause, named or not."""

RULES = (*CAUSES, *SYMPTOMS)
"""In the order of telling: causes before symptoms."""

__all__ = [
    "CAUSES",
    "CERTAIN",
    "RULES",
    "SYMPTOMS",
    "doubted",
    "find",
    "suspected",
    "suspicious",
    "unmoved",
]


def find(readings: Readings) -> tuple[Finding, ...]:
    """All findings of all rules, in the order of telling; none that is declared on purpose.

    After first steps that were enough, only of the rules that they are enough for, and of what the
    inputs show that reaches the first activation.
    """
    if readings.observed is None or readings.observed.stage is not Stage.FIRST_STEPS:
        if readings.observed is None or readings.probe.most == inf:
            return _told(RULES, readings)
        # Where the budget is small, other trainings are paid only if no cause is known without.
        frugal = replace(readings, is_frugal=True)
        found = {rule: _told((rule,), frugal) for rule in CAUSES if rule not in _DEAR}
        if not any(found.values()):
            found[wrong_reduction] = _told((wrong_reduction,), readings)
        if not any(found.values()):
            # A loss in other units explains a wrong step: no rate need be looked for then.
            rules = [r for r in (*_DEAR, saturated, dead) if r is not wrong_reduction]
            found |= {rule: _told((rule,), readings) for rule in rules}
        causes = tuple(finding for rule in CAUSES for finding in found.get(rule, ()))
        return (*causes, *_told(SYMPTOMS, readings))
    causes = _told(CERTAIN, readings)
    if not causes:
        return ()
    beside = _told(_BESIDE, readings) if arrive_large(readings) else ()
    beside = tuple(finding for finding in beside if finding.margin >= FAR_PAST)
    return (*causes, *beside, *_told((not_finite,), readings))


def unmoved(readings: Readings) -> tuple[Finding, ...]:
    """What is found of a training that does not move, and for no cause that is known."""
    return _told((gradient_flat, stuck), readings)


def doubted(readings: Readings) -> tuple[Finding, ...]:
    """What may be why no more is learned, where nothing is found: the first; it needs a proof."""
    return _told(_DOUBTS, readings)[:1]


def suspected(
    readings: Readings, is_confirmed: Callable[[Finding], bool]
) -> tuple[Finding, ...] | None:
    """What an epoch makes one suspect, with what is confirmed first; None if nothing is.

    Of the causes whose taking away shows within an epoch. Those that need other trainings are
    asked only where no other is confirmed, and told in their place.
    """
    found: dict[Rule, Finding] = {}
    for rule in (*_EARLY, *_DEAR):
        if found and rule in (lr_too_large, lr_too_small) and not is_thrown(readings):
            # Other trainings are for what nothing else explains.
            break
        for finding in _told((rule,), readings):
            if not is_confirmed(finding):
                found[rule] = finding
                continue
            broken = _told((not_finite,), readings)
            if rule in _DEAR:
                found[rule] = finding
                return (*(found[each] for each in CAUSES if each in found), *broken)
            others = _told(_EARLY[_EARLY.index(rule) + 1 :], readings)
            return (finding, *found.values(), *others, *broken)
    return None


def suspicious(readings: Readings) -> tuple[Finding, ...]:
    """What would be found if the training ended after an epoch with what it has learned by then.

    Nothing of it is confirmed: a sound training has not learned all by then, either.
    """
    assert readings.observed is not None, "an epoch was watched"
    whole = replace(readings.observed, stage=Stage.WHOLE)
    as_if_whole = replace(readings, observed=whole, is_frugal=True)
    return (*_told(_SUSPICIOUS, as_if_whole), *_told(_PERHAPS, readings))


def _told(rules: tuple[Rule, ...], readings: Readings) -> tuple[Finding, ...]:
    found = (rule(readings) for rule in rules)
    return tuple(
        finding
        for finding in found
        if finding is not None
        and not (finding.layers and all(map(readings.problem.is_on_purpose, finding.layers)))
    )
