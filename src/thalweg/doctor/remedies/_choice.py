"""Which remedies answer which finding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._activation import (
    leaky_relu,
    relu,
    relu_for_others,
    relu_for_sigmoid,
    tanh,
)
from thalweg.doctor.remedies._initialisation import edge_of_chaos, length_preserving
from thalweg.doctor.remedies._inputs import (
    clipped_inputs,
    standardised_inputs,
    without_constants,
)
from thalweg.doctor.remedies._learning_rate import (
    adam,
    lr_at_limit,
    lr_divided,
    lr_divided_more,
    lr_divided_most,
    lr_multiplied,
    lr_multiplied_more,
    lr_multiplied_most,
    lr_of_the_mean,
)
from thalweg.doctor.remedies._missing import dropped_rows, filled_inputs
from thalweg.doctor.remedies._normalisation import batch_norm
from thalweg.doctor.remedies._output import (
    loss_of_logits,
    mean_reduction,
    per_sample,
    squashed,
    unbounded_on_standard_targets,
    undone,
    without_last_activation,
)
from thalweg.doctor.remedies._own_initialisation import sound_reset
from thalweg.doctor.remedies._parameters import given, unfrozen
from thalweg.doctor.remedies._range_test import NAME, lr_of_range_test
from thalweg.doctor.remedies._recurrent import identity_in_time, orthogonal_in_time
from thalweg.doctor.remedies._remedy import NotApplicable, Proposal, Remedy, joined
from thalweg.doctor.remedies._reset import reset
from thalweg.doctor.remedies._residual import residual
from thalweg.doctor.remedies._schedule import cosine, kept_rate
from thalweg.doctor.remedies._settings import (
    less_dropout,
    no_weight_decay,
    usual_epsilon,
    usual_momentum,
)
from thalweg.doctor.remedies._step import (
    clipped_at_usual,
    in_training_mode,
    larger_batches,
    layer_norm,
    no_single_left,
    unclipped,
    usual_step,
    zeroed,
)
from thalweg.doctor.remedies._targets import (
    numbered_targets,
    reshaped_targets,
    standardised_targets,
    targets_within_reach,
    without_target_outliers,
)
from thalweg.doctor.remedies._widening import widened

_SLOWER = (lr_divided, lr_divided_more, lr_at_limit, lr_divided_most)
_FASTER = (lr_multiplied, lr_multiplied_more, lr_multiplied_most, lr_at_limit)

ANSWERS: dict[Ailment, tuple[Proposal, ...]] = {
    Ailment.DATA_NOT_FINITE: (dropped_rows, filled_inputs),
    Ailment.TARGET_SHAPE: (reshaped_targets,),
    Ailment.TARGET_RANGE: (
        numbered_targets,
        unbounded_on_standard_targets,
        without_last_activation,
        targets_within_reach,
        standardised_targets,
        loss_of_logits,
    ),
    Ailment.OUTPUT_LOSS: (
        unbounded_on_standard_targets,
        without_last_activation,
        loss_of_logits,
        squashed,
        undone,
        targets_within_reach,
    ),
    Ailment.REDUCTION: (
        usual_step,
        lr_of_the_mean,
        mean_reduction,
        per_sample,
        lr_of_range_test,
        lr_divided,
        lr_divided_more,
    ),
    Ailment.TARGET_SCALE: (standardised_targets, lr_divided, adam),
    Ailment.INPUT_SCALE: (standardised_inputs, batch_norm),
    Ailment.OUTLIERS: (clipped_inputs, without_target_outliers),
    Ailment.CONSTANT_FEATURES: (without_constants,),
    Ailment.NO_SIGNAL: (),
    Ailment.UNLIKE_HELD_OUT: (),
    Ailment.CANNOT_LEARN: (unfrozen, given, usual_step),
    Ailment.ACCUMULATED: (zeroed,),
    Ailment.WRONG_MODE: (in_training_mode,),
    Ailment.BATCH_OF_ONE: (no_single_left, larger_batches, layer_norm),
    Ailment.SYMMETRIC: (sound_reset, edge_of_chaos, length_preserving, reset),
    Ailment.BOTTLENECK: (widened,),
    Ailment.DROPOUT: (less_dropout,),
    Ailment.WEIGHT_DECAY: (no_weight_decay, usual_step),
    Ailment.CLIPPING: (unclipped, clipped_at_usual, adam, lr_multiplied, lr_multiplied_more),
    Ailment.MOMENTUM: (usual_momentum, adam),
    Ailment.EPSILON: (usual_epsilon,),
    Ailment.NOISE: (usual_step, larger_batches, lr_divided, cosine),
    Ailment.VANISHING: (
        identity_in_time,
        orthogonal_in_time,
        relu_for_sigmoid,
        edge_of_chaos,
        length_preserving,
        relu_for_others,
        batch_norm,
        reset,
        residual,
        tanh,
        adam,
    ),
    Ailment.EXPLODING: (
        sound_reset,
        orthogonal_in_time,
        edge_of_chaos,
        length_preserving,
        reset,
        batch_norm,
        relu,
        clipped_at_usual,
        lr_divided,
        adam,
    ),
    Ailment.SATURATED: (
        sound_reset,
        edge_of_chaos,
        length_preserving,
        reset,
        relu,
        batch_norm,
        tanh,
        adam,
    ),
    Ailment.DEAD: (
        sound_reset,
        edge_of_chaos,
        length_preserving,
        leaky_relu,
        batch_norm,
        lr_divided,
        adam,
        reset,
    ),
    Ailment.LR_TOO_LARGE: (lr_of_range_test, *_SLOWER, adam),
    Ailment.LR_TOO_SMALL: (kept_rate, lr_of_range_test, *_FASTER, adam),
    Ailment.ILL_CONDITIONED: (adam, batch_norm, edge_of_chaos),
    Ailment.GRADIENT_FLAT: (edge_of_chaos, reset, relu, adam, batch_norm),
    Ailment.STUCK: (edge_of_chaos, reset, adam, lr_multiplied, relu, batch_norm),
    Ailment.NOT_FINITE: (
        lr_of_range_test,
        lr_divided,
        lr_at_limit,
        edge_of_chaos,
        batch_norm,
        adam,
    ),
}
"""In the order of expected gain."""

SYMPTOMS = frozenset(
    {Ailment.ILL_CONDITIONED, Ailment.GRADIENT_FLAT, Ailment.STUCK, Ailment.NOT_FINITE}
)
"""Answered only where no cause was found."""

OF_INPUTS = frozenset({Ailment.OUTLIERS, Ailment.INPUT_SCALE, Ailment.CONSTANT_FEATURES})
"""Mended in the data, whatever else is."""

ANY: tuple[Proposal, ...] = tuple(dict.fromkeys(p for each in ANSWERS.values() for p in each))
"""Every remedy there is: what a repair by chance draws from."""


def remedies_for(
    findings: Sequence[Finding], readings: Readings
) -> tuple[tuple[Remedy, ...], tuple[NotApplicable, ...]]:
    """What to try for these findings, each once, and what cannot be tried here.

    Symptoms are answered where no cause is named: they go when their cause goes. Beside one that
    needs a proof they are answered after it.
    """
    known = [f for f in findings if f.ailment not in SYMPTOMS]
    if known and len(known) < len(findings) and all(f.needs_proof for f in known):
        doubted, others = remedies_for(known, readings)
        symptoms = [f for f in findings if f not in known]
        remedies, more = remedies_for(symptoms, readings)
        doubted = tuple(replace(remedy, is_of_doubt=True) for remedy in doubted)
        return _once((*doubted, *remedies)), tuple(dict.fromkeys((*others, *more)))
    findings = known or findings
    proposals = [proposal for finding in findings for proposal in ANSWERS[finding.ailment]]
    remedies, others = _drawn(proposals, readings)
    both = _together(findings, readings, remedies)
    if both is None:
        return remedies, others
    # What helps a little where neither cause is gone would end the search for the rest.
    return (both, *(remedy for remedy in remedies if remedy.is_direct)), others


def _together(
    findings: Sequence[Finding], readings: Readings, remedies: Sequence[Remedy]
) -> Remedy | None:
    """What takes away a cause that shows at once, and the scale of the inputs beside it.

    They have nothing to do with one another, and neither mends the training alone.
    """
    beside = next((f for f in findings[1:] if f.ailment in OF_INPUTS), None)
    if beside is None or findings[0].ailment in OF_INPUTS or not remedies:
        return None
    mended = ANSWERS[beside.ailment][0](readings)
    first = remedies[0]
    if not (isinstance(mended, Remedy) and first.is_direct) or first.name == mended.name:
        return None
    return joined(first, mended)


def any_remedy(readings: Readings) -> tuple[Remedy, ...]:
    """Every remedy that can be tried on a problem, whatever ails it."""
    return _once(r for r in (proposal(readings) for proposal in ANY) if isinstance(r, Remedy))


def _once(remedies: Iterable[Remedy]) -> tuple[Remedy, ...]:
    """Each by its name: two proposals may come to one remedy, of which the first has its rivals."""
    named: dict[str, Remedy] = {}
    for remedy in remedies:
        named.setdefault(remedy.name, remedy)
    return tuple(named.values())


def _drawn(
    proposals: Sequence[Proposal], readings: Readings
) -> tuple[tuple[Remedy, ...], tuple[NotApplicable, ...]]:
    drawn: list[Remedy | NotApplicable] = []
    for proposal in dict.fromkeys(proposals):
        direct = [each.name for each in drawn if isinstance(each, Remedy) and each.is_direct]
        if proposal is lr_of_range_test and direct:
            # Its sweep is paid before it is tried: not where the cause itself can be taken away.
            drawn.append(NotApplicable(NAME, f"{direct[0]} takes away the cause itself"))
            continue
        drawn.append(proposal(readings))
    return (
        _once(remedy for remedy in drawn if isinstance(remedy, Remedy)),
        # Two proposals may come to nothing for one reason.
        tuple(dict.fromkeys(each for each in drawn if isinstance(each, NotApplicable))),
    )
