"""Follower: the forward of a module, traced with torch.fx, as steps of a draft."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from thalweg._errors import FormulaError
from thalweg.sheet._convolution import AddChannels, Convolution
from thalweg.sheet._draft import Draft
from thalweg.sheet._elementwise import (
    ABS,
    ADD,
    COS,
    DIVIDE,
    ELU,
    EXP,
    GELU,
    HADAMARD,
    LEAKY_RELU,
    LOG,
    MULTIPLY,
    NEGATE,
    RELU,
    SIGMOID,
    SILU,
    SIN,
    SOFTPLUS,
    SQRT,
    SUBTRACT,
    TANH,
    power_by,
)
from thalweg.sheet._numbers import shown
from thalweg.sheet._operation import Operation
from thalweg.sheet._products import Moved, Product, Shapes
from thalweg.sheet._reductions import LogSoftmax, Mean, Softmax, Sum
from thalweg.symbolic import Label

_ACTIVATIONS: dict[Any, Operation] = {
    nn.Sigmoid: SIGMOID, torch.sigmoid: SIGMOID, F.sigmoid: SIGMOID, "sigmoid": SIGMOID,
    nn.Tanh: TANH, torch.tanh: TANH, F.tanh: TANH, "tanh": TANH,
    nn.ReLU: RELU, torch.relu: RELU, F.relu: RELU, "relu": RELU,
    nn.SiLU: SILU, F.silu: SILU, torch.exp: EXP, "exp": EXP, torch.log: LOG, "log": LOG,
    torch.sqrt: SQRT, "sqrt": SQRT, torch.abs: ABS, "abs": ABS, torch.sin: SIN, "sin": SIN,
    torch.cos: COS, "cos": COS, torch.neg: NEGATE, operator.neg: NEGATE, "neg": NEGATE,
    "sum": Sum(), torch.sum: Sum(), "mean": Mean(), torch.mean: Mean(),
}  # fmt: skip
"""By module, function or method; each takes one tensor and nothing else."""

_ARITHMETIC: dict[Any, Operation] = {
    operator.add: ADD, torch.add: ADD, "add": ADD, operator.sub: SUBTRACT, torch.sub: SUBTRACT,
    operator.mul: MULTIPLY, torch.mul: MULTIPLY, operator.truediv: DIVIDE, torch.div: DIVIDE,
}  # fmt: skip

_MATMUL = (operator.matmul, torch.matmul, torch.mm, torch.mv, "matmul")
_FLATTEN = (torch.flatten, "flatten", "view", "reshape", torch.reshape)

_KNOWN = (
    "Linear, Conv2d, Flatten, Sequential, sigmoid, tanh, ReLU, leaky ReLU, ELU, softplus, SiLU, "
    "GELU, softmax, + - * / @"
)


class Follower:
    """Walks along the traced forward and adds a step or two for each operation."""

    def __init__(self, model: nn.Module, given: Tensor) -> None:
        self.draft = Draft()
        self.given = given
        self.model = model
        self.parameters: dict[str, int] = {}
        self._num_layers = 0
        self._num_used: dict[str, int] = {}
        try:
            traced = fx.symbolic_trace(model)
        except Exception as error:
            raise FormulaError(
                f"the forward of {type(model).__name__} cannot be followed "
                f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); "
                f"write it without branches on values, or give the computation as text"
            ) from error
        self._modules = dict(traced.named_modules())
        self._places: dict[fx.Node, Any] = {}
        self.output = self._run(traced.graph)

    def _run(self, graph: fx.Graph) -> int:
        inputs = [node for node in graph.nodes if node.op == "placeholder"]
        required = [node for node in inputs if not node.args]
        if len(inputs) < 1 or len(required) > 1:
            raise FormulaError(
                f"{type(self.model).__name__}.forward takes {len(required)} inputs; one is read, "
                f"so wrap it in a module of one input, or give the computation as text"
            )
        for node in graph.nodes:
            match node.op:
                case "placeholder":
                    if node is inputs[0]:
                        self._places[node] = self._give("x", self.given, "")
                    else:
                        self._places[node] = node.args[0]
                case "get_attr":
                    self._places[node] = self._parameter(str(node.target))
                case "call_module":
                    layer = self._modules[str(node.target)]
                    self._places[node] = self._layer(layer, str(node.target), self._at(node, 0))
                case "call_function" | "call_method":
                    self._places[node] = self._function(node)
                case "output":
                    found = self._resolved(node.args[0])
                    if not isinstance(found, int) or isinstance(node.args[0], int):
                        raise FormulaError(
                            f"{type(self.model).__name__} returns "
                            f"{type(node.args[0]).__name__}, not one tensor; wrap it so that it "
                            f"does"
                        )
                    return found
        raise FormulaError(f"{type(self.model).__name__} returns nothing")

    def _resolved(self, argument: Any) -> Any:
        return self._places[argument] if isinstance(argument, fx.Node) else argument

    def _at(self, node: fx.Node, number: int) -> int:
        found = self._resolved(node.args[number]) if len(node.args) > number else None
        if not isinstance(found, int) or not isinstance(node.args[number], fx.Node):
            raise self._unknown(f"{node.target}", "called with something that is no tensor")
        return found

    def _value(self, place: int) -> Tensor:
        return self.draft.steps[place].value

    def _give(self, name: str, value: Tensor, origin: str) -> int:
        value = value.detach().clone()
        place = self.draft.give(name, value, shown(value, 6))
        self.draft.steps[place].origin = origin
        return place

    def _parameter(self, path: str, name: str | None = None) -> int:
        if path in self.parameters:
            return self.parameters[path]
        value = self.model
        for part in path.split("."):
            value = getattr(value, part)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise self._unknown(path, "no tensor of real numbers")
        taken = {step.name for step in self.draft.steps}
        wanted = name or path.replace(".", "_")
        self.parameters[path] = self._give(
            wanted if wanted not in taken else f"{wanted}_p", value, path
        )
        return self.parameters[path]

    def _named(
        self, operation: Operation, inputs: tuple[int, ...], letter: str, origin: str
    ) -> int:
        """A step with the letter of its layer: z₁, h₁, z₂, and so on; none for other steps."""
        if letter == "a":
            place = self.draft.apply(operation, inputs)
            self.draft.steps[place].origin = origin
            return place
        number = max(self._num_layers, 1)
        count = self._num_used[f"{letter}{number}"] = self._num_used.get(f"{letter}{number}", 0) + 1
        name = f"{letter}_{number}" + ("" if count == 1 else f"_{count}")
        place = self.draft.apply(operation, inputs, name)
        self.draft.steps[place].origin = origin
        return place

    def _layer(self, layer: nn.Module, path: str, x: int) -> int:
        said = f"{path}, {type(layer).__name__}"
        if isinstance(layer, nn.Linear):
            return self._linear(layer, path, x, said)
        if isinstance(layer, nn.Conv2d):
            return self._convolution(layer, path, x, said)
        if isinstance(layer, nn.Flatten):
            return self._flatten(x, layer.start_dim, layer.end_dim, said)
        if isinstance(layer, nn.Identity) or (
            isinstance(layer, nn.Dropout) and not (layer.training and layer.p)
        ):
            return x
        if isinstance(layer, nn.Dropout):
            raise FormulaError(
                f"module {path!r} (Dropout) is random in training; call model.eval() first"
            )
        if isinstance(layer, nn.LeakyReLU):
            return self._sloped(LEAKY_RELU, x, layer.negative_slope, said)
        if isinstance(layer, nn.ELU):
            return self._sloped(ELU, x, layer.alpha, said)
        if isinstance(layer, nn.GELU) and layer.approximate == "none":
            return self._named(GELU, (x,), "h", said)
        if isinstance(layer, nn.Softplus) and layer.beta == 1:
            return self._named(SOFTPLUS, (x,), "h", said)
        if isinstance(layer, nn.Softmax):
            return self._softmax(Softmax(), x, layer.dim, said)
        if isinstance(layer, nn.LogSoftmax):
            return self._softmax(LogSoftmax(), x, layer.dim, said)
        if type(layer) in _ACTIVATIONS:
            return self._named(_ACTIVATIONS[type(layer)], (x,), "h", said)
        raise self._unknown(f"module {path!r} ({type(layer).__name__})")

    def _linear(self, layer: nn.Linear, path: str, x: int, said: str) -> int:
        self._num_layers += 1
        number = self._num_layers
        W = self._parameter(f"{path}.weight", f"W_{number}")
        value = self._value(x)
        if value.ndim > 2:
            raise FormulaError(
                f"module {path!r} (Linear) gets {value.ndim} dimensions; a vector or rows are "
                f"written out, so flatten them before"
            )
        if value.shape[-1:] != (layer.in_features,):
            raise FormulaError(
                f"module {path!r} (Linear) takes {layer.in_features} numbers and gets "
                f"{'×'.join(map(str, value.shape)) or 'one'}; mend the input's size"
            )
        if value.ndim == 1:
            operation, inputs = Product(Shapes.MATRIX_VECTOR), (W, x)
        else:
            operation, inputs = Product(Shapes.ROWS), (x, W)
        if layer.bias is None:
            return self._named(operation, inputs, "z", said)
        b = self._parameter(f"{path}.bias", f"b_{number}")
        return self._named(ADD, (self.draft.apply(operation, inputs), b), "z", said)

    def _functional_linear(self, node: fx.Node, x: int, name: str) -> int:
        W = self._at(node, 1)
        bias = node.kwargs.get("bias", node.args[2] if len(node.args) > 2 else None)
        if self._value(x).ndim == 2:
            z = self.draft.apply(Product(Shapes.ROWS), (x, W))
        else:
            z = self._matmul(W, x, name)
        b = self._resolved(bias)
        return z if b is None else self._arithmetic(ADD, z, b, name)

    def _convolution(self, layer: nn.Conv2d, path: str, x: int, said: str) -> int:
        self._num_layers += 1
        number = self._num_layers
        value, padding = self._value(x), layer.padding
        if layer.groups != 1 or layer.padding_mode != "zeros" or isinstance(padding, str):
            raise self._unknown(f"module {path!r} (Conv2d with groups or a padding by name)")
        if value.ndim == 3:
            x = self.draft.apply(Moved("batch of one,", (1, *value.shape)), (x,))
        if self._value(x).ndim != 4 or self._value(x).shape[1] != layer.in_channels:
            raise FormulaError(
                f"module {path!r} (Conv2d) takes (batch, {layer.in_channels}, height, width) and "
                f"gets {'×'.join(map(str, value.shape))}; mend the input's size"
            )
        W = self._parameter(f"{path}.weight", f"W_{number}")
        operation = Convolution(_pair(layer.stride), _pair(padding), _pair(layer.dilation))
        if layer.bias is None:
            return self._named(operation, (W, x), "z", said)
        b = self._parameter(f"{path}.bias", f"b_{number}")
        return self._named(AddChannels(), (self.draft.apply(operation, (W, x)), b), "z", said)

    def _flatten(self, x: int, start: int, end: int, said: str) -> int:
        value = self._value(x)
        flat = value.flatten(start, end) if value.ndim > 1 or start == 0 else value
        if flat.shape == value.shape:
            return x
        return self._named(Moved("entries of", tuple(flat.shape)), (x,), "a", said)

    def _sloped(self, operation: Operation, x: int, slope: float, said: str) -> int:
        return self._named(operation, (x, constant(self.draft, slope)), "h", said)

    def _softmax(self, operation: Operation, x: int, dim: int | None, said: str) -> int:
        ndim = self._value(x).ndim
        if dim is None or dim not in (-1, ndim - 1) or ndim > 2:
            raise self._unknown(f"{said} over dimension {dim}", "over the last one it is")
        return self._named(operation, (x,), "p", said)

    def _function(self, node: fx.Node) -> int:
        target = node.target
        name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        args = [self._resolved(argument) for argument in node.args]
        is_tensor = [isinstance(argument, fx.Node) for argument in node.args]
        if target in _ARITHMETIC and len(args) == 2 and not node.kwargs:
            places = [
                place if is_place else self._number(name, place)
                for place, is_place in zip(args, is_tensor, strict=True)
            ]
            return self._arithmetic(_ARITHMETIC[target], places[0], places[1], name)
        x = self._at(node, 0)
        if target is F.linear:
            return self._functional_linear(node, x, name)
        if target in _MATMUL:
            return self._matmul(x, self._at(node, 1), name)
        if target in (operator.pow, torch.pow, "pow") and not is_tensor[1]:
            exponent: Any = args[1]
            if not isinstance(exponent, int | float):
                raise self._unknown(f"{name} to the power {exponent}")
            written = repr(exponent).removesuffix(".0")
            power = power_by(float(exponent), Label(written, written))
            return self._named(power, (x,), "a", name)
        if target in (F.leaky_relu, F.elu):
            slope: Any = args[1] if len(args) > 1 else None
            slope = node.kwargs.get("negative_slope", node.kwargs.get("alpha", slope))
            operation, usual = (LEAKY_RELU, 0.01) if target is F.leaky_relu else (ELU, 1.0)
            return self._sloped(operation, x, float(usual if slope is None else slope), name)
        if target in (F.softmax, torch.softmax, "softmax", F.log_softmax, torch.log_softmax):
            soft = LogSoftmax() if "log" in name else Softmax()
            dim = node.kwargs.get("dim", args[1] if len(args) > 1 else None)
            return self._softmax(soft, x, dim if isinstance(dim, int) else None, name)
        if target in _FLATTEN:
            return self._reshaped(node, x, args[1:], name)
        if target is F.dropout:
            if node.kwargs.get("training", args[2] if len(args) > 2 else True):
                raise FormulaError("a dropout is random in training; call model.eval() first")
            return x
        if target in (F.gelu, F.softplus) and len(args) == 1 and not node.kwargs:
            return self._named(GELU if target is F.gelu else SOFTPLUS, (x,), "h", name)
        kwargs = {k: v for k, v in node.kwargs.items() if k != "inplace"}
        if target in _ACTIVATIONS and not kwargs and len(args) == 1:
            return self._named(_ACTIVATIONS[target], (x,), "h", name)
        raise self._unknown(f"{name}(…)")

    def _number(self, name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._unknown(f"{name} with a {type(value).__name__}")
        return constant(self.draft, float(value))

    def _arithmetic(self, operation: Operation, a: int, b: int, name: str) -> int:
        A, B = self._value(a), self._value(b)
        is_rows = A.ndim == 2 and B.ndim == 1 and A.shape[1:] == B.shape
        if A.ndim and B.ndim and A.shape != B.shape and not is_rows:
            raise self._unknown(f"{name} of sizes {tuple(A.shape)} and {tuple(B.shape)}")
        if operation is MULTIPLY and A.ndim and B.ndim:
            operation = HADAMARD
        return self._named(operation, (a, b), "a", name)

    def _matmul(self, a: int, b: int, name: str) -> int:
        shapes = {
            (2, 1): Shapes.MATRIX_VECTOR, (2, 2): Shapes.MATRIX_MATRIX,
            (1, 2): Shapes.ROW_MATRIX, (1, 1): Shapes.ROW_COLUMN,
        }.get((self._value(a).ndim, self._value(b).ndim))  # fmt: skip
        if shapes is None:
            raise self._unknown(f"{name} of more than two dimensions")
        return self._named(Product(shapes), (a, b), "z", name)

    def _reshaped(self, node: fx.Node, x: int, args: list[Any], name: str) -> int:
        if "flatten" in name:
            start = node.kwargs.get("start_dim", args[0] if args else 0)
            end = node.kwargs.get("end_dim", args[1] if len(args) > 1 else -1)
            if isinstance(start, int) and isinstance(end, int):
                return self._flatten(x, start, end, name)
        sizes = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else args
        if not all(isinstance(size, int) for size in sizes) or any(
            isinstance(argument, fx.Node) for argument in node.args[1:]
        ):
            raise self._unknown(f"{name} to sizes that are computed", "flatten(1) is")
        shape = tuple(self._value(x).reshape(tuple(sizes)).shape)
        return self._named(Moved("entries of", shape), (x,), "a", name)

    def _unknown(self, what: str, why: str = "") -> FormulaError:
        return FormulaError(
            f"{what} is not written out{f' ({why})' if why else ''}; known are {_KNOWN}; replace "
            f"it, or give the computation as text"
        )


def constant(draft: Draft, value: float) -> int:
    """A number that stands in a program, as a step of a draft."""
    text = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    label = Label(text, text) if value >= 0 else Label(f"({text})", f"({text})")
    return draft.constant(torch.tensor(value, dtype=torch.float64), label)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
