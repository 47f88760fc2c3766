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
from thalweg.passes._activation import SATURATED_BELOW, Function, curried, max_slope, name_of, slope


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
        self._last_output: _Identity = (0, 0)

    @contextmanager
    def recording(self, batch: Batch) -> Iterator[None]:
        """Watches one forward and backward pass of one batch."""
        self._calls, self._order, self._running = {}, [], []
        self._inputs = {_identity(tensor) for tensor in tensors_in(batch)}
        self._last_output = (0, 0)
        self._num_samples = num_samples(batch)
        handles: list[Any] = []
        for module in self._names:
            handles.append(module.register_forward_pre_hook(self._enter))
            handles.append(module.register_forward_hook(self._leave, with_kwargs=True))
        try:
            with _Watch(self._activation):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def add_gradients(self, gradients: dict[str, Tensor]) -> None:
        """Adds one batch's share of ∂L/∂W."""
        for name, gradient in gradients.items():
            self._gradients[name] = self._gradients.get(name, torch.zeros_like(gradient)) + gradient

    # -- hooks ------------------------------------------------------------------------------

    def _enter(self, module: nn.Module, _: Any) -> None:
        self._running.append(self._names[module])

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        name = self._running.pop()
        outputs = [t for t in tensors_in(output) if t.is_floating_point()]
        if not outputs or not any(True for _ in module.parameters(recurse=False)):
            return
        inputs = [t for t in tensors_in((args, kwargs)) if t.is_floating_point()]
        z = outputs[0]
        key = self._numbered(name)
        layer = self._layers.get(key)
        if layer is None:
            units = z.numel() // max(self._num_samples, 1)
            layer = self._layers[key] = _Layer(key, module, units)
        for tensor in inputs[:1]:
            layer.inputs.add(tensor)
            known = {self._last_output} if self._order else self._inputs
            layer.is_chained &= _identity(tensor) in known
        layer.outputs.add(z)
        if z.requires_grad:
            z.register_hook(layer.gradients.add)
        self._order.append(key)
        self._last_output = _identity(z)

    def _activation(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        function_name = name_of(function)
        x = args[0] if args else kwargs.get("input")
        # Outside the model it is the loss that calls, not a layer.
        if not (self._running and function_name and isinstance(x, Tensor)):
            return function(*args, **kwargs)
        self._measure(function_name, curried(function, args, kwargs), x)
        result = function(*args, **kwargs)
        self._last_output = _identity(result)
        return result

    def _measure(self, function_name: str, phi: Function, x: Tensor) -> None:
        name = self._running[-1] if self._running else ""
        key = self._numbered(f"{name}:{function_name}")
        layer = len(self._order) - 1
        seen = self._activations.get(key)
        steepest = seen.steepest if seen else max_slope(phi)
        flat = slope(phi, x).abs() < SATURATED_BELOW * steepest
        always = _by_unit(flat, self._is_convolution(layer)).all(0)
        if seen is None:
            is_chained = layer >= 0 and self._last_output == _identity(x)
            seen = self._activations[key] = _Activation(
                name, function_name, phi, layer, is_chained, steepest, always
            )
        elif seen.always_flat.shape == always.shape:
            seen.always_flat = seen.always_flat & always
        seen.flat += int(flat.sum())
        seen.count += flat.numel()

    def _is_convolution(self, layer: int) -> bool:
        return layer >= 0 and isinstance(
            self._layers[self._order[layer]].module, nn.modules.conv._ConvNd
        )

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


_Identity = tuple[int, int]


def _identity(tensor: Tensor) -> _Identity:
    """Where the numbers of a tensor lie, and how many: a reshaped view is the same, a part not."""
    return tensor.untyped_storage().data_ptr(), tensor.numel()


def _norm(tensors: list[Tensor]) -> float:
    return sqrt(sum(float(t.double().square().sum()) for t in tensors))


def _by_unit(flat: Tensor, is_convolution: bool) -> Tensor:
    """(samples and places, units): channels for convolutions, the last dimension otherwise."""
    if is_convolution and flat.ndim >= 3:
        flat = flat.movedim(1, -1)
    return flat.reshape(-1, flat.shape[-1] if flat.ndim > 1 else 1)
