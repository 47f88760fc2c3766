"""Every alert in a training that has the ailment, and a twin that has not."""

import math

import pytest
import torch
import torch.nn.functional as F
from loops import batches, classes, draw, network, seeded, sgd, step, watched
from torch import nn

from thalweg import Monitor, monitor
from thalweg.monitor import Record
from thalweg.monitor._rules import Watch

CHEAP = {"every": 1, "overhead": math.inf}


def ailments(watch):
    return [alert.ailment for alert in watch.alerts]


def deep(activation, scale=None, depth=12):
    """`depth` layers of eight units, weights scaled."""

    def build():
        layers = [nn.Linear(4, 8), activation()]
        for _ in range(depth - 2):
            layers += [nn.Linear(8, 8), activation()]
        return nn.Sequential(*layers, nn.Linear(8, 3)).double()

    model = seeded(build)
    if scale is not None:
        with torch.no_grad():
            for module in model:
                if isinstance(module, nn.Linear):
                    nn.init.orthogonal_(module.weight, scale, torch.Generator().manual_seed(0))
    return model


def test_vanishing_gradients_are_told_with_the_layers():
    model = deep(nn.Sigmoid)
    watch = watched(model, sgd(model), batches(5), instruments=monitor.cheap())
    assert ailments(watch) == ["vanishing gradient"]
    (alert,) = watch.alerts
    assert alert.step == 3
    assert alert.layers[0] == "0"
    assert "20" not in alert.layers
    twin = deep(nn.Tanh, 1.0)
    assert not watched(twin, sgd(twin), batches(5), instruments=monitor.cheap()).alerts


def test_exploding_gradients():
    model = network()
    optimizer = sgd(model)
    with Monitor(model, F.cross_entropy, optimizer, instruments=monitor.cheap(), **CHEAP) as watch:
        for i, (x, y) in enumerate(batches(10)):
            scale = 1e4 if i == 8 else 1.0
            optimizer.zero_grad()
            (scale * F.cross_entropy(model(x), y)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    assert ailments(watch) == ["exploding gradient"]
    assert watch.alerts[0].step == 9


def test_a_learning_rate_past_the_limit_that_lifts_the_loss():
    x, y = draw(24, 4), draw(24, 1, seed=1)
    models = [seeded(lambda: nn.Linear(4, 1).double()) for _ in range(2)]
    inputs = torch.cat([x, torch.ones(24, 1, dtype=torch.float64)], 1)
    limit = 2 / float(torch.linalg.eigvalsh(2 * inputs.T @ inputs / 24)[-1])
    for model, factor in zip(models, (1.5, 0.9), strict=True):
        watch = watched(model, sgd(model, lr=factor * limit), [(x, y)] * 12, F.mse_loss)
        told = [a for a in watch.alerts if a.ailment == "learning rate too large"]
        assert bool(told) == (factor > 1)
        if told:
            assert told[0].evidence["sharpness over limit"] == pytest.approx(1.5, rel=0.05)


def test_a_loss_that_leaves_its_scale():
    x, y = draw(24, 4), draw(24, 1, seed=1)
    for lr, is_told in ((1.6, True), (0.3, False)):  # stable below 0.58
        model = seeded(lambda: nn.Linear(4, 1).double())
        optimizer = sgd(model, lr=lr)
        watch = watched(model, optimizer, [(x, y)] * 5, F.mse_loss, instruments=monitor.cheap())
        assert bool(watch.alerts) == is_told
        if is_told:
            assert watch.alerts[0].ailment == "learning rate too large"
            assert (
                watch.alerts[0].evidence["loss now"]
                > 10 * watch.alerts[0].evidence["loss at first"]
            )


def test_layers_that_get_no_gradient_at_all():
    """All units of the first are dead: the second learns its bias alone."""
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double())
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    watch = watched(model, sgd(model), batches(4), instruments=monitor.cheap())
    assert ailments(watch) == ["vanishing gradient"]
    assert watch.alerts[0].layers == ("0",)


def test_steps_as_large_as_the_weights():
    for lr, is_told in ((100.0, True), (0.1, False)):
        model = network()
        watch = watched(model, sgd(model, lr=lr), batches(5), instruments=monitor.cheap())
        assert ("learning rate too large" in ailments(watch)) == is_told


def test_steps_that_rounding_swallows():
    for lr, is_told in ((1e-9, True), (0.0, False), (0.1, False)):
        model = network()
        watch = watched(model, sgd(model, lr=lr), batches(5), instruments=monitor.cheap())
        assert ("no progress" in ailments(watch)) == is_told


def test_dead_units():
    for bias, is_told in ((-100.0, True), (0.0, False)):
        model = seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double())
        with torch.no_grad():
            model[0].bias[:4] = bias
        watch = watched(model, sgd(model), batches(9), instruments=monitor.cheap())
        assert ailments(watch) == (["dead units"] if is_told else [])
        if is_told:
            assert watch.alerts[0].sentence.startswith("67 % of the units of 0")


def test_saturated_units():
    for scale, is_told in ((1000.0, True), (1.0, False)):
        model = network()
        with torch.no_grad():
            model[0].weight.mul_(scale)
        watch = watched(model, sgd(model, lr=1e-4), batches(6), instruments=monitor.cheap())
        assert ("saturated units" in ailments(watch)) == is_told


def test_a_loss_that_does_not_fall():
    """Labels that nothing can be learned from, at steps that lead nowhere."""
    for lr, is_told in ((-0.01, True), (0.1, False)):
        model = network()
        batch = (draw(24, 4), classes())
        optimizer = sgd(model, lr=abs(lr), maximize=lr < 0)
        watch = watched(model, optimizer, [batch] * 24, instruments=monitor.cheap())
        assert ("no progress" in ailments(watch)) == is_told


def record(step, **values):
    return Record(step, values, (), 0.0, 0.0)


def test_an_ailment_is_told_again_only_after_it_has_been_away():
    watch, records, told = Watch(), [], []
    for i in range(1, 101):
        is_ill = i <= 20 or i == 40 or i > 80
        records.append(record(i, loss=math.nan if is_ill else 1.0))
        told += [alert.step for alert in watch.alerts(records)]
    assert told == [1, 81]


def test_a_layer_that_starts_at_zero_is_not_accused():
    """The others get no gradient at the first step, and then they do."""
    model = deep(nn.Tanh, 1.0, depth=4)
    nn.init.zeros_(model[-1].weight)
    optimizer = sgd(model)
    with Monitor(model, F.cross_entropy, optimizer, instruments=monitor.cheap(), **CHEAP) as watch:
        for batch in batches(6):
            watch.see(batch)
            step(model, optimizer, batch)
    assert not watch.alerts
