"""An activation, however it is given, as a function of float64 numbers with its derivative."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._errors import ThalwegError
from thalweg._reading import differentiating

Activation = Callable[[Tensor], Tensor]
"""Elementwise: a torch function, an `nn.Module`, or any Python function written in torch."""


class ScalarFunction:
    """φ and φ' at float64 numbers.

    Args:
        phi: the activation. A module is copied, put into float64 and evaluation mode. A function
            with a branch of Python (`x if x > 0 else 0.1 * x`) is called number by number.

    Raises:
        ThalwegError: if it is not elementwise, not written in torch, or has no derivative.
    """

    def __init__(self, phi: Activation) -> None:
        self._phi = copy.deepcopy(phi).double().eval() if isinstance(phi, nn.Module) else phi
        self._name = getattr(phi, "__name__", type(phi).__name__)
        self._is_vectorised = True
        self._check()

    def __call__(self, x: Float[Tensor, " b"]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """φ(x) and φ'(x)."""
        with differentiating():
            x = x.detach().clone().requires_grad_()
            values = self._values(x)
            if not values.requires_grad:  # constant
                return values.detach().double(), torch.zeros_like(x.detach())
            (slopes,) = torch.autograd.grad(values.sum(), x, materialize_grads=True)
        return values.detach().double(), slopes

    def _values(self, x: Tensor) -> Tensor:
        # A function may write in place; it is handed a copy.
        if self._is_vectorised:
            return self._phi(x.clone())
        return torch.stack([self._phi(number.clone()) for number in x.unbind()])

    def _check(self) -> None:
        x = torch.linspace(-2.3, 2.1, 7, dtype=torch.float64)
        try:
            together, alone = self._tried(x), self._tried(x[:3])
        except Exception as error:
            raise ThalwegError(
                f"the activation {self._name} raised {type(error).__name__} on a float64 tensor of "
                f"shape (7,): {error}; give a function of a tensor written in torch, such as "
                f"lambda x: x * torch.sigmoid(x)"
            ) from error
        if not isinstance(together, Tensor) or together.shape != x.shape:
            raise ThalwegError(
                f"the activation {self._name} returned "
                f"{getattr(together, 'shape', type(together).__name__)} for a tensor of shape "
                f"(7,); give an elementwise function"
            )
        if not torch.allclose(alone, together[:3], rtol=1e-9, atol=1e-12, equal_nan=True):
            raise ThalwegError(
                f"the activation {self._name} is not elementwise (what it returns for a number "
                f"depends on the others), so that mean-field theory does not apply; give an "
                f"elementwise function"
            )

    def _tried(self, x: Tensor) -> Tensor:
        with differentiating():
            try:
                return self._values(x.clone().requires_grad_())
            except RuntimeError as error:
                if not (self._is_vectorised and "Boolean value of Tensor" in str(error)):
                    raise
                self._is_vectorised = False
                return self._values(x.clone().requires_grad_())


def scalar_function(phi: Activation | ScalarFunction) -> ScalarFunction:
    """The activation as one, once."""
    return phi if isinstance(phi, ScalarFunction) else ScalarFunction(phi)
