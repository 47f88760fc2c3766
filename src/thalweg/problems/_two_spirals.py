"""Two spirals: classes that wind around each other three times."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._problem import Problem
from thalweg.problems._draws import as_torch
from thalweg.problems._network import network


def two_spirals(seed: int = 0) -> Problem:
    """The two-spirals benchmark, 194 points in the plane, by a network 2-32-32-2, tanh.

    Point i of a class lies at the angle iπ/16 and the radius (104 − i)/104, i = 0..96; the other
    class is its mirror image −x. Held out are the 192 points halfway between neighbours. Cross-
    entropy, float32; chance is ln 2 = 0.693, and the loss has no minimum, since the classes can be
    separated.

    Args:
        seed: of the initialisation, torch's default; the data are always the same.

    Source: Lang and Witbrock 1988, "Learning to tell two spirals apart", with radii divided by
    their largest, 6.5. Their network has shortcuts between layers; this one has none.

    Example:
        >>> problem = two_spirals()
        >>> problem.num_samples, len(problem.test[0])
        (194, 192)
    """
    return Problem(
        network((2, 32, 32, 2), nn.Tanh, as_torch, torch.Generator().manual_seed(seed)),
        nn.functional.cross_entropy,
        _classified(torch.arange(97, dtype=torch.float32)),
        test=_classified(torch.arange(96, dtype=torch.float32) + 0.5),
        optimizer=lambda params: torch.optim.Adam(params, lr=0.01),
        batch_size=194,
        name="two spirals",
    )


def _classified(i: Float[Tensor, " b"]) -> tuple[Tensor, Tensor]:
    angle, radius = i * torch.pi / 16, (104 - i) / 104
    one = torch.stack([radius * torch.sin(angle), radius * torch.cos(angle)], 1)
    labels = torch.arange(2).repeat_interleave(len(i))
    return torch.cat([one, -one]), labels
