"""A race is fair: equal trials, budgets and starts; known winners win; failures are told."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import thalweg
from networks import classify, clusters, dense, regress, seeded
from thalweg.race import (
    SHELF,
    Budget,
    ClosureContender,
    GradientContender,
    InterruptedComparison,
    compare,
)
from thalweg.race._course import RESOLUTION, Terms
from thalweg.race._judge import Judge
from thalweg.race._run import run


def quadratic(seed=0):
    """Least squares with a condition number of about 400, in float64."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(40, 4, generator=generator, dtype=torch.float64)
    x = x * torch.tensor([1.0, 0.05, 0.3, 1.0], dtype=torch.float64)
    y = x @ torch.tensor([[1.0], [2.0], [-1.0], [0.5]], dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Linear(4, 1, dtype=torch.float64)
    return thalweg.Problem(model, F.mse_loss, (x, y), test=(x[:8], y[:8]), name="quadratic")


def digits(seed=0):
    return thalweg.problems.relu_digits(depth=2, width=16, seed=seed)


def mlp():
    return nn.Sequential(nn.Linear(8, 2), nn.Tanh(), nn.Linear(2, 3))


def small(build=mlp):
    return lambda seed: classify(seeded(build, seed), None)


def plain(rate, **more):
    return GradientContender(
        "plain", lambda params, lr, **own: torch.optim.SGD(params, lr=lr), [{"lr": rate, **more}]
    )


@pytest.fixture(scope="module")
def race():
    return compare(
        small(), ("adam", "momentum", "lbfgs"), budget="12g", trials=3, seeds=2, batch_size=100
    )


def test_every_contender_gets_the_same_trials_seeds_and_budget(race):
    for entry in race.entries:
        assert len(entry.tuning) == 3
        assert len({str(trial.setting) for trial in entry.tuning}) == 3
        assert [trial.seed for trial in entry.tuning] == [0, 0, 0]
        assert [trial.seed for trial in entry.trials] == [1, 2]
        assert {str(t.setting) for t in entry.trials} == {str(entry.setting)}
        best = min(entry.tuning, key=lambda trial: trial.final_loss)
        assert entry.setting == best.setting
        for trial in (*entry.tuning, *entry.trials):
            steps = trial.marks[-1].step
            a_step = trial.marks[-1].gradients / max(steps, 1)
            assert 12 <= trial.marks[-1].gradients < 12 + max(a_step, 1.01)
            assert trial.final.gradients <= 12 * RESOLUTION


def test_all_start_at_the_same_parameters_and_see_the_data_in_one_order(race):
    starts = [{entry.trials[i].marks[0].loss for entry in race.entries} for i in range(2)]
    assert [len(start) for start in starts] == [1, 1]
    assert starts[0] != starts[1]
    assert "initialisation" in race.assumptions[0]


def test_in_gradients_a_seed_repeats_exactly(race):
    again = compare(
        small(), ("adam", "momentum", "lbfgs"), budget="12g", trials=3, seeds=2, batch_size=100
    )

    def timeless(comparison):
        return [
            [(m.step, m.gradients, m.loss, m.held_out_loss) for m in trial.marks]
            for entry in comparison.entries
            for trial in (*entry.tuning, *entry.trials)
        ]

    assert timeless(again) == timeless(race)
    assert again.recommendation == race.recommendation


def test_a_run_is_plain_training():
    """The same by hand: full-batch gradient descent, its losses and its count of gradients."""
    problem = quadratic()
    comparison = compare(
        lambda seed: quadratic(seed), {"mine": plain(0.1)}, budget="7g", trials=1, seeds=1
    )
    (trial,) = comparison.entries[0].trials
    model, (x, y) = quadratic(1).model, problem.data
    losses = []
    for _ in range(8):
        loss = F.mse_loss(model(x), y)
        losses.append(loss.item())
        (gradient, bias) = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            model.weight -= 0.1 * gradient
            model.bias -= 0.1 * bias
    assert [mark.loss for mark in trial.marks] == pytest.approx(losses, rel=1e-12)
    assert [mark.gradients for mark in trial.marks] == pytest.approx(range(8))


def test_a_step_of_a_minibatch_costs_its_share_of_a_gradient(race):
    (adam,) = (entry for entry in race.entries if entry.name == "adam")
    trial = adam.trials[0]
    # 205 samples in hundreds, and a last batch of 5 that costs less.
    epochs, rest = divmod(trial.num_steps, 3)
    assert race.num_samples == 205
    assert trial.marks[-1].gradients == pytest.approx(epochs + rest * 100 / 205)


def test_a_quadratic_is_for_methods_that_know_its_curvature():
    comparison = compare(
        quadratic,
        ("sgd", "lbfgs", "scipy-trust-ncg"),
        budget="80g",
        trials=2,
        seeds=3,
        target=1e-10,
    )
    assert comparison.recommendation.name in ("lbfgs", "scipy-trust-ncg")
    assert comparison.entry("sgd").reached(1e-10) == ()
    assert comparison.entry("sgd").cost(1e-10, False) == math.inf
    duels = {duel.rival: duel for duel in comparison.recommendation.duels}
    assert duels["sgd"].is_bound
    assert duels["sgd"].is_proved
    assert "lbfgs" in str(comparison)


def test_nothing_differs_and_that_is_said():
    twins = {"one": plain(0.1), "other": plain(0.1)}
    comparison = compare(quadratic, twins, budget="20g", trials=1, seeds=3)
    assert not comparison.recommendation.is_proved
    assert comparison.recommendation.duels[0].factor == pytest.approx(1.0)
    assert "not told apart" in comparison.recommendation.doubt


def test_losses_below_the_rounding_are_alike():
    """Least squares that can be met exactly: what is left is the rounding of float64."""
    pair = ("lbfgs", "torchmin-l-bfgs")
    if SHELF[pair[1]].missing:
        pytest.skip(SHELF[pair[1]].missing)
    comparison = compare(quadratic, pair, budget="150g", trials=1, seeds=2)
    assert max(entry.final_loss for entry in comparison.entries) < 1e-20
    assert comparison.recommendation.duels[0].factor == pytest.approx(1.0)
    assert "about as" in comparison.recommendation.sentence


def test_a_run_that_diverges_is_a_result():
    both = {"wild": plain(1e6), "tame": plain(0.1)}
    comparison = compare(quadratic, both, budget="60g", trials=1, seeds=2)
    assert comparison.recommendation.name == "tame"
    wild = comparison.entry("wild")
    assert wild.final_loss == math.inf
    assert all("the loss is" in trial.failure for trial in wild.trials)
    alone = compare(quadratic, {"wild": plain(1e6)}, budget="60g", trials=1, seeds=1)
    assert alone.recommendation.name == ""
    assert "every run broke down" in alone.recommendation.sentence


def test_an_optimizer_that_raises_is_told_in_its_own_words():
    def broken(params, lr):
        raise ValueError("no such thing")

    contenders = {"broken": GradientContender("x", broken, [{"lr": 1.0}]), "tame": plain(0.1)}
    comparison = compare(quadratic, contenders, budget="5g", trials=1, seeds=1)
    assert comparison.recommendation.name == "tame"
    assert "no such thing" in comparison.entry("broken").trials[0].failure


def test_one_step_that_costs_more_than_the_budget_does_not_count():
    class Greedy(torch.optim.SGD):
        def step(self, closure):
            for _ in range(50):
                loss = closure()
                for p in self.param_groups[0]["params"]:
                    p.data -= 0.1 * p.grad
            return loss

    class Deaf(ClosureContender):
        def run(self, course, setting):
            course.take_all()
            for _ in course.steps():
                for p in course.params:
                    p.data *= 0.5
                course.spend(50)

    deaf = Deaf("dear steps", lambda params: None, [{}])
    comparison = compare(quadratic, {"dear": deaf}, budget="5g", trials=1, seeds=1)
    (trial,) = comparison.entries[0].trials
    assert trial.final is trial.marks[0]
    assert "first step alone" in trial.ending
    greedy = ClosureContender("greedy", lambda params: Greedy(params, lr=0.1), [{}])
    comparison = compare(quadratic, {"greedy": greedy}, budget="5g", trials=1, seeds=1)
    assert comparison.entries[0].trials[0].marks[-1].gradients < 6


def test_a_given_network_starts_as_it_is_and_seeds_leave_out_data():
    problem = replace(regress(dense(8, 4, 1), None), batch_size=None)
    comparison = compare(problem, {"mine": plain(0.05)}, budget="4g", trials=1, seeds=2)
    first, second = comparison.entries[0].trials
    assert first.marks[-1].loss != second.marks[-1].loss
    assert "tenth" in comparison.assumptions[0]
    assert comparison.num_samples == 205 - 20


def test_a_race_leaves_no_trace():
    problem = replace(digits(), batch_size=100)
    state = {n: p.clone() for n, p in problem.model.state_dict().items()}
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.inference_mode():
        compare(problem, ("adam", "adahessian"), budget="1g", trials=1, seeds=1)
    assert all(torch.equal(p, state[n]) for n, p in problem.model.state_dict().items())
    assert all(p.grad is None for p in problem.model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads


DEAR = {
    "newton", "levenberg-marquardt", "saddle-free-dense", "torchmin-trust-krylov",
    "scipy-trust-krylov", "torchmin-newton-cg", "torchmin-trust-ncg", "newton-cg",
    "trust-region", "cubic-regularisation", "saddle-free",
}  # fmt: skip
"""Whose single steps take many products."""


@pytest.mark.parametrize("name", SHELF)
def test_everything_on_the_shelf_runs_and_lowers_the_loss(name):
    if SHELF[name].missing:
        pytest.skip(SHELF[name].missing)
    comparison = compare(
        small(), [name], budget="110g" if name in DEAR else "15g",
        trials=1 if name in DEAR else 3, seeds=1, batch_size=10**6,
    )  # fmt: skip
    (trial,) = comparison.entries[0].trials
    assert trial.failure == ""
    assert trial.final_loss < trial.marks[0].loss
    assert len({str(setting) for setting in SHELF[name].settings}) >= 5


def test_products_inside_a_peer_are_counted():
    if SHELF["adahessian"].missing:
        pytest.skip(SHELF["adahessian"].missing)
    comparison = compare(
        small(), ("adahessian", "sophia", "adam"), budget="30g", trials=1, seeds=1, batch_size=999
    )
    assert comparison.entry("adahessian").trials[0].num_steps == 10
    assert comparison.entry("adam").trials[0].num_steps == 30
    # A product at steps 0, 10 and 20.
    assert comparison.entry("sophia").trials[0].num_steps == 24


def test_adahessian_draws_both_signs():
    """Its probes were all −1 once: then the estimate of a diagonal were the sums of its rows."""
    optimizer = pytest.importorskip("pytorch_optimizer")
    base = optimizer.AdaHessian
    p = nn.Parameter(torch.tensor([1.0, 2.0]))
    H = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
    found = []
    for seed in range(20):
        torch.manual_seed(seed)
        (p.grad,) = torch.autograd.grad(0.5 * p @ H @ p, p, create_graph=True)
        mine = base([p])
        mine.init_group(mine.param_groups[0])
        mine.zero_hessian(mine.param_groups, mine.state)
        mine.compute_hutchinson_hessian(mine.param_groups, mine.state, distribution="rademacher")
        found.append(tuple(mine.state[p]["hessian"].tolist()))
        p.grad = None
    assert set(found) == {(3.0, 4.0), (1.0, 2.0)}


def test_sharpness_of_gradient_descent_is_the_largest_eigenvalue():
    comparison = compare(quadratic, {"mine": plain(0.1)}, budget="10g", trials=1, seeds=1)
    x, _ = quadratic().data
    inputs = torch.cat([x, torch.ones(40, 1, dtype=torch.float64)], 1)
    highest = torch.linalg.eigvalsh(2 * inputs.T @ inputs / 40)[-1].item()
    marks = comparison.entries[0].trials[0].sharpness
    assert len(marks) > 4
    assert [mark.sharpness for mark in marks] == pytest.approx([highest] * len(marks), rel=2e-2)
    assert marks[-1].limit == 20.0
    assert marks[-1].ratio == pytest.approx(highest / 20, rel=2e-2)


def test_what_is_missing_is_left_out_with_what_to_install():
    absent = GradientContender("x", lambda params: None, [{}], package="no-such-package")
    comparison = compare(
        quadratic, {"absent": absent, "tame": plain(0.1)}, budget="5g", trials=1, seeds=1
    )
    (omission,) = comparison.omissions
    assert omission.name == "absent"
    assert "pip install" in omission.reason
    with pytest.raises(thalweg.ThalwegError, match="pip install"):
        compare(quadratic, {"absent": absent}, budget="5g", trials=1)


@pytest.mark.parametrize(
    ("most", "sizes"), [(1.0, [67, 101, 151, 205]), (0.5, [67, 101, 102, 102])]
)
def test_minibatches_may_grow_and_every_sample_comes_round(most, sizes):
    seen = []

    class Watching(ClosureContender):
        def run(self, course, setting):
            for _ in course.steps(1.5, most):
                (batch,) = course.batches
                seen.append(batch[1])
                course.spend(1.0)
                if len(seen) > 6:
                    return

    watching = Watching("watching", lambda params: None, [{}])
    compare(small(), {"x": watching}, budget="100g", trials=1, seeds=1, batch_size=20)
    assert [len(y) for y in seen[:7]] == [20, 30, 45, *sizes]
    _, y = clusters()
    first = torch.cat(seen[:5])[:205]
    assert len(first) == 205
    assert first.bincount().le(y.bincount()).all()


def test_a_run_is_read_where_it_is_asked_to_be():
    problem = quadratic()
    terms = Terms(Budget(100, False), None, resolution=1e9, checkpoints=(10.0, 60.0))
    trial = run(plain(0.01), {"lr": 0.01}, problem, Judge(problem, (), 0), terms, 0)
    assert [mark.gradients for mark in trial.marks] == pytest.approx([0, 1, 10, 60, 100])
    stopping = replace(terms, target=trial.marks[2].loss * 1.0001, stops_at_target=True)
    short = run(plain(0.01), {"lr": 0.01}, problem, Judge(problem, (), 0), stopping, 0)
    assert short.num_steps == 10
    assert short.reached(stopping.target) == short.final


def test_ctrl_c_gives_what_is_finished(tmp_path):
    calls = []

    def progress(stage, share):
        calls.append(stage)
        if stage == "other, seed 2 of 3":
            raise KeyboardInterrupt

    contenders = {"one": plain(0.1), "other": plain(0.01)}
    with pytest.raises(InterruptedComparison) as caught:
        compare(quadratic, contenders, budget="5g", trials=1, seeds=3, progress=progress)
    comparison = caught.value.found
    assert comparison.is_partial
    assert sorted(len(entry.trials) for entry in comparison.entries) == [1, 2]
    assert "Interrupted" in comparison.page().verdict
    with pytest.raises(KeyboardInterrupt) as early:
        compare(quadratic, contenders, budget="5g", trials=1, progress=_interrupting)
    assert not isinstance(early.value, InterruptedComparison)


def _interrupting(stage, share):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"optimizers": ["adma"]}, "'adma'; the names are"),
        ({"optimizers": ["adam", "adam"]}, "named twice"),
        ({"optimizers": []}, "no optimizer is named"),
        ({"optimizers": {"x": torch.optim.Adam}}, "give a contender"),
        ({"budget": "a while"}, "2m"),
        ({"seeds": 0}, "seeds=0"),
        ({"trials": 0}, "trials=0"),
        ({"trials": 99}, "settings and 99 are to be tried"),
        ({"target": math.nan}, "target=nan"),
        ({"seed": -1}, "seed=-1"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_nonsense_is_refused(arguments, said):
    with pytest.raises(thalweg.ThalwegError, match=said):
        compare(quadratic, **{"budget": "5g", **arguments})


def test_a_problem_that_cannot_be_read_is_refused_as_everywhere():
    x, y = clusters()
    with pytest.raises(thalweg.ProblemError, match="born in the data"):
        compare(thalweg.Problem(dense(8, 3), F.cross_entropy, (x * torch.nan, y)), budget="5g")
    with pytest.raises(thalweg.ProblemError, match="the factory returned a int"):
        compare(lambda seed: 3, budget="5g")


def test_the_json_has_its_schema_and_everything(race):
    found = json.loads(race.to_json())
    assert found["schema"] == "thalweg/comparison/1"
    assert set(found) == {"schema", "version", *(each.name for each in fields(race))}
    first = found["entries"][0]["trials"][0]
    assert set(first) == {
        "seed", "setting", "marks", "final", "failure", "ending", "records", "sharpness",
    }  # fmt: skip
    assert first["marks"][0]["step"] == 0
