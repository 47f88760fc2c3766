"""More of what counts only where taking it away is proved to help: rates, scales, last layers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from test_doubts import losing, seen_whole
from test_mended_recipes import watched
from torch import nn

from networks import adam, dense, examined, sgd
from thalweg import Problem
from thalweg._score import Score
from thalweg.doctor import Ailment, _confirm
from thalweg.doctor.findings._gradients import perhaps_exploding
from thalweg.doctor.findings._inputs import input_scale
from thalweg.doctor.findings._learning_rate import (
    lr_too_large,
    perhaps_lr_too_large,
    perhaps_lr_too_small,
)
from thalweg.doctor.findings._modes import (
    perhaps_batch_of_one,
    perhaps_too_much_dropout,
    too_much_dropout,
)
from thalweg.doctor.findings._output_loss import perhaps_output_loss
from thalweg.doctor.findings._reduction import perhaps_reduction, wrong_reduction
from thalweg.doctor.findings._settings import doubtful_momentum, epsilon, momentum, perhaps_epsilon
from thalweg.doctor.findings._step import weight_decay
from thalweg.doctor.findings._stuck import stuck
from thalweg.doctor.findings._units import perhaps_saturated
from thalweg.doctor.remedies import remedies_for
from thalweg.doctor.remedies._settings import usual_momentum
from thalweg.doctor.remedies._step import larger_batches

EPOCHS = 20
BUDGET = f"{1.3 * EPOCHS}g"


def digits(model, optimizer, num_samples=500, batch_size=25, **recipe):
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x).float() / 16, torch.tensor(y)
    return Problem(
        model, F.cross_entropy, (x[:num_samples], y[:num_samples]), test=(x[900:], y[900:]),
        optimizer=optimizer, batch_size=batch_size, epochs=EPOCHS, **recipe,
    )  # fmt: skip


def of_scale(factor):
    model = dense(64, 32, 32, 10)
    with torch.no_grad():
        for layer in model[::2]:
            layer.weight.mul_(factor)
    return model


def named(examination):
    return [finding.ailment for finding in examination.findings]


@pytest.mark.parametrize(
    ("ailment", "ill", "well", "proved"),
    [
        (
            Ailment.EXPLODING,
            lambda: digits(of_scale(8.0), adam(0.001)),
            lambda: digits(of_scale(1.0), adam(0.001)),
            ("initialisation at the edge of chaos", "torch's own initialisation"),
        ),
        (
            Ailment.LR_TOO_SMALL,
            lambda: digits(dense(64, 64, 10, activation=nn.Tanh), adam(3e-4)),
            lambda: digits(dense(64, 64, 10, activation=nn.Tanh), adam(3e-3)),
            "",
        ),
        (
            Ailment.OUTPUT_LOSS,
            lambda: digits(nn.Sequential(dense(64, 32, 10), nn.ReLU()), adam(0.003)),
            lambda: digits(dense(64, 32, 10), adam(0.003)),
            "the last activation taken out (ReLU)",
        ),
        (
            Ailment.EPSILON,
            lambda: digits(dense(64, 32, 10), partial(torch.optim.Adam, lr=0.003, eps=0.03)),
            lambda: digits(dense(64, 32, 10), partial(torch.optim.Adam, lr=0.003, eps=1e-4)),
            "ε 1e-8",
        ),
    ],
    ids=lambda each: each.name if isinstance(each, Ailment) else "",
)
def test_a_training_that_learns_so_far_has_it_only_where_a_remedy_is_proved(
    ailment, ill, well, proved
):
    examination = examined(ill(), BUDGET)
    assert named(examination) == [ailment]
    assert examination.findings[0].needs_proof
    assert examination.proved[0].name.startswith(proved)
    assert examined(well(), BUDGET).is_healthy


def test_each_doubt_is_about_its_own_network():
    ill, well = (
        seen_whole(digits(of_scale(8.0), adam(0.001)), 100),
        seen_whole(digits(of_scale(1.0), adam(0.001)), 100),
    )
    assert perhaps_exploding(ill).evidence["loss of the first minibatch"] > 10 * ill.blind_loss
    assert perhaps_exploding(well) is None
    # What begins far above moves little at first, and is no slow one.
    assert perhaps_lr_too_small(ill) is None
    slow = seen_whole(digits(dense(64, 64, 10), sgd(1e-3)), 100)
    assert perhaps_lr_too_small(slow).evidence["‖Δθ‖/‖θ‖ of the whole training, at this pace"] < 1
    assert perhaps_lr_too_small(replace(slow, problem=replace(slow.problem, epochs=None))) is None
    warming = digits(
        dense(64, 64, 10), sgd(1e-3),
        schedule=lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda epoch: 1.0 + epoch),
    )  # fmt: skip
    assert perhaps_lr_too_small(seen_whole(warming, 100)) is None
    y = torch.rand(60, 1) + 0.5
    ends = nn.Sequential(dense(3, 8, 1), nn.ReLU())
    problem = Problem(
        ends, F.mse_loss, (torch.randn(60, 3), y), optimizer=adam(0.01), batch_size=20, epochs=5
    )
    assert "a regression gets" in perhaps_output_loss(seen_whole(problem, 10)).sentence


@pytest.mark.parametrize(("beta", "epochs", "is_doubted"), [(0.98, 124, True), (0.98, 126, False)])
def test_momentum_over_a_fiftieth_of_the_steps_is_doubted(beta, epochs, is_doubted):
    """20 steps an epoch, 50 that it averages over: it learns so far, and is thrown off later."""
    heavy = replace(digits(dense(64, 32, 10), sgd(0.01, beta)), epochs=epochs)
    readings = seen_whole(heavy, 300)
    assert readings.trains_well
    assert momentum(readings) is None
    doubt = doubtful_momentum(readings)
    assert (doubt is not None) == is_doubted
    assert doubt is None or doubt.needs_proof


def test_flat_units_are_doubted_where_what_was_held_out_is_answered_badly():
    """By heart all is learned."""
    readings = seen_whole(digits(of_scale(1.0), adam(0.003)), 100)
    readings = losing(readings, [0.0] * 100, settled=0.0)
    assert readings.learned >= 1
    rows = [replace(row, activation="tanh", saturated=0.9) for row in readings.signal.rows[:1]]
    flat = replace(readings, signal=replace(readings.signal, rows=tuple(rows)))

    def held_out(loss):
        return replace(flat, observed=replace(flat.observed, held_out=Score(loss, None)))

    assert perhaps_saturated(held_out(0.0)) is None
    assert perhaps_saturated(held_out(0.9 * flat.blind_loss)).needs_proof
    assert perhaps_saturated(replace(flat, observed=replace(flat.observed, held_out=None))) is None


@pytest.mark.parametrize(("p", "is_doubted"), [(0.8, True), (0.75, False)])
def test_dropout_of_most_units_is_doubted_in_a_training_that_learns(p, is_doubted):
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 10))
    readings = seen_whole(digits(model, adam(0.003)), 100)
    readings = losing(readings, [0.0] * 100, settled=0.0)
    assert too_much_dropout(readings) is None
    doubt = perhaps_too_much_dropout(readings)
    assert (doubt is not None) == is_doubted
    assert doubt is None or (doubt.needs_proof and doubt.layers == ("2",))


def test_averages_that_are_longer_than_those_of_the_squares():
    def with_betas(*betas):
        return digits(dense(64, 32, 10), partial(torch.optim.Adam, lr=0.003, betas=betas))

    found = seen_whole(with_betas(0.95, 0.9), 200)
    assert found.trains_well
    assert momentum(found) is None
    doubt = doubtful_momentum(found)
    assert (doubt.ailment, doubt.needs_proof) == (Ailment.MOMENTUM, True)
    assert "β₁ = 0.95 is too high beside β₂ = 0.9" in doubt.sentence
    assert usual_momentum(found).name == "β₁ 0.9, β₂ 0.999"
    for usual in ((0.9, 0.999), (0.9, 0.95), (0.0, 0.5)):
        assert doubtful_momentum(seen_whole(with_betas(*usual), 200)) is None
    # What does not learn has it for certain.
    thrown = partial(torch.optim.Adam, lr=0.4, betas=(0.95, 0.9))
    ill = seen_whole(digits(dense(64, 32, 10), thrown), 200)
    assert not ill.trains_well
    assert momentum(ill).needs_proof is False


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (torch.optim.Adagrad, {"lr": 0.03}),
        (torch.optim.RMSprop, {"lr": 0.002}),
        (torch.optim.AdamW, {"lr": 0.003}),
    ],
)
def test_epsilon_of_every_optimizer_that_divides_by_a_root(kind, settings):
    def with_epsilon(eps):
        return seen_whole(digits(dense(64, 32, 10), partial(kind, eps=eps, **settings)), 200)

    ill = with_epsilon(30.0)
    assert epsilon(ill).evidence["epsilon"] == 30.0
    assert not epsilon(ill).needs_proof
    root = epsilon(ill).evidence["√v̂, median over entries"]
    state = next(iter(ill.watched.optimizer.state.values()))
    assert 0 < root < 30
    assert {"sum", "square_avg", "exp_avg_sq"} & set(state)
    assert epsilon(with_epsilon(1e-8)) is None
    assert perhaps_epsilon(with_epsilon(1e-8)) is None


@pytest.mark.parametrize(
    ("num_samples", "epochs", "size"),
    [
        (417, 30, 33),
        (416, 30, 32),
        (1057, 30, 34),
        (450, 30, 32),
        (417, None, 33),
        (450, 12, 16),
        (450, 3, 8),
    ],
)
def test_larger_minibatches_leave_no_single_sample_over(num_samples, epochs, size):
    """And a training that is short its steps."""
    problem = digits(dense(64, 32, 10), adam(0.003), num_samples, batch_size=1)
    problem = replace(problem, epochs=epochs)
    remedy = larger_batches(watched(problem))
    assert remedy.apply(problem.copied(), torch.Generator()).batch_size == size
    assert num_samples % size != 1


def test_a_sample_that_batch_normalisation_cannot_take_is_said_to_be_left_out():
    def normalised(num_samples):
        model = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
        return digits(model, adam(0.01), num_samples)

    def said(problem):
        return [each for each in examined(problem, "4g").assumptions if "left out" in each]

    assert said(normalised(500)) == []
    (sentence,) = said(normalised(501))
    assert "leave one of the 501 samples over" in sentence
    assert said(digits(dense(64, 16, 10), adam(0.01), 501)) == []


def test_a_single_sample_at_the_end_of_an_epoch_breaks_a_training_off():
    """Unless it is dropped, which a step of one's own may do, or declared; maps take it."""

    def normalised(num_samples=501, **recipe):
        model = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
        return digits(model, adam(0.01), num_samples, **recipe)

    examination = examined(normalised(), BUDGET)
    (finding,) = examination.findings
    assert finding.ailment is Ailment.BATCH_OF_ONE
    assert "501 samples in minibatches of 25" in finding.sentence
    assert all(run.failure for run in examination.control)
    remedy = examination.proved[0]
    assert remedy.apply(normalised(), torch.Generator()).batch_size == 26
    assert "drop_last=True" in remedy.code

    def dropping(model, batch, optimizer):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1]) if len(batch[0]) > 1 else None
        if loss is None:
            return torch.zeros(())
        loss.backward()
        optimizer.step()
        return loss.detach()

    for sound in (normalised(500), normalised(on_purpose=("1",)), normalised(step=dropping)):
        assert named(examined(sound, BUDGET)) == []
    maps = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Flatten(), nn.Linear(144, 10),
    )  # fmt: skip
    assert perhaps_batch_of_one(seen_whole(digits(maps, adam(0.01), 501), 40)) is None
    assert perhaps_batch_of_one(seen_whole(normalised(), 40)).needs_proof
    for sound in (normalised(500), normalised(on_purpose=("1",)), normalised(batch_size=1)):
        assert perhaps_batch_of_one(seen_whole(sound, 40)) is None


def test_trials_that_would_end_in_a_warm_up_are_fewer_and_longer():
    def rising(num_epochs):
        def schedule(optimizer):
            factor = lambda epoch: min(1.0, (epoch + 1) / num_epochs)  # noqa: E731
            return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

        model = nn.Sequential(dense(64, 32, 10), nn.Softmax(1))
        examination = examined(digits(model, adam(0.003), schedule=schedule), BUDGET)
        assert named(examination)[:1] == [Ailment.OUTPUT_LOSS]
        assert sum(m.gradients for m in examination.measurements) <= 1.01 * 1.3 * EPOCHS
        return examination.num_steps

    assert rising(12) > 1.5 * rising(1)


def divided_again(output, target):
    return F.cross_entropy(output, target) / len(target)


def test_a_minibatch_that_an_epoch_ends_with_is_no_rise():
    """Of 501 samples the last makes a minibatch of its own, whose loss is 25 times the others'."""
    problem = replace(digits(dense(64, 32, 10), sgd(1e-4), 501), loss=divided_again)
    readings = seen_whole(problem, 100)
    assert max(readings.watched.losses) > 10 * readings.start
    assert len(readings.whole_minibatches) == 96
    assert lr_too_large(readings) is None
    losses = [readings.start] * 100
    losses[50] *= 25
    assert lr_too_large(losing(readings, losses, settled=readings.start)) is not None
    even = seen_whole(replace(digits(dense(64, 32, 10), sgd(1e-4)), loss=divided_again), 100)
    assert even.whole_minibatches == even.watched.losses


def test_a_mean_divided_again_is_doubted_and_answered_before_what_does_not_move():
    problem = replace(digits(dense(64, 32, 10), sgd(1e-4)), loss=divided_again)
    readings = seen_whole(problem, 100)
    doubt, symptom = perhaps_reduction(readings), stuck(readings)
    assert (doubt.ailment, doubt.needs_proof) == (Ailment.REDUCTION, True)
    remedies, _ = remedies_for((doubt, symptom), readings)
    of_doubt = [remedy.is_of_doubt for remedy in remedies]
    assert of_doubt == sorted(of_doubt, reverse=True)
    assert True in of_doubt
    assert False in of_doubt
    assert not any(remedy.is_of_doubt for remedy in remedies_for((doubt,), readings)[0])
    assert perhaps_reduction(seen_whole(replace(problem, loss=F.cross_entropy), 100)) is None


def test_a_mean_divided_again_is_no_doubt_where_nothing_is_learned():
    still = replace(digits(dense(64, 32, 10), sgd(1e-9)), loss=divided_again)
    found = wrong_reduction(seen_whole(still, 100))
    assert (found.ailment, found.needs_proof) == (Ailment.REDUCTION, False)
    assert wrong_reduction(seen_whole(replace(still, optimizer=sgd(5.0)), 100)) is None
    # Of one that learns a little it is told where another rate is seen to learn more.
    little = losing(seen_whole(still, 100), [0.06] * 100, settled=0.06)
    assert 0.05 < little.learned < 0.8
    vars(little)["faster"] = 0.0
    assert wrong_reduction(little) is None
    vars(little)["faster"] = 1.0
    assert wrong_reduction(little).needs_proof is False
    assert wrong_reduction(seen_whole(replace(still, loss=F.cross_entropy), 100)) is None


def test_weights_that_forget_before_all_is_seen_are_named_though_the_gradient_is_larger():
    """Normalisation holds the gradient of shrunk weights up."""

    def decaying(decay):
        model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
        kind = partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=decay)
        return seen_whole(digits(model, kind), 200)

    forgetful = decaying(0.1)
    found = weight_decay(forgetful)
    assert found.evidence["its pull over the gradient, median"] < 1
    assert "forget in 20 steps" in found.sentence
    assert weight_decay(losing(forgetful, [0.01] * 200, settled=0.01)) is None
    assert weight_decay(decaying(1e-3)) is None


class First(nn.Module):
    """Says at the end what was shown first."""

    def __init__(self, scale):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.rnn, self.head = nn.RNN(2, 16, batch_first=True), nn.Linear(16, 2)
            nn.init.orthogonal_(self.rnn.weight_hh_l0, scale)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


@pytest.mark.parametrize("scale", [0.05, 1e-3])
def test_what_was_shown_first_is_kept_by_the_identity_within_the_budget_of_few_epochs(scale):
    """Also where the gradient has shrunk to zero on its way back."""
    generator = torch.Generator().manual_seed(2)
    x = 0.2 * torch.randn(600, 16, 2, generator=generator)
    y = torch.randint(2, (600,), generator=generator)
    x[:, 0, 0] = 2.0 * y - 1
    problem = Problem(
        First(scale), F.cross_entropy, (x[150:], y[150:]), test=(x[:150], y[:150]),
        optimizer=adam(0.002), batch_size=10, epochs=8,
    )  # fmt: skip
    examination = examined(problem, "10.4g")
    assert named(examination)[:1] == [Ailment.VANISHING]
    sentence = examination.findings[0].sentence
    assert ("to nothing from the last of 16 steps" in sentence) == (scale == 1e-3)
    assert examination.proved[0].name == "recurrent matrices the identity"
    assert sum(m.gradients for m in examination.measurements) <= 1.02 * 10.4


def test_what_takes_the_cause_itself_away_stays_first_though_another_is_quicker(monkeypatch):
    learned = iter([0.0, 0.9])
    monkeypatch.setattr(_confirm, "mended_by", lambda *_: _confirm.Mended(next(learned)))
    problem = digits(dense(64, 32, 10), adam(0.003))
    x, y = problem.data
    readings = seen_whole(replace(problem, data=(1e-4 * x, y)), 100)
    confirmation = _confirm.Confirmation(readings, problem, 0, 100.0)
    assert confirmation.confirms(input_scale(readings))
    assert confirmation.remedy.name == "inputs standardised"
    assert confirmation.remedy.is_direct


def test_after_a_training_as_many_samples_are_read_as_before_it():
    readings = seen_whole(digits(dense(64, 32, 10), adam(0.003)), 40)
    part = replace(readings, passed=replace(readings.passed, num_samples=50))
    assert part.signal_after.rows[0].gradient_norm != readings.signal_after.rows[0].gradient_norm
    assert part.cost == pytest.approx(0.1)
    assert readings.cost == pytest.approx(1.0)


def test_a_step_too_far_is_doubted_though_the_training_has_come_back():
    readings = seen_whole(digits(dense(64, 32, 10), adam(0.003)), 100)
    blind = readings.blind_loss
    losses = [readings.start, 4 * blind, 2 * blind, *[0.3 * blind] * 97]
    back = losing(readings, losses, settled=0.3 * blind)
    assert back.trains
    assert lr_too_large(back) is None
    doubt = perhaps_lr_too_large(back)
    assert (doubt.ailment, doubt.needs_proof) == (Ailment.LR_TOO_LARGE, True)
    assert doubt.evidence["highest training loss"] == pytest.approx(4 * blind)
    assert perhaps_lr_too_large(losing(readings, [min(x, 2 * blind) for x in losses])) is None


def test_long_momentum_of_a_training_that_breaks_off_is_named_however_many_steps_there_are():
    def coming(momentum, lr):
        kind = partial(torch.optim.SGD, lr=lr, momentum=momentum)
        return replace(digits(dense(64, 32, 10), kind), epochs=400)

    broken = seen_whole(coming(0.99, 1e30), 60)
    assert broken.watched.failure
    found = momentum(broken)
    assert (found.ailment, found.needs_proof) == (Ailment.MOMENTUM, False)
    assert found.margin >= 1
    assert momentum(seen_whole(coming(0.9, 1e30), 60)) is None
    assert momentum(seen_whole(coming(0.99, 1e-3), 60)) is None


def test_a_loss_of_which_it_is_not_known_how_batches_add_up_is_examined_on_all_in_one():
    whole = replace(digits(dense(64, 32, 10), sgd(0.05, 0.9)), loss=divided_again)
    x, y = whole.data
    batches = list(zip(x.split(25), y.split(25), strict=True))
    examination = examined(replace(whole, data=batches), BUDGET)
    assert named(examination) == named(examined(whole, BUDGET))
    assert named(examination)[0] is Ailment.REDUCTION
    assert len(batches) == 20, "the caller's own"
