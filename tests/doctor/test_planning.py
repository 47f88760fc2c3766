"""Plans grow with the budget, keep to it, and set data apart that nobody trains on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from networks import classify, clusters, dense, draw, sgd
from thalweg import BudgetError, Problem, ProblemError
from thalweg._reduction import Reduction
from thalweg.doctor import Budget, Plan
from thalweg.doctor._planning import (
    CURVATURE_SHARE,
    LENGTHS,
    NUM_EPOCHS,
    NUM_RUNS,
    TRIAL_SHARE,
    fitted,
    plan_curvature,
    plan_trials,
    shortened,
)
from thalweg.doctor.remedies import Remedy

AMOUNTS = [10 * 1.3**k for k in range(40)]


@pytest.mark.parametrize("num_parameters", [50, 900, 5000])
@pytest.mark.parametrize("num_samples", [100, 5000])
def test_more_budget_reads_more_curvature(num_parameters, num_samples):
    """Exact beats estimated, all data beat fewer, more probes beat less."""

    def worth(plan):
        if plan is None:
            return (0, 0, 0)
        return (plan.dense_up_to, plan.num_samples or num_samples, plan.num_probes)

    plans = [plan_curvature(Budget(a, False), 1.0, num_parameters, num_samples) for a in AMOUNTS]
    worths = [worth(plan) for plan in plans]
    assert [w[:2] for w in worths] == sorted(w[:2] for w in worths)
    assert plans[0] is None
    assert plans[-1].num_samples is None
    assert (plans[-1].dense_up_to > 0) == (num_parameters <= 1000)


@pytest.mark.parametrize("num_parameters", [50, 900, 5000])
def test_the_curvature_keeps_to_its_share(num_parameters):
    """A product is two gradients: n of them, or about 150 and 48 a probe."""
    for amount in AMOUNTS:
        plan = plan_curvature(Budget(amount, False), 1.0, num_parameters, 5000)
        if plan is None:
            continue
        products = num_parameters if plan.dense_up_to else 150 + 48 * plan.num_probes
        share = (plan.num_samples or 5000) / 5000
        assert 2 * products * share <= CURVATURE_SHARE * amount * 1.01


def test_a_budget_in_gradients_does_not_look_at_the_clock():
    fast, slow = (plan_curvature(Budget(500, False), s, 5000, 5000) for s in (1e-6, 10.0))
    assert fast == slow
    fast, slow = (plan_curvature(Budget(500, True), s, 5000, 5000) for s in (1e-3, 10.0))
    assert fast != slow


def problem():
    return classify(dense(8, 5, 3), sgd(0.1))


def length(amount, batch_size=32):
    try:
        plan, _ = plan_trials(problem(), batch_size, Budget(amount, False), 0)
    except BudgetError:
        return 0
    return plan.num_steps


def test_more_budget_trains_longer_and_keeps_to_its_share():
    """A step on 32 of 256 samples is an eighth of a gradient."""
    lengths = [length(amount) for amount in AMOUNTS]
    assert lengths == sorted(lengths)
    assert set(lengths) <= {0, *LENGTHS}
    assert lengths[0] == 0
    assert lengths[-1] == max(step for step in LENGTHS if step <= NUM_EPOCHS * 256 / 32)
    for amount, num_steps in zip(AMOUNTS, lengths, strict=True):
        assert num_steps * NUM_RUNS / 8 <= TRIAL_SHARE * amount


@pytest.mark.parametrize(
    ("amount", "batch_size", "num_steps"),
    [(340, 32, 100), (160, 32, 50), (160, 8, 200), (700, 64, 100)],
)
def test_lengths_by_hand(amount, batch_size, num_steps):
    """0.55 of the budget for 14 runs, of which a step costs B/256: for instance 340 · 0.55 / 14 · 8
    = 107 steps."""
    assert length(amount, batch_size) == num_steps


@pytest.mark.parametrize("amount", [1e-3, 0.7, 9, 41, 79])
@pytest.mark.parametrize("batch_size", [16, 48, 256])
def test_a_budget_that_is_too_small_names_one_that_would_do(amount, batch_size):
    with pytest.raises(BudgetError, match=r"give \S+ or more") as refusal:
        plan_trials(problem(), batch_size, Budget(amount, False), 0)
    named = str(refusal.value).split("give ")[1].split()[0]
    plan, _ = plan_trials(problem(), batch_size, Budget.parse(named), 0)
    assert plan.num_steps == LENGTHS[-1]


def test_a_budget_in_seconds_measures_its_price():
    with pytest.raises(BudgetError, match=r"give \d+(\.\d+)?s or more"):
        plan_trials(problem(), 32, Budget(1e-4, True), 0)
    plan, _ = plan_trials(problem(), 32, Budget(3600, True), 0)
    assert plan.num_steps == 200


def test_shorter_plans_are_shorter_by_the_factor():
    plan, _ = plan_trials(problem(), 32, Budget(1e5, False), 0)
    assert shortened(plan, 1.5).num_steps == 100
    assert shortened(plan, 2.0).num_steps == 100
    assert shortened(plan, 2.1).num_steps == 50
    assert shortened(plan, 1e9).num_steps == LENGTHS[-1]


# -- data set apart -------------------------------------------------------------------------


def rows(batches):
    return {tuple(row.tolist()) for batch in batches for row in batch[0]}


def test_a_fifth_is_held_out_and_never_trained_on():
    whole = problem()
    plan, training = plan_trials(whole, 32, Budget(1e4, False), 0)
    assert len(rows(plan.held_out)) == 51
    assert rows(plan.held_out) | rows(training.batches) == rows(whole.batches)
    assert not rows(plan.held_out) & rows(training.batches)
    again, _ = plan_trials(whole, 32, Budget(1e4, False), 0)
    other, _ = plan_trials(whole, 32, Budget(1e4, False), 1)
    assert rows(again.held_out) == rows(plan.held_out) != rows(other.held_out)


def test_test_data_are_the_held_out_data():
    x, y = clusters()
    given = Problem(dense(8, 3), F.cross_entropy, (x[:200], y[:200]), test=(x[200:], y[200:]))
    plan, training = plan_trials(given, 32, Budget(1e4, False), 0)
    assert rows(plan.held_out) == rows(given.test_batches)
    assert rows(training.batches) == rows(given.batches)


def ragged(num_batches):
    """Sequences of different lengths, which no tensor can join."""
    return [(draw(3, 2 + k, 4, seed=k), torch.tensor([0, 1, 2])) for k in range(num_batches)]


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x).mean(1)


def test_ragged_batches_are_held_out_whole():
    plan, training = plan_trials(
        Problem(Pooled(), F.cross_entropy, ragged(10)), 3, Budget(1e4, False), 0
    )
    assert len(plan.held_out) == 2
    assert len(training.batches) == 8
    assert all(batch[0].shape[0] == 3 for batch in plan.held_out)


def test_where_nothing_can_be_held_out_test_data_are_asked_for():
    x, y = clusters()
    single = Problem(dense(8, 3), F.cross_entropy, (x[:1], y[:1]))
    with pytest.raises(ProblemError, match=r"test=\.\.\."):
        plan_trials(single, 1, Budget(1e4, False), 0)
    tested = Problem(dense(8, 3), F.cross_entropy, (x[:1], y[:1]), test=(x[1:9], y[1:9]))
    _, training = plan_trials(tested, 1, Budget(1e4, False), 0)
    assert training.num_samples == 1


PLANNED = Plan(200, 32, (), Reduction(lambda batch, _: 1.0, False, ""), 1)


@pytest.mark.parametrize(
    ("left", "num_direct", "num_others", "expected"),
    [
        # 200 steps of a tenth of the data are 20 gradients: 3 control, 3 × 3 finalists, 4 / 4
        # screened, and as many again with a smaller step.
        (1000.0, 0, 4, (200, 3)),
        (14 * 20.0, 0, 4, (200, 3)),
        (7 * 20.0, 0, 4, (100, 3)),
        (8 * 10.0, 0, 4, (100, 1)),
        # Of direct ones, the first alone: 6 runs.
        (6 * 20.0, 2, 4, (200, 1)),
        (6 * 10.0, 2, 4, (100, 1)),
        (6 * 3.0, 1, 0, (30, 1)),
        (6 * 0.75, 1, 0, (7, 1)),
        (0.0, 1, 0, (1, 1)),
    ],
)
def test_trials_fit_what_is_left(left, num_direct, num_others, expected):
    remedy = Remedy("any", "", lambda problem, _: problem)
    remedies = [replace(remedy, is_direct=True)] * num_direct + [remedy] * num_others
    plan, number = fitted(PLANNED, left, 0.1, remedies)
    assert (plan.num_steps, number) == expected


def test_scores_are_paid_for():
    """Six runs of 30 steps, three controls and three remedied, and what their scores cost."""
    remedy = Remedy("any", "", lambda problem, _: problem, is_direct=True)
    plan, _ = fitted(PLANNED, 6 * 3.0 + 10 * 0.5, 0.1, [remedy], scoring=0.5)
    assert plan.num_steps == 30


def test_where_they_name_their_epochs_a_proof_takes_a_quarter_of_one_at_least():
    remedy = Remedy("any", "", lambda problem, _: problem, is_direct=True)
    for fraction, least in ((0.1, 2), (0.025, 10), (0.001, 20)):
        plan, _ = fitted(PLANNED, 0.0, fraction, [remedy], num_epochs=10)
        assert plan.num_steps == least


def test_a_budget_in_seconds_keeps_its_plan():
    assert fitted(PLANNED, math.inf, 0.1, []) == (PLANNED, 3)
