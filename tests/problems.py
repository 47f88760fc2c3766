"""A shelf of small problems with known answers, in float64.

Each comes with its output and its loss written out a second time, by hand and over all data at
once, as plain functions: the oracle that shares nothing with thalweg but torch's operations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thalweg import Problem
from thalweg.problems import Quadratic

Params = dict[str, Tensor]


@dataclass(frozen=True)
class Known:
    """A problem and the same by hand.

    Args:
        problem: what thalweg reads.
        output: θ ↦ z, from all parameters and buffers by name.
        loss: z ↦ L.
        likelihood: what the loss is the negative logarithm of: "classes" from logits, "log classes"
            from log-probabilities, "binary" from logits, "binary probabilities", "gaussian"; ""
            where it is none.
        num_terms: over how many terms the loss takes its mean; 1 for a sum.
    """

    problem: Problem
    output: Callable[[Params], Tensor]
    loss: Callable[[Tensor], Tensor]
    likelihood: str = ""
    num_terms: int = 7

    def plain(self, p: Params) -> Tensor:
        return self.loss(self.output(p))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw_classes(num_classes: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(num_classes, shape, generator=torch.Generator().manual_seed(seed))


def initialised(model: nn.Module, seed: int = 0, scale: float = 0.5) -> nn.Module:
    """The model in float64 at random parameters that leave no symmetry and no zero bias."""
    model = model.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(scale * noise)
    return model


def affine(p: Params, name: str, x: Tensor) -> Tensor:
    return x @ p[f"{name}weight"].T + p[f"{name}bias"]


def log_softmax(z: Tensor) -> Tensor:
    return z - z.exp().sum(-1, keepdim=True).log()


def pick(log_p: Tensor, y: Tensor) -> Tensor:
    """ln p of the class of each sample, classes last."""
    return log_p.gather(-1, y.unsqueeze(-1)).squeeze(-1)


# -- closed forms ---------------------------------------------------------------------------


def squares(y: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda z: (z - y).square().sum() / z.numel()


def classes(y: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda z: -pick(log_softmax(z), y).sum() / y.numel()


def linear() -> Known:
    x, y = draw(7, 3), draw(7, 2, seed=1)
    problem = Problem(initialised(nn.Linear(3, 2)), F.mse_loss, (x, y))
    return Known(problem, lambda p: affine(p, "", x), squares(y), "gaussian", 14)


def logistic() -> Known:
    x, y = draw(7, 3), (draw(7, 1, seed=1) > 0).double()
    problem = Problem(initialised(nn.Linear(3, 1)), nn.BCEWithLogitsLoss(), (x, y))
    loss = lambda z: ((1 + z.exp()).log() - y * z).sum() / 7  # noqa: E731
    return Known(problem, lambda p: affine(p, "", x), loss, "binary")


def softmax() -> Known:
    x, y = draw(7, 3), draw_classes(4, 7)
    problem = Problem(initialised(nn.Linear(3, 4)), F.cross_entropy, (x, y))
    return Known(problem, lambda p: affine(p, "", x), classes(y), "classes")


def quadratic() -> Known:
    A = torch.diag(torch.tensor([3.0, 1.0, 0.0, -2.0], dtype=torch.float64))
    b = draw(7, 4)
    problem = Problem(Quadratic(A, draw(4, seed=5)), lambda output: output.mean(), b)
    output = lambda p: 0.5 * p["theta"] @ A @ p["theta"] - b @ p["theta"]  # noqa: E731
    return Known(problem, output, lambda z: z.sum() / 7)


# -- networks -------------------------------------------------------------------------------


def mlp_model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def mlp_output(p: Params, x: Tensor) -> Tensor:
    return affine(p, "2.", affine(p, "0.", x).tanh())


def mlp_on(loss, y, model=None) -> tuple[Problem, Callable[[Params], Tensor]]:
    x = draw(7, 3)
    return Problem(model or initialised(mlp_model()), loss, (x, y)), lambda p: mlp_output(p, x)


def mlp() -> Known:
    y = draw(7, 2, seed=1)
    return Known(*mlp_on(F.mse_loss, y), squares(y), "gaussian", 14)


def opaque() -> Known:
    """A loss that thalweg cannot know, a mean over samples."""
    y = draw(7, 2, seed=1)
    problem, output = mlp_on(lambda z, t: (z - t).pow(4).sum(1).mean(), y)
    return Known(problem, output, lambda z: (z - y).pow(4).sum() / 7)


def opaque_sum() -> Known:
    y = draw(7, 2, seed=1)
    problem, output = mlp_on(lambda z, t: (z - t).pow(4).sum(), y)
    return Known(problem, output, lambda z: (z - y).pow(4).sum())


def known_sum() -> Known:
    y = draw(7, 2, seed=1)
    problem, output = mlp_on(nn.MSELoss(reduction="sum"), y)
    return Known(problem, output, lambda z: (z - y).square().sum(), "gaussian", 1)


def weighted() -> Known:
    """Class weights and a padding class: the mean runs over the weights of what counts."""
    y = draw_classes(2, 7, seed=2)
    y[4] = -100
    weight = torch.tensor([0.3, 2.0], dtype=torch.float64)
    problem, output = mlp_on(nn.CrossEntropyLoss(weight), y)
    kept = y != -100

    def loss(z: Tensor) -> Tensor:
        w = weight[y[kept]]
        return -(w * pick(log_softmax(z[kept]), y[kept])).sum() / w.sum()

    return Known(problem, output, loss)


def padded() -> Known:
    """Two of seven targets are padding, by another index than the default."""
    y = draw_classes(2, 7, seed=2)
    y[1] = y[5] = 9
    problem, output = mlp_on(partial(F.cross_entropy, ignore_index=9), y)
    kept = y != 9
    loss = lambda z: -pick(log_softmax(z[kept]), y[kept]).sum() / 5  # noqa: E731
    return Known(problem, output, loss)


def smoothed() -> Known:
    y = draw_classes(2, 7, seed=2)
    problem, output = mlp_on(nn.CrossEntropyLoss(label_smoothing=0.2), y)

    def loss(z: Tensor) -> Tensor:
        log_p = log_softmax(z)
        return -(0.8 * pick(log_p, y) + 0.2 * log_p.mean(1)).sum() / 7

    return Known(problem, output, loss)


def log_classes() -> Known:
    y = draw_classes(2, 7, seed=2)
    model = initialised(nn.Sequential(*mlp_model(), nn.LogSoftmax(dim=1)))
    problem, output = mlp_on(nn.NLLLoss(), y, model)
    log_p = lambda p: log_softmax(output(p))  # noqa: E731
    return Known(problem, log_p, lambda z: -pick(z, y).sum() / 7, "log classes")


def probabilities() -> Known:
    y = (draw(7, 2, seed=1) > 0).double()
    model = initialised(nn.Sequential(*mlp_model(), nn.Sigmoid()))
    problem, output = mlp_on(F.binary_cross_entropy, y, model)
    q = lambda p: 1 / (1 + (-output(p)).exp())  # noqa: E731
    loss = lambda q: -(y * q.log() + (1 - y) * (1 - q).log()).sum() / 14  # noqa: E731
    return Known(problem, q, loss, "binary probabilities", 14)


def autoencoder() -> Known:
    """Bare tensors, each its own target, and activations in place."""
    x = draw(7, 3)
    model = nn.Sequential(nn.Linear(3, 2), nn.ELU(inplace=True), nn.Linear(2, 3))
    problem = Problem(initialised(model), F.mse_loss, x)

    def output(p: Params) -> Tensor:
        h = affine(p, "0.", x)
        return affine(p, "2.", torch.where(h > 0, h, h.exp() - 1))

    return Known(problem, output, squares(x), "gaussian", 21)


def frozen() -> Known:
    y = draw(7, 2, seed=1)
    model = initialised(mlp_model())
    model[0].requires_grad_(False)
    return Known(*mlp_on(F.mse_loss, y, model), squares(y), "gaussian", 14)


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.conv(x)).mean((2, 3)))


def conv() -> Known:
    x, y = draw(7, 2, 4, 4), draw_classes(4, 7)
    problem = Problem(initialised(ConvNet()), F.cross_entropy, (x, y))

    def output(p: Params) -> Tensor:
        # A convolution is a matrix product with every 3×3 patch of the padded image.
        patches = F.unfold(x, 3, padding=1)
        h = torch.einsum("ok,nkp->npo", p["conv.weight"].reshape(3, -1), patches)
        return affine(p, "head.", (h + p["conv.bias"]).tanh().mean(1))

    return Known(problem, output, classes(y), "classes")


def rectified_conv() -> Known:
    """Strides, groups, and a rectifier that writes over what it is given."""
    x, y = draw(7, 2, 5, 5), draw_classes(3, 7)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, groups=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 3, 2, bias=False),
        nn.Flatten(),
    )
    problem = Problem(initialised(model), F.cross_entropy, (x, y))

    def output(p: Params) -> Tensor:
        first, second = F.unfold(x, 3, stride=2).chunk(2, 1)  # the patches of each group
        w = p["0.weight"].reshape(4, -1)
        h = torch.cat([w[:2] @ first, w[2:] @ second], 1) + p["0.bias"][:, None]
        h = h * (h > 0)
        return h.reshape(7, -1) @ p["2.weight"].reshape(3, -1).T

    return Known(problem, output, classes(y), "classes")


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 3, batch_first=True)
        self.head = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x)[1][0])


def gru() -> Known:
    x, y = draw(7, 4, 2), draw(7, 1, seed=1)
    problem = Problem(initialised(Gated()), F.mse_loss, (x, y))

    def output(p: Params) -> Tensor:
        h = torch.zeros(7, 3, dtype=torch.float64)
        for step in x.unbind(1):
            of_x = step @ p["gru.weight_ih_l0"].T + p["gru.bias_ih_l0"]
            of_h = h @ p["gru.weight_hh_l0"].T + p["gru.bias_hh_l0"]
            (r_x, z_x, n_x), (r_h, z_h, n_h) = of_x.chunk(3, 1), of_h.chunk(3, 1)
            z = (z_x + z_h).sigmoid()
            n = (n_x + (r_x + r_h).sigmoid() * n_h).tanh()
            h = (1 - z) * n + z * h
        return affine(p, "head.", h)

    return Known(problem, output, squares(y), "gaussian")


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 3, batch_first=True)
        self.head = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def lstm() -> Known:
    x, y = draw(7, 4, 2), draw(7, 1, seed=1)
    problem = Problem(initialised(Recurrent()), F.mse_loss, (x, y))

    def output(p: Params) -> Tensor:
        h = c = torch.zeros(7, 3, dtype=torch.float64)
        for step in x.unbind(1):
            gates = step @ p["lstm.weight_ih_l0"].T + p["lstm.bias_ih_l0"]
            gates = gates + h @ p["lstm.weight_hh_l0"].T + p["lstm.bias_hh_l0"]
            i, f, g, o = gates.chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return affine(p, "head.", h)

    return Known(problem, output, squares(y), "gaussian")


class Encoder(nn.Module):
    """torch's own encoder layer with all its defaults, in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, dim_feedforward=3, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).mean(1))


def transformer() -> Known:
    x, y = draw(7, 3, 4), draw_classes(2, 7)
    problem = Problem(initialised(Encoder()).eval(), F.cross_entropy, (x, y))

    def norm(p: Params, name: str, h: Tensor) -> Tensor:
        centred = h - h.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * p[f"layer.{name}.weight"] + p[f"layer.{name}.bias"]

    def output(p: Params) -> Tensor:
        qkv = x @ p["layer.self_attn.in_proj_weight"].T + p["layer.self_attn.in_proj_bias"]
        q, k, v = (t.reshape(7, 3, 2, 2).transpose(1, 2) for t in qkv.chunk(3, -1))
        scores = q @ k.transpose(2, 3) / 2**0.5
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        attended = (weights @ v).transpose(1, 2).reshape(7, 3, 4)
        h = norm(p, "norm1", x + affine(p, "layer.self_attn.out_proj.", attended))
        inner = affine(p, "layer.linear1.", h)
        h = norm(p, "norm2", h + affine(p, "layer.linear2.", inner * (inner > 0)))
        return affine(p, "head.", h.mean(1))

    return Known(problem, output, classes(y), "classes")


def attention(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor) -> Tensor:
    """softmax(qkᵀ/√d) v over what is not hidden; heads before positions."""
    scores = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).exp() * ~hidden
    return scores / scores.sum(-1, keepdim=True) @ v


class Causal(nn.Module):
    """The attention of a language model, by torch's function; its output is (N, C, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(3, 12, bias=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (2, 2)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(h.transpose(1, 2).flatten(2)).transpose(1, 2)


def causal_attention() -> Known:
    x, y = draw(7, 4, 3), draw_classes(3, 7, 4)
    problem = Problem(initialised(Causal()), nn.CrossEntropyLoss(), (x, y))
    later = torch.ones(4, 4, dtype=torch.bool).triu(1)

    def output(p: Params) -> Tensor:
        qkv = (x @ p["qkv.weight"].T).reshape(7, 4, 3, 2, 2)
        q, k, v = (t.transpose(1, 2) for t in qkv.unbind(2))
        h = attention(q, k, v, later).transpose(1, 2).reshape(7, 4, 4)
        return affine(p, "head.", h).transpose(1, 2)

    def loss(z: Tensor) -> Tensor:
        return -pick(log_softmax(z.transpose(1, 2)), y).sum() / 28

    return Known(problem, output, loss)


class Pooled(nn.Module):
    """torch's own attention module in training mode, with padding hidden from it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=3, batch_first=True)
        self.query = nn.Parameter(torch.zeros(1, 4))

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        query = self.query.expand(len(x), 1, 4)
        return self.attention(query, x, x, key_padding_mask=padding, need_weights=False)[0][:, 0]


def multihead_attention() -> Known:
    x, y = draw(7, 5, 3), draw(7, 4, seed=1)
    padding = torch.arange(5) >= torch.tensor([5, 2, 4, 3, 5, 1, 2])[:, None]
    batch = {"x": x, "padding": padding, "labels": y}
    problem = Problem(initialised(Pooled()), F.mse_loss, batch)

    def output(p: Params) -> Tensor:
        biases = p["attention.in_proj_bias"].chunk(3)
        inputs = (p["query"].expand(7, 1, 4), x, x)
        projected = (
            t @ p[f"attention.{n}_proj_weight"].T + b
            for n, t, b in zip("qkv", inputs, biases, strict=True)
        )
        q, k, v = (t.reshape(7, -1, 2, 2).transpose(1, 2) for t in projected)
        h = attention(q, k, v, padding[:, None, None]).transpose(1, 2).reshape(7, 4)
        return affine(p, "attention.out_proj.", h)

    return Known(problem, output, squares(y), "gaussian", 28)


class Tied(nn.Module):
    """Token embeddings that are also the decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.decoder = nn.Linear(3, 5)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(torch.tanh(self.embedding(tokens)))


def tied() -> Known:
    tokens, y = draw_classes(5, 7), draw_classes(5, 7, seed=1)
    problem = Problem(initialised(Tied()), F.cross_entropy, (tokens, y))

    def output(p: Params) -> Tensor:
        table = p["embedding.weight"]
        return table[tokens].tanh() @ table.T + p["decoder.bias"]

    return Known(problem, output, classes(y), "classes")


def batch_norm() -> Known:
    x, y = draw(7, 3), draw(7, 2, seed=1)
    model = initialised(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)))
    model[1].running_mean.copy_(draw(4, seed=3))
    model[1].running_var.copy_(draw(4, seed=4).exp())
    problem = Problem(model.eval(), F.mse_loss, (x, y))

    def output(p: Params) -> Tensor:
        h = affine(p, "0.", x) - p["1.running_mean"]
        h = h / (p["1.running_var"] + 1e-5).sqrt() * p["1.weight"] + p["1.bias"]
        return affine(p, "2.", h)

    return Known(problem, output, squares(y), "gaussian", 14)


# -- models that bring their loss -----------------------------------------------------------


class LanguageModel(nn.Module):
    """In the manner of Hugging Face: labels are shifted inside, −100 is padding."""

    def __init__(self, is_shifted: bool) -> None:
        super().__init__()
        self.is_shifted = is_shifted
        self.embedding = nn.Embedding(5, 3)
        self.mix = nn.Linear(3, 3)
        self.head = nn.Linear(3, 5)

    def forward(self, input_ids, attention_mask=None, labels=None):
        h = torch.tanh(self.mix(self.embedding(input_ids)))
        if attention_mask is not None:
            h = h * attention_mask.unsqueeze(-1)
        logits = self.head(h)
        loss = None
        if labels is not None:
            kept, target = (logits[:, :-1], labels[:, 1:]) if self.is_shifted else (logits, labels)
            loss = F.cross_entropy(kept.reshape(-1, 5), target.reshape(-1), ignore_index=-100)
        return SimpleNamespace(loss=loss, logits=logits)


def padded_tokens(seed: int = 0) -> dict[str, Tensor]:
    """Seven sequences of 2 to 6 tokens, padded to 6."""
    ids = draw_classes(5, 7, 6, seed=seed)
    lengths = torch.tensor([6, 2, 5, 3, 6, 4, 2])
    mask = (torch.arange(6) < lengths[:, None]).long()
    labels = draw_classes(5, 7, 6, seed=seed + 1).masked_fill(mask == 0, -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def tokens(is_shifted: bool) -> Known:
    batch = padded_tokens()
    problem = Problem(initialised(LanguageModel(is_shifted)), None, batch)

    def output(p: Params) -> Tensor:
        h = affine(p, "mix.", p["embedding.weight"][batch["input_ids"]]).tanh()
        return affine(p, "head.", h * batch["attention_mask"].unsqueeze(-1))

    def loss(z: Tensor) -> Tensor:
        target = batch["labels"]
        if is_shifted:
            z, target = z[:, :-1], target[:, 1:]
        kept = target != -100
        return -pick(log_softmax(z[kept]), target[kept]).sum() / kept.sum()

    return Known(problem, output, loss)


def next_token() -> Known:
    return tokens(is_shifted=True)


def token_classes() -> Known:
    return tokens(is_shifted=False)


SHELF: dict[str, Callable[[], Known]] = {
    factory.__name__: factory
    for factory in (
        *(
            linear,
            logistic,
            softmax,
            quadratic,
            mlp,
            opaque,
            opaque_sum,
            known_sum,
            weighted,
            padded,
        ),
        *(smoothed, log_classes, probabilities, autoencoder, frozen, conv, lstm, transformer),
        *(rectified_conv, gru, causal_attention, multihead_attention),
        *(tied, batch_norm, next_token, token_classes),
    )
}


# -- the same data, cut otherwise -----------------------------------------------------------


def cut(data, *sizes: int) -> list:
    """One batch as several of these sizes, by plain slicing."""
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return [_sliced(data, end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _sliced(data, start: int, end: int):
    if isinstance(data, dict):
        return {key: value[start:end] for key, value in data.items()}
    if isinstance(data, tuple):
        return tuple(value[start:end] for value in data)
    return data[start:end]
