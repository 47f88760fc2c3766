"""Whatever is read from a curvature says by which products, through whatever was made of it."""

import pytest
import torch
from torch import nn

import thalweg
from thalweg.linalg import MatrixOperator, follow, frobenius_norm, inertia, lanczos, singular_values
from thalweg.surface import RetainedGraph, Taped


@pytest.fixture
def point():
    model = nn.Linear(5, 2).double()
    data = (torch.randn(7, 5, dtype=torch.float64), torch.randn(7, 2, dtype=torch.float64))
    return thalweg.Surface(thalweg.Problem(model, nn.functional.mse_loss, data)).here()


@pytest.mark.parametrize("route", [RetainedGraph(), Taped()])
def test_results_name_the_route(point, route):
    op, generator = point.hessian(route=route), torch.Generator().manual_seed(0)
    start = torch.ones(op.size, dtype=op.dtype)
    pairs = thalweg.eigenpairs(op, 1, generator=generator, max_steps=5)
    for found in (
        pairs,
        thalweg.trace(op, num_products=6, generator=generator),
        frobenius_norm(op, generator=generator),
        thalweg.density(op, generator=generator, num_probes=2, num_steps=3),
        inertia(op),
        follow(op, start, 0.0),
        lanczos(op, start, 2),
        singular_values(op, 1, generator=generator),
        thalweg.eigenpairs((2 * op).shifted(1.0), 1, generator=generator),
        thalweg.eigenpairs(op + op.submatrix(slice(None)), 1, generator=generator),
        thalweg.eigenpairs(op.gram(), 1, generator=generator),
    ):
        assert found.route == route.said


def test_a_sum_names_both_and_a_matrix_none(point):
    op = point.hessian(route=Taped()) + point.hessian(route=RetainedGraph())
    assert op.said == f"{Taped().said}; {RetainedGraph().said}"
    assert MatrixOperator(torch.eye(2)).said == ""


def test_a_symmetric_operator_is_its_own_transpose(point):
    op = point.hessian()
    assert isinstance(op, thalweg.linalg.LinearOperator)
    assert op.T is op
    v = torch.ones(op.size, dtype=op.dtype)
    torch.testing.assert_close(op.gram() @ v, op @ (op @ v))
