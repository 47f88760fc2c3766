"""Equal units: which may change places, their subspace, and the saddles found within it."""

import pytest
import torch
from torch import nn

from thalweg import Problem, ThalwegError, find_critical, problems
from thalweg.critical import (
    GradientTrustRegion,
    MergedUnits,
    Status,
    SymmetricDescent,
    Trajectories,
)
from thalweg.critical._ground import Ground
from thalweg.critical._hidden_units import EqualUnits, exchangeable


def drawn_problem(model, x_shape, y_shape):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(x_shape, generator=generator, dtype=torch.float64)
    y = torch.randn(y_shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return Problem(model.double(), nn.functional.mse_loss, (x, y))


class Lopsided(nn.Module):
    """Its hidden units are told apart by their position."""

    def __init__(self):
        super().__init__()
        self.lower, self.upper = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.upper(torch.tanh(self.lower(x)) * torch.arange(1.0, 5.0, dtype=x.dtype))


def dense():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2))


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 4, 2), nn.GroupNorm(1, 4), nn.Tanh(),
        nn.Conv2d(4, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def flattened():
    return nn.Sequential(nn.Conv2d(1, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(27, 2))


class Recurrent(nn.Module):
    """Reads a sequence, and answers from the last state."""

    def __init__(self, kind, **settings):
        super().__init__()
        self.memory = kind(2, 3, batch_first=True, **settings)
        self.head = nn.Linear(6 if settings.get("bidirectional") else 3, 1)

    def forward(self, x):
        return self.head(self.memory(x)[0][:, -1])


SERIES = ((5, 4, 2), (5, 1))


@pytest.mark.parametrize(
    ("model", "shapes", "found"),
    [
        (flattened(), ((5, 1, 4, 4), (5, 2)), [("0", 3)]),
        (Recurrent(nn.GRU), SERIES, [("memory", 3)]),
        (Recurrent(nn.RNN, bias=False), SERIES, [("memory", 3)]),
        (Recurrent(nn.LSTM, num_layers=2), SERIES, [("memory", 3), ("memory", 3)]),
        (Recurrent(nn.GRU, bidirectional=True), SERIES, []),
        (dense(), ((5, 3), (5, 2)), [("0", 4), ("2", 3)]),
        (convolutional(), ((5, 1, 4, 4), (5, 2)), [("0", 4)]),
        (Lopsided(), ((5, 3), (5, 2)), []),
        (nn.Sequential(nn.Linear(3, 2)), ((5, 3), (5, 2)), []),
    ],
)
def test_which_units_may_change_places(model, shapes, found):
    layers = exchangeable(Ground(drawn_problem(model, *shapes)))
    assert [(layer.name, layer.num_units) for layer in layers] == found


@pytest.mark.parametrize(
    ("model", "shapes"),
    [(flattened(), ((5, 1, 4, 4), (5, 2))), (Recurrent(nn.LSTM, num_layers=2), SERIES)],
)
def test_the_gradient_keeps_flattened_and_recurrent_units_equal(model, shapes):
    ground = Ground(drawn_problem(model, *shapes))
    layers = exchangeable(ground)
    space = EqualUnits.of(ground.layout, layers, [torch.tensor([0, 1, 0]) for _ in layers])
    z = torch.randn(space.dimension, generator=torch.Generator().manual_seed(1)).double()
    place = ground.at(space.outside(z))
    for layer in layers:
        first, _, third = layer.units(ground.layout, place.vector)
        assert torch.equal(first.sort().values, third.sort().values)
    inside = space.outside(space.inside(place.gradient))
    torch.testing.assert_close(inside, place.gradient, atol=1e-12, rtol=1e-10)


def test_held_parameters_hold_their_units_apart():
    ground = Ground(drawn_problem(dense(), (5, 3), (5, 2)), ("0.*",))
    assert exchangeable(ground) == ()


def test_the_gradient_at_equal_units_is_that_of_equal_units(generator):
    ground = Ground(drawn_problem(dense(), (9, 3), (9, 2)))
    layers = exchangeable(ground)
    space = EqualUnits.of(
        ground.layout, layers, [torch.tensor([0, 1, 0, 0]), torch.tensor([0, 1, 1])]
    )
    # 2 of 4 and 2 of 3 units apart: a network 3-2-2-2.
    assert space.dimension == 3 * 2 + 2 + 2 * 2 + 2 + 2 * 2 + 2
    z = torch.randn(space.dimension, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(space.inside(space.outside(z)), z)
    place = ground.at(space.outside(z))
    torch.testing.assert_close(space.outside(space.inside(place.gradient)), place.gradient)
    # Not so for a random direction, and equal units are recognised.
    other = torch.randn(ground.size, generator=generator, dtype=torch.float64)
    assert float((space.outside(space.inside(other)) - other).norm()) > 1
    assert EqualUnits.at(ground, place).dimension == space.dimension


def test_a_basis_within_the_subspace_is_that_of_the_dense_hessian(generator):
    ground = Ground(drawn_problem(dense(), (9, 3), (9, 2)), weight_decay=0.3)
    space = EqualUnits.of(ground.layout, exchangeable(ground)[:1], [torch.tensor([0, 0, 1, 1])])
    place = ground.here()
    B = space.outside(torch.eye(space.dimension, dtype=torch.float64))
    names = list(place.point.params)

    def loss(flat):
        params = ground.layout.unflatten(flat)
        model = place.point.problem.model
        (x, y) = place.point.problem.batches[0]
        out = torch.func.functional_call(model, {name: params[name] for name in names}, (x,))
        return nn.functional.mse_loss(out, y) + 0.15 * flat @ flat

    H = torch.autograd.functional.hessian(loss, place.vector)
    expected = torch.linalg.eigvalsh(B.T @ H @ B)
    torch.testing.assert_close(ground.basis(place, space).values, expected)
    torch.testing.assert_close(ground.basis(place).values, torch.linalg.eigvalsh(H))
    theta = place.vector.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(theta), theta)
    torch.testing.assert_close(place.gradient, gradient)
    v = torch.randn(ground.size, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(ground.hessian(place) @ v, H @ v)


@pytest.fixture(scope="module")
def digits():
    return find_critical(
        problems.pooled_classifier(4, 60), 12, starts=Trajectories(max_steps=200),
        weight_decay=1e-3, max_gradients=20_000,
    )  # fmt: skip


def test_saddles_of_a_nonlinear_network_are_proved(digits):
    assert digits.solver == SymmetricDescent().name
    assert digits.count(Status.CERTIFIED) == 12
    assert all(point.gradient_square < 1e-20 for point in digits.points)
    assert all(point.certificate.kind == "proved" for point in digits.points)
    assert len({point.index for point in digits.points}) >= 3


def test_each_point_is_critical_by_autograd_and_its_index_that_of_the_dense_hessian(digits):
    problem = problems.pooled_classifier(4, 60)
    ((x, y),) = problem.batches
    layout = Ground(problem).layout
    for point in digits.orbits:
        theta = point.params.clone().requires_grad_()

        def loss(flat):
            params = layout.unflatten(flat)
            out = torch.func.functional_call(problem.model, params, (x,))
            return nn.functional.mse_loss(out, y) + 0.5e-3 * flat @ flat

        (gradient,) = torch.autograd.grad(loss(theta), theta)
        assert float(gradient.norm()) < 1e-10
        assert point.value == pytest.approx(float(loss(theta.detach())))
        assert point.data_loss == pytest.approx(
            point.value - 0.5e-3 * float(theta.detach() @ theta.detach())
        )
        H = torch.autograd.functional.hessian(loss, theta.detach())
        assert point.index == int((torch.linalg.eigvalsh(H) < 0).sum())


def test_fewer_units_apart_leave_more_loss_and_a_higher_index(digits):
    by_units = {}
    for point in digits.points:
        apart = int(point.start.source.split("; ")[1].split(" of ")[0])
        by_units.setdefault(apart, []).append(point)
    most = {apart: max(p.index for p in points) for apart, points in by_units.items()}
    assert most[min(most)] > most[max(most)]
    assert min(p.value for p in by_units[min(most)]) > min(p.value for p in by_units[max(most)])


def test_all_units_apart_end_in_a_minimum():
    found = find_critical(
        problems.pooled_classifier(3, 40), 2, starts=Trajectories(max_steps=100, noise=0),
        solver=SymmetricDescent(), weight_decay=1e-2,
    )  # fmt: skip
    assert [point.index for point in found.points] == [0, 0]
    assert all(point.is_certified for point in found.points)


def test_a_walk_that_runs_off_says_so_and_names_the_way_out():
    """One sigmoid unit under a target that it reaches in the limit only."""
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    problem = drawn_problem(nn.Sequential(nn.Linear(1, 1), nn.Sigmoid()), (2, 1), (2, 1))
    problem = Problem(problem.model, nn.functional.mse_loss, (x, (x + 1) / 2))
    (point,) = find_critical(
        problem, 1, starts=Trajectories(max_steps=1), solver=SymmetricDescent(), max_gradients=3000,
        tol=1e-30,
    ).points  # fmt: skip
    assert point.status is not Status.CERTIFIED
    assert "infinity" in point.reason or "weight decay" in point.reason
    (held,) = find_critical(
        problem, 1, starts=Trajectories(max_steps=1), solver=SymmetricDescent(), weight_decay=1e-3
    ).points
    assert held.is_certified


def test_linear_networks_keep_the_solver_that_climbs():
    found = find_critical(problems.linear_autoencoder((3.0, 2.0, 1.0), 2), 1)
    assert found.solver == GradientTrustRegion().name


def test_results_do_not_depend_on_the_number_of_processes_nor_on_interruption(tmp_path):
    def search(**how):
        return find_critical(
            problems.pooled_classifier(3, 30), 4, starts=Trajectories(max_steps=50),
            weight_decay=1e-2, **how,
        )  # fmt: skip

    alone = search()
    for other in (search(num_processes=2), search(resume=tmp_path / "w.npz"),
                  search(resume=tmp_path / "w.npz")):  # fmt: skip
        for one, two in zip(alone.points, other.points, strict=True):
            assert torch.equal(one.params, two.params)
            assert one.data_loss == two.data_loss


def test_another_weight_decay_is_another_search(tmp_path):
    problem = problems.pooled_classifier(2, 20)
    starts = Trajectories(max_steps=20)
    find_critical(problem, 1, starts=starts, weight_decay=1e-2, resume=tmp_path / "w.npz")
    with pytest.raises(ThalwegError, match="keeps another search"):
        find_critical(problem, 1, starts=starts, weight_decay=1e-3, resume=tmp_path / "w.npz")


@pytest.mark.parametrize("weight_decay", [-1e-4, float("nan"), float("inf")])
def test_refuses_a_weight_decay_that_is_none(weight_decay):
    with pytest.raises(ThalwegError, match=r"weight_decay=.*give 0, or a small positive number"):
        find_critical(problems.quadratic_saddle(), 1, weight_decay=weight_decay)


def test_refuses_to_merge_units_where_there_are_none():
    with pytest.raises(ThalwegError, match=r"no hidden units that may change places.*Trajectories"):
        find_critical(problems.quadratic_saddle(), 1, starts=MergedUnits())
