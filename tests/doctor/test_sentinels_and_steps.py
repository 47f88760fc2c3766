"""Codes among targets, classes numbered otherwise, steps that train nothing, weights that fade."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import make_friedman1
from test_doubts import losing, seen_whole
from test_mended_recipes import pasted, watched
from test_more_doubts import BUDGET, EPOCHS, digits, named
from torch import nn

from networks import adam, dense, examined
from thalweg import Problem
from thalweg.doctor import Ailment
from thalweg.doctor._scheduled import mean_share
from thalweg.doctor.findings._no_signal import no_signal, perhaps_no_signal
from thalweg.doctor.findings._step import perhaps_weight_decay, weight_decay
from thalweg.doctor.findings._targets import target_outliers, target_scale
from thalweg.doctor.remedies._range_test import least
from thalweg.doctor.remedies._remedy import joined, names_in
from thalweg.doctor.remedies._schedule import kept_rate
from thalweg.doctor.remedies._targets import (
    numbered_targets,
    standardised_targets,
    without_target_outliers,
)


def heights(num_codes, code=-999.0):
    """Standardised targets, of which some are a code for what is missing."""
    x, y = make_friedman1(600, noise=0.5, random_state=4)
    x, y = torch.tensor(x).float(), torch.tensor(y).float()[:, None]
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    y[5 : 5 + 40 * num_codes : 40] = code
    torch.manual_seed(0)
    return Problem(
        dense(10, 32, 1), F.mse_loss, (x[:500], y[:500]), test=(x[500:], y[500:]),
        optimizer=adam(0.01), batch_size=25, epochs=EPOCHS,
    )  # fmt: skip


def test_codes_among_the_targets_are_named_and_left_out():
    examination = examined(heights(7), BUDGET)
    assert named(examination)[0] is Ailment.OUTLIERS
    assert "1.40% of the samples" in examination.findings[0].sentence
    best = examination.proved[0]
    assert best.name == "samples with outliers in the target left out"
    healed = best.apply(heights(7).copied(), torch.Generator())
    assert healed.num_samples == 493
    assert float(healed.batches[0][1].min()) > -5
    assert examined(heights(0), BUDGET).is_healthy


def test_what_the_code_of_target_outliers_leaves_out():
    problem = heights(7)
    remedy = without_target_outliers(seen_whole(problem, 20))
    ((x, y),) = problem.batches
    found = pasted(remedy, x=x, y=y, y_train=y)
    ((kept, answers),) = remedy.apply(problem.copied(), torch.Generator()).batches
    assert torch.equal(found["x"], kept)
    assert torch.equal(found["y"], answers)


def test_codes_hide_the_signal_and_are_no_scale():
    ill = losing(seen_whole(heights(7), 100), [3e4] * 100, settled=3e4)
    assert target_outliers(ill).margin > 1
    assert no_signal(ill) is None
    assert perhaps_no_signal(ill) is None
    assert ill.levels.attainable.z < 4.5
    assert target_scale(ill) is None
    # Minibatches without a code pass for learning; what is not as wild is left to the loss.
    assert not target_outliers(ill).needs_proof
    assert target_outliers(losing(ill, [0.0] * 100, settled=0.0)).needs_proof
    tame = losing(seen_whole(heights(7, -60.0), 100), [0.0] * 100, settled=0.0)
    assert target_outliers(losing(tame, [99.0] * 100, settled=99.0)) is not None
    assert target_outliers(tame) is None
    assert target_outliers(losing(seen_whole(heights(0), 100), [9.0] * 100, settled=9.0)) is None


def by_margin(*classes, loss=F.cross_entropy, **recipe):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, 4, generator=generator)
    is_one = x[:, 0] + 0.5 * x[:, 1] > 0
    y = torch.where(is_one, *(torch.tensor(each) for each in classes[::-1]))
    y = y[:, None] if loss is not F.cross_entropy else y
    torch.manual_seed(0)
    model = dense(4, 16, 2 if loss is F.cross_entropy else 1)
    return Problem(
        model, loss, (x[:500], y[:500]), test=(x[500:], y[500:]),
        optimizer=adam(0.01), batch_size=25, epochs=EPOCHS, **recipe,
    )  # fmt: skip


@pytest.mark.parametrize(
    "problem",
    [
        lambda: by_margin(1.0, 2.0, loss=F.binary_cross_entropy_with_logits),
        lambda: by_margin(-1.0, 1.0, loss=F.binary_cross_entropy_with_logits),
        lambda: by_margin(1, 2),
    ],
    ids=["1 and 2", "-1 and 1", "classes from 1"],
)
def test_classes_that_are_numbered_otherwise_are_numbered_from_0(problem):
    examination = examined(problem(), BUDGET)
    assert named(examination)[0] is Ailment.TARGET_RANGE
    best = examination.proved[0]
    assert best.name == "targets numbered from 0"
    healed = best.apply(problem().copied(), torch.Generator()).batches[0][1]
    assert healed.unique().tolist() == [0, 1]
    ((x, y),) = problem().batches
    assert torch.equal(pasted(best, x=x, y=y)["y"], healed)
    # What cannot be run is tried once, and not on top of itself.
    assert len({remedy.name for remedy in examination.remedies}) == len(examination.remedies)
    assert not any("standardised" in remedy.name for remedy in examination.remedies)


def test_padding_and_sound_classes_keep_their_numbers():
    padded = by_margin(1, 2)
    ((x, y),) = padded.batches
    y = y.clone()
    y[:7] = -100
    padded = replace(padded, data=(x, y))
    healed = numbered_targets(watched(padded)).apply(padded.copied(), torch.Generator())
    assert healed.batches[0][1].unique().tolist() == [-100, 0, 1]
    assert "numbered so" in numbered_targets(watched(by_margin(0, 1))).reason
    likely = by_margin(0.0, 1.0, loss=F.binary_cross_entropy_with_logits)
    assert "probabilities" in standardised_targets(watched(likely)).reason
    void = replace(padded, data=(x, torch.where(y < 0, 255, y)))
    assert "more than there are outputs" in numbered_targets(watched(void)).reason


def by_number(model, batch, optimizer):
    """Takes the number out of the loss before it is differentiated."""
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1]).item()
    torch.tensor(loss, requires_grad=True).backward()
    optimizer.step()
    return loss


def without_step(model, batch, optimizer):
    optimizer.zero_grad()
    F.cross_entropy(model(batch[0]), batch[1]).backward()


@pytest.mark.parametrize("step", [by_number, without_step])
def test_a_step_that_trains_nothing_is_exchanged_for_the_usual_one(step):
    examination = examined(by_margin(0, 1, step=step), BUDGET)
    assert named(examination)[0] is Ailment.CANNOT_LEARN
    best = examination.proved[0]
    assert best.name == "the usual step in place of your own"
    assert best.apply(by_margin(0, 1, step=step).copied(), torch.Generator()).step is None


def test_weights_that_forget_are_doubted_in_a_training_that_learns_well():
    def decaying(rate):
        kind = partial(torch.optim.AdamW, lr=0.002, weight_decay=rate)
        readings = seen_whole(digits(dense(64, 32, 10), kind), 200)
        return losing(readings, [0.0] * 200, settled=0.0)

    forgetful = decaying(10.0)
    assert weight_decay(forgetful) is None
    assert perhaps_weight_decay(forgetful).needs_proof
    assert perhaps_weight_decay(decaying(4.9)) is None
    assert perhaps_weight_decay(decaying(0.01)) is None


def test_a_sweep_says_nothing_before_its_average_is_one():
    """A lucky first minibatch is no least loss."""
    rates = [10.0**k for k in range(-5, 3)]
    assert least(rates, [0.2, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]) != rates[0]
    falling = [1.0] * 5 + [0.3, 0.1, 5.0]
    assert least(rates * 2, [1.0] * 8 + falling) == rates[6]


def test_a_schedule_that_takes_the_rate_away_is_left_out():
    def scheduled(schedule):
        return replace(digits(dense(64, 32, 10), adam(0.003)), schedule=schedule)

    fading = scheduled(lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.1))
    # Of twenty epochs the first has the rate, the second a tenth, and so on.
    assert mean_share(fading, 25, 400) == pytest.approx(1.1111 / 20, abs=1e-3)
    remedy = kept_rate(watched(fading))
    assert remedy.apply(fading.copied(), torch.Generator()).schedule is None
    assert mean_share(scheduled(None), 25, 400) == 1.0
    for usual in (
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, EPOCHS),
        lambda o: torch.optim.lr_scheduler.StepLR(o, 7, 0.1),
    ):
        assert "of its highest" in kept_rate(watched(scheduled(usual))).reason
    assert "no schedule" in kept_rate(watched(scheduled(None))).reason


def test_the_names_in_a_remedy_are_those_of_its_parts():
    readings = seen_whole(heights(7), 20)
    one, other = without_target_outliers(readings), standardised_targets(readings)
    assert names_in(one) == {one.name}
    both = joined(one, other)
    assert names_in(joined(both, one)) >= {both.name, one.name, other.name}
    assert isinstance(both.apply(heights(7).copied(), torch.Generator()).model, nn.Module)
