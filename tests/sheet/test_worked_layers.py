"""Layers of torch, worked out: against closed forms, autograd in float64 and finite differences."""

import copy
import json
import math
import re
import shutil
import subprocess

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import thalweg
from thalweg.sheet import _layers, _standardised
from thalweg.sheet._follower import InFloat64


def seeded(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


X, IMAGES, SEQUENCES = seeded(4, 3), seeded(2, 2, 6, 6), seeded(2, 3, 4)
WORDS = torch.tensor([[0, 1, 2], [3, 4, 0]])
CLASSES = torch.tensor([0, 1])


class Written(nn.Module):
    """A forward given as a function of the module and its input."""

    def __init__(self, forward, **parts):
        super().__init__()
        self._forward = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs):
        return self._forward(self, *inputs)


def dense(*layers):
    return nn.Sequential(nn.Linear(3, 4), *layers, nn.Linear(4, 2))


def image(*layers, channels=4):
    first = nn.Conv2d(2, channels, 3, padding=1)
    return nn.Sequential(first, nn.SiLU(), *layers, nn.Flatten())


class Attended(nn.Module):
    """Causal attention as a course writes it, with its own mask and tied words."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.places = nn.Parameter(torch.zeros(1, 3, 4))
        self.norm, self.qkv, self.mix = nn.LayerNorm(4), nn.Linear(4, 12), nn.Linear(4, 4)
        self.mlp = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4))
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("mask", torch.tril(torch.ones(3, 3)).view(1, 1, 3, 3))

    def forward(self, words):
        x = self.words(words) + self.places[:, : words.size(1)]
        B, T, C = x.size()
        q, k, v = (
            part.view(B, T, 2, C // 2).transpose(1, 2)
            for part in self.qkv(self.norm(x)).split(C, dim=2)
        )
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(k.size(-1))
        scores = scores.masked_fill(self.mask[:, :, :T, :T] == 0, float("-inf"))
        y = (scores.softmax(-1) @ v).transpose(1, 2).contiguous().view(B, T, C)
        x = x + self.mix(y)
        return self.head(x + self.mlp(x))[:, -1]


class Residual(nn.Module):
    """A block of a residual network, with additions and activations in place."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 3, 3, 2, 1, bias=False), nn.Conv2d(3, 3, 3, 1, 1)
        self.norm_one, self.norm_two = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.short = nn.Sequential(nn.Conv2d(2, 3, 1, 2, bias=False), nn.BatchNorm2d(3))
        self.act, self.head = nn.ReLU(inplace=True), nn.Linear(3, 2)

    def forward(self, x):
        out = self.act(self.norm_one(self.one(x)))
        out = self.norm_two(self.two(out))
        out += self.short(x)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(self.act(out), 1), 1))


class Translated(nn.Module):
    """A sequence to a sequence by two GRUs."""

    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(5, 3), nn.Embedding(5, 3)
        self.encoder, self.decoder = nn.GRU(3, 3, batch_first=True), nn.GRU(3, 3, batch_first=True)
        self.head = nn.Linear(3, 5)

    def forward(self, source, target):
        _, state = self.encoder(self.source(source))
        states, _ = self.decoder(self.target(target), state)
        return self.head(states).flatten(0, 1)


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.gru = nn.LSTMCell(4, 3), nn.GRUCell(3, 2)

    def forward(self, x):
        h, c, g = torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 2)
        for t in range(x.shape[1]):
            h, c = self.lstm(x[:, t], (h, c))
            g = self.gru(h, g)
        return g.pow(2).mean()


def sliced(self, x):
    h = self.layer(x[:, ::2])
    out = torch.zeros(4, 3)
    out[:, 0] = h[:, 1]
    out[1] = h[2, :3] ** 2
    h = torch.cat([h.view(-1), x.T.reshape(-1)]).unsqueeze(0)
    return out.mean(0).sum() + torch.einsum("bi,bi->", h, h.flip(1)) + x.var(dim=1).sum()


def chosen(self, x):
    h = self.layer(x)
    return torch.where(h > 0, h, 0.1 * h).std() + h.topk(2)[0].sum() + h.amax() + h.max(1)[0].sum()


def overwritten(self, x):
    h = self.layer(x)
    h += 1
    h.mul_(2).tanh_()
    return h.sum() if h.sum() > 100 else h.pow(3).sum()


def by_hand(self, x):
    scale = torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)
    return (self.weight * (x.float() * scale).type_as(x)).pow(2).sum()


def unusual(self, x):
    h = self.layer(x)
    return (
        torch.logsumexp(h, 1).mean() + torch.atan(h).clamp(-1, 0.5).sum() + h.cumsum(1).norm()
        + F.normalize(h).prod() + torch.linalg.solve(torch.eye(4) + h.T @ h, torch.ones(4)).sum()
        + torch.einsum("b...i,ji->bj...", x, self.layer.weight).exp().mean() + torch.erf(h).sum()
    )  # fmt: skip


def held(self, x):
    with torch.no_grad():
        weights = torch.softmax(self.layer(x), -1)
    return (weights * self.layer(x) * self.layer(x).detach()).sum()


def linear():
    return {"layer": nn.Linear(3, 4)}


Y = seeded(4, 2, seed=1)
LAYERS = {
    **{
        name: (lambda make=make: dense(make()), X, Y, F.mse_loss)
        for name, make in {
            "layer norm": lambda: nn.LayerNorm(4),
            "RMS norm": lambda: nn.RMSNorm(4),
            "group norm": lambda: nn.GroupNorm(2, 4),
            "batch norm": lambda: nn.BatchNorm1d(4),
            "batch norm without weights": lambda: nn.BatchNorm1d(4, affine=False),
            "PReLU": nn.PReLU,
            "PReLU by channel": lambda: nn.PReLU(4),
            "GELU": nn.GELU,
            "GELU by tanh": lambda: nn.GELU("tanh"),
            "SiLU": nn.SiLU,
            "ELU": lambda: nn.ELU(0.7),
            "CELU": lambda: nn.CELU(0.7),
            "SELU": nn.SELU,
            "softplus": nn.Softplus,
            "softplus with β": lambda: nn.Softplus(2),
            "mish": nn.Mish,
            "hard swish": nn.Hardswish,
            "hard sigmoid": nn.Hardsigmoid,
            "hard tanh": nn.Hardtanh,
            "ReLU6": lambda: nn.ReLU6(inplace=True),
            "softsign": nn.Softsign,
            "tanh shrink": nn.Tanhshrink,
            "log-sigmoid": nn.LogSigmoid,
            "softmin": lambda: nn.Softmin(dim=-1),
            "soft shrink": nn.Softshrink,
            "dropout in eval": nn.Dropout,
        }.items()
    },
    "GLU": (lambda: nn.Sequential(nn.Linear(3, 4), nn.GLU()), X, Y, F.l1_loss),
    **{
        name: (lambda make=make: image(make()), IMAGES, None, None)
        for name, make in {
            "max pooling": lambda: nn.MaxPool2d(2),
            "max pooling with padding": lambda: nn.MaxPool2d(3, 2, 1),
            "mean pooling": lambda: nn.AvgPool2d(2),
            "mean pooling with padding": lambda: nn.AvgPool2d(3, 2, 1),
            "adaptive mean": lambda: nn.AdaptiveAvgPool2d((2, 3)),
            "adaptive max": lambda: nn.AdaptiveMaxPool2d(2),
            "batch norm in the plane": lambda: nn.BatchNorm2d(4),
            "instance norm": lambda: nn.InstanceNorm2d(4, affine=True),
            "group norm in the plane": lambda: nn.GroupNorm(2, 4),
            "transposed convolution": lambda: nn.ConvTranspose2d(4, 2, 2, 2),
            "convolution in groups": lambda: nn.Conv2d(4, 4, 3, groups=2, padding="same"),
            "upsampling": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
            "padding": lambda: nn.ReflectionPad2d(1),
            "pixel shuffle": lambda: nn.PixelShuffle(2),
        }.items()
    },
    "convolution of a sequence": (
        lambda: nn.Sequential(nn.Conv1d(4, 3, 2, padding=1), nn.MaxPool1d(2), nn.AvgPool1d(2)),
        SEQUENCES.transpose(1, 2), None, None,
    ),
    "RNN": (lambda: nn.RNN(4, 3), SEQUENCES, None, None),
    "RNN with ReLU": (lambda: nn.RNN(4, 3, nonlinearity="relu"), SEQUENCES, None, None),
    "LSTM": (lambda: nn.LSTM(4, 2, batch_first=True), SEQUENCES, None, None),
    "LSTM of one sample": (lambda: nn.LSTM(4, 2), SEQUENCES[0], None, None),
    "LSTM in both directions": (
        lambda: nn.LSTM(4, 2, 2, bidirectional=True), SEQUENCES[:, :2], None, None,
    ),
    "LSTM with a projection": (lambda: nn.LSTM(4, 3, proj_size=2), SEQUENCES, None, None),
    "GRU": (lambda: nn.GRU(4, 2, bias=False), SEQUENCES, None, None),
    "GRU of two layers": (lambda: nn.GRU(4, 2, 2), SEQUENCES, None, None),
    "cells": (Cells, SEQUENCES, None, None),
    "attention": (
        lambda: nn.MultiheadAttention(4, 2, batch_first=True), (SEQUENCES,) * 3, None, None,
    ),
    "attention of one sample": (
        lambda: nn.MultiheadAttention(4, 2), (SEQUENCES[0],) * 3, None, None,
    ),
    "encoder of a transformer": (
        lambda: nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), SEQUENCES, None, None,
    ),
    "decoder of a transformer": (
        lambda: nn.TransformerDecoderLayer(4, 2, 6, norm_first=True), (SEQUENCES, SEQUENCES),
        None, None,
    ),
    "causal attention": (Attended, WORDS, torch.tensor([1, 2]), F.cross_entropy),
    "residual": (Residual, IMAGES, CLASSES, F.cross_entropy),
    "sequence to sequence": (
        Translated, (WORDS[:1], WORDS[1:]), torch.tensor([4, 0, 1]), F.cross_entropy,
    ),
    "embedding": (
        lambda: nn.Sequential(nn.Embedding(5, 2), nn.Flatten(), nn.Linear(6, 2)),
        WORDS, CLASSES, F.cross_entropy,
    ),
    "bag of words": (lambda: nn.EmbeddingBag(5, 2), WORDS, None, None),
    "bilinear": (lambda: nn.Bilinear(3, 2, 2), (X, Y), None, None),
    "weights by parametrisation": (
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)),
            nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)),
        ), X, None, None,
    ),
    "slices": (lambda: Written(sliced, layer=nn.Linear(2, 4)), X, None, None),
    "chosen": (lambda: Written(chosen, **linear()), X, None, None),
    "overwritten": (lambda: Written(overwritten, **linear()), X, None, None),
    "by hand in half precision": (
        lambda: Written(by_hand, weight=nn.Parameter(torch.ones(3))), X, None, None,
    ),
    "unusual functions": (lambda: Written(unusual, **linear()), X, None, None),
    "Huber": (lambda: nn.Linear(3, 2), X, Y, nn.HuberLoss()),
    "weighted classes": (
        lambda: nn.Linear(3, 2), X, torch.tensor([0, 1, 1, 0]),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]), label_smoothing=0.1),
    ),
    "divergence": (
        lambda: nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(-1)), X, Y.softmax(-1),
        nn.KLDivLoss(reduction="batchmean"),
    ),
    "a loss of one's own": (
        lambda: nn.Linear(3, 2), X, Y, lambda a, b: ((a - b) ** 4).mean() + 0.1 * a.abs().max(),
    ),
}  # fmt: skip

TRAINED = {
    "batch norm of the batch": (lambda: dense(nn.BatchNorm1d(4)), X, Y, F.mse_loss),
    "batch norm of the images": (lambda: image(nn.BatchNorm2d(4)), IMAGES, None, None),
    "residual in training": (Residual, IMAGES, CLASSES, F.cross_entropy),
}


def squares(output, target):
    """A loss of any output, with another slope at each entry."""
    weights = torch.cos(torch.arange(output.numel(), dtype=output.dtype)).reshape(output.shape)
    return (weights * (output - target) ** 2).sum()


def case_of(name):
    """The module with seeded weights, its input, target and loss; the module again in float64."""
    make, x, y, loss = {**LAYERS, **TRAINED}[name]
    model = make()
    generator = torch.Generator().manual_seed(len(name))
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point() and tensor.dim() and "mask" not in name:
                is_mask = tensor.shape == (1, 1, 3, 3)
                if not is_mask:
                    tensor.copy_(0.3 + 0.5 * torch.rand(tensor.shape, generator=generator))
                    tensor.mul_(torch.cos(torch.arange(tensor.numel())).reshape(tensor.shape).abs())
    model.train(name in TRAINED)
    output = loss_of(copied(model), x, None, None)
    if loss is None and output.numel() != 1:
        y, loss = torch.full(output.shape, 0.3, dtype=torch.float64), squares
    return model, x, y, loss


def copied(model):
    return copy.deepcopy(model).double()


def loss_of(model, x, y, loss):
    """The loss of torch alone, with all that is real in float64."""
    with InFloat64():
        output = model(*(x if isinstance(x, tuple) else (x,)))
        output = output[0] if isinstance(output, tuple) else output
        return output if loss is None else loss(output, y)


def gradients_in(sheet):
    return {node.origin: node for node in sheet.graph.nodes if node.is_given and node.origin}


@pytest.mark.parametrize("name", [*LAYERS, *TRAINED])
def test_a_layer_is_worked_out_as_autograd_and_small_steps_have_it(name):
    model, x, y, loss = case_of(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    sheet = thalweg.worked(model, x, y, loss)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    double = copied(model)
    double_loss = copied(loss) if isinstance(loss, nn.Module) else loss
    value = loss_of(double, x, y, double_loss)
    torch.testing.assert_close(sheet.graph[sheet.graph.loss].value.reshape(()), value.detach())
    found, num_seen = gradients_in(sheet), 0
    parameters = dict(double.named_parameters())
    exact = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
    for (path, parameter), gradient in zip(parameters.items(), exact, strict=True):
        node = found.get(path) or found.get(f"0.{path}")
        if node is None:
            assert gradient is None or not bool(gradient.any())
            continue
        num_seen += 1
        torch.testing.assert_close(node.gradient, gradient, rtol=1e-8, atol=1e-13)
        # Central differences along one direction: off by step²/6 times a third derivative, which
        # is below 10³ here, and by rounding, 1e-16 of the loss by the step.
        along = torch.cos(1 + torch.arange(parameter.numel(), dtype=torch.float64))
        along, step = along.reshape(parameter.shape), 1e-5
        sides = []
        for sign in (1, -1):
            moved = copied(model)
            with torch.no_grad():
                dict(moved.named_parameters())[path].add_(sign * step * along)
                sides.append(loss_of(moved, x, y, double_loss))
        difference = float(sides[0] - sides[1]) / (2 * step)
        assert float((node.gradient * along).sum()) == pytest.approx(
            difference, rel=1e-5, abs=2e-7 + 1e-10 * float(value.detach().abs())
        )
    assert num_seen or not parameters


def normalised_by_hand(z, eps=1e-5):
    mean, variance = z.mean(-1, keepdim=True), z.var(-1, keepdim=True, correction=0)
    return (z - mean) / (variance + eps).sqrt(), (variance + eps).sqrt()


def test_layer_norm_is_its_closed_form():
    sheet = thalweg.worked(nn.LayerNorm(3), X, X.flip(0), nn.MSELoss(reduction="sum"))
    y, s = normalised_by_hand(X)
    delta = 2 * (y - X.flip(0))
    wanted = (delta - delta.mean(-1, keepdim=True) - y * (delta * y).mean(-1, keepdim=True)) / s
    torch.testing.assert_close(sheet.graph["x_hat_1"].value, y)
    torch.testing.assert_close(sheet.graph["x"].gradient, wanted)
    (local,) = sheet.graph["x_hat_1"].locals
    torch.testing.assert_close(local.value, 1 / s.reshape(-1))
    assert local.rule.text == "(δ − mean δ − x̂₁ ⊙ mean(δ ⊙ x̂₁))/s"
    assert local.rule.latex.count(r"\operatorname{mean}") == 2


def test_batch_norm_goes_by_the_batch_in_training_and_by_what_it_kept_otherwise():
    layer = nn.BatchNorm1d(3).double()
    with torch.no_grad():
        layer.running_mean.fill_(0.5)
        layer.running_var.fill_(4.0)
    kept = thalweg.worked(layer.eval(), X, X, F.mse_loss).graph
    torch.testing.assert_close(kept["x_hat_1"].value, (X - 0.5) / math.sqrt(4 + 1e-5))
    batch = thalweg.worked(layer.train(), X, X, F.mse_loss).graph
    torch.testing.assert_close(batch["x_hat_1"].value, normalised_by_hand(X.T)[0].T)
    assert layer.num_batches_tracked == 0
    assert "over the batch" in batch["x_hat_1"].operation


def test_an_lstm_is_written_out_gate_by_gate_and_its_weights_sum_over_time():
    layer = nn.LSTM(1, 1, bias=False).double()
    with torch.no_grad():
        for k, p in enumerate(layer.parameters()):
            p.copy_(torch.tensor([[0.5], [-0.4], [0.3], [0.2]], dtype=torch.float64) + 0.1 * k)
    x = torch.tensor([[[0.7]], [[-1.1]], [[0.4]]], dtype=torch.float64)
    graph = thalweg.worked(layer, x, torch.zeros(3, 1, 1), F.mse_loss).graph
    h = c = 0.0
    W, R = (p.detach().reshape(-1).tolist() for p in layer.parameters())
    for t in range(3):
        i, f, g, o = (w * float(x[t]) + r * h for w, r in zip(W, R, strict=True))
        i, f, o = (1 / (1 + math.exp(-v)) for v in (i, f, o))
        c = f * c + i * math.tanh(g)
        h = o * math.tanh(c)
        for letter, value in {"i": i, "f": f, "g": math.tanh(g), "o": o, "c": c, "h": h}.items():
            assert float(graph[f"{letter}_{t + 1}"].value) == pytest.approx(value, rel=1e-12)
    assert len(graph["W_hh"].paths) == len(graph["W_ih"].paths) == 3
    total = sum(path.gradient for path in graph["W_hh"].paths)
    torch.testing.assert_close(graph["W_hh"].gradient, total)


def test_attention_is_written_out_head_by_head():
    model = nn.MultiheadAttention(4, 2, batch_first=True).double()
    graph = thalweg.worked(model, (SEQUENCES,) * 3, SEQUENCES, F.mse_loss).graph
    _, weights = model(SEQUENCES, SEQUENCES, SEQUENCES, average_attn_weights=False)
    torch.testing.assert_close(graph["p_1"].value, weights.detach())
    assert graph["q_1"].shape == (2, 2, 3, 2)
    torch.testing.assert_close(
        graph["p_1"].value, (graph["q_1"].value @ graph["k_1"].value.mT / math.sqrt(2)).softmax(-1)
    )


def test_the_largest_entry_gets_the_gradient_of_its_window():
    x = torch.tensor([[[1.0, 3.0, 2.0, 2.0]]], dtype=torch.float64)
    graph = thalweg.worked(
        nn.MaxPool1d(2), x, torch.zeros(1, 1, 2), nn.MSELoss(reduction="sum")
    ).graph
    # Of the two equal ones the first, as torch does.
    assert graph["x"].gradient.tolist() == [[[0, 6, 4, 0]]]


def test_whole_numbers_get_no_gradient():
    sheet = thalweg.worked(nn.Embedding(5, 2), WORDS, torch.zeros(2, 3, 2), F.mse_loss)
    assert sheet.graph["x"].is_whole
    record = json.loads(sheet.to_json())
    (words,) = [node for node in record["nodes"] if node["name"] == "x"]
    assert words["gradient"] is None
    assert "∂L/∂x" not in str(sheet)


def test_nothing_is_learnt_of_the_row_of_the_padding():
    layer = nn.Embedding(5, 2, padding_idx=0)
    graph = thalweg.worked(layer, WORDS, torch.ones(2, 3, 2), F.mse_loss).graph
    assert graph["E"].gradient[0].tolist() == [0, 0]
    assert bool((graph["E"].gradient[1:] != 0).all())


def test_what_is_held_gets_no_gradient():
    sheet = thalweg.worked(Written(held, **linear()), X)
    assert any("stop" in node.formula.text for node in sheet.graph.nodes)


def test_several_inputs_by_place_and_by_name():
    model = Written(lambda self, a, b: (a * b).sum())
    graph = thalweg.worked(model, (X, 2 * X)).graph
    torch.testing.assert_close(graph["x_1"].gradient, 2 * X)

    class Named(nn.Module):
        def forward(self, first, second):
            return (first * second).sum()

    graph = thalweg.worked(Named(), {"second": X, "first": 3 * X}).graph
    torch.testing.assert_close(graph["second"].gradient, 3 * X)


def test_where_a_program_looks_at_values_no_other_activation_is_tried():
    taken = thalweg.worked(Written(lambda s, x: torch.tanh(x).sum() * (2 if x.sum() > 0 else 1)), X)
    assert not taken.alternatives
    assert thalweg.worked(Written(lambda s, x: torch.tanh(x).sum()), X).alternatives


REFUSED = {
    "dropout": (dense(nn.Dropout()), X, Y, F.mse_loss, "module '1' (Dropout), dropout, is random"),
    "dropout between layers": (
        nn.LSTM(4, 2, 2, dropout=0.5), SEQUENCES, SEQUENCES[..., :2], F.mse_loss,
        "call model.eval() first",
    ),
    "dropout in attention": (
        nn.MultiheadAttention(4, 2, dropout=0.1), (SEQUENCES,) * 3, SEQUENCES, F.mse_loss,
        "is random in training",
    ),
    "noise": (
        Written(lambda s, x: (x + torch.randn_like(x)).sum()), X, None, None,
        "randn_like draws random numbers",
    ),
    "one sample": (nn.BatchNorm1d(3), X[:1], X[:1], F.mse_loss, "call model.eval() first"),
    "complex": (Written(lambda s, x: torch.fft.fft(x).abs().sum()), X, None, None, "complex"),
    "parameter written into": (
        Written(lambda s, x: s.layer.weight.data.mul_(2).sum() + s.layer(x).sum(), **linear()),
        X, None, None, "",
    ),
    "two outputs": (Written(lambda s, x: (x, x)), X, Y, F.mse_loss, "returns tuple"),
    "own gradient": (
        Written(lambda s, x: Doubled.apply(x).sum()), X, None, None, "",
    ),
    "wrong size": (nn.Linear(4, 2), X, Y, F.mse_loss, "takes 4 numbers and gets 4×3"),
    "too large": (nn.Sequential(nn.RNN(3, 2)), seeded(600, 3), seeded(600, 2), F.mse_loss,
                  "more than 2,000 operations"),
}  # fmt: skip


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, delta):
        return delta * 3


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_written_out_says_why(name):
    *arguments, said = REFUSED[name]
    with pytest.raises(thalweg.ThalwegError) as caught:
        thalweg.worked(*arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_rule_is_found_out(monkeypatch):
    """The proof is by autograd, not by the rule itself."""
    monkeypatch.setattr(
        _standardised.Standardised, "pull", lambda self, slot, delta, inputs, output: delta
    )
    with pytest.raises(thalweg.ThalwegError, match="by autograd"):
        thalweg.worked(nn.LayerNorm(3), X, X.flip(0), F.mse_loss)


def test_a_wrong_value_is_found_out(monkeypatch):
    monkeypatch.setitem(
        _layers.LAYERS,
        "layer_norm",
        lambda follower, x, *rest, **named: follower.tensor_of(follower.place_of(x)),
    )
    with pytest.raises(thalweg.ThalwegError, match="not what the module gives"):
        thalweg.worked(nn.LayerNorm(3), X, X.flip(0), F.mse_loss)


@pytest.mark.parametrize(
    "name", ["LSTM", "causal attention", "residual in training", "unusual functions"]
)
def test_every_output_is_written(name):
    model, x, y, loss = case_of(name)
    sheet = thalweg.worked(model, x, y, loss)
    record = json.loads(sheet.to_json())
    assert len(record["nodes"]) == len(sheet.graph.nodes)
    latex = sheet.to_latex()
    assert latex.isascii()
    assert latex.count(r"\left") == latex.count(r"\right")
    assert latex.count("{") == latex.count("}")
    assert "## Backward" in sheet.to_markdown()
    assert "numbers were compared with autograd" in str(sheet)
    assert re.search(r"<svg|plotly", sheet.page().html())


TEX = shutil.which("pdflatex")


@pytest.mark.skipif(TEX is None, reason="no pdflatex here: apt-get install texlive-latex-base")
def test_the_latex_of_every_layer_compiles(tmp_path):
    from thalweg.sheet._worked_latex import PREAMBLE

    bodies = []
    for name in [*LAYERS, *TRAINED]:
        model, x, y, loss = case_of(name)
        bodies.append(thalweg.worked(model, x, y, loss).to_latex(is_document=False))
    (tmp_path / "sheet.tex").write_text(
        PREAMBLE + "\n\\clearpage\n".join(bodies) + "\\end{document}"
    )
    command = [TEX, "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "sheet.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-1500:]
