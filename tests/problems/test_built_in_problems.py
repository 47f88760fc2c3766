"""What holds for every built-in problem: the seed decides, and it can be read."""

from typing import get_type_hints

import pytest
import torch

import thalweg
from thalweg import Problem, Surface, problems

# Name, number of parameters, samples to train on and held out.
FACTS = {
    "curves_autoencoder": (842_340, 20_000, 10_000),
    "deep_sigmoid_digits": (141_706, 1437, 360),
    "deep_tanh_digits": (5290, 1437, 360),
    "noisy_digits": (1885, 1437, 360),
    "one_variable_regression": (481, 100, 100),
    "quadratic": (3, 1, 0),
    "relu_digits": (8970, 1437, 360),
    "rosenbrock": (2, 1, 0),
    "small_curves_autoencoder": (22_752, 2000, 500),
    "stiff_regression": (4353, 256, 255),
    "strict_saddle": (2, 1, 0),
    "tanh_digits": (1885, 1437, 360),
    "tanh_digits_at_the_saddle": (1885, 1437, 360),
    "two_spirals": (1218, 194, 192),
    "two_variable_regression": (501, 400, 400),
    "vanishing_tanh_digits": (5290, 1437, 360),
}
KNOWN_POINTS = {
    "linear_autoencoder",
    "matrix_factorisation",
    "monkey_saddle",
    "phase_retrieval",
    "pooled_classifier",
    "quadratic_saddle",
    "swish_autoencoder",
    "two_layer_linear",
}
"""Those made for their critical points: `test_critical_problems.py`."""

QUICK = [name for name in FACTS if name != "curves_autoencoder"]


@pytest.fixture
def problem(request):
    """The problem of that name; the large one is made once."""
    name = request.param
    return request.getfixturevalue("large") if name == "curves_autoencoder" else make(name)


def make(name: str, seed: int = 0) -> Problem:
    return getattr(problems, name)(seed=seed)


def numbers(problem: Problem) -> list[torch.Tensor]:
    """Everything that the seed decides."""
    batches = thalweg._batch.tensors_in([*problem.batches, *problem.test_batches])
    return [*problem.model.state_dict().values(), *batches]


def test_every_factory_is_tried():
    factories = {
        name
        for name in problems.__all__
        if get_type_hints(getattr(problems, name)).get("return") is Problem
    }
    assert set(FACTS) | KNOWN_POINTS == factories - {"from_function", "from_residuals"}


@pytest.mark.parametrize(
    ("problem", "facts"), FACTS.items(), ids=FACTS, indirect=["problem"], scope="function"
)
def test_parameters_and_samples(problem, facts):
    num_parameters, num_train, num_test = facts
    assert sum(p.numel() for p in problem.parameters.values()) == num_parameters
    assert problem.num_samples == num_train
    assert sum(map(thalweg._batch.num_samples, problem.test_batches)) == num_test
    assert problem.name


@pytest.mark.parametrize("problem", FACTS, indirect=True)
def test_it_can_be_read_and_trained(problem):
    few = problem.with_data([thalweg._batch.take(problem.batches[0], slice(200))]).copied()
    few.check()
    point = Surface(few).here()
    assert all(g.isfinite().all() for g in point.gradient.values())
    assert any(g.any() for g in point.gradient.values())
    optimizer = few.optimizer(few.model.parameters())
    before = [p.detach().clone() for p in few.model.parameters()]
    few.forward(dict(few.model.named_parameters()), few.batches[0]).loss.backward()
    optimizer.step()
    assert any(not torch.equal(p, b) for p, b in zip(few.model.parameters(), before, strict=True))


@pytest.mark.parametrize("name", QUICK)
def test_the_seed_decides_and_the_global_state_does_not(name):
    torch.manual_seed(1)
    once = numbers(make(name, 3))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = numbers(make(name, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    other = numbers(make(name, 4))
    assert any(not torch.equal(a, b) for a, b in zip(once, other, strict=True))


@pytest.mark.parametrize("name", QUICK)
def test_the_default_dtype_does_not_matter(name):
    once = numbers(make(name))
    torch.set_default_dtype(torch.float64)
    try:
        again = numbers(make(name))
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


def test_torchs_own_initialisation_to_the_bit():
    """A generator seeded alike draws what the constructors of torch.nn draw from the global one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        layers = [torch.nn.Linear(64, 64), torch.nn.Linear(64, 64), torch.nn.Linear(64, 10)]
    drawn = problems.relu_digits(seed=5).model.parameters()
    expected = [p for layer in layers for p in layer.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(drawn, expected, strict=True))
