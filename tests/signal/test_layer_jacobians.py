"""Jacobians of layers and networks against products of matrices and torch's own Jacobian."""

import pytest
import torch
from torch import nn

from thalweg import Problem, ProblemError
from thalweg.signal import jacobians


def generator():
    return torch.Generator().manual_seed(0)


def problem(model, *shape, loss=nn.functional.mse_loss):
    torch.manual_seed(0)
    x = torch.randn(4, *shape, dtype=torch.float64)
    with torch.no_grad():
        out = model(x)
    return Problem(model, loss, (x, torch.zeros_like(out)))


def dense(model, x):
    with torch.enable_grad():
        J = torch.autograd.functional.jacobian(lambda t: model(t[None])[0], x)
    return J.reshape(-1, x.numel())


def test_a_linear_network_is_the_product_of_its_matrices():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 4), nn.Linear(4, 5)).double()
    found = jacobians(problem(model, 6), k=4, generator=generator())
    W1, W2, W3 = (layer.weight.detach() for layer in model)
    exact = torch.linalg.svdvals(W3 @ W2 @ W1)
    values = found.end_to_end.singular.largest.values
    torch.testing.assert_close(values, exact[:4], rtol=0, atol=1e-12)
    assert [(row.source, row.name) for row in found.layers] == [
        ("input", "0"), ("0", "1"), ("1", "2"),
    ]  # fmt: skip
    for row, W in zip(found.layers, (W1, W2, W3), strict=True):
        top = float(row.singular.largest.values[0])
        assert top == pytest.approx(float(torch.linalg.svdvals(W)[0]), rel=1e-12)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 6)

    def forward(self, x):
        return x + self.second(torch.tanh(self.norm(self.first(x))))


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 7), nn.Linear(7, 3)

    def forward(self, x):
        return self.second(nn.functional.relu_(self.first(x)))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)

    def forward(self, x):
        return self.inner(x)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Residual(), (6,)),
        (InPlace(), (6,)),
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)), (2, 4, 4)),
        (Attention(), (3, 4)),
        (Recurrent(), (4, 3)),
    ],
)
def test_the_whole_is_torchs_own_jacobian(model, shape):
    model = model.double()
    given = problem(model, *shape)
    found = jacobians(given, sample=2, k=2, generator=generator())
    exact = torch.linalg.svdvals(dense(model, given.data[0][2]))
    singular = found.end_to_end.singular
    torch.testing.assert_close(singular.largest.values, exact[:2], rtol=0, atol=1e-10)
    torch.testing.assert_close(singular.smallest.values, exact[-2:], rtol=0, atol=1e-10)
    assert singular.largest.is_converged
    assert all(row.singular.largest.values[0] > 0 for row in found.layers)


def test_tokens_begin_at_the_embedding():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    data = (torch.randint(9, (5, 3)), torch.randint(2, (5,)))
    found = jacobians(Problem(model, nn.functional.cross_entropy, data), generator=generator())
    assert found.end_to_end is None
    assert [(row.source, row.name) for row in found.layers] == [("0", "2")]


def test_what_has_no_jacobian_is_refused():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    given = problem(model, 3)
    with pytest.raises(ProblemError, match="in_eval_mode"):
        jacobians(given, generator=generator())
    assert jacobians(given.in_eval_mode(), generator=generator()).end_to_end is not None
    with pytest.raises(ProblemError, match="from 0 to 3"):
        jacobians(given.in_eval_mode(), sample=4, generator=generator())
