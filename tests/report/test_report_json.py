"""JSON: strict for every reader, exact in every digit."""

import json
from dataclasses import dataclass
from enum import Enum
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thalweg.report import to_json, to_jsonable


class Kind(Enum):
    SADDLE = "saddle"


@dataclass(frozen=True)
class Inner:
    value: float
    kind: Kind


@dataclass(frozen=True)
class Outer:
    inner: Inner
    spread: dict[int, float]
    steps: tuple[int, ...]
    maybe: float | None


def read(text):
    """Parses as a strict reader: NaN and Infinity outside quotes are refused."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def test_dataclasses_enums_and_keys():
    outer = Outer(Inner(0.1, Kind.SADDLE), {0: nan, 1: -inf}, (1, 2), None)
    assert read(to_json(outer)) == {
        "inner": {"value": 0.1, "kind": "saddle"},
        "spread": {"0": "NaN", "1": "-Infinity"},
        "steps": [1, 2],
        "maybe": None,
    }


@given(st.recursive(st.floats() | st.integers(), lambda s: st.lists(s) | st.tuples(s, s)))
def test_any_numbers_come_back_exactly(value):
    spelled = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}

    def back(item):
        return [back(i) for i in item] if isinstance(item, list) else spelled.get(item, item)

    def as_lists(item):
        return [as_lists(i) for i in item] if isinstance(item, (list, tuple)) else item

    assert repr(back(read(to_json(value)))) == repr(as_lists(value))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (torch.tensor([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (torch.tensor(0.1, dtype=torch.float64, requires_grad=True), 0.1),
        (torch.tensor([True, False]), [True, False]),
        (torch.tensor([1.5, nan], dtype=torch.bfloat16), [1.5, "NaN"]),
        (torch.eye(2).to_sparse(), [[1.0, 0.0], [0.0, 1.0]]),
        (torch.tensor([1 + 2j]), ["(1+2j)"]),
        (np.arange(3)[::-1], [2, 1, 0]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.float64(0.1), 0.1),
        (np.bool_(True), True),
        (True, True),
        ({2, 1}, [1, 2]),
        (range(2), [0, 1]),
        (Path("a/b"), "a/b"),
        (torch.float32, "torch.float32"),
        (torch.device("cpu"), "cpu"),
        (torch.nn.functional.relu, "relu"),
        (torch.nn.Linear(1, 1), "Linear"),
        (torch.nn.Linear, "Linear"),
        (read, "read"),
    ],
)
def test_values(value, plain):
    result = to_jsonable(value)
    assert result == plain
    assert read(json.dumps(result, allow_nan=False)) == plain


def test_large_arrays_are_summarised():
    values = torch.arange(2000.0).reshape(2, 1000)
    values[0, 0] = nan
    assert to_jsonable({"v": values}) == {
        "v": {
            "shape": [2, 1000],
            "dtype": "float32",
            "min": 1.0,
            "max": 1999.0,
            "num_nonfinite": 1,
        }
    }
    assert to_jsonable(values, max_items=2000) == [
        ["NaN", *map(float, range(1, 1000))],
        [float(i) for i in range(1000, 2000)],
    ]


def test_a_large_array_without_a_finite_entry():
    summary = to_jsonable(np.full(2000, nan))
    assert summary == {
        "shape": [2000],
        "dtype": "float64",
        "min": None,
        "max": None,
        "num_nonfinite": 2000,
    }


def test_reading_a_tensor_leaves_it_alone():
    value = torch.ones(3, requires_grad=True)
    to_jsonable(value)
    assert value.requires_grad
    assert value.grad is None
