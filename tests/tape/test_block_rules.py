"""Several products at once, against dense autograd; networks that have none say so."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

import dense
from problems import draw
from thalweg.tape import Tape

TIGHT = {"rtol": 1e-9, "atol": 1e-11}
LABELS = torch.tensor([0, 2, 1, 2, 0])


def mlp(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*layers).double()


def squares(z):
    return F.mse_loss(z, draw(*z.shape, seed=3))


# A network of (5, 4) inputs, its loss of the output, and the parameters to differentiate by.
NETWORKS = {
    "tanh, cross-entropy": (
        lambda: mlp(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)),
        lambda z: F.cross_entropy(z, LABELS),
        "",
    ),
    "sigmoid, binary cross-entropy": (
        lambda: mlp(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 2)),
        lambda z: F.binary_cross_entropy_with_logits(z, draw(*z.shape, seed=3).sigmoid()),
        "",
    ),
    "relu, mean of squares": (
        lambda: mlp(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), squares, "",
    ),
    "without offsets": (
        lambda: mlp(nn.Linear(4, 6, bias=False), nn.Tanh(), nn.Linear(6, 2, bias=False)),
        squares, "",
    ),
    "one layer": (lambda: mlp(nn.Linear(4, 3)), lambda z: F.cross_entropy(z, LABELS), ""),
    "offsets alone": (
        lambda: mlp(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)),
        lambda z: F.cross_entropy(z, LABELS), "bias",
    ),
    "weights alone": (
        lambda: mlp(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)),
        lambda z: F.cross_entropy(z, LABELS), "weight",
    ),
    "the last layer alone": (
        lambda: mlp(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)),
        lambda z: F.cross_entropy(z, LABELS), "2.",
    ),
    "the first layer alone": (
        lambda: mlp(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)),
        lambda z: F.cross_entropy(z, LABELS), "0.",
    ),
    "one layer twice": (
        lambda: mlp(layer := nn.Linear(4, 4), nn.Tanh(), layer, nn.Tanh(), nn.Linear(4, 3)),
        lambda z: F.cross_entropy(z, LABELS), "",
    ),
}  # fmt: skip

OTHERS = {
    "layer normalisation": lambda: mlp(nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh()),
    "softmax over samples": lambda: mlp(nn.Linear(4, 3), nn.LogSoftmax(0), nn.Tanh()),
    "samples as columns": lambda: mlp(nn.Linear(4, 5), Turned(), nn.Tanh(), nn.Linear(5, 3)),
    "weights of weights": lambda: Squared(),
}


class Turned(nn.Module):
    def forward(self, x):
        return x.t()


class Squared(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(draw(4, 4, seed=2))

    def forward(self, x):
        return (x @ (self.weight @ self.weight)).tanh()


def taped(model, loss, chosen):
    model.requires_grad_(False)
    leaves = {n: p.detach().requires_grad_() for n, p in model.named_parameters() if chosen in n}
    x = draw(5, 4, seed=1)

    def forward():
        output = functional_call(model, leaves, (x,))
        return loss(output), output

    return Tape(forward, tuple(leaves.values())), leaves


@pytest.mark.parametrize("name", NETWORKS)
def test_a_block_is_the_dense_hessian_times_each_vector(name):
    make, loss, chosen = NETWORKS[name]
    model = make()
    held = copy.deepcopy(model).requires_grad_(False)
    tape, leaves = taped(model, loss, chosen)
    of_block = tape.hessian_of_block()
    assert of_block is not None
    V = tuple(draw(3, *leaf.shape, seed=5 + i) for i, leaf in enumerate(leaves.values()))

    def value(*params):
        x = draw(5, 4, seed=1)
        return loss(functional_call(held, dict(zip(leaves, params, strict=True)), (x,)))

    values = tuple(leaf.detach() for leaf in leaves.values())
    rows = torch.autograd.functional.hessian(value, values)
    H = torch.cat(
        [
            torch.cat([part.reshape(a.numel(), b.numel()) for part, b in zip(row, values)], dim=1)  # noqa: B905
            for row, a in zip(rows, values)  # noqa: B905
        ]
    )
    found = torch.cat([part.reshape(3, -1) for part in of_block(V)], dim=1)
    given = torch.cat([part.reshape(3, -1) for part in V], dim=1)
    torch.testing.assert_close(found, given @ H, **TIGHT)


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_have_no_block_rather_than_a_wrong_one(name):
    tape, leaves = taped(OTHERS[name](), lambda z: z.square().mean(), "")
    assert tape.hessian_of_block() is None
    assert dense.flat(tape.gradient).numel() == sum(leaf.numel() for leaf in leaves.values())
