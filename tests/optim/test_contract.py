"""What any loop may ask of a `torch.optim.Optimizer`, of every optimizer of the room."""

import copy
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from optimizers import (
    CLOSURE_VIEW,
    LOOKING,
    OPTIMIZERS,
    PLAIN,
    data,
    descend,
    flat,
    loss_of,
    network,
)
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import lr_scheduler

from thalweg import LayoutError, OptimizerError

# Steps as a user takes them: the run-time checks of shapes are most of their time on a network this
# small.
pytestmark = pytest.mark.usefixtures("unchecked")

every = pytest.mark.parametrize("name", OPTIMIZERS)
looking = pytest.mark.parametrize("name", LOOKING)
plain = pytest.mark.parametrize("name", PLAIN)


# -- ways to hand over the loss --------------------------------------------------------------


@every
def test_a_closure_and_what_is_bound_are_one_loss(name):
    one, other = network(), network()
    build = partial(OPTIMIZERS[name], **CLOSURE_VIEW.get(name, {}))
    first, second = build(one.parameters()), build(other.parameters())
    for _ in range(3):
        loss = first.step(loss_of(one))
        again = second.bind(other, F.mse_loss, data()).step()
        torch.testing.assert_close(loss, again)
        assert first.record.reason == second.record.reason
    torch.testing.assert_close(flat(one), flat(other), rtol=1e-8, atol=1e-10)
    assert not torch.equal(flat(one), flat(network()))


@every
def test_the_loss_returned_is_the_one_before_the_step(name):
    model = network()
    before = float(loss_of(model)().detach())
    optimizer = OPTIMIZERS[name](model.parameters())
    loss = optimizer.step(loss_of(model))
    assert loss.dtype == torch.float64
    assert float(loss) == pytest.approx(before, rel=1e-12)
    assert optimizer.record.loss == float(loss)


@plain
def test_a_plain_optimizer_takes_gradients_from_anywhere(name):
    """After backward, from a closure that calls it, from one that does not, and bound."""
    ends = []
    for way in range(4):
        model = network()
        optimizer = OPTIMIZERS[name](model.parameters())

        def closure(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = loss_of(model)()
            loss.backward()
            return loss

        for _ in range(3):
            if way == 0:
                closure()
                assert optimizer.step() is None
                assert optimizer.record.loss is None
            elif way == 1:
                optimizer.step(closure)
            elif way == 2:
                optimizer.step(loss_of(model))
                assert all(p.grad is None for p in model.parameters())
            else:
                optimizer.bind(model, F.mse_loss, data()).step()
        ends.append(flat(model))
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-12, atol=1e-14)


@looking
def test_a_closure_that_calls_backward_is_told_so(name):
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())

    def closure():
        loss = loss_of(model)()
        loss.backward()
        return loss

    before = flat(model)
    with pytest.raises(OptimizerError, match=r"closure calls backward\(\).* only returns the loss"):
        optimizer.step(closure)
    assert torch.equal(flat(model), before)
    assert all(p.grad is None for p in model.parameters())


@looking
def test_gradients_without_a_loss_are_not_enough(name):
    model = network()
    loss_of(model)().backward()
    with pytest.raises(OptimizerError, match=r"step\(lambda: loss\(model\(x\), y\)\), or bind"):
        OPTIMIZERS[name](model.parameters()).step()


@every
def test_the_callers_gradients_stay(name):
    model = network()
    for p in model.parameters():
        p.grad = torch.full_like(p, 3.0)
    optimizer = OPTIMIZERS[name](model.parameters())
    optimizer.step(loss_of(model))
    optimizer.bind(model, F.mse_loss, data()).step()
    assert all(torch.equal(p.grad, torch.full_like(p, 3.0)) for p in model.parameters())


@every
def test_the_callers_modes_do_not_matter(name):
    plainly, oddly = network(), network()
    descend(name, plainly, 2)
    optimizer = OPTIMIZERS[name](oddly.parameters())
    with torch.no_grad():
        for _ in range(2):
            optimizer.step(loss_of(oddly))
    assert torch.equal(flat(plainly), flat(oddly))


# -- groups, rates, schedules ----------------------------------------------------------------


@every
def test_groups_have_rates_of_their_own_read_in_each_step(name):
    """A group of rate 0 stays; equal rates in two groups are one group."""
    one, two = network(), network()
    whole = OPTIMIZERS[name](one.parameters(), lr=0.01)
    parts = OPTIMIZERS[name](
        [{"params": two[0].parameters()}, {"params": two[2].parameters(), "lr": 0.0}], lr=0.01
    )
    before = flat(two[2])
    parts.step(loss_of(two))
    assert torch.equal(flat(two[2]), before)
    assert not torch.equal(flat(two[0]), flat(network()[0]))
    two = network()
    parts = OPTIMIZERS[name]([{"params": two[0].parameters()}, {"params": two[2].parameters()}],
                             lr=0.01)  # fmt: skip
    for lr in (0.01, 0.02):
        for group in (*whole.param_groups, *parts.param_groups):
            group["lr"] = lr
        whole.step(loss_of(one))
        parts.step(loss_of(two))
    assert torch.equal(flat(one), flat(two))


@every
def test_a_rate_scales_the_step(name):
    """A first step at half the rate is half the step, where the whole one is accepted."""
    ends = []
    for lr in (1e-3, 5e-4):
        model = network()
        descend(name, model, 1, lr=lr)
        ends.append(flat(model) - flat(network()))
    torch.testing.assert_close(ends[1], ends[0] / 2, rtol=1e-9, atol=1e-12)


SCHEDULES = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, step_size=1, gamma=0.1),
    "LambdaLR from 0": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: epoch / 3),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=4),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(
        o,
        max_lr=0.1,
        total_steps=6,
        cycle_momentum=any(key in o.param_groups[0] for key in ("momentum", "betas")),
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@every
def test_schedulers_set_the_rate(name, schedule):
    """The steps are those of rates set by hand."""
    scheduled, by_hand = network(), network()
    optimizer = OPTIMIZERS[name](scheduled.parameters(), lr=0.02)
    scheduler = SCHEDULES[schedule](optimizer)
    other = OPTIMIZERS[name](by_hand.parameters(), lr=0.02)
    rates = []
    for _ in range(3):
        for key in ("lr", "momentum", "betas"):
            if key in optimizer.param_groups[0]:
                other.param_groups[0][key] = optimizer.param_groups[0][key]
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step(loss_of(scheduled))
        other.step(loss_of(by_hand))
        scheduler.step()
    assert len(set(rates)) > 1
    assert torch.equal(flat(scheduled), flat(by_hand))


@every
def test_a_rate_of_zero_moves_nothing_and_leaves_nothing_behind(name):
    """As the first step of a warm-up; damping and radius are as before."""
    waiting, going = network(), network()
    optimizer = OPTIMIZERS[name](waiting.parameters(), lr=0.0)
    optimizer.step(loss_of(waiting))
    assert torch.equal(flat(waiting), flat(going))
    if name in LOOKING and name != "measured Adam":
        assert optimizer.record.reason == "the learning rate is 0"
        optimizer.param_groups[0]["lr"] = 1.0
        optimizer.step(loss_of(waiting))
        descend(name, going, 1)
        assert torch.equal(flat(waiting), flat(going))


@every
def test_maximize_climbs(name):
    """The steps are those down −L."""
    model, upside_down = network(), network()
    optimizer = OPTIMIZERS[name](model.parameters(), maximize=True)
    other = OPTIMIZERS[name](upside_down.parameters())
    for _ in range(2):
        loss = optimizer.step(loss_of(model))
        other.step(lambda: -loss_of(upside_down)())
        assert float(loss) == -other.record.loss
    assert torch.equal(flat(model), flat(upside_down))


@looking
def test_directions_must_not_mix(name):
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = OPTIMIZERS[name]([{"params": [a]}, {"params": [b], "maximize": True}])
    with pytest.raises(OptimizerError, match="set it alike in all"):
        optimizer.step(lambda: (a * b).sum())


# -- parameters that do not take part --------------------------------------------------------


@every
def test_unused_and_frozen_parameters_stay(name):
    model = network()
    model[0].bias.requires_grad_(False)
    unused = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = OPTIMIZERS[name]([*model.parameters(), unused])
    before = model[0].bias.clone()
    for _ in range(2):
        optimizer.step(loss_of(model))
    assert torch.equal(model[0].bias, before)
    assert torch.equal(unused, torch.ones_like(unused))
    assert not torch.equal(model[2].bias, network()[2].bias)


@plain
def test_parameters_without_gradient_stay(name):
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())
    loss_of(model)().backward()
    model[0].weight.grad = None
    optimizer.step()
    assert torch.equal(model[0].weight, network()[0].weight)
    assert not torch.equal(model[0].bias, network()[0].bias)


@every
def test_a_group_may_be_added_and_a_parameter_freed_between_steps(name):
    model = network()
    optimizer = OPTIMIZERS[name](model[0].parameters())
    optimizer.step(loss_of(model))
    optimizer.add_param_group({"params": [model[2].weight]})
    model[2].bias.requires_grad_(False)
    optimizer.add_param_group({"params": [model[2].bias]})
    optimizer.step(loss_of(model))
    assert not torch.equal(model[2].weight, network()[2].weight)
    assert torch.equal(model[2].bias, network()[2].bias)
    model[2].bias.requires_grad_(True)
    optimizer.step(loss_of(model))
    assert not torch.equal(model[2].bias, network()[2].bias)
    assert optimizer.record.step == 3


@looking
def test_dtypes_must_not_mix(name):
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2, dtype=torch.float64))
    with pytest.raises(LayoutError, match="mix dtypes"):
        OPTIMIZERS[name]([a, b]).step(lambda: (a * b).sum())


# -- what is kept ----------------------------------------------------------------------------


@every
def test_a_resumed_run_is_the_uninterrupted_one(name, tmp_path):
    """To the bit, through torch.save and torch.load with weights only."""
    whole = network()
    descend(name, whole, 5)
    first = network()
    optimizer = descend(name, first, 2)
    torch.save((first.state_dict(), optimizer.state_dict()), tmp_path / "checkpoint.pt")
    weights, state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    second = network(seed=1)
    second.load_state_dict(weights)
    resumed = OPTIMIZERS[name](second.parameters())
    resumed.load_state_dict(state)
    for _ in range(3):
        resumed.step(loss_of(second))
    assert torch.equal(flat(second), flat(whole))
    assert resumed.record.step == 5


COPIES = {"pickle": lambda things: pickle.loads(pickle.dumps(things)), "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("way", COPIES)
@every
def test_copies_go_on_by_themselves(name, way):
    """Model and optimizer together; also after a scheduler has wrapped `step`."""
    whole = network()
    descend(name, whole, 4)
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())
    lr_scheduler.ConstantLR(optimizer, factor=1.0)
    for _ in range(2):
        optimizer.bind(model, F.mse_loss, data())
        optimizer.step(loss_of(model))
    before = flat(model)
    twin, copied = COPIES[way]((model, optimizer))
    for _ in range(2):
        copied.step(loss_of(twin))
    assert torch.equal(flat(twin), flat(whole))
    assert torch.equal(flat(model), before)
    assert optimizer.record.step == 2


@every
def test_a_copy_of_the_optimizer_alone_has_parameters_of_its_own(name):
    model = network()
    optimizer = descend(name, model, 1)
    before = flat(model)
    copied = copy.deepcopy(optimizer)
    w0, b0, w2, b2 = copied.param_groups[0]["params"]
    x, y = data()
    copied.step(lambda: F.mse_loss((x @ w0.T + b0).tanh() @ w2.T + b2, y))
    assert torch.equal(flat(model), before)
    optimizer.step(loss_of(model))
    torch.testing.assert_close(
        torch.cat([p.detach().reshape(-1) for p in (w0, b0, w2, b2)]), flat(model)
    )


@pytest.mark.parametrize("flattened", [False, True])
@every
def test_distributed_checkpoints_have_the_state_built(name, flattened):
    """They call `step()` with rates and gradients of zero, and mean no step."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    options = StateDictOptions(flatten_optimizer_state_dict=flattened)
    whole = network()
    descend(name, whole, 4)
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())
    get_optimizer_state_dict(model, optimizer, options=options)
    assert torch.equal(flat(model), flat(network()))
    for _ in range(2):
        optimizer.step(loss_of(model))
    state = copy.deepcopy(get_optimizer_state_dict(model, optimizer, options=options))
    fresh = OPTIMIZERS[name](model.parameters())
    set_optimizer_state_dict(model, fresh, state, options=options)
    for _ in range(2):
        fresh.step(loss_of(model))
    assert torch.equal(flat(model), flat(whole))
    assert fresh.record.step == 4


@every
def test_step_without_anything_builds_state_and_moves_nothing(name):
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())
    assert optimizer.step(None) is None
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    assert optimizer.step(closure=None) is None
    assert torch.equal(flat(model), flat(network()))


@every
def test_hooks_run_around_a_step(name):
    model = network()
    seen = []
    optimizer = OPTIMIZERS[name](model.parameters())
    optimizer.register_step_pre_hook(lambda o, *_: seen.append(("before", flat(model))))
    optimizer.register_step_post_hook(lambda o, *_: seen.append(("after", flat(model))))
    optimizer.step(loss_of(model))
    assert [when for when, _ in seen] == ["before", "after"]
    assert torch.equal(seen[0][1], flat(network()))
    assert torch.equal(seen[1][1], flat(model))
    assert not torch.equal(seen[0][1], seen[1][1])


# -- the record ------------------------------------------------------------------------------


@every
def test_the_record_says_what_happened(name):
    """Each number against the loss by hand; gradients from autograd, curvature dense."""
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())
    before, loss = flat(model), loss_of(model)()
    gradient = torch.cat(
        [g.reshape(-1) for g in torch.autograd.grad(loss, tuple(model.parameters()))]
    )
    optimizer.step(loss_of(model))
    step, record = flat(model) - before, optimizer.record
    assert record.step == 1
    assert record.is_accepted
    assert record.loss == pytest.approx(float(loss.detach()), rel=1e-12)
    assert record.gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-10)
    assert record.step_norm == pytest.approx(float(step.norm()), rel=1e-8)
    assert record.first_order_decrease == pytest.approx(-float(gradient @ step), rel=1e-8)
    assert record.seconds > 0
    assert record.gradient_equivalents >= 1
    assert str(record).startswith("step 1, loss ")
    if name in LOOKING:
        from torch.func import functional_call

        x, y = data()
        names = [n for n, _ in model.named_parameters()]

        def plain(v):
            parts = v.split([p.numel() for p in model.parameters()])
            shaped = [part.view_as(p) for part, p in zip(parts, model.parameters(), strict=True)]
            return F.mse_loss(functional_call(model, dict(zip(names, shaped, strict=True)), x), y)

        H = torch.autograd.functional.hessian(plain, before)
        second = -float(gradient @ step + step @ H @ step / 2)
        assert record.second_order_decrease == pytest.approx(second, rel=1e-7)
        actual = float((loss - loss_of(model)()).detach())
        assert record.actual_decrease == pytest.approx(actual, rel=1e-9)
        assert record.ratio == pytest.approx(actual / second, rel=1e-6)
        assert record.num_products > 0
        assert record.gradient_equivalents > 1 + 2 * record.num_products
    else:
        assert record.second_order_decrease is record.actual_decrease is record.ratio is None


@looking
def test_a_parameter_that_the_loss_does_not_reach_stays(name):
    """Its gradient is zero, on a tape as on a graph."""
    model = network()
    model.unused = nn.Parameter(torch.ones(3, dtype=torch.float64))
    x, y = data()
    optimizer = OPTIMIZERS[name](model.parameters())
    for _ in range(2):
        optimizer.bind(Reaching(model), F.mse_loss, (x, y)).step()
    assert torch.equal(model.unused.detach(), torch.ones(3, dtype=torch.float64))


class Reaching(nn.Module):
    """Runs the layers of a network, and nothing else that it holds."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        for layer in list(self.inner)[:3]:
            x = layer(x)
        return x
