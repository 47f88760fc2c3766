"""From a module to the same steps as from a text, and the proof that they are its own."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from thalweg._errors import FormulaError, ThalwegError
from thalweg.sheet._draft import MAX_ENTRIES, Draft
from thalweg.sheet._follower import Follower
from thalweg.sheet._module_loss import Loss, add_loss

TOL = 1e-9


def draft_of_module(
    module: nn.Module, given: Tensor | None, target: Tensor | None, loss: Loss
) -> tuple[Draft, int]:
    """The steps of a module's forward and of its loss, and the place of the loss.

    The module itself is not touched: a copy in float64 is followed.

    Raises:
        FormulaError: if a part is not known how to write out, or the sizes are too large.
        ThalwegError: if the steps do not give what the module gives.
    """
    if not isinstance(module, nn.Module):
        raise FormulaError(
            f"worked({type(module).__name__}): give a text or a torch.nn.Module and its input"
        )
    if not isinstance(given, Tensor):
        raise FormulaError("worked(module) needs an input: worked(module, input, target, loss)")
    size = sum(p.numel() for p in module.parameters())
    if size > MAX_ENTRIES or given.numel() > MAX_ENTRIES:
        raise FormulaError(
            f"the module has {size:,} parameters; what is written out may have {MAX_ENTRIES:,}, so "
            f"give a smaller one, or read it with thalweg.Pass.of(problem)"
        )
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        # Copies of one module alone are followed inside a Sequential, where it is a layer.
        is_layer = type(module).__module__.startswith("torch.nn") and not list(module.children())
        model = copy.deepcopy(module).cpu().double()
        model = nn.Sequential(model) if is_layer else model
        follower = Follower(model, given.detach().cpu().double())
        place = add_loss(follower.draft, follower.output, loss, target)
        _agree(follower, model, place, loss, target)
    return follower.draft, place


def _agree(
    follower: Follower, model: nn.Module, place: int, loss: Loss, target: Tensor | None
) -> None:
    """The steps against the module itself, in float64, by autograd.

    Raises:
        ThalwegError: if value or gradients differ.
    """
    draft = follower.draft
    value = model(follower.given.clone())
    if loss is not None and target is not None:
        wanted = target.detach().cpu()
        value = loss(value, wanted.double() if wanted.is_floating_point() else wanted)
    graph = draft.finished(place)
    pairs = [(graph[graph.loss].value, value.detach(), "the loss")]
    named = dict(model.named_parameters(remove_duplicate=False))
    wanted_of = {
        path: place for path, place in follower.parameters.items()
        if path in named and named[path].requires_grad
    }  # fmt: skip
    if wanted_of and value.requires_grad:
        theirs = torch.autograd.grad(
            value.reshape(()), [named[path] for path in wanted_of], materialize_grads=True,
            allow_unused=True,
        )  # fmt: skip
        for (path, at), gradient in zip(wanted_of.items(), theirs, strict=True):
            pairs.append((graph.nodes[at].gradient, gradient, f"the gradient of {path}"))
    for ours, other, what in pairs:
        scale = float(other.abs().max()) if other.numel() else 0.0
        if not torch.allclose(ours.reshape(other.shape), other, rtol=TOL, atol=TOL * scale + 1e-15):
            raise ThalwegError(
                f"{what} is not what the module gives, so nothing is shown; it may change what it "
                f"computes from call to call, otherwise please report it"
            )
