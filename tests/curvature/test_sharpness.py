"""Sharpness along a training run against the dense Hessian at every step."""

import pytest
import torch
import torch.nn.functional as F

import dense
from problems import SHELF, cut, draw, draw_classes, initialised, mlp_model
from thalweg import Problem, ThalwegError
from thalweg.curvature import SharpnessTracker


def trained(steps, lr, seed=0):
    """A small network on its way down, step by step."""
    x, y = draw(40, 3, seed=seed), draw_classes(2, 40, seed=1)
    model = initialised(mlp_model(), seed)
    problem = Problem(model, F.cross_entropy, (x, y))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(steps):
        yield problem, lambda p: F.cross_entropy(torch.func.functional_call(model, p, x), y)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def true_sharpness(problem, loss):
    return float(torch.linalg.eigvalsh(dense.hessian(loss, problem))[-1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_reading_is_within_the_tolerance(seed, generator):
    tracker, num_measured, steps = None, 0, 60
    for problem, loss in trained(steps, lr=0.1, seed=seed):
        tracker = tracker or SharpnessTracker(problem, generator=generator, tol=0.02)
        found = tracker.read()
        assert found.value == pytest.approx(true_sharpness(problem, loss), rel=0.02)
        num_measured += found.is_measured
        assert (found.num_products > 0) == found.is_measured
    assert num_measured < steps / 2


def test_a_measurement_lies_within_its_error(generator):
    tracker = None
    for problem, loss in trained(12, lr=0.3):
        tracker = tracker or SharpnessTracker(problem, generator=generator, max_interval=1)
        found = tracker.read()
        assert found.is_measured
        true = true_sharpness(problem, loss)
        assert found.value - 1e-9 <= true <= found.value + found.error + 1e-9


def test_a_model_that_stands_still_is_measured_ever_less(generator):
    tracker = SharpnessTracker(SHELF["conv"]().problem, generator=generator, max_interval=8)
    measured = [tracker.read().is_measured for _ in range(40)]
    assert measured[:2] == [True, True]
    # 1, 2, 4, then every 8th.
    assert sum(measured[8:]) <= 4
    assert sum(measured) <= 10


def test_batches_do_not_matter(generator):
    known = SHELF["softmax"]()
    values = []
    for sizes in ((7,), (5, 2), (1,) * 7):
        problem = known.problem.with_data(cut(known.problem.data, *sizes))
        seeded = torch.Generator().manual_seed(0)
        values.append(SharpnessTracker(problem, generator=seeded).read().value)
    assert values == pytest.approx([values[0]] * 3, rel=1e-12)


def test_one_parameter_has_one_eigenvalue(generator):
    x = torch.ones(3, 1)
    model = torch.nn.Linear(1, 1, bias=False)
    tracker = SharpnessTracker(Problem(model, F.mse_loss, (x, x)), generator=generator)
    assert tracker.read().value == pytest.approx(2.0)


@pytest.mark.parametrize("arguments", [{"tol": 0.0}, {"max_interval": 0}])
def test_nonsense_is_refused(arguments, generator):
    with pytest.raises(ThalwegError, match="give a positive tolerance"):
        SharpnessTracker(SHELF["conv"]().problem, generator=generator, **arguments)


def test_a_curvature_that_falls_as_a_whole_costs_one_product(generator):
    scale = [1.0]
    x, y = draw(40, 3, seed=0), draw_classes(2, 40, seed=1)
    model = initialised(mlp_model(), 0)
    problem = Problem(model, lambda z, t: scale[0] * F.cross_entropy(z, t), (x, y))
    tracker = SharpnessTracker(problem, generator=generator, max_interval=1)
    values = []
    for step in range(6):
        scale[0] = 0.5**step
        found = tracker.read()
        values.append(found.value * 2**step)
        assert step == 0 or found.num_products == 1
    assert values == pytest.approx([values[0]] * 6, rel=1e-2)
