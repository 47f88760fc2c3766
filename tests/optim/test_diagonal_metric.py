"""The diagonal metric against the dense GGN, within its own error."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from problems import draw
from thalweg import Problem, Surface
from thalweg._errors import OptimizerError
from thalweg.optim import ClosureObjective, Diagonal, ProblemObjective, TrustRegion


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def read(model, loss, data, metric, seed=0):
    params = list(model.parameters())
    metric.attach(params)
    objective = ProblemObjective(Problem(model, loss, data), params, 1.0)
    metric.refresh(objective, torch.Generator().manual_seed(seed))
    return metric.state_dict()["diagonal"]


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (F.cross_entropy, torch.arange(7) % 3),
        (F.mse_loss, draw(7, 3, seed=1)),
        (F.binary_cross_entropy_with_logits, torch.rand(7, 3).double().round()),
    ],
    ids=["classes", "squares", "binary"],
)
def test_it_is_the_diagonal_of_the_ggn_within_its_error(loss, target):
    model = network()
    data = (draw(7, 3), target)
    exact = Surface(Problem(model, loss, data)).here().ggn().to_dense().diagonal()
    seen = torch.stack(
        [read(model, loss, data, Diagonal(num_probes=4), seed) for seed in range(300)]
    )
    stderr = seen.std(0) / len(seen) ** 0.5
    assert ((seen.mean(0) - exact).abs() <= 4.5 * stderr + 1e-12).all()
    assert (seen.std(0) <= 1.5 * exact * (2 / 4) ** 0.5 + 1e-12).all()


def test_batches_do_not_matter_in_expectation():
    model, x, y = network(), draw(7, 3), torch.arange(7) % 3
    data = [(x[:5], y[:5]), (x[5:], y[5:])]
    exact = Surface(Problem(model, F.cross_entropy, data)).here().ggn().to_dense().diagonal()
    seen = torch.stack(
        [read(model, F.cross_entropy, data, Diagonal(num_probes=4), seed) for seed in range(300)]
    )
    stderr = seen.std(0) / len(seen) ** 0.5
    assert ((seen.mean(0) - exact).abs() <= 4.5 * stderr + 1e-12).all()


def test_roots_are_inverse_to_each_other_and_damped_by_the_mean():
    metric = Diagonal(damping=0.5)
    d = read(network(), F.cross_entropy, (draw(7, 3), torch.arange(7) % 3), metric)
    v = draw(len(d), seed=3)
    torch.testing.assert_close(metric.lifted(metric.measured(v)), v)
    twice = metric.measured(metric.measured(v))
    torch.testing.assert_close(twice, (d + 0.5 * d.mean()) * v)


def test_a_closure_gives_the_square_of_the_gradient():
    model, x, y = network(), draw(7, 3), torch.arange(7) % 3
    params = list(model.parameters())
    metric = Diagonal()
    metric.attach(params)
    objective = ClosureObjective(lambda: F.cross_entropy(model(x), y), params, 1.0)
    metric.refresh(objective, torch.Generator())
    grads = torch.autograd.grad(F.cross_entropy(model(x), y), params)
    expected = torch.cat([g.reshape(-1) for g in grads]).square()
    torch.testing.assert_close(metric.state_dict()["diagonal"], expected)
    assert metric.said == "squares of the gradient"


def test_it_makes_an_ill_scaled_network_easy():
    """Inputs of scales 1 and 100: the diagonal takes the scale out of the trust region."""
    x = draw(40, 2) * torch.tensor([1.0, 100.0], dtype=torch.float64)
    y = x @ torch.tensor([[1.0], [0.01]], dtype=torch.float64)

    def steps(metric):
        torch.manual_seed(0)
        model = nn.Linear(2, 1).double()
        opt = TrustRegion(model.parameters(), metric=metric).bind(model, F.mse_loss, (x, y))
        for number in range(100):
            opt.step()
            if opt.record.loss < 1e-10:
                return number
        return 100

    assert steps(Diagonal()) < 100


@pytest.mark.parametrize("wrong", [{"damping": 0}, {"num_probes": 0}, {"decay": 1.0}])
def test_what_it_refuses(wrong):
    with pytest.raises(OptimizerError, match="give"):
        Diagonal(**wrong)
