"""Functions whose critical points are written down: kinds, indices, and what is not certified."""

import pytest
import torch

from thalweg import find_critical, problems
from thalweg.critical import (
    DampedNewton,
    GradientNormDescent,
    GradientTrustRegion,
    NewtonMR,
    Status,
    Trajectories,
)

SOLVERS = {
    "trust region": GradientTrustRegion(),
    "Newton-MR": NewtonMR(),
    "damped Newton": DampedNewton(),
    "gradient norm": GradientNormDescent(),
}
FEW = Trajectories(max_steps=50)


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_goes_uphill_to_a_saddle(name):
    found = find_critical(problems.quadratic_saddle(), 2, starts=FEW, solver=SOLVERS[name])
    for point in found.points:
        assert point.is_certified, point.reason
        assert point.index == 1
        assert float(point.params.norm()) < 1e-10


@pytest.mark.parametrize("name", ["trust region", "Newton-MR"])
def test_solvers_find_a_point_of_the_matrix_of_rank_one(name):
    problem = problems.matrix_factorisation((2.0, 1.0), 1)
    values = {round(known.value, 8): known.index for known in problems.linear_classes(problem)}
    found = find_critical(
        problem, 3, starts=FEW, solver=SOLVERS[name], max_gradients=1500, is_deflated=False
    )
    certified = [point for point in found.points if point.is_certified]
    assert certified
    for point in certified:
        assert values[round(point.value, 8)] == point.index


def test_phase_retrieval_has_three_kinds():
    """L, index, null directions: the signal, the sphere across it, and the origin."""
    known = {(0.0, 0, 0), (round(2 / 3, 9), 1, 3), (0.75, 5, 0)}
    found = find_critical(problems.phase_retrieval(5), 8, starts=FEW, is_deflated=False)
    assert sum(point.is_certified for point in found.points) == 8
    kinds = {(round(p.value, 9), p.index, p.inertia.null) for p in found.points if p.is_certified}
    assert kinds
    assert kinds <= known


def test_a_monkey_saddle_is_not_certified():
    found = find_critical(problems.monkey_saddle(), 2, starts=FEW)
    for point in found.points:
        assert point.status is Status.UNFINISHED
        assert point.gradient_square < 1e-20
        assert point.inertia.interval == (0, 2)
        assert "the gradient vanishes, but" in point.reason


def test_a_flat_valley_to_infinity_is_no_critical_point():
    """L = exp(−x) + y²: the gradient dies out along x, and there is no critical point at all."""
    problem = problems.from_function(
        lambda θ: torch.exp(-θ[0]) + θ[1] ** 2, torch.tensor([1.0, 1.0], dtype=torch.float64)
    )
    found = find_critical(problem, 2, starts=FEW, max_gradients=2000)
    for point in found.points:
        assert point.status in (Status.FLAT, Status.UNFINISHED), point.reason
    assert any("towards infinity" in point.reason for point in found.points)


def test_kantorovich_bounds_the_distance_of_a_known_root():
    """L = x²/2 + x³/3 from x = 0.05: the root is 0, K is 2, and t* ≥ 0.05 where h ≤ ½."""
    from thalweg.critical._certificate import certificate
    from thalweg.critical._ground import Ground

    problem = problems.from_function(
        lambda θ: θ[0] ** 2 / 2 + θ[0] ** 3 / 3, torch.tensor([0.05], dtype=torch.float64)
    )
    ground = Ground(problem)
    place = ground.here()
    proof = certificate(ground, place, ground.basis(place), torch.Generator().manual_seed(0))
    # K = |L‴| = 2, doubled as every estimate; β = 1/(1 + 2x), η = (x + x²)/(1 + 2x).
    beta, eta = 1 / 1.1, 0.0525 / 1.1
    assert proof.lipschitz == pytest.approx(4.0, rel=1e-6)
    assert proof.h == pytest.approx(4.0 * beta * eta, rel=1e-6)
    expected = (1 - (1 - 2 * proof.h) ** 0.5) / (beta * proof.lipschitz)
    assert proof.distance == pytest.approx(expected, rel=1e-6)
    assert proof.distance >= 0.05
    assert not proof.is_proved
