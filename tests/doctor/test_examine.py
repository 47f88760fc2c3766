"""examine as a whole: it repeats, leaves no trace, takes data of every form, and adds up."""

from __future__ import annotations

import copy
import itertools
import json
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_wine
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves as leaves
from torch.utils.data import DataLoader, TensorDataset

from examinations import without_seconds
from networks import (
    BATCH,
    GRADIENTS,
    OwnLoss,
    adam,
    classify,
    clusters,
    dense,
    draw,
    examined,
    scaled,
    seeded,
    sgd,
)
from thalweg import BudgetError, LayoutError, Problem, ProblemError, ThalwegError, examine
from thalweg.doctor import Ailment


def told(examination):
    return without_seconds(json.loads(examination.to_json()))


def stuck():
    """All weights zero, so that there are remedies to try; with dropout, so that they draw."""
    model = seeded(
        lambda: nn.Sequential(
            nn.Linear(8, 12), nn.Tanh(), nn.Dropout(0.2), nn.Linear(12, 12), nn.Tanh(),
            nn.Linear(12, 3),
        )
    )  # fmt: skip
    return classify(scaled(model, 0.0).eval(), sgd(0.1))


@pytest.fixture(scope="module")
def examination():
    """One that found something, and tried remedies."""
    return examined(stuck())


def test_a_budget_in_gradients_and_a_seed_give_the_same_examination(examination):
    torch.manual_seed(1)
    first = told(examination)
    assert told(examined(stuck())) == first
    assert first["remedies"]
    other = told(examined(classify(dense(8, 5, 3), sgd(0.3)), seed=3))
    assert [run["seed"] for run in other["control"]] == [3, 4, 5]


def test_nothing_of_the_callers_is_changed(unchecked):
    """Parameters, buffers, .grad, modes, hooks, optimizer, data and every random state."""
    model = seeded(
        lambda: nn.Sequential(
            nn.Linear(8, 12), nn.BatchNorm1d(12), nn.Sigmoid(), nn.Dropout(0.2), nn.Linear(12, 3)
        )
    )
    scaled(model[4], 0.0)
    model.eval()
    model[3].train(False)
    x, y = (t.clone() for t in clusters())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    F.cross_entropy(model(x), y).backward()
    optimizer.step()

    def state():
        return copy.deepcopy(
            [
                model.state_dict(),
                {n: p.grad for n, p in model.named_parameters()},
                {n: p.requires_grad for n, p in model.named_parameters()},
                [m.training for m in model.modules()],
                [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
                optimizer.state_dict(),
                (x, y),
                torch.get_rng_state(),
                random.getstate(),
                str(np.random.get_state()),
                torch.is_grad_enabled(),
                torch.get_num_threads(),
            ]
        )

    before = state()
    with torch.no_grad():
        examine(
            Problem(model, F.cross_entropy, (x, y), batch_size=BATCH),
            optimizer=sgd(1e-7),
            budget=GRADIENTS,
        )
    for one, other in zip(leaves(before), leaves(state()), strict=True):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other


def test_the_optimizer_may_be_given_to_examine():
    problem = classify(dense(8, 5, 3), sgd(0.3))
    examination = examine(problem, optimizer=adam(0.02), batch_size=64, budget="700g")
    assert examination.optimizer == "Adam, lr 0.02"
    assert examination.batch_size == 64
    assert examination.assumptions == (
        "No held-out data were given, so a fifth of the data was held out for the trials.",
    )


def test_what_is_assumed_is_said():
    x, y = clusters()
    examination = examined(Problem(dense(8, 24, 3), F.cross_entropy, (x, y)), "700g")
    assert "Adam at learning rate 0.001 was assumed" in examination.assumptions[0]
    assert "a fifth" in examination.assumptions[1]
    assert "minibatches of 64" in examination.assumptions[2]
    assert examination.optimizer == "Adam, lr 0.001"


def test_the_sums_add_up(examination):
    """Each part's cost, and that nothing was tried on more than the budget."""
    costs = {m.name.split(":")[0].split(",")[0]: m.gradients for m in examination.measurements}

    def cost(runs):
        """A gradient a sample of a step, and a third of one a sample that is scored."""
        return sum(BATCH * run.num_steps + run.num_scored / 3 for run in runs) / 256

    # The first run of the control goes on from what was watched.
    first, *others = examination.control
    assert 0 < first.num_samples < BATCH * first.num_steps
    assert all(run.num_samples == BATCH * run.num_steps for run in others)
    given = (BATCH * first.num_steps - first.num_samples) / 256

    held_out = 51
    scored = [run.num_scored // held_out for run in examination.control]
    assert scored == [2, 1, 1]  # what it scores before its first step is known from the first run
    assert costs["training as it is"] == pytest.approx(cost(examination.control) - given)
    runs = [run for t in examination.remedies for run in (*t.runs, t.screening) if run]
    assert costs["remedies"] >= cost(runs) - 1e-9  # what was screened anew with a smaller step too
    assert sum(costs.values()) <= examination.budget.amount
    assert examination.num_samples == 256
    assert examination.num_parameters == sum(p.numel() for p in stuck().model.parameters())


def test_curvature_on_fewer_samples_costs_less():
    """A gradient is one over all the data, and the card counts those of its own."""
    examination = examined(classify(dense(8, 24, 24, 3), sgd(0.3)))
    (cost,) = [m.gradients for m in examination.measurements if m.name.startswith("curvature")]
    assert "32 of 256 samples" in examination.omissions[0].reason
    assert cost == pytest.approx(examination.card.num_gradients * 32 / 256)
    assert cost < 0.3 * examination.budget.amount


def test_proved_remedies_come_first(examination):
    flags = [remedy.is_proved for remedy in examination.remedies]
    assert flags == sorted(flags, reverse=True)
    assert examination.proved == tuple(r for r in examination.remedies if r.is_proved)
    assert examination.proved
    best = examination.proved[0]
    assert np.mean([r.final_loss for r in best.runs]) < np.mean(
        [r.final_loss for r in examination.control]
    )


def test_params_choose_the_curvature_that_is_read():
    problem = classify(dense(8, 5, 3), sgd(0.3))
    card = examine(problem, params="2.*", budget=GRADIENTS).card
    assert card.num_parameters == 5 * 3 + 3
    with pytest.raises(LayoutError, match=r"the names are 0\.weight"):
        examine(problem, params="layers.*", budget=GRADIENTS)


# -- data of every form ---------------------------------------------------------------------


class Sequences(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, tokens, labels=None):
        logits = self.head(torch.tanh(self.linear(tokens)).mean(1))
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def ragged_dicts():
    batches = []
    for k in range(12):
        tokens = draw(6, 3 + k % 4, 4, seed=k)
        labels = (tokens.mean((1, 2)) > 0).long()
        batches.append({"tokens": tokens, "labels": labels, "id": torch.arange(6)})
    return Problem(seeded(Sequences), None, batches, optimizer=adam(0.03))


def loader(batch_size=BATCH, **settings):
    x, y = clusters()
    generator = torch.Generator().manual_seed(0)
    dataset = TensorDataset(x, y)
    return DataLoader(dataset, batch_size=batch_size, generator=generator, **settings)


FORMS = {
    "shuffled loader": lambda: Problem(
        dense(8, 24, 3), F.cross_entropy, loader(shuffle=True), optimizer=sgd(0.2)
    ),
    "loader with test loader": lambda: Problem(
        dense(8, 24, 3), F.cross_entropy, loader(), test=loader(100), optimizer=sgd(0.2)
    ),
    "list of ragged batches": lambda: Problem(
        dense(8, 24, 3), F.cross_entropy,
        [(x, y) for x, y in zip(*(t.split([100, 7, 1, 148]) for t in clusters()), strict=True)],
        optimizer=sgd(0.2), batch_size=BATCH,
    ),
    "single-sample batches": lambda: Problem(
        dense(8, 24, 3),
        F.cross_entropy,
        [(x[None], y[None]) for x, y in zip(*(t[:64] for t in clusters()), strict=True)],
        optimizer=sgd(0.3),
        batch_size=8,
    ),
    "ragged dicts": ragged_dicts,
    "one dict": lambda: Problem(
        seeded(OwnLoss), None, {"features": clusters()[0], "labels": clusters()[1]},
        optimizer=sgd(0.2, 0.9), batch_size=BATCH,
    ),
    "bare tensors": lambda: Problem(
        dense(8, 16, 8, activation=nn.Tanh), F.mse_loss, clusters()[0], optimizer=adam(0.03),
        batch_size=BATCH,
    ),
    "loader of bare tensors": lambda: Problem(
        dense(8, 16, 8, activation=nn.Tanh), lambda output, target: F.mse_loss(output, target),
        DataLoader(clusters()[0], batch_size=100), optimizer=adam(0.03), batch_size=BATCH,
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_data_of_every_form(form):
    examination = examined(FORMS[form](), "600g")
    assert examination.is_healthy, [f.sentence for f in examination.findings]
    assert all(not run.failure for run in examination.control)
    json.loads(examination.to_json())


def test_float64_and_frozen_layers():
    model = dense(8, 24, 24, 3).double()
    model[0].requires_grad_(False)
    x, y = clusters()
    problem = Problem(
        model, F.cross_entropy, (x.double(), y), optimizer=sgd(0.2), batch_size=BATCH,
        on_purpose="0.*",
    )  # fmt: skip
    examination = examined(problem)
    assert examination.is_healthy
    assert examination.num_parameters == 24 * 24 + 24 + 24 * 3 + 3


# -- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", ["1g", "20g", "0.001s"])
def test_too_small_a_budget_is_refused_before_anything_is_spent(budget):
    problem = classify(dense(8, 5, 3), sgd(0.3))
    stages = []
    with pytest.raises(BudgetError, match=r"give \S+[gs] or more"):
        examine(problem, budget=budget, progress=lambda stage, share: stages.append(stage))
    assert not any("curvature" in stage for stage in stages)


def test_the_budget_that_is_named_does():
    problem = classify(dense(8, 5, 3), sgd(0.3))
    with pytest.raises(BudgetError) as refusal:
        examine(problem, budget="20g")
    named = str(refusal.value).split("give ")[1].split()[0]
    assert examine(problem, budget=named).num_steps == 50


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_size_below_one_is_refused(batch_size):
    with pytest.raises(ProblemError, match="give a whole number of 1 or more"):
        examine(classify(dense(8, 3), sgd(0.3)), batch_size=batch_size, budget=GRADIENTS)


@pytest.mark.parametrize("seed", [-1, 2**32, 10**30])
def test_a_seed_no_generator_takes_is_refused(seed):
    with pytest.raises(ThalwegError, match=f"seed={seed}; give a whole number from 0"):
        examine(classify(dense(8, 3), sgd(0.3)), seed=seed, budget=GRADIENTS)


def test_targets_out_of_range_in_the_test_data_are_refused():
    x, y = clusters()
    problem = Problem(
        dense(8, 3), F.cross_entropy, (x, y), test=(x[:9], y[:9] + 1), optimizer=sgd(0.3)
    )
    with pytest.raises(ProblemError, match="target out of range in held-out batch 0"):
        examined(problem)


def test_the_owners_model_is_unchanged_by_a_refusal():
    model = dense(8, 5, 3)
    mine = torch.optim.SGD(model.parameters(), lr=0.1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ProblemError, match="make it from its argument"):
        examined(classify(model, lambda params: mine))
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_progress_rises_from_begin_to_end():
    problem, shares = classify(dense(8, 5, 3), sgd(1e-7)), []
    examine(problem, budget=GRADIENTS, progress=lambda _, share: shares.append(share))
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_in_seconds_the_budget_holds():
    """Within twice the budget and the shortest trials that there are."""
    examination = examine(stuck(), budget="8s")
    assert sum(m.seconds for m in examination.measurements) < 16
    assert Ailment.STUCK in {f.ailment for f in examination.findings}


@pytest.mark.parametrize(
    ("activation", "depth", "lr", "hidden"),
    [(nn.Sigmoid, 8, 0.1, Ailment.VANISHING), (nn.Tanh, 3, 5.0, Ailment.LR_TOO_LARGE)],
)
def test_faults_that_hide_one_another_are_taken_off_one_by_one(activation, depth, lr, hidden):
    """A softmax too many, raw inputs, and a third: no remedy helps alone, all together do."""
    x, y = (torch.as_tensor(part) for part in load_wine(return_X_y=True))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order].float(), y[order]
    torch.manual_seed(0)
    widths = [13, *[32] * depth]
    layers = [
        part for n, m in itertools.pairwise(widths) for part in (nn.Linear(n, m), activation())
    ]
    problem = Problem(
        nn.Sequential(*layers, nn.Linear(32, 3), nn.Softmax(1)), F.cross_entropy,
        (x[:130], y[:130]), test=(x[130:], y[130:]), optimizer=sgd(lr), batch_size=16,
    )  # fmt: skip
    examination = examine(problem, budget="2000g")
    found = [finding.ailment for finding in examination.findings]
    assert found[0] is Ailment.OUTPUT_LOSS
    assert {Ailment.INPUT_SCALE, hidden} <= set(found)
    assert len(found) == len(set(found))
    best = examination.proved[0]
    assert "Softmax" in best.name
    assert "inputs standardised" in best.name
    assert all(run.after.accuracy > 0.85 for run in best.runs)
    assert all(run.after.accuracy < 0.75 for run in examination.control)
    alone = next(each for each in examination.remedies if each.name.endswith("(Softmax)"))
    assert not alone.is_proved
