"""Parts of a point: the submatrices of its operators, module by module."""

from itertools import pairwise

import pytest
import torch

from problems import SHELF
from thalweg import LayoutError, Surface
from thalweg.linalg import BlockDiagonalOperator

TIGHT = {"rtol": 1e-10, "atol": 1e-12}
OPERATORS = ["hessian", "ggn", "fisher", "empirical_fisher"]


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", ["mlp", "frozen", "conv", "transformer", "tied", "batch_norm"])
def test_blocks_are_the_diagonal_blocks_of_the_matrix(name, operator):
    point = Surface(SHELF[name]().problem).here()
    A = getattr(point, operator)().to_dense()
    blocks = point.blocks()
    sizes = [part.layout.size for part in blocks.values()]
    assert sum(sizes) == point.layout.size
    assert [n for part in blocks.values() for n in part.layout.names] == list(point.layout.names)
    ops = [getattr(part, operator)() for part in blocks.values()]
    starts = torch.tensor([0, *sizes]).cumsum(0).tolist()
    spans = [slice(a, b) for a, b in pairwise(starts)]
    for op, span in zip(ops, spans, strict=True):
        torch.testing.assert_close(op.to_dense(), A[span, span], **TIGHT)
    dense = torch.block_diag(*(A[span, span] for span in spans))
    torch.testing.assert_close(BlockDiagonalOperator(ops).to_dense(), dense, **TIGHT)


def test_blocks_bear_the_names_of_their_modules():
    point = Surface(SHELF["transformer"]().problem).here()
    assert list(point.blocks()) == [
        *("layer.self_attn", "layer.self_attn.out_proj", "layer.linear1", "layer.linear2"),
        *("layer.norm1", "layer.norm2", "head"),
    ]
    assert list(Surface(SHELF["tied"]().problem).here().blocks()) == ["embedding", "decoder"]


@pytest.mark.parametrize("is_read_before", [False, True])
def test_a_restricted_point_is_the_surface_over_fewer_parameters(is_read_before):
    problem = SHELF["batch_norm"]().problem
    elsewhere = Surface(problem).at(torch.linspace(-1, 1, 34, dtype=torch.float64))
    if is_read_before:
        _ = elsewhere.value
    part = elsewhere.restricted(["0.weight", "2.*"])
    assert part.layout.names == ("0.weight", "2.weight", "2.bias")
    rows = torch.tensor([*range(12), *range(24, 34)])
    torch.testing.assert_close(part.gradient_vector, elsewhere.gradient_vector[rows], **TIGHT)
    assert part.value == pytest.approx(elsewhere.value, rel=1e-14)
    assert part.weights == elsewhere.weights
    H = elsewhere.hessian().to_dense()[rows][:, rows]
    torch.testing.assert_close(part.hessian().to_dense(), H, **TIGHT)
    again = part.restricted("2.*")
    torch.testing.assert_close(again.hessian().to_dense(), H[12:, 12:], **TIGHT)


def test_a_glob_that_matches_nothing_lists_the_names():
    point = Surface(SHELF["mlp"]().problem, "2.*").here()
    with pytest.raises(LayoutError, match=r"'0\.\*'; the names are 2\.weight, 2\.bias"):
        point.restricted("0.*")
