"""Problem: a model, a loss and data. The root of every reading."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from thalweg._batch import (
    Batch,
    Call,
    call_of,
    concatenate,
    describe,
    map_tensors,
    num_samples,
    take,
    tensors_in,
)
from thalweg._errors import (
    DetachedLossError,
    NonFiniteError,
    ProblemError,
    RandomModelError,
    ThalwegError,
)
from thalweg._layout import Params
from thalweg._loss import known_loss
from thalweg._nonfinite import birthplace
from thalweg._reading import reading, shadow_of, unwrapped
from thalweg._reduction import Reduction, reduction_of

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

MAX_DATA_BYTES = 4 * 2**30
"""Data are read into memory once, so that every reading sees the same; this is the most."""


@dataclass(frozen=True)
class Evaluation:
    """One forward pass: the loss (a scalar with its graph) and what the model returned."""

    loss: Tensor
    output: Any

    @property
    def logits(self) -> Any:
        """The tensor that the loss reads: `output.logits`, `output["logits"]` or the output."""
        if isinstance(self.output, Mapping) and "logits" in self.output:
            return self.output["logits"]
        return getattr(self.output, "logits", self.output)


@dataclass(frozen=True, eq=False)
class Problem:
    """A model, a loss and data: L(θ) = Σ_b w_b ℓ(model_θ(x_b), y_b) / Σ_b w_b.

    w_b is the number of terms in the mean of batch b, so that uneven batches weigh what they
    should; a loss that is a sum over terms is added up instead.

    Args:
        model: any `nn.Module`. It is never changed, neither its mode nor its `.grad`; compiled
            and distributed wrappers are taken off. The mode it is in is the mode it is read in.
        loss: `loss(output, target)` returning a scalar, for instance
            `torch.nn.functional.cross_entropy`; None where the model returns it as `output.loss`.
            A loss with a single argument gets the output alone.
        data: one batch or several. A batch is a tuple `(input, target)`, a dict (fed as
            `model(**batch)`, its target under "labels", "label", "targets", "target" or "y") or a
            tensor (its own target). Several are a list of batches, a `DataLoader` or any sized or
            re-iterable collection. They are read once, on first use, and kept.
        test: held-out data in the same forms.
        optimizer: what they train with: `lambda params: torch.optim.SGD(params, lr=0.1)`.
        batch_size: the minibatch they train with.
        num_terms: w_b of a batch, where thalweg cannot find it by itself.
        name: a title for reports.

    Raises:
        ProblemError: if an argument is not what it should be.

    Cost:
        Nothing on construction; data are read on first use.

    Example:
        >>> import torch
        >>> x, y = torch.randn(7, 3), torch.randn(7, 1)
        >>> problem = Problem(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss, (x, y))
        >>> problem.num_samples
        7
    """

    model: nn.Module
    loss: Callable[..., Tensor] | None
    data: Any
    _: KW_ONLY
    test: Any = None
    optimizer: OptimizerFactory | None = None
    batch_size: int | None = None
    num_terms: Callable[[Batch], float] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise ProblemError(
                f"the model is a {type(self.model).__name__}; Problem(model, loss, data) takes an "
                f"nn.Module first"
            )
        if self.loss is not None and not callable(self.loss):
            raise ProblemError(
                f"the loss is a {type(self.loss).__name__}; give a function of (output, target), "
                f"or None where the model returns output.loss"
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise ProblemError(f"batch_size={self.batch_size}; give a whole number of 1 or more")

    # -- data -------------------------------------------------------------------------------

    @cached_property
    def batches(self) -> tuple[Batch, ...]:
        """The training data, read once.

        Raises:
            ProblemError: if they are empty, an iterator, or larger than memory allows.
        """
        return _read(self.data, "data", self._loss_takes_target)

    @cached_property
    def test_batches(self) -> tuple[Batch, ...]:
        """The held-out data, read once; empty where there are none."""
        return () if self.test is None else _read(self.test, "test", self._loss_takes_target)

    @property
    def num_samples(self) -> int:
        """N, the number of samples of the training data."""
        return sum(num_samples(batch) for batch in self.batches)

    def minibatches(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Endless minibatches in random order, epoch after epoch, the ragged last one included.

        Batches that cannot be joined (ragged sequences) come one at a time as they are.
        """
        try:
            pool: Batch | None = concatenate(self.batches)
        except ValueError:
            pool = None
        while True:
            if pool is None:
                for i in torch.randperm(len(self.batches), generator=generator).tolist():
                    yield self.batches[i]
            else:
                order = torch.randperm(num_samples(pool), generator=generator)
                for index in order.split(batch_size):
                    device = tensors_in(pool)[0].device
                    yield take(pool, index.to(device))

    # -- other problems made from this one --------------------------------------------------

    def in_eval_mode(self) -> Problem:
        """The same problem read in evaluation mode; the owner's model keeps its own mode."""
        return replace(self, model=shadow_of(self.model).eval())

    def with_model(self, model: nn.Module) -> Problem:
        """The same problem with another model on the same, already read data."""
        return replace(
            self, model=model, data=list(self.batches), test=list(self.test_batches) or None
        )

    def copied(self) -> Problem:
        """The same problem with a model of its own, free to be trained."""
        with torch.inference_mode(False):
            return self.with_model(copy.deepcopy(unwrapped(self.model)))

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Problem:
        """A copy of the problem with model and data on a device and in a floating dtype."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else None)

        copied = self.copied()
        loss = self.loss
        if isinstance(loss, nn.Module):
            loss = copy.deepcopy(loss).to(device, dtype)
        return replace(
            copied,
            model=copied.model.to(device, dtype),
            loss=loss,
            data=[map_tensors(batch, move) for batch in self.batches],
            test=[map_tensors(batch, move) for batch in self.test_batches] or None,
        )

    # -- parameters and evaluation ----------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The trainable parameters by name, live. Tied ones appear once.

        Raises:
            ProblemError: if there is none, or one is not initialised yet.
        """
        params: dict[str, Tensor] = {}
        for name, tensor in unwrapped(self.model).named_parameters():
            if isinstance(tensor, nn.parameter.UninitializedParameter):
                raise ProblemError(
                    f"parameter {name!r} is not initialised yet; run the model once on a batch in "
                    f"your factory before returning the Problem"
                )
            if tensor.requires_grad:
                params[name] = tensor
        if not params:
            raise ProblemError(
                f"the model {type(unwrapped(self.model)).__name__} has no trainable parameter; set "
                f"requires_grad_(True) on at least one"
            )
        return params

    @cached_property
    def reduction(self) -> Reduction:
        """How the losses of several batches make one number."""
        if self.num_terms is not None:
            num_terms = self.num_terms
            return Reduction(lambda batch, _: float(num_terms(batch)), False, "num_terms, as given")

        def evaluate(batch: Batch) -> tuple[float, Any]:
            evaluation = self.forward(self.parameters, batch)
            return float(evaluation.loss.detach()), evaluation.output

        with reading(), torch.no_grad():
            return reduction_of(self.model, self.loss, evaluate, self.batches)

    def forward(self, params: Params, batch: Batch, where: str = "a batch") -> Evaluation:
        """One forward pass at given parameters, without touching the model or its buffers.

        Args:
            params: trainable parameters by name; those left out are the model's own.
            batch: one batch of the problem's data.
            where: how messages name the batch.

        Raises:
            ProblemError: if the model or the loss raises, or the loss is not a scalar.
            NonFiniteError: if the loss is not finite; names where that was born.
        """
        shadow = self.shadow
        buffers = {name: buffer.clone() for name, buffer in shadow.named_buffers()}

        def run(*args: Any, **kwargs: Any) -> Any:
            return functional_call(shadow, {**buffers, **params}, args, kwargs)

        evaluation = self.evaluate(run, batch, where)
        if not torch.isfinite(evaluation.loss):
            call = call_of(batch, shadow)
            with torch.no_grad():
                place = birthplace(shadow, params, batch, lambda: run(*call.args, **call.kwargs))
            raise NonFiniteError(
                f"the loss is {float(evaluation.loss.detach())} in {where}; born in "
                f"{place or 'the loss itself: every layer is finite'}. Mend that place "
                f"(scale the inputs, lower the learning rate, guard the logarithm or the division)"
            )
        return evaluation

    def evaluate(self, run: Callable[..., Any], batch: Batch, where: str = "a batch") -> Evaluation:
        """The loss of a batch under any callable in the place of the model."""
        call = call_of(batch, self.shadow)
        try:
            output = run(*call.args, **call.kwargs)
        except Exception as error:
            raise ProblemError(self._explained("the model", error, call, where)) from error
        if self.loss is None:
            loss = _own_loss(output)
        else:
            logits = Evaluation(torch.empty(0), output).logits
            known = known_loss(self.loss)
            if known and isinstance(logits, Tensor):
                known.check_target(logits, call.target, where)
            try:
                takes_target = self._loss_takes_target
                loss = self.loss(logits, call.target) if takes_target else self.loss(logits)
            except Exception as error:
                shapes = Call((logits,), {}, call.target)
                raise ProblemError(self._explained("the loss", error, shapes, where)) from error
        return Evaluation(_scalar(loss), output)

    def check(self) -> None:
        """Refuses what cannot be read: see Raises. Costs two forward passes of one batch.

        Raises:
            ProblemError: for data, outputs or losses of the wrong form.
            RandomModelError: if the same parameters give different values; names the module.
            DetachedLossError: if the loss does not depend on any parameter.
        """
        _refuse_random_modes(self.shadow)
        batch, params = self.batches[0], self.parameters
        with reading():
            attached = {name: p.detach().requires_grad_() for name, p in params.items()}
            first, outputs = self._traced(attached, batch)
            if not first.loss.requires_grad:
                raise DetachedLossError(
                    "the loss does not depend on any trainable parameter: something between them "
                    "detaches it (detach(), .data, .item(), torch.no_grad(), numpy, argmax); keep "
                    "the whole way from parameters to loss in torch operations"
                )
            with torch.no_grad():
                second, again = self._traced(params, batch)
        if not torch.equal(first.loss.detach(), second.loss):
            changed = next((name for name in outputs if outputs[name] != again[name]), "")
            raise RandomModelError(
                f"the same parameters gave two losses, {float(first.loss.detach())} and "
                f"{float(second.loss)}: module {changed or 'at the top'!r} is random in its mode; "
                f"call model.eval() in your factory, or return Problem(...).in_eval_mode()"
            )

    @cached_property
    def shadow(self) -> nn.Module:
        return shadow_of(self.model)

    @property
    def _loss_takes_target(self) -> bool:
        return self.loss is None or _num_arguments(self.loss) != 1

    def _traced(self, params: Params, batch: Batch) -> tuple[Evaluation, dict[str, float]]:
        """A forward pass and a fingerprint of what every module returned, in order of running."""
        seen: dict[str, float] = {}

        def record(name: str) -> Callable[..., None]:
            def hook(_: nn.Module, __: Any, output: Any) -> None:
                seen[name] = sum(float(t.detach().double().sum()) for t in tensors_in(output))

            return hook

        handles = [
            module.register_forward_hook(record(name))
            for name, module in self.shadow.named_modules()
        ]
        try:
            return self.forward(params, batch, "batch 0"), seen
        finally:
            for handle in handles:
                handle.remove()

    def _explained(self, who: str, error: Exception, call: Call, where: str) -> str:
        if isinstance(error, ThalwegError):
            return str(error)
        first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        given = describe((call.args, call.kwargs)) or "no tensors"
        params = describe(next(iter(self.parameters.values()))).split(" ")
        return (
            f"{who} raised {type(error).__name__} on {where}: {first} (given {given}; target "
            f"{describe(call.target) or 'none'}; the parameters are {params[0]} on {params[-1]})"
            f"{_way_out(call, self.parameters)}"
        )


def _way_out(call: Call, params: Params) -> str:
    """The likely mend of an exception, where dtypes or devices differ."""
    parameter = next(iter(params.values()))
    for tensor in tensors_in((call.args, call.kwargs)):
        if tensor.device != parameter.device:
            return f"; move the data with .to({str(parameter.device)!r})"
        if tensor.is_floating_point() and tensor.dtype != parameter.dtype:
            return f"; convert the data with .to({parameter.dtype})"
    return "; call it by hand on that batch to see more"


def _own_loss(output: Any) -> Any:
    loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if loss is None:
        raise ProblemError(
            f"no loss was given and the model's output ({type(output).__name__}) has no .loss; "
            f"pass Problem(model, loss, data), or put the labels into the batches"
        )
    return loss


def _scalar(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor):
        raise ProblemError(
            f"the loss returned a {type(loss).__name__}; it must return a tensor that still "
            f"carries its graph (no .item(), no float())"
        )
    if loss.numel() != 1:
        raise ProblemError(
            f"the loss has shape {tuple(loss.shape)}; it must be a scalar: use reduction='mean', "
            f"or end it with .mean()"
        )
    if not loss.dtype.is_floating_point:
        raise ProblemError(f"the loss is {loss.dtype}; it must be a real floating point tensor")
    return loss.reshape(())


def _num_arguments(loss: Callable[..., Any]) -> int:
    """How many positional arguments a loss needs; 2 where that cannot be read."""
    target = loss.forward if isinstance(loss, nn.Module) else loss
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return 2
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 2
    return max(len(required), min(len(positional), 1))


def _read(data: Any, name: str, takes_target: bool) -> tuple[Batch, ...]:
    """The batches of any form of data.

    Raises:
        ProblemError: if there are none, or they cannot be read twice, or are too many.
    """
    if isinstance(data, Tensor | Mapping | tuple):
        return _checked((data,), name)
    if isinstance(data, Iterator) or not isinstance(data, Iterable):
        raise ProblemError(
            f"{name} is a {type(data).__name__}, which reading would use up or cannot run through; "
            f"pass a tuple (x, y), a list of batches or a DataLoader"
        )
    if (
        isinstance(data, list)
        and len(data) == 2
        and takes_target
        and all(isinstance(item, Tensor) for item in data)
    ):
        raise ProblemError(
            f"{name} is a list of two tensors, which could be one (input, target) or two batches; "
            f"write the tuple (x, y) for one batch, or [(x1, y1), (x2, y2)] for two"
        )
    with reading():
        return _checked(data, name)


def _checked(batches: Iterable[Batch], name: str) -> tuple[Batch, ...]:
    kept: list[Batch] = []
    num_bytes = 0
    for batch in batches:
        if num_samples(batch) == 0:
            raise ProblemError(
                f"batch {len(kept)} of {name} holds no samples ({type(batch).__name__}); give "
                f"batches of at least one sample, as (input, target), a dict or a tensor"
            )
        # A tensor made under inference_mode cannot be saved for a derivative.
        kept.append(map_tensors(batch, lambda t: t.clone() if t.is_inference() else t.detach()))
        num_bytes += sum(t.numel() * t.element_size() for t in tensors_in(batch))
        if num_bytes > MAX_DATA_BYTES:
            raise ProblemError(
                f"{name} holds more than {MAX_DATA_BYTES >> 30} GiB; give a part of it, for "
                f"instance torch.utils.data.Subset(dataset, range(10_000)) or a list of the first "
                f"batches"
            )
    if not kept:
        raise ProblemError(f"{name} holds no batches: the loader or list is empty")
    return tuple(kept)


def _refuse_random_modes(model: nn.Module) -> None:
    """Refuses modules that are known to be random, or to mix samples, in the mode they are in."""
    way_out = "call model.eval() in your factory, or return Problem(...).in_eval_mode()"
    for name, module in model.named_modules():
        kind = f"{name!r} ({type(module).__name__})"
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (
            module.training or module.running_mean is None
        ):
            raise RandomModelError(
                f"module {kind} uses the statistics of the batch, so that a sample's loss depends "
                f"on its neighbours; {way_out}"
            )
        rate = getattr(module, "p" if isinstance(module, nn.modules.dropout._DropoutNd) else "", 0)
        if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
            rate = module.dropout
        if module.training and isinstance(rate, float | int) and rate > 0:
            raise RandomModelError(f"module {kind} drops units at random, p = {rate}; {way_out}")
