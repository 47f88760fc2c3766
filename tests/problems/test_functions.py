"""Functions of a few numbers as problems: values, derivatives and minima that are known."""

import math

import pytest
import torch

from thalweg import ProblemError, Surface, problems

FLAT = {"rtol": 1e-12, "atol": 1e-12}


def theta(*numbers):
    return {"theta": torch.tensor(numbers, dtype=torch.float64)}


@pytest.mark.parametrize("eigenvalues", [(1.0, 10.0, 100.0), (3.0, 0.0, -2.0, 1e-6), (5.0,)])
def test_a_quadratic_has_the_eigenvalues_it_was_given(eigenvalues):
    point = Surface(problems.quadratic(eigenvalues, seed=3)).here()
    found = torch.linalg.eigvalsh(point.hessian().to_dense())
    torch.testing.assert_close(found, torch.tensor(sorted(eigenvalues)).double(), **FLAT)


def test_newton_lands_on_the_minimum_of_a_quadratic_in_one_step():
    surface = Surface(problems.quadratic())
    point = surface.here()
    step = torch.linalg.solve(point.hessian().to_dense(), point.gradient_vector)
    there = surface.at(point.vector - step)
    assert there.gradient_vector.norm() < 1e-12 * point.gradient_vector.norm()
    # L = −½ θ*ᵀAθ* = ½ gᵀ(θ* − θ₀), with g = −b at the start θ₀ = 0.
    assert math.isclose(there.value, -0.5 * float(point.gradient_vector @ step), rel_tol=1e-12)


def test_every_direction_of_a_quadratic_bends_alike_everywhere():
    problem = problems.quadratic((2.0, -1.0))
    torch.testing.assert_close(problem.model.A, problem.model.A.T, rtol=0, atol=0)
    surface = Surface(problem)
    for place in (theta(0, 0), theta(3, -7)):
        H = surface.at(place).hessian().to_dense()
        torch.testing.assert_close(H, problem.model.A, **FLAT)


@pytest.mark.parametrize("eigenvalues", [(), (1.0, math.inf), (math.nan,)])
def test_a_quadratic_needs_finite_eigenvalues(eigenvalues):
    with pytest.raises(ProblemError, match="one eigenvalue or more, finite"):
        problems.quadratic(eigenvalues)


def test_a_saddle_between_two_minima():
    surface = Surface(problems.strict_saddle())
    places = {(0.0, 0.0): (0.0, [2, -2]), (0.0, 2**0.5): (-1.0, [2, 4])}
    for place, (value, curvature) in places.items():
        for sign in (1, -1):
            point = surface.at(theta(place[0], sign * place[1]))
            assert math.isclose(point.value, value, abs_tol=1e-15)
            assert point.gradient_vector.norm() < 1e-15
            H = torch.diag(torch.tensor(curvature, dtype=torch.float64))
            torch.testing.assert_close(point.hessian().to_dense(), H, **FLAT)
    assert surface.here().vector[0] == 1
    assert 0 < abs(surface.here().vector[1]) < 5e-3


def test_rosenbrocks_minimum_and_its_curvature():
    """Hessian [[802, −400], [−400, 200]] in two dimensions, by hand."""
    point = Surface(problems.rosenbrock()).at(theta(1, 1))
    assert point.value == 0
    H = torch.tensor([[802.0, -400.0], [-400.0, 200.0]], dtype=torch.float64)
    torch.testing.assert_close(point.hessian().to_dense(), H, **FLAT)
    # No residual is left, so that the GGN is the Hessian.
    torch.testing.assert_close(point.ggn().to_dense(), H, **FLAT)
    low, high = torch.linalg.eigvalsh(H).tolist()
    assert (round(low, 1), round(high, 1)) == (0.4, 1001.6)


def test_rosenbrock_where_everybody_starts():
    """24.2 at (−1.2, 1), gradient (−215.6, −88)."""
    point = Surface(problems.rosenbrock()).at(theta(-1.2, 1))
    assert math.isclose(point.value, 24.2, rel_tol=1e-12)
    expected = torch.tensor([-215.6, -88.0], dtype=torch.float64)
    torch.testing.assert_close(point.gradient_vector, expected, **FLAT)


def test_a_chain_of_rosenbrocks_is_a_sum_over_neighbours():
    t = torch.randn(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    point = Surface(problems.rosenbrock(6)).at({"theta": t})
    expected = sum(100 * (t[i + 1] - t[i] ** 2) ** 2 + (1 - t[i]) ** 2 for i in range(5))
    assert math.isclose(point.value, float(expected), rel_tol=1e-12)


def test_the_other_minimum_of_four_rosenbrocks():
    """Newton's method from (−1, 1, 1, 1) stays there: a minimum of about 3.70."""
    surface = Surface(problems.rosenbrock(4))
    place = theta(-1, 1, 1, 1)["theta"]
    for _ in range(20):
        point = surface.at({"theta": place})
        step = torch.linalg.solve(point.hessian().to_dense(), point.gradient_vector)
        place = place - step
    point = surface.at({"theta": place})
    assert point.gradient_vector.norm() < 1e-8
    assert torch.linalg.eigvalsh(point.hessian().to_dense()).min() > 0
    assert 3.6 < point.value < 4.0


def test_a_valley_needs_two_parameters():
    with pytest.raises(ProblemError, match="2 parameters or more"):
        problems.rosenbrock(1)


@pytest.mark.parametrize("num_samples", [1, 5])
def test_a_function_is_the_loss_whatever_the_data(num_samples):
    start = torch.tensor([0.3, -1.2], dtype=torch.float64)
    problem = problems.from_function(lambda t: t[0].sin() * t[1], start)
    cut = problem.with_data([torch.zeros(num_samples, 1), torch.zeros(2, 1)])
    for p in (problem, cut):
        assert math.isclose(Surface(p).here().value, math.sin(0.3) * -1.2, rel_tol=1e-15)
    assert problem.model.theta is not start


def test_residuals_have_the_ggn_of_least_squares():
    start = torch.tensor([0.3, -1.2], dtype=torch.float64)
    problem = problems.from_residuals(lambda t: torch.stack([t[0] * t[1], t[0], t[1].sin()]), start)
    J = torch.tensor([[-1.2, 0.3], [1.0, 0.0], [0.0, math.cos(-1.2)]], dtype=torch.float64)
    point = Surface(problem).here()
    torch.testing.assert_close(point.ggn().to_dense(), 2 * J.T @ J, **FLAT)
    assert math.isclose(point.value, 0.36**2 + 0.3**2 + math.sin(1.2) ** 2, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("make", "f", "start"),
    [
        (problems.from_function, lambda t: t, torch.ones(2)),
        (problems.from_function, lambda t: 1.0, torch.ones(2)),
        (problems.from_residuals, lambda t: t.sum(), torch.ones(2)),
        (problems.from_function, lambda t: t.sum(), torch.ones(2, 2)),
        (problems.from_function, lambda t: t.sum(), torch.ones(0)),
        (problems.from_function, lambda t: t.sum(), torch.ones(2, dtype=torch.int64)),
    ],
)
def test_a_function_of_another_form_is_refused_with_the_way_out(make, f, start, unchecked):
    with pytest.raises(ProblemError, match=r"give a vector|gives a scalar"):
        make(f, start)
