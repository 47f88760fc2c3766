"""The bound on how fast the Hessian of a linear network changes, against the Hessian itself."""

import pytest
import torch
from torch import nn

from thalweg import Problem, problems
from thalweg.critical._ground import Ground
from thalweg.critical._linear_network import linear_network
from thalweg.critical._lipschitz import bounded


def three_layers():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(*[nn.Linear(3, 3, bias=False, dtype=torch.float64) for _ in range(3)])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    x, y = (torch.randn(8, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    return Problem(model, nn.functional.mse_loss, (x, y))


NETWORKS = {
    "autoencoder": lambda: problems.linear_autoencoder(range(1, 5), 2),
    "two layers": problems.two_layer_linear,
    "three layers": three_layers,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_no_change_of_the_hessian_exceeds_the_bound(name, generator):
    ground = Ground(NETWORKS[name]())
    place = ground.here()
    radius = 0.5
    K = bounded(place, radius)
    assert K.is_proved
    H = ground.hessian(place).to_dense()
    largest = 0.0
    for _ in range(20):
        way = torch.randn(ground.size, generator=generator, dtype=torch.float64)
        way *= radius / way.norm()
        change = ground.hessian(ground.at(place.vector + way)).to_dense() - H
        largest = max(largest, float(torch.linalg.matrix_norm(change, 2)) / radius)
    assert largest <= K.value
    # A bound that says nothing would hold too.
    assert K.value <= 40 * largest


def test_orbits_are_null_directions_of_the_gradient():
    """Along a symmetry the loss is constant: its tangents are normal to the gradient."""
    ground = Ground(three_layers())
    place = ground.here()
    tangents = linear_network(place).orbit()
    assert tangents.shape == (27, 18)
    assert float((tangents.T @ place.gradient).abs().max()) < 1e-12 * place.slope


def smooth(activation):
    generator = torch.Generator().manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 3), activation, nn.Linear(3, 2), activation, nn.Linear(2, 2))
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator))
    x, y = (torch.randn(6, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    return Problem(model, nn.functional.mse_loss, (x, y))


@pytest.mark.parametrize(
    "activation", [nn.Tanh(), nn.Sigmoid(), nn.SiLU(), nn.GELU(), nn.Identity()]
)
def test_no_change_of_the_hessian_of_a_smooth_network_exceeds_the_bound(activation, generator):
    ground = Ground(smooth(activation))
    for radius in (1e-3, 0.5):
        K = bounded(ground.here(), radius)
        assert K.is_proved
        place, largest = ground.here(), 0.0
        H = ground.hessian(place).to_dense()
        for _ in range(20):
            way = torch.randn(ground.size, generator=generator, dtype=torch.float64)
            way *= radius / way.norm()
            change = ground.hessian(ground.at(place.vector + way)).to_dense() - H
            largest = max(largest, float(torch.linalg.matrix_norm(change, 2)) / radius)
        assert largest <= K.value
        # Crude, but no more than proofs at a vanishing gradient can bear.
        assert K.value <= 5_000 * largest


@pytest.mark.parametrize(
    ("slope", "phi"),
    [
        ((1.0, 0.77, 2.0), nn.Tanh()), ((0.25, 0.0963, 0.125), nn.Sigmoid()),
        ((1.1, 0.5, 0.3082), nn.SiLU()), ((1.129, 0.798, 0.779), nn.GELU()),
    ],
)  # fmt: skip
def test_slopes_of_activations_are_bounded_as_said(slope, phi):
    from thalweg.critical._smooth_network import _SLOPES

    assert _SLOPES[type(phi)] == slope
    x = torch.linspace(-15, 15, 300_001, dtype=torch.float64).requires_grad_()
    y = phi(x)
    for bound in slope:
        (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        largest = float(y.detach().abs().max())
        assert 0.99 * bound <= largest <= bound


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)),
        nn.Sequential(nn.Linear(2, 2), nn.GELU(approximate="tanh"), nn.Linear(2, 2)),
        nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Tanh(), nn.Linear(2, 2)),
        nn.Sequential(nn.Tanh(), nn.Linear(2, 2)),
        nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2)),
    ],
)
def test_no_bound_is_claimed_for_other_networks(model):
    problem = Problem(model.double(), nn.functional.mse_loss, (torch.ones(3, 2),) * 2)
    assert bounded(Ground(problem).here(), 0.1) is None


@pytest.mark.parametrize(
    "problem",
    [
        problems.swish_autoencoder(20),
        Problem(nn.Sequential(nn.Linear(2, 2)), nn.functional.mse_loss, (torch.ones(3, 2),) * 2),
        Problem(
            nn.Sequential(nn.Linear(2, 2, bias=False)),
            nn.functional.cross_entropy,
            (torch.ones(3, 2), torch.zeros(3, dtype=torch.long)),
        ),
    ],
)
def test_others_are_not_taken_for_linear_networks_under_squares(problem):
    ground = Ground(problem)
    assert linear_network(ground.here()) is None
