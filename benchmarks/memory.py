"""Memory: parameter-sized vectors that an eigenpairs run holds beyond the pass and its basis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import thalweg
from benchmarks.allocations import allocated
from benchmarks.eigenvalues import eigenthings
from benchmarks.line import OURS, PEER, complaint
from benchmarks.peers import (
    EIGENTHINGS,
    eigenthings_hessian,
    own_copy,
    point_of,
    retained_hessian,
    thalweg_hessian,
)
from benchmarks.settings import K
from benchmarks.stage import Stage

QUANTITY = "vectors beyond basis, pass and result, at the peak"
BY_HAND = "vectors beyond basis, result and a graph retained by hand, at the peak"
ALLOWED = 2.0


def measure(stage: Stage) -> None:
    """(peak of the run − peak of one product)/vector − basis − the k vectors returned.

    The peaks are those of torch's allocator; the one product is the contender's own, from the
    network on. Where that needs more than the end of a run does, the number is below zero.

    A second line says the same of our run against one product by double backward on a graph that
    is retained by hand, so that a pass of ours that holds more shows.
    """
    network = own_copy(stage.network)
    vector = network.num_params * network.dtype.itemsize
    v = stage.vector(3)

    def ours() -> int:
        op = point_of(network).hessian()
        return thalweg.eigenpairs(op, k=K, generator=torch.Generator().manual_seed(0)).num_products

    steps = stage.settings["lanczos_steps"] or 40
    for name, role, run, product in (
        ("thalweg", OURS, ours, thalweg_hessian),
        (EIGENTHINGS, PEER, lambda: eigenthings(own_copy(network), steps)[2], eigenthings_hessian),
    ):
        try:
            of_pass = peak(lambda product=product: product(own_copy(network))(v))
            basis: list[int] = []
            bytes_held = peak(lambda run=run, basis=basis: basis.append(run()))
            extra = (bytes_held - of_pass) / vector - basis[0] - K
            stage.add(
                QUANTITY, name, role, cost=extra, products=basis[0],
                note=f"{bytes_held / 2**20:.0f} MiB, the pass {of_pass / 2**20:.0f} MiB",
            )  # fmt: skip
            if role == OURS:
                by_hand = peak(lambda: retained_hessian(own_copy(network))(v))
                stage.add(
                    BY_HAND, name, role, products=basis[0],
                    cost=(bytes_held - by_hand) / vector - basis[0] - K,
                    note=f"{bytes_held / 2**20:.0f} MiB, by hand {by_hand / 2**20:.0f} MiB",
                )  # fmt: skip
        except Exception as error:
            stage.add(QUANTITY, name, role, note=complaint(error))


def peak(call: Callable[[], Any]) -> int:
    """Most bytes that torch held at once during a call, beyond those from before."""
    most, _ = allocated(call)
    return most
