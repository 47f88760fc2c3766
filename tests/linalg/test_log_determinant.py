"""The log-determinant: exact where it can be, else between brackets and within its error."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spectra import F64, Diagonal, generator, join, rotated_operator, symmetric_matrices

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, density, log_determinant

SPECTRA = {
    "decaying": 0.9 ** torch.arange(200, dtype=F64),
    "harmonic": 1 / torch.arange(1, 201, dtype=F64),
    "flat": torch.linspace(0.5, 1.5, 200, dtype=F64),
    "bulk and outliers": join(torch.linspace(0, 1, 195) ** 6, [5.0, 8.0, 13.0, 30.0, 60.0]),
}


def logdet(eigenvalues, shift):
    return float((eigenvalues + shift).log().sum())


def samples(eigenvalues, shift, seeds, **budget):
    op = Diagonal(eigenvalues)
    found = [log_determinant(op, shift, generator=generator(s), **budget) for s in range(seeds)]
    return (
        torch.tensor([f.value for f in found], dtype=F64) - logdet(eigenvalues, shift),
        torch.tensor([f.stderr for f in found], dtype=F64),
    )


def rms(errors):
    return float(errors.square().mean().sqrt())


@pytest.mark.parametrize("shift", [1e-3, 1.0])
@pytest.mark.parametrize("name", SPECTRA)
def test_unbiased_and_within_its_error(name, shift):
    errors, stderr = samples(SPECTRA[name], shift, 16, num_probes=6, num_steps=20)
    # With brackets that are narrow beside the spread, the mean of 16 runs is within 4 of theirs.
    assert abs(float(errors.mean())) < 4 * rms(stderr) / math.sqrt(16)
    assert 0.5 < rms(stderr) / rms(errors) < 2.0
    assert bool((errors.abs() < 4.5 * stderr).all())


def test_a_bracket_that_stays_wide_is_in_the_stderr():
    # Four steps cannot see ten decades: the spread alone would claim too much.
    eigenvalues = join(10.0 ** torch.linspace(-9, 1, 300))
    errors, stderr = samples(eigenvalues, 1e-8, 6, num_probes=20, num_steps=4)
    assert bool((errors.abs() < 2 * stderr).all())
    assert rms(stderr) < abs(logdet(eigenvalues, 1e-8))


def test_error_falls_with_probes_and_with_steps():
    eigenvalues = SPECTRA["bulk and outliers"]
    few, many, longer = (
        rms(samples(eigenvalues, 1.0, 10, num_probes=p, num_steps=m)[0])
        for p, m in [(2, 6), (18, 6), (2, 40)]
    )
    assert few / many == pytest.approx(3.0, rel=0.6)
    assert longer < few / 2


def test_less_error_than_plain_quadrature_with_as_many_products():
    eigenvalues = SPECTRA["bulk and outliers"]
    op = Diagonal(eigenvalues)
    errors, _ = samples(eigenvalues, 1.0, 10, num_probes=5, num_steps=15)
    plain = []
    for seed in range(10):
        found = density(op, generator=generator(seed), num_probes=6, num_steps=15)
        nodes = found.nodes.clamp(min=0.0)
        each = 200 * (found.weights * (nodes + 1.0).log()).sum(dim=1)
        plain.append(float(each.mean()) - logdet(eigenvalues, 1.0))
    assert rms(errors) < rms(torch.tensor(plain)) / 2


@pytest.mark.parametrize("shift", [1e-4, 1.0])
@pytest.mark.parametrize("rank", [1, 4, 12])
def test_low_rank_is_exact_and_says_so(rank, shift):
    eigenvalues = join(torch.linspace(1.0, 9.0, rank), torch.zeros(200 - rank))
    for num_probes in (1, 5):
        found = log_determinant(
            rotated_operator(eigenvalues),
            shift,
            generator=generator(),
            num_probes=num_probes,
            num_steps=20,
        )
        assert abs(found.value - logdet(eigenvalues, shift)) < 1e-9
        assert found.stderr < 1e-6


def test_a_multiple_of_the_identity_is_exact_but_for_one_direction():
    found = log_determinant(
        Diagonal(2.0 * torch.ones(200, dtype=F64)),
        1.0,
        generator=generator(),
        num_probes=3,
        num_steps=5,
    )
    assert found.value == pytest.approx(200 * math.log(3.0), rel=1e-10)
    assert found.stderr < 1e-8


@settings(max_examples=25, deadline=None)
@given(symmetric_matrices(), st.floats(0.01, 10.0))
def test_enough_products_are_exact(A, shift):
    A = A @ A
    n = len(A)
    found = log_determinant(MatrixOperator(A), shift, generator=generator())
    sign, true = torch.linalg.slogdet(A + shift * torch.eye(n, dtype=F64))
    assert float(sign) == 1.0
    assert found.value == pytest.approx(float(true), rel=1e-9, abs=1e-9)
    assert found.num_products == n


def test_float32_agrees_within_its_error():
    eigenvalues = SPECTRA["bulk and outliers"]
    op = rotated_operator(eigenvalues, dtype=torch.float32)
    found = log_determinant(op, 0.1, generator=generator(), num_steps=15)
    assert abs(found.value - logdet(eigenvalues, 0.1)) < 4 * found.stderr < 40


@pytest.mark.parametrize("size", [20, 200])
def test_negative_curvature_is_refused_with_the_way_out(size):
    op = Diagonal(join(torch.linspace(0, 1, size - 1), [-0.5]))
    words = r"curvature -0\.\d+ was met.*op\.shifted\(c\), shift - c"
    with pytest.raises(OperatorError, match=words):
        log_determinant(op, 1.0, generator=generator(), num_probes=3, num_steps=15)
    shifted = log_determinant(
        op.shifted(0.6), 0.4, generator=generator(), num_probes=3, num_steps=15
    )
    eigenvalues = join(torch.linspace(0, 1, size - 1), [-0.5])
    assert abs(shifted.value - logdet(eigenvalues, 1.0)) <= 6 * shifted.stderr


def test_negative_curvature_that_only_a_probe_meets_is_refused():
    # Four large eigenvalues are all that the first run has steps for.
    op = Diagonal(join([4000.0, 2000.0, 1000.0, 500.0], torch.ones(180), -0.9 * torch.ones(20)))
    with pytest.raises(OperatorError, match=r"curvature -0\.\d+ was met"):
        log_determinant(op, 1.0, generator=generator(), num_probes=20, num_steps=4)
    log_determinant(op.shifted(0.9), 0.1, generator=generator(), num_probes=20, num_steps=4)


def test_arguments_out_of_range_are_refused_with_the_way_out():
    op = Diagonal(torch.ones(200, dtype=F64))
    for shift in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(OperatorError, match=r"give a shift > 0"):
            log_determinant(op, shift, generator=generator())
    with pytest.raises(OperatorError, match=r"num_probes=0.*num_probes >= 1"):
        log_determinant(op, 1.0, generator=generator(), num_probes=0)
    with pytest.raises(OperatorError, match=r"num_steps=0.*num_steps >= 1"):
        log_determinant(op, 1.0, generator=generator(), num_steps=0)
    for num_steps in (5, 100):
        with pytest.raises(OperatorError, match=r"known to .* only.*float64"):
            log_determinant(op, 1e-17, generator=generator(), num_probes=2, num_steps=num_steps)


def test_products_are_counted():
    op = Diagonal(SPECTRA["harmonic"])
    found = log_determinant(op, 0.1, generator=generator(), num_probes=3, num_steps=12)
    assert found.num_products == op.calls <= 48
