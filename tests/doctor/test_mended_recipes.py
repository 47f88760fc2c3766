"""Remedies of the recipe: data, loss, step, settings. Each does on a copy what its code says."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from test_remedies import applied, readings_of, same, state
from torch import nn

import thalweg
from networks import dense, seeded, sgd
from thalweg import Problem
from thalweg._budget import Budget
from thalweg._reduction import Reduction
from thalweg.doctor import Plan
from thalweg.doctor._constant import best_constant
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._observation import Watching
from thalweg.doctor._readings import Readings
from thalweg.doctor._trial import made_optimizer
from thalweg.doctor.remedies import NotApplicable, any_remedy
from thalweg.doctor.remedies._inputs import (
    clipped_inputs,
    standardised_inputs,
    without_constants,
)
from thalweg.doctor.remedies._missing import dropped_rows
from thalweg.doctor.remedies._output import (
    loss_of_logits,
    mean_reduction,
    per_sample,
    unbounded_on_standard_targets,
    undone,
    without_last_activation,
)
from thalweg.doctor.remedies._parameters import given, unfrozen
from thalweg.doctor.remedies._range_test import least, lr_of_range_test, refined, rise
from thalweg.doctor.remedies._reset import reset
from thalweg.doctor.remedies._residual import residual
from thalweg.doctor.remedies._schedule import cosine
from thalweg.doctor.remedies._settings import (
    less_dropout,
    no_weight_decay,
    usual_epsilon,
    usual_momentum,
)
from thalweg.doctor.remedies._step import (
    clipped_at_usual,
    in_training_mode,
    larger_batches,
    layer_norm,
    unclipped,
    zeroed,
)
from thalweg.doctor.remedies._targets import reshaped_targets, standardised_targets
from thalweg.doctor.remedies._widening import widened
from thalweg.passes import Pass
from thalweg.signal import Signal

BY_SAMPLE = Reduction(lambda batch, _: float(len(batch[0])), False, "samples")


def unread(problem):
    """What remedies read of a problem that no pass can be made of."""
    passed = Pass(float("nan"), (), (), problem.num_samples)
    plan = Plan(10, problem.batch_size or 8, problem.batches, BY_SAMPLE, 1)
    made = made_optimizer(problem.copied())
    return Readings(
        problem, passed, Signal.of(passed), None, made, (), plan, None, None
    )  # fmt: skip


def watched(problem):
    """What remedies read that ask for output and loss."""
    readings = unread(problem)
    ledger = Ledger(lambda *_: None, Budget(1e6, False))
    watching = Watching(problem, problem, readings.plan, 0, ledger)
    return replace(readings, observed=watching.first_steps())


def table(seed=0, num_samples=60):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_samples, 8, generator=generator, dtype=torch.float64)
    return x, x @ torch.arange(8.0, dtype=torch.float64)[:, None]


def regression(x, y, model=None, loss=F.mse_loss, **settings):
    model = model or dense(8, 6, 1)
    settings = {"optimizer": sgd(0.01), "batch_size": 8, **settings}
    return Problem(model.double(), loss, (x, y), test=(x[:20], y[:20]), **settings)


def pasted(remedy, **names):
    """The names after the remedy's code was run as a user would who pastes it."""
    names = {"torch": torch, "nn": nn, "F": F, **names}
    exec(remedy.code, names)
    return names


def value(tensor):
    return float(tensor.detach())


# -- data -----------------------------------------------------------------------------------


def test_inputs_are_standardised_by_the_training_data_alone():
    x, y = table()
    x = 300 * x + 7
    x[:, 3] = 5.0  # no spread: it is centred and left
    problem = regression(x, y)
    remedy = standardised_inputs(unread(problem))
    healed = applied(remedy, problem)
    found, held = healed.batches[0][0], healed.test_batches[0][0]
    assert found[:, 3].abs().max() == 0
    rest = [0, 1, 2, 4, 5, 6, 7]
    torch.testing.assert_close(found.std(0)[rest], torch.ones(7, dtype=torch.float64))
    assert found.mean(0).abs().max() < 1e-12
    torch.testing.assert_close(held, found[:20])
    torch.testing.assert_close(found, pasted(remedy, x=x, x_train=x)["x"])
    assert torch.equal(problem.batches[0][0], x)


def test_a_rare_feature_stays_within_reach():
    x, y = table()
    x = torch.cat([x] * 5)
    x[:, 3] = 0.0
    x[7, 3] = 1.0  # 17 standard deviations away
    problem = regression(x, torch.cat([y] * 5))
    remedy = standardised_inputs(unread(problem))
    found = applied(remedy, problem).batches[0][0]
    assert found[7, 3] == pytest.approx(10.0)
    rest = [0, 1, 2, 4, 5, 6, 7]
    torch.testing.assert_close(found.std(0)[rest], torch.ones(7, dtype=torch.float64))
    torch.testing.assert_close(found, pasted(remedy, x=x, x_train=x)["x"])


def test_features_that_never_change_are_left_out_and_the_others_left_alone():
    x, y = table()
    x[:, 3], x[:, 5] = 2024.0, 0.0
    problem = regression(x, y)
    remedy = without_constants(unread(problem))
    healed = applied(remedy, problem)
    found = healed.batches[0][0]
    assert not found[:, [3, 5]].any()
    rest = [0, 1, 2, 4, 6, 7]
    assert torch.equal(found[:, rest], x[:, rest])
    assert not healed.test_batches[0][0][:, [3, 5]].any()
    torch.testing.assert_close(found, pasted(remedy, x=x, x_train=x)["x"])


def test_outliers_are_cut_off_and_nothing_else():
    x, y = table()
    wild = x.clone()
    wild[3, 2], wild[9, 5] = 1e5, -1e4
    problem = regression(wild, y)
    remedy = clipped_inputs(unread(problem))
    found = applied(remedy, problem).batches[0][0]
    assert found.abs().max() < 10
    torch.testing.assert_close(found.std(0), torch.ones(8, dtype=torch.float64))
    assert torch.corrcoef(torch.stack([found[10:, 2], x[10:, 2]]))[0, 1] > 1 - 1e-9
    torch.testing.assert_close(found, pasted(remedy, x=wild, x_train=wild)["x"])
    # What lies so far off measures nothing: the median stands for it.
    middle = found[:, 2].sort().values[29:31]
    assert middle[0] <= found[3, 2] <= middle[1]


def test_samples_with_nan_are_left_out_of_training_and_held_out_data():
    x, y = table()
    x[4, 0], x[30, 2], y[7] = float("nan"), float("inf"), float("nan")
    problem = regression(x, y)
    remedy = dropped_rows(unread(problem))
    healed = applied(remedy, problem)
    keep = [i for i in range(60) if i not in (4, 7, 30)]
    assert torch.equal(healed.batches[0][0], x[keep])
    assert torch.equal(healed.batches[0][1], y[keep])
    assert len(healed.test_batches[0][0]) == 18
    by_hand = pasted(remedy, x=x, y=y)
    assert torch.equal(by_hand["x"], x[keep])
    assert torch.equal(by_hand["y"], y[keep])
    assert isinstance(dropped_rows(unread(regression(*table()))), NotApplicable)


def test_targets_get_the_shape_of_the_output():
    x, y = table()
    problem = regression(x, y.flatten())
    remedy = reshaped_targets(unread(problem))
    healed = applied(remedy, problem)
    assert torch.equal(healed.batches[0][1], y)
    assert torch.equal(pasted(remedy, y=y.flatten())["y"], y)
    assert healed.test_batches[0][1].shape == (20, 1)
    assert isinstance(reshaped_targets(unread(regression(x, y))), NotApplicable)


def test_targets_lose_the_dimension_that_the_output_lacks():
    x, y = table()
    problem = regression(x, y, nn.Sequential(dense(8, 6, 1), nn.Flatten(0)))
    remedy = reshaped_targets(watched(problem))
    healed = applied(remedy, problem)
    assert torch.equal(healed.batches[0][1], y.flatten())
    assert torch.equal(pasted(remedy, y=y)["y"], y.flatten())


def test_targets_are_standardised_by_the_training_data():
    x, y = table()
    y = 1000 * y + 5000
    problem = regression(x, y)
    remedy = standardised_targets(unread(problem))
    healed = applied(remedy, problem)
    found = healed.batches[0][1]
    assert float(found.mean()) == pytest.approx(0, abs=1e-12)
    assert float(found.std()) == pytest.approx(1)
    torch.testing.assert_close(found, pasted(remedy, y=y, y_train=y)["y"])
    torch.testing.assert_close(healed.test_batches[0][1], found[:20])


# -- output and loss ------------------------------------------------------------------------


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Sigmoid(), nn.ReLU()])
def test_the_last_activation_is_taken_out(last):
    x, _ = table()
    model = dense(8, 6, 3).append(last)
    problem = regression(x, torch.zeros(60).long(), model, F.cross_entropy)
    remedy = without_last_activation(unread(problem))
    healed = applied(remedy, problem).model
    by_hand = copy.deepcopy(problem.model)
    pasted(remedy, model=by_hand)
    expected = problem.model[:-1](x)
    assert torch.equal(healed(x), expected)
    assert torch.equal(by_hand(x), expected)
    assert type(problem.model[-1]) is type(last)


def test_a_hidden_activation_is_not_the_last():
    x, y = table()
    assert isinstance(without_last_activation(unread(regression(x, y))), NotApplicable)


PAIRS = [
    (F.binary_cross_entropy, F.binary_cross_entropy_with_logits),
    (nn.BCELoss(), nn.BCEWithLogitsLoss()),
    (partial(F.binary_cross_entropy, reduction="sum"),
     partial(F.binary_cross_entropy_with_logits, reduction="sum")),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "right"), PAIRS)
def test_the_loss_of_probabilities_becomes_that_of_logits(wrong, right):
    x, _ = table()
    y = (x[:, :1] > 0).double()
    problem = regression(x, y, loss=wrong)
    healed = applied(loss_of_logits(unread(problem)), problem)
    z = problem.model(x)
    assert value(healed.loss(z, y)) == value(right(z, y))
    assert value(right(z, y)) == pytest.approx(value(wrong(z.sigmoid(), y)))


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_an_activation_goes_with_the_targets_scale_that_it_hid(scale):
    x, y = table()
    y = scale * (y - y.mean()) / y.std()
    model = nn.Sequential(*dense(8, 6, 1), nn.Tanh())
    problem = regression(x, y, model)
    remedy = unbounded_on_standard_targets(unread(problem))
    if scale == 1.0:
        assert isinstance(remedy, NotApplicable)
        return
    healed = applied(remedy, problem)
    torch.testing.assert_close(healed.model(x), problem.model[:-1](x))
    names = pasted(remedy, model=copy.deepcopy(problem.model), y_train=y, y=y)
    torch.testing.assert_close(names["model"](x), healed.model(x))
    torch.testing.assert_close(names["y"], healed.batches[0][1])
    torch.testing.assert_close(healed.batches[0][1], y / scale)


def test_negative_log_likelihood_becomes_cross_entropy():
    x, _ = table()
    classes = torch.arange(60) % 3
    problem = regression(x, classes, dense(8, 3), nn.NLLLoss(ignore_index=1))
    healed = applied(loss_of_logits(unread(problem)), problem)
    z = problem.model(x)
    assert value(healed.loss(z, classes)) == pytest.approx(
        value(problem.loss(z.log_softmax(1), classes))
    )


def test_the_sum_becomes_a_mean():
    x, y = table()
    for loss in (partial(F.mse_loss, reduction="sum"), nn.MSELoss(reduction="sum")):
        problem = regression(x, y, loss=loss)
        remedy = mean_reduction(unread(problem))
        healed = applied(remedy, problem)
        output = problem.model(x)
        assert value(healed.loss(output, y)) == pytest.approx(value(loss(output, y)) / 60)
        assert value(problem.loss(output, y)) == value(loss(output, y))
    assert isinstance(mean_reduction(unread(regression(x, y))), NotApplicable)


class Squashed(nn.Module):
    """Squashes its output in forward, where no module can be taken out."""

    def __init__(self, model, squash):
        super().__init__()
        self.model, self.squash = model, squash

    def forward(self, x):
        return self.squash(self.model(x))


TWICE = [
    (partial(torch.softmax, dim=1), F.cross_entropy, F.cross_entropy),
    (partial(torch.softmax, dim=1), F.nll_loss, F.cross_entropy),
    (torch.sigmoid, F.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits),
]


@pytest.mark.parametrize(("squash", "loss", "right"), TWICE)
def test_a_squash_of_the_forward_pass_is_undone_in_value_and_gradient(squash, loss, right):
    x, _ = table()
    is_binary = loss is F.binary_cross_entropy_with_logits
    y = (x[:, :3] > 0).double() if is_binary else torch.arange(60) % 3
    problem = regression(x, y, Squashed(dense(8, 6, 3), squash), loss)
    remedy = undone(watched(problem))
    healed = applied(remedy, problem)
    model = healed.model
    by_hand = pasted(remedy, old_loss=loss)["loss"]
    for mended in (healed.loss, by_hand):
        found, expected = mended(model(x), y), right(model.model(x), y)
        torch.testing.assert_close(found, expected)
        weights = list(model.parameters())
        torch.testing.assert_close(
            torch.autograd.grad(found, weights), torch.autograd.grad(expected, weights)
        )


def test_what_is_not_squashed_twice_is_not_undone():
    x, _ = table()
    problem = regression(x, torch.arange(60) % 3, dense(8, 6, 3), F.cross_entropy)
    assert isinstance(undone(watched(problem)), NotApplicable)
    assert isinstance(undone(unread(problem)), NotApplicable)


@pytest.mark.parametrize("power", [1, -1])
def test_a_loss_of_ones_own_no_longer_goes_by_the_number_of_samples(power):
    x, y = table()

    def own(output, target):
        return F.mse_loss(output, target) * len(target) ** power

    problem = regression(x, y, loss=own)
    remedy = per_sample(unread(problem))
    healed = applied(remedy, problem)
    output = problem.model(x)
    expected = F.mse_loss(output, y)
    torch.testing.assert_close(healed.loss(output, y), expected)
    torch.testing.assert_close(pasted(remedy, old_loss=own)["loss"](output, y), expected)
    assert isinstance(per_sample(unread(regression(x, y))), NotApplicable)


# -- parameters -----------------------------------------------------------------------------


def test_frozen_parameters_are_unfrozen_but_those_on_purpose():
    model = dense(8, 6, 5, 1)
    model[0].requires_grad_(False)
    model[2].requires_grad_(False)
    problem = regression(*table(), model, on_purpose="2.*")
    remedy = unfrozen(unread(problem))
    healed = applied(remedy, problem).model
    names = [n for n, p in healed.named_parameters() if not p.requires_grad]
    assert names == ["2.weight", "2.bias"]
    by_hand = copy.deepcopy(problem.model)
    pasted(remedy, model=by_hand)
    assert [n for n, p in by_hand.named_parameters() if not p.requires_grad] == names
    assert not problem.model[0].weight.requires_grad


def test_the_optimizer_gets_what_it_lacks_with_its_settings():
    def forgetful(params):
        return torch.optim.SGD(list(params)[2:], lr=0.3, momentum=0.8)

    problem = regression(*table(), optimizer=forgetful)
    healed = applied(given(unread(problem)), problem)
    params = list(healed.model.parameters())
    optimizer = healed.optimizer(params)
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == set(map(id, params))
    assert [(g["lr"], g["momentum"]) for g in optimizer.param_groups] == [(0.3, 0.8)] * 2
    assert isinstance(given(unread(regression(*table()))), NotApplicable)


# -- the step -------------------------------------------------------------------------------


def test_gradients_no_longer_accumulate():
    def forgetful(model, batch, optimizer):
        loss = F.mse_loss(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    problem = regression(*table(), step=forgetful, optimizer=sgd(0.0))
    healed = applied(zeroed(unread(problem)), problem)
    optimizer = healed.optimizer(healed.model.parameters())
    for _ in range(3):
        healed.step(healed.model, healed.batches[0], optimizer)
    found = healed.model[0].weight.grad.clone()
    healed.model.zero_grad()
    F.mse_loss(healed.model(healed.batches[0][0]), healed.batches[0][1]).backward()
    torch.testing.assert_close(found, healed.model[0].weight.grad)


def test_clipping_batches_and_mode():
    problem = regression(*table(), clip_norm=1e-3, mode=False)
    readings = unread(problem)
    assert applied(unclipped(readings), problem).clip_norm is None
    assert applied(in_training_mode(readings), problem).mode is True
    assert isinstance(clipped_at_usual(readings), NotApplicable)
    usual = regression(*table(num_samples=200), batch_size=2)
    assert applied(clipped_at_usual(unread(usual)), usual).clip_norm == 1.0
    assert applied(larger_batches(unread(usual)), usual).batch_size == 32
    assert isinstance(larger_batches(unread(problem)), NotApplicable)
    assert isinstance(unclipped(unread(usual)), NotApplicable)


def test_batch_normalisation_becomes_layer_normalisation():
    model = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))
    problem = regression(*table(), model)
    remedy = layer_norm(unread(problem))
    healed = applied(remedy, problem).model
    by_hand = copy.deepcopy(problem.model)
    pasted(remedy, model=by_hand)
    for each in (healed, by_hand):
        assert isinstance(each[1], nn.LayerNorm)
        each.double()(problem.batches[0][0][:1])  # a single sample is no matter
    assert isinstance(problem.model[1], nn.BatchNorm1d)


# -- settings -------------------------------------------------------------------------------

SETTINGS = [
    (no_weight_decay, {"weight_decay": 1.0}, "weight_decay", 0.0),
    (usual_momentum, {"betas": (0.999, 0.99)}, "betas", (0.9, 0.99)),
    (usual_epsilon, {"eps": 10.0}, "eps", 1e-8),
]


@pytest.mark.parametrize(("proposal", "settings", "key", "expected"), SETTINGS)
def test_a_setting_goes_back_to_what_is_usual(proposal, settings, key, expected):
    def made(params):
        return torch.optim.Adam(params, lr=0.02, **settings)

    problem = regression(*table(), optimizer=made)
    remedy = proposal(unread(problem))
    healed = applied(remedy, problem)
    group = healed.optimizer(healed.model.parameters()).param_groups[0]
    assert group[key] == expected
    by_hand = made(problem.model.parameters())
    pasted(remedy, optimizer=by_hand)
    assert by_hand.param_groups[0][key] == expected
    for name, value in made(problem.model.parameters()).param_groups[0].items():
        assert name in (key, "params") or group[name] == value
    usual = regression(*table(), optimizer=lambda params: torch.optim.Adam(params, lr=0.02))
    assert isinstance(proposal(unread(usual)), NotApplicable)


def test_momentum_of_sgd():
    def made(params):
        return torch.optim.SGD(params, lr=0.02, momentum=0.999)

    problem = regression(*table(), optimizer=made)
    healed = applied(usual_momentum(unread(problem)), problem)
    assert healed.optimizer(healed.model.parameters()).param_groups[0]["momentum"] == 0.9


def test_dropout_is_lowered_where_it_is_more():
    model = nn.Sequential(nn.Linear(8, 6), nn.Dropout(0.9), nn.Dropout(0.05), nn.Linear(6, 1))
    problem = regression(*table(), model)
    remedy = less_dropout(unread(problem))
    healed = applied(remedy, problem).model
    by_hand = copy.deepcopy(problem.model)
    pasted(remedy, model=by_hand)
    assert [healed[1].p, healed[2].p] == [by_hand[1].p, by_hand[2].p] == [0.1, 0.05]
    assert problem.model[1].p == 0.9


def test_the_schedule_falls_to_zero_over_their_epochs():
    problem = regression(*table(), epochs=4)
    healed = applied(cosine(unread(problem)), problem)
    optimizer = healed.optimizer(healed.model.parameters())
    schedule = healed.schedule(optimizer)
    rates = []
    for _ in range(4):
        optimizer.step()
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01 * r for r in (0.853553, 0.5, 0.146447, 0.0)], abs=1e-8)
    assert isinstance(cosine(unread(regression(*table()))), NotApplicable)


# -- the network ----------------------------------------------------------------------------


def test_a_narrow_layer_is_widened():
    model = dense(8, 6, 1, 6, 3)
    problem = regression(table()[0], torch.zeros(60).long(), model, F.cross_entropy)
    remedy = widened(unread(problem))
    healed = applied(remedy, problem).model
    by_hand = copy.deepcopy(problem.model)
    pasted(remedy, model=by_hand)
    shapes = [tuple(m.weight.shape) for m in healed if isinstance(m, nn.Linear)]
    assert shapes == [(6, 8), (6, 6), (6, 6), (3, 6)]
    assert [tuple(m.weight.shape) for m in by_hand if isinstance(m, nn.Linear)] == shapes
    assert torch.equal(healed[0].weight, problem.model[0].weight)
    healed(problem.batches[0][0])
    even = regression(*table(), dense(8, 6, 6, 1))
    assert isinstance(widened(unread(even)), NotApplicable)


def test_a_narrow_layer_before_few_answers_gets_more_units_than_these():
    problem = regression(table()[0], torch.zeros(60).long(), dense(8, 12, 1, 2), F.cross_entropy)
    assert widened(unread(problem)).name == "the narrow layer widened, 1 to 12 units"
    few = regression(table()[0], torch.zeros(60).long(), dense(8, 1, 2), F.cross_entropy)
    assert widened(unread(few)).name == "the narrow layer widened, 1 to 8 units"


@pytest.mark.parametrize(
    ("norm", "wider"),
    [
        (nn.LayerNorm(1, eps=1e-3, bias=False), "LayerNorm((6,), eps=0.001"),
        (nn.GroupNorm(1, 1, eps=1e-3), "GroupNorm(1, 6, eps=0.001"),
        (nn.BatchNorm1d(1, eps=1e-3).eval(), "BatchNorm1d(6, eps=0.001"),
    ],
)
def test_a_normalisation_of_a_narrow_layer_is_widened_with_it(norm, wider):
    model = dense(8, 6, 1, 6, 3)
    model.insert(3, norm.double())
    problem = regression(table()[0], torch.zeros(60).long(), model, F.cross_entropy)
    remedy = widened(unread(problem))
    healed = applied(remedy, problem).model
    assert repr(healed[3]).startswith(wider)
    assert (healed[3].bias is None) == (norm.bias is None)
    assert healed[3].training == norm.training
    assert healed(problem.batches[0][0]).shape == (60, 3)
    by_hand = copy.deepcopy(problem.model)
    pasted(remedy, model=by_hand)
    assert by_hand.double()(problem.batches[0][0]).shape == (60, 3)


def test_a_normalisation_over_more_than_the_narrow_layer_stays():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2), Over(), nn.Linear(2, 6))
    problem = regression(table()[0], torch.zeros(60).long(), model, F.cross_entropy)
    found = widened(unread(problem))
    assert isinstance(found, NotApplicable)
    assert "another shape" in found.reason


class Over(nn.Module):
    """Two outputs of two samples each, normalised together."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm((2, 2))

    def forward(self, x):
        return self.norm(x.view(-1, 2, 2)).view(-1, 2)


def test_every_layer_draws_its_own_weights():
    model = seeded(lambda: nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 1)))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    model[2].requires_grad_(False)
    problem = regression(*table(), model)
    remedy = reset(unread(problem))
    first, again, other = (applied(remedy, problem, seed).model for seed in (0, 0, 1))
    assert same(state(first), state(again))
    assert not same(state(first), state(other))
    assert first[0].weight.std() > 0
    assert not first[2].weight.any()
    by_hand = copy.deepcopy(problem.model)
    with torch.random.fork_rng(devices=[]):
        pasted(remedy, model=by_hand)
    assert by_hand[0].weight.std() > 0
    assert not by_hand[2].weight.any()


def test_a_stack_gets_ways_around():
    problem = regression(*table(), dense(8, 6, 6, 6, 1))
    remedy = residual(unread(problem))
    healed = applied(remedy, problem).model
    by_hand = copy.deepcopy(problem.model)
    pasted(remedy, model=by_hand)
    x = problem.batches[0][0]
    h = problem.model[:2](x)
    for at in (2, 4):
        h = h + problem.model[at : at + 2](h)
    torch.testing.assert_close(healed(x), problem.model[6](h))
    torch.testing.assert_close(by_hand(x), problem.model[6](h))


# -- the range test -------------------------------------------------------------------------


@pytest.mark.parametrize("curvature", [0.1, 1.0, 10.0])
def test_the_least_of_a_sweep_lies_below_the_stability_limit(curvature):
    """Gradient descent on L = λθ²/2: factors (1 − ηλ) shrink until η = 2/λ, where the loss turns.

    The average lags behind, so that the least may be seen within a decade of the limit.
    """
    rates = [1e-5 * 10 ** (6 * i / 79) for i in range(80)]
    theta, losses = 1.0, []
    for rate in rates:
        losses.append(curvature * theta**2 / 2)
        theta *= 1 - rate * curvature
    found = least(rates, losses)
    assert abs(log(found * curvature / 2)) < log(10)


def test_on_a_plateau_the_sweep_tells_where_the_loss_begins_to_rise():
    rates = [1e-5 * 10 ** (6 * i / 79) for i in range(80)]
    losses = [1.0] * 60 + [1.5 + 0.1 * i for i in range(20)]
    assert least(rates, losses) is None
    assert rise(rates, losses) == rates[59]
    assert rise(rates, [1.0] * 80) is None
    assert rise(rates[:30], [1.0] * 30) == rates[29], "it broke off there"
    assert rise(rates, [1.0] * 20 + [1.6] + [1.0] * 59) is None, "a minibatch is no rise"


def test_no_rate_helps_where_the_loss_never_falls():
    assert least([1.0] * 20, [1.0] * 20) is None
    assert least([1.0, 2.0], [1.0, 0.0]) is None


def test_short_trainings_lead_down_to_the_least_of_their_losses():
    """By decades' halves from the begin; the least, or a smaller rate that gains as much but a
    tenth; no more than may be paid."""
    root = 10**0.5
    paid = []

    def valley(best, width=1.0):
        def end(rate):
            paid.append(rate)
            return 1 - exp(-((log(rate / best) / log(root) / width) ** 2))

        return end

    assert refined(1.0, valley(1.0), 1.0) == pytest.approx(1.0)
    assert refined(1.0, valley(1 / root), 1.0) == pytest.approx(1 / root)
    assert refined(1.0, valley(root), 1.0) == pytest.approx(root)
    assert refined(1.0, valley(1.0, width=10), 1.0) == pytest.approx(1 / root)
    paid.clear()
    refined(1.0, valley(1e-9, width=20), 1.0)
    assert len(paid) == 4
    assert refined(1.0, lambda rate: None, 1.0) == 1.0


def test_a_range_test_sets_the_rate_and_nothing_else():
    problem = regression(*table(), optimizer=sgd(1e-7))
    before = state(problem.model)
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    remedy = lr_of_range_test(unread(problem))
    assert torch.rand(()) == expected
    assert same(before, state(problem.model))
    healed = applied(remedy, problem)
    found = healed.optimizer(healed.model.parameters()).param_groups[0]["lr"]
    assert 1e-4 < found < 1
    by_hand = sgd(1e-7)(problem.model.parameters())
    pasted(remedy, optimizer=by_hand)
    assert by_hand.param_groups[0]["lr"] == found
    assert 0 < remedy.num_samples <= 80 * 8


# -- the unit of losses ---------------------------------------------------------------------


def test_the_best_constant_is_the_mean_or_the_frequencies():
    x, y = table()
    problem = regression(x, y)
    batches = problem.batches
    variance = float(y.var(unbiased=False))
    assert best_constant(problem, batches, problem.reduction) == pytest.approx(variance)
    summed = regression(x, y, loss=partial(F.mse_loss, reduction="sum"))
    assert best_constant(summed, batches, summed.reduction) == pytest.approx(60 * variance)
    classes = torch.tensor([0] * 30 + [1] * 20 + [2] * 10)
    several = regression(x, classes, dense(8, 3), F.cross_entropy)
    entropy = -sum(p * log(p) for p in (1 / 2, 1 / 3, 1 / 6))
    assert best_constant(several, several.batches, several.reduction) == pytest.approx(entropy)
    labels = (x[:, :1] > 0).double()
    share = float(labels.mean())
    binary = regression(x, labels, loss=F.binary_cross_entropy)
    entropy = -share * log(share) - (1 - share) * log(1 - share)
    assert best_constant(binary, binary.batches, binary.reduction) == pytest.approx(entropy)


def forgetful(model, batch, optimizer):
    """A step that never clears the gradients."""
    x, y = batch
    F.mse_loss(model(x), y).backward()
    optimizer.step()


@pytest.mark.parametrize("step", [None, forgetful])
def test_whatever_is_drawn_by_chance_can_be_applied(step):
    problem = regression(*table(num_samples=200), epochs=3, clip_norm=0.1, step=step)
    drawn = any_remedy(readings_of(problem))
    assert len({remedy.name for remedy in drawn}) > 10
    for remedy in drawn:
        healed = applied(remedy, replace(problem, batch_size=8))
        x, y = healed.batches[0]
        assert torch.isfinite(healed.loss(healed.model(x), y))


def test_inputs_that_are_standardised_are_so_where_they_are_judged():
    """Without test data of their own: what is held out goes through the remedy too."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(240, 4, generator=generator)
    y = (x[:, 0] > 0).long()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    problem = Problem(
        model, nn.functional.cross_entropy, (500 + 300 * x, y),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1), batch_size=16, epochs=15,
    )  # fmt: skip
    remedies = {r.name: r for r in thalweg.examine(problem, budget="4000g").remedies}
    runs = remedies["inputs standardised"].runs
    assert runs
    assert all(run.after.accuracy > 0.9 for run in runs)
