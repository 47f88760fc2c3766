"""Shares of gradients lost in half precision, against torch's own rounding of the same numbers."""

import pytest
import torch
from torch import nn

from thalweg import Problem
from thalweg.passes import underflow


def problem(factor, batch_size=None, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 30), nn.Tanh(), nn.Linear(30, 2)
    )
    x, y = torch.randn(50, 6), torch.randn(50, 2)

    def loss(output, target):
        return factor * nn.functional.mse_loss(output, target)

    return Problem(model, loss, (x, y), batch_size=batch_size)


def by_hand(given, dtype, scale=1.0):
    """Shares of the same gradients that are rounded to zero and to subnormal numbers."""
    model, (x, y) = given.model, given.data
    value, outputs = x, []
    for module in model:
        value = module(value)
        value.retain_grad()
        outputs.append(value)
    given.loss(value, y).backward()
    gradients = [z.grad for z in outputs] + [p.grad for p in model.parameters()]
    flat = torch.cat([g.flatten() for g in gradients])
    model.zero_grad()
    flat = flat[flat != 0]
    rounded = (flat.double() * scale).to(dtype)
    lost = rounded == 0
    small = ~lost & ((flat.double() * scale).abs() < torch.finfo(dtype).smallest_normal)
    return float(lost.double().mean()), float(small.double().mean()), rounded


@pytest.mark.parametrize("factor", [1.0, 1e-2, 1e-4, 1e-6])
def test_shares_are_those_of_the_rounded_gradients(factor):
    given = problem(factor)
    lost, small, _ = by_hand(given, torch.float16)
    found = underflow(given)
    assert found.flushed == pytest.approx(lost, abs=1e-9)
    assert found.subnormal == pytest.approx(small, abs=1e-9)
    after, _, rounded = by_hand(given, torch.float16, found.loss_scale)
    assert found.flushed_after == pytest.approx(after, abs=1e-9)
    assert after <= 1e-3
    assert torch.isfinite(rounded).all()
    if found.loss_scale > 1:  # and half of it would not do
        assert by_hand(given, torch.float16, found.loss_scale / 2)[0] > 1e-3


def test_bfloat16_has_the_range_of_float32():
    assert underflow(problem(1e-6), torch.bfloat16).flushed == 0
    assert underflow(problem(1e-6)).flushed > 0.1


def test_the_largest_scale_does_not_overflow_and_the_next_one_may():
    given = problem(1.0)
    found = underflow(given)
    assert torch.isfinite(by_hand(given, torch.float16, found.largest_scale)[2]).all()
    assert not torch.isfinite(by_hand(given, torch.float16, 4 * found.largest_scale)[2]).all()


def test_a_smaller_minibatch_has_larger_gradients_in_its_layers():
    whole, single = underflow(problem(1e-3)), underflow(problem(1e-3, batch_size=1))
    layers = [
        (a.largest, b.largest)
        for a, b in zip(whole.rows, single.rows, strict=True)
        if not a.is_parameter
    ]
    assert all(b > 30 * a for a, b in layers)
    assert "loss scale" in str(whole)
