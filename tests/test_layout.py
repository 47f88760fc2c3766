"""One vector and a dict of tensors are two ways to say the same."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from problems import draw
from thalweg import LayoutError
from thalweg._layout import Layout, select

SHAPES = st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=1, max_size=5)


@given(SHAPES)
def test_there_and_back_again(shapes):
    params = {f"p{i}": draw(*shape, seed=i) for i, shape in enumerate(shapes)}
    layout = Layout.of(params)
    vector = layout.flatten(params)
    assert vector.shape == (layout.size,) == (sum(p.numel() for p in params.values()),)
    back = layout.unflatten(vector)
    assert list(back) == list(params)
    assert all(torch.equal(back[name], params[name]) for name in params)


def test_the_order_is_the_layouts_and_not_the_dicts():
    layout = Layout.of({"a": torch.zeros(1), "b": torch.zeros(2)})
    vector = layout.flatten({"b": torch.tensor([2.0, 3.0]), "a": torch.tensor([1.0])})
    assert vector.tolist() == [1, 2, 3]


def test_unflattened_tensors_are_views():
    layout = Layout.of({"a": torch.zeros(2, 2)})
    vector = torch.zeros(4)
    layout.unflatten(vector)["a"][1, 0] = 5.0
    assert vector.tolist() == [0, 0, 5, 0]


PARAMS = {"a": torch.zeros(2), "b": torch.zeros(3)}
REFUSED = {
    "nothing": ({}, "no trainable parameter; set requires_grad_"),
    "complex": ({"w": torch.zeros(2, dtype=torch.cfloat)}, r"'w' is torch\.complex64.*freeze it"),
    "integers": ({"w": torch.zeros(2, dtype=torch.long)}, r"'w' is torch\.int64.*freeze it"),
    "two dtypes": ({**PARAMS, "c": torch.zeros(1).double()}, r"'a' is .*32, 'c' is .*float\(\)"),
    "two devices": ({**PARAMS, "c": torch.zeros(1, device="meta")}, r"'c' on meta; .*to\('cpu'\)"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_makes_no_vector_is_refused_by_name(reason):
    params, said = REFUSED[reason]
    with pytest.raises(LayoutError, match=said):
        Layout.of(params)


@pytest.mark.parametrize(
    ("globs", "names"),
    [
        ("*", ["a.weight", "a.bias", "b.weight"]),
        ("a.*", ["a.weight", "a.bias"]),
        (["b*", "*.bias"], ["a.bias", "b.weight"]),
        (("?.weight",), ["a.weight", "b.weight"]),
        ("c[0]", ["c[0]"]),
    ],
)
def test_globs_choose_in_the_order_of_the_parameters(globs, names):
    params = dict.fromkeys(["a.weight", "a.bias", "b.weight", "c[0]"], torch.zeros(1))
    expected = names if globs != "*" else list(params)
    assert list(select(params, globs)) == expected


def test_shapes_in_annotations_are_checked_under_pytest():
    """The hook of conftest is at work: Float[Tensor, " n"] does not take a matrix."""
    layout = Layout.of({"a": torch.zeros(2, 2)})
    with pytest.raises(TypeCheckError, match=r"f32\[2,2\]"):
        layout.unflatten(torch.zeros(2, 2))
