"""Following an eigenvalue against the dense spectrum."""

import pytest
import torch
from spectra import F64, SPECTRA, Diagonal, generator, rotated, rotated_operator

from thalweg import OperatorError
from thalweg.linalg import MatrixOperator, follow

INDEFINITE = ["even", "positive, decaying", "outliers at both ends", "low rank, indefinite"]


def nearly(vector, size, seed=0):
    noise = torch.randn(len(vector), generator=generator(seed), dtype=F64)
    return vector + size * noise / noise.norm()


@pytest.mark.parametrize("name", INDEFINITE)
@pytest.mark.parametrize("size", [0.0, 0.01, 0.1, 1.0])
def test_the_value_lies_within_its_error(name, size):
    values, vectors = torch.linalg.eigh(rotated(SPECTRA[name]))
    second = float(values[-2])
    found = follow(
        MatrixOperator(rotated(SPECTRA[name])), nearly(vectors[:, -1], size), second, tol=1e-3,
        max_steps=150,
    )  # fmt: skip
    top = float(values[-1])
    assert found.is_converged
    assert found.value - 1e-10 <= top <= found.value + found.error + 1e-10
    assert found.error <= 1e-3 * top
    A = rotated(SPECTRA[name])
    assert found.vector.norm() == pytest.approx(1.0)
    assert found.vector @ A @ found.vector >= found.value - 1e-10


def test_a_small_change_costs_one_product():
    A = rotated(SPECTRA["outliers at both ends"])
    vector = torch.linalg.eigh(A)[1][:, -1]
    moved = A + 1e-2 * rotated(torch.linspace(-1, 1, len(A), dtype=F64), seed=5)
    found = follow(MatrixOperator(moved), vector, 30.0)
    assert found.num_products == 1
    assert found.value == pytest.approx(float(torch.linalg.eigvalsh(moved)[-1]), rel=1e-2)


def test_the_vector_handed_on_is_better_than_the_one_taken():
    A = rotated(SPECTRA["positive, decaying"])
    true = torch.linalg.eigh(A)[1][:, -1]
    start = nearly(true, 0.05)
    found = follow(MatrixOperator(A), start, 0.8, tol=0.1)
    assert found.num_products == 1
    assert abs(found.vector @ true) > abs(start @ true) / start.norm()


def test_a_run_that_is_too_short_says_so():
    op = rotated_operator(SPECTRA["even"])
    found = follow(op, torch.ones(150, dtype=F64), -torch.inf, tol=1e-8, max_steps=3)
    assert not found.is_converged
    assert found.num_products == 3


@pytest.mark.parametrize(
    ("vector", "steps", "said"),
    [(torch.zeros(3), 5, "the vector is zero"), (torch.ones(3), 0, "at least one step")],
)
def test_nonsense_is_refused(vector, steps, said):
    with pytest.raises(OperatorError, match=said):
        follow(Diagonal(torch.ones(3)), vector, 0.0, max_steps=steps)


def test_a_spectrum_that_shrank_as_a_whole_costs_one_product():
    A = rotated(SPECTRA["outliers at both ends"])
    values, vectors = torch.linalg.eigh(A)
    former, second = float(values[-1]), float(values[-2])
    start = nearly(vectors[:, -1], 0.01)
    shrunk = MatrixOperator(0.3 * A)
    found = follow(shrunk, start, second, former=former, tol=1e-3)
    assert found.num_products == 1
    assert 0.3 * former <= found.value + found.error
    assert found.second == pytest.approx(second * found.value / former)
    # By itself the former second lies above the largest of now, and nothing is gained by it.
    assert second > 0.3 * former
    assert follow(shrunk, start, second, tol=1e-3).num_products > 1


@pytest.mark.parametrize("former", [-2.0, 0.0, None])
def test_a_ratio_is_taken_of_positive_numbers_only(former):
    op = Diagonal(torch.tensor([3.0, 1.0, -4.0], dtype=F64))
    start = torch.tensor([1.0, 0.05, 0.0], dtype=F64)
    assert follow(op, start, 1.0, former=former, max_steps=1).second == 1.0
