"""Matrices that other libraries hold, and functions, as operators."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._matvec_operator import MatvecOperator
from thalweg.linalg._operator import SymmetricOperator


def from_matvec(
    function: Callable[[Tensor], Tensor],
    size: int,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> SymmetricOperator:
    """Make an operator of a function that multiplies one vector by a symmetric matrix.

        A v = function(v)

    Args:
        function: Takes v of shape (n,) and returns A v of shape (n,); its symmetry is taken on
            trust, and what is missing of it is measured by `lanczos` (`Tridiagonal.defect`).
        size: n.
        dtype: Dtype of v and A v.
        device: Device of v and A v.

    Returns:
        `MatvecOperator`. [the function's unit]

    Raises:
        OperatorError: The size is below 1 or the dtype not a floating one; on a product, the
            function returns another shape.

    Cost: one call a product; a block of k columns is k calls.

    Example:
        >>> import torch
        >>> from thalweg.linalg import from_matvec
        >>> from_matvec(lambda v: v.flip(0), 2) @ torch.tensor([1.0, 2.0])
        tensor([2., 1.])

    Source: `MatvecOperator`, of which this is the short name.
    """
    return MatvecOperator(function, size, dtype=dtype, device=device)


@runtime_checkable
class _HasProducts(Protocol):
    """What is asked of a foreign matrix."""

    shape: tuple[int, int]

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    def __matmul__(self, V: Tensor) -> Tensor: ...


def from_curvlinops(linear_operator: _HasProducts) -> SymmetricOperator:
    """Make an operator of a curvlinops one, or of whatever multiplies blocks of columns with `@`.

        A V = linear_operator @ V

    Only `shape`, `dtype`, `device` and `@` are used, and curvlinops is not imported: a tensor will
    do. Symmetry is taken on trust, as with `from_matvec`.

    Args:
        linear_operator: A square `PyTorchLinearOperator`, such as a `HessianLinearOperator`; it
            takes tensors of shape (n, k).

    Returns:
        The operator, on the same device and in the same dtype. [the operator's unit]

    Raises:
        OperatorError: The object lacks one of the four, or is not square; on a product, it
            returns another shape or dtype.

    Cost: one product of the object, of as many columns.

    Example:
        >>> import torch
        >>> from thalweg.linalg import from_curvlinops
        >>> from_curvlinops(torch.diag(torch.tensor([1.0, 2.0]))) @ torch.ones(2)
        tensor([1., 2.])

    Source: the interface of curvlinops 3 (Dangel and others 2025, Position: curvature matrices
    should be democratized via linear operators).
    """
    for name in ("shape", "dtype", "device", "__matmul__"):
        if not hasattr(linear_operator, name):
            raise OperatorError(
                f"from_curvlinops(A): a {type(linear_operator).__name__} has no {name}; give a "
                "PyTorchLinearOperator, or from_matvec(function, size)."
            )
    shape = tuple(linear_operator.shape)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise OperatorError(
            f"from_curvlinops(A): A has shape {shape}; give a square one, of a Jacobian J its Gram "
            "matrix, from_matvec(lambda v: J.adjoint() @ (J @ v), size)."
        )
    return _ForeignOperator(linear_operator)


class _ForeignOperator(SymmetricOperator):
    """A foreign matrix, multiplied by whole blocks of columns."""

    def __init__(self, matrix: _HasProducts) -> None:
        if not isinstance(matrix.dtype, torch.dtype):
            raise OperatorError(
                f"from_curvlinops(A): A has dtype {matrix.dtype!r}, which is none of torch's; give "
                "a matrix of tensors."
            )
        super().__init__(int(matrix.shape[0]), matrix.dtype, matrix.device)
        self._matrix = matrix

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        if V.shape[1] == 0:
            return V
        product: Tensor = self._matrix @ V
        return product

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, of a {type(self._matrix).__name__})"
