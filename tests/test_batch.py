"""Batches in the forms people use: what the model gets, and what cutting and joining do."""

from collections import OrderedDict, UserDict, namedtuple

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from problems import draw
from thalweg import ProblemError
from thalweg._batch import call_of, concatenate, map_tensors, num_samples, take, tensors_in

PACKED = pack_sequence([draw(t, 3) for t in (2, 4, 3)], enforce_sorted=False)
Pair = namedtuple("Pair", "x y")
Triple = namedtuple("Triple", "x y z")
X, Y, Z = draw(7, 3), draw(7, seed=1), draw(7, 2, seed=2)


class TwoInputs(nn.Module):
    def forward(self, a, b=None): ...


class Anything(nn.Module):
    def forward(self, **entries): ...


CALLS = {
    "tuple": ((X, Y), (X,), {}, Y),
    "list": ([X, Y], (X,), {}, Y),
    "namedtuple": (Pair(X, Y), (X,), {}, Y),
    "tensor": (X, (X,), {}, X),
    "packed": ((PACKED, Y), (PACKED,), {}, Y),
    "two inputs": (((X, Z), Y), (X, Z), {}, Y),
    "list of inputs": ([[X, Z], Y], (X, Z), {}, Y),
    "inputs by name": (({"a": X, "b": Z}, Y), (), {"a": X, "b": Z}, Y),
    "dict": ({"a": X, "b": Z, "y": Y, "idx": Z}, (), {"a": X, "b": Z}, Y),
    "mapping": (UserDict({"a": X, "labels": Y}), (), {"a": X}, Y),
    "labels before y": ({"y": Z, "a": X, "labels": Y}, (), {"a": X}, Y),
    "no target": ({"a": X}, (), {"a": X}, None),
}


@pytest.mark.parametrize("form", CALLS)
def test_what_the_model_gets(form):
    batch, args, kwargs, target = CALLS[form]
    call = call_of(batch, TwoInputs())
    assert [id(argument) for argument in call.args] == [id(argument) for argument in args]
    assert call.kwargs == kwargs
    assert call.target is target


def test_a_model_of_any_arguments_gets_all():
    assert list(call_of({"a": X, "labels": Y}, Anything()).kwargs) == ["a", "labels"]


BAD = {
    "three": ((X, Y, Z), r"a tuple of 3; give \(input, target\)"),
    "named three": (Triple(X, Y, Z), r"a Triple of 3; .*\(\(input1, input2\), target\)"),
    "one": ([X], "a list of 1"),
    "number": (3.0, "a batch is a float; give"),
    "wrong names": ({"x": X, "y": Y}, r"\['x', 'y'\], and the model's forward takes \['a', 'b'\]"),
}


@pytest.mark.parametrize("form", BAD)
def test_other_forms_are_refused(form):
    batch, said = BAD[form]
    with pytest.raises(ProblemError, match=said):
        call_of(batch, TwoInputs())


class Stubborn(list):
    """A list whose constructor takes something else, as libraries have them."""

    def __init__(self, a, b):
        super().__init__([a, b])


def test_tensors_are_found_without_building_anything():
    nest = {"a": X, "b": [Y, ("text", None, Z)], "c": Stubborn(X, 3), "d": torch.max(X, 1)}
    assert [id(t) for t in tensors_in(nest)][:4] == [id(X), id(Y), id(Z), id(X)]
    assert len(tensors_in(nest)) == 6


@pytest.mark.parametrize("tree", [(X, [Y]), Pair(X, Y), OrderedDict(a=X), X, "text", [1, (X,)]])
def test_mapping_keeps_the_nest(tree):
    doubled = map_tensors(tree, lambda t: 2 * t)
    for new, old in zip(tensors_in(doubled), tensors_in(tree), strict=True):
        assert torch.equal(new, 2 * old)
    assert type(doubled) is (dict if isinstance(tree, OrderedDict) else type(tree))


SIZES = {
    "pair": ((X, Y), 7),
    "scalar first": ({"scale": torch.tensor(2.0), "x": X, "y": Y}, 7),
    "positions first": ({"positions": torch.arange(5), "x": X, "y": Y}, 7),
    "time first": ((draw(4, 7, 2), Y), 7),
    "scalars only": ({"scale": torch.tensor(2.0)}, 0),
    "nothing": ({}, 0),
}


@pytest.mark.parametrize("form", SIZES)
def test_number_of_samples(form):
    batch, size = SIZES[form]
    assert num_samples(batch) == size


def test_taking_leaves_alone_what_does_not_run_over_samples():
    batch = {"x": X, "y": Y, "scale": torch.tensor(2.0), "positions": torch.arange(5)}
    part = take(batch, torch.tensor([6, 0]))
    assert torch.equal(part["x"], X[[6, 0]])
    assert torch.equal(part["y"], Y[[6, 0]])
    assert part["scale"] is batch["scale"]
    assert part["positions"] is batch["positions"]


def test_joining_puts_samples_together_and_keeps_constants():
    fixed = torch.arange(5)
    batches = [{"x": X[i:j], "y": Y[i:j], "fixed": fixed} for i, j in ((0, 4), (4, 7))]
    whole = concatenate(batches)
    assert torch.equal(whole["x"], X)
    assert torch.equal(whole["y"], Y)
    assert whole["fixed"] is fixed


APART = {
    "packed": [(PACKED, Y[:3])],
    "ragged": [(X, Y), (draw(2, 4), Y[:2])],
    "other form": [(X, Y), X],
    "a constant that changes": [{"x": X, "y": Y, "c": torch.tensor(v)} for v in (1.0, 2.0)],
    # Of length 7 by accident in the first batch only: joined, it would be of neither length.
    "a constant as long as a batch": [
        {"x": X[i:j], "y": Y[i:j], "c": torch.ones(7)} for i, j in ((0, 7), (0, 4))
    ],
}


@pytest.mark.parametrize("reason", APART)
def test_what_cannot_be_joined_is_not(reason):
    with pytest.raises(ValueError, match=r"ragged|form|packed"):
        concatenate(APART[reason])
