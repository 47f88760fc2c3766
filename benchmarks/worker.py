"""One process of the benchmark: one network, one number of threads, one dtype, or its settings."""

from __future__ import annotations

import json
import sys
import time
import traceback
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import dense, densities, eigenvalues, memory, products, settings, traces, tracking
from benchmarks.exact import Exact, RetainedGraph
from benchmarks.networks import build
from benchmarks.stage import Stage

SHARES = {
    "products": 0.35,
    "eigenvalues": 0.55,
    "densities": 0.3,
    "dense": 0.3,
}
"""Of the seconds of a process; W1, which has more to do, gets what its quickness leaves."""


def main(order: dict[str, Any]) -> None:
    """Carries out one order of `__main__` and writes what it found to order["out"]."""
    # The neighbours' own deprecations are not ours to report.
    warnings.simplefilter("ignore")
    torch.set_num_threads(order["threads"])
    dtype = getattr(torch, order["dtype"])
    # Some neighbours create their vectors in the default dtype.
    torch.set_default_dtype(dtype)
    work = prepare if order["task"] == "settings" else measure
    Path(order["out"]).write_text(json.dumps(work(order, dtype)))


def prepare(order: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The settings of a network, and for W1 its whole Hessian and spectrum in float64."""
    name = order["network"]
    network, exact = build(name, dtype), Exact(name)
    found = settings.find(network, exact, order["seconds"])
    if name == "W1":
        graph = RetainedGraph(build(name, torch.float64))
        eye = torch.eye(graph.size, dtype=torch.float64)
        hessian = graph.hessian_rows(eye)
        hessian = (hessian + hessian.T) / 2
        values = torch.linalg.eigvalsh(hessian)
        np.savez(order["spectrum"], hessian=hessian.numpy(), eigenvalues=values.numpy())
    return {**found, "description": network.description, "num_params": network.num_params}


def measure(order: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """All lines of a network at a number of threads in a dtype."""
    name = order["network"]
    stage = Stage(
        build(name, dtype), Exact(name), order["threads"], order["dtype"], order["seconds"],
        order["settings"], order["is_quick"],
    )  # fmt: skip
    start = time.perf_counter()

    def part(module: Any, *extra: Any) -> None:
        stage.seconds = order["seconds"] * SHARES.get(module.__name__.split(".")[-1], 0.1)
        try:
            module.measure(stage, *extra)
        except Exception:
            # A part that breaks as a whole must not take the others along.
            traceback.print_exc()

    part(products)
    part(eigenvalues)
    if stage.is_first:
        part(memory)
    if name == "W1":
        with np.load(order["spectrum"]) as truth:
            part(densities, truth["eigenvalues"])
            part(dense, truth["hessian"])
            if stage.is_first:
                part(traces, float(truth["eigenvalues"].sum()))
    if name in ("W1", "W3") or (stage.is_first and not stage.is_quick):
        part(tracking)
    return {"lines": [asdict(line) for line in stage.lines], "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
