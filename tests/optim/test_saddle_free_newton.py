"""Saddle-free Newton in a Krylov space, and its sibling for minibatches, on problems they know."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from problems import draw
from thalweg._errors import OptimizerError
from thalweg.optim import (
    ClosureObjective,
    GradientDescent,
    Identity,
    Newton,
    SaddleFreeNewton,
    Walk,
    krylov_space,
    saddle_free_step,
)
from thalweg.optim._tuning import Tuning
from thalweg.problems import stiff_regression, strict_saddle, tanh_digits_at_the_saddle
from thalweg.surface import GGN, HESSIAN


def saddle(w):
    """½ (4 w₀² − 3 w₁²) + ¼ w₁⁴: a saddle at 0, minima at w₁ = ±√3."""
    return 2 * w[0] ** 2 - 1.5 * w[1] ** 2 + 0.25 * w[1] ** 4


@pytest.mark.parametrize("axis", [0, 1])
def test_at_a_saddle_along_each_eigendirection(axis):
    """One step: gradient descent by 1 − ελ, Newton onto the saddle, saddle-free away by |λ|."""
    eigenvalue = (4.0, -3.0)[axis]
    start = torch.zeros(2, dtype=torch.float64)
    start[axis] = 1e-6

    def after(build):
        w = nn.Parameter(start.clone())
        build([w]).step(lambda: saddle(w))
        return float(w.detach()[axis]) / 1e-6

    assert after(lambda p: GradientDescent(p, 0.01)) == pytest.approx(1 - 0.01 * eigenvalue)
    assert after(Newton) == pytest.approx(0.0, abs=1e-9)
    y = saddle_free_step(torch.tensor([eigenvalue]), torch.tensor([eigenvalue * 1e-6]), damping=0.0)
    assert 1 + float(y) / 1e-6 == pytest.approx(0.0 if axis == 0 else 2.0, abs=1e-6)
    if axis == 1:
        assert abs(after(SaddleFreeNewton)) > 1e5  # the escape goes all the way


def test_it_leaves_a_saddle_that_attracts_newton():
    problem = strict_saddle().copied()
    opt = SaddleFreeNewton(problem.model.parameters()).bind(problem)
    for _ in range(30):
        opt.step()
    assert opt.record.loss == pytest.approx(-1.0, abs=1e-12)


def test_from_weights_of_almost_zero_it_trains():
    """P1s: the gradient there is nearly that of a constant, and all directions are flat."""
    problem = tanh_digits_at_the_saddle().copied()
    opt = SaddleFreeNewton(problem.model.parameters()).bind(problem)
    loss = [float(opt.step()) for _ in range(40)]
    assert loss[0] > 2.2
    assert min(loss) < 1e-3


def test_the_loss_never_rises_and_the_record_says_what_was_done():
    problem = stiff_regression().copied()
    opt = SaddleFreeNewton(problem.model.parameters()).bind(problem)
    before = float("inf")
    for step in range(1, 26):
        loss = float(opt.step())
        record = opt.record
        assert loss <= before
        assert record.step == step
        assert record.loss == pytest.approx(loss)
        # On the parameters' float64 a decrease is what it is said to be.
        assert record.actual_decrease >= 0
        assert record.gradient_equivalents > record.num_products
        assert record.lowest_curvature <= record.highest_curvature
        before = loss


@pytest.mark.parametrize("curvature", [GGN, HESSIAN])
def test_a_curvature_that_is_asked_for_is_kept_to(curvature):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    batch = (draw(9, 3), torch.arange(9) % 2)
    opt = SaddleFreeNewton(model.parameters(), curvature=curvature)
    for _ in range(20):
        opt.bind(model, F.cross_entropy, batch).step()
        assert {view.curvature for view in opt.views} == {curvature}
        # Below, rounding of products is all that is left of the curvature.
        if curvature is GGN and opt.record.loss > 1e-6:
            assert opt.record.lowest_curvature > -1e-9


def test_the_ggn_of_a_closure_is_refused():
    w = nn.Parameter(torch.ones(2))
    with pytest.raises(OptimizerError, match="bind"):
        SaddleFreeNewton([w], curvature=GGN).step(lambda: (w**2).sum())


def test_a_damping_of_zero_rises_again():
    """Newton's step overshoots on log cosh at 3; from λ = 0 no multiple of λ would help."""
    w = torch.nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
    optimizer = SaddleFreeNewton([w])

    def loss():
        return torch.log(torch.cosh(w)).sum()

    optimizer.step(loss)
    with torch.no_grad():
        w.fill_(3.0)
    optimizer.memory["dampings"] = dict.fromkeys(optimizer.memory["dampings"], 0.0)
    before = float(optimizer.step(loss))
    assert optimizer.record.is_accepted
    assert optimizer.record.damping > 0
    assert float(loss().detach()) < before


def test_with_a_rate_the_damping_falls_no_farther_than_it_matters():
    """Each accepted step lowers λ by 5 there: in 300 steps to 1e-200, if nothing held it."""
    w = torch.nn.Parameter(torch.tensor([2.0, 1.0], dtype=torch.float64))
    optimizer = SaddleFreeNewton([w], lr=0.1)
    for _ in range(300):
        optimizer.step(lambda: (w * w * torch.tensor([1.0, 10.0])).sum())
    assert optimizer.record.damping > 1e-4
    assert float(w.detach().norm()) < 1e-9


def test_a_step_that_does_better_than_predicted_goes_on():
    """On e^{−w} Newton's step is 1 wherever it starts, and each doubling takes more of the loss."""
    w = nn.Parameter(torch.tensor([0.0], dtype=torch.float64))
    optimizer = SaddleFreeNewton([w])
    optimizer.step(lambda: torch.exp(-w).sum())
    record = optimizer.record
    # λ ends where it no longer matters, and the length at a power of 2 of Newton's.
    assert record.step_norm >= 4
    assert record.actual_decrease == pytest.approx(1 - float(torch.exp(-w.detach())), rel=1e-12)
    assert record.second_order_decrease == pytest.approx(
        record.step_norm - record.step_norm**2 / 2, rel=1e-9
    )


def test_the_record_tells_the_damping_of_the_step_itself():
    """On ½ h w² the step from w is −h w/(h + λ)."""
    w = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = SaddleFreeNewton([w])
    for _ in range(3):
        before = float(w.detach())
        optimizer.step(lambda: 1.5 * (w * w).sum())
        damping = optimizer.record.damping
        assert before - float(w.detach()) == pytest.approx(3 * before / (3 + damping), rel=1e-9)


def test_where_the_model_is_right_a_step_costs_few_forward_passes():
    """On a quadratic, once λ is small: one pass, and one that finds that λ no longer matters."""
    A = draw(6, 6)
    A = A @ A.T + torch.eye(6)
    w = nn.Parameter(draw(6, seed=1).clone())
    optimizer = SaddleFreeNewton([w])
    for _ in range(4):
        optimizer.step(lambda: w @ A @ w / 2)
    record = optimizer.record
    assert record.gradient_equivalents <= 1 + 2 * record.num_products + 2 / 3 + 1e-9


def test_a_way_that_is_not_fit_gives_place_to_one_that_was_not_tried():
    state = Tuning.fresh(num_ways=3, rung=0)
    tuning = Tuning(state, sizes=(4, 8), ways=(2, 0))
    assert tuning.way == 2
    tuning.learn(before=1.0, after=1.0, cost=1.0, is_sound=False)
    assert tuning.way == 0
    tuning.learn(before=1.0, after=0.5, cost=1.0)
    assert tuning.way == 0
    assert Tuning(state, sizes=(4, 8), ways=(1, 2)).way == 1  # where 0 is not there any more


def test_what_a_subspace_predicts_is_its_quadratic_model():
    A = draw(5, 5)
    A = A + A.T
    w = nn.Parameter(draw(5, seed=1).clone())
    with Walk(ClosureObjective(lambda: w @ A @ w / 2, [w], 1.0), 1.0, HESSIAN) as walk:
        space = krylov_space(walk, Identity(), 3)
        y = draw(3, seed=2)
        step = space.proposal(y).direction
        expected = -(walk.gradient @ step + step @ A @ step / 2)
    assert space.predicted(y) == pytest.approx(float(expected.detach()))


def test_the_ggn_in_a_krylov_space_has_no_negative_curvature():
    """Where the loss is nearly 0 its products are rounding, in a metric that enlarges it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    batch = (draw(9, 3), torch.arange(9) % 2)
    optimizer = SaddleFreeNewton(model.parameters(), curvature=GGN)
    for _ in range(20):
        optimizer.bind(model, F.cross_entropy, batch).step()
        assert not optimizer.record.lowest_curvature < 0
