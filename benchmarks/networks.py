"""W1 to W4: the four networks that every cost is measured on, seeded and without a download.

Each is read after a few steps of training, where a spectrum has its outliers.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import thalweg


@dataclass(frozen=True, eq=False)
class Network:
    """A model at one point, its loss (a module of torch.nn) and one batch.

    Args:
        name: W1 to W4.
        description: one line for the report.
        model: in training mode; none of its layers is random.
        loss: a module, since some neighbours read its `reduction`.
        inputs: one batch.
        targets: of that batch.
    """

    name: str
    description: str
    model: nn.Module
    loss: nn.Module
    inputs: Tensor
    targets: Tensor

    @property
    def num_params(self) -> int:
        """N."""
        return sum(p.numel() for p in self.params)

    @property
    def params(self) -> list[nn.Parameter]:
        """The parameters, each once."""
        return list(self.model.parameters())

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return self.params[0].dtype

    def value(self) -> Tensor:
        """L(θ), with its graph."""
        return self.loss(self.model(self.inputs), self.targets)

    def gradient_step(self) -> None:
        """One plain gradient as training takes it: the unit of every cost."""
        self.model.zero_grad()
        self.value().backward()

    def problem(self) -> thalweg.Problem:
        """The same as thalweg reads it."""
        return thalweg.Problem(self.model, self.loss, (self.inputs, self.targets), name=self.name)


class CausalAttention(nn.Module):
    """softmax(QKᵀ/√d + causal mask) V, over several heads, by torch's own function."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        batch, tokens, width = x.shape
        heads = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*heads, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = CausalAttention(width, num_heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class Transformer(nn.Module):
    """A causal language model; the head has no bias, and may be the embedding itself.

    Its logits are (batch, vocabulary, tokens), the order that cross-entropy reads.
    """

    def __init__(
        self, layers: int, width: int, heads: int, vocabulary: int, context: int, is_tied: bool
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.empty(context, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if is_tied:
            self.head.weight = self.embedding.weight
        self.apply(_initialise)
        nn.init.normal_(self.position, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens) to logits."""
        x = self.embedding(tokens) + self.position[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x))).transpose(1, 2)


def _initialise(module: nn.Module) -> None:
    """GPT-2's: normal weights of deviation 0.02, no biases."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _initialise_sparsely(linear: nn.Linear) -> None:
    """15 normal weights a unit, the others zero, no biases: Martens 2010, for this very network."""
    is_free = torch.rand(linear.weight.shape).argsort(dim=1) < 15
    with torch.no_grad():
        linear.weight.copy_(torch.randn(linear.weight.shape) * is_free)
        linear.bias.zero_()


def tokens(batch: int, context: int, vocabulary: int, generator: torch.Generator) -> Tensor:
    """(batch, context + 1) tokens that can be learned: mostly each is 3 times the last, plus 1."""
    rows = torch.randint(vocabulary, (batch, context + 1), generator=generator)
    is_free = torch.rand(batch, context, generator=generator) < 0.2
    for t in range(context):
        follows = (3 * rows[:, t] + 1) % vocabulary
        rows[:, t + 1] = torch.where(is_free[:, t], rows[:, t + 1], follows)
    return rows


def curves(count: int, generator: torch.Generator) -> Tensor:
    """(count, 784) images of quadratic Bézier curves, drawn with a Gaussian pen.

    Three points uniform in [4.5, 22.5]², the middle one as control point, 64 parameter values,
    σ = 0.8, the pixel is the maximum over the curve.
    """
    corners = 4.5 + 18.0 * torch.rand(count, 3, 2, generator=generator)
    t = torch.linspace(0.0, 1.0, 64)[:, None]
    weights = torch.cat([(1 - t) ** 2, 2 * t * (1 - t), t**2], dim=1)
    path = weights @ corners
    pixels = torch.arange(28.0)
    x = torch.exp(-((path[:, :, :1] - pixels) ** 2) / (2 * 0.8**2))
    y = torch.exp(-((path[:, :, 1:] - pixels) ** 2) / (2 * 0.8**2))
    image = torch.zeros(count, 28, 28)
    for k in range(64):
        image = torch.maximum(image, y[:, k, :, None] * x[:, k, None, :])
    return image.reshape(count, 784)


def w1() -> Network:
    """Digits: real data that comes with scikit-learn."""
    digits = load_digits()
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(64, 50), nn.Tanh(), nn.Linear(50, 50), nn.Tanh(), nn.Linear(50, 10)
    )
    return Network(
        "W1",
        "digits MLP 64-50-50-10, tanh, n = 1,797, cross-entropy",
        model,
        nn.CrossEntropyLoss(),
        torch.tensor(digits.data / 16.0, dtype=torch.float32),
        torch.tensor(digits.target),
    )


def w2() -> Network:
    """The deep autoencoder of the second-order literature, sparsely initialised, on drawn curves.

    Binary cross-entropy from logits, its mean over images and pixels: 1/784 of the sum per image.
    """
    images = curves(2000, torch.Generator().manual_seed(2))
    sizes = [784, 400, 200, 100, 50, 25, 6, 25, 50, 100, 200, 400, 784]
    torch.manual_seed(2)
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise(sizes):
        linear = nn.Linear(inner, outer)
        _initialise_sparsely(linear)
        layers += [linear] if outer in (6, 784) else [linear, nn.Sigmoid()]
    return Network(
        "W2",
        "curves autoencoder 784-400-200-100-50-25-6-…-784, logistic, linear code, n = 2,000, "
        "mean binary cross-entropy from logits",
        nn.Sequential(*layers),
        nn.BCEWithLogitsLoss(),
        images,
        images,
    )


def w3() -> Network:
    """A convolutional network on images of ten noisy prototypes."""
    generator = torch.Generator().manual_seed(3)
    prototypes = F.interpolate(torch.randn(10, 3, 8, 8, generator=generator), size=32)
    targets = torch.randint(10, (128,), generator=generator)
    images = prototypes[targets] + torch.randn(128, 3, 32, 32, generator=generator)
    torch.manual_seed(3)
    layers: list[nn.Module] = []
    for inner, outer in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return Network(
        "W3",
        "CNN 3-16-32-64, 3×3, ReLU, max pooling, 32×32 images, batch 128, cross-entropy",
        nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 10)),
        nn.CrossEntropyLoss(),
        images,
        targets,
    )


def w4() -> Network:
    """A small GPT over bytes."""
    rows = tokens(16, 64, 256, torch.Generator().manual_seed(4))
    torch.manual_seed(4)
    return Network(
        "W4",
        "causal transformer 4 × 128, 4 heads, 256 tokens of vocabulary, 16 × 64 tokens, "
        "cross-entropy",
        Transformer(layers=4, width=128, heads=4, vocabulary=256, context=64, is_tied=False),
        nn.CrossEntropyLoss(),
        rows[:, :-1].contiguous(),
        rows[:, 1:].contiguous(),
    )


NETWORKS: dict[str, tuple[Callable[[], Network], int]] = {
    "W1": (w1, 6_310),
    "W2": (w2, 842_340),
    "W3": (w3, 33_834),
    "W4": (w4, 867_072),
}
"""Each network and the number of parameters that it must have."""

STEPS = {"W1": (300, 1e-2), "W2": (10, 3e-3), "W3": (20, 1e-3), "W4": (10, 3e-3)}
"""Steps of Adam, and their learning rate, from the initialisation to the point that is read."""


@functools.cache
def trained(name: str) -> Network:
    """The network in float32 at the point that is read; on one thread, so that it is one point."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(1)
    try:
        make, num_params = NETWORKS[name]
        network = make()
        assert network.num_params == num_params, (name, network.num_params)
        steps, lr = STEPS[name]
        optimizer = torch.optim.Adam(network.params, lr=lr)
        for _ in range(steps):
            network.gradient_step()
            optimizer.step()
        network.model.zero_grad()
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
    return network


def build(name: str, dtype: torch.dtype) -> Network:
    """The network in a dtype; the numbers behind it are the float32 ones either way."""
    network = trained(name)

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return replace(
        network,
        model=copy.deepcopy(network.model).to(dtype),
        inputs=cast(network.inputs),
        targets=cast(network.targets),
    )
