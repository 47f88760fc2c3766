"""Where a NaN or an infinity is born: the layer, the operation, and what that was given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from thalweg._batch import Batch, num_samples, tensors_in
from thalweg._problem import Problem
from thalweg._randomness import refuse_random_modes
from thalweg._reading import reading

FORWARD, BACKWARD, GIVEN = "forward", "backward", "given"

_MASKS = ("masked_fill", "full", "fill", "where", "tril", "triu", "scalar_tensor", "lift_fresh")
"""Operations that write an infinity because they were told to: attention masks."""

_KEY = "thalweg.module"


@dataclass(frozen=True)
class Range:
    """What an operation was given: the finite numbers of one tensor.

    Args:
        shape: of the tensor.
        low: the smallest.
        high: the largest.
    """

    shape: tuple[int, ...]
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.shape} from {self.low:.4g} to {self.high:.4g}"


@dataclass(frozen=True)
class Birth:
    """An operation with sound inputs whose output is not finite.

    Args:
        phase: "forward", "backward", or "given" for data, buffers and parameters.
        layer: the innermost module that ran it (in the backward pass: whose operation it is the
            derivative of), "" for the model's own forward, "loss" outside of it.
        kind: that module's class.
        operation: as torch calls it, for instance "log"; in the backward pass with its node,
            "SqrtBackward0: div".
        value: "nan", "inf" or "-inf".
        count: how many entries.
        size: of how many.
        inputs: what it was given.
        batch: index of the batch.
        sample: of the first entry, where the output runs over samples; None elsewhere.
    """

    phase: str
    layer: str
    kind: str
    operation: str
    value: str
    count: int
    size: int
    inputs: tuple[Range, ...]
    batch: int
    sample: int | None

    def __str__(self) -> str:
        if self.phase == GIVEN:
            return f"{self.count} of {self.size} numbers of {self.layer} are {self.value}"
        place = {"": "the model's own forward", "loss": "the loss"}.get(
            self.layer, f"layer {self.layer!r} ({self.kind})"
        )
        given = "; ".join(map(str, self.inputs)) or "no numbers"
        return (
            f"{self.operation} in {place}, {self.phase} pass of batch {self.batch}, made "
            f"{self.count} of {self.size} entries {self.value} from {given}"
        )


@dataclass(frozen=True)
class Births:
    """Why a loss or a gradient is not finite.

    Args:
        births: every operation where one was born, in the order of running; the first is the one
            to mend.
        loss: its value on that batch.
        parameters: whose gradient is not finite, where the loss is.
    """

    births: tuple[Birth, ...]
    loss: float
    parameters: tuple[str, ...]

    def __str__(self) -> str:
        return str(self.births[0])


def births(problem: Problem) -> Births | None:
    """Follows every operation, forward and backward, to where the first NaN or infinity is born.

    Args:
        problem: the network, the loss and the data.

    Returns:
        The births on the first batch whose loss or gradient is not finite; None if all are.
        Infinities that do no harm (attention masks, a branch that is not taken) are no births
        unless the loss or a gradient is not finite in the end.

    Raises:
        RandomModelError: if the model is random in its mode.
        ProblemError: if the model or the loss raises.

    Cost: a gradient, with a look at every tensor; several times the time of training.

    Source: PyTorch's anomaly detection (Paszke et al. 2019) stops at a NaN of the backward pass
    only, and says nothing of what went in; we look at every operation of both.

    Example:
        >>> import torch, thalweg
        >>> from torch import nn
        >>> class Root(nn.Module):
        ...     def forward(self, x):
        ...         return x.sqrt()
        >>> model = nn.Sequential(nn.Linear(2, 1, bias=False), Root())
        >>> _ = nn.init.zeros_(model[0].weight)
        >>> data = (torch.ones(3, 2), torch.ones(3, 1))
        >>> found = births(thalweg.Problem(model, nn.functional.mse_loss, data))
        >>> found.births[0].phase, found.births[0].layer, found.births[0].operation
        ('backward', '1', 'SqrtBackward0: div')
    """
    problem.ranks.refuse("births(problem)")
    refuse_random_modes(problem.shadow)
    with reading():
        for index, batch in enumerate(problem.batches):
            found = _births_on(problem, batch, index)
            if found is not None:
                return found
    return None


def _births_on(problem: Problem, batch: Batch, index: int) -> Births | None:
    model = problem.shadow
    leaves = {name: p.detach().requires_grad_() for name, p in problem.parameters.items()}
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    watch = _Watch(index, num_samples(batch))

    def run(*args: Any, **kwargs: Any) -> Any:
        return functional_call(model, {**leaves, **buffers}, args, kwargs)

    with _following(model, watch):
        with watch:
            loss = problem.evaluate(run, batch, f"batch {index}").loss
        gradients: tuple[Tensor, ...] = ()
        if bool(torch.isfinite(loss)) and loss.requires_grad:
            watch.phase = BACKWARD
            with watch:
                gradients = torch.autograd.grad(
                    loss, tuple(leaves.values()), materialize_grads=True, allow_unused=True
                )
    bad = [n for n, g in zip(leaves, gradients, strict=False) if not bool(torch.isfinite(g).all())]
    if bool(torch.isfinite(loss)) and not bad:
        return None
    given = [
        _given(f"{what} {name!r}", tensor, index)
        for what, named in (("parameter", leaves), ("buffer", buffers))
        for name, tensor in named.items()
        if not bool(torch.isfinite(tensor).all())
    ]
    given += [
        _given("the data", tensor, index)
        for tensor in tensors_in(batch)
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    return Births((*given, *watch.births), float(loss.detach()), tuple(bad))


class _Watch(TorchDispatchMode):
    """Looks at every operation, below autograd, in both directions."""

    def __init__(self, batch: int, samples: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.phase = FORWARD
        self.running: list[tuple[str, str]] = []
        self.births: list[Birth] = []
        self._batch, self._samples = batch, samples

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.name().removeprefix("aten::").split(".")[0]
        given = [t for t in tensors_in((args, kwargs or {})) if t.is_floating_point()]
        has_nan = any(bool(t.isnan().any()) for t in given)
        has_infinity = any(bool(t.isinf().any()) for t in given)
        # An operation may write into what it was given, so that it is looked at before.
        ranges = tuple(map(_range, given)) if given else ()
        result = func(*args, **(kwargs or {}))
        if not given or "empty" in name:
            return result
        for made in tensors_in(result):
            if not made.is_floating_point() or bool(torch.isfinite(made).all()):
                continue
            is_nan = bool(made.isnan().any())
            is_told = name.strip("_").startswith(_MASKS)
            if (is_nan and not has_nan) or not (is_nan or has_nan or has_infinity or is_told):
                self.births.append(self._birth(name, made, ranges, is_nan))
                break
        return result

    def _birth(self, name: str, made: Tensor, ranges: tuple[Range, ...], is_nan: bool) -> Birth:
        bad = made.isnan() if is_nan else made.isinf()
        value = "nan" if is_nan else ("inf" if bool((made[bad] > 0).any()) else "-inf")
        runs_over_samples = made.ndim > 0 and len(made) == self._samples
        layer, kind = self._place()
        node = torch._C._current_autograd_node() if self.phase == BACKWARD else None
        return Birth(
            phase=self.phase,
            layer=layer,
            kind=kind,
            operation=f"{node.name()}: {name}" if node is not None else name,
            value=value,
            count=int(bad.sum()),
            size=made.numel(),
            inputs=ranges,
            batch=self._batch,
            sample=int(bad.nonzero()[0][0]) if runs_over_samples else None,
        )

    def _place(self) -> tuple[str, str]:
        if self.phase == FORWARD:
            return self.running[-1] if self.running else ("loss", "")
        node: Any = torch._C._current_autograd_node()
        place: tuple[str, str] = ("loss", "")
        if node is not None:
            place = node.metadata.get(_KEY, place)
        return place


@contextmanager
def _following(model: nn.Module, watch: _Watch) -> Iterator[None]:
    """Keeps the stack of running modules, and marks the graph's nodes with theirs."""
    names = {module: (name, type(module).__name__) for name, module in model.named_modules()}

    def enter(module: nn.Module, _: Any) -> None:
        watch.running.append(names[module])

    def leave(_: nn.Module, __: Any, output: Any) -> None:
        place = watch.running.pop()
        nodes: list[Any] = [t.grad_fn for t in tensors_in(output)]
        while nodes:
            node = nodes.pop()
            if node is None or _KEY in node.metadata:
                continue
            node.metadata[_KEY] = place
            nodes.extend(following for following, _ in node.next_functions)

    handles: list[Any] = []
    for module in names:
        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _range(tensor: Tensor) -> Range:
    finite = tensor.detach()[torch.isfinite(tensor)]
    if finite.numel() == 0:
        return Range(tuple(tensor.shape), float("nan"), float("nan"))
    return Range(tuple(tensor.shape), float(finite.min()), float(finite.max()))


def _given(what: str, tensor: Tensor, batch: int) -> Birth:
    bad = ~torch.isfinite(tensor.detach())
    value = "nan" if bool(tensor.isnan().any()) else "inf"
    first = int(bad.nonzero()[0][0]) if what == "the data" and tensor.ndim else None
    return Birth(GIVEN, what, "", "", value, int(bad.sum()), bad.numel(), (), batch, first)
