"""Muon's matrices are multiplied in a dtype that the processor is made for, and come out alike."""

from __future__ import annotations

import pytest
import torch
from torch import nn

if not hasattr(torch.optim, "Muon"):
    pytest.skip("Muon came with torch 2.9", allow_module_level=True)

from thalweg.race.contenders._muon import Kept, Muon


def stepped(kind, gradient):
    matrix = nn.Parameter(torch.zeros_like(gradient))
    matrix.grad = gradient.clone()
    kind([matrix], lr=1.0, weight_decay=0.0).step()
    assert torch.equal(matrix.grad, gradient)
    return -matrix.detach()


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (8, 8)])
def test_its_step_is_torchs_to_the_rounding_of_bfloat16(shape):
    gradient = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    own, torchs = stepped(Muon, gradient), stepped(torch.optim.Muon, gradient)
    assert float((own - torchs).norm() / torchs.norm()) < 0.03


def test_nothing_is_cast_while_it_steps_and_everything_after():
    values = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    with Kept():
        kept = values.bfloat16()
    assert torch.equal(kept, values)
    assert kept is not values
    assert values.bfloat16().dtype == torch.bfloat16


def test_where_the_processor_has_no_arithmetic_for_it_singular_values_come_near_one(monkeypatch):
    """Five steps of the quintic leave them within (0.6, 1.3), by float32 as well."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    gradient = torch.randn(16, 40, generator=torch.Generator().manual_seed(1))
    step = stepped(Muon, gradient)
    values = torch.linalg.svdvals(step / step.norm() * 16**0.5)
    assert 0.5 < float(values.min()) <= float(values.max()) < 1.5
