"""Eigenvalues: the five largest pairs, and both ends at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import thalweg
from benchmarks.clock import around
from benchmarks.exact import RetainedGraph, differentiable_attention
from benchmarks.line import OURS, PEER, REFERENCE, complaint
from benchmarks.networks import Network
from benchmarks.peers import (
    CURVLINOPS,
    EIGENTHINGS,
    PYHESSIAN,
    curvlinops_hessian,
    eigenthings_operator,
    own_copy,
    point_of,
)
from benchmarks.settings import TOL, K, accuracy, eigsh, pyhessian_pairs
from benchmarks.stage import Stage

QUANTITY = "five largest eigenpairs"
ENDS = "λ_max and λ_min together"

Pairs = tuple[Tensor, Tensor, int]


def measure(stage: Stage) -> None:
    """All contenders; each run starts from the network, its graph included.

    Error: the worst of ‖Ay − θy‖ and |θ − λ| over the five, over max|λ|, in float64.
    """
    network, settings = stage.network, stage.settings
    steps, arpack = enough_steps(stage), settings["eigsh"]
    by_size = settings["pyhessian"]
    runs: list[tuple[str, str, str, Callable[[], Pairs], str]] = [
        ("thalweg", OURS, "", lambda: ours(network), "tol=1e-3"),
        (
            "Lanczos on the retained graph", REFERENCE, "",
            lambda: on_retained_graph(own_copy(network), steps), f"{steps} steps, told so",
        ),
        (
            "SciPy eigsh on the retained graph", REFERENCE, "",
            lambda: scipy_retained(own_copy(network), arpack), spelled(arpack),
        ),
        (
            EIGENTHINGS, PEER, "",
            lambda: eigenthings(own_copy(network), steps), f"{steps} steps, told so",
        ),
        (
            f"{CURVLINOPS} + eigsh", PEER, "",
            lambda: curvlinops(own_copy(network), arpack), spelled(arpack),
        ),
    ]  # fmt: skip
    if by_size["is_accurate"] or (stage.is_first and not stage.is_quick):
        runs.append(
            (
                PYHESSIAN, PEER, by_size.get("note", ""),
                lambda: pyhessian_pairs(network, by_size["maxIter"], by_size["tol"]),
                f"maxIter={by_size['maxIter']}, tol={by_size['tol']:g}",
            )
        )  # fmt: skip
    else:
        stage.add(
            QUANTITY, PYHESSIAN, PEER,
            note=by_size.get("note") or f"error {by_size['error']:.1e} at its defaults",
        )  # fmt: skip
    for name, role, note, run, setting in runs:
        right = settings["top_by_size" if name == PYHESSIAN else "top"]
        try:
            torch.manual_seed(0)
            (values, vectors, products), cost = around(
                run, network.gradient_step, stage.seconds / (len(runs) + 1)
            )
            error = accuracy(stage.exact, values, vectors, torch.tensor(right), settings["largest"])
            stage.add(
                QUANTITY, name, role, cost=cost.gradients, seconds=cost.seconds, error=error,
                repeats=cost.repeats, allowed=TOL, products=products, setting=setting, note=note,
            )  # fmt: skip
        except Exception as error:
            stage.add(QUANTITY, name, role, note=complaint(error), setting=setting)
    both_ends(stage)


def both_ends(stage: Stage) -> None:
    """λ_max and λ_min from one run, beside a run for each alone."""
    network = stage.network

    def top() -> Any:
        op = point_of(network).hessian()
        return thalweg.eigenpairs(op, k=1, generator=torch.Generator().manual_seed(0))

    def bottom() -> Any:
        op = -point_of(network).hessian()
        return thalweg.eigenpairs(op, k=1, generator=torch.Generator().manual_seed(0))

    def ends() -> Any:
        op = point_of(network).hessian()
        return thalweg.linalg.extremes(op, generator=torch.Generator().manual_seed(0))

    for name, run in (
        ("thalweg, λ_max alone", top), ("thalweg, λ_min alone", bottom), ("thalweg", ends),
    ):  # fmt: skip
        try:
            found, cost = around(run, network.gradient_step, stage.seconds / 18)
        except Exception as error:
            stage.add(ENDS, name, OURS, note=complaint(error))
            continue
        pairs = [found.top, found.bottom] if run is ends else [found]
        sign = -1.0 if run is bottom else 1.0
        worst = max(stage.exact.residual(sign * p.values, p.vectors) for p in pairs)
        stage.add(
            ENDS, name, OURS, cost=cost.gradients, seconds=cost.seconds, repeats=cost.repeats,
            error=worst / stage.settings["largest"], allowed=TOL, products=found.num_products,
            setting="tol=1e-3",
        )  # fmt: skip


def spelled(arpack: dict[str, Any]) -> str:
    """The setting of eigsh in words."""
    if "ncv" not in arpack:
        return "no setting found"
    return f"ncv={arpack['ncv']}, tol={arpack['tol']:g}"


def ours(network: Network) -> Pairs:
    """`eigenpairs(op, k=5)`, which stops by itself."""
    op = point_of(network).hessian()
    pairs = thalweg.eigenpairs(op, k=K, tol=TOL, generator=torch.Generator().manual_seed(0))
    return pairs.values, pairs.vectors, pairs.num_products


def eigenthings(network: Network, steps: int) -> Pairs:
    """Its Lanczos run, told how many steps are enough, with its reorthogonalisation."""
    from hessian_eigenthings import lanczos

    with differentiable_attention():
        found = lanczos(
            eigenthings_operator(network),
            k=K, max_iter=steps, which="LA", reorthogonalize=True, seed=0,
        )  # fmt: skip
    return found.eigenvalues, found.eigenvectors.T, steps


def enough_steps(stage: Stage) -> int:
    """The fewest steps from the start vector that hessian-eigenthings draws in this dtype."""
    found, right = stage.settings["lanczos_steps"] or 40, torch.tensor(stage.settings["top"])
    within = TOL * stage.settings["largest"]
    for steps in range(found, found + 20):
        try:
            values, vectors, _ = on_retained_graph(own_copy(stage.network), steps)
        except ModuleNotFoundError:
            return found
        is_near = float((values.double() - right.double()).abs().max()) <= within
        if is_near and stage.exact.residual(values, vectors) <= within:
            return steps
    return found


def on_retained_graph(network: Network, steps: int) -> Pairs:
    """The same run on the product by hand."""
    from hessian_eigenthings import LambdaOperator, lanczos

    graph = RetainedGraph(network)
    op = LambdaOperator(graph.hessian, size=graph.size, dtype=network.dtype)
    found = lanczos(op, k=K, max_iter=steps, which="LA", reorthogonalize=True, seed=0)
    return found.eigenvalues, found.eigenvectors.T, steps


def scipy_retained(network: Network, arpack: dict[str, Any]) -> Pairs:
    """SciPy's implicitly restarted Lanczos on the product by hand."""
    return eigsh(network, RetainedGraph(network).hessian, arpack["ncv"], arpack["tol"])


def curvlinops(network: Network, arpack: dict[str, Any]) -> Pairs:
    """The same on curvlinops' operator, which has no eigensolver of its own."""
    return eigsh(network, curvlinops_hessian(network), arpack["ncv"], arpack["tol"])
