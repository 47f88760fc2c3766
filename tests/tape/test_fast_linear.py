"""Linear layers by the faster product: the same values and derivatives as torch's own."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from thalweg.tape import FastLinear
from thalweg.tape import _fast_linear as module


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Every layer gains, whatever the machine; the shapes of the products taken."""
    found: list[tuple[int, ...]] = []

    def suits(A: Tensor, num_columns: int) -> bool:
        return A.dtype == torch.float32

    def product(A: Tensor, B: Tensor) -> Tensor:
        found.append((*A.shape, B.shape[-1]))
        return A.double().matmul(B.double()).to(A.dtype)

    monkeypatch.setattr(module, "is_faster_by_onednn", suits)
    monkeypatch.setattr(module, "product", product)
    return found


@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3), (2, 1, 4, 3)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_values_and_two_derivatives_are_torchs(
    taken: list[tuple[int, ...]], shape: tuple[int, ...], has_bias: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, requires_grad=True)
    W = torch.randn(4, 3, generator=generator, requires_grad=True)
    b = torch.randn(4, generator=generator, requires_grad=True) if has_bias else None
    leaves = [x, W] if b is None else [x, W, b]

    def derivatives() -> list[Tensor]:
        y = linear(x, W, b).tanh()
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        total = torch.stack([g.square().sum() for g in first]).sum()
        second = torch.autograd.grad(total, leaves)
        return [y, *first, *second]

    expected = derivatives()
    assert not taken
    with FastLinear():
        found = derivatives()
    assert len(taken) > 3
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_other_dtypes_vectors_autocast_and_func_are_left_to_torch(
    taken: list[tuple[int, ...]],
) -> None:
    layer = nn.Linear(3, 4)
    x = torch.ones(5, 3)
    with FastLinear():
        layer(torch.ones(3))
        nn.Linear(3, 4, dtype=torch.float64)(x.double())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        torch.func.vmap(layer)(x[None])
        torch.func.functional_call(layer, dict(layer.named_parameters()), (x,))
    assert taken == [(5, 3, 4)]


def test_a_checkpointed_layer_saves_the_same_when_it_runs_again(
    taken: list[tuple[int, ...]],
) -> None:
    first = nn.Linear(3, 4)
    layer = nn.Sequential(first, nn.Tanh(), nn.Linear(4, 2))
    x = torch.ones(5, 3, requires_grad=True)

    def gradient() -> Tensor:
        y = checkpoint(layer, x, use_reentrant=False)
        return torch.autograd.grad(y.square().sum(), first.weight)[0]

    expected = gradient()
    with FastLinear():
        torch.testing.assert_close(gradient(), expected)
    assert taken


def test_what_does_not_fit_is_refused_by_torch_itself(taken: list[tuple[int, ...]]) -> None:
    with FastLinear(), pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multi"):
        linear(torch.ones(5, 3), torch.ones(4, 6))
    assert not taken


def test_a_subclass_of_tensors_is_left_to_torch(taken: list[tuple[int, ...]]) -> None:
    class Marked(Tensor):
        pass

    with FastLinear():
        found = linear(torch.ones(5, 3).as_subclass(Marked), torch.ones(4, 3))
    assert type(found) is Marked
    assert not taken
