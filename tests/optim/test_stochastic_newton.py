"""Newton's method on minibatches: its plane against dense curvature, its contract, its records."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from problems import draw
from thalweg import NonFiniteError, OptimizerError, Problem, RandomModelError, Surface
from thalweg.optim import KFAC, Diagonal, Identity, ProblemObjective, StochasticNewton
from thalweg.optim import two_direction_step as in_the_plane
from thalweg.problems import small_curves_autoencoder, squared_error, two_spirals

pytestmark = pytest.mark.usefixtures("unchecked")


def network(seed=0):
    """3-4-2 tanh, 26 parameters, float64."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def batch_of(step, size=9):
    return draw(size, 3, seed=step), torch.arange(size) % 2


def train(model, optimizer, first, last, size=9):
    for step in range(first, last):
        optimizer.bind(model, F.cross_entropy, batch_of(step, size)).step()
    return optimizer


def flat(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()]).clone()


# -- the plane -------------------------------------------------------------------------------


def test_two_directions_solve_the_small_system():
    S = draw(5, 2)
    C = draw(5, 5, seed=1)
    C = C @ C.T
    g = draw(5, seed=2)
    y = in_the_plane(S.T @ C @ S, S.T @ g)
    torch.testing.assert_close(S.T @ (C @ S @ y + g), torch.zeros(2, dtype=torch.float64))
    # A direction a billion times as long changes nothing, nor does one that is there twice.
    scaled = S * torch.tensor([1.0, 1e9], dtype=torch.float64)
    torch.testing.assert_close(scaled @ in_the_plane(scaled.T @ C @ scaled, scaled.T @ g), S @ y)
    twice = torch.stack([S[:, 0], S[:, 0]], 1)
    once = S[:, :1] @ in_the_plane(S[:, :1].T @ C @ S[:, :1], S[:, :1].T @ g)
    torch.testing.assert_close(twice @ in_the_plane(twice.T @ C @ twice, twice.T @ g), once)


def objective_of(model, loss, data):
    return ProblemObjective(Problem(model, loss, data), list(model.parameters()), 1.0)


def dense(model, loss, data):
    """Value, gradient and GGN, written out by the surface."""
    point = Surface(Problem(model, loss, data)).here()
    gradient = torch.cat([part.reshape(-1) for part in point.gradient.values()])
    return float(point.value), gradient.clone(), point.ggn().to_dense()


@pytest.mark.parametrize("is_taped", [True, False])
@pytest.mark.parametrize("num_batches", [1, 2])
def test_along_directions_it_is_the_dense_surface(is_taped, num_batches):
    """Against gradient and GGN written out; two uneven batches are one loss."""
    model = network()
    data = [(draw(n, 3, seed=n), torch.arange(n) % 2) for n in (7, 4)][:num_batches]
    objective = objective_of(model, F.cross_entropy, data)
    value, gradient, ggn = dense(model, F.cross_entropy, data)
    objective.is_taped = is_taped
    S = draw(26, 3, seed=5)
    seen = objective.along(list(S.T))
    assert objective.is_taped is is_taped
    assert seen.value == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(seen.slopes, S.T @ gradient)
    torch.testing.assert_close(seen.gram, S.T @ ggn @ S)


def test_along_directions_of_a_linear_model_it_is_the_closed_form():
    """Of ½ mean of squares: slopes Sᵀxᵀ(xw − y)/N, gram Sᵀxᵀx S/N."""
    x, y, S = draw(8, 3), draw(8, 1, seed=1), draw(3, 2, seed=2)
    model = nn.Linear(3, 1, bias=False).double()
    objective = objective_of(model, lambda z, y: F.mse_loss(z, y) / 2, (x, y))
    seen = objective.along(list(S.T))
    residual = x @ model.weight.detach().T - y
    torch.testing.assert_close(seen.slopes, (S.T @ x.T @ residual / 8)[:, 0])
    torch.testing.assert_close(seen.gram, S.T @ x.T @ x @ S / 8)


def test_slopes_along_directions_are_difference_quotients():
    """Central ones of step h: the error is h²/6 of a third derivative of order 1, and ε/h."""
    model = network()
    objective = objective_of(model, F.cross_entropy, batch_of(0))
    s, h = draw(26, seed=3), 1e-5
    start = flat(model)
    ends = []
    for sign in (1, -1):
        nn.utils.vector_to_parameters(start + sign * h * s, model.parameters())
        ends.append(objective.value())
    nn.utils.vector_to_parameters(start, model.parameters())
    quotient = (ends[0] - ends[1]) / (2 * h)
    assert float(objective.along([s]).slopes[0]) == pytest.approx(quotient, abs=1e-7)


def test_a_model_without_a_tape_takes_the_same_steps():
    """A derivative of its own hides the operation from the tape."""

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z * z

        @staticmethod
        def backward(ctx, g):
            (z,) = ctx.saved_tensors
            return 2 * z * g

    class Custom(nn.Module):
        def forward(self, z):
            return Square.apply(z)

    class Plain(nn.Module):
        def forward(self, z):
            return z * z

    ends = []
    for square in (Custom(), Plain()):
        model = network()
        model[1] = square
        train(model, StochasticNewton(model.parameters()), 0, 4)
        ends.append(flat(model))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-9, atol=1e-11)


def test_a_first_step_is_the_formula_by_hand():
    """Of one direction: Δ = −(A + πγ)⁻¹ g (G + γ/π)⁻¹, α = gᵀΔ / (ΔᵀCΔ + λ‖Δ‖²)."""
    x, y = draw(8, 3), draw(8, 2, seed=1)
    model = nn.Linear(3, 2, bias=False).double()
    before = model.weight.detach().clone()
    _, gradient, ggn = dense(model, F.mse_loss, (x, y))
    opt = StochasticNewton(model.parameters(), damping=2.0)
    opt.bind(model, F.mse_loss, (x, y)).step()
    A, G = x.T @ x / 8, torch.eye(2, dtype=torch.float64)
    unit = float(A.trace() * G.trace() / 6)
    pi = (A.trace() / 3 / (G.trace() / 2)).sqrt()
    gamma = (2.0 * unit) ** 0.5
    eye = torch.eye(3, dtype=torch.float64)
    left = torch.linalg.inv(G + gamma / pi * eye[:2, :2])
    newest = -left @ gradient.view(2, 3) @ torch.linalg.inv(A + pi * gamma * eye)
    d = newest.reshape(-1)
    alpha = -(gradient @ d) / (d @ ggn @ d + 2.0 * unit * d @ d)
    torch.testing.assert_close(model.weight.detach() - before, alpha * newest)
    assert opt.record.damping == pytest.approx(2.0 * unit)


# -- the inverse of the metric ---------------------------------------------------------------


def read(metric, model, loss, batch):
    params = list(model.parameters())
    metric.attach(params)
    objective = ProblemObjective(Problem(model, loss, batch), params, 1.0)
    metric.refresh(objective, torch.Generator().manual_seed(0))
    return metric


def test_what_is_solved_by_kfac_is_the_damped_factors_inverse():
    model, (x, _) = network(), batch_of(0)
    metric = read(KFAC(model), model, F.cross_entropy, batch_of(0))
    factors, v, shift = metric.state_dict(), draw(26, seed=4), 0.3
    A, G = factors["0.A"][0], factors["0.G"][0]
    torch.testing.assert_close(A[:3, :3], x.T @ x / 9)
    pi = ((A.trace() / 4) / (G.trace() / 4)).sqrt()
    W = torch.cat([v[:12].view(4, 3), v[12:16, None]], 1)
    R = G + shift**0.5 / pi * torch.eye(4, dtype=torch.float64)
    C = A + shift**0.5 * pi * torch.eye(4, dtype=torch.float64)
    expected = torch.linalg.inv(R) @ W @ torch.linalg.inv(C)
    found = metric.solved(v, shift)
    torch.testing.assert_close(found[:12].view(4, 3), expected[:, :3])
    torch.testing.assert_close(found[12:16], expected[:, 3])
    # Without damping it is L⁻ᵀ L⁻¹, whose ε is small.
    plain = read(KFAC(model, 1e-14), model, F.cross_entropy, batch_of(0))
    twice = plain.lifted(plain.whitened(v))
    torch.testing.assert_close(plain.solved(v, 1e-26)[:16], twice[:16], rtol=1e-5, atol=1e-8)


def test_what_is_solved_by_other_metrics_is_divided_by_them():
    model, v = network(), draw(26, seed=4)
    torch.testing.assert_close(Identity().solved(v, 3.0), v / 4)
    assert Identity().mean == 1.0
    metric = read(Diagonal(), model, F.cross_entropy, batch_of(0))
    diagonal = metric.state_dict()["diagonal"]
    torch.testing.assert_close(metric.solved(v, 0.5), v / (diagonal + 0.5))
    assert metric.mean == pytest.approx(float(diagonal.mean()))


def test_scales_of_a_norm_are_solved_channel_by_channel():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)).double()
    metric = read(KFAC(model), model, F.cross_entropy, batch_of(0))
    U, v = metric.state_dict()["1.U"], draw(34, seed=4)
    shifted = U + 0.2 * torch.eye(2, dtype=torch.float64)
    expected = torch.linalg.solve(shifted, torch.stack([v[16:20], v[20:24]], -1)[..., None])
    found = metric.solved(v, 0.2)
    torch.testing.assert_close(found[16:20], expected[:, 0, 0])
    torch.testing.assert_close(found[20:24], expected[:, 1, 0])


def test_factors_below_the_rounding_of_their_dtype_are_solved_all_the_same():
    """Of one float32 sample the factors have rank one, and a shift that is lost in them."""
    model = network().float()
    x = 100 * draw(1, 3).float()
    metric = read(KFAC(model), model, F.cross_entropy, (x, torch.tensor([1])))
    found = metric.solved(draw(26, seed=4).float(), 1e-16)
    assert torch.isfinite(found).all()


# -- the contract ----------------------------------------------------------------------------


def test_a_closure_and_a_damping_of_nothing_are_refused():
    w = nn.Parameter(torch.ones(2))
    with pytest.raises(OptimizerError, match="bind"):
        StochasticNewton([w]).step(lambda: (w**2).sum())
    with pytest.raises(OptimizerError, match="damping=0"):
        StochasticNewton([w], damping=0)


@pytest.mark.parametrize("size", [9, 600], ids=["all of the batch", "part of the batch"])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, size):
    """To the bit, wherever it stopped between two readings of the metric."""
    whole = network()
    train(whole, StochasticNewton(whole.parameters()), 0, 24, size)
    for stop in (1, 5, 19):
        first = network()
        optimizer = train(first, StochasticNewton(first.parameters()), 0, stop, size)
        torch.save((first.state_dict(), optimizer.state_dict()), tmp_path / "checkpoint.pt")
        weights, state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        second = network(seed=1)
        second.load_state_dict(weights)
        resumed = StochasticNewton(second.parameters())
        resumed.load_state_dict(state)
        train(second, resumed, stop, 24, size)
        assert torch.equal(flat(second), flat(whole)), stop
        assert resumed.record.step == 24


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda two: pickle.loads(pickle.dumps(two))])
def test_copies_go_on_by_themselves(copied):
    whole = network()
    train(whole, StochasticNewton(whole.parameters()), 0, 12)
    model = network()
    optimizer = train(model, StochasticNewton(model.parameters()), 0, 5)
    before = flat(model)
    twin, other = copied((model, optimizer))
    train(twin, other, 5, 12)
    assert torch.equal(flat(twin), flat(whole))
    assert torch.equal(flat(model), before)


def test_a_step_into_infinity_is_taken_back():
    model, batch = network(), batch_of(0)
    before = flat(model)

    def walled(z, y):
        moved = not torch.equal(flat(model), before)
        return F.cross_entropy(z, y) * (torch.nan if moved else 1.0)

    opt = StochasticNewton(model.parameters())
    opt.bind(model, walled, batch).step()
    assert not opt.record.is_accepted
    assert "not finite" in opt.record.reason
    assert opt.record.step_norm == 0
    assert torch.equal(flat(model), before)
    first = opt.record.damping
    opt.bind(model, walled, batch).step()
    assert opt.record.damping > 2 * first
    opt.bind(model, F.cross_entropy, batch).step()
    assert opt.record.is_accepted


def test_a_step_that_ruined_the_next_batch_is_taken_back():
    model = network()
    opt = train(model, StochasticNewton(model.parameters()), 0, 1)
    before, damping = flat(network()), opt.memory["damping"]

    def walled(z, y):
        is_away = not torch.allclose(flat(model), before, rtol=1e-12, atol=1e-14)
        return F.cross_entropy(z, y) * (10.0 if is_away else 1.0)

    opt.bind(model, walled, batch_of(1)).step()
    torch.testing.assert_close(flat(model), before, rtol=1e-12, atol=1e-14)
    assert "taken back" in opt.record.reason
    assert opt.record.is_accepted
    x, y = batch_of(1)
    back = float(F.cross_entropy(network()(x), y).detach())
    assert opt.record.actual_decrease == pytest.approx(opt.record.loss - back)
    assert opt.memory["damping"] > 2 * damping
    # What is just as bad where it came from is no reason to go back.
    here = flat(model)
    opt.bind(model, lambda z, y: 100 * F.cross_entropy(z, y), batch_of(2)).step()
    assert "taken back" not in opt.record.reason
    assert not torch.equal(flat(model), here)


def test_small_batches_do_not_run_away_with_it():
    """Of 64 points of two spirals each is fitted at once, at the cost of all others."""
    problem = two_spirals()
    opt = StochasticNewton(problem.model.parameters())
    batches = problem.minibatches(64, torch.Generator().manual_seed(0))
    for _ in range(300):
        opt.bind(problem.with_data([next(batches)])).step()
    with torch.no_grad():
        loss = problem.evaluate(problem.model, problem.batches[0]).loss
    assert float(loss) < 10


def test_it_does_not_start_where_the_loss_is_not_finite():
    model = network()
    opt = train(model, StochasticNewton(model.parameters()), 0, 2)
    before, state = flat(model), copy.deepcopy(opt.state_dict())
    with pytest.raises(NonFiniteError):
        opt.bind(model, lambda z, y: F.cross_entropy(z, y) / 0.0, batch_of(2)).step()
    assert torch.equal(flat(model), before)
    assert opt.state_dict()["state"][0]["step"] == state["state"][0]["step"]


def test_dropout_is_refused():
    model = nn.Sequential(*network(), nn.Dropout(0.5))
    with pytest.raises(RandomModelError, match="dropout"):
        StochasticNewton(model.parameters()).bind(model, F.cross_entropy, batch_of(0)).step()


def test_an_exception_in_an_attempt_undoes_the_step():
    model = network()
    opt = train(model, StochasticNewton(model.parameters()), 0, 2)
    before = flat(model)

    def interrupted(z, y):
        if not torch.equal(flat(model), before):
            raise KeyboardInterrupt
        return F.cross_entropy(z, y)

    with pytest.raises(KeyboardInterrupt):
        opt.bind(model, interrupted, batch_of(2)).step()
    assert torch.equal(flat(model), before)


def test_rates_scale_the_step_and_a_group_of_rate_zero_stays():
    ends = []
    for lr in (1e-3, 5e-4):
        model = network()
        train(model, StochasticNewton(model.parameters(), lr=lr), 0, 1)
        ends.append(flat(model) - flat(network()))
    torch.testing.assert_close(ends[1], ends[0] / 2, rtol=1e-9, atol=1e-12)
    model = network()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.0}]
    opt = train(model, StochasticNewton(groups, lr=0.5), 0, 2)
    assert torch.equal(flat(model[2]), flat(network()[2]))
    assert not torch.equal(flat(model[0]), flat(network()[0]))
    assert opt.record.second_order_decrease < opt.record.first_order_decrease


def test_the_record_says_what_happened():
    model, batch = network(), batch_of(0)
    _, gradient, ggn = dense(model, F.cross_entropy, batch)
    before = flat(model)
    opt = StochasticNewton(model.parameters())
    loss = opt.bind(model, F.cross_entropy, batch).step()
    step, record = flat(model) - before, opt.record
    after = float(F.cross_entropy(model(batch[0]), batch[1]).detach())
    assert record.loss == float(loss)
    assert record.step_norm == pytest.approx(float(step.norm()))
    assert record.first_order_decrease == pytest.approx(-float(gradient @ step))
    second = -float(gradient @ step + step @ ggn @ step / 2)
    assert record.second_order_decrease == pytest.approx(second)
    assert record.actual_decrease == pytest.approx(float(loss) - after, rel=1e-6)
    assert record.num_products == record.subspace_size == 1
    # Gradient; a forward pass and a tangent; the loss after; the metric: forward, and 2 backward.
    expected = 1 + (1 / 3 + 2 / 3) + 1 / 3 + (1 / 3 + 2 * 2 / 3) + 1 / 3
    assert record.gradient_equivalents == pytest.approx(expected)


def test_of_a_large_batch_only_a_part_is_looked_at_twice():
    model = network()
    opt = train(model, StochasticNewton(model.parameters()), 0, 6, size=6_400)
    # A fiftieth of the batch: a forward pass, two tangents of ⅔, and the loss after.
    assert opt.record.gradient_equivalents == pytest.approx(
        1 + (1 + 4 / 3 + 1 / 3 - 1 / 3 * 2) / 50, rel=0.02
    )


# -- what it reaches -------------------------------------------------------------------------


def test_minibatches_of_a_linear_regression_are_fitted_in_a_few_steps():
    """From a damping of the size of the curvature, and from the first one, which has to fall."""
    x = draw(256, 6)
    target = x @ draw(6, 2, seed=1)
    for settings in ({"damping": 1.0}, {}):
        model = nn.Linear(6, 2).double()
        opt = StochasticNewton(model.parameters(), **settings)
        generator = torch.Generator().manual_seed(0)
        for _ in range(24):
            rows = torch.randperm(256, generator=generator)[:64]
            opt.bind(model, F.mse_loss, (x[rows], target[rows])).step()
        assert float(F.mse_loss(model(x), target).detach()) < 1e-6


def test_the_autoencoder_of_small_curves_leaves_the_mean_image():
    """Where short first steps are all that keeps its logistic units from saturating.

    Adam at 1e-3 is at 8.6 after as many batches.
    """
    problem = small_curves_autoencoder()
    opt = StochasticNewton(problem.model.parameters())
    batches = problem.minibatches(500, torch.Generator().manual_seed(0))
    for _ in range(120):
        opt.bind(problem.with_data([next(batches)])).step()
    images = problem.data
    with torch.no_grad():
        assert squared_error(problem.model(images), images) < 2.0
