"""Doubts of a training that learns all the same: small gradients, and inputs of no scale."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_doubts import losing, seen_whole
from test_more_doubts import BUDGET, digits, named
from torch import nn

from networks import adam, dense, examined, sgd
from thalweg.doctor import Ailment
from thalweg.doctor._changed_data import with_inputs
from thalweg.doctor.findings._gradients import (
    has_large_weights,
    perhaps_large_weights,
    perhaps_vanishing,
    vanishing,
)
from thalweg.doctor.findings._inputs import (
    perhaps_input_scale,
    perhaps_outliers,
)
from thalweg.doctor.findings._learning_rate import (
    is_thrown,
    lr_too_large,
    perhaps_lr_too_small,
)
from thalweg.doctor.findings._units import dead, saturated
from thalweg.doctor.remedies._learning_rate import adam as usual_adam
from thalweg.doctor.remedies._own_initialisation import sound_reset
from thalweg.doctor.remedies._range_test import lr_of_range_test


def elu_of_size(factor):
    torch.manual_seed(0)
    model = dense(64, 32, 32, 32, 32, 10, activation=nn.ELU)
    with torch.no_grad():
        for layer in model[::2]:
            layer.weight.mul_(factor)
    return digits(model, adam(0.001))


def tanh_of_inputs(factor):
    torch.manual_seed(0)
    model = dense(64, 64, 64, 10, activation=nn.Tanh)
    return with_inputs(digits(model, adam(0.003)), lambda x: factor * x)


def spiked(num_spikes):
    """Digits, of which a single sample in some features is 1e5; standardised with these in."""
    generator = torch.Generator().manual_seed(0)
    problem = digits(dense(64, 32, 10), adam(0.003))
    (x, y), (held_out, answers) = problem.batches[0], problem.test_batches[0]
    x, held_out = (z + 0.01 * torch.randn(z.shape, generator=generator) for z in (x, held_out))
    for column in range(2, 2 + 5 * num_spikes, 5):
        x[torch.randint(500, (1,), generator=generator), column] = 1e5
    mean, std = x.mean(0), x.std(0)
    return replace(problem, data=((x - mean) / std, y), test=((held_out - mean) / std, answers))


@pytest.mark.parametrize(
    ("ailment", "ill", "well", "proved"),
    [
        (
            Ailment.VANISHING,
            lambda: elu_of_size(0.35),
            lambda: elu_of_size(1.0),
            "initialisation at the edge of chaos",
        ),
        (
            Ailment.INPUT_SCALE,
            lambda: tanh_of_inputs(1e5),
            lambda: tanh_of_inputs(1.0),
            "inputs standardised",
        ),
        (
            Ailment.OUTLIERS,
            lambda: spiked(12),
            lambda: spiked(0),
            "outliers of the inputs cut off",
        ),
    ],
    ids=lambda each: each.name if isinstance(each, Ailment) else "",
)
def test_it_is_named_where_a_remedy_is_proved(ailment, ill, well, proved):
    examination = examined(ill(), BUDGET)
    assert examination.is_learning
    assert named(examination) == [ailment]
    assert examination.findings[0].needs_proof
    assert examination.proved[0].name.startswith(proved)
    assert examined(well(), BUDGET).is_healthy


def test_a_gradient_that_shrinks_a_hundredfold_is_no_doubt_where_all_is_learned():
    readings = seen_whole(elu_of_size(0.35), 300)
    assert vanishing(readings) is None
    assert perhaps_vanishing(readings).margin > 1
    assert "a remedy is proved" in perhaps_vanishing(readings).rule
    assert perhaps_vanishing(losing(readings, [0.0] * 300, settled=0.0)) is None
    assert perhaps_vanishing(seen_whole(elu_of_size(1.0), 300)) is None


class Attending(nn.Module):
    """Rows of an image attend to one another."""

    def __init__(self, factor):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.enter, self.head = nn.Linear(8, 16), nn.Linear(16, 10)
            self.norm = nn.LayerNorm(16)
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        with torch.no_grad():
            self.attention.in_proj_weight.mul_(factor)

    def forward(self, x):
        rows = self.norm(self.enter(x.reshape(len(x), 8, 8)))
        return self.head(self.attention(rows, rows, rows)[0].mean(1))


def test_weights_that_are_far_too_large_are_doubted_and_drawn_anew():
    ill, well = (
        losing(seen_whole(digits(Attending(factor), adam(0.003)), 60), [2.0] * 60, settled=2.0)
        for factor in (100.0, 1.0)
    )
    doubt = perhaps_large_weights(ill)
    assert doubt.needs_proof
    assert doubt.layers == ("attention",)
    assert "1 of 4 matrices, most of all 'attention.in_proj_weight'" in doubt.sentence
    assert perhaps_large_weights(well) is None
    learned = losing(ill, [0.0] * 60, settled=0.0)
    assert perhaps_large_weights(learned) is not None  # by heart
    unseen = replace(learned.observed, held_out=None)
    assert perhaps_large_weights(replace(learned, observed=unseen)) is None
    remedy = sound_reset(ill)
    assert (remedy.name, remedy.is_direct) == ("torch's own initialisation", True)
    drawn = remedy.apply(ill.problem.copied(), torch.Generator().manual_seed(0)).model
    # Xavier's, of a matrix of 16 inputs and 48 outputs.
    size = drawn.attention.in_proj_weight.detach().square().mean().sqrt()
    assert float(size) == pytest.approx((2 / 64) ** 0.5, rel=0.1)
    names = {"model": Attending(100.0)}
    with torch.random.fork_rng():
        exec(remedy.code, names)
    size = names["model"].attention.in_proj_weight.detach().square().mean().sqrt()
    assert float(size) == pytest.approx((2 / 64) ** 0.5, rel=0.1)


class Speaking(nn.Module):
    """Positions and tokens as they are usually drawn, and a head tied to the tokens."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(50, 64), nn.Parameter(torch.randn(1, 12, 64))
        self.enter, self.head = nn.Linear(64, 64), nn.Linear(64, 50, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x):
        return self.head(self.enter(self.tokens(x) + self.positions)).mean(1)


def test_what_is_learned_as_it_is_lengthens_nothing():
    model = Speaking()
    assert not has_large_weights(model)
    with torch.no_grad():
        model.enter.weight.mul_(20.0)
    assert has_large_weights(model)


def test_units_that_huge_inputs_hold_flat_are_no_cause():
    readings = seen_whole(tanh_of_inputs(1e5), 300)
    assert readings.trains_well
    assert readings.signal.rows[0].saturated > 0.5
    badly = replace(readings.observed, held_out=replace(readings.held_out, loss=10.0))
    readings = replace(readings, observed=badly)
    assert saturated(readings) is None
    assert perhaps_input_scale(readings).needs_proof
    assert perhaps_input_scale(seen_whole(tanh_of_inputs(30.0), 300)) is None


def test_a_feature_with_values_of_its_own_is_measured_by_its_own_spread():
    assert perhaps_outliers(seen_whole(spiked(12), 100)).needs_proof
    assert perhaps_outliers(seen_whole(spiked(0), 100)) is None


def test_a_training_that_slows_down_is_measured_by_its_later_pace():
    problem = digits(dense(64, 32, 10), adam(1e-4))
    readings = seen_whole(problem, 240)
    blind = readings.blind_loss
    # Half of what can be learned, in the first steps or evenly, with two fifths of them left.
    half = blind * (1 - 0.5 * readings.levels.explained)
    slowing = losing(readings, [blind] * 20 + [half] * 220, settled=half)
    steady = losing(
        readings, [blind + (half - blind) * step / 239 for step in range(240)], settled=half
    )
    assert slowing.will_learn == pytest.approx(slowing.learned) == pytest.approx(0.5, abs=0.01)
    assert steady.will_learn == pytest.approx(0.5 * 400 / 240, abs=0.02)
    for each in (slowing, steady):
        vars(each)["moves"] = 0.1
    assert perhaps_lr_too_small(slowing).needs_proof
    assert perhaps_lr_too_small(steady) is None
    # Where the parameters hardly move, a pace promises too much.
    vars(steady)["moves"] = 0.05
    assert perhaps_lr_too_small(steady).needs_proof
    learned = losing(readings, [blind / 20] * 240, settled=blind / 20)
    vars(learned)["moves"] = 0.05
    assert perhaps_lr_too_small(learned) is None


def test_what_nobody_learns_is_not_thrown_off():
    readings = seen_whole(digits(dense(64, 32, 10), adam(1e-3)), 60)
    start = readings.start
    thrown = losing(readings, [start, 5 * start] + [start] * 58, settled=start)
    assert is_thrown(thrown)
    assert lr_too_large(thrown) is not None
    attainable = replace(thrown.levels.attainable, z=1.0)
    levels = replace(thrown.levels, attainable=attainable)
    in_vain = replace(thrown, observed=replace(thrown.observed, levels=levels))
    assert not is_thrown(in_vain)
    vars(in_vain)["slower"] = 0.0
    assert lr_too_large(in_vain) is None
    vars(in_vain)["slower"] = 1.0
    assert lr_too_large(in_vain) is not None


def test_adagrad_keeps_the_rate_that_short_trainings_end_lowest_with():
    """Its steps shrink by themselves, so that a rival goes the other way."""

    def found(kind, rate):
        torch.manual_seed(0)
        problem = digits(dense(64, 32, 10), lambda params: kind(params, lr=rate))
        remedy = lr_of_range_test(seen_whole(problem, 100))
        rates = []
        for each in (remedy, *remedy.rivals):
            optimizer = each.apply(problem, torch.Generator()).optimizer(
                problem.parameters.values()
            )
            rates.append(optimizer.param_groups[0]["lr"])
        return rates

    rate, rival = found(torch.optim.Adagrad, 5.0)
    assert rival == pytest.approx(2 * rate, rel=0.1)
    rate, rival = found(torch.optim.SGD, 50.0)
    assert rival == pytest.approx(rate / 2, rel=0.1)


def test_adam_meets_a_rival_of_three_times_its_rate():
    remedy = usual_adam(seen_whole(digits(dense(64, 32, 10), torch.optim.Adagrad), 20))
    assert [each.name for each in (remedy, *remedy.rivals)] == ["Adam, lr 0.001", "Adam, lr 0.003"]


def with_tiny_layers(factor, *layers):
    torch.manual_seed(0)
    model = dense(64, 32, 32, 32, 32, 10, activation=nn.Tanh)
    with torch.no_grad():
        for layer in layers:
            model[layer].weight.mul_(factor)
            model[layer].bias.zero_()
    return digits(model, adam(0.001))


def test_layers_of_tiny_weights_in_the_middle_are_no_trend_but_let_nothing_through():
    readings = seen_whole(with_tiny_layers(1e-5, 4, 6), 40)
    assert readings.signal.gradient.high > 1
    flat = losing(readings, [readings.blind_loss] * 40, settled=readings.blind_loss)
    found = vanishing(flat)
    assert found.layers == ("0", "2", "4")
    assert found.margin > 1e3
    # A last layer of zeros passes nothing in the first step, and is none.
    zero = seen_whole(with_tiny_layers(0.0, 8), 40)
    assert vanishing(losing(zero, [zero.blind_loss] * 40, settled=zero.blind_loss)) is None
    sound = seen_whole(with_tiny_layers(1.0), 40)
    assert vanishing(losing(sound, [sound.blind_loss] * 40, settled=sound.blind_loss)) is None


@pytest.mark.parametrize("activation", [nn.ReLU6, nn.Hardtanh])
def test_what_is_off_below_zero_dies_and_does_not_saturate(activation):
    torch.manual_seed(0)
    model = dense(64, 32, 32, 10, activation=activation)
    with torch.no_grad():
        model[2].bias.fill_(-9.0)
    readings = seen_whole(digits(model, adam(1e-6)), 20)
    found = dead(readings), saturated(readings)
    assert [each is not None for each in found] == [
        activation is nn.ReLU6,
        activation is nn.Hardtanh,
    ]


def rates(remedy):
    return [float(each.name.split()[2].rstrip(",")) for each in (remedy, *remedy.rivals)]


def test_a_loss_that_is_divided_once_more_is_swept_over_larger_rates():
    """The largest that was tried may be too small still: then a larger one is its rival."""

    def little(outputs, targets):
        return nn.functional.cross_entropy(outputs, targets) / 100

    readings = seen_whole(replace(digits(dense(64, 32, 10), sgd(0.5)), loss=little), 200)
    usual, _ = rates(lr_of_range_test(seen_whole(digits(dense(64, 32, 10), sgd(0.1)), 200)))
    rate, rival = rates(lr_of_range_test(readings))
    assert 50 * usual < rate < 200 * usual
    assert rival == pytest.approx(rate / 2, rel=0.05)
    assert readings.gain(100.0) > 0.3
    poor = lr_of_range_test(replace(readings, affordable=0.0))
    assert rates(poor) == pytest.approx([100 / 3, 100 / 3 * 10**0.5], rel=0.06)
    assert "three times" in poor.rivals[0].name
