"""Traces: the error of an estimate of tr H on W1 against the products that it took."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

import thalweg
from benchmarks.exact import RetainedGraph
from benchmarks.line import OURS, PEER, complaint
from benchmarks.peers import (
    CURVLINOPS,
    EIGENTHINGS,
    PYHESSIAN,
    own_copy,
    point_of,
    pyhessian_computer,
)
from benchmarks.stage import Stage

QUANTITY = "trace, products to an rms error of 1 %"
BY_ITSELF = "trace, products until its own standard error is 1 %"
WITHIN = "trace, rms error in {} products"
WANTED = 0.01
BUDGETS = (10, 20, 30, 40, 60, 80)


class Matrix:
    """What curvlinops' estimators ask of a matrix: a shape, and products."""

    def __init__(self, graph: RetainedGraph, dtype: torch.dtype) -> None:
        self.shape = (graph.size, graph.size)
        self.dtype, self.device, self.ndim = dtype, torch.device("cpu"), 2
        self._graph = graph

    def __matmul__(self, v: torch.Tensor) -> torch.Tensor:
        return self._graph.hessian(v) if v.ndim == 1 else self._graph.hessian_rows(v)


def measure(stage: Stage, exact: float) -> None:
    """All contenders; every estimator multiplies on the retained graph, for only products count.

    Error: the root mean square over seeds of (estimate − tr H)/tr H, tr H in float64. Its own
    standard error is about 1/√(2·seeds) of it.
    """
    graph = RetainedGraph(own_copy(stage.network))
    matrix = Matrix(graph, stage.network.dtype)
    op = point_of(stage.network).hessian()
    computer: list[Any] = []

    def ours(budget: int, seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        return float(thalweg.trace(op, num_products=budget, generator=generator).value)

    def curvlinops(estimator: str) -> Callable[[int, int], float]:
        def run(budget: int, seed: int) -> float:
            import curvlinops as package

            torch.manual_seed(seed)
            whole = budget - budget % (3 if estimator == "hutchpp_trace" else 2)
            return float(getattr(package, estimator)(matrix, whole))

        return run

    def eigenthings(method: str) -> Callable[[int, int], float]:
        def run(budget: int, seed: int) -> float:
            from hessian_eigenthings import LambdaOperator, trace

            found = trace(
                LambdaOperator(graph.hessian, graph.size, dtype=stage.network.dtype),
                num_matvecs=budget, method=method, seed=seed,
            )  # fmt: skip
            return float(found.estimate)

        return run

    def pyhessian(budget: int, seed: int) -> float:
        if not computer:
            computer.append(pyhessian_computer(own_copy(stage.network)))
        torch.manual_seed(seed)
        samples = computer[0].trace(maxIter=budget, tol=0.0)
        return sum(samples) / len(samples)

    runs: list[tuple[str, str, Callable[[int, int], float], str]] = [
        ("thalweg", OURS, ours, ""),
        (f"{CURVLINOPS} xtrace", PEER, curvlinops("xtrace"), ""),
        (f"{CURVLINOPS} hutchpp_trace", PEER, curvlinops("hutchpp_trace"), ""),
        (f"{EIGENTHINGS} hutch++", PEER, eigenthings("hutch++"), ""),
        (f"{EIGENTHINGS} hutchinson", PEER, eigenthings("hutchinson"), ""),
        (PYHESSIAN, PEER, pyhessian, "early stop switched off"),
    ]
    seeds = 8 if stage.is_quick else 30
    found = [
        thalweg.trace(op, tol=WANTED, generator=torch.Generator().manual_seed(s))
        for s in range(seeds)
    ]
    # The rms of 30 errors is itself uncertain by an eighth.
    mean = sum(f.num_products for f in found) / seeds
    error = math.sqrt(sum((f.value / exact - 1) ** 2 for f in found) / seeds)
    stage.add(
        BY_ITSELF, "thalweg", OURS, cost=mean, products=round(mean), repeats=seeds,
        allowed=1.25 * WANTED, error=error,
    )  # fmt: skip
    for name, role, run, setting in runs:
        try:
            errors = {b: _rms(run, b, seeds, exact) for b in BUDGETS}
        except Exception as error:
            stage.add(QUANTITY, name, role, note=complaint(error), setting=setting)
            continue
        enough = [b for b, error in errors.items() if error <= WANTED]
        note = "" if enough else f"not within {BUDGETS[-1]}"
        stage.add(
            QUANTITY, name, role, cost=enough[0] if enough else None,
            error=errors[enough[0] if enough else BUDGETS[-1]], allowed=WANTED,
            products=enough[0] if enough else None, setting=setting, repeats=seeds, note=note,
        )  # fmt: skip
        for budget in (20, 30, 40):
            stage.add(
                WITHIN.format(budget), name, role, error=errors[budget], products=budget,
                setting=setting, repeats=seeds,
            )  # fmt: skip


def _rms(run: Callable[[int, int], float], budget: int, seeds: int, exact: float) -> float:
    return math.sqrt(sum((run(budget, s) / exact - 1) ** 2 for s in range(seeds)) / seeds)
