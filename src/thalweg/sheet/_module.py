"""From a module to the same steps as from a text, and the proof that they are its own."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from thalweg._errors import FormulaError, ThalwegError
from thalweg.sheet._draft import MAX_ENTRIES, Draft
from thalweg.sheet._follower import Follower, InFloat64
from thalweg.sheet._functions import steps_of
from thalweg.sheet._graph import Node

TOL = 1e-9

Loss = Callable[..., Any] | None
Input = Tensor | tuple[Tensor, ...] | list[Tensor] | Mapping[str, Tensor]


def draft_of_module(
    module: nn.Module, given: Input | None, target: Tensor | None, loss: Loss
) -> tuple[Draft, int, bool]:
    """The steps of a module's forward and of its loss, the place of the loss, and whether other
    values could have led the program elsewhere.

    The module itself is not touched: a copy in float64 is followed.

    Raises:
        FormulaError: if a part cannot be written out, or the sizes are too large.
        ThalwegError: if the steps do not give what the module gives.
    """
    if not isinstance(module, nn.Module):
        raise FormulaError(
            f"worked({type(module).__name__}): give a text or a torch.nn.Module and its input"
        )
    args, kwargs = _arguments(given)
    if loss is not None and not isinstance(target, Tensor):
        raise FormulaError("a loss needs a target: worked(module, input, target, loss)")
    size = sum(p.numel() for p in module.parameters())
    if size > MAX_ENTRIES or any(
        tensor.numel() > MAX_ENTRIES for tensor in (*args, *kwargs.values())
    ):
        raise FormulaError(
            f"the module has {size:,} parameters; what is written out may have {MAX_ENTRIES:,}, so "
            f"give a smaller one, or read it with thalweg.Pass.of(problem)"
        )
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        model = copy.deepcopy(module).cpu().double()
        # A copy of one layer alone is followed inside a Sequential, where it has a path.
        is_layer = type(module).__module__.startswith("torch.nn") and not list(module.children())
        if is_layer and len(args) == 1 and not kwargs:
            model = nn.Sequential(model)
        if isinstance(loss, nn.Module):
            loss = copy.deepcopy(loss).cpu().double()
        program = _Program(model, args, kwargs, None if target is None else _plain(target), loss)
        follower = Follower(model, steps_of)
        if isinstance(loss, nn.Module):
            follower.know(loss, "loss.")
        place = _followed(follower, program)
        _name_loss(follower.draft, place, loss)
        draft, places = follower.draft.pruned(place)
        parameters = {path: places[at] for path, at in follower.parameters.items() if at in places}
        _agree(draft, places[place], parameters, program)
    return draft, places[place], follower.is_frozen


class _Program:
    """A module with its input and loss, to be run again.

    Args:
        model: in float64.
        args: by place.
        kwargs: by name.
        target: of the loss.
        loss: None where the module returns one number.
    """

    def __init__(
        self, model: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor],
        target: Tensor | None, loss: Loss,
    ) -> None:  # fmt: skip
        self.model, self.args, self.kwargs, self.target, self.loss = (
            model,
            args,
            kwargs,
            target,
            loss,
        )
        self.leaves: list[Tensor] = []
        """The inputs of the last run."""

    def run(
        self, within: AbstractContextManager[None], announce: Callable[[Tensor, str], Any]
    ) -> Any:
        """What the loss gives, of copies of the input.

        Args:
            within: in which the module and the loss run.
            announce: told of each tensor from outside, with its name.
        """
        leaves = [_leaf(tensor) for tensor in (*self.args, *self.kwargs.values())]
        self.leaves = leaves
        # A copy again, so that the program may write into it.
        args = tuple(leaf.clone() for leaf in leaves[: len(self.args)])
        kwargs = dict(zip(self.kwargs, (t.clone() for t in leaves[len(self.args) :]), strict=True))
        for k, tensor in enumerate(args):
            announce(tensor, "x" if len(args) + len(kwargs) == 1 else f"x_{k + 1}")
        for name, tensor in kwargs.items():
            announce(tensor, name if name.isidentifier() else "x")
        target = None if self.target is None else self.target.clone()
        with within:
            output = _one_tensor(self.model, self.model(*args, **kwargs))
            if self.loss is None:
                return output
            if target is not None and target.is_floating_point():
                announce(target, "y")
            return self.loss(output, target)


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.clone().requires_grad_(tensor.is_floating_point())


def _followed(follower: Follower, program: _Program) -> int:
    """Runs it under the follower; the place of what it returned."""

    def announce(tensor: Tensor, name: str) -> None:
        if name == "y":
            follower.announce(tensor, name)
        else:
            follower.give(tensor, name)

    try:
        with warnings.catch_warnings():
            # The program is run once more, and warns then.
            warnings.simplefilter("ignore")
            result = program.run(follower.following(), announce)
    except (ThalwegError, KeyboardInterrupt):
        raise
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else ""
        raise FormulaError(
            f"{follower.where(type(program.model).__name__)} cannot be run on this input "
            f"({type(error).__name__}: {said}); mend the input's size, or the module"
        ) from error
    if not isinstance(result, Tensor):
        raise FormulaError(
            f"the loss returned {type(result).__name__}; it has to return a tensor of one number"
        )
    place = follower.place_if_known(result)
    if place is None:
        raise FormulaError(
            "what is returned does not depend on the input or a parameter, or was worked out in a "
            "way that cannot be followed (a torch.autograd.Function of its own, NumPy); write it "
            "with torch's functions"
        )
    if result.numel() != 1:
        shape = "×".join(map(str, result.shape))
        if program.loss is not None:
            raise FormulaError(f"the loss returned {shape} numbers; it has to return one")
        raise FormulaError(
            f"the module returns {shape} numbers; give a target and a loss: worked(module, "
            f"input, target, torch.nn.functional.mse_loss)"
        )
    return place


def _name_loss(draft: Draft, place: int, loss: Loss) -> None:
    step = draft.steps[place]
    is_free = all(other.name != "L" for other in draft.steps)
    if is_free and step.operation is not None and (loss is not None or not step.is_named):
        draft.rename(place, "L")


def _arguments(given: Input | None) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """The input by place and by name, in float64.

    Raises:
        FormulaError: if it is no tensor, and no sequence or mapping of tensors.
    """
    if isinstance(given, Tensor):
        return (_plain(given),), {}
    parts = list(given.values()) if isinstance(given, Mapping) else given
    if (
        not isinstance(parts, list | tuple)
        or not parts
        or not all(isinstance(p, Tensor) for p in parts)
    ):
        raise FormulaError(
            "worked(module) needs an input, a tensor, a tuple of tensors or a dict of them: "
            "worked(module, input, target, loss)"
        )
    if isinstance(given, Mapping):
        return (), {str(name): _plain(tensor) for name, tensor in given.items()}
    return tuple(map(_plain, parts)), {}


def _plain(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().clone()
    if tensor.is_complex():
        raise FormulaError("the input is complex; give real numbers")
    return tensor.double() if tensor.is_floating_point() else tensor


def _one_tensor(model: nn.Module, output: Any) -> Tensor:
    """The output, the first where a layer of torch returns its state beside it.

    Raises:
        FormulaError: if the module returns something else.
    """
    last = list(model.children())[-1] if isinstance(model, nn.Sequential) and len(model) else model
    has_state = isinstance(last, nn.RNNBase | nn.LSTMCell | nn.MultiheadAttention)
    if isinstance(output, tuple) and output and has_state:
        output = output[0]
    if not isinstance(output, Tensor):
        raise FormulaError(
            f"{type(model).__name__} returns {type(output).__name__}, not one tensor; wrap it so "
            f"that it does"
        )
    return output


def _agree(draft: Draft, place: int, parameters: dict[str, int], program: _Program) -> None:
    """The steps against the module itself, in float64, by autograd.

    Raises:
        ThalwegError: if value or gradients differ.
    """
    value = program.run(InFloat64(), lambda tensor, name: None)
    graph = draft.finished(place)
    pairs = [(graph[graph.loss].value, value.detach(), "the loss")]
    named = dict(program.model.named_parameters(remove_duplicate=False))
    wanted_of = {path: at for path, at in parameters.items() if named[path].requires_grad}
    watched: list[tuple[Tensor, Node, str]] = [
        (named[path], graph.nodes[at], path) for path, at in wanted_of.items()
    ]
    inputs = [node for node in graph.nodes if node.is_given][: len(program.leaves)]
    watched += [
        (leaf, node, node.label.text)
        for leaf, node in zip(program.leaves, inputs, strict=True)
        if leaf.requires_grad
    ]
    if watched and value.requires_grad:
        theirs = torch.autograd.grad(
            value.reshape(()), [tensor for tensor, _, _ in watched], materialize_grads=True,
            allow_unused=True,
        )  # fmt: skip
        for (_, node, what), gradient in zip(watched, theirs, strict=True):
            pairs.append((node.gradient, gradient, f"the gradient of {what}"))
    for ours, other, what in pairs:
        scale = float(other.abs().max()) if other.numel() else 0.0
        if not torch.allclose(ours.reshape(other.shape), other, rtol=TOL, atol=TOL * scale + 1e-15):
            raise ThalwegError(
                f"{what} is not what the module gives, so nothing is shown; it may change what it "
                f"computes from call to call, write into a part of a tensor in place, or use a "
                f"gradient of its own; otherwise please report it"
            )
