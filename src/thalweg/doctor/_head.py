"""Head: how the network's output meets the loss, read from one training step on a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from thalweg._batch import call_of
from thalweg._errors import ThalwegError
from thalweg._loss import Kind, known_loss, logits_of
from thalweg._problem import Problem
from thalweg._reading import reading
from thalweg._recipe import set_mode, take_step
from thalweg.doctor._domain import squash_wanted
from thalweg.doctor._trial import made_optimizer

CORES = {
    "NllLoss": Kind.LOG_CLASSES,
    "NllLoss2D": Kind.LOG_CLASSES,
    "BinaryCrossEntropyWithLogits": Kind.BINARY_LOGITS,
    "BinaryCrossEntropy": Kind.BINARY,
    "MseLoss": Kind.SQUARED,
    "HuberLoss": Kind.ELEMENTWISE,
    "SmoothL1Loss": Kind.ELEMENTWISE,
}
"""Losses by the node that they leave in autograd's graph."""

VIEWS = (
    *("View", "UnsafeView", "Reshape", "ReshapeAlias", "Squeeze", "Unsqueeze", "Expand", "Alias"),
    *("Transpose", "Permute", "T", "Clone", "Slice", "Select", "ToCopy", "Flatten"),
)
"""Nodes that change no value."""

COMPARING = frozenset(
    {"sub", "rsub", "__sub__", "__rsub__", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"}
)
"""Functions that compare output and target elementwise."""


@dataclass(frozen=True)
class Head:
    """How the output meets the loss.

    Args:
        kind: the family of the loss, None where it is not known.
        squashes: the last operations before the loss, from it back to the network, as far as they
            are activations: ("softmax",) is a network that ends in a softmax.
        output_shape: of a minibatch.
        target_shape: of a minibatch, None without a target.
        broadcast: the two shapes that the loss compares every sample with every other by.
        low: the least output over all data, at the point handed over.
        high: the greatest.
        target_low: the least target.
        target_high: the greatest; padding left out.
        row_sum_error: |Σ_c exp(output_c) − 1| over the classes at most, None without classes.
        missing: the squash that a loss of one's own wants before it, "" for none.
        foreign: tensors that a gradient reaches and that are no parameters of the model.
    """

    kind: Kind | None
    squashes: tuple[str, ...]
    output_shape: tuple[int, ...]
    target_shape: tuple[int, ...] | None
    broadcast: tuple[tuple[int, ...], tuple[int, ...]] | None
    low: float
    high: float
    target_low: float | None
    target_high: float | None
    row_sum_error: float | None
    missing: str
    foreign: int

    @property
    def num_classes(self) -> int | None:
        """Outputs to choose a class from, None where the loss knows no classes."""
        if self.kind not in (Kind.CLASSES, Kind.LOG_CLASSES) or not self.output_shape:
            return None
        return self.output_shape[1 if len(self.output_shape) > 1 else 0]

    @property
    def final(self) -> str:
        """The last activation before the loss, "" where there is none."""
        return self.squashes[0] if self.squashes else ""


class _Ears(TorchFunctionMode):
    """Hears the loss that is differentiated, and comparisons outside of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.loss: Tensor | None = None
        self.output: Any = None
        self.is_inside = False
        self.compared: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name == "backward" and self.loss is None and args and isinstance(args[0], Tensor):
            self.loss = args[0]
        if name in COMPARING and not self.is_inside:
            pair = [tuple(a.shape) for a in args[:2] if isinstance(a, Tensor)]
            if len(pair) == 2:
                self.compared.append((pair[0], pair[1]))
        return func(*args, **(kwargs or {}))

    @contextmanager
    def listening(self, model: torch.nn.Module) -> Iterator[None]:
        def enter(*_: Any) -> None:
            self.is_inside = True

        def leave(_: Any, __: Any, output: Any) -> None:
            self.is_inside, self.output = False, output

        with model.register_forward_pre_hook(enter), model.register_forward_hook(leave), self:
            yield


def head_of(problem: Problem, batch_size: int) -> Head:
    """Reads the head of a problem; whatever breaks on the way leaves less to be read.

    Cost: one training step of a minibatch, and a forward pass over the data.
    """
    copied, ears = problem.copied(), _Ears()
    with reading():
        torch.manual_seed(0)
        batch = next(iter(problem.minibatches(batch_size, torch.Generator().manual_seed(0))))
        set_mode(copied)
        try:
            with ears.listening(copied.model):
                take_step(copied, batch, made_optimizer(copied), "a step")
        except ThalwegError:
            pass  # said by the watched run
        ears.is_inside = False
        names = path_of(ears.loss) if ears.loss is not None else ()
        output = logits_of(ears.output)
        target = call_of(batch, copied.model).target
        shape = tuple(output.shape) if isinstance(output, Tensor) else ()
        target_shape = tuple(target.shape) if isinstance(target, Tensor) else None
        kind = _kind(problem, names)
        missing = ""
        if kind is None and problem.loss is not None and isinstance(output, Tensor):
            missing = squash_wanted(problem.loss, output, target)
        low, high, row_sum_error = _range(problem, kind)
    if not names and isinstance(output, Tensor) and output.grad_fn is not None:
        names = path_of(output)
    target_low, target_high = _target_range(problem, kind)
    # A loss of torch's own refuses such shapes before it is called.
    is_elementwise = kind in (Kind.SQUARED, Kind.ELEMENTWISE)
    refused = [(shape, target_shape)] if is_elementwise and target_shape is not None else []
    return Head(
        kind=kind,
        squashes=_squashes(names, kind),
        output_shape=shape,
        target_shape=target_shape,
        broadcast=_broadcast(ears.compared if ears.loss is not None else refused),
        low=low,
        high=high,
        target_low=target_low,
        target_high=target_high,
        row_sum_error=row_sum_error,
        missing=missing,
        foreign=_foreign(ears.loss, copied),
    )


def path_of(tensor: Tensor) -> tuple[str, ...]:
    """The operations that a tensor came from, the last first, along their first arguments."""
    node: Any = tensor.grad_fn
    names: list[str] = []
    while node is not None and len(names) < 200:
        names.append(node.name().split("Backward")[0].rsplit("::")[-1])
        node = next((function for function, _ in node.next_functions if function), None)
    return tuple(names)


def _kind(problem: Problem, names: Sequence[str]) -> Kind | None:
    """The loss that is differentiated; the problem's own where no graph shows another."""
    for at, name in enumerate(names):
        if name in CORES:
            following = next((n for n in names[at + 1 :] if n not in VIEWS), "")
            is_logits = name.startswith("Nll") and following == "LogSoftmax"
            return _told_by_loss(problem, Kind.CLASSES if is_logits else CORES[name])
        if name == "Abs" and "Sub" in names[at + 1 : at + 3]:
            return Kind.ELEMENTWISE
        if name == "Pow" and "Sub" in names[at + 1 : at + 3]:
            return Kind.SQUARED
        if name == "LogSoftmax":
            return Kind.CLASSES
    known = known_loss(problem.loss)
    return known.kind if known else None


def _told_by_loss(problem: Problem, kind: Kind) -> Kind:
    """A log-softmax that ends the network belongs to it, not to the loss, where that is known."""
    known = known_loss(problem.loss)
    return known.kind if known and {known.kind, kind} == {Kind.CLASSES, Kind.LOG_CLASSES} else kind


SQUASHES = {
    "Softmax": "softmax",
    "LogSoftmax": "log-softmax",
    "Sigmoid": "sigmoid",
    "Relu": "relu",
    "Tanh": "tanh",
    "LeakyRelu": "leaky relu",
    "Hardtanh": "hardtanh",
    "Softplus": "softplus",
    "LogSigmoid": "log-sigmoid",
}


def _squashes(names: Sequence[str], kind: Kind | None) -> tuple[str, ...]:
    """The activations next to the loss's core, from it back, up to the first other operation."""
    core = next((at for at, name in enumerate(names) if name in CORES), None)
    if core is None:
        core = next((at for at, n in enumerate(names) if n in ("Sub", "LogSoftmax")), -1)
        core -= core >= 0 and names[core] == "LogSoftmax"
    found: list[str] = []
    for name in names[core + 1 :]:
        if name in SQUASHES:
            found.append(SQUASHES[name])
        elif name == "Log":
            found.append("log")
        elif name not in VIEWS:
            break
    # Cross-entropy begins with a log-softmax of its own.
    return tuple(found[1:] if kind is Kind.CLASSES and found[:1] == ["log-softmax"] else found)


def _broadcast(
    pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    for one, other in pairs:
        short, long = sorted((one, other), key=len)
        # (n,) against (n, 1) makes (n, n): every sample meets every other.
        if len(long) == len(short) + 1 and long[-1] == 1 and long[:-1] == short and short[-1] > 1:
            return one, other
    return None


def _range(problem: Problem, kind: Kind | None) -> tuple[float, float, float | None]:
    low, high, error = torch.inf, -torch.inf, None
    model = problem.copied().model.eval()
    with torch.no_grad():
        for batch in problem.batches:
            call = call_of(batch, model)
            try:
                output = logits_of(model(*call.args, **call.kwargs))
            except Exception:
                return torch.nan, torch.nan, None
            if not isinstance(output, Tensor) or not output.numel():
                return torch.nan, torch.nan, None
            finite = output[torch.isfinite(output)]
            if finite.numel():
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            if kind is Kind.LOG_CLASSES and output.ndim > 1:
                total = output.double().exp().sum(1)
                error = max(error or 0.0, float((total - 1).abs().nan_to_num(0.0).max()))
    return low, high, error


def _target_range(problem: Problem, kind: Kind | None) -> tuple[float | None, float | None]:
    known = known_loss(problem.loss)
    padding = known.ignore_index if known else -100
    low, high = torch.inf, -torch.inf
    for batch in problem.batches:
        target = call_of(batch, problem.model).target
        if not isinstance(target, Tensor) or not target.numel():
            return None, None
        if kind in (Kind.CLASSES, Kind.LOG_CLASSES) and not target.is_floating_point():
            target = target[target != padding]
        finite = target[torch.isfinite(target)] if target.is_floating_point() else target
        if finite.numel():
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if low <= high else (None, None)


def _foreign(loss: Tensor | None, problem: Problem) -> int:
    """Leaves that a gradient reaches and that no module of the model has registered."""
    if loss is None or loss.grad_fn is None:
        return 0
    own = {id(p) for p in problem.model.parameters()}
    seen: set[Any] = set()
    stack: list[Any] = [loss.grad_fn]
    foreign: set[int] = set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) not in own and variable.numel() > 1:
            foreign.add(id(variable))
        stack.extend(function for function, _ in node.next_functions if function)
    return len(foreign)
