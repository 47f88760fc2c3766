"""One step of each method against its paper's formula, worked by hand."""

from math import sqrt

import pytest
import torch
from optimizers import OPTIMIZERS
from torch import nn

from thalweg.optim import (
    Adam,
    CubicRegularisation,
    DenseSaddleFreeNewton,
    GradientDescent,
    HeavyBall,
    Krylov,
    LevenbergMarquardt,
    Nesterov,
    Newton,
    NewtonCG,
    TrustRegion,
    TrustRegionCG,
    Whole,
)
from thalweg.problems import quadratic

pytestmark = pytest.mark.usefixtures("unchecked")


def stepped(make, start, loss, num_steps=1):
    """The parameters after some steps, and the optimizer."""
    w = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = make([w])
    for _ in range(num_steps):
        optimizer.step(lambda: loss(w))
    return w.detach(), optimizer


def bowl(w):
    """w₀² + ½w₁²: g = (2w₀, w₁), H = diag(2, 1)."""
    return w[0] ** 2 + w[1] ** 2 / 2


def saddle(w):
    """w₀² − 2w₁²: H = diag(2, −4)."""
    return w[0] ** 2 - 2 * w[1] ** 2


CASES = {
    # −ε g = −0.1 (2, 2)
    "gradient descent": (lambda p: GradientDescent(p, 0.1), (1.0, 2.0), bowl, 1, (0.8, 1.8)),
    # v = (2, 2); then g = (1.6, 1.8), v = (2.6, 2.8)
    "heavy ball": (lambda p: HeavyBall(p, 0.1, 0.5), (1.0, 2.0), bowl, 2, (0.54, 1.52)),
    # g + μv = (3, 3); then g = (1.4, 1.7), v = (2.4, 2.7), g + μv = (2.6, 3.05)
    "Nesterov": (lambda p: Nesterov(p, 0.1, 0.5), (1.0, 2.0), bowl, 2, (0.44, 1.395)),
    # m̂ = g, √v̂ = |g|
    "Adam": (lambda p: Adam(p, 0.1, eps=0.0), (1.0, -2.0), bowl, 1, (0.9, -1.9)),
    # (x − 1)(x − 3) from 4: slope 4, curvature 2
    "Newton": (Newton, (4.0,), lambda w: ((w - 1) * (w - 3)).sum(), 1, (2.0,)),
    # to the saddle
    "Newton at a saddle": (Newton, (1.0, 0.5), saddle, 1, (0.0, 0.0)),
    # λ = ½ · 2: −(2/3, 2/2)
    "Levenberg-Marquardt": (
        lambda p: LevenbergMarquardt(p, damping=0.5), (1.0, 2.0), bowl, 1, (1 / 3, 1.0)
    ),
    # λ = 2|λ₁| = 8: −(2/10, −2/4)
    "Levenberg-Marquardt at a saddle": (
        lambda p: LevenbergMarquardt(p, damping=0.5), (1.0, 0.5), saddle, 1, (0.8, 1.0)
    ),
    # g = (2, −2): λ = 0.5 · 4 = 2: −(2/4, −2/6)
    "saddle-free": (
        lambda p: DenseSaddleFreeNewton(p, damping=0.5), (1.0, 0.5), saddle, 1, (0.5, 0.5 + 1 / 3)
    ),
    # gᵀHg = −8 < 0 in the first iteration: −g = (−2, 2), which the loss likes
    "Newton-CG at a saddle": (NewtonCG, (1.0, 0.5), saddle, 1, (-1.0, 2.5)),
    # g = (2, 2), α = gᵀg/gᵀHg = 8/12, r = (−⅔, ⅔), ‖r‖ = 0.94 < ½‖g‖ = 1.41: ends there
    "Newton-CG": (NewtonCG, (1.0, 2.0), bowl, 1, (1 - 4 / 3, 2 - 4 / 3)),
    # to the border along −g
    "trust region CG": (
        lambda p: TrustRegionCG(p, radius=1.0), (1.0, 2.0), bowl, 1,
        (1 - sqrt(0.5), 2 - sqrt(0.5)),
    ),
    # the Newton step (−1, −2) lies inside
    "trust region, inside": (
        lambda p: TrustRegion(p, radius=3.0, subspace=Whole()), (1.0, 2.0), bowl, 1, (0.0, 0.0)
    ),
    # 2(w₀² + w₁²)/2·…: H = 2I, g = (6, 8): Δ along −g
    "trust region, border": (
        lambda p: TrustRegion(p, radius=1.0, subspace=Krylov(2)),
        (3.0, 4.0), lambda w: (w**2).sum(), 1, (2.4, 3.2),
    ),
    # the hard case: g = (6, 0), H = diag(2, −4): μ = 4, y₀ = −6/6, y₁ = ±√(4 − 1)
    "trust region, hard case": (
        lambda p: TrustRegion(p, radius=2.0, subspace=Whole()), (3.0, 0.0), saddle, 1,
        (2.0, sqrt(3)),
    ),
    # −2 + y + σy² = 0 along −g, ‖g‖ = 2, H = 1, σ = 1
    "cubic": (
        lambda p: CubicRegularisation(p, weight=1.0, subspace=Krylov(1)),
        (2.0, 0.0), lambda w: (w**2).sum() / 2, 1, (1.0, 0.0),
    ),
    # the hard case: μ = 4 = σ‖y‖, σ = 2: y₀ = −1, y₁ = ±√(4 − 1)
    "cubic, hard case": (
        lambda p: CubicRegularisation(p, weight=2.0, subspace=Whole()), (3.0, 0.0), saddle, 1,
        (2.0, sqrt(3)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_step_is_that_of_the_paper(case):
    make, start, loss, num_steps, end = CASES[case]
    found, _ = stepped(make, start, loss, num_steps)
    expected = torch.tensor(end, dtype=torch.float64)
    if "hard case" in case:
        found = found.abs()  # both signs are minima
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_newton_lands_on_the_minimum_of_a_quadratic():
    """θ* from the linear system, which no part of the method solves."""
    problem = quadratic((1.0, 7.0, 30.0, 1e3)).copied()
    A, b = problem.model.A, problem.batches[0].mean(0)
    optimizer = Newton(problem.model.parameters()).bind(problem)
    optimizer.step()
    torch.testing.assert_close(problem.model.theta.detach(), torch.linalg.solve(A, b))
    assert optimizer.record.reason == "full step"
    assert optimizer.record.ratio == pytest.approx(1.0)
    assert optimizer.record.num_products == 4


def test_newton_leaves_directions_without_curvature_alone():
    w, optimizer = stepped(Newton, (1.0, 2.0, 3.0), lambda w: (w[0] + w[1]) ** 2 + w[2])
    # along (1, 1, 0)/√2 to the floor; w₂ has a slope and no curvature
    torch.testing.assert_close(w, torch.tensor([-0.5, 0.5, 3.0], dtype=torch.float64))
    assert optimizer.record.reason == "full step within a rank of 1 of 3"


def test_the_damping_follows_the_ratio():
    """On a quadratic the model is exact, ρ = 1, and λ falls to a third."""
    _, optimizer = stepped(lambda p: LevenbergMarquardt(p, damping=0.5), (1.0, 2.0), bowl, 2)
    assert optimizer.record.damping == pytest.approx(1 / 3)
    assert optimizer.memory["damping"] == pytest.approx(1 / 9)


def test_a_retry_costs_a_forward_pass_and_no_product():
    """A wall behind which the loss is high makes the first radii fail."""

    def walled(w):
        return bowl(w) + 1e3 * torch.relu(0.9 - w[0]) ** 2

    for make in (
        lambda p: TrustRegion(p, radius=1.0, subspace=Whole()),
        lambda p: TrustRegionCG(p, radius=1.0),
        lambda p: CubicRegularisation(p, weight=1e-3, subspace=Whole()),
        lambda p: LevenbergMarquardt(p, damping=1e-3),
        lambda p: DenseSaddleFreeNewton(p, damping=1e-3),
        NewtonCG,
    ):
        w, optimizer = stepped(make, (1.0, 2.0), walled)
        record = optimizer.record
        assert record.is_accepted
        assert record.num_products <= 2
        # A gradient, products, one forward pass that the loss is the same, and those of the tries.
        tries = 3 * (record.gradient_equivalents - 1 - 2 * record.num_products) - 1
        assert tries > 2.9
        assert record.actual_decrease > 0
        assert w[0] > 0.8


# -- at a saddle, along each eigendirection --------------------------------------------------

LAMBDAS = torch.tensor([4.0, 0.5, -0.25, -2.0], dtype=torch.float64)
START = torch.tensor([0.3, -0.2, 0.1, 0.05], dtype=torch.float64)


def after_one_step(make):
    w = nn.Parameter(START.clone())
    optimizer = make([w])
    optimizer.step(lambda: (LAMBDAS * w**2).sum() / 2)
    return w.detach() / START, optimizer.record


def test_gradient_descent_leaves_a_saddle_slowly():
    """By 1 − ελ: where |λ| is small, hardly."""
    growth, _ = after_one_step(lambda p: GradientDescent(p, 0.1))
    torch.testing.assert_close(growth, 1 - 0.1 * LAMBDAS)


def test_newton_is_attracted_by_a_saddle():
    growth, record = after_one_step(Newton)
    torch.testing.assert_close(growth, torch.zeros_like(growth), rtol=0.0, atol=1e-14)
    assert record.reason == (
        "full step, attracted: negative curvature along 2 of 4 directions, where it climbs"
    )
    assert record.has_negative_curvature


def test_saddle_free_newton_leaves_by_the_absolute_curvature():
    """In, along positive curvature; out to twice the distance along negative, whatever its size."""
    growth, _ = after_one_step(lambda p: DenseSaddleFreeNewton(p, damping=1e-12))
    torch.testing.assert_close(
        growth, torch.where(LAMBDAS > 0, 0.0, 2.0).double(), rtol=0.0, atol=1e-10
    )


@pytest.mark.parametrize("make", [TrustRegionCG, TrustRegion, CubicRegularisation])
def test_trust_regions_leave_a_saddle_within_their_radius(make):
    settings = {"weight": 50.0} if make is CubicRegularisation else {"radius": 0.05}
    growth, record = after_one_step(lambda p: make(p, **settings))
    assert record.actual_decrease > 0
    assert record.step_norm < 0.15
    if make is not CubicRegularisation:
        assert record.step_norm == pytest.approx(0.05)
    assert torch.all(growth[LAMBDAS > 0] < 1)
    assert torch.all(growth[LAMBDAS < 0] > 1)


@pytest.mark.parametrize("name", ["trust region", "dense trust region", "cubic", "dense cubic"])
def test_a_subspace_that_holds_all_directions_leaves_the_saddle_as_the_whole_does(name):
    """Krylov(5) holds the whole of four directions."""
    growth, record = after_one_step(OPTIMIZERS[name])
    whole, _ = after_one_step(OPTIMIZERS["dense " + name.removeprefix("dense ")])
    torch.testing.assert_close(growth, whole, rtol=1e-8, atol=1e-8)
    assert record.subspace_size == 4
