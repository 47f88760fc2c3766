"""propagation: all that can be said of how scale and gradient run through a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite, prod
from time import perf_counter
from typing import Any

import torch
from torch import nn

from thalweg._batch import num_samples, part_of
from thalweg._errors import NonFiniteError, ProblemError, ThalwegError
from thalweg._layout import Layout
from thalweg._machine import machine_of
from thalweg._problem import Problem
from thalweg._progress import Progress
from thalweg._reading import unwrapped
from thalweg.passes import Births, Pass, Underflow, along_time, births, underflow
from thalweg.passes._time import RECURRENT
from thalweg.report import Interrupted, Page, PagedResult
from thalweg.signal._chain import plain_chain
from thalweg.signal._depth import Signal
from thalweg.signal._edge import Edge, edge
from thalweg.signal._initialisation import EdgeInitialisation, edge_initialisation
from thalweg.signal._jacobian import Jacobians, LayerJacobian, jacobians
from thalweg.signal._rank import NetworkRank, rank
from thalweg.signal._scalar_function import Activation
from thalweg.signal._time import TimeSignal
from thalweg.signal._trainability import Trainability

MOST_FOR_RANK = 2e9
"""m·n·min(m, n) summed over dense layers: up to here their singular values take seconds."""

LINE_POINTS = 8
"""Of the critical line, besides σ_b² = 0."""


class InterruptedPropagation(Interrupted):
    """Ctrl-C after the layers were read, with what there was by then.

    Args:
        found: of what was read; it says that it is partial.
    """

    found: Propagation


@dataclass(frozen=True, eq=False)
class Propagation(PagedResult):
    """How scale and gradient run through a network at one place, with its doubt.

    Args:
        title: the problem's name.
        value: L [loss]; not finite where `births` says why.
        num_samples: samples of the data.
        signal: layer by layer, measured beside mean-field theory; None where the loss or a gradient
            is not finite.
        births: where the first NaN or infinity is born; None where there is none.
        trainability: whether gradients reach every layer and units can move; None without signal.
        along_time: of every recurrent layer, step by step.
        jacobians: singular values of every layer and end to end, at one sample; None where they
            were not taken.
        rank: of layers and, where it is linear, of the network; None where it was not taken.
        underflows: what float16 and bfloat16 would lose of the gradients.
        edge: the initialisation at which gradients keep their size; None where there is none.
        critical_line: of the activation, where a plain chain has one; empty elsewhere.
        omissions: what was not taken, and why.
        is_partial: whether it was interrupted.
        num_gradients: cost in gradients over all data.
        num_products: products with Jacobians of one sample.
        seconds: cost in time.
        seed: that the generator was seeded with.
        machine: versions, device, dtype and threads, in words.
    """

    schema = "thalweg/propagation/1"
    _also = ("headline",)

    title: str
    value: float
    num_samples: int
    signal: Signal | None
    births: Births | None
    trainability: Trainability | None
    along_time: tuple[TimeSignal, ...]
    jacobians: Jacobians | None
    rank: NetworkRank | None
    underflows: tuple[Underflow, ...]
    edge: EdgeInitialisation | None
    critical_line: tuple[Edge, ...]
    omissions: dict[str, str]
    is_partial: bool
    num_gradients: float
    num_products: int
    seconds: float
    seed: int
    machine: str

    @property
    def headline(self) -> str:
        """The run of the signal in one sentence."""
        from thalweg.signal._propagation_page import headline_of

        return headline_of(self)

    def __str__(self) -> str:
        lines = [f"{self.title}: {self.headline}"]
        if self.signal is not None:
            for row in self.signal.rows:
                ratio = "" if row.gradient_ratio is None else f"  ratio {row.gradient_ratio:.4g}"
                if row.predicted_gradient_ratio is not None:
                    ratio += f" (predicted {row.predicted_gradient_ratio:.4g}"
                    ratio += f" ± {row.predicted_ratio_stderr or 0.0:.2g})"
                lines.append(
                    f"{row.name}: scale {row.scale:.4g}  ‖∂L/∂z‖ {row.gradient_norm:.4g}{ratio}"
                )
        return "\n".join(lines)

    def page(self) -> Page:
        """The propagation as a page: the sentence first, then pictures, numbers and doubt."""
        from thalweg.signal._propagation_page import page_of

        return page_of(self)


def propagation(
    problem: Problem,
    *,
    generator: torch.Generator,
    sample: int = 0,
    k: int = 3,
    progress: Progress | None = None,
) -> Propagation:
    """Reads how scale and gradient run through the layers of a network, and why.

        ‖∂L/∂z_l‖ ≈ √χ_l ‖∂L/∂z_{l+1}‖,   χ_l = σ_w² E[φ'(√q_l z)²],   q_{l+1} = σ_w² E[φ²] + σ_b²

    Measured for every network, layer by layer: scale, gradient, their trend, saturated and dead
    units, singular values of the Jacobians, ranks, what half precision loses, recurrent layers
    along time. Predicted for plain chains of layers and activations, with the error bars that
    finitely many units make.

    Args:
        problem: the network, the loss and the data.
        generator: of the starts of the larger Jacobians' singular values.
        sample: at which the Jacobians are taken, counted over the batches.
        k: singular values wanted at each end.
        progress: told what is being done and which share of the whole is behind.

    Returns:
        `Propagation`; `.page()`, `.save("signal.html")`, `.to_json()`. A loss that is not finite is
        no error: `births` says where it comes from.

    Raises:
        RandomModelError: if the model is random in its mode.
        ProblemError: if the model or the loss raises, or there is no such sample.
        ThalwegError: if k is out of range, or parameters are of several dtypes or devices.
        InterruptedPropagation: on Ctrl-C, once the layers were read.

    Cost: seven gradients over all data, 4/3 more with recurrent layers, and twice as many where
    the data are few (see `Pass.of`); products with the Jacobians of one sample as of `jacobians`;
    singular values of the dense layers.

    Source: Schoenholz et al. 2017, "Deep information propagation"; Hanin and Nica 2020 for the
    error bars; see `Signal`, `jacobians`, `rank`, `underflow`, `along_time` and
    `edge_initialisation`.

    Example:
        >>> import torch, thalweg
        >>> problem = thalweg.problems.vanishing_tanh_digits()
        >>> found = propagation(problem, generator=torch.Generator().manual_seed(0))
        >>> found.headline
        "The gradient vanishes: '4' gets 4e-05 of what the last layer's weights get"
        >>> round(found.signal.gradient.factor, 2), round(found.signal.predicted_factor, 2)
        (0.25, 0.24)
    """
    problem.ranks.refuse("propagation(problem)")
    if not 0 <= sample < problem.num_samples:
        raise ProblemError(
            f"propagation(problem, sample={sample}): give a number from 0 to "
            f"{problem.num_samples - 1}"
        )
    if k < 1:
        raise ThalwegError(f"propagation(problem, k={k}): give whole numbers of 1 or more")
    Layout.of(problem.parameters)  # refuses what is no network to train, before anything is run
    start = perf_counter()
    progress = progress or (lambda stage, share: None)
    progress("forward and backward", 0.0)
    passed, born = _passed(problem)
    if passed is None:
        assert born is not None, "there is a pass, or a reason that there is none"
        return _result(
            problem,
            generator,
            start,
            value=born.loss,
            births=born,
            num_gradients=_pass_cost(problem),
        )
    signal = Signal.of(passed)
    found: dict[str, Any] = {"signal": signal, "trainability": Trainability.of(signal)}
    omissions: dict[str, str] = {}
    num_gradients, is_partial = _pass_cost(problem), False
    stages = _stages(
        problem, passed, signal, lambda: jacobians(problem, sample, k, generator=generator)
    )
    for i, stage in enumerate(stages):
        progress(stage.name, (i + 1) / (len(stages) + 1))
        try:
            found[stage.field] = stage.work()
        except ThalwegError as error:
            omissions[stage.name] = str(error)
        except KeyboardInterrupt:
            omissions |= {missing.name: "interrupted before it" for missing in stages[i:]}
            is_partial = True
            break
        num_gradients += stage.num_gradients
    progress("done", 1.0)
    told = _result(
        problem,
        generator,
        start,
        value=passed.value,
        omissions=omissions,
        is_partial=is_partial,
        num_gradients=num_gradients,
        **found,
    )
    if is_partial:
        raise InterruptedPropagation(told) from None
    return told


@dataclass(frozen=True)
class _Stage:
    """One part of what is read: what it is called, where it goes, and its cost in gradients."""

    name: str
    field: str
    work: Callable[[], Any]
    num_gradients: float = 0.0


def _stages(
    problem: Problem, passed: Pass, signal: Signal, read_jacobians: Callable[[], Jacobians]
) -> list[_Stage]:
    """What is read after the layers, in this order."""
    pass_cost = _pass_cost(problem)
    halves = (torch.float16, torch.bfloat16)
    stages = [
        _Stage(
            "half precision",
            "underflows",
            lambda: tuple(underflow(problem, dtype) for dtype in halves),
            2 * pass_cost,
        ),
        _Stage(
            "initialisation at the edge", "edge", lambda: edge_initialisation(problem), pass_cost
        ),
    ]
    if signal.theory is not None:
        stages.append(_Stage("critical line", "critical_line", lambda: _critical(passed, signal)))
    if any(isinstance(m, RECURRENT) for m in problem.shadow.modules()):
        stages.append(
            _Stage(
                "recurrent layers along time",
                "along_time",
                lambda: tuple(TimeSignal.of(one) for one in along_time(problem)),
                pass_cost,
            )
        )
    shapes = num_samples(problem.batches[0]) / problem.num_samples / 3
    stages += [
        _Stage(
            "ranks",
            "rank",
            lambda: _ranks(problem),
            pass_cost + shapes if _is_quick_to_rank(problem) else 0.0,
        ),
        _Stage(
            "singular values of the Jacobians", "jacobians", read_jacobians, _check_cost(problem)
        ),
    ]
    return stages


def _critical(passed: Pass, signal: Signal) -> tuple[Edge, ...]:
    activation = plain_chain(passed)[0][1]
    assert activation is not None, "a plain chain with a theory has an activation"
    widest = max(row.bias_variance for row in signal.rows)
    return tuple(_line(activation.function, max(0.2, 1.5 * widest)))


def _check_cost(problem: Problem) -> float:
    """Gradients over all data: `Problem.check` goes forward twice and back once, over a part."""
    return (4 / 3) * num_samples(part_of(problem.batches[0])) / problem.num_samples


def _pass_cost(problem: Problem) -> float:
    """Gradients over all data: a pass is checked, weighs the batches, and is recorded."""
    return _check_cost(problem) + 4 / 3


def _passed(problem: Problem) -> tuple[Pass | None, Births | None]:
    """The pass; where the loss or a gradient of it is not finite, why not."""
    try:
        passed = Pass.of(problem)
    except NonFiniteError:
        if (born := births(problem)) is None:
            raise
        return None, born
    norms = [
        n for layer in passed.layers for n in (layer.gradient_norm, layer.weight_gradient_norm)
    ]
    born = None if all(map(isfinite, norms)) else births(problem)
    return (passed, None) if born is None else (None, born)


def _result(
    problem: Problem, generator: torch.Generator, start: float, **found: Any
) -> Propagation:
    """With what was not found left empty."""
    nothing: dict[str, Any] = {
        "signal": None, "births": None, "trainability": None, "along_time": (), "jacobians": None,
        "rank": None, "underflows": (), "edge": None, "critical_line": (), "omissions": {},
        "is_partial": False,
    }  # fmt: skip
    rows = _rows(found.get("jacobians"))
    return Propagation(
        title=problem.name or type(unwrapped(problem.model)).__name__,
        num_samples=problem.num_samples,
        num_products=sum(row.singular.num_products for row in rows),
        seconds=perf_counter() - start,
        seed=generator.initial_seed(),
        machine=machine_of(next(iter(problem.parameters.values()))),
        **(nothing | found),
    )


def _rows(found: Jacobians | None) -> list[LayerJacobian]:
    if found is None:
        return []
    return [*found.layers, *([found.end_to_end] if found.end_to_end else [])]


def _line(phi: Activation, widest: float) -> Iterator[Edge]:
    """The stable part of the critical line up to a bias variance."""
    for step in range(LINE_POINTS + 1):
        try:
            # Closer together near zero, where the line is steep.
            found = edge(phi, widest * (step / LINE_POINTS) ** 2)
        except ThalwegError:
            continue
        if found.is_stable:
            yield found


def _ranks(problem: Problem) -> NetworkRank:
    if not _is_quick_to_rank(problem):
        raise ThalwegError(
            "the singular values of the dense layers would take long; "
            "thalweg.signal.rank(problem) takes them"
        )
    return rank(problem)


def _is_quick_to_rank(problem: Problem) -> bool:
    shapes = (m.weight.shape for m in problem.shadow.modules() if isinstance(m, nn.Linear))
    return sum(prod(shape) * min(shape) for shape in shapes) <= MOST_FOR_RANK
