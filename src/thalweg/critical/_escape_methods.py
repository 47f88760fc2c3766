"""The methods that are set beside a saddle, each with what theory says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from thalweg.critical._escape_theory import (
    Attracted,
    Bordered,
    EscapeTheory,
    Mirrored,
    Penalised,
    Scaled,
)
from thalweg.optim import (
    CubicRegularisation,
    DenseSaddleFreeNewton,
    GradientDescent,
    Newton,
    SaddleFreeNewton,
    TrustRegion,
    Whole,
)

WEIGHT = 1.0
"""σ of cubic regularisation at first."""

DAMPING = 1e-6
"""λ of saddle-free Newton at first, in units of the largest curvature: next to none."""


@dataclass(frozen=True)
class EscapeMethod:
    """An optimizer by name, and what its steps do near a saddle.

    Args:
        name: for tables and pictures.
        make: from parameters to a `torch.optim.Optimizer`, those of `thalweg.optim` among them.
        theory: None where there is none.

    Example:
        >>> import torch
        >>> adam = EscapeMethod("Adam", lambda params: torch.optim.Adam(params, lr=0.01))
        >>> adam.theory is None
        True
    """

    name: str
    make: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    theory: EscapeTheory | None = None


def escape_methods(lr: float, radius: float) -> tuple[EscapeMethod, ...]:
    """Gradient descent, Newton, trust region, saddle-free Newton and cubic regularisation.

    Args:
        lr: of gradient descent [param²/loss].
        radius: of the trust region at first [param].

    Example:
        >>> [method.name for method in escape_methods(0.1, 0.01)][:2]
        ['gradient descent', 'Newton']
    """
    whole: dict[str, Any] = {"subspace": Whole()}
    return (
        EscapeMethod("gradient descent", partial(GradientDescent, lr=lr), Scaled(lr)),
        EscapeMethod("Newton", Newton, Attracted()),
        EscapeMethod(
            "trust region", partial(TrustRegion, radius=radius, **whole), Bordered(radius)
        ),
        EscapeMethod(
            "saddle-free Newton", partial(DenseSaddleFreeNewton, damping=DAMPING), Mirrored()
        ),
        EscapeMethod(
            "cubic regularisation",
            partial(CubicRegularisation, weight=WEIGHT, **whole),
            Penalised(WEIGHT),
        ),
        EscapeMethod("saddle-free Newton with search", SaddleFreeNewton),
    )
