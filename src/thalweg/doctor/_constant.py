"""The loss of the best constant answer to some batches: a unit that every loss can be given in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

import torch
from torch import Tensor

from thalweg._batch import Batch, call_of
from thalweg._errors import ThalwegError
from thalweg._loss import Kind, known_loss, logits_of
from thalweg._problem import Problem
from thalweg._reading import reading
from thalweg._reduction import Reduction
from thalweg.doctor._domain import SQUASHES, is_defined, squash_wanted

MAX_STEPS = 60
"""Of L-BFGS; the constant has as many entries as the network has outputs."""


def best_constant(problem: Problem, batches: Sequence[Batch], reduction: Reduction) -> float | None:
    """The least loss that one and the same output has on all batches; None where there is none.

    Found by L-BFGS on the problem's own loss, so that a sum, a mean, and targets of any scale each
    have their own. Cost: one forward pass over the first batch.
    """
    if problem.loss is None or not problem.loss_takes_target or not batches:
        return None
    try:
        with reading():
            constant = _start(problem, batches[0])
            if constant is None:
                return None
            squash = _squash_of(problem, batches[0], constant)
            constant.requires_grad_()
            optimizer = torch.optim.LBFGS(
                [constant], max_iter=MAX_STEPS, line_search_fn="strong_wolfe"
            )

            def total() -> Tensor:
                answer = squash(constant)
                losses, counts = [], []
                for batch in batches:
                    size = len(call_of(batch, problem.model).target)
                    output = answer.expand(size, *answer.shape)
                    losses.append(problem.evaluate(lambda *_, out=output, **__: out, batch).loss)
                    counts.append(reduction.count(batch, output))
                weights = reduction.weights(counts)
                return torch.stack([w * v for w, v in zip(weights, losses, strict=True)]).sum()

            def closure() -> Tensor:
                optimizer.zero_grad()
                loss = total()
                loss.backward()
                return loss

            optimizer.step(closure)
            value = float(total().detach())
    except (ThalwegError, RuntimeError, TypeError, AttributeError):
        # A loss that takes no such output, a target that has no length.
        return None
    return value if isfinite(value) and value > 0 else None


def _start(problem: Problem, batch: Batch) -> Tensor | None:
    """Zeros in the shape of an output of one sample."""
    model = problem.copied().model.eval()
    call = call_of(batch, model)
    with torch.no_grad():
        output = logits_of(model(*call.args, **call.kwargs))
    return torch.zeros_like(output[0]) if isinstance(output, Tensor) and output.ndim else None


def _squash_of(problem: Problem, batch: Batch, constant: Tensor) -> Callable[[Tensor], Tensor]:
    """What makes of any numbers an answer that the loss takes."""
    known = known_loss(problem.loss)
    if known is not None:
        return BY_KIND.get(known.kind, lambda constant: constant)
    target = call_of(batch, problem.model).target
    # Outside of [0, 1], where a loss of probabilities is not defined.
    raw = (constant - 1).expand(len(target), *constant.shape)
    assert problem.loss is not None, "only a loss that sees the target has a constant answer"
    wanted = (
        "" if is_defined(problem.loss, raw, target) else squash_wanted(problem.loss, raw, target)
    )
    squash = SQUASHES.get(wanted)
    return (lambda constant: squash(constant[None])[0]) if squash else (lambda constant: constant)


BY_KIND: dict[Kind, Callable[[Tensor], Tensor]] = {
    Kind.BINARY: torch.sigmoid,
    Kind.LOG_CLASSES: lambda constant: constant.log_softmax(0),
}
"""What the losses of torch want before them."""
