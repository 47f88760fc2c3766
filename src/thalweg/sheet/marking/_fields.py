"""Fields: two ways to compute one expression, with bands and with a derivative."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from thalweg.sheet.marking import _band
from thalweg.sheet.marking._band import Band, UnknownValueError

V = TypeVar("V")

STEP = 1e-30
"""The imaginary step of a derivative: its square is nothing beside what float64 holds."""


@runtime_checkable
class Field(Protocol[V]):
    """What an expression is computed with."""

    def constant(self, value: float) -> V: ...
    def shape(self, a: V) -> tuple[int, ...]: ...
    def add(self, a: V, b: V) -> V: ...
    def negative(self, a: V) -> V: ...
    def multiply(self, a: V, b: V) -> V: ...
    def reciprocal(self, a: V) -> V: ...
    def matmul(self, a: V, b: V) -> V: ...
    def power(self, a: V, b: V) -> V: ...
    def transpose(self, a: V) -> V: ...
    def stack(self, rows: list[list[V]]) -> V: ...
    def entry(self, a: V, row: int, column: int) -> V: ...
    def function(self, name: str, a: V) -> V: ...
    def greater(self, a: V, b: V, strictly: bool) -> V: ...
    def is_true(self, a: V) -> bool | None: ...
    def maximum(self, a: V, b: V) -> V: ...
    def hull(self, a: V, b: V) -> V: ...


def _sigmoid(x: Any) -> Any:
    if isinstance(x, float):
        return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _sigmoid_slope(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return e / (1 + e) ** 2


def _tanh_slope(x: Any) -> Any:
    e = np.exp(-2 * np.abs(x))
    return 4 * e / (1 + e) ** 2


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def _silu(x: Any) -> Any:
    return x * _sigmoid(x)


def _gelu(x: Any) -> Any:
    erf = math.erf if isinstance(x, float) else np.vectorize(math.erf)
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def _elu(x: Any) -> Any:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))


RISING: dict[str, Callable[[Any], Any]] = {
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "softplus": _softplus,
    "exp": np.exp,
    "sinh": np.sinh,
    "elu": _elu,
    "atan": np.arctan,
    "arctan": np.arctan,
    "sgn": np.sign,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "relu'": lambda x: np.where(x > 0, 1.0, 0.0),
    "step": lambda x: np.where(x > 0, 1.0, 0.0),
    "heaviside": lambda x: np.where(x > 0, 1.0, 0.0),
}
_LOGARITHMS: dict[str, Callable[[Any], Any]] = {
    "log": np.log, "ln": np.log, "log10": np.log10, "lg": np.log10, "log2": np.log2,
    "ld": np.log2, "lb": np.log2,
}  # fmt: skip
_EVEN: dict[str, Callable[[Any], Any]] = {
    "sigmoid'": _sigmoid_slope, "tanh'": _tanh_slope, "sech": lambda x: 1 / np.cosh(x),
}  # fmt: skip
_LIPSCHITZ: dict[str, tuple[Callable[[Any], Any], float]] = {
    "sin": (np.sin, 1.0),
    "cos": (np.cos, 1.0),
    "silu": (_silu, 1.11),
    "gelu": (_gelu, 1.13),
    "sigmoid''": (lambda x: _sigmoid_slope(x) * (1 - 2 * _sigmoid(x)), 0.125),
    "tanh''": (lambda x: -2 * np.tanh(x) * _tanh_slope(x), 2.0),
}


class Bands:
    """Bands: what follows from numbers of which only some digits are shown."""

    def constant(self, value: float) -> Band:
        return _band.exact(float(value))

    def shape(self, a: Band) -> tuple[int, ...]:
        return a.shape

    def add(self, a: Band, b: Band) -> Band:
        return _band.add(a, b)

    def negative(self, a: Band) -> Band:
        return _band.negative(a)

    def multiply(self, a: Band, b: Band) -> Band:
        return _band.multiply(a, b)

    def reciprocal(self, a: Band) -> Band:
        return _band.reciprocal(a)

    def matmul(self, a: Band, b: Band) -> Band:
        return _band.matmul(a, b)

    def power(self, a: Band, b: Band) -> Band:
        return _band.power(a, b)

    def transpose(self, a: Band) -> Band:
        return _band.transpose(a)

    def stack(self, rows: list[list[Band]]) -> Band:
        return _band.stack(rows)

    def entry(self, a: Band, row: int, column: int) -> Band:
        return a.entry(row, column)

    def function(self, name: str, a: Band) -> Band:
        try:
            with np.errstate(all="raise", under="ignore"):
                return self._plain(name, a)
        except (FloatingPointError, OverflowError, ValueError) as error:
            raise UnknownValueError(f"{name} of what is outside of its range") from error

    def _plain(self, name: str, a: Band) -> Band:
        if name in RISING:
            found = _band.rising(RISING[name], a)
        elif name in _LOGARITHMS:
            if bool(np.any(a.low <= 0)):
                raise UnknownValueError("the logarithm of zero or less")
            found = _band.rising(_LOGARITHMS[name], a)
        elif name == "sqrt":
            if bool(np.any(a.mid < 0)):
                raise UnknownValueError("the root of a negative number")
            found = _band.rising(np.sqrt, Band(np.maximum(a.low, 0.0), a.mid, a.high))
        elif name in _EVEN:
            found = _band.from_magnitude(_EVEN[name], a)
        elif name in _LIPSCHITZ:
            found = _band.lipschitz(*_LIPSCHITZ[name], a)
        elif name == "abs":
            negated = _band.negative(a)
            found = self.maximum(a, negated)
            low = np.maximum(np.maximum(a.low, negated.low), 0.0)
            found = Band(low, found.mid, found.high)
        elif name == "softmax":
            return _band.softmax(a)
        else:
            raise UnknownValueError(f"{name} is not known")
        if a.shape == ():
            return Band(float(found.low), float(found.mid), float(found.high))
        return found

    def greater(self, a: Band, b: Band, strictly: bool) -> Band:
        gap = _band.add(a, _band.negative(b))
        compare: Callable[[Any], Any] = (
            (lambda x: np.where(x > 0, 1.0, 0.0)) if strictly else (lambda x: np.where(x >= 0, 1.0, 0.0))  # noqa: E501
        )  # fmt: skip
        parts = [compare(part) for part in (gap.low, gap.mid, gap.high)]
        return Band(*(map(float, parts) if gap.shape == () else parts))

    def is_true(self, a: Band) -> bool | None:
        if a.shape != () or a.low != a.high:
            return None
        return bool(a.mid)

    def maximum(self, a: Band, b: Band) -> Band:
        parts = [np.maximum(x, y) for x, y in ((a.low, b.low), (a.mid, b.mid), (a.high, b.high))]
        return Band(*(map(float, parts) if np.shape(parts[0]) == () else parts))

    def hull(self, a: Band, b: Band) -> Band:
        return a.hull(b)


class Complex:
    """Numbers with an imaginary part that carries a derivative.

    f(x + iε) = f(x) + iε f′(x) + O(ε²): with ε = 1e-30 nothing is lost by subtraction.

    Source: W. Squire and G. Trapp, "Using complex variables to estimate derivatives of real
    functions", SIAM Review 40, 1998, eq. 1.
    """

    def constant(self, value: float) -> Any:
        return np.complex128(value)

    def shape(self, a: Any) -> tuple[int, ...]:
        return tuple(np.shape(a))

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def negative(self, a: Any) -> Any:
        return -a

    def multiply(self, a: Any, b: Any) -> Any:
        return a * b

    def reciprocal(self, a: Any) -> Any:
        if np.any(np.real(a) == 0):
            raise UnknownValueError("a division by zero")
        return 1 / a

    def matmul(self, a: Any, b: Any) -> Any:
        if a.shape[0] * a.shape[1] * b.shape[1] > 1_000_000:
            raise UnknownValueError("a product of matrices that are too large")
        return a @ b

    def power(self, a: Any, b: Any) -> Any:
        n = np.real(b)
        if np.shape(b) == () and np.imag(b) == 0 and n == round(float(n)) and abs(n) < 1e3:
            if n < 0:
                return self.reciprocal(self.power(a, -b))
            found = self.constant(1.0)
            for _ in range(int(n)) if n <= 4 else ():
                found = found * a
            return (
                found if n <= 4 else np.real(a) ** n + 1j * n * np.real(a) ** (n - 1) * np.imag(a)
            )
        if np.any(np.real(a) <= 0):
            raise UnknownValueError("a power of what is not positive")
        return np.exp(b * np.log(a))

    def transpose(self, a: Any) -> Any:
        return a.T if np.shape(a) else a

    def stack(self, rows: list[list[Any]]) -> Any:
        try:
            return np.block([[np.atleast_2d(item) for item in row] for row in rows])
        except ValueError as error:
            raise UnknownValueError("blocks of a matrix do not fit") from error

    def entry(self, a: Any, row: int, column: int) -> Any:
        return a[row, column]

    def function(self, name: str, a: Any) -> Any:
        x, dx = np.real(a), np.imag(a)
        if name == "softmax":
            if not np.shape(a):
                raise UnknownValueError("softmax of a number")
            e = np.exp(a - np.max(x))
            return e / np.sum(e)
        if name not in _SLOPES:
            raise UnknownValueError(f"the derivative of {name} is not known")
        f, slope = _SLOPES[name]
        if name in (*_LOGARITHMS, "sqrt") and np.any(x <= 0):
            raise UnknownValueError(f"{name} of zero or less")
        return f(x) + 1j * slope(x) * dx

    def greater(self, a: Any, b: Any, strictly: bool) -> Any:
        gap = np.real(a) - np.real(b)
        return np.where(gap > 0 if strictly else gap >= 0, 1.0, 0.0) + 0j

    def is_true(self, a: Any) -> bool | None:
        return None if np.shape(a) != () else bool(np.real(a))

    def maximum(self, a: Any, b: Any) -> Any:
        return np.where(np.real(a) >= np.real(b), a, b)

    def hull(self, a: Any, b: Any) -> Any:
        return a


_SLOPES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sigmoid": (_sigmoid, _sigmoid_slope),
    "sigmoid'": (_sigmoid_slope, _LIPSCHITZ["sigmoid''"][0]),
    "tanh": (np.tanh, _tanh_slope),
    "tanh'": (_tanh_slope, _LIPSCHITZ["tanh''"][0]),
    "relu": (RISING["relu"], RISING["relu'"]),
    "relu'": (RISING["relu'"], lambda x: 0.0 * x),
    "step": (RISING["step"], lambda x: 0.0 * x),
    "heaviside": (RISING["step"], lambda x: 0.0 * x),
    "softplus": (_softplus, _sigmoid),
    "exp": (np.exp, np.exp),
    "sinh": (np.sinh, np.cosh),
    "log": (np.log, lambda x: 1 / x),
    "ln": (np.log, lambda x: 1 / x),
    "log10": (np.log10, lambda x: 1 / (x * math.log(10))),
    "log2": (np.log2, lambda x: 1 / (x * math.log(2))),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda x: -np.sin(x)),
    "arctan": (np.arctan, lambda x: 1 / (1 + x * x)),
    "atan": (np.arctan, lambda x: 1 / (1 + x * x)),
    "abs": (np.abs, np.sign),
    "sgn": (np.sign, lambda x: 0.0 * x),
    "sign": (np.sign, lambda x: 0.0 * x),
    "silu": (_silu, lambda x: _sigmoid(x) + x * _sigmoid_slope(x)),
    "gelu": (
        _gelu,
        lambda x: (
            _gelu(x) / np.where(x == 0, 1.0, x) * (x != 0)
            + 0.5 * (x == 0)
            + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        ),
    ),
    "elu": (_elu, lambda x: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0.0)))),
}
