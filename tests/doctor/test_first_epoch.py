"""What an epoch tells: where momentum alone would go, and how long it is to halfway."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_diabetes
from torch import nn

import thalweg
from networks import adam, clusters, curve, dense, examined, scaled, seeded, sgd
from thalweg import Problem
from thalweg.doctor import Ailment
from thalweg.doctor._coasting import coasted
from thalweg.doctor._readings import times_to
from thalweg.doctor._suspicion import probability
from thalweg.doctor._watch import minibatch_losses, watch

SIZE, NUM_STEPS = 8, 12

LONG_AGO = 1e6
"""Adam's averages have run for so many steps, so that zeros hardly change the second one."""

HELD = {"betas": (0.9, 1 - 1e-12)}


def classified(optimizer, epochs=20):
    x, y = clusters()
    return Problem(
        dense(8, 24, 3), F.cross_entropy, (x[80:], y[80:]), test=(x[:80], y[:80]),
        optimizer=optimizer, batch_size=SIZE, epochs=epochs,
    )  # fmt: skip


def seen(problem):
    return watch(problem, batch_size=SIZE, max_steps=7, seed=0, num_threads=1)


@pytest.mark.parametrize(
    "optimizer",
    [
        sgd(0.05, 0.9),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.95, nesterov=True),
        lambda p: torch.optim.Adam(p, lr=1e-2, **HELD),
        lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.0, **HELD),
    ],
    ids=["SGD", "Nesterov", "Adam", "AdamW"],
)
def test_coasting_is_what_the_optimizer_does_without_gradients(optimizer):
    watched = seen(classified(optimizer))
    for state in watched.optimizer.state.values():
        if "step" in state:
            state["step"].fill_(LONG_AGO)
    found = coasted(watched, NUM_STEPS, SIZE)
    for _ in range(NUM_STEPS):
        for parameter in watched.problem.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        watched.optimizer.step()
    watched.problem.model.eval()
    losses = minibatch_losses(watched.problem, SIZE)
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_coasting_leaves_the_watched_training_as_it_is():
    watched = seen(classified(sgd(0.05, 0.99)))
    before = [p.detach().clone() for p in watched.problem.model.parameters()]
    coasted(watched, NUM_STEPS, SIZE)
    assert all(map(torch.equal, before, watched.problem.model.parameters()))
    assert watched.problem.model.training


@pytest.mark.parametrize("optimizer", [sgd(0.05), lambda p: torch.optim.Adagrad(p, lr=0.01)])
def test_nothing_coasts_without_momentum(optimizer):
    assert coasted(seen(classified(optimizer)), NUM_STEPS, SIZE) is None


@pytest.mark.parametrize(
    ("level", "before", "after", "times"),
    [(1.0, 3.0, 2.5, 3.0), (1.0, 3.0, 0.9, 0.0), (1.0, 2.0, 2.5, math.inf),
     (1.0, math.nan, 2.0, math.inf), (1.0, 3.0, math.inf, math.inf)],
)  # fmt: skip
def test_times_to_a_level_at_the_pace_so_far(level, before, after, times):
    assert times_to(level, before, after) == times


def first(problem, budget=1.3):
    found = examined(problem, f"{budget * problem.epochs:g}g").findings
    return (found[0].ailment, found[0].found_after) if found else None


@pytest.fixture(autouse=True)
def _no_contest(monkeypatch):
    for place in ("_trying", "_another_look"):
        monkeypatch.setattr(f"thalweg.doctor.{place}.contest", lambda *_: ())


def test_momentum_that_carries_a_training_off_is_found_while_it_still_learns():
    problem = classified(sgd(0.1, 0.995))
    ailment, after = first(problem)
    assert ailment is Ailment.MOMENTUM
    assert after <= -(-problem.num_samples // SIZE)
    assert first(classified(sgd(0.1, 0.9))) is None


def test_long_momentum_at_a_small_rate_carries_nothing_off():
    assert first(classified(sgd(0.01, 0.98), epochs=30)) is None


def far_off(target):
    x, y = curve()
    y = (y - y.mean()) / y.std()
    y = 100 * y + 500 if target else y
    return Problem(
        dense(8, 24, 1), F.mse_loss, (x[80:], y[80:]), test=(x[:80], y[:80]), optimizer=adam(5e-4),
        batch_size=16, epochs=30,
    )  # fmt: skip


def test_targets_far_off_are_confirmed_by_the_pace_without_them():
    """The first look learns little either way, but with them it would take a thousand as long."""
    ailment, after = first(far_off(target=True))
    assert ailment is Ailment.TARGET_SCALE
    assert after < 20
    assert first(far_off(target=False)) is None


def large(seed, lr=5e-4):
    """Weights too large by three at both ends: it starts far above a blind answer, and learns."""
    x, y = (torch.tensor(t).float() for t in load_diabetes(return_X_y=True))
    x, y = (x - x.mean(0)) / x.std(0), ((y - y.mean()) / y.std())[:, None]
    model = seeded(
        lambda: nn.Sequential(
            nn.Linear(10, 32), nn.ELU(), nn.Linear(32, 32), nn.ELU(), nn.Linear(32, 1)
        ),
        seed,
    )
    scaled(model[0], 3.0)
    scaled(model[-1], 3.0)
    return Problem(
        model, F.mse_loss, (x[:330], y[:330]), test=(x[330:], y[330:]), optimizer=adam(lr),
        batch_size=16, epochs=15,
    )  # fmt: skip


@pytest.mark.parametrize("seed", [1, 4, 5])
def test_a_loss_that_falls_fast_has_no_rate_that_is_too_small(seed, monkeypatch):
    """After an epoch it has learned less than nothing, and a hundred times the rate far more."""
    assert first(large(seed)) is None
    assert first(large(seed, lr=1e-6))[0] is Ailment.LR_TOO_SMALL
    monkeypatch.setattr("thalweg.doctor._readings.Readings.times_left", -1.0)
    assert first(large(seed)) is None, "its outputs are too large to begin with"
    monkeypatch.setattr("thalweg.doctor.findings._learning_rate.FAR", math.inf)
    assert first(large(seed))[0] is Ailment.LR_TOO_SMALL


def told(problem, budget=1.3):
    stages: list[str] = []
    found = thalweg.examine(
        problem, budget=f"{budget * problem.epochs:g}g",
        progress=lambda stage, share: stages.append(stage),
    )  # fmt: skip
    return found, stages


def mixed(batch, seed):
    x, y = batch
    return x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))]


def shuffled():
    problem = classified(adam(5e-3))
    return replace(problem, data=mixed(problem.data, 1), test=mixed(problem.test, 2))


def test_labels_without_signal_are_suspected_in_the_first_epoch_and_found_later():
    problem = shuffled()
    found, stages = told(problem)
    (suspicion,) = (s for s in found.suspicions if s.ailment is Ailment.NO_SIGNAL)
    (finding,) = (f for f in found.findings if f.ailment is Ailment.NO_SIGNAL)
    assert suspicion.is_confirmed
    assert suspicion.named_after == finding.suspected_after <= -(-problem.num_samples // SIZE)
    assert finding.suspected_after < finding.found_after
    # It was told before the training was watched any further.
    at = stages.index(f"after {suspicion.named_after} steps suspected, 91% likely: labels carry no "
                      "signal")  # fmt: skip
    assert stages.index("first epoch, and what it confirms") < at
    assert at < stages.index("one training, watched")
    text = found.page().text()
    assert f"Suspected after {finding.suspected_after} steps, found after" in text
    assert "There is no remedy to try." in text
    assert "0 remedies" not in text


def parity(num_bits=9, num_samples=600):
    """The sign of a product, which neither neighbours nor a line read; a network does in time."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(num_samples, num_bits, generator=generator)
    y = (x[:, 0] * x[:, 1] * x[:, 2] > 0).long()
    return Problem(
        dense(num_bits, 64, 64, 2), F.cross_entropy, (x[200:], y[200:]), test=(x[:200], y[:200]),
        optimizer=adam(1e-2), batch_size=SIZE, epochs=30,
    )  # fmt: skip


def test_a_suspicion_that_the_training_clears_is_no_finding():
    found, _ = told(parity())
    assert [s.ailment for s in found.suspicions] == [Ailment.NO_SIGNAL]
    assert not found.suspicions[0].is_confirmed
    assert Ailment.NO_SIGNAL not in {f.ailment for f in found.findings}
    assert "Suspected, and cleared" in found.page().text()


def test_probabilities_follow_the_rule_of_succession():
    assert probability(9, 9) == pytest.approx(10 / 11)
    assert probability(0, 0) == 0.5
