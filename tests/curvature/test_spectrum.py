"""The spectrum of small networks against the dense matrix, multiplied out and estimated."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dense
from problems import SHELF
from thalweg import Problem, Surface, ThalwegError, load, save, spectrum
from thalweg.linalg import MatrixOperator
from thalweg.problems import relu_digits, strict_saddle

F64 = torch.float64
EXACT = 1e-9


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def read(point, operator=None, seed=0, **settings):
    return spectrum(point, operator, generator=generator(seed), **settings)


@pytest.fixture(scope="module")
def mlp():
    """A point, and by dense double backward of the network written by hand: H, ∇L."""
    known = SHELF["mlp"]()
    point = Surface(known.problem).here()
    return (
        point,
        dense.hessian(known.plain, known.problem),
        dense.gradient(known.plain, known.problem),
    )


def share_in(gradient, vectors):
    return float((vectors.T @ gradient).square().sum() / gradient.square().sum())


def test_a_small_matrix_is_known_in_full(mlp):
    point, H, gradient = mlp
    n, k = len(H), 3
    values, vectors = torch.linalg.eigh(H)
    found = read(point, k=k)
    assert found.matrix == "Hessian"
    assert found.density is None
    assert found.num_parameters == n
    assert found.num_products == n
    assert found.num_gradients == 1 + 2 * n
    torch.testing.assert_close(found.extremes.top.values, values[-k:].flip(0), rtol=0, atol=EXACT)
    torch.testing.assert_close(found.extremes.bottom.values, values[:k], rtol=0, atol=EXACT)
    torch.testing.assert_close(found.inertia.eigenvalues, values, rtol=0, atol=EXACT)
    tol = found.inertia.null_tol
    assert tol < 1e-12
    assert found.inertia.negative == int((values < -1e-10).sum())
    assert found.inertia.positive == int((values > 1e-10).sum())
    assert found.index_interval == (found.inertia.negative,) * 2
    assert found.trace.value == pytest.approx(float(H.trace()), abs=EXACT)
    assert found.frobenius_norm.value == pytest.approx(float(H.norm()), abs=EXACT)
    low, high = found.alignment.bounds
    assert low - EXACT <= share_in(gradient, vectors[:, -k:]) <= high + EXACT
    assert found.alignment.total == pytest.approx(share_in(gradient, vectors[:, -k:]), abs=1e-8)
    assert found.gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-12)


@pytest.mark.parametrize("kind", ["ggn", "fisher", "empirical_fisher"])
def test_semidefinite_matrices_have_an_effective_rank(mlp, kind):
    """Against the dense matrix of the operator's own products, whose own tests have oracles."""
    point, *_ = mlp
    operator = getattr(point, kind)()
    values = torch.linalg.eigvalsh(operator.to_dense())
    found = read(point, operator, k=2)
    rank = float(values.sum() ** 2 / values.square().sum())
    assert found.effective_rank.value == pytest.approx(rank, rel=1e-9)
    assert found.omissions == {}
    assert found.index_interval == (0, 0)
    assert "hold the curvature" in found.headline


def test_an_indefinite_matrix_has_none_and_says_so(mlp):
    point, H, _ = mlp
    assert float(torch.linalg.eigvalsh(H)[0]) < -1e-6
    found = read(point)
    assert found.effective_rank is None
    assert "positive semidefinite" in found.omissions["effective rank"]
    assert "curve down" in found.headline


@pytest.fixture(scope="module")
def wide():
    """A network too large for one block of Lanczos, small enough to be multiplied out in a test."""
    problem = relu_digits(depth=2, width=4)
    part = problem.subsampled(200, generator())
    return Surface(part, dtype=F64).here()


@pytest.fixture(scope="module")
def whole(wide):
    return torch.linalg.eigh(wide.hessian().to_dense())


@pytest.mark.parametrize("seed", range(3))
def test_a_large_matrix_is_estimated_within_its_own_doubt(wide, whole, seed):
    """The exact road is shut, so the same network takes the one of large ones."""
    values, vectors = whole
    n, k = len(values), 4
    found = read(wide, k=k, seed=seed, dense_up_to=0)
    assert not found.inertia.is_exact
    for pairs, true in (
        (found.extremes.top, values[-k:].flip(0)),
        (found.extremes.bottom, values[:k]),
    ):
        assert pairs.is_converged
        assert pairs.values.shape == (k,)
        assert pairs.vectors.shape == (n, k)
        assert (pairs.bounds[:, 0] <= true).all()
        assert (true <= pairs.bounds[:, 1]).all()
    assert abs(found.trace.value - float(values.sum())) <= 4 * found.trace.stderr
    assert abs(found.frobenius_norm.value - float(values.norm())) <= 4 * found.frobenius_norm.stderr
    share = share_in(wide.gradient_vector, vectors[:, -k:])
    low, high = found.alignment.bounds
    assert low <= share <= high
    assert high - low < 0.05
    for x in (0.1, 0.01, -0.01):
        below, above = found.below(x), found.above(x)
        assert below.low <= int((values < x).sum()) <= below.high
        assert above.low <= int((values > x).sum()) <= above.high
    low, high = found.index_interval
    assert low <= int((values < -found.inertia.null_tol).sum()) <= high
    mass = torch.trapezoid(found.density.density, found.density.grid)
    assert float(mass) == pytest.approx(1, abs=1e-3)


def test_counts_agree_with_the_bounds_of_the_outermost(wide, whole):
    """Below the lowest eigenvalue there is none, and at least as many as were found."""
    values, _ = whole
    found = read(wide, k=3, dense_up_to=0)
    assert found.below(float(values[0]) - 0.1).high == 0
    assert found.above(float(values[-1]) + 0.1).high == 0
    between = float(values[1] + values[2]) / 2
    assert (found.below(between).low, found.below(between).high) == (2, 2)


def test_products_and_gradients_are_counted(wide):
    calls = 0
    hessian = wide.hessian()

    class Counting(type(hessian)):
        def _apply(self, V):
            nonlocal calls
            calls += V.shape[1]
            return super()._apply(V)

    hessian.__class__ = Counting
    try:
        found = read(wide, hessian, dense_up_to=0, num_probes=2, num_steps=5)
    finally:
        hessian.__class__ = Counting.__mro__[1]
    assert found.num_products == calls
    assert found.num_gradients == 1 + calls * hessian.gradients_per_product


def test_progress_moves_to_the_end_and_never_back(wide):
    told = []
    read(wide, dense_up_to=0, num_probes=2, num_steps=5, progress=lambda *t: told.append(t))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert told[-1] == ("done", 1.0)
    assert len(set(shares)) > 20
    stages = list(dict.fromkeys(stage for stage, _ in told))
    assert stages[:3] == ["loss and gradient", "both ends", "density"]


def test_an_operator_put_together(mlp):
    point, H, _ = mlp
    found = read(point, point.hessian().shifted(2.0), k=1)
    assert float(found.extremes.top.values[0]) == pytest.approx(
        float(torch.linalg.eigvalsh(H)[-1]) + 2, abs=EXACT
    )
    assert (found.matrix, found.route, found.num_gradients) == ("operator", "", None)
    assert found.page().html()


def test_products_that_are_not_symmetric_widen_every_doubt(mlp):
    """Noise of 1e-5 that no symmetric matrix has: it is measured, and nothing claims more."""
    point, H, _ = mlp
    n = len(H)
    noise = 1e-5 * torch.randn(n, n, generator=generator(3), dtype=F64)

    class Noisy(MatrixOperator):
        def _apply(self, V):
            return super()._apply(V) + noise @ V

    found = read(point, Noisy(H), k=2)
    true = torch.linalg.eigvalsh(H)
    assert found.inertia.null_tol > 1e-5
    assert (found.extremes.top.bounds[:, 0] <= true[-2:].flip(0)).all()
    assert (found.extremes.top.bounds[:, 1] >= true[-2:].flip(0)).all()
    assert abs(found.trace.value - float(true.sum())) <= found.trace.stderr


def minimum():
    x = torch.tensor([[1.0], [2.0]], dtype=F64)
    problem = Problem(nn.Linear(1, 1, dtype=F64), F.mse_loss, (x, x))
    return Surface(problem).at(torch.tensor([1.0, 0.0], dtype=F64))


def test_at_a_minimum_there_is_no_gradient_to_share():
    """H = 2·mean [x², x; x, 1] = [5, 3; 3, 2], of trace 7 and determinant 1."""
    found = read(minimum(), k=2)
    assert found.alignment is None
    assert "gradient is zero" in found.headline
    assert found.trace.value == pytest.approx(7)
    assert found.extremes.top.values.tolist() == pytest.approx(
        [(7 + math.sqrt(45)) / 2, (7 - math.sqrt(45)) / 2]
    )
    assert found.effective_rank.value == pytest.approx(49 / 47)


def test_a_flat_surface():
    x = torch.zeros(2, 1, dtype=F64)
    problem = Problem(nn.Linear(1, 1, bias=False, dtype=F64), F.mse_loss, (x, x))
    found = read(Surface(problem).here(), k=1)
    assert found.inertia.null == 1
    assert found.effective_rank is None
    assert "zero" in found.omissions["effective rank"]
    assert found.headline == "None of 1 directions curves down; the gradient is zero"


def test_attention_is_said():
    x = torch.randn(3, 4, 8, generator=generator(), dtype=F64)
    model = nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True, dtype=F64)
    found = read(Surface(Problem(model, F.mse_loss, (x, x)), "linear1.*").here(), k=1)
    assert "attention by the math kernel" in found.notes


def test_unused_parameters_are_said():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(2, 1, dtype=F64), nn.Linear(2, 1, dtype=F64)

        def forward(self, x):
            return self.used(x)

    x = torch.randn(5, 2, generator=generator(), dtype=F64)
    found = read(Surface(Problem(Half(), F.mse_loss, (x, x[:, :1]))).here())
    assert any("idle.weight" in note for note in found.notes)
    assert found.inertia.null == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k": 0}, "give k between 1 and"),
        ({"k": 10_000}, "give k between 1 and"),
        ({"operator": MatrixOperator(torch.eye(2, dtype=F64))}, "take it from the same point"),
    ],
)
def test_refusals(mlp, settings, said):
    point, *_ = mlp
    with pytest.raises(ThalwegError, match=said):
        spectrum(point, **settings, generator=generator())


def test_json_is_strict_and_the_eigenpairs_are_kept(mlp, tmp_path):
    point, *_ = mlp
    found = read(point, k=2)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    told = json.loads(found.to_json(), parse_constant=refuse)
    assert told["schema"] == "thalweg/spectrum/1"
    assert told["trace"]["value"] == found.trace.value
    assert told["extremes"]["top"]["values"] == found.extremes.top.values.tolist()
    kept = load(save(found.extremes, tmp_path / "pairs.npz"))
    assert torch.equal(kept.top.vectors, found.extremes.top.vectors)


def test_the_same_seed_gives_the_same_spectrum(wide):
    def numbers():
        found = read(wide, wide.ggn(), seed=5, dense_up_to=0, num_probes=2, num_steps=8)
        return (
            found.extremes.top.values.tolist(),
            found.trace,
            found.effective_rank,
            found.density.density.tolist(),
        )

    assert numbers() == numbers()


def test_of_fewer_than_five_eigenvalues_all_are_read():
    point = Surface(strict_saddle()).here()
    found = spectrum(point, generator=torch.Generator().manual_seed(0))
    assert len(found.extremes.top.values) == len(found.extremes.bottom.values) == 2
