"""Dense: the whole Hessian of W1, in gradients a row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.clock import around
from benchmarks.exact import RetainedGraph, distance
from benchmarks.line import OURS, PEER, REFERENCE, complaint
from benchmarks.peers import CURVLINOPS, curvlinops_hessian, own_copy, point_of
from benchmarks.stage import Stage

QUANTITY = "dense Hessian, a row"
# Rows that the slow ones compute; every row costs the same.
SAMPLE = 256
CHUNKS = (16, 64, 256)


def measure(stage: Stage, right: NDArray[object]) -> None:
    """Thalweg computes the whole matrix, the others a sample of its rows.

    Error: ‖found − H‖/‖H‖ in the Frobenius norm, over the rows that were computed. Those of the
    neighbours that take all rows at once (torch.func.hessian, pytorch-minimize) need more than
    12 GB here, and are not run.
    """
    network, n = stage.network, stage.network.num_params
    exact = torch.from_numpy(right)
    eye = torch.eye(n, dtype=network.dtype)[:, :SAMPLE]
    by_hand = RetainedGraph(own_copy(network))

    def chunked(product: Callable[[Tensor], Tensor], width: int) -> Tensor:
        return torch.cat([product(part) for part in eye.split(width, dim=1)], dim=1)

    runs: list[tuple[str, str, Callable[[], Tensor], int, str]] = [
        ("thalweg", OURS, lambda: point_of(network).hessian().to_dense(), n, "whole"),
        (
            "row by row on the retained graph", REFERENCE,
            lambda: by_hand.hessian_rows(eye), SAMPLE, f"{SAMPLE} rows",
        ),
    ]  # fmt: skip
    try:
        product = curvlinops_hessian(own_copy(network))
        runs += [
            (CURVLINOPS, PEER, partial(chunked, product, width), SAMPLE, f"chunks of {width}")
            for width in CHUNKS
        ]
    except Exception as error:
        stage.add(QUANTITY, CURVLINOPS, PEER, note=complaint(error))
    for name, role, run, rows, setting in runs:
        try:
            found, cost = around(run, network.gradient_step, stage.seconds / 5, most=3)
            stage.add(
                QUANTITY, name, role, cost=cost.gradients / rows, seconds=cost.seconds / rows,
                repeats=cost.repeats, error=distance(found, exact[:, :rows]),
                allowed=stage.product_tolerance, setting=setting,
            )  # fmt: skip
        except Exception as error:
            stage.add(QUANTITY, name, role, note=complaint(error), setting=setting)
