"""Products: one Hessian product, a block of eight, one GGN product."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.clock import in_alternation
from benchmarks.exact import distance
from benchmarks.line import complaint
from benchmarks.peers import BLOCKS, GGNS, HESSIANS, Contender, own_copy
from benchmarks.stage import Stage

BLOCK = 8


def measure(stage: Stage) -> None:
    """All three."""
    v, V = stage.vector(1), stage.vector(2, BLOCK)
    right = stage.exact.hessian(v)
    rights = torch.stack([stage.exact.hessian(column) for column in V.unbind(1)], dim=1)
    share = stage.seconds / 3
    compete(stage, "Hessian product", HESSIANS, v, right, share)
    compete(stage, f"Hessian block of {BLOCK}, a vector", BLOCKS, V, rights, share)
    compete(stage, "GGN product", GGNS, v, stage.exact.ggn(v), share)


def compete(
    stage: Stage,
    quantity: str,
    contenders: tuple[Contender, ...],
    v: Tensor,
    right: Tensor,
    budget: float,
) -> None:
    """Measures contenders that multiply by the same matrix.

    Error: ‖found − A v‖/‖A v‖.
    """
    calls: dict[str, Callable[[], Any]] = {}
    errors: dict[str, float] = {}
    first: dict[str, float] = {}
    failures: dict[str, str] = {}
    for contender in contenders:
        try:
            product = contender.build(own_copy(stage.network))
            found = product(v)
            # Some build at the first product: how often one is repeated within a sample goes by
            # the second, so that the cache is as warm for all.
            start = time.perf_counter()
            product(v)
            first[contender.name] = time.perf_counter() - start
            errors[contender.name] = distance(found, right)
            calls[contender.name] = partial(product, v)
        except Exception as error:
            failures[contender.name] = complaint(error)
    costs = in_alternation(calls, stage.network.gradient_step, first, budget)
    columns = v.shape[1] if v.ndim == 2 else 1
    for contender in contenders:
        cost = costs.get(contender.name)
        stage.add(
            quantity,
            contender.name,
            contender.role,
            cost=cost and cost.gradients / columns,
            seconds=cost and cost.seconds / columns,
            repeats=cost and cost.repeats,
            error=errors.get(contender.name),
            allowed=stage.product_tolerance,
            setting=contender.setting,
            note=failures.get(contender.name, ""),
        )
