"""Parameters as a dict by name, and as one flat vector: the only place that flattens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import LayoutError

Params = Mapping[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """The order, names and shapes in which a dict of tensors becomes one vector θ ∈ ℝⁿ.

    Args:
        names: parameter names, in the order of the vector.
        shapes: one shape a name.
        dtype: the one dtype of all of them.
        device: the one device of all of them.

    Example:
        >>> import torch
        >>> layout = Layout.of({"w": torch.zeros(2, 3), "b": torch.zeros(2)})
        >>> layout.size
        8
        >>> layout.unflatten(torch.arange(8.0))["b"]
        tensor([6., 7.])
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, params: Params) -> Layout:
        """The layout of a dict of tensors.

        Raises:
            LayoutError: if it is empty, or mixes dtypes or devices, or holds complex or
                integer tensors.
        """
        if not params:
            raise LayoutError(
                "there are no parameters to lay out: the model has no trainable parameter; "
                "set requires_grad_(True) on at least one"
            )
        first_name, first = next(iter(params.items()))
        for name, tensor in params.items():
            if not tensor.dtype.is_floating_point:
                raise LayoutError(
                    f"parameter {name!r} is {tensor.dtype}; only real floating point parameters "
                    f"have a loss surface here: freeze it with requires_grad_(False) or convert it"
                )
            if tensor.dtype != first.dtype:
                raise LayoutError(
                    f"parameters mix dtypes: {first_name!r} is {first.dtype}, {name!r} is "
                    f"{tensor.dtype}; convert the model to one, for instance model.float()"
                )
            if tensor.device != first.device:
                raise LayoutError(
                    f"parameters mix devices: {first_name!r} is on {first.device}, {name!r} on "
                    f"{tensor.device}; move the model to one, for instance "
                    f"model.to({str(first.device)!r})"
                )
        return cls(
            names=tuple(params),
            shapes=tuple(tensor.shape for tensor in params.values()),
            dtype=first.dtype,
            device=first.device,
        )

    @cached_property
    def size(self) -> int:
        """n, the number of parameters."""
        return sum(self.sizes)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The number of parameters under each name."""
        return tuple(prod(shape) for shape in self.shapes)

    def flatten(self, params: Params) -> Float[Tensor, " n"]:
        """The vector of a dict that has exactly this layout's names and shapes.

        Raises:
            LayoutError: names the entry that is missing, surplus, or of another shape, dtype or
                device.
        """
        self._check(params)
        return torch.cat([params[name].reshape(-1) for name in self.names])

    def unflatten(self, vector: Float[Tensor, " n"]) -> dict[str, Tensor]:
        """The dict of a vector; its tensors are views of the vector.

        Raises:
            LayoutError: if the vector has another length.
        """
        if vector.shape != (self.size,):
            raise LayoutError(
                f"a vector of shape {tuple(vector.shape)} does not fit {self.size} parameters; "
                f"pass one of shape ({self.size},)"
            )
        pieces = vector.split(list(self.sizes))
        return {
            name: piece.reshape(shape)
            for name, piece, shape in zip(self.names, pieces, self.shapes, strict=True)
        }

    def _check(self, params: Params) -> None:
        missing = [name for name in self.names if name not in params]
        surplus = [name for name in params if name not in set(self.names)]
        if missing or surplus:
            raise LayoutError(
                f"the dict does not fit these parameters: missing {missing}, unknown {surplus}; "
                f"its names must be {list(self.names)}"
            )
        for name, shape in zip(self.names, self.shapes, strict=True):
            given = params[name]
            if given.shape != shape:
                raise LayoutError(
                    f"{name!r} has shape {tuple(given.shape)}; give one of shape {tuple(shape)}"
                )
            if (given.dtype, given.device) != (self.dtype, self.device):
                raise LayoutError(
                    f"{name!r} is {given.dtype} on {given.device}, these parameters are "
                    f"{self.dtype} on {self.device}; convert it with "
                    f".to({str(self.device)!r}, {self.dtype})"
                )


def select(params: Params, patterns: str | Iterable[str]) -> dict[str, Tensor]:
    """The parameters whose name matches at least one glob, in the order of `params`.

    Args:
        params: tensors by name.
        patterns: one glob such as `"layers.0.*"`, or several.

    Raises:
        LayoutError: if a pattern matches nothing, or there is none; lists the names there are.

    Example:
        >>> import torch
        >>> list(select({"a.weight": torch.ones(1), "b.weight": torch.ones(1)}, "b.*"))
        ['b.weight']
    """
    globs = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    if not globs:
        raise LayoutError(f"no glob was given; '*' means all of {', '.join(params)}")
    for glob in globs:
        if not any(_matches(name, glob) for name in params):
            raise LayoutError(
                f"no trainable parameter matches {glob!r}; the names are {', '.join(params)}"
            )
    return {
        name: tensor
        for name, tensor in params.items()
        if any(_matches(name, glob) for glob in globs)
    }


def _matches(name: str, glob: str) -> bool:
    # A name may itself hold brackets, which a glob would read.
    return name == glob or fnmatchcase(name, glob)
