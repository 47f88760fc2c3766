"""Memory: parameter-sized vectors that an eigenpairs run holds beyond the pass and its basis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import thalweg
from benchmarks.eigenvalues import eigenthings
from benchmarks.exact import RetainedGraph
from benchmarks.line import OURS, PEER, complaint
from benchmarks.peers import EIGENTHINGS, own_copy, point_of
from benchmarks.settings import K
from benchmarks.stage import Stage

QUANTITY = "vectors beyond basis, pass and result, at the peak"
ALLOWED = 2.0


def measure(stage: Stage) -> None:
    """(peak of the run − peak of one product by hand)/vector − basis − the k vectors returned.

    The peaks are those of torch's allocator. The pass by hand keeps its graph; a run that
    rebuilds it holds less at times, and may come out below zero.
    """
    network = own_copy(stage.network)
    vector = network.num_params * network.dtype.itemsize
    v = stage.vector(3)
    of_pass = peak(lambda: RetainedGraph(own_copy(network)).hessian(v))

    def ours() -> int:
        op = point_of(network).hessian()
        return thalweg.eigenpairs(op, k=K, generator=torch.Generator().manual_seed(0)).num_products

    steps = stage.settings["lanczos_steps"]
    for name, role, run in (
        ("thalweg", OURS, ours),
        (EIGENTHINGS, PEER, lambda: eigenthings(own_copy(network), steps)[2]),
    ):
        try:
            basis: list[int] = []
            bytes_held = peak(lambda run=run, basis=basis: basis.append(run()))
            extra = (bytes_held - of_pass) / vector - basis[0] - K
            stage.add(
                QUANTITY, name, role, cost=extra, products=basis[0],
                note=f"{bytes_held / 2**20:.0f} MiB, the pass {of_pass / 2**20:.0f} MiB",
            )  # fmt: skip
        except Exception as error:
            stage.add(QUANTITY, name, role, note=complaint(error))


def peak(call: Callable[[], Any]) -> int:
    """Most bytes that torch held at once during a call, beyond those from before."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        call()
    held = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most
