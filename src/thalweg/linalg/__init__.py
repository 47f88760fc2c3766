"""Symmetric operators and what can be read from products with them alone."""

from thalweg.linalg._alignment import Alignment, alignment
from thalweg.linalg._basis import BasisStorage
from thalweg.linalg._block_diagonal import BlockDiagonalOperator
from thalweg.linalg._conjugate_gradient import conjugate_gradient
from thalweg.linalg._count import Count
from thalweg.linalg._density import Density, density
from thalweg.linalg._diagonal import Diagonal, diagonal
from thalweg.linalg._effective_rank import effective_rank
from thalweg.linalg._eigenpairs import EigenPairs, eigenpairs
from thalweg.linalg._estimate import Estimate
from thalweg.linalg._extremes import Extremes, extremes
from thalweg.linalg._follow import Followed, follow
from thalweg.linalg._foreign_operator import from_curvlinops, from_matvec
from thalweg.linalg._frobenius_norm import frobenius_norm
from thalweg.linalg._inertia import Inertia, inertia
from thalweg.linalg._lanczos import Tridiagonal, lanczos
from thalweg.linalg._linear_operator import LinearOperator
from thalweg.linalg._log_determinant import log_determinant
from thalweg.linalg._matrix_operator import MatrixOperator
from thalweg.linalg._matvec_operator import MatvecOperator
from thalweg.linalg._minres import least_residual
from thalweg.linalg._nearest import nearest
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._products_operator import from_products
from thalweg.linalg._singular_values import SingularTriplets, SingularValues, singular_values
from thalweg.linalg._solution import Solution
from thalweg.linalg._storage import check_savable, load, save
from thalweg.linalg._trace import trace

__all__ = [
    "Alignment",
    "BasisStorage",
    "BlockDiagonalOperator",
    "Count",
    "Density",
    "Diagonal",
    "EigenPairs",
    "Estimate",
    "Extremes",
    "Followed",
    "Inertia",
    "LinearOperator",
    "MatrixOperator",
    "MatvecOperator",
    "SingularTriplets",
    "SingularValues",
    "Solution",
    "SymmetricOperator",
    "Tridiagonal",
    "alignment",
    "check_savable",
    "conjugate_gradient",
    "density",
    "diagonal",
    "effective_rank",
    "eigenpairs",
    "extremes",
    "follow",
    "frobenius_norm",
    "from_curvlinops",
    "from_matvec",
    "from_products",
    "inertia",
    "lanczos",
    "least_residual",
    "load",
    "log_determinant",
    "nearest",
    "save",
    "singular_values",
    "trace",
]
