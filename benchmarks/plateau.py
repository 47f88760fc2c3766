"""How long a sparse initialisation stays on its plateau, predicted: `python -m benchmarks.plateau`.

An autoencoder of logistic units begins at the mean image: what it says of its input dies on the way
when weights are small, and is noise when they are large. Two things can be read before training,
with the output's biases set so that the mean image is fitted exactly:

    N = (1 − μ) / (η max_l ‖∂L/∂W_l‖/σ_l),   σ_l² = fan_in · mean(W_l²)
    s = η λ_max / (2 + 2μ)

N: with the mean fitted, the gradient of a layer is what the input's signal makes of it, passed on
by all other layers, ∏_{k≠l} g_k; the signal has grown by its own size once a layer has moved by
its gain σ_l, which gradient descent with momentum does at η/(1 − μ) times the gradient. Until then
the loss stands still, and afterwards it falls ever faster. Nothing in it is fitted to an outcome.
s: above 1 the first steps overshoot; weights of that size are thrown into saturation.

So a scale is said to train in a budget where N is within it and s is below 1. It is tried on an
autoencoder of digits, and N is printed for CURVES, with the published errors. There the rule is
not whole: at ½ N is within 750,000 updates, where published training stayed at the mean image. It
is a rule of descent on all data, and knows nothing of a minibatch's noise.

Source: Saxe, McClelland, Ganguli 2014, "Exact solutions to the nonlinear dynamics of learning in
deep linear neural networks", for plateaus whose length goes by the product of the other layers'
gains; momentum's limit: Cohen et al. 2021. Their use on the scale of a sparse initialisation is
ours. Chaotic starts (scale 2 and up, a loss above the mean image's) are slower than N, which does
not know that noise has to be unlearned first.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from math import sqrt

import torch
from torch import Tensor, nn

from thalweg import Pass, Problem, Surface, eigenpairs
from thalweg.problems import curves, curves_autoencoder, digits
from thalweg.problems._draws import sparse
from thalweg.problems._network import network

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
PUBLISHED = {0.25: 16.0, 0.5: 16.0, 1.0: 0.074, 2.0: 0.083, 4.0: 0.35}
"""Of CURVES after 750,000 updates (Sutskever et al. 2013, table 2); 16 is the mean image's."""

SHARE = 0.1
"""Of the stable learning rate at scale 1, for all scales."""

LEFT = 0.97
"""The plateau is left where the loss is below this share of the mean image's."""


def digits_autoencoder(scale: float, seed: int) -> Problem:
    """Eight layers through a code of eight, on 400 digits, pixels that never change left out."""
    (images, _), _ = digits()
    x = images[:400] / images.max()
    x = x[:, x.std(0) > 0.1]
    widths = (x.shape[1], 40, 25, 15, 8)
    generator = torch.Generator().manual_seed(seed)
    layers = [*network(widths, nn.Sigmoid, sparse(scale), generator)]
    layers += [*network(widths[::-1], nn.Sigmoid, sparse(scale), generator)]
    weight = torch.tensor(float(widths[0]))
    loss = partial(nn.functional.binary_cross_entropy_with_logits, weight=weight)
    return Problem(nn.Sequential(*layers), loss, x)


def at_the_mean(problem: Problem) -> Problem:
    """A copy whose output biases make the mean output the mean image, by bisection."""
    copied = problem.copied()
    x, model = copied.batches[0], copied.model
    assert isinstance(model, nn.Sequential)
    last = model[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        z = nn.Sequential(*list(model)[:-1])(x) @ last.weight.T
        low, high = (torch.full_like(last.bias, end) for end in (-200.0, 200.0))
        for _ in range(60):
            middle = (low + high) / 2
            is_low = torch.sigmoid(z + middle).mean(0) < x.mean(0)
            low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
        last.bias.copy_((low + high) / 2)
    return copied


def rate(problem: Problem) -> float:
    """max_l ‖∂L/∂W_l‖/σ_l: by how much of its gain a layer moves, per unit of learning rate."""
    return max(
        layer.weight_gradient_norm / sqrt(layer.weight_variance)
        for layer in Pass.of(problem).layers
        if layer.weight_variance
    )


def sharpness(problem: Problem) -> float:
    """λ_max of the Hessian."""
    generator = torch.Generator().manual_seed(0)
    return float(eigenpairs(Surface(problem).here().hessian(), k=1, generator=generator).values[0])


def mean_image_loss(x: Tensor) -> float:
    """Of the network that always says the mean image."""
    mean = x.mean(0).expand_as(x)
    return float(nn.functional.binary_cross_entropy(mean, x)) * x.shape[1]


def trained(problem: Problem, lr: float, momentum: float, budget: int) -> tuple[int | None, float]:
    """The update at which the plateau is left, and the loss in the end."""
    model, x = problem.model, problem.batches[0]
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    plateau, left = LEFT * mean_image_loss(x), None
    for update in range(budget):
        optimizer.zero_grad()
        loss = problem.loss(model(x), x)
        torch.autograd.backward(loss)
        optimizer.step()
        if left is None and float(loss.detach()) < plateau:
            left = update
    return left, float(loss.detach())


def main() -> None:
    """Prints the predictions, then what training makes of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=int, default=4000, help="updates, full batch")
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    mu = given.momentum
    starts = {scale: at_the_mean(digits_autoencoder(scale, given.seed)) for scale in SCALES}
    sharp = {scale: sharpness(start) for scale, start in starts.items()}
    lr = SHARE * (2 + 2 * mu) / sharp[1.0]
    plateau = mean_image_loss(starts[1.0].batches[0])
    print(f"digits, learning rate {lr:.3g}, momentum {mu}; the mean image has {plateau:.2f} nats")
    print("scale  N predicted  s      said    left at  loss in the end", flush=True)
    right = 0
    for scale, start in starts.items():
        N, s = (1 - mu) / (lr * rate(start)), lr * sharp[scale] / (2 + 2 * mu)
        is_said = given.budget >= N and s < 1
        left, end = trained(start, lr, mu, given.budget)
        right += is_said == (end < LEFT * plateau)
        print(
            f"{scale:5g}  {N:11.0f}  {s:5.2f}  {'trains' if is_said else 'stuck ':6s}  "
            f"{'never' if left is None else left:>7}  {end:.3f}",
            flush=True,
        )
    print(f"{right} of {len(SCALES)} rightly said")
    images, _ = curves(num_train=500, num_test=1)
    print("\nCURVES: N · η/(1 − μ), for any learning rate, and the published error")
    for scale, published in PUBLISHED.items():
        start = at_the_mean(replace(curves_autoencoder(0, scale), data=images, test=None))
        print(f"{scale:5g}  {1 / rate(start):11.4g}  {published:g}", flush=True)


if __name__ == "__main__":
    main()
