"""Evaluation: a forward pass and its loss, and the ways in which either can be of no use."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from thalweg._batch import TARGET_KEYS, Batch, Call, call_of, describe, tensors_in
from thalweg._errors import ProblemError, ThalwegError
from thalweg._loss import known_loss, logits_of, own_loss_of
from thalweg._reading import shadow_of, unwrapped


@dataclass(frozen=True)
class Evaluation:
    """One forward pass: the loss (a scalar with its graph) and what the model returned."""

    loss: Tensor
    output: Any

    @property
    def logits(self) -> Any:
        """The tensor that the loss reads: `output.logits`, `output["logits"]` or the output."""
        return logits_of(self.output)


class Evaluator:
    """Runs a model, or whatever stands in its place, on a batch, and compares it with the target.

    A loss that is a module is held in the mode that it is in now.

    Args:
        model: whose forward signature says how a batch is fed.
        loss: as a `Problem` has it; None where the model returns it.
    """

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor] | None) -> None:
        self._model, self._loss = model, loss
        self._loss_function = _shadowed(loss) if isinstance(loss, nn.Module) else loss

    def __call__(self, run: Callable[..., Any], batch: Batch, where: str) -> Evaluation:
        """The loss of a batch.

        Raises:
            ProblemError: if `run` or the loss raises, the target does not fit the output, or the
                loss is not a scalar that carries its graph.
        """
        call = call_of(batch, unwrapped(self._model))
        try:
            output = run(*call.args, **call.kwargs)
        except Exception as error:
            raise ProblemError(self._explained("the model", error, call, where)) from error
        if self._loss_function is None:
            return Evaluation(_scalar(_own_loss(output)), output)
        logits = logits_of(output)
        known = known_loss(self._loss)
        if known and isinstance(logits, Tensor):
            known.check_target(logits, call.target, where)
        compared = (logits, call.target) if self.takes_target else (logits,)
        try:
            loss = self._loss_function(*compared)
        except Exception as error:
            shapes = Call((logits,), {}, call.target)
            raise ProblemError(self._explained("the loss", error, shapes, where)) from error
        return Evaluation(_scalar(loss), output)

    @cached_property
    def takes_target(self) -> bool:
        """Whether the loss compares the output with a target, or looks at the output alone."""
        return self._loss is None or _num_arguments(self._loss) != 1

    def birth(self, evaluation: Evaluation, call: Call) -> str:
        """Where a loss that is not finite was born, if every layer is finite."""
        known = known_loss(self._loss)
        if known and known.num_terms(evaluation.logits, call.target) == 0:
            return "the loss itself: every target is padding, leave that batch out"
        return "the loss itself: every layer is finite"

    def _explained(self, who: str, error: Exception, call: Call, where: str) -> str:
        if isinstance(error, ThalwegError):
            return str(error)
        first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        given = describe((call.args, call.kwargs)) or "no tensors"
        parameter = next((p for p in unwrapped(self._model).parameters() if p.requires_grad), None)
        return (
            f"{who} raised {type(error).__name__} on {where}: {first} (given {given}; target "
            f"{describe(call.target) or 'none'}; the parameters are {_kind(parameter)})"
            f"{_way_out(call, parameter)}"
        )


def _shadowed(loss: nn.Module) -> Callable[..., Tensor]:
    """A shadow of it, whose tensors start each call as the owner's are."""
    shadow, owner = shadow_of(loss), unwrapped(loss)

    def call(*args: Any) -> Any:
        tensors = (*owner.named_parameters(), *owner.named_buffers())
        if not tensors:
            return shadow(*args)
        return functional_call(shadow, {n: t.detach().clone() for n, t in tensors}, args)

    return call


def _kind(parameter: Tensor | None) -> str:
    if parameter is None:
        return "all frozen"
    return f"{str(parameter.dtype).removeprefix('torch.')} on {parameter.device}"


def _way_out(call: Call, parameter: Tensor | None) -> str:
    """The likely mend of an exception, where dtypes or devices differ."""
    if parameter is None:
        return ""
    for tensor in tensors_in((call.args, call.kwargs)):
        if tensor.device != parameter.device:
            return f"; move the data with .to({str(parameter.device)!r})"
        if tensor.is_floating_point() and tensor.dtype != parameter.dtype:
            return f"; convert the data with .to({parameter.dtype})"
    return "; call it by hand on that batch to see more"


def _own_loss(output: Any) -> Any:
    loss = own_loss_of(output)
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
    names_target = len(positional) > 1 and positional[1].name in TARGET_KEYS
    if names_target or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 2
    return max(len(required), min(len(positional), 1))
