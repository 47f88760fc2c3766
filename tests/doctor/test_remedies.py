"""Every remedy does on a copy what its code says, or says why it cannot."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks import (
    BATCH,
    OwnLoss,
    adam,
    classify,
    clusters,
    dense,
    examined,
    gaussian,
    regress,
    scaled,
    seeded,
    sgd,
)
from thalweg import Pass, Problem, Surface, critical_point
from thalweg.curvature import StepRule
from thalweg.doctor import Ailment, Finding, Plan
from thalweg.doctor._readings import Readings
from thalweg.doctor._trial import made_optimizer
from thalweg.doctor.remedies import ANSWERS, NotApplicable, Remedy, remedies_for, slower
from thalweg.doctor.remedies._activation import leaky_relu, relu, tanh
from thalweg.doctor.remedies._initialisation import edge_of_chaos, length_preserving
from thalweg.doctor.remedies._learning_rate import (
    adam as to_adam,
)
from thalweg.doctor.remedies._learning_rate import (
    lr_at_limit,
    lr_divided,
    lr_multiplied,
    lr_multiplied_more,
)
from thalweg.doctor.remedies._normalisation import batch_norm
from thalweg.doctor.remedies._recurrent import identity_in_time, orthogonal_in_time
from thalweg.signal import Signal


def readings_of(problem, batch_size=BATCH, has_card=False):
    """What remedies read, without the trials that the rules read."""
    passed = Pass.of(problem)
    optimizer = made_optimizer(problem.copied())
    card = (
        critical_point(Surface(problem).here(), rule=StepRule.of(optimizer)) if has_card else None
    )
    plan = Plan(10, batch_size, problem.batches, problem.reduction, 1)
    return Readings(
        problem, passed, Signal.of(passed), card, optimizer, (), plan, None, None
    )  # fmt: skip


def applied(remedy, problem, seed=0):
    assert isinstance(remedy, Remedy), getattr(remedy, "reason", "")
    return remedy.apply(problem.copied(), torch.Generator().manual_seed(seed))


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def edited(remedy, problem, seed=0):
    """The problem's model after the remedy's code, run as a user would who pastes it."""
    model = copy.deepcopy(problem.model)
    names = {"model": model, "torch": torch, "nn": nn}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        exec(remedy.code, names)
    return names


def second_moments(model):
    """fan_in · mean(W²) of every dense and convolutional layer: σ_w²."""
    return {
        name: float(m.weight[0].numel() * m.weight.detach().square().mean())
        for name, m in model.named_modules()
        if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    }


def deep(activation, width=200, depth=3, **settings):
    sizes = [8, *[width] * depth, 3]
    return classify(dense(*sizes, activation=activation), sgd(0.1), **settings)


# -- initialisation -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proposal", "activation", "variance"),
    [
        (edge_of_chaos, nn.Tanh, 1.0),
        (edge_of_chaos, nn.ReLU, 2.0),
        (edge_of_chaos, nn.Sigmoid, 102.38),
        (edge_of_chaos, lambda: nn.LeakyReLU(0.5), 2 / 1.25),
        (relu, nn.Sigmoid, 2.0),
        (leaky_relu, nn.ReLU, 2 / 1.01),
        (tanh, nn.Sigmoid, 1.0),
    ],
)
def test_weights_have_the_variance_of_theory(proposal, activation, variance):
    """fan_in·mean(W²) over m weights has a relative standard error of √(2/m): 5 of them."""
    problem = deep(activation)
    healed = applied(proposal(readings_of(problem)), problem)
    x = problem.batches[0][0]
    expected = {"0": 1 / float(x.square().mean()), "2": variance, "4": variance, "6": variance}
    for name, found in second_moments(healed.model).items():
        layer = healed.model.get_submodule(name)
        assert found == pytest.approx(expected[name], rel=5 * math.sqrt(2 / layer.weight.numel()))
        assert not layer.bias.any()


def test_lengths_are_kept_where_an_activation_has_no_edge_of_chaos():
    """GELU: E[φ(z)²] = 0.4252 over z ~ N(0, 1), so that σ_w² = 2.352."""
    problem = deep(nn.GELU)
    readings = readings_of(problem)
    assert "no weight variance" in edge_of_chaos(readings).reason
    healed = applied(length_preserving(readings), problem)
    for name in ("2", "4", "6"):
        weight = healed.model.get_submodule(name).weight
        expected = pytest.approx(2.352, rel=5 * math.sqrt(2 / weight.numel()))
        assert second_moments(healed.model)[name] == expected
    assert "is known" in length_preserving(readings_of(deep(nn.Tanh))).reason


class LastState(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.recurrent, self.head = kind(8, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.recurrent(x[:, None])[0][:, -1])


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_matrices_become_orthogonal_gate_by_gate(kind):
    problem = classify(seeded(lambda: LastState(kind)), sgd(0.1))
    remedy = orthogonal_in_time(readings_of(problem))
    for healed in (applied(remedy, problem).model, edited(remedy, problem)["model"]):
        for name, parameter in healed.recurrent.named_parameters():
            gates = parameter.detach().split(16)
            if "weight_hh" in name:
                for gate in gates:
                    torch.testing.assert_close(gate @ gate.T, torch.eye(16), atol=1e-5, rtol=0)
            elif name == "weight_ih_l0":
                assert torch.equal(parameter, problem.model.recurrent.weight_ih_l0)
            elif "bias" in name and kind is not nn.RNN:
                is_open = kind is not nn.RNN and "bias_ih" in name
                means = [float(gate.mean()) for gate in gates]
                opened = [at for at, mean in enumerate(means) if mean == 1]
                assert opened == [1] * is_open
    assert "no recurrent layer" in orthogonal_in_time(readings_of(deep(nn.Tanh))).reason


class Reader(nn.Module):
    def __init__(self, kind, scale):
        super().__init__()
        self.recurrent, self.head = kind(1, 16, batch_first=True), nn.Linear(16, 3)
        with torch.no_grad():
            self.recurrent.weight_ih_l0.mul_(scale)

    def forward(self, x):
        return self.head(self.recurrent(x[..., None])[0][:, -1])


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_a_state_without_gates_stays_what_it_was(scale):
    problem = classify(seeded(lambda: Reader(nn.RNN, scale)), sgd(0.1))
    remedy = identity_in_time(readings_of(problem))
    before = problem.model.recurrent
    for healed in (applied(remedy, problem).model, edited(remedy, problem)["model"]):
        assert torch.equal(healed.recurrent.weight_hh_l0, torch.eye(16))
        # What it reads is drawn anew only where it is far from its usual size.
        is_kept = torch.equal(healed.recurrent.weight_ih_l0, before.weight_ih_l0)
        assert is_kept == (scale == 1)
        assert torch.equal(healed.recurrent.bias_ih_l0, before.bias_ih_l0) == is_kept
        assert bool(healed.recurrent.bias_ih_l0.any()) == is_kept
    gated = classify(seeded(lambda: Reader(nn.GRU, 1.0)), sgd(0.1))
    assert "without gates" in identity_in_time(readings_of(gated)).reason


@pytest.mark.parametrize(("kind", "gate"), [(nn.LSTM, "forget"), (nn.GRU, "update")])
def test_the_gate_that_keeps_the_state_is_open_for_half_the_sequence(kind, gate):
    problem = classify(seeded(lambda: Reader(kind, 1.0)), sgd(0.1))
    remedy = orthogonal_in_time(readings_of(problem))
    assert f"fill_(1.4)  # the {gate} gate" in remedy.code  # ln(8/2), of eight steps
    healed = applied(remedy, problem).model.recurrent
    assert healed.bias_ih_l0.split(16)[1].unique().tolist() == [pytest.approx(1.4)]
    assert torch.equal(healed.bias_hh_l0, problem.model.recurrent.bias_hh_l0)


def test_the_first_layer_brings_the_data_to_unit_length():
    problem = deep(nn.Tanh)
    problem = Problem(problem.model, problem.loss, (100 * clusters()[0], clusters()[1]),
                      optimizer=sgd(0.1))  # fmt: skip
    healed = applied(edge_of_chaos(readings_of(problem)), problem)
    z = healed.model[0](problem.batches[0][0])
    assert float(z.detach().square().mean()) == pytest.approx(1, rel=0.2)


def test_a_seed_decides_what_is_drawn():
    problem = deep(nn.Tanh, width=10)
    remedy = edge_of_chaos(readings_of(problem))
    first, again, other = (applied(remedy, problem, seed).model for seed in (0, 0, 1))
    assert same(state(first), state(again))
    assert not same(state(first), state(other))


def mixed():
    """Convolutions and dense layers, two activations, with and without biases."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 16, 3), nn.Tanh(), nn.Flatten(),
        nn.Linear(96, 200, bias=False), nn.ReLU(), nn.Linear(200, 3),
    )  # fmt: skip


def with_frozen():
    model = dense(8, 200, 200, 3, activation=nn.Tanh)
    model[0].requires_grad_(False)
    return model


@pytest.mark.parametrize(
    "model",
    [lambda: dense(8, 200, 200, 3, activation=nn.Sigmoid), lambda: seeded(mixed), with_frozen],
    ids=["plain", "mixed", "frozen"],
)
@pytest.mark.parametrize("proposal", [edge_of_chaos, leaky_relu])
def test_the_code_draws_what_was_tried(model, proposal):
    """Pasted, the code gives the same variances to the same layers, and leaves the same alone."""
    problem = classify(model(), sgd(0.1))
    remedy = proposal(readings_of(problem))
    tried, pasted = applied(remedy, problem).model, edited(remedy, problem)["model"]
    before = second_moments(problem.model)
    after, by_hand = second_moments(tried), second_moments(pasted)
    for name, found in after.items():
        size = problem.model.get_submodule(name).weight.numel()
        assert (found == before[name]) == (by_hand[name] == before[name])
        assert by_hand[name] == pytest.approx(found, rel=7 * math.sqrt(2 / size))
    biases = [n for n, p in tried.named_parameters() if "bias" in n and not p.any()]
    assert biases == [n for n, p in pasted.named_parameters() if "bias" in n and not p.any()]


def test_frozen_layers_keep_their_weights():
    problem = classify(with_frozen(), sgd(0.1))
    healed = applied(edge_of_chaos(readings_of(problem)), problem)
    assert torch.equal(healed.model[0].weight, problem.model[0].weight)
    assert not torch.equal(healed.model[2].weight, problem.model[2].weight)


# -- activations ----------------------------------------------------------------------------


class Nested(nn.Module):
    """Blocks in a ModuleList, each a Sequential of its own."""

    def __init__(self):
        super().__init__()
        self.entry = nn.Linear(8, 12)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Sigmoid(), nn.Linear(12, 12)) for _ in range(2)
        )
        self.head = nn.ModuleDict({"act": nn.Sigmoid(), "out": nn.Linear(12, 3)})

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        for block in self.blocks:
            x = block(x)
        return self.head["out"](self.head["act"](x))


class Shared(nn.Module):
    """One activation module for all layers, as an attribute."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.out = nn.Linear(8, 12), nn.Linear(12, 12), nn.Linear(12, 3)
        self.act = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.act(self.second(self.act(self.first(x)))))


def shared_in_sequence():
    act = nn.Sigmoid()
    return nn.Sequential(nn.Linear(8, 12), act, nn.Linear(12, 12), act, nn.Linear(12, 3))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(8, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.sigmoid(self.first(x)))


@pytest.mark.parametrize("build", [Nested, Shared, shared_in_sequence])
def test_activations_are_replaced_wherever_they_are(build):
    problem = classify(seeded(build), sgd(0.1))
    before = state(problem.model)
    healed = applied(relu(readings_of(problem)), problem)
    assert {a.function_name for a in Pass.of(problem).activations} == {"sigmoid"}
    assert {a.function_name for a in Pass.of(healed).activations} == {"relu"}
    assert "Sigmoid" not in repr(healed.model)
    assert same(state(problem.model), before)
    assert "Sigmoid" in repr(problem.model)


def test_the_activation_of_the_output_stays():
    """A sigmoid after the last layer makes probabilities; it is no hidden activation."""
    model = nn.Sequential(
        nn.Linear(8, 12), nn.Sigmoid(), nn.Linear(12, 12), nn.Sigmoid(), nn.Linear(12, 1),
        nn.Sigmoid(),
    )  # fmt: skip
    x, y = clusters()
    problem = Problem(model, F.binary_cross_entropy, (x, (y[:, None] > 0).float()),
                      optimizer=sgd(0.1))  # fmt: skip
    healed = applied(relu(readings_of(problem)), problem)
    kinds = [type(m).__name__ for m in healed.model][1::2]
    assert kinds == ["ReLU", "ReLU", "Sigmoid"]


def test_an_activation_that_also_makes_the_output_is_left_alone():
    act = nn.Sigmoid()
    model = nn.Sequential(nn.Linear(8, 12), act, nn.Linear(12, 1), act)
    x, y = clusters()
    problem = Problem(model, F.binary_cross_entropy, (x, (y[:, None] > 0).float()),
                      optimizer=sgd(0.1))  # fmt: skip
    assert isinstance(relu(readings_of(problem)), NotApplicable)


# -- normalisation --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "order"),
    [
        (lambda: dense(8, 12, 12, 3), ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]),
        (Nested, ["Linear", "BatchNorm1d", "Sigmoid"] * 3 + ["Linear"]),
        (Functional, ["Linear", "BatchNorm1d", "Linear"]),
        (mixed, ["Conv1d", "BatchNorm1d", "Tanh", "Linear", "BatchNorm1d", "ReLU", "Linear"]),
    ],
    ids=["dense", "nested", "functional", "mixed"],
)
def test_batch_norm_stands_between_a_layer_and_its_activation(build, order):
    problem = classify(seeded(build), sgd(0.1))
    remedy = batch_norm(readings_of(problem))
    x = problem.batches[0][0]
    for model in (applied(remedy, problem).model, edited(remedy, problem)["model"]):
        ran = running_order(model, x)
        assert [kind for kind in ran if kind not in ("Unflatten", "Flatten")] == order
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
        assert len(norms) == order.count("BatchNorm1d")
        assert all(p.dtype == x.dtype for norm in norms for p in norm.parameters())


def running_order(model, x):
    ran = []
    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda m, *_: ran.append(type(m).__name__))
    model(x)
    return ran


# -- learning rates and optimizers ----------------------------------------------------------


def settings(optimizer):
    group = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
    return type(optimizer), group


@pytest.mark.parametrize(
    ("proposal", "lr"), [(lr_divided, 0.02), (lr_multiplied, 2.0), (lr_multiplied_more, 20.0)]
)
@pytest.mark.parametrize(
    "optimizer",
    [
        sgd(0.2),
        lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.9, nesterov=True, weight_decay=1e-3),
        lambda p: torch.optim.AdamW(p, lr=0.2, betas=(0.8, 0.9)),
        lambda p: torch.optim.RMSprop(p, lr=0.2, alpha=0.9),
    ],
    ids=["SGD", "Nesterov", "AdamW", "RMSprop"],
)
def test_the_learning_rate_is_the_one_in_the_code(proposal, lr, optimizer):
    """Run, the code makes the optimizer of the trial, with every other setting as it was."""
    problem = classify(dense(8, 5, 3), optimizer)
    remedy = proposal(readings_of(problem))
    tried = made_optimizer(applied(remedy, problem))
    assert settings(tried) == settings(edited(remedy, problem)["optimizer"])
    assert tried.param_groups[0]["lr"] == pytest.approx(lr)
    assert str(lr).rstrip("0").rstrip(".") in remedy.name
    assert remedy.changes_step


def test_groups_keep_their_proportions():
    def grouped(params):
        first, *rest = params
        return torch.optim.SGD([{"params": [first], "lr": 1.0}, {"params": rest}], lr=0.1)

    problem = classify(dense(8, 5, 3), grouped)
    remedy = lr_divided(readings_of(problem))
    tried = made_optimizer(applied(remedy, problem))
    assert [g["lr"] for g in tried.param_groups] == pytest.approx([0.1, 0.01])
    by_hand = grouped(list(problem.model.parameters()))
    exec(remedy.code, {"optimizer": by_hand})
    assert [g["lr"] for g in by_hand.param_groups] == pytest.approx([0.1, 0.01])


def test_half_the_limit_is_half_of_two_over_the_sharpness():
    problem = classify(dense(8, 5, 3), sgd(1e-4))
    readings = readings_of(problem, has_card=True)
    tried = made_optimizer(applied(lr_at_limit(readings), problem))
    expected = 0.5 * 2 / readings.card.sharpness
    assert tried.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-2)


def test_adam_takes_the_place_of_another_optimizer():
    problem = classify(dense(8, 5, 3), sgd(0.1))
    remedy = to_adam(readings_of(problem))
    tried = made_optimizer(applied(remedy, problem))
    assert settings(tried) == settings(edited(remedy, problem)["optimizer"])
    assert type(tried) is torch.optim.Adam
    assert tried.param_groups[0]["lr"] == 1e-3


def test_adam_far_from_its_usual_learning_rate_returns_to_it():
    problem = classify(dense(8, 5, 3), lambda p: torch.optim.AdamW(p, lr=1e-8, weight_decay=0.1))
    tried = made_optimizer(applied(to_adam(readings_of(problem)), problem))
    assert type(tried) is torch.optim.AdamW
    assert tried.param_groups[0]["lr"] == pytest.approx(1e-3)
    assert tried.param_groups[0]["weight_decay"] == 0.1


def test_slower_is_the_remedy_with_a_tenth_of_the_learning_rate():
    problem = classify(dense(8, 5, 3, activation=nn.Sigmoid), sgd(0.2, 0.9))
    readings = readings_of(problem)
    plain, remedy = relu(readings), slower(relu(readings), readings)
    one, other = applied(plain, problem), applied(remedy, problem)
    assert same(state(one.model), state(other.model))
    assert made_optimizer(one).param_groups[0]["lr"] == 0.2
    assert made_optimizer(other).param_groups[0]["lr"] == pytest.approx(0.02)
    assert remedy.name == f"{plain.name}, learning rate 0.02"
    assert plain.code in remedy.code
    assert remedy.changes_step


# -- where a remedy does not fit ------------------------------------------------------------


def normalised():
    return nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).eval()


def over_sequences():
    """Four steps of two features: batch norm would take the steps for units."""
    return nn.Sequential(
        nn.Unflatten(1, (4, 2)), nn.Linear(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    )


@pytest.mark.parametrize(
    ("proposal", "build", "optimizer", "reason"),
    [
        (relu, Functional, sgd(0.1), "a module of its own"),
        (relu, lambda: dense(8, 5, 3, activation=nn.GELU), sgd(0.1), "GELU is as good"),
        (relu, lambda: dense(8, 5, 3), sgd(0.1), "has this activation already"),
        (relu, lambda: nn.Linear(8, 3), sgd(0.1), "no layer follows an activation"),
        (edge_of_chaos, lambda: nn.Linear(8, 3), sgd(0.1), "no activation"),
        (edge_of_chaos, lambda: dense(8, 5, 3, activation=nn.GELU), sgd(0.1), "no weight variance"),
        (batch_norm, normalised, sgd(0.1), "normalised already"),
        (batch_norm, lambda: nn.Linear(8, 3), sgd(0.1), "followed by an activation"),
        (batch_norm, over_sequences, sgd(0.1), "followed by an activation"),
        (to_adam, lambda: dense(8, 5, 3), adam(1e-3), "in use already"),
        (lr_at_limit, lambda: dense(8, 5, 3), sgd(0.1), "no stability limit"),
        (lr_divided, lambda: dense(8, 5, 3), sgd(0.0), "is zero"),
    ],
)
def test_what_cannot_be_tried_says_why(proposal, build, optimizer, reason):
    answer = proposal(readings_of(classify(seeded(build), optimizer)))
    assert isinstance(answer, NotApplicable)
    assert reason in answer.reason


def test_what_cannot_be_tried_for_one_reason_is_said_once():
    found = Finding(Ailment.OUTPUT_LOSS, "", (), {}, "", 1.0, 0)
    _, others = remedies_for((found,), readings_of(classify(dense(8, 5, 3), sgd(0.1))))
    reasons = [each for each in others if "no module of an activation" in each.reason]
    assert len(reasons) == 1


def test_single_sample_batches_have_no_statistics():
    answer = batch_norm(readings_of(classify(dense(8, 5, 3), sgd(0.1)), batch_size=1))
    assert isinstance(answer, NotApplicable)


def test_a_learning_rate_at_half_the_limit_is_not_tried_again():
    problem = regress(dense(8, 1), sgd(0.1))
    sharpness = readings_of(problem, has_card=True).card.sharpness
    problem = regress(dense(8, 1), sgd(1 / sharpness))
    answer = lr_at_limit(readings_of(problem, has_card=True))
    assert isinstance(answer, NotApplicable)
    assert "in use" in answer.reason


class Fussy(nn.Module):
    """Looks into its layer: after batch norm stands there, its forward raises."""

    def __init__(self):
        super().__init__()
        self.first, self.act, self.out = nn.Linear(8, 12), nn.Sigmoid(), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.act(self.first(x) * self.first.weight.new_ones(1)))


def test_a_remedy_that_does_not_fit_ends_as_a_sentence(monkeypatch):
    def one_alone(findings, readings):
        remedies, left_out = remedies_for(findings, readings)
        return tuple(r for r in remedies if r.name.startswith("batch norm")), left_out

    # Others would be proved first, and this one not tried.
    monkeypatch.setattr("thalweg.doctor._trying.remedies_for", one_alone)
    examination = examined(classify(scaled(seeded(Fussy), 100.0), sgd(0.1)))
    assert examination.findings[0].ailment is Ailment.SATURATED
    outcomes = {r.name.split(",")[0]: r for r in examination.remedies}
    failed = outcomes["batch normalisation"]
    assert failed.screening is None
    assert failed.outcome.startswith("could not be run on this network: ")
    assert "no attribute 'weight'" in failed.outcome
    assert "\n" not in failed.outcome
    assert not failed.is_proved


# -- all together ---------------------------------------------------------------------------

BUILDS = {
    "dense": lambda: dense(8, 12, 12, 3, activation=nn.Sigmoid),
    "nested": Nested,
    "shared": Shared,
    "functional": Functional,
    "mixed": mixed,
    "one layer": lambda: nn.Linear(8, 3),
    "GELU": lambda: dense(8, 12, 3, activation=nn.GELU),
    "own loss": OwnLoss,
}
PROPOSALS = {proposal for answers in ANSWERS.values() for proposal in answers}


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_no_remedy_touches_the_original(build):
    """Parameters, modules and optimizer settings are the same after every remedy that fits."""
    model = gaussian(seeded(build), 2.0)
    data = clusters()
    if isinstance(model, OwnLoss):
        data, loss = {"features": data[0], "labels": data[1]}, None
    else:
        loss = F.cross_entropy
    problem = Problem(model, loss, data, optimizer=sgd(0.1, 0.9), batch_size=BATCH)
    readings = readings_of(problem, has_card=True)
    before, structure, made = state(model), repr(model), settings(made_optimizer(problem.copied()))
    for proposal in PROPOSALS:
        answer = proposal(readings)
        if isinstance(answer, Remedy):
            healed = applied(answer, problem)
            assert healed.model is not model
            assert torch.isfinite(healed.evaluate(healed.model, healed.batches[0]).loss)
            compile(answer.code, "remedy", "exec")
    assert same(state(model), before)
    assert repr(model) == structure
    assert settings(made_optimizer(problem.copied())) == made


def test_every_ailment_has_answers():
    assert set(ANSWERS) == set(Ailment)
    # No change of a training puts a signal into labels, or makes other data like the training data.
    without = {ailment for ailment in Ailment if not ANSWERS[ailment]}
    assert without == {Ailment.NO_SIGNAL, Ailment.UNLIKE_HELD_OUT}


def test_no_sweep_is_paid_where_the_cause_itself_can_be_taken_away(monkeypatch):
    """The sum becomes a mean; a range test stands behind it, and only for a loss that is none."""
    monkeypatch.setattr("thalweg.doctor.remedies._range_test.swept", lambda *_: pytest.fail("paid"))
    problem = replace(classify(dense(8, 6, 3), sgd(0.1)), loss=nn.CrossEntropyLoss(reduction="sum"))
    found = Finding(Ailment.REDUCTION, "", (), {}, "", 1.0)
    remedies, left_out = remedies_for([found], readings_of(problem))
    assert remedies[0].is_direct
    assert "takes away the cause" in next(r.reason for r in left_out if "range test" in r.name)


def test_what_a_step_of_ones_own_clips_is_answered_by_a_step_without_scale():
    def clipping(model, batch, optimizer):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-4)
        optimizer.step()
        return loss

    own = replace(classify(dense(8, 6, 3), sgd(0.1)), step=clipping)
    found = Finding(Ailment.CLIPPING, "", (), {}, "", 1.0)
    assert remedies_for([found], readings_of(own))[0][0].name == "Adam, lr 0.001"
    usual = replace(own, step=None, clip_norm=1e-4)
    assert remedies_for([found], readings_of(usual))[0][0].name == "no clipping"
