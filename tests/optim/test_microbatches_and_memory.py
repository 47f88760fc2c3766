"""One loss from several batches, and memory that does not grow with steps."""

import gc
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from optimizers import CLOSURE_VIEW, OPTIMIZERS, data, flat, loss_of, network
from torch import nn

from problems import draw
from thalweg import Problem
from thalweg.optim import DenseSaddleFreeNewton, Krylov, SaddleFreeNewton, TrustRegion
from thalweg.surface import GGN

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradient_accumulation_is_one_loss(name):
    """Seven samples as one batch, as 5 + 2 bound, in microbatches, and summed by a closure."""
    x, y = data()
    parts = [(x[:5], y[:5]), (x[5:], y[5:])]
    models = [network() for _ in range(4)]
    whole, bound, cut, summed = models

    def total():
        return sum(F.mse_loss(summed(x), y, reduction="sum") for x, y in parts) / 7

    settings = CLOSURE_VIEW.get(name, {})
    optimizers = [OPTIMIZERS[name](model.parameters(), **settings) for model in models]
    for _ in range(3):
        optimizers[0].step(loss_of(whole))
        optimizers[1].bind(bound, F.mse_loss, parts).step()
        optimizers[2].bind(Problem(cut, F.mse_loss, (x, y)).in_microbatches(3)).step()
        optimizers[3].step(total)
    for model in models[1:]:
        torch.testing.assert_close(flat(model), flat(whole), rtol=1e-8, atol=1e-10)
    assert not torch.equal(flat(whole), flat(network()))


def test_residuals_of_several_batches_are_those_of_one():
    x, y = data()
    parts = [(x[:5], y[:5]), (x[5:], y[5:])]
    models = [network() for _ in range(3)]
    whole, bound, cut = [SaddleFreeNewton(model.parameters()) for model in models]
    for _ in range(3):
        whole.bind(models[0], F.mse_loss, (x, y)).step()
        bound.bind(models[1], F.mse_loss, parts).step()
        cut.bind(Problem(models[2], F.mse_loss, (x, y)).in_microbatches(3)).step()
        assert whole.record.subspace_size == bound.record.subspace_size == 7
    for model in models[1:]:
        torch.testing.assert_close(flat(model), flat(models[0]), rtol=1e-8, atol=1e-10)


def test_the_ggn_of_several_batches_is_that_of_one():
    x, y = data()
    ends = []
    for batches in ((x, y), [(x[:5], y[:5]), (x[5:], y[5:])]):
        model = network()
        optimizer = TrustRegion(model.parameters(), curvature=GGN)
        for _ in range(3):
            optimizer.bind(model, F.mse_loss, batches).step()
            assert optimizer.record.lowest_curvature > -1e-12
        ends.append(flat(model))
    torch.testing.assert_close(*ends, rtol=1e-8, atol=1e-10)


def live_tensors() -> int:
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(
    ("make", "is_bound"),
    [
        (lambda p: TrustRegion(p, subspace=Krylov(2)), True),
        (DenseSaddleFreeNewton, False),
    ],
    ids=["Krylov, bound", "dense"],
)
def test_a_thousand_steps_leave_no_graph_behind(make, is_bound):
    """Graphs go with their last reference: the collector of cycles is off meanwhile.

    On a batch of its own in each step, so that steps are accepted and rejected to the end.
    """
    model = nn.Sequential(nn.Linear(1, 1), nn.Tanh()).double()
    optimizer = make(model.parameters())
    accepted = []

    def steps(first, last):
        for seed in range(first, last):
            x, noise = draw(8, 1, seed=seed), draw(8, 1, seed=seed + 5000)
            y = (x + 0.3).tanh() + 0.3 * noise
            if is_bound:
                optimizer.bind(model, F.mse_loss, (x, y)).step()
            else:
                optimizer.step(lambda x=x, y=y: F.mse_loss(model(x), y))
            accepted.append(optimizer.record.is_accepted)

    steps(0, 100)
    gc.collect()
    gc.disable()
    try:
        tensors, memory = live_tensors(), resident_bytes()
        steps(100, 1100)
        assert live_tensors() <= tensors + 5
        # A graph of this network takes some 5 kB: a thousand of them would be 5 MB.
        assert resident_bytes() < memory + 3 * 2**20
    finally:
        gc.enable()
    assert optimizer.record.step == 1100
    assert sum(accepted) > 500
