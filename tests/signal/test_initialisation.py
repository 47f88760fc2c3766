"""The initialisation at the edge: what it draws, and that gradients keep their size there."""

import pytest
import torch
from torch import nn

from thalweg import Pass, Problem, ThalwegError
from thalweg.problems import deep_sigmoid_digits, relu_digits, vanishing_tanh_digits
from thalweg.signal import Signal, Trainability, edge_initialisation, gaussian, orthogonal


def generator():
    return torch.Generator().manual_seed(0)


def deep(activation, depth=12, width=150):
    torch.manual_seed(0)
    layers = [nn.Linear(40, width), activation()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), activation()]
    model = nn.Sequential(*layers, nn.Linear(width, width)).double()
    x, y = (torch.randn(32, n, generator=generator(), dtype=torch.float64) for n in (40, width))
    return Problem(model, lambda out, target: (out * target).mean(), (3 * x, y))


@pytest.mark.parametrize(
    "activation", [nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.SELU, nn.ELU, nn.Sigmoid, nn.Softsign]
)
def test_gradients_keep_their_size_at_the_edge(activation):
    """Geometric mean over eleven ratios, of width 150: three times √(5/150)/2/√11 is 8 %."""
    problem = deep(activation)
    anew = edge_initialisation(problem).applied(problem, generator())
    signal = Signal.of(Pass.of(anew))
    assert signal.gradient.factor == pytest.approx(1, abs=0.08)
    assert signal.scale.factor == pytest.approx(1, abs=0.08)
    assert signal.prediction.low <= 1 <= signal.prediction.high
    # And not before.
    if activation is not nn.Softsign:
        assert abs(Signal.of(Pass.of(problem)).gradient.factor - 1) > 0.08


def test_the_model_stays_as_it_is_and_the_generator_decides():
    problem = relu_digits()
    before = [p.detach().clone() for p in problem.model.parameters()]
    found = edge_initialisation(problem)
    once, again = (found.applied(problem, generator()) for _ in range(2))
    for p, old, a, b in zip(
        problem.model.parameters(), before, once.model.parameters(), again.model.parameters(),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(p, old)
        assert torch.equal(a, b)
        if p.ndim == 2:
            assert not torch.equal(p, a)


def test_standard_deviations_go_by_fan_in():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(32, 5),
    )  # fmt: skip
    data = (torch.randn(6, 3, 6, 6), torch.randint(5, (6,)))
    found = edge_initialisation(Problem(model, nn.functional.cross_entropy, data))
    assert [row.fan_in for row in found.layers] == [27, 72, 32]
    assert [row.activation for row in found.layers] == ["", "relu", "relu"]
    assert found.layers[1].weight_std == pytest.approx((2 / 72) ** 0.5)
    assert found.layers[1].bias_std == 0
    assert "fan-in" in str(found)


def test_orthogonal_matrices_and_kernels_are_isometries():
    for shape in ((6, 6), (9, 6), (6, 9)):
        W = orthogonal(torch.empty(shape, dtype=torch.float64), 0.3, generator())
        assert float(W.square().mean().sqrt()) == pytest.approx(0.3, rel=1e-12)
        small = W @ W.T if shape[0] <= shape[1] else W.T @ W
        torch.testing.assert_close(small, small[0, 0] * torch.eye(6, dtype=torch.float64))
    conv = nn.Conv2d(5, 5, 3, padding=1, bias=False).double()
    std = (1 / 45) ** 0.5  # σ_w² = 1
    with torch.no_grad():
        conv.weight.copy_(orthogonal(conv.weight, std, generator()))
        x = torch.randn(2, 5, 7, 7, generator=generator(), dtype=torch.float64)
        assert float(conv(x).norm()) == pytest.approx(float(x.norm()), rel=1e-12)
    drawn = gaussian(torch.empty(300, 300), 0.3, generator())
    assert float(drawn.std()) == pytest.approx(0.3, rel=0.02)


def test_what_theory_leaves_out_is_said():
    model = nn.Sequential(
        nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.LSTM(8, 8), _First(), nn.Linear(8, 1)
    )
    problem = Problem(model, nn.functional.mse_loss, (torch.randn(9, 4), torch.zeros(9, 1)))
    notes = " ".join(edge_initialisation(problem).notes)
    assert "Left as they are: 3." in notes
    assert "no plain chain" in notes


class _First(nn.Module):
    def forward(self, output):
        return output[0]


def test_what_cannot_be_initialised():
    norm = Problem(nn.LayerNorm(4), lambda out: out.square().mean(), torch.randn(5, 4))
    with pytest.raises(ThalwegError, match="nothing to draw anew"):
        edge_initialisation(norm)
    with pytest.raises(ThalwegError, match="leave bias_variance out"):
        edge_initialisation(deep(nn.GELU, 3, 20), bias_variance=0.05)


def test_trainability_tells_good_starts_from_bad_ones():
    bad = [deep_sigmoid_digits(), vanishing_tanh_digits()]
    for problem in bad:
        before = Trainability.of(Signal.of(Pass.of(problem)))
        anew = edge_initialisation(problem).applied(problem, generator())
        after = Trainability.of(Signal.of(Pass.of(anew)))
        assert not before.can_train
        assert before.starved_layer != list(dict(problem.model.named_children()))[-1]
        assert after.can_train
        assert after.score > before.score
    assert Trainability.of(Signal.of(Pass.of(relu_digits()))).can_train


def test_saturated_units_lower_the_score():
    problem = relu_digits()
    model = nn.Sequential(nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 10))
    with torch.no_grad():
        model[0].weight.mul_(100)
    found = Trainability.of(Signal.of(Pass.of(problem.with_model(model))))
    assert found.live_share < 0.5
    assert found.score == pytest.approx(found.live_share)
