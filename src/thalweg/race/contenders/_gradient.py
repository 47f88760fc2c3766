"""GradientContender: an optimizer that steps with the gradients in `.grad`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import cos, pi

import torch

from thalweg.race._course import Course
from thalweg.race._trial import Setting
from thalweg.race.contenders._contender import Contender, Make

HESSIAN_PRODUCT = 2.0
"""In gradients, by count of operations."""


class GradientContender(Contender):
    """An optimizer that steps with the gradients in `.grad`, as most do.

    A setting may hold `schedule="cosine"`: the learning rate then falls as ½(1 + cos πs) with the
    share s of the budget that is spent. All else of a setting goes to `make`.

    Args:
        said: what it is, in a few words.
        make: from parameters and a setting to one optimizer, or several with a part of them each.
        settings: what it may be tried with, the usual first.
        package: that it needs.
        products: how many products with the Hessian step number k takes inside; where it takes any,
            `backward` keeps the graph for them.
        note: what a reader of the result should know of it.

    Example:
        >>> import torch, thalweg
        >>> contender = GradientContender(
        ...     "Adam with a large ε",
        ...     lambda params, lr: torch.optim.Adam(params, lr=lr, eps=1e-4),
        ...     [{"lr": 1e-3}, {"lr": 3e-3}],
        ... )
        >>> x = torch.linspace(-1, 1, 20).unsqueeze(1)
        >>> problem = thalweg.Problem(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, (x, x))
        >>> comparison = thalweg.compare(
        ...     problem, {"mine": contender}, budget="20g", seeds=1, trials=2
        ... )
        >>> comparison.entries[0].setting
        {'lr': 0.003}
    """

    def __init__(
        self,
        said: str,
        make: Make,
        settings: Sequence[Setting],
        *,
        package: str = "",
        products: Callable[[int], int] | None = None,
        note: str = "",
    ) -> None:
        super().__init__(said, settings, package=package, note=note)
        self._make = make
        self._products = products

    def run(self, course: Course, setting: Setting) -> None:
        """Gradient, step, gradient, step.

        Args:
            course: the loss and the data.
            setting: one of `settings`.
        """
        own = {name: value for name, value in setting.items() if name != "schedule"}
        made = self._make(course.params, **own)
        optimizers = [made] if isinstance(made, torch.optim.Optimizer) else list(made)
        course.optimizer = optimizers[0] if len(optimizers) == 1 else None
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        rates = [group["lr"] for group in groups]
        with warnings.catch_warnings():
            # The cycle that torch warns of is broken when the next gradient is taken.
            warnings.filterwarnings("ignore", message=".*backward.. with create_graph=True")
            for number in course.steps():
                if setting.get("schedule") == "cosine":
                    for group, rate in zip(groups, rates, strict=True):
                        group["lr"] = rate * (1 + cos(pi * min(course.share, 1.0))) / 2
                products = self._products(number) if self._products else 0
                course.gradient(creates_graph=products > 0)
                for optimizer in optimizers:
                    optimizer.step()
                course.spend(products * HESSIAN_PRODUCT)
        for p in course.params:
            p.grad = None
