"""Recipes as others write them: modules in any order, a step with a mode of its own, bad luck."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import inf, log, nan

import pytest
import torch
import torch.nn.functional as F
from test_mended_recipes import pasted, regression, table, unread, watched
from test_remedies import applied, readings_of
from torch import nn

import thalweg
from networks import adam, classify, clusters, curve, dense, examined, regress, seeded, sgd
from thalweg import Problem
from thalweg.doctor import Ailment
from thalweg.doctor._outlying import WILD
from thalweg.doctor._outlying import distances as distances_of
from thalweg.doctor._probe import Probe
from thalweg.doctor._sample import Sample
from thalweg.doctor._scheduled import yet_to_rise
from thalweg.doctor.findings._inputs import outlying
from thalweg.doctor.remedies import NotApplicable, any_remedy
from thalweg.doctor.remedies._activation import relu_for_others, relu_for_sigmoid
from thalweg.doctor.remedies._initialisation import edge_of_chaos
from thalweg.doctor.remedies._last_activation import last_activation_of
from thalweg.doctor.remedies._learning_rate import lr_of_the_mean
from thalweg.doctor.remedies._missing import dropped_rows, filled_inputs
from thalweg.doctor.remedies._output import (
    loss_of_logits,
    squashed,
    without_last_activation,
)
from thalweg.doctor.remedies._own_initialisation import sound_reset
from thalweg.doctor.remedies._range_test import lr_of_range_test
from thalweg.doctor.remedies._settings import usual_momentum
from thalweg.doctor.remedies._step import in_training_mode
from thalweg.doctor.remedies._targets import targets_within_reach
from thalweg.doctor.remedies._widening import widened


def found(problem, budget="2000g"):
    return [finding.ailment for finding in examined(problem, budget).findings]


# -- the last activation --------------------------------------------------------------------


class Declared(nn.Module):
    """Its activation is declared last, as in most tutorials, wherever it runs."""

    def __init__(self, ends_in_it):
        super().__init__()
        self.entry, self.head, self.act = nn.Linear(8, 6), nn.Linear(6, 1), nn.ReLU()
        self.ends_in_it = ends_in_it

    def forward(self, x):
        x = self.head(self.act(self.entry(x)))
        return self.act(x) if self.ends_in_it else x


def test_an_activation_that_is_declared_last_and_runs_before_is_not_the_last():
    x, _ = table()
    model = seeded(lambda: Declared(False))
    problem = regression(x, (x[:, :1] > 0).double(), model, F.binary_cross_entropy)
    assert last_activation_of(problem) is None
    assert isinstance(without_last_activation(unread(problem)), NotApplicable)
    # So the loss of logits is not in its way.
    healed = applied(loss_of_logits(unread(problem)), problem)
    assert healed.loss is F.binary_cross_entropy_with_logits


def test_of_an_activation_that_serves_twice_the_last_call_alone_is_taken_out():
    x, y = table()
    problem = regression(x, y, seeded(lambda: Declared(True)))
    healed = applied(without_last_activation(unread(problem)), problem).model
    model = problem.model
    expected = model.head(F.relu(model.entry(x)))
    assert float(expected.detach().min()) < 0
    for _ in range(2):  # it counts its calls, pass by pass
        assert torch.equal(healed(x), expected)


def test_a_sum_in_a_step_of_ones_own_is_made_up_for_by_the_rate():
    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y, reduction="sum")
        loss.backward()
        optimizer.step()
        return loss

    summing = partial(F.mse_loss, reduction="sum")
    problem = regression(*table(), dense(8, 6, 1), summing)
    readings = watched(replace(problem, step=step))
    size, rate = readings.plan.batch_size, float(readings.optimizer.param_groups[0]["lr"])
    healed = applied(lr_of_the_mean(readings), problem)
    made = healed.optimizer(healed.model.parameters()).param_groups[0]
    assert made["lr"] == pytest.approx(rate / size, rel=1e-2)
    assert isinstance(lr_of_the_mean(watched(problem)), NotApplicable)
    averaging = replace(problem, step=step, loss=F.mse_loss)
    assert isinstance(lr_of_the_mean(watched(averaging)), NotApplicable)


def own_step(model, batch, optimizer, loss=F.nll_loss):
    x, y = batch
    optimizer.zero_grad()
    value = loss(model(x), y)
    value.backward()
    optimizer.step()
    return value


def test_what_a_step_of_ones_own_misses_is_put_behind_the_network():
    x, _ = table()
    classes = torch.arange(60) % 3
    problem = regression(x, classes, dense(8, 6, 3), F.nll_loss, step=own_step)
    remedy = squashed(watched(problem))
    healed = applied(remedy, problem).model
    expected = problem.model(x).log_softmax(1)
    assert torch.equal(healed(x), expected)
    assert torch.equal(pasted(remedy, model=problem.model)["model"](x), expected)
    # Without such a step the loss is changed instead, and nothing is missing behind logits.
    usual = regression(x, classes, dense(8, 6, 3), F.nll_loss)
    assert isinstance(squashed(watched(usual)), NotApplicable)
    complete = nn.Sequential(dense(8, 3), nn.LogSoftmax(1))
    ended = regression(x, classes, complete, F.nll_loss, step=own_step)
    assert isinstance(squashed(watched(ended)), NotApplicable)


class Bent(nn.Module):
    """Ends in a function, where no module can be taken out."""

    def __init__(self, bend):
        super().__init__()
        self.inner, self.bend = dense(8, 6, 1), bend

    def forward(self, x):
        return self.bend(self.inner(x))


@pytest.mark.parametrize(
    ("bend", "low", "high"),
    [(torch.sigmoid, 0.05, 0.95), (torch.tanh, -0.9, 0.9), (F.relu, 0.5, None)],
)
def test_targets_are_brought_to_what_a_function_returns(bend, low, high):
    x, y = table()
    problem = regression(x, y, Bent(bend))
    remedy = targets_within_reach(watched(problem))
    healed = applied(remedy, problem)
    y_healed = healed.batches[0][1]
    assert float(y_healed.min()) == pytest.approx(low)
    if high is None:
        assert float(y_healed.std()) == pytest.approx(1)
    else:
        assert float(y_healed.max()) == pytest.approx(high)
    torch.testing.assert_close(pasted(remedy, y=y, y_train=y)["y"], y_healed)
    torch.testing.assert_close(healed.test_batches[0][1], y_healed[:20])


def test_targets_stay_where_a_module_can_be_taken_out_or_nothing_bends():
    x, y = table()
    with_module = regression(x, y, nn.Sequential(dense(8, 1), nn.Tanh()))
    assert isinstance(targets_within_reach(watched(with_module)), NotApplicable)
    assert isinstance(targets_within_reach(watched(regression(x, y))), NotApplicable)


# -- data -----------------------------------------------------------------------------------


def test_missing_values_are_filled_in_where_leaving_out_would_cost_many_samples():
    x, y = table()
    known = x.clone()
    x[::3, 2], x[1::3, 5] = nan, inf  # two thirds of the samples, 2 of 24 numbers
    problem = regression(x, y)
    remedy = filled_inputs(unread(problem))
    healed = applied(remedy, problem).batches[0][0]
    keep = x.isfinite()
    assert torch.equal(healed[keep], x[keep])
    rest = torch.arange(60) % 3 != 0
    assert float(healed[0, 2]) == pytest.approx(float(known[rest, 2].mean()))
    torch.testing.assert_close(pasted(remedy, x=x, x_train=x)["x"], healed)
    assert isinstance(dropped_rows(unread(problem)), NotApplicable)


def test_a_few_samples_are_left_out_and_targets_are_never_made_up():
    x, y = table()
    few, missing = x.clone(), y.clone()
    few[:3, 0], missing[::2] = nan, nan
    assert isinstance(filled_inputs(unread(regression(few, y))), NotApplicable)
    assert isinstance(filled_inputs(unread(regression(few, missing))), NotApplicable)
    assert not isinstance(dropped_rows(unread(regression(few, missing))), NotApplicable)


def test_each_feature_may_have_its_own_few_outliers():
    x, _ = clusters()
    x, y = x.clone(), clusters()[1]
    for feature in range(8):
        x[feature::50, feature] = 1e4  # two in a hundred of each, 16 of the samples
    sample = watched(Problem(dense(8, 24, 3), F.cross_entropy, (x, y), optimizer=sgd(0.1))).sample
    far, furthest = outlying(sample)
    assert float(far.double().mean()) > 0.15
    assert furthest > 1e3
    problem = Problem(dense(8, 24, 3), F.cross_entropy, (x, y), optimizer=sgd(0.1), batch_size=32)
    assert Ailment.OUTLIERS in found(problem)[:2]


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("Cauchy", lambda rows, g: rows.cauchy_(generator=g)),
        ("lognormal", lambda rows, g: rows.log_normal_(0.0, 3.0, generator=g)),
        ("Pareto", lambda rows, g: rows.uniform_(generator=g).pow(-2)),
        ("a unit mixed up", None),
    ],
)
@pytest.mark.parametrize("num_samples", [300, 2000])
def test_half_of_a_heavy_tail_lies_not_as_far_as_a_unit_that_was_mixed_up(name, draw, num_samples):
    """The furthest may lie anywhere, and further the more samples there are."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(num_samples, 2, generator=generator)
    if draw is None:
        x[::30] *= 1e3
    else:
        x = draw(x, generator)
    problem = Problem(dense(2, 2), F.cross_entropy, (x, torch.arange(num_samples) % 2))
    distances = distances_of(Sample.of(problem).finite_x)
    half = float(distances[distances > 0].median())
    assert (half > WILD) == (draw is None)
    if draw is not None:
        assert half < 200


def test_pixels_that_are_nearly_always_dark_are_no_outliers():
    generator = torch.Generator().manual_seed(0)
    x = 0.01 * torch.rand(200, 20, generator=generator)
    x[:, :10] = torch.rand(200, 10, generator=generator)
    x[torch.rand(200, 20, generator=generator) < 0.03] = 1.0
    problem = Problem(
        dense(20, 3), F.cross_entropy, (x, torch.arange(200) % 3), optimizer=sgd(0.1), batch_size=32
    )
    assert not outlying(watched(problem).sample)[0].any()


# -- the step, and the schedule -------------------------------------------------------------


def in_evaluation(model, batch, optimizer):
    model.eval()
    return own_step(model, batch, optimizer, F.mse_loss)


def test_a_step_that_evaluates_is_kept_in_training_mode():
    x, y = table()
    model = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))
    problem = regression(x, y, seeded(lambda: model), step=in_evaluation)
    healed = applied(in_training_mode(watched(problem)), problem)
    optimizer = healed.optimizer(healed.model.parameters())
    before = healed.model[1].running_mean.clone()
    healed.step(healed.model, (x, y), optimizer)
    assert healed.model.training
    assert not torch.equal(healed.model[1].running_mean, before)
    # Evaluation is theirs again afterwards.
    assert not healed.model.eval().training


def doubling(optimizer):
    return torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 4)


def halving(optimizer):
    return torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)


def test_a_schedule_says_how_far_the_rate_will_rise():
    problem = classify(dense(8, 6, 3), sgd(0.1), epochs=10, schedule=doubling)
    per_epoch = -(-256 // problem.batch_size)
    total = 10 * per_epoch
    assert yet_to_rise(problem, problem.batch_size, per_epoch, total) == pytest.approx(10)
    assert yet_to_rise(problem, problem.batch_size, 5 * per_epoch, total) == pytest.approx(1)
    falling = classify(dense(8, 6, 3), sgd(0.1), epochs=10, schedule=halving)
    assert yet_to_rise(falling, problem.batch_size, per_epoch, total) == 1
    assert yet_to_rise(classify(dense(8, 6, 3), sgd(0.1)), 32, 8, total) == 1


@pytest.mark.parametrize(("schedule", "is_small"), [(None, True), (doubling, False)])
def test_a_rate_that_is_warming_up_is_not_too_small(schedule, is_small):
    """At a hundredth of its rate for most of what is watched, which it leaves by itself."""

    def warming(optimizer):
        return torch.optim.lr_scheduler.LinearLR(optimizer, 0.002, 1.0, 14)

    lr = 2e-5 if schedule is None else 1e-2
    problem = classify(
        dense(8, 24, 3), adam(lr), epochs=20, schedule=None if schedule is None else warming
    )
    assert (Ailment.LR_TOO_SMALL in found(problem, "26g")) == is_small


def test_a_schedule_that_is_none_is_said_so():
    problem = classify(dense(8, 6, 3), sgd(0.1), epochs=20, schedule=lambda optimizer: None)
    with pytest.raises(thalweg.ThalwegError, match="returned a NoneType"):
        examined(problem, "26g")


def test_an_infinite_rate_is_refused():
    with pytest.raises(thalweg.ThalwegError, match="learning rate is inf"):
        examined(classify(dense(8, 24, 3), sgd(inf)))


def test_weights_that_are_not_finite_are_no_fault_of_the_rate():
    model = dense(8, 24, 3)
    with torch.no_grad():
        model[0].weight.fill_(nan)
    assert found(classify(model, sgd(0.1)), "500g")[:1] == [Ailment.NOT_FINITE]


def test_what_does_not_run_is_said_so_also_where_labels_are_drawn_at_random():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 8, generator=generator), torch.randint(3, (200,), generator=generator)
    problem = Problem(dense(7, 3), F.cross_entropy, (x, y), optimizer=sgd(0.1), batch_size=32)
    with pytest.raises(thalweg.ThalwegError, match="cannot be multiplied"):
        examined(problem)


# -- the network ----------------------------------------------------------------------------


def equal_units(model):
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.fill_(0.1)
    return model


def test_equal_weights_with_biases_of_their_own_are_symmetric_and_no_bottleneck():
    x, _ = curve()
    y = (3 * x[:, :1]).sin() * x[:, 1:2].sign()
    problem = Problem(
        equal_units(dense(8, 24, 24, 1)), F.mse_loss, (x, y), optimizer=sgd(0.05), batch_size=32
    )
    told = found(problem)
    assert Ailment.SYMMETRIC in told[:2]
    assert Ailment.BOTTLENECK not in told


class Blocks(nn.Module):
    """Residual blocks without normalisation, whose weights are far too large."""

    def __init__(self, scale):
        super().__init__()
        self.entry = nn.Linear(8, 24)
        self.first = nn.ModuleList(nn.Linear(24, 24) for _ in range(6))
        self.second = nn.ModuleList(nn.Linear(24, 24) for _ in range(6))
        self.head = nn.Linear(24, 3)
        with torch.no_grad():
            for layer in (*self.first, *self.second):
                layer.weight.mul_(scale)

    def forward(self, x):
        x = self.entry(x)
        for one, other in zip(self.first, self.second, strict=True):
            x = x + other(torch.relu(one(x)))
        return self.head(x)


@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_residual_branches_are_drawn_for_what_reaches_them_then(scale):
    """Each branch begins with a preactivation of length one, whatever reached it before."""
    problem = classify(seeded(lambda: Blocks(scale)), sgd(0.1))
    healed = applied(edge_of_chaos(readings_of(problem)), problem).model
    met = []
    for layer in healed.first:
        layer.register_forward_hook(lambda _, __, z: met.append(float(z.square().mean())))
    with torch.no_grad():
        healed(clusters()[0])
    # Drawn at random from 24 units: within a factor, not to the digit.
    assert all(0.4 < square < 2.5 for square in met), met


def test_sigmoids_in_depth_are_answered_by_rectifiers_first():
    sigmoids = readings_of(classify(dense(8, 24, 24, 3, activation=nn.Sigmoid), sgd(0.1)))
    tanhs = readings_of(classify(dense(8, 24, 24, 3, activation=nn.Tanh), sgd(0.1)))
    assert isinstance(relu_for_sigmoid(tanhs), NotApplicable)
    assert isinstance(relu_for_others(sigmoids), NotApplicable)
    healed = applied(relu_for_sigmoid(sigmoids), sigmoids.problem).model
    assert [type(m) for m in healed if not isinstance(m, nn.Linear)] == [nn.ReLU, nn.ReLU]


def test_units_that_come_back_are_not_confirmed_dead_by_an_epoch():
    """Nine of ten are off at first, and at its pace it gets there; with more off it does not."""

    def off(bias):
        model = dense(8, 96, 3)
        with torch.no_grad():
            model[0].bias.fill_(bias)
        return classify(model, adam(3e-3), epochs=40)

    assert Ailment.DEAD not in found(off(-2.0), "52g")
    assert Ailment.DEAD in found(off(-30.0), "52g")[:2]


@pytest.mark.parametrize(("code", "is_lossy"), [(1, True), (3, False)])
def test_an_autoencoder_of_one_number_is_a_bottleneck(code, is_lossy):
    """Though it learns all that one principal component explains."""
    model = dense(8, 16, code, 16, 8, activation=nn.Tanh)
    x = clusters()[0]
    x = (x - x.mean(0)) / x.std(0)
    problem = Problem(
        model, F.mse_loss, (x, x.clone()), optimizer=adam(1e-2), batch_size=32, epochs=40
    )
    assert (Ailment.BOTTLENECK in found(problem, "52g")[:2]) == is_lossy


@pytest.mark.parametrize("falls", [True, False])
def test_two_thirds_of_the_rate_that_short_trainings_end_lowest_with(monkeypatch, falls):
    """They favour steps that are too large; where they show nothing, the sweep's tenth is left."""
    monkeypatch.setattr("thalweg.doctor.remedies._range_test.least", lambda *_: 0.1)
    readings = watched(classify(dense(8, 16, 3), sgd(1e-6)))

    def at(probe, factor, larger=1):
        way = abs(log(factor * 1e-6 / 0.01))
        return readings.start * ((0.1 + 0.2 * way) if falls else 1.0)

    monkeypatch.setattr(Probe, "at", at)
    remedy = lr_of_range_test(readings)
    healed = [applied(each, readings.problem) for each in (remedy, *remedy.rivals)]
    rates = [p.optimizer(p.model.parameters()).param_groups[0]["lr"] for p in healed]
    # To the two digits that a rate is given with.
    assert rates == pytest.approx([0.0067, 0.0033] if falls else [0.01, 0.005], rel=0.01)


def test_a_rate_for_weights_of_this_size():
    """Where no sweep can be paid, and the optimizer's step is as long as its rate."""
    problem = classify(dense(48, 48, 3), adam(1e-6))
    readings = replace(readings_of(classify(dense(8, 48, 3), adam(1e-6))), affordable=0.0)
    remedy = lr_of_range_test(readings)
    sizes = [(3 * fan_in) ** -0.5 for fan_in in (8, 48)]
    rate = 0.03 * sum(sizes) / 2
    healed = remedy.apply(readings.problem.copied(), torch.Generator())
    made = healed.optimizer(problem.model.parameters())
    assert made.param_groups[0]["lr"] == pytest.approx(rate, rel=0.1)
    by_gradient = replace(readings_of(classify(dense(8, 48, 3), sgd(1e-6))), affordable=0.0)
    assert isinstance(lr_of_range_test(by_gradient), NotApplicable)


def test_both_betas_are_mended_where_one_alone_would_not_do():
    def with_betas(*betas):
        return classify(dense(8, 6, 3), lambda p: torch.optim.Adam(p, lr=1e-3, betas=betas))

    for betas, mended in (((0.99, 0.5), (0.9, 0.999)), ((0.995, 0.99), (0.9, 0.99))):
        problem = with_betas(*betas)
        healed = applied(usual_momentum(readings_of(problem)), problem)
        assert healed.optimizer(healed.model.parameters()).param_groups[0]["betas"] == mended


def test_a_regression_is_no_worse_for_all_of_this():
    assert not found(regress(dense(8, 24, 1), sgd(0.05), epochs=40), "52g")


def scaled(model, factor):
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(factor)
    return model


def test_gradients_that_vanish_less_are_named_where_nothing_is_learned():
    """Three sigmoid layers lose a factor of some hundreds; where they learn they are sound."""
    sizes = (8, 24, 24, 24, 3)
    deep = classify(dense(*sizes, activation=nn.Sigmoid), sgd(0.05), epochs=40)
    signal = readings_of(deep).signal
    shrinkage = signal.rows[-1].gradient_norm / signal.rows[0].gradient_norm
    assert 100 < shrinkage < 1000
    examination = examined(deep, "52g")
    assert examination.findings[0].ailment is Ailment.VANISHING
    assert "less than a hundredth" in examination.findings[0].sentence
    learning = classify(dense(*sizes, activation=nn.Sigmoid), adam(1e-2), epochs=40)
    assert not found(learning, "52g")


@pytest.mark.parametrize("gain", [1.0, 5.0])
def test_gradients_that_explode_less_are_named_where_the_outputs_explode(gain):
    """(gain² / 6)^½ a layer where torch draws U(±1/√fan_in), through ReLU: 2.04, so 70 in all."""
    model = scaled(dense(8, *[24] * 6, 3), gain)
    problem = classify(model, sgd(0.1), epochs=40)
    rows = readings_of(problem).signal.rows
    assert rows[0].gradient_norm / rows[-1].gradient_norm < 1000
    told = found(problem, "52g")
    assert (Ailment.EXPLODING in told[:1]) == (gain > 1)


@pytest.mark.parametrize(
    "kind", [torch.optim.RMSprop, torch.optim.NAdam, torch.optim.RAdam, torch.optim.Adam]
)
def test_decay_outweighs_the_gradient_under_every_optimizer_that_divides_by_its_size(kind):
    """Though at this rate it alone would shrink the weights by a thousandth."""
    for decay, expected in ((0.0, False), (1.0, True)):
        problem = classify(
            dense(8, 24, 24, 3),
            lambda p, decay=decay: kind(p, lr=3e-3, weight_decay=decay),
            epochs=30,
        )
        assert (Ailment.WEIGHT_DECAY in found(problem, "39g")[:2]) == expected


def test_a_rate_is_not_too_small_for_outputs_that_are_too_large_to_begin_with():
    """Any larger step brings them down within an epoch, and says nothing of the rate."""
    problem = classify(scaled(dense(8, 24, 3), 8.0), sgd(2e-3), epochs=40)
    assert readings_of(problem).passed.value > 3
    told = {each.ailment: each.found_after for each in examined(problem, "52g").findings}
    assert told.get(Ailment.LR_TOO_SMALL, inf) > 40


@pytest.mark.parametrize(("last", "is_certain"), [(nn.ReLU, True), (nn.Tanh, False)])
def test_targets_that_no_output_comes_near_are_certain_without_a_watched_training(last, is_certain):
    """Of standardised targets a ReLU misses half; tanh only the ends."""
    model = nn.Sequential(*dense(8, 24, 1), last())
    x, y = curve()
    y = (y - y.mean()) / y.std()
    problem = Problem(model, F.mse_loss, (x, y), optimizer=sgd(0.05), batch_size=32, epochs=40)
    examination = examined(problem, "52g")
    watched_steps = [m for m in examination.measurements if m.name == "one training, watched"]
    assert (not watched_steps) == is_certain
    assert (examination.findings[:1] != ()) == is_certain
    if is_certain:
        assert examination.findings[0].ailment is Ailment.TARGET_RANGE
        assert examination.proved


class Maps(nn.Module):
    """Convolutions with a narrow one among them, pooled, and a dense head."""

    def __init__(self, narrow, positions):
        super().__init__()
        self.entry = nn.Conv2d(1, 8, 3, padding=1)
        self.narrow = nn.Conv2d(8, narrow, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(narrow, momentum=0.2)
        self.pool = nn.AdaptiveAvgPool2d(positions)
        self.head = nn.Linear(narrow * positions**2, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.narrow(torch.relu(self.entry(x)))))
        return self.head(self.pool(x).flatten(1))


@pytest.mark.parametrize("positions", [1, 2])
def test_a_narrow_convolution_is_widened_with_what_goes_by_its_maps(positions):
    x = torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    model = seeded(lambda: Maps(2, positions)).double()
    problem = regression(x, torch.zeros(60).long(), model, F.cross_entropy)
    remedy = widened(unread(problem))
    healed = applied(remedy, problem).model
    assert remedy.name == "the narrow layer widened, 2 to 8 maps"
    assert (healed.narrow.out_channels, healed.norm.num_features) == (8, 8)
    assert healed.head.in_features == 8 * positions**2
    assert (healed.narrow.stride, healed.narrow.bias, healed.norm.momentum) == ((2, 2), None, 0.2)
    assert healed(x).shape == (60, 3)
    by_hand = seeded(lambda: Maps(2, positions))
    pasted(remedy, model=by_hand)
    by_hand.double()
    assert by_hand(x).shape == (60, 3)
    # As large as theirs were for their number of inputs.
    size = float(healed.narrow.weight.detach().std() / model.narrow.weight.detach().std())
    assert size == pytest.approx(1.0, abs=0.15)


def test_maps_in_groups_are_not_widened():
    model = nn.Sequential(nn.Conv1d(4, 2, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3))
    x = torch.randn(60, 4, 8, generator=torch.Generator().manual_seed(0))
    problem = regression(x, torch.zeros(60).long(), model, F.cross_entropy)
    assert isinstance(widened(unread(problem)), NotApplicable)


class Reader(nn.Module):
    """Reads eight numbers one after the other."""

    def __init__(self, scale):
        super().__init__()
        self.rnn, self.head = nn.GRU(1, 16, batch_first=True), nn.Linear(16, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(scale)

    def forward(self, x):
        return self.head(self.rnn(x[..., None])[0][:, -1])


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_gates_that_are_saturated_are_named_and_drawn_anew(scale):
    """A larger rate would bring their large outputs down, and teach them nothing."""
    problem = classify(seeded(lambda: Reader(scale)), adam(3e-3), epochs=30)
    examination = examined(problem, "39g")
    told = [each.ailment for each in examination.findings]
    assert (Ailment.SATURATED in told[:1]) == (scale > 1)
    assert bool(examination.proved) == (scale > 1)


def test_an_initialisation_of_ones_own_is_undone_where_torchs_alone_is_sound():
    """Deep sigmoids, and units that the data drive off, are not mended by drawing anew."""

    def read(problem):
        return replace(readings_of(problem), observed=watched(problem).observed)

    off = dense(8, 24, 24, 3)
    with torch.no_grad():
        off[0].bias.fill_(-40.0)
    remedy = sound_reset(read(classify(off, sgd(0.05), epochs=40)))
    assert remedy.name == "torch's own initialisation"
    assert remedy.is_direct, "how they were drawn is the cause"
    assert [rival.name for rival in remedy.rivals] == [
        "initialisation at the edge of chaos (σ_w² = relu: 2)"
    ]
    deep = classify(dense(8, *[24] * 6, 3, activation=nn.Sigmoid), sgd(0.05), epochs=40)
    assert isinstance(sound_reset(read(deep)), NotApplicable)
    x, y = clusters()
    driven = Problem(
        dense(8, 24, 24, 3, activation=nn.Tanh), F.cross_entropy, (1e4 * x, y),
        optimizer=sgd(0.05), batch_size=32, epochs=40,
    )  # fmt: skip
    assert isinstance(sound_reset(read(driven)), NotApplicable)


def test_what_two_proposals_come_to_is_tried_once():
    off = dense(8, 24, 24, 3)
    with torch.no_grad():
        off[0].bias.fill_(-40.0)
    names = [each.name for each in any_remedy(watched(classify(off, sgd(0.05), epochs=40)))]
    assert len(set(names)) == len(names)
    assert names.count("torch's own initialisation") == 1
