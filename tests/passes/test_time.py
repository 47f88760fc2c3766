"""Recurrent layers along time, against cells unrolled by hand."""

import pytest
import torch
from torch import nn

from thalweg import Problem, ProblemError
from thalweg.passes import Pass, along_time
from thalweg.signal import Signal, TimeSignal


class Last(nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.rnn, self.head = rnn, nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0].mean(1))


CELLS = {nn.RNN: nn.RNNCell, nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell}


def data(n=6, steps=7):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(n, steps, 3, generator=g, dtype=torch.float64)
    return x, torch.randn(n, 2, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("kind", CELLS)
def test_states_and_gradients_of_an_unrolled_cell(kind):
    torch.manual_seed(0)
    model, (x, y) = Last(kind(3, 5, batch_first=True)).double(), data()
    cell = CELLS[kind](3, 5).double()
    for name, p in cell.named_parameters():
        p.data.copy_(getattr(model.rnn, f"{name}_l0"))
    states, state = [], None
    for t in range(7):
        state = cell(x[:, t], state)
        # As they are handed on: h is made of c within the step, which is no part of the way back.
        state = tuple(part.clone() for part in (state if kind is nn.LSTM else (state,)))
        states.append(state)
        for part in state:
            part.retain_grad()
        state = state if kind is nn.LSTM else state[0]
    out = model.head(torch.stack([s[0] for s in states], 1).mean(1))
    nn.functional.mse_loss(out, y).backward()
    pieces = [(x[:4], y[:4]), (x[4:], y[4:])]
    for given in ((x, y), pieces):
        (found,) = along_time(Problem(model, nn.functional.mse_loss, given))
        assert (found.name, found.kind) == ("rnn", kind.__name__)
        for step, by_hand in zip(found.steps, states, strict=True):
            scale = float(by_hand[0].detach().square().mean().sqrt())
            norm = float(
                torch.cat([p.grad.flatten() for p in by_hand if p.grad is not None]).norm()
            )
            assert step.scale == pytest.approx(scale, rel=1e-10)
            assert step.gradient_norm == pytest.approx(norm, rel=1e-10)


def test_it_leaves_the_model_as_it_is(unchecked):
    model = Last(nn.GRU(3, 5, num_layers=2, batch_first=True)).double()
    problem = Problem(model, nn.functional.mse_loss, data())
    value = Pass.of(problem).value
    (found,) = along_time(problem)
    assert len(found.steps) == 7
    assert "forward" not in vars(model.rnn)
    assert "forward" not in vars(problem.shadow.rnn)
    assert Pass.of(problem).value == value


def test_a_memory_that_fades_and_one_that_stays():
    """A linear-like recurrence of gain g: each step back multiplies the gradient by g."""
    for gain in (0.5, 1.0, 1.5):
        rnn = nn.RNN(3, 5, batch_first=True, bias=False).double()
        with torch.no_grad():
            rnn.weight_ih_l0.zero_()
            rnn.weight_hh_l0.copy_(gain * torch.eye(5))

        class Final(Last):
            def forward(self, x):
                return self.head(self.rnn(x)[0][:, -1])

        (found,) = along_time(Problem(Final(rnn).double(), nn.functional.mse_loss, data()))
        assert TimeSignal.of(found).gradient.factor == pytest.approx(gain, rel=1e-10)


def test_what_has_no_steps_is_refused():
    for rnn, words in (
        (nn.GRU(3, 5, batch_first=True, bidirectional=True), "both directions"),
        (None, "no nn.RNN"),
    ):
        model = nn.Linear(3, 2) if rnn is None else Last(rnn)
        with pytest.raises(ProblemError, match=words):
            along_time(Problem(model, nn.functional.mse_loss, (torch.ones(2, 3), torch.ones(2, 2))))


class Residual(nn.Module):
    def __init__(self, depth=6, width=20):
        super().__init__()
        self.stem = nn.Linear(3, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())
            for _ in range(depth)
        )
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + 0.3 * block(x)
        return self.head(x)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(3, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.encoder(self.stem(x)).mean(1))


class Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.GRUCell(3, 5), nn.Linear(5, 2)

    def forward(self, x):
        h = None
        for step in x.unbind(1):
            h = self.cell(step, h)
        return self.head(h)


@pytest.mark.parametrize(
    ("model", "num_rows"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(21, 3), Residual()), 9),
        (Attention(), 8),
        (Loop(), 8),
        (Last(nn.LSTM(3, 5, batch_first=True)), 2),
        (nn.Sequential(nn.Conv1d(7, 8, 1), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 8, 1),
                       nn.Flatten(), nn.Linear(24, 2)).eval(), 3),
    ],
)  # fmt: skip
def test_every_kind_of_network_has_its_signal(model, num_rows):
    """Residual, normalised, attention, recurrent by hand and built in, convolutional."""
    torch.manual_seed(0)
    signal = Signal.of(Pass.of(Problem(model.double(), nn.functional.mse_loss, data())))
    assert len(signal.rows) == num_rows
    assert all(row.gradient_norm > 0 and row.scale > 0 for row in signal.rows)
    assert signal.predicted_factor is None
    if num_rows > 2:
        assert signal.gradient.low <= signal.gradient.factor <= signal.gradient.high
