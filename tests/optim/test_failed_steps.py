"""Never a half-made step: what goes wrong leaves everything as it was, and says what it is."""

import copy

import pytest
import torch
import torch.nn.functional as F
from optimizers import LOOKING, OPTIMIZERS, PLAIN, data, descend, flat, loss_of, network
from torch import nn

from thalweg import (
    BudgetError,
    DetachedLossError,
    LayoutError,
    NonFiniteError,
    OptimizerError,
    ProblemError,
    RandomModelError,
)
from thalweg.optim import (
    Adam,
    CubicRegularisation,
    GradientDescent,
    HeavyBall,
    Krylov,
    LevenbergMarquardt,
    Nesterov,
    Newton,
    NewtonCG,
    TrustRegion,
    TrustRegionCG,
)
from thalweg.surface import GGN

pytestmark = pytest.mark.usefixtures("unchecked")

every = pytest.mark.parametrize("name", OPTIMIZERS)
looking = pytest.mark.parametrize("name", LOOKING)


def state_of(model, optimizer):
    return flat(model), copy.deepcopy(optimizer.state_dict())


def assert_as_before(model, optimizer, before):
    parameters, state = before
    assert torch.equal(flat(model), parameters)
    now = optimizer.state_dict()
    assert now["param_groups"] == state["param_groups"]
    assert now["state"].keys() == state["state"].keys()
    for key, memory in state["state"].items():
        for name, value in memory.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(now["state"][key][name], value)
            else:
                assert now["state"][key][name] == value, name


# -- where the step starts -------------------------------------------------------------------


@pytest.mark.parametrize("what", ["loss", "gradient"])
@every
def test_nothing_starts_where_the_loss_or_its_gradient_is_not_finite(name, what):
    model = network()
    optimizer = descend(name, model, 1)
    before = state_of(model, optimizer)

    def closure():
        loss = loss_of(model)()
        # √0 has an infinite slope.
        return loss / 0.0 if what == "loss" else loss + (model[2].bias - model[2].bias).sqrt().sum()

    with pytest.raises(NonFiniteError, match=f"the {what} is not finite .* left as they are"):
        optimizer.step(closure)
    assert_as_before(model, optimizer, before)


@pytest.mark.parametrize("name", PLAIN)
def test_a_gradient_that_is_not_finite_is_refused(name):
    model = network()
    optimizer = descend(name, model, 1)
    before = state_of(model, optimizer)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    model[0].bias.grad[1] = torch.nan
    with pytest.raises(NonFiniteError, match="the gradient is not finite"):
        optimizer.step()
    assert_as_before(model, optimizer, before)


# -- what an attempt meets -------------------------------------------------------------------


def elsewhere(model, happens):
    """A closure to which something happens wherever the parameters are not those of now."""
    here = flat(model)

    def closure():
        loss = loss_of(model)()
        return loss if torch.equal(flat(model), here) else happens(loss)

    return closure


@looking
def test_a_loss_that_is_not_finite_is_a_rejected_step(name):
    model = network()
    optimizer = descend(name, model, 1)
    before = flat(model)
    optimizer.step(elsewhere(model, lambda loss: loss * torch.nan))
    assert torch.equal(flat(model), before)
    assert not optimizer.record.is_accepted
    assert optimizer.record.step_norm == 0
    assert any(word in optimizer.record.reason for word in ("not finite", "no decrease"))
    assert optimizer.record.step == 2


def fails(_):
    raise OSError("the disk is full")


def is_interrupted(_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("error", [fails, is_interrupted])
@looking
def test_an_exception_in_an_attempt_undoes_the_step(name, error):
    """The run goes on as if the step had not been tried."""
    model, undisturbed = network(), network()
    optimizer = descend(name, model, 2)
    before = state_of(model, optimizer)
    with pytest.raises(OSError if error is fails else KeyboardInterrupt):
        optimizer.step(elsewhere(model, error))
    assert_as_before(model, optimizer, before)
    for _ in range(2):
        optimizer.step(loss_of(model))
    descend(name, undisturbed, 4)
    assert torch.equal(flat(model), flat(undisturbed))


# -- a loss that does not hold still ---------------------------------------------------------


@looking
def test_dropout_is_refused(name):
    model = nn.Sequential(*network(), nn.Dropout(0.5))
    before = flat(model)
    for hand_over in (
        lambda o: o.step(loss_of(model)),
        lambda o: o.bind(model, F.mse_loss, data()).step(),
    ):
        optimizer = OPTIMIZERS[name](model.parameters())
        with pytest.raises(RandomModelError, match=r"same parameters.*dropout off \(model.eval"):
            hand_over(optimizer)
        assert torch.equal(flat(model), before)
    model.eval()
    optimizer.bind(model, F.mse_loss, data()).step()
    assert not torch.equal(flat(model), before)


@looking
def test_another_batch_at_each_call_is_refused(name):
    model = network()
    x, y = data()
    batches = iter([(x[i : i + 3], y[i : i + 3]) for i in range(5)])

    def closure():
        x, y = next(batches)
        return F.mse_loss(model(x), y)

    with pytest.raises(RandomModelError, match="hold the batch still"):
        OPTIMIZERS[name](model.parameters()).step(closure)
    assert torch.equal(flat(model), flat(network()))


@looking
def test_a_batch_written_into_under_the_step_is_noticed(name):
    """By a thread of the loader, say, while the loss is evaluated where the step leads."""
    model = network()
    x, y = (t.clone() for t in data())
    optimizer = OPTIMIZERS[name](model.parameters()).bind(model, F.mse_loss, (x, y))
    optimizer.step()
    before = flat(model)

    def loss(z, y):
        if not torch.equal(flat(model), before):
            x.add_(1.0)
        return F.mse_loss(z, y)

    with pytest.raises(OptimizerError, match="batch was written into while the step ran"):
        optimizer.bind(model, loss, (x, y)).step()
    assert torch.equal(flat(model), before)
    x.add_(1.0)  # between steps it is nobody's business
    optimizer.bind(model, F.mse_loss, (x, y)).step()
    assert not torch.equal(flat(model), before)


@every
def test_losses_that_are_none_are_told_so(name):
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())
    with pytest.raises(DetachedLossError, match="does not depend on any parameter"):
        optimizer.step(lambda: loss_of(model)().detach())
    assert torch.equal(flat(model), flat(network()))


@every
def test_the_parameters_of_another_model_are_told_so(name):
    model, other = network(), network()
    for hand_over in (
        lambda o: o.step(loss_of(model)),
        lambda o: o.bind(model, F.mse_loss, data()).step(),
    ):
        with pytest.raises(DetachedLossError, match="the parameters of another model"):
            hand_over(OPTIMIZERS[name](other.parameters()))


def test_the_ggn_of_a_closure_is_told_what_it_lacks():
    model = network()
    with pytest.raises(OptimizerError, match=r"GGN needs the model's output.* by bind\("):
        TrustRegion(model.parameters(), curvature=GGN).step(loss_of(model))


@pytest.mark.parametrize("returned", [lambda: None, lambda: 3.0, lambda: torch.ones(2)])
@looking
def test_what_is_no_scalar_is_told_so(name, returned):
    with pytest.raises(OptimizerError, match="must return the loss as a scalar tensor"):
        OPTIMIZERS[name](network().parameters()).step(returned)


# -- batch normalisation ---------------------------------------------------------------------


def normalised() -> nn.Sequential:
    model = network()
    return nn.Sequential(model[0], nn.BatchNorm1d(2).double(), *model[1:])


@every
def test_running_statistics_move_once_for_an_accepted_step(name):
    """By the pass of the gradient, as in a plain loop, however often the loss is read besides."""
    model, plain = normalised(), normalised()
    optimizer = OPTIMIZERS[name](model.parameters(), lr=0.01).bind(model, F.mse_loss, data())
    optimizer.step()
    plain(data()[0])
    assert optimizer.record.is_accepted
    assert int(model[1].num_batches_tracked) == 1
    for buffer, expected in zip(model.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(buffer, expected, rtol=1e-12, atol=0.0)


@looking
def test_running_statistics_stay_with_a_step_that_is_not_made(name):
    model = normalised()
    optimizer = OPTIMIZERS[name](model.parameters(), lr=0.01).bind(model, F.mse_loss, data())
    optimizer.step()
    before, parameters = copy.deepcopy(dict(model.named_buffers())), flat(model)

    def loss(z, y):
        return F.mse_loss(z, y) * (1 if torch.equal(flat(model), parameters) else torch.nan)

    optimizer.bind(model, loss, data()).step()
    assert not optimizer.record.is_accepted

    def failing(z, y):
        return F.mse_loss(z, y) if torch.equal(flat(model), parameters) else fails(z)

    with pytest.raises(ProblemError, match=r"OSError .*the disk is full"):
        optimizer.bind(model, failing, data()).step()
    for key, buffer in model.named_buffers():
        assert torch.equal(buffer, before[key]), key


# -- nowhere to go ---------------------------------------------------------------------------


def hill(w):
    """½ wᵀ diag(2, −1) w: a saddle at 0."""
    return w[0] ** 2 - 0.5 * w[1] ** 2


@pytest.mark.parametrize("shape", [lambda w: (w**2).sum(), hill], ids=["minimum", "saddle"])
@every
def test_a_gradient_of_zero_is_no_error(name, shape):
    """Where all curvature is looked at, and followed downhill, a saddle is left."""
    w = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = OPTIMIZERS[name]([w])
    optimizer.step(lambda: shape(w))
    record = optimizer.record
    assert record.gradient_norm == 0
    leaves = ("trust region" in name or "cubic" in name) and "CG" not in name
    if shape is hill and (leaves or name == "saddle-free"):
        assert record.is_accepted
        assert record.is_escape
        assert record.lowest_curvature == pytest.approx(-1.0)
        assert record.actual_decrease > 0
        assert w.detach()[1].abs() > 0.1
    else:
        assert torch.equal(w, torch.zeros_like(w))
        if name in LOOKING and name != "measured Adam":
            assert not record.is_accepted
            assert record.reason.startswith("the gradient is zero")


@looking
def test_at_the_rounding_of_the_loss_steps_neither_fail_nor_run_away(name):
    """Float32 on a quadratic, started ε from its minimum: differences of the loss are noise."""
    w = nn.Parameter(torch.tensor([1.0, 1.0 + 3e-7]))
    optimizer = OPTIMIZERS[name]([w], lr=0.5)
    for _ in range(6):
        optimizer.step(lambda: 1000 + ((w - 1) ** 2).sum())
    assert (w - 1).abs().max() < (0.8 if name == "measured Adam" else 1e-5)


# -- what cannot be done ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in LOOKING if n.startswith(("Newton", "Lev", "dense"))])
def test_dense_methods_refuse_what_does_not_fit_and_say_what_does(name):
    if name == "Newton-CG":
        return
    w = nn.Parameter(torch.zeros(100_000))
    with pytest.raises(BudgetError, match=r"100,000 parameters .* 223.5 GiB.* SaddleFreeNewton, "):
        OPTIMIZERS[name]([w]).step(lambda: ((w - 1) ** 2).sum())


ARGUMENTS = {
    "lr=-1": lambda p: GradientDescent(p, -1.0),
    "lr=nan": lambda p: Newton(p, float("nan")),
    "momentum=1": lambda p: HeavyBall(p, momentum=1.0),
    "momentum=-0.1": lambda p: Nesterov(p, momentum=-0.1),
    "betas=": lambda p: Adam(p, betas=(0.9, 1.0)),
    "eps=": lambda p: Adam(p, eps=-1.0),
    "damping=0": lambda p: LevenbergMarquardt(p, damping=0.0),
    "radius=0": lambda p: TrustRegion(p, radius=0.0),
    "radius=2.*max_radius=1": lambda p: TrustRegionCG(p, radius=2.0, max_radius=1.0),
    "weight=-1": lambda p: CubicRegularisation(p, weight=-1.0),
    "max_products=0": lambda p: NewtonCG(p, max_products=0),
    "refresh_every=0": lambda p: Newton(p, refresh_every=0),
    r"Krylov\(0\)": lambda p: TrustRegion(p, subspace=Krylov(0)),
}


@pytest.mark.parametrize("said", ARGUMENTS)
def test_arguments_out_of_range_are_refused(said):
    with pytest.raises(OptimizerError, match=f"{said}.*give"):
        ARGUMENTS[said]([nn.Parameter(torch.ones(1))])


@pytest.mark.parametrize("name", PLAIN)
def test_complex_parameters_are_refused(name):
    w = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    with pytest.raises(LayoutError, match="complex"):
        OPTIMIZERS[name]([w]).step(lambda: w.abs().sum())
