"""Scores and the losses of answers that know nothing, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from networks import classify, clusters, dense, draw, regress, sgd, trained
from thalweg import Problem
from thalweg._score import constant_loss, score, shuffled_loss

X = draw(12, 4)
CLASSES = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
ENTROPY = 0.5 * math.log(2) + 0.5 * math.log(4)
"""Of the shares 1/2, 1/4, 1/4."""

NUMBERS = torch.tensor([[1.0, 10.0], [3.0, 10.0], [5.0, 40.0], [7.0, 40.0]]).repeat(3, 1)
"""Columns of variance 5 and 225."""

SHARES = torch.tensor([[0.0, 1.0], [0.0, 0.5], [1.0, 1.0], [1.0, 0.5]]).repeat(3, 1)
"""Columns of mean 1/2 and 3/4."""

IMAGE_TARGET = CLASSES.reshape(12, 1, 1).expand(12, 2, 2).contiguous()


def of(loss, target, model=None, data=None):
    return Problem(model or nn.Linear(4, 3), loss, (X, target) if data is None else data)


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (lambda: of(F.cross_entropy, CLASSES), ENTROPY),
        (lambda: of(nn.CrossEntropyLoss(), CLASSES), ENTROPY),
        (lambda: of(nn.NLLLoss(), CLASSES), ENTROPY),
        (lambda: of(F.cross_entropy, IMAGE_TARGET), ENTROPY),
        (
            lambda: of(nn.CrossEntropyLoss(ignore_index=2), CLASSES),
            -(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3),
        ),
        (lambda: of(F.cross_entropy, F.one_hot(CLASSES, 3).float()), ENTROPY),
        (
            lambda: of(F.cross_entropy, 0.8 * F.one_hot(CLASSES, 3) + 0.2 / 3),
            -sum(p * math.log(p) for p in (0.4 + 0.2 / 3, 0.2 + 0.2 / 3, 0.2 + 0.2 / 3)),
        ),
        (lambda: of(F.mse_loss, NUMBERS), (5 + 225) / 2),
        (
            lambda: of(F.mse_loss, None, data=[(X[:5], NUMBERS[:5]), (X[5:], NUMBERS[5:])]),
            (5 + 225) / 2,
        ),
        (lambda: of(F.mse_loss, None, data=X), float(X.var(0, unbiased=False).mean())),
        (
            lambda: of(F.binary_cross_entropy_with_logits, SHARES),
            (math.log(2) - 0.75 * math.log(0.75) - 0.25 * math.log(0.25)) / 2,
        ),
        (
            lambda: of(nn.BCELoss(), SHARES),
            (math.log(2) - 0.75 * math.log(0.75) - 0.25 * math.log(0.25)) / 2,
        ),
        (lambda: of(nn.CrossEntropyLoss(reduction="sum"), CLASSES), None),
        (lambda: of(nn.CrossEntropyLoss(label_smoothing=0.1), CLASSES), None),
        (lambda: of(nn.CrossEntropyLoss(weight=torch.ones(3)), CLASSES), None),
        (lambda: of(nn.BCEWithLogitsLoss(pos_weight=torch.ones(2)), SHARES), None),
        (lambda: of(nn.L1Loss(), NUMBERS), None),
        (lambda: of(lambda output, target: F.cross_entropy(output, target), CLASSES), None),
    ],
)
def test_the_best_constant_answer(problem, expected):
    found = constant_loss(problem())
    assert found is None if expected is None else found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (F.cross_entropy, CLASSES),
        (F.cross_entropy, 0.8 * F.one_hot(CLASSES, 3) + 0.2 / 3),
        (F.mse_loss, NUMBERS),
        (F.binary_cross_entropy_with_logits, SHARES),
    ],
)
def test_no_constant_does_better(loss, target):
    """The loss of a constant, minimised by hand: it is convex in the constant."""
    c = torch.zeros(target.shape[1] if target.ndim > 1 else 3, requires_grad=True)
    optimizer = torch.optim.LBFGS([c], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14)

    def closure():
        optimizer.zero_grad()
        value = loss(c.expand(12, -1), target)
        value.backward()
        return value

    optimizer.step(closure)
    assert constant_loss(of(loss, target)) == pytest.approx(closure().item(), rel=1e-4)


def generator():
    return torch.Generator().manual_seed(0)


def test_what_was_learned_shows_against_shuffled_targets():
    problem = classify(dense(8, 24, 3), sgd(0.1))
    fresh = shuffled_loss(problem, generator())
    value = F.cross_entropy(problem.model(clusters()[0]), clusters()[1]).item()
    assert fresh == pytest.approx(value, rel=0.1)
    trained(problem, 300)
    assert (
        shuffled_loss(problem, generator())
        > 100 * problem.loss(problem.model(clusters()[0]), clusters()[1]).item()
    )


def test_shuffling_is_over_all_batches_and_keeps_every_target():
    """The mean of a linear loss does not care which sample a target belongs to."""
    problem = of(lambda output, target: target.float().mean() + 0 * output.sum(), CLASSES)
    in_order = [(X[i : i + 1], CLASSES[i : i + 1]) for i in range(12)]
    batched = Problem(problem.model, problem.loss, in_order)
    assert shuffled_loss(problem, generator()) == pytest.approx(CLASSES.float().mean().item())
    assert shuffled_loss(batched, generator()) == pytest.approx(CLASSES.float().mean().item())
    # One class a batch: within batches nothing could move.
    sorted_batches = [(X[:6], CLASSES[:6]), (X[6:9], CLASSES[6:9]), (X[9:], CLASSES[9:])]
    model = nn.Linear(4, 3)
    matched = Problem(model, lambda o, t: (t != CLASSES[0]).float().mean(), sorted_batches)
    assert shuffled_loss(matched, generator()) == pytest.approx(0.5)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, features, labels):
        return {"loss": F.cross_entropy(self.linear(features), labels)}


def test_shuffled_targets_of_every_form_of_data():
    dicts = Problem(Own(), None, {"features": X, "labels": CLASSES})
    by_hand = of(F.cross_entropy, CLASSES, dicts.model.linear)
    assert shuffled_loss(dicts, generator()) == pytest.approx(shuffled_loss(by_hand, generator()))
    bare = of(F.mse_loss, None, nn.Identity(), data=X)
    bare.model.register_parameter("unused", nn.Parameter(torch.zeros(1)))
    # Of samples and others at random the squared difference is twice the variance.
    expected = 2 * float(X.var(0, unbiased=False).mean())
    assert shuffled_loss(bare, generator()) == pytest.approx(expected, rel=0.5)


class NextToken(nn.Module):
    """Perfect at the next token, and so never right about the one that is there."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, ids, labels):
        logits = 10 * self.scale * F.one_hot(ids.roll(-1, 1), 5).float()
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return {"loss": loss, "logits": logits}


def test_a_language_model_has_no_accuracy_place_by_place():
    ids = torch.arange(5).repeat(3, 2)
    problem = Problem(NextToken(), None, {"ids": ids, "labels": ids})
    assert score(problem, problem.batches, problem.reduction).accuracy is None


def test_where_there_are_no_targets_nothing_is_shuffled():
    assert shuffled_loss(of(lambda output: output.square().mean(), CLASSES), generator()) is None
    dicts = Problem(nn.Linear(4, 3), lambda out: out.square().mean(), {"input": X})
    assert shuffled_loss(dicts, generator()) is None


# -- scores ---------------------------------------------------------------------------------


def of_logits(logits, loss, target):
    """A problem whose model returns given logits."""

    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = nn.Parameter(logits.clone())

        def forward(self, index):
            return self.logits[index]

    return Problem(Fixed(), loss, (torch.arange(len(logits)), target))


LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0], [2.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("problem", "accuracy"),
    [
        (lambda: of_logits(LOGITS, F.cross_entropy, torch.tensor([0, 1, 1, 1])), 0.5),
        (
            lambda: of_logits(
                LOGITS, nn.CrossEntropyLoss(ignore_index=7), torch.tensor([0, 1, 1, 7])
            ),
            2 / 3,
        ),
        (
            lambda: of_logits(
                LOGITS, F.binary_cross_entropy_with_logits,
                torch.tensor([[1.0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]),
            ),
            10 / 12,
        ),
        (
            lambda: of_logits(
                LOGITS.sigmoid(), nn.BCELoss(),
                torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]]),
            ),
            10 / 12,
        ),
        (lambda: of_logits(LOGITS, F.mse_loss, LOGITS), None),
        (
            # A language model: classes last, as no torch loss has them.
            lambda: of_logits(
                LOGITS.reshape(2, 2, 3),
                lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten()),
                torch.tensor([[0, 1], [-100, 1]]),
            ),
            2 / 3,
        ),
        (
            # Images: classes in dimension 1.
            lambda: of_logits(
                LOGITS.T.reshape(1, 3, 2, 2), F.cross_entropy, torch.tensor([[[0, 1], [2, 1]]])
            ),
            3 / 4,
        ),
    ],
)  # fmt: skip
def test_accuracy_is_counted_where_targets_are_classes(problem, accuracy):
    problem = problem()
    found = score(problem, problem.batches, problem.reduction)
    assert found.accuracy == (None if accuracy is None else pytest.approx(accuracy))


def test_the_score_of_ragged_batches_is_that_of_all_samples():
    problem = classify(dense(8, 5, 3), sgd(0.1))
    x, y = problem.data
    whole = score(problem, problem.batches, problem.reduction)
    parts = [(x[:7], y[:7]), (x[7:9], y[7:9]), (x[9:], y[9:])]
    assert score(problem, parts, problem.reduction).loss == pytest.approx(whole.loss)
    assert score(problem, parts, problem.reduction).accuracy == whole.accuracy


def test_a_score_is_taken_in_evaluation_mode_and_puts_every_mode_back():
    model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 1))
    model[1].eval()
    problem = regress(model, sgd(0.1))
    modes = [module.training for module in model.modules()]
    first = score(problem, problem.batches, problem.reduction)
    assert first == score(problem, problem.batches, problem.reduction)
    assert [module.training for module in model.modules()] == modes
    assert modes == [True, True, False, True]
