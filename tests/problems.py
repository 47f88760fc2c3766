"""A shelf of small problems with known answers, in float64.

Each comes with its loss written out a second time, by hand and over all data at once, as a plain
function of the parameters: the oracle that shares nothing with thalweg but torch's operations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thalweg import Problem

Params = dict[str, Tensor]


@dataclass(frozen=True)
class Known:
    """A problem, and its loss as a plain function of all its parameters and buffers by name."""

    problem: Problem
    plain: Callable[[Params], Tensor]
    has_fisher: bool = False


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw_classes(num_classes: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(num_classes, shape, generator=torch.Generator().manual_seed(seed))


def initialised(model: nn.Module, seed: int = 0, scale: float = 0.5) -> nn.Module:
    """The model in float64 at random parameters that leave no symmetry and no zero bias."""
    model = model.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(scale * noise + (1.0 if "norm" in str(type(model)) else 0.0))
    return model


def affine(p: Params, name: str, x: Tensor) -> Tensor:
    return x @ p[f"{name}weight"].T + p[f"{name}bias"]


def log_softmax(z: Tensor) -> Tensor:
    return z - z.exp().sum(-1, keepdim=True).log()


def pick(log_p: Tensor, y: Tensor) -> Tensor:
    """ln p of the class of each sample, classes last."""
    return log_p.gather(-1, y.unsqueeze(-1)).squeeze(-1)


# -- closed forms ---------------------------------------------------------------------------


def linear() -> Known:
    x, y = draw(7, 3), draw(7, 2, seed=1)
    problem = Problem(initialised(nn.Linear(3, 2)), F.mse_loss, (x, y))
    return Known(problem, lambda p: (affine(p, "", x) - y).square().sum() / 14, True)


def logistic() -> Known:
    x, y = draw(7, 3), (draw(7, 1, seed=1) > 0).double()
    problem = Problem(initialised(nn.Linear(3, 1)), nn.BCEWithLogitsLoss(), (x, y))

    def plain(p: Params) -> Tensor:
        z = affine(p, "", x)
        return ((1 + z.exp()).log() - y * z).sum() / 7

    return Known(problem, plain, True)


def softmax() -> Known:
    x, y = draw(7, 3), draw_classes(4, 7)
    problem = Problem(initialised(nn.Linear(3, 4)), F.cross_entropy, (x, y))
    return Known(problem, lambda p: -pick(log_softmax(affine(p, "", x)), y).sum() / 7, True)


class Quadratic(nn.Module):
    """A sample's loss is ½ θᵀA θ − bᵀθ, whatever its output is compared with."""

    def __init__(self, A: Tensor) -> None:
        super().__init__()
        self.register_buffer("A", A)
        self.theta = nn.Parameter(draw(len(A), seed=5))

    def forward(self, b: Tensor) -> Tensor:
        return 0.5 * self.theta @ self.A @ self.theta - b @ self.theta


def quadratic() -> Known:
    A = torch.diag(torch.tensor([3.0, 1.0, 0.0, -2.0], dtype=torch.float64))
    b = draw(7, 4)
    problem = Problem(Quadratic(A), lambda output: output.mean(), b)
    return Known(problem, lambda p: 0.5 * p["theta"] @ A @ p["theta"] - b.mean(0) @ p["theta"])


# -- networks -------------------------------------------------------------------------------


def mlp_model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def mlp_output(p: Params, x: Tensor) -> Tensor:
    return affine(p, "2.", affine(p, "0.", x).tanh())


def mlp() -> Known:
    x, y = draw(7, 3), draw(7, 2, seed=1)
    problem = Problem(initialised(mlp_model()), F.mse_loss, (x, y))
    return Known(problem, lambda p: (mlp_output(p, x) - y).square().mean(), True)


def opaque() -> Known:
    """A loss that thalweg cannot know, a mean over samples."""
    x, y = draw(7, 3), draw(7, 2, seed=1)
    problem = Problem(initialised(mlp_model()), lambda z, t: (z - t).pow(4).sum(1).mean(), (x, y))
    return Known(problem, lambda p: (mlp_output(p, x) - y).pow(4).sum() / 7)


def opaque_sum() -> Known:
    x, y = draw(7, 3), draw(7, 2, seed=1)
    problem = Problem(initialised(mlp_model()), lambda z, t: (z - t).pow(4).sum(), (x, y))
    return Known(problem, lambda p: (mlp_output(p, x) - y).pow(4).sum())


def known_sum() -> Known:
    x, y = draw(7, 3), draw(7, 2, seed=1)
    problem = Problem(initialised(mlp_model()), nn.MSELoss(reduction="sum"), (x, y))
    return Known(problem, lambda p: (mlp_output(p, x) - y).square().sum(), True)


def weighted() -> Known:
    """Class weights and a padding class: the mean runs over the weights of what counts."""
    x, y = draw(7, 3), draw_classes(2, 7, seed=2)
    y[4] = -100
    weight = torch.tensor([0.3, 2.0], dtype=torch.float64)
    problem = Problem(initialised(mlp_model()), nn.CrossEntropyLoss(weight), (x, y))

    def plain(p: Params) -> Tensor:
        kept = y != -100
        log_p = pick(log_softmax(mlp_output(p, x[kept])), y[kept])
        return -(weight[y[kept]] * log_p).sum() / weight[y[kept]].sum()

    return Known(problem, plain)


def smoothed() -> Known:
    x, y = draw(7, 3), draw_classes(2, 7, seed=2)
    loss = nn.CrossEntropyLoss(label_smoothing=0.2)
    problem = Problem(initialised(mlp_model()), loss, (x, y))

    def plain(p: Params) -> Tensor:
        log_p = log_softmax(mlp_output(p, x))
        return -(0.8 * pick(log_p, y) + 0.2 * log_p.mean(1)).mean()

    return Known(problem, plain)


def log_classes() -> Known:
    x, y = draw(7, 3), draw_classes(2, 7, seed=2)
    model = initialised(nn.Sequential(*mlp_model(), nn.LogSoftmax(dim=1)))
    problem = Problem(model, nn.NLLLoss(), (x, y))
    return Known(problem, lambda p: -pick(log_softmax(mlp_output(p, x)), y).mean(), True)


def probabilities() -> Known:
    x, y = draw(7, 3), (draw(7, 2, seed=1) > 0).double()
    model = initialised(nn.Sequential(*mlp_model(), nn.Sigmoid()))
    problem = Problem(model, F.binary_cross_entropy, (x, y))

    def plain(p: Params) -> Tensor:
        z = mlp_output(p, x)
        return ((1 + z.exp()).log() - y * z).mean()

    return Known(problem, plain, True)


def autoencoder() -> Known:
    """Bare tensors, each its own target, and activations in place."""
    x = draw(7, 3)
    model = nn.Sequential(nn.Linear(3, 2), nn.ELU(inplace=True), nn.Linear(2, 3))
    problem = Problem(initialised(model), F.mse_loss, x)

    def plain(p: Params) -> Tensor:
        h = affine(p, "0.", x)
        h = torch.where(h > 0, h, h.exp() - 1)
        return (affine(p, "2.", h) - x).square().mean()

    return Known(problem, plain, True)


def frozen() -> Known:
    x, y = draw(7, 3), draw(7, 2, seed=1)
    model = initialised(mlp_model())
    model[0].requires_grad_(False)
    problem = Problem(model, F.mse_loss, (x, y))
    return Known(problem, lambda p: (mlp_output(p, x) - y).square().mean(), True)


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

    def plain(p: Params) -> Tensor:
        # A convolution is a matrix product with every 3×3 patch of the padded image.
        patches = F.unfold(x, 3, padding=1)
        h = torch.einsum("ok,nkp->npo", p["conv.weight"].reshape(3, -1), patches)
        h = (h + p["conv.bias"]).tanh().mean(1)
        return -pick(log_softmax(affine(p, "head.", h)), y).mean()

    return Known(problem, plain, True)


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

    def plain(p: Params) -> Tensor:
        h = c = torch.zeros(7, 3, dtype=torch.float64)
        for step in x.unbind(1):
            gates = step @ p["lstm.weight_ih_l0"].T + p["lstm.bias_ih_l0"]
            gates = gates + h @ p["lstm.weight_hh_l0"].T + p["lstm.bias_hh_l0"]
            i, f, g, o = gates.chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return (affine(p, "head.", h) - y).square().mean()

    return Known(problem, plain, True)


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

    def plain(p: Params) -> Tensor:
        qkv = x @ p["layer.self_attn.in_proj_weight"].T + p["layer.self_attn.in_proj_bias"]
        q, k, v = (t.reshape(7, 3, 2, 2).transpose(1, 2) for t in qkv.chunk(3, -1))
        scores = q @ k.transpose(2, 3) / 2**0.5
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        attended = (weights @ v).transpose(1, 2).reshape(7, 3, 4)
        h = norm(p, "norm1", x + affine(p, "layer.self_attn.out_proj.", attended))
        inner = affine(p, "layer.linear1.", h)
        h = norm(p, "norm2", h + affine(p, "layer.linear2.", inner * (inner > 0)))
        return -pick(log_softmax(affine(p, "head.", h.mean(1))), y).mean()

    return Known(problem, plain, True)


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

    def plain(p: Params) -> Tensor:
        table = p["embedding.weight"]
        logits = table[tokens].tanh() @ table.T + p["decoder.bias"]
        return -pick(log_softmax(logits), y).mean()

    return Known(problem, plain, True)


def batch_norm() -> Known:
    x, y = draw(7, 3), draw(7, 2, seed=1)
    model = initialised(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)))
    model[1].running_mean.copy_(draw(4, seed=3))
    model[1].running_var.copy_(draw(4, seed=4).exp())
    problem = Problem(model.eval(), F.mse_loss, (x, y))

    def plain(p: Params) -> Tensor:
        h = affine(p, "0.", x) - p["1.running_mean"]
        h = h / (p["1.running_var"] + 1e-5).sqrt() * p["1.weight"] + p["1.bias"]
        return (affine(p, "2.", h) - y).square().mean()

    return Known(problem, plain, True)


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

    def plain(p: Params) -> Tensor:
        h = affine(p, "mix.", p["embedding.weight"][batch["input_ids"]]).tanh()
        log_p = log_softmax(affine(p, "head.", h * batch["attention_mask"].unsqueeze(-1)))
        target = batch["labels"]
        if is_shifted:
            log_p, target = log_p[:, :-1], target[:, 1:]
        kept = target != -100
        return -pick(log_p[kept], target[kept]).sum() / kept.sum()

    return Known(problem, plain)


def next_token() -> Known:
    return tokens(is_shifted=True)


def token_classes() -> Known:
    return tokens(is_shifted=False)


SHELF: dict[str, Callable[[], Known]] = {
    factory.__name__: factory
    for factory in (
        *(linear, logistic, softmax, quadratic, mlp, opaque, opaque_sum, known_sum, weighted),
        *(smoothed, log_classes, probabilities, autoencoder, frozen, conv, lstm, transformer),
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
