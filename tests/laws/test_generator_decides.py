"""Law 4: what is random is the generator's, and nothing else's."""

import random

import numpy as np
import pytest
import torch

from problems import SHELF, cut
from readings import RANDOM, READINGS

NAMES = ["mlp", "next_token", "batch_norm"]


def seed_everything(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def read(reading, name, seed):
    problem = SHELF[name]().problem
    problem = problem.with_data(cut(problem.data, 5, 2))
    return READINGS[reading](problem, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reading", [r for r in READINGS if r != "fisher"])
def test_global_seeds_do_not_matter(reading, name):
    seed_everything(1)
    once = read(reading, name, 0)
    seed_everything(2)
    torch.rand(7)
    assert torch.equal(read(reading, name, 0), once)


@pytest.mark.parametrize("reading", sorted(RANDOM - {"fisher"}))
def test_another_seed_is_another_draw(reading):
    assert not torch.equal(read(reading, "mlp", 0), read(reading, "mlp", 1))


def test_the_generator_is_used_and_moves_on():
    generator = torch.Generator().manual_seed(0)
    problem = SHELF["mlp"]().problem
    once, again = (READINGS["minibatches"](problem, generator) for _ in range(2))
    assert not torch.equal(once, again)
