"""Coasting: how long momentum lasts, and where it alone would carry a training."""

from __future__ import annotations

from math import inf, isfinite
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg._reading import reading
from thalweg.doctor._watch import Watched, minibatch_losses


def heaviest(optimizer: torch.optim.Optimizer) -> float:
    """β of momentum, β₁ of Adam: the largest of all groups; 0 without."""
    betas = [
        float(group["betas"][0]) if "betas" in group else float(group.get("momentum", 0) or 0)
        for group in optimizer.param_groups
    ]
    return max(betas, default=0.0)


def horizon(optimizer: torch.optim.Optimizer) -> float:
    """Steps that momentum averages over, 1/(1 − β)."""
    return 1 / max(1 - heaviest(optimizer), 1e-9)


def coasted(watched: Watched, num_steps: int, batch_size: int) -> float | None:
    """The minibatch loss in evaluation mode after so many steps without a gradient [loss].

    SGD's buffer v goes on as v ← βv, θ ← θ − ηv, so that k steps take θ by −ηv β(1 − βᵏ)/(1 − β).
    Adam's average does the same, divided by the √v̂ that it had. Gradients would have to undo what
    lies above the loss of now, against all that was gathered.

    Returns:
        None where the optimizer keeps no momentum that is known here; inf where the loss is not
        finite there.

    Cost: a forward pass of some minibatches.
    """
    if watched.optimizer is None or watched.failure:
        return None
    problem = watched.problem.copied()
    problem.model.eval()
    names = {id(p): name for name, p in watched.problem.model.named_parameters()}
    moved = dict(problem.model.named_parameters())
    is_moving = False
    with reading(), torch.no_grad():
        for group in watched.optimizer.param_groups:
            for parameter in group["params"]:
                state = watched.optimizer.state.get(parameter, {})
                way = _way(group, state, num_steps)
                if way is not None and id(parameter) in names:
                    moved[names[id(parameter)]].sub_(way)
                    is_moving = True
    if not is_moving:
        return None
    try:
        mean = fmean(minibatch_losses(problem, batch_size))
    except ThalwegError:
        return inf
    return mean if isfinite(mean) else inf


def _way(group: dict[str, Any], state: dict[str, Any], num_steps: int) -> Tensor | None:
    """How far a parameter coasts, None where it has no momentum."""
    lr = float(group["lr"])
    buffer = state.get("momentum_buffer")
    if isinstance(buffer, Tensor) and group.get("momentum"):
        beta = float(group["momentum"])
        lasts = float(beta * (1 - beta**num_steps) / (1 - beta))
        again = beta if group.get("nesterov") else 1.0
        return torch.mul(buffer, lr * lasts * again)
    average, squares = state.get("exp_avg"), state.get("exp_avg_sq")
    if isinstance(average, Tensor) and isinstance(squares, Tensor) and "betas" in group:
        beta, other = (float(each) for each in group["betas"][:2])
        done = float(state["step"])
        terms = (beta**k / (1 - beta ** (done + k)) for k in range(1, num_steps + 1))
        lasts = float(sum(terms))
        root = (squares / (1 - other**done)).sqrt() + float(group.get("eps", 0.0))
        way: Tensor = torch.mul(average, lr * lasts) / root
        return way
    return None
