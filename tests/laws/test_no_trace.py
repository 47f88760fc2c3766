"""Law 1: a reading leaves no trace, and does not depend on the caller's modes."""

import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from problems import SHELF, draw, initialised, mlp_model
from readings import READINGS, pairs
from thalweg import Problem, Surface
from traces import assert_no_trace, trace_of

CONTEXTS = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "plain": nullcontext,
}


def lived_in(problem):
    """A model in the middle of a training: some gradients, mixed modes, hooks, used generators."""
    for i, parameter in enumerate(problem.model.parameters()):
        if parameter.requires_grad and i % 2:
            parameter.grad = torch.full_like(parameter, 0.5)
    for i, module in enumerate(problem.model.modules()):
        module.register_forward_hook(lambda *_: None)
        if i and not isinstance(module, torch.nn.BatchNorm1d | torch.nn.TransformerEncoderLayer):
            module.training = problem.model.training and bool(i % 2)
    torch.rand(3), np.random.rand(3), random.random()
    return problem


@pytest.mark.parametrize(("name", "reading"), pairs())
def test_a_reading_leaves_no_trace(name, reading, unchecked):
    known = SHELF[name]()
    problem = lived_in(known.problem)
    owned = (problem.model, problem.loss, problem.data)
    numbers = {}
    before = trace_of(*owned)
    for context, enter in CONTEXTS.items():
        with enter():
            generator = torch.Generator().manual_seed(0)
            numbers[context] = READINGS[reading](problem, generator).clone()
        assert_no_trace(before, *owned)
    for context, value in numbers.items():
        assert torch.equal(value, numbers["plain"]), context


@pytest.mark.parametrize("seed", [None, 3])
def test_a_shuffling_loader_leaves_all_generators_alone(seed, unchecked):
    """Its own generator too, and the order is read once."""
    own = None if seed is None else torch.Generator().manual_seed(seed)
    data = TensorDataset(draw(7, 3), draw(7, 2, seed=1))
    loader = DataLoader(data, batch_size=2, shuffle=True, generator=own)
    problem = Problem(initialised(mlp_model()), F.mse_loss, loader)
    owned = (problem.model, *([own] if own else []))
    before = trace_of(*owned)
    values = [READINGS["value"](problem, None) for _ in range(2)]
    assert_no_trace(before, *owned)
    assert values[0] == values[1]


def test_everything_made_in_inference_mode_can_be_read(unchecked):
    """Data and points made there are used outside, and the other way round."""
    model = SHELF["mlp"]().problem.model
    with torch.inference_mode():
        problem = Problem(model, F.mse_loss, (draw(7, 3), draw(7, 2, seed=1)))
        point = Surface(problem).at(0.1 * torch.arange(26.0, dtype=torch.float64))
        inside = point.hessian() @ point.gradient_vector
    assert torch.equal(point.hessian() @ point.gradient_vector, inside)
    assert not point.gradient_vector.is_inference()


def test_a_refusal_leaves_no_trace_either(unchecked):
    """Hooks that look for the birthplace of a NaN are taken off again."""
    model = initialised(mlp_model())
    data = (draw(7, 3) * torch.nan, draw(7, 2))
    problem = lived_in(Problem(model, F.mse_loss, data))
    before = trace_of(model, data)
    for reading in READINGS.values():
        try:
            reading(problem, torch.Generator())
        except Exception as error:
            assert "born in the data itself" in str(error)  # noqa: PT017
    assert_no_trace(before, model, data)
