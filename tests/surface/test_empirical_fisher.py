"""The empirical Fisher against per-sample gradients one by one, and the true one in expectation."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dense
from problems import SHELF, cut, draw, initialised, mlp_model, padded_tokens
from thalweg import Problem, ProblemError, Surface

TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def terms_by_hand(name, known):
    """z ↦ s, one number a sample, and M: each written out, none through torch's losses."""
    data = known.problem.data
    y = data["labels"] if isinstance(data, dict) else data if torch.is_tensor(data) else data[1]

    def log_softmax(z):
        return z - z.exp().sum(-1, keepdim=True).log()

    def picked(z, target):
        kept = target != -100
        log_p = log_softmax(z).gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return -(log_p * kept).reshape(7, -1).sum(1)

    if known.likelihood == "gaussian" or name == "known_sum":
        return lambda z: (z - y).square().reshape(7, -1).sum(1), known.num_terms
    if known.likelihood == "classes":
        return lambda z: picked(z, y), 7
    match name:
        case "opaque":
            return lambda z: (z - y).pow(4).sum(1), 7
        case "opaque_sum":
            return lambda z: (z - y).pow(4).sum(1), 1
        case "padded":
            return lambda z: picked(z, y.masked_fill(y == 9, -100)), 5
        case "weighted":
            weight = torch.tensor([0.3, 2.0], dtype=torch.float64)
            w = torch.where(y == -100, 0.0, weight[y.clamp(min=0)])
            return lambda z: w * picked(z, y), float(w.sum())
        case "smoothed":
            return lambda z: 0.8 * picked(z, y) - 0.2 * log_softmax(z).mean(1), 7
        case "log_classes":
            return lambda z: -z.gather(1, y[:, None])[:, 0], 7
        case "probabilities":
            return lambda z: -(y * z.log() + (1 - y) * (1 - z).log()).sum(1), 14
        case "logistic":
            return lambda z: ((1 + z.exp()).log() - y * z).sum(1), 7
        case "causal_attention":
            return lambda z: picked(z.transpose(1, 2), y), 28
        case "next_token":
            return lambda z: picked(z[:, :-1], y[:, 1:]), float((y[:, 1:] != -100).sum())
        case "token_classes":
            return lambda z: picked(z, y), float((y != -100).sum())
    raise KeyError(name)


NAMES = [name for name in SHELF if name != "quadratic"]


@pytest.mark.parametrize("sizes", [(7,), (5, 2)])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_slopes_of_samples_squared(name, sizes):
    known = SHELF[name]()
    sums, num_terms = terms_by_hand(name, known)
    slopes = dense.jacobian(lambda p: sums(known.output(p)), known.problem)
    oracle = slopes.T @ slopes / num_terms
    data = cut(known.problem.data, *sizes)
    problem = known.problem.with_data(data) if len(data) > 1 else known.problem
    op = Surface(problem).here().empirical_fisher()
    torch.testing.assert_close(op.to_dense(), oracle, **TIGHT)
    # The slopes add up to the gradient: the oracle's own footing.
    gradient = dense.gradient(known.plain, known.problem)
    torch.testing.assert_close(slopes.sum(0) / num_terms, gradient, **TIGHT)


def test_a_quadratic_that_the_model_computes_itself():
    """∇ℓ_i = Aθ − b_i, by hand."""
    known = SHELF["quadratic"]()
    A, theta = known.problem.model.A, known.problem.model.theta.detach()
    slopes = A @ theta - known.problem.data
    op = Surface(known.problem).here().empirical_fisher()
    torch.testing.assert_close(op.to_dense(), slopes.T @ slopes / 7, **TIGHT)


def test_targets_drawn_from_the_model_give_the_true_fisher(generator):
    """vᵀF̂v over 400 drawn sets of targets, within 4 standard errors of vᵀFv."""
    model, x = initialised(mlp_model()), draw(7, 3)
    p = torch.softmax(model(x).detach(), 1)
    problem = Problem(model, F.cross_entropy, (x, p.argmax(1)))
    v = draw(26, seed=5)
    truth = v @ (Surface(problem).here().fisher() @ v)
    drawn = []
    for _ in range(400):
        y = torch.multinomial(p, 1, generator=generator)[:, 0]
        op = Surface(problem.with_data([(x, y)])).here().empirical_fisher()
        drawn.append(v @ (op @ v))
    drawn = torch.stack(drawn)
    stderr = drawn.std() / 400**0.5
    assert abs(drawn.mean() - truth) < 4 * stderr
    assert stderr < 0.1 * truth


def test_a_sequence_of_nothing_but_padding_adds_nothing():
    known = SHELF["next_token"]()
    batch = padded_tokens()
    batch["labels"][3] = -100
    kept = [0, 1, 2, 4, 5, 6]
    some = {key: value[kept] for key, value in batch.items()}
    whole, part = (
        Surface(known.problem.with_data([data])).here().empirical_fisher().to_dense()
        for data in (batch, some)
    )
    torch.testing.assert_close(whole, part, **TIGHT)
    assert whole.abs().max() > 0


def test_a_loss_that_is_no_mean_over_samples_is_refused():
    loss = lambda z, y: (z - y).square().sum((0, 1)).sqrt()  # noqa: E731
    problem = Problem(initialised(mlp_model()), loss, (draw(7, 3), draw(7, 2)))
    op = Surface(problem).here().empirical_fisher()
    with pytest.raises(ProblemError, match=r"cannot tell over how many terms.*num_terms"):
        op @ torch.ones(26, dtype=torch.float64)
    counted = Problem(problem.model, loss, problem.data, num_terms=len)
    op = Surface(counted).here().empirical_fisher()
    with pytest.raises(ProblemError, match=r"interact, or .* point\.ggn\(\)"):
        op @ torch.ones(26, dtype=torch.float64)


def test_terms_that_do_not_run_over_samples_first_are_refused():
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x, more):
            return self.inner(x + more).reshape(-1)

    data = ((draw(7, 3), draw(7, 3)), draw(14))
    problem = Problem(initialised(Flat()), F.mse_loss, data)
    op = Surface(problem).here().empirical_fisher()
    with pytest.raises(ProblemError, match=r"terms of shape \(14,\) for 7 samples"):
        op @ torch.ones(8, dtype=torch.float64)
