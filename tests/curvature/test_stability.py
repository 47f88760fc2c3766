"""Stability limits, each against running the very optimizer on a one-dimensional quadratic."""

import math

import pytest
import torch

from thalweg import ThalwegError
from thalweg.curvature import Stability, StepRule


def final_size(make, curvature, steps=400):
    """|w| after some steps on ½λw², from 1."""
    w = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = make([w])
    for _ in range(steps):
        optimizer.zero_grad()
        (curvature / 2 * w.square()).sum().backward()
        optimizer.step()
    return float(w.detach().abs())


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: torch.optim.SGD(p, lr=0.03, momentum=0.5),
        lambda p: torch.optim.SGD(p, lr=0.03, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.03, momentum=0.9, dampening=0.9),
        lambda p: torch.optim.SGD(p, lr=0.03, momentum=0.9, nesterov=True),
    ],
)
def test_below_the_limit_it_falls_and_above_it_grows(make):
    rule = StepRule.of(make([torch.nn.Parameter(torch.zeros(1))]))
    assert final_size(make, 0.95 * rule.limit) < 0.1
    assert final_size(make, 1.05 * rule.limit) > 10


@pytest.mark.parametrize(
    ("make", "pace"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1), 0.1),
        (lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9), 0.1),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.9), 0.1),
    ],
)
def test_the_pace_is_that_of_gradient_flow(make, pace):
    """Far below the limit |w| follows e^(−pace λ t), up to momentum's start of 1/(1−β) steps."""
    rule = StepRule.of(make([torch.nn.Parameter(torch.zeros(1))]))
    assert rule.pace == pytest.approx(pace)
    decay = -math.log(final_size(make, 0.01, steps=2000)) / (0.01 * 2000)
    assert decay == pytest.approx(pace, rel=0.02)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_on_a_frozen_preconditioner(kind):
    """(2 + 2β₁)/((1 − β₁)η): heavy ball in the moving-average form, at P = 1."""
    rule = StepRule.of(kind([torch.nn.Parameter(torch.zeros(1))], lr=1e-3))
    assert rule.limit == pytest.approx(38_000)
    assert rule.epsilon == 1e-8

    def grows(curvature):
        w, m = 1.0, 0.0
        for _ in range(400):
            m = 0.9 * m + 0.1 * curvature * w
            w -= 1e-3 * m
        return abs(w) > 1

    assert not grows(0.99 * rule.limit)
    assert grows(1.01 * rule.limit)


def test_no_limit_is_claimed_for_other_methods():
    assert StepRule.of(torch.optim.Adagrad([torch.nn.Parameter(torch.zeros(1))])) is None


def test_ratio():
    stability = Stability(StepRule.gradient_descent(0.1), 30.0)
    assert stability.ratio == pytest.approx(1.5)
    assert not stability.is_stable


def test_a_learning_rate_must_be_positive():
    with pytest.raises(ThalwegError, match="positive learning rate"):
        StepRule.gradient_descent(0.0)
