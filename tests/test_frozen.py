"""Batch statistics and dropout masks held: against the same written out by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dense
from problems import Known, affine, cut, draw, draw_classes, initialised, squares
from thalweg import Problem, ProblemError, RandomModelError, Surface
from traces import assert_no_trace, trace_of

TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def normalised_net(**settings):
    return initialised(
        nn.Sequential(
            nn.Linear(3, 4),
            nn.BatchNorm1d(4, **settings),
            nn.Tanh(),
            nn.Linear(4, 3),
            nn.BatchNorm1d(3, **settings),
            nn.Linear(3, 2),
        )
    )


def normalised(**settings) -> Known:
    """Two layers, in training mode; by hand, with the statistics of all data as constants."""
    x, y = draw(7, 3), draw(7, 2, seed=1)
    model = normalised_net(**settings)
    problem = Problem(model, F.mse_loss, (x, y))

    def layer(p, name, h, constants):
        mean, variance = constants
        return (h - mean) / (variance + 1e-5).sqrt() * p[f"{name}weight"] + p[f"{name}bias"]

    def statistics(h):
        return h.mean(0), (h - h.mean(0)).square().mean(0)

    p = {n: t.detach().clone() for n, t in model.named_parameters()}
    first = statistics(affine(p, "0.", x))
    second = statistics(affine(p, "3.", layer(p, "1.", affine(p, "0.", x), first).tanh()))

    def output(p):
        h = layer(p, "1.", affine(p, "0.", x), first).tanh()
        return affine(p, "5.", layer(p, "4.", affine(p, "3.", h), second))

    return Known(problem, output, squares(y))


SETTINGS = {"usual": {}, "untracked": {"track_running_stats": False}, "momentum": {"momentum": 0.9}}


@pytest.mark.parametrize("sizes", [(7,), (5, 2), (2, 2, 3)])
@pytest.mark.parametrize("settings", SETTINGS)
def test_statistics_are_those_of_all_data_whatever_the_batches(settings, sizes, unchecked):
    known = normalised(**SETTINGS[settings])
    data = cut(known.problem.data, *sizes)
    problem = known.problem.with_data(data) if len(data) > 1 else known.problem
    owned = (problem.model, problem.data)
    before = trace_of(*owned)
    frozen = problem.with_frozen_statistics()
    point = Surface(frozen).here()
    tensors = dense.leaves(known.problem)
    assert point.value == pytest.approx(known.plain(tensors).item(), rel=1e-12)
    slope = dense.gradient(known.plain, known.problem)
    torch.testing.assert_close(point.gradient_vector, slope, **TIGHT)
    torch.testing.assert_close(
        point.hessian().to_dense(), dense.hessian(known.plain, known.problem), **TIGHT
    )
    J = dense.jacobian(known.output, known.problem)
    torch.testing.assert_close(point.ggn().to_dense(), 2 * J.T @ J / 14, **TIGHT)
    small = Surface(frozen.in_microbatches(3)).here()
    torch.testing.assert_close(small.gradient_vector, slope, **TIGHT)
    assert_no_trace(before, *owned)


def test_the_value_is_that_of_training_mode_and_parameters_are_followed():
    known = normalised()
    frozen = known.problem.with_frozen_statistics()
    x, y = known.problem.data
    trained = F.mse_loss(normalised_net()(x), y).item()
    surface = Surface(frozen)
    assert surface.here().value == pytest.approx(trained, rel=1e-12)
    with torch.no_grad():
        known.problem.model[5].bias.add_(1.0)
    params = {n: t.detach() for n, t in known.problem.model.named_parameters()}
    assert surface.here().value == pytest.approx(known.plain(params).item(), rel=1e-12)


@pytest.mark.parametrize("sizes", [(7,), (4, 3)])
def test_channels_of_images(sizes):
    x, y = draw(7, 2, 4, 4), draw_classes(3, 7)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, affine=False), nn.Flatten(), nn.Linear(12, 3)
    )
    problem = Problem(initialised(model), F.cross_entropy, (x, y))
    h = model[0](x).detach()
    mean = h.mean((0, 2, 3), keepdim=True)
    std = ((h - mean).square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    z = model[3](((h - mean) / std).flatten(1))
    frozen = problem.with_data(cut(problem.data, *sizes)).with_frozen_statistics()
    value = F.cross_entropy(z, y).item()
    assert Surface(frozen).here().value == pytest.approx(value, rel=1e-12)


def test_a_layer_in_two_places_is_refused_and_one_that_never_runs_is_left():
    norm = nn.BatchNorm1d(3)
    model = initialised(nn.Sequential(norm, nn.Linear(3, 3), norm))
    data = (draw(7, 3), draw(7, 3))
    with pytest.raises(ProblemError, match=r"'0' \(BatchNorm1d\) runs more than once.*eval_mode"):
        Problem(model, F.mse_loss, data).with_frozen_statistics()
    plain = Problem(initialised(nn.Linear(3, 3)), F.mse_loss, data)
    assert Surface(plain.with_frozen_statistics()).here().value == Surface(plain).here().value


def test_dropout_must_be_frozen_first(generator):
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 2))
    problem = Problem(initialised(model), F.mse_loss, (draw(7, 3), draw(7, 2)))
    with pytest.raises(RandomModelError, match=r"'1' \(Dropout\).*with_frozen_dropout\(generator"):
        problem.with_frozen_statistics()
    both = problem.with_frozen_dropout(generator).with_frozen_statistics()
    assert Surface(both).here().value > 0
    with pytest.raises(RandomModelError, match=r"'2' \(BatchNorm1d\).*with_frozen_statistics\(\)"):
        Surface(problem.with_frozen_dropout(generator))


# -- dropout --------------------------------------------------------------------------------


def thinned(rate=0.5):
    model = nn.Sequential(nn.Linear(3, 40), nn.Tanh(), nn.Dropout(rate), nn.Linear(40, 2))
    return Problem(initialised(model), F.mse_loss, (draw(7, 3), draw(7, 2, seed=1)))


def frozen_by(problem, seed=0):
    return problem.with_frozen_dropout(torch.Generator().manual_seed(seed))


def units_kept(frozen):
    """Which units still reach the output, read from their gradients."""
    return Surface(frozen).here().gradient["3.weight"].abs().sum(0) > 0


def test_it_is_the_network_without_the_dropped_units(unchecked):
    problem = thinned()
    owned = (problem.model, problem.data)
    before = trace_of(*owned)
    frozen = frozen_by(problem)
    point = Surface(frozen).here()
    kept = units_kept(frozen)
    assert 10 < int(kept.sum()) < 30
    x, y = problem.data

    def plain(p):
        h = affine(p, "0.", x).tanh() * kept * 2
        return squares(y)(affine(p, "3.", h))

    tensors = dense.leaves(problem)
    assert point.value == pytest.approx(plain(tensors).item(), rel=1e-12)
    H = dense.hessian(plain, problem)
    torch.testing.assert_close(point.hessian().to_dense(), H, **TIGHT)
    assert_no_trace(before, *owned)


def test_the_generator_draws_the_mask_and_batches_do_not():
    problem = thinned()
    assert torch.equal(units_kept(frozen_by(problem)), units_kept(frozen_by(problem)))
    assert not torch.equal(units_kept(frozen_by(problem)), units_kept(frozen_by(problem, 1)))
    one = frozen_by(problem)
    value = Surface(one).here().value
    cut_up = one.with_data(cut(problem.data, 5, 2))
    assert Surface(cut_up).here().value == pytest.approx(value, rel=1e-12)
    assert Surface(one.in_microbatches(2)).here().value == pytest.approx(value, rel=1e-12)


def test_units_are_kept_with_probability_1_minus_p():
    """Of 60 × 40 units at p = 0.3: a standard deviation of 0.0094."""
    shares = [units_kept(frozen_by(thinned(0.3), s)).double().mean().item() for s in range(60)]
    assert sum(shares) / 60 == pytest.approx(0.7, abs=4 * 0.0094)


KINDS = {
    "Dropout": (nn.Dropout(0.4), False),
    "Dropout1d": (nn.Dropout1d(0.4), True),
    "AlphaDropout": (nn.AlphaDropout(0.4), False),
    "FeatureAlphaDropout": (nn.FeatureAlphaDropout(0.4), True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_dropped_is_what_torch_drops(kind):
    """The two values that a unit can take are torch's, and whole channels go where they should."""
    module, is_by_channel = KINDS[kind]
    model = nn.Sequential(module)
    model.register_parameter("scale", nn.Parameter(torch.ones(())))
    held = Problem(model, F.mse_loss, draw(3, 6, 5)).with_frozen_dropout(
        torch.Generator().manual_seed(0)
    )
    ones = torch.ones(3, 6, 5, dtype=torch.float64)
    z = held.model(ones)
    torch.manual_seed(0)
    expected = module(torch.ones(40, 6, 5, dtype=torch.float64)).unique()
    torch.testing.assert_close(z.unique(), expected, rtol=1e-6, atol=1e-7)
    assert torch.equal(z, z[:1].expand_as(z))
    assert torch.equal(z[0], z[0][:, :1].expand(6, 5)) == is_by_channel


@pytest.mark.parametrize(
    "module", [nn.LSTM(3, 2, num_layers=2, dropout=0.1), nn.MultiheadAttention(2, 1, dropout=0.1)]
)
def test_dropout_inside_of_other_modules_is_still_refused_by_name(module, generator):
    model = nn.Sequential(nn.Linear(3, 2), module)
    problem = Problem(model, F.mse_loss, (draw(7, 3), draw(7, 2))).with_frozen_dropout(generator)
    with pytest.raises(RandomModelError, match=r"'1' \(\w+\) drops .*in_eval_mode\(\)$"):
        Surface(problem)
