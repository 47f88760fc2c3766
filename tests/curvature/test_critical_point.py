"""The critical-point card on surfaces whose critical points are known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from thalweg import Problem, Surface, ThalwegError, critical_point
from thalweg.curvature import StepRule, Verdict
from thalweg.problems import from_function, relu_digits


def point_of(f, theta):
    return Surface(from_function(f, torch.tensor(theta, dtype=torch.float64))).here()


def quadratic(eigenvalues):
    values = torch.tensor(eigenvalues, dtype=torch.float64)
    return lambda theta: 0.5 * (values * theta.square()).sum() + 1.0


CASES = [
    ("bowl", quadratic([1.0, 2.0, 5.0]), [0.0, 0.0, 0.0], Verdict.MINIMUM, 0),
    ("valley", quadratic([1.0, 0.0, 5.0]), [0.0, 3.0, 0.0], Verdict.MINIMUM, 0),
    ("x² − y²", quadratic([2.0, -2.0]), [0.0, 0.0], Verdict.SADDLE, 1),
    ("index 2", quadratic([2.0, -2.0, -1e-3]), [0.0, 0.0, 0.0], Verdict.SADDLE, 2),
    ("hill", quadratic([-1.0, -2.0]), [0.0, 0.0], Verdict.MAXIMUM, 2),
    ("slope", quadratic([1.0, 2.0]), [3.0, 1.0], Verdict.NOT_CRITICAL, 0),
    ("flat", lambda t: t.sum() * 0 + 1.0, [1.0, 2.0], Verdict.PLATEAU, 0),
    ("monkey saddle", lambda t: t[0] ** 3 - 3 * t[0] * t[1] ** 2, [0.0, 0.0], Verdict.PLATEAU, 0),
    (
        "far out on a sigmoid",
        lambda t: torch.sigmoid(t[0]) + 0.5 * t[1] ** 2 + 1,
        [-12.0, 0.0],
        Verdict.PLATEAU,
        0,
    ),
]


@pytest.mark.parametrize(
    ("name", "f", "theta", "verdict", "index"), CASES, ids=[case[0] for case in CASES]
)
def test_verdicts(name, f, theta, verdict, index):
    card = critical_point(point_of(f, theta))
    assert card.verdict is verdict, card.reason
    assert card.inertia.negative == index
    assert card.headline.startswith(verdict.value)


@pytest.mark.parametrize("subset", [[], [4], [0, 1], [0, 2], [0, 3], [1, 4], [0, 1, 2]])
def test_linear_autoencoder_has_the_index_of_the_formula(subset):
    """½tr((I−W₂W₁)Σ(I−W₂W₁)ᵀ) at the subset I of eigenvectors: loss ½Σ_{j∉I} λ_j and index
    #{(i,j): i∈I, j∉I, λ_j > λ_i} + (p−r)(k−r). Source: Baldi & Hornik 1989."""
    k, p = 5, 3
    spectrum = torch.arange(1.0, k + 1, dtype=torch.float64)
    chosen = torch.zeros(k, p, dtype=torch.float64)
    for column, i in enumerate(subset):
        chosen[i, column] = 1.0

    def f(theta):
        W1, W2 = theta[: p * k].reshape(p, k), theta[p * k :].reshape(k, p)
        rest = torch.eye(k, dtype=torch.float64) - W2 @ W1
        return 0.5 * torch.trace(rest @ torch.diag(spectrum) @ rest.T)

    theta = torch.cat([chosen.T.flatten(), chosen.flatten()]).tolist()
    card = critical_point(point_of(f, theta))
    outside = [j for j in range(k) if j not in subset]
    r = len(subset)
    index = sum(spectrum[j] > spectrum[i] for i in subset for j in outside) + (p - r) * (k - r)
    assert card.value == pytest.approx(0.5 * float(spectrum[outside].sum()), rel=1e-12)
    assert card.verdict is Verdict.SADDLE
    assert card.inertia.negative == int(index)


def test_the_direction_of_negative_curvature_points_down():
    card = critical_point(point_of(quadratic([2.0, -3.0, 1.0]), [0.0, 0.0, 0.0]))
    assert card.lowest == pytest.approx(-3)
    direction = card.negative_curvature["theta"].abs().tolist()
    assert direction == pytest.approx([0, 1, 0], abs=1e-8)
    bowl = critical_point(point_of(quadratic([2.0, 3.0]), [0.0, 0.0]))
    assert bowl.negative_curvature is None


def test_flatness_is_that_of_the_least_squares_step():
    """r for a gradient half in the range of a singular H, against numpy's lstsq."""
    f = quadratic([4.0, 0.0, 1.0])

    def tilted(theta):
        return f(theta) + 0.5 * theta[1]

    card = critical_point(point_of(tilted, [0.1, 0.0, 0.0]))
    H, g = np.diag([4.0, 0.0, 1.0]), np.array([0.4, 0.5, 0.0])
    p = np.linalg.lstsq(H, -g, rcond=None)[0]
    r = np.linalg.norm(H @ p + g) / (np.linalg.norm(H) * np.linalg.norm(p) + np.linalg.norm(g))
    assert card.flatness == pytest.approx(r, rel=1e-6)


def test_sharpness_against_the_limit():
    point = point_of(quadratic([10.0, 1.0]), [1.0, 1.0])
    card = critical_point(point, lr=0.1)
    assert card.sharpness == pytest.approx(10)
    assert card.stability.ratio == pytest.approx(0.5)
    assert "stable" in str(card)


def test_adam_is_judged_in_its_own_metric():
    """P^(−½) H P^(−½) for a diagonal quadratic is λ_i / (√v_i + ε)."""
    rule = StepRule.of(torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=0.01, eps=1e-3))
    scale = torch.tensor([0.5, 2.0], dtype=torch.float64)
    point = point_of(quadratic([3.0, 10.0]), [1.0, 1.0])
    card = critical_point(point, rule=rule, preconditioner=scale)
    assert card.stability.sharpness == pytest.approx(max(3 / 0.501, 10 / 2.001), rel=1e-8)


def test_lr_and_rule_are_one_or_the_other():
    point = point_of(quadratic([1.0]), [1.0])
    with pytest.raises(ThalwegError, match="both"):
        critical_point(point, lr=0.1, rule=StepRule.gradient_descent(0.1))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    problem = relu_digits(depth=2, width=8)
    x, y = problem.batches[0]
    return Surface(Problem(problem.model, problem.loss, (x[:200], y[:200]))).here()


def test_dense_and_lanczos_agree_within_their_own_doubt(network):
    """The same network read both ways; the dense one in float64."""
    dense = critical_point(network, dense_up_to=10_000)
    lanczos = critical_point(network, dense_up_to=0, num_probes=16, num_steps=60)
    assert dense.inertia.is_exact
    assert not lanczos.inertia.is_exact
    for end in ("top", "bottom"):
        exact, found = getattr(dense.extremes, end), getattr(lanczos.extremes, end)
        low, high = found.bounds[0].tolist()
        # The float32 reading of the same Hessian differs by its rounding.
        slack = 1e-5 * dense.sharpness
        assert low - slack <= float(exact.values[0]) <= high + slack
    values = dense.inertia.eigenvalues
    tol = lanczos.inertia.null_tol
    count = int((values < -tol).sum())
    low, high = lanczos.index_interval
    assert low <= count <= high
    low, high = lanczos.null_interval
    assert low <= int((values.abs() <= tol).sum()) <= high
    assert dense.index_interval == (dense.inertia.negative, dense.inertia.negative)
    assert lanczos.flatness == pytest.approx(dense.flatness, abs=0.05)
    assert dense.verdict is lanczos.verdict is Verdict.NOT_CRITICAL


def test_a_float32_network_is_read_in_float64_when_small(network):
    card = critical_point(network, dense_up_to=10_000)
    model, (x, y) = network.problem.model, network.problem.batches[0]
    params = [p.detach().double().requires_grad_() for p in model.parameters()]
    h = x.double()
    for k in range(0, len(params), 2):
        h = nn.functional.linear(h, params[k], params[k + 1])
        h = torch.relu(h) if k < len(params) - 2 else h
    gradients = torch.autograd.grad(nn.functional.cross_entropy(h, y), params)
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    assert card.gradient_norm == pytest.approx(norm, rel=1e-10)


def test_the_generator_decides(network):
    def read(seed):
        generator = torch.Generator().manual_seed(seed)
        return critical_point(network, dense_up_to=0, generator=generator, num_probes=2)

    first, again, other = read(1), read(1), read(2)
    assert first.inertia.negative == again.inertia.negative
    assert torch.equal(first.extremes.top.values, again.extremes.top.values)
    assert first.inertia.negative != other.inertia.negative
