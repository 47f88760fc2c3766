"""The flow of quadratics against the matrix exponential, and the certificate of M = Σ xᵢxᵢᵀ."""

from math import inf

import numpy as np
import pytest
import scipy.linalg
import torch

import thalweg
from thalweg import ThalwegError
from thalweg.gradient_flow import ExactQuadratic, gram_certificate, quadratic_flow
from thalweg.linalg import MatrixOperator, lanczos
from thalweg.problems import quadratic, rosenbrock

F64 = torch.float64


def spectrum_of(values, seed=0):
    """A matrix of these eigenvalues, and its eigenvectors."""
    generator = torch.Generator().manual_seed(seed)
    Q = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=F64)).Q
    A = (Q * values) @ Q.T
    return (A + A.T) / 2, Q


def test_against_the_matrix_exponential():
    """θ(t) − θ* = e^{−tH}(θ₀ − θ*), by scipy's Padé approximation; of any sign."""
    A, _ = spectrum_of(torch.tensor([-0.5, 0.2, 1.0, 3.0, 7.0], dtype=F64))
    distance = torch.randn(5, generator=torch.Generator().manual_seed(1), dtype=F64)
    flow = quadratic_flow(MatrixOperator(A), A @ distance, 5.0)
    for time in (0.0, 0.01, 0.7, 5.0):
        decayed = torch.from_numpy(scipy.linalg.expm(-time * A.numpy())) @ distance
        torch.testing.assert_close(flow.moved(time), decayed - distance, rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(flow.velocity(time), -A @ decayed, rtol=1e-10, atol=1e-11)
    assert not flow.converges
    with pytest.raises(ThalwegError, match="no limit"):
        flow.moved(inf)


@pytest.mark.parametrize("exponent", [-3.0, 0.0, 1.0, 2.0, 3.0, 5.0, 8.0])
def test_condition_a_million_in_two_hundred_products(exponent):
    """n = 200, eigenvalues from 1e-3 to 1e3, at any time: 1e-10 of the way to the minimum."""
    values = torch.logspace(-3, 3, 200, dtype=F64)
    A, Q = spectrum_of(values)
    distance = torch.randn(200, generator=torch.Generator().manual_seed(1), dtype=F64)
    time = 10.0**exponent
    flow = quadratic_flow(MatrixOperator(A), A @ distance, time)
    known = Q @ (torch.expm1(-time * values) * (Q.T @ distance))
    # A distance along the flattest direction is known to a share of ε κ = 2e-10 through a gradient:
    # the matrix as it is stored moves its eigenvalues by so much. Measured: 3e-11.
    assert float((flow.moved(time) - known).norm()) <= 1e-10 * float(known.norm())
    assert flow.num_products <= 200


LOGARITHMIC = torch.logspace(-3, 3, 400, dtype=F64)
APART = torch.cat([torch.logspace(-3, 0, 390, dtype=F64), torch.logspace(1, 3, 10, dtype=F64)])


@pytest.mark.parametrize(
    ("values", "time", "most"),
    [(LOGARITHMIC, 1.0, 100), (LOGARITHMIC, 1e3, 300), (APART, 10.0, 30), (APART, 1e3, 150)],
)
def test_no_combination_of_fewer_products_reaches_as_far(values, time, most):
    """The distance of θ(t) from the space that nine tenths of the products span is above tol."""
    op = MatrixOperator(torch.diag(values))
    distance = torch.randn(400, generator=torch.Generator().manual_seed(1), dtype=F64)
    flow = quadratic_flow(op, values * distance, time)
    known = torch.expm1(-time * values) * distance
    assert float((flow.moved(time) - known).norm()) <= 1e-10 * float(known.norm())
    assert flow.num_products <= most
    Q = lanczos(op, values * distance, int(0.9 * flow.num_products)).basis
    assert float((known - Q @ (Q.T @ known)).norm()) > 1e-10 * float(known.norm())


def test_modes_come_to_the_minimum_each_at_its_rate():
    values = torch.tensor([0.5, 2.0, 9.0], dtype=F64)
    A, Q = spectrum_of(values)
    distance = Q @ torch.tensor([1.0, -2.0, 0.5], dtype=F64)
    flow = quadratic_flow(MatrixOperator(A), A @ distance)
    np.testing.assert_allclose(flow.rates, values.numpy(), rtol=1e-12)
    torch.testing.assert_close(flow.moved(inf), -distance)
    early, late = (Q.T @ (flow.moved(t) - flow.moved(inf)) for t in (0.3, 1.1))
    torch.testing.assert_close(late / early, torch.exp(-values * 0.8), rtol=1e-9, atol=0)
    assert flow.converges


def test_energy_is_the_fall_of_the_loss():
    A, _ = spectrum_of(torch.tensor([0.5, 2.0, 9.0], dtype=F64))
    g = torch.tensor([1.0, 2.0, -1.0], dtype=F64)
    flow = quadratic_flow(MatrixOperator(A), g, 2.0)
    moved = flow.moved(2.0)
    assert flow.energy(2.0) == pytest.approx(-float(g @ moved + 0.5 * moved @ A @ moved))


def test_too_few_products_say_what_they_leave():
    values = torch.linspace(1e-3, 1e3, 300, dtype=F64)
    op = MatrixOperator(torch.diag(values))
    g = torch.randn(300, generator=torch.Generator().manual_seed(1), dtype=F64)
    flow = quadratic_flow(op, g, 1.0, max_products=30)
    error = float((flow.moved(1.0) - torch.expm1(-values) / values * g).norm())
    assert flow.num_products == 30
    assert 0.01 * error < flow.error < 100 * error
    assert error > 1e-6


def test_as_an_integrator():
    problem = quadratic(tuple(np.logspace(-3, 3, 40)))
    flow = thalweg.flow(problem, 10.0, ExactQuadratic())
    assert flow.is_finished
    assert flow.energy_defect < 1e-10
    A, b = problem.model.A, problem.data[0]
    goal = torch.linalg.solve(A, b)
    for time in (1e-4, 0.3, 10.0):
        decayed = torch.from_numpy(scipy.linalg.expm(-time * A.numpy())) @ goal
        torch.testing.assert_close(flow.path.at(time), goal - decayed, rtol=1e-9, atol=1e-10)
    assert flow.cost.num_products <= 41


def test_an_integrator_with_too_few_products_ends_where_it_knows_no_more():
    values = np.logspace(-3, 3, 300)
    problem = quadratic(tuple(values))
    flow = thalweg.flow(problem, 1e3, ExactQuadratic(max_products=60))
    assert not flow.is_finished
    assert "60 products know it to 1e-10 of the way up to" in flow.ending
    assert "give ExactQuadratic(max_products=240)" in flow.ending
    assert 0.1 < flow.path.end < 10
    eigenvalues, Q = torch.linalg.eigh(problem.model.A)
    goal = torch.linalg.solve(problem.model.A, problem.data[0])
    known = -Q @ (torch.expm1(-flow.path.end * eigenvalues) * (Q.T @ goal))
    assert float((flow.path.at(flow.path.end) - known).norm()) <= 1e-10 * float(known.norm())


def test_what_is_not_quadratic_is_refused():
    with pytest.raises(ThalwegError, match=r"take ExponentialAdams\(\)"):
        thalweg.flow(rosenbrock(3), 1.0, ExactQuadratic())
    op = MatrixOperator(torch.eye(2, dtype=F64))
    with pytest.raises(ThalwegError, match="give a positive time"):
        quadratic_flow(op, torch.ones(2, dtype=F64), 0.0)


def test_a_zero_gradient_stays():
    flow = quadratic_flow(MatrixOperator(torch.eye(2, dtype=F64)), torch.zeros(2, dtype=F64), 1.0)
    assert flow.moved(1.0).tolist() == [0.0, 0.0]
    assert (flow.error, flow.num_products) == (0.0, 0)


# -- M = Σ xᵢxᵢᵀ ----------------------------------------------------------------------------


def test_vectors_that_span():
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    found = gram_certificate(x)
    assert found.is_positive_definite
    assert found.witness is None
    torch.testing.assert_close(found.eigenvalues, torch.linalg.eigvalsh((x.T @ x).double()))
    m = torch.tensor([1.0, -3.0], dtype=F64)
    minimum = found.minimum(m, 2.0)
    torch.testing.assert_close(minimum.place, -torch.linalg.solve(found.matrix, m))
    known = 0.5 * minimum.place @ found.matrix @ minimum.place + m @ minimum.place + 2.0
    assert minimum.value == pytest.approx(float(known))
    assert minimum.residual < 1e-14
    flow = quadratic_flow(MatrixOperator(found.matrix), m)
    torch.testing.assert_close(flow.moved(inf), minimum.place)
    np.testing.assert_allclose(flow.rates, minimum.rates.numpy())


@pytest.mark.parametrize("seed", range(3))
def test_vectors_that_do_not_span(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(9, 3, generator=generator, dtype=F64) @ torch.randn(
        3, 5, generator=generator, dtype=F64
    )
    found = gram_certificate(x)
    assert (found.is_positive_definite, found.rank) == (False, 3)
    w = found.witness
    assert float(w.norm()) == pytest.approx(1)
    assert float((x @ w).norm()) < 1e-14
    assert found.residual <= found.tol
    assert (found.eigenvalues >= 0).all()
    with pytest.raises(ThalwegError, match="falls without end along the null vector"):
        found.minimum(w)
    with pytest.raises(ThalwegError, match="a whole line of them"):
        found.minimum(found.matrix @ torch.ones(5, dtype=F64))


def test_fewer_vectors_than_dimensions_never_span():
    found = gram_certificate(torch.eye(3, 4))
    assert (found.rank, found.witness.abs().tolist()) == (3, [0.0, 0.0, 0.0, 1.0])


def test_vectors_that_cannot_be():
    with pytest.raises(ThalwegError, match="one vector a row"):
        gram_certificate(torch.ones(0, 2))
    with pytest.raises(ThalwegError, match="give finite ones"):
        gram_certificate(torch.tensor([[torch.nan]]))
