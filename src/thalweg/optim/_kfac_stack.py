"""Stack: small layers of one shape, whose roots are taken and applied as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.optim._kfac_block import Block
from thalweg.optim._kfac_weight import WeightBlock
from thalweg.optim._kronecker import Kronecker, Turn

SMALL = 2**14
"""Parameters of a layer up to which calls cost more than arithmetic, and picking its weights out
of the flat vector one by one costs nothing."""


class Stack:
    """Weights (k, rows, columns) of k layers, bias as last column, with R ⊗ C of each.

    Args:
        blocks: of one shape, their factors taken.
    """

    def __init__(self, blocks: Sequence[WeightBlock]) -> None:
        self._blocks = blocks
        self._root: Kronecker | None = None
        self._turned: dict[Turn, tuple[Tensor, Tensor]] = {}
        self._places = torch.cat([block.places() for block in blocks])

    def apply(self, v: Float[Tensor, " n"], into: Float[Tensor, " n"], turn: Turn) -> None:
        """Writes these layers' parts of v, turned, into their places.

        Args:
            v: (n,).
            into: (n,).
            turn: what is made of them.
        """
        if turn not in self._turned:
            self._turned[turn] = self._taken().turned(turn)
        left, right = self._turned[turn]
        into.put_(self._places, torch.bmm(torch.bmm(left, v.take(self._places)), right))

    def _taken(self) -> Kronecker:
        """The root, taken when it is first asked for."""
        if self._root is None:
            R, C = (
                torch.cat(factors) for factors in zip(*map(_factors, self._blocks), strict=True)
            )
            self._root = Kronecker.of(R, C, self._blocks[0].damping)
        return self._root


def stacked(blocks: Iterable[Block]) -> tuple[list[Stack], list[Block]]:
    """Stacks of all small weights, and the blocks that stay alone.

    Args:
        blocks: with their factors taken.
    """
    alike: dict[object, list[WeightBlock]] = {}
    alone: list[Block] = []
    for block in blocks:
        if isinstance(block, WeightBlock) and _is_small(block):
            shapes = tuple(tuple(factor.shape[1:]) for factor in _factors(block))
            alike.setdefault(shapes, []).append(block)
        else:
            alone.append(block)
    return [Stack(group) for group in alike.values()], alone


def _is_small(block: WeightBlock) -> bool:
    # A diagonal is applied by itself.
    return block.num_params <= SMALL and all(factor.ndim == 3 for factor in _factors(block))


def _factors(block: WeightBlock) -> tuple[Tensor, Tensor]:
    assert block.pair is not None, "taken before"
    return block.pair
