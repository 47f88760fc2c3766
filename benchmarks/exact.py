"""Exact: the right answers, by double backward in float64 on graphs that are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.networks import Network, build


@contextlib.contextmanager
def differentiable_attention() -> Iterator[None]:
    """The attention that has a second derivative, which the fused ones lack."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


def split(v: Tensor, params: list[nn.Parameter]) -> list[Tensor]:
    """A flat vector as one view a parameter."""
    parts = v.split([p.numel() for p in params])
    return [part.view_as(p) for part, p in zip(parts, params, strict=True)]


def join(parts: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """The inverse of `split`."""
    return torch.cat([part.detach().reshape(-1) for part in parts])


class RetainedGraph:
    """H v and G v by hand in plain autograd: the eager bar in the network's dtype."""

    def __init__(self, network: Network) -> None:
        self.params = network.params
        with differentiable_attention():
            self.output = network.model(network.inputs)
            self.loss = network.loss(self.output, network.targets)

    @property
    def size(self) -> int:
        """N."""
        return sum(p.numel() for p in self.params)

    @cached_property
    def _gradients(self) -> tuple[Tensor, ...]:
        return torch.autograd.grad(self.loss, self.params, create_graph=True)

    def hessian(self, v: Tensor) -> Tensor:
        """∂(∇Lᵀv)/∂θ, flat to flat, with the graph of ∇L kept."""
        parts = split(v, self.params)
        return join(torch.autograd.grad(self._gradients, self.params, parts, retain_graph=True))

    def hessian_rows(self, block: Tensor) -> Tensor:
        """The same for each column of (n, k), one by one."""
        return torch.stack([self.hessian(v) for v in block.unbind(1)], dim=1)

    @cached_property
    def _jacobian_transposed(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        probe = torch.zeros_like(self.output).requires_grad_()
        return probe, torch.autograd.grad(self.output, self.params, probe, create_graph=True)

    @cached_property
    def _loss_gradient(self) -> Tensor:
        return torch.autograd.grad(self.loss, self.output, create_graph=True)[0]

    def ggn(self, v: Tensor) -> Tensor:
        """Jᵀ ∇²ℓ J v: Jᵀu differentiated by u, the loss twice, then Jᵀ."""
        probe, pulled = self._jacobian_transposed
        (pushed,) = torch.autograd.grad(pulled, probe, split(v, self.params), retain_graph=True)
        (bent,) = torch.autograd.grad(self._loss_gradient, self.output, pushed, retain_graph=True)
        return join(torch.autograd.grad(self.output, self.params, bent, retain_graph=True))


class Exact:
    """The Hessian and GGN of a network in float64, at the float32 parameters of the others."""

    def __init__(self, name: str) -> None:
        self._graph = RetainedGraph(build(name, torch.float64))

    def hessian(self, v: Tensor) -> Tensor:
        """H v in float64."""
        return self._graph.hessian(v.double())

    def ggn(self, v: Tensor) -> Tensor:
        """G v in float64."""
        return self._graph.ggn(v.double())

    def residual(self, values: Tensor, vectors: Tensor) -> float:
        """Max ‖Ay − θy‖ over the pairs, absolute; the y are normalised first."""
        worst = 0.0
        for value, y in zip(values.double(), vectors.double().unbind(1), strict=True):
            y = y / y.norm()
            worst = max(worst, float((self.hessian(y) - value * y).norm()))
        return worst


def distance(found: Tensor, right: Tensor) -> float:
    """‖found − right‖ / ‖right‖ in float64."""
    return float((found.double() - right.double()).norm() / right.double().norm())
