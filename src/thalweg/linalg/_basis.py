"""An orthonormal basis that grows by one vector at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Rows of a block: many short vectors go into one product, long ones would only waste memory.
_MAX_ROWS, _MIN_ROWS, _BLOCK_NUMBERS = 32, 2, 2**15
_ENOUGH = 0.7


@dataclass(frozen=True)
class BasisStorage:
    """Where a Krylov basis is kept, and in what precision, when it would not fit otherwise.

    Args:
        dtype: of the stored vectors; the operator's own when left out. Rounding of that dtype then
            enters every residual and bound.
        device: of the stored vectors; the operator's own when left out.

    Example:
        >>> import torch
        >>> BasisStorage(dtype=torch.float32, device="cpu").dtype
        torch.float32
    """

    dtype: torch.dtype | None = None
    device: torch.device | str | None = None


class Basis:
    """Orthonormal vectors q₁ … q_m, held as rows of blocks so that growing copies nothing."""

    def __init__(
        self,
        size: int,
        dtype: torch.dtype,
        device: torch.device,
        storage: BasisStorage | None = None,
    ) -> None:
        self.size = size
        self._dtype, self._device = dtype, device
        self._storage = storage or BasisStorage()
        self.eps = torch.finfo(self._storage.dtype or dtype).eps
        self._rows_each = max(_MIN_ROWS, min(_MAX_ROWS, _BLOCK_NUMBERS // size))
        self._blocks: list[Tensor] = []
        self.count = 0

    def vector(self, place: int) -> Float[Tensor, "n"]:
        """One of the vectors as it is stored: a view, where it is stored as it is used."""
        block, row = divmod(place, self._rows_each)
        return self._blocks[block][row].to(self._device, self._dtype)

    def append(self, q: Float[Tensor, "n"]) -> None:
        """Take in one more vector, which the caller has made orthonormal to the others."""
        if self.count == len(self._blocks) * self._rows_each:
            rows = min(self._rows_each, self.size - self.count)
            stored = self._storage.dtype or self._dtype, self._storage.device or self._device
            self._blocks.append(torch.empty(rows, self.size, dtype=stored[0], device=stored[1]))
        self._blocks[-1][self.count % self._rows_each] = q
        self.count += 1

    def project_out(self, w: Float[Tensor, "n"]) -> tuple[Float[Tensor, "n"], Float[Tensor, "m"]]:
        """Return w − QQᵀw and Qᵀw.

        The last two vectors are taken out first: they are what A q of a Lanczos step lies along.
        Then classical Gram-Schmidt over all, which leaves ε‖w‖ of every vector; where it took
        more than a third of w away, a second time ("twice is enough", Giraud, Langou and Rozložník
        2005; the criterion is Kahan's, Parlett 1998, sec. 6.9).
        """
        rest = w.clone()
        taken = torch.zeros(self.count, dtype=self._dtype, device=self._device)
        for place in range(self.count - 1, max(self.count - 3, -1), -1):
            q = self.vector(place)
            taken[place] = part = q @ rest
            rest.addcmul_(q, part, value=-1)
        before = torch.linalg.vector_norm(rest)
        taken += self._project_once(rest)
        if self.count and bool(torch.linalg.vector_norm(rest) < _ENOUGH * before):
            taken += self._project_once(rest)
        return rest, taken

    def _project_once(self, rest: Float[Tensor, "n"]) -> Float[Tensor, "m"]:
        """Take QQᵀ rest away from it in place; return Qᵀ rest."""
        parts = [block @ rest for block in self._rows()]
        for block, part in zip(self._rows(), parts, strict=True):
            rest.addmv_(block.T, part, alpha=-1)
        return torch.cat(parts) if parts else rest.new_zeros(0)

    def combine(self, coefficients: Float[Tensor, "m k"]) -> Float[Tensor, "n k"]:
        """Return Q S."""
        S = coefficients.to(dtype=self._dtype, device=self._device)
        total = torch.zeros(self.size, S.shape[1], dtype=self._dtype, device=self._device)
        starts = range(0, self.count, self._rows_each)
        for start, block in zip(starts, self._rows(), strict=True):
            total.addmm_(block.T, S[start : start + len(block)])
        return total

    def to_tensor(self) -> Float[Tensor, "n m"]:
        """Return Q, its columns in the order they came."""
        return torch.cat(list(self._rows())).T

    def _rows(self) -> Iterator[Tensor]:
        """The filled part of every block, one after the other, as they are multiplied by."""
        for place, block in enumerate(self._blocks):
            filled = min(self._rows_each, self.count - place * self._rows_each)
            yield block[:filled].to(self._device, self._dtype)
