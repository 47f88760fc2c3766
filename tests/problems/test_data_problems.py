"""Regressions and spirals: what their data say of themselves."""

import math

import pytest
import torch

from thalweg import problems


@pytest.mark.parametrize(
    ("factory", "f", "variance"),
    [
        (problems.one_variable_regression, torch.sin, 0.5),
        (
            problems.two_variable_regression,
            lambda x: torch.sin(x[:, :1]) * torch.cos(x[:, 1:]),
            0.25,
        ),
    ],
)
def test_targets_are_the_function_and_noise(factory, f, variance):
    rests, targets = [], []
    for seed in range(20):
        problem = factory(seed)
        for x, y in (problem.data, problem.test):
            assert x.abs().max() <= torch.pi
            rests.append(y - f(x))
            targets.append(y)
    rest, y = torch.cat(rests).double(), torch.cat(targets).double()
    # The square of n normal numbers has a relative deviation of √(2/n): five of them.
    assert abs(float(rest.square().mean()) / 0.01 - 1) < 5 * (2 / len(rest)) ** 0.5
    # The variance of sin² is ⅛, that of sin²cos² below ⅛.
    assert abs(float(y.var()) - variance - 0.01) < 5 * (1 / 8 / len(y)) ** 0.5


def test_held_out_samples_are_others():
    problem = problems.one_variable_regression()
    assert not torch.isin(problem.test[0], problem.data[0]).any()


def test_spirals_wind_three_times_and_mirror_each_other():
    x, y = problems.two_spirals().data
    one, other = x[y == 0], x[y == 1]
    torch.testing.assert_close(one, -other, rtol=0, atol=0)
    assert math.isclose(float(one[0].norm()), 1.0, rel_tol=1e-6)
    assert math.isclose(float(one[-1].norm()), 8 / 104, rel_tol=1e-5)
    turn = one[32].norm() / one[0].norm(), one[64].norm() / one[0].norm()
    assert [round(float(r) * 104) for r in turn] == [72, 40]
    torch.testing.assert_close(one[32] / one[32].norm(), one[0], rtol=1e-4, atol=1e-4)


def test_points_held_out_lie_halfway_on_the_same_spiral():
    problem = problems.two_spirals()
    (x, y), (between, classes) = problem.data, problem.test
    for label in (0, 1):
        one, halfway = x[y == label], between[classes == label]
        mean = (one[1:].norm(dim=1) + one[:-1].norm(dim=1)) / 2
        torch.testing.assert_close(halfway.norm(dim=1), mean, rtol=1e-5, atol=1e-6)
    nearest = torch.cdist(between, x).argmin(1)
    assert torch.equal(y[nearest], classes)


def test_the_stiff_target_is_met_between_the_points_too():
    problem = problems.stiff_regression()
    for x, y in (problem.data, problem.test):
        expected = [0.5 * math.sin(2 * v) + 0.3 * math.sin(5 * v) for v in x[:, 0].tolist()]
        torch.testing.assert_close(y[:, 0], torch.tensor(expected).double(), rtol=1e-6, atol=1e-6)
        assert y.dtype == torch.float64
    assert problem.test[0].abs().max() < 1
