"""Blocks on a diagonal multiply like the matrix they make."""

import pytest
import torch
from spectra import F64, generator

from thalweg._errors import OperatorError
from thalweg.linalg import BlockDiagonalOperator, MatrixOperator


def symmetric(n):
    B = torch.randn(n, n, generator=generator(n), dtype=F64)
    return (B + B.T) / 2


def test_it_is_the_block_diagonal_matrix():
    matrices = [symmetric(n) for n in (3, 1, 4)]
    op = BlockDiagonalOperator([MatrixOperator(A) for A in matrices])
    dense = torch.block_diag(*matrices)
    torch.testing.assert_close(op.to_dense(chunk_size=3), dense)
    V = torch.randn(8, 2, generator=generator(), dtype=F64)
    torch.testing.assert_close(op @ V, dense @ V)
    torch.testing.assert_close(op.shifted(2.0) @ V[:, 0], dense @ V[:, 0] + 2 * V[:, 0])


def test_blocks_that_do_not_fit_are_refused():
    with pytest.raises(OperatorError, match="no block"):
        BlockDiagonalOperator([])
    mixed = [MatrixOperator(symmetric(2)), MatrixOperator(torch.eye(2))]
    with pytest.raises(OperatorError, match=r"float32 on cpu, torch\.float64 on cpu; give blocks"):
        BlockDiagonalOperator(mixed)
