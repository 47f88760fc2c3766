"""What a recording does with operations in place, views, constants and derivatives of one's own."""

import pytest
import torch
from torch import nn

import dense
from problems import draw
from thalweg import Problem, Surface, UntapedError
from thalweg.surface import RetainedGraph, Taped
from thalweg.tape import Tape

F64 = torch.float64


def hessian_on_tape(function, x):
    leaf = x.clone().requires_grad_()

    def forward():
        z = function(leaf)
        return z.square().sum() + (0.5 * z).sin().sum(), z

    product = Tape(forward, (leaf,)).hessian()
    unit = torch.eye(x.numel(), dtype=F64)
    return torch.stack([product((e.reshape(x.shape),))[0].reshape(-1) for e in unit], 1)


def hessian_by_autograd(function, x):
    def loss(v):
        z = function(v.reshape(x.shape))
        return z.square().sum() + (0.5 * z).sin().sum()

    return dense.hessian_by(loss, x.reshape(-1))


def read_before_it_is_written(x):
    h = x * 2
    g = h.tanh()  # of h as it was
    return g + torch.ops.aten.mul_(h, 3.0)


def written_twice(x):
    h = x * 2
    h.add_(1.0).mul_(x)
    return h.exp()


def parts_written(x):
    a, b = (x * 1.5).unsafe_chunk(2, 0)
    return a.tanh_() * b.sigmoid_()


def detached(x):
    return x * x.detach().sin()


def without_gradients(x):
    with torch.no_grad():
        scale = x.exp()
    return x.sin() * scale


@pytest.mark.parametrize(
    "function", [read_before_it_is_written, written_twice, parts_written, detached]
)
def test_a_tape_sees_what_autograd_sees(function):
    x = draw(4, 3)
    if function is not detached:
        torch.testing.assert_close(
            hessian_on_tape(function, x), hessian_by_autograd(function, x), rtol=1e-10, atol=1e-12
        )
    # What is detached is a constant: its value is used, its derivative is not.
    scale = x.sin()
    if function is detached:
        torch.testing.assert_close(
            hessian_on_tape(function, x), hessian_by_autograd(lambda v: v * scale, x),
            rtol=1e-10, atol=1e-12,
        )  # fmt: skip


def test_what_runs_without_gradients_is_a_constant():
    x = draw(4, 3)
    scale = x.exp()
    torch.testing.assert_close(
        hessian_on_tape(without_gradients, x),
        hessian_by_autograd(lambda v: v.sin() * scale, x),
        rtol=1e-10, atol=1e-12,
    )  # fmt: skip


def view_written(x):
    h = x * 2
    h[0].mul_(3.0)
    return h


def part_of_its_own(x):
    h = x.sin()
    return h.mul_(h)


@pytest.mark.parametrize("function", [view_written, part_of_its_own])
def test_what_cannot_be_followed_is_refused(function):
    with pytest.raises(UntapedError, match="writes into a view"):
        hessian_on_tape(function, draw(4, 3))


class Straight(torch.autograd.Function):
    """Rounds forwards, and lets the gradient through."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, grad):
        return grad.clone()


class Rounding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)

    def forward(self, x):
        return Straight.apply(self.inner(x).tanh() * 3)


def test_a_derivative_of_ones_own_is_left_to_autograd(monkeypatch, generator):
    monkeypatch.setattr("thalweg.surface._point.MIN_PROBED_BYTES", 0)
    problem = Problem(Rounding().double(), nn.functional.mse_loss, (draw(7, 3), draw(7, 2)))
    point = Surface(problem).here()
    op, plain = point.hessian(), point.hessian(RetainedGraph())
    v = torch.randn(op.size, generator=generator, dtype=F64)
    torch.testing.assert_close(op @ v, plain @ v)
    assert (op @ v).abs().sum() > 0
    assert "no tape: Straight has a derivative of its own" in op.route.said
    with pytest.raises(UntapedError, match=r"Straight.*; pass route=RetainedGraph\(\)"):
        point.hessian(Taped()) @ v
