"""CURVES without a download: images of random curves, calibrated on the benchmark's figures."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import ProblemError

SIDE = 28
"""Pixels along an edge of an image."""

_CHUNK = 256
"""Images drawn at once: their 800 kB stay in the cache."""


def curves(
    num_train: int = 20_000, num_test: int = 10_000, seed: int = 0
) -> tuple[Float[Tensor, "b 784"], Float[Tensor, "t 784"]]:
    """Images of random curves to train on and to hold out: a stand-in for the CURVES benchmark.

    A curve is a quadratic Bézier c(t) = (1−t)² P₀ + 2t(1−t) P₁ + t² P₂ of three points uniform in
    [4.5, 22.5]², at 64 values of t. A Gaussian pen draws it: x_p = max_t exp(−‖p − c(t)‖²/2σ²),
    σ = 0.8, at the pixels p = (0..27)². Every image has six degrees of freedom, as many as the code
    of the benchmark's autoencoder has units.

    It is not the file that published errors belong to, whose generator is not public. It was
    calibrated on what is published: of the 20,000 images of seed 0 the total variance is 16.23 (the
    literature's error of a network stuck at the mean is 16), the error of the first 18 principal
    components 5.88 (5.90). `mean_image_loss` is 93.79 nats, `entropy_floor` 29.91.

    Args:
        num_train: images to train on, 0 or more.
        num_test: images held out, 0 or more.
        seed: of the points.

    Returns:
        float32 values in [0, 1], flattened, (num_train, 784) and (num_test, 784).

    Raises:
        ProblemError: if a number of images is negative.

    Cost: two seconds on one core, 94 MB.

    Source: G. Hinton, R. Salakhutdinov 2006, "Reducing the dimensionality of data with neural
    networks", Science 313, supporting material, for the benchmark: 28×28 images of curves from
    three random points, 20,000 and 10,000. Pen and range of the points are ours.

    Example:
        >>> train, test = curves(num_train=100, num_test=50)
        >>> train.shape, test.shape, train.dtype
        (torch.Size([100, 784]), torch.Size([50, 784]), torch.float32)
    """
    if num_train < 0 or num_test < 0:
        raise ProblemError(f"curves({num_train}, {num_test}); give numbers of images, 0 or more")
    generator = torch.Generator().manual_seed(seed)
    num_images = num_train + num_test
    points = 4.5 + 18.0 * torch.rand((num_images, 3, 2), generator=generator, dtype=torch.float32)
    images = torch.cat([_drawn(chunk) for chunk in points.split(_CHUNK)])
    return images[:num_train], images[num_train:]


def _drawn(points: Float[Tensor, "b 3 2"]) -> Float[Tensor, "b 784"]:
    """The curves of some triples of points: the nearest place of a curve to each pixel decides."""
    t = torch.linspace(0, 1, 64, dtype=torch.float32)
    bernstein = torch.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2])
    along = torch.einsum("kt,bkd->tdb", bernstein, points)
    pixels = torch.arange(SIDE, dtype=torch.float32)
    # ‖p − c‖² is a sum over the two axes, so that each axis needs only 28 differences.
    down, across = (along[..., None] - pixels).square().unbind(1)
    nearest = torch.full((len(points), SIDE, SIDE), torch.inf, dtype=points.dtype)
    for dy, dx in zip(down, across, strict=True):
        torch.minimum(nearest, dy[:, :, None] + dx[:, None, :], out=nearest)
    return nearest.mul_(-1 / (2 * 0.8**2)).exp_().flatten(1)


def entropy_floor(images: Float[Tensor, "b p"]) -> float:
    """The least cross-entropy that any reconstruction of these images has, in nats an image.

    H = mean_b Σ_p −x ln x − (1−x) ln(1−x): grey pixels cost even where they are met. Races report
    what a loss has above it.

    Args:
        images: values in [0, 1].

    Example:
        >>> round(entropy_floor(torch.tensor([[0.0, 1.0, 0.5, 0.5]])), 4)  # 2 ln 2
        1.3863
    """
    bits = torch.special.entr(images) + torch.special.entr(1 - images)
    return float(bits.sum(dtype=torch.float64)) / len(images)


def mean_image_loss(images: Float[Tensor, "b p"]) -> float:
    """The cross-entropy of a network that always returns the mean image, in nats an image.

    H = Σ_p −m ln m − (1−m) ln(1−m) of the mean m of each pixel: where a network is stuck that has
    learned its last bias alone.

    Args:
        images: values in [0, 1].

    Example:
        >>> round(mean_image_loss(torch.tensor([[0.0, 1.0], [1.0, 1.0]])), 4)  # ln 2
        0.6931
    """
    mean = images.mean(0, dtype=torch.float64, keepdim=True)
    return entropy_floor(mean)


def squared_error(logits: Float[Tensor, "b p"], images: Float[Tensor, "b p"]) -> float:
    """The error that the literature reports: ‖σ(z) − x‖², summed over pixels, mean over images.

    Args:
        logits: what an autoencoder returns for the images, z.
        images: values in [0, 1].

    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep
    learning", table 1: training squared error, without a factor of ½.

    Example:
        >>> squared_error(torch.zeros(1, 4), torch.tensor([[0.0, 1.0, 0.5, 0.5]]))
        0.5
    """
    error = (torch.sigmoid(logits.detach()) - images).square()
    return float(error.sum(dtype=torch.float64)) / len(images)
