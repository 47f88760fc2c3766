"""The Jacobian and its Gram operators against dense autograd, row by row."""

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
import torch.nn.functional as F
from torch import nn

import dense
from problems import SHELF, cut, draw, initialised
from thalweg import Problem, ProblemError, Surface

TIGHT = {"rtol": 1e-10, "atol": 1e-12}
# Its output is a single number of no sample: the sum over all.
ROWS = [name for name in SHELF if name != "quadratic"]


@pytest.fixture(params=ROWS, scope="module")
def known(request):
    return SHELF[request.param]()


def test_jacobian_and_its_gram_operators_are_dense_autograd(known):
    oracle = dense.jacobian(known.output, known.problem)
    J = Surface(known.problem).here().jacobian()
    assert J.shape == oracle.shape
    torch.testing.assert_close(J.to_dense(), oracle, **TIGHT)
    for side in (J, J.T):
        v = draw(side.shape[1], seed=3)
        expected = (oracle if side is J else oracle.T) @ v
        torch.testing.assert_close(side @ v, expected, **TIGHT)
    torch.testing.assert_close(J.gram().to_dense(), oracle.T @ oracle, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(J.T.gram().to_dense(), oracle @ oracle.T, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("limit", [0, 2**31])
def test_batches_follow_one_another(limit, monkeypatch):
    monkeypatch.setattr("thalweg.surface._point.MAX_GRAPH_BYTES", limit)
    known = SHELF["mlp"]()
    oracle = dense.jacobian(known.output, known.problem)
    point = Surface(known.problem.with_data(cut(known.problem.data, 5, 2))).here()
    J = point.jacobian()
    assert J.is_kept == (limit > 0)
    V, U = draw(26, 3), draw(14, 3)
    for _ in range(2):
        torch.testing.assert_close(J @ V, oracle @ V, **TIGHT)
        torch.testing.assert_close(J.T @ U, oracle.T @ U, **TIGHT)
    assert (J @ V[:, :0]).shape == (14, 0)
    assert (J.T @ U[:, :0]).shape == (26, 0)
    by_batch = J.outputs(J @ point.layout.unflatten(V[:, 0]))
    assert [tuple(z.shape) for z in by_batch] == [(5, 2), (2, 2)]
    torch.testing.assert_close(torch.cat(by_batch).reshape(-1), oracle @ V[:, 0], **TIGHT)


def test_it_predicts_the_change_of_the_outputs():
    """z(θ + hv) − z(θ − hv) = 2h Jv + O(h³): at h = 1e-4, 1e-8 of the third derivative."""
    known = SHELF["transformer"]()
    surface = Surface(known.problem)
    here = surface.here()
    v = draw(surface.layout.size, seed=4)

    def outputs(params):
        held = dense.held(known.problem)
        return known.output({**held, **surface.layout.unflatten(params)}).reshape(-1).detach()

    change = (outputs(here.vector + 1e-4 * v) - outputs(here.vector - 1e-4 * v)) / 2e-4
    torch.testing.assert_close(here.jacobian() @ v, change, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in ROWS if SHELF[n]().likelihood == "gaussian"])
def test_the_ggn_of_a_mean_of_squares_is_its_gram_operator(name):
    known = SHELF[name]()
    point = Surface(known.problem).here()
    scaled = (2 / known.num_terms) * point.jacobian().gram()
    torch.testing.assert_close(point.ggn().to_dense(), scaled.to_dense(), **TIGHT)


def test_scipy_finds_its_singular_values():
    known = SHELF["mlp"]()
    J = Surface(known.problem).here().jacobian()
    largest = scipy.sparse.linalg.svds(
        J.to_scipy(), k=3, v0=np.ones(14), return_singular_vectors=False
    )
    oracle = torch.linalg.svdvals(dense.jacobian(known.output, known.problem))[:3]
    assert sorted(largest, reverse=True) == pytest.approx(oracle.tolist())


def test_a_part_of_the_parameters_has_the_columns():
    known = SHELF["mlp"]()
    oracle = dense.jacobian(known.output, known.problem)
    J = Surface(known.problem, "2.*").here().jacobian()
    torch.testing.assert_close(J.to_dense(), oracle[:, 16:], **TIGHT)


def test_outputs_that_are_no_tensor_are_refused():
    class Pair(nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    loss = lambda output, y: F.mse_loss(output[0], y)  # noqa: E731
    problem = Problem(initialised(Pair(3, 2)), loss, (draw(7, 3), draw(7, 2)))
    with pytest.raises(ProblemError, match=r"output is a tuple; .* as \.logits"):
        Surface(problem).here().jacobian()
