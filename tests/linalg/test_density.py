"""Stochastic Lanczos quadrature: unbiased, its error as reported, its intervals true."""

import math
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spectra import (
    F64,
    SPECTRA,
    Diagonal,
    generator,
    join,
    rotated_operator,
    symmetric_matrices,
)

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, density, inertia

HESSIAN_LIKE = join(
    20 * 0.8 ** torch.arange(20, dtype=F64), torch.linspace(-0.5, 0.5, 80), torch.zeros(100)
)


@pytest.mark.parametrize("name", SPECTRA)
def test_integrates_to_one_and_weights_do_too(name):
    found = density(rotated_operator(SPECTRA[name]), generator=generator(), num_probes=3)
    assert float(torch.trapezoid(found.density, found.grid)) == pytest.approx(1.0, abs=1e-7)
    torch.testing.assert_close(found.weights.sum(1), torch.ones(3, dtype=F64))
    assert bool((found.nodes.diff(dim=1) >= 0).all())
    assert bool((found.density >= 0).all())
    assert found.size == 150


def test_density_is_the_smoothed_spectrum():
    found = density(
        rotated_operator(HESSIAN_LIKE), generator=generator(), num_probes=30, num_steps=40
    )
    distance = (found.grid[:, None] - HESSIAN_LIKE) / found.width
    true = torch.exp(-0.5 * distance**2).mean(1) / (found.width * math.sqrt(2 * math.pi))
    # Where the band is wider than the error of the quadrature (e⁻⁸ of the peak).
    seen = found.stderr > 1e-2 * found.stderr.max()
    score = ((found.density - true) / found.stderr)[seen]
    # One spectrum, correlated points: the mean square of a standard normal is 1.
    assert 0.1 < float((score**2).mean()) < 4.0
    assert float((found.density - true).abs().max()) < 0.15 * float(true.max())


@cache
def small_densities(num_probes, seeds):
    """Two steps know the moments up to 3."""
    op = Diagonal(HESSIAN_LIKE)
    return [
        density(op, generator=generator(s), num_probes=num_probes, num_steps=2, grid_size=64)
        for s in range(seeds)
    ]


@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_moments_are_unbiased(power):
    true = float((HESSIAN_LIKE**power).mean())
    found = [run.moment(power).value for run in small_densities(2, 120)]
    values = torch.tensor(found, dtype=F64)
    stderr = float(values.std()) / math.sqrt(len(values))
    assert float(values.mean()) == pytest.approx(true, abs=4 * stderr + 1e-12)


def test_reported_error_is_the_spread_over_seeds():
    moments = [run.moment(2) for run in small_densities(18, 50)]
    values = torch.tensor([moment.value for moment in moments])
    reported = torch.tensor([moment.stderr for moment in moments]).square().mean().sqrt()
    # A standard deviation from 50 seeds is known to 10 %; three of these.
    assert float(reported / values.std()) == pytest.approx(1.0, abs=0.3)


def test_moments_fall_as_one_over_root_of_probes():
    true = float(HESSIAN_LIKE.square().mean())

    def rms(num_probes, seeds):
        errors = [run.moment(2).value - true for run in small_densities(num_probes, seeds)]
        return float(torch.tensor(errors).square().mean().sqrt())

    # 9 × the probes: a third of the error. The ratio of both rms is known to about 12 %.
    assert rms(2, 120) / rms(18, 50) == pytest.approx(3.0, rel=0.36)


def test_moments_are_exact_for_the_probe_to_degree_2m_minus_1():
    d = torch.linspace(-1.0, 2.0, 40, dtype=F64)
    found = density(
        MatrixOperator(torch.diag(d)), generator=generator(3), num_probes=1, num_steps=3
    )
    probe = torch.randn(40, generator=generator(3), dtype=F64)
    probe /= probe.norm()
    for power in range(6):
        true = float((probe**2 * d**power).sum())
        assert found.moment(power).value == pytest.approx(true, rel=1e-12)
    with pytest.raises(OperatorError, match=r"power=6.*0 to 5.*num_steps=4"):
        found.moment(6)
    with pytest.raises(OperatorError, match="power=-1"):
        found.moment(-1)


@cache
def densities(name):
    op = Diagonal(SPECTRA[name])
    return [
        density(op, generator=generator(s), num_probes=4, num_steps=13, grid_size=64)
        for s in range(40)
    ]


@pytest.mark.parametrize("name", ["even", "outliers at both ends", "low rank, indefinite"])
@pytest.mark.parametrize("x", [-0.7, 1e-6, 0.31])
def test_interval_holds_the_true_count(name, x):
    true = int((SPECTRA[name] < x).sum())
    counts = [run.count_below(x) for run in densities(name)]
    assert sum(count.low <= true <= count.high for count in counts) >= 38
    # The step function of 13 nodes is off by less than the heaviest of them.
    estimates = torch.tensor([count.estimate for count in counts])
    assert float(estimates.mean()) == pytest.approx(true, abs=0.1 * 150)


def test_interval_of_exhausted_probes_is_the_sampling_law():
    # 13 distinct eigenvalues, 13 steps: no quadrature error, so the interval is Beta alone. Its
    # 95 % must be met, and not by being wide: 4 of 150 eigenvalues, 600 squared normals.
    true = int((SPECTRA["low rank, indefinite"] < -0.7).sum())
    counts = [run.count_below(-0.7) for run in densities("low rank, indefinite")]
    widths = torch.tensor([count.high - count.low for count in counts])
    deviation = math.sqrt(2 * true * (150 - true) / 152 / 4)
    assert float(widths.mean()) == pytest.approx(4 * deviation, rel=0.25)


def test_interval_of_each_probe_is_rigorous():
    # One probe has no spread to hide behind: compare with its own spectral measure.
    d = torch.linspace(-1.0, 1.0, 60, dtype=F64) ** 3
    found = density(
        MatrixOperator(torch.diag(d)), generator=generator(7), num_probes=1, num_steps=8
    )
    probe = torch.randn(60, generator=generator(7), dtype=F64)
    mass = (probe / probe.norm()) ** 2
    widths = []
    for x in torch.linspace(-1.1, 1.1, 45, dtype=F64).tolist():
        low, _, high = (float(side[0]) for side in found._below(x))
        true = float(mass[d < x].sum())
        assert low - 1e-14 <= true <= high + 1e-14
        widths.append(high - low)
    assert max(widths) < 0.8
    assert min(widths) < 0.2


@settings(max_examples=15, deadline=None)
@given(symmetric_matrices(), st.floats(-12, 12))
def test_small_matrices_are_exhausted(A, x):
    true = torch.linalg.eigvalsh(A)
    found = density(MatrixOperator(A), generator=generator(), num_probes=4)
    assert bool(found.is_exhausted.all())
    assert float(found.nodes.max()) == pytest.approx(float(true.max()), abs=1e-12)
    assert float(found.nodes.min()) == pytest.approx(float(true.min()), abs=1e-12)
    count = found.count_below(x)
    assert 0 <= count.low <= count.estimate + 1e-9
    assert count.estimate - 1e-9 <= count.high <= len(A)
    if x < float(true.min()) - 1e-9:
        assert count.high == 0
    if x > float(true.max()) + 1e-9:
        assert count.low == pytest.approx(len(A))


def test_one_probe_knows_no_spread():
    found = density(Diagonal(HESSIAN_LIKE), generator=generator(), num_probes=1, num_steps=10)
    assert found.moment(1).stderr == math.inf
    assert bool(torch.isinf(found.stderr).all())
    # A count needs no spread: its law over the probes is known.
    count = found.count_below(0.6)
    assert count.stderr == math.inf
    assert 0.0 < count.low <= int((HESSIAN_LIKE < 0.6).sum()) <= count.high <= 200.0


def test_mass_is_a_share_and_adds_up():
    found = density(Diagonal(HESSIAN_LIKE), generator=generator(), num_probes=20, num_steps=30)
    parts = [found.mass(-math.inf, 0.6), found.mass(0.6, 3.0), found.mass(3.0, math.inf)]
    assert sum(part.estimate for part in parts) == pytest.approx(1.0)
    for part, (low, high) in zip(
        parts, [(-math.inf, 0.6), (0.6, 3.0), (3.0, math.inf)], strict=True
    ):
        true = float((HESSIAN_LIKE.ge(low) & HESSIAN_LIKE.lt(high)).double().mean())
        assert part.low <= true <= part.high
    below = found.count_below(0.6)
    assert 200 * parts[0].estimate == pytest.approx(below.estimate)
    with pytest.raises(OperatorError, match=r"mass\(1.0, 1.0\).*low < high"):
        found.mass(1.0, 1.0)


def test_inertia_by_counting_holds_the_dense_one():
    op = rotated_operator(HESSIAN_LIKE)
    exact = inertia(op, null_tol=1e-3)
    held = 0
    for seed in range(10):
        found = density(op, generator=generator(seed), num_probes=5, num_steps=25).inertia(1e-3)
        assert not found.is_exact
        assert found.eigenvalues is None
        assert found.num_products == 125
        assert found.negative + found.null + found.positive == pytest.approx(200)
        held += found.interval[0] <= exact.negative <= found.interval[1]
    assert held >= 9
    with pytest.raises(OperatorError, match=r"null_tol=-1"):
        density(op, generator=generator(), num_steps=3).inertia(-1.0)


def test_inertia_by_counting_of_a_low_rank_matrix():
    found = density(rotated_operator(SPECTRA["low rank, indefinite"]), generator=generator())
    count = found.inertia(1e-9)
    # 5 negative, 138 null, 7 positive; ten probes on 150 dimensions.
    assert count.negative == pytest.approx(5, abs=4)
    assert count.null == pytest.approx(138, abs=6)
    assert count.interval[0] <= 5
    assert count.interval[1] >= 143
    assert count.negative + count.null + count.positive == pytest.approx(150)


def test_products_are_counted_and_breakdown_saves_them():
    op = Diagonal(SPECTRA["even"])
    assert density(op, generator=generator(), num_probes=3, num_steps=7).num_products == 21
    assert op.calls == 21
    few = Diagonal(SPECTRA["three values"])
    found = density(few, generator=generator(), num_probes=4)
    assert found.num_products == few.calls == 12
    assert bool((found.weights[:, 3:] == 0).all())
    assert found.nodes.shape == (4, 60)


def test_float32_is_read_in_float64():
    found = density(
        rotated_operator(HESSIAN_LIKE, dtype=torch.float32), generator=generator(), num_steps=20
    )
    assert found.nodes.dtype == found.grid.dtype == found.density.dtype == F64
    moment = found.moment(2)
    assert moment.value == pytest.approx(float(HESSIAN_LIKE.square().mean()), abs=4 * moment.stderr)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"num_probes": 0}, "num_probes >= 1"),
        ({"num_steps": 0}, "num_steps >= 1"),
        ({"grid_size": 1}, "grid_size >= 2"),
        ({"width": 0.0}, "positive width"),
        ({"width": 1e-5, "grid_size": 100}, r"give grid_size=\d{5,6} or more"),
    ],
)
def test_wrong_arguments_are_refused(wrong, words):
    with pytest.raises(OperatorError, match=words):
        density(Diagonal(SPECTRA["even"]), generator=generator(), **wrong)


def test_grid_size_asked_for_is_enough():
    op = Diagonal(SPECTRA["even"])
    with pytest.raises(OperatorError) as refused:
        density(op, generator=generator(), width=0.01, grid_size=50)
    size = int(str(refused.value).split("give grid_size=")[1].split()[0])
    found = density(op, generator=generator(), width=0.01, grid_size=size)
    assert float(torch.trapezoid(found.density, found.grid)) == pytest.approx(1.0, abs=1e-7)
