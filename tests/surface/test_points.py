"""What a point is: a snapshot, chosen by name or vector, and what it refuses."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dense
from problems import SHELF, Params, cut, draw, draw_classes, initialised, mlp_model
from thalweg import (
    DetachedLossError,
    LayoutError,
    NonFiniteError,
    Problem,
    ProblemError,
    SecondDerivativeError,
    Surface,
)
from thalweg.linalg import MatvecOperator, eigenpairs
from thalweg.surface import RetainedGraph, Taped


def test_by_name_by_vector_and_here_are_one_point():
    problem = SHELF["mlp"]().problem
    surface = Surface(problem)
    here = surface.here()
    for point in (surface.at(here.params), surface.at(here.vector), surface.at(problem.parameters)):
        assert point.value == here.value
        assert torch.equal(point.gradient_vector, here.gradient_vector)


def train_a_little(model: nn.Module) -> None:
    """In place, as an optimizer does, and in training mode, so that batch statistics move too."""
    model.train()
    for parameter in model.parameters():
        parameter.data.add_(0.1)
    with torch.no_grad():
        model(draw(5, 3, seed=9))
    model.scale = 3.0


@pytest.mark.parametrize("params", ["*", "2.*"])
def test_training_afterwards_does_not_move_a_point(params):
    known = SHELF["batch_norm"]()
    surface = Surface(known.problem, params)
    point, asked = surface.here(), surface.here()
    value, slope = asked.value, asked.gradient_vector.clone()
    H = asked.hessian().to_dense()
    train_a_little(known.problem.model)
    assert point.value == value  # first asked for now
    assert torch.equal(point.gradient_vector, slope)
    assert torch.equal(point.hessian().to_dense(), H)
    assert torch.equal(asked.hessian().to_dense(), H)
    known.problem.model.eval()
    assert Surface(known.problem, params).here().value != value


def test_here_follows_the_model():
    known = SHELF["batch_norm"]()
    surface = Surface(known.problem)
    train_a_little(known.problem.model)
    known.problem.model.eval()
    oracle = known.plain({**dense.held(known.problem), **dense.leaves(known.problem)}).item()
    assert surface.here().value == pytest.approx(oracle, rel=1e-12)


class Scaled(nn.Module):
    """Its forward reads a Python attribute that a training loop sets."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.scale = 1.0

    def forward(self, x):
        return self.scale * self.inner(x)


def test_a_new_surface_sees_new_attributes_and_an_old_one_does_not():
    model = initialised(Scaled())
    x, y = draw(7, 3), draw(7, 2)
    problem = Problem(model, F.mse_loss, (x, y))
    old = Surface(problem)
    before = old.here().value
    model.scale = 2.0
    assert Surface(problem).here().value == pytest.approx(F.mse_loss(model(x), y).item(), rel=1e-12)
    assert old.here().value == before


def test_a_model_put_into_evaluation_mode_later_is_read():
    """As a refusal tells people to: the same Problem must then work."""
    model = initialised(nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)))
    problem = Problem(model, F.mse_loss, (draw(7, 3), draw(7, 2)))
    with pytest.raises(ProblemError, match=r"model\.eval\(\)"):
        Surface(problem)
    model.eval()
    assert Surface(problem).here().value > 0


def test_replaced_parameters_are_followed():
    """load_state_dict(assign=True) puts new tensors into the modules."""
    known = SHELF["mlp"]()
    surface = Surface(known.problem)
    state = {n: t + 0.1 for n, t in known.problem.model.state_dict().items()}
    known.problem.model.load_state_dict(state, assign=True)
    assert surface.here().value == pytest.approx(known.plain(state).item(), rel=1e-12)


def test_freezing_later_does_not_change_what_a_surface_runs_over():
    known = SHELF["mlp"]()
    surface = Surface(known.problem)
    value = surface.here().value
    known.problem.model[0].requires_grad_(False)
    assert surface.here().value == value


NAN = float("nan")
MISFITS = {
    "short vector": (lambda p: torch.zeros(3).double(), r"shape \(3,\) does not fit 26"),
    "column": (lambda p: torch.zeros(26, 1).double(), r"pass one of shape \(26,\)"),
    "missing": (lambda p: {"0.weight": p["0.weight"]}, r"missing \['0\.bias'"),
    "unknown": (lambda p: {**p, "3.weight": p["0.weight"]}, r"unknown \['3\.weight'\]"),
    "misshapen": (
        lambda p: {**p, "0.bias": torch.zeros(5).double()},
        r"'0\.bias' has shape \(5,\)",
    ),
    "float32 vector": (lambda p: torch.zeros(26), r"torch\.float32 .* convert it with"),
    "one float16": (lambda p: {**p, "0.bias": p["0.bias"].half()}, r"'0\.bias' is torch\.float16"),
    "meta": (lambda p: {**p, "0.bias": p["0.bias"].to("meta")}, r"'0\.bias' is .* on meta"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_what_does_not_fit_is_refused_by_name(misfit, unchecked):
    known = SHELF["mlp"]()
    make, said = MISFITS[misfit]
    params: Params = {n: p.detach() for n, p in known.problem.parameters.items()}
    with pytest.raises(LayoutError, match=said):
        Surface(known.problem).at(make(params))


def test_a_nan_among_the_parameters_is_named():
    known = SHELF["mlp"]()
    params = {n: p.detach().clone() for n, p in known.problem.parameters.items()}
    params["2.weight"][0, 0] = NAN
    with pytest.raises(NonFiniteError, match=r"born in parameter '2\.weight'"):
        _ = Surface(known.problem).at(params).value


@pytest.mark.parametrize("globs", ["encoder.*", ["0.*", "encoder.*"]])
def test_a_glob_that_matches_nothing_lists_the_names(globs):
    with pytest.raises(LayoutError, match=r"'encoder\.\*'; the names are 0\.weight, 0\.bias"):
        Surface(SHELF["mlp"]().problem, globs)


def test_no_glob_is_refused():
    with pytest.raises(LayoutError, match=r"no glob was given; '\*' means all of 0\.weight"):
        Surface(SHELF["mlp"]().problem, [])


# -- parameters that do not enter ------------------------------------------------------------


class Spare(nn.Module):
    """`spare` never enters; which expert enters depends on the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(3, 2)
        self.experts = nn.ModuleList(nn.Linear(3, 2) for _ in range(2))

    def forward(self, x):
        return self.experts[int(x[0, 0] > 0)](x)


def spare_problem(uses_both: bool) -> Problem:
    x = draw(7, 3)
    x[:, 0] = torch.tensor([1.0] * 5 + [-1.0 if uses_both else 1.0] * 2)
    return Problem(initialised(Spare()), F.mse_loss, cut((x, draw(7, 2, seed=1)), 5, 2))


@pytest.mark.parametrize("params", ["*", "spare.*"])
def test_unused_parameters_are_named_and_flat(params):
    """Zero slope and zero rows; the rest is what it is without them."""
    problem = spare_problem(True)
    whole, used = Surface(problem, params).here(), Surface(problem, "experts.*").here()
    assert whole.unused == ("spare.weight", "spare.bias")
    assert used.unused == ()
    assert whole.value == used.value
    for op, oracle in [
        (whole.hessian(), used.hessian()),
        (whole.ggn(), used.ggn()),
        (whole.fisher(), used.fisher()),
    ]:
        A = op.to_dense()
        assert not A[:8].any()
        assert not A[:, :8].any()
        if params == "*":
            torch.testing.assert_close(A[8:, 8:], oracle.to_dense(), rtol=1e-12, atol=1e-14)
            assert A[8:, 8:].any()
    assert not whole.gradient_vector[:8].any()


@pytest.mark.parametrize("params", ["experts.*", "experts.0.*", "experts.1.*"])
def test_a_parameter_may_enter_in_some_batches_only(params):
    problem = spare_problem(True)
    (x1, y1), (x2, y2) = problem.data

    def plain(p):
        first = F.linear(x1, p["experts.1.weight"], p["experts.1.bias"]) - y1
        second = F.linear(x2, p["experts.0.weight"], p["experts.0.bias"]) - y2
        return (first.square().sum() + second.square().sum()) / 14

    surface = Surface(problem, params)
    names = list(problem.parameters)
    kept = torch.cat([torch.full((p.numel(),), n in surface.layout.names)
                      for n, p in problem.parameters.items()])  # fmt: skip
    assert len(names) == 6
    problem.model.spare.requires_grad_(False)
    H = dense.hessian(plain, problem)
    rows = kept[8:].nonzero()[:, 0]
    point = surface.here()
    for op in (point.hessian(), point.ggn(), point.fisher()):
        torch.testing.assert_close(op.to_dense(), H[rows][:, rows], rtol=1e-10, atol=1e-13)


# -- operations without a second derivative -------------------------------------------------


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0].exp()


class OnceLayer(nn.Module):
    """With a way around that has a second derivative: torch alone would leave out the other."""

    def __init__(self, has_way_around: bool) -> None:
        super().__init__()
        self.inner, self.has_way_around = nn.Linear(3, 2), has_way_around

    def forward(self, x):
        z = self.inner(x)
        return Once.apply(z) + (z.tanh() if self.has_way_around else 0.0)


@pytest.mark.parametrize("operator", ["hessian", "ggn", "fisher", "empirical_fisher", "jacobian"])
@pytest.mark.parametrize("limit", [0, 2**31])
@pytest.mark.parametrize("has_way_around", [False, True])
def test_no_second_derivative_is_said(operator, limit, has_way_around, monkeypatch):
    monkeypatch.setattr("thalweg.surface._point.MAX_GRAPH_BYTES", limit)
    model = initialised(OnceLayer(has_way_around))
    point = Surface(Problem(model, F.mse_loss, (draw(7, 3), draw(7, 2)))).here()
    assert point.gradient_vector.abs().sum() > 0
    with pytest.raises(SecondDerivativeError, match=r"no second derivative.*; replace it"):
        getattr(point, operator)() @ torch.ones(8, dtype=torch.float64)


class Wrapped(nn.Module):
    """Returns its output in some form."""

    def __init__(self, form) -> None:
        super().__init__()
        self.inner, self.form = nn.Linear(3, 2), form

    def forward(self, x):
        return self.form(self.inner(x))


def test_a_pair_as_output_has_a_hessian_and_no_ggn():
    model = initialised(Wrapped(lambda z: (z, z.detach())))
    loss = lambda output, y: F.mse_loss(output[0], y)  # noqa: E731
    x, y = draw(7, 3), draw(7, 2)
    point = Surface(Problem(model, loss, (x, y))).here()
    plain = Surface(Problem(model.inner, F.mse_loss, (x, y))).here()
    H = plain.hessian().to_dense()
    torch.testing.assert_close(point.hessian().to_dense(), H, rtol=1e-12, atol=1e-14)
    with pytest.raises(ProblemError, match=r"output is a tuple; .* as \.logits"):
        point.ggn() @ torch.ones(8, dtype=torch.float64)


@pytest.mark.parametrize("share", [lambda z: z.detach(), lambda z: z * 1.0])
def test_logits_beside_the_loss_have_no_ggn(share):
    """The loss must be computed from the very tensor that is returned."""

    def form(z):
        return {"loss": z.square().mean(), "logits": share(z)}

    point = Surface(Problem(initialised(Wrapped(form)), None, draw(7, 3))).here()
    assert point.hessian().to_dense().abs().max() > 0
    with pytest.raises(ProblemError, match=r"\.logits"):
        point.ggn() @ torch.ones(8, dtype=torch.float64)


def test_a_piecewise_linear_surface_has_no_curvature():
    point = Surface(
        Problem(initialised(nn.Linear(3, 2)), F.l1_loss, (draw(7, 3), draw(7, 2)))
    ).here()
    for op in (point.hessian(), point.ggn()):
        assert op.to_dense().abs().max() == 0


def test_a_detached_model_is_refused_even_if_the_loss_has_parameters():
    class Metric(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, output, target):
            return self.scale * (output - target).square().mean()

    model = initialised(Wrapped(torch.Tensor.detach))
    with pytest.raises(DetachedLossError, match=r"detach\(\)"):
        Surface(Problem(model, Metric(), (draw(7, 3), draw(7, 2))))


def test_nothing_is_computed_before_it_is_asked_for():
    calls = []

    def loss(z, y):
        calls.append(1)
        return F.cross_entropy(z, y)

    problem = Problem(initialised(mlp_model()), loss, (draw(7, 3), draw_classes(2, 7)))
    point = Surface(problem).here()
    checked = len(calls)
    assert checked == 2
    _ = point.value, point.gradient, point.value
    assert len(calls) == checked + 1  # and kept


@pytest.mark.parametrize("route", [RetainedGraph(), Taped()], ids=["graph", "tape"])
def test_graphs_go_with_the_last_reference(route):
    """And do not wait for the collector of cycles, which knows nothing of their size."""
    gc.collect()
    gc.disable()
    try:
        point = Surface(SHELF["conv"]().problem).here()
        op = point.hessian(route)
        op @ torch.ones(op.size, dtype=torch.float64)
        gone = weakref.ref(op)
        assert point.hessian(route) is op
        del point, op
        assert gone() is None
    finally:
        gc.enable()


def test_a_sample_stands_for_many_data_where_it_spares_much():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 250), nn.Tanh(), nn.Linear(250, 250), nn.Tanh())
    model.append(nn.Linear(250, 3))
    x, y = draw(1600, 40, seed=1).float(), draw_classes(3, 1600)
    problem = Problem(model.float(), F.cross_entropy, (x, y))
    H = Surface(problem).here().hessian()
    near = H.sampled()
    part = problem.subsampled(50, torch.Generator().manual_seed(0))
    v = torch.randn(H.size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(near @ v, Surface(part).here().hessian() @ v, rtol=1e-4, atol=1e-6)
    assert near.sampled() is None
    found = eigenpairs(H, 3, generator=torch.Generator().manual_seed(0))
    again = eigenpairs(MatvecOperator(lambda u: H @ u, H.size), 3, generator=torch.Generator())
    assert found.is_converged
    torch.testing.assert_close(found.values, again.values, rtol=1e-3, atol=0)
    few = Problem(model, F.cross_entropy, (x[:900], y[:900]))
    assert Surface(few).here().hessian().sampled() is None
    assert Surface(problem, "4.*").here().hessian().sampled() is None
