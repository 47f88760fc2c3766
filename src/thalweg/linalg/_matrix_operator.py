"""A dense symmetric matrix as an operator."""

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._operator import SymmetricOperator


class MatrixOperator(SymmetricOperator):
    """A dense symmetric matrix that is held in memory, (A + Aᵀ)/2 of the one given.

        A v

    Args:
        matrix: Symmetric n×n matrix, to within (n + 10)·ε·max|a| of its dtype's rounding ε.

    Raises:
        OperatorError: The matrix is not square, not finite, or not symmetric beyond rounding.

    Cost: one matrix-vector multiplication a product, 2n² operations.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator
        >>> MatrixOperator(torch.diag(torch.tensor([1.0, 2.0]))) @ torch.ones(2)
        tensor([1., 2.])
    """

    def __init__(self, matrix: Tensor) -> None:
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise OperatorError(
                f"MatrixOperator(A): A has shape {tuple(matrix.shape)}; give a square matrix "
                "of shape (n, n)."
            )
        super().__init__(matrix.shape[0], matrix.dtype, matrix.device)
        A = matrix.detach()
        _check_symmetric(A)
        self._matrix = (A + A.T) / 2

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        return self._matrix @ V


def _check_symmetric(A: Float[Tensor, "n n"]) -> None:
    if not bool(torch.isfinite(A).all()):
        raise OperatorError(
            "MatrixOperator(A): A has NaN or infinite entries; give a finite matrix "
            "(torch.isfinite(A) shows where)."
        )
    largest = float(A.abs().max())
    asymmetry = float((A - A.T).abs().max())
    # A product BᵀB summed in two orders differs by up to n roundings.
    allowed = (A.shape[0] + 10) * torch.finfo(A.dtype).eps * largest
    if asymmetry > allowed:
        raise OperatorError(
            f"MatrixOperator(A): A differs from its transpose by {asymmetry:.3g}, more than "
            f"the {allowed:.3g} of rounding; give (A + A.T) / 2 if its symmetric part is meant."
        )
