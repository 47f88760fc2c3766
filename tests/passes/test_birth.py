"""Where a NaN or an infinity is born, against places that were made for it."""

import math

import pytest
import torch
from torch import nn

from thalweg import Problem, RandomModelError
from thalweg.passes import births
from traces import assert_no_trace, trace_of


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def network(function, weight=1.0):
    model = nn.Sequential(nn.Linear(2, 2, bias=False), Apply(function), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(weight * torch.eye(2))
    return model


def problem(model, x=None, loss=nn.functional.mse_loss):
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]) if x is None else x
    return Problem(model, loss, (x, torch.zeros(len(x), 1)))


def test_a_logarithm_of_a_negative_number():
    (birth,) = [b for b in births(problem(network(torch.log, -1.0))).births if b.layer == "1"]
    assert (birth.phase, birth.layer, birth.kind) == ("forward", "1", "Apply")
    assert (birth.operation, birth.value, birth.count, birth.size) == ("log", "nan", 4, 4)
    assert (birth.inputs[0].low, birth.inputs[0].high) == (-4.0, -1.0)
    assert birth.sample == 0


def test_the_first_sample_and_batch_are_named():
    x = torch.tensor([[1.0, 2.0], [1.0, 1.0], [-3.0, 4.0]])
    pieces = [(x[:1], torch.zeros(1, 1)), (x[1:], torch.zeros(2, 1))]
    found = births(Problem(network(torch.log), nn.functional.mse_loss, pieces))
    assert (found.births[0].batch, found.births[0].sample) == (1, 1)
    assert math.isnan(found.loss)


def test_an_infinity_that_becomes_a_nan():
    found = births(problem(network(lambda x: torch.softmax(torch.exp(100 * x), -1))))
    first, second = found.births[:2]
    assert (first.operation, first.value) == ("exp", "inf")
    assert second.value == "nan"
    assert "exp in layer '1' (Apply), forward pass" in str(found)


def test_a_gradient_that_is_infinite_where_the_loss_is_not():
    found = births(problem(network(lambda x: x.abs().sqrt(), 0.0)))
    birth = found.births[0]
    assert (birth.phase, birth.layer) == ("backward", "1")
    assert birth.operation.startswith("SqrtBackward0")
    assert found.parameters == ("0.weight",)
    assert math.isfinite(found.loss)


def test_a_birth_in_the_loss():
    def log_loss(output, target):
        return torch.log(output * 0).mean()

    found = births(problem(network(torch.tanh), loss=log_loss))
    assert found.births[0].layer == "loss"
    assert found.births[0].operation == "log"


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_data_and_parameters_that_come_so(value):
    x = torch.tensor([[1.0, 2.0], [value, 4.0]])
    found = births(problem(network(torch.tanh), x))
    assert (found.births[0].phase, found.births[0].layer) == ("given", "the data")
    assert found.births[0].sample == 1
    model = network(torch.tanh)
    with torch.no_grad():
        model[2].bias.fill_(value)
    assert str(births(problem(model))).startswith("1 of 1 numbers of parameter '2.bias'")


def test_infinities_that_do_no_harm_are_no_births():
    def masked(x):
        return x.masked_fill(x > 3.5, -torch.inf).softmax(-1)

    assert births(problem(network(masked))) is None
    assert births(problem(network(lambda x: x + torch.exp(500 * x.detach()).clamp(max=1)))) is None

    def mended(x):
        return torch.where(x.isnan(), torch.zeros_like(x), x)

    model = nn.Sequential(Apply(mended), nn.Linear(2, 1))
    assert births(problem(model, torch.tensor([[1.0, torch.nan]]))) is None


def test_a_row_that_is_masked_whole():
    def masked(x):
        return x.masked_fill(x > -10, -torch.inf).softmax(-1)

    found = births(problem(network(masked)))
    assert found.births[0].operation == "_softmax"


def test_it_leaves_no_trace_and_refuses_dropout(unchecked):
    given = problem(network(torch.log, -1.0))
    before = trace_of(given.model, given.data)
    births(given)
    assert_no_trace(before, given.model, given.data)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 1))
    with pytest.raises(RandomModelError):
        births(problem(model))
