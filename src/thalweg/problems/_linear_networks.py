"""Two-layer linear networks: every critical point is known, its loss and its index too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._errors import ProblemError
from thalweg._problem import Problem
from thalweg.problems._draws import by_fan_in


@dataclass(frozen=True)
class CriticalClass:
    """All critical points of a two-layer linear network that keep the same singular values.

    Args:
        subset: I, which singular values the network reproduces, counted from the largest, 0.
        value: L = ½ Σ_{j∉I} σ_j² + what no linear map explains [loss].
        index: the number of negative eigenvalues of the Hessian.
        null_dimension: the number of null ones, which is the dimension of the class.
    """

    subset: tuple[int, ...]
    value: float
    index: int
    null_dimension: int


def linear_autoencoder(
    eigenvalues: Sequence[float] = tuple(range(1, 17)), num_hidden: int = 4, seed: int = 0
) -> Problem:
    """L = ½ tr((I − W₂W₁) Σ (I − W₂W₁)ᵀ) with Σ diagonal: its critical points are subsets.

    Each critical point projects on the principal axes of a subset I of at most p = num_hidden; its
    loss is ½ Σ_{j∉I} λ_j; see `linear_classes`. The weights W₁ (p, k), W₂ (k, p) are the model's
    two parameters, N(0, 1/fan_in) at first; the k samples are √λ_j e_j; float64.

    Args:
        eigenvalues: of Σ, k of them, positive.
        num_hidden: p.
        seed: of the weights.

    Raises:
        ProblemError: if there are no eigenvalues, or one is not positive and finite.

    Example:
        >>> import thalweg
        >>> problem = linear_autoencoder((3.0, 2.0, 1.0), 1)
        >>> zero = torch.zeros(6, dtype=torch.float64)
        >>> thalweg.Surface(problem).at(zero).value
        3.0

    Source: Baldi and Hornik 1989, "Neural networks and principal component analysis: learning from
    examples without local minima"; Frye et al. 2021, "Critical point-finding methods reveal
    gradient-flat regions of deep network losses", section 3, for k = 16, p = 4.
    """
    values = torch.tensor(tuple(eigenvalues), dtype=torch.float64)
    if not len(values) or not bool((values.isfinite() & (values > 0)).all()):
        raise ProblemError(
            f"linear_autoencoder({tuple(eigenvalues)}); give one eigenvalue or more, all positive"
        )
    samples = torch.diag(values.sqrt())
    return _two_layers(samples, samples, num_hidden, seed, "linear autoencoder")


def two_layer_linear(num_hidden: int = 2, seed: int = 0) -> Problem:
    """L = ½ Σᵢ ‖yᵢ − W₂W₁xᵢ‖²: 40 correlated samples, 5 inputs, 4 outputs and noise, in float64.

    Args:
        num_hidden: units between the two layers.
        seed: of the weights; the data are always the same.

    Example:
        >>> two_layer_linear().num_samples
        40

    Source: Baldi and Hornik 1989, as for `linear_autoencoder`.
    """
    generator = torch.Generator().manual_seed(7)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x = normal(40, 5) @ (torch.eye(5, dtype=torch.float64) + 0.3 * normal(5, 5))
    y = x @ normal(5, 4) + 0.1 * normal(40, 4)
    scale = 40**-0.5
    return _two_layers(scale * x, scale * y, num_hidden, seed, "two-layer linear network")


def matrix_factorisation(
    singular_values: Sequence[float] = (4.0, 3.0, 2.0, 1.0), rank: int = 2, seed: int = 0
) -> Problem:
    """L = ½ ‖M − W₂W₁‖²_F: a square matrix of these singular values as a product of low rank.

    Args:
        singular_values: of M, whose singular vectors are drawn at random.
        rank: columns of W₂, rows of W₁.
        seed: of M and of the weights.

    Raises:
        ProblemError: if there are no singular values, or one is negative or not finite.

    Example:
        >>> import thalweg
        >>> problem = matrix_factorisation((2.0, 1.0), 1)
        >>> zero = torch.zeros(4, dtype=torch.float64)
        >>> round(thalweg.Surface(problem).at(zero).value, 12)
        2.5

    Source: Eckart and Young 1936, "The approximation of one matrix by another of lower rank".
    """
    values = torch.tensor(tuple(singular_values), dtype=torch.float64)
    if not len(values) or not bool((values.isfinite() & (values >= 0)).all()):
        raise ProblemError(
            f"matrix_factorisation({tuple(singular_values)}); give one singular value or more, "
            f"none negative"
        )
    generator = torch.Generator().manual_seed(seed)
    n = len(values)
    U, V = (
        torch.linalg.qr(torch.randn((n, n), generator=generator, dtype=torch.float64)).Q
        for _ in range(2)
    )
    # The samples are the unit vectors, and the targets the columns of M.
    return _two_layers(
        torch.eye(n, dtype=torch.float64), V @ torch.diag(values) @ U.T, rank, seed,
        "matrix factorisation",
    )  # fmt: skip


def linear_classes(problem: Problem) -> tuple[CriticalClass, ...]:
    """Every class of critical points of a problem of this file, by closed formulas.

        index = #{(i, j): i∈I, j∉I, σ_j > σ_i} + (p − r)(q − r),   r = |I| ≤ min(p, q)
        null  = 2pr − r² + (p − r)(k + m − 2q)

    with σ the singular values of Σ_yx Σ_xx^{−½}, q of them positive and all these distinct, k
    inputs, m outputs and p hidden units.

    Args:
        problem: `linear_autoencoder`, `two_layer_linear` or `matrix_factorisation`.

    Returns:
        The classes, by size of the subset.

    Raises:
        ProblemError: if the problem is none of these, or two singular values are equal.

    Example:
        >>> len(linear_classes(linear_autoencoder(range(1, 7), 3)))
        42

    Source: Baldi and Hornik 1989, facts 4 and 5, for the subsets and the loss; the index by
    pairing each i∈I, and each unused unit, with each j∉I: the 2×2 block has the determinant
    σ_i² − σ_j².
    """
    whitened = _whitened(problem)
    sigma, p, q = whitened.values.tolist(), whitened.num_hidden, whitened.rank
    surplus = whitened.num_inputs + whitened.num_outputs - 2 * q
    classes = []
    for r in range(min(p, q) + 1):
        for subset in combinations(range(q), r):
            others = [j for j in range(q) if j not in subset]
            swaps = sum(sigma[j] > sigma[i] for i in subset for j in others)
            classes.append(
                CriticalClass(
                    subset,
                    whitened.unexplained + 0.5 * sum(sigma[j] ** 2 for j in others),
                    swaps + (p - r) * (q - r),
                    2 * p * r - r * r + (p - r) * surplus,
                )
            )
    return tuple(classes)


def linear_critical_point(
    problem: Problem, subset: Sequence[int], seed: int = 0
) -> dict[str, Tensor]:
    """A critical point of a class, drawn from the class at random.

        W₁ = C V_Iᵀ Σ_xx^{−½},   W₂ = U_I S_I C⁺

    with C (p, r) drawn from N(0, 1), and U S Vᵀ = Σ_yx Σ_xx^{−½}.

    Args:
        problem: as for `linear_classes`.
        subset: I, as in `CriticalClass`.
        seed: of C.

    Returns:
        The weights by name.

    Raises:
        ProblemError: if the problem is none of these.

    Example:
        >>> import thalweg
        >>> problem = linear_autoencoder((3.0, 2.0, 1.0), 2)
        >>> point = thalweg.Surface(problem).at(linear_critical_point(problem, [0, 2]))
        >>> round(point.value, 12), float(point.gradient_vector.norm()) < 1e-12
        (1.0, True)

    Source: Baldi and Hornik 1989, eq. 6 and 7.
    """
    whitened = _whitened(problem)
    index = torch.tensor(list(subset), dtype=torch.long)
    generator = torch.Generator().manual_seed(seed)
    C = torch.randn((whitened.num_hidden, len(index)), generator=generator, dtype=torch.float64)
    first = C @ whitened.right[:, index].T @ whitened.inverse_root
    second = whitened.left[:, index] @ torch.diag(whitened.values[index]) @ torch.linalg.pinv(C)
    return {"0.weight": first, "1.weight": second}


def half_squares(output: Tensor, target: Tensor) -> Tensor:
    """½ Σ ‖output − target‖², summed over samples."""
    return 0.5 * (output - target).square().sum()


@dataclass(frozen=True)
class _Whitened:
    """U S Vᵀ = Σ_yx Σ_xx^{−½}, and what is left of Σ_yy."""

    left: Float[Tensor, "m q"]
    values: Float[Tensor, " q"]
    right: Float[Tensor, "k q"]
    inverse_root: Float[Tensor, "k k"]
    unexplained: float
    num_hidden: int

    @property
    def rank(self) -> int:
        return len(self.values)

    @property
    def num_inputs(self) -> int:
        return len(self.right)

    @property
    def num_outputs(self) -> int:
        return len(self.left)


def _whitened(problem: Problem) -> _Whitened:
    model = problem.model
    layers = list(model.children())
    if (
        problem.loss is not half_squares
        or len(layers) != 2
        or not all(isinstance(layer, nn.Linear) and layer.bias is None for layer in layers)
    ):
        raise ProblemError(
            f"the critical points of {problem.name or 'this problem'} are not known; give "
            f"linear_autoencoder(), two_layer_linear() or matrix_factorisation()"
        )
    x, y = problem.data
    evals, Q = torch.linalg.eigh(x.T @ x)
    inverse_root = Q @ torch.diag(evals.rsqrt()) @ Q.T
    U, S, Vh = torch.linalg.svd(y.T @ x @ inverse_root, full_matrices=False)
    q = int((1e-12 * S[0] < S).sum())
    if q > 1 and float((S[: q - 1] - S[1:q]).min()) < 1e-9 * float(S[0]):
        raise ProblemError(
            "two singular values are equal, so that the critical points are no finite number of "
            "classes; give distinct ones"
        )
    weight = layers[0].weight
    assert isinstance(weight, Tensor), "of a linear layer"
    rest = 0.5 * float(y.square().sum() - S[:q].square().sum())
    return _Whitened(U[:, :q], S[:q], Vh[:q].T, inverse_root, max(rest, 0.0), len(weight))


def _two_layers(x: Tensor, y: Tensor, num_hidden: int, seed: int, name: str) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    sizes = (x.shape[1], num_hidden, y.shape[1])
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        # On the meta device torch's own initialisation draws nothing from the global generator.
        layer = nn.Linear(fan_in, fan_out, bias=False, device="meta", dtype=torch.float64)
        layer = layer.to_empty(device="cpu")
        by_fan_in(1.0)(layer.weight, torch.zeros(0), generator)
        layers.append(layer)
    return Problem(
        nn.Sequential(*layers),
        half_squares,
        (x, y),
        optimizer=lambda params: torch.optim.Adam(params, lr=0.01),
        batch_size=len(x),
        name=name,
    )
