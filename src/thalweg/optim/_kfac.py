"""K-FAC as a metric: each layer's curvature as the product of two small matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._errors import OptimizerError
from thalweg._problem import Evaluation
from thalweg._reading import differentiating, unwrapped
from thalweg.optim._kronecker import Kronecker
from thalweg.optim._metric import Metric
from thalweg.optim._objective import Objective, ProblemObjective
from thalweg.optim._output_root import output_root

DAMPING = {torch.float64: 1e-6}
"""ε by dtype; 1e-2 in those with fewer digits."""


@dataclass
class _Layer:
    """A layer that K-FAC knows, and where its parameters lie in the flat vector."""

    name: str
    module: nn.Module
    weight: slice
    bias: slice | None
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


class KFAC(Metric):
    """M = ⊕ A_l ⊗ G_l: for each layer A = E[a aᵀ] of its inputs and G of its output gradients.

    The block of a layer z = W a is approximated as E[a aᵀ] ⊗ E[∂z ∂zᵀ], where ∂zᵀ∂z is the
    generalised Gauss–Newton matrix of the mean loss in z. Both are damped relative to their mean
    eigenvalue, A + ε (tr A / dim A) I, so that M has no scale of its own.

    Linear layers (every position of a sequence is a sample) and convolutions of one group are
    known; of all other parameters M is the identity at the mean scale of the known blocks. Tied
    layers and layers that run several times add up. For cross-entropy and squares of up to 16
    outputs G is exact; of more outputs and of binary cross-entropy it is drawn once, unbiased; of
    other losses, and of a closure, it is that of the gradients themselves (the empirical Fisher).

    Args:
        model: whose layers are watched, by hooks that are there while the metric is read.
        damping: ε; 1e-2, and 1e-6 for float64, when left out.
        decay: share of the factors read before in new ones, for minibatches.

    Cost: a forward pass and one backward pass for each output up to 16; an eigendecomposition of
    each factor. `whitened` takes two products of matrices a layer.

    Source: Martens and Grosse 2015, "Optimizing neural networks with Kronecker-factored approximate
    curvature", §3; Grosse and Martens 2016 for convolutions; the damping relative to the factors
    and the exact G are ours.

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
        self._layers: list[_Layer] = []
        self._rest: list[str] = []
        self._params: list[Tensor] = []
        self._factors: dict[str, Tensor] = {}
        self._blocks: list[tuple[_Layer, Kronecker]] = []
        self._scale = 1.0
        self._cost = 0.0
        self._is_empirical = False

    @property
    def said(self) -> str:
        """The metric in words, with what it does not cover."""
        if not self._factors:
            return "K-FAC, not read yet"
        parts = [f"K-FAC of {len(self._blocks)} layers"]
        if self._is_empirical:
            parts.append("from the gradients, the loss being unknown")
        dead = [layer.name for layer in self._layers if not self._is_alive(layer)]
        if lost := [*self._rest, *dead]:
            parts.append(f"identity for {', '.join(lost[:5])}{' …' if len(lost) > 5 else ''}")
        return ", ".join(parts)

    @property
    def gradients_per_refresh(self) -> float:
        """Of the last reading: ⅓ for the forward pass and ⅔ for each backward pass."""
        return self._cost

    def attach(self, params: Sequence[Tensor]) -> None:
        """Finds the layers that the parameters belong to."""
        self._params = list(params)
        places, offset = {}, 0
        for p in params:
            places[id(p)] = slice(offset, offset + p.numel())
            offset += p.numel()
        self._layers, found = [], set()
        for name, module in unwrapped(self.model).named_modules():
            if not _is_known(module) or id(module.weight) not in places:
                continue
            if id(module.weight) in found:
                continue  # tied: its first owner's block stands for all uses
            bias = module.bias
            place = places.get(id(bias)) if bias is not None else None
            found |= {id(module.weight)} | ({id(bias)} if place else set())
            self._layers.append(_Layer(name, module, places[id(module.weight)], place))
        self._rest = self._named(places, found)
        self._factors, self._blocks = {}, []

    def refresh(self, objective: Objective, generator: torch.Generator) -> None:
        """Watches one forward pass, and pulls the output's curvature back to every layer."""
        factors = {
            key: torch.zeros(size, size, dtype=self._params[0].dtype, device=self._params[0].device)
            for key, size in self._sizes()
        }
        total = 0.0
        for batch in objective.batches:
            with differentiating(), ExitStack() as stack:
                for layer in self._layers:
                    layer.inputs, layer.outputs = [], []
                    stack.callback(layer.module.register_forward_hook(_watching(layer)).remove)
                evaluation = objective.forward(batch)
                stack.close()
                weight = objective.count(evaluation, batch)
                total += weight
                self._add(factors, weight, objective, evaluation, batch, generator)
        for layer in self._layers:
            layer.inputs, layer.outputs = [], []
        # One sum over all processes, the number of loss terms with it.
        parts = [*factors.values(), self._params[0].new_tensor([total])]
        flat = torch.cat([part.detach().reshape(-1) for part in parts])
        flat = objective.ranks.sum(lambda: flat, flat)
        *sums, terms = flat.split([part.numel() for part in parts])
        scale = float(terms) or 1.0
        fresh = {k: (s / scale).view_as(factors[k]) for k, s in zip(factors, sums, strict=True)}
        if self._factors and self.decay:
            fresh = {k: old.lerp(fresh[k], 1 - self.decay) for k, old in self._factors.items()}
        self._take(fresh)

    def whitened(self, v: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """M^{-½} v."""
        return self._applied(v, is_inverse=True)

    def unwhitened(self, v: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """M^½ v."""
        return self._applied(v, is_inverse=False)

    def state_dict(self) -> dict[str, Any]:
        """The factors, before damping."""
        return dict(self._factors)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes them back, and their roots again."""
        self._take(dict(state))

    # -- how it is done ---------------------------------------------------------------------

    def _sizes(self) -> Iterator[tuple[str, int]]:
        for number, layer in enumerate(self._layers):
            rows, columns = _shape(layer)
            yield f"{number}.A", columns
            yield f"{number}.G", rows

    def _add(
        self,
        factors: dict[str, Tensor],
        weight: float,
        objective: Objective,
        evaluation: Evaluation,
        batch: Any,
        generator: torch.Generator,
    ) -> None:
        """Adds the factors of a batch, times its weight."""
        outputs = [z for layer in self._layers for z in layer.outputs]
        if not outputs:
            return
        seeds = None
        if isinstance(objective, ProblemObjective):
            seeds = output_root(objective.problem, evaluation.logits, batch, generator)
        self._is_empirical = seeds is None
        pulled: list[tuple[Tensor, Tensor | None]]
        if seeds is None:
            # The gradient of a mean over N is 1/N of each sample's, whose squares are averaged.
            pulled = [(evaluation.loss * sqrt(_num_rows(self._layers)), None)]
        else:
            pulled = [(evaluation.logits, seed) for seed in seeds]
        self._cost = 1 / 3
        for layer_number, layer in enumerate(self._layers):
            samples = sum(_rows(z, layer).shape[0] for z in layer.outputs)
            for a in layer.inputs:
                rows = _patches(a, layer)
                factors[f"{layer_number}.A"] += weight / max(samples, 1) * (rows.T @ rows)
        for source, seed in pulled:
            self._cost += 2 / 3
            slopes = torch.autograd.grad(
                source, outputs, seed, retain_graph=True, allow_unused=True
            )
            remaining = list(slopes)
            for layer_number, layer in enumerate(self._layers):
                for _ in layer.outputs:
                    slope = remaining.pop(0)
                    if slope is not None:
                        rows = _rows(slope, layer)
                        factors[f"{layer_number}.G"] += weight * (rows.T @ rows)

    def _take(self, factors: dict[str, Tensor]) -> None:
        self._factors = factors
        self._blocks, scales = [], []
        for number, layer in enumerate(self._layers):
            A, G = factors[f"{number}.A"], factors[f"{number}.G"]
            if self._is_alive(layer):
                eps = self.damping or DAMPING.get(A.dtype, 1e-2)
                self._blocks.append((layer, Kronecker.of(A, G, eps)))
                scales.append(float(A.diagonal().mean() * G.diagonal().mean()))
        self._scale = (sum(scales) / len(scales)) ** 0.5 if scales else 1.0

    def _is_alive(self, layer: _Layer) -> bool:
        number = self._layers.index(layer)
        traces = [self._factors[f"{number}.{k}"].diagonal().sum() for k in "AG"]
        tiny = torch.finfo(traces[0].dtype).tiny ** 0.5
        return all(bool(torch.isfinite(t)) and float(t) > tiny for t in traces)

    def _applied(self, v: Float[Tensor, " n"], *, is_inverse: bool) -> Float[Tensor, " n"]:
        if not self._factors:
            return v
        result = v / self._scale if is_inverse else v * self._scale
        for layer, block in self._blocks:
            W = v[layer.weight].view(block.rows, -1)
            if layer.bias is None:
                result[layer.weight] = block.applied(W, is_inverse).reshape(-1)
            else:
                W = block.applied(torch.cat([W, v[layer.bias, None]], 1), is_inverse)
                result[layer.weight] = W[:, :-1].reshape(-1)
                result[layer.bias] = W[:, -1]
        return result

    def _named(self, places: dict[int, slice], found: set[int]) -> list[str]:
        names = {id(p): name for name, p in unwrapped(self.model).named_parameters()}
        return [names.get(i, "a parameter outside the model") for i in places if i not in found]


def _is_known(module: nn.Module) -> bool:
    if isinstance(module, nn.Linear):
        return True
    is_plain = isinstance(module, nn.Conv1d | nn.Conv2d) and module.groups == 1
    return is_plain and module.padding_mode == "zeros"


def _shape(layer: _Layer) -> tuple[int, int]:
    weight: Any = layer.module.weight
    return weight.shape[0], weight[0].numel() + (layer.bias is not None)


def _watching(layer: _Layer) -> Any:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.requires_grad:
            layer.inputs.append(inputs[0].detach())
            layer.outputs.append(output)

    return hook


def _rows(z: Tensor, layer: _Layer) -> Tensor:
    """An output, or its gradient, as one row for each position."""
    if isinstance(layer.module, nn.Linear):
        return z.detach().reshape(-1, z.shape[-1])
    return z.detach().movedim(1, -1).reshape(-1, z.shape[1])


def _patches(a: Tensor, layer: _Layer) -> Tensor:
    """An input as one row for each position of the output, with a 1 for the bias."""
    module = layer.module
    if isinstance(module, nn.Linear):
        rows = a.reshape(-1, a.shape[-1])
    else:
        assert isinstance(module, nn.Conv1d | nn.Conv2d)
        rows = _unfolded(a, module)
    return rows if layer.bias is None else torch.cat([rows, torch.ones_like(rows[:, :1])], 1)


def _unfolded(a: Tensor, module: nn.Conv1d | nn.Conv2d) -> Tensor:
    """The patch under the kernel at every position."""
    kernel, stride, dilation = module.kernel_size, module.stride, module.dilation
    if isinstance(module, nn.Conv1d):
        a, kernel, stride, dilation = a.unsqueeze(-2), (1, *kernel), (1, *stride), (1, *dilation)
    # As the layer itself pads: F.pad wants the last dimension first.
    around = module._reversed_padding_repeated_twice
    a = F.pad(a, tuple(around))
    return F.unfold(a, kernel, dilation, 0, stride).movedim(1, -1).flatten(0, 1)


def _num_rows(layers: Sequence[_Layer]) -> int:
    return max((len(_rows(z, layer)) for layer in layers for z in layer.outputs), default=1)
