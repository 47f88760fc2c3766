"""What is odd in a training that learns: a finding where a remedy is proved, else a suspicion."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from networks import BATCH, clusters, dense, examined, sgd
from thalweg import Problem
from thalweg.doctor import Ailment


def classified(model, x, y):
    return Problem(model, F.cross_entropy, (x, y), optimizer=sgd(0.1), batch_size=BATCH, epochs=40)


def flattened(gain, *sizes):
    model = dense(*sizes, activation=nn.Tanh)
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.mul_(gain)
    return classified(model, *clusters())


def wild_digits():
    """A value in one of twenty, a pixel's, is ten thousand deviations too large."""
    digits, generator = load_digits(), torch.Generator().manual_seed(0)
    x = torch.tensor(digits.data[:600]).float()
    x = (x - x.mean(0)) / x.std(0).clamp_min(1e-3)
    rows = torch.nonzero(torch.rand(len(x), generator=generator) < 0.05)[:, 0]
    x[rows, torch.randint(64, rows.shape, generator=generator)] += 1e4
    return x, torch.tensor(digits.target[:600])


def test_values_much_too_far_are_told_where_a_network_that_learns_does_better_without():
    model = dense(64, 16, 16, 10, activation=nn.Tanh)
    problem = replace(classified(model, *wild_digits()), batch_size=32, epochs=15)
    examination = examined(problem)
    assert examination.learned > 0.8
    assert [f.ailment for f in examination.findings] == [Ailment.OUTLIERS]
    assert examination.proved


def test_values_much_too_far_that_do_no_harm_are_only_suspected():
    """A tanh cuts them off. Of a heavy tail nothing is said."""
    points, y = clusters()
    far, tail = points.clone(), points * points.abs() ** 1.5
    far[::60] *= 1e4
    for x, is_suspected in ((far, True), (tail, False)):
        problem = classified(dense(8, 24, 3, activation=nn.Tanh), x, y)
        examination = examined(problem)
        assert examination.learned > 0.8
        assert examination.is_healthy
        told = [(s.ailment, s.is_confirmed) for s in examination.suspicions]
        assert told == ([(Ailment.OUTLIERS, False)] if is_suspected else [])


def test_layers_that_stay_flat_are_told_where_the_last_one_learns_less_than_can_be():
    """Wide ones serve the last layer as random features: by these it learns its own data, all of
    them, and answers others worse than with weights that are drawn anew, which is proved."""
    wide = examined(flattened(100, 8, 64, 64, 3))
    assert wide.learned > 1
    assert [f.ailment for f in wide.findings] == [Ailment.SATURATED]
    assert wide.findings[0].needs_proof
    assert wide.proved
    without, anew = (
        fmean(run.after.accuracy for run in runs) for runs in (wide.control, wide.proved[0].runs)
    )
    assert anew > without + 0.03
    examination = examined(flattened(100, 8, 32, 32, 3))
    assert examination.is_learning
    assert [f.ailment for f in examination.findings] == [Ailment.SATURATED]
    assert examination.proved
