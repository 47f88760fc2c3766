"""Gradients that a half-precision format rounds to zero, and the loss scale that saves them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import frexp, inf, log2
from typing import Any

import torch
from torch import Tensor, nn

from thalweg._batch import tensors_in
from thalweg._problem import Problem
from thalweg._reading import reading

ALLOWED = 1e-3
"""Share of entries that may be lost before a loss scale is asked for."""

_ZERO = 1200
"""Place of exponent 0 in the counts; float64 has −1074 to 1024."""


@dataclass(frozen=True)
class LayerUnderflow:
    """The entries of one gradient, sorted by what a format makes of them.

    Args:
        name: the layer, or the parameter.
        is_parameter: whether it is ∂L/∂W of a parameter; else ∂L/∂z of what a layer returned.
        flushed: share of the entries that are not zero and would become so.
        subnormal: share that would stay, with fewer digits.
        smallest: power of two below the smallest entry that is not zero.
        largest: power of two above the largest.
    """

    name: str
    is_parameter: bool
    flushed: float
    subnormal: float
    smallest: float
    largest: float


@dataclass(frozen=True)
class Underflow:
    """What a half-precision format loses of the gradients.

    Args:
        dtype: the format.
        rows: by layer and parameter.
        flushed: share of all entries that are not zero and would become so.
        subnormal: share that would lose digits.
        loss_scale: smallest power of two, at least 1, to multiply the loss by so that no more than
            a thousandth of the entries is lost, if that does not overflow; else the largest that
            does not.
        flushed_after: the share that is lost with it.
        largest_scale: the largest power of two at which no entry overflows.
    """

    dtype: torch.dtype
    rows: tuple[LayerUnderflow, ...]
    flushed: float
    subnormal: float
    loss_scale: float
    flushed_after: float
    largest_scale: float

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return (
            f"{name} would round {self.flushed:.2%} of the gradient entries to zero and "
            f"{self.subnormal:.2%} to fewer digits; a loss scale of {self.loss_scale:g} leaves "
            f"{self.flushed_after:.2%} (overflow beyond {self.largest_scale:g})"
        )


@dataclass
class _Counts:
    """How many entries have each binary exponent: everything else is read off these."""

    by_exponent: Tensor = field(default_factory=lambda: torch.zeros(2 * _ZERO, dtype=torch.int64))

    def add(self, tensor: Tensor, scale: float) -> None:
        values = (tensor.detach().double() * scale).abs()
        values = values[(values > 0) & torch.isfinite(values)]
        exponents = torch.frexp(values).exponent.long() + _ZERO
        self.by_exponent += torch.bincount(exponents, minlength=2 * _ZERO).cpu()

    @property
    def total(self) -> int:
        return int(self.by_exponent.sum())

    def share_below(self, power: int) -> float:
        """Share of entries under 2^power."""
        return int(self.by_exponent[: max(power + _ZERO + 1, 0)].sum()) / max(self.total, 1)

    @property
    def ends(self) -> tuple[int, int]:
        """Powers of two below the smallest and above the largest."""
        places = self.by_exponent.nonzero()
        if len(places) == 0:
            return 0, 0
        return int(places[0]) - _ZERO - 1, int(places[-1]) - _ZERO


def underflow(problem: Problem, dtype: torch.dtype = torch.float16) -> Underflow:
    """Which share of the gradients a half-precision format rounds to zero.

        |g| < 2^-25 becomes 0 in float16, |g| < 2^-14 has fewer digits, |g| ≥ 65520 overflows

    The gradients are computed in the precision that the problem has, of what every layer returns
    and of every parameter. Those of the layers are as large as in a minibatch of
    `problem.batch_size` samples, if that is given: the mean of the loss divides by its size.

    Args:
        problem: the network in float32 or float64.
        dtype: `torch.float16` or `torch.bfloat16`.

    Raises:
        NonFiniteError: if the loss is not finite.

    Cost: 4/3 gradients, as of `Pass.of`.

    Source: Micikevicius et al. 2018, "Mixed precision training", §3.2: half of an SSD's gradient
    entries are lost in float16, and a scale of 8 saves the training.

    Example:
        >>> import torch, thalweg
        >>> from torch import nn
        >>> model = nn.Linear(2, 1)
        >>> problem = thalweg.Problem(model, lambda out: 1e-8 * out.mean(), torch.ones(4, 2))
        >>> found = underflow(problem)
        >>> found.flushed, found.loss_scale, found.flushed_after
        (1.0, 16.0, 0.0)
    """
    problem.ranks.refuse("underflow(problem)")
    problem.check()
    params, reduction = problem.parameters, problem.reduction
    layers: dict[str, _Counts] = {}
    per_minibatch = problem.num_samples / problem.batch_size if problem.batch_size else 1.0
    with reading():
        totals = {name: torch.zeros_like(p) for name, p in params.items()}
        counts_of_terms = []
        for batch in problem.batches:
            with torch.no_grad():
                output = problem.forward(params, batch).output
            counts_of_terms.append(reduction.count(batch, output))
        weights = reduction.weights(counts_of_terms)
        for batch, weight in zip(problem.batches, weights, strict=True):
            leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
            handles = [
                module.register_forward_hook(_counting(name, layers, per_minibatch))
                for name, module in problem.shadow.named_modules()
                if not any(True for _ in module.children())
            ]
            try:
                loss = problem.forward(leaves, batch).loss
            finally:
                for handle in handles:
                    handle.remove()
            gradients = torch.autograd.grad(
                weight * loss, tuple(leaves.values()), materialize_grads=True, allow_unused=True
            )
            for name, gradient in zip(leaves, gradients, strict=True):
                totals[name] += gradient
    counts = [(name, False, found) for name, found in layers.items()]
    for name, total in totals.items():
        own = _Counts()
        own.add(total, 1.0)
        counts.append((name, True, own))
    return _sorted(counts, dtype)


def _counting(name: str, layers: dict[str, _Counts], scale: float) -> Callable[..., None]:
    """A hook that counts the gradient of what a module returns, once that is known."""
    counts = layers.setdefault(name, _Counts())

    def hook(_: nn.Module, __: Any, output: Any) -> None:
        for tensor in tensors_in(output):
            if tensor.requires_grad:
                tensor.register_hook(lambda g: counts.add(g, scale))

    return hook


def _sorted(counts: list[tuple[str, bool, _Counts]], dtype: torch.dtype) -> Underflow:
    info = torch.finfo(dtype)
    normal = round(log2(info.smallest_normal))
    # Half of the smallest subnormal number rounds to zero.
    flush = normal + round(log2(info.eps)) - 1
    over = frexp(info.max)[1]
    together = _Counts(sum((c.by_exponent for _, _, c in counts), torch.zeros(2 * _ZERO).long()))
    rows = []
    for name, is_parameter, found in counts:
        low, high = found.ends
        lost = found.share_below(flush)
        rows.append(
            LayerUnderflow(
                name, is_parameter, lost, found.share_below(normal) - lost, 2.0**low, 2.0**high
            )
        )
    room = max(over - together.ends[1], 0) if together.total else 0
    wanted = next((k for k in range(200) if together.share_below(flush - k) <= ALLOWED), 200)
    power = min(wanted, room)
    lost = together.share_below(flush)
    return Underflow(
        dtype=dtype,
        rows=tuple(rows),
        flushed=lost,
        subnormal=together.share_below(normal) - lost,
        loss_scale=2.0**power,
        flushed_after=together.share_below(flush - power),
        largest_scale=2.0**room if together.total else inf,
    )
