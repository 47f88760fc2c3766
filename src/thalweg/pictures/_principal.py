"""The principal components of paths, by the Gram matrix of their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg.pictures._path import Path

COLUMNS = 2**16
"""So many parameters at a time are widened to float64."""


@dataclass(frozen=True, eq=False)
class Components:
    """The first k principal components.

    Args:
        vectors: unit vectors (n, k), float64; each points from the first place to the last.
        shares: of the variance along each [share of 1].
        num_places: places they are of.
    """

    vectors: Float[Tensor, "n k"]
    shares: tuple[float, ...]
    num_places: int


def principal(paths: Sequence[Path], k: int) -> Components:
    """The components of all places together, around their mean.

        X v = σ u,   G = X Xᵀ = U Σ² Uᵀ,   v = Xᵀ u / σ,   share = σ² / Σσ²

    Args:
        paths: of the same parameters.
        k: components wanted.

    Raises:
        ThalwegError: if the places span fewer dimensions.

    Cost: s² n multiplications for s places, s² + k n numbers of memory in float64.
    """
    where = paths[0].start
    shifts = [(path.start - where).double().cpu() for path in paths]
    num_places = sum(path.num_places for path in paths)

    def columns(a: int, b: int) -> Tensor:
        X = torch.cat(
            [
                path.offsets[:, a:b].double() + shift[a:b]
                for path, shift in zip(paths, shifts, strict=True)
            ]
        )
        return X - X.mean(dim=0)

    n = len(where)
    pieces = [(a, min(a + COLUMNS, n)) for a in range(0, n, COLUMNS)]
    gram = torch.zeros(num_places, num_places, dtype=torch.float64)
    for a, b in pieces:
        X = columns(a, b)
        gram += X @ X.T
    values, U = torch.linalg.eigh(gram)
    values, U = values.flip(0), U.flip(1)
    rank = int((values > 1e-13 * values[0]).sum()) if float(values[0]) > 0 else 0
    if rank < k:
        raise ThalwegError(
            f"Principal(paths, k={k}): the {num_places} places span {rank} "
            f"dimension{'' if rank == 1 else 's'}; give k={max(rank, 1)}, or longer paths"
        )
    vectors = torch.empty(n, k, dtype=torch.float64)
    way = torch.empty(n, dtype=torch.float64)
    for a, b in pieces:
        X = columns(a, b)
        vectors[a:b] = X.T @ U[:, :k] / values[:k].sqrt()
        way[a:b] = X[-1] - X[0]
    vectors = vectors * torch.where(way @ vectors < 0, -1.0, 1.0)
    total = float(values.clamp(min=0).sum())
    return Components(vectors, tuple(float(v) / total for v in values[:k]), num_places)


def share_of_random_walk(k: int) -> float:
    """The variance that k principal components of a long random walk hold: 6/π² Σ_{j≤k} 1/j².

    Args:
        k: components.

    Source: Antognini and Sohl-Dickstein 2018, "PCA of high dimensional random walks with
    comparison to neural network training", sec. 3.
    """
    return 6 / pi**2 * sum(1 / j**2 for j in range(1, k + 1))
