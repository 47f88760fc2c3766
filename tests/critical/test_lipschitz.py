"""The bound on how fast the Hessian of a linear network changes, against the Hessian itself."""

import pytest
import torch
from torch import nn

from thalweg import Problem, problems
from thalweg.critical._ground import Ground
from thalweg.critical._lipschitz import linear_network, lipschitz


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
    K = lipschitz(ground, place, radius, torch.zeros(ground.size), generator)
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
