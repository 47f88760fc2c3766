"""The initialisation that puts a network at the edge of chaos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod, sqrt

import torch
from torch import Tensor, nn

from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg._reading import reading
from thalweg.passes import ActivationPass, Pass
from thalweg.signal._chain import plain_chain
from thalweg.signal._edge import Edge, edge, edge_at, isometric_edge, stable_edge

DRAWN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers whose weights can be drawn anew."""

Draw = Callable[[Tensor, float, torch.Generator], Tensor]
"""From a weight, the standard deviation of its entries and a generator to new entries."""


def gaussian(weight: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """Entries that are independent and normal: W ~ N(0, std²).

    Args:
        weight: what they are for: its shape, dtype and device.
        std: standard deviation of an entry.
        generator: draws them.

    Source: He et al. 2015, "Delving deep into rectifiers", §2.2.

    Example:
        >>> import torch
        >>> W = gaussian(torch.empty(200, 300), 0.1, torch.Generator().manual_seed(0))
        >>> round(float(W.std()), 2)
        0.1
    """
    # Drawn where the generator lives, in float64, so that a seed is the same in every dtype.
    drawn = torch.randn(
        weight.shape, generator=generator, dtype=torch.float64, device=generator.device
    )
    return std * drawn.to(weight)


def orthogonal(weight: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """A matrix with orthonormal rows or columns, scaled to entries of that root mean square.

    Of a convolution the middle of the kernel is such a matrix and the rest is zero, so that the
    whole convolution is an isometry too.

    Args:
        weight: what they are for: its shape, dtype and device.
        std: root mean square of an entry.
        generator: draws them.

    Source: Saxe, McClelland, Ganguli 2014, "Exact solutions to the nonlinear dynamics of learning
    in deep linear neural networks"; Xiao et al. 2018, "Dynamical isometry and a mean field theory
    of CNNs", algorithm 1, for kernels.

    Example:
        >>> import torch
        >>> W = orthogonal(torch.empty(2, 2), 2**-0.5, torch.Generator().manual_seed(0))
        >>> bool(torch.allclose(W @ W.T, torch.eye(2), atol=1e-6))
        True
    """
    fan_out, fan_in, *kernel = weight.shape
    drawn = gaussian(
        torch.empty(max(fan_out, fan_in), min(fan_out, fan_in), dtype=torch.float64), 1.0, generator
    )
    Q, R = torch.linalg.qr(drawn)
    Q = Q * R.diagonal().sign()  # uniform over orthogonal matrices (Mezzadri 2007)
    middle = (Q if fan_out >= fan_in else Q.T) * std * sqrt(prod(kernel) * max(fan_out, fan_in))
    whole = torch.zeros(weight.shape, dtype=torch.float64)
    centre: tuple[slice | int, ...] = (slice(None), slice(None))
    whole[(*centre, *(size // 2 for size in kernel))] = middle
    return whole.to(weight)


@dataclass(frozen=True)
class LayerInitialisation:
    """What one layer is drawn with.

    Args:
        name: the module's name.
        kind: its class.
        fan_in: inputs to a unit: channels times kernel for a convolution.
        activation: the function that feeds it, "" for the data.
        weight_variance: σ_w².
        bias_variance: σ_b².
    """

    name: str
    kind: str
    fan_in: int
    activation: str
    weight_variance: float
    bias_variance: float

    @property
    def weight_std(self) -> float:
        """√(σ_w²/fan_in), the standard deviation of a weight."""
        return sqrt(self.weight_variance / self.fan_in)

    @property
    def bias_std(self) -> float:
        """σ_b, the standard deviation of a bias."""
        return sqrt(self.bias_variance)


@dataclass(frozen=True)
class EdgeInitialisation:
    """Standard deviations, layer by layer, at which gradients keep their size.

    Args:
        layers: those that are drawn anew, in the order of running.
        edges: the edge of each activation, by its name.
        is_isometric: whether the edge was chosen so that orthogonal weights make the whole network
            nearly an isometry; they are then what `applied` draws.
        notes: what was done otherwise, in sentences, and what theory leaves out.
    """

    layers: tuple[LayerInitialisation, ...]
    edges: dict[str, Edge]
    is_isometric: bool
    notes: tuple[str, ...]

    def applied(
        self, problem: Problem, generator: torch.Generator, draw: Draw | None = None
    ) -> Problem:
        """The same problem with a copy of the model, drawn anew.

        Args:
            problem: whose model has the layers; it stays as it is.
            generator: draws the weights and biases.
            draw: `gaussian`, `orthogonal` or a function like them; orthogonal where the edge is
                isometric and gaussian elsewhere if left out.
        """
        draw = draw or (orthogonal if self.is_isometric else gaussian)
        copied = problem.copied()
        with reading(), torch.no_grad():
            for row in self.layers:
                layer = copied.model.get_submodule(row.name)
                weight, bias = layer.get_parameter("weight"), layer._parameters.get("bias")
                weight.copy_(draw(weight, row.weight_std, generator))
                if bias is not None:
                    bias.copy_(gaussian(bias, row.bias_std, generator))
        return copied

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.layers)
        lines = [
            f"{row.name:{width}s}  {row.kind:8s} fan-in {row.fan_in:6d}  weights "
            f"±{row.weight_std:.4g}"
            f"  biases ±{row.bias_std:.4g}  (σ_w² = {row.weight_variance:.4g} after "
            f"{row.activation or 'the data'})"
            for row in self.layers
        ]
        return "\n".join([*lines, *self.notes])


def edge_initialisation(problem: Problem, bias_variance: float | None = None) -> EdgeInitialisation:
    """The standard deviations of weights and biases at which this network is at the edge of chaos.

    A layer fed by an activation φ has σ_w² = 1/E[φ'²] at the length q* that keeps itself; the first
    one brings the data to q*. Where φ allows it (tanh, erf, sine: smooth at 0), q* is the largest
    at which the network, with orthogonal weights, is still nearly an isometry; else the stable
    edge nearest to q* = 1.

    Args:
        problem: the network, whose activations and layers are read, and the data, whose scale is.
        bias_variance: σ_b², to fix it.

    Raises:
        ThalwegError: if no layer can be drawn, an activation has no edge (softplus), or only an
            unstable one at the σ_b² given.

    Cost: a `Pass`, 4/3 gradients.

    Source: `edge`, `stable_edge`, `isometric_edge`. The theory is of plain chains; what it leaves
    out of this network is in `notes`.

    Example:
        >>> import torch, thalweg
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(8, 50), nn.ReLU(), nn.Linear(50, 1))
        >>> data = (torch.ones(5, 8), torch.ones(5, 1))
        >>> found = edge_initialisation(thalweg.Problem(model, nn.functional.mse_loss, data))
        >>> [round(layer.weight_variance, 2) for layer in found.layers]
        [1.0, 2.0]
    """
    passed = Pass.of(problem)
    modules = dict(problem.shadow.named_modules())
    fed = [
        (index, layer, _feeding(index, passed))
        for index, layer in enumerate(passed.layers)
        if isinstance(modules.get(layer.name), DRAWN) and _is_trained(modules[layer.name])
    ]
    if not fed:
        raise ThalwegError(
            "edge_initialisation(problem): no dense or convolutional layer has trainable weights "
            "of its own; there is nothing to draw anew"
        )
    functions = {a.function_name: a for _, _, a in fed if a is not None}
    depth = len(fed)
    edges, is_isometric = _edges(functions, depth, bias_variance)
    rows = []
    for index, layer, feeding in fed:
        at = edges[feeding.function_name] if feeding else None
        biases = at.bias_variance if at else 0.0
        weights = at.weight_variance if at else 0.0
        if at is None:
            following = next((a for a in passed.activations if a.layer == index), None)
            goal = edges.get(following.function_name) if following else None
            # Lengths that would only shrink begin at one.
            length = goal.length if goal and goal.length > 0 else 1.0
            biases = goal.bias_variance if goal else 0.0
            square = layer.input_square
            weights = (length - biases) / square if square > 0 else 1.0
        rows.append(
            LayerInitialisation(
                layer.name,
                layer.kind,
                layer.fan_in or 1,
                feeding.function_name if feeding else "",
                weights,
                biases,
            )
        )
    return EdgeInitialisation(
        tuple(rows), edges, is_isometric, tuple(_notes(passed, edges, [r.name for r in rows]))
    )


def _edges(
    functions: dict[str, ActivationPass], depth: int, bias_variance: float | None
) -> tuple[dict[str, Edge], bool]:
    if bias_variance is not None:
        found = {name: edge(a.function, bias_variance) for name, a in functions.items()}
        for name, at in found.items():
            if not at.is_stable:
                raise ThalwegError(
                    f"edge_initialisation(bias_variance={bias_variance:g}): the edge of {name} is "
                    f"unstable there, lengths leave it by a factor of {at.length_slope:.3g} a "
                    f"layer; leave bias_variance out, and a stable one is chosen"
                )
        return found, False
    try:
        return {n: isometric_edge(a.function, depth) for n, a in functions.items()}, bool(functions)
    except ThalwegError:
        return {n: _near_one(a) for n, a in functions.items()}, False


def _near_one(activation: ActivationPass) -> Edge:
    """The edge at q* = 1 if there is a stable one, else the stable one of least σ_b²."""
    at = edge_at(activation.function, 1.0)
    return at if at is not None and at.is_stable else stable_edge(activation.function)


def _feeding(index: int, passed: Pass) -> ActivationPass | None:
    return next((a for a in passed.activations if a.layer == index - 1), None)


def _is_trained(layer: nn.Module) -> bool:
    """Whether its weight is a parameter of its own, not frozen and not computed from others."""
    weight = layer._parameters.get("weight")
    return weight is not None and weight.requires_grad


def _notes(passed: Pass, edges: dict[str, Edge], drawn: list[str]) -> list[str]:
    notes = []
    for name, at in edges.items():
        if at.bias_variance > 0.1:
            notes.append(
                f"Lengths of {name} are unstable at the edge with small biases; at σ_b² = "
                f"{at.bias_variance:.3g} they come back by {at.length_slope:.3g} a layer."
            )
        if 0 < at.length_slope < 1 and at.length == 0:
            notes.append(f"Lengths of {name} shrink for ever at this edge, only ever slower.")
    mixing = [layer for layer in passed.layers if layer.has_matrix]
    if left := [layer.name for layer in mixing if layer.name not in drawn]:
        notes.append(f"Left as they are: {', '.join(left)}.")
    if not plain_chain(passed):
        notes.append(
            "The network is no plain chain (residuals, normalisation, pooling or branches), so "
            "that theory holds between those places only."
        )
    return notes
