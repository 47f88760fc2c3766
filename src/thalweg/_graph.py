"""What the autograd graph of a loss holds that cannot be differentiated, or not twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from thalweg._errors import ProblemError, SecondDerivativeError

_WAY_OUT = (
    "replace it by its plain form: attention by torch.nn.functional.scaled_dot_product_attention, "
    "a custom autograd.Function by one whose backward is itself differentiable"
)


def custom_functions(loss: Tensor) -> list[Any]:
    """The classes of all `torch.autograd.Function`s in the graph of a loss."""
    seen, rest, found = set(), [loss.grad_fn], []
    while rest:
        node = rest.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        rest += [before for before, _ in node.next_functions]
        if (function := getattr(node, "_forward_cls", None)) is not None:
            found.append(function)
    return found


def refuse_once_differentiable(loss: Tensor) -> None:
    """Looks for `@once_differentiable` functions in the graph of a loss.

    torch raises for them only where a product happens to run through their backward again; what
    they should have added is otherwise missing without a word.

    Raises:
        SecondDerivativeError: names the function.
    """
    for function in custom_functions(loss):
        code = getattr(getattr(function, "backward", None), "__code__", None)
        # The decorator wraps `backward` into a function of torch's own file.
        if code is not None and code.co_filename == torch.autograd.function.__file__:
            raise SecondDerivativeError(
                f"the autograd.Function {function.__name__} is marked @once_differentiable, so it "
                f"has no second derivative; {_WAY_OUT}"
            )


@contextmanager
def explaining() -> Iterator[None]:
    """Puts what torch says about a failed derivative into a sentence.

    Raises:
        SecondDerivativeError: if an operation has no second derivative.
        ProblemError: if the backward pass fails in any other way.
    """
    try:
        yield
    except RuntimeError as error:
        message = str(error).strip().splitlines()[0]
        if "differentiate twice" in message or "not implemented" in message:
            raise SecondDerivativeError(
                f"an operation of the network has no second derivative ({message}); {_WAY_OUT}"
            ) from error
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise ProblemError(
            f"the backward pass raised {type(error).__name__}: {message}; every operation must "
            f"allow torch.autograd.grad, and none may write in place into what its backward needs"
        ) from error
