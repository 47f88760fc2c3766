"""K-FAC as a metric: each layer's curvature as the product of two small matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._errors import OptimizerError
from thalweg._evaluation import Evaluation
from thalweg._reading import differentiating, unwrapped
from thalweg.optim._kfac_block import Block
from thalweg.optim._kfac_scale import ScaleBlock, is_scale
from thalweg.optim._kfac_stack import Stack, stacked
from thalweg.optim._kfac_weight import WeightBlock, is_weight
from thalweg.optim._kronecker import Turn
from thalweg.optim._metric import Metric
from thalweg.optim._objective import Objective
from thalweg.optim._output_root import MAX_COLUMNS, output_root
from thalweg.optim._problem_objective import ProblemObjective

ENOUGH = 32
"""Samples for each unit of the widest layer from which one random column each is enough: the error
of G is then below a quarter of it in every direction, and its time that of one output."""

ROOT = 5
"""Of n³ multiplications in a product of matrices in float32, the time of one factor's root and its
inverse in float64 (measured: 5 for n = 200, 3 for 400; of small ones the calls)."""

DAMPING = {torch.float64: 1e-6}
"""ε by dtype; 1e-2 in those with fewer digits."""


class KFAC(Metric):
    """M = ⊕ A_l ⊗ G_l: for each layer A = E[a aᵀ] of its inputs and G of its output gradients.

    The block of a layer z = W a is approximated as E[a aᵀ] ⊗ E[∂z ∂zᵀ], where ∂zᵀ∂z is the
    generalised Gauss–Newton matrix of the mean loss in z. Both are damped relative to their mean
    eigenvalue, A + ε (tr A / dim A) I, so that M has no scale of its own.

    Known are linear layers (every position of a sequence is a sample), convolutions in one and two
    dimensions with their groups, embeddings (A is diagonal there, how often each token is picked),
    and scale and shift of normalisations (exact, channel by channel); of all other parameters M is
    the identity at the mean scale of the known blocks. Layers that share a weight, and layers that
    run several times, add up. A side of more than 4,096 units has a diagonal factor.

    For cross-entropy and squares of up to 16 outputs G is exact, unless there are 32 samples for
    each unit of the widest layer; of so many samples, of more outputs and of binary cross-entropy
    it is drawn once for each sample, unbiased; of other losses, and of a closure, it is that of the
    gradients themselves (the empirical Fisher).

    Args:
        model: whose layers are watched, by hooks that are there while the metric is read.
        damping: ε; 1e-2, and 1e-6 for float64, when left out.
        decay: share of the factors read before in new ones, for minibatches.

    Cost: a forward pass and one backward pass for each output up to 16; a Cholesky factor of each
    factor and its inverse. `whitened`, `lifted`, `measured` and `solved` take two products of
    matrices a layer.

    Source: Martens and Grosse 2015, "Optimizing neural networks with Kronecker-factored approximate
    curvature", §3; Grosse and Martens 2016 for convolutions; Botev and Martens 2022, "KFAC-JAX",
    for embeddings and scale and shift; the damping relative to the factors, the exact G and the one
    product for a weight that both picks and multiplies are ours.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(3, 2)
        >>> KFAC(model).said
        'K-FAC, not read yet'
    """

    def __init__(
        self, model: nn.Module, damping: float | None = None, *, decay: float = 0.0
    ) -> None:
        if damping is not None and not damping > 0:
            raise OptimizerError(f"KFAC(damping={damping}); give a number above 0, such as 1e-2")
        if not 0 <= decay < 1:
            raise OptimizerError(f"KFAC(decay={decay}); give a number from 0 to below 1")
        self.model = model
        self.damping = damping
        self.decay = decay
        self._layers: list[Block] = []
        self._rest: list[str] = []
        self._params: list[Tensor] = []
        self._factors: dict[str, Tensor] = {}
        self._blocks: list[Block] = []
        self._scale = self._mean = 1.0
        self._stacks: list[Stack] = []
        self._alone: list[Block] = []
        self._cost = self._cost_of_roots = 0.0
        self._is_empirical = False

    @property
    def said(self) -> str:
        """The metric in words, with what it does not cover."""
        if not self._factors:
            return "K-FAC, not read yet"
        parts = [f"K-FAC of {len(self._blocks)} layers"]
        if self._is_empirical:
            parts.append("from the gradients, the loss being unknown")
        dead = [layer.name for layer in self._layers if layer not in self._blocks]
        if lost := [*self._rest, *dead]:
            parts.append(f"identity for {', '.join(lost[:5])}{' …' if len(lost) > 5 else ''}")
        return ", ".join(parts)

    @property
    def gradients_per_refresh(self) -> float:
        """Of the last reading: ⅓ for the forward pass and ⅔ for each backward pass."""
        return self._cost

    @property
    def gradients_per_root(self) -> float:
        """Of the Cholesky factors of all factors that were read last."""
        return self._cost_of_roots

    def attach(self, params: Sequence[Tensor]) -> None:
        """Finds the layers that the parameters belong to."""
        self._params = list(params)
        places, offset = {}, 0
        for p in params:
            places[id(p)] = slice(offset, offset + p.numel())
            offset += p.numel()
        owners: dict[int, list[tuple[str, nn.Module]]] = {}
        for name, module in unwrapped(self.model).named_modules():
            if (is_weight(module) or is_scale(module)) and id(module.weight) in places:
                owners.setdefault(id(module.weight), []).append((name, module))
        self._layers, found = [], set()
        for weight, uses in owners.items():
            kind = WeightBlock if is_weight(uses[0][1]) else ScaleBlock
            biases = {id(b) for _, m in uses if (b := getattr(m, "bias", None)) is not None}
            own = [places[weight], *(places[b] for b in biases & set(places))][:2]
            found |= {weight} | (biases & set(places) if len(biases) == 1 else set())
            own = own if len(biases) == 1 else own[:1]
            self._layers.append(kind(uses[0][0], [module for _, module in uses], own))
        self._rest = self._named(places, found)
        self._factors, self._blocks = {}, []

    def refresh(self, objective: Objective, generator: torch.Generator) -> None:
        """Watches one forward pass, and pulls the output's curvature back to every layer."""
        like = self._params[0]
        factors = {key: like.new_zeros(shape) for key, shape in self._shapes()}
        total = samples = 0.0
        for batch in objective.batches:
            with differentiating(), ExitStack() as stack:
                for layer in self._layers:
                    layer.uses = []
                    for module in layer.modules:
                        stack.callback(module.register_forward_hook(layer.watch).remove)
                evaluation = objective.forward(batch)
                stack.close()
                weight = objective.count(evaluation, batch)
                total += weight
                samples += _num_samples(evaluation)
                self._add(factors, weight, objective, evaluation, batch, generator)
        for layer in self._layers:
            layer.uses = []
        # One sum over all processes, with it the number of loss terms, and what decides when the
        # metric is read next, which has to be the same on all.
        parts = [*factors.values(), like.new_tensor([total, samples, self._cost, 1.0])]
        flat = torch.cat([part.detach().reshape(-1) for part in parts])
        flat = objective.ranks.sum(lambda: flat, flat)
        *sums, counts = flat.split([part.numel() for part in parts])
        total, samples, cost, processes = counts.tolist()
        scale = total or 1.0
        self._cost = cost / processes
        self._cost_of_roots = self._roots() / max(3 * samples * len(flat), 1.0)
        fresh = {k: (s / scale).view_as(factors[k]) for k, s in zip(factors, sums, strict=True)}
        if self._factors and self.decay:
            fresh = {k: old.lerp(fresh[k], 1 - self.decay) for k, old in self._factors.items()}
        self._take(fresh)

    def whitened(self, g: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """L⁻¹ g."""
        return self._applied(g, Turn.WHITEN)

    def lifted(self, u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """L⁻ᵀ u."""
        return self._applied(u, Turn.LIFT)

    def measured(self, s: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Lᵀ s."""
        return self._applied(s, Turn.MEASURE)

    @property
    def mean(self) -> float:
        """Of the diagonals of all known blocks; 1 where there are none."""
        return self._mean

    def solved(self, v: Float[Tensor, " n"], shift: float) -> Float[Tensor, " n"]:
        """(M + δ)⁻¹ v by factored damping, without ε: see `KroneckerInverse`.

        Args:
            v: (n,).
            shift: δ > 0 [loss/param²].
        """
        rest = self._scale**2 + shift
        return self._by_blocks(v / rest, self._blocks, lambda block: block.solved(v, shift))

    def state_dict(self) -> dict[str, Any]:
        """The factors, before damping."""
        return dict(self._factors)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes them back, and their roots again."""
        self._take(dict(state))

    # -- how it is done ---------------------------------------------------------------------

    def _shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        for number, layer in enumerate(self._layers):
            for key, shape in layer.shapes().items():
                yield f"{number}.{key}", shape

    def _of(self, number: int, factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The factors of one layer, by their own names."""
        return {key: factors[f"{number}.{key}"] for key in self._layers[number].shapes()}

    def _add(
        self,
        factors: dict[str, Tensor],
        share: float,
        objective: Objective,
        evaluation: Evaluation,
        batch: Any,
        generator: torch.Generator,
    ) -> None:
        """Adds the factors of a batch, times its weight."""
        outputs = [use.output for layer in self._layers for use in layer.uses]
        if not outputs:
            self._cost = 1 / 3
            return
        seeds = None
        if isinstance(objective, ProblemObjective):
            z, most = evaluation.logits, self._most(evaluation)
            seeds = output_root(objective.problem, z, batch, generator, most)
        self._is_empirical = seeds is None
        pulled: list[tuple[Tensor, Tensor | None]]
        if seeds is None:
            # The gradient of a mean over N is 1/N of each sample's, whose squares are averaged.
            rows = max(layer.num_rows(use) for layer in self._layers for use in layer.uses)
            pulled = [(evaluation.loss * sqrt(rows), None)]
        else:
            pulled = [(evaluation.logits, seed) for seed in seeds]
        self._cost = 1 / 3
        for number, layer in enumerate(self._layers):
            layer.add_inputs(self._of(number, factors), share)
        for source, seed in pulled:
            self._cost += 2 / 3
            found = torch.autograd.grad(source, outputs, seed, retain_graph=True, allow_unused=True)
            remaining = iter(found)
            for number, layer in enumerate(self._layers):
                slopes = [next(remaining) for _ in layer.uses]
                layer.add_slopes(self._of(number, factors), slopes, share)

    def _most(self, evaluation: Evaluation) -> int:
        """Columns of the output's curvature up to which each is pulled back."""
        widest = max(layer.num_outputs for layer in self._layers)
        return 0 if _num_samples(evaluation) >= ENOUGH * widest else MAX_COLUMNS

    def _roots(self) -> float:
        """What all roots take, in multiplications of a product of matrices."""
        sides = [shape for _, shape in self._shapes() if len(shape) == 3]
        return sum(ROOT * groups * side**3 for groups, side, _ in sides)

    def _take(self, factors: dict[str, Tensor]) -> None:
        self._factors = factors
        self._blocks, scales, traces = [], [], []
        for number, layer in enumerate(self._layers):
            own = self._of(number, factors)
            if layer.is_alive(own):
                damping = self.damping or DAMPING.get(self._params[0].dtype, 1e-2)
                scales.append(layer.take(own, damping))
                traces.append(scales[-1] * layer.num_params)
                self._blocks.append(layer)
        self._stacks, self._alone = stacked(self._blocks)
        known = sum(block.num_params for block in self._blocks)
        self._mean = sum(traces) / known if known else 1.0
        self._scale = (sum(scales) / len(scales)) ** 0.5 if scales else 1.0

    def _applied(self, v: Float[Tensor, " n"], turn: Turn) -> Float[Tensor, " n"]:
        if not self._factors:
            return v
        rest = v * self._scale if turn is Turn.MEASURE else v / self._scale
        for stack in self._stacks:
            stack.apply(v, rest, turn)
        return self._by_blocks(rest, self._alone, lambda block: block.applied(v, turn))

    def _by_blocks(
        self,
        result: Float[Tensor, " n"],
        blocks: Sequence[Block],
        found: Callable[[Block], Sequence[Tensor]],
    ) -> Float[Tensor, " n"]:
        """Each block's parts put into a result that has the others already."""
        for block in blocks:
            weight, *bias = found(block)
            # Into a view of its shape: what is no vector would be copied into one before.
            result[block.weight].view(weight.shape).copy_(weight)
            if block.bias is not None:
                result[block.bias] = bias[0]
        return result

    def _named(self, places: dict[int, slice], found: set[int]) -> list[str]:
        names = {id(p): name for name, p in unwrapped(self.model).named_parameters()}
        return [names.get(i, "a parameter outside the model") for i in places if i not in found]


def _num_samples(evaluation: Evaluation) -> int:
    z = evaluation.logits
    return len(z) if isinstance(z, Tensor) and z.ndim else 1
