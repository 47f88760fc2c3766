"""Torch's own initialisation, where it alone makes a network sound."""

from __future__ import annotations

from dataclasses import replace

import torch

from thalweg._errors import ThalwegError
from thalweg.doctor._readings import Readings
from thalweg.doctor.findings._gradients import LESS, exploding, has_large_weights, vanishing
from thalweg.doctor.findings._units import dead, saturated, saturated_gates
from thalweg.doctor.remedies._initialisation import edge_of_chaos, length_preserving
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy, applicable
from thalweg.doctor.remedies._reset import reset
from thalweg.passes import Pass
from thalweg.signal import Signal

NAME = "torch's own initialisation, first"

READ = 128
"""Samples that a network drawn anew is read on."""


def sound_reset(readings: Readings) -> Remedy | NotApplicable:
    """Undoes an initialisation of one's own, if torch's own has none of what was found.

    Then how they were drawn is the cause: it is tried before what is ahead in short runs. Its rival
    draws weights for the depth. Where layers drawn anew vanish, explode, saturate or die as well,
    the depth or the data are the cause.

    Cost: a pass over 128 samples.
    """
    remedy = reset(readings)
    if isinstance(remedy, NotApplicable):
        return NotApplicable(NAME, remedy.reason)
    try:
        generator = torch.Generator().manual_seed(0)
        drawn = remedy.apply(readings.problem.copied(), generator).in_eval_mode()
        if drawn.num_samples > READ:
            drawn = drawn.subsampled(READ, generator)
        passed = Pass.of(drawn)
    except (ThalwegError, RuntimeError):
        return NotApplicable(NAME, "the network drawn anew cannot be read")
    anew = replace(readings, problem=drawn, passed=passed, signal=Signal.of(passed), is_frugal=True)
    signal = anew.signal.rows
    norms = [row.gradient_norm for row in signal]
    is_even = bool(norms) and max(norms[0], norms[-1]) < LESS * min(norms[0], norms[-1])
    rules = (vanishing, exploding, saturated, saturated_gates, dead)
    is_observed = readings.observed is not None
    # Weights that are far too large are so whatever the depth.
    is_even |= has_large_weights(readings.problem.model) and not has_large_weights(drawn.model)
    if not is_even or (is_observed and any(rule(anew) is not None for rule in rules)):
        return NotApplicable(NAME, "layers drawn so pass signals on no better")
    rivals = applicable(edge_of_chaos(readings), length_preserving(readings))
    alone = tuple(replace(rival, rivals=()) for rival in rivals)
    return replace(remedy, rivals=alone, is_direct=True, num_samples=round(READ * 4 / 3))
