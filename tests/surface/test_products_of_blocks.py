"""A block of vectors gives what its vectors give alone, also where they are multiplied at once."""

import pytest
import torch
from torch import nn

import thalweg
from problems import draw
from thalweg.surface import Taped, _hessian


def operator(batches=1):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = draw(12, 4, seed=1), torch.arange(12) % 3
    data = list(zip(x.split([7, 5]), y.split([7, 5]), strict=True)) if batches == 2 else (x, y)
    problem = thalweg.Problem(model, nn.functional.cross_entropy, data)
    return thalweg.Surface(problem).here().hessian(Taped())


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("columns", [1, 3, 4, 10, 17, 40])
def test_columns_of_a_block_are_products_of_their_own(monkeypatch, batches, columns):
    monkeypatch.setattr(_hessian, "library_of", lambda _: "any")
    op = operator(batches)
    V = draw(op.size, columns, seed=2)
    together = op @ V
    product = op.kept[0]
    assert product.of_block is not None
    assert product.block_size == _hessian.MOST_BLOCK
    alone = torch.stack([op @ v for v in V.unbind(1)], dim=1)
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)


def test_wide_layers_are_left_to_single_vectors(monkeypatch):
    monkeypatch.setattr(_hessian, "library_of", lambda _: "any")
    monkeypatch.setattr(_hessian, "NUMBERS_OF_A_BLOCK", 12 * 6 * 3)
    op = operator()
    V = draw(op.size, 5, seed=2)
    alone = torch.stack([op @ v for v in V.unbind(1)], dim=1)
    assert torch.equal(op @ V, alone)
    assert op.kept[0].of_block is None


def test_the_gradient_comes_with_the_pass_of_the_hessian():
    op_first, gradient_first = (thalweg.Surface(problem()).here() for _ in range(2))
    op_first.hessian() @ torch.ones(op_first.layout.size, dtype=torch.float64)
    assert op_first.value == pytest.approx(gradient_first.value, rel=1e-12)
    torch.testing.assert_close(
        op_first.gradient_vector, gradient_first.gradient_vector, rtol=1e-10, atol=1e-12
    )
    assert op_first.unused == gradient_first.unused == ("2.weight",)


class WithSpare(nn.Sequential):
    """Its last layer is there and not used."""

    def forward(self, x):
        return self[1](self[0](x))


def problem():
    torch.manual_seed(0)
    model = WithSpare(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2, bias=False)).double()
    return thalweg.Problem(model, nn.functional.mse_loss, (draw(7, 4, seed=1), draw(7, 3, seed=2)))
