"""Trials repeat to the bit, see the data in the order of their seed, and break off in words."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks import adam, classify, clusters, dense, regress, seeded, sgd
from thalweg import Problem, ProblemError
from thalweg.doctor import Plan
from thalweg.doctor._trial import CURVE_POINTS, SETTLING, Trial, made_optimizer, train


def plan_of(problem, num_steps=30, batch_size=32):
    held_out = problem.test_batches or problem.batches
    return Plan(num_steps, batch_size, held_out, problem.reduction, 1)


def noisy():
    return seeded(
        lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    ).eval()


@pytest.mark.parametrize("build", [lambda: dense(8, 16, 3), noisy], ids=["plain", "dropout"])
def test_a_seed_decides_a_run_to_the_bit(build):
    problem = classify(build(), adam(0.01))

    def run(seed):
        torch.seed()
        own = problem.copied()
        return replace(train(own, plan_of(problem), seed), seconds=0.0), own.model.state_dict()

    (one, state), (again, state_again), (other, _) = run(3), run(3), run(4)
    assert one == again
    assert all(torch.equal(state[name], state_again[name]) for name in state)
    assert one.losses != other.losses


def test_a_run_is_plain_training():
    """The same by hand, to the bit: data order, curve, and the loss before and after."""
    problem = classify(dense(8, 16, 3), sgd(0.1, 0.9))
    (x, y), plan = problem.data, plan_of(problem, num_steps=100)
    run = train(problem.copied(), plan, seed=5)
    model = copy.deepcopy(problem.model)
    optimizer = problem.optimizer(model.parameters())
    generator, losses = torch.Generator().manual_seed(5), []
    while len(losses) < 100:
        for index in torch.randperm(256, generator=generator).split(32):
            loss = F.cross_entropy(model(x[index]), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    losses = losses[:100]
    length = math.ceil(100 / CURVE_POINTS)
    means = [sum(losses[i : i + length]) / length for i in range(0, 100, length)]
    assert run.losses == pytest.approx(means, rel=1e-12)
    assert run.steps == tuple(range(length, 101, length))
    assert run.num_steps == 100
    assert run.last_loss == pytest.approx(sum(means[-5:]) / 5)
    assert run.before.loss == pytest.approx(F.cross_entropy(problem.model(x), y).item())
    assert run.failure == ""


@pytest.mark.parametrize("build", [lambda: dense(8, 16, 3), noisy], ids=["plain", "dropout"])
def test_a_trial_that_is_gone_on_with_is_one_that_was_never_left(build):
    problem = classify(build(), adam(0.01))
    plan = plan_of(problem, num_steps=70)
    left, whole = (Trial(problem.copied(), plan, seed=2) for _ in range(2))
    early = left.until(30)
    torch.rand(5)
    late, expected = left.until(70), whole.until(70)
    assert (early.num_steps, late.num_steps) == (30, 70)
    assert (late.losses, late.after) == (expected.losses, expected.after)
    assert (late.num_samples, early.num_samples) == (70 * 32, 30 * 32)
    assert (early.num_scored, late.num_scored, expected.num_scored) == (2 * 256, 3 * 256, 2 * 256)
    states = [each.problem.model.state_dict() for each in (left, whole)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


class Witness(nn.Module):
    """Writes down the first feature of every sample that it is trained on."""

    seen: list[list[float]]

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            Witness.seen.append(x[:, 0].tolist())
        return self.body(x)


def test_runs_with_one_seed_see_the_same_batches():
    """Whatever network is trained, and however much it draws."""

    def order(body, seed):
        problem = classify(Witness(body), sgd(0.1)).in_eval_mode()
        plan = plan_of(problem, num_steps=20)
        Witness.seen = []
        train(problem.copied(), plan, seed)
        return Witness.seen

    first = order(dense(8, 16, 3), 0)
    assert len(first) == 20
    assert first == order(noisy(), 0)
    assert first != order(dense(8, 16, 3), 1)


def test_where_a_batch_is_all_the_data_a_tenth_is_left_out():
    problem = classify(Witness(dense(8, 4, 3)), sgd(0.1)).in_eval_mode()
    plan, seen = plan_of(problem, num_steps=3, batch_size=256), {}
    for seed in (0, 1):
        Witness.seen = []
        train(problem.copied(), plan, seed)
        first, *later = (set(batch) for batch in Witness.seen)
        assert len(first) == 256 - 25
        assert all(batch == first for batch in later)
        seen[seed] = first
    assert seen[0] != seen[1]


def test_a_run_leaves_the_caller_alone():
    problem = classify(noisy(), adam(0.01))
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    with torch.no_grad():
        train(problem.copied(), plan_of(problem), 0)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_scores_are_taken_in_evaluation_mode_and_training_is_not():
    """Dropout at 0.5 makes the training loss of a perfect network jump; its score is exact."""
    problem = classify(noisy(), sgd(0.0))
    run = train(problem.copied(), plan_of(problem), 0)
    assert run.before == run.after
    assert len(set(run.losses)) == len(run.losses)


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        (None, "needs Problem(..., optimizer="),
        (lambda params: None, "returned a NoneType"),
        (lambda params: list(params), "returned a list"),
        (lambda params: torch.optim.SGD(dense(8, 3).parameters(), lr=1), "it was not given"),
        (lambda params: torch.optim.SGD(params, lr=-1), "raised ValueError: Invalid learning rate"),
        (lambda: torch.optim.SGD([], lr=1), "raised TypeError"),
        (torch.optim.SGD(dense(8, 3).parameters(), lr=1), "is made already, of type SGD"),
        (lambda params: torch.optim.SGD(params, lr=1, nesterov=True), "raised ValueError"),
    ],
)
def test_an_optimizer_that_cannot_be_used_is_refused(optimizer, said, unchecked):
    problem = classify(dense(8, 3), optimizer)
    with pytest.raises(ProblemError) as refusal:
        made_optimizer(problem.copied())
    assert said in str(refusal.value)
    assert "optimizer=lambda params:" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_optimizer_of_the_owners_own_model_is_refused_and_the_model_unchanged():
    model = dense(8, 16, 3)
    mine = torch.optim.SGD(model.parameters(), lr=0.1)
    problem = classify(model, lambda params: mine)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ProblemError, match="make it from its argument"):
        train(problem.copied(), plan_of(problem), 0)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_an_optimizer_that_wants_a_closure_is_refused():
    problem = classify(dense(8, 3), lambda params: torch.optim.LBFGS(params))
    with pytest.raises(ProblemError, match=r"step 0 .* without a closure"):
        train(problem.copied(), plan_of(problem), 0)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ValueError("no way back\nand a second line")


class OneWay(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return Once.apply(self.linear(x))


def test_a_backward_pass_that_raises_is_told_in_a_sentence():
    problem = classify(OneWay(), sgd(0.1))
    with pytest.raises(ProblemError) as refusal:
        train(problem.copied(), plan_of(problem), 0)
    assert "ValueError: no way back;" in str(refusal.value)
    assert "second line" not in str(refusal.value)


def test_a_single_sample_left_over_does_not_stop_batch_norm():
    """65 samples in batches of 32 leave one, which has no statistics."""
    body = seeded(lambda: nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)))
    (x, y), model = clusters(), Witness(body).eval()
    problem = Problem(model, F.cross_entropy, (x[:65], y[:65]), optimizer=sgd(0.1))
    Witness.seen = []
    run = train(problem.copied(), plan_of(problem, num_steps=7), 0)
    assert run.failure == ""
    assert [len(batch) for batch in Witness.seen] == [32] * 7


def test_single_samples_are_taken_where_they_can_be():
    x, y = clusters()
    problem = Problem(Witness(dense(8, 3)).eval(), F.cross_entropy, (x[:65], y[:65]),
                      optimizer=sgd(0.1))  # fmt: skip
    Witness.seen = []
    train(problem.copied(), plan_of(problem, num_steps=6), 0)
    assert [len(batch) for batch in Witness.seen] == [32, 32, 1] * 2


def test_a_run_that_breaks_down_says_where():
    problem = regress(dense(8, 1), sgd(100.0))
    run = train(problem.copied(), plan_of(problem, num_steps=200), 0)
    assert 0 < run.num_steps < 200
    assert f"at step {run.num_steps}, born in the loss itself" in run.failure
    assert run.final_loss == run.last_loss == math.inf
    assert run.after.accuracy is None
    assert all(math.isfinite(loss) for loss in run.losses[:-1])


def test_a_run_that_breaks_down_at_once_took_no_step():
    class Fragile(nn.Module):
        """Divides by zero in training mode only."""

        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) / (0.0 if self.training else 1.0)

    problem = classify(Fragile().eval(), sgd(0.1))
    run = train(problem.copied(), plan_of(problem), 0)
    assert (run.num_steps, run.losses) == (0, ())
    assert "born in the forward of the model itself (Fragile)" in run.failure
    assert run.final_loss == math.inf
    assert run.before.accuracy is not None
    assert run.after.accuracy == 0.0


def test_batch_normalisation_is_evaluated_with_the_average_of_the_last_steps():
    """Whatever it began with: the mean over ten minibatches, and the steps are the same."""
    model = seeded(lambda: nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 3)))
    model[0].running_mean.fill_(100.0)
    problem = classify(model, sgd(0.1))
    (x, _), plan = problem.data, plan_of(problem, num_steps=SETTLING + 6)
    own = problem.copied()
    run = train(own, plan, seed=5)
    order, generator = [], torch.Generator().manual_seed(5)
    while len(order) < plan.num_steps:
        order += torch.randperm(256, generator=generator).split(32)
    means = torch.stack([x[index].mean(0) for index in order[6 : plan.num_steps]])
    torch.testing.assert_close(own.model[0].running_mean, means.mean(0))
    assert own.model[0].momentum == 0.1
    assert run.after.loss < run.before.loss


def test_batch_normalisation_in_evaluation_mode_keeps_its_statistics():
    model = seeded(lambda: nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 3)))
    problem = replace(classify(model, sgd(0.1)), mode=False)
    own = problem.copied()
    train(own, plan_of(problem), seed=5)
    assert torch.equal(own.model[0].running_mean, torch.zeros(8))


def test_a_loss_that_swings_is_averaged_along_the_last_part():
    """At four steps on the way, each on a quarter of the held-out data, and at the end on all."""
    problem = classify(dense(8, 16, 3), sgd(0.5, 0.9))
    plan = replace(plan_of(problem, num_steps=40), averaged=0.5)
    trial = Trial(problem.copied(), plan, seed=5)
    run = trial.until(40)
    assert plan.stops(40) == (20, 25, 30, 35)
    seen = []
    for stop, part in zip(plan.stops(40), trial._parts, strict=True):
        plain = Trial(problem.copied(), replace(plan, averaged=0.0, held_out=tuple(part)), seed=5)
        seen.append(plain.until(stop).final_loss)
    assert run.along == pytest.approx(seen)
    assert run.level() == pytest.approx((sum(seen) + run.final_loss) / 5)
    most = sorted(seen)[1]
    assert run.level(most) == pytest.approx(
        sum(min(loss, most) for loss in (*seen, run.final_loss)) / 5
    )
    (x, _), *others = (part[0] for part in trial._parts)
    assert len(x) + sum(len(each) for each, _ in others) == problem.num_samples
    # Before the first step, at the end, and the parts, which are all of it once more.
    assert run.num_scored == 3 * problem.num_samples


def test_without_averaging_a_run_is_compared_by_its_end():
    problem = classify(dense(8, 16, 3), sgd(0.5, 0.9))
    run = train(problem.copied(), plan_of(problem, num_steps=40), seed=5)
    assert run.along == ()
    assert run.level() == run.final_loss
