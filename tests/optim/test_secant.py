"""Corrections after a step: their inverse curvature, where they lead, and what is said of it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from thalweg import Problem, Surface
from thalweg.optim import ClosureObjective, Identity, ProblemObjective, SaddleFreeNewton, Walk
from thalweg.optim._secant import SecantInverse, secant_corrections
from thalweg.optim._subspace import krylov_space
from thalweg.problems import tanh_digits
from thalweg.surface import GGN, HESSIAN

N = 8


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def bowl(seed=0):
    A = draw(N, N, seed=seed)
    return A @ A.T + torch.eye(N)


def updated(B, s, y):
    """The BFGS update of an inverse, written out: Nocedal and Wright 2006, eq. 6.17."""
    rho = 1 / (s @ y)
    left = torch.eye(N) - rho * torch.outer(s, y)
    return left @ B @ left.T + rho * torch.outer(s, s)


def test_the_inverse_is_that_of_the_subspace_updated_pair_by_pair():
    A, w = bowl(), nn.Parameter(draw(N, seed=1))
    with Walk(ClosureObjective(lambda: w @ A @ w / 2, [w], 1.0), 1.0, HESSIAN) as walk:
        space = krylov_space(walk, Identity(), 3)
    inverse, damping = SecantInverse(space, 0.5), 0.5
    pairs = [(s := draw(N, seed=seed), A @ s) for seed in (2, 3, 4)]
    for s, y in pairs:
        inverse.learn(s, y)
    V = space.rotation.T @ space.basis
    s, y = pairs[-1]
    outer = (s @ y) / (y @ y)
    B = V.T @ torch.diag(1 / (space.values.abs() + damping) - outer) @ V + outer * torch.eye(N)
    for s, y in pairs:
        B = updated(B, s, y)
    v = draw(N, seed=9)
    # Products of random pairs span seven orders of magnitude.
    assert float((inverse.applied(v) - B @ v).norm()) < 1e-7 * float((B @ v).norm())
    torch.testing.assert_close(inverse.applied(pairs[-1][1]), pairs[-1][0])


def test_a_pair_of_negative_curvature_is_left_out():
    w = nn.Parameter(draw(N))
    with Walk(ClosureObjective(lambda: w @ w / 2, [w], 1.0), 1.0, HESSIAN) as walk:
        space = krylov_space(walk, Identity(), 1)
    inverse = SecantInverse(space, 0.0)
    v = draw(N, seed=1)
    before = inverse.applied(v)
    inverse.learn(v, -v)
    assert torch.equal(inverse.applied(v), before)


def test_on_a_quadratic_corrections_end_at_the_minimum_and_tell_the_whole_step():
    A, w = bowl(), nn.Parameter(draw(N, seed=1))
    start = w.detach().clone()
    # With no floor of 0 the loss itself tells no progress near the minimum.
    with Walk(ClosureObjective(lambda: w @ A @ w / 2, [w], 1.0), 1.0, HESSIAN) as walk:
        space = krylov_space(walk, Identity(), 2)
        first = walk.attempt(space.proposal(-space.slopes / space.values))
        found = secant_corrections(walk, space, first, 0.0)
        s = found.attempt.step
        walk.settle(found.attempt)
        assert found.is_worth
        end = w.detach()
        assert float(end @ A @ end) < 1e-6 * float(start @ A @ start)
        torch.testing.assert_close(end, start + s)
        assert found.attempt.first == pytest.approx(-float(s @ A @ start))
        assert found.attempt.second == pytest.approx(-float(s @ A @ start + s @ A @ s / 2))
        assert found.attempt.actual == pytest.approx(float(walk.value - end @ A @ end / 2))


def test_a_step_on_a_network_goes_on_by_gradients_and_counts_them():
    problem = tanh_digits().copied()
    optimizer = SaddleFreeNewton(problem.model.parameters()).bind(problem)
    first = float(optimizer.step())
    record = optimizer.record
    # Four products, one more for what the record predicts of the step as a whole.
    assert record.num_products == 5
    assert record.gradient_equivalents > 1 + 5 * GGN.cost + 5
    after = float(Surface(problem).here().value)
    assert after < first / 5
    assert record.actual_decrease == pytest.approx(first - after, rel=1e-4)


def test_where_corrections_do_not_pay_they_are_left_off_for_longer_and_longer():
    """On log cosh of many scales, far out, a gradient takes less than a tenth of the loss."""
    scales = torch.logspace(0, 3, 40, dtype=torch.float64)
    w = nn.Parameter(torch.full((40,), 30.0, dtype=torch.float64))
    optimizer = SaddleFreeNewton([w])
    waits = []
    for _ in range(12):
        optimizer.step(lambda: torch.log1p((scales * w).square()).sum() + 100.0)
        waits.append(optimizer.memory["wait"])
    assert max(waits) >= 2


def test_what_is_read_on_the_way_leaves_buffers_as_a_plain_step_does():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)).double()
    x, y = draw(9, 3), torch.arange(9) % 2
    counts = []
    optimizer = SaddleFreeNewton(model.parameters()).bind(model, F.cross_entropy, (x, y))
    for _ in range(3):
        optimizer.step()
        counts.append(int(model[1].num_batches_tracked))
    assert counts == [1, 2, 3]


def test_a_loss_that_is_nowhere_finite_beyond_ends_the_corrections_where_it_was():
    """√ of less than 0 is NaN: the parameters stay where the loss was the lowest."""
    A, w = bowl(), nn.Parameter(0.1 * draw(N, seed=1))

    def loss():
        return (w @ A @ w) / 2 - torch.sqrt(0.5 + w[0]) + 2.0

    optimizer = SaddleFreeNewton([w])
    before = float(loss().detach())
    for _ in range(6):
        optimizer.step(loss)
        after = float(loss().detach())
        assert after <= before
        before = after


def test_gradient_and_value_on_the_way_are_those_of_the_loss():
    problem = tanh_digits().copied()
    x, y = problem.batches[0]
    half = Problem(problem.model, problem.loss, [(x[:700], y[:700]), (x[700:], y[700:])])
    objective = ProblemObjective(half, list(problem.model.parameters()), 1.0)
    value, gradient = objective.slope()
    point = Surface(problem).here()
    assert value == pytest.approx(float(point.value), rel=1e-6)
    expected = torch.cat([g.reshape(-1) for g in point.gradient.values()])
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-7)
    assert objective.value() == pytest.approx(value, rel=1e-12)
