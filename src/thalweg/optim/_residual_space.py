"""ResidualSpace: least squares seen from its residuals, where these are few."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from math import inf, sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._batch import call_of
from thalweg._evaluation import Evaluation
from thalweg._loss import Kind, known_loss
from thalweg._reading import differentiating, unwrapped
from thalweg.optim._cholesky import Cholesky
from thalweg.optim._objective import Objective
from thalweg.optim._problem_objective import ProblemObjective
from thalweg.optim._walk import Proposal, Walk

MAX_RESIDUALS = 512
"""Above this the factorisation of the kernel costs more than a Krylov space."""

NUM_RITZ = 6
"""Dimensions of the Krylov space in which the extreme curvatures are looked for."""


@dataclass(frozen=True)
class Rows:
    """The rows of J that belong to a linear layer W a + b: row i is gᵢ ⊗ (aᵢ, 1).

    Args:
        inputs: a of the sample of each residual (r, columns).
        slopes: g, the slope of each residual by the layer's output (r, rows).
        weight: where W lies in the flat vector; None where it is frozen.
        bias: where b does; None where there is none, or it is frozen.
    """

    inputs: Float[Tensor, "r columns"]
    slopes: Float[Tensor, "r rows"]
    weight: slice | None
    bias: slice | None

    def kernel(self) -> Float[Tensor, "r r"]:
        """J Jᵀ of these parameters: gᵢᵀgⱼ (aᵢᵀaⱼ + 1)."""
        found = self.slopes @ self.slopes.T
        if self.weight is None:
            return found
        inner = self.inputs @ self.inputs.T
        return found.mul_(inner if self.bias is None else inner.add_(1))

    def pull(self, u: Float[Tensor, " r"], into: Float[Tensor, " n"]) -> None:
        """Writes Jᵀu of these parameters into their places."""
        weighed = u[:, None] * self.slopes
        if self.weight is not None:
            into[self.weight] = (weighed.T @ self.inputs).reshape(-1)
        if self.bias is not None:
            into[self.bias] = weighed.sum(0)


@dataclass(frozen=True)
class ResidualSpace:
    """L = ½‖ρ‖² of r residuals ρ = √(2/T) (z − y) with the Jacobian J (r, n), layer by layer.

    The GGN is JᵀJ. For its damped step the kernel K = JJᵀ (r, r) is enough:

        −(JᵀJ + λ)⁻¹ Jᵀρ = −Jᵀ (K + λ)⁻¹ ρ.

    Args:
        residuals: ρ (r,), float64.
        kernel: K (r, r), float64.
        layers: J.
        num_params: n.
        cost: of all this, in gradients.
        cost_of_factor: of a factorisation of K + λ, in gradients.
    """

    residuals: Float[Tensor, " r"]
    kernel: Float[Tensor, "r r"]
    layers: Sequence[Rows]
    num_params: int
    cost: float
    cost_of_factor: float

    @property
    def size(self) -> int:
        """The number r of residuals."""
        return len(self.residuals)

    def pulled(self, u: Float[Tensor, " r"]) -> Float[Tensor, " n"]:
        """Jᵀu."""
        found = self.residuals.new_empty(self.num_params)
        for layer in self.layers:
            layer.pull(u, found)
        return found

    def factor(self, damping: float) -> Cholesky | None:
        """The Cholesky factor of K + λ; None where rounding leaves that indefinite."""
        damped = self.kernel.clone()
        damped.diagonal().add_(damping)
        return Cholesky.of(damped)

    def proposal(
        self, w: Float[Tensor, " r"], moved: Float[Tensor, " r"], like: Tensor
    ) -> Proposal:
        """The step Jᵀw, with slope ρᵀKw and bend ‖Kw‖².

        Args:
            w: (r,).
            moved: K w, by which it moves the residuals in the linear model.
            like: in whose dtype and where the step is.
        """
        step = self.pulled(w).to(like)
        return Proposal(step, float(self.residuals @ moved), float(moved @ moved))

    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest Ritz value of K in the Krylov space of ρ."""
        vectors = self.residuals.new_empty(min(NUM_RITZ, self.size), self.size)
        vectors[0] = self.residuals
        for before, vector in pairwise(vectors):
            torch.mv(self.kernel, before, out=vector)
            vector /= torch.linalg.vector_norm(vector).clamp_min(1e-300)
        Q, _ = torch.linalg.qr(vectors.T)
        found = torch.linalg.eigvalsh(Q.T @ (self.kernel @ Q))
        return float(found[0]), float(found[-1])


def has_residuals(objective: Objective) -> bool:
    """Whether a loss is that of few squares, and all parameters are those of linear layers.

    Args:
        objective: the loss; no pass is run. Of several processes all ask at once.
    """
    if not isinstance(objective, ProblemObjective) or objective.is_negated:
        return False
    known = known_loss(objective.problem.loss)
    if known is None or known.kind is not Kind.SQUARED or known.weight is not None:
        return False
    if known.reduction not in ("mean", "sum"):
        return False
    sizes = [size for own in objective.ranks.gather(lambda: _sizes(objective)) for size in own]
    return 0 < sum(sizes) <= MAX_RESIDUALS and bool(_owners(objective))


def residual_space(walk: Walk) -> ResidualSpace | None:
    """Residuals and their Jacobian where the walk starts; None where it has no such form.

    That is where a layer runs twice or on more than samples, and where samples act on one another,
    as in batch normalisation: Jᵀρ is not the gradient then, which is looked at every time.

    Args:
        walk: of an objective that `has_residuals`.

    Cost: a forward pass, a backward pass for each output of a sample, and the kernel: 2r²
    operations for each row and column of a weight. Several processes gather all rows on each.

    Source: the rows of J after Goodfellow 2015, "Efficient per-example gradient computations"; the
    kernel in the place of the GGN after Ren and Goldfarb 2019, "Efficient subsampled Gauss-Newton
    and natural gradient methods for training neural networks".
    """
    objective = walk.objective
    assert isinstance(objective, ProblemObjective)
    owners = _owners(objective)
    walk.retreat()

    def own() -> list[_Part | None]:
        with objective.leaving_no_trace():
            return [_read(objective, owners, batch) for batch in objective.batches]

    read = [part for share in objective.ranks.gather(own) for part in share]
    parts = [part for part in read if part is not None]
    if len(parts) < len(read):
        return None
    roots = _roots(objective, [part.terms for part in parts])
    layers = []
    for number, (_, weight, bias) in enumerate(owners):
        inputs = torch.cat([part.inputs[number] for part in parts])
        slopes = [root * part.slopes[number] for root, part in zip(roots, parts, strict=True)]
        layers.append(Rows(inputs, torch.cat(slopes), weight, bias))
    residuals = torch.cat([root * p.terms.gaps for root, p in zip(roots, parts, strict=True)])
    kernel = layers[0].kernel()
    for layer in layers[1:]:
        kernel += layer.kernel()
    samples = sum(part.num_samples for part in parts)
    space = ResidualSpace(residuals, kernel, layers, len(walk.start), *_costs(layers, samples))
    walk.gradients_spent += space.cost
    error = torch.linalg.vector_norm(space.pulled(residuals) - walk.gradient.double())
    # Rounding of Jᵀρ is relative to its terms, ‖J‖ ‖ρ‖, which cancel near a minimum.
    terms = (kernel.diagonal().sum() * (residuals @ residuals)).sqrt()
    sound = error <= 1e3 * torch.finfo(walk.gradient.dtype).eps * terms
    return space if bool(sound) else None


def residuals_of(
    objective: ProblemObjective, evaluations: Sequence[Evaluation]
) -> Float[Tensor, " r"]:
    """ρ with L = ½‖ρ‖², in float64; of all processes on each.

    Args:
        objective: of squares.
        evaluations: a forward pass of each batch of this process.
    """

    def own() -> list[_Terms]:
        return [_terms(objective, *p) for p in zip(evaluations, objective.batches, strict=True)]

    terms = [part for share in objective.ranks.gather(own) for part in share]
    roots = _roots(objective, terms)
    return torch.cat([root * part.gaps for root, part in zip(roots, terms, strict=True)])


# -- how it is read -----------------------------------------------------------------------------

Owner = tuple[nn.Linear, slice | None, slice | None]


@dataclass(frozen=True)
class _Terms:
    """The squares of a batch: z − y, in how many terms its mean is, and what it weighs."""

    gaps: Tensor
    size: int
    count: float


@dataclass(frozen=True)
class _Part:
    """One batch: its squares, and inputs and slopes of every layer, a row for each of them."""

    terms: _Terms
    num_samples: int
    inputs: list[Tensor]
    slopes: list[Tensor]


def _sizes(objective: ProblemObjective) -> list[float]:
    """The number of squares of each batch of this process; inf where there is no such number."""
    targets = [call_of(batch, objective.problem.model).target for batch in objective.batches]
    return [t.numel() if isinstance(t, Tensor) and 0 < t.ndim <= 2 else inf for t in targets]


def _owners(objective: ProblemObjective) -> list[Owner]:
    """The linear layers, and where their parameters lie; empty where others have some, too."""
    places, offset = {}, 0
    for p in objective.params:
        places[id(p)] = slice(offset, offset + p.numel())
        offset += p.numel()
    owners: list[Owner] = []
    for module in unwrapped(objective.problem.model).modules():
        if type(module) is nn.Linear:
            bias = None if module.bias is None else places.pop(id(module.bias), None)
            weight = places.pop(id(module.weight), None)
            if weight is not None or bias is not None:
                owners.append((module, weight, bias))
    return [] if places else owners


def _read(objective: ProblemObjective, owners: Sequence[Owner], batch: Any) -> _Part | None:
    seen: dict[int, list[tuple[Tensor, Tensor]]] = {id(module): [] for module, _, _ in owners}

    def watch(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        seen[id(module)].append((given[0].detach(), output))

    with differentiating(), ExitStack() as stack:
        for module, _, _ in owners:
            stack.callback(module.register_forward_hook(watch).remove)
        evaluation = objective.forward(batch)
        z = evaluation.logits
        uses = [use for found in seen.values() for use in found]
        samples = len(z) if isinstance(z, Tensor) and z.ndim else -1
        fits = all(a.ndim == 2 and len(a) == samples for a, _ in uses)
        if not fits or any(len(found) != 1 for found in seen.values()):
            return None
        # Each sample has rows of its own, so one backward pass serves the same output of all.
        columns = z.reshape(samples, -1).unbind(1)
        outputs = [output for _, output in uses]
        by_column = [
            torch.autograd.grad(c.sum(), outputs, retain_graph=True, materialize_grads=True)
            for c in columns
        ]
    inputs = [a.double().repeat_interleave(len(columns), 0) for a, _ in uses]
    slopes = [torch.stack(g, 1).flatten(0, 1).double() for g in zip(*by_column, strict=True)]
    return _Part(_terms(objective, evaluation, batch), samples, inputs, slopes)


def _terms(objective: ProblemObjective, evaluation: Evaluation, batch: Any) -> _Terms:
    z, y = evaluation.logits.detach(), call_of(batch, objective.problem.model).target
    gaps = (z.double() - y).reshape(-1)
    known = known_loss(objective.problem.loss)
    assert known is not None
    size = 1 if known.reduction == "sum" else len(gaps)
    return _Terms(gaps, size, objective.count(evaluation, batch))


def _roots(objective: ProblemObjective, terms: Sequence[_Terms]) -> list[float]:
    """√(2w/T) of each batch: T terms in its mean, w its weight."""
    weights = objective.joined([part.count for part in terms])
    return [sqrt(2 * weight / part.size) for weight, part in zip(weights, terms, strict=True)]


def _costs(layers: Sequence[Rows], num_samples: int) -> tuple[float, float]:
    """Of the space and of a factorisation, in gradients: six operations a weight and sample."""
    r = len(layers[0].inputs)
    sides = [(layer.inputs.shape[1], layer.slopes.shape[1]) for layer in layers]
    gradient = 6.0 * num_samples * sum(rows * columns for rows, columns in sides)
    kernel = 2.0 * r * r * sum(rows + columns for rows, columns in sides)
    passes = 1 / 3 + 2 / 3 * r / num_samples
    return passes + kernel / gradient, r**3 / 3 / gradient
