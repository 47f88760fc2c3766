"""A number read on some of the data, with the error that comes from not reading all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

import torch

from thalweg._errors import ProblemError
from thalweg._problem import Problem
from thalweg._sampling import drawn


@dataclass(frozen=True)
class SampleEstimate:
    """A number read on a random part of the data, with its sampling error.

    Attributes:
        value: what was read on the part.
        stderr: the standard error of the value against all data; 0 where all were read.
        bias: how far `value` lies above the number on all data in expectation, to first order in
            1/n: about 0 for means (loss, trace, vᵀHv), above it for norms and largest eigenvalues.
        num_samples: n, samples in the part.
        num_parts: K, disjoint parts of it that were read one by one.

    Example:
        >>> from thalweg.surface import SampleEstimate
        >>> print(SampleEstimate(2.0, 0.1, 0.02, num_samples=512, num_parts=8))
        2 ± 0.1 (bias 0.02, on 512 samples)
    """

    value: float
    stderr: float
    bias: float
    num_samples: int
    num_parts: int

    def __str__(self) -> str:
        return (
            f"{self.value:.6g} ± {self.stderr:.2g} (bias {self.bias:.2g}, on {self.num_samples:,} "
            f"samples)"
        )


def sample_estimate(
    problem: Problem,
    reading: Callable[[Problem], float],
    *,
    num_samples: int,
    generator: torch.Generator,
    num_parts: int = 8,
) -> SampleEstimate:
    """Reads a number on n random samples, and on K disjoint parts of them for its error.

    With r the reading on the n samples, r_k on part k of n/K and r̄ their mean, of N samples in all,

        stderr² = (1 − n/N) · Σ_k (r_k − r̄)² / (K (K − 1)),   bias = (1 − n/N) · (r̄ − r)/(K − 1)

    since the variance of a smooth reading falls as 1/n and so does its bias. The part must hold
    enough samples for that: the top eigenvector of n/K samples should be about that of n.

    Args:
        problem: what is read; nothing of it is changed.
        reading: a number of a problem, such as
            `lambda part: thalweg.Surface(part).here().value`. It is called 1 + K times; where it is
            random it should draw the same each time, from a generator that it makes itself.
        num_samples: n.
        generator: draws the samples.
        num_parts: K. The stderr has K − 1 degrees of freedom: of 8 it is right to a quarter.

    Returns:
        The number on the n samples with stderr and bias, in the reading's own unit.

    Raises:
        ProblemError: if n is not between 2K and N, K is below 2, or the data cannot be drawn sample
            by sample.

    Cost: two readings on n samples.

    Example:
        >>> import torch, thalweg
        >>> x = torch.linspace(-1, 1, 4000).reshape(-1, 1)
        >>> model = torch.nn.Linear(1, 1)
        >>> problem = thalweg.Problem(model, torch.nn.functional.mse_loss, (x, x))
        >>> read = lambda part: thalweg.Surface(part).here().gradient_vector.norm().item()
        >>> g = torch.Generator().manual_seed(0)
        >>> estimate = thalweg.surface.sample_estimate(problem, read, num_samples=800, generator=g)
        >>> abs(estimate.value - read(problem)) < 4 * estimate.stderr
        True

    Source: Wolter 2007, "Introduction to variance estimation", ch. 2 (random groups), with the
    reading on all of them as the value; the bias is Quenouille's argument of 1956, "Notes on bias
    in estimation", between n and n/K samples.
    """
    problem.ranks.refuse("sample_estimate(problem, ...)")
    total = problem.num_samples
    if num_parts < 2:
        raise ProblemError(f"num_parts={num_parts}; give 2 or more, since one part shows no spread")
    if not 2 * num_parts <= num_samples <= total:
        raise ProblemError(
            f"num_samples={num_samples} in num_parts={num_parts}: the problem has {total} samples, "
            f"and a part takes 2; give a number of samples from {2 * num_parts} to {total}"
        )
    whole = problem.subsampled(num_samples, generator)
    if len(whole.batches) > 1:
        raise ProblemError(
            "the batches cannot be joined (ragged or packed sequences), so that no random samples "
            "can be drawn from them; pad them to one length"
        )
    value = float(reading(whole))
    values, rest = [], whole.batches
    for k in range(num_parts):
        # As even as can be: the first n mod K parts hold one sample more.
        size = num_samples // num_parts + (k < num_samples % num_parts)
        part, rest = drawn(rest, size, generator)
        values.append(float(reading(problem.with_data(part))))
    unread = 1 - num_samples / total
    mean = fmean(values)
    return SampleEstimate(
        value=value,
        stderr=sqrt(unread / num_parts) * stdev(values),
        bias=unread * (mean - value) / (num_parts - 1),
        num_samples=num_samples,
        num_parts=num_parts,
    )
