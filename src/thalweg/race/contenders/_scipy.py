"""SciPy's trust regions, with exact products of ours, on all data."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from thalweg.race._course import Course
from thalweg.race._trial import Setting
from thalweg.race.contenders._contender import Contender
from thalweg.race.contenders._flat import FlatLoss

Vector = NDArray[np.float64]

RADII = tuple({"initial_trust_radius": radius} for radius in (1.0, 0.1, 10.0, 0.01, 100.0, 1e-3))


class ScipyContender(Contender):
    """A method of `scipy.optimize.minimize` that takes products with the Hessian.

    All training data are taken at each step.

    Args:
        method: as SciPy calls it.
    """

    def __init__(self, method: str) -> None:
        super().__init__(f"SciPy's {method}, exact Hessian products", RADII)
        self._method = method

    def run(self, course: Course, setting: Setting) -> None:
        """Lets SciPy run until the course ends it.

        Args:
            course: the loss and the data.
            setting: one of `settings`.
        """
        loss = FlatLoss(course)
        like = loss.here()

        def tensor(x: Vector) -> Tensor:
            return torch.from_numpy(np.array(x)).to(like.device, like.dtype)

        def vector(t: Tensor) -> Vector:
            return t.double().cpu().numpy()

        minimize(
            lambda x: loss.value(tensor(x)),
            vector(like),
            method=self._method,
            jac=lambda x: vector(loss.gradient(tensor(x))[1]),
            hessp=lambda x, v: vector(loss.product(tensor(x), tensor(v))),
            callback=lambda x: loss.arrived(tensor(x)),
            # Whether it has converged is the budget's to say.
            options={**setting, "gtol": 0.0, "max_trust_radius": 1e3, "maxiter": 10**9},
        )


SCIPY: dict[str, Contender] = {
    "scipy-trust-ncg": ScipyContender("trust-ncg"),
    "scipy-trust-krylov": ScipyContender("trust-krylov"),
}
"""By the names that are typed."""
