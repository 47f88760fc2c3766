"""Parameters that may learn again: unfrozen, and given to the optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import nn

from thalweg._problem import OptimizerFactory, Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy


def unfrozen(readings: Readings) -> Remedy | NotApplicable:
    """Everything trainable that is frozen and not declared on purpose."""
    name = "frozen parameters unfrozen"
    problem = readings.problem
    frozen = [
        n for n, p in problem.model.named_parameters()
        if not p.requires_grad and not problem.is_on_purpose(n)
    ]  # fmt: skip
    if not frozen:
        return NotApplicable(name, "no parameter is frozen, but what is declared on purpose")

    def apply(problem: Problem, _: torch.Generator) -> Problem:
        for each in frozen:
            problem.model.get_parameter(each).requires_grad_(True)
        return problem

    listed = ", ".join(f'"{each}"' for each in frozen)
    return Remedy(
        name,
        f"for name in [{listed}]:\n    model.get_parameter(name).requires_grad_(True)\n"
        f"# before the optimizer is made",
        apply,
        is_direct=True,
    )


def given(readings: Readings) -> Remedy | NotApplicable:
    """The trainable parameters that the optimizer lacks, added to it."""
    name = "all parameters given to the optimizer"
    factory = readings.problem.optimizer
    assert factory is not None, "trials have an optimizer"
    copied = readings.problem.copied()
    trainable = [p for p in copied.model.parameters() if p.requires_grad]
    if not trainable:
        return NotApplicable(name, "no parameter is trainable")
    has = {id(p) for group in factory(trainable).param_groups for p in group["params"]}
    if all(id(p) in has for p in trainable):
        return NotApplicable(name, "the optimizer has every trainable parameter")
    return Remedy(
        name,
        "optimizer = make(model.parameters())  # all of them\n"
        "known = {id(p) for group in optimizer.param_groups for p in group['params']}\n"
        "missing = [p for p in model.parameters() if id(p) not in known]\n"
        "optimizer.add_param_group({'params': missing})",
        lambda problem, _: replace(problem, optimizer=_completed(factory)),
        is_direct=True,
    )


def _completed(original: OptimizerFactory) -> OptimizerFactory:
    def made(params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        given = list(params)
        optimizer = original(given)
        known = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if missing := [p for p in given if id(p) not in known]:
            # The settings of the first group, which may differ from the optimizer's defaults.
            first = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
            optimizer.add_param_group({**first, "params": missing})
        return optimizer

    return made
