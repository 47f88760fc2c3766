"""The interval around the whole spectrum holds with its probability, and is honest when short."""

import math

import pytest
import torch
from spectra import F64, SPECTRA, Diagonal, generator, rotated_operator

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, extremes

# Few eigenvalues near the ends and many in the middle: hard for a short run to reach.
HARD = torch.linspace(-1.0, 1.0, 2000, dtype=F64) ** 9


@pytest.mark.parametrize("max_steps", [12, 20, 40])
def test_bound_holds_the_spectrum(max_steps):
    failed, missed = 0, 0
    for seed in range(40):
        ends = extremes(Diagonal(HARD), generator=generator(seed), tol=0.0, max_steps=max_steps)
        low, high = ends.spread_bound(failure=0.05)
        failed += not (low <= -1.0 and high >= 1.0)
        missed += float(ends.top.values[0]) < 1.0 - 1e-6
    assert failed <= 2
    # The Ritz values alone would not do: the bound is not vacuous.
    assert missed == 40 if max_steps < 40 else missed >= 0


def test_bound_is_the_formula():
    ends = extremes(Diagonal(HARD), generator=generator(), tol=0.0, max_steps=40)
    top, bottom = float(ends.top.values[0]), float(ends.bottom.values[0])
    assert ends.num_krylov == 40
    share = 0.01 / 2 / (ends.num_checks * (ends.num_checks + 1))
    # 1.648 √n exp(−√ε (2m − 1)) = share, solved for ε.
    epsilon = (math.log(1.648 * math.sqrt(2000) / share) / 79) ** 2
    margin = epsilon * (top - bottom) / (1 - 2 * epsilon)
    assert ends.spread_bound() == pytest.approx((bottom - margin, top + margin), rel=1e-9)


def test_bound_tightens_with_steps_and_loosens_with_certainty():
    def width(max_steps, failure):
        ends = extremes(Diagonal(HARD), generator=generator(), tol=0.0, max_steps=max_steps)
        low, high = ends.spread_bound(failure)
        return high - low

    assert width(120, 0.01) < width(60, 0.01) < width(30, 0.01)
    assert width(30, 0.1) < width(30, 1e-6)


def test_run_too_short_says_nothing():
    ends = extremes(Diagonal(HARD), generator=generator(), max_steps=4)
    assert ends.spread_bound() == (-math.inf, math.inf)


@pytest.mark.parametrize("name", ["identity", "zero", "three values", "low rank, indefinite"])
def test_exhausted_run_is_exact(name):
    true = SPECTRA[name]
    ends = extremes(rotated_operator(true), generator=generator(), tol=1e-12)
    assert ends.is_exhausted
    low, high = ends.spread_bound(1e-9)
    assert low <= float(true.min())
    assert high >= float(true.max())
    assert high - low == pytest.approx(float(true.max() - true.min()), abs=1e-11)


def test_small_matrix_is_exact():
    ends = extremes(
        MatrixOperator(torch.diag(torch.tensor([1.0, 2.0, 5.0]))), generator=generator()
    )
    assert ends.spread_bound() == pytest.approx((1.0, 5.0), abs=1e-4)
    assert ends.is_exhausted


@pytest.mark.parametrize("failure", [0.0, 1.0, -0.1])
def test_probability_out_of_range(failure):
    ends = extremes(MatrixOperator(torch.eye(2)), generator=generator())
    with pytest.raises(OperatorError, match=rf"spread_bound\(failure={failure}\)"):
        ends.spread_bound(failure)
