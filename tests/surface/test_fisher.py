"""The Fisher information against all outcomes counted out, and against outcomes drawn."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dense
from problems import SHELF, draw, draw_classes, log_softmax, mlp_model
from thalweg import Problem, ProblemError, Surface

LIKELY = [name for name in SHELF if SHELF[name]().likelihood]


def log_probabilities(known, z):
    """ln p of every outcome of every term, outcomes last."""
    if known.likelihood == "classes":
        return log_softmax(z)
    if known.likelihood == "log classes":
        return z
    p = z if known.likelihood == "binary probabilities" else torch.sigmoid(z)
    return torch.stack([p.log(), (1 - p).log()], -1)


@pytest.mark.parametrize("name", LIKELY)
def test_fisher_is_the_sum_over_all_outcomes(name):
    """F = (1/M) Σ_terms Σ_y p(y) ∇ln p(y) ∇ln p(y)ᵀ; for a Gaussian of variance ½, 2 JᵀJ/M."""
    known = SHELF[name]()
    if known.likelihood == "gaussian":
        J = dense.jacobian(known.output, known.problem)
        oracle = 2 * J.T @ J
    else:
        slopes = dense.jacobian(lambda p: log_probabilities(known, known.output(p)), known.problem)
        z = known.output({**dense.held(known.problem), **dense.leaves(known.problem)})
        p = log_probabilities(known, z).exp().detach().reshape(-1, 1)
        oracle = slopes.T @ (p * slopes)
    fisher = Surface(known.problem).here().fisher().to_dense()
    torch.testing.assert_close(fisher, oracle / known.num_terms, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "conv", "logistic"])
def test_fisher_is_the_mean_over_drawn_outcomes(name, generator):
    """vᵀFv = E[Σ_terms (vᵀ∇ln p(y))²]/M, within 4 standard errors of 4,000 draws."""
    known = SHELF[name]()
    F_v = Surface(known.problem).here().fisher()
    v = torch.randn(F_v.size, generator=generator, dtype=torch.float64)
    z = known.output({**dense.held(known.problem), **dense.leaves(known.problem)}).detach()
    Jv = (dense.jacobian(known.output, known.problem) @ v).reshape(z.shape)
    draws = (4000, *z.shape)
    if known.likelihood == "gaussian":
        noise = torch.randn(draws, generator=generator, dtype=torch.float64)
        along = 2 * noise * 0.5**0.5 * Jv  # ∇_z of (z − y)², y = z + noise
    elif known.likelihood == "classes":
        p = torch.softmax(z, 1)
        y = torch.multinomial(p, 4000, replacement=True, generator=generator).T
        along = ((p - torch.eye(p.shape[1], dtype=p.dtype)[y]) * Jv).sum(-1)
    else:
        p = torch.sigmoid(z)
        along = (p - torch.bernoulli(p.expand(draws), generator=generator)) * Jv
    squares = along.square().flatten(1).sum(1) / known.num_terms
    stderr = squares.std() / 4000**0.5
    assert abs(squares.mean() - v @ (F_v @ v)) < 4 * stderr
    assert stderr < 0.1 * squares.mean()


@pytest.mark.parametrize("name", ["log_classes", "probabilities"])
def test_fisher_and_ggn_differ_off_natural_parameters(name):
    point = Surface(SHELF[name]().problem).here()
    assert not torch.allclose(point.fisher().to_dense(), point.ggn().to_dense(), rtol=1e-3)


def test_padding_counts_for_nothing():
    known = SHELF["padded"]()
    x, y = known.problem.data
    kept = y != 9
    part = Problem(known.problem.model, F.cross_entropy, (x[kept], y[kept]))
    torch.testing.assert_close(
        Surface(known.problem).here().fisher().to_dense(),
        Surface(part).here().fisher().to_dense(),
        rtol=1e-12,
        atol=1e-14,
    )


def test_certain_probabilities_have_no_information():
    """A sigmoid that rounds to exactly 1 has slope 0: 0/0 is 0 here, as in torch's backward."""
    model = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid()).double()
    with torch.no_grad():
        model[0].weight.fill_(100.0)
    x = torch.ones(3, 1, dtype=torch.float64)
    fisher = Surface(Problem(model, F.binary_cross_entropy, (x, x))).here().fisher()
    assert fisher.to_dense().abs().max() == 0


@pytest.mark.parametrize("shape", [(7,), (7, 3)])
def test_classes_run_over_the_second_dimension(shape):
    """(N, C, d) outputs with (N, d) targets: as many terms as targets."""
    model = nn.Sequential(nn.Linear(2, 4), nn.Unflatten(-1, (4, 1))).double()
    x, y = draw(7, 2), draw_classes(4, 7, 1)
    flat = Problem(nn.Sequential(model, nn.Flatten()), F.cross_entropy, (x, y[:, 0]))
    point = Surface(Problem(model, F.cross_entropy, (x, y))).here()
    torch.testing.assert_close(
        point.fisher().to_dense(), Surface(flat).here().fisher().to_dense(), rtol=1e-12, atol=0
    )


REFUSED = {
    "class weights": (nn.CrossEntropyLoss(torch.tensor([1.0, 2.0]).double()), "without"),
    "label smoothing": (nn.CrossEntropyLoss(label_smoothing=0.1), "label smoothing"),
    "lambda": (lambda z, y: F.cross_entropy(z, y), "point.ggn()"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_loss_without_a_likelihood_is_refused_with_a_way_out(reason):
    loss, said = REFUSED[reason]
    problem = Problem(mlp_model().double(), loss, (draw(7, 3), draw_classes(2, 7)))
    fisher = Surface(problem).here().fisher()
    with pytest.raises(ProblemError, match=r"use point\.ggn\(\)") as caught:
        fisher @ torch.ones(fisher.size, dtype=torch.float64)
    assert said in str(caught.value)
