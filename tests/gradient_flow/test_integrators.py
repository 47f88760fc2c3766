"""Integrators: order by regression, against DOP853 and closed forms, doubt and dense path."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import thalweg
from thalweg import Surface, ThalwegError
from thalweg.gradient_flow import (
    ExactQuadratic,
    ExponentialAdams,
    ExponentialRosenbrock,
    Field,
    GradientBelow,
    Place,
    RungeKutta4,
    RungeKuttaChebyshev,
    SharpnessCrosses,
    Torchdiffeq,
)
from thalweg.gradient_flow._exponential_polynomial import ExponentialPolynomial, Slopes
from thalweg.gradient_flow._exponential_rosenbrock import _Stages
from thalweg.gradient_flow._krylov import KrylovSpace
from thalweg.gradient_flow._phi import phi
from thalweg.gradient_flow._sharp_space import SharpSpace, sharp_space
from thalweg.gradient_flow._stabilised import _chebyshev
from thalweg.problems import from_function, quadratic

F64 = torch.float64


def bent():
    """Two bowls of curvature 1 and 9 that a quartic and a sine tie together."""

    def loss(x):
        bowl = 0.5 * x[0] ** 2 + 4.5 * x[1] ** 2
        return bowl + 0.25 * (x**4).sum() + torch.sin(x[0] * x[1] + x[2]) + 0.7 * x[2] ** 2

    return from_function(loss, torch.tensor([1.2, -0.8, 0.5], dtype=F64), "bent")


def solution(times):
    """By DOP853, with the gradient worked out by hand."""

    def f(_, x):
        cosine = np.cos(x[0] * x[1] + x[2])
        return -(np.array([1.0, 9.0, 1.4]) * x + x**3 + cosine * np.array([x[1], x[0], 1.0]))

    places = [
        solve_ivp(f, (0, t), [1.2, -0.8, 0.5], "DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
        for t in times
    ]
    return torch.from_numpy(np.array(places))


def order_of(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


METHODS = {
    "exponential Adams": ExponentialAdams(1e-9),
    "exponential Rosenbrock": ExponentialRosenbrock(1e-6),
    "Chebyshev": RungeKuttaChebyshev(1e-4),
    "Runge–Kutta 4": RungeKutta4(0.01),
    "dopri5": Torchdiffeq("dopri5", 1e-8),
}
ACCURACY = {"Chebyshev": 1e-2, "Runge–Kutta 4": 1e-5, "exponential Rosenbrock": 1e-4}
"""What these tolerances and steps are good for; 1e-7 for the others."""


@pytest.mark.parametrize("name", METHODS)
def test_against_dop853(name):
    """The end, the way there, and the energy identity."""
    accuracy = ACCURACY.get(name, 1e-7)
    times = [0.05, 0.31, 1.0]
    flow = thalweg.flow(bent(), 1.0, METHODS[name], reads_sharpness=False)
    assert flow.is_finished
    for time, known in zip(times, solution(times), strict=True):
        assert float((flow.path.at(time) - known).norm()) <= accuracy
    assert flow.energy_defect <= 10 * accuracy
    assert flow.readings[-1].time == 1.0
    assert flow.cost.num_gradients > 3


@pytest.mark.parametrize("name", METHODS)
def test_quadratics_against_the_closed_form(name):
    problem = quadratic((0.3, 1.0, 8.0, 20.0), seed=3)
    A, b = problem.model.A, problem.data[0]
    values, Q = torch.linalg.eigh(A)
    goal = torch.linalg.solve(A, b)
    flow = thalweg.flow(problem, 0.8, METHODS[name], reads_sharpness=False)
    for time in (0.01, 0.4, 0.8):
        known = goal - Q @ (torch.exp(-values * time) * (Q.T @ goal))
        assert float((flow.path.at(time) - known).norm()) <= ACCURACY.get(name, 1e-7) * 10


@pytest.mark.parametrize("name", ["exponential Adams", "exponential Rosenbrock", "Chebyshev"])
def test_a_tighter_tolerance_is_a_smaller_error(name):
    kind = type(METHODS[name])
    (known,) = solution([0.5])
    errors = [
        float((thalweg.flow(bent(), 0.5, kind(tol), reads_sharpness=False).end - known).norm())
        for tol in (1e-2, 1e-4)
    ]
    assert errors[0] > 5 * errors[1]


def test_error_estimates_are_of_the_size_of_errors():
    for method in (ExponentialAdams(1e-6), ExponentialRosenbrock(1e-4), RungeKuttaChebyshev(1e-3)):
        flow = thalweg.flow(bent(), 0.5, method, reads_sharpness=False)
        error = float((flow.end - solution([0.5])[0]).norm())
        assert error <= 3 * flow.error_estimate <= 3e3 * error


def test_order_of_runge_kutta_4():
    (known,) = solution([0.64])
    steps = [0.04, 0.02, 0.01]
    errors = [
        float(
            (thalweg.flow(bent(), 0.64, RungeKutta4(h), reads_sharpness=False).end - known).norm()
        )
        for h in steps
    ]
    assert order_of(steps, errors) == pytest.approx(4, abs=0.25)


STEPS = [0.04, 0.02, 0.01]


def test_order_of_chebyshev():
    field = Field(Surface(bent()))
    start = field.at(field.surface.here().vector)
    steps = [0.01, 0.005, 0.0025]
    ends = [_chebyshev(field, start, h, 900.0)[0].vector for h in steps]
    errors = [float((end - x).norm()) for end, x in zip(ends, solution(steps), strict=True)]
    assert order_of(steps, errors) == pytest.approx(3, abs=0.3), "local, one more than the order"


def test_order_of_exponential_rosenbrock():
    field = Field(Surface(bent()))
    start = field.at(field.surface.here().vector)
    op = field.hessian(start)
    known = solution(STEPS)
    errors, estimates = [], []
    for h, x in zip(STEPS, known, strict=True):
        space = KrylovSpace(op, -start.gradient)
        space.grow(h, 1, 0.0, 3)
        stages = _Stages(field, op, space, start, h, 1e-16, 3)
        errors.append(float((stages.at(1.0)[0] - x).norm()))
        estimates.append(stages.error)
    assert order_of(STEPS, errors) == pytest.approx(5, abs=0.4)
    assert order_of(STEPS, estimates) == pytest.approx(4, abs=0.4), "the third order within it"


@pytest.mark.parametrize("num_past", [0, 1, 2, 3])
@pytest.mark.parametrize("num_products", [1, 3])
def test_order_of_exponential_adams(num_past, num_products):
    """With p rests besides that at the start the local error is O(h^{p+2}), whatever is sharp.

    Of a space that holds the whole Hessian the first rest is O(h²): one order more from p = 0.
    """
    field, steps = Field(Surface(bent())), [0.04, 0.02, 0.01]
    origin = 0.4
    errors = []
    for h in steps:
        times = [origin - j * h for j in range(num_past, -1, -1)] + [origin + h]
        known = solution(times)
        places = [field.at(x) for x in known]
        here = places[num_past]
        generator = torch.Generator().manual_seed(0)
        space, _ = sharp_space(field.hessian(here), num_products, here.gradient, generator)
        past = list(zip(times, places, strict=True))[:num_past]
        slopes = Slopes(space, here, origin, h, past)
        end, _ = ExponentialPolynomial(slopes, range(num_past)).at(1.0)
        errors.append(float((end - known[-1]).norm()))
    order = num_past + 2 + (num_past == 0 and num_products == 3)
    assert order_of(steps, errors) == pytest.approx(order, abs=0.35)


@given(seed=st.integers(0, 10_000), num_vectors=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_a_corrected_model_is_the_nearest_symmetric_one_that_agrees(seed, num_vectors):
    """A₊ s = y, A₊ = A₊ᵀ, and what is added is least: P E P = 0 off s, as of Powell's update."""
    generator = torch.Generator().manual_seed(seed)
    n = 12
    basis, _ = torch.linalg.qr(torch.randn(n, num_vectors, dtype=F64, generator=generator))
    values = torch.randn(num_vectors, dtype=F64, generator=generator).numpy()
    space = SharpSpace(basis.T, np.eye(num_vectors), values)
    s, y = torch.randn(2, n, dtype=F64, generator=generator)
    after = space.corrected(1e-6 * s, 1e-6 * y, n)
    before, A = (
        torch.stack([each.multiplied(e) for e in torch.eye(n, dtype=F64)])
        for each in (space, after)
    )
    torch.testing.assert_close(A, A.T, atol=1e-12, rtol=0)
    torch.testing.assert_close(A @ s, y, atol=1e-12, rtol=0)
    off = torch.eye(n, dtype=F64) - torch.outer(s, s) / (s @ s)
    torch.testing.assert_close(off @ (A - before) @ off, torch.zeros(n, n, dtype=F64))
    known = torch.linalg.eigvalsh(A)
    np.testing.assert_allclose(np.sort(after.values), _padded(known, len(after.values)), atol=1e-10)


def _padded(values, size):
    """Of all eigenvalues those that a model of this rank holds: the largest in magnitude."""
    return torch.sort(values[values.abs().argsort(descending=True)[:size]]).values.numpy()


def test_a_model_in_one_of_its_own_directions_gets_no_larger():
    basis = torch.eye(5, dtype=F64)[:, :2]
    space = SharpSpace(basis.T, np.eye(2), np.array([4.0, 1.0]))
    after = space.corrected(basis[:, 0], 3 * basis[:, 0], 8)
    assert sorted(after.values) == pytest.approx([1.0, 3.0])


def test_the_sharpest_are_kept_where_there_is_room_for_few():
    basis = torch.eye(9, dtype=F64)[:, :8]
    space = SharpSpace(basis.T, np.eye(8), np.arange(8.0, 0, -1))
    e = torch.eye(9, dtype=F64)[8]
    after = space.corrected(e, 100 * e, 8)
    assert sorted(after.values) == pytest.approx([3, 4, 5, 6, 7, 8, 100])
    torch.testing.assert_close(after.basis.T @ after.basis, torch.eye(7, dtype=F64))


def test_phi_functions_against_their_integral():
    """φ_k(z) = ∫ e^{(1−s)z} s^{k−1}/(k−1)! ds, by 60 Gauss points, which is exact here."""
    from math import factorial

    s, w = np.polynomial.legendre.leggauss(60)
    s, w = (s + 1) / 2, w / 2
    z = np.array([-80.0, -30.0, -5.1, -4.9, -1.0, -1e-3, 0.0, 1e-9, 2.0, 4.9, 5.1, 12.0])
    found = phi(z, 8)
    np.testing.assert_allclose(found[0], np.exp(z), rtol=1e-13)
    for k in range(1, 9):
        known = [w @ (np.exp((1 - s) * x) * s ** (k - 1)) / factorial(k - 1) for x in z]
        np.testing.assert_allclose(found[k], known, rtol=1e-9)


def test_the_stiff_regression_for_few_gradients():
    """A small version of `python -m benchmarks.flow`: fewer than classical methods, as exact."""
    problem = thalweg.problems.stiff_regression()
    ours = thalweg.flow(problem, 2.0, ExponentialAdams(1e-7), reads_sharpness=False)
    known = thalweg.flow(problem, 2.0, Torchdiffeq("dopri5", 1e-9), reads_sharpness=False)
    assert float((ours.end - known.end).norm()) < 1e-5
    assert ours.energy_defect < 2e-6
    assert 2 * ours.cost.gradient_equivalents < known.cost.gradient_equivalents


def test_a_step_that_is_too_long_says_so():
    problem = from_function(lambda x: (x**4).sum(), torch.tensor([100.0], dtype=F64))
    flow = thalweg.flow(problem, 1.0, RungeKutta4(1.0))
    assert not flow.is_finished
    assert "the step is too long" in flow.ending


def test_what_falls_without_end_is_left_in_time():
    """L = −x³ reaches infinity at t = 1/3 from x = 1: no step gets past it."""
    problem = from_function(lambda x: -(x**3).sum(), torch.tensor([1.0], dtype=F64))
    flow = thalweg.flow(
        problem, 1.0, ExponentialAdams(1e-6), max_gradients=600, reads_sharpness=False
    )
    assert not flow.is_finished
    assert flow.time == pytest.approx(1 / 3, abs=1e-2)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ExponentialAdams(0.0), "give a local error"),
        (lambda: ExponentialAdams(max_order=1), "an order from 2 to 9"),
        (lambda: ExponentialRosenbrock(2.0), "give a local error"),
        (lambda: ExponentialRosenbrock(max_krylov=1), "give 2 or more"),
        (lambda: RungeKuttaChebyshev(max_stages=1), "give 2 or more"),
        (lambda: RungeKutta4(-1.0), "give a positive step"),
        (lambda: ExactQuadratic(max_products=0), "give at least one"),
        (lambda: Torchdiffeq("dopri6"), "it has dopri8"),
        (lambda: GradientBelow(0.0), "give a positive norm"),
        (lambda: SharpnessCrosses(0.0), "give a positive learning rate"),
    ],
)
def test_settings_that_cannot_be(make, said):
    with pytest.raises(ThalwegError, match=said):
        make()


def test_places_are_snapshots():
    field = Field(Surface(bent()))
    assert isinstance(field.at(field.surface.here().vector), Place)
    assert field.tally.gradient_equivalents == 1
    op = field.hessian(field.at(field.surface.here().vector))
    op @ torch.ones(3, 2, dtype=F64)
    assert (field.tally.num_gradients, field.tally.num_products) == (3, 2)
    assert field.tally.gradient_equivalents == 7
