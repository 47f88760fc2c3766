"""Sample: the data as one table of features and one of targets, and what their numbers are like."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from thalweg._batch import call_of, tensors_in
from thalweg._problem import Problem

MOST = 2000
"""Samples that are looked at, at most."""

CONSTANT = 1e-6
"""Of its size, up to which a feature's spread is rounding."""


@dataclass(frozen=True)
class Sample:
    """Some of the data.

    Args:
        x: features of each sample, flat, in float64; no columns where inputs are no numbers.
        y: targets of each sample, flat: float64, or whole numbers for classes; None without.
        bad_inputs: share of samples with a NaN or an infinity in their input, over all data.
        bad_targets: the same for the targets.
        num_samples: of all data.
    """

    x: Tensor
    y: Tensor | None
    bad_inputs: float
    bad_targets: float
    num_samples: int

    @classmethod
    def of(cls, problem: Problem) -> Sample:
        """Reads the data of a problem. Cost: none; no network is run."""
        rows: list[Tensor] = []
        targets: list[Tensor] = []
        bad_inputs = bad_targets = total = 0
        for batch in problem.batches:
            call = call_of(batch, problem.model)
            inputs = [t for t in tensors_in((call.args, call.kwargs)) if t.ndim]
            target = call.target
            inputs = [t for t in inputs if t is not target or len(inputs) == 1]
            if not inputs:
                continue
            size = len(inputs[0])
            total += size
            floating = [t for t in inputs if t.is_floating_point() and len(t) == size]
            bad_inputs += int(_bad(floating, size).sum())
            if floating:
                rows.append(torch.cat([t.detach().flatten(1) if t.ndim > 1 else t[:, None]
                                       for t in floating], 1).double().cpu())  # fmt: skip
            if isinstance(target, Tensor) and target.ndim and len(target) == size:
                flat = target.detach().cpu()
                if flat.is_floating_point():
                    bad_targets += int(_bad([flat], size).sum())
                    flat = flat.double()
                targets.append(flat.flatten(1) if flat.ndim > 1 else flat)
        x = _joined(rows)
        y = _joined(targets)
        if x is None or (y is not None and len(y) != len(x)):
            y = None
        x = torch.zeros(0, 0, dtype=torch.float64) if x is None else x
        if len(x) > MOST:
            chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:MOST]
            x, y = x[chosen], None if y is None else y[chosen]
        return cls(x, y, bad_inputs / max(total, 1), bad_targets / max(total, 1), total)

    @cached_property
    def finite_x(self) -> Tensor:
        """Features with NaN and infinities as zero."""
        return self.x.nan_to_num(0.0, 0.0, 0.0)

    @cached_property
    def scales(self) -> Tensor:
        """Root mean square of each feature."""
        return self.finite_x.square().mean(0).sqrt()

    @cached_property
    def spreads(self) -> Tensor:
        """Standard deviation of each feature."""
        return self.finite_x.std(0, unbiased=False)

    @cached_property
    def varies(self) -> Tensor:
        """Which features are not the same in every sample."""
        return self.spreads > CONSTANT * self.scales.clamp_min(1e-12)

    @cached_property
    def is_classes(self) -> bool:
        """Whether targets are whole numbers, one for each sample."""
        return self.y is not None and not self.y.is_floating_point() and self.y.ndim == 1

    @cached_property
    def is_binary(self) -> bool:
        """Whether targets are zeros and ones in floating point."""
        y = self.y
        return y is not None and y.is_floating_point() and bool(((y == 0) | (y == 1)).all())


def _bad(tensors: list[Tensor], size: int) -> Tensor:
    bad = torch.zeros(size, dtype=torch.bool)
    for tensor in tensors:
        bad |= (~torch.isfinite(tensor.detach().cpu())).reshape(size, -1).any(1)
    return bad


def _joined(pieces: list[Tensor]) -> Tensor | None:
    if not pieces or len({(piece.shape[1:], piece.dtype) for piece in pieces}) != 1:
        return None
    return torch.cat(pieces)
