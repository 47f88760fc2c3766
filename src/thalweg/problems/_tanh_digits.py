"""A small tanh classifier of digits: easy, from a saddle, and with labels that make no sense."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg._problem import Problem
from thalweg.problems._digits import standardised_digits
from thalweg.problems._draws import as_torch, gaussian
from thalweg.problems._network import Draw, network

NOISE = 0.3
"""The share of labels that `noisy_digits` draws anew."""


def tanh_digits(seed: int = 0) -> Problem:
    """P1 of the races: digits by a network 64-25-10, tanh, full batch; separable, thus easy.

    1,885 parameters for 1,437 images of zero mean and unit deviation, in float32. The loss has no
    minimum: it falls towards 0 as weights grow, and races end at 1e-6. Chance is ln 10 = 2.303.

    Args:
        seed: of the initialisation, torch's default; the split of the data is always the same.

    Example:
        >>> problem = tanh_digits()
        >>> sum(p.numel() for p in problem.parameters.values()), problem.num_samples
        (1885, 1437)
    """
    return _problem(as_torch, seed, "tanh digits")


def tanh_digits_at_the_saddle(seed: int = 0) -> Problem:
    """P1s of the races: `tanh_digits` from weights N(0, (1e-5)²) and biases 0.

    At zero weights and class frequencies p_c as bias the gradient vanishes, the loss is
    Σ_c −p_c ln p_c ≈ ln 10, and the Hessian has both signs, through the products of the two layers'
    weights alone: a strict saddle, where methods that go by the gradient wait.

    Args:
        seed: of the initialisation; the split of the data is always the same.

    Example:
        >>> import math, thalweg
        >>> value = thalweg.Surface(tanh_digits_at_the_saddle()).here().value
        >>> math.isclose(value, math.log(10), rel_tol=1e-6)
        True
    """
    return _problem(gaussian(1e-5), seed, "tanh digits at the saddle")


def noisy_digits(seed: int = 0) -> Problem:
    """P1n of the races: `tanh_digits` with 30 % of the training labels drawn anew, uniformly.

    A tenth of these 431 labels comes out as it was. To 1e-6 the network has to learn the noise by
    heart, which 1,885 parameters can: dense damped Gauss–Newton steps in float64 get there in 36 to
    41 (seeds 0, 1, 2). Held-out labels stay true, so that who gets there has overfitted.

    Args:
        seed: of the initialisation and of the noise; the split of the data is always the same.

    Example:
        >>> noisy, clean = noisy_digits().data[1], tanh_digits().data[1]
        >>> 0.2 < float((noisy != clean).float().mean()) < 0.3
        True

    Source: Zhang et al. 2017, "Understanding deep learning requires rethinking generalization",
    section 2, partially corrupted labels. Theirs are chosen one by one; here exactly 30 % are.
    """
    generator = torch.Generator().manual_seed(seed)
    (_, labels), _ = standardised_digits()
    chosen = torch.randperm(len(labels), generator=generator)[: round(NOISE * len(labels))]
    noisy = labels.clone()
    noisy[chosen] = torch.randint(10, (len(chosen),), generator=generator)
    return _problem(as_torch, seed, "noisy digits", noisy)


def _problem(draw: Draw, seed: int, name: str, labels: Tensor | None = None) -> Problem:
    (x, y), test = standardised_digits()
    return Problem(
        network((64, 25, 10), nn.Tanh, draw, torch.Generator().manual_seed(seed)),
        nn.functional.cross_entropy,
        (x, y if labels is None else labels),
        test=test,
        optimizer=lambda params: torch.optim.Adam(params, lr=0.01),
        batch_size=len(x),
        name=name,
    )
