"""Solutions of the subproblems, proved by the conditions that make them the best there are."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from scipy.optimize import minimize
from torch import nn

from problems import draw
from thalweg.optim import (
    NewtonCG,
    TrustRegion,
    TrustRegionCG,
    Whole,
    cubic_step,
    newton_cg_direction,
    steihaug_way,
    trust_region_step,
)
from thalweg.problems import rosenbrock

sizes = st.integers(1, 6)
exponents = st.integers(-6, 6)


@st.composite
def models(draw_from):
    """Λ ascending, perhaps with equal values, and b, perhaps with zeros, over many scales."""
    k = draw_from(sizes)
    generator = torch.Generator().manual_seed(draw_from(st.integers(0, 10**6)))
    values = torch.randn(k, generator=generator, dtype=torch.float64) * 10.0 ** draw_from(exponents)
    if draw_from(st.booleans()):
        values = values.abs()
    if draw_from(st.booleans()) and k > 1:
        values[1] = values[0]
    slopes = torch.randn(k, generator=generator, dtype=torch.float64)
    slopes *= 10.0 ** torch.randint(-8, 4, (k,), generator=generator)
    values = values.sort().values
    for i in draw_from(st.sets(st.integers(0, k - 1))):
        slopes[i] = 0.0
    return values, slopes


def assert_stationary(values, slopes, y, shift):
    """(Λ + μ) y = −b, each side to the rounding of its largest term."""
    left, size = (values + shift) * y + slopes, (values.abs() + abs(shift)) * y.abs() + slopes.abs()
    assert torch.all(left.abs() <= 1e-12 * size.max())
    assert shift + float(values[0]) >= -1e-9 * float(values.abs().max())


@settings(max_examples=150, deadline=None)
@given(models(), st.floats(-2.0, 2.0))
def test_a_trust_region_step_is_the_global_minimum(model, exponent):
    values, slopes = model
    radius = 10.0**exponent
    y = trust_region_step(values, slopes, radius)
    length = float(y.norm())
    assert length <= radius * (1 + 1e-12)
    if length > radius * (1 - 1e-12):
        shift = float(-(slopes + values * y) @ y / (y @ y))
        assert shift >= -1e-9 * (float(values.abs().max()) + float(slopes.norm()) / radius)
    else:
        shift = 0.0
    assert_stationary(values, slopes, y, shift)


@settings(max_examples=150, deadline=None)
@given(models(), st.floats(-3.0, 3.0))
def test_a_cubic_step_is_the_global_minimum(model, exponent):
    values, slopes = model
    weight = 10.0**exponent
    y = cubic_step(values, slopes, weight)
    assert_stationary(values, slopes, y, weight * float(y.norm()))


def test_nothing_is_solved_in_no_directions():
    nothing = torch.zeros(0)
    assert trust_region_step(nothing, nothing, 1.0).shape == (0,)
    assert cubic_step(nothing, nothing, 1.0).shape == (0,)


def matrix(seed, is_convex):
    A = draw(6, 6, seed=seed)
    return A @ A.T / 6 + 0.01 * torch.eye(6, dtype=A.dtype) if is_convex else (A + A.T) / 2


@pytest.mark.parametrize("is_convex", [True, False])
@pytest.mark.parametrize("radius", [1e-3, 0.3, 3.0, 100.0])
@pytest.mark.parametrize("seed", range(4))
def test_steihaug_does_at_least_what_cauchy_does(seed, radius, is_convex):
    """Nocedal and Wright, eq. 4.11: the best along −g within the region."""
    A, g = matrix(seed, is_convex), draw(6, seed=seed + 50)
    way = steihaug_way(lambda v: A @ v, g, radius, 30)

    def model(s):
        return float(g @ s + s @ A @ s / 2)

    bend, norm = float(g @ A @ g), float(g.norm())
    τ = min(1.0, norm**3 / (radius * bend)) if bend > 0 else 1.0
    cauchy = model(-τ * radius / norm * g)
    decreases = [model(z) for z in way.points]
    lengths = [float(z.norm()) for z in way.points]
    assert decreases[-1] <= cauchy * (1 - 1e-12)
    assert decreases == sorted(decreases, reverse=True)
    assert lengths == sorted(lengths)
    assert lengths[-1] <= radius * (1 + 1e-12)
    for z, image in zip(way.points, way.images, strict=True):
        torch.testing.assert_close(image, A @ z, rtol=1e-9, atol=1e-11)
    assert way.lowest >= float(torch.linalg.eigvalsh(A)[0]) - 1e-12
    assert way.highest <= float(torch.linalg.eigvalsh(A)[-1]) + 1e-12
    # A smaller region on the same way is a run of its own.
    step, image = way.at(radius / 4)
    torch.testing.assert_close(
        step, steihaug_way(lambda v: A @ v, g, radius / 4, 30).points[-1], rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(image, A @ step, rtol=1e-9, atol=1e-11)


def test_truncated_newton_directions_solve_or_stop():
    A, g = matrix(1, True), draw(6, seed=3)
    found = newton_cg_direction(lambda v: A @ v, g, 50)
    norm = float(g.norm())
    assert float((A @ found.direction + g).norm()) < min(0.5, norm**0.5) * norm
    torch.testing.assert_close(found.image, A @ found.direction, rtol=1e-9, atol=1e-11)
    assert found.reason == "solved to the tolerance"
    assert newton_cg_direction(lambda v: A @ v, 1e-9 * g, 2).reason == "2 products spent"
    indefinite = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5, 0.1, -4.0], dtype=torch.float64))
    g = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1e-3], dtype=torch.float64)
    found = newton_cg_direction(lambda v: indefinite @ v, 1e-6 * g, 50)
    assert "negative curvature met after" in found.reason
    assert float(g @ found.direction) < 0
    assert found.lowest < 0


# -- SciPy's trust region as an oracle -------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "method"),
    [
        (lambda p: TrustRegion(p, subspace=Whole()), "trust-exact"),
        (TrustRegionCG, "trust-ncg"),
        (NewtonCG, "Newton-CG"),
    ],
)
def test_scipy_ends_where_we_end(make, method, unchecked):
    """In Rosenbrock's valley, from its classical start, in a comparable number of steps."""
    problem = rosenbrock(2).copied()
    start = torch.tensor([-1.2, 1.0], dtype=torch.float64)
    with torch.no_grad():
        problem.model.theta.copy_(start)
    optimizer = make(problem.model.parameters()).bind(problem)
    steps = 0
    while optimizer.record is None or optimizer.record.gradient_norm > 1e-8:
        optimizer.step()
        steps += 1
        assert steps < 100

    def value(v):
        return 100 * (v[1] - v[0] ** 2) ** 2 + (1 - v[0]) ** 2

    def slope(v):
        return [-400 * v[0] * (v[1] - v[0] ** 2) - 2 * (1 - v[0]), 200 * (v[1] - v[0] ** 2)]

    def hessian(v):
        return [[1200 * v[0] ** 2 - 400 * v[1] + 2, -400 * v[0]], [-400 * v[0], 200.0]]

    peer = minimize(value, start.numpy(), jac=slope, hess=hessian, method=method, tol=1e-8)
    end = problem.model.theta.detach()
    torch.testing.assert_close(end, torch.from_numpy(peer.x), rtol=0.0, atol=1e-6)
    assert peer.nit / 2 < steps < 2 * peer.nit


def test_one_exact_step_is_that_of_scipy(unchecked):
    """The first step of `trust-exact` from the same start with the same radius."""
    w = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    optimizer = TrustRegion([w], radius=0.5, subspace=Whole())
    optimizer.step(lambda: 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2)
    peer = minimize(
        lambda v: 100 * (v[1] - v[0] ** 2) ** 2 + (1 - v[0]) ** 2,
        [-1.2, 1.0],
        jac=lambda v: [
            -400 * v[0] * (v[1] - v[0] ** 2) - 2 * (1 - v[0]),
            200 * (v[1] - v[0] ** 2),
        ],
        hess=lambda v: [[1200 * v[0] ** 2 - 400 * v[1] + 2, -400 * v[0]], [-400 * v[0], 200.0]],
        method="trust-exact",
        options={"initial_trust_radius": 0.5, "maxiter": 1},
    )
    torch.testing.assert_close(w.detach(), torch.from_numpy(peer.x), rtol=1e-3, atol=1e-4)
