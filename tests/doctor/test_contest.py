"""The contest: paired t tests that keep their level, breakdowns, and what becomes of a remedy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import mannwhitneyu, ttest_rel
from torch import nn

from networks import BATCH, classify, dense, regress, sgd
from thalweg import Pass
from thalweg.doctor import Budget, Plan, Run, Score
from thalweg.doctor._contest import contest
from thalweg.doctor._control import Control
from thalweg.doctor._heat import LOOKS, NUM_FINALISTS, SCREENING, Heat
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._observation import Watching
from thalweg.doctor._paired import MIN_GAIN, paired_gain
from thalweg.doctor._proving import _fits_less_in_use
from thalweg.doctor._readings import Readings
from thalweg.doctor._trial import Trial, made_optimizer, train
from thalweg.doctor._watch import Watch, settling
from thalweg.doctor.remedies import Remedy
from thalweg.signal import Signal


def run_of(after, before=1e6, seed=0):
    failure = "" if math.isfinite(after) else "the loss is nan at step 3"
    return Run(seed, (10,), (after,), Score(before, None), Score(after, None), failure, 0.0)


def runs_of(values, before=1e6):
    return [run_of(float(value), before, seed) for seed, value in enumerate(values)]


@pytest.mark.parametrize("num_seeds", [2, 3, 8])
def test_the_gain_is_that_of_scipys_paired_t_test_or_of_the_ranks(num_seeds):
    """Ranks take of the risk what the one case of all orders that they accept is by chance, where
    that is no more than half; the t test has the rest."""
    generator = np.random.default_rng(num_seeds)
    for _ in range(200):
        control = 1 + 0.2 * generator.standard_normal(num_seeds)
        remedied = control - 0.3 * generator.random() + 0.2 * generator.standard_normal(num_seeds)
        gain = paired_gain(runs_of(control), runs_of(remedied))
        by_ranks = mannwhitneyu(control, remedied, alternative="greater", method="exact")
        least = mannwhitneyu(range(num_seeds), range(-num_seeds, 0), alternative="greater").pvalue
        share = least if least <= 0.025 else 0.0
        oracle = ttest_rel(control, remedied, alternative="greater")
        assert gain.mean == pytest.approx(np.mean(control - remedied))
        low = oracle.confidence_interval(0.95 + share).low
        apart = min(control) - max(remedied) if share else -INF
        assert gain.low == pytest.approx(max(low, apart))
        is_large = gain.mean > MIN_GAIN * np.mean(control)
        is_seen = oracle.pvalue < 0.05 - share or by_ranks.pvalue <= share
        assert gain.is_proved == (is_seen and is_large)


def test_runs_that_all_end_below_all_others_prove_what_a_spread_hides():
    """Exactly one order in 70 of four and four; of three and three one in 20 is all the risk."""
    control, remedied = [0.511, 0.679, 0.870, 1.256], [0.475, 0.467, 0.481, 0.474]
    gain = paired_gain(runs_of(control), runs_of(remedied), num_compared=1 / LOOKS[1][1])
    assert ttest_rel(control, remedied, alternative="greater").pvalue > 0.05
    assert gain.is_proved
    assert gain.low == pytest.approx(0.511 - 0.481)
    swinging = [replace(run, along=(run.final_loss,)) for run in runs_of([0.305, 0.459, 0.105])]
    sound = [replace(run, along=(run.final_loss,)) for run in runs_of([0.071, 0.076, 0.08])]
    assert paired_gain(swinging, sound).low == pytest.approx(0.105 - 0.08)
    assert not paired_gain(runs_of([0.305, 0.459, 0.105]), sound).is_proved
    sound[2] = replace(sound[2], along=(0.2,))
    assert not paired_gain(swinging, sound).is_proved


def test_three_finalists_share_the_level():
    """Of 1,500 contests in which no remedy differs from their one control, at most 5 % may prove
    any, and the binomial error is 0.6 %."""
    generator = np.random.default_rng(1)
    any_proved = 0
    for _ in range(1500):
        control, *remedied = (runs_of(generator.normal(1, 0.3, 3)) for _ in range(4))
        any_proved += any(paired_gain(control, r, num_compared=3).is_proved for r in remedied)
    assert 0.01 < any_proved / 1500 <= 0.065


def test_nothing_is_proved_more_often_than_the_level_where_nothing_differs():
    """A/A: 1,500 pairs of equal distributions. The level is 5 %, its binomial error 0.6 %; on the
    last two Student's t is not exact."""
    generator = np.random.default_rng(0)
    draws = {
        "normal": lambda: generator.normal(1, 0.3, 3),
        "uniform": lambda: generator.random(3),
        "skewed": lambda: generator.exponential(size=3),
        "heavy": lambda: 10 + generator.standard_t(3, 3),
    }
    for name, draw in draws.items():
        proved = [paired_gain(runs_of(draw()), runs_of(draw())).is_proved for _ in range(1500)]
        assert np.mean(proved) <= 0.07, name
        assert np.mean(proved) > 0.005, name


@pytest.mark.parametrize("draw", ["normal", "exponential"])
def test_a_look_after_two_pairs_keeps_the_level(draw):
    """A/A, looked at after two pairs and, if nothing is proved by then and the mean is a gain,
    after four: as `contest` does. The level is 5 %, its binomial error 0.6 %."""
    generator = np.random.default_rng(2)
    proved = [0, 0]
    for _ in range(1500):
        size = LOOKS[-1][0]
        values = getattr(generator, draw)(size=(2, size))
        control, remedied = (runs_of(3 + each) for each in values)
        for look, (number, share) in enumerate(LOOKS):
            gain = paired_gain(control[:number], remedied[:number], num_compared=1 / share)
            proved[look] += gain.is_proved
            if gain.is_proved or gain.mean <= 0:
                break
    assert sum(share for _, share in LOOKS) == pytest.approx(1.0)
    assert 0.002 < proved[0] / 1500 <= 0.02
    assert sum(proved) / 1500 <= 0.065


def test_swinging_runs_that_differ_in_nothing_keep_the_level():
    """A/A of three, whose losses are averaged along the way: ranks take all of the 5 %."""
    generator = np.random.default_rng(3)

    def swinging():
        values = 5 + generator.standard_t(3, (3, 2))
        return [replace(run, along=(each[1],)) for run, each in
                zip(runs_of(values[:, 0]), values, strict=True)]  # fmt: skip

    proved = [paired_gain(swinging(), swinging()).is_proved for _ in range(1500)]
    assert 0.03 < np.mean(proved) <= 0.065


def test_a_gain_below_two_percent_is_no_gain():
    control = [1.0, 1.0001, 0.9999]
    assert not paired_gain(runs_of(control), runs_of([c - 0.019 for c in control])).is_proved
    assert paired_gain(runs_of(control), runs_of([c - 0.021 for c in control])).is_proved


def test_no_difference_proves_nothing():
    control = runs_of([0.3, 0.5, 0.4])
    gain = paired_gain(control, control)
    assert (gain.mean, gain.low, gain.is_proved) == (0.0, 0.0, False)


def test_one_pair_proves_nothing():
    assert not paired_gain(runs_of([1.0]), runs_of([0.0])).is_proved


INF = math.inf
DIVERGED = [
    # control, remedied (all began at 1), proved
    ([1.1, 9.0, 300.0], [0.5, 0.55, 0.6], True),
    ([0.9, 9.0, 300.0], [0.89, 0.95, 0.99], False),
    ([INF, INF, INF], [0.1, 0.2, 0.15], True),
    ([INF, INF, INF], [1.2, 1.1, 1.3], False),
    ([INF, INF, INF], [0.1, 0.2, INF], False),
    ([INF, INF, INF], [INF, INF, INF], False),
    ([INF, 0.5, 0.52], [0.49, 0.5, 0.53], False),
    ([INF, 0.9, 0.95], [0.1, 0.05, 0.02], True),
    ([0.5, 0.6, 0.4], [0.1, 0.1, INF], False),
    ([math.nan, math.nan, math.nan], [0.1, 0.2, 0.15], True),
]


@pytest.mark.parametrize(("control", "remedied", "is_proved"), DIVERGED)
def test_how_far_a_control_diverges_does_not_count(control, remedied, is_proved):
    """It counts as one that has not moved; a single breakdown is chance."""
    gain = paired_gain(runs_of(control, before=1.0), runs_of(remedied, before=1.0))
    assert gain.is_proved is is_proved
    has_broken = any(not math.isfinite(c) for c in control)
    assert (gain.mean == INF) == (is_proved and has_broken)
    if math.isfinite(gain.mean) and all(map(math.isfinite, remedied)):
        capped = [min(c, 1.0) for c in control]
        assert gain.mean == pytest.approx(np.mean(np.subtract(capped, remedied)))


def test_a_control_that_swings_counts_at_most_a_blind_answers_loss_at_every_look():
    """One peak of a hundred would pass for doubt, a last value in a dip for a sound training."""
    swinging = [replace(run_of(0.4, before=1.0), along=(100.0, peak, 1.0)) for peak in (0.9, 0.8)]
    sound = [replace(run_of(0.1, before=1.0), along=(0.2, 0.2, each)) for each in (0.1, 0.12)]
    gain = paired_gain(swinging, sound, 1.0)
    expected = [(1.0 + 0.9 + 1.0 + 0.4) / 4 - 0.15, (1.0 + 0.8 + 1.0 + 0.4) / 4 - 0.155]
    assert gain.mean == pytest.approx(sum(expected) / 2)
    assert gain.is_proved
    thrown = [replace(sound[0], along=(math.nan, 0.2, 0.1)), sound[1]]
    assert not paired_gain(swinging, thrown, 1.0).is_proved


def test_a_trained_network_that_is_destroyed_counts_up_to_a_blind_answer():
    """Began at 0.01; what keeps it at 0.1 is a remedy, though 0.1 is worse than 0.01."""
    control, remedied = runs_of([0.9, 0.8, 5.0], 0.01), runs_of([0.1, 0.12, 0.11], 0.01)
    assert not paired_gain(control, remedied).is_proved
    gain = paired_gain(control, remedied, blind_loss=1.1)
    assert gain.is_proved
    assert gain.mean == pytest.approx((0.8 + 0.68 + 0.99) / 3)


# -- the whole contest ----------------------------------------------------------------------

NUM_STEPS = 24


def ready(problem, num_seeds=3):
    """The readings of a problem whose control was trained, and the problem."""
    plan = Plan(NUM_STEPS, BATCH, problem.batches, problem.reduction, 1)
    control = tuple(train(problem.copied(), plan, seed) for seed in range(num_seeds))
    passed = Pass.of(problem)
    return Readings(
        problem, passed, Signal.of(passed), None, made_optimizer(problem.copied()),
        control, plan, None, None,
    )  # fmt: skip


def play(remedies, readings, ledger=None):
    ledger = ledger or Ledger(lambda *_: None, Budget(1e6, False))
    tried = contest(remedies, readings.problem, readings, ledger, (0.0, 1.0))
    assert {t.name.split(",")[0] for t in tried} == {r.name for r in remedies}
    return {t.name: t for t in tried}


def with_lr(name, lr):
    return Remedy(name, "", lambda problem, _: replace(problem, optimizer=sgd(lr)), True)


def unchanged(problem, generator):
    return problem


@pytest.fixture(scope="module")
def slow():
    """A network whose learning rate is far too small."""
    return ready(classify(dense(8, 16, 3), sgd(1e-4)))


def test_no_change_is_no_remedy(slow):
    """The same seeds, data order and steps: the runs are the control's, to the bit."""
    tried = play([Remedy("nothing", "", unchanged, True)], slow)["nothing"]
    assert [replace(r, seconds=0) for r in tried.runs] == [
        replace(r, seconds=0) for r in slow.control
    ]
    assert (tried.gain.mean, tried.is_proved) == (0.0, False)
    assert tried.outcome == "not proved to help"


def test_what_helps_is_proved_and_comes_first(slow):
    remedies = [with_lr("worse", 1e-6), with_lr("better", 0.3), with_lr("good", 0.03)]
    tried = list(play(remedies, slow).values())
    assert [t.name for t in tried] == ["better", "good", "worse"]
    assert [t.is_proved for t in tried] == [True, True, False]
    for t in tried:
        gains = [c.final_loss - r.final_loss for c, r in zip(slow.control, t.runs, strict=True)]
        assert t.gain.mean == pytest.approx(np.mean(gains))
        assert [r.seed for r in t.runs] == [0, 1, 2]
        assert t.screening.num_steps == NUM_STEPS // SCREENING
        assert t.screening.seed not in (0, 1, 2)


def test_only_the_best_of_the_screening_go_on(slow):
    rates = [0.3, 1e-5, 0.1, 1e-6, 0.03]
    tried = play([with_lr(f"{lr:g}", lr) for lr in rates], slow)
    assert {name for name, t in tried.items() if t.runs} == {"0.3", "0.1", "0.03"}
    assert NUM_FINALISTS == 3
    for name in ("1e-05", "1e-06"):
        assert tried[name].outcome == "dropped after 6 steps: 3 others were ahead"
        assert tried[name].gain is None


class Scale(nn.Module):
    def forward(self, x):
        return 3 * x


def test_a_change_that_does_not_train_is_tried_slower():
    """Inputs × 3 make the curvature 9 times larger: too much for the learning rate as it is, and
    not for a tenth of it."""
    readings = ready(regress(dense(8, 1), sgd(0.05)))

    def steeper(problem, generator):
        return replace(problem, model=nn.Sequential(Scale(), problem.model))

    (tried,) = play([Remedy("steeper", "scale it", steeper)], readings).values()
    assert tried.name == "steeper, learning rate 0.005"
    assert tried.code.startswith("scale it\n")
    assert all(not run.failure for run in tried.runs)


def test_a_change_of_the_step_itself_is_not_made_slower():
    readings = ready(regress(dense(8, 1), sgd(0.01)))
    tried = play([with_lr("far too large", 50.0)], readings)["far too large"]
    assert tried.screening.failure or tried.screening.last_loss > readings.passed.value
    assert not tried.is_proved


def test_what_raises_ends_as_a_sentence_wherever_it_raises(slow):
    """At once, or only in the full runs, when a later seed meets what the screening did not."""
    calls = []

    def at_once(problem, generator):
        raise KeyError("no such layer\nsecond line")

    def later(problem, generator):
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("too late")
        return replace(problem, optimizer=sgd(0.3))

    tried = play([Remedy("at once", "", at_once, True), Remedy("later", "", later, True)], slow)
    failed = tried["at once"], tried["later"]
    assert failed[0].outcome == (
        "could not be run on this network: KeyError: 'no such layer\\nsecond line'"
    )
    assert failed[1].outcome == "could not be run on this network: RuntimeError: too late"
    assert [t.screening is None for t in failed] == [True, False]
    assert not any(t.is_proved or t.runs for t in failed)


def test_when_the_time_is_up_one_remedy_is_proved_all_the_same(slow):
    ledger = Ledger(lambda *_: None, Budget(1e-9, True))
    tried = play([with_lr("a", 0.3), with_lr("b", 0.1)], slow, ledger)
    assert tried["a"].is_proved
    assert tried["b"].runs == ()
    assert "time was up" in tried["b"].outcome


def test_progress_only_rises(slow):
    told = []
    ledger = Ledger(lambda stage, share: told.append((stage, share)), Budget(1e6, False))
    contest([with_lr("a", 0.3), with_lr("b", 0.1)], slow.problem, slow, ledger, (0.5, 1.0))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert all(0.5 <= share <= 1.0 for share in shares)
    assert [stage for stage, _ in told][:3] == ["trying a", "trying b", "proving a"]


def test_what_takes_away_the_cause_is_proved_first_and_alone(slow):
    """The better one is not even tried: a cause that is gone needs no other remedy."""
    direct = replace(with_lr("direct", 0.03), is_direct=True)
    tried = play([with_lr("better", 0.3), direct], slow)
    assert list(tried) == ["direct", "better"]
    assert tried["direct"].is_proved
    assert tried["direct"].screening is None
    assert tried["better"].runs == ()
    assert tried["better"].outcome.startswith("not tried: direct is proved")


def test_where_the_direct_one_fails_the_others_are_tried(slow):
    tried = play([replace(with_lr("direct", 1e-6), is_direct=True), with_lr("better", 0.3)], slow)
    assert [(name, t.is_proved) for name, t in tried.items()] == [
        ("better", True),
        ("direct", False),
    ]


def test_what_is_left_proves_the_next_where_it_buys_no_screening(slow):
    """Of 2.2 remedies' runs, the direct one takes one; four runs and a screening do not fit."""
    price = sum(run.cost for run in slow.control) / slow.problem.num_samples
    ledger = Ledger(lambda *_: None, Budget(2.2 * price, False))
    direct = replace(with_lr("direct", 1e-6), is_direct=True)
    others = [with_lr("better", 0.3), with_lr("good", 0.03)]
    with ledger.measuring("remedies", 0.0):
        tried = contest([direct, *others], slow.problem, slow, ledger, (0.0, 1.0))
        assert ledger.gradients_left >= 0
    assert [(t.name, t.is_proved, len(t.runs)) for t in tried] == [
        ("better", True, 3),
        ("direct", False, 3),
        ("good", False, 0),
    ]
    assert tried[0].screening is None


def test_many_are_halved_in_shorter_runs_first(slow):
    rates = [0.3, 0.1, 0.03, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9]
    tried = play([with_lr(f"{lr:g}", lr) for lr in rates], slow)
    assert {name for name, t in tried.items() if t.runs} == {"0.3", "0.1", "0.03"}
    early = [name for name, t in tried.items() if "after 3 steps: 4 others" in t.outcome]
    late = [name for name, t in tried.items() if "after 6 steps: 3 others" in t.outcome]
    assert (len(early), len(late)) == (4, 1)


def test_losses_in_other_units_are_compared_as_shares_of_a_constant_answers(slow):
    """A loss a thousand times smaller is no better; one that learns is, however large."""

    def scaled_by(factor, lr):
        def apply(problem, generator):
            loss = lambda z, y: factor * problem.loss(z, y)  # noqa: E731
            return replace(problem, loss=loss, optimizer=sgd(lr / factor))

        return apply

    smaller = Remedy("smaller", "", scaled_by(1e-3, 1e-4), True, changes_loss=True)
    learns = Remedy("learns", "", scaled_by(1e3, 0.3), True, changes_loss=True)
    tried = play([smaller, learns], slow)
    assert not tried["smaller"].is_proved
    assert tried["learns"].is_proved


def begun(readings):
    """With the control's runs of the first look alone."""
    return replace(readings, control=readings.control[:2])


def of_two(readings):
    """The control with two runs, which may become more and longer."""
    control = Control(readings.problem, readings.plan, 0, may_raise=False)
    for _ in range(2):
        control.another()
    return control


def test_a_rival_is_named_first_only_where_it_ends_clearly_lower(slow):
    def played(rate, rival):
        first = replace(with_lr("first", rate), is_direct=True, rivals=(with_lr("rival", rival),))
        ledger = Ledger(lambda *_: None, Budget(1e6, False))
        tried = contest([first, with_lr("last", 0.2)], slow.problem, slow, ledger, (0.0, 1.0))
        return [t.name for t in tried], [t.is_proved for t in tried]

    assert played(0.03, 0.3) == (["rival", "first", "last"], [True, True, False])
    assert played(0.3, 0.3001) == (["first", "rival", "last"], [True, True, False])
    assert played(0.3, 1e-6) == (["first", "rival", "last"], [True, False, False])


def test_a_rival_is_tried_only_where_the_budget_lets_it_be(slow):
    first = replace(with_lr("first", 0.3), is_direct=True, rivals=(with_lr("rival", 0.4),))
    price = sum(run.cost for run in slow.control)
    number = {}
    for times in (1.5, 2.5):
        budget = Budget(times * price / slow.problem.num_samples, False)
        ledger = Ledger(lambda *_: None, budget)
        with ledger.measuring("remedies", 0.0):
            tried = contest([first], slow.problem, slow, ledger, (0.0, 1.0))
            assert ledger.gradients_left >= 0
        number[times] = len(tried)
    assert number == {1.5: 1, 2.5: 2}


def test_a_broken_control_that_was_cheap_lets_nobody_overspend():
    readings = ready(classify(dense(8, 16, 3), sgd(1e8)))
    assert all(run.failure for run in readings.control)
    rivals = tuple(with_lr(f"{lr:g}", lr) for lr in (0.2, 0.1, 0.05, 0.02))
    first = replace(with_lr("first", 0.3), is_direct=True, rivals=rivals)
    total = 3 * (NUM_STEPS * BATCH + 2 * readings.problem.num_samples / 3)
    budget = Budget(2.5 * total / readings.problem.num_samples, False)
    ledger = Ledger(lambda *_: None, budget)
    with ledger.measuring("remedies", 0.0):
        tried = contest([first], readings.problem, readings, ledger, (0.0, 1.0))
        assert ledger.gradients_left >= 0
    assert [len(t.runs) for t in tried] == [3, 3]


def waking(num_steps, before=0.0):
    """A step along the gradient times `before` until so many were taken: 0 as on a plateau."""

    def apply(problem, generator):
        taken = []

        def step(model, batch, optimizer):
            taken.append(1)
            optimizer.zero_grad()
            loss = problem.loss(model(batch[0]), batch[1])
            (loss if len(taken) > num_steps else before * loss).backward()
            optimizer.step()
            return loss.detach()

        return replace(problem, step=step, optimizer=sgd(0.3))

    return Remedy("wakes", "", apply, True, is_direct=True)


@pytest.mark.parametrize(("budget", "is_longer"), [(20.0, True), (4.2, False)])
def test_pairs_of_which_neither_has_learned_are_gone_on_with(slow, budget, is_longer):
    """On a plateau they say nothing; where the budget lets them be longer, they are, on both sides
    alike, and no steps are taken twice."""
    two = begun(slow)
    watching = Watching(
        two.problem, two.problem, two.plan, 0, Ledger(lambda *_: None, Budget(1e6, False))
    )
    two = replace(two, observed=watching.first_steps())
    control = of_two(two)
    two, before = replace(two, control=tuple(control.runs)), control.cost
    ledger = Ledger(lambda *_: None, Budget(budget, False))
    with ledger.measuring("remedies", 0.0) as spent:
        remedies = [waking(NUM_STEPS + 6)]
        tried = contest(remedies, two.problem, two, ledger, (0.0, 1.0), more=control)[0]
    steps = {run.num_steps for run in (*tried.runs, *control.runs)}
    assert (steps != {NUM_STEPS}) == is_longer
    assert tried.is_proved == is_longer
    paid = sum(spent) * two.problem.num_samples
    assert paid == pytest.approx(sum(run.cost for run in tried.runs) + control.cost - before)


def divided_again(output, target):
    return F.cross_entropy(output, target) / len(target)


def test_pairs_are_gone_on_with_where_the_remedied_loss_is_in_other_units():
    """Scores are taken on more samples than a minibatch has: this loss is smaller there."""
    two = begun(ready(replace(classify(dense(8, 16, 3), sgd(0.0)), loss=divided_again)))
    watching = Watching(
        two.problem, two.problem, two.plan, 0, Ledger(lambda *_: None, Budget(1e6, False))
    )
    two = replace(two, observed=watching.first_steps())
    control, wakes = of_two(two), waking(NUM_STEPS + 6)

    def apply(problem, generator):
        return wakes.apply(replace(problem, loss=F.cross_entropy), generator)

    mended = replace(wakes, apply=apply, changes_loss=True)
    ledger = Ledger(lambda *_: None, Budget(20.0, False))
    two = replace(two, control=tuple(control.runs))
    assert control.runs[0].final_loss < two.blind_loss / 2
    heat = Heat(two.problem, two, ledger, (0.0, 1.0), 1, 1, control)
    scored = len(two.plan.held_out[0][1])
    assert heat.blind == pytest.approx(two.blind_loss * BATCH / scored, rel=0.1)
    with ledger.measuring("remedies", 0.0):
        (tried,) = contest([mended], two.problem, two, ledger, (0.0, 1.0), more=control)
    assert {run.num_steps for run in (*tried.runs, *control.runs)} != {NUM_STEPS}
    assert tried.is_proved


def test_a_huge_effect_is_proved_in_two_pairs_and_a_smaller_one_in_four(slow):
    """And one pair shows harm."""
    two, ledger = begun(slow), Ledger(lambda *_: None, Budget(1e6, False))

    def blown_up(problem, generator):
        with torch.no_grad():
            problem.model[-1].weight.mul_(100.0)
        return problem

    def played(remedy):
        remedies = [replace(remedy, is_direct=True)]
        control = of_two(two)
        tried = contest(remedies, two.problem, two, ledger, (0.0, 1.0), more=control)[0]
        return tried, len(tried.runs), len(control.runs)

    rates = [with_lr("other", lr) for lr in (0.3, 1e-6, 1e-3)]
    tried = [played(each) for each in (*rates, Remedy("blown up", "", blown_up, True))]
    (huge, *after_huge), (idle, *after_idle), (_, *after_small), (harm, *after_harm) = tried
    assert (huge.is_proved, idle.is_proved, harm.is_proved) == (True, False, False)
    assert (after_huge, after_idle, after_small) == ([2, 2], [2, 2], [4, 4])
    assert after_harm == [1, 2]
    assert harm.gain.mean < 0


@pytest.mark.parametrize(("budget", "is_longer"), [(40.0, True), (4.0, False)])
def test_what_was_given_up_early_is_tried_once_more_on_all_that_is_left(slow, budget, is_longer):
    """By the share of the risk that a second look was to have."""
    two = begun(slow)
    two = replace(two, problem=replace(two.problem, epochs=30))
    control, ledger = of_two(two), Ledger(lambda *_: None, Budget(budget, False))
    before = control.cost
    with ledger.measuring("remedies", 0.0) as spent:
        remedies = [waking(NUM_STEPS, before=-0.2)]
        tried = contest(remedies, two.problem, two, ledger, (0.0, 1.0), more=control)
        assert ledger.gradients_left >= 0
    (late,) = tried
    assert late.is_proved == is_longer
    steps = {run.num_steps for run in (*late.runs, *control.runs)}
    assert (steps != {NUM_STEPS}) == is_longer
    paid = sum(spent) * two.problem.num_samples
    assert paid >= sum(run.cost for run in late.runs) + control.cost - before
    if is_longer:
        (number, share), _ = LOOKS
        expected = paired_gain(control.runs[:number], late.runs, two.blind_loss, 1 / (1 - share))
        assert late.gain.low == pytest.approx(expected.low)


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_proof_goes_on_as_far_as_the_budget_does(slow, number):
    """Runs with the remedy, and those without that are not there yet; the last look has the rest
    of the risk, so that fewer pairs are no harder to prove by."""
    two = begun(slow)
    price = number * slow.control[0].cost + (number - 2) * slow.control[2].cost
    ledger = Ledger(lambda *_: None, Budget(1.001 * price / two.problem.num_samples, False))
    remedies = [replace(with_lr("other", 1e-3), is_direct=True)]
    control = of_two(two)
    tried = contest(remedies, two.problem, two, ledger, (0.0, 1.0), more=control)[0]
    assert len(tried.runs) == number
    share = LOOKS[1][1] if number > 2 else 1.0
    expected = paired_gain(control.runs[:number], tried.runs, two.blind_loss, 1 / share)
    assert tried.gain.low == pytest.approx(expected.low)


def test_a_remedys_minibatches_take_as_many_samples_in_all(slow):
    larger = Remedy("larger", "", lambda problem, _: replace(problem, batch_size=4 * BATCH), True)
    tried = play([larger], slow)["larger"]
    assert [run.num_steps for run in tried.runs] == [NUM_STEPS // 4] * 3
    assert {run.num_samples for run in tried.runs} == {NUM_STEPS * BATCH}


def _normalised(on_shifted):
    """What learns its minibatches, but in use meets statistics that it never had."""
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    with torch.no_grad():
        model[1].running_mean.fill_(-100.0 if on_shifted else 0.0)
    model[1].momentum = 0.0 if on_shifted else 0.1
    return classify(model, sgd(0.05))


def test_less_fit_is_judged_in_use_where_training_runs_another_network(slow):
    def compared(before, after):
        control = Control(slow.problem, slow.plan, 0, may_raise=False)
        control.runs = list(slow.control)
        control.trials = [Trial(before.copied(), slow.plan, seed) for seed in (0, 1)]
        ledger = Ledger(lambda *_: None, Budget(1e6, False))
        heat = Heat(slow.problem, slow, ledger, (0.0, 1.0), 1, 1, control)
        with ledger.measuring("", 0.0) as spent:
            fits_less = _fits_less_in_use(
                heat, [Trial(after.copied(), slow.plan, seed) for seed in (0, 1)]
            )
        return fits_less, sum(spent) * slow.problem.num_samples

    shifted, sound = map(_normalised, (True, False))
    paid = pytest.approx(4 * settling(BATCH) * BATCH / 3)
    assert compared(shifted, sound) == (False, paid)
    assert compared(sound, shifted) == (True, paid)
    # What trains as it is used was judged by its own minibatches already.
    plain = classify(dense(8, 16, 3), sgd(0.05))
    assert compared(plain, plain) == (True, 0)


@pytest.mark.parametrize("num_watched", [0, 30, 60])
def test_after_a_longer_look_that_says_something_a_third_pair_is_added(slow, num_watched):
    """Two that sleep until the end of the first look, and wake soon after it.

    Nobody overspends, however far the control's first run was watched already.
    """
    two = begun(slow)
    watching = Watching(
        two.problem, two.problem, two.plan, 0, Ledger(lambda *_: None, Budget(1e6, False))
    )
    two = replace(two, observed=watching.first_steps())
    budget = 5 * LOOKS[1][0] * two.plan.price(two.problem) / two.problem.num_samples
    found = {}
    watch = Watch(two.problem, BATCH, 0, 1)
    watch.until(num_watched, num_watched)
    for until in (NUM_STEPS + 2, 100 * NUM_STEPS):
        control = Control(two.problem, two.plan, 0, False, watch.marks)
        control.another()
        control.another()
        given = replace(two, control=tuple(control.runs))
        ledger = Ledger(lambda *_: None, Budget(budget, False))
        with ledger.measuring("remedies", 0.0) as spent:
            remedies = [waking(until)]
            tried = contest(remedies, given.problem, given, ledger, (0.0, 1.0), more=control)[0]
        assert sum(spent) <= budget
        found[until] = (len(tried.runs), tried.runs[0].num_steps, tried.is_proved)
        assert {run.num_steps for run in (*tried.runs, *control.runs)} == {found[until][1]}
    (woken, steps, is_proved), (asleep, more_steps, is_never) = found.values()
    assert (woken, is_proved, asleep, is_never) == (3, True, 2, False)
    assert NUM_STEPS < steps < more_steps
