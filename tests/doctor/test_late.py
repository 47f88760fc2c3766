"""What goes wrong late is proved from where it shows; what is lost again is watched on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, make_circles
from test_remedies import readings_of
from test_trial import plan_of
from torch import nn

from networks import adam, classify, clusters, dense, examined, sgd
from thalweg import Problem, examine
from thalweg._budget import Budget
from thalweg.doctor import Ailment, InterruptedExamination
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._levels import Levels
from thalweg.doctor._observation import Watching
from thalweg.doctor._trial import Trial, made_optimizer
from thalweg.doctor._trying import _from_where_it_shows
from thalweg.doctor._watch import Watch
from thalweg.doctor.remedies._activation import relu
from thalweg.doctor.remedies._learning_rate import slower
from thalweg.doctor.remedies._settings import usual_momentum

EPOCHS, SIZE = 15, 16


def rings(momentum):
    points, y = make_circles(700, noise=0.1, factor=0.5, random_state=3)
    x, y = torch.tensor(points).float(), torch.tensor(y)
    return Problem(
        dense(2, 32, 32, 2, activation=nn.Tanh), F.cross_entropy, (x[200:], y[200:]),
        test=(x[:200], y[:200]), optimizer=sgd(0.1, momentum), batch_size=SIZE, epochs=EPOCHS,
    )  # fmt: skip


def test_momentum_that_first_helps_is_proved_to_harm_from_where_it_has_gathered():
    examination = examined(rings(0.999), f"{1.3 * EPOCHS}g")
    assert examination.findings[0].ailment is Ailment.MOMENTUM
    best = examination.proved[0]
    assert best.name == "momentum 0.9"
    # A tenth of the training was watched, though it was found before.
    assert examination.findings[0].found_after < examination.num_watched == 1.5 * 32
    assert 0 < examination.begun_at <= examination.num_watched
    assert best.outcome == (
        f"proved to help from step {examination.begun_at} of the watched training on"
    )
    assert examination.stretch.endswith(f"steps from step {examination.begun_at} on")
    assert {run.seed for run in best.runs} == {run.seed for run in examination.control}
    # All begin alike, where that training stood: not where the network did.
    (start,) = {run.before.loss for run in (*best.runs, *examination.control)}
    assert start != pytest.approx(examination.loss, rel=0.1)
    assert sum(m.gradients for m in examination.measurements) <= 1.3 * EPOCHS
    assert examined(rings(0.9), f"{1.3 * EPOCHS}g").is_healthy


def digits(momentum):
    x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
    x = x.float() / 16
    return Problem(
        dense(64, 50, 10), F.cross_entropy, (x[500:1700], y[500:1700]),
        test=(x[:500], y[:500]), optimizer=sgd(0.5, momentum), batch_size=20, epochs=12,
    )  # fmt: skip


def test_a_rate_that_was_meant_without_momentum_loses_it():
    examination = examined(digits(0.998), "15.6g")
    assert [finding.ailment for finding in examination.findings] == [Ailment.MOMENTUM]
    without, usual, *_ = examination.remedies
    assert (without.name, without.is_proved) == ("no momentum", True)
    assert without.code.endswith('group["momentum"] = 0.0')
    assert usual.name == "momentum 0.9"
    assert usual.outcome == "its first run did not train, and no momentum ended lower"
    assert usual.gain is None
    (run,) = usual.runs
    assert run.level() > 1.05 * without.runs[0].level()
    # One run has no spread.
    shown = str(examination)
    assert f"{run.final_loss:.4g} " in shown
    assert f"{run.final_loss:.4g} ±" not in shown
    assert run.seed == without.runs[0].seed
    # From before it was thrown off, after which no remedy trains it: units are dead.
    assert 0 < examination.begun_at < 40 < examination.num_watched
    assert all(run.before.loss < examination.loss for run in without.runs)
    assert sum(m.gradients for m in examination.measurements) <= 15.6
    assert examined(digits(0.0), "15.6g").is_healthy


def after(problem, mark, num_steps, seed, keeps):
    """By hand: weights, what the optimizer had gathered where that is kept, and so many steps."""
    problem = problem.copied()
    optimizer = made_optimizer(problem)
    with torch.no_grad():
        for name, p in problem.model.named_parameters():
            p.copy_(mark.tensors[name])
    if keeps:
        optimizer.load_state_dict(mark.optimizer)
    stream = problem.minibatches(SIZE, torch.Generator().manual_seed(seed))
    for _ in range(num_steps):
        x, y = next(stream)
        optimizer.zero_grad()
        F.cross_entropy(problem.model(x), y).backward()
        optimizer.step()
    return problem.model.state_dict()


@pytest.mark.parametrize("momentum", [0.99, 0.5])
def test_a_trial_goes_on_with_what_was_gathered_only_under_the_same_settings(momentum):
    problem = classify(dense(8, 16, 3), sgd(0.05, 0.99), batch_size=SIZE, epochs=20)
    watch = Watch(problem, SIZE, 0, 1)
    watch.until(40, 40)
    mark = watch.marks.kept[-1]
    other = replace(problem, optimizer=sgd(0.05, momentum))
    plan = replace(plan_of(problem, 12, SIZE), start=mark)
    own = other.copied()
    run = Trial(own, plan, 7).until(12)
    wanted = after(other, mark, 12, 7, keeps=momentum == 0.99)
    for name, tensor in own.model.state_dict().items():
        assert torch.equal(tensor, wanted[name])
    assert run.num_samples == 12 * SIZE
    assert mark.optimizer["state"], "handing it on leaves the mark as it is"


def test_interrupted_it_says_what_was_passed_over():
    proofs = []

    def stop(stage, share):
        if stage == "proving no momentum":
            proofs.append(stage)
            if len(proofs) == 2:
                raise KeyboardInterrupt

    with pytest.raises(InterruptedExamination) as caught:
        examine(digits(0.998), budget="15.6g", progress=stop)
    outcomes = {tried.name: tried.outcome for tried in caught.value.found.remedies}
    assert outcomes["momentum 0.9"] == "its first run did not train, and no momentum ended lower"
    assert all(
        outcome == "not proved: interrupted before its full runs"
        for name, outcome in outcomes.items()
        if name != "momentum 0.9"
    )


def readings_watched():
    problem = classify(dense(8, 5, 3, activation=nn.Sigmoid), sgd(0.2, 0.99), epochs=20)
    readings = readings_of(problem)
    ledger = Ledger(lambda stage, share: None, Budget.parse("100g"))
    watching = Watching(problem, problem, readings.plan, 0, ledger)
    readings = replace(readings, observed=watching.whole())
    assert readings.watched.marks.kept
    return readings


def test_only_what_changes_the_step_alone_is_tried_from_there():
    readings = readings_watched()
    step, network = usual_momentum(readings), slower(relu(readings), readings)
    assert step.keeps_network
    assert network.changes_step
    assert not network.keeps_network
    ledger = Ledger(lambda stage, share: None, Budget.parse("100g"))
    plan, tried = _from_where_it_shows(readings.plan, readings, (step, network), ledger)
    assert tried == (step,)
    assert plan.start is readings.watched.marks.kept[-1]
    assert [omission.name for omission in ledger.omissions] == [f"remedy: {network.name}"]
    plan, tried = _from_where_it_shows(readings.plan, readings, (network, step), ledger)
    assert plan.start is None
    assert tried == (network, step)


def test_without_momentum_there_is_no_step_of_nesterov():
    problem = classify(
        dense(8, 5, 3), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.99, nesterov=True)
    )
    without = usual_momentum(readings_of(problem)).thorough
    healed = without.apply(problem.copied(), torch.Generator())
    (group,) = made_optimizer(healed).param_groups
    assert (group["momentum"], group["nesterov"]) == (0.0, False)
    assert 'group["nesterov"] = False' in without.code


LEVELS = Levels(blind=1.0, floor=0.0, explained=1.0, attainable=None)


@pytest.mark.parametrize(
    ("losses", "at"),
    [
        ([0.95] * 9 + [0.85] * 10 + [2.0] * 30, 19),
        ([0.95] * 9 + [0.91] * 10 + [2.0] * 30, None),  # less than a tenth
        ([0.5] * 9, None),  # too few to tell
        ([], None),
    ],
)
def test_the_lowest_stretch_is_one_in_which_something_was_learned(losses, at):
    assert LEVELS.lowest_at(losses) == at


@pytest.mark.parametrize(
    ("epochs", "since"),
    [
        ([0.9, 0.5, 0.3, 0.2], None),  # falls
        ([0.9, 0.5, 0.3, 0.38, 0.2], None),  # by less than a tenth
        ([0.9, 0.5, 0.3, 0.45, 0.2], 3),
        ([0.9, 0.5, 0.3, 0.35, 0.45], 3),  # above the lowest, not above the last
        ([0.8, 0.95, 0.7, 0.9], None),  # little had been learned
        ([], None),
    ],
)
def test_what_is_lost_again_is_told_by_the_lowest_epoch(epochs, since):
    losses = [loss for loss in epochs for _ in range(20)]
    assert LEVELS.lost_since(losses, 20) == (since and 20 * since)


def test_a_training_that_loses_again_what_it_had_learned_is_watched_on():
    """Steps of 0.13 throw it back, again and again; of 0.01 they do not."""
    x, y = clusters()

    def watched(lr):
        model = dense(8, 24, 24, 24, 3, activation=nn.Tanh)
        problem = Problem(
            model, F.cross_entropy, (x, y), optimizer=adam(lr), batch_size=8, epochs=60
        )
        return examined(problem).num_watched

    assert watched(0.13) > 2 * watched(0.01)
