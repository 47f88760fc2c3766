"""Every rule against dense autograd of the same function, and no rule without a line here."""

import pytest
import torch
import torch.nn.functional as F

import dense
from problems import draw
from thalweg.tape import Tape
from thalweg.tape._local import Local
from thalweg.tape._record import record
from thalweg.tape._rules import RULES

aten = torch.ops.aten
TIGHT = {"rtol": 1e-9, "atol": 1e-11}


def positive(x):
    return x.square() + 0.5


def weights(shape, seed=9):
    return draw(*shape, seed=seed)


def heads(z):
    """A scalar with a full Hessian in z, so that adjoints and tangents are of every kind."""
    return (z * weights(z.shape)).sum().tanh() + z.square().mean() + (0.3 * z).sin().sum()


NORM = (None, None, torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))

# Each takes two leaves, a of shape (4, 3) and b of shape (3,), and returns a tensor.
FUNCTIONS = {
    "tanh": lambda a, b: torch.tanh(a + b),
    "sigmoid": lambda a, b: torch.sigmoid(a * b),
    "relu": lambda a, b: torch.relu(a) + b,
    "relu in place": lambda a, b: torch.relu_(a * b) + b,
    "tanh in place": lambda a, b: (a + b).tanh_(),
    "gelu": lambda a, b: F.gelu(a + b) + F.gelu(a, approximate="tanh"),
    "silu": lambda a, b: F.silu(a + b),
    "elu": lambda a, b: F.elu(a + b, alpha=0.7),
    "leaky relu": lambda a, b: F.leaky_relu(a * b, 0.2),
    "softplus": lambda a, b: F.softplus(a + b, beta=2.0),
    "hardtanh": lambda a, b: F.hardtanh(a * b, -0.3, 0.4),
    "hardswish": lambda a, b: F.hardswish(a * b),
    "mish": lambda a, b: F.mish(a + b),
    "exp": lambda a, b: torch.exp(0.3 * a) * b,
    "expm1": lambda a, b: torch.expm1(0.3 * a) * b,
    "log": lambda a, b: torch.log(positive(a)) + b,
    "log1p": lambda a, b: torch.log1p(positive(a)) * b,
    "sqrt": lambda a, b: torch.sqrt(positive(a)) * b,
    "rsqrt": lambda a, b: torch.rsqrt(positive(a)) * b,
    "reciprocal": lambda a, b: torch.reciprocal(positive(a)) * b,
    "sin and cos": lambda a, b: torch.sin(a) * torch.cos(b),
    "erf": lambda a, b: torch.erf(a + b),
    "abs": lambda a, b: torch.abs(a) * b,
    "power": lambda a, b: (a + b) ** 3,
    "clamp": lambda a, b: (a * b).clamp(-0.5, 0.5) + a.clamp_min(-0.2) + a.clamp_max(0.3),
    "matrix product": lambda a, b: a @ a.T + b.sum(),
    "matrix by constant": lambda a, b: weights((5, 4)) @ (a * b),
    "batched product": lambda a, b: torch.bmm(
        a.expand(2, 4, 3), (a * b).T.expand(2, 3, 4)
    ),
    "linear": lambda a, b: F.linear(weights((5, 3)), a, (a * b).sum(1)).tanh(),
    "linear, both ends moving": lambda a, b: F.linear(torch.tanh(a), a * b, a.sum(1)),
    "linear, bias alone": lambda a, b: F.linear(weights((5, 4)), weights((3, 4)), b) * a.sum(),
    "square": lambda a, b: a * a + b * b,
    "broadcast product": lambda a, b: a * b,
    "constant factors": lambda a, b: 2.5 * a - b * weights((4, 3)) / 3.0,
    "scalar product": lambda a, b: aten.mul.Scalar(a, 2.0) * aten.div.Scalar(b, 3.0),
    "quotient": lambda a, b: a / positive(b),
    "quotient by a count": lambda a, b: (a + b) / torch.tensor(7) * torch.tensor(3),
    "quotient by a constant": lambda a, b: (a + b) / positive(weights((4, 3))),
    "sums": lambda a, b: torch.add(a, b, alpha=2.0) - torch.sub(b, a, alpha=0.5) + 1.0,
    "scalar sums": lambda a, b: aten.add.Scalar(a, 1.0) - aten.sub.Scalar(b, 2.0),
    "from a constant": lambda a, b: 1.0 - a * b,
    "negative": lambda a, b: -a * b,
    "shapes": lambda a, b: (
        a.reshape(2, 6).unsqueeze(1).squeeze(1).reshape(4, 3).t().transpose(0, 1)
        * b.unsqueeze(0).squeeze().unsqueeze(0).squeeze((0,))
    ),
    "squeezed whole": lambda a, b: aten.squeeze.default(b.reshape(1, 3, 1)) * a,
    "unsafe view": lambda a, b: aten._unsafe_view.default(a.contiguous(), [6, 2]).view(4, 3) * b,
    "permute": lambda a, b: a.reshape(2, 2, 3).permute(2, 0, 1) * weights((3, 2, 2)) * b.sum(),
    "expand": lambda a, b: b.expand(4, 3) * a.unsqueeze(0).expand(2, 4, 3),
    "clone and alias": lambda a, b: a.clone() * aten.alias.default(b),
    "conversion": lambda a, b: a.float().double() * 0 + a * b.to(torch.float64, copy=True),
    "cat": lambda a, b: torch.cat([a * b, a, b.unsqueeze(0)], 0),
    "cat with a constant": lambda a, b: torch.cat([a * b, weights((2, 3))], 0),
    "cat of one twice": lambda a, b: torch.cat([a, a], 1) * b.sum(),
    "split": lambda a, b: a.split(2, 0)[1] * b + a.split([1, 3], 0)[0],
    "unbind": lambda a, b: a.unbind(0)[1] * b + a.unbind(1)[2].sum() * b.unbind()[0],
    "unbind, one slice of no use": lambda a, b: (a * b).unbind(1)[1].sin(),
    "split, one part of no use": lambda a, b: (a * b).chunk(3, 1)[1].sin(),
    "sum": lambda a, b: a.sum() * b + a.sum(0) + (a * b).sum((0, 1), keepdim=True).squeeze(0),
    "mean": lambda a, b: a.mean() * b + a.mean(0) + (a * b).mean(1, keepdim=True).sum(),
    "masked": lambda a, b: (a * b).masked_fill(weights((4, 3)) > 0, -7.0),
    "embedding": lambda a, b: F.embedding(torch.tensor([[0, 3], [1, 1]]), a) * b,
    "embedding with padding": lambda a, b: F.embedding(
        torch.tensor([0, 3, 1]), a, padding_idx=1
    ) * b,
    "max pool": lambda a, b: F.max_pool2d((a * b).reshape(1, 1, 4, 3), 2, 1, 1),
    "slice and select": lambda a, b: a[1:3] * b + a[:, 1:].sum() + a[2],
    "index": lambda a, b: a[torch.tensor([0, 2, 2])] * b + a.index_select(0, torch.tensor([1])),
    "gather": lambda a, b: a.gather(1, torch.tensor([[0], [2], [1], [1]])) * b,
    "pad": lambda a, b: F.pad(a * b, (1, 0, 0, 2)),
    "average pool": lambda a, b: F.avg_pool2d((a * b).reshape(1, 1, 4, 3), 2),
    "adaptive pool": lambda a, b: F.adaptive_avg_pool2d((a * b).reshape(1, 1, 4, 3), 2),
    "diagonal and triangles": lambda a, b: a.diagonal() * b + a.tril()[:3] + a.triu()[1:],
    "flip, roll, cumsum": lambda a, b: a.flip(0) * b + a.roll(1, 0) + a.cumsum(1),
    "softmax": lambda a, b: torch.softmax(a * b, 1) + torch.softmax(a, 0),
    "safe softmax": lambda a, b: aten._safe_softmax.default(a * b, -1),
    "log softmax": lambda a, b: torch.log_softmax(a * b, 1),
    "layer norm": lambda a, b: F.layer_norm(a.tanh() * 2, (3,), b, a.sum(0)),
    "layer norm, plain": lambda a, b: F.layer_norm(a * b, (3,)),
    "layer norm, fixed input": lambda a, b: F.layer_norm(weights((4, 3)), (3,), b, b) * a,
    "batch norm": lambda a, b: F.batch_norm(
        a.sin(), NORM[2], 2 * NORM[3], b, a.sum(0), training=False
    ),
    "batch norm, plain": lambda a, b: F.batch_norm(a * b, NORM[2], 2 * NORM[3], training=False),
    "batch norm, fixed input": lambda a, b: F.batch_norm(
        weights((4, 3)), NORM[2], NORM[3], b, b, training=False
    ) * a,
    "batch norm in training": lambda a, b: F.batch_norm(a * b, None, None, b, training=True),
    "convolution": lambda a, b: F.conv2d(
        (a * b).reshape(1, 1, 4, 3), a[:2].reshape(1, 1, 2, 3), b[:1], padding=1
    ),
    "convolution of data": lambda a, b: F.conv1d(weights((2, 3, 5)), a.reshape(2, 3, 2), b[:2]),
    "convolution, fixed kernel": lambda a, b: F.conv1d(
        (a * b).reshape(1, 3, 4), weights((2, 3, 2)), b[:2], stride=2
    ),
    "convolution, bias alone": lambda a, b: F.conv1d(
        weights((1, 3, 4)), weights((3, 3, 2)), b
    ) * a.sum(),
    "transposed convolution": lambda a, b: F.conv_transpose1d(
        (a * b).reshape(1, 3, 4), a.reshape(3, 2, 2), b[:2], stride=2
    ),
    "without a rule": lambda a, b: torch.logsumexp(a * b, 1) + torch.special.erfcx(a).sum(1),
    "of no derivative": lambda a, b: a * torch.sign(a * b) + b,
    "cross-entropy": lambda a, b: F.cross_entropy(
        a * b, torch.tensor([0, 2, -100, 1]), weight=torch.tensor([1.0, 2.0, 3.0]).double()
    ),
    "cross-entropy, one each": lambda a, b: F.cross_entropy(
        a * b, torch.tensor([0, 2, 1, 1]), reduction="none"
    ),
    "cross-entropy of tokens": lambda a, b: F.cross_entropy(
        (a * b).reshape(2, 3, 2), torch.tensor([[0, 2], [-100, 1]])
    ),
    "squares": lambda a, b: F.mse_loss(a * b, weights((4, 3))),
    "squares, one each": lambda a, b: F.mse_loss(a * b, weights((4, 3)), reduction="none"),
    "squares of a moving target": lambda a, b: F.mse_loss(a * b, a.sin()),
    "huber": lambda a, b: F.huber_loss(a * b, weights((4, 3))) + F.smooth_l1_loss(
        a, weights((4, 3)), reduction="sum"
    ),
    "binary cross-entropy": lambda a, b: F.binary_cross_entropy(
        (a * b).sigmoid(), (weights((4, 3)) > 0).double()
    ),
    "binary cross-entropy of logits": lambda a, b: F.binary_cross_entropy_with_logits(
        a * b, (weights((4, 3)) > 0).double(), pos_weight=positive(weights((3,)))
    ),
}  # fmt: skip


def leaves():
    a, b = draw(4, 3, seed=1), draw(3, seed=2)
    return a.requires_grad_(), b.requires_grad_()


def loss_of(name, a, b):
    z = FUNCTIONS[name](a, b)
    return heads(z), z


@pytest.fixture(params=FUNCTIONS)
def name(request):
    return request.param


def columns(product):
    """A product multiplied out over all fifteen entries of a and b."""
    rows = []
    for unit in torch.eye(15, dtype=torch.float64):
        rows.append(dense.flat(product((unit[:12].reshape(4, 3), unit[12:]))))
    return torch.stack(rows, 1)


def oracles(name):
    """Gradient, Hessian and Gauss-Newton matrix by dense autograd."""
    a, b = leaves()
    loss, z = loss_of(name, a, b)
    slope = dense.flat(torch.autograd.grad(loss, (a, b), create_graph=True, materialize_grads=True))

    def rows(y):
        return torch.stack(
            [
                dense.flat(torch.autograd.grad(
                    v, (a, b), retain_graph=True, materialize_grads=True
                ))
                for v in y.reshape(-1)
            ]
        )  # fmt: skip

    J = rows(z)
    return slope.detach(), rows(slope), J.T @ dense.hessian_by(heads, z) @ J


def test_gradient_hessian_and_gauss_newton_are_dense_autograd(name):
    tape = Tape(lambda: loss_of(name, *leaf), leaf := leaves())
    gradient, hessian, gauss_newton = oracles(name)
    torch.testing.assert_close(dense.flat(tape.gradient), gradient, **TIGHT)
    torch.testing.assert_close(columns(tape.hessian()), hessian, **TIGHT)
    torch.testing.assert_close(columns(tape.ggn()), gauss_newton, **TIGHT)


def test_autograd_on_one_operation_is_as_good_as_its_rule(name, monkeypatch):
    monkeypatch.setattr("thalweg.tape._tape.rule_of", Local)
    tape = Tape(lambda: loss_of(name, *leaf), leaf := leaves())
    _, hessian, gauss_newton = oracles(name)
    torch.testing.assert_close(columns(tape.hessian()), hessian, **TIGHT)
    torch.testing.assert_close(columns(tape.ggn()), gauss_newton, **TIGHT)


def test_every_rule_is_met():
    met = set()
    for name in FUNCTIONS:
        entries, _ = record(lambda name=name: FUNCTIONS[name](*leaves()))
        met |= {entry.function for entry in entries}
    assert sorted(str(function) for function in set(RULES) - met) == []
