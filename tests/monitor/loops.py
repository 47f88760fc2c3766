"""Small trainings to look at, each by hand."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from thalweg import Monitor, monitor


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def classes(size=24, seed=3):
    return torch.randint(3, (size,), generator=torch.Generator().manual_seed(seed))


def seeded(build, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def network(dtype=torch.float64):
    """4 → 5 → 3, with 43 parameters."""
    return seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype))


def sgd(model, lr=0.1, **more):
    return torch.optim.SGD(model.parameters(), lr=lr, **more)


def step(model, optimizer, batch, loss=F.cross_entropy):
    x, y = batch
    optimizer.zero_grad()
    value = loss(model(x), y)
    value.backward()
    optimizer.step()
    return value.detach()


def watched(model, optimizer, batches, loss=F.cross_entropy, **how):
    """The monitor after one step on each batch, reading everything at every step."""
    how = {"instruments": monitor.full(), "every": 1, "overhead": math.inf, **how}
    with Monitor(model, loss, optimizer, **how) as watch:
        for batch in batches:
            watch.see(batch)
            step(model, optimizer, batch, loss)
    return watch


def batches(num=4, size=24):
    """Others each time."""
    return [(draw(size, 4, seed=i), classes(size, seed=i)) for i in range(num)]
