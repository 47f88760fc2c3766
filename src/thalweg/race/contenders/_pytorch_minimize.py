"""What the package pytorch-minimize brings: SciPy's methods in torch, on all data."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from torch import Tensor

from thalweg.race._course import Course
from thalweg.race._trial import Setting
from thalweg.race.contenders._contender import Contender
from thalweg.race.contenders._flat import FlatLoss
from thalweg.race.contenders._scipy import RADII

PACKAGE = "pytorch-minimize"

DERIVATIVES = (
    "The method is the package's, its derivatives are ours: the package's own products are "
    "differences of accumulated gradients, and raise once a step is refused, since it moves the "
    "parameters in place under the graph."
)


class MinimizeContender(Contender):
    """A method of pytorch-minimize with derivatives of ours. It takes all data at each step.

    Args:
        method: as the package calls it.
        settings: what it may be tried with, the usual first.
        endless: its tolerances, all 0: whether it has converged is the budget's to say.
        has_products: whether it multiplies with the Hessian.
    """

    def __init__(
        self,
        method: str,
        settings: tuple[Setting, ...],
        endless: tuple[str, ...],
        *,
        has_products: bool = True,
    ) -> None:
        super().__init__(
            f"{method} of pytorch-minimize", settings, package=PACKAGE, note=DERIVATIVES
        )
        self._method = method
        self._endless = dict.fromkeys(endless, 0.0)
        self._has_products = has_products

    def run(self, course: Course, setting: Setting) -> None:
        """Lets it run until the course ends it.

        Args:
            course: the loss and the data.
            setting: one of `settings`.
        """
        loss = FlatLoss(course)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it compiles with torch.jit, which torch gives up
            minimizer = _minimizer(loss, course, self._method, self._has_products)
            minimize = import_module("torchmin").minimize
        minimize(
            minimizer,
            loss.here(),
            method=self._method,
            max_iter=10**9,
            callback=loss.arrived,
            options={**setting, **self._endless},
        )


def _minimizer(loss: FlatLoss, course: Course, method: str, has_products: bool) -> Any:
    """What the package's methods evaluate, with derivatives of ours in the place of its own."""
    module = import_module("torchmin.optim.minimizer")
    function = import_module("torchmin.function")

    class Minimizer(module.Minimizer):  # type: ignore[misc]
        def closure(self, x: Tensor) -> Any:
            value, gradient = loss.gradient(x, has_products=has_products)
            place, f = x.clone(), gradient.new_tensor(value)
            operator = None
            if has_products:
                n = len(x)
                operator = module.LinearOperator(
                    lambda v: loss.product(place, v), (n, n), x.dtype, x.device
                )
            return function.sf_value(f=f, grad=gradient, hessp=operator, hess=None)

        def dir_evaluate(self, x: Tensor, t: Any, d: Tensor) -> Any:
            value, gradient = loss.gradient(x + d.mul(t), has_products=False)
            return function.de_value(f=value, grad=gradient)

    return Minimizer(course.params, method=method)


PYTORCH_MINIMIZE: dict[str, Contender] = {
    "torchmin-newton-cg": MinimizeContender(
        "newton-cg",
        tuple(
            {"lr": lr, "line_search": search}
            for lr in (1.0, 0.3, 0.1)
            for search in ("strong-wolfe", "none")
        ),
        ("xtol",),
    ),
    "torchmin-trust-ncg": MinimizeContender("trust-ncg", RADII, ("gtol",)),
    "torchmin-trust-krylov": MinimizeContender("trust-krylov", RADII, ("gtol",)),
    "torchmin-l-bfgs": MinimizeContender(
        "l-bfgs",
        tuple({"lr": lr, "history_size": size} for lr in (1.0, 0.1) for size in (10, 100, 30)),
        ("gtol", "xtol", "gtd_tol"),
        has_products=False,
    ),
}
"""By the names that are typed."""
