"""Symmetric matrices with known eigenvalues: the shelf that the tests of this room share."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from thalweg.linalg import MatrixOperator, MatvecOperator

F64 = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rotated(eigenvalues: Tensor, seed: int = 0) -> Tensor:
    """A dense matrix with these eigenvalues and random eigenvectors."""
    n = len(eigenvalues)
    Q, _ = torch.linalg.qr(torch.randn(n, n, generator=generator(seed), dtype=F64))
    A = Q @ torch.diag(eigenvalues.to(F64)) @ Q.T
    return (A + A.T) / 2


def rotated_operator(
    eigenvalues: Tensor, seed: int = 0, dtype: torch.dtype = F64
) -> MatrixOperator:
    return MatrixOperator(rotated(eigenvalues, seed).to(dtype))


class Diagonal(MatvecOperator):
    """A diagonal matrix that counts, on its own, how often it was multiplied by."""

    def __init__(self, eigenvalues: Tensor) -> None:
        self.calls = 0

        def multiply(v: Tensor) -> Tensor:
            self.calls += 1
            return eigenvalues * v

        super().__init__(multiply, len(eigenvalues), dtype=eigenvalues.dtype)


def join(*parts: Tensor | list[float]) -> Tensor:
    return torch.cat([torch.as_tensor(part, dtype=F64) for part in parts])


# Large enough that the searches take the Krylov road (they multiply out up to n = 64).
SPECTRA: dict[str, Tensor] = {
    "even": torch.linspace(-1.0, 2.0, 150, dtype=F64),
    "positive, decaying": 0.8 ** torch.arange(150, dtype=F64),
    "outliers at both ends": join([50.0, 30.0, -20.0, 29.0, -19.0], torch.linspace(-1, 1, 145)),
    "low rank, indefinite": join(torch.linspace(-3.0, 5.0, 12), torch.zeros(138)),
    "three values": torch.tensor([2.0, 0.5, -1.0], dtype=F64).repeat(50),
    "projector": join(torch.ones(7), torch.zeros(143)),
    "identity": torch.ones(150, dtype=F64),
    "zero": torch.zeros(150, dtype=F64),
    "negative definite": -torch.linspace(1.0, 9.0, 150, dtype=F64),
    "huge": 1e12 * torch.linspace(-1.0, 1.0, 150, dtype=F64) ** 3,
    "tiny": 1e-12 * torch.linspace(-1.0, 1.0, 150, dtype=F64) ** 3,
}


# Indefinite, low-rank, repeated and clustered spectra, and all zero.
ANY_VALUE = st.one_of(st.floats(-10.0, 10.0), st.sampled_from([0.0, 1.0, 1.0 + 1e-10, -2.0]))
# Values that are either equal or clearly apart.
FEW_VALUES = st.sampled_from([-2.0, -1.0, 0.0, 1.0, 3.0])


@st.composite
def symmetric_matrices(
    draw: st.DrawFn,
    values: st.SearchStrategy[float] = ANY_VALUE,
    min_size: int = 1,
    max_size: int = 12,
) -> Tensor:
    """A dense matrix with eigenvalues drawn from `values`, down to 1×1."""
    n = draw(st.integers(min_size, max_size))
    eigenvalues = draw(st.lists(values, min_size=n, max_size=n))
    return rotated(torch.tensor(eigenvalues, dtype=F64), seed=draw(st.integers(0, 100)))
