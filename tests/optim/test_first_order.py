"""First-order optimizers against torch's own, and what their records measure."""

import pytest
import torch
import torch.nn.functional as F
from optimizers import PLAIN, data, flat, loss_of, network
from torch import nn

from thalweg import OptimizerError
from thalweg.optim import Adam, GradientDescent, HeavyBall, Nesterov

pytestmark = pytest.mark.usefixtures("unchecked")

PEERS = {
    "gradient descent": (
        lambda p, **s: GradientDescent(p, 0.1, **s),
        lambda p, **s: torch.optim.SGD(p, 0.1, **s),
    ),
    "heavy ball": (
        lambda p, **s: HeavyBall(p, 0.1, 0.7, **s),
        lambda p, **s: torch.optim.SGD(p, 0.1, 0.7, **s),
    ),
    "Nesterov": (
        lambda p, **s: Nesterov(p, 0.1, 0.7, **s),
        lambda p, **s: torch.optim.SGD(p, 0.1, 0.7, nesterov=True, **s),
    ),
    "Adam": (
        lambda p, **s: Adam(p, 0.01, (0.8, 0.95), 1e-6, **s),
        lambda p, **s: torch.optim.Adam(p, 0.01, (0.8, 0.95), 1e-6, **s),
    ),
    "Adam as it comes": (Adam, torch.optim.Adam),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("name", PEERS)
def test_steps_are_those_of_torch(name, maximize, dtype):
    """Over fifty steps in which the rate changes, by the roundings of as many additions."""
    ends = []
    for make in PEERS[name]:
        model = network().to(dtype)
        optimizer = make(model.parameters(), maximize=maximize)
        x, y = (t.to(dtype) for t in data())
        for number in range(50):
            if number == 20:
                optimizer.param_groups[0]["lr"] *= 0.3
            optimizer.zero_grad()
            # Bounded above, so that climbing has an end too.
            F.mse_loss(model(x).tanh(), y).backward()
            optimizer.step()
        ends.append(flat(model))
    assert not torch.allclose(ends[0], flat(network().to(dtype)), rtol=1e-2)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(*ends, rtol=5000 * eps, atol=500 * eps)


def test_gradients_accumulate_as_anywhere():
    model, whole = network(), network()
    x, y = data()
    optimizer, other = Adam(model.parameters(), 0.01), Adam(whole.parameters(), 0.01)
    for _ in range(3):
        optimizer.zero_grad()
        for part in (slice(0, 5), slice(5, 7)):
            (F.mse_loss(model(x[part]), y[part], reduction="sum") / 7).backward()
        optimizer.step()
        other.step(loss_of(whole))
    torch.testing.assert_close(flat(model), flat(whole), rtol=1e-12, atol=1e-14)


def test_a_closure_may_add_to_gradients_that_are_there():
    """As torch's optimizers have it: what backward leaves in .grad is the gradient."""
    model, other = network(), network()
    optimizer, peer = (
        GradientDescent(model.parameters(), 0.1),
        torch.optim.SGD(other.parameters(), 0.1),
    )
    for net, opt in ((model, optimizer), (other, peer)):
        loss_of(net)().backward()

        def closure(net=net):
            loss = loss_of(net)()
            loss.backward()
            return loss

        opt.step(closure)
    torch.testing.assert_close(flat(model), flat(other), rtol=1e-14, atol=0.0)


def test_a_closure_may_skip_its_batch():
    """Lightning's return None then."""
    model = network()
    optimizer = GradientDescent(model.parameters(), 0.1)
    assert optimizer.step(lambda: None) is None
    assert torch.equal(flat(model), flat(network()))


@pytest.mark.parametrize("name", PLAIN)
def test_gradient_scaling_for_half_precision(name):
    """Steps with an overflow are skipped by the scaler, the others are those without one."""
    make = PEERS[name][0]
    scaled, plain = network().float(), network().float()
    x, y = (t.float() for t in data())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    optimizer, other = make(scaled.parameters()), make(plain.parameters())
    for number in range(4):
        optimizer.zero_grad()
        loss = F.mse_loss(scaled(x), y) * (torch.inf if number == 1 else 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if number != 1:
            other.step(lambda: F.mse_loss(plain(x), y))
    assert optimizer.record.step == 3
    torch.testing.assert_close(flat(scaled), flat(plain), rtol=1e-5, atol=1e-7)


def test_sparse_gradients_are_those_of_the_dense():
    steps = []
    for sparse in (True, False):
        embedding = nn.Embedding(5, 2, sparse=sparse)
        nn.init.ones_(embedding.weight)
        optimizer = Adam(embedding.parameters(), 0.1)
        for _ in range(2):
            optimizer.zero_grad()
            (embedding(torch.tensor([1, 3, 3])) ** 2).sum().backward()
            optimizer.step()
        steps.append(embedding.weight.detach().clone())
    assert torch.equal(*steps)


def test_dtypes_may_mix():
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = GradientDescent([a, b], 0.5)
    optimizer.step(lambda: (a * b).sum())
    assert torch.equal(a.data, torch.full((2,), 0.5))
    assert optimizer.record.first_order_decrease == pytest.approx(0.5 * 4)


# -- measured --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLAIN)
def test_looking_changes_nothing(name):
    make = PEERS[name][0]
    model, other = network(), network()
    watched, plain = make(model.parameters(), measured=True), make(other.parameters())
    for _ in range(4):
        watched.bind(model, F.mse_loss, data()).step()
        plain.step(loss_of(other))
        assert watched.record.num_products == 1
        assert watched.record.first_order_decrease == pytest.approx(
            plain.record.first_order_decrease, rel=1e-9
        )
    torch.testing.assert_close(flat(model), flat(other), rtol=1e-10, atol=1e-12)


def test_one_gradient_step_of_a_quadratic_by_hand():
    """f = w₀² + 2w₁², ε = ¼ from (2, 1): g = (4, 4), s = (−1, −1), ε‖g‖² = 8, ½sᵀHs = 3."""
    w = nn.Parameter(torch.tensor([2.0, 1.0], dtype=torch.float64))
    optimizer = GradientDescent([w], 0.25, measured=True)
    optimizer.step(lambda: w[0] ** 2 + 2 * w[1] ** 2)
    record = optimizer.record
    assert w.tolist() == [1.0, 0.0]
    assert record.loss == 6.0
    assert record.first_order_decrease == 8.0
    assert record.second_order_decrease == 5.0
    assert record.actual_decrease == 5.0
    assert record.ratio == 1.0
    assert "decrease 5, 1.00 of the predicted" in str(record)


def test_the_first_order_prediction_of_an_unmeasured_step_is_said():
    w = nn.Parameter(torch.tensor([2.0]))
    optimizer = GradientDescent([w], 0.25)
    optimizer.step(lambda: (w**2).sum())
    assert "first-order decrease 4," in str(optimizer.record)


def test_measuring_needs_a_loss():
    model = network()
    loss_of(model)().backward()
    with pytest.raises(OptimizerError, match="no loss to evaluate"):
        Adam(model.parameters(), measured=True).step()
