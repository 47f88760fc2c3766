"""Diagonal: each parameter measured by its own curvature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OptimizerError
from thalweg._evaluation import Evaluation
from thalweg._reading import differentiating
from thalweg.optim._metric import Metric
from thalweg.optim._objective import Objective
from thalweg.optim._output_root import output_root
from thalweg.optim._problem_objective import ProblemObjective


class Diagonal(Metric):
    """M = diag(d) + ε d̄ I, d the diagonal of the generalised Gauss–Newton matrix.

    With the square root S of the loss's curvature in the output, ∇²_z L = S Sᵀ, the GGN is
    Σ_k v_k v_kᵀ of the pulled back columns v_k = Jᵀ s_k, one for each sample and column. Signs
    drawn at random turn all of them into one backward pass: E[(Σ_k ±v_k)²] = Σ_k v_k² = d, entry by
    entry.

    Of a loss whose curvature in the output is not known, and of a closure, d is the square of the
    gradient, averaged over readings by `decay`, as in Adam.

    Args:
        damping: ε, a share of the mean d̄ of d over all parameters.
        num_probes: backward passes a reading; the standard error of an entry is about
            d √(2 / num_probes).
        decay: share of the diagonal read before in a new one.

    Cost: a forward pass and `num_probes` backward passes a reading; a multiplication a step.

    Source: Becker and LeCun 1988, "Improving the convergence of back-propagation learning with
    second order methods", for the diagonal GGN as a metric; Hutchinson 1990 for the signs;
    Liu et al. 2023, "Sophia", Algorithm 2, for drawing it in one backward pass, there from sampled
    labels.

    Example:
        >>> import torch
        >>> Diagonal(num_probes=4).said
        'diagonal, not read yet'
    """

    def __init__(self, damping: float = 1e-2, *, num_probes: int = 8, decay: float = 0.0) -> None:
        if not damping > 0:
            raise OptimizerError(
                f"Diagonal(damping={damping}); give a number above 0, such as 1e-2"
            )
        if num_probes < 1:
            raise OptimizerError(f"Diagonal(num_probes={num_probes}); give at least 1")
        if not 0 <= decay < 1:
            raise OptimizerError(f"Diagonal(decay={decay}); give a number from 0 to below 1")
        self.damping = damping
        self.num_probes = num_probes
        self.decay = decay
        self._params: list[Tensor] = []
        self._diagonal: Tensor | None = None
        self._root: Tensor | None = None
        self._cost = 0.0
        self._is_empirical = False

    @property
    def said(self) -> str:
        """The metric in words, with what it does not cover."""
        if self._diagonal is None:
            return "diagonal, not read yet"
        if self._root is None:
            return "identity, the diagonal being zero or not finite"
        return "squares of the gradient" if self._is_empirical else "diagonal of the GGN"

    @property
    def gradients_per_refresh(self) -> float:
        """Of the last reading: ⅓ for the forward pass and ⅔ for each backward pass."""
        return self._cost

    def attach(self, params: Sequence[Tensor]) -> None:
        """Takes the parameters in their flat order."""
        self._params = list(params)
        self._diagonal = self._root = None

    def refresh(self, objective: Objective, generator: torch.Generator) -> None:
        """Pulls random combinations of the output's curvature back to every parameter."""
        n = sum(p.numel() for p in self._params)
        total = self._params[0].new_zeros(n + 1)
        for batch in objective.batches:
            with differentiating():
                evaluation = objective.forward(batch)
                count = objective.count(evaluation, batch)
                total[-1] += count
                for v in self._draws(objective, evaluation, batch, generator):
                    total[:-1] += count * v.square()
        total = objective.ranks.sum(lambda: total, total)
        fresh = total[:-1] / (float(total[-1]) or 1.0)
        if self._diagonal is not None and self.decay:
            fresh = self._diagonal.lerp(fresh, 1 - self.decay)
        self._take(fresh)

    def whitened(self, g: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """M^{-½} g."""
        return g if self._root is None else g / self._root

    def lifted(self, u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """M^{-½} u: this root is symmetric."""
        return self.whitened(u)

    def measured(self, s: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """M^½ s."""
        return s if self._root is None else s * self._root

    def solved(self, v: Float[Tensor, " n"], shift: float) -> Float[Tensor, " n"]:
        """(M + δ)⁻¹ v, without the damping ε.

        Args:
            v: (n,).
            shift: δ > 0 [loss/param²].
        """
        if self._root is None or self._diagonal is None:
            return v / (1 + shift)
        return v / (self._diagonal + shift)

    @property
    def mean(self) -> float:
        """Of the diagonal; 1 where there is none."""
        return 1.0 if self._root is None or self._diagonal is None else float(self._diagonal.mean())

    def state_dict(self) -> dict[str, Any]:
        """The diagonal, before damping."""
        return {} if self._diagonal is None else {"diagonal": self._diagonal}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes it back."""
        self._take(state["diagonal"])

    def _draws(
        self, objective: Objective, evaluation: Evaluation, batch: Any, generator: torch.Generator
    ) -> list[Tensor]:
        """Vectors whose squares add up to the diagonal, in expectation."""
        columns = None
        if isinstance(objective, ProblemObjective):
            columns = output_root(objective.problem, evaluation.logits, batch, generator)
        self._is_empirical = columns is None
        if columns is None:
            self._cost = 1.0
            return [self._pulled(evaluation.loss, None)]
        self._cost = 1 / 3 + 2 / 3 * self.num_probes
        seeds = (_signed(columns, generator) for _ in range(self.num_probes))
        return [self._pulled(evaluation.logits, seed) / self.num_probes**0.5 for seed in seeds]

    def _pulled(self, output: Any, seed: Tensor | None) -> Float[Tensor, " n"]:
        slopes = torch.autograd.grad(
            output, self._params, seed, retain_graph=True, materialize_grads=True
        )
        return torch.cat([slope.detach().reshape(-1) for slope in slopes])

    def _take(self, diagonal: Tensor) -> None:
        self._diagonal = diagonal
        mean = diagonal.mean()
        is_usable = bool(torch.isfinite(mean)) and float(mean) > torch.finfo(mean.dtype).tiny
        self._root = (diagonal + self.damping * mean).sqrt() if is_usable else None


def _signed(columns: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """Σ_c ±s_c, with a sign of its own for each sample and column."""
    found = torch.zeros_like(columns[0])
    for column in columns:
        signs = 2 * torch.randint(2, (len(column),), generator=generator) - 1
        found += column * signs.to(column).view(-1, *[1] * (column.ndim - 1))
    return found
