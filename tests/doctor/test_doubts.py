"""What may be why no more is learned counts only where taking it away is proved to help."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_wine, make_friedman1
from test_mended_recipes import BY_SAMPLE, watched
from test_remedies import readings_of
from torch import nn

from networks import adam, dense, examined, seeded, sgd
from thalweg import Problem, ProblemError
from thalweg._budget import Budget
from thalweg._loss import Kind
from thalweg._score import Score
from thalweg.doctor import Ailment
from thalweg.doctor._constant import best_constant
from thalweg.doctor._domain import squash_wanted
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._observation import Watching
from thalweg.doctor.findings._inputs import perhaps_constant_features
from thalweg.doctor.findings._learning_rate import lr_too_small
from thalweg.doctor.findings._reduction import wrong_reduction
from thalweg.doctor.findings._units import perhaps_saturated, saturated
from thalweg.doctor.remedies import NotApplicable, remedies_for
from thalweg.doctor.remedies._learning_rate import lr_of_the_mean
from thalweg.doctor.remedies._range_test import _begin
from thalweg.report import Figure

EPOCHS = 15
BUDGET = f"{1.3 * EPOCHS}g"


def friedman(model, optimizer=None):
    x, y = make_friedman1(700, noise=1.0, random_state=4)
    x, y = torch.tensor(x).float(), torch.tensor(y).float()[:, None]
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    return Problem(
        model, F.mse_loss, (x[200:], y[200:]), test=(x[:200], y[:200]),
        optimizer=optimizer or adam(0.005), batch_size=20, epochs=EPOCHS,
    )  # fmt: skip


def of_width(code):
    return dense(10, 40, code, 40, 1, activation=nn.GELU)


def named(examination):
    return [finding.ailment for finding in examination.findings]


def test_a_narrow_layer_of_what_learns_well_counts_where_a_wider_one_is_proved_to():
    examination = examined(friedman(of_width(1)), BUDGET)
    assert named(examination) == [Ailment.BOTTLENECK]
    (finding,) = examination.findings
    assert finding.needs_proof
    assert finding.layers == ("2",)
    assert examination.learned > 0.8  # no rule about what is learned would have found it
    assert examination.proved[0].name == "the narrow layer widened, 1 to 40 units"
    assert examined(friedman(of_width(40)), BUDGET).is_healthy


def test_what_a_last_activation_cannot_return_counts_where_it_is_in_the_way():
    ends = partial(dense, 10, 40, 40, 1, activation=nn.GELU)
    examination = examined(friedman(nn.Sequential(ends(), nn.Tanh()), adam(0.004)), BUDGET)
    assert named(examination) == [Ailment.TARGET_RANGE]
    assert examination.proved[0].name == "the last activation taken out (Tanh)"
    assert examined(friedman(ends(), adam(0.004)), BUDGET).is_healthy


def scaled(factor):
    model = dense(10, 40, 40, 40, 1, activation=nn.Tanh)
    with torch.no_grad():
        for layer in model[0:-1:2]:
            layer.weight.mul_(factor)
    return model


def test_units_that_begin_saturated_count_where_other_weights_are_proved_to_learn_more():
    examination = examined(friedman(scaled(6.0), adam(0.0028)), BUDGET)
    assert named(examination) == [Ailment.SATURATED]
    assert examination.findings[0].needs_proof
    assert examination.proved[0].name == "torch's own initialisation"
    assert examined(friedman(scaled(1.0), adam(0.0028)), BUDGET).is_healthy


class Speaker(nn.Module):
    """Says what follows a token."""

    def __init__(self, is_alike):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.tokens = nn.Embedding(16, 24)
            self.rnn, self.head = nn.LSTM(24, 24, batch_first=True), nn.Linear(24, 16)
        for name, parameter in self.named_parameters():
            if is_alike and parameter.ndim > 1 and name != "tokens.weight":
                nn.init.constant_(parameter, 0.1)

    def forward(self, tokens):
        return self.head(self.rnn(self.tokens(tokens))[0]).transpose(1, 2)


def speech(is_alike):
    """Every token is followed by one other nine times of ten."""
    generator = torch.Generator().manual_seed(3)
    follower = torch.randperm(16, generator=generator)
    said = [torch.randint(16, (400,), generator=generator)]
    for _ in range(16):
        other = torch.randint(16, (400,), generator=generator)
        is_usual = torch.rand(400, generator=generator) < 0.9
        said.append(torch.where(is_usual, follower[said[-1]], other))
    tokens = torch.stack(said, 1)
    x, y = tokens[:, :-1], tokens[:, 1:]
    return Problem(
        Speaker(is_alike), F.cross_entropy, (x[120:], y[120:]), test=(x[:120], y[:120]),
        optimizer=adam(0.02), batch_size=20, epochs=10,
    )  # fmt: skip


def test_units_that_part_late_count_where_random_weights_are_proved_to_learn_more():
    examination = examined(speech(is_alike=True), "13g")
    assert named(examination) == [Ailment.SYMMETRIC]
    (finding,) = examination.findings
    assert finding.needs_proof
    assert finding.layers == ("rnn",)
    assert examination.proved[0].name == "torch's own initialisation"
    assert examined(speech(is_alike=False), "13g").is_healthy


class Walker(nn.Module):
    """A GRU whose last state answers."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.rnn, self.head = nn.GRU(2, 12, batch_first=True), nn.Linear(12, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


def walks(decay):
    """How far a walk of two coordinates gets along the first."""
    steps = torch.randn(700, 20, 2, generator=torch.Generator().manual_seed(1))
    y = steps.sum(1)[:, :1]
    y = (y - y.mean()) / y.std()
    optimizer = partial(torch.optim.RMSprop, lr=0.0065, weight_decay=decay)
    return Problem(
        Walker(), F.mse_loss, (steps[200:], y[200:]), test=(steps[:200], y[:200]),
        optimizer=optimizer, batch_size=32, epochs=12,
    )  # fmt: skip


def test_a_pull_that_is_a_part_of_the_gradient_counts_where_it_is_proved_to_hold_back():
    examination = examined(walks(0.2), "15.6g")
    assert named(examination) == [Ailment.WEIGHT_DECAY]
    (finding,) = examination.findings
    assert finding.needs_proof
    assert 0.1 < finding.evidence["its pull over the gradient, median"] < 1
    assert examination.proved[0].name == "no weight decay"
    assert examined(walks(1e-4), "15.6g").is_healthy


def rings_apart(betas):
    """Three classes by distance, of which a network answers nearly all."""
    x = torch.randn(900, 3, generator=torch.Generator().manual_seed(4))
    y = torch.bucketize(x.norm(dim=1), torch.tensor([1.25, 1.85]))
    return Problem(
        dense(3, 40, 40, 3, activation=nn.LeakyReLU), F.cross_entropy, (x[300:], y[300:]),
        test=(x[:300], y[:300]), batch_size=40, epochs=20,
        optimizer=partial(torch.optim.Adam, lr=0.0065, betas=betas),
    )  # fmt: skip


def test_momentum_of_what_learns_well_so_far_counts_where_less_is_proved_to_do_better():
    examination = examined(rings_apart((0.99, 0.5)), "26g")
    assert named(examination) == [Ailment.MOMENTUM]
    assert examination.findings[0].needs_proof
    assert examination.proved[0].name == "β₁ 0.9, β₂ 0.999"
    assert examination.begun_at > 0
    assert examined(rings_apart((0.9, 0.999)), "26g").is_healthy


def normalised():
    return nn.Sequential(
        nn.Linear(11, 40), nn.BatchNorm1d(40), nn.ReLU(),
        nn.Linear(40, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 1),
    )  # fmt: skip


def houses(constant):
    x, y = make_friedman1(700, noise=0.5, random_state=4)
    x, y = torch.tensor(x).float(), torch.tensor(y).float()[:, None]
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    x = torch.cat([x, torch.full((700, 1), constant)], 1)
    return Problem(
        seeded(normalised), F.mse_loss, (x[200:], y[200:]), test=(x[:200], y[:200]),
        optimizer=adam(0.005), batch_size=50, epochs=EPOCHS,
    )  # fmt: skip


def test_a_large_constant_counts_where_training_without_it_is_proved_to_do_better():
    examination = examined(houses(365.0), BUDGET)
    assert named(examination) == [Ailment.CONSTANT_FEATURES]
    assert examination.findings[0].needs_proof
    assert examination.proved[0].name == "constant features left out"
    assert examined(houses(1.0), BUDGET).is_healthy
    # Beside features as large it is none.
    problem = houses(365.0)
    x, y = problem.data
    sizes = torch.tensor([*torch.logspace(1.5, 2.5, 10).tolist(), 1.0])
    beside = replace(problem, data=(x * sizes, y))
    assert perhaps_constant_features(watched(problem)) is not None
    assert perhaps_constant_features(watched(beside)) is None


def halves():
    """Learned by what a single unit a layer says, and no better by more."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(600, 2, generator=generator)
    y = (x[:, :1] + 0.6 * torch.randn(600, 1, generator=generator) > 0).float()
    model = nn.Sequential(dense(2, 24, 24, 1), nn.Sigmoid())
    for layer in model[0][0:-1:2]:
        nn.init.constant_(layer.weight, 0.1)
    return Problem(
        model, F.binary_cross_entropy, (x[200:], y[200:]), test=(x[:200], y[:200]),
        optimizer=sgd(0.4, 0.9), batch_size=32, epochs=EPOCHS,
    )  # fmt: skip


def test_a_doubt_that_is_not_proved_is_a_suspicion_only():
    examination = examined(halves(), BUDGET)
    assert examination.is_healthy
    (suspicion,) = examination.suspicions
    assert suspicion.ailment is Ailment.SYMMETRIC
    assert not suspicion.is_confirmed
    assert examination.remedies
    assert not examination.proved


# -- a loss of one's own --------------------------------------------------------------------


def own_bce(output, target):
    return -(target * output.log() + (1 - target) * (1 - output).log()).mean()


def cut_bce(output, target):
    p = output.clamp(1e-7, 1 - 1e-7)
    return -(target * p.log() + (1 - target) * (1 - p).log()).mean()


def by_class(output, target):
    return -output.log()[torch.arange(len(target)), target].mean()


def cut_by_class(output, target):
    return -output.clamp_min(1e-7).log()[torch.arange(len(target)), target].mean()


def rings(loss, *squash, seed=2):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(600, 2, generator=generator)
    y = (x.norm(dim=1) < 1.1).float()[:, None]
    y = y.long()[:, 0] if loss in (by_class, cut_by_class) else y
    model = nn.Sequential(dense(2, 32, 32, 1 if y.ndim > 1 else 2, activation=nn.Tanh), *squash)
    return Problem(
        model, loss, (x[200:], y[200:]), test=(x[:200], y[:200]),
        optimizer=adam(0.013), batch_size=50, epochs=EPOCHS,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "squash"),
    [(own_bce, nn.Sigmoid()), (by_class, nn.Softmax(1)), (cut_by_class, nn.Softmax(1))],
)
def test_what_a_loss_of_ones_own_misses_is_named_and_put_behind_the_network(loss, squash):
    examination = examined(rings(loss), BUDGET)
    assert named(examination)[:1] == [Ailment.OUTPUT_LOSS]
    kind = type(squash).__name__
    sentence = examination.findings[0].sentence
    assert f"a {kind.lower()} is missing. End the network in a {kind.lower()}" in sentence
    best = examination.proved[0]
    assert best.name == f"the missing activation behind the network ({kind})"
    page = examination.page().text()
    assert best.name in page
    assert examined(rings(loss, squash), BUDGET).is_healthy


def hinge(output, target):
    return (1 - (2 * target - 1) * output).relu().mean()


def test_the_squash_that_a_loss_wants():
    generator = torch.Generator().manual_seed(0)
    output, y = torch.randn(40, 1, generator=generator), torch.arange(40).reshape(40, 1) % 2.0
    assert squash_wanted(own_bce, output, y) == "sigmoid"
    assert squash_wanted(cut_bce, output, y) == "sigmoid"
    logits, classes = torch.randn(40, 3, generator=generator), torch.arange(40) % 3
    for loss in (by_class, cut_by_class):
        assert squash_wanted(loss, logits, classes) == "softmax"
        assert squash_wanted(loss, logits.softmax(1), classes) == ""
    for loss in (F.cross_entropy, F.multi_margin_loss):
        assert squash_wanted(loss, logits, classes) == ""
    for loss, given in ((own_bce, output.sigmoid()), (hinge, output), (F.mse_loss, output)):
        assert squash_wanted(loss, given, y) == ""
    # Finite nowhere, or not defined for such a target: a squash does not help.
    assert squash_wanted(nowhere, output, y) == ""
    assert squash_wanted(by_class, output, y) == ""
    assert squash_wanted(own_bce, torch.full_like(output, torch.nan), y) == ""


def above(output, target):
    """What is too much alone is dear; it is flat far below every target."""
    return (output - target).relu().mean() + 0.1


def test_the_best_constant_answer_to_a_loss_of_ones_own_is_one_that_it_is_defined_for():
    y = (torch.arange(40) % 4 == 0).float()[:, None]
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    for loss, least in ((own_bce, 0.5623), (above, 0.1)):
        problem = Problem(dense(2, 8, 1), loss, (x, y), optimizer=adam(0.01), batch_size=20)
        found = best_constant(problem, problem.batches, BY_SAMPLE)
        assert found == pytest.approx(least, abs=1e-3)
    classes = torch.arange(40) % 4 // 3
    problem = Problem(dense(2, 8, 2), by_class, (x, classes), optimizer=adam(0.01), batch_size=20)
    assert best_constant(problem, problem.batches, BY_SAMPLE) == pytest.approx(0.5623, abs=1e-3)


def test_a_loss_that_is_flat_where_it_is_not_meant_to_be_asked_is_no_finding_where_it_learns():
    assert Ailment.OUTPUT_LOSS not in named(examined(rings(cut_bce), BUDGET))


def nowhere(output, target):
    return ((output - target) ** 2).mean() * torch.nan


def test_a_loss_that_is_finite_nowhere_is_said_to_be_so():
    examination = examined(rings(nowhere), BUDGET)
    assert named(examination) == [Ailment.NOT_FINITE]
    assert not examination.proved
    assert not any("could not be run" in each.outcome for each in examination.remedies)


# -- what is no fault -----------------------------------------------------------------------


def seen_whole(problem, num_steps):
    """Readings of a training that was watched so far."""
    readings = readings_of(problem.in_eval_mode(), problem.batch_size)
    readings = replace(readings, problem=problem)
    ledger = Ledger(lambda *_: None, Budget(1e6, False))
    watching = Watching(problem, problem, readings.plan, 0, ledger)
    watching.most = num_steps
    return replace(readings, observed=watching.whole())


def losing(readings, losses, settled=None):
    """The same, had the losses been those, and the last in evaluation mode that."""
    observed = readings.observed
    those = replace(observed.watched, losses=tuple(losses))
    settled = observed.settled if settled is None else settled
    return replace(readings, observed=replace(observed, watched=those, settled=settled))


def test_an_answer_that_is_sure_is_not_saturated():
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    y = (x[:, :1] > 0).float()
    sure = nn.Linear(2, 1)
    with torch.no_grad():
        sure.weight.copy_(torch.tensor([[60.0, 0.0]]))
        sure.bias.zero_()
    model = nn.Sequential(sure, nn.Sigmoid())
    problem = Problem(
        model, F.binary_cross_entropy, (x, y), test=(x, y),
        optimizer=sgd(0.01), batch_size=20, epochs=4,
    )  # fmt: skip
    readings = seen_whole(problem, 40)
    (row,) = (row for row in readings.signal.rows if row.activation == "sigmoid")
    assert row.saturated > 0.5
    assert readings.trains
    # Though what was held out were answered badly.
    unlike = replace(readings, observed=replace(readings.observed, held_out=Score(9.0, None)))
    assert not unlike.generalises
    assert saturated(unlike) is None
    assert perhaps_saturated(readings) is None
    # Under a loss that does not take the sigmoid away it is.
    squared = replace(readings.head, kind=Kind.SQUARED)
    other = replace(unlike, observed=replace(unlike.observed, head=squared))
    assert saturated(other).layers == (row.name,)


def test_what_gets_halfway_well_within_its_steps_is_not_slow_however_its_minibatches_swing():
    x, y = load_wine(return_X_y=True)
    x, y = torch.tensor(x).float(), torch.tensor(y)
    problem = Problem(
        dense(13, 32, 32, 3), F.cross_entropy, ((x - x.mean(0)) / x.std(0), y),
        test=(x[:20], y[:20]), optimizer=sgd(0.008, 0.5), batch_size=4, epochs=10,
    )  # fmt: skip
    readings = seen_whole(problem, 90)
    swinging = losing(readings, [1.05 + 0.3 * (-1) ** step for step in range(90)])
    assert not swinging.trains
    assert readings.halfway_in < 0.5 * readings.times_left
    assert lr_too_small(swinging) is None
    # At this pace it would not.
    slow = losing(swinging, swinging.watched.losses, settled=1.09)
    assert lr_too_small(slow).ailment is Ailment.LR_TOO_SMALL


def test_what_a_sum_has_lost_again_is_gone_on_with_at_the_rate_of_the_mean():
    def summed(output, target):
        return F.cross_entropy(output, target, reduction="sum")

    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    problem = Problem(
        dense(2, 16, 2), summed, (x, (x[:, 0] > 0).long()), test=(x, (x[:, 0] > 0).long()),
        optimizer=sgd(0.01), batch_size=20, epochs=10,
    )  # fmt: skip
    readings = seen_whole(problem, 80)
    assert isinstance(lr_of_the_mean(readings), NotApplicable)
    blind = readings.blind_loss
    lost = losing(readings, [0.3 * blind] * 40 + [2.0 * blind] * 40, settled=2.0 * blind)
    assert lost.lost_since == 40
    remedy = lr_of_the_mean(lost)
    made = remedy.apply(problem.copied(), torch.Generator()).optimizer(problem.model.parameters())
    assert made.param_groups[0]["lr"] == pytest.approx(0.01 / 20)
    assert remedy.is_direct
    assert remedy.keeps_network
    finding = wrong_reduction(replace(lost, is_frugal=True))
    first, *_ = remedies_for((finding,), lost)[0]
    assert first.name == remedy.name


def test_a_rate_far_too_small_for_outputs_far_off_is_tried_at_a_hundred_times():
    """Ten times it comes down faster, and still knows nothing of the input."""
    x = torch.randn(600, 6, generator=torch.Generator().manual_seed(0))
    y = torch.sin(x[:, :1]) + x[:, 1:2]
    model = dense(6, 32, 32, 1)
    with torch.no_grad():
        model[-1].bias.fill_(3.0)
    problem = Problem(
        model, F.mse_loss, (x[200:], y[200:]), test=(x[:200], y[:200]),
        optimizer=adam(1.5e-4), batch_size=20, epochs=20,
    )  # fmt: skip
    readings = seen_whole(problem, 80)
    blind = readings.levels.blind
    ten, hundred = readings.probe.at(10.0), readings.probe.at(100.0)
    assert hundred < blind < ten < readings.start
    assert readings.gain(10.0) >= 0.2  # more than what is left to learn there
    assert readings.faster == readings.gain(100.0) > readings.gain(10.0)
    # A sweep would end too soon: what a short training learned with is where others begin.
    begin = _begin(readings, 1.5e-4)
    assert begin.is_probed
    assert begin.rate == pytest.approx(1.5e-2)


def frozen(**settings):
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] * x[:, 1] > 0).long()
    model = dense(2, 16, 2)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return Problem(
        model, F.cross_entropy, (x[100:], y[100:]), test=(x[:100], y[:100]),
        optimizer=adam(0.02), batch_size=20, epochs=EPOCHS, **settings,
    )  # fmt: skip


def test_a_network_that_is_frozen_throughout_is_an_ailment_unless_it_is_meant():
    problem = frozen()
    examination = examined(problem, BUDGET)
    assert named(examination) == [Ailment.CANNOT_LEARN]
    assert examination.findings[0].sentence.startswith(
        "Parameters cannot learn: '0.weight', '0.bias', '2.weight', '2.bias' are frozen"
    )
    assert examination.proved[0].name == "frozen parameters unfrozen"
    title = "Parameters that cannot learn"
    section = next(s for s in examination.page().sections if s.title == title)
    assert not any(isinstance(b, Figure) for b in section.blocks)  # no step, no curve
    assert "frozen parameters unfrozen" in examination.page().text()
    assert not any(p.requires_grad for p in problem.model.parameters())
    with pytest.raises(ProblemError, match="no trainable parameter"):
        examined(frozen(on_purpose="*"), BUDGET)
    with pytest.raises(ProblemError, match="no trainable parameter"):
        examined(replace(frozen(), model=nn.Flatten()), BUDGET)
