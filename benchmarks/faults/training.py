"""A training by a problem's own recipe, and its points; nothing here comes from the doctor."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thalweg import Problem


@dataclass(frozen=True)
class Trained:
    """What a whole training came to.

    Args:
        points: of a hundred; see `points`. Of a constant answer where the training broke off.
        failure: why it broke off, "" where it did not.
    """

    points: float
    failure: str


def trained(problem: Problem, seed: int) -> Trained:
    """Trains the problem's own model for all its epochs; the seed decides data order and dropout.

    Cost: one gradient over all data an epoch.
    """
    assert problem.optimizer is not None
    assert problem.epochs is not None
    assert problem.batch_size is not None
    x, y = _joined(problem.batches)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # Broadcast targets make torch warn; that is the fault.
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model = problem.model
        if problem.mode is not None:
            model.train(problem.mode)
        optimizer = problem.optimizer([p for p in model.parameters() if p.requires_grad])
        schedule = problem.schedule(optimizer) if problem.schedule else None
        has_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
        try:
            for _ in range(problem.epochs):
                order = torch.randperm(len(x), generator=generator)
                for index in order.split(problem.batch_size):
                    if has_norm and len(index) == 1 < problem.batch_size:
                        continue
                    _step(problem, (x[index], y[index]), optimizer)
                if schedule is not None:
                    schedule.step()
            return Trained(points(problem), "")
        except (RuntimeError, ValueError, ArithmeticError) as error:
            return Trained(blind_points(problem), str(error).splitlines()[0])


def _step(problem: Problem, batch: tuple[Tensor, Tensor], optimizer: Any) -> None:
    if problem.step is not None:
        loss = problem.step(problem.model, batch, optimizer)
    else:
        x, y = batch
        assert problem.loss is not None
        loss = problem.loss(problem.model(x), y)
        optimizer.zero_grad()
        loss.backward()
        if problem.clip_norm is not None:
            nn.utils.clip_grad_norm_(problem.model.parameters(), problem.clip_norm)
        optimizer.step()
    if loss is not None and not bool(torch.isfinite(torch.as_tensor(loss))):
        raise ArithmeticError(f"the loss is {float(loss)}")


def points(problem: Problem) -> float:
    """How well a trained network does on what was held out, of a hundred.

    Classes: the accuracy, at the best threshold on the training data where one output decides, so
    that it counts the same as a logit or as a probability. Values: 100 · R², at least 0, of the
    output or of its logistic function, whichever suits the targets better.
    """
    (x, y), (held_x, held_y) = _joined(problem.batches), _joined(problem.test_batches)
    was = problem.model.training
    problem.model.eval()
    with torch.no_grad():
        fitted, output = problem.model(x), problem.model(held_x)
    problem.model.train(was)
    # Samples that are not finite count only where the network answers them.
    seen = held_x.flatten(1).isfinite().all(1) | output.flatten(1).isfinite().all(1)
    output, held_y = output[seen], held_y[seen]
    if not bool(output.isfinite().all()):
        return blind_points(problem)
    if not held_y.is_floating_point():
        return 100 * float((output.argmax(1) == held_y).float().mean())
    if _is_binary(y):
        kept = fitted.flatten(1).isfinite().all(1)
        cut = _threshold(fitted.flatten()[kept], y.flatten()[kept])
        return 100 * float(((output.flatten() > cut) == (held_y.flatten() > 0.5)).float().mean())
    target = held_y.reshape(output.shape)
    total = (target - target.mean(0)).square().sum()
    guesses = [output, output.sigmoid()] if y.shape == x.shape else [output]
    shares = [1 - float((g - target).square().sum() / total) for g in guesses]
    return 100 * max(0.0, *shares)


def blind_points(problem: Problem) -> float:
    """The points of a constant answer."""
    _, y = _joined(problem.batches)
    if not y.is_floating_point() or _is_binary(y):
        return 100 * float(y.flatten().long().bincount().max()) / len(y)
    return 0.0


def _is_binary(y: Tensor) -> bool:
    return y.flatten().unique().numel() == 2


def _threshold(output: Tensor, y: Tensor) -> float:
    order = output.argsort()
    # Right answers if everything up to the i-th is called 0.
    right = (y[order] < 0.5).long().cumsum(0) - (y[order] > 0.5).long().cumsum(0)
    best = int(right.argmax())
    after = output[order][min(best + 1, len(y) - 1)]
    return float((output[order][best] + after) / 2)


def _joined(batches: Any) -> tuple[Tensor, Tensor]:
    xs, ys = zip(*batches, strict=True)
    return torch.cat(xs), torch.cat(ys)
