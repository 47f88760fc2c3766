"""FastLinear: linear layers that run, and are differentiated, by the faster matrix product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

from thalweg.tape._multiply import is_faster_by_onednn, product


class FastLinear(TorchFunctionMode):
    """Within it `torch.nn.functional.linear` multiplies by `product`, forwards and backwards.

    What it returns can be differentiated as often as one likes. Layers that are too small to gain,
    other dtypes than float32, other devices, autocast, `torch.func`, subclasses of tensors and
    shapes that do not fit are left to torch.

    Example:
        >>> import torch
        >>> x, W = torch.ones(2, 3), torch.ones(4, 3, requires_grad=True)
        >>> with FastLinear():
        ...     y = torch.nn.functional.linear(x, W)
        >>> torch.autograd.grad(y.sum(), W)[0][0]
        tensor([2., 2., 2.])
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Takes calls of `linear` that gain by it; hands on all others."""
        if func is linear and _gains(*args, **(kwargs or {})):
            return _linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


class _Product(torch.autograd.Function):
    """A B, whose derivatives are products of the same kind."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, B: Tensor) -> Tensor:
        """A B."""
        ctx.save_for_backward(A, B)
        return product(A, B)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Ȳ Bᵀ and Aᵀ Ȳ."""
        A, B = ctx.saved_tensors
        needs_A, needs_B = ctx.needs_input_grad
        return (
            _times(slope, B.mT) if needs_A else None,
            _times(A.mT, slope) if needs_B else None,
        )


def _times(A: Tensor, B: Tensor) -> Tensor:
    """A B, with its graph."""
    found: Tensor = _Product.apply(A, B)  # type: ignore[no-untyped-call]
    return found


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """X Wᵀ + b."""
    found = _times(input.flatten(0, -2), weight.mT)
    if bias is not None:
        found = found + bias
    return found.unflatten(0, input.shape[:-1]) if input.ndim != 2 else found


def _gains(input: Any, weight: Any, bias: Any = None) -> bool:
    """Whether the product of a layer is one that oneDNN is faster at, and nothing is odd about it.

    What does not fit is torch's to refuse, in its own words.
    """
    tensors = [x for x in (input, weight, bias) if x is not None]
    return (
        all(type(x) in (Tensor, Parameter) and not _is_transformed(x) for x in tensors)
        and input.ndim >= 2
        and weight.ndim == 2
        and input.shape[-1] == weight.shape[1]
        and input.dtype == torch.float32
        and input.device == weight.device
        and not torch.is_autocast_enabled(input.device.type)
        # As many multiplications as the input times the weight, without laying the input out.
        and is_faster_by_onednn(weight, prod(input.shape[:-1]))
    )


def _is_transformed(x: Tensor) -> bool:
    """Whether `torch.func` maps or differentiates over it."""
    return torch._C._functorch.is_functorch_wrapped_tensor(x)
