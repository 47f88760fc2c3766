"""Functions of tensors that have a rule of their own: arithmetic, products, sums, activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg._errors import FormulaError
from thalweg.sheet._activations import (
    CLAMP,
    ERF,
    EXPM1,
    GELU_BY_TANH,
    HARDSWISH,
    HARDTANH,
    LOG1P,
    LOG_SIGMOID,
    MISH,
    PRELU,
    RECIPROCAL,
    RSQRT,
    SCALED_SOFTPLUS,
    SELU,
    SOFTSIGN,
    STOPPED,
    TANHSHRINK,
)
from thalweg.sheet._contraction import layer_of, product_of, summed, without_dots
from thalweg.sheet._convolution import Channelwise
from thalweg.sheet._elementwise import (
    ABS,
    ADD,
    COS,
    COSH,
    DIVIDE,
    ELU,
    EXP,
    GELU,
    HADAMARD,
    LEAKY_RELU,
    LOG,
    MAXIMUM,
    MINIMUM,
    MULTIPLY,
    NEGATE,
    POWER,
    RELU,
    SIGMOID,
    SILU,
    SIN,
    SINH,
    SOFTPLUS,
    SQRT,
    SUBTRACT,
    TAN,
    TANH,
    power_by,
)
from thalweg.sheet._follower import Follower
from thalweg.sheet._operation import Operation
from thalweg.sheet._products import Product, Shapes
from thalweg.sheet._reductions import LogSoftmax, Mean, Softmax, Sum, SumOver
from thalweg.symbolic import Label

UNARY: dict[str, Operation] = {
    "sigmoid": SIGMOID, "tanh": TANH, "relu": RELU, "silu": SILU, "exp": EXP, "log": LOG,
    "sqrt": SQRT, "abs": ABS, "sin": SIN, "cos": COS, "tan": TAN, "sinh": SINH, "cosh": COSH,
    "neg": NEGATE, "negative": NEGATE, "logsigmoid": LOG_SIGMOID, "log_sigmoid": LOG_SIGMOID,
    "softsign": SOFTSIGN, "tanhshrink": TANHSHRINK, "mish": MISH, "selu": SELU,
    "hardswish": HARDSWISH, "erf": ERF, "rsqrt": RSQRT,
    "reciprocal": RECIPROCAL, "log1p": LOG1P, "expm1": EXPM1, "detach": STOPPED, "data": STOPPED,
    "square": power_by(2.0, Label("2", "2")), "swish": SILU, "absolute": ABS,
}  # fmt: skip
"""By a function's name; each takes one tensor and nothing else."""

ACTIVATIONS = frozenset(
    [
        "sigmoid",
        "tanh",
        "relu",
        "silu",
        "logsigmoid",
        "log_sigmoid",
        "softsign",
        "tanhshrink",
        "mish",
        "selu",
        "hardswish",
        "swish",
    ]
)

_BINARY: dict[str, Operation] = {
    "add": ADD, "sub": SUBTRACT, "subtract": SUBTRACT, "mul": MULTIPLY, "multiply": MULTIPLY,
    "div": DIVIDE, "divide": DIVIDE, "true_divide": DIVIDE, "maximum": MAXIMUM, "minimum": MINIMUM,
}  # fmt: skip

_TURNED = {
    "__rsub__": "sub",
    "rsub": "sub",
    "__rdiv__": "div",
    "__rpow__": "pow",
    "__rmatmul__": "matmul",
}
"""Functions whose operands stand the other way round."""


def _binary(operation: Operation) -> Callable[..., Any]:
    def steps(
        follower: Follower, a: Any, b: Any, alpha: float = 1, rounding_mode: Any = None
    ) -> Any:
        return (
            _arithmetic(follower, operation, a, b)
            if alpha == 1 and not rounding_mode
            else NotImplemented
        )

    return steps


def _arithmetic(follower: Follower, operation: Operation, a: Any, b: Any) -> Any:
    if not all(isinstance(v, Tensor | int | float) for v in (a, b)):
        return NotImplemented
    has_entries = all(isinstance(v, Tensor) and v.ndim for v in (a, b))
    chosen = HADAMARD if operation is MULTIPLY and has_entries else operation
    return follower.apply(chosen, a, b)


def _turned(name: str) -> Callable[..., Any]:
    def steps(follower: Follower, a: Any, b: Any) -> Any:
        return FUNCTIONS[name](follower, b, a)

    return steps


def _power(follower: Follower, a: Any, exponent: Any) -> Any:
    if isinstance(exponent, Tensor) or not isinstance(a, Tensor):
        is_one = isinstance(exponent, Tensor) and not follower.is_followed(exponent)
        if is_one and exponent.ndim == 0:
            return _power(follower, a, float(exponent))
        return follower.apply(POWER, a, exponent)
    written = repr(exponent).removesuffix(".0")
    return follower.apply(power_by(float(exponent), Label(written, written)), a)


def _product(follower: Follower, a: Any, b: Any) -> Any:
    known = {
        (2, 1): Shapes.MATRIX_VECTOR, (2, 2): Shapes.MATRIX_MATRIX,
        (1, 2): Shapes.ROW_MATRIX, (1, 1): Shapes.ROW_COLUMN,
    }.get((a.ndim, b.ndim))  # fmt: skip
    if known is not None:
        return follower.apply(Product(known), a, b)
    return follower.apply(product_of(torch.matmul, a, b), a, b)


def _outer(follower: Follower, a: Any, b: Any) -> Any:
    return follower.apply(Product(Shapes.COLUMN_ROW), a, b)


def _einsum(follower: Follower, equation: Any, *operands: Any) -> Any:
    factors = (
        operands[0] if len(operands) == 1 and isinstance(operands[0], list | tuple) else operands
    )
    if not isinstance(equation, str):
        return NotImplemented
    equation = without_dots(equation, tuple(factor.ndim for factor in factors))

    def call(*inputs: Tensor) -> Tensor:
        return torch.einsum(equation, *inputs)

    operation = summed(equation, call, tuple(factor.ndim for factor in factors))
    return NotImplemented if operation is None else follower.apply(operation, *factors)


def linear(follower: Follower, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """W x + b of a vector, X Wᵀ + b of rows."""
    n = follower.start_layer()
    path = follower.path_of(weight)
    is_weight = path.split(".")[-1] == "weight"
    if x.shape[-1:] != weight.shape[-1:]:
        raise FormulaError(
            f"{follower.where('linear')} takes {weight.shape[-1]} numbers and gets "
            f"{'×'.join(map(str, x.shape)) or 'one'}; mend the input's size"
        )
    follower.place_of(weight, f"W_{n}" if is_weight else "")
    if x.ndim == 1:
        operation: Operation = Product(
            Shapes.MATRIX_VECTOR if weight.ndim == 2 else Shapes.ROW_COLUMN
        )
        z = (operation, weight, x)
    elif x.ndim == 2 and weight.ndim == 2:
        z = (Product(Shapes.ROWS), x, weight)
    elif weight.ndim == 2:
        z = (layer_of(F.linear, x), x, weight)
    else:
        z = (product_of(torch.matmul, x, weight), x, weight)
    if bias is None:
        return follower.apply(*z, name="z")
    follower.place_of(bias, f"b_{n}" if is_weight else "")
    return follower.apply(ADD, follower.apply(*z), bias, name="z")


def _total(
    follower: Follower,
    is_mean: bool,
    x: Tensor,
    dim: Any = None,
    keepdim: Any = False,
    axis: Any = None,
    keepdims: Any = None,
    dtype: Any = None,
) -> Any:
    dim = axis if dim is None else dim
    keepdim = bool(keepdims) if keepdims is not None else bool(keepdim)
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return NotImplemented if keepdim else follower.apply(Mean() if is_mean else Sum(), x)
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if x.ndim == 0:
        return NotImplemented
    dims = tuple(sorted(d % x.ndim for d in dims))
    return follower.apply(SumOver(dims, keepdim, is_mean), x)


def _sum(follower: Follower, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    return _total(follower, False, x, *args, **kwargs)


def _mean(follower: Follower, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    return _total(follower, True, x, *args, **kwargs)


def _bilinear(
    follower: Follower, x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Any:
    """Σ_ij x_i W_oij y_j + b_o."""
    if x.ndim != 2:
        return NotImplemented
    n = follower.start_layer()
    follower.place_of(weight, f"W_{n}")
    with follower.unrolled():
        total = torch.einsum("ni,oij,nj->no", x, weight, y)
        if bias is not None:
            follower.place_of(bias, f"b_{n}")
            total = total + bias
    return follower.call(f"z_{n}", total)


def _softmin(
    follower: Follower, x: Tensor, dim: Any = None, _stacklevel: int = 3, dtype: Any = None
) -> Any:
    return FUNCTIONS["softmax"](follower, follower.apply(NEGATE, x), dim)


def _variance(
    follower: Follower,
    x: Tensor,
    dim: Any = None,
    unbiased: Any = None,
    keepdim: bool = False,
    correction: Any = None,
) -> Any:
    """Σ (x − mean x)² / (n − c), in its steps."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    c = correction if correction is not None else 1 if unbiased is None else int(unbiased)
    dims = tuple(range(x.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    n = 1
    for d in dims:
        n *= x.shape[d]
    with follower.unrolled():
        centred = x - x.mean(dims, keepdim=True)
        return (centred**2).sum(dims, keepdim=keepdim) / (n - c)


def _deviation(follower: Follower, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    found = _variance(follower, x, *args, **kwargs)
    return follower.apply(SQRT, found)


def _softmax(kind: type[Softmax]) -> Callable[..., Any]:
    def steps(
        follower: Follower, x: Tensor, dim: Any = None, _stacklevel: int = 3, dtype: Any = None
    ) -> Any:
        if dim is None:
            dim = 0 if x.ndim in (0, 1, 3) else 1
        if not isinstance(dim, int) or x.ndim == 0:
            return NotImplemented
        dim = dim % x.ndim
        return follower.apply(kind(-1 if dim == x.ndim - 1 else dim), x, name="p")

    return steps


def _sloped(operation: Operation, usual: float) -> Callable[..., Any]:
    def steps(
        follower: Follower,
        x: Tensor,
        alpha: Any = usual,
        inplace: bool = False,
        negative_slope: Any = None,
    ) -> Any:
        slope = alpha if negative_slope is None else negative_slope
        return follower.apply(operation, x, float(slope), name="h")

    return steps


def _activation(name: str) -> Callable[..., Any]:
    def steps(follower: Follower, x: Tensor, inplace: bool = False) -> Any:
        return follower.apply(UNARY[name], x, name="h")

    return steps


def _gelu(follower: Follower, x: Tensor, approximate: str = "none") -> Any:
    return follower.apply(GELU if approximate == "none" else GELU_BY_TANH, x, name="h")


def _softplus(follower: Follower, x: Tensor, beta: float = 1, threshold: float = 20) -> Any:
    if float((x * beta).max()) > threshold:
        # Beyond the threshold torch takes a straight line.
        return NotImplemented
    if beta == 1:
        return follower.apply(SOFTPLUS, x, name="h")
    return follower.apply(SCALED_SOFTPLUS, x, float(beta), name="h")


def _prelu(follower: Follower, x: Tensor, weight: Tensor) -> Any:
    follower.place_of(weight, "a")
    if weight.numel() > 1 and x.ndim > 1:
        return follower.apply(Channelwise(PRELU), x, weight, name="h")
    return follower.apply(PRELU, x, weight, name="h")


def _glu(follower: Follower, x: Tensor, dim: int = -1) -> Any:
    with follower.unrolled():
        a, b = x.chunk(2, dim)
        return a * torch.sigmoid(b)


def _clamp(follower: Follower, x: Tensor, min: Any = None, max: Any = None) -> Any:
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        return NotImplemented
    if min is not None and max is not None:
        return follower.apply(CLAMP, x, float(min), float(max))
    return NotImplemented


def _hardtanh(
    follower: Follower,
    x: Tensor,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
) -> Any:
    return follower.apply(HARDTANH, x, float(min_val), float(max_val), name="h")


def _relu6(follower: Follower, x: Tensor, inplace: bool = False) -> Any:
    return follower.apply(HARDTANH, x, 0.0, 6.0, name="h")


def _dropout(
    follower: Follower, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Any:
    if training and p:
        raise FormulaError(
            f"{follower.where('dropout')} is random in training; call model.eval() first"
        )
    return x


def _norm(
    follower: Follower,
    x: Tensor,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
) -> Any:
    if p not in (2, 2.0, "fro", None) or dim is None or not bool((x != 0).any(dim).all()):
        return NotImplemented
    with follower.unrolled():
        return (x**2).sum(dim, keepdim=keepdim) ** 0.5


def _baddbmm(
    follower: Follower, a: Tensor, x: Tensor, y: Tensor, beta: float = 1, alpha: float = 1
) -> Any:
    if beta != 1 or alpha != 1:
        return NotImplemented
    with follower.unrolled():
        return a + x @ y


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _binary(operation) for name, operation in _BINARY.items()},
    **{name: _turned(other) for name, other in _TURNED.items()},
    **{name: _activation(name) for name in ACTIVATIONS},
    "pow": _power, "float_power": _power, "matmul": _product, "mm": _product,
    "mv": _product, "bmm": _product, "dot": _product, "outer": _outer, "ger": _outer,
    "einsum": _einsum, "linear": linear,
    "sum": _sum, "mean": _mean, "var": _variance, "std": _deviation,
    "bilinear": _bilinear, "softmin": _softmin, "softmax": _softmax(Softmax),
    "log_softmax": _softmax(LogSoftmax),
    "leaky_relu": _sloped(LEAKY_RELU, 0.01), "elu": _sloped(ELU, 1.0),
    "gelu": _gelu, "softplus": _softplus, "prelu": _prelu, "glu": _glu, "clamp": _clamp,
    "clip": _clamp, "hardtanh": _hardtanh, "relu6": _relu6, "dropout": _dropout,
    "dropout1d": _dropout, "dropout2d": _dropout, "dropout3d": _dropout,
    "alpha_dropout": _dropout, "feature_alpha_dropout": _dropout, "norm": _norm,
    "addmm": _baddbmm, "baddbmm": _baddbmm, "addmv": _baddbmm,
}  # fmt: skip
