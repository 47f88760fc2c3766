"""record_path: trains a copy and keeps where it went."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from thalweg._errors import BudgetError, ThalwegError
from thalweg._layout import Layout
from thalweg._problem import OptimizerFactory, Problem
from thalweg._progress import Progress
from thalweg._reading import keeping_random_states
from thalweg._recipe import Scheduling, set_mode, take_step
from thalweg._training import born, described, num_threads, parameters_of, threads, without_leftover
from thalweg.optim import RecordedOptimizer
from thalweg.pictures._path import Path

MAX_BYTES = 2**30
"""Places kept may take so much: 1 GiB."""


def record_path(
    problem: Problem,
    optimizer: OptimizerFactory | None = None,
    *,
    num_steps: int = 200,
    batch_size: int | None = None,
    max_places: int = 200,
    max_bytes: int = MAX_BYTES,
    seed: int = 0,
    name: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Trains a copy of a problem and keeps the places it went through.

    Every ⌈steps / (max_places − 1)⌉-th place is kept, the first and the last always, as float32
    offsets from the first. The problem itself stays where it is.

    Args:
        problem: what is trained, from its parameters of now, by its own recipe: mode, step,
            clipping, schedule.
        optimizer: from parameters to a `torch.optim.Optimizer`, one of `thalweg.optim` too (these
            get the loss, without schedule and clipping); the problem's own, or SGD at 0.1, where
            left out.
        num_steps: of the optimizer.
        batch_size: samples a step; the problem's own, or all, where left out.
        max_places: kept at most.
        max_bytes: that they may take at most.
        seed: of the order of the data and of dropout.
        name: for pictures; that of the optimizer's class where left out.
        progress: told which share is behind.

    Returns:
        The path; where training broke down it ends there, and `ending` says why.

    Raises:
        BudgetError: if the places take more memory; says how much, and how many fit.
        ThalwegError: if a number is out of range.
        ProblemError: if the problem cannot be trained at all.

    Cost:
        num_steps steps; 4 n bytes for each place kept.

    Example:
        >>> import thalweg
        >>> path = record_path(thalweg.problems.strict_saddle(), num_steps=20)
        >>> path.num_places, path.steps[-1]
        (21, 20)
    """
    for what, number in (("num_steps", num_steps), ("max_places", max_places - 1)):
        if number < 1:
            least = 2 if what == "max_places" else 1
            raise ThalwegError(
                f"record_path({what}={number + least - 1}); give a whole number of {least} or more"
            )
    every = -(-num_steps // (max_places - 1))
    kept = -(-num_steps // every) + 1
    _refuse_size(Layout.of(problem.parameters).size, kept, max_bytes)
    own = problem.copied()
    size = batch_size or problem.batch_size or own.num_samples
    if size < 1:
        raise ThalwegError(f"record_path(batch_size={size}); give a whole number of 1 or more")
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        keeping_random_states(),
        threads(num_threads(own, min(size, own.num_samples))),
    ):
        torch.manual_seed(seed)
        return _walked(own, optimizer, num_steps, size, every, seed, name, progress)


def _refuse_size(n: int, kept: int, max_bytes: int) -> None:
    needed = 4 * n * kept
    if needed > max_bytes:
        fits = max_bytes // (4 * n)
        way = f"max_places={fits}" if fits >= 2 else f"max_bytes={8 * n}"
        raise BudgetError(
            f"record_path: {kept} places of {n:,} parameters take {needed / 2**30:.3g} GiB, more "
            f"than the {max_bytes / 2**30:.3g} GiB allowed; give {way}, or max_bytes={needed}"
        )


def _walked(
    own: Problem,
    optimizer: OptimizerFactory | None,
    num_steps: int,
    size: int,
    every: int,
    seed: int,
    name: str | None,
    progress: Progress | None,
) -> Path:
    set_mode(own)
    make = optimizer or own.optimizer or (lambda params: torch.optim.SGD(params, lr=0.1))
    opt = make(parameters_of(own.model))
    layout = Layout.of(own.parameters)
    start = layout.flatten({n: p.detach() for n, p in own.parameters.items()}).clone()

    def offset() -> Tensor:
        here = layout.flatten({n: p.detach() for n, p in own.parameters.items()})
        return (here - start).float().cpu()

    step = _stepper(own, opt, size, seed)
    offsets, steps, ending = [torch.zeros(layout.size)], [0], ""
    for done in range(1, num_steps + 1):
        try:
            ending = step(done)
        except (ThalwegError, ArithmeticError) as error:
            ending = described(error)
        there = offset()
        if not bool(torch.isfinite(there).all()):
            ending = ending or f"the parameters are not finite after step {done}"
        if ending:
            break
        if done % every == 0 or done == num_steps:
            offsets.append(there)
            steps.append(done)
        if progress is not None:
            progress(f"training, step {done}", done / num_steps)
    said = f"ended in step {done}: {ending}" if ending else ""
    title = name or type(opt).__name__
    return Path(title, start, torch.stack(offsets), tuple(steps), layout.names, said)


def _stepper(
    own: Problem, opt: torch.optim.Optimizer, size: int, seed: int
) -> Callable[[int], str]:
    """Takes the step of a number; returns why there is no next one, or ""."""
    stream = own.minibatches(size, torch.Generator().manual_seed(seed))
    batches = without_leftover(stream, own.model)
    if isinstance(opt, RecordedOptimizer):

        def step_with_loss(_: int) -> str:
            opt.bind(own.with_data((next(batches),))).step()
            return ""

        return step_with_loss
    schedule = Scheduling(own, opt, size)

    def step(number: int) -> str:
        batch = next(batches)
        loss = take_step(own, batch, opt, f"step {number}")
        if not bool(torch.isfinite(loss)):
            return f"the loss is {float(loss)}, born in {born(own, batch)}"
        schedule.step()
        return ""

    return step
