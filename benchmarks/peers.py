"""The neighbours: how each computes a product, set up as fast as it can be.

Imports stand inside the functions, so that a neighbour that is missing or broken costs one line of
the tables and nothing else.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

import thalweg
from benchmarks.exact import RetainedGraph, differentiable_attention, join, split
from benchmarks.line import OURS, PEER, REFERENCE, released
from benchmarks.networks import Network

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Contender:
    """Somebody who multiplies by a matrix of a network.

    Args:
        name: with version.
        role: OURS, REFERENCE or PEER.
        build: network ↦ (v ↦ A v), flat to flat; what it may keep between products, it keeps.
        setting: what was chosen for it.
    """

    name: str
    role: str
    build: Callable[[Network], Product]
    setting: str = ""


def own_copy(network: Network) -> Network:
    """A copy to hand out: some neighbours write into `.grad` and switch the mode."""
    return replace(network, model=copy.deepcopy(network.model))


def attentive(call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call where attention has its second derivative; a no-op without attention."""

    @functools.wraps(call)
    def within(*args: Any, **kwargs: Any) -> Any:
        with differentiable_attention():
            return call(*args, **kwargs)

    return within


# -- thalweg -----------------------------------------------------------------------------------


def point_of(network: Network) -> thalweg.Point:
    """The network's point."""
    return thalweg.Surface(network.problem()).here()


def thalweg_hessian(network: Network) -> Product:
    """`op @ v`."""
    op = point_of(network).hessian()
    return lambda v: op @ v


def thalweg_ggn(network: Network) -> Product:
    """`op @ v`."""
    op = point_of(network).ggn()
    return lambda v: op @ v


# -- by hand -----------------------------------------------------------------------------------


def retained_hessian(network: Network) -> Product:
    """Double backward on a graph that is kept."""
    return RetainedGraph(network).hessian


def retained_hessian_block(network: Network) -> Product:
    """The same, column by column."""
    return RetainedGraph(network).hessian_rows


def retained_ggn(network: Network) -> Product:
    """Vector-Jacobian products twice, on graphs that are kept."""
    return RetainedGraph(network).ggn


# -- curvlinops --------------------------------------------------------------------------------


def curvlinops_hessian_operator(network: Network) -> Any:
    """Its operator; without the check for determinism, which would cost products."""
    from curvlinops import HessianLinearOperator

    return HessianLinearOperator(
        network.model,
        network.loss,
        network.params,
        [(network.inputs, network.targets)],
        check_deterministic=False,
    )


def curvlinops_hessian(network: Network) -> Product:
    """Its product: jvp of jacrev, under vmap."""
    op = curvlinops_hessian_operator(network)
    return attentive(lambda v: op @ v)


def curvlinops_ggn(network: Network) -> Product:
    """Its GGN, likewise."""
    from curvlinops import GGNLinearOperator

    op = GGNLinearOperator(
        network.model,
        network.loss,
        network.params,
        [(network.inputs, network.targets)],
        check_deterministic=False,
    )
    return attentive(lambda v: op @ v)


# -- hessian-eigenthings -----------------------------------------------------------------------


def eigenthings_operator(network: Network) -> Any:
    """Its operator: double backward, the graph rebuilt at every product."""
    from hessian_eigenthings import HessianOperator, supervised_loss

    return HessianOperator(
        network.model, [(network.inputs, network.targets)], supervised_loss(network.loss)
    )


def eigenthings_hessian(network: Network) -> Product:
    """One product of it."""
    return attentive(eigenthings_operator(network).matvec)


def eigenthings_ggn(network: Network) -> Product:
    """Its product: jvp, the loss twice, vjp."""
    from hessian_eigenthings import GGNOperator, supervised_forward, supervised_loss_of_output

    op = GGNOperator(
        network.model,
        [(network.inputs, network.targets)],
        supervised_forward,
        supervised_loss_of_output(network.loss),
    )
    return attentive(op.matvec)


# -- PyHessian ---------------------------------------------------------------------------------


def pyhessian_computer(network: Network) -> Any:
    """Its object, on one batch, so that it keeps the gradient's graph."""
    import pyhessian

    with differentiable_attention():
        return pyhessian.hessian(
            network.model, network.loss, data=(network.inputs, network.targets), cuda=False
        )


def pyhessian_hessian(network: Network) -> Product:
    """Double backward on the graph it keeps, flat to flat as a Krylov run needs it."""
    from pyhessian.utils import hessian_vector_product

    computer = pyhessian_computer(network)

    def product(v: Tensor) -> Tensor:
        parts = split(v, computer.params)
        return join(hessian_vector_product(computer.gradsH, computer.params, parts))

    return product


# -- BackPACK ----------------------------------------------------------------------------------


def backpack_hessian(network: Network) -> Product:
    """Its R-operator on the gradients, which are kept."""
    from backpack.hessianfree.hvp import hessian_vector_product

    params = network.params
    with differentiable_attention():
        loss = network.value()
        gradients = torch.autograd.grad(loss, params, create_graph=True)

    def product(v: Tensor) -> Tensor:
        parts = split(v, params)
        return join(hessian_vector_product(loss, params, parts, grad_params=gradients))

    return product


def backpack_ggn(network: Network) -> Product:
    """Its GGN product, on one forward pass that is kept."""
    from backpack.hessianfree.ggnvp import ggn_vector_product

    with differentiable_attention():
        output = network.model(network.inputs)
        loss = network.loss(output, network.targets)
    return lambda v: join(ggn_vector_product(loss, output, network.model, split(v, network.params)))


# -- pytorch-minimize --------------------------------------------------------------------------


def minimize_hessian(network: Network) -> Product:
    """The product that its Newton methods use, on the graph that its closure keeps."""
    from torchmin.function import ScalarFunction

    names = [name for name, _ in network.model.named_parameters()]
    params = network.params

    def value(flat: Tensor) -> Tensor:
        at = dict(zip(names, split(flat, params), strict=True))
        return network.loss(functional_call(network.model, at, (network.inputs,)), network.targets)

    flat = join(params)
    with differentiable_attention():
        found = ScalarFunction(value, flat.shape, hessp=True).closure(flat)
    return found.hessp.mv


CURVLINOPS = released("curvlinops-for-pytorch", "curvlinops")
EIGENTHINGS = released("hessian-eigenthings", "hessian-eigenthings")
PYHESSIAN = released("pyhessian", "PyHessian")
BACKPACK = released("backpack-for-pytorch", "BackPACK")
MINIMIZE = released("pytorch-minimize", "pytorch-minimize")
BY_HAND = "double backward, graph retained"

HESSIANS = (
    Contender("thalweg", OURS, thalweg_hessian),
    Contender(BY_HAND, REFERENCE, retained_hessian),
    Contender(CURVLINOPS, PEER, curvlinops_hessian),
    Contender(EIGENTHINGS, PEER, eigenthings_hessian),
    Contender(PYHESSIAN, PEER, pyhessian_hessian, "graph kept"),
    Contender(BACKPACK, PEER, backpack_hessian, "gradients kept"),
    Contender(MINIMIZE, PEER, minimize_hessian, "graph kept"),
)
BLOCKS = (
    Contender("thalweg", OURS, thalweg_hessian),
    Contender(BY_HAND, REFERENCE, retained_hessian_block, "column by column"),
    Contender(CURVLINOPS, PEER, curvlinops_hessian),
)
GGNS = (
    Contender("thalweg", OURS, thalweg_ggn),
    Contender("double vjp, graphs retained", REFERENCE, retained_ggn),
    Contender(CURVLINOPS, PEER, curvlinops_ggn),
    Contender(EIGENTHINGS, PEER, eigenthings_ggn),
    Contender(BACKPACK, PEER, backpack_ggn, "forward pass kept"),
)
