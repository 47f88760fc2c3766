"""Quadrature of what decays at the start of a step."""

from __future__ import annotations

from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)


def graded_rule(sharpest: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights on [0, 1] for functions like e^{−2 z s}, z up to `sharpest`.

    Gauss' rule of 10 points on panels that are halved towards 0 until z times the first is below 2.
    """
    count = 1 + max(0, ceil(log2(max(sharpest, 1.0) / 2)))
    edges = np.concatenate([[0.0], 0.5 ** np.arange(count - 1, -1, -1.0)])
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    return (middle[:, None] + half[:, None] * _NODES).ravel(), (half[:, None] * _WEIGHTS).ravel()
