"""The square root of a loss's curvature in the output: columns s with Σ s sᵀ = ∇²_z L."""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import Tensor

from thalweg._batch import Batch, call_of
from thalweg._loss import Kind, KnownLoss, known_loss
from thalweg._problem import Problem

MAX_COLUMNS = 16
"""Up to as many columns a sample, each is there; of more, one random combination."""


def output_root(
    problem: Problem,
    z: Any,
    batch: Batch,
    generator: torch.Generator,
    most: int = MAX_COLUMNS,
) -> list[Tensor] | None:
    """Columns in the shape of the output z, of the mean loss of a batch; None where unknown.

    For cross-entropy of classes √p_c (e_c − p), c = 1 …, over the number of terms; for squares √2
    e_c; for binary cross-entropy √(p (1 − p)), one for each output. More columns than `most` are
    combined with random signs into one, whose s sᵀ is right in expectation.

    Args:
        problem: whose loss it is.
        z: the output, (N, c) or (N,).
        batch: with the targets.
        generator: of the signs.
        most: columns a sample up to which each is there.

    Source: Dangel, Kunstner and Hennig 2020, "BackPACK", for the symmetric factors; random signs
    after Hutchinson 1990.
    """
    known = known_loss(problem.loss)
    if known is None or not isinstance(z, Tensor) or not z.requires_grad:
        return None
    columns = _columns(known, z.detach(), generator, most)
    if columns is None:
        return None
    target = call_of(batch, problem.model).target
    terms = 1.0 if known.reduction == "sum" else known.num_terms(z, target)
    return [column / sqrt(terms) for column in columns]


def _columns(
    known: KnownLoss, z: Tensor, generator: torch.Generator, most: int
) -> list[Tensor] | None:
    if known.kind is Kind.CLASSES and z.ndim == 2 and not known.label_smoothing:
        p = torch.softmax(z, 1)
        units = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        if z.shape[1] <= most:
            return [p[:, c, None].sqrt() * (units[c] - p) for c in range(z.shape[1])]
        # Σ_c ±√p_c (e_c − p), without writing the columns out.
        signed = p.sqrt() * _signs(z, generator)
        return [signed - p * signed.sum(1, keepdim=True)]
    if known.kind is Kind.SQUARED:
        width = z.shape[-1] if z.ndim == 2 else 1
        if width > most or z.ndim > 2:
            return [sqrt(2.0) * _signs(z, generator)]
        units = torch.eye(width, dtype=z.dtype, device=z.device)
        return [sqrt(2.0) * (unit if z.ndim == 2 else unit[0]).expand_as(z) for unit in units]
    if known.kind is Kind.BINARY_LOGITS:
        p = torch.sigmoid(z)
        slope = (p * (1 - p)).sqrt()
        if known.weight is not None:
            slope = slope * known.weight.to(z).sqrt()
        return [slope * _signs(z, generator)]
    return None


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    return (2 * torch.randint(2, like.shape, generator=generator) - 1).to(like)
