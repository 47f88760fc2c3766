"""A matrix of any shape that can only be multiplied by, from either side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError

if TYPE_CHECKING:
    from thalweg.linalg._operator import SymmetricOperator

FOUR_GIB = 4 * 2**30


class LinearOperator(ABC):
    """An m×n matrix A of which only products A v and Aᵀ u are known.

    A subclass says its shape, dtype and device once and implements `_apply` (A V) and
    `_apply_adjoint` (Aᵀ U) for blocks of columns. From these come

        A v,   Aᵀ u = A.T @ u,   AᵀA = A.gram(),   AAᵀ = A.T.gram()

    Products are detached: nothing here records a graph, whatever the caller's grad mode.

    Args:
        shape: (m, n).
        dtype: Floating dtype of the vectors the operator takes and returns.
        device: Device of those vectors.

    Raises:
        OperatorError: A side is below 1 or the dtype is not a real floating one; of a product, the
            factor does not fit, or its result is not of the shape and dtype promised.

    Cost: `A @ V` with k columns is k products, `A.gram() @ V` is 2k.
    """

    # NumPy arrays would otherwise take `A @ array` apart item by item.
    __array_ufunc__ = None

    _by_products = "op @ v, op.T @ u, singular_values(op)"
    """What to do without the dense matrix."""

    def __init__(
        self, shape: tuple[int, int], dtype: torch.dtype, device: torch.device | str
    ) -> None:
        if min(shape) < 1:
            raise OperatorError(
                f"{type(self).__name__}(shape={shape}): an operator has at least one row and one "
                "column; give two sizes of 1 or more."
            )
        if not dtype.is_floating_point:
            raise OperatorError(
                f"{type(self).__name__}(dtype={dtype}): products need a real floating dtype; "
                "give torch.float32 or torch.float64."
            )
        self._shape = shape
        self._dtype = dtype
        # "cuda" and "cuda:0" are one device: ask torch for the full name.
        self._device = torch.empty(0, device=device).device

    @abstractmethod
    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "m k"]:
        """Return A V for a block of k columns."""

    @abstractmethod
    def _apply_adjoint(self, U: Float[Tensor, "m k"]) -> Float[Tensor, "n k"]:
        """Return Aᵀ U for a block of k columns."""

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the matrix, (m, n)."""
        return self._shape

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the vectors taken and returned."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """The device of the vectors taken and returned."""
        return self._device

    def _made_of(self) -> tuple[LinearOperator, ...]:
        """Return the operators whose products make a product of this one."""
        return ()

    @property
    def said(self) -> str:
        """How products are computed, in words; "" where the operator does not say."""
        return "; ".join(dict.fromkeys(op.said for op in self._made_of() if op.said))

    def __repr__(self) -> str:
        m, n = self._shape
        return f"{type(self).__name__}({m}×{n}, {self._dtype}, {self._device})"

    @property
    def T(self) -> LinearOperator:
        """The transpose: `A.T @ u` is Aᵀ u."""
        return _Transpose(self)

    def __matmul__(self, v: Tensor) -> Tensor:
        """Return A v for v of shape (n,) or (n, k), as (m,) or (m, k)."""
        self.check_factor(v)
        block = v.detach() if v.ndim == 2 else v.detach()[:, None]
        product = self._apply(block).detach()
        shape = (self._shape[0], block.shape[1])
        if product.shape != shape or product.dtype != self._dtype:
            raise OperatorError(
                f"op @ v: {self!r} returned shape {tuple(product.shape)} and {product.dtype} "
                f"for a block of shape {tuple(block.shape)}; its product must return the shape "
                f"and dtype of op, here {shape}."
            )
        return product if v.ndim == 2 else product[:, 0]

    def check_factor(self, v: Tensor) -> None:
        """Raise OperatorError unless `op @ v` fits: tensor, shape, dtype and device."""
        n = self._shape[1]
        if not isinstance(v, Tensor):
            raise OperatorError(
                f"op @ v: v is a {type(v).__name__}; give a tensor, or use op.to_scipy() @ v "
                "for NumPy arrays."
            )
        if v.ndim not in (1, 2) or v.shape[0] != n:
            raise OperatorError(
                f"op @ v: v has shape {tuple(v.shape)}, {self!r} takes ({n},) or ({n}, k); "
                f"give v with {n} rows."
            )
        if v.dtype != self._dtype:
            raise OperatorError(
                f"op @ v: v is {v.dtype}, {self!r} takes {self._dtype}; type v.to(op.dtype)."
            )
        if v.device != self._device:
            raise OperatorError(
                f"op @ v: v is on {v.device}, {self!r} lives on {self._device}; "
                "type v.to(op.device)."
            )

    def gram(self) -> SymmetricOperator:
        """Return AᵀA as a symmetric n×n operator; `A.T.gram()` is AAᵀ.

        Cost: two products each.
        """
        # A symmetric operator is a kind of this one, so its file imports this one.
        from thalweg.linalg._gram_operator import GramOperator

        return GramOperator(self)

    def to_dense(self, *, chunk_size: int = 64, max_bytes: int = FOUR_GIB) -> Float[Tensor, "m n"]:
        """Return the matrix itself, multiplied out by blocks from its shorter side.

        Args:
            chunk_size: Columns per block; more are faster and take more memory.
            max_bytes: Refuse when the m·n entries would take more than this many bytes.

        Returns:
            The m×n matrix. [the operator's unit]

        Raises:
            OperatorError: The matrix would not fit in `max_bytes`, or `chunk_size` < 1.

        Cost: min(m, n) products, and m·n entries of memory.
        """
        self._check_room(chunk_size, max_bytes)
        m, n = self._shape
        if m < n:
            return self.T.to_dense(chunk_size=chunk_size, max_bytes=max_bytes).T
        unit = torch.eye(n, dtype=self._dtype, device=self._device)
        return torch.cat([self @ columns for columns in unit.split(chunk_size, dim=1)], dim=1)

    def _check_room(self, chunk_size: int, max_bytes: int) -> None:
        """Refuse a dense matrix that does not fit."""
        m, n = self._shape
        needed = m * n * self._dtype.itemsize
        if needed > max_bytes:
            raise OperatorError(
                f"op.to_dense(max_bytes={max_bytes}): the {m}×{n} matrix of {self._dtype} takes "
                f"{needed} bytes ({needed / 2**30:.3g} GiB); give max_bytes={needed}, or use "
                f"products alone: {self._by_products}."
            )
        if chunk_size < 1:
            raise OperatorError(
                f"op.to_dense(chunk_size={chunk_size}): a block has at least one column; "
                "give chunk_size >= 1."
            )

    def to_scipy(self) -> scipy.sparse.linalg.LinearOperator:
        """Return the same matrix as a SciPy `LinearOperator` over NumPy arrays.

        Returns:
            An m×n LinearOperator whose products are computed here, on the operator's device.

        Cost: one product for each vector that SciPy multiplies.
        """

        def multiply(op: LinearOperator, array: np.ndarray) -> np.ndarray:
            block = torch.as_tensor(np.ascontiguousarray(array).reshape(op.shape[1], -1))
            product = op @ block.to(device=op.device, dtype=op.dtype)
            return product.cpu().numpy().reshape(op.shape[0], *array.shape[1:])

        adjoint = self.T
        return scipy.sparse.linalg.LinearOperator(
            shape=self._shape,
            matvec=lambda v: multiply(self, v),
            rmatvec=lambda u: multiply(adjoint, u),
            matmat=lambda V: multiply(self, V),
            rmatmat=lambda U: multiply(adjoint, U),
            dtype=torch.empty(0, dtype=self._dtype).numpy().dtype,
        )


class _Transpose(LinearOperator):
    """Aᵀ."""

    def __init__(self, op: LinearOperator) -> None:
        super().__init__((op.shape[1], op.shape[0]), op.dtype, op.device)
        self._op = op

    def _made_of(self) -> tuple[LinearOperator, ...]:
        return (self._op,)

    def _apply(self, V: Float[Tensor, "m k"]) -> Float[Tensor, "n k"]:
        return self._op._apply_adjoint(V)

    def _apply_adjoint(self, U: Float[Tensor, "n k"]) -> Float[Tensor, "m k"]:
        return self._op._apply(U)

    @property
    def T(self) -> LinearOperator:
        """The transpose of the transpose."""
        return self._op
