"""Metrics: how long a step is, and with it in which space a method moves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.optim._objective import Objective


class Metric(ABC):
    """A positive definite matrix M that measures a step by ‖s‖² = sᵀMs.

    With any root M = L Lᵀ methods move in u = Lᵀ s: there the gradient is L⁻¹g, the curvature
    L⁻¹ C L⁻ᵀ, and the length Euclid's. A metric near the curvature makes the latter round.
    """

    @property
    @abstractmethod
    def said(self) -> str:
        """The metric in words, with what it does not cover."""

    def attach(self, params: Sequence[Tensor]) -> None:  # noqa: B027
        """Takes the optimizer's parameters, whose flat order is that of every vector here."""

    def refresh(self, objective: Objective, generator: torch.Generator) -> None:  # noqa: B027
        """Reads the metric anew at the parameters as they are. Cost: said by each metric."""

    @property
    def gradients_per_refresh(self) -> float:
        """The cost of `refresh`, in gradients."""
        return 0.0

    @property
    def gradients_per_root(self) -> float:
        """The cost of the root that the first vector after a `refresh` asks for, in gradients."""
        return 0.0

    @abstractmethod
    def whitened(self, g: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """L⁻¹ g: a gradient into u.

        Args:
            g: (n,).
        """

    @abstractmethod
    def lifted(self, u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """L⁻ᵀ u: a step out of u.

        Args:
            u: (n,).
        """

    @abstractmethod
    def measured(self, s: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Lᵀ s: a step into u.

        Args:
            s: (n,).
        """

    @abstractmethod
    def solved(self, v: Float[Tensor, " n"], shift: float) -> Float[Tensor, " n"]:
        """(M + δ)⁻¹ v: a gradient into a step, damped.

        Args:
            v: (n,).
            shift: δ > 0 [loss/param²].
        """

    @property
    def mean(self) -> float:
        """The mean of M's diagonal [loss/param²], a scale for dampings."""
        return 1.0

    def state_dict(self) -> dict[str, Any]:
        """What has to be kept for a run to go on as if it had not stopped; {} before `refresh`.

        Numbers, tensors in the parameters' dtype, and dicts of these: torch casts and copies them.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Takes back what `state_dict` gave."""


class Identity(Metric):
    """M = I: lengths in parameter space.

    Example:
        >>> import torch
        >>> Identity().whitened(torch.ones(2))
        tensor([1., 1.])
    """

    @property
    def said(self) -> str:
        """The metric in words."""
        return "identity"

    def whitened(self, g: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The vector itself."""
        return g

    def lifted(self, u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The vector itself."""
        return u

    def measured(self, s: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The vector itself."""
        return s

    def solved(self, v: Float[Tensor, " n"], shift: float) -> Float[Tensor, " n"]:
        """The vector, over 1 + δ."""
        return v / (1 + shift)
