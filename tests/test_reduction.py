"""Over how many terms a loss takes its mean: known, recognised from values, or asked for."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from problems import SHELF, cut, draw, draw_classes, initialised, mlp_model
from thalweg import Problem, ProblemError, Surface

X, Y = draw(7, 3), draw(7, 2, seed=1)
CLASSES = draw_classes(2, 7, seed=2)
WEIGHT = torch.tensor([0.3, 2.0], dtype=torch.float64)


def value_of(loss, data, model=None, **settings):
    problem = Problem(model or initialised(mlp_model()), loss, data, **settings)
    return problem, Surface(problem).here().value


def masked(z, y):
    """A mean over the targets that are positive: no rule that thalweg tries."""
    return ((z - y).square() * (y > 0)).sum() / (y > 0).sum()


def per_sample(z, y):
    return F.mse_loss(z, y, reduction="none").sum(1)


SAID = {
    "known": (
        F.cross_entropy,
        CLASSES,
        "cross-entropy over classes, from logits",
    ),
    "known sum": (nn.MSELoss(reduction="sum"), Y, "reduction 'sum'"),
    "mean over samples": (lambda z, y: per_sample(z, y).mean(), Y, "recognised from its values"),
    "mean over elements": (lambda z, y: (z - y).abs().mean(), Y, "recognised from its values"),
    "sum": (lambda z, y: per_sample(z, y).sum(), Y, "a sum, recognised from its values"),
    "wrapped": (lambda z, y: F.cross_entropy(z, y), CLASSES, "recognised from its values"),
    "subclass": (type("Own", (nn.MSELoss,), {})(), Y, "recognised from its values"),
}


@pytest.mark.parametrize("sizes", [(5, 2), (1,) * 7, (1, 6)])
@pytest.mark.parametrize("loss", SAID)
def test_the_rule_is_found_and_said(loss, sizes):
    function, target, said = SAID[loss]
    problem, value = value_of(function, cut((X, target), *sizes))
    assert said in problem.reduction.said
    with torch.no_grad():
        whole = function(problem.model(X), target).item()
    assert value == pytest.approx(whole, rel=1e-12)


def test_one_batch_is_taken_as_it_is():
    problem, value = value_of(masked, (X, Y))
    assert problem.reduction.said == "one batch, taken as it is"
    assert value == pytest.approx(masked(problem.model(X), Y).item(), rel=1e-14)


UNKNOWN = {
    "masked": (masked, Y),
    # Sorted by class, so that within either batch alone every weight is the same.
    "weighted by class": (lambda z, y: F.cross_entropy(z, y, WEIGHT), CLASSES.sort().values),
    "root of a mean": (lambda z, y: (z - y).square().mean().sqrt(), Y),
    "compares samples": (lambda z, y: torch.cdist(z, y).mean(), Y),
}


@pytest.mark.parametrize("loss", UNKNOWN)
def test_no_rule_is_refused_and_num_terms_is_the_way_out(loss):
    function, target = UNKNOWN[loss]
    split = int((target == target[0]).sum()) if target.ndim == 1 else 4
    data = cut((X, target), split, 7 - split)
    with pytest.raises(ProblemError, match=r"pass Problem\(\.\.\., num_terms=lambda batch"):
        value_of(function, data)


def test_num_terms_is_the_way_out():
    known = SHELF["weighted"]()
    x, y = known.problem.data
    loss = lambda z, t: F.cross_entropy(z, t, WEIGHT)  # noqa: E731

    def num_terms(batch):
        counted = batch[1][batch[1] != -100]
        return WEIGHT[counted].sum()

    problem, value = value_of(loss, cut((x, y), 4, 3), num_terms=num_terms)
    assert problem.reduction.said == "num_terms, as given"
    assert value == pytest.approx(Surface(known.problem).here().value, rel=1e-12)


@pytest.mark.parametrize("count", [0, -1, float("nan")])
def test_counts_must_be_counts(count):
    with pytest.raises(ProblemError, match=r"loss terms \(num_terms, as given\).*0 or more"):
        value_of(lambda z, y: z.sum(), [(X, Y)], num_terms=lambda batch: count)


class Ragged(nn.Module):
    """Sequences of any length, one output a token."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 4)

    def forward(self, x):
        return self.inner(x)


RAGGED = [(draw(1, t, 3, seed=t), draw_classes(4, 1, t, seed=t)) for t in (2, 5, 3)]


def token_loss(z, y):
    return F.cross_entropy(z.flatten(0, 1), y.flatten())


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_ragged_single_samples_still_tell_a_mean_from_a_sum(reduction):
    def loss(z, y):
        return F.cross_entropy(z.flatten(0, 1), y.flatten(), reduction=reduction)

    problem, value = value_of(loss, RAGGED, initialised(Ragged()))
    z = torch.cat([problem.model(x)[0] for x, _ in RAGGED])
    whole = F.cross_entropy(z, torch.cat([y[0] for _, y in RAGGED]), reduction=reduction)
    assert value == pytest.approx(whole.item(), rel=1e-12)


@pytest.mark.parametrize("name", ["next_token", "token_classes"])
@pytest.mark.parametrize("order", [range(7), [1, 6, 0, 2, 3, 4, 5], [0, 4, 1, 6, 2, 3, 5]])
def test_tokens_are_counted_whatever_comes_first(name, order):
    """Batches whose first samples are unpadded, or padded alike, tell less."""
    known = SHELF[name]()
    batch = {key: value[list(order)] for key, value in known.problem.data.items()}
    problem = Problem(known.problem.model, None, cut(batch, 2, 2, 2, 1))
    value = Surface(known.problem).here().value
    assert Surface(problem).here().value == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", ["next_token", "token_classes"])
def test_samples_without_a_single_term_weigh_nothing(name):
    """Alone, their loss would be 0/0; beside others they are left out."""
    known = SHELF[name]()
    batch = known.problem.data
    batch["labels"][[1, 3]] = -100
    problem = Problem(known.problem.model, None, cut(batch, 5, 2))
    value = Surface(known.problem).here().value
    assert Surface(problem).here().value == pytest.approx(value, rel=1e-12)


def test_a_single_token_a_sample_has_no_next_token():
    """(N, 1) targets and (N, 1, C) logits: nothing to shift."""
    model = initialised(nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (1, 4))))
    data = (X, draw_classes(4, 7, 1))
    _, value = value_of(token_loss, cut(data, 5, 2), model)
    assert value == pytest.approx(token_loss(model(X), data[1]).item(), rel=1e-12)


def test_integers_that_are_no_classes_are_no_next_tokens():
    model = initialised(nn.Sequential(nn.Linear(3, 8), nn.Unflatten(1, (2, 4))))
    counts = 5 + draw_classes(9, 7, 2)
    loss = lambda z, y: (z.sum(-1) - y).square().mean()  # noqa: E731
    _, value = value_of(loss, cut((X, counts), 5, 2), model)
    assert value == pytest.approx(loss(model(X), counts).item(), rel=1e-12)


class WithLogits(nn.Module):
    """Returns an object, and the loss is given beside it."""

    def __init__(self, form) -> None:
        super().__init__()
        self.inner, self.form = mlp_model(), form

    def forward(self, x):
        return self.form(self.inner(x))


FORMS = {
    "object": lambda z: type("Output", (), {"logits": z})(),
    "dict": lambda z: {"logits": z},
    "tensor": lambda z: z,
}
KNOWN = {
    "squares": (F.mse_loss, Y),
    "binary": (F.binary_cross_entropy_with_logits, (Y > 0).double()),
    "soft classes": (F.cross_entropy, Y.softmax(1)),
    "soft, weighted": (nn.CrossEntropyLoss(WEIGHT), Y.softmax(1)),
    "huber": (nn.HuberLoss(delta=0.3), Y),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", KNOWN)
def test_known_losses_of_logits_in_any_form(form, loss):
    function, target = KNOWN[loss]
    model = initialised(WithLogits(FORMS[form]))
    _, value = value_of(function, cut((X, target), 5, 2), model)
    assert value == pytest.approx(function(model.inner(X), target).item(), rel=1e-12)


def test_unbatched_classes():
    """A single sample without a batch dimension, in both forms of target."""
    model = initialised(nn.Linear(3, 4))
    for target in (torch.tensor(2), draw(4).softmax(0)):
        _, value = value_of(F.cross_entropy, [(X[0], target)], model)
        assert value == pytest.approx(F.cross_entropy(model(X[0]), target).item(), rel=1e-12)
