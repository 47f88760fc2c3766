"""Operators side by side on the diagonal of a larger one."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._linear_operator import LinearOperator
from thalweg.linalg._operator import SymmetricOperator


class BlockDiagonalOperator(SymmetricOperator):
    """The matrix with the blocks A₁, A₂, … on its diagonal and zeros elsewhere.

        A v = (A₁ v₁, A₂ v₂, …)

    Args:
        blocks: A₁, A₂, …, of one dtype on one device.

    Raises:
        OperatorError: There is no block, or their dtypes or devices differ.

    Cost: one product with each block a product.

    Example:
        >>> import torch
        >>> from thalweg.linalg import BlockDiagonalOperator, MatrixOperator
        >>> A, B = MatrixOperator(torch.ones(2, 2)), MatrixOperator(torch.eye(1))
        >>> BlockDiagonalOperator([A, B]) @ torch.ones(3)
        tensor([2., 2., 1.])
    """

    def __init__(self, blocks: Sequence[SymmetricOperator]) -> None:
        if not blocks:
            raise OperatorError(
                "BlockDiagonalOperator([]): there is no block; give one operator or more."
            )
        places = {(block.dtype, block.device) for block in blocks}
        if len(places) > 1:
            said = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in places))
            raise OperatorError(
                f"BlockDiagonalOperator(blocks): the blocks are {said}; give "
                "blocks of one dtype on one device."
            )
        super().__init__(sum(block.size for block in blocks), blocks[0].dtype, blocks[0].device)
        self.blocks = tuple(blocks)

    def _made_of(self) -> tuple[LinearOperator, ...]:
        return self.blocks

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        pieces = V.split([block.size for block in self.blocks])
        return torch.cat([block @ v for block, v in zip(self.blocks, pieces, strict=True)])
