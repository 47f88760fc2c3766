"""Every number against the same worked out directly: dense autograd in float64, or by hand."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from loops import batches, classes, draw, network, seeded, sgd, step, watched
from torch import nn
from torch.func import functional_call

from dense import flat
from thalweg import monitor
from thalweg.monitor import Instruments


def loss_of(model, batch):
    """L as a function of one vector of parameters, by hand."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    sizes = [p.numel() for p in model.parameters()]
    x, y = batch

    def loss(vector):
        pieces = vector.split(sizes)
        params = {n: p.reshape(s) for n, p, s in zip(names, pieces, shapes, strict=True)}
        return F.cross_entropy(functional_call(model, params, (x,)), y)

    return loss


def vector_of(model):
    return flat(p.detach() for p in model.parameters())


def gradient_at(loss, vector):
    vector = vector.clone().requires_grad_()
    return torch.autograd.grad(loss(vector), vector)[0]


def hessian_at(loss, vector):
    return torch.autograd.functional.hessian(loss, vector)


@pytest.fixture(scope="module")
def run():
    """Four steps of SGD, watched, and the parameters before and after each by a second run."""
    given = batches()
    model = network()
    places = [vector_of(model)]
    optimizer = sgd(model, momentum=0.5)
    for batch in given:
        step(model, optimizer, batch)
        places.append(vector_of(model))
    again = network()
    watch = watched(again, sgd(again, momentum=0.5), given)
    assert not watch.notes
    return watch, model, given, places


@pytest.mark.parametrize("number", range(4))
def test_losses_and_norms(run, number):
    watch, model, given, places = run
    record = watch.history[number]
    assert record.step == number + 1
    loss, before = loss_of(model, given[number]), places[number]
    gradient, update = gradient_at(loss, before), places[number + 1] - before
    values = record.values
    assert values["loss"] == pytest.approx(float(loss(before)), rel=1e-12)
    assert values["gradient_norm"] == pytest.approx(float(gradient.norm()), rel=1e-12)
    # The first layer has 4·5 + 5 parameters.
    assert values["gradient_norm/0"] == pytest.approx(float(gradient[:25].norm()), rel=1e-12)
    assert values["gradient_norm/2"] == pytest.approx(float(gradient[25:].norm()), rel=1e-12)
    assert values["clipping"] == pytest.approx(1)
    ratio = float(update.norm() / before.norm())
    assert values["update_ratio"] == pytest.approx(ratio, rel=1e-12)
    ratio = float(update[25:].norm() / before[25:].norm())
    assert values["update_ratio/2"] == pytest.approx(ratio, rel=1e-12)
    assert values["lr"] == 0.1
    assert values["non_finite"] == 0


@pytest.mark.parametrize("number", range(4))
def test_the_parabola_along_the_step(run, number):
    """Its slope and curvature are those of dense autograd, up to the third derivative."""
    watch, model, given, places = run
    values = watch.history[number].values
    loss, before = loss_of(model, given[number]), places[number]
    update = places[number + 1] - before
    actual = float(loss(before) - loss(places[number + 1]))
    assert values["actual_decrease"] == pytest.approx(actual, rel=1e-9)
    slope = float(gradient_at(loss, before) @ update)
    curvature = float(update @ hessian_at(loss, before) @ update)
    # ℓ‴ by a difference of curvatures; c is off by ℓ‴(1 + s)/3 and b by half of that, s = 2.
    further = float(update @ hessian_at(loss, before + update) @ update)
    third = 2 * abs(further - curvature)
    square = float(update @ update)
    assert abs(values["step_sharpness"] * square - curvature) < third
    assert abs(-values["predicted_decrease"] - slope) < third / 2
    assert third < 0.5 * abs(slope)  # so that this says something
    ratio = actual / values["predicted_decrease"]
    assert values["decrease_ratio"] == pytest.approx(ratio, rel=1e-9)


def test_the_parabola_of_a_parabola_is_exact():
    model = seeded(lambda: nn.Linear(4, 1).double())
    x, y = draw(16, 4), draw(16, 1, seed=1)
    before = vector_of(model)
    inputs = torch.cat([x, torch.ones(16, 1, dtype=torch.float64)], 1)
    H = 2 * inputs.T @ inputs / 16
    watch = watched(model, sgd(model), [(x, y)], F.mse_loss)
    update = vector_of(model) - before
    rayleigh = float(update @ H @ update / (update @ update))
    values = watch.history[0].values
    assert values["step_sharpness"] == pytest.approx(rayleigh, rel=1e-9)
    assert values["step_sharpness"] <= values["sharpness"] * (1 + 1e-9)
    assert values["predicted_decrease"] == pytest.approx(float(update @ update) / 0.1, rel=1e-9)


def test_the_error_of_the_parabola_covers_rounding():
    """In float32, where a short step drowns in it: the reach grows until it does not."""
    model = network(torch.float32)
    x, y = draw(24, 4, dtype=torch.float32), classes()
    watch = watched(model, sgd(model, lr=1e-3), [(x, y)] * 8)
    loss = loss_of(copy.deepcopy(model).double(), (x.double(), y))
    vector = vector_of(model).double()
    g = gradient_at(loss, vector)
    truth = float(g @ hessian_at(loss, vector) @ g / (g @ g))
    errors = [record.values["step_sharpness_error"] for record in watch.history]
    assert errors[-1] < errors[0] / 4
    for record in watch.history[-3:]:
        off = abs(record.values["step_sharpness"] - truth)
        assert off <= record.values["step_sharpness_error"] + 0.1 * abs(truth)


def test_sharpness_follows_the_largest_eigenvalue(run):
    """On the first batch, which curvature is read on; momentum ½ bears (2 + 2·½)/η."""
    watch, model, given, places = run
    loss = loss_of(model, given[0])
    for record, place in zip(watch.history, places[1:], strict=True):
        top = float(torch.linalg.eigvalsh(hessian_at(loss, place))[-1])
        values = record.values
        assert values["sharpness"] <= top * (1 + 1e-9)
        assert values["sharpness"] == pytest.approx(top, rel=0.05)
        assert values["stability_limit"] == pytest.approx(3 / 0.1)
        assert values["stability_ratio"] == pytest.approx(values["sharpness"] / 30)


def test_sharpness_of_adam_is_that_of_the_preconditioned_hessian():
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-3)
    watch = watched(model, optimizer, [batches()[0]] * 12)
    roots = [
        (optimizer.state[p]["exp_avg_sq"] / (1 - 0.999**12)).sqrt() + 1e-3
        for p in model.parameters()
    ]
    D = flat(roots).rsqrt()
    H = hessian_at(loss_of(model, batches()[0]), vector_of(model))
    top = float(torch.linalg.eigvalsh(D[:, None] * H * D)[-1])
    values = watch.history[-1].values
    assert values["preconditioned_sharpness"] == pytest.approx(top, rel=0.05)
    assert values["stability_limit"] == pytest.approx(38 / 1e-3)
    assert "sharpness" not in values


def test_another_eigenvalue_that_grows_past_is_found():
    """ℓ = ½(a u² + b v²) on the data; the follower sits on u, then v becomes the sharper."""

    class Valley(nn.Module):
        def __init__(self):
            super().__init__()
            self.theta = nn.Parameter(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
            self.register_buffer("scale", torch.tensor([4.0, 1.0, 0.5], dtype=torch.float64))

        def forward(self, x):
            return x + (self.scale * self.theta**2).sum() / 2

    model = Valley()
    data = torch.zeros(1, 1, dtype=torch.float64)

    def mean(output, target):
        return output.mean()

    optimizer = sgd(model, lr=1e-6)
    with monitor.Monitor(
        model, mean, optimizer, instruments=monitor.full(), every=1, overhead=math.inf
    ) as watch:
        for i in range(40):
            if i == 4:
                model.scale[1] = 9.0
            watch.see((data, data))
            optimizer.zero_grad()
            mean(model(data), data).backward()
            optimizer.step()
    sharpness = [record.values["sharpness"] for record in watch.history]
    assert sharpness[3] == pytest.approx(4)
    assert sharpness[-1] == pytest.approx(9)


def test_trace_and_index(run):
    watch, model, given, places = run
    loss = loss_of(model, given[0])
    for record, place in zip(watch.history, places[1:], strict=True):
        eigenvalues = torch.linalg.eigvalsh(hessian_at(loss, place))
        values = record.values
        assert abs(values["trace"] - float(eigenvalues.sum())) < 12.7 * values["trace_error"]
        negative = float((eigenvalues < -1e-3 * eigenvalues.abs().max()).double().mean())
        assert values["negative_share_low"] <= negative <= values["negative_share_high"]


def test_alignment_and_where_the_sharpness_sits(run):
    watch, model, given, places = run
    loss = loss_of(model, given[0])
    record, batch = watch.history[-1], given[-1]
    _, vectors = torch.linalg.eigh(hessian_at(loss, places[-1]))
    v, g = vectors[:, -1], gradient_at(loss_of(model, batch), places[-2])
    share = float((g @ v) ** 2 / (g @ g))
    assert record.values["alignment"] == pytest.approx(share, abs=0.05)
    assert record.values["sharpest_share/0"] == pytest.approx(float(v[:25].square().sum()), abs=0.1)
    shares = [v for k, v in record.values.items() if k.startswith("sharpest_share/")]
    assert sum(shares) == pytest.approx(1)


def test_noise_is_the_share_of_chance_in_two_gradients(run):
    watch, model, given, places = run
    g = [gradient_at(loss_of(model, b), p) for b, p in zip(given, places, strict=False)]
    # Readings at every step: 1 and 2 are a pair, then 3 and 4.
    share = weight = 0.0
    for a, b in ((g[0], g[1]), (g[2], g[3])):
        share = 0.7 * share + 0.3 * float(2 * a @ b / (a @ a + b @ b))
        weight = 0.7 * weight + 0.3
    s = share / weight
    assert watch.history[-1].values["noise_to_signal"] == pytest.approx((1 - s) / s, rel=1e-5)


def test_noise_is_the_known_one_on_average():
    """Gradients N(G, σ²): tr Σ/‖G‖² = 2 for n = 50, σ = 0.4 and ‖G‖² = 4."""
    theta = nn.Parameter(torch.zeros(50, dtype=torch.float64))
    model = nn.ParameterList([theta])
    optimizer = torch.optim.SGD([theta], lr=0.0)
    instruments = Instruments("noise", (monitor.Noise(),), 0.02)
    generator = torch.Generator().manual_seed(0)
    with monitor.Monitor(
        model, None, optimizer, instruments=instruments, every=2, overhead=math.inf
    ) as watch:
        for _ in range(400):
            noise = 0.4 * torch.randn(50, generator=generator, dtype=torch.float64)
            theta.grad = noise + 2 / math.sqrt(50)
            optimizer.step()
    assert not watch.notes
    found = [r.values["noise_to_signal"] for r in watch.history if "noise_to_signal" in r.values]
    assert len(found) > 190
    # Of about 200 running means of some five readings each: 5 % and the bias of a ratio.
    assert sorted(found)[len(found) // 2] == pytest.approx(2, rel=0.15)


def test_dead_units_are_those_without_gradient_at_eight_readings():
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double())
    with torch.no_grad():
        model[0].bias[:2] = -100.0
    watch = watched(model, sgd(model, lr=1e-3), batches(9), instruments=monitor.cheap())
    assert "dead/0" not in watch.history[6].values
    assert watch.history[7].values["dead/0"] == pytest.approx(2 / 6)
    assert watch.history[7].values["dead/2"] == 0


def test_dead_channels_of_a_convolution():
    model = seeded(
        lambda: nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).double()
    )
    with torch.no_grad():
        model[0].bias[1] = -100.0
    given = [(draw(8, 1, 4, seed=i), classes(8, seed=i)) for i in range(8)]
    watch = watched(model, sgd(model, lr=1e-3), given, instruments=monitor.cheap())
    assert watch.history[7].values["dead/0"] == pytest.approx(1 / 4)


@pytest.mark.parametrize(("kind", "scale"), [(nn.Tanh, 30.0), (nn.Sigmoid, 30.0), (nn.Tanh, 0.1)])
def test_saturated_entries_are_counted_by_the_slope(kind, scale):
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 5), kind(), nn.Linear(5, 3)).double())
    with torch.no_grad():
        model[0].weight.mul_(scale)
    given = batches(1)
    x = given[0][0]
    z = (x @ model[0].weight.T + model[0].bias).detach().requires_grad_()
    (slope,) = torch.autograd.grad(kind()(z).sum(), z)
    largest = 1.0 if kind is nn.Tanh else 0.25
    expected = float((slope < 0.01 * largest).double().mean())
    watch = watched(model, sgd(model), given)
    assert watch.history[0].values["saturated/1"] == pytest.approx(expected)
