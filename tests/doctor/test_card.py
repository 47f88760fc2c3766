"""The card of an examination: as much of the curvature as the budget buys."""

import time
from dataclasses import replace

import pytest
import torch
from torch import nn

import thalweg
from networks import seeded
from thalweg import Problem, Surface
from thalweg._budget import Budget
from thalweg.doctor import _card
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._planning import LEAST_CURVED, plan_curvature


def read(budget, num_samples=640):
    model = seeded(lambda: nn.Sequential(nn.Linear(8, 96), nn.Tanh(), nn.Linear(96, 4)))
    x = torch.randn(num_samples, 8, generator=torch.Generator().manual_seed(0))
    problem = Problem(model, nn.functional.cross_entropy, (x, torch.arange(num_samples) % 4))
    ledger = Ledger(lambda stage, share: None, Budget.parse(budget))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return _card.card_of(Surface(problem), optimizer, 0, ledger), ledger


def omitted(ledger):
    return {each.name: each.reason for each in ledger.omissions}


def test_fewer_samples_that_are_no_faster_are_not_paid_for(monkeypatch):
    """A product that takes a second on any number of samples: 48 of them are beyond 60 s."""
    asked = []

    def a_second(point):
        asked.append(point.problem.num_samples)
        return 1.0

    monkeypatch.setattr(_card, "_seconds_per_product", a_second)
    start = time.process_time()
    card, ledger = read("60s")
    assert card is None
    assert "of 1 s each" in omitted(ledger)["curvature"]
    assert asked[0] == 640
    assert asked == sorted(asked, reverse=True)
    assert len(asked) > 1
    assert time.process_time() - start < 30


def test_fewer_samples_that_are_faster_are_read(monkeypatch):
    monkeypatch.setattr(_card, "_seconds_per_product", lambda p: p.problem.num_samples / 640)
    card, ledger = read("60s")
    assert card is not None
    assert "of 640 samples, to fit 60 s" in omitted(ledger)["curvature on all data"]


@pytest.mark.parametrize("budget", ["2000g", "60s"])
def test_a_budget_that_buys_all_reads_all(budget):
    card, ledger = read(budget)
    assert card is not None
    assert omitted(ledger) == {}


def test_a_tight_budget_goes_to_proofs_before_curvature():
    """Little is read of it where epochs are named, and none where a cause is known already."""
    assert plan_curvature(Budget(78, False), 1.0, 5000, 1300).num_samples == 40
    assert plan_curvature(Budget(78, False), 1.0, 5000, 1300, LEAST_CURVED[1]) is None
    x = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
    layers = (nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4), nn.Softmax(1))
    model, y = seeded(lambda: nn.Sequential(*layers)), x[:, :4].argmax(1)
    problem = Problem(
        model, nn.functional.cross_entropy, (x, y),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1), batch_size=32, epochs=400,
    )  # fmt: skip
    tight = thalweg.examine(problem, budget="520g")
    assert tight.findings
    assert tight.card is None
    (why,) = (each.reason for each in tight.omissions if each.name == "curvature")
    assert "a cause is known without it" in why
    assert thalweg.examine(replace(problem, epochs=None), budget="4000g").card is not None
