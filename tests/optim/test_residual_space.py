"""Least squares seen from the residuals, against the dense Jacobian and the dense GGN."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from problems import draw
from thalweg import Problem, Surface
from thalweg.optim import (
    ClosureObjective,
    ProblemObjective,
    SaddleFreeNewton,
    Walk,
)
from thalweg.optim._cholesky import Cholesky
from thalweg.optim._residual_space import ResidualSpace, has_residuals, residual_space
from thalweg.optim._residual_step import residual_step
from thalweg.problems import stiff_regression
from thalweg.surface import GGN, HESSIAN


def network(width=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4, bias=False), nn.Tanh(),
                         nn.Linear(4, width)).double()  # fmt: skip


def data(size=7, width=2):
    return draw(size, 3), draw(size, width, seed=1)


def walk_of(model, batches, loss=F.mse_loss):
    params = [p for p in model.parameters() if p.requires_grad]
    return Walk(ProblemObjective(Problem(model, loss, batches), params, 1.0), 1.0, None)


def dense_residuals(model, x, y, scale):
    """ρ of the flat parameters that are trained, as a function."""
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    shapes = [p.shape for p in model.parameters() if p.requires_grad]

    def rho(flat):
        pieces = flat.split([shape.numel() for shape in shapes])
        own = {n: t.view(s) for n, t, s in zip(names, pieces, shapes, strict=True)}
        return scale * (torch.func.functional_call(model, own, (x,)) - y).reshape(-1)

    return rho


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("is_split", [False, True])
def test_residuals_and_jacobian_are_those_of_autograd(reduction, is_split):
    model, (x, y) = network(), data()
    model[0].weight.requires_grad_(False)  # the bias of the first layer alone is trained
    batches = [(x[:5], y[:5]), (x[5:], y[5:])] if is_split else (x, y)
    walk = walk_of(model, batches, nn.MSELoss(reduction=reduction))
    space = residual_space(walk)
    rho = dense_residuals(model, x, y, (2 / (1 if reduction == "sum" else y.numel())) ** 0.5)
    J = torch.func.jacrev(rho)(walk.start)
    torch.testing.assert_close(space.residuals, rho(walk.start).detach())
    torch.testing.assert_close(space.kernel, J @ J.T)
    u = draw(len(J), seed=3)
    torch.testing.assert_close(space.pulled(u), J.T @ u)
    assert float(space.residuals @ space.residuals) / 2 == pytest.approx(walk.value)
    lowest, highest = space.extremes()
    values = torch.linalg.eigvalsh(J @ J.T)
    assert float(values[0]) - 1e-12 <= lowest <= highest <= float(values[-1]) * (1 + 1e-12)
    assert highest > 0.9 * float(values[-1])


def test_the_first_step_is_that_of_levenberg_and_marquardt():
    model, (x, y) = network(), data()
    walk = walk_of(model, (x, y))
    space = residual_space(walk)
    G = Surface(Problem(model, F.mse_loss, (x, y))).here().ggn().to_dense()
    damped = G + 0.1 * torch.eye(len(G), dtype=G.dtype)
    expected = -torch.linalg.solve(damped, walk.gradient)
    w = -space.factor(0.1).solved(space.residuals)
    proposal = space.proposal(w, space.kernel @ w, walk.start)
    torch.testing.assert_close(proposal.direction, expected)
    assert proposal.slope == pytest.approx(float(walk.gradient @ expected))
    assert proposal.bend == pytest.approx(float(expected @ G @ expected))


def test_what_a_corrected_step_predicts_is_that_of_the_dense_model():
    """Slope and bend come from the equation that the step solves, not from the dense matrix."""
    model, (x, y) = network(), data()
    walk = walk_of(model, (x, y))
    G = Surface(Problem(model, F.mse_loss, (x, y))).here().ggn().to_dense()
    gradient = walk.gradient.clone()
    for damping in (1e-6, 1e-2, 1.0):
        attempt = residual_step(walk, residual_space(walk), damping).attempt
        first = -float(gradient @ attempt.step)
        second = first - float(attempt.step @ G @ attempt.step) / 2
        assert attempt.first == pytest.approx(first, rel=1e-8)
        assert attempt.second == pytest.approx(second, rel=1e-8)


def test_the_corrected_step_solves_the_damped_problem_on_the_curved_residuals():
    """To the end, chord iterations find J₀ᵀρ(θ + s) + λs = 0 for steps in the span of J₀ᵀ."""
    model, (x, y) = network(), data()
    walk = walk_of(model, (x, y))
    space = residual_space(walk)
    rho = dense_residuals(model, x, y, (2 / y.numel()) ** 0.5)
    J = torch.func.jacrev(rho)(walk.start)
    damping = 1.0
    s = torch.zeros_like(walk.start)
    losses = []
    for _ in range(7):
        inner = rho(walk.start + s) - J @ s
        s = (
            -J.T
            @ torch.linalg.solve(
                J @ J.T + damping * torch.eye(len(J), dtype=J.dtype), inner
            ).detach()
        )
        losses.append(float((rho(walk.start + s) ** 2).sum().detach()) / 2)
    found = residual_step(walk, space, damping)
    assert found.damping == damping
    assert any(found.attempt.loss == pytest.approx(loss, rel=1e-12) for loss in losses)
    assert found.attempt.loss <= losses[0] * (1 + 1e-12)


class Shifted(nn.Module):
    """A layer that runs twice."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x):
        return self.inner(torch.tanh(self.inner(x)))


class Positions(nn.Module):
    """A layer that runs on two rows of a sample."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x):
        return torch.tanh(self.inner(torch.stack([x, -x], 1))).sum(1) + x


@pytest.mark.parametrize(
    "build",
    [
        Shifted,
        Positions,
        lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False), nn.Linear(3, 3)),
    ],
    ids=["run twice", "positions", "batch statistics"],
)
def test_where_rows_are_not_those_of_samples_it_is_seen_and_the_krylov_space_goes_on(build):
    torch.manual_seed(1)
    model = build().double()
    batch = draw(9, 3), draw(9, 3, seed=1)
    assert residual_space(walk_of(model, batch)) is None
    optimizer = SaddleFreeNewton(model.parameters())
    losses = [float(optimizer.bind(model, F.mse_loss, batch).step()) for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def test_where_it_is_offered():
    def fits(model=None, loss=F.mse_loss, batch=None, sign=1.0):
        model = model or network()
        objective = ProblemObjective(
            Problem(model, loss, batch or data()), list(model.parameters()), sign
        )
        return has_residuals(objective)

    assert fits()
    assert not fits(sign=-1.0)
    assert not fits(batch=data(257))  # of two outputs
    assert fits(batch=data(256))
    assert not fits(loss=F.l1_loss)
    assert not fits(loss=lambda z, y: F.mse_loss(z, y))
    assert not fits(network(width=3), F.cross_entropy, (draw(7, 3), torch.arange(7) % 3))
    assert not fits(nn.Sequential(network(), nn.PReLU()).double())
    w = nn.Parameter(torch.ones(2))
    assert not has_residuals(ClosureObjective(lambda: (w**2).sum(), [w], 1.0))


def test_who_chooses_the_curvature_or_the_rate_gets_what_was_chosen():
    for settings in ({"curvature": HESSIAN}, {"lr": 0.5}):
        model = network()
        optimizer = SaddleFreeNewton(model.parameters(), **settings)
        optimizer.bind(model, F.mse_loss, data()).step()
        assert not any(view.is_whole for view in optimizer.views)
        assert optimizer.record.num_products > 0
    model = network()
    optimizer = SaddleFreeNewton(model.parameters(), curvature=GGN)
    optimizer.bind(model, F.mse_loss, data()).step()
    assert [view.is_whole for view in optimizer.views] == [True]


def test_the_record_of_a_step_is_that_of_the_dense_model():
    model, batch = network(), data()
    optimizer = SaddleFreeNewton(model.parameters())
    for _ in range(4):
        point = Surface(Problem(copy.deepcopy(model), F.mse_loss, batch)).here()
        before = torch.cat([p.detach().reshape(-1).clone() for p in model.parameters()])
        optimizer.bind(model, F.mse_loss, batch).step()
        record = optimizer.record
        step = torch.cat([p.detach().reshape(-1) for p in model.parameters()]) - before
        g = torch.cat([g.reshape(-1) for g in point.gradient.values()])
        G = point.ggn().to_dense()
        assert record.subspace_size == 14
        assert record.step_norm == pytest.approx(float(step.norm()))
        assert record.first_order_decrease == pytest.approx(-float(g @ step))
        assert record.second_order_decrease == pytest.approx(
            -float(g @ step + step @ G @ step / 2), rel=1e-9, abs=1e-14
        )
        after = Surface(Problem(copy.deepcopy(model), F.mse_loss, batch)).here().value
        assert record.actual_decrease == pytest.approx(float(point.value) - float(after))
        assert record.gradient_equivalents > 2


def test_a_run_that_was_resumed_is_the_uninterrupted_one():
    def run(model, optimizer, steps):
        for _ in range(steps):
            optimizer.bind(model, F.mse_loss, data()).step()
        return torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    whole = network()
    expected = run(whole, SaddleFreeNewton(whole.parameters()), 9)
    first = network()
    optimizer = SaddleFreeNewton(first.parameters())
    run(first, optimizer, 4)
    again = copy.deepcopy(first)
    resumed = SaddleFreeNewton(again.parameters())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert torch.equal(run(again, resumed, 5), expected)


def test_a_saddle_of_squares_is_left():
    """Y = w₂w₁x for y = x: at w = 0 the gradient vanishes, and the GGN with it."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    x = torch.linspace(-1, 1, 8, dtype=torch.float64)[:, None]
    optimizer = SaddleFreeNewton(model.parameters())
    for _ in range(12):
        loss = optimizer.bind(model, F.mse_loss, (x, x)).step()
    assert float(loss) < 1e-12


def test_the_stiff_regression_is_fitted_in_few_steps():
    """P4 of the races; dense Levenberg-Marquardt takes 160 to 280 steps."""
    problem = stiff_regression(seed=7).copied()
    optimizer = SaddleFreeNewton(problem.model.parameters()).bind(problem)
    losses = [float(optimizer.step()) for _ in range(40)]
    assert losses[-1] < 1e-10
    assert all(after <= before for before, after in itertools.pairwise(losses))
    assert isinstance(residual_space(walk_of(problem.model, problem.batches)), ResidualSpace)


class Cliff(nn.Module):
    """Passes on what is small, and makes NaN of the rest."""

    was_passed = False

    def forward(self, x):
        self.was_passed |= bool((x.abs() >= 2.0).any())
        return torch.where(x.abs() < 2.0, x, torch.nan)


def test_beyond_a_cliff_the_damping_rises_until_the_loss_is_finite():
    """The target lies at 1.9 of what may be 2: Newton's step from afar goes over the edge."""
    model = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1), Cliff()).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    y = 1.9 * torch.sin(3 * x)
    with torch.no_grad():
        assert bool(torch.isfinite(model(x)).all())
    optimizer = SaddleFreeNewton(model.parameters()).bind(model, F.mse_loss, (x, y))
    losses = [float(optimizer.step()) for _ in range(30)]
    assert all(after <= before for before, after in itertools.pairwise(losses))
    assert losses[-1] < 1e-2 * losses[0]
    assert model[-1].was_passed


def test_in_float32_it_goes_down_to_rounding():
    problem = stiff_regression(seed=3).to(dtype=torch.float32)
    optimizer = SaddleFreeNewton(problem.model.parameters()).bind(problem)
    losses = [float(optimizer.step()) for _ in range(60)]
    assert losses[-1] < 1e-9
    assert all(bool(torch.isfinite(p).all()) for p in problem.model.parameters())


@pytest.mark.parametrize("size", [1, 5, 64, 65, 200])
def test_the_factor_and_solutions_with_it_are_those_of_torch(size):
    generator = torch.Generator().manual_seed(size)
    A = torch.randn(size, size, generator=generator, dtype=torch.float64)
    A = A @ A.T + torch.eye(size)
    found = Cholesky.of(A)
    L = found.factor.tril()
    torch.testing.assert_close(L @ L.T, A)
    torch.testing.assert_close(L, torch.linalg.cholesky(A))
    b = draw(len(A), seed=1)
    torch.testing.assert_close(found.solved(b), torch.linalg.solve(A, b))


@pytest.mark.parametrize("place", [0, 70, 129])
def test_there_is_no_factor_of_what_is_indefinite(place):
    A = torch.eye(130, dtype=torch.float64)
    A[place, place] = -1e-9
    assert Cholesky.of(A) is None
