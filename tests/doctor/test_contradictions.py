"""Held-out answers that contradict, cleared gradients, and scales that hide behind a fall."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import make_moons
from test_doubts import losing, seen_whole
from test_mended_recipes import pasted, watched
from test_more_doubts import BUDGET, EPOCHS, digits, named
from test_sentinels_and_steps import by_margin, heights

from networks import adam, dense, examined, sgd
from thalweg import Problem
from thalweg.doctor import Ailment
from thalweg.doctor._attainable import carried_over
from thalweg.doctor._sample import Sample
from thalweg.doctor.findings._gradients import exploding
from thalweg.doctor.findings._held_out import unlike_held_out
from thalweg.doctor.findings._targets import perhaps_target_scale, target_scale
from thalweg.doctor.remedies._settings import usual_momentum
from thalweg.doctor.remedies._targets import standardised_targets


def moons(change=lambda x, y: (x, y)):
    """Two moons, of which the held-out half is changed."""
    x, y = make_moons(600, noise=0.1, random_state=0)
    x, y = torch.tensor(x).float(), torch.tensor(y)
    torch.manual_seed(0)
    return Problem(
        dense(2, 32, 32, 2), F.cross_entropy, (x[:400], y[:400]), test=change(x[400:], y[400:]),
        optimizer=adam(0.01), batch_size=25, epochs=EPOCHS,
    )  # fmt: skip


def agreement(problem):
    return carried_over(Sample.of(problem), Sample.of(problem.with_data(problem.test_batches)))


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: (x, y.sort().values),
        lambda x, y: (x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]),
        lambda x, y: (x, 1 - y),
    ],
    ids=["sorted", "shuffled", "turned round"],
)
def test_held_out_answers_that_contradict_what_is_sure_are_told(change):
    expected, found = agreement(moons(change))
    assert expected > 15
    assert found < 3
    examination = examined(moons(change), BUDGET)
    assert named(examination)[0] is Ailment.UNLIKE_HELD_OUT


def test_data_of_one_kind_agree_as_well_as_is_expected():
    for problem in (moons(), digits(dense(64, 32, 10), adam(0.003)), heights(0), by_margin(0, 1)):
        expected, found = agreement(problem)
        assert found == pytest.approx(expected, rel=0.5)
        readings = seen_whole(problem, 40)
        assert unlike_held_out(readings) is None


def test_what_cannot_be_compared_is_not():
    few = moons(lambda x, y: (x[:30], y[:30]))
    assert agreement(few) is None
    other = replace(moons(), test=(torch.randn(50, 3), torch.randint(2, (50,))))
    assert agreement(other) is None
    alone = replace(moons(), test=(torch.randn(50, 2), torch.zeros(50, dtype=torch.long)))
    assert agreement(alone) is None
    # Nobody is sure of labels that are noise.
    noise = torch.randint(2, (600,), generator=torch.Generator().manual_seed(1))
    x = torch.randn(600, 2, generator=torch.Generator().manual_seed(2))
    blind = replace(moons(), data=(x[:400], noise[:400]), test=(x[400:], noise[400:]))
    assert agreement(blind)[0] < 4


def clearing(set_to_none):
    def step(model, batch, optimizer):
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.zero_grad(set_to_none=set_to_none)
        optimizer.step()
        return loss

    return step


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_gradient_that_is_cleared_before_the_step_trains_nothing(set_to_none):
    problem = replace(by_margin(0, 1, step=clearing(set_to_none)), optimizer=sgd(0.1))
    examination = examined(problem, BUDGET)
    assert named(examination)[0] is Ailment.CANNOT_LEARN
    assert "cleared" in examination.findings[0].sentence
    assert examination.proved[0].name == "the usual step in place of your own"
    assert not seen_whole(replace(problem, step=None), 20).watched.is_cleared


def test_weights_that_no_initialisation_draws_explode_before_the_rate_is_blamed():
    def of_size(factor):
        torch.manual_seed(0)
        model = dense(64, 32, 32, 10)
        with torch.no_grad():
            model[4].weight.mul_(factor)
        return replace(digits(model, sgd(0.3)), epochs=8)

    examination = examined(of_size(300.0), "10.4g")
    assert named(examination)[0] is Ailment.EXPLODING
    assert examination.proved[0].name == "torch's own initialisation"
    high = losing(seen_whole(of_size(1.0), 40), [100.0] * 40, settled=100.0)
    assert exploding(high) is None


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.99), "no momentum"),
        (lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.99), "momentum 0.9"),
    ],
)
def test_momentum_of_rmsprop_is_none_by_itself(make, name):
    remedy = usual_momentum(watched(digits(dense(64, 32, 10), make)))
    assert remedy.name == name


def tiny(factor=1e-5):
    """Digits onto themselves, in a unit of which they are small; their rims never vary."""
    problem = digits(dense(64, 32, 64), adam(0.003))
    ((x, _),), ((held, _),) = problem.batches, problem.test_batches
    return replace(
        problem, loss=F.mse_loss, data=(x, factor * x), test=(held, factor * held)
    )  # fmt: skip


def test_a_loss_that_falls_to_small_targets_has_learned_nothing_of_them():
    readings = seen_whole(tiny(), 100)
    blind = readings.blind_loss
    falling = losing(readings, [1e6 * blind * 0.9**k + 99 * blind for k in range(100)], 99 * blind)
    assert falling.trains
    assert target_scale(falling) is None
    assert perhaps_target_scale(falling).needs_proof
    assert perhaps_target_scale(losing(readings, [blind / 9] * 100, blind / 9)) is None
    examination = examined(tiny(), BUDGET)
    assert named(examination)[0] is Ailment.TARGET_SCALE
    assert examination.proved[0].name == "targets standardised"


def test_targets_of_which_some_never_vary_are_standardised_together():
    problem = tiny()
    ((x, y),) = problem.batches
    remedy = standardised_targets(watched(problem))
    ((_, healed),) = remedy.apply(problem.copied(), torch.Generator()).batches
    assert (float(healed.mean()), float(healed.std())) == pytest.approx((0, 1), abs=1e-4)
    assert torch.equal(pasted(remedy, x=x, y=y, y_train=y)["y"], healed)
    same = replace(problem, data=(x, torch.ones_like(y)))
    assert "same value" in standardised_targets(watched(same)).reason
