"""Every ailment is found on a network that has it, and not on a twin; odd health is no ailment."""

from __future__ import annotations

import copy
import math
from functools import cache

import jaxtyping
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from sklearn.datasets import make_circles
from torch import nn

from networks import (
    BATCH,
    Attentive,
    Logarithm,
    OwnLoss,
    Recurrent,
    Residual,
    adam,
    classify,
    clusters,
    curve,
    dense,
    examined,
    gaussian,
    regress,
    scaled,
    seeded,
    sgd,
    trained,
    with_one_feature_constant,
)
from thalweg import Problem
from thalweg.doctor import Ailment
from thalweg.doctor._readings import Readings
from thalweg.doctor.findings import RULES


def no_zero_grad(model, batch, optimizer):
    x, y = batch
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def summed_over(number, num_calls=0):
    """Gradients summed up over some minibatches, as people do on purpose."""
    calls = [num_calls]

    def step(model, batch, optimizer):
        x, y = batch
        loss = F.cross_entropy(model(x), y)
        (loss / number).backward()
        calls[0] += 1
        if calls[0] % number == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    return step


def data(change_x=None, change_y=None, of=clusters):
    x, y = (t.clone() for t in of())
    return (change_x(x) if change_x else x), (change_y(y) if change_y else y)


def given(model, loss, data, optimizer, **settings):
    settings = {"batch_size": BATCH} | settings
    return Problem(model, loss, data, optimizer=optimizer, **settings)


def with_nan(x):
    x[::50, 2] = math.nan
    return x


def with_codes(y):
    """A number that stands for what is missing, in two answers of a hundred."""
    y = y.clone()
    y[::50] = -999.0
    return y


def far_out(x):
    x[::60] *= 1e4
    return x


def finite_only(model, batch, optimizer):
    x, y = batch
    keep = x.isfinite().all(1)
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x[keep]), y[keep])
    loss.backward()
    optimizer.step()
    return loss


def grey():
    """An autoencoder of values between 0 and 1: none of its answers is simply right or wrong."""
    x = clusters()[0].sigmoid()
    model = dense(8, 16, 6, 16, 8)
    return Problem(
        model, F.binary_cross_entropy_with_logits, (x[80:], x[80:]), test=(x[:80], x[:80]),
        optimizer=adam(1e-2), batch_size=BATCH,
    )  # fmt: skip


def shuffled(y):
    return y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]


def binary(y):
    return (y > 0).float()[:, None]


class Unmasking(nn.Module):
    """Takes what is not finite as missing."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(torch.nan_to_num(x))


def filled(model, value):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


def frozen(model, *names):
    for name in names:
        model.get_submodule(name).requires_grad_(False)
    return model


def normalised(rate=0.0):
    return seeded(
        lambda: nn.Sequential(
            nn.Linear(8, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(rate), nn.Linear(24, 3)
        )
    )


def dropping(rate):
    return seeded(
        lambda: nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Dropout(rate), nn.Linear(24, 3))
    )


def narrow(width):
    return dense(2, width, 24, 2, activation=nn.Tanh)


def decaying(lr, decay):
    return lambda params: torch.optim.SGD(params, lr=lr, weight_decay=decay)


def softened(lr, eps):
    return lambda params: torch.optim.Adam(params, lr=lr, eps=eps)


WIDE = (8, *[24] * 9, 3)
SMALL = (8, 4, 3)
"""51 parameters: their Hessian is read exactly."""


def tanh(*sizes):
    return dense(*sizes, activation=nn.Tanh)


class Echo(nn.Module):
    """Reads a sequence to its end and tells what stood at its begin."""

    def __init__(self, gain, phi):
        super().__init__()
        self.rnn = nn.RNN(8, 24, nonlinearity=phi, batch_first=True)
        self.head = nn.Linear(24, 3)
        nn.init.orthogonal_(self.rnn.weight_hh_l0, gain)

    def forward(self, x):
        silence = x.new_zeros(len(x), 11, 8)
        return self.head(self.rnn(torch.cat([x[:, None], silence], 1))[0][:, -1])


class Dropping(nn.Module):
    def __init__(self, asks):
        super().__init__()
        self.inner, self.asks = nn.Linear(8, 24), asks

    def forward(self, x):
        return F.dropout(self.inner(x).relu(), 0.3, training=self.training or not self.asks)


class Careless(nn.Module):
    """Drops units whatever the mode, unless it asks."""

    def __init__(self, asks):
        super().__init__()
        self.hidden, self.head = Dropping(asks), nn.Linear(24, 3)

    def forward(self, x):
        return self.head(self.hidden(x))


class Distracted(nn.Module):
    """Drops what it looks at whatever the mode, unless it asks."""

    def __init__(self, asks):
        super().__init__()
        self.entry, self.head, self.asks = nn.Linear(1, 8), nn.Linear(8, 3), asks

    def forward(self, x):
        h = self.entry(x[..., None])
        rate = 0.2 if self.training or not self.asks else 0.0
        h = h + F.scaled_dot_product_attention(h, h, h, dropout_p=rate)
        return self.head((h * x[..., None]).mean(1))


class Waiting(nn.Module):
    """Gates that begin half closed: their gradients vanish along time in sound trainings, too."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        sequence = torch.cat([x[:, None], x.new_zeros(len(x), 15, 8)], 1)
        sequence[:, -1] = x
        return self.head(self.rnn(sequence)[0][:, -1])


def echo(gain, phi, lr):
    return classify(seeded(lambda: Echo(gain, phi)), sgd(lr, 0.9))


def with_test_data(change_x=None, change_y=None):
    """Test data of the same kind, changed or not."""
    x, y = clusters()
    x_test, y_test = x[:80], y[:80]
    x_test = change_x(x_test) if change_x else x_test
    y_test = change_y(y_test) if change_y else y_test
    return Problem(
        dense(8, 24, 3), F.cross_entropy, (x[80:], y[80:]), test=(x_test, y_test),
        optimizer=sgd(0.3), batch_size=BATCH,
    )  # fmt: skip


def with_outliers(*, are_foreign=True):
    """One sample in twenty far off in a feature, as test samples are or not; it trains anyhow."""
    problem = with_test_data()
    (x, y), (x_test, y_test) = problem.data, problem.test
    x = x.clone()
    x[::20, 0] += 300
    model = nn.Sequential(nn.BatchNorm1d(8), *dense(8, 24, 3)).to(x.dtype).eval()
    x_test, y_test = x_test.repeat(2, 1), y_test.repeat(2)
    if not are_foreign:
        x_test[::20, 0] += 300
    test = (x_test, y_test)
    return Problem(model, F.cross_entropy, (x, y), test=test, optimizer=sgd(0.3), batch_size=BATCH)


PATIENTS = {
    "test data scaled otherwise": (
        lambda: with_test_data(lambda x: 10 * x + 20),
        Ailment.UNLIKE_HELD_OUT,
        [],
    ),
    "outliers that the test data do not have": (
        with_outliers,
        Ailment.OUTLIERS,
        [],
    ),
    "test labels shifted": (
        lambda: with_test_data(None, lambda y: (y + 1) % 3),
        Ailment.UNLIKE_HELD_OUT,
        [],
    ),
    "a recurrent network that forgets": (
        lambda: echo(0.2, "tanh", 0.05),
        Ailment.VANISHING,
        ["rnn"],
    ),
    "a recurrent network that resounds": (
        lambda: echo(4.0, "relu", 0.05),
        Ailment.EXPLODING,
        ["rnn"],
    ),
    "deep sigmoid": (
        lambda: classify(dense(*WIDE[:9], 3, activation=nn.Sigmoid), sgd(0.1, 0.9)),
        Ailment.VANISHING,
        ["0", "2", "4", "6", "8"],
    ),
    "deep tanh, small weights": (
        lambda: classify(gaussian(tanh(*WIDE), 0.1), sgd(0.1, 0.9)),
        Ailment.VANISHING,
        ["0", "2", "4"],
    ),
    "deep rectifiers, large weights": (
        lambda: classify(gaussian(dense(*WIDE, 3), 12.0), sgd(0.01)),
        Ailment.EXPLODING,
        ["0", "2", "4"],
    ),
    "tanh, weights × 50": (
        lambda: classify(scaled(tanh(8, 24, 24, 3), 50.0), sgd(0.01)),
        Ailment.SATURATED,
        ["0", "2"],
    ),
    "rectifiers, biases −10": (
        lambda: classify(gaussian(dense(8, 24, 24, 3), 2.0, bias=-10.0), sgd(0.1)),
        Ailment.DEAD,
        ["0", "2"],
    ),
    "lr 50 times the limit": (
        lambda: classify(tanh(*SMALL), sgd(40.0)),
        Ailment.LR_TOO_LARGE,
        [],
    ),
    "lr 100 times the limit, then dead": (
        lambda: classify(dense(8, 24, 24, 3), adam(2.0)),
        Ailment.LR_TOO_LARGE,
        [],
    ),
    "lr a millionth": (lambda: classify(dense(*SMALL), sgd(1e-6)), Ailment.LR_TOO_SMALL, []),
    "lr a millionth, minibatches that differ": (
        lambda: given(dense(8, 8, 1), F.mse_loss, data(None, None, curve), sgd(1e-6), batch_size=4),
        Ailment.LR_TOO_SMALL, [],
    ),
    "a gated network at a tiny rate": (
        lambda: classify(seeded(Waiting), adam(3e-6)), Ailment.LR_TOO_SMALL, [],
    ),
    "all weights zero": (
        lambda: classify(scaled(tanh(8, 24, 24, 3), 0.0), sgd(0.1)),
        Ailment.STUCK,
        [],
    ),
    "NaN in the data": (
        lambda: given(dense(8, 24, 3), F.cross_entropy, data(with_nan), sgd(0.1)),
        Ailment.DATA_NOT_FINITE, [],
    ),
    "targets one dimension short": (
        lambda: given(dense(8, 24, 1), F.mse_loss, data(None, lambda y: y[:, 0], curve), sgd(0.03)),
        Ailment.TARGET_SHAPE, [],
    ),
    "classes counted from one": (
        lambda: given(dense(8, 24, 3), F.cross_entropy, data(None, lambda y: y + 1), sgd(0.1)),
        Ailment.TARGET_RANGE, [],
    ),
    "softmax before cross-entropy": (
        lambda: classify(nn.Sequential(*dense(8, 24, 3), nn.Softmax(1)), adam(1e-2)),
        Ailment.OUTPUT_LOSS, [],
    ),
    "sum over a batch": (
        lambda: given(dense(8, 24, 3), nn.CrossEntropyLoss(reduction="sum"), data(), sgd(0.5)),
        Ailment.REDUCTION, [],
    ),
    "sum over a batch, thrown far off": (
        lambda: given(dense(8, 24, 3), nn.CrossEntropyLoss(reduction="sum"), data(), sgd(5.0)),
        Ailment.REDUCTION, [],
    ),
    "targets in the hundreds": (
        lambda: given(dense(8, 24, 1), F.mse_loss, data(None, lambda y: 90 * y + 200, curve),
                      sgd(0.05)),
        Ailment.TARGET_SCALE, [],
    ),
    "inputs in the thousands": (
        lambda: given(dense(8, 24, 3), F.cross_entropy, data(lambda x: 1e4 * x), sgd(0.1)),
        Ailment.INPUT_SCALE, [],
    ),
    "a few wild samples": (
        lambda: given(dense(8, 24, 3), F.cross_entropy, data(far_out), sgd(0.1)),
        Ailment.OUTLIERS, [],
    ),
    "codes among the targets": (
        lambda: given(dense(8, 24, 1), F.mse_loss, data(None, with_codes, curve), sgd(0.05)),
        Ailment.OUTLIERS, [],
    ),
    "nothing but constants": (
        lambda: given(dense(8, 24, 3), F.cross_entropy, data(torch.ones_like), sgd(0.1)),
        Ailment.CONSTANT_FEATURES, [],
    ),
    "labels of other samples": (
        lambda: given(dense(8, 24, 3), F.cross_entropy, data(None, shuffled), sgd(0.1)),
        Ailment.NO_SIGNAL, [],
    ),
    "a frozen layer": (
        lambda: classify(frozen(dense(8, 24, 24, 3), "2"), sgd(0.1)),
        Ailment.CANNOT_LEARN, ["2"],
    ),
    "zero_grad forgotten": (
        lambda: classify(dense(8, 24, 3), sgd(0.1), step=no_zero_grad),
        Ailment.ACCUMULATED, [],
    ),
    "trained in evaluation mode": (
        lambda: classify(normalised(0.3), sgd(0.1), mode=False), Ailment.WRONG_MODE, ["1", "3"],
    ),
    "dropout whatever the mode": (
        lambda: classify(seeded(lambda: Careless(False)), sgd(0.3)), Ailment.WRONG_MODE, ["hidden"],
    ),
    "attention that drops whatever the mode": (
        lambda: classify(seeded(lambda: Distracted(False)), adam(1e-2)), Ailment.WRONG_MODE, [],
    ),
    "batch norm over one": (
        lambda: classify(normalised(), sgd(0.1), batch_size=1), Ailment.BATCH_OF_ONE, ["1"],
    ),
    "all weights alike": (
        lambda: classify(filled(tanh(8, 24, 24, 3), 0.1), sgd(0.1)),
        Ailment.SYMMETRIC, ["0", "2"],
    ),
    "one unit wide": (
        lambda: given(narrow(1), F.cross_entropy, data(None, None, rings), adam(1e-2)),
        Ailment.BOTTLENECK, ["0"],
    ),
    "dropout of 97 %": (
        lambda: classify(normalised(0.97), sgd(0.1)), Ailment.DROPOUT, ["3"],
    ),
    "weight decay 2": (
        lambda: classify(dense(8, 24, 3), decaying(0.1, 2.0)), Ailment.WEIGHT_DECAY, [],
    ),
    "clipped at 1e-4": (
        lambda: classify(dense(8, 24, 3), sgd(0.1), clip_norm=1e-4), Ailment.CLIPPING, [],
    ),
    "momentum 0.999": (
        lambda: classify(dense(8, 24, 3), sgd(0.3, 0.999)), Ailment.MOMENTUM, [],
    ),
    "ε = 10": (
        lambda: classify(dense(8, 24, 3), softened(1e-2, 10.0)), Ailment.EPSILON, [],
    ),
    "one sample a step": (
        lambda: given(dense(8, 24, 1), F.mse_loss, data(None, noisy, curve), sgd(0.04),
                      batch_size=1),
        Ailment.NOISE, [],
    ),
    "linear, huge lr": (lambda: regress(dense(8, 1), sgd(5.0)), Ailment.NOT_FINITE, []),
    "logarithm of a negative": (
        lambda: Problem(
            Logarithm(), F.mse_loss, (clusters()[0], torch.full((256, 1), -3.0)),
            optimizer=sgd(0.1), batch_size=BATCH,
        ),
        Ailment.NOT_FINITE,
        [],
    ),
}  # fmt: skip

TWINS = {
    "outliers that the test data do not have": lambda: with_outliers(are_foreign=False),
    "test data scaled otherwise": with_test_data,
    "test labels shifted": with_test_data,
    "a recurrent network that forgets": lambda: echo(1.0, "tanh", 0.05),
    "a recurrent network that resounds": lambda: echo(1.4, "relu", 0.02),
    "deep sigmoid": lambda: classify(dense(8, 24, 3, activation=nn.Sigmoid), sgd(0.3, 0.9)),
    "deep tanh, small weights": lambda: classify(gaussian(tanh(*WIDE), 1.0), sgd(0.1, 0.9)),
    "deep rectifiers, large weights": lambda: classify(
        gaussian(dense(*WIDE, 3), 2.0), sgd(0.01, 0.9)
    ),
    "tanh, weights × 50": lambda: classify(tanh(8, 24, 24, 3), sgd(0.3)),
    "rectifiers, biases −10": lambda: classify(gaussian(dense(8, 24, 24, 3), 2.0), sgd(0.1)),
    "lr 50 times the limit": lambda: classify(tanh(*SMALL), sgd(0.5)),
    "lr 100 times the limit, then dead": lambda: classify(dense(8, 24, 24, 3), adam(0.02)),
    "lr a millionth": lambda: classify(dense(*SMALL), sgd(0.3)),
    "lr a millionth, minibatches that differ": lambda: given(
        dense(8, 8, 1), F.mse_loss, data(None, None, curve), sgd(0.02), batch_size=4
    ),
    "a gated network at a tiny rate": lambda: classify(seeded(Waiting), adam(1e-2)),
    "all weights zero": lambda: classify(tanh(8, 24, 24, 3), sgd(0.3)),
    "NaN in the data": lambda: given(
        Unmasking(dense(8, 24, 3)), F.cross_entropy, data(with_nan), sgd(0.1)
    ),
    "targets one dimension short": lambda: given(
        dense(8, 24, 1), lambda o, t: F.mse_loss(o[:, 0], t), data(None, lambda y: y[:, 0], curve),
        sgd(0.05),
    ),
    "classes counted from one": lambda: given(
        dense(8, 24, 4), F.cross_entropy, data(None, lambda y: y + 1), sgd(0.1)
    ),
    "softmax before cross-entropy": lambda: classify(
        nn.Sequential(*dense(8, 24, 3), nn.LogSoftmax(1)), adam(1e-2)
    ),
    "sum over a batch": lambda: given(
        dense(8, 24, 3), nn.CrossEntropyLoss(reduction="sum"), data(), sgd(0.005)
    ),
    "sum over a batch, thrown far off": lambda: given(
        dense(8, 24, 3), nn.CrossEntropyLoss(reduction="sum"), data(), sgd(0.01)
    ),
    "targets in the hundreds": lambda: given(
        dense(8, 24, 1), F.mse_loss, data(None, lambda y: 9 * y + 20, curve), adam(0.1)
    ),
    "inputs in the thousands": lambda: given(
        nn.Sequential(nn.BatchNorm1d(8), *dense(8, 24, 3)), F.cross_entropy,
        data(lambda x: 1e4 * x), sgd(0.1),
    ),
    "a few wild samples": lambda: given(
        nn.Sequential(nn.Hardtanh(-3, 3), *dense(8, 24, 3)), F.cross_entropy, data(far_out),
        sgd(0.1),
    ),
    "codes among the targets": lambda: given(
        dense(8, 24, 1), F.mse_loss, data(None, lambda y: y * y.abs(), curve), adam(0.02)
    ),
    "nothing but constants": lambda: with_one_feature_constant(
        classify(dense(8, 24, 3), sgd(0.2))
    ),
    "labels of other samples": lambda: given(
        dense(8, 24, 3), F.cross_entropy, (clusters()[0], half_wrong()), sgd(0.1)
    ),
    "a frozen layer": lambda: classify(
        frozen(dense(8, 24, 24, 3), "2"), sgd(0.1), on_purpose="2.*"
    ),
    "zero_grad forgotten": lambda: classify(
        dense(8, 24, 3), sgd(0.3, 0.9), step=summed_over(4)
    ),
    "trained in evaluation mode": lambda: classify(
        normalised(0.3), sgd(0.1), mode=False, on_purpose=("1", "3")
    ),
    "dropout whatever the mode": lambda: classify(seeded(lambda: Careless(True)), sgd(0.3)),
    "attention that drops whatever the mode": lambda: classify(
        seeded(lambda: Distracted(True)), adam(1e-2)
    ),
    "batch norm over one": lambda: classify(normalised(), sgd(0.05), batch_size=8),
    "all weights alike": lambda: classify(tanh(8, 24, 24, 3), sgd(0.3)),
    "one unit wide": lambda: given(
        narrow(8), F.cross_entropy, data(None, None, rings), adam(1e-2)
    ),
    "dropout of 97 %": lambda: classify(normalised(0.5), sgd(0.2)),
    "weight decay 2": lambda: classify(dense(8, 24, 3), decaying(0.1, 2e-3)),
    "clipped at 1e-4": lambda: classify(dense(8, 24, 3), sgd(0.2), clip_norm=0.5),
    "momentum 0.999": lambda: classify(dense(8, 24, 3), sgd(0.1, 0.9)),
    "ε = 10": lambda: classify(dense(8, 24, 3), softened(1e-2, 1e-8)),
    "one sample a step": lambda: given(
        dense(8, 24, 1), F.mse_loss, data(None, noisy, curve), sgd(0.005, 0.9), batch_size=16
    ),
    "linear, huge lr": lambda: regress(dense(8, 1), sgd(0.03)),
    "logarithm of a negative": lambda: Problem(
        Logarithm(), F.mse_loss, (clusters()[0], torch.full((256, 1), 1.0)),
        optimizer=sgd(0.01), batch_size=BATCH,
    ),
}  # fmt: skip

HEALTHY = {
    "dropout that is off, and not missed": lambda: classify(dropping(0.2), adam(1e-2), mode=False),
    "grey values, and held-out ones": grey,
    "NaN that a step leaves out": lambda: given(
        dense(8, 24, 3), F.cross_entropy, data(with_nan), sgd(0.3), step=finite_only
    ),
    "gradients summed over three, whenever one looks": lambda: classify(
        dense(8, 24, 3), sgd(0.3, 0.9), step=summed_over(3)
    ),
    "residual, small early gradients": lambda: classify(seeded(Residual), sgd(0.5, 0.9)),
    "many units off": lambda: classify(gaussian(dense(8, 64, 64, 3), 2.0, bias=-0.7), sgd(0.1)),
    "last layer zero": lambda: classify(last_zero(dense(8, 24, 3)), sgd(0.3)),
    "trained before, rectifiers": lambda: trained(classify(dense(8, 24, 24, 3), sgd(0.1)), 500),
    "trained before, units off": lambda: trained(
        classify(gaussian(dense(8, 48, 48, 3), 2.0, bias=-1.5), sgd(0.1)), 500
    ),
    "trained before, saturated, own loss": lambda: trained(
        own_loss(gaussian(tanh(8, 24, 24, 3), 30.0), sgd(0.01)), 800
    ),
    "trained before, at its minimum": lambda: trained(regress(tanh(8, 24, 1), sgd(0.05)), 800),
    "trained before, resting there": lambda: trained(regress(dense(8, 1), sgd(0.01)), 600, 0.1),
    "batch norm": lambda: classify(
        seeded(
            lambda: nn.Sequential(
                nn.Linear(8, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 3)
            )
        ),
        sgd(0.1),
    ).in_eval_mode(),
    "dropout": lambda: classify(
        seeded(lambda: nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Dropout(), nn.Linear(48, 3))),
        sgd(0.2),
    ).in_eval_mode(),
    "convolutions": lambda: classify(
        seeded(
            lambda: nn.Sequential(
                nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 8, 3), nn.ReLU(), nn.MaxPool1d(2),
                nn.Flatten(), nn.Linear(24, 3),
            )
        ),
        sgd(0.1, 0.9),
    ),
    "LSTM": lambda: classify(seeded(Recurrent), adam(2e-2)),
    "transformer": lambda: classify(seeded(Attentive).eval(), adam(3e-3)),
    "regression": lambda: regress(tanh(8, 24, 1), sgd(0.05)),
    "logistic regression": lambda: Problem(
        dense(8, 1), F.binary_cross_entropy_with_logits,
        (clusters()[0], (clusters()[1][:, None] > 0).float()),
        optimizer=sgd(0.5), batch_size=BATCH,
    ),
    "Adam": lambda: classify(dense(8, 24, 24, 3), adam(1e-2)),
    "dicts, own loss": lambda: Problem(
        seeded(OwnLoss), None,
        [{"features": clusters()[0][i : i + 50], "labels": clusters()[1][i : i + 50]}
         for i in range(0, 256, 50)],
        optimizer=sgd(0.1, 0.9), batch_size=BATCH,
    ),
    "autoencoder on bare tensors": lambda: Problem(
        tanh(8, 16, 4, 16, 8), F.mse_loss, clusters()[0], optimizer=adam(2e-2), batch_size=BATCH
    ),
    "constant features": lambda: with_one_feature_constant(classify(dense(8, 24, 3), sgd(0.2))),
    "far from its target": lambda: Problem(
        dense(8, 24, 1), F.mse_loss, (curve()[0], curve()[1] + 20), optimizer=sgd(0.01),
        batch_size=BATCH,
    ),
    "half the labels wrong": lambda: Problem(
        dense(8, 24, 3), F.cross_entropy, (clusters()[0], half_wrong()), optimizer=sgd(0.1),
        batch_size=BATCH,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _no_contest():
    """Findings come before remedies, which are tried elsewhere, as are shapes and types."""
    jaxtyping.config.update("jaxtyping_disable", True)
    with pytest.MonkeyPatch.context() as patch:
        for place in ("_trying", "_another_look"):
            patch.setattr(f"thalweg.doctor.{place}.contest", lambda *_: ())
        yield
    jaxtyping.config.update("jaxtyping_disable", False)


def last_zero(model):
    scaled(model[-1], 0.0)
    return model


def own_loss(model, optimizer):
    return Problem(
        model, lambda output, target: F.cross_entropy(output, target), clusters(),
        optimizer=optimizer, batch_size=BATCH,
    )  # fmt: skip


@cache
def rings():
    """Two circles, one within the other: no one direction tells them apart."""
    x, y = make_circles(256, noise=0.05, factor=0.4, random_state=0)
    return torch.tensor(x).float(), torch.tensor(y)


def noisy(y):
    return y + 0.5 * torch.randn(y.shape, generator=torch.Generator().manual_seed(2))


def half_wrong():
    generator = torch.Generator().manual_seed(3)
    y = clusters()[1]
    drawn = torch.randint(3, y.shape, generator=generator)
    return torch.where(torch.rand(len(y), generator=generator) < 0.5, drawn, y)


@cache
def patient(name):
    return examined(PATIENTS[name][0]())


def finding(name):
    return next(f for f in patient(name).findings if f.ailment is PATIENTS[name][1])


@pytest.mark.parametrize("name", PATIENTS)
def test_what_ails_a_network_is_named_first_or_second(name):
    _, ailment, layers = PATIENTS[name]
    found = [f.ailment for f in patient(name).findings]
    assert ailment in found[:2]
    assert list(finding(name).layers) == layers
    assert finding(name).margin >= 1


@pytest.mark.parametrize("name", TWINS)
def test_its_twin_is_healthy(name):
    examination = examined(TWINS[name]())
    assert examination.is_healthy, [f.sentence for f in examination.findings]


@pytest.mark.parametrize("name", HEALTHY)
def test_odd_health_is_no_ailment(name):
    examination = examined(HEALTHY[name]())
    assert examination.is_healthy, [f.sentence for f in examination.findings]


def test_dropout_that_is_off_is_named_where_what_was_held_out_is_missed(monkeypatch):
    monkeypatch.setattr(Readings, "generalises", False)
    examination = examined(classify(dropping(0.2), adam(1e-2), mode=False))
    (finding,) = (f for f in examination.findings if f.ailment is Ailment.WRONG_MODE)
    assert finding.layers == ("2",)


def test_a_step_at_the_edge_of_stability_is_no_ailment():
    """Full-batch descent settles where the sharpness is 2/η; handed over there, it is healthy."""
    problem = regress(tanh(8, 24, 1), sgd(0.1))
    x, y = problem.data
    optimizer = problem.optimizer(problem.model.parameters())
    for _ in range(1500):
        optimizer.zero_grad()
        F.mse_loss(problem.model(x), y).backward()
        optimizer.step()
    examination = examined(problem, "900g")
    assert examination.card.stability.ratio > 0.9
    assert examination.is_healthy, [f.sentence for f in examination.findings]


def test_units_that_the_step_drove_off_are_laid_to_the_learning_rate():
    """They answered before the training; it learns half of what can be, so much is left of them."""
    problem = given(
        tanh(8, 24, 24, 24, 3), F.cross_entropy, clusters(), adam(0.12), epochs=60, batch_size=8
    )
    examination = examined(problem)
    assert examination.is_learning
    found = [f.ailment for f in examination.findings]
    assert found.index(Ailment.LR_TOO_LARGE) < found.index(Ailment.SATURATED)


def test_there_is_a_patient_for_every_rule():
    elsewhere = {Ailment.ILL_CONDITIONED, Ailment.GRADIENT_FLAT}  # consequences, below
    assert {ailment for _, ailment, _ in PATIENTS.values()} == set(Ailment) - elsewhere
    # Gradients vanish and explode in depth and in time, and vanish less where nothing is learned;
    # gates saturate, and targets have outliers, too; steps of one's own are noisy, or scaled.
    assert len(RULES) == len(Ailment) + 7
    assert set(TWINS) == set(PATIENTS)


def off_centre(distance):
    """What matters is a tenth as large as what all samples share."""
    z, _ = clusters()
    z = (z - z.mean(0)) / z.std(0)
    return distance + 0.1 * z, 2 * z[:, :1] - z[:, 1:2]


@pytest.mark.parametrize(("distance", "lr", "is_ill"), [(8.0, 1e-3, True), (0.0, 0.8, False)])
def test_inputs_far_along_one_direction_are_ill_conditioned(distance, lr, is_ill):
    examination = examined(given(dense(8, 1), F.mse_loss, off_centre(distance), sgd(lr)))
    found = {f.ailment: f for f in examination.findings}
    assert (Ailment.ILL_CONDITIONED in found) is is_ill
    assert examination.is_healthy is not is_ill
    if is_ill:
        x, _ = off_centre(distance)
        values = np.linalg.eigvalsh((x.T @ x / len(x)).double().numpy())
        told = found[Ailment.ILL_CONDITIONED].evidence
        assert told["largest over median eigenvalue of the inputs"] == pytest.approx(
            values[-1] / np.median(values), rel=0.05
        )


@pytest.mark.parametrize("is_flat", [True, False])
def test_a_slope_without_curvature_is_gradient_flat(is_flat):
    """A loss that is linear in the parameters has a gradient and no critical point."""

    def linear(output, target):
        return 5 + (output - target).mean()

    problem = given(dense(8, 1), linear if is_flat else F.mse_loss, curve(), sgd(1e-7))
    found = {f.ailment: f for f in examined(problem).findings}
    assert (Ailment.GRADIENT_FLAT in found) is is_flat
    if is_flat:
        assert found[Ailment.GRADIENT_FLAT].evidence["r"] == pytest.approx(1.0)


# -- the evidence, computed a second time ---------------------------------------------------


def pass_by_hand(problem):
    """Pre-activations of a plain chain, by the names of its layers, with their gradients."""
    model = copy.deepcopy(problem.model)
    (x, y), kept = problem.data, {}
    for name, module in model.named_children():
        x = module(x)
        if isinstance(module, nn.Linear):
            x.retain_grad()
            kept[name] = x
    problem.loss(x, y).backward()
    return kept


@pytest.mark.parametrize("name", [n for n, p in PATIENTS.items() if "deep" in n])
def test_gradients_through_depth_are_those_of_autograd(name):
    """Norms by retain_grad; the factor by numpy's polyfit; its interval by what the fit does with
    each step of the logarithms, of which the later values are sums."""
    norms = {k: float(z.grad.norm()) for k, z in pass_by_hand(PATIENTS[name][0]()).items()}
    evidence = finding(name).evidence
    values = list(norms.values())
    assert evidence["gradient norm at the first layer"] == pytest.approx(values[0], rel=1e-4)
    assert evidence["gradient norm at the last layer"] == pytest.approx(values[-1], rel=1e-4)
    depth, logs = np.arange(len(values)), np.log(values)
    slope = np.polyfit(depth, logs, 1)[0]
    assert evidence["factor per layer"] == pytest.approx(math.exp(-slope), rel=1e-4)
    sums = np.tri(len(values), len(values) - 1, -1)
    share = sums.T @ (depth - depth.mean()) / np.sum((depth - depth.mean()) ** 2)
    spread = np.average((np.diff(logs) - slope) ** 2, weights=share)
    spread *= (len(values) - 1) / (len(values) - 2)
    reach = stats.t.ppf(0.975, len(values) - 2) * math.sqrt(spread * np.sum(share**2))
    assert evidence["factor per layer, low"] == pytest.approx(math.exp(-slope - reach), rel=1e-3)
    assert evidence["factor per layer, high"] == pytest.approx(math.exp(-slope + reach), rel=1e-3)


def test_the_share_of_saturated_slopes_is_that_of_the_formula():
    """tanh' = 1 − tanh², of which 1 % of the maximum is 0.01."""
    name = "tanh, weights × 50"
    kept = pass_by_hand(PATIENTS[name][0]())
    for layer in ("0", "2"):
        share = float((1 - kept[layer].tanh() ** 2 < 0.01).double().mean())
        assert finding(name).evidence[f"saturated after {layer}"] == pytest.approx(share, abs=1e-3)


def test_the_share_of_dead_units_is_counted():
    name = "rectifiers, biases −10"
    kept = pass_by_hand(PATIENTS[name][0]())
    for layer in ("0", "2"):
        share = float((kept[layer] <= 0).all(0).double().mean())
        assert finding(name).evidence[f"dead after {layer}"] == pytest.approx(share)


def sharpness_by_hand(problem):
    """λ_max of the dense Hessian, by torch.autograd.functional, in float64."""
    model, (x, y) = copy.deepcopy(problem.model).double(), problem.data
    names = [name for name, _ in model.named_parameters()]
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    sizes = [p.numel() for p in model.parameters()]
    shapes = [p.shape for p in model.parameters()]

    def loss(vector):
        pieces = [v.reshape(s) for v, s in zip(vector.split(sizes), shapes, strict=True)]
        output = torch.func.functional_call(
            model, dict(zip(names, pieces, strict=True)), x.double()
        )
        return problem.loss(output, y)

    H = torch.autograd.functional.hessian(loss, flat)
    return float(torch.linalg.eigvalsh(H)[-1])


@pytest.mark.parametrize(
    ("name", "lr"), [("lr 50 times the limit", 40.0), ("lr a millionth", 1e-6)]
)
def test_a_learning_rate_is_judged_by_the_sharpest_direction(name, lr):
    problem, evidence = PATIENTS[name][0](), finding(name).evidence
    sharpness = sharpness_by_hand(problem)
    assert evidence["sharpness"] == pytest.approx(sharpness, rel=1e-5)
    assert evidence["stability limit"] == pytest.approx(2 / lr)
    if lr > 1:
        x, y = problem.data
        loss = F.cross_entropy(problem.model(x), y).item()
        assert evidence["loss at the point"] == pytest.approx(loss, rel=1e-5)
        assert evidence["training loss at the end"] > 1.1 * loss
    else:
        steps = evidence["steps per e-fold along the sharpest direction"]
        # Along an eigendirection the error falls by 1 − ηλ a step.
        assert steps == pytest.approx(-1 / math.log1p(-lr * sharpness), rel=1e-3)


def test_stuck_is_told_by_the_entropy_of_the_classes():
    name = "all weights zero"
    shares = torch.bincount(clusters()[1]) / 256
    evidence = finding(name).evidence
    entropy = float(-(shares * shares.log()).sum())
    assert evidence["loss that the best constant answer gets"] == pytest.approx(entropy)
    assert evidence["loss at the point"] == pytest.approx(math.log(3))
    assert str(patient(name).num_steps) in finding(name).sentence


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("linear, huge lr", "the loss itself"),
        ("logarithm of a negative", "the forward of the model itself (Logarithm)"),
        ("deep rectifiers, large weights", "(Linear)"),
    ],
)
def test_the_first_step_that_is_not_finite_is_the_one_by_hand(name, place):
    """The same data order by hand; the layer by looking at what each returns."""
    problem = PATIENTS[name][0]()
    broken = next(f for f in patient(name).findings if f.ailment is Ailment.NOT_FINITE)
    steps = [first_not_finite(problem, patient(name), seed) for seed in (0, 1, 2)]
    assert broken.evidence["first step with a loss that is not finite"] == min(steps)
    assert place in broken.sentence
    assert f"at step {steps[0]}" in broken.sentence


def first_not_finite(problem, examination, seed):
    x, y = problem.data
    # A fifth is held out, drawn with the examination's seed.
    kept = torch.randperm(256, generator=torch.Generator().manual_seed(0))[51:]
    x, y = x[kept], y[kept]
    model = copy.deepcopy(problem.model)
    optimizer = problem.optimizer(model.parameters())
    generator = torch.Generator().manual_seed(seed)
    step = 0
    while step < examination.num_steps:
        for index in torch.randperm(len(x), generator=generator).split(BATCH):
            loss = problem.loss(model(x[index]), y[index])
            if not torch.isfinite(loss):
                return step
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    raise AssertionError("it stays finite")
