"""A basis kept elsewhere or less precisely, and what that does to results and to their doubt."""

import pytest
import torch
from spectra import F64, SPECTRA, generator, rotated_operator

from thalweg.linalg import BasisStorage, eigenpairs, extremes
from thalweg.linalg._basis import Basis

NAME = "outliers at both ends"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_values_lie_within_their_bounds(dtype):
    op = rotated_operator(SPECTRA[NAME])
    true = SPECTRA[NAME].sort(descending=True).values
    found = eigenpairs(op, 3, generator=generator(), tol=0.05, storage=BasisStorage(dtype=dtype))
    assert (found.bounds[:, 0] <= true[:3]).all()
    assert (true[:3] <= found.bounds[:, 1]).all()
    residual = (op @ found.vectors - found.vectors * found.values).norm(dim=0)
    assert (residual <= found.residuals).all()
    # No better than the stored vectors allow.
    assert (found.residuals >= torch.finfo(dtype).eps * 50).all()


def test_single_precision_is_enough_for_the_usual_tolerance():
    op = rotated_operator(SPECTRA[NAME])
    storage = BasisStorage(dtype=torch.float32, device="cpu")
    plain, stored = (extremes(op, 2, generator=generator(), storage=s) for s in (None, storage))
    assert stored.top.is_converged
    assert stored.num_products == plain.num_products
    torch.testing.assert_close(stored.top.values, plain.top.values, rtol=1e-6, atol=0)
    assert stored.top.vectors.dtype == F64


@pytest.mark.parametrize(("dtype", "numbers"), [(torch.float64, 8), (torch.bfloat16, 2)])
def test_it_takes_the_bytes_of_its_dtype(dtype, numbers):
    basis = Basis(1000, F64, torch.device("cpu"), BasisStorage(dtype=dtype))
    for unit in torch.eye(1000, dtype=F64)[:64]:
        basis.append(unit)
    held = sum(block.numel() * block.element_size() for block in basis._blocks)
    assert held == 64 * 1000 * numbers
