"""Pass: what went through every layer of a network, forward and backward, over the whole data."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from thalweg._problem import Problem
from thalweg._reading import reading
from thalweg.passes._activation import Function
from thalweg.passes._recorder import Recorder


@dataclass(frozen=True)
class LayerPass:
    """One layer with parameters of its own, in the order of running.

    Args:
        name: the module's name, with `#2` at its second call.
        kind: the module's class.
        fan_in: inputs to a unit, None where the layer has no weight matrix.
        num_units: outputs of the layer for one sample.
        weight_variance: σ_w² = fan_in · mean(W²), None without a weight matrix.
        bias_variance: σ_b² = mean(b²), 0 without a bias.
        input_square: mean of the squared inputs.
        output_square: mean of the squared outputs: q of mean-field theory.
        gradient_norm: ‖∂L/∂z‖ over all samples and units [loss/output].
        weight_gradient_norm: ‖∂L/∂W‖ of all its own trainable parameters [loss/param].
        weight_norm: ‖W‖ of the same parameters.
        is_chained: whether its input is exactly what the layer or activation before it returned
            (the data, for the first layer): nothing pooled, added or cut off in between.
    """

    name: str
    kind: str
    fan_in: int | None
    num_units: int
    weight_variance: float | None
    bias_variance: float
    input_square: float
    output_square: float
    gradient_norm: float
    weight_gradient_norm: float
    weight_norm: float
    is_chained: bool

    @property
    def has_matrix(self) -> bool:
        """Whether the layer mixes units: dense, convolutional, recurrent; not a normalisation."""
        return self.fan_in is not None


@dataclass(frozen=True)
class ActivationPass:
    """One call of an activation function.

    Args:
        name: the module that it ran in.
        function_name: the torch function, such as "sigmoid"; of several operations that make one φ
            those that bend, such as "sigmoid·mul".
        function: φ as it was called.
        layer: index in `Pass.layers` of the layer that ran before it, −1 where there is none.
        num_units: units (channels for convolutions).
        slope_square: mean of φ'² over samples and units.
        saturated: share of (sample, unit) with |φ'| under 1 % of its maximum.
        dead: share of units that are so on every sample of the data.
        is_chained: whether its input is exactly what that layer returned.
    """

    name: str
    function_name: str
    function: Function
    layer: int
    num_units: int
    slope_square: float
    saturated: float
    dead: float
    is_chained: bool


@dataclass(frozen=True)
class Pass:
    """A forward and backward pass over all batches of a problem, layer by layer.

    Args:
        value: L [loss].
        layers: every layer with parameters, in the order of running.
        activations: every activation function called, in the order of running.
        num_samples: samples read.

    Example:
        >>> import torch, thalweg
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
        >>> data = (torch.ones(5, 3), torch.ones(5, 1))
        >>> problem = thalweg.Problem(model, nn.functional.mse_loss, data)
        >>> [layer.name for layer in Pass.of(problem).layers]
        ['0', '2']
    """

    value: float
    layers: tuple[LayerPass, ...]
    activations: tuple[ActivationPass, ...]
    num_samples: int

    @classmethod
    def of(cls, problem: Problem) -> Pass:
        """Runs the problem once, forward and backward, and records every layer.

        Raises:
            NonFiniteError: if the loss is not finite; names the layer where that was born.

        Cost: 4/3 gradients, a forward pass to weigh the batches and a gradient that is recorded;
        before it `Problem.check`, which is as much again where there is one batch of few samples.
        """
        problem.ranks.refuse("Pass.of(problem)")
        problem.check()
        params = problem.parameters
        reduction = problem.reduction
        with reading():
            counts = []
            for index, batch in enumerate(problem.batches):
                with torch.no_grad():
                    evaluation = problem.forward(params, batch, f"batch {index}")
                counts.append(reduction.count(batch, evaluation.output))
            recorder = Recorder(problem.shadow)
            value = 0.0
            for index, (batch, weight) in enumerate(
                zip(problem.batches, reduction.weights(counts), strict=True)
            ):
                leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
                with recorder.recording(batch):
                    loss = problem.forward(leaves, batch, f"batch {index}").loss
                    gradients = torch.autograd.grad(
                        weight * loss,
                        tuple(leaves.values()),
                        materialize_grads=True,
                        allow_unused=True,
                    )
                recorder.add_gradients(dict(zip(leaves, gradients, strict=True)))
                value += weight * float(loss.detach())
        layers, activations = recorder.results()
        return cls(
            value=value,
            layers=tuple(LayerPass(**layer) for layer in layers),
            activations=tuple(ActivationPass(**activation) for activation in activations),
            num_samples=problem.num_samples,
        )
