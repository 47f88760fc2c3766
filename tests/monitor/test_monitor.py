"""The monitor in somebody's loop: no trace in it, whatever happens, and the right steps read."""

import copy
import io
import logging
import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from loops import batches, classes, draw, network, seeded, sgd, step, watched
from torch import nn

from thalweg import Monitor, ThalwegError, monitor
from thalweg.optim import TrustRegion
from traces import assert_no_trace, trace_of

pytestmark = pytest.mark.usefixtures("unchecked")

FULL = {"every": 2, "overhead": math.inf}


def batch_norm():
    return seeded(
        lambda: nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    ).double()


def dropout():
    return seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.Linear(5, 3))).double()


MODELS = {"plain": network, "batch norm": batch_norm, "dropout": dropout}
OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "fused AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


def seed_everything():
    torch.manual_seed(5), np.random.seed(5), random.seed(5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_a_training_is_the_same_to_the_bit(name, optimizer):
    """Parameters, buffers, gradients, modes, hooks, and the random states after it."""
    traces = []
    for is_watched in (False, True):
        seed_everything()
        model = MODELS[name]()
        before = trace_of(model)
        opt = OPTIMIZERS[optimizer](model.parameters())
        if is_watched:
            watch = watched(model, opt, batches(7), instruments=monitor.full(), **FULL)
            assert len(watch.history) == 4
            assert "sharpness_error" in watch.history[-1].values
        else:
            for batch in batches(7):
                step(model, opt, batch)
        after = trace_of(model)
        ids = {key: (value[0],) for key, value in before.items() if isinstance(value, tuple)}
        assert ids
        traces.append({k: v[1:] if k.startswith("0: ") and "module" not in k else v
                       for k, v in after.items()})  # fmt: skip
    assert traces[0] == traces[1]


def test_hooks_are_gone_after_it_and_steps_go_on():
    model = network()
    optimizer = sgd(model)
    before = trace_of(model)
    watch = Monitor(model, F.cross_entropy, optimizer)
    watch.close()
    assert_no_trace(before, model)
    assert not optimizer._optimizer_step_post_hooks
    assert not optimizer._optimizer_step_pre_hooks
    assert all(not p._post_accumulate_grad_hooks for p in model.parameters())
    step(model, optimizer, batches()[0])
    assert watch.history == ()
    watch.close()


def test_a_watched_model_can_be_copied_and_saved():
    """In the middle of it: copies and files are not watched."""
    model = network()
    loss = nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with Monitor(model, loss, optimizer, every=1, overhead=math.inf) as watch:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
            loss(other(batches()[0][0]), batches()[0][1]).backward()
            assert torch.equal(other[0].weight, model[0].weight)
        copy.deepcopy(optimizer).step()
        assert watch.history == ()
        watch.see(batches()[0])
        step(model, optimizer, batches()[0], loss)
    assert [record.step for record in watch.history] == [1]


def test_a_gradient_that_is_left_from_another_step_is_not_read():
    """Optimizers that are handed the loss leave `.grad` alone."""
    model = network()
    x, y = batches()[0]
    F.cross_entropy(model(x), y).backward()
    optimizer = TrustRegion(model.parameters())
    with Monitor(model, F.cross_entropy, optimizer, every=1, overhead=math.inf) as watch:
        for _ in range(2):
            watch.see((x, y))
            optimizer.step(lambda: F.cross_entropy(model(x), y))
    assert "gradient_norm" not in watch.history[1].values
    assert watch.history[1].values["actual_decrease"] > 0


def test_no_graph_is_kept():
    import gc

    model = network()
    optimizer = sgd(model)
    with Monitor(model, F.cross_entropy, optimizer, instruments=monitor.full(), **FULL) as watch:
        for batch in batches(6):
            watch.see(batch)
            step(model, optimizer, batch)
        gc.collect()
        graphs = [
            o for o in gc.get_objects()
            if type(o) is torch.Tensor and o.grad_fn is not None and o.shape == (24, 3)
        ]  # fmt: skip
    assert not graphs


def test_what_is_read_is_the_steps_own_without_a_batch():
    model = network()
    optimizer = sgd(model)
    with Monitor(model, F.cross_entropy, optimizer, every=1, overhead=math.inf) as watch:
        step(model, optimizer, batches()[0])
    values = watch.history[0].values
    assert "gradient_norm/0" in values
    assert "loss" not in values
    assert "monitor.see(batch)" in watch.notes[0]


def test_a_loss_module_that_the_loop_calls_needs_no_line():
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with Monitor(model, loss, optimizer, instruments=monitor.cheap(), every=1) as watch:
        value = step(model, optimizer, batches()[0], loss)
    assert watch.history[0].values["loss"] == float(value)


class OwnLoss(nn.Module):
    """As in transformers: `model(x=…, labels=…)` returns a dict with the loss."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x, labels=None):
        logits = self.inner(x)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def test_a_model_that_returns_its_loss_needs_no_line():
    model = OwnLoss()
    optimizer = sgd(model)
    with Monitor(model, None, optimizer, every=1, overhead=math.inf) as watch:
        for x, y in batches(2):
            optimizer.zero_grad()
            value = model(x=x, labels=y)["loss"]
            value.backward()
            optimizer.step()
    assert watch.history[-1].values["loss"] == float(value.detach())
    assert watch.history[-1].values["sharpness"] > 0
    assert not watch.notes


def test_a_value_that_is_shown_is_taken():
    model = network()
    optimizer = sgd(model)
    with Monitor(model, F.cross_entropy, optimizer, instruments=monitor.cheap(), every=1) as watch:
        watch.see(batches()[0], torch.tensor(3.5))
        step(model, optimizer, batches()[0])
    assert watch.history[0].values["loss"] == 3.5


# -- accumulation, clipping, mixed precision --------------------------------------------------


def test_accumulated_gradients_are_one_step():
    whole, parts = network(), network()
    x, y = batches()[0]
    watch = watched(whole, sgd(whole), [(x, y)])
    optimizer = sgd(parts)
    with Monitor(parts, F.cross_entropy, optimizer, every=1, overhead=math.inf) as other:
        for piece in (slice(0, 8), slice(8, 16), slice(16, 24)):
            value = F.cross_entropy(parts(x[piece]), y[piece])
            other.see((x[piece], y[piece]), value)
            (value / 3).backward()
        optimizer.step()
    assert len(other.history) == 1
    for name in ("loss", "gradient_norm", "gradient_norm/0", "update_ratio"):
        expected = watch.history[0].values[name]
        assert other.history[0].values[name] == pytest.approx(expected, rel=1e-9)


def test_gradients_are_read_before_they_are_clipped():
    model, plain = network(), network()
    expected = watched(plain, sgd(plain), [batches()[0]]).history[0].values
    optimizer = sgd(model)
    x, y = batches()[0]
    with Monitor(model, F.cross_entropy, optimizer, every=1, overhead=math.inf) as watch:
        watch.see((x, y))
        F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()
    values = watch.history[0].values
    assert values["gradient_norm/0"] == pytest.approx(expected["gradient_norm/0"], rel=1e-9)
    assert values["clipping"] == pytest.approx(0.01 / expected["gradient_norm"], rel=1e-3)


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize("is_clipped", [True, False])
@pytest.mark.parametrize("is_fused", [True, False])
def test_a_scaled_gradient_is_read_without_its_scale(is_fused, is_clipped, is_told):
    """GradScaler on the CPU, with clipping as its documentation has it."""
    model, plain = network(torch.float32), network(torch.float32)
    x, y = draw(24, 4, dtype=torch.float32), classes()
    with torch.autocast("cpu", torch.bfloat16):
        F.cross_entropy(plain(x), y).backward()
    norm = float(plain[0].weight.grad.norm().hypot(plain[0].bias.grad.norm()))
    whole = math.sqrt(sum(float(p.grad.square().sum()) for p in plain.parameters()))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=is_fused)
    told = {"scaler": scaler} if is_told else {}
    with Monitor(model, F.cross_entropy, optimizer, every=1, overhead=math.inf, **told) as watch:
        watch.see((x, y))
        with torch.autocast("cpu", torch.bfloat16):
            value = F.cross_entropy(model(x), y)
        scaler.scale(value).backward()
        if is_clipped:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        scaler.step(optimizer)
        scaler.update()
    values = watch.history[0].values
    if is_clipped and not is_told:
        # Scale and clipping cannot be told apart: the norm is that of the clipped gradient.
        assert values["gradient_norm"] == pytest.approx(0.01, rel=1e-3)
        assert "clipping" not in values
    else:
        assert values["gradient_norm/0"] == pytest.approx(norm, rel=1e-2)
        assert values["clipping"] == pytest.approx(0.01 / whole if is_clipped else 1, rel=1e-2)
    assert values["loss"] == pytest.approx(float(value.detach()), rel=1e-2)


@pytest.mark.parametrize("is_fused", [True, False])
def test_a_step_that_the_scaler_skips_is_none(is_fused):
    model = network(torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=is_fused)
    with Monitor(model, F.cross_entropy, optimizer, every=1, overhead=math.inf) as watch:
        for factor in (math.inf, 1.0):
            x, y = draw(24, 4, dtype=torch.float32), classes()
            watch.see((x, y))
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y) * factor).backward()
            scaler.step(optimizer)
            scaler.update()
    assert [record.step for record in watch.history] == [1]
    assert math.isfinite(watch.history[0].values["gradient_norm"])
    assert not watch.alerts


# -- what may go wrong ------------------------------------------------------------------------


def test_a_run_that_turns_nan_is_told_once_and_goes_on():
    model = network()
    given = batches(40)
    bad = (torch.full((24, 4), math.nan, dtype=torch.float64), given[0][1])
    watch = watched(model, sgd(model), [*given[:3], bad, *given[3:]])
    assert watch.history[2].values["non_finite"] == 0
    assert len(watch.history) == 41
    (alert,) = [alert for alert in watch.alerts if alert.ailment == "not finite"]
    assert alert.step == 4
    assert set(alert.layers) == {"0", "2"}
    # The weights of the first layer, and all of the second: 5·4 + 5 + 15 + 3.
    assert alert.evidence["entries not finite"] == 43
    assert "step 4" in str(alert)
    assert any("born in" in note for note in watch.notes)


class Failing:
    def log(self, step, values):
        raise OSError("the disk is full")


class Broken:
    name, guess, is_paired, needs_before = "broken", 0.0, False, False

    def read(self, moment):
        raise ZeroDivisionError("of mine")


class Kept:
    def __init__(self):
        self.lines = []

    def log(self, step, values):
        self.lines.append((step, dict(values)))


def test_neither_a_logger_nor_an_instrument_breaks_a_training():
    model, twin, kept = network(), network(), Kept()
    cheap = monitor.cheap()
    instruments = monitor.Instruments("mine", (*cheap.members, Broken()), 0.02)
    watch = watched(
        model, sgd(model), batches(), instruments=instruments, loggers=[Failing(), kept]
    )
    optimizer = sgd(twin)
    for batch in batches():
        step(twin, optimizer, batch)
    assert torch.equal(model[0].weight, twin[0].weight)
    assert [number for number, _ in kept.lines] == [1, 2, 3, 4]
    assert kept.lines == [(record.step, record.values) for record in watch.history]
    assert "Failing failed at step 1 and is left out: OSError: the disk is full" in watch.notes
    assert "broken is left out: ZeroDivisionError: of mine" in watch.notes


def test_a_network_without_second_derivatives_is_read_by_the_rest():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, gradient):
            return gradient * 2

    class Doubled(nn.Module):
        def forward(self, x):
            return Once.apply(x)

    model = nn.Sequential(network(), Doubled())
    watch = watched(model, sgd(model), batches())
    assert "step_sharpness" in watch.history[-1].values
    assert "sharpness" not in watch.history[-1].values
    assert any(note.startswith("sharpness is left out") for note in watch.notes)


def test_alerts_are_said_in_the_log(caplog):
    model = network()
    x, y = batches()[0]
    with caplog.at_level(logging.WARNING, "thalweg.monitor"):
        watched(model, sgd(model), [(x * math.nan, y)])
    assert "step 1: the loss is nan" in caplog.text


@pytest.mark.parametrize(
    ("how", "said"),
    [({"every": 0}, "every=0"), ({"overhead": 0.0}, "overhead=0.0")],
)
def test_what_is_out_of_range_is_refused(how, said):
    model = network()
    with pytest.raises(ThalwegError, match=said):
        Monitor(model, F.cross_entropy, sgd(model), **how)


def test_an_optimizer_of_other_parameters_is_refused():
    with pytest.raises(ThalwegError, match=r"no parameter of the model"):
        Monitor(network(), F.cross_entropy, sgd(network()))


def test_part_of_the_parameters_may_be_frozen_or_left_out():
    model = network()
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD([*model[2].parameters(), model[0].weight], lr=0.1)
    watch = watched(model, optimizer, batches())
    assert not watch.notes
    assert watch.history[-1].values["sharpness"] > 0
    assert watch.history[-1].values["gradient_norm"] == pytest.approx(
        watch.history[-1].values["gradient_norm/2"]
    )


def test_a_model_may_move_to_another_precision_between_steps():
    model = network()
    optimizer = sgd(model)
    with Monitor(model, F.cross_entropy, optimizer, every=1, overhead=math.inf) as watch:
        for dtype in (torch.float64, torch.float32):
            model.to(dtype)
            x, y = batches()[0]
            watch.see((x.to(dtype), y))
            step(model, optimizer, (x.to(dtype), y))
    assert [record.values["sharpness"] > 0 for record in watch.history] == [True, True]
    assert not watch.notes


def test_sparse_gradients_are_read():
    model = seeded(
        lambda: nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Flatten(), nn.Linear(8, 3))
    )
    x = torch.randint(9, (24, 2), generator=torch.Generator().manual_seed(0))
    watch = watched(model, sgd(model), [(x, classes())] * 3)
    dense = seeded(lambda: nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 3)))
    other = watched(dense, sgd(dense), [(x, classes())] * 3)
    for name in ("gradient_norm/0", "update_ratio/0", "sharpness", "alignment"):
        expected = other.history[-1].values[name]
        assert watch.history[-1].values[name] == pytest.approx(expected, rel=1e-4)


def test_a_closure_is_a_step():
    """As Lightning steps: the gradient is made inside of the optimizer's step."""
    model, plain = network(), network()
    expected = watched(plain, sgd(plain), batches()).history
    optimizer = sgd(model)
    with Monitor(
        model, F.cross_entropy, optimizer, instruments=monitor.full(), every=1, overhead=math.inf
    ) as watch:
        for x, y in batches():

            def closure(x=x, y=y):
                optimizer.zero_grad()
                value = F.cross_entropy(model(x), y)
                value.backward()
                return value

            watch.see((x, y))
            optimizer.step(closure)
    assert [dict(record.values) for record in watch.history] == [
        dict(record.values) for record in expected
    ]


# -- cost -------------------------------------------------------------------------------------


def test_the_cost_is_counted_in_gradients():
    model = network()
    watch = watched(model, sgd(model), batches(2))
    each = [record.num_gradients for record in watch.history]
    assert watch.cost.num_gradients == sum(each)
    # Three forward passes; a gradient to prepare; 1 to 4 products, and 16 of the spectrum.
    assert all(1 + 1 + 2 * 17 <= number <= 1 + 1 + 3 * 20 for number in each)
    assert watch.cost.num_steps == watch.cost.num_readings == 2
    assert watch.cost.seconds > 0
    assert watch.cost.share > 0
    assert watch.cost.gradient_share == pytest.approx(sum(each) / 2)


def test_data_of_curvature_may_be_given():
    model = network()
    data = [(draw(6, 4, seed=9), classes(6)), (draw(5, 4, seed=8), classes(5))]
    watch = watched(model, sgd(model, lr=1e-9), batches(), data=data)
    from thalweg import Problem, Surface

    H = Surface(Problem(model, F.cross_entropy, data)).here().hessian().to_dense()
    top = float(torch.linalg.eigvalsh(H)[-1])
    assert watch.history[-1].values["sharpness"] == pytest.approx(top, rel=0.02)


def test_a_compiled_model_is_not_compiled_again():
    from torch._dynamo.utils import counters

    inner = network()
    model = torch.compile(inner, backend="aot_eager")
    optimizer = sgd(model)
    given = batches(5)
    step(model, optimizer, given[0])
    before = counters["stats"]["unique_graphs"]
    watch = watched(model, optimizer, given[1:])
    assert counters["stats"]["unique_graphs"] == before == 1
    assert watch.history[-1].values["sharpness"] > 0
    assert not watch.notes
