"""A symmetric matrix that can only be multiplied by."""

from abc import abstractmethod

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._linear_operator import FOUR_GIB, LinearOperator


class SymmetricOperator(LinearOperator):
    """A symmetric n×n matrix A of which only products A v are known.

    A subclass says its size, dtype and device once and implements one method, `_apply`, for
    blocks of columns. Operators add, subtract and scale like the matrices they stand for:

        (A + B) v = A v + B v,   (c A) v = c (A v),   A.shifted(σ) v = A v + σ v,
        A.submatrix(I) v = (A Eᵀv)_I,   E: the rows I of the identity

    Products are detached: nothing here records a graph, whatever the caller's grad mode.

    Args:
        size: n.
        dtype: Floating dtype of the vectors the operator takes and returns.
        device: Device of those vectors.

    Raises:
        OperatorError: The size is below 1 or the dtype is not a real floating one.

    Cost: `op @ v` is one product, `op @ V` with k columns is k products.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator
        >>> op = MatrixOperator(torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
        >>> (2 * op.shifted(1.0)) @ torch.tensor([1.0, 0.0])
        tensor([6., 2.])
    """

    _by_products = "eigenpairs(op), density(op)"

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device | str) -> None:
        if size < 1:
            raise OperatorError(
                f"{type(self).__name__}(size={size}): an operator has at least one row; "
                "give size >= 1."
            )
        super().__init__((size, size), dtype, device)

    @abstractmethod
    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Return A V for a block of k columns."""

    def _apply_adjoint(self, U: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Return Aᵀ U = A U."""
        return self._apply(U)

    @property
    def size(self) -> int:
        """The number of rows, n."""
        return self._shape[0]

    @property
    def T(self) -> "SymmetricOperator":
        """The transpose: A itself."""
        return self

    def __add__(self, other: "SymmetricOperator") -> "SymmetricOperator":
        """Return A + B."""
        if not isinstance(other, SymmetricOperator):
            return NotImplemented
        return _Sum(self, other)

    def __sub__(self, other: "SymmetricOperator") -> "SymmetricOperator":
        """Return A − B."""
        if not isinstance(other, SymmetricOperator):
            return NotImplemented
        return _Sum(self, _Scaled(other, -1.0))

    def __mul__(self, factor: int | float) -> "SymmetricOperator":
        """Return c A."""
        if not isinstance(factor, int | float):
            return NotImplemented
        return _Scaled(self, float(factor))

    def __rmul__(self, factor: int | float) -> "SymmetricOperator":
        """Return c A."""
        return self * factor

    def __neg__(self) -> "SymmetricOperator":
        """Return −A."""
        return _Scaled(self, -1.0)

    def sampled(self) -> "SymmetricOperator | None":
        """Return an operator near this one, of a part of its data, whose products cost far less.

        Its outermost eigenvectors are a good place to begin a search. None where there is none, or
        where it would spare nothing.
        """
        return None

    def shifted(self, sigma: int | float) -> "SymmetricOperator":
        """Return A + σI."""
        return _Shifted(self, float(sigma))

    def submatrix(self, index: Int[Tensor, "m"] | slice) -> "SymmetricOperator":
        """Return the principal submatrix A[I, I]: A as seen from some of its coordinates.

        Its eigenvalues interlace those of A (Cauchy).

        Args:
            index: I, m different row numbers from 0 to n − 1 in any order, or a slice of them.

        Returns:
            The m×m operator, its rows and columns in the order of `index`.

        Raises:
            OperatorError: The index is empty, repeats itself, is out of range, or holds no row
                numbers.

        Cost: a product with it is one product with A.

        Example:
            >>> import torch
            >>> from thalweg.linalg import MatrixOperator
            >>> op = MatrixOperator(torch.diag(torch.tensor([1.0, 2.0, 3.0])))
            >>> op.submatrix(slice(1, None)) @ torch.ones(2)
            tensor([2., 3.])
        """
        if isinstance(index, slice):
            index = torch.arange(self.size)[index]
        if index.ndim != 1 or index.dtype.is_floating_point or index.dtype == torch.bool:
            raise OperatorError(
                f"op.submatrix(index): index has shape {tuple(index.shape)} and {index.dtype}; "
                "give row numbers of shape (m,), of a mask mask.nonzero()[:, 0]."
            )
        return _Submatrix(self, index.detach().to(device=self._device, dtype=torch.int64))

    def to_dense(self, *, chunk_size: int = 64, max_bytes: int = FOUR_GIB) -> Float[Tensor, "n n"]:
        """Return the matrix itself, (A + Aᵀ)/2, multiplied out by blocks of columns.

        Args:
            chunk_size: Columns per block; more columns are faster and take more memory.
            max_bytes: Refuse when the n² entries would take more than this many bytes.

        Returns:
            The n×n matrix, made exactly symmetric. [the operator's unit]

        Raises:
            OperatorError: The matrix would not fit in `max_bytes`, or `chunk_size` < 1.

        Cost: n products, and n² entries of memory.

        Example:
            >>> import torch
            >>> from thalweg.linalg import MatrixOperator
            >>> MatrixOperator(torch.eye(2)).shifted(1.0).to_dense()
            tensor([[2., 0.],
                    [0., 2.]])
        """
        self._check_room(chunk_size, max_bytes)
        dense = torch.empty(self.shape, dtype=self._dtype, device=self._device)
        for first in range(0, self.size, chunk_size):
            last = min(first + chunk_size, self.size)
            dense[:, first:last] = self @ self._unit_columns(first, last)
        return (dense + dense.T) / 2

    def _unit_columns(self, first: int, last: int) -> Float[Tensor, "n k"]:
        columns = torch.zeros(self.size, last - first, dtype=self._dtype, device=self._device)
        columns[range(first, last), range(last - first)] = 1.0
        return columns


class _Sum(SymmetricOperator):
    """A + B."""

    def __init__(self, left: SymmetricOperator, right: SymmetricOperator) -> None:
        for name in ("size", "dtype", "device"):
            ours, theirs = getattr(left, name), getattr(right, name)
            if ours != theirs:
                raise OperatorError(
                    f"op + op: the {name}s differ, {ours} and {theirs}; add operators of one "
                    "size, dtype and device."
                )
        super().__init__(left.size, left.dtype, left.device)
        self._left, self._right = left, right

    def _made_of(self) -> tuple[LinearOperator, ...]:
        return (self._left, self._right)

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        return (self._left @ V) + (self._right @ V)


class _Scaled(SymmetricOperator):
    """c A."""

    def __init__(self, op: SymmetricOperator, factor: float) -> None:
        super().__init__(op.size, op.dtype, op.device)
        self._op, self._factor = op, factor

    def _made_of(self) -> tuple[LinearOperator, ...]:
        return (self._op,)

    def sampled(self) -> SymmetricOperator | None:
        """Return c B, with B near A."""
        near = self._op.sampled()
        return None if near is None else _Scaled(near, self._factor)

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        return self._factor * (self._op @ V)


class _Shifted(SymmetricOperator):
    """A + σI."""

    def __init__(self, op: SymmetricOperator, sigma: float) -> None:
        super().__init__(op.size, op.dtype, op.device)
        self._op, self._sigma = op, sigma

    def _made_of(self) -> tuple[LinearOperator, ...]:
        return (self._op,)

    def sampled(self) -> SymmetricOperator | None:
        """Return B + σI, with B near A."""
        near = self._op.sampled()
        return None if near is None else _Shifted(near, self._sigma)

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        return (self._op @ V) + self._sigma * V


class _Submatrix(SymmetricOperator):
    """A[I, I]."""

    def __init__(self, op: SymmetricOperator, index: Int64[Tensor, "m"]) -> None:
        _check_index(index, op)
        super().__init__(len(index), op.dtype, op.device)
        self._op, self._index = op, index

    def _made_of(self) -> tuple[LinearOperator, ...]:
        return (self._op,)

    def _apply(self, V: Float[Tensor, "m k"]) -> Float[Tensor, "m k"]:
        whole = torch.zeros(self._op.size, V.shape[1], dtype=V.dtype, device=V.device)
        whole[self._index] = V
        return (self._op @ whole)[self._index]


def _check_index(index: Int64[Tensor, "m"], op: SymmetricOperator) -> None:
    if len(index) == 0:
        raise OperatorError(
            f"op.submatrix(index): the index is empty; give row numbers from 0 to {op.size - 1}."
        )
    outside = index[(index < 0) | (index >= op.size)]
    if len(outside) > 0:
        raise OperatorError(
            f"op.submatrix(index): {int(outside[0])} is no row of {op!r}; give numbers from 0 to "
            f"{op.size - 1}."
        )
    numbers, counts = index.unique(return_counts=True)
    if len(numbers) < len(index):
        raise OperatorError(
            f"op.submatrix(index): row {int(numbers[counts > 1][0])} is named twice; give each "
            "row once, index.unique()."
        )
