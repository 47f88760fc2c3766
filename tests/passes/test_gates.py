"""Flat slopes of gates, against cells that are run step by step and differentiated."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from thalweg import Problem
from thalweg.passes import flat_gates

SAMPLES, STEPS, INPUTS, UNITS = 5, 7, 3, 4


class Last(nn.Module):
    """A recurrent layer, of which the last state answers."""

    def __init__(self, kind, scale, batch_first=True, is_begun=False, **settings):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.rnn = kind(INPUTS, UNITS, batch_first=batch_first, **settings)
        with torch.no_grad():
            for p in self.rnn.parameters():
                p.copy_(scale * torch.randn(p.shape, generator=generator))
        self.is_begun = is_begun

    def begin(self, x):
        begin = torch.full((1, SAMPLES, UNITS), 0.5, dtype=x.dtype)
        return (begin, begin) if isinstance(self.rnn, nn.LSTM) else begin

    def forward(self, x):
        output, _ = self.rnn(x, self.begin(x)) if self.is_begun else self.rnn(x)
        return output[:, -1] if self.rnn.batch_first else output[-1]


def by_hand(model, x):
    """Share of flat slopes, each by autograd from a gate's preactivation."""
    rnn, H = model.rnn, UNITS
    h = c = torch.full((SAMPLES, H), 0.5 if model.is_begun else 0.0, dtype=x.dtype)
    flat = total = 0

    def slope(phi, a, steepest):
        nonlocal flat, total
        a = a.detach().requires_grad_()
        (slopes,) = torch.autograd.grad(phi(a).sum(), a)
        flat += int((slopes < 0.01 * steepest).sum())
        total += slopes.numel()

    w, u, b, d = (p.detach() for p in rnn.parameters())
    for t in range(STEPS):
        i, s = x[:, t] @ w.T + b, h @ u.T + d
        if isinstance(rnn, nn.LSTM):
            parts = (i + s).split(H, 1)
            for place, a in enumerate(parts):
                slope(*((torch.tanh, a, 1.0) if place == 2 else (torch.sigmoid, a, 0.25)))
            entry, forget, cell, out = parts
            c = forget.sigmoid() * c + entry.sigmoid() * cell.tanh()
            h = out.sigmoid() * c.tanh()
        elif isinstance(rnn, nn.GRU):
            (ri, zi, ni), (rs, zs, ns) = i.split(H, 1), s.split(H, 1)
            slope(torch.sigmoid, ri + rs, 0.25)
            slope(torch.sigmoid, zi + zs, 0.25)
            r, z = (ri + rs).sigmoid(), (zi + zs).sigmoid()
            slope(torch.tanh, ni + r * ns, 1.0)
            h = (1 - z) * (ni + r * ns).tanh() + z * h
        else:
            slope(torch.tanh, i + s, 1.0)
            h = (i + s).tanh()
    return flat / total


def problem_of(model, x):
    data = x if model.rnn.batch_first else x.transpose(0, 1)
    y = torch.zeros(SAMPLES, UNITS, dtype=x.dtype)
    if model.rnn.batch_first:
        return Problem(model, F.mse_loss, (data, y))
    # One batch whose first dimension is time.
    return Problem(model, F.mse_loss, [(data, y)])


def sequences():
    x = torch.randn(SAMPLES, STEPS, INPUTS, generator=torch.Generator().manual_seed(1))
    return x.double()


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("scale", [0.3, 2.0, 8.0])
@pytest.mark.parametrize("is_begun", [False, True])
def test_the_share_is_that_of_cells_by_hand(kind, scale, is_begun):
    model, x = Last(kind, scale, is_begun=is_begun).double(), sequences()
    expected = by_hand(model, x)
    assert flat_gates(problem_of(model, x)) == {"rnn": pytest.approx(expected)}
    assert (expected < 0.05) == (scale == 0.3)


def test_time_may_come_first():
    model, x = Last(nn.GRU, 2.0, batch_first=False).double(), sequences()
    found = flat_gates(problem_of(model, x))
    assert found == {"rnn": pytest.approx(by_hand(model, x))}


@pytest.mark.parametrize(
    "settings", [{"num_layers": 2}, {"bidirectional": True}, {"nonlinearity": "relu"}]
)
def test_layers_whose_states_are_not_their_outputs_are_left_out(settings):
    model = Last(nn.RNN, 0.3, **settings).double()
    y = torch.zeros(SAMPLES, UNITS * (1 + settings.get("bidirectional", 0)), dtype=torch.float64)
    assert flat_gates(Problem(model, F.mse_loss, (sequences(), y))) == {}


def test_a_network_without_such_layers_is_not_run():
    class Refusing(nn.Linear):
        def forward(self, x):
            raise AssertionError("it is run")

    model = Refusing(INPUTS, UNITS).double()
    data = torch.zeros(SAMPLES, INPUTS).double(), torch.zeros(SAMPLES, UNITS).double()
    assert flat_gates(Problem(model, F.mse_loss, data)) == {}


def test_nothing_is_left_on_the_model():
    model = Last(nn.GRU, 0.3).double()
    flat_gates(problem_of(model, sequences()))
    assert not model.rnn._forward_hooks
