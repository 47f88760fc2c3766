"""Law 1: a reading leaves no trace, and does not depend on the caller's modes."""

import random
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from problems import SHELF, draw, initialised, mlp_model
from readings import READINGS, pairs
from thalweg import Problem, ProblemError, Surface, propagation
from traces import assert_no_trace, trace_of


@contextmanager
def half_precision_without_gradients():
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        yield


@contextmanager
def another_default_dtype():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default dtype": another_default_dtype,
}


def lived_in(problem):
    """A model in the middle of a training: some gradients, mixed modes, hooks, used generators."""
    for i, parameter in enumerate(problem.model.parameters()):
        if parameter.requires_grad and i % 2:
            parameter.grad = torch.full_like(parameter, 0.5)
    for i, module in enumerate(problem.model.modules()):
        module.register_forward_hook(lambda *_: None)
        module.training = problem.model.training and bool(i % 2)
    torch.rand(3), np.random.rand(3), random.random()
    return problem


def read(reading, problem):
    return READINGS[reading](problem, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "reading"), pairs())
def test_a_reading_leaves_no_trace(name, reading, unchecked):
    problem = lived_in(SHELF[name]().problem)
    owned = (problem.model, problem.loss, problem.data)
    before = trace_of(*owned)
    numbers = read(reading, problem)
    assert_no_trace(before, *owned)
    with half_precision_without_gradients():
        again = read(reading, problem)
    assert_no_trace(before, *owned)
    assert torch.equal(numbers, again)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reading", READINGS)
def test_the_callers_modes_do_not_matter(reading, mode, unchecked):
    problem = SHELF["mlp"]().problem
    with MODES[mode]():
        before = trace_of(problem.model)
        inside = read(reading, problem)
        assert_no_trace(before, problem.model)
    assert torch.equal(inside, read(reading, problem))


@pytest.mark.parametrize("seed", [None, 3])
def test_a_shuffling_loader_leaves_all_generators_alone(seed, unchecked):
    """Its own generator too, and the order is read once."""
    own = None if seed is None else torch.Generator().manual_seed(seed)
    data = TensorDataset(draw(7, 3), draw(7, 2, seed=1))
    loader = DataLoader(data, batch_size=2, shuffle=True, generator=own)
    problem = Problem(initialised(mlp_model()), F.mse_loss, loader)
    owned = (problem.model, *([own] if own else []))
    before = trace_of(*owned)
    once, again = (read("value and gradient", problem) for _ in range(2))
    assert_no_trace(before, *owned)
    assert torch.equal(once, again)


def test_what_is_made_in_inference_mode_can_be_used_outside():
    model = SHELF["mlp"]().problem.model
    with torch.inference_mode():
        problem = Problem(model, F.mse_loss, (draw(7, 3), draw(7, 2, seed=1)))
        point = Surface(problem).at(0.1 * torch.arange(26.0, dtype=torch.float64))
        inside = point.hessian() @ point.gradient_vector
    assert torch.equal(point.hessian() @ point.gradient_vector, inside)
    assert not point.gradient_vector.is_inference()


REFUSING = [name for name in READINGS if name not in {"minibatches", "propagation"}]


@pytest.mark.parametrize("reading", REFUSING)
def test_a_refusal_leaves_no_trace_either(reading, unchecked):
    """Hooks that look for the birthplace of a NaN are taken off again."""
    data = (draw(7, 3) * torch.nan, draw(7, 2))
    problem = lived_in(Problem(initialised(mlp_model()), F.mse_loss, data))
    before = trace_of(problem.model, data)
    with pytest.raises(ProblemError, match="born in the data itself"):
        read(reading, problem)
    assert_no_trace(before, problem.model, data)


def test_to_say_where_a_nan_is_born_leaves_none_either(unchecked):
    data = (draw(7, 3) * torch.nan, draw(7, 2))
    problem = lived_in(Problem(initialised(mlp_model()), F.mse_loss, data))
    before = trace_of(problem.model, data)
    found = propagation(problem, generator=torch.Generator())
    assert str(found.births) == "21 of 21 numbers of the data are nan"
    assert_no_trace(before, problem.model, data)
