"""The gradient of a step of one's own beside the loss's: what it is, and what it leads to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from test_more_doubts import BUDGET, named
from test_sentinels_and_steps import by_margin
from torch import nn

from networks import adam, examined, sgd
from thalweg.doctor import Ailment
from thalweg.doctor._own_step import OwnStep


def stepping(loss=F.cross_entropy, after=lambda model: None, times=1.0, every=1):
    """A step of one's own: another loss, and something done to the gradients."""
    calls = [0]

    def step(model, batch, optimizer):
        value = (
            loss(model, *batch) if loss is not F.cross_entropy else loss(model(batch[0]), batch[1])
        )
        (times * value).backward()
        after(model)
        calls[0] += 1
        if calls[0] % every == 0:
            optimizer.step()
            optimizer.zero_grad()
        return value

    return step


def decayed(rate):
    def loss(model, x, y):
        squares = sum(p.square().sum() for p in model.parameters())
        return F.cross_entropy(model(x), y) + rate / 2 * squares

    return loss


def first_only(model, x, y):
    return F.cross_entropy(model(x[:1]), y[:1])


def noisy(size):
    def after(model):
        for parameter in model.parameters():
            parameter.grad.add_(torch.randn_like(parameter), alpha=size)

    return after


def clipped(model):
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)


def read(step, **changes):
    return OwnStep.of(replace(by_margin(0, 1, step=step), **changes), 25, 1)


def test_a_pull_a_scale_and_a_rest_are_told_apart():
    plain = read(stepping())
    assert (plain.scale, plain.pull) == (pytest.approx(1, rel=1e-6), 0.0)
    assert plain.rest < 1e-10
    assert not plain.is_another
    pulled = read(stepping(decayed(0.3)))
    assert pulled.pull == pytest.approx(0.3, rel=1e-5)
    assert pulled.scale == pytest.approx(1, rel=1e-5)
    assert pulled.is_another
    tripled = read(stepping(times=3.0))
    assert tripled.scale == pytest.approx(3, rel=1e-5)
    assert not tripled.is_another
    assert read(stepping(times=-1.0)).is_scaled
    assert read(stepping(times=1 / 600)).is_scaled
    assert read(stepping(first_only)).rest > 0.3
    drowned = read(stepping(after=noisy(1.0)))
    assert drowned.rest > 0.9
    assert not drowned.is_scaled


def test_gathered_gradients_and_dropout_are_the_losss_own():
    gathered = read(stepping(times=0.5, every=2))
    assert gathered.scale == pytest.approx(1, rel=1e-5)
    assert gathered.rest < 1e-10
    torch.manual_seed(0)
    dropping = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 2))
    assert read(stepping(), model=dropping).rest < 1e-10


def test_nothing_to_be_compared_is_not_compared():
    def refusing(model, batch, optimizer):
        raise RuntimeError("not today")

    assert OwnStep.of(by_margin(0, 1), 25, 1) is None
    assert read(refusing) is None
    assert read(stepping(every=9)) is None
    assert read(lambda model, batch, optimizer: None) is None


def test_the_comparison_changes_nothing():
    problem = by_margin(0, 1, step=stepping(after=noisy(1.0)))
    before = [p.detach().clone() for p in problem.model.parameters()]
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    OwnStep.of(problem, 25, 1)
    assert torch.equal(torch.rand(3), expected)
    for parameter, was in zip(problem.model.parameters(), before, strict=True):
        assert torch.equal(parameter, was)
        assert parameter.grad is None


@pytest.mark.parametrize(
    ("step", "optimizer", "ailment"),
    [
        (stepping(decayed(1.0)), adam(0.01), Ailment.WEIGHT_DECAY),
        (stepping(after=noisy(2.0)), sgd(0.5), Ailment.NOISE),
        (stepping(times=-1.0), sgd(0.1), Ailment.REDUCTION),
        (stepping(times=1 / 500), sgd(0.3), Ailment.REDUCTION),
    ],
    ids=["L2 in the step", "noise in the step", "uphill", "a mean taken twice"],
)
def test_what_the_step_adds_is_named_and_the_usual_one_mends_it(step, optimizer, ailment):
    examination = examined(replace(by_margin(0, 1, step=step), optimizer=optimizer), BUDGET)
    assert named(examination)[0] is ailment
    assert examination.proved[0].name == "the usual step in place of your own"


def mixed(model, x, y):
    """Mixup: another loss than the one handed over, of which the network learns."""
    order, share = torch.randperm(len(x)), float(torch.rand(()))
    outputs = model(share * x + (1 - share) * x[order])
    return share * F.cross_entropy(outputs, y) + (1 - share) * F.cross_entropy(outputs, y[order])


@pytest.mark.parametrize(
    "step",
    [stepping(), stepping(mixed), stepping(decayed(1e-3)), stepping(after=clipped)],
    ids=["sound", "mixup", "little L2", "clipped"],
)
def test_a_step_that_trains_may_be_another_one(step):
    assert examined(by_margin(0, 1, step=step), BUDGET).is_healthy
