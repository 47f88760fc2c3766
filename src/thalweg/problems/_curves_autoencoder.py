"""The deep autoencoder of CURVES, the test of second-order methods since 2010, and a small one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from thalweg._problem import Problem
from thalweg.problems._curves import SIDE, curves
from thalweg.problems._draws import sparse
from thalweg.problems._network import network


def curves_autoencoder(seed: int = 0, scale: float = 1.0) -> Problem:
    """P3 of the races: 20,000 images through a code of six units, 842,340 parameters.

    784-400-200-100-50-25-6-25-50-100-200-400-784, logistic units, linear code, logits at the end.
    Loss: cross-entropy, summed over pixels, mean over images. Learning starts at the mean image,
    93.8 nats; a perfect network still has `entropy_floor`, 29.9 nats. Published errors
    (`squared_error`, on another file, see `curves`) after 750,000 updates of 200 images:
    stochastic gradient descent .48, classical momentum .10, Nesterov's .074, Hessian-free .058.

    Args:
        seed: of the initialisation; the images are always those of seed 0.
        scale: factor of the sparse initialisation, 15 N(0, 1) incoming weights a unit. Published
            errors of ¼, ½, 1, 2, 4 with momentum: 16, 16, .074, .083, .35.

    Cost: two seconds for the images; about 250 MB.

    Source: G. Hinton, R. Salakhutdinov 2006, Science 313, supporting material, for the network;
    Martens 2010, section 5, for the initialisation; Sutskever et al. 2013, tables 1 and 2, for the
    errors and the scale.

    Example:
        >>> problem = curves_autoencoder()
        >>> sum(p.numel() for p in problem.parameters.values()), problem.num_samples
        (842340, 20000)
    """
    widths = (SIDE**2, 400, 200, 100, 50, 25, 6)
    return _problem(widths, curves(), seed, scale, "CURVES autoencoder")


def small_curves_autoencoder(seed: int = 0, scale: float = 1.0) -> Problem:
    """The same task in little, to train in seconds: 2,000 images of 14×14, 196-50-25-6-25-50-196.

    The images are those of `curves`, 2×2 pixels averaged into one.

    Args:
        seed: of the initialisation; the images are always those of seed 0.
        scale: factor of the sparse initialisation.

    Example:
        >>> problem = small_curves_autoencoder()
        >>> sum(p.numel() for p in problem.parameters.values())
        22752
    """
    coarse = tuple(
        nn.functional.avg_pool2d(images.view(-1, SIDE, SIDE), 2).flatten(1)
        for images in curves(num_train=2_000, num_test=500)
    )
    return _problem((SIDE**2 // 4, 50, 25, 6), coarse, seed, scale, "small CURVES autoencoder")


def _problem(
    widths: Sequence[int], images: Sequence[Tensor], seed: int, scale: float, name: str
) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    encoder = network(widths, nn.Sigmoid, sparse(scale), generator)
    decoder = network(widths[::-1], nn.Sigmoid, sparse(scale), generator)
    train, test = images
    # The mean over all pixels of all images times the pixels of one: the sum over pixels, the mean
    # over images. Written so, it is a loss whose likelihood and number of terms thalweg knows.
    num_pixels = torch.tensor(widths[0], dtype=torch.float32)
    loss = partial(nn.functional.binary_cross_entropy_with_logits, weight=num_pixels)
    return Problem(
        nn.Sequential(*encoder, *decoder),
        loss,
        train,
        test=test,
        optimizer=lambda params: torch.optim.Adam(params, lr=1e-3),
        batch_size=200,
        name=name,
    )
