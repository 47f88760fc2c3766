"""Surface: the problem as a function of its parameters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from thalweg._errors import LayoutError
from thalweg._layout import Layout, Params, select
from thalweg._problem import Problem
from thalweg._ranks import Fact, facts_of_tensors
from thalweg._reading import unwrapped
from thalweg.surface._notes import of_dtypes, of_wrappers, reading_dtype
from thalweg.surface._point import Point, Shared


class Surface:
    """The loss L: ℝⁿ → ℝ of a problem, as a function of all or some of its parameters.

    Args:
        problem: what is read. It is checked first, at the cost of two forward passes.
        params: globs that choose the parameters the surface runs over, such as `"layers.0.*"`;
            the others are held at the model's values.
        dtype: the floating dtype that model, loss and data are read in, in copies; by default the
            parameters' own, and float32 where one of them is in bfloat16 or float16, since
            rounding would drown second derivatives.

    Autocast of the caller is off in every reading. What else was done otherwise than in training
    is said in `Point.notes`.

    Mode and Python attributes of the model are those of now; make a new surface when they change.

    Raises:
        ProblemError: see `Problem.check`.
        LayoutError: if a glob matches nothing, the parameters mix dtypes or devices, or `dtype` is
            not a real floating one.
        RanksError: if processes that share the data hold different parameters.

    Example:
        >>> import torch, thalweg
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> problem = thalweg.Problem(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, (x, x))
        >>> surface = Surface(problem)
        >>> surface.at({"weight": torch.ones(1, 1), "bias": torch.zeros(1)}).value
        0.0
    """

    def __init__(
        self,
        problem: Problem,
        params: str | Iterable[str] = "*",
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        if dtype is not None and not dtype.is_floating_point:
            raise LayoutError(f"dtype={dtype}; give a real floating one, such as torch.float64")
        self.problem = problem
        self._dtype = reading_dtype(problem.model) if dtype is None else dtype
        globs = params if isinstance(params, str) else tuple(params)

        def laid_out() -> tuple[Problem, Layout]:
            chosen, read = select(problem.parameters, globs), problem
            if self._dtype is not None:
                read = problem.to(dtype=self._dtype)
                copies = read.parameters
                chosen = {name: copies[name] for name in chosen}
            return read, Layout.of(chosen)

        read, self.layout = problem.ranks.together(laid_out)
        problem.ranks.agree(self._facts)
        read.check()
        self._held = read.held()
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
            vector = self.layout.flatten({n: self._converted(t) for n, t in params.items()})
            return Point(self._held, self.layout, vector, others, self._shared, self._notes())

    def _facts(self) -> list[Fact]:
        chosen = select(self.problem.parameters, self.layout.names)
        return facts_of_tensors(chosen)

    def _tensors(self) -> dict[str, Tensor]:
        """All parameters and buffers of the model by name, live, or copies in another dtype."""
        model = unwrapped(self.problem.model)
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        with torch.inference_mode(False), torch.no_grad():
            return {name: self._converted(tensor) for name, tensor in tensors.items()}

    def _converted(self, tensor: Tensor) -> Tensor:
        if self._dtype is None or not tensor.is_floating_point():
            return tensor
        return tensor.to(self._dtype)

    def _notes(self) -> tuple[str, ...]:
        model = self.problem.model
        return (*of_wrappers(model), *of_dtypes(model.parameters(), self._dtype))
