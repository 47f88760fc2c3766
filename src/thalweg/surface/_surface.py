"""Surface: the problem as a function of its parameters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from thalweg._layout import Layout, Params, select
from thalweg._problem import Problem
from thalweg._reading import unwrapped
from thalweg.surface._point import Point, Shared


class Surface:
    """The loss L: ℝⁿ → ℝ of a problem, as a function of all or some of its parameters.

    Args:
        problem: what is read. It is checked first, at the cost of two forward passes.
        params: globs that choose the parameters the surface runs over, such as `"layers.0.*"`;
            the others are held at the model's values.

    Mode and Python attributes of the model are those of now; make a new surface when they change.

    Raises:
        ProblemError: see `Problem.check`.
        LayoutError: if a glob matches nothing, or the parameters mix dtypes or devices.

    Example:
        >>> import torch, thalweg
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> problem = thalweg.Problem(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, (x, x))
        >>> surface = Surface(problem)
        >>> surface.at({"weight": torch.ones(1, 1), "bias": torch.zeros(1)}).value
        0.0
    """

    def __init__(self, problem: Problem, params: str | Iterable[str] = "*") -> None:
        self.problem = problem
        chosen = select(problem.parameters, params)
        self.layout = Layout.of(chosen)
        problem.check()
        self._held = problem.held()
        self._shared = Shared()

    def here(self) -> Point:
        """The point where the model is now; later training does not move it."""
        live = self._tensors()
        return self.at({name: live[name] for name in self.layout.names if name in live})

    def at(self, params: Params | Tensor) -> Point:
        """The point at given parameters, by name or as one vector (n,) in the layout's order.

        Raises:
            LayoutError: if names, shapes, dtype or device do not fit.
        """
        if isinstance(params, Tensor):
            params = self.layout.unflatten(params)
        others = {n: t for n, t in self._tensors().items() if n not in set(self.layout.names)}
        with torch.inference_mode(False), torch.no_grad():
            return Point(self._held, self.layout, self.layout.flatten(params), others, self._shared)

    def _tensors(self) -> dict[str, Tensor]:
        """All parameters and buffers of the model by name, live."""
        model = unwrapped(self.problem.model)
        return {**dict(model.named_parameters()), **dict(model.named_buffers())}
