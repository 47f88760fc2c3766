"""JSON: any result as values that every strict reader of JSON accepts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from math import isnan
from pathlib import PurePath
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thalweg._untold import is_told

Jsonable: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None

AS_TEXT = (PurePath, Fraction, Decimal, torch.dtype, torch.device, complex)
"""Told by what str() makes of them."""


def to_json(value: Any, max_items: int = 1000) -> str:
    """A result as indented JSON text.

    Args:
        value: see `to_jsonable`.
        max_items: see `to_jsonable`.

    Returns:
        Strict JSON: no NaN and no Infinity outside quotes.

    Example:
        >>> print(to_json({"loss": float("nan")}))
        {
          "loss": "NaN"
        }
    """
    return json.dumps(to_jsonable(value, max_items), allow_nan=False, ensure_ascii=False, indent=2)


def to_jsonable(value: Any, max_items: int = 1000) -> Jsonable:
    """A result as dicts, lists, strings, numbers, booleans and None.

    Dataclasses become dicts of their fields, but for those marked `UNTOLD`, enums their values,
    functions, modules and other objects their names. Numbers keep full precision; NaN, Infinity
    and -Infinity become strings of these names, as in Protocol Buffers' JSON.

    Args:
        value: anything.
        max_items: a tensor or array with more entries is summarised by shape, dtype, least and
            greatest finite entry, and the number of entries that are not finite.

    Returns:
        Plain values.

    Example:
        >>> to_jsonable({"λ": torch.tensor([1.5, float("inf")])})
        {'λ': [1.5, 'Infinity']}
        >>> to_jsonable(torch.arange(5000.0))["max"]
        4999.0
    """
    return _plain(value, max_items, _spell)


def to_plottable(value: Any) -> Jsonable:
    """The same for a figure: arrays in full, and None, a gap, for what is not finite."""
    return _plain(value, None, lambda number: None)


def _spell(number: float) -> str:
    if isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def _plain(value: Any, max_items: int | None, odd: Callable[[float], str | None]) -> Jsonable:
    """Walks down a value; `odd` decides what becomes of numbers that are not finite."""

    def walk(value: Any) -> Jsonable:
        if isinstance(value, Enum):
            return walk(value.value)
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, (int, float)):
            return _number(value, odd)
        if isinstance(value, np.generic):
            return walk(value.item())
        if isinstance(value, (Tensor, np.ndarray)):
            return walk(_array(value, max_items))
        if is_dataclass(value) and not isinstance(value, type):
            told = (each.name for each in fields(value) if is_told(each))
            return {name: walk(getattr(value, name)) for name in told}
        if isinstance(value, Mapping):
            return {_key(key): walk(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, range)):
            return [walk(item) for item in value]
        if isinstance(value, (set, frozenset)):
            return [walk(item) for item in sorted(value, key=str)]
        return str(value) if isinstance(value, AS_TEXT) else _name(value)

    return walk(value)


def _number(value: float, odd: Callable[[float], str | None]) -> int | float | str | None:
    if isinstance(value, int):
        return int(value)
    return float(value) if abs(value) < float("inf") else odd(value)


def _array(value: Tensor | NDArray[Any], max_items: int | None) -> Any:
    """All entries as nested lists, or the summary of an array that is too large."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiub":
            return value.tolist()
        # from_numpy refuses negative strides.
        value = torch.from_numpy(np.ascontiguousarray(value).reshape(value.shape).copy())
    entries = value.detach().to_dense()
    if max_items is None or entries.numel() <= max_items:
        return entries.tolist()
    summary = {"shape": list(entries.shape), "dtype": str(entries.dtype).removeprefix("torch.")}
    if entries.is_complex():
        return summary
    finite = entries[torch.isfinite(entries)]
    least, greatest = torch.aminmax(finite) if finite.numel() else (None, None)
    return {
        **summary,
        "min": least,
        "max": greatest,
        "num_nonfinite": entries.numel() - finite.numel(),
    }


def _key(key: Any) -> str:
    return str(key.value if isinstance(key, Enum) else key)


def _name(value: Any) -> str:
    """The name of a function, a class, or an object's class."""
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    return str(name)
