"""Weights that multiply: linear layers, convolutions, embeddings, and those that share a weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from thalweg.optim._kfac_block import Block, Sums, Use
from thalweg.optim._kronecker import Kronecker, KroneckerInverse, Turn

MAX_SIDE = 4096
"""Rows or columns of a weight up to which a factor is a matrix; beyond, its diagonal: the output
of a language model has 50,000 rows.
"""


def is_weight(module: nn.Module) -> bool:
    """Whether a module is a linear layer, a convolution or an embedding that is known here."""
    if isinstance(module, nn.Embedding):
        return module.max_norm is None and not module.scale_grad_by_freq
    return isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)


class WeightBlock(Block):
    """R ⊗ C for W (rows, columns), one for each group of a convolution.

    For z = W a the rows' factor is G = E[∂z ∂zᵀ] and the columns' A = E[a aᵀ], with a 1 in a for
    the bias. An embedding picks rows: there R is diagonal, the share of each token, and C the
    second moment of the slopes at what was picked. A weight that is used in both ways has the
    sum of both, as one product whose trace is right.
    """

    def __init__(self, name: str, modules: Sequence[nn.Module], places: Sequence[slice]) -> None:
        super().__init__(name, modules, places)
        self._groups = max(getattr(module, "groups", 1) for module in modules)
        weight: Any = modules[0].weight
        self._rows: int = weight.shape[0] // self._groups
        self._columns: int = weight[0].numel()
        self.pair: tuple[Tensor, Tensor] | None = None
        self.damping = 0.0
        self._root: Kronecker | None = None
        self._inverse: tuple[float, KroneckerInverse] | None = None
        self._shapes = self._found_shapes()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """A and G of what multiplies, P and E of what picks."""
        return self._shapes

    def _found_shapes(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        if any(not isinstance(module, nn.Embedding) for module in self.modules):
            found["A"] = self._side(self._columns + (self.bias is not None))
            found["G"] = self._side(self._rows)
        if any(isinstance(module, nn.Embedding) for module in self.modules):
            found["P"] = (1, self._rows)
            found["E"] = self._side(self._columns)
        return found

    @property
    def num_outputs(self) -> int:
        """Rows of the weight, of a group; where it only picks, its columns."""
        return self._rows if "G" in self.shapes() else self._columns

    def num_rows(self, use: Use) -> int:
        """Samples times positions."""
        width = use.output.shape[-1 if _is_last(use) else 1]
        return use.output.numel() // max(width, 1)

    def add_inputs(self, sums: Sums, share: float) -> None:
        """Adds E[a aᵀ], and how often each row was picked."""
        for is_picking in (False, True):
            uses = [use for use in self.uses if _is_picking(use) is is_picking]
            total = max(sum(self.num_rows(use) for use in uses), 1)
            for use in uses:
                if is_picking:
                    picked = use.given.reshape(-1)[_is_learned(use)]
                    once = torch.full_like(picked, share / total, dtype=sums["P"].dtype)
                    sums["P"][0].index_add_(0, picked, once)
                else:
                    _add_moment(sums["A"], self._patches(use), share / total)

    def add_slopes(self, sums: Sums, slopes: Sequence[Tensor | None], share: float) -> None:
        """Adds E[∂z ∂zᵀ]."""
        for use, slope in zip(self.uses, slopes, strict=True):
            if slope is None:
                continue
            if _is_picking(use):
                rows = slope.reshape(-1, slope.shape[-1])[_is_learned(use)]
                _add_moment(sums["E"], rows[None], share)
            else:
                _add_moment(sums["G"], self._grouped(slope, use), share)

    def take(self, sums: Mapping[str, Tensor], damping: float) -> float:
        """Takes both factors."""
        pairs = []
        if "G" in sums:
            pairs.append((sums["G"], sums["A"]))
        if "P" in sums:
            C = sums["E"]
            if "A" in sums and C.shape != sums["A"].shape:
                C = F.pad(C, (0, 1, 0, 1) if C.ndim == 3 else (0, 1))  # the bias picks nothing
            pairs.append((sums["P"], C))
        R, C = _as_one(pairs)
        self.pair, self.damping = (R, C), damping
        self._root = self._inverse = None
        return float(_diagonal(R).mean() * _diagonal(C).mean())

    def applied(self, v: Float[Tensor, " n"], turn: Turn) -> Sequence[Tensor]:
        """W turned by the roots of R and C."""
        if self._root is None:
            assert self.pair is not None, "taken before"
            self._root = Kronecker.of(*self.pair, self.damping)
        return self._parted(self._root.applied(self._whole(v), turn))

    def solved(self, v: Float[Tensor, " n"], shift: float) -> Sequence[Tensor]:
        """(R + γ/π)⁻¹ W (C + πγ)⁻¹."""
        if self._inverse is None or self._inverse[0] != shift:
            assert self.pair is not None, "taken before"
            self._inverse = shift, KroneckerInverse.of(*self.pair, shift)
        return self._parted(self._inverse[1].applied(self._whole(v)))

    def places(self) -> Int[Tensor, "g r m"]:
        """Where each number of the matrix of weight and bias lies in the flat vector."""
        assert self.pair is not None, "taken before"
        stop = max(place.stop for place in (self.weight, self.bias or self.weight))
        return self._whole(torch.arange(stop, device=self.pair[0].device))

    def _whole(self, v: Shaped[Tensor, " n"]) -> Shaped[Tensor, "g r m"]:
        """Weight and bias as one matrix."""
        W = v[self.weight].view(self._groups, self._rows, -1)
        if self.bias is None:
            return W
        return torch.cat([W, v[self.bias].view(self._groups, self._rows, 1)], -1)

    def _parted(self, found: Float[Tensor, "g r m"]) -> Sequence[Tensor]:
        if self.bias is None:
            return (found,)
        return found[..., :-1], found[..., -1].reshape(-1)

    def _side(self, size: int) -> tuple[int, ...]:
        return (self._groups, size, size) if size <= MAX_SIDE else (self._groups, size)

    def _grouped(self, z: Tensor, use: Use) -> Float[Tensor, "g N r"]:
        """An output, or its slope, as one row for each position."""
        rows = z.detach() if _is_last(use) else z.detach().movedim(1, -1)
        return rows.reshape(-1, self._groups, self._rows).movedim(1, 0)

    def _patches(self, use: Use) -> Float[Tensor, "g N m"]:
        """An input as one row for each position of the output, with a 1 for the bias."""
        if isinstance(use.module, nn.Linear):
            rows = use.given.reshape(1, -1, use.given.shape[-1])
        else:
            assert isinstance(use.module, nn.Conv1d | nn.Conv2d)
            rows = _unfolded(use.given, use.module)
        return rows if self.bias is None else torch.cat([rows, torch.ones_like(rows[..., :1])], -1)


def _is_picking(use: Use) -> bool:
    return isinstance(use.module, nn.Embedding)


def _is_last(use: Use) -> bool:
    """Whether the outputs of a layer stand in the last dimension."""
    return isinstance(use.module, nn.Linear | nn.Embedding)


def _is_learned(use: Use) -> Tensor:
    """Which positions do not hold the padding, whose row has no gradient."""
    picked = use.given.reshape(-1)
    assert isinstance(use.module, nn.Embedding)
    padding = use.module.padding_idx
    return torch.ones_like(picked, dtype=torch.bool) if padding is None else picked != padding


def _add_moment(sums: Tensor, rows: Float[Tensor, "g N s"], share: float) -> None:
    if sums.ndim == 2:
        sums += share * rows.square().sum(1)
    else:
        sums += share * (rows.mT @ rows)


def _as_one(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Σ R_k ⊗ C_k as one product R ⊗ C of the same trace, each R_k weighed as its C_k."""
    if len(pairs) == 1:
        return pairs[0]
    sizes = [float(_diagonal(R).sum() * _diagonal(C).sum()) ** 0.5 for R, C in pairs]
    if not all(sizes):
        return pairs[sizes.index(max(sizes))]
    scale = sum(size**2 for size in sizes) ** 0.5 / sum(sizes)
    shares = [
        (s / _diagonal(R).sum(), s / _diagonal(C).sum())
        for s, (R, C) in zip(sizes, pairs, strict=True)
    ]
    rows = _sum([R * of_R * scale for (of_R, _), (R, _) in zip(shares, pairs, strict=True)])
    return rows, _sum([C * of_C * scale for (_, of_C), (_, C) in zip(shares, pairs, strict=True)])


def _sum(factors: Sequence[Tensor]) -> Tensor:
    """Of matrices and diagonals."""
    if all(factor.ndim == factors[0].ndim for factor in factors):
        return torch.stack(list(factors)).sum(0)
    return torch.stack([f if f.ndim == 3 else torch.diag_embed(f) for f in factors]).sum(0)


def _diagonal(factor: Tensor) -> Tensor:
    return factor if factor.ndim == 2 else factor.diagonal(dim1=-2, dim2=-1)


def _unfolded(a: Tensor, module: nn.Conv1d | nn.Conv2d) -> Float[Tensor, "g N m"]:
    """The patch under the kernel at every position."""
    kernel, stride, dilation = module.kernel_size, module.stride, module.dilation
    # As the layer itself pads: F.pad wants the last dimension first.
    around = tuple(module._reversed_padding_repeated_twice)
    a = F.pad(a, around, mode="constant" if module.padding_mode == "zeros" else module.padding_mode)
    if isinstance(module, nn.Conv1d):
        a, kernel, stride, dilation = a.unsqueeze(-2), (1, *kernel), (1, *stride), (1, *dilation)
    # (samples, groups · m, positions)
    patches: Tensor = F.unfold(a, kernel, dilation, 0, stride)
    rows: Tensor = patches.unflatten(1, (module.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)
    return rows
