"""Operators made of functions and of other libraries' matrices."""

import numpy as np
import pytest
import torch
from spectra import F64, generator, rotated
from torch import nn

from thalweg._errors import OperatorError
from thalweg.linalg import eigenpairs, from_curvlinops, from_matvec

A = rotated(torch.linspace(-1.0, 2.0, 20, dtype=F64))


class Fake:
    """The four things that are asked of a foreign matrix, and nothing else."""

    def __init__(self, matrix, dtype=None):
        self._matrix, self.shape, self.device = matrix, tuple(matrix.shape), matrix.device
        self._dtype = dtype or matrix.dtype
        self.asked = []

    @property
    def dtype(self):
        return self._dtype

    def __matmul__(self, V):
        self.asked.append(tuple(V.shape))
        return self._matrix @ V.to(self._matrix.dtype)


def test_function_is_the_matrix():
    op = from_matvec(lambda v: A @ v, 20, dtype=F64)
    V = torch.randn(20, 3, generator=generator(), dtype=F64)
    torch.testing.assert_close(op @ V, A @ V)
    torch.testing.assert_close(op.to_dense(), A)
    assert op.device == torch.device("cpu")
    assert from_matvec(lambda v: v, 3).dtype == torch.float32


def test_foreign_matrix_is_multiplied_by_blocks():
    fake = Fake(A)
    op = from_curvlinops(fake)
    V = torch.randn(20, 3, generator=generator(), dtype=F64)
    torch.testing.assert_close(op @ V, A @ V)
    torch.testing.assert_close(op @ V[:, 0], A @ V[:, 0])
    assert (op @ V[:, :0]).shape == (20, 0)
    assert fake.asked == [(20, 3), (20, 1)]
    assert (op.size, op.dtype, op.device) == (20, F64, torch.device("cpu"))
    assert repr(op) == "_ForeignOperator(20×20, torch.float64, cpu, of a Fake)"


def test_everything_that_reads_operators_reads_it():
    op = 2.0 * from_curvlinops(Fake(A)).submatrix(slice(0, 10))
    values = eigenpairs(op, 2, generator=generator()).values
    torch.testing.assert_close(values, torch.linalg.eigvalsh(2 * A[:10, :10]).flip(0)[:2])


def test_products_record_no_graph():
    weight = A.clone().requires_grad_()
    assert not (from_curvlinops(weight) @ torch.ones(20, dtype=F64)).requires_grad


def test_what_is_no_square_matrix_of_tensors_is_refused(unchecked):
    with pytest.raises(OperatorError, match=r"shape \(3, 2\).*square.*J\.adjoint"):
        from_curvlinops(Fake(torch.ones(3, 2)))
    with pytest.raises(OperatorError, match=r"shape \(3,\)"):
        from_curvlinops(torch.ones(3))
    with pytest.raises(OperatorError, match=r"a list has no shape.*from_matvec"):
        from_curvlinops([[1.0]])
    with pytest.raises(OperatorError, match=r"dtype\('float64'\).*none of torch's"):
        from_curvlinops(np.eye(3))
    with pytest.raises(OperatorError, match="floating"):
        from_curvlinops(torch.eye(2, dtype=torch.int64))
    with pytest.raises(OperatorError, match="size=0"):
        from_matvec(lambda v: v, 0)


def test_a_product_of_another_dtype_is_named():
    with pytest.raises(OperatorError, match=r"torch\.float64.*must return the shape and dtype"):
        from_curvlinops(Fake(A, dtype=torch.float32)) @ torch.ones(20)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_real_hessian_and_ggn():
    curvlinops = pytest.importorskip("curvlinops")
    torch_state = torch.get_rng_state()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    data = [(torch.randn(n, 3, dtype=F64), torch.randn(n, 2, dtype=F64)) for n in (5, 2)]
    torch.set_rng_state(torch_state)
    params = dict(model.named_parameters())
    leaves = list(params.values())

    def loss(flat):
        parts = flat.split([p.numel() for p in params.values()])
        named = {k: q.view_as(p) for (k, p), q in zip(params.items(), parts, strict=True)}
        x, y = (torch.cat(column) for column in zip(*data, strict=True))
        return (torch.func.functional_call(model, named, x) - y).square().mean()

    theta = torch.cat([p.detach().reshape(-1) for p in params.values()])
    H = torch.autograd.functional.hessian(loss, theta)
    foreign = curvlinops.HessianLinearOperator(model, nn.MSELoss(), leaves, data)
    op = from_curvlinops(foreign)
    assert op.shape == (len(theta), len(theta))
    torch.testing.assert_close(op.to_dense(), H)
    values = eigenpairs(op, 2, generator=generator()).values
    torch.testing.assert_close(values, torch.linalg.eigvalsh(H).flip(0)[:2])
    ggn = from_curvlinops(curvlinops.GGNLinearOperator(model, nn.MSELoss(), leaves, data))
    assert float(torch.linalg.eigvalsh(ggn.to_dense())[0]) > -1e-12
