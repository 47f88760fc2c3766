"""The hooks that watch a network run, and the sums they keep over batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from thalweg._batch import Batch, num_samples, tensors_in
from thalweg.passes._activation import SATURATED_BELOW, Function, max_slope, slope
from thalweg.passes._expression import Expression, Expressions, Identity, identity


@dataclass
class _Mean:
    """A running mean of squares."""

    total: float = 0.0
    count: int = 0

    def add(self, tensor: Tensor) -> None:
        self.total += float(tensor.detach().double().square().sum())
        self.count += tensor.numel()

    @property
    def value(self) -> float:
        return self.total / max(self.count, 1)


@dataclass
class _Layer:
    name: str
    module: nn.Module
    num_units: int
    is_chained: bool = True
    inputs: _Mean = field(default_factory=_Mean)
    outputs: _Mean = field(default_factory=_Mean)
    gradients: _Mean = field(default_factory=_Mean)


@dataclass
class _Activation:
    name: str
    function_name: str
    function: Function
    layer: int
    is_chained: bool
    steepest: float
    always_flat: Tensor
    slopes: _Mean = field(default_factory=_Mean)
    flat: int = 0
    count: int = 0


class Recorder:
    """Sums over batches of what every layer and activation of a network saw.

    Args:
        model: the modules to watch; hooks are there only inside `recording`.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._names = {module: name for name, module in model.named_modules()}
        self._layers: dict[str, _Layer] = {}
        self._activations: dict[str, _Activation] = {}
        self._gradients: dict[str, Tensor] = {}
        self._running: list[str] = []
        self._calls: dict[str, int] = {}
        self._order: list[str] = []
        self._last_output: Identity = _NOWHERE
        self._expressions = Expressions()

    @contextmanager
    def recording(self, batch: Batch) -> Iterator[None]:
        """Watches one forward and backward pass of one batch."""
        self._calls, self._order, self._running = {}, [], []
        self._inputs = {identity(tensor) for tensor in tensors_in(batch)}
        self._last_output, self._expressions = _NOWHERE, Expressions()
        self._outputs: dict[Identity, int] = {}
        self._settled: dict[Expression, bool] = {}
        self._is_looking = False
        self._num_samples = num_samples(batch)
        handles: list[Any] = []
        for module in self._names:
            handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
            handles.append(module.register_forward_hook(self._leave, with_kwargs=True))
        try:
            with _Watch(self._called):
                yield
        finally:
            for handle in handles:
                handle.remove()
            self._expressions = Expressions()

    def add_gradients(self, gradients: dict[str, Tensor]) -> None:
        """Adds one batch's share of ∂L/∂W."""
        for name, gradient in gradients.items():
            self._gradients[name] = self._gradients.get(name, torch.zeros_like(gradient)) + gradient

    # -- hooks ------------------------------------------------------------------------------

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if _has_own_parameters(module):
            with self._looking():
                for tensor in tensors_in((args, kwargs)):
                    self._settle(tensor)
        self._running.append(self._names[module])

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        name = self._running.pop()
        with self._looking():
            self._left(name, module, (args, kwargs), output)

    def _left(self, name: str, module: nn.Module, given: Any, output: Any) -> None:
        outputs = [t for t in tensors_in(output) if t.is_floating_point()]
        if not self._running:  # nothing takes what the model itself returns
            for tensor in outputs:
                self._settle(tensor)
        if not outputs or not _has_own_parameters(module):
            return
        inputs = [t for t in tensors_in(given) if t.is_floating_point()]
        z = outputs[0]
        key = self._numbered(name)
        layer = self._layers.get(key)
        if layer is None:
            units = z.numel() // max(self._num_samples, 1)
            layer = self._layers[key] = _Layer(key, module, units)
        for tensor in inputs[:1]:
            layer.inputs.add(tensor)
            layer.is_chained &= self._comes_from_before(tensor)
        layer.outputs.add(z)
        if z.requires_grad:
            z.register_hook(layer.gradients.add)
        self._order.append(key)
        self._last_output = identity(z)
        self._outputs[self._last_output] = len(self._order) - 1
        self._expressions.forget(z)

    def _comes_from_before(self, tensor: Tensor) -> bool:
        """Whether it is what the last layer returned (the data, at first), or φ of that."""
        expression = self._expressions.of(tensor)
        if expression is not None and not self._settled.get(expression, False):
            return False
        place = expression.root_identity if expression else identity(tensor)
        return place == self._last_output if self._order else place in self._inputs

    def _called(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        # Outside the model it is the loss that calls, not a layer.
        if not self._running or self._is_looking:
            return function(*args, **kwargs)
        result, is_elementwise = self._expressions.run(
            function, args, kwargs, self._running[-1], len(self._order) - 1
        )
        if not is_elementwise:
            taken = tensors_in((args, kwargs))
            places = {t.untyped_storage().data_ptr() for t in taken}
            made = [t for t in tensors_in(result) if t.is_floating_point()]
            # A view or a shape takes nothing.
            if any(t.untyped_storage().data_ptr() not in places for t in made):
                with self._looking():
                    for tensor in taken:
                        self._settle(tensor)
        return result

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """What is computed to look at the network is no part of it."""
        before, self._is_looking = self._is_looking, True
        try:
            yield
        finally:
            self._is_looking = before

    def _settle(self, tensor: Tensor) -> None:
        """What a tensor has become is an activation, if it bends: something takes it now."""
        expression = self._expressions.of(tensor)
        if expression is None or expression in self._settled:
            return
        is_sound = self._settled[expression] = expression.holds()
        is_after_layer = expression.root_identity in self._outputs
        if is_sound and expression.is_activation(is_after_layer):
            self._measure(expression)

    def _measure(self, expression: Expression) -> None:
        function_name, phi = expression.function_name, expression.phi
        key = self._numbered(f"{expression.module}:{function_name}")
        layer = self._outputs.get(expression.root_identity, expression.layer)
        seen = self._activations.get(key)
        steepest = seen.steepest if seen else max_slope(phi)
        slopes = slope(phi, expression.root)
        flat = slopes.abs() < SATURATED_BELOW * steepest
        always = _by_unit(flat, self._has_channels(layer)).all(0)
        if seen is None:
            is_chained = expression.root_identity in self._outputs
            seen = self._activations[key] = _Activation(
                expression.module, function_name, phi, layer, is_chained, steepest, always
            )
        elif seen.always_flat.shape == always.shape:
            seen.always_flat = seen.always_flat & always
        seen.slopes.add(slopes)
        seen.flat += int(flat.sum())
        seen.count += flat.numel()

    def _has_channels(self, layer: int) -> bool:
        """Whether units are the second dimension: after a convolution, normalised or not."""
        modules = [self._layers[key].module for key in self._order[: layer + 1]]
        mixing = (m for m in reversed(modules) if _has_matrix(m))
        return isinstance(next(mixing, None), nn.modules.conv._ConvNd)

    def _numbered(self, name: str) -> str:
        """The name, with #2 at its second call within a pass."""
        self._calls[name] = self._calls.get(name, 0) + 1
        return name if self._calls[name] == 1 else f"{name}#{self._calls[name]}"

    # -- results ----------------------------------------------------------------------------

    def results(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The fields of every LayerPass and ActivationPass, in the order of running."""
        return (
            [self._layer_fields(layer) for layer in self._layers.values()],
            [
                {
                    "name": a.name,
                    "function_name": a.function_name,
                    "function": a.function,
                    "layer": a.layer,
                    "num_units": a.always_flat.numel(),
                    "slope_square": a.slopes.value,
                    "saturated": a.flat / max(a.count, 1),
                    "dead": float(a.always_flat.double().mean()),
                    "is_chained": a.is_chained,
                }
                for a in self._activations.values()
            ],
        )

    def _layer_fields(self, layer: _Layer) -> dict[str, Any]:
        prefix = self._names[layer.module]
        own = {
            f"{prefix}.{name}" if prefix else name: p.detach().double()
            for name, p in layer.module.named_parameters(recurse=False)
        }
        matrices = [p for p in own.values() if p.ndim >= 2]
        biases = [p for name, p in own.items() if p.ndim == 1 and "bias" in name]
        fan_in = matrices[0][0].numel() if matrices else None
        if isinstance(layer.module, nn.Embedding):
            fan_in = None
        return {
            "name": layer.name,
            "kind": type(layer.module).__name__,
            "fan_in": fan_in,
            "num_units": layer.num_units,
            "weight_variance": float(fan_in * matrices[0].square().mean()) if fan_in else None,
            "bias_variance": float(torch.cat(biases).square().mean()) if biases else 0.0,
            "input_square": layer.inputs.value,
            "output_square": layer.outputs.value,
            "gradient_norm": layer.gradients.total**0.5,
            "weight_gradient_norm": _norm([g for n, g in self._gradients.items() if n in own]),
            "weight_norm": _norm([p for n, p in own.items() if n in self._gradients]),
            "is_chained": layer.is_chained,
        }


class _Watch(TorchFunctionMode):
    """Sends every torch function called in Python through a callback."""

    def __init__(self, callback: Callable[..., Any]) -> None:
        super().__init__()
        self._callback = callback

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self._callback(func, args, kwargs or {})


_NOWHERE: Identity = (0, 0, 0)


def _has_own_parameters(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _has_matrix(module: nn.Module) -> bool:
    return any(p.ndim >= 2 for p in module.parameters(recurse=False))


def _norm(tensors: list[Tensor]) -> float:
    return sqrt(sum(float(t.double().square().sum()) for t in tensors))


def _by_unit(flat: Tensor, has_channels: bool) -> Tensor:
    """(samples and places, units): channels after convolutions, the last dimension otherwise."""
    if has_channels and flat.ndim >= 3:
        flat = flat.movedim(1, -1)
    return flat.reshape(-1, flat.shape[-1] if flat.ndim > 1 else 1)
