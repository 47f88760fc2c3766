"""Which tensors of a running network are an elementwise function of another: its activations.

A network spells an activation as it likes: a module, a torch function, or a few operations such as
`x * torch.sigmoid(1.702 * x)`. What lies between what a layer returned and what the next one takes
is put together here, operation by operation, into one function φ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thalweg._batch import map_tensors, tensors_in
from thalweg.passes._activation import NAMES, Function

_AFFINE = frozenset(
    {"add", "sub", "rsub", "mul", "div", "truediv", "true_divide", "divide", "multiply", "neg"}
    | {"negative", "positive", "clone", "contiguous", "float", "double", "half", "to", "type_as"}
)
"""With one tensor and a constant these do not bend; with two they may."""

_BENT = frozenset(
    {"abs", "absolute", "atan", "arctan", "clamp", "clamp_max", "clamp_min", "clip", "cos", "erf"}
    | {"erfc", "exp", "expm1", "log", "log1p", "maximum", "minimum", "pow", "reciprocal", "rsqrt"}
    | {"sign", "sin", "sinh", "cosh", "asinh", "sqrt", "square", "tan", "threshold", "where"}
    | {"gt", "ge", "lt", "le", "eq", "ne", "max", "min", "logit", "heaviside"}
)

_LONE = frozenset({"exp", "log", "pow", "square", "sqrt", "rsqrt", "reciprocal"})

_SPELLINGS = {"rdiv": "div", "rtruediv": "div", "rpow": "pow", "radd": "add", "rmul": "mul"}

_IN_PLACE = frozenset({"iadd", "isub", "imul", "idiv", "itruediv", "ipow"})

Identity = tuple[int, int, int]


def identity(tensor: Tensor) -> Identity:
    """Where the numbers of a tensor lie, and how many: a reshaped view is the same, a part not."""
    return tensor.untyped_storage().data_ptr(), int(tensor.storage_offset()), tensor.numel()


@dataclass(frozen=True, eq=False)
class Expression:
    """A tensor as φ of another.

    Args:
        root: that other, as it was.
        root_identity: where it lay.
        phi: φ.
        bends: its operations that are not affine, in order; empty where φ is affine.
        module: the module that the last of them ran in.
        layer: index of the layer that had run last when it began.
        value: the tensor itself.
    """

    root: Tensor
    root_identity: Identity
    phi: Function
    bends: tuple[str, ...]
    module: str
    layer: int
    value: Tensor

    @property
    def function_name(self) -> str:
        """The torch function, such as "sigmoid"; of several "sigmoid·mul"."""
        name = "·".join(self.bends)
        # torch's ReLU6 is a hardtanh that is off below zero: a rectifier, which may die.
        is_rectifier = name == "hardtanh" and not self.phi(torch.tensor([-1.0])).any()
        return "relu6" if is_rectifier else name

    def is_activation(self, is_after_layer: bool) -> bool:
        """Whether φ is the usual kind, or bends what a layer returned.

        A lone power, root or exponential is no activation: normalisations and variances, spelled
        by hand, are full of them.
        """
        if any(name in NAMES for name in self.bends):
            return True
        is_lone = len(self.bends) == 1 and self.bends[0] in _LONE
        return is_after_layer and bool(self.bends) and not is_lone

    def holds(self) -> bool:
        """Whether φ of the root is what the tensor holds now: nothing else has written into it."""
        again = self.phi(self.root)
        value = self.value.detach().reshape(-1)
        return again.numel() == value.numel() and bool(
            torch.allclose(again.reshape(-1).to(value), value, rtol=1e-3, atol=1e-5, equal_nan=True)
        )


class Expressions:
    """The expressions of one forward pass."""

    def __init__(self) -> None:
        self._known: dict[Identity, Expression] = {}

    def of(self, tensor: Tensor) -> Expression | None:
        """The expression that a tensor is, if it is one."""
        return self._known.get(identity(tensor))

    def forget(self, tensor: Tensor) -> None:
        """A tensor is something new: what a layer returned."""
        self._known.pop(identity(tensor), None)

    def run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        module: str,
        layer: int,
    ) -> tuple[Any, bool]:
        """Calls a torch function; says whether it was elementwise in one tensor."""
        name, is_in_place = _spelled(function, args, kwargs)
        if name is None:
            return function(*args, **kwargs), False
        settings = {key: value for key, value in kwargs.items() if key not in ("inplace", "out")}
        tensors = tensors_in((args, settings))
        is_variable = [self._varies(t) for t in tensors]
        variables = [t for t, varies in zip(tensors, is_variable, strict=True) if varies]
        found = [self.of(t) for t in variables]
        roots = {
            e.root_identity if e else identity(t) for e, t in zip(found, variables, strict=True)
        }
        if len(roots) != 1 or len({t.numel() for t in variables}) != 1:
            return function(*args, **kwargs), False
        root_identity = roots.pop()
        known = next((e for e in found if e), None)
        root = known.root if known else variables[0].detach()
        if is_in_place and not known:
            root = root.clone()
        inner = [e.phi if e else _same for e in found]
        phi = _composed(function, (args, settings), is_variable, inner)
        bends = tuple(dict.fromkeys(b for e in found if e for b in e.bends))
        if (
            name not in _AFFINE
            or len({id(p) for p in inner}) > 1
            or (len(inner) > 1 and name == "mul")
        ):
            bends = (*bends, name)
        result = function(*args, **kwargs)
        if isinstance(result, Tensor) and result.numel() == variables[0].numel():
            self._known[identity(result)] = Expression(
                root, root_identity, phi, bends, module, known.layer if known else layer, result
            )
            return result, True
        return result, False

    def _varies(self, tensor: Tensor) -> bool:
        """Whether it is no constant: a single number is one unless something computed it."""
        return tensor.numel() > 1 or tensor.grad_fn is not None or self.of(tensor) is not None


def _same(x: Tensor) -> Tensor:
    return x


def _composed(
    function: Callable[..., Any], given: Any, is_variable: list[bool], inner: list[Function]
) -> Function:
    """The call as a function of the root alone, never in place."""
    # Variables are let go: only constants are kept.
    constants = [
        None if varies else t.detach().clone()
        for t, varies in zip(tensors_in(given), is_variable, strict=True)
    ]
    form = map_tensors(given, lambda t: _HOLE)

    def phi(x: Tensor) -> Tensor:
        phis = iter(inner)
        # The function may write in place; it is handed copies.
        filled = iter([next(phis)(x).clone() if c is None else c.to(x) for c in constants])
        args, kwargs = _filled(form, filled)
        result: Tensor = function(*args, **kwargs)
        return result

    return phi


_HOLE = object()


def _filled(tree: Any, tensors: Any) -> Any:
    if tree is _HOLE:
        return next(tensors)
    if isinstance(tree, dict):
        return {key: _filled(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_filled(value, tensors) for value in tree)
    return tree


def _spelled(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str | None, bool]:
    """The plain name of an elementwise function, None for others; and whether it may write."""
    spelled = getattr(function, "__name__", "")
    name = spelled.strip("_")
    is_in_place = (
        name in _IN_PLACE
        or (spelled.endswith("_") and not spelled.endswith("__"))
        or bool(kwargs.get("inplace"))
        or any(arg is True for arg in args)
    )
    if name in _IN_PLACE:
        name = name[1:]
    name = _SPELLINGS.get(name, name)
    is_elementwise = name in NAMES or name in _AFFINE or name in _BENT
    return (name if is_elementwise else None), is_in_place
