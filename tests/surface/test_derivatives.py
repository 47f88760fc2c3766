"""Value, gradient, Hessian and GGN against closed forms, dense autograd and finite differences."""

import pytest
import torch

import dense
import thalweg
from problems import SHELF, cut, linear, log_softmax, logistic, quadratic, softmax
from thalweg import Surface, ThalwegError
from thalweg.surface import Chosen, FiniteDifference, RebuiltGraph, RetainedGraph, Taped

# All is float64 and of size one: what remains is rounding over some hundred operations.
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


ROUTES = [RetainedGraph(), RebuiltGraph(), Taped()]


@pytest.fixture(params=ROUTES, ids=lambda route: type(route).__name__)
def route(request):
    return request.param


@pytest.fixture(params=SHELF, scope="module")
def known(request):
    return SHELF[request.param]()


def test_value_is_the_loss_written_by_hand(known):
    plain = known.plain({**dense.held(known.problem), **dense.leaves(known.problem)})
    assert Surface(known.problem).here().value == pytest.approx(plain.item(), rel=1e-12)


def test_gradient_is_dense_autograd(known):
    point = Surface(known.problem).here()
    oracle = dense.gradient(known.plain, known.problem)
    torch.testing.assert_close(point.gradient_vector, oracle, **TIGHT)
    assert list(point.gradient) == list(known.problem.parameters)
    torch.testing.assert_close(dense.flat(point.gradient.values()), oracle, **TIGHT)


def test_hessian_is_dense_double_backward(known, route):
    point = Surface(known.problem).here()
    oracle = dense.hessian(known.plain, known.problem)
    torch.testing.assert_close(point.hessian(route).to_dense(), oracle, **TIGHT)


def test_ggn_is_its_definition_multiplied_out(known, route):
    """G = Jᵀ (∂²L/∂z²) J with both factors dense."""
    point = Surface(known.problem).here()
    J = dense.jacobian(known.output, known.problem)
    z = known.output({**dense.held(known.problem), **dense.leaves(known.problem)})
    oracle = J.T @ dense.hessian_by(known.loss, z) @ J
    torch.testing.assert_close(point.ggn(route).to_dense(), oracle, **TIGHT)


def test_derivatives_are_central_differences(known, generator):
    """Of values alone, along one direction v of length 1.

    (L₊ − L₋)/2h errs by h²|L‴|/6 + εL/h: 1e-10 at h = 1e-5 and derivatives of size one.
    (L₊ − 2L + L₋)/h² errs by h²|L⁗|/12 + 4εL/h²: 1e-7 at h = 1e-4. A hundred times that is asked.
    """
    surface = Surface(known.problem)
    point = surface.here()
    v = torch.randn(surface.layout.size, generator=generator, dtype=torch.float64)
    v /= v.norm()

    def value(h):
        return surface.at(point.vector + h * v).value

    scale = 1 + abs(point.value)
    slope = (value(1e-5) - value(-1e-5)) / 2e-5
    assert point.gradient_vector @ v == pytest.approx(slope, abs=1e-8 * scale)
    curve = (value(1e-4) - 2 * point.value + value(-1e-4)) / 1e-8
    assert v @ (point.hessian() @ v) == pytest.approx(curve, abs=1e-5 * scale)


def with_ones(x):
    return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)


def by_unit(matrix, num_inputs, num_units):
    """From the order (unit, input, bias last) to the layout's order: all weights, then biases."""
    weights = [u * (num_inputs + 1) + i for u in range(num_units) for i in range(num_inputs)]
    biases = [u * (num_inputs + 1) + num_inputs for u in range(num_units)]
    order = weights + biases
    return matrix[order][:, order]


def closed_linear():
    """L = ‖XWᵀ − Y‖²/M: H = (2/M) I ⊗ XᵀX."""
    known = linear()
    X = with_ones(known.problem.data[0])
    return known, by_unit(torch.kron(torch.eye(2), 2 / 14 * X.T @ X), 3, 2)


def closed_logistic():
    """H = Xᵀ diag(σ(1−σ)) X / M."""
    known = logistic()
    x, _ = known.problem.data
    s = torch.sigmoid(known.problem.model(x)).detach()
    return known, with_ones(x).T @ (s * (1 - s) / 7 * with_ones(x))


def closed_softmax():
    """H = Σ_n (diag p − ppᵀ) ⊗ xxᵀ / N."""
    known = softmax()
    x, _ = known.problem.data
    p = torch.softmax(known.problem.model(x).detach(), 1)
    X = with_ones(x)
    parts = [
        torch.kron(torch.diag(q) - torch.outer(q, q), torch.outer(row, row))
        for q, row in zip(p, X, strict=True)
    ]
    return known, by_unit(sum(parts) / 7, 3, 4)


@pytest.mark.parametrize("closed", [closed_linear, closed_logistic, closed_softmax])
@pytest.mark.parametrize("operator", ["hessian", "ggn", "fisher"])
def test_linear_models_have_one_curvature_in_closed_form(closed, operator):
    """Of a model linear in its parameters, on natural parameters, all three are the same."""
    known, oracle = closed()
    op = getattr(Surface(known.problem).here(), operator)()
    torch.testing.assert_close(op.to_dense(), oracle, **TIGHT)


def test_softmax_gradient_in_closed_form():
    """∂L/∂W = (p − y)ᵀ X / N."""
    known = softmax()
    x, y = known.problem.data
    p = torch.softmax(known.problem.model(x).detach(), 1)
    error = (p - torch.eye(4, dtype=torch.float64)[y]) / 7
    gradient = Surface(known.problem).here().gradient
    torch.testing.assert_close(gradient["weight"], error.T @ x, **TIGHT)
    torch.testing.assert_close(gradient["bias"], error.sum(0), **TIGHT)


def test_newton_lands_on_the_critical_point_of_a_quadratic():
    known = quadratic()
    surface = Surface(known.problem)
    point = surface.here()
    H = point.hessian().to_dense()
    torch.testing.assert_close(H, known.problem.model.A, **TIGHT)
    step = torch.linalg.lstsq(H, point.gradient_vector, driver="gelsd").solution
    rest = surface.at(point.vector - step).gradient_vector
    # θ₃ has no curvature at all, so that its slope −b̄₃ stays.
    expected = torch.zeros(4, dtype=torch.float64)
    expected[2] = -known.problem.data.mean(0)[2]
    torch.testing.assert_close(rest, expected, **TIGHT)


# -- forms of asking ------------------------------------------------------------------------

GLOBS = {
    "mlp": "0.*",
    "frozen": "*.bias",
    "conv": ["head.*", "conv.bias"],
    "lstm": "lstm.weight*",
    "transformer": "*norm?.weight",
    "tied": "embedding.*",
    "batch_norm": "1.*",
    "token_classes": ["mix.weight", "embedding*"],
}


@pytest.mark.parametrize(("name", "globs"), GLOBS.items())
def test_a_subset_is_the_submatrix(name, globs):
    known = SHELF[name]()
    whole, part = Surface(known.problem), Surface(known.problem, globs)
    chosen = {n: torch.zeros_like(p) for n, p in known.problem.parameters.items()}
    for n in part.layout.names:
        chosen[n] += 1
    rows = whole.layout.flatten(chosen).nonzero()[:, 0]
    assert 0 < len(rows) < whole.layout.size
    big, small = whole.here(), part.here()
    assert small.value == pytest.approx(big.value, rel=1e-14)
    torch.testing.assert_close(small.gradient_vector, big.gradient_vector[rows], **TIGHT)
    for operator in ("hessian", "ggn"):
        matrix = getattr(big, operator)().to_dense()[rows][:, rows]
        torch.testing.assert_close(getattr(small, operator)().to_dense(), matrix, **TIGHT)


@pytest.mark.parametrize("operator", ["hessian", "ggn", "fisher"])
def test_blocks_and_dicts_are_multiplied_like_vectors(operator, generator):
    point = Surface(SHELF["mlp"]().problem).here()
    op = getattr(point, operator)()
    V = torch.randn(op.size, 3, generator=generator, dtype=torch.float64)
    columns = torch.stack([op @ v for v in V.T], 1)
    torch.testing.assert_close(op @ V, columns, **TIGHT)
    by_name = op @ point.layout.unflatten(V[:, 0])
    assert list(by_name) == list(point.layout.names)
    torch.testing.assert_close(point.layout.flatten(by_name), columns[:, 0], **TIGHT)
    torch.testing.assert_close(op @ V[:, 0], V[:, 0] @ op.to_dense(), **TIGHT)


@pytest.mark.parametrize("operator", ["hessian", "ggn", "fisher"])
def test_graphs_that_do_not_fit_are_rebuilt(operator, monkeypatch, generator):
    known = SHELF["conv"]()
    problem = known.problem.with_data(cut(known.problem.data, 5, 2))
    v = torch.randn(Surface(problem).layout.size, generator=generator, dtype=torch.float64)
    kept = getattr(Surface(problem).here(), operator)()
    assert kept.route.is_kept
    monkeypatch.setattr("thalweg.surface._point.MAX_GRAPH_BYTES", 0)
    rebuilt = getattr(Surface(problem).here(), operator)()
    assert not rebuilt.route.is_kept
    assert rebuilt.gradients_per_product == kept.gradients_per_product + 1
    for _ in range(2):
        torch.testing.assert_close(rebuilt @ v, kept @ v, **TIGHT)


@pytest.mark.parametrize("operator", ["hessian", "ggn", "fisher"])
def test_a_route_chosen_by_a_probe_gives_the_same_and_is_recorded(
    known, operator, monkeypatch, generator
):
    monkeypatch.setattr("thalweg.surface._point.MIN_PROBED_BYTES", 0)
    if operator == "fisher" and not known.likelihood:
        pytest.skip("has no likelihood")
    surface = Surface(known.problem)
    op = getattr(surface.here(), operator)()
    plain = getattr(surface.here(), operator)(RetainedGraph())
    v = torch.randn(op.size, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(op @ v, plain @ v, **TIGHT)
    assert isinstance(op.route, Chosen)
    assert op.route.deviation < 1e-10
    assert op.route.ratio > 0
    assert op.route.said in repr(op)
    # The next point of the same surface asks nobody.
    again = getattr(surface.at(torch.zeros_like(v)), operator)()
    assert again.route is op.route


def test_a_tape_that_comes_out_otherwise_is_not_taken(known, monkeypatch, generator):
    monkeypatch.setattr("thalweg.surface._point.MIN_PROBED_BYTES", 0)
    right = thalweg.surface._choice.taped

    def wrong(task):
        product = right(task)
        return lambda v: tuple(1.001 * t for t in product(v))

    monkeypatch.setattr("thalweg.surface._choice.taped", wrong)
    op = Surface(known.problem).here().hessian()
    assert isinstance(op.route.route, RetainedGraph)
    assert op.route.deviation == pytest.approx(0.001, rel=0.01)
    assert "came out otherwise" in op.route.said


def test_central_differences_of_the_gradient(known, generator):
    """At h = ε^⅓ ≈ 6e-6 they err by h²|L⁗|/6 + ε|∇L|/h: 1e-10 each, a thousand times that asked."""
    point = Surface(known.problem).here()
    op = point.hessian(FiniteDifference())
    v = torch.randn(op.size, generator=generator, dtype=torch.float64)
    expected = dense.hessian(known.plain, known.problem) @ v
    torch.testing.assert_close(op @ v, expected, rtol=1e-6, atol=1e-7 * float(v.norm()))
    assert not (op @ torch.zeros_like(v)).any()
    with pytest.raises(ThalwegError, match=r"give the Hessian, not the GGN; pass"):
        point.ggn(FiniteDifference()) @ v


def test_a_tied_tensor_moves_in_both_places():
    """One entry of the shared table, moved by h, moves the loss as the gradient says."""
    known = SHELF["tied"]()
    names = list(known.problem.parameters)
    assert names == ["embedding.weight", "decoder.bias"]
    point = Surface(known.problem, "embedding.weight").here()
    only_in = torch.autograd.grad(
        torch.nn.functional.cross_entropy(
            known.problem.model(known.problem.data[0]), known.problem.data[1]
        ),
        known.problem.model.embedding.weight,
    )[0]
    torch.testing.assert_close(point.gradient["embedding.weight"], only_in, **TIGHT)


def test_symmetric(known, generator):
    """uᵀHv = vᵀHu, without the symmetrisation of to_dense."""
    point = Surface(known.problem).here()
    u, v = torch.randn(2, point.layout.size, generator=generator, dtype=torch.float64)
    for op in (point.hessian(), point.ggn()):
        assert u @ (op @ v) == pytest.approx((v @ (op @ u)).item(), rel=1e-9, abs=1e-12)


def test_log_softmax_of_the_shelf_is_torchs():
    """The oracle's own footing."""
    z = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(log_softmax(z), torch.log_softmax(z, -1))
