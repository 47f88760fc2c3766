"""Problem: what it takes, what it refuses and how, and that nothing of the user's is changed."""

import random
import re
import threading
from collections import namedtuple
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from problems import SHELF, cut, draw, draw_classes, initialised, mlp_model
from thalweg import (
    DetachedLossError,
    LayoutError,
    NonFiniteError,
    Pass,
    Problem,
    ProblemError,
    RandomModelError,
    Surface,
    ThalwegError,
)
from traces import assert_no_trace, trace_of

X, Y = draw(7, 3), draw(7, 2, seed=1)
CLASSES = draw_classes(2, 7, seed=2)
MSE = F.mse_loss


class Net(nn.Module):
    """A linear layer between two functions."""

    def __init__(self, before=lambda x: x, after=lambda z: z) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.before, self.after = before, after

    def forward(self, x):
        return self.after(self.layer(self.before(x)))


class Outer(nn.Module):
    """A block inside a model, and a layer after it."""

    def __init__(self, block) -> None:
        super().__init__()
        self.block, self.head = block, nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.block(x))


def net(before=lambda x: x, after=lambda z: z):
    return initialised(Net(before, after))


def filled(model, name, value):
    with torch.no_grad():
        model.get_parameter(name).fill_(value)
    return model


def frozen(model):
    return model.requires_grad_(False)


def with_phase():
    model = net()
    model.phase = nn.Parameter(torch.zeros(2, dtype=torch.cdouble))
    return model


def moved(model, name, **to):
    model.get_submodule(name).to(**to)
    return model


def with_lock():
    model = net()
    model.lock = threading.Lock()
    return model


class Remembers(Net):
    """Returns something else at every call."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


class Raising(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        raise KeyError("no such file")


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield X[0], Y[0]


def in_inference_mode():
    with torch.inference_mode():
        return net()


def loader(*tensors, **settings):
    return DataLoader(TensorDataset(*tensors), **settings)


def bad_targets(batch):
    """The third of four batches has a class that the model has not."""
    target = CLASSES.clone()
    target[batch] = 2
    return cut((X, target), 2, 2, 2, 1)


def cross(**settings):
    return nn.CrossEntropyLoss(**settings)


EVAL = r"call model\.eval\(\) in your factory, or return Problem\(\.\.\.\)\.in_eval_mode\(\)"

# What is wrong: (the problem, the error, what the sentence names, and its way out).
REFUSED = {
    # -- model
    "no model": (
        lambda: Problem(None, MSE, (X, Y)), ProblemError, "NoneType", "takes an nn.Module"),
    "a function as model": (
        lambda: Problem(F.relu, MSE, (X, Y)), ProblemError, "a function", r"Problem\(model, loss"),
    "frozen": (
        lambda: Problem(frozen(net()), MSE, (X, Y)), ProblemError,
        "model Net has no trainable parameter", r"set\s+requires_grad_\(True\)"),
    "without parameters": (
        lambda: Problem(nn.Identity(), MSE, (X, X)), ProblemError,
        "model Identity has no trainable", r"requires_grad_\(True\)"),
    "lazy": (
        lambda: Problem(nn.Sequential(nn.LazyLinear(2)), MSE, (X, Y)), ProblemError,
        r"'0\.weight' is not initialised", "run the model once"),
    "made in inference mode": (
        lambda: Problem(in_inference_mode(), MSE, (X, Y)), ProblemError,
        r"'layer\.weight' was made under torch\.inference_mode", "outside of it"),
    "uncopyable": (
        lambda: Problem(with_lock(), MSE, (X, Y)), ProblemError,
        r"Net cannot be copied \(TypeError: .*lock", "or give it a __deepcopy__"),
    "raising": (
        lambda: Problem(net(), MSE, (Y, Y)), ProblemError,
        r"model raised RuntimeError on batch 0: mat1 .*given float64 \(7, 2\)", "call it by"),
    "complex": (
        lambda: Problem(with_phase(), MSE, (X, Y)), LayoutError,
        r"'phase' is torch\.complex128", "freeze it"),
    "mixed dtypes": (
        lambda: Problem(moved(initialised(mlp_model()), "2", dtype=torch.float32), MSE, (X, Y)),
        LayoutError, r"'0\.weight' is torch\.float64, '2\.weight' is torch\.float32", "convert"),
    "no numbers yet": (
        lambda: Problem(net().to("meta"), MSE, (X, Y)), ProblemError,
        r"'layer\.weight' is on the meta device", "load the weights"),
    "mixed devices": (
        lambda: Problem(moved(initialised(mlp_model()), "2", device="meta"), MSE, (X, Y)),
        LayoutError, r"'0\.weight' is on cpu, '2\.weight' on meta", r"model\.to\('cpu'\)"),
    "writing into its input": (
        lambda: Problem(net(before=lambda x: x.mul_(2)), MSE, (X, Y)), ProblemError,
        "writes into the batch", r"x = x\.clone\(\)"),
    "an activation in place on the data": (
        lambda: Problem(initialised(nn.Sequential(nn.ELU(inplace=True), nn.Linear(3, 2))), MSE,
                        (X, Y)), ProblemError, "writes into the batch", "inplace=False"),
    # -- randomness
    "dropout": (
        lambda: Problem(initialised(nn.Sequential(nn.Dropout(0.1), nn.Linear(3, 2))), MSE, (X, Y)),
        RandomModelError, r"module '0' \(Dropout\) drops units at random, p = 0\.1", EVAL),
    "batch norm": (
        lambda: Problem(initialised(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))), MSE,
                        (X, Y)), RandomModelError,
        r"module '1' \(BatchNorm1d\) uses the statistics of the batch", EVAL),
    "batch norm without statistics": (
        lambda: Problem(initialised(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(
            2, track_running_stats=False))).eval(), MSE, (X, Y)),
        RandomModelError, r"'1' \(BatchNorm1d\) uses the statistics", "track_running_stats=True"),
    "recurrent dropout": (
        lambda: Problem(initialised(nn.LSTM(3, 2, 2, dropout=0.3)), lambda out, y: MSE(out[0], y),
                        (X, Y)), RandomModelError,
        r"the model itself \(LSTM\) drops units.*p = 0\.3", EVAL),
    "attention dropout": (
        lambda: Problem(initialised(nn.TransformerEncoderLayer(4, 2, 3)), MSE, draw(7, 3, 4)),
        RandomModelError, r"module 'self_attn' \(MultiheadAttention\) drops", EVAL),
    "functional dropout in a block": (
        lambda: Problem(initialised(Outer(Net(after=lambda z: F.dropout(z, 0.5)))).eval(), MSE,
                        (X, Y)), RandomModelError, r"module 'block' \(Net\) is random",
        "training=self.training"),
    "functional dropout at the top": (
        lambda: Problem(net(after=lambda z: F.dropout(z, 0.5)).eval(), MSE, (X, Y)),
        RandomModelError, "the forward of Net itself is random", "training=self.training"),
    "NumPy noise": (
        lambda: Problem(net(after=lambda z: z + np.random.rand()), MSE, (X, Y)),
        RandomModelError, "forward of Net itself is random", EVAL),
    "Python noise": (
        lambda: Problem(initialised(Outer(Net(lambda x: x * random.random()))), MSE, (X, Y)),
        RandomModelError, r"'block' \(Net\)", EVAL),
    "a random activation": (
        lambda: Problem(initialised(nn.Sequential(nn.Linear(3, 2), nn.RReLU())), MSE, (X, Y)),
        RandomModelError, r"'1' \(RReLU\)", EVAL),
    "a random loss": (
        lambda: Problem(net(), lambda z, y: MSE(z, y + torch.rand(1)), (X, Y)),
        RandomModelError, "the loss is random", ""),
    "a model that remembers": (
        lambda: Problem(initialised(Remembers()), MSE, (X, Y)), RandomModelError,
        "forward of Remembers itself", "or remembers"),
    # -- loss
    "a loss that is no function": (
        lambda: Problem(net(), "mse", (X, Y)), ProblemError, "the loss is a str",
        r"function of \(output, target\)"),
    "a class as loss": (
        lambda: Problem(net(), nn.MSELoss, (X, Y)), ProblemError, "the loss is the class MSELoss",
        r"MSELoss\(\)"),
    "a loss of many values": (
        lambda: Problem(net(), nn.MSELoss(reduction="none"), (X, Y)), ProblemError,
        r"shape \(7, 2\)", r"reduction='mean'"),
    "a loss that is a number": (
        lambda: Problem(net(), lambda z, y: MSE(z, y).item(), (X, Y)), ProblemError,
        "returned a float", r"no \.item\(\)"),
    "a loss that returns nothing": (
        lambda: Problem(net(), lambda z, y: None, (X, Y)), ProblemError, "returned a NoneType",
        "must return a tensor"),
    "a loss of integers": (
        lambda: Problem(net(), lambda z, y: (z.argmax(1) == 0).sum(), (X, Y)), ProblemError,
        r"the loss is torch\.int64", "real floating"),
    "a raising loss": (
        lambda: Problem(net(), lambda z, y: 1 / 0, (X, Y)), ProblemError,
        "the loss raised ZeroDivisionError on batch 0: division by zero", "call it by hand"),
    "no loss at all": (
        lambda: Problem(net(), None, (X, Y)), ProblemError, r"output \(Tensor\) has no \.loss",
        r"pass Problem\(model, loss, data\)"),
    "a detached output": (
        lambda: Problem(net(after=torch.detach), MSE, (X, Y)), DetachedLossError,
        "does not depend on any trainable parameter", "in torch operations"),
    "a loss under no_grad": (
        lambda: Problem(net(), torch.no_grad()(MSE), (X, Y)), DetachedLossError,
        "any trainable parameter", "keep"),
    "columns against rows": (
        lambda: Problem(net(), MSE, (X, Y[:, 0])), ProblemError,
        r"output has shape \(7, 2\) and the target \(7,\)|the loss raised", "one shape|call it"),
    "one column against rows": (
        lambda: Problem(net(after=lambda z: z[:, :1]), MSE, (X, Y[:, 0])), ProblemError,
        r"shape \(7, 1\) and the target \(7,\), which would be broadcast to \(7, 7\)", "one shape"),
    # -- numbers
    "NaN among the parameters": (
        lambda: Problem(filled(net(), "layer.bias", torch.nan), MSE, (X, Y)), NonFiniteError,
        r"nan in batch 0; born in parameter 'layer\.bias'", "Mend that place"),
    "infinite data": (
        lambda: Problem(net(), MSE, (X / 0, Y)), NonFiniteError, "born in the data", "scale"),
    "NaN targets in the second batch": (
        lambda: Problem(net(), MSE, [(X, Y), (X, Y * torch.nan)]), NonFiniteError,
        "in batch 1; born in the data itself", "Mend"),
    "overflow in a layer": (
        lambda: Problem(filled(initialised(Outer(Net())), "head.weight", 1e308), MSE,
                        (1e9 * X, Y)), NonFiniteError, r"born in layer 'head' \(Linear\)", "lower"),
    "a logarithm in a block": (
        lambda: Problem(initialised(Outer(Net(after=torch.log))), MSE, (X, Y)), NonFiniteError,
        r"born in layer 'block' \(Net\)", "guard the logarithm"),
    "a division at the top": (
        lambda: Problem(net(after=lambda z: z / 0), MSE, (X, Y)), NonFiniteError,
        r"born in the forward of the model itself \(Net\)", "the division"),
    "a bare layer that overflows": (
        lambda: Problem(filled(initialised(nn.Linear(3, 2)), "weight", 1e308), MSE, (1e9 * X, Y)),
        NonFiniteError, r"the model itself \(Linear\)", "scale the inputs"),
    "a logarithm in the loss": (
        lambda: Problem(net(), lambda z, y: (z - z).log().sum(), (X, Y)), NonFiniteError,
        "born in the loss itself: every layer is finite", "guard the logarithm"),
    "nothing but padding": (
        lambda: Problem(net(), cross(), (X, torch.full((7,), -100))), NonFiniteError,
        "the loss itself: every target is padding", "leave that batch out"),
    # -- data
    "no batch": (
        lambda: Problem(net(), MSE, []), ProblemError, "data holds no batches", "loader or list"),
    "an empty loader": (
        lambda: Problem(net(), MSE, loader(X[:3], Y[:3], batch_size=4, drop_last=True)),
        ProblemError, "data holds no batches", "loader"),
    "no sample": (
        lambda: Problem(net(), MSE, [(X, Y), (X[:0], Y[:0])]), ProblemError,
        r"batch 1 of data holds no samples \(tuple\)", "at least one sample"),
    "an iterator": (
        lambda: Problem(net(), MSE, iter([(X, Y)])), ProblemError, "data is a list_iterator",
        "a list of batches or a DataLoader"),
    "a generator": (
        lambda: Problem(net(), MSE, (b for b in [(X, Y)])), ProblemError, "data is a generator",
        r"a tuple \(x, y\)"),
    "a list of two tensors": (
        lambda: Problem(net(), MSE, [X, Y]), ProblemError, "data is a list of two tensors",
        r"write the tuple \(x, y\)"),
    "three tensors": (
        lambda: Problem(net(), MSE, (X, X, Y)), ProblemError, "a tuple of 3",
        r"\(\(input1, input2\), target\)"),
    "a data set": (
        lambda: Problem(net(), MSE, TensorDataset(X, Y)), ProblemError, "data is a TensorDataset",
        r"DataLoader\(data"),
    "an endless data set": (
        lambda: Problem(net(), MSE, Endless()), ProblemError, "data is a Endless", "DataLoader"),
    "an endless loader": (
        lambda: Problem(net(), MSE, DataLoader(Endless(), 100)), ProblemError,
        "data holds more than 0 GiB", "Subset"),
    "a raising loader": (
        lambda: Problem(net(), MSE, DataLoader(Raising())), ProblemError,
        "data raised KeyError while its batches were read: 'no such file'", "by hand"),
    "a number": (lambda: Problem(net(), MSE, 3), ProblemError, "data is a int", "a tuple"),
    "nothing": (lambda: Problem(net(), MSE, None), ProblemError, "data is a NoneType", "a tuple"),
    "NumPy arrays": (
        lambda: Problem(net(), MSE, (X.numpy(), Y.numpy())), ProblemError,
        "batch 0 of data is a tuple without a tensor", r"torch\.as_tensor"),
    "names that the model does not take": (
        lambda: Problem(net(), MSE, {"features": X, "target": Y}), ProblemError,
        r"\['features', 'target'\], and the model's forward takes \['x'\]", "name the entries"),
    "a class too many": (
        lambda: Problem(net(), cross(), bad_targets(0)), ProblemError,
        r"target out of range in batch 0: the loss allows 0\.\.1 .*\(2, 2\).* to 2", "last layer"),
    "a class too many in the third batch": (
        lambda: Problem(net(), F.cross_entropy, bad_targets(4)), ProblemError,
        "target out of range in batch 2", "mend the targets"),
    "a negative class": (
        lambda: Problem(net(), cross(), (X, CLASSES - 1)), ProblemError,
        r"allows 0\.\.1 .*from -1 to 0", "mend the targets"),
    "classes in the last dimension": (
        lambda: Problem(initialised(nn.Linear(3, 5)), cross(), (draw(7, 4, 3),
                        draw_classes(5, 7, 4))), ProblemError,
        r"the loss raised RuntimeError on batch 0: Expected target size \[7, 5\], got \[7, 4\]",
        "call it by hand"),
    "no probability": (
        lambda: Problem(net(), nn.BCEWithLogitsLoss(), (X, 3 * Y)), ProblemError,
        "the loss allows between 0 and 1", "mend the targets"),
    "data of another dtype": (
        lambda: Problem(net().float(), MSE, (X, Y.float())), ProblemError,
        r"float64 \(7, 3\).*the parameters are float32 on cpu", r"\.to\(torch\.float32\)"),
    "data of another device": (
        lambda: Problem(net(), MSE, (X.to("meta"), Y)), ProblemError,
        r"given float64 \(7, 3\) on meta", r"move the data with \.to\('cpu'\)"),
    "a batch size of 0": (
        lambda: Problem(net(), MSE, (X, Y), batch_size=0), ProblemError, "batch_size=0",
        "1 or more"),
    "half a batch": (
        lambda: Problem(net(), MSE, (X, Y), batch_size=2.5), ProblemError, "batch_size=2.5",
        "whole number"),
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_read_is_refused_in_a_sentence(reason, unchecked, monkeypatch):
    monkeypatch.setattr("thalweg._data.MAX_DATA_BYTES", 100_000)
    make, error, named, way_out = REFUSED[reason]
    owned = []
    before = {}

    def read():
        problem = make()
        owned.extend([problem.model, problem.loss, problem.data])
        before.update(trace_of(*owned))
        return Surface(problem).here().gradient

    with pytest.raises(ThalwegError) as caught:
        read()
    assert type(caught.value) is error
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(named, message), message
    assert re.search(way_out, message), message
    if owned:
        assert_no_trace(before, *owned)


@pytest.mark.parametrize("reason", ["a logarithm in a block", "dropout", "frozen", "no batch"])
def test_a_pass_refuses_the_same(reason):
    make, error, named, _ = REFUSED[reason]
    with pytest.raises(error, match=named):
        Pass.of(make())


# -- what is read ---------------------------------------------------------------------------


def value_of(problem):
    return Surface(problem).here().value


def numbers_of(problem):
    """Value, gradient, and one product of each kind."""
    point = Surface(problem).here()
    ones = torch.ones(point.layout.size, dtype=point.layout.dtype)
    value = point.gradient_vector.new_tensor([point.value])
    return torch.cat([value, point.gradient_vector, point.hessian() @ ones])


class Stash(Net):
    """Keeps its activations, as people do to look at them."""

    def forward(self, x):
        self.last = super().forward(x)
        self.history = [*getattr(self, "history", []), self.last]
        return self.last


def stashing():
    model = initialised(Stash())
    model(X)
    return model


def spectral(norm):
    def make():
        torch.manual_seed(0)
        model = nn.Sequential(norm(nn.Linear(3, 2).double()))
        model(X)  # the old form leaves a computed weight behind, which is no leaf
        return model

    return make


class Lists(nn.Module):
    """Parameters in lists and dicts, one module in two places, and an unused integer parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.ParameterList([torch.randn(3, 2), torch.randn(2)])
        self.named = nn.ParameterDict({"scale": torch.randn(2)})
        self.shared = nn.Linear(2, 2)
        self.again = nn.ModuleList([self.shared, self.shared])
        self.steps = nn.Parameter(torch.zeros((), dtype=torch.long), requires_grad=False)

    def forward(self, x):
        z = x @ self.items[0] + self.items[1]
        for layer in self.again:
            z = layer(z).tanh()
        return z * self.named["scale"]


def hooked():
    model = initialised(Outer(Net()))
    model.block.register_forward_hook(lambda module, args, output: output * 2)
    model.head.register_full_backward_hook(lambda module, grads, outputs: None)
    return model


class Sparse(nn.Module):
    """An embedding whose gradient torch keeps sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(5, 3, sparse=True), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.table((x[:, 0] > 0).long()).tanh())


class Attention(nn.Module):
    """Default attention, which may be run again by an activation checkpoint."""

    def __init__(self, settings=None) -> None:
        super().__init__()
        self.qkv, self.settings = nn.Linear(1, 12), settings

    def block(self, x):
        q, k, v = self.qkv(x[:, :, None]).reshape(-1, 3, 3, 2, 2).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).mean((1, 2))

    def forward(self, x):
        if self.settings is None:
            return self.block(x)
        return checkpoint(self.block, x.clone().requires_grad_(), **self.settings)


def partly_compiled():
    """torch.compile with autograd refuses double backward; aot_eager needs no compiler."""
    model = initialised(Outer(Net()))
    model.block = torch.compile(model.block, backend="aot_eager")
    model(X)
    return model


MODELS = {
    "sparse gradients": lambda: initialised(Sparse()),
    "attention": lambda: initialised(Attention()),
    "partly compiled": partly_compiled,
    "stash": stashing,
    "spectral norm": spectral(nn.utils.parametrizations.spectral_norm),
    "old spectral norm": spectral(nn.utils.spectral_norm),
    "weight norm": spectral(nn.utils.parametrizations.weight_norm),
    "lists": lambda: initialised(Lists()),
    "hooks": hooked,
    "compiled": lambda: torch.compile(net(), backend="eager"),
    "data parallel": lambda: nn.DataParallel(net()),
    "train mode": lambda: initialised(mlp_model()).train(),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_of_all_kinds_are_read_without_a_trace(name, unchecked):
    model = MODELS[name]()
    owner = getattr(model, "_orig_mod", getattr(model, "module", model))
    problem = Problem(model, MSE, (X, Y))
    before = trace_of(model, X, Y)
    numbers = numbers_of(problem)
    assert_no_trace(before, model, X, Y)
    assert torch.equal(numbers, numbers_of(problem))
    # Last, since the owner's own forward may move its buffers (spectral norm).
    assert numbers[0] == pytest.approx(MSE(owner(X), Y).item(), rel=1e-12)


class Ema(nn.Module):
    """A loss with a parameter and a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((), 2.0).double())
        self.register_buffer("mean", torch.zeros(()).double())
        self.calls = 0

    def forward(self, output, target):
        self.calls += 1
        self.mean.mul_(0.9).add_(0.1 * output.detach().mean())
        return self.scale * (output - target - self.mean).square().mean()


def test_a_loss_with_a_state_is_left_alone_and_read_as_it_is(unchecked):
    model, loss = net(), Ema()
    problem = Problem(model, loss, (X, Y))
    before = trace_of(loss)
    first, second = value_of(problem), value_of(problem)
    assert_no_trace(before, loss)
    assert first == second == loss(model(X), Y).item()
    assert value_of(problem) != first  # the owner's own call moved the mean


@pytest.mark.parametrize("is_reentrant", [True, False])
def test_activation_checkpoints_are_refused(is_reentrant):
    """They would run the network again with the parameters of then: silently another surface."""
    model = initialised(Attention({"use_reentrant": is_reentrant}))
    with pytest.raises(ProblemError, match=r"activation checkpoints.*gradient_checkpointing_disa"):
        Surface(Problem(model, MSE, (X, Y)))


def target_by_name(output, target=None):
    return MSE(output, target)


def many(*tensors):
    return MSE(*tensors)


def alone(output, reduction="mean"):
    return output.square().mean()


@pytest.mark.parametrize("loss", [target_by_name, many, nn.MSELoss(), partial(MSE), torch.dist])
def test_losses_that_take_a_target(loss):
    problem = Problem(net(), loss, (X, Y))
    assert value_of(problem) == pytest.approx(loss(problem.model(X), Y).item(), rel=1e-12)


@pytest.mark.parametrize("loss", [alone, lambda z: z.mean()])
def test_losses_of_the_output_alone(loss):
    problem = Problem(net(), loss, (X, Y))
    assert value_of(problem) == pytest.approx(loss(problem.model(X)).item(), rel=1e-12)


class TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 1)

    def forward(self, x):
        return self.lstm(x)[0][-1]


def test_time_first_batches_are_not_cut_in_time(generator):
    problem = Problem(initialised(TimeFirst()), MSE, (draw(4, 7, 2), draw(7, 1)))
    assert problem.num_samples == 7
    with pytest.raises(ProblemError, match=r"broadcast|shape"):
        problem.evaluate(problem.model, epoch(problem, 3, generator, 1)[0])


FORMS = {
    "list from a loader": lambda: loader(X, Y, batch_size=5),
    "named tuples": lambda: [namedtuple("Pair", "x y")(X, Y)],
    "one dict": lambda: {"x": X, "y": Y},
    "dicts with a constant": lambda: [
        {"x": x, "y": y, "step": torch.tensor(3)} for x, y in cut((X, Y), 4, 3)],
    "inputs by name": lambda: ({"x": X}, Y),
    "an iterable loader": lambda: DataLoader(
        type("Rows", (IterableDataset,), {"__iter__": lambda self: zip(X, Y, strict=True)})(), 3),
    "without automatic batches": lambda: DataLoader(cut((X, Y), 5, 2), batch_size=None),
    "any re-iterable": lambda: {"first": (X[:5], Y[:5]), "second": (X[5:], Y[5:])}.values(),
    "shuffled": lambda: loader(X, Y, batch_size=4, shuffle=True),
    "data that require grad": lambda: (X.clone().requires_grad_(), Y),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_data_in_all_forms(form):
    problem = Problem(net(), MSE, FORMS[form]())
    assert problem.num_samples == 7
    assert value_of(problem) == pytest.approx(MSE(problem.model(X), Y).item(), rel=1e-12)


def output_forms(z):
    class Output(dict):
        """In the manner of ModelOutput: a dict with attributes."""

        __getattr__ = dict.get

    loss = z.square().mean()
    return {
        "dict": {"loss": loss, "logits": z},
        "model output": Output(loss=loss, logits=z),
        "object": SimpleNamespace(loss=loss, logits=z),
        "loss of shape (1,)": {"loss": loss.reshape(1), "logits": z},
    }


@pytest.mark.parametrize("form", output_forms(torch.zeros(1)))
def test_outputs_that_bring_their_loss(form):
    model = net(after=lambda z: output_forms(z)[form])
    problem = Problem(model, None, {"x": X})
    point = Surface(problem).here()
    assert point.value == pytest.approx(model.layer(X).square().mean().item(), rel=1e-12)
    ones = torch.ones(8, dtype=torch.float64)
    torch.testing.assert_close(point.ggn() @ ones, point.hessian() @ ones)


def test_a_mask_of_minus_infinity_is_no_birthplace():
    """The NaN comes from the last layer, not from the attention that was handed a mask."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.TransformerEncoderLayer(4, 2, 3, batch_first=True, dropout=0.0)
            self.head = nn.Linear(4, 1)

        def forward(self, x):
            mask = nn.Transformer.generate_square_subsequent_mask(3, dtype=x.dtype)
            return self.head(1e300 * self.encoder(x, src_mask=mask))

    model = filled(initialised(Masked()), "head.weight", 1e300)
    with pytest.raises(NonFiniteError, match=r"born in layer 'head' \(Linear\)"):
        value_of(Problem(model, lambda z: z.mean(), draw(7, 3, 4)))


# -- problems made from problems ------------------------------------------------------------


def test_in_eval_mode_leaves_the_owners_mode():
    model = initialised(nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)))
    problem = Problem(model, MSE, (X, Y)).in_eval_mode()
    assert value_of(problem) == pytest.approx(MSE(model[0](X), Y).item(), rel=1e-12)
    assert model.training
    assert model[1].training
    assert next(iter(problem.parameters.values())) is model[0].weight


@pytest.mark.parametrize("make", [net, stashing, MODELS["compiled"], MODELS["old spectral norm"]])
def test_a_copy_is_free_to_be_trained(make, unchecked):
    model = make()
    problem = Problem(model, MSE, (X, Y), test=(X, Y))
    copied = problem.copied()
    before = trace_of(model)
    value = value_of(problem)
    assert value_of(copied) == pytest.approx(value, rel=1e-9)
    optimizer = torch.optim.SGD(copied.model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        copied.evaluate(copied.model, copied.batches[0]).loss.backward()
        optimizer.step()
    assert value_of(copied) < value
    assert_no_trace(before, model)


@pytest.mark.parametrize("derive", [Problem.copied, Problem.held, Problem.in_eval_mode,
                                    lambda p: p.to(dtype=torch.float64)])  # fmt: skip
def test_derived_problems_read_the_data_once(derive):
    """Bare tensors in two batches look like (input, target) and are not."""
    reads = []

    class Once(list):
        def __iter__(self):
            reads.append(1)
            return super().__iter__()

    problem = Problem(initialised(nn.Linear(3, 3)), MSE, Once([(X, X)]), test=Once([(X, X)]))
    assert (len(problem.batches), len(problem.test_batches), len(reads)) == (1, 1, 2)
    derived = derive(problem)
    assert (len(derived.batches), len(derived.test_batches), len(reads)) == (1, 1, 2)
    bare = Problem(initialised(nn.Linear(3, 3)), MSE, loader(X, batch_size=4, collate_fn=rows))
    assert derive(bare).num_samples == bare.num_samples == 7


def rows(samples):
    return torch.stack([x for (x,) in samples])


def test_to_converts_model_loss_and_data_and_leaves_the_original():
    weight = torch.tensor([0.3, 2.0], dtype=torch.float64)
    for loss in (nn.CrossEntropyLoss(weight), lambda z, y: F.cross_entropy(z, y),
                 partial(F.cross_entropy, weight=weight)):  # fmt: skip
        problem = Problem(net(), loss, (X, CLASSES), test=(X, CLASSES))
        value = value_of(problem)
        single = problem.to(dtype=torch.float32)
        assert single.parameters["layer.weight"].dtype == torch.float32
        assert single.test_batches[0][0].dtype == torch.float32
        assert value_of(single) == pytest.approx(value, rel=1e-5)
        assert value_of(problem) == value


def test_other_data_of_the_same_form():
    problem = Problem(net(), MSE, (X, Y))
    part = problem.with_data([(X[:3], Y[:3])])
    assert part.num_samples == 3
    assert value_of(part) == pytest.approx(MSE(problem.model(X[:3]), Y[:3]).item(), rel=1e-12)


# -- minibatches ----------------------------------------------------------------------------


def epoch(problem, size, generator, count):
    stream = problem.minibatches(size, generator)
    return [next(stream) for _ in range(count)]


def test_an_epoch_of_minibatches_is_all_the_data(generator):
    problem = Problem(net(), MSE, cut((X, Y), 5, 2))
    stream = problem.minibatches(3, generator)
    orders = []
    for _ in range(2):
        batches = [next(stream) for _ in range(3)]
        assert [len(x) for x, _ in batches] == [3, 3, 1]
        x, y = (torch.cat(column) for column in zip(*batches, strict=True))
        order = [int((row == X).all(1).nonzero()) for row in x]
        assert sorted(order) == list(range(7))
        assert torch.equal(y, Y[order])
        orders.append(order)
    assert orders[0] != orders[1]


def test_minibatches_of_dicts_keep_constants(generator):
    batch = {"x": X, "y": Y, "scale": torch.tensor(2.0), "positions": torch.arange(5)}
    for part in epoch(Problem(net(), MSE, batch), 3, generator, 2):
        assert len(part["x"]) == len(part["y"]) == 3
        assert part["scale"] is not None
        assert part["positions"].tolist() == [0, 1, 2, 3, 4]


def test_ragged_batches_come_whole(generator):
    batches = [(draw(2, t, 3), draw(2, t, 2)) for t in (2, 4, 3)]
    got = epoch(Problem(net(), MSE, batches), 5, generator, 3)
    assert sorted(x.shape[1] for x, _ in got) == [2, 3, 4]


def test_the_shelf_is_read():
    """The shelf's own footing: every problem on it passes the check."""
    for factory in SHELF.values():
        factory().problem.check()


class Fussy(nn.Module):
    """Takes batches of one size only."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inner, self.size = nn.Linear(8, 2), size
        self.seen: list[int] = []

    def forward(self, x):
        self.seen.append(len(x))
        if len(x) != self.size:
            raise ValueError(f"I take {self.size}")
        return self.inner(x)


def test_a_check_runs_on_a_part_where_the_model_takes_one():
    x = torch.randn(320, 8)
    problem = Problem(nn.Linear(8, 2), F.mse_loss, (x, torch.randn(320, 2)))
    problem.check()
    assert len(problem.part[0]) == 20
    assert len(problem.held().part[0]) == 20


def test_a_model_that_takes_no_part_is_checked_on_the_whole():
    x = torch.randn(320, 8)
    problem = Problem(Fussy(320), F.mse_loss, (x, torch.randn(320, 2)))
    problem.check()
    assert len(problem.part[0]) == 320
    with pytest.raises(ProblemError, match="raised ValueError on batch 0: I take 319"):
        Problem(Fussy(319), F.mse_loss, (x, torch.randn(320, 2))).check()


def test_a_target_that_was_written_to_is_looked_at_again():
    x, y = torch.randn(6, 3), torch.arange(6) % 2
    problem = Problem(nn.Linear(3, 2), nn.functional.cross_entropy, (x, y))
    problem.forward(problem.parameters, (x, y))
    y[3] = 7
    with pytest.raises(ProblemError, match="target out of range"):
        problem.forward(problem.parameters, (x, y))


def test_a_sound_target_is_looked_at_once(monkeypatch):
    x, y = torch.randn(6, 3), torch.arange(6) % 2
    problem = Problem(nn.Linear(3, 2), nn.functional.cross_entropy, (x, y))
    looked: list[int] = []
    look = torch.Tensor.aminmax
    monkeypatch.setattr(torch.Tensor, "aminmax", lambda t: looked.append(1) or look(t))
    for _ in range(3):
        problem.forward(problem.parameters, (x, y))
    assert len(looked) == 1
