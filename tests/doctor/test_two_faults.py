"""Two faults at once: both are named before any repair, and taken away together."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn

import thalweg
from networks import seeded
from thalweg import Problem
from thalweg.doctor import Ailment


def raw_with_sigmoid(*before):
    """Breast cancer as it was measured, areas in the hundreds; a sigmoid too many."""
    x, y = load_breast_cancer(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x = torch.as_tensor(x).float()[order]
    y = torch.as_tensor(y).float()[order][:, None]
    hidden = (nn.Linear, 30, 32), (nn.Linear, 32, 32)
    model = seeded(
        lambda: nn.Sequential(
            *(make() for make in before),
            *(m for kind, *sizes in hidden for m in (kind(*sizes), nn.ReLU())),
            nn.Linear(32, 1),
            nn.Sigmoid(),
        )
    )
    return Problem(
        model, F.binary_cross_entropy_with_logits, (x[:400], y[:400]), test=(x[400:], y[400:]),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9), batch_size=32,
        epochs=20,
    )  # fmt: skip


def named(examination):
    return [finding.ailment for finding in examination.findings]


def test_raw_inputs_are_named_beside_a_doubled_sigmoid_and_mended_with_it():
    found = thalweg.examine(raw_with_sigmoid(), budget="26g")
    assert named(found) == [Ailment.OUTPUT_LOSS, Ailment.INPUT_SCALE]
    (proved, *_) = found.proved
    assert proved.name == "the last activation taken out (Sigmoid), inputs standardised"
    mended = proved.apply(raw_with_sigmoid().copied(), torch.Generator())
    ((x, _),) = mended.batches
    assert float(x.std(0).max()) == pytest.approx(1.0, abs=1e-3)
    assert float(x.std(0).mean()) > 0.95
    assert float(x.abs().max()) == pytest.approx(10.0, abs=1e-3)
    assert sum(m.gradients for m in found.measurements) <= 26


@pytest.mark.parametrize(
    "problem",
    [
        lambda: raw_with_sigmoid(lambda: nn.BatchNorm1d(30)),
        lambda: raw_with_sigmoid(lambda: nn.LayerNorm(30)),
    ],
    ids=["batch norm", "layer norm"],
)
def test_inputs_that_the_network_scales_itself_are_not_named_beside_it(problem):
    assert named(thalweg.examine(problem(), budget="26g")) == [Ailment.OUTPUT_LOSS]


def test_another_look_takes_what_is_left_of_the_budget_at_most():
    """At batches of one a step is short and an epoch long: what it reads costs a large share."""
    x, y = (torch.as_tensor(each) for each in load_digits(return_X_y=True))
    x = x.float().reshape(-1, 1, 8, 8) / 16
    layers = (nn.Conv2d, 1, 8, 3), (nn.BatchNorm2d, 8), (nn.Conv2d, 8, 16, 3), (nn.BatchNorm2d, 16)
    model = seeded(
        lambda: nn.Sequential(
            *(kind(*sizes) for kind, *sizes in layers), nn.Flatten(), nn.Linear(256, 10)
        )
    )
    problem = Problem(
        model, F.cross_entropy, (x[:400], y[:400]), test=(x[1347:], y[1347:]),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.05), batch_size=1, epochs=6,
    )  # fmt: skip
    found = thalweg.examine(problem, budget="7.8g")
    assert named(found) == [Ailment.BATCH_OF_ONE]
    assert sum(m.gradients for m in found.measurements) <= 7.8
