"""A trial goes on from a training that was watched as if it had taken its steps itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from thalweg import Problem
from thalweg._reduction import Reduction
from thalweg.doctor._marks import APART, FIRST, SETTLING
from thalweg.doctor._planning import affordable_length
from thalweg.doctor._trial import Plan, Trial
from thalweg.doctor._watch import Watch

SEED, WATCHED = 3, 60


def _forgetful(model, batch, optimizer):
    x, y = batch
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.detach()


def _problem(kind, optimizer, **settings):
    torch.manual_seed(0)
    layers = {
        "plain": [nn.Tanh()],
        "norm": [nn.BatchNorm1d(8), nn.ReLU()],
        "dropout": [nn.ReLU(), nn.Dropout(0.5)],
    }[kind]
    model = nn.Sequential(nn.Linear(3, 8), *layers, nn.Linear(8, 2))
    x = torch.randn(103, 3)
    y = (x.prod(1) > 0).long()
    return Problem(
        model, F.cross_entropy, (x, y), test=(x, y), optimizer=optimizer, batch_size=10, epochs=20,
        **settings,
    )  # fmt: skip


def _plan(problem, num_steps, averaged=0.0):
    reduction = Reduction(lambda batch, _: float(len(batch[0])), False, "samples")
    return Plan(num_steps, 10, problem.test_batches, reduction, 1, averaged)


def _watch(problem):
    watch = Watch(problem, 10, SEED, 1)
    watch.until(25, WATCHED)
    watch.until(WATCHED, WATCHED)
    return watch


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01),
}


@pytest.mark.parametrize("kind", ["plain", "norm", "dropout"])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("step", [None, _forgetful])
def test_a_trial_that_goes_on_ends_where_one_from_the_start_does(kind, name, step):
    problem = _problem(kind, OPTIMIZERS[name], step=step)
    marks = _watch(problem).marks
    anew = Trial(problem.copied(), _plan(problem, 47), SEED)
    gone_on = Trial(problem.copied(), _plan(problem, 47), SEED, begun=marks)
    for num_steps in (47, 55, 80):
        one, other = anew.until(num_steps), gone_on.until(num_steps)
        assert other.after == one.after
        assert (other.losses, other.steps, other.before) == (one.losses, one.steps, one.before)
        assert other.num_samples < one.num_samples


@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.3, 220),
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda epoch: min(1.0, (epoch + 1) / 3)),
    ],
)
def test_so_it_does_under_a_schedule(schedule):
    problem = _problem("plain", OPTIMIZERS["Adam"], schedule=schedule)
    marks = _watch(problem).marks
    anew = Trial(problem.copied(), _plan(problem, 47), SEED)
    gone_on = Trial(problem.copied(), _plan(problem, 47), SEED, begun=marks)
    for num_steps in (47, 80):
        one, other = anew.until(num_steps), gone_on.until(num_steps)
        assert (other.losses, other.after) == (one.losses, one.after)
        assert other.num_samples < one.num_samples


def test_a_trial_from_a_later_step_has_the_rate_of_that_step():
    def made(lr):
        return _problem(
            "plain", lambda p: torch.optim.SGD(p, lr=lr, momentum=0.9),
            schedule=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5),
        )  # fmt: skip

    start = _watch(made(0.1)).marks.before(40)
    plan = replace(_plan(made(0.1), 20), start=start)
    epochs = start.num_steps // 11
    own = Trial(made(0.1).copied(), plan, SEED).optimizer
    other = Trial(made(0.4).copied(), plan, SEED).optimizer
    assert own.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**epochs)
    assert other.param_groups[0]["lr"] == pytest.approx(0.4 * 0.5**epochs)
    assert own.state_dict()["state"]
    assert not other.state_dict()["state"]
    double = replace(plan, batch_size=20)
    assert Trial(made(0.1).copied(), double, SEED).optimizer.param_groups[0]["lr"] == pytest.approx(
        0.1 * 0.5**epochs
    )


@pytest.mark.parametrize("num_steps", [9, 18, 47, 80])
@pytest.mark.parametrize("averaged", [0.0, 0.5])
def test_it_pays_only_for_its_own_steps(num_steps, averaged):
    problem = _problem("plain", OPTIMIZERS["SGD"])
    marks, plan = _watch(problem).marks, _plan(problem, num_steps, averaged)
    run = Trial(problem.copied(), plan, SEED, begun=marks).until(num_steps)
    spared = plan.spared(marks, num_steps)
    assert run.num_samples == 10 * (num_steps - spared)
    assert spared <= marks.within(num_steps) == _plan(problem, num_steps).spared(marks, num_steps)
    if FIRST < num_steps < WATCHED:
        assert num_steps / APART - 1 <= marks.within(num_steps) <= num_steps
    if averaged and num_steps == 47:
        assert spared < marks.within(47), "between its stops it repeats what lies behind a mark"


def test_normalisation_averages_over_the_last_steps_of_its_own():
    marks = _watch(_problem("norm", OPTIMIZERS["SGD"])).marks
    assert 0 < marks.within(47) <= 47 - SETTLING
    assert marks.within(FIRST + SETTLING - 1) == 0


def test_no_mark_is_made_of_a_state_that_may_not_be_whole():
    class Own(torch.optim.SGD):
        """Somebody's own optimizer."""

    own = _problem("plain", lambda p: Own(p, lr=0.1))

    class Steps:
        """Somebody's own schedule."""

        def step(self):
            """Does nothing."""

    scheduled = _problem("plain", OPTIMIZERS["SGD"], schedule=lambda _: Steps())
    for problem in (own, scheduled):
        assert _watch(problem).marks.within(WATCHED) == 0


def test_all_data_in_a_batch_leave_some_out_by_the_seed_and_so_start_anew():
    problem = _problem("plain", OPTIMIZERS["SGD"])
    marks = _watch(problem).marks
    plan = _plan(problem, 20)
    plan = Plan(20, 103, plan.held_out, plan.reduction, 1)
    run = Trial(problem.copied(), plan, SEED, begun=marks).until(20)
    assert run.num_samples == 20 * 103


def test_what_was_taken_before_makes_the_runs_longer():
    problem = _problem("plain", OPTIMIZERS["SGD"])
    marks, plan = _watch(problem).marks, _plan(problem, 50)
    assert affordable_length(plan, 160, 4) == 40
    length = affordable_length(plan, 160, 4, [marks])
    assert 50 <= length <= 54
    assert 4 * length - marks.within(length) <= 160
    stopping = _plan(problem, 50, averaged=0.5)
    for steps in range(100, 240):
        shorter = affordable_length(stopping, steps, 4, [marks])
        assert 4 * shorter - stopping.spared(marks, shorter) <= steps
    # What was watched ends before such long runs do.
    assert affordable_length(plan, 1600, 4, [marks]) == (1600 + marks.within(WATCHED)) // 4


def test_marks_hold_no_more_bytes_than_they_may(monkeypatch):
    """Of 3 · 8 + 8 + 8 · 2 + 2 numbers: parameters, gradients, momentum."""
    each = 3 * 4 * 50
    problem = _problem("plain", OPTIMIZERS["SGD"])
    assert len(_watch(problem).marks.kept) > 3
    for number in (0, 2):
        monkeypatch.setattr("thalweg.doctor._marks.MOST_BYTES", (number + 1) * each - 1)
        assert len(_watch(problem).marks.kept) == number
