"""What a Pass records, against the same numbers taken by hand with plain torch."""

import itertools

import pytest
import torch
from torch import nn

from thalweg import NonFiniteError, Problem
from thalweg.passes import Pass


def mlp(activation=nn.Tanh, sizes=(5, 7, 6, 3), seed=0):
    torch.manual_seed(seed)
    layers = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*layers[:-1]).double()


def data(n=11, features=5, classes=3):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(n, features, generator=g, dtype=torch.float64)
    return x, torch.randint(classes, (n,), generator=g)


def by_hand(model, x, y):
    """Outputs of every module and the loss's gradients by them and by the parameters."""
    outputs, value = [], x
    for module in model:
        value = module(value)
        value.retain_grad()
        outputs.append(value)
    loss = nn.functional.cross_entropy(value, y)
    loss.backward()
    return loss, outputs


def test_layers_agree_with_a_pass_by_hand():
    model, (x, y) = mlp(), data()
    passed = Pass.of(Problem(model, nn.functional.cross_entropy, (x, y)))
    assert [layer.name for layer in passed.layers] == ["0", "2", "4"]
    loss, outputs = by_hand(model, x, y)
    assert passed.value == pytest.approx(float(loss.detach()), rel=1e-14)
    for layer, k in zip(passed.layers, (0, 2, 4), strict=True):
        module, z = model[k], outputs[k]
        assert layer.kind == "Linear"
        assert layer.fan_in == module.in_features
        assert layer.num_units == module.out_features
        assert layer.output_square == pytest.approx(float(z.detach().square().mean()), rel=1e-12)
        assert layer.gradient_norm == pytest.approx(float(z.grad.norm()), rel=1e-12)
        own = torch.cat([module.weight.grad.flatten(), module.bias.grad])
        assert layer.weight_gradient_norm == pytest.approx(float(own.norm()), rel=1e-12)
        assert layer.weight_variance == pytest.approx(
            module.in_features * float(module.weight.detach().square().mean()), rel=1e-12
        )
        assert layer.bias_variance == pytest.approx(
            float(module.bias.detach().square().mean()), rel=1e-12
        )
    assert passed.layers[0].input_square == pytest.approx(float(x.square().mean()), rel=1e-12)


def test_batches_do_not_matter():
    model, (x, y) = mlp(nn.ReLU), data(11)
    whole = Pass.of(Problem(model, nn.functional.cross_entropy, (x, y)))
    pieces = [(x[:4], y[:4]), (x[4:5], y[4:5]), (x[5:], y[5:])]
    parts = Pass.of(Problem(model, nn.functional.cross_entropy, pieces))
    for a, b in zip(whole.layers, parts.layers, strict=True):
        for name in ("input_square", "output_square", "gradient_norm", "weight_gradient_norm"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-12)
    for a, b in zip(whole.activations, parts.activations, strict=True):
        assert (a.saturated, a.dead) == (b.saturated, b.dead)


def test_saturation_and_death_are_counted():
    model = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0], [0.0], [1.0]]))
        # Units: on for x > 0; on for x < 0; off always; on for x > −3, that is always.
        model[0].bias.copy_(torch.tensor([0.0, 0.0, -1.0, 3.0]))
        model[2].weight.zero_()
        # tanh' = 1 − tanh²: below 1 % of 1 for |z| > 2.99, not at 0.
        model[2].bias.copy_(torch.tensor([3.1, 0.0]))
    x = torch.tensor([[-2.0], [1.0], [2.0]])
    passed = Pass.of(Problem(model, nn.functional.mse_loss, (x, torch.zeros(3, 1))))
    relu, tanh = passed.activations
    # Flat entries of the ReLU: unit 1 on one sample, unit 2 on two, unit 3 on three, unit 4 never.
    assert relu.saturated == pytest.approx((1 + 2 + 3 + 0) / 12)
    assert relu.dead == pytest.approx(1 / 4)
    assert (tanh.saturated, tanh.dead) == (0.5, 0.5)


def test_dead_channels_of_a_convolution():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4, 1))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([-1.0, 1.0, 1.0]))
    problem = Problem(model, nn.functional.mse_loss, (torch.rand(5, 1, 4, 4), torch.zeros(5, 1)))
    (relu,) = Pass.of(problem).activations
    assert relu.num_units == 3
    assert relu.dead == pytest.approx(1 / 3)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.second(torch.sigmoid(self.first(x)))


class InPlace(Functional):
    def forward(self, x):
        return self.second(nn.functional.relu_(self.first(x)))


class Method(Functional):
    def forward(self, x):
        return self.second(nn.functional.leaky_relu(self.first(x), negative_slope=0.3).tanh())


class Doubled(Functional):
    def forward(self, x):
        h = torch.tanh(self.first(x))
        return self.second(h + h)


class Residual(Functional):
    def forward(self, x):
        return self.second(torch.tanh(self.first(x)) + x[:, :1])


class Swish(Functional):
    def forward(self, x):
        z = self.first(x)
        return self.second(z * torch.sigmoid(1.702 * z))


class Sine(Functional):
    def forward(self, x):
        return self.second(torch.sin(30 * self.first(x)))


class Branch(Functional):
    def forward(self, x):
        z = self.first(x)
        return self.second(torch.where(z > 0, z, 0.1 * z))


class Bell(Functional):
    def forward(self, x):
        z = self.first(x).mul_(0.5)
        return self.second(z.reshape(2, 3, 4).square().neg_().exp().flatten(0, 1))


class Gated(Functional):
    def forward(self, x):
        a, b = self.first(x).chunk(2, dim=-1)
        return self.second((a * torch.sigmoid(b)).repeat(1, 2))


class NormalisedByHand(Functional):
    def forward(self, x):
        z = self.first(x)
        return self.second(z / (z.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt())


class Masked(Functional):
    """Written over by something that is not elementwise: no function of z alone."""

    def forward(self, x):
        h = 2 * torch.tanh(self.first(x))
        h[:, 0] = 7.0
        return self.second(h)


@pytest.mark.parametrize(
    ("model", "names", "chained"),
    [
        (Functional(), ["sigmoid"], [True, True]),
        (InPlace(), ["relu"], [True, True]),
        (Method(), ["leaky_relu·tanh"], [True, True]),
        (Doubled(), ["tanh"], [True, True]),
        (Residual(), ["tanh"], [True, False]),
        (Swish(), ["sigmoid·mul"], [True, True]),
        (Sine(), ["sin"], [True, True]),
        (Branch(), ["gt·where"], [True, True]),
        (Bell(), ["square·exp"], [True, True]),
        (Gated(), ["sigmoid"], [True, False]),
        (NormalisedByHand(), [], [True, False]),
        (Masked(), [], [True, False]),
    ],
)
def test_activations_are_seen_however_they_are_called(model, names, chained):
    problem = Problem(model, nn.functional.mse_loss, (torch.randn(6, 3), torch.zeros(6, 2)))
    passed = Pass.of(problem)
    assert [a.function_name for a in passed.activations] == names
    assert [layer.is_chained for layer in passed.layers] == chained


def test_the_function_that_was_put_together_is_the_activation():
    model = Swish().double()
    problem = Problem(
        model, nn.functional.mse_loss, (torch.randn(6, 3).double(), torch.zeros(6, 2).double())
    )
    (swish,) = Pass.of(problem).activations
    z = torch.linspace(-3, 3, 7, dtype=torch.float64)
    torch.testing.assert_close(swish.function(z), z * torch.sigmoid(1.702 * z))
    assert swish.is_chained
    assert swish.layer == 0


def test_activations_of_the_loss_are_no_layers():
    def loss(output, target):
        return nn.functional.softplus(-target * output).mean()

    problem = Problem(nn.Linear(3, 1), loss, (torch.randn(6, 3), torch.ones(6, 1)))
    assert Pass.of(problem).activations == ()


def test_a_layer_that_runs_twice_is_told_apart():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.Linear(3, 3)

        def forward(self, x):
            return self.cell(torch.tanh(self.cell(x)))

    problem = Problem(Twice(), nn.functional.mse_loss, (torch.randn(6, 3), torch.zeros(6, 3)))
    assert [layer.name for layer in Pass.of(problem).layers] == ["cell", "cell#2"]


def test_recurrent_and_normalised_layers_are_recorded():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.norm = nn.LSTM(3, 5, batch_first=True), nn.LayerNorm(5)
            self.head = nn.Linear(5, 1)

        def forward(self, x):
            return self.head(self.norm(self.lstm(x)[0][:, -1]))

    problem = Problem(Network(), nn.functional.mse_loss, (torch.randn(4, 6, 3), torch.zeros(4, 1)))
    lstm, norm, head = Pass.of(problem).layers
    assert (lstm.kind, lstm.has_matrix, norm.has_matrix) == ("LSTM", True, False)
    # The norm takes a part of what the LSTM returned, the head all of what the norm did.
    assert [layer.is_chained for layer in (lstm, norm, head)] == [True, False, True]
    assert min(layer.gradient_norm for layer in (lstm, norm, head)) > 0


def test_the_birthplace_of_a_nan_is_named():
    class Log(nn.Module):
        def forward(self, x):
            return x.log()

    model = nn.Sequential(nn.Linear(2, 2), Log(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.fill_(-1.0)
    problem = Problem(model, nn.functional.mse_loss, (torch.ones(3, 2), torch.zeros(3, 1)))
    with pytest.raises(NonFiniteError, match=r"born in layer '1' \(Log\)"):
        Pass.of(problem)
