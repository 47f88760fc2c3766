"""Scale and shift of a normalised layer: y = γ x̂ + β, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from thalweg.optim._kfac_block import Block, Sums, Use
from thalweg.optim._kronecker import Root, Turn, from_left, inverse

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_NORMS = (*_BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def is_scale(module: nn.Module) -> bool:
    """Whether a module is a normalisation with a scale that is known here."""
    return isinstance(module, _NORMS) and module.weight is not None


class ScaleBlock(Block):
    """For each channel E[u uᵀ] of u = (∂L/∂γ, ∂L/∂β) of a sample: a block of two by two.

    A sample's slopes are summed over its positions first, as they are in its gradient, so that of
    each channel the curvature is exact; between channels it is left out.
    """

    def __init__(self, name: str, modules: Sequence[nn.Module], places: Sequence[slice]) -> None:
        super().__init__(name, modules, places)
        weight: Any = modules[0].weight
        self._channels = weight.numel()
        self._sums: Tensor | None = None
        self._damping = 0.0
        self._root: Root | None = None
        self._inverse: tuple[float, Tensor] | None = None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """One matrix for each channel."""
        side = 1 if self.bias is None else 2
        return {"U": (self._channels, side, side)}

    @property
    def num_outputs(self) -> int:
        """Scale and shift of a channel."""
        return 1 if self.bias is None else 2

    def num_rows(self, use: Use) -> int:
        """Samples."""
        return use.output.shape[0]

    def add_slopes(self, sums: Sums, slopes: Sequence[Tensor | None], share: float) -> None:
        """Adds E[u uᵀ]."""
        for use, slope in zip(self.uses, slopes, strict=True):
            if slope is None:
                continue
            parts = [self._per_sample(slope * _normalised(use), use)]
            if self.bias is not None:
                parts.append(self._per_sample(slope, use))
            u = torch.stack(parts, -1).movedim(0, 1)  # (channels, samples, 1 or 2)
            sums["U"] += share * (u.mT @ u)

    def take(self, sums: Mapping[str, Tensor], damping: float) -> float:
        """Takes E[u uᵀ]."""
        self._sums, self._damping = sums["U"], damping
        self._root = self._inverse = None
        return float(self._sums.diagonal(dim1=-2, dim2=-1).mean())

    def applied(self, v: Float[Tensor, " n"], turn: Turn) -> Sequence[Tensor]:
        """(γ, β) turned by a root of U, channel by channel."""
        if self._root is None:
            assert self._sums is not None, "taken before"
            U = self._sums
            # A channel without curvature is damped by that of all.
            floor = self._damping * U.diagonal(dim1=-2, dim2=-1).mean()
            self._root = Root.of(U + floor * torch.eye(U.shape[-1], dtype=U.dtype).to(U), 0.0)
        return self._parted(from_left(self._root.turned(turn), self._whole(v)))

    def solved(self, v: Float[Tensor, " n"], shift: float) -> Sequence[Tensor]:
        """(U + δ)⁻¹ (γ, β), channel by channel."""
        if self._inverse is None or self._inverse[0] != shift:
            assert self._sums is not None, "taken before"
            amount = self._sums.new_full((self._channels,), shift)
            self._inverse = shift, inverse(self._sums, amount)
        return self._parted(self._inverse[1] @ self._whole(v))

    def _whole(self, v: Float[Tensor, " n"]) -> Float[Tensor, "c s 1"]:
        parts = [v[self.weight]] if self.bias is None else [v[self.weight], v[self.bias]]
        return torch.stack(parts, -1)[..., None]

    def _parted(self, found: Float[Tensor, "c s 1"]) -> Sequence[Tensor]:
        return tuple(found[:, at, 0] for at in range(found.shape[1]))

    def _per_sample(self, z: Tensor, use: Use) -> Float[Tensor, "N c"]:
        """Summed over the positions of each sample."""
        if isinstance(use.module, nn.LayerNorm | nn.RMSNorm):
            return z.detach().reshape(len(z), -1, self._channels).sum(1)
        return z.detach().flatten(2).sum(2) if z.ndim > 2 else z.detach()


def _normalised(use: Use) -> Tensor:
    """x̂: what is scaled and shifted."""
    module: Any = use.module
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(use.given, module.normalized_shape, eps=module.eps)
    if isinstance(module, nn.RMSNorm):
        return F.rms_norm(use.given, module.normalized_shape, eps=module.eps)
    if isinstance(module, nn.GroupNorm):
        return F.group_norm(use.given, module.num_groups, eps=module.eps)
    is_of_batch = module.training or module.running_mean is None
    mean, variance = (None, None) if is_of_batch else (module.running_mean, module.running_var)
    return F.batch_norm(use.given, mean, variance, training=is_of_batch, eps=module.eps)
