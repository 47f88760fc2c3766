"""Modules that mix samples or draw at random, held as they are in one training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from thalweg._batch import Batch
from thalweg._errors import ProblemError

_SELU_FLOOR = -1.7580993408473766
"""−λα of SELU: what alpha dropout puts in the place of a dropped unit."""


# -- batch statistics -----------------------------------------------------------------------


class _Moments:
    """Number, mean and sum of squared deviations of each channel, merged batch by batch."""

    def __init__(self) -> None:
        self.count, self.num_calls = 0, 0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        rows = x.detach().transpose(0, 1).flatten(1).double()
        count, mean = rows.shape[1], rows.mean(1)
        step, total = mean - self.mean, self.count + count
        # Chan, Golub and LeVeque 1979, "Updating formulae ... for computing sample variances".
        self.squares = (
            self.squares
            + (rows - mean[:, None]).square().sum(1)
            + step.square() * (self.count * count / total)
        )
        self.mean = self.mean + step * (count / total)
        self.count, self.num_calls = total, self.num_calls + 1


def uses_batch_statistics(module: nn.Module) -> bool:
    """Whether a module normalises by the batch that it sees."""
    return isinstance(module, _BatchNorm) and (module.training or module.running_mean is None)


def freeze_statistics(
    model: nn.Module, run: Callable[[Batch], Any], batches: Sequence[Batch]
) -> None:
    """Puts the statistics of all batches together into normalisation layers, as constants.

    Several batches take one pass for each layer, since those after it see what it makes of them.

    Args:
        model: whose layers are changed.
        run: a forward pass of it on a batch.
        batches: the data, at least one.

    Raises:
        ProblemError: if a layer runs more than once in a pass.
    """
    while rest := {n: m for n, m in model.named_modules() if uses_batch_statistics(m)}:
        with _watching(rest) as seen:
            for batch in batches:
                run(batch)
        if not seen:
            return  # layers that never run
        # In the order of running: the first sees what it always will.
        for name, moments in list(seen.items())[: None if len(batches) == 1 else 1]:
            if moments.num_calls > len(batches):
                raise ProblemError(
                    f"module {name!r} ({type(rest[name]).__name__}) runs more than once in a "
                    f"forward pass, each time with other statistics, so that they cannot be held; "
                    f"give each place a module of its own, or read the problem .in_eval_mode()"
                )
            _hold(rest[name], moments)


@contextmanager
def _watching(modules: dict[str, nn.Module]) -> Iterator[dict[str, _Moments]]:
    seen: dict[str, _Moments] = {}

    def record(name: str) -> Callable[..., None]:
        return lambda _, args: seen.setdefault(name, _Moments()).add(args[0])

    handles = [m.register_forward_pre_hook(record(name)) for name, m in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _hold(module: nn.Module, moments: _Moments) -> None:
    assert isinstance(module, _BatchNorm)
    assert isinstance(moments.mean, Tensor)
    like = module.weight if module.affine else moments.mean
    module.running_mean = moments.mean.to(like)
    # Training divides by the number of entries, not by one less.
    module.running_var = torch.as_tensor(moments.squares / moments.count).to(like)
    module.track_running_stats = True
    module.eval()


# -- dropout --------------------------------------------------------------------------------


class HeldDropout(nn.Module):
    """One thinned network: the same units are dropped for every sample and at every call.

    Args:
        kind: the dropout module it stands for.
        seed: of its mask; inputs of another shape have another mask.
    """

    def __init__(self, kind: _DropoutNd, seed: int) -> None:
        super().__init__()
        self.p, self.seed = kind.p, seed
        self.is_alpha = isinstance(kind, nn.AlphaDropout | nn.FeatureAlphaDropout)
        # These drop whole channels: the mask has no extent beyond the first dimension of a sample.
        channels = nn.Dropout1d | nn.Dropout2d | nn.Dropout3d | nn.FeatureAlphaDropout
        self.is_by_channel = isinstance(kind, channels)

    def forward(self, x: Tensor) -> Tensor:
        kept = self._mask(x)
        if not self.is_alpha:
            return x * kept / (1 - self.p) if self.p < 1 else x * 0.0
        # Klambauer et al. 2017, "Self-normalizing neural networks": mean and variance stay.
        p, floor = self.p, _SELU_FLOOR
        if p == 1:
            return x * 0.0
        scale: float = ((1 - p) * (1 + p * floor**2)) ** -0.5
        return scale * torch.where(kept, x, floor) - scale * floor * p

    def _mask(self, x: Tensor) -> Tensor:
        shape = x.shape[1:2] + (1,) * (x.ndim - 2) if self.is_by_channel else x.shape[1:]
        generator = torch.Generator().manual_seed(self.seed)
        kept: Tensor = torch.rand(shape, generator=generator, dtype=torch.float64) >= self.p
        return kept.to(x.device)


def freeze_dropout(model: nn.Module, generator: torch.Generator) -> None:
    """Puts a held dropout in the place of each that is active."""
    held: dict[int, HeldDropout] = {}
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _DropoutNd) and child.training and child.p > 0:
                if id(child) not in held:
                    seed = torch.randint(2**31, (), generator=generator, device=generator.device)
                    held[id(child)] = HeldDropout(child, int(seed))
                setattr(parent, name, held[id(child)])
