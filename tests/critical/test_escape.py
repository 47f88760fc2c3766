"""Near a saddle every method does what theory says, measured along the eigenvectors."""

import math

import pytest
import torch
from torch import nn

from browser import check_page
from problems import draw
from thalweg import BudgetError, Problem, Surface, ThalwegError, escape
from thalweg.critical import (
    Bordered,
    EscapeMethod,
    InterruptedEscape,
    Mirrored,
    Penalised,
    Scaled,
)
from thalweg.optim import cubic_step, trust_region_step
from thalweg.problems import from_function, quadratic, strict_saddle
from traces import assert_no_trace, trace_of

F64 = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def linear_autoencoder():
    """½ tr((I − W₂W₁) Σ (I − W₂W₁)ᵀ), k = 4, p = 2, at its critical point I = {2}.

    Its index is #{(i, j): λ_j > λ_i} + (p − r)(k − r) = 2 + 1·3 = 5; loss ½ (1 + 3 + 4).
    """
    Σ = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=F64))

    def loss(θ):
        R = torch.eye(4, dtype=F64) - θ[8:].reshape(4, 2) @ θ[:8].reshape(2, 4)
        return 0.5 * torch.trace(R @ Σ @ R.T)

    W = torch.zeros(2, 4, dtype=F64)
    W[0, 1] = 1
    return from_function(loss, torch.cat([W.reshape(-1), W.T.reshape(-1)]), "linear autoencoder")


def curved():
    """Four curvatures that differ, and cubic and quartic terms across them, turned."""
    Q = torch.linalg.qr(draw(4, 4, seed=3)).Q
    λ = torch.tensor([-1.0, -0.3, 0.5, 2.0], dtype=F64)

    def loss(θ):
        c = Q.T @ (θ - 0.7)
        return 0.5 * (λ * c**2).sum() + 0.2 * c[0] * c[1] * c[2] + 0.3 * c[3] ** 3 + (c**4).sum()

    return from_function(loss, torch.full((4,), 0.7, dtype=F64) + 1e-3, "curved")


def monkey():
    return from_function(lambda θ: θ[0] ** 3 - 3 * θ[0] * θ[1] ** 2, torch.zeros(2, dtype=F64))


SADDLES = {
    "strict": strict_saddle,
    "x² − y²": lambda: from_function(lambda θ: θ[0] ** 2 - θ[1] ** 2, torch.ones(2, dtype=F64)),
    "curved": curved,
    "linear autoencoder": linear_autoencoder,
}


@pytest.fixture(scope="module")
def escapes():
    """From 1e-3 and 1e-7, at each saddle."""
    return {
        name: escape(
            Surface(make()).here(), distances=(1e-3, 1e-7), generator=seeded(), max_steps=400
        )
        for name, make in SADDLES.items()
    }


WITH_THEORY = (
    "gradient descent", "Newton", "trust region", "saddle-free Newton", "cubic regularisation"
)  # fmt: skip


@pytest.mark.parametrize("method", WITH_THEORY)
@pytest.mark.parametrize("name", SADDLES)
def test_the_first_step_multiplies_as_theory_says(name, method, escapes):
    """From 1e-7: off by some d/ℓ, with ℓ ≥ 0.01 the length of the step, and the rounding of θ.

    A third derivative T turns the eigenvectors at the start by T d/|λᵢ − λ₁|, and a long step goes
    along them as they are there: cᵢ moves by T ℓ/|λᵢ − λ₁| of itself. T = 0.2 for `curved`.
    """
    found = escapes[name]
    far, run = found.of(method)
    theory = run.predicted_factors
    known = ~torch.isnan(theory)
    assert int(known.sum()) == len(theory) - found.num_null
    is_long = method in ("trust region", "cubic regularisation")
    turned = 0.2 / 0.7 * run.first_length if is_long and name == "curved" else 0.0
    torch.testing.assert_close(
        run.factors[known], theory[known], rtol=2e-4 + turned, atol=2e-5 + turned
    )
    if method != "Newton" or not found.num_null:  # which steps along null directions, too
        assert run.first_length == pytest.approx(run.predicted_length, rel=2e-4)

    def error(run):
        theory = run.predicted_factors
        return float(((run.factors - theory).abs() / (1 + theory.abs()))[known].max())

    # It is a limit: ten thousand times nearer it is a hundred times as true, until rounding.
    assert error(run) <= 1e-2 * error(far) + 1e-7 + turned


def test_gradient_descent_by_hand(escapes):
    """c ↦ (1 − ηλ) c, and out after ln(r/c₁)/ln(1 + η|λ₁|) steps."""
    for name, found in escapes.items():
        run = found.of("gradient descent")[-1]
        expected = 1 - found.lr * found.eigenvalues[found.eigenvalues != 0]
        measured = run.factors[found.eigenvalues != 0]
        torch.testing.assert_close(measured, expected, rtol=1e-5, atol=1e-5)
        lowest = run.coordinates[0][found.eigenvalues == found.eigenvalues[0]].norm()
        by_formula = math.log(found.radius / lowest) / math.log(1 - found.lr * found.eigenvalues[0])
        # Other negative curvatures help it out a little sooner.
        assert abs(run.escaped_at - by_formula) <= (1 if found.index == 1 else 4), name
        assert abs(run.escaped_at - run.predicted_at) <= 1, name


def test_newton_is_attracted_everywhere(escapes):
    for found in escapes.values():
        for run in found.of("Newton"):
            assert run.escaped_at is run.predicted_at is None
            assert run.ending == "attracted by the saddle"
            known = found.eigenvalues != 0
            assert float(run.factors[known].abs().max()) < 30 * run.distance + 1e-7


def test_saddle_free_newton_doubles_what_newton_undoes(escapes):
    for found in escapes.values():
        factors = found.of("saddle-free Newton")[-1].factors
        torch.testing.assert_close(
            factors[found.eigenvalues < 0], torch.full((found.index,), 2.0, dtype=F64),
            rtol=2e-5, atol=0,
        )  # fmt: skip
        assert float(factors[found.eigenvalues > 0].abs().max()) < 2e-5
    run = escapes["x² − y²"].of("saddle-free Newton")[-1]
    # Both directions start at d/√2; only one doubles.
    assert run.escaped_at == math.ceil(math.log2(0.1 * math.sqrt(2) / 1e-7))


def test_long_steps_have_the_length_of_radius_and_curvature_over_weight(escapes):
    for name, found in escapes.items():
        assert found.of("trust region")[-1].first_length == pytest.approx(0.01, rel=1e-9)
        length = found.of("cubic regularisation")[-1].first_length
        doublings = math.log2(-float(found.eigenvalues[0]) / length)
        assert doublings == pytest.approx(round(doublings), abs=1e-4), name


def test_theory_of_long_steps_is_the_limit_of_the_exact_subproblem():
    """Peers: the secular equation, at c → 0."""
    λ = torch.tensor([-2.0, -0.5, 1.0, 3.0], dtype=F64)
    c = 1e-7 * torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=F64)
    for theory, exact in (
        (Bordered(0.3), trust_region_step(λ, λ * c, 0.3)),
        (Penalised(4.0), cubic_step(λ, λ * c, 4.0)),
    ):
        torch.testing.assert_close(theory.after(λ, c, 0, None), c + exact, rtol=1e-5, atol=1e-12)


def test_newton_halves_its_way_to_a_monkey_saddle():
    """∇L is of second order there: s = −c/2. No quadratic, no theory."""
    found = escape(Surface(monkey()).here(), distances=(1e-3,), generator=seeded(), max_steps=40)
    assert found.num_null == 2
    for run in found.of("Newton"):
        torch.testing.assert_close(run.factors, torch.full((2,), 0.5, dtype=F64))
        assert run.predicted is run.predicted_at is None
        assert run.ending == "attracted by the saddle"
    # r' = 3ηr² at the best: from 1e-3 that is 1/(3ηd) = 3,333 steps.
    assert all(run.escaped_at is None for run in found.of("gradient descent"))
    assert all(run.escaped_at for run in found.of("trust region"))


def test_a_hessian_that_fades_on_the_way_is_none():
    """Newton comes to a monkey saddle by halves: no index is read off what rounding leaves."""
    problem = from_function(
        lambda θ: θ[0] ** 3 - 3 * θ[0] * θ[1] ** 2, torch.tensor([1.0, 0.5], dtype=F64)
    )
    found = escape(Surface(problem).here(), distances=(1e-3,), generator=seeded(), max_steps=2)
    assert (found.index, found.num_null) == (0, 2)
    assert found.saddle_error < 1e-20
    assert found.lr == 0.1


def test_the_linear_autoencoders_saddle_is_known(escapes):
    found = escapes["linear autoencoder"]
    assert (found.index, found.num_null) == (5, 3)
    assert found.value == pytest.approx(4.0, abs=1e-12)
    start = found.runs[0].coordinates[0]
    assert not start[found.eigenvalues == 0].any()
    assert float(start.norm()) == pytest.approx(1e-3)


def test_every_run_keeps_its_books(escapes):
    for found in escapes.values():
        for run in found.runs:
            assert (
                len(run.losses) == len(run.gradients) == len(run.coordinates) == run.num_steps + 1
            )
            assert bool((run.gradients.diff() > 0).all())
            if run.escaped_at is not None:
                assert run.escaped_at == run.num_steps
                assert float(run.coordinates[-1].norm()) > found.radius
                assert float(run.losses[-1]) < 0
                assert run.gradients_to_escape == float(run.gradients[-1])
    run = escapes["strict"].of("gradient descent")[0]
    y, x = run.coordinates.T
    torch.testing.assert_close(run.losses, x**2 - y**2 + y**4 / 4, rtol=1e-9, atol=1e-15)


def test_methods_and_models_of_ones_own():
    """A network with its own weights, several batches, and torch's SGD: the same factors."""
    x = draw(9, 3)
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 3, bias=False)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()  # a saddle: nothing gets through
    problem = Problem(model, nn.functional.mse_loss, [(x[:5], x[:5]), (x[5:], x[5:])])
    sgd = EscapeMethod("SGD", lambda params: torch.optim.SGD(params, lr=0.2), Scaled(0.2))
    found = escape(Surface(problem).here(), [sgd], distances=(1e-4,), generator=seeded(), lr=0.2)
    (run,) = found.runs
    assert found.index > 0
    torch.testing.assert_close(run.factors, run.predicted_factors, rtol=1e-5, atol=1e-6)
    assert run.escaped_at is not None
    assert not any(p.any() for p in model.parameters())


def test_damping_weakens_the_mirror():
    λ, c = torch.tensor([-1.0, 1.0], dtype=F64), torch.ones(2, dtype=F64)
    from thalweg.optim import StepRecord

    record = StepRecord(1, 0.0, 1.0, damping=1.0)
    torch.testing.assert_close(
        Mirrored().after(λ, c, 0, record), torch.tensor([1.5, 0.5], dtype=F64)
    )


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: escape(Surface(quadratic((1.0, 2.0))).here(), generator=seeded()), ThalwegError,
         "no curvature is negative"),
        (lambda: escape(Surface(strict_saddle(), dtype=torch.float32).here(), generator=seeded()),
         ThalwegError, "dtype=torch.float64"),
        (lambda: escape(Surface(strict_saddle()).here(), generator=seeded(), distances=(1.0,)),
         ThalwegError, "below the radius 0.1"),
        (lambda: escape(Surface(strict_saddle()).here(), generator=seeded(), radius=-1.0),
         ThalwegError, "give a positive number"),
        (lambda: escape(Surface(strict_saddle()).here(), generator=seeded(), lr=0.0),
         ThalwegError, "positive learning rate"),
        (lambda: escape(Surface(strict_saddle()).here(), generator=seeded(), max_steps=0),
         ThalwegError, "1 or more"),
        (lambda: escape(Surface(from_function(lambda θ: θ.exp().sum(), torch.zeros(2, dtype=F64)))
                        .here(), generator=seeded()), ThalwegError, "does not settle"),
        (lambda: escape(Surface(from_function(lambda θ: -(θ**2).sum(), torch.zeros(501, dtype=F64)))
                        .here(), generator=seeded()), BudgetError, "up to 500"),
    ],
)  # fmt: skip
def test_what_is_no_saddle_is_refused_with_the_way_out(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_the_laws(unchecked):
    """No trace, whatever the caller's modes; the generator decides on the signs, nothing else."""
    problem = strict_saddle()
    before = trace_of(problem.model)

    def signs(seed):
        point = Surface(problem).here()
        found = escape(point, distances=(1e-4,), generator=seeded(seed), max_steps=30)
        return torch.stack([torch.cat([r.coordinates[0], r.coordinates[-1]]) for r in found.runs])

    first = signs(0)
    assert_no_trace(before, problem.model)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        torch.manual_seed(7)
        before = trace_of(problem.model)
        again = signs(0)
        assert_no_trace(before, problem.model)
    assert torch.equal(again, first)
    assert any(not torch.equal(signs(seed)[0, :2], first[0, :2]) for seed in (1, 2))


def test_an_interrupted_escape_keeps_the_finished_runs(monkeypatch):
    from thalweg.critical import _escape

    original, done = _escape.run_from, []

    def interrupted(*arguments):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(original(*arguments))
        return done[-1]

    monkeypatch.setattr(_escape, "run_from", interrupted)
    with pytest.raises(InterruptedEscape) as caught:
        escape(Surface(strict_saddle()).here(), distances=(1e-2, 1e-4), generator=seeded())
    found = caught.value.found
    assert found.is_partial
    assert len(found.runs) == 3
    assert found.headline.startswith("Interrupted:")


def test_the_page(escapes, tmp_path):
    found = escapes["linear autoencoder"]
    assert "Newton is drawn into the saddle" in found.headline
    check_page(found.save(tmp_path / "escape.html"))
    assert '"schema": "thalweg/escape/1"' in found.to_json()
