"""The noise in the gradient, from those of two steps in a row."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from thalweg.monitor._moment import Moment, dot

MEMORY = 0.7
"""Weight of the former readings in the running mean."""


class Noise:
    """tr Σ_B/‖∇L‖²: how much of a gradient's square is chance, of batches as large as they are.

        s = 2 g·g′/(‖g‖² + ‖g′‖²),   noise_to_signal = (1 − s̄)/s̄

    for the gradients of two steps in a row: E g·g′ is the square of the true gradient, and half of
    E‖g‖² + E‖g′‖² that and tr Σ_B. s̄ is a running mean over the readings, the last few of which
    count. Where a step itself changes the gradient, with full batches for one, that counts as
    noise, too: what is read is an upper bound there. It is left out while s̄ is not positive.

    Cost: one copy of the gradient, and three passes over it.

    Source: McCandlish et al. 2018, "An empirical model of large-batch training", app. A, for the
    ratio; they take two batch sizes where we take two steps, and average numerator and denominator
    apart where we, for the scale of gradients falls, average the share.
    """

    name, guess, is_paired, needs_before = "gradient noise", 0.0, True, False

    def __init__(self) -> None:
        self._last: tuple[int, dict[str, Tensor], float] | None = None
        self._share = self._weight = 0.0

    def read(self, moment: Moment) -> Mapping[str, float]:
        """Keeps the gradient of the first step of a pair, and compares it with the second."""
        last, self._last = self._last, None
        is_pair = last is not None and last[0] == moment.step - 1 and not moment.is_glance
        if last is None or not is_pair or not _match(last[1], moment.gradients):
            kept = {name: g.detach().clone() for name, g in moment.gradients.items()}
            if not any(gradient.is_sparse for gradient in kept.values()):
                self._last = (moment.step, kept, moment.clipping)
            return {}
        _, former, factor = last
        a, b = list(former.values()), [moment.gradients[name] for name in former]
        a_square, b_square = dot(a, a) / factor**2, dot(b, b) / moment.clipping**2
        signal = dot(a, b) / (factor * moment.clipping)
        if not 0 < a_square + b_square < float("inf"):
            return {}
        self._share = MEMORY * self._share + (1 - MEMORY) * 2 * signal / (a_square + b_square)
        self._weight = MEMORY * self._weight + 1 - MEMORY
        share = self._share / self._weight
        return {"noise_to_signal": (1 - share) / share} if share > 0 else {}


def _match(former: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> bool:
    """Whether two gradients are of the same parameters, in the same precision."""
    kinds = {name: gradient.dtype for name, gradient in gradients.items()}
    return {name: gradient.dtype for name, gradient in former.items()} == kinds
