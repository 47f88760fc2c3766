"""A recipe is trained as it is said: step, clipping, schedule, mode; and what it refuses."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from networks import BATCH, classify, clusters, dense, seeded, sgd
from thalweg import ProblemError
from thalweg._recipe import Scheduling, set_mode, steps_in_epoch, take_step


def batch():
    x, y = clusters()
    return x[:BATCH], y[:BATCH]


def own_step(model, batch, optimizer):
    x, y = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    optimizer.step()
    return loss


def after_a_step(problem):
    problem = problem.copied()
    optimizer = problem.optimizer(list(problem.model.parameters()))
    loss = take_step(problem, batch(), optimizer, "step 0")
    return float(loss), torch.cat([p.detach().flatten() for p in problem.model.parameters()])


@pytest.mark.parametrize(
    "recipe", [{"clip_norm": 0.01}, {"step": own_step}, {"step": lambda *a: own_step(*a) and None}]
)
def test_a_clipped_step_is_the_one_by_hand(recipe):
    """θ − η g·0.01/‖g‖ where the norm is larger than 0.01."""
    problem = classify(dense(8, 5, 3), sgd(0.3), **recipe)
    model, (x, y) = copy.deepcopy(problem.model), batch()
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    loss = F.cross_entropy(model(x), y)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    g = torch.cat([g.flatten() for g in gradients])
    value, after = after_a_step(problem)
    torch.testing.assert_close(after, before - 0.3 * g * 0.01 / g.norm())
    if recipe.get("step") in (None, own_step):
        assert value == pytest.approx(float(loss.detach()))


@pytest.mark.parametrize(
    ("schedule", "per_epoch"),
    [
        (lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5), 1),
        (lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.5, 100), 8),
    ],
)
def test_a_schedule_steps_when_torch_says(schedule, per_epoch):
    problem = classify(dense(8, 3), sgd(0.3), schedule=schedule)
    assert steps_in_epoch(problem, BATCH) == 8
    optimizer = problem.optimizer(list(problem.copied().model.parameters()))
    scheduling = Scheduling(problem, optimizer, BATCH)
    rates = []
    for _ in range(16):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduling.step()
    assert len(set(rates)) == 2 * per_epoch
    other = problem.optimizer(list(problem.copied().model.parameters()))
    Scheduling(problem, other, BATCH).pass_over(16)
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize(("mode", "training"), [(True, True), (False, False), (None, False)])
def test_the_mode_is_theirs(mode, training):
    model = seeded(lambda: nn.Sequential(nn.Linear(8, 4), nn.Dropout(), nn.Linear(4, 3))).eval()
    problem = classify(model, sgd(0.1), mode=mode).copied()
    set_mode(problem)
    assert problem.model[1].training is training
    assert not model[1].training


def test_what_is_declared_on_purpose_holds_for_all_within():
    problem = classify(dense(8, 3), sgd(0.1), on_purpose=("backbone.*", "head", "*.norm?"))
    on_purpose = ["backbone", "backbone.0.weight", "head.bias", "body.norm1", "body.norm1.weight"]
    assert all(map(problem.is_on_purpose, on_purpose))
    assert not any(map(problem.is_on_purpose, ["backbones", "body.0.weight", "norm1", ""]))
    assert classify(dense(8, 3), sgd(0.1), on_purpose="0.*").is_on_purpose("0.weight")


@pytest.mark.parametrize(
    "recipe", [{"epochs": 0}, {"clip_norm": 0.0}, {"step": 3}, {"schedule": "cosine"}]
)
def test_a_recipe_that_cannot_be_is_refused(recipe, unchecked):
    with pytest.raises(ProblemError, match=next(iter(recipe))):
        classify(dense(8, 3), sgd(0.1), **recipe)


def test_what_a_step_raises_is_said():
    def step(model, batch, optimizer):
        raise RuntimeError("no such thing")

    problem = classify(dense(8, 3), sgd(0.1), step=step)
    with pytest.raises(ProblemError, match="step 0 raised RuntimeError: no such thing in the step"):
        after_a_step(problem)
