"""Whole derivatives by autograd, one row after the other, of functions written by hand."""

from collections.abc import Callable

import torch
from torch import Tensor

Params = dict[str, Tensor]


def leaves(problem) -> Params:
    """The trainable parameters, by name, as fresh leaves; tied ones once."""
    return {n: p.detach().clone().requires_grad_() for n, p in problem.parameters.items()}


def held(problem) -> Params:
    """Everything else that the model computes with."""
    model = problem.model
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {n: t.detach() for n, t in tensors.items() if n not in problem.parameters}


def flat(tensors) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


def jacobian(f: Callable[[Params], Tensor], problem) -> Tensor:
    """∂f/∂θ, one backward pass a row; f is handed all tensors of the model by name."""
    params = leaves(problem)
    inputs = tuple(params.values())
    rows = [
        flat(torch.autograd.grad(value, inputs, retain_graph=True, materialize_grads=True))
        for value in f({**held(problem), **params}).reshape(-1)
    ]
    return torch.stack(rows)


def gradient(f: Callable[[Params], Tensor], problem) -> Tensor:
    return jacobian(f, problem)[0]


def hessian(f: Callable[[Params], Tensor], problem) -> Tensor:
    """∂²f/∂θ², one double backward pass a row."""

    def slope(params: Params) -> Tensor:
        inputs = [t for t in params.values() if t.requires_grad]
        return flat(torch.autograd.grad(f(params), inputs, create_graph=True))

    return jacobian(slope, problem)


def hessian_by(f: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """∂²f/∂z² of a function of one tensor, flattened."""
    z = z.detach().requires_grad_()
    (slope,) = torch.autograd.grad(f(z), z, create_graph=True)
    if not slope.requires_grad:
        return z.new_zeros(z.numel(), z.numel())
    rows = [
        torch.autograd.grad(s, z, retain_graph=True, materialize_grads=True)[0].reshape(-1)
        for s in slope.reshape(-1)
    ]
    return torch.stack(rows)
