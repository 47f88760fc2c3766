"""Whether a network can be trained from where it stands, read before a single step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from thalweg.signal._depth import DepthRow, Signal

STARVED = 1e-3
"""A layer whose weights get less than this share of the last layer's gradient learns nothing."""

LIVE = 0.1
"""Fewer slopes than this share, and next to nothing moves. Saturation slows long before."""


@dataclass(frozen=True)
class Trainability:
    """Two ways in which an initialisation fails, each as a share that is left.

    Args:
        gradient_share: the smallest ‖∂L/∂W‖ of a layer over that of the last one. In a network
            whose signal dies it falls by √χ a layer.
        starved_layer: the layer of that.
        live_share: mean over activations of the share of slopes above 1 % of the steepest. In a
            network whose signal is blown up, units sit where they cannot move.
        factor: of the gradient's norm per layer, measured; None where it has no trend.
        score: min(1, gradient share / 1e-3) · live share: initialisations of one network rank by
            it.
    """

    gradient_share: float
    starved_layer: str
    live_share: float
    factor: float | None
    score: float

    @property
    def can_train(self) -> bool:
        """Whether gradients reach every layer, and a share of the units can move."""
        return self.gradient_share >= STARVED and self.live_share >= LIVE

    @classmethod
    def of(cls, signal: Signal) -> Trainability:
        """Reads it off a signal. Cost: nothing further.

        Source: the threshold of 1e-3 between the gradients of the first and the last layer is
        that of AUTOTRAINER (Zhang et al. 2021) for vanishing ones; that saturated sigmoid units
        stop learning is Glorot and Bengio 2010, §3.1. That their product ranks initialisations is
        ours; `python -m benchmarks.sparse_initialisation` holds it against published errors.

        Example:
            >>> import thalweg
            >>> from thalweg.problems import relu_digits, vanishing_tanh_digits
            >>> problems = relu_digits(), vanishing_tanh_digits()
            >>> signals = [Signal.of(thalweg.Pass.of(problem)) for problem in problems]
            >>> [Trainability.of(signal).can_train for signal in signals]
            [True, False]
        """
        rows = signal.rows
        last = rows[-1].weight_gradient_norm if rows else 0.0
        starved = min(rows, key=lambda row: row.weight_gradient_norm, default=None)
        share = starved.weight_gradient_norm / last if starved and last > 0 else 0.0
        live = fmean(_live(rows) or [1.0])
        return cls(
            gradient_share=share,
            starved_layer=starved.name if starved else "",
            live_share=live,
            factor=signal.gradient.factor if signal.gradient else None,
            score=min(1.0, share / STARVED) * live,
        )


def _live(rows: Sequence[DepthRow]) -> list[float]:
    return [1 - row.saturated for row in rows if row.activation]
