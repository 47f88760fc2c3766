"""Densities: the spectrum of W1 from 10 probes of 60 steps."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import thalweg
from benchmarks.clock import around
from benchmarks.exact import RetainedGraph
from benchmarks.line import OURS, PEER, REFERENCE, complaint
from benchmarks.networks import Network
from benchmarks.peers import (
    CURVLINOPS,
    EIGENTHINGS,
    PYHESSIAN,
    curvlinops_hessian_operator,
    eigenthings_operator,
    own_copy,
    point_of,
    pyhessian_computer,
)
from benchmarks.stage import Stage

QUANTITY = "density, 10 probes × 60 steps"
NUM_PROBES = 10
NUM_STEPS = 60
ALLOWED = 0.05

Measure = tuple[NDArray[Any], NDArray[Any]]
"""Nodes and weights, each (probes, steps)."""


def measure(stage: Stage, eigenvalues: NDArray[Any]) -> None:
    """All contenders.

    Error: half of ∫|φ − φ_exact|, the share of the spectrum that lies elsewhere, both densities
    smoothed by one Gaussian as wide as 60 steps can resolve. Much of it is the 10 probes' own
    scatter, which all share; runs that lose orthogonality, or count ghosts, show above it.
    """
    network = stage.network
    runs: list[tuple[str, str, Callable[[], Measure], str]] = [
        ("thalweg", OURS, lambda: ours(network), ""),
        ("Lanczos on the retained graph", REFERENCE, lambda: retained(own_copy(network)), ""),
        (EIGENTHINGS, PEER, lambda: eigenthings(own_copy(network)), ""),
        (PYHESSIAN, PEER, lambda: pyhessian(own_copy(network)), "torch.eig put back"),
        (CURVLINOPS, PEER, lambda: curvlinops(own_copy(network)), "spectral range not searched"),
    ]
    for name, role, run, setting in runs:
        try:
            torch.manual_seed(0)
            found, cost = around(
                run, network.gradient_step, stage.seconds / len(runs), 2 if stage.is_quick else 5
            )
            stage.add(
                QUANTITY, name, role, cost=cost.gradients, seconds=cost.seconds,
                repeats=cost.repeats, error=misplaced(found, eigenvalues), allowed=ALLOWED,
                products=NUM_PROBES * NUM_STEPS, setting=setting,
            )  # fmt: skip
        except Exception as error:
            stage.add(QUANTITY, name, role, note=complaint(error), setting=setting)


def misplaced(found: Measure, eigenvalues: NDArray[Any]) -> float:
    """Half of ∫|φ − φ_exact| on one grid, with one width."""
    nodes, weights = (np.asarray(a, dtype=np.float64) for a in found)
    low, high = eigenvalues.min(), eigenvalues.max()
    width = (high - low) / NUM_STEPS
    grid = np.linspace(low - 6 * width, high + 6 * width, 2000)

    def smoothed(points: NDArray[Any], shares: NDArray[Any]) -> NDArray[Any]:
        total = np.zeros_like(grid)
        for x, share in zip(points.ravel(), shares.ravel(), strict=True):
            total += share * np.exp(-((grid - x) ** 2) / (2 * width**2))
        return total / (width * np.sqrt(2 * np.pi))

    n, p = len(eigenvalues), len(nodes)
    exact = smoothed(eigenvalues, np.full(n, 1 / n))
    return float(0.5 * np.trapezoid(np.abs(smoothed(nodes, weights / p) - exact), grid))


def ours(network: Network) -> Measure:
    """`density(op)`."""
    found = thalweg.density(
        point_of(network).hessian(),
        num_probes=NUM_PROBES, num_steps=NUM_STEPS, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    return found.nodes.numpy(), found.weights.numpy()


def eigenthings(network: Network) -> Measure:
    """Its spectral_density, which always reorthogonalises."""
    return _by_eigenthings(eigenthings_operator(network))


def retained(network: Network) -> Measure:
    """The same on the product by hand."""
    from hessian_eigenthings import LambdaOperator

    graph = RetainedGraph(network)
    return _by_eigenthings(LambdaOperator(graph.hessian, graph.size, dtype=network.dtype))


def _by_eigenthings(op: Any) -> Measure:
    from hessian_eigenthings import spectral_density

    # A small grid: drawing is not what is compared.
    found = spectral_density(
        op, num_runs=NUM_PROBES, lanczos_steps=NUM_STEPS, num_grid_points=1024, seed=0
    )
    return found.raw_eigenvalues.numpy(), found.raw_weights.numpy()


def curvlinops(network: Network) -> Measure:
    """Its Lanczos runs; they do not reorthogonalise."""
    from curvlinops.papyan2020traces.spectrum import fast_lanczos

    op = curvlinops_hessian_operator(network)
    runs = [fast_lanczos(op, NUM_STEPS) for _ in range(NUM_PROBES)]
    return (
        torch.stack([values for values, _ in runs]).numpy(),
        torch.stack([vectors[0] ** 2 for _, vectors in runs]).numpy(),
    )


def pyhessian(network: Network) -> Measure:
    """Its density; the release calls torch.eig, which torch removed, so we hand it one."""
    importlib.import_module("pyhessian")
    module: Any = sys.modules["pyhessian.hessian"]

    class WithEig:
        """Torch, and eig as it was: values as rows (real, imaginary), and vectors."""

        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

        @staticmethod
        def eig(T: torch.Tensor, eigenvectors: bool) -> tuple[torch.Tensor, torch.Tensor]:
            assert eigenvectors
            values, vectors = torch.linalg.eigh(T)
            return torch.stack([values, torch.zeros_like(values)], dim=1), vectors

    module.torch = WithEig()
    try:
        nodes, weights = pyhessian_computer(network).density(iter=NUM_STEPS, n_v=NUM_PROBES)
    finally:
        module.torch = torch
    return np.array(nodes), np.array(weights)
